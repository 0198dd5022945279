"""Keras 3 on JAX: its own layers and its own Adam, as pure functions in one jitted step.

This is the custom training loop of Keras's guide for JAX. It is the faster of the two ways to run Keras here: on
PyTorch's CPU, its LSTM is a Python loop of small operations, about six times slower. It is also faster than
`train_on_batch`, which copies batch and loss between host and device and updates metrics.

Keras is channels last, with the kernels and Dense weights of tinynet. The LSTM has a matrix for x (kernel) and one for
h (recurrent_kernel), with column blocks i, f, C̃, o. BatchNorm's momentum is the share that is kept, as in tinynet.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.base import LEARNING_RATE, Arrays, Layer, Network, swapped
from benchmarks.peers.jax import Jax, JaxNetwork

BACKEND = {"KERAS_BACKEND": "jax"}


class Keras(Jax):
    name, title, packages = "keras", "Keras (JAX)", ("keras", "jax", "jaxlib")

    @classmethod
    def environment(cls, cache: Path) -> dict[str, str]:
        return {**super().environment(cache), **BACKEND}

    def start(self, threads: int) -> None:
        os.environ.update(BACKEND)
        super().start(threads)
        import keras  # noqa: F401

    def product(self, size: int) -> Callable[[], Any] | None:
        return None  # the same as in JAX

    def build(self, layers: list[Layer], weights: Arrays, shape: tuple[int, ...], objective: str) -> Network:
        return JaxNetwork(KerasModel(layers, weights, shape), objective)

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "backend": "jax", "step": "stateless calls in one jit, donated"}


class KerasModel:
    """A Keras model and its optimizer with the interface of `JaxModel`; its trees are lists."""

    def __init__(self, layers: list[Layer], weights: Arrays, shape: tuple[int, ...]) -> None:
        import keras

        self.layers = {i: (kind, _layer(kind, options)) for i, (kind, options) in enumerate(layers)}
        self.model: Any = keras.Sequential(
            [keras.Input(shape[1:], batch_size=shape[0]), *(layer for _, layer in self.layers.values())])
        for i, (kind, layer) in self.layers.items():
            layer.set_weights([*_native(i, kind, weights), *layer.get_weights()[_OWN.get(kind, 0):]])
            if kind == "BatchNorm":
                layer.moving_mean.assign(weights[f"{i}.running_mean"])
                layer.moving_variance.assign(weights[f"{i}.running_var"])
        self.optimizer = keras.optimizers.Adam(LEARNING_RATE, epsilon=1e-8)
        self.optimizer.build(self.model.trainable_variables)
        self.weights = [variable.value for variable in self.model.trainable_variables]
        self.state = [variable.value for variable in self.model.non_trainable_variables]
        self.moments = [variable.value for variable in self.optimizer.variables]

    def apply(self, weights: Any, state: Any, x: Any, key: Any, training: bool) -> tuple[Any, Any]:
        """Output and new state. The random numbers are those of Keras; their seeds are in the state."""
        return self.model.stateless_call(weights, state, x, training=training)

    def adam(self, weights: Any, gradients: Any, moments: Any) -> tuple[Any, Any]:
        """New weights and new moments."""
        return self.optimizer.stateless_apply(moments, gradients, weights)

    def arrays(self, tree: Any) -> Arrays:
        """A list like `weights` with the names and layouts of tinynet."""
        waiting, arrays = [np.asarray(array) for array in tree], {}
        for i, (kind, _) in self.layers.items():
            own, waiting = waiting[: _OWN.get(kind, 0)], waiting[_OWN.get(kind, 0) :]
            arrays.update({f"{i}.{name}": array for name, array in _ours(kind, own).items()})
        return arrays

    def tree(self, arrays: Arrays) -> Any:
        """The inverse of `arrays`."""
        import jax.numpy as jnp

        return [jnp.array(array) for i, (kind, _) in self.layers.items() for array in _native(i, kind, arrays)]


_OWN = {"BatchNorm": 2, "LSTM": 3, "Conv1D": 2, "Conv2D": 2, "Dense": 2}  # trainable variables of a layer


def _native(i: int, kind: str, ours: Arrays) -> list[np.ndarray]:
    """The parameters of layer i as Keras's trainable variables."""
    if kind not in _OWN:
        return []
    first, second = (ours[f"{i}.{name}"] for name in (("gamma", "beta") if kind == "BatchNorm" else ("W", "b")))
    if kind != "LSTM":
        return [first, second]
    W, b = swapped(first), swapped(second)
    H = W.shape[1] // 4
    return [W[H:], W[:H], b]


def _ours(kind: str, native: list[np.ndarray]) -> Arrays:
    """The inverse of `_native`, with names without i."""
    if kind == "LSTM":
        kernel, recurrent, b = native
        native = [swapped(np.concatenate([recurrent, kernel])), swapped(b)]
    return dict(zip(("gamma", "beta") if kind == "BatchNorm" else ("W", "b"), native, strict=False))


def _layer(kind: str, options: dict[str, Any]) -> Any:
    from keras import layers

    made: dict[str, Any] = {
        "BatchNorm": lambda: layers.BatchNormalization(momentum=options["momentum"], epsilon=options["eps"]),
        "Conv1D": lambda: layers.Conv1D(options["filters"], options["width"], padding=options["padding"]),
        "Conv2D": lambda: layers.Conv2D(options["filters"], options["size"], padding=options["padding"]),
        "Dense": lambda: layers.Dense(options["units"]),
        "Dropout": lambda: layers.Dropout(options["p"]),
        "Flatten": lambda: layers.Flatten(),
        "LSTM": lambda: layers.LSTM(options["units"], return_sequences=options["return_sequences"]),
        "MaxPool2D": lambda: layers.MaxPooling2D(options["size"]),
        "ReLU": lambda: layers.ReLU(),
        "Reshape": lambda: layers.Reshape(options["shape"]),
    }
    return made[kind]()


PEERS = (Keras,)
