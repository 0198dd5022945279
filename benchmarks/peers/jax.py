"""JAX, with a whole training step in one jitted function that donates its arguments.

JAX has no layers, so these are written as its users write them. The LSTM is a `lax.scan` over time; one product before
it computes the inputs' part of the gates for all steps. Convolutions are `conv_general_dilated`, channels last.
The layouts of weights are those of tinynet: rows [h, x], column blocks f, i, C̃, o, kernels (..., C, F).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.peers.base import LEARNING_RATE, Arrays, Layer, Network, Peer

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Jax(Peer):
    name, title = "jax", "JAX"
    packages: ClassVar[tuple[str, ...]] = ("jax", "jaxlib")

    @classmethod
    def environment(cls, cache: Path) -> dict[str, str]:
        return {"JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}

    def start(self, threads: int) -> None:
        import jax

        jax.config.update("jax_platforms", "cpu")  # XLA uses the processors that the process is bound to

    def build(self, layers: list[Layer], weights: Arrays, shape: tuple[int, ...], objective: str) -> Network:
        return JaxNetwork(JaxModel(layers, weights), objective)

    def put(self, array: np.ndarray) -> Any:
        import jax

        return jax.block_until_ready(jax.numpy.array(array.astype("int32") if array.dtype.kind == "i" else array))

    def settings(self) -> dict[str, Any]:
        import jax

        return {"platform": jax.default_backend(), "step": "one jit, donated", "random numbers": "threefry"}

    def product(self, size: int) -> Callable[[], Any] | None:
        import jax

        multiply = super().product(size)
        return multiply and (lambda: jax.block_until_ready(multiply()))


class JaxModel:
    """The layers as one pure function and Adam as another, for `JaxNetwork` to differentiate and jit."""

    def __init__(self, layers: list[Layer], weights: Arrays) -> None:
        import jax.numpy as jnp

        self.layers = layers
        running = [name for name in weights if "running" in name]
        self.weights = {name: jnp.array(array) for name, array in weights.items() if name not in running}
        self.state = {name: jnp.array(weights[name]) for name in running}
        self.moments = [{name: jnp.zeros_like(array) for name, array in self.weights.items()} for _ in range(2)]
        self.moments.append(jnp.zeros((), "int32"))  # the number of steps

    def apply(self, weights: Any, state: Any, x: Any, key: Any, training: bool) -> tuple[Any, Any]:
        """Output and new state."""
        import jax

        state = dict(state)
        for i, (kind, options) in enumerate(self.layers):
            own = {name: weights.get(f"{i}.{name}") for name in ("W", "b", "gamma", "beta")}
            if kind == "BatchNorm":
                x = self._batch_norm(i, x, own, options, state, training)
            elif kind == "Dropout":
                x = _dropout(x, options["p"], jax.random.fold_in(key, i)) if training and options["p"] else x
            elif kind == "LSTM":
                x = _lstm(x, own["W"], own["b"])
                x = x if options["return_sequences"] else x[:, -1]
            else:
                x = _PLAIN[kind](x, own, options)
        return x, state

    def adam(self, weights: Any, gradients: Any, moments: Any) -> tuple[Any, Any]:
        """New weights and new moments."""
        import jax
        import jax.numpy as jnp

        m, v, t = moments
        t = t + 1
        m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, gradients)
        v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, gradients)
        scale1, scale2 = 1 / (1 - BETA1**t), 1 / (1 - BETA2**t)
        weights = jax.tree.map(
            lambda w, m, v: w - LEARNING_RATE * (m * scale1) / (jnp.sqrt(v * scale2) + EPSILON), weights, m, v)
        return weights, [m, v, t]

    def arrays(self, tree: Any) -> Arrays:
        """A tree like `weights` with the names and layouts of tinynet."""
        return {name: np.asarray(array) for name, array in tree.items()}

    def tree(self, arrays: Arrays) -> Any:
        """The inverse of `arrays`."""
        import jax.numpy as jnp

        return {name: jnp.array(arrays[name]) for name in self.weights}

    def _batch_norm(self, i: int, x: Any, own: Any, options: dict[str, Any], state: Any, training: bool) -> Any:
        import jax

        mean, var = state[f"{i}.running_mean"], state[f"{i}.running_var"]
        if training:
            axes = tuple(range(x.ndim - 1))
            keep, batch_mean, batch_var = options["momentum"], x.mean(axes), x.var(axes)
            state[f"{i}.running_mean"] = keep * mean + (1 - keep) * batch_mean
            state[f"{i}.running_var"] = keep * var + (1 - keep) * batch_var
            mean, var = batch_mean, batch_var
        return (x - mean) * jax.lax.rsqrt(var + options["eps"]) * own["gamma"] + own["beta"]


def _dropout(x: Any, p: float, key: Any) -> Any:
    import jax

    return jax.numpy.where(jax.random.bernoulli(key, 1 - p, x.shape), x / (1 - p), 0)


def _lstm(x: Any, W: Any, b: Any) -> Any:
    import jax
    import jax.numpy as jnp

    N, H = x.shape[0], W.shape[1] // 4
    inputs = jnp.swapaxes(x @ W[H:] + b, 0, 1)  # (T,N,4H)

    def step(carry: Any, z: Any) -> Any:
        h, c = carry
        f, i, g, o = jnp.split(z + h @ W[:H], 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    _, y = jax.lax.scan(step, (jnp.zeros((N, H)), jnp.zeros((N, H))), inputs)
    return jnp.swapaxes(y, 0, 1)


def _convolution(x: Any, own: Any, options: dict[str, Any]) -> Any:
    import jax

    axes = ("NWC", "WIO", "NWC") if x.ndim == 3 else ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x, own["W"], (1,) * (x.ndim - 2), options["padding"].upper(),
                                     dimension_numbers=axes)
    return y if own["b"] is None else y + own["b"]


def _max_pool(x: Any, own: Any, options: dict[str, Any]) -> Any:
    import jax

    window = (1, options["size"], options["size"], 1)
    return jax.lax.reduce_window(x, -np.inf, jax.lax.max, window, window, "VALID")


def _dense(x: Any, own: Any, options: dict[str, Any]) -> Any:
    y = x @ own["W"]
    return y if own["b"] is None else y + own["b"]


_PLAIN: dict[str, Callable[..., Any]] = {
    "ReLU": lambda x, own, options: x * (x > 0),
    "Flatten": lambda x, own, options: x.reshape(len(x), -1),
    "Reshape": lambda x, own, options: x.reshape(len(x), *options["shape"]),
    "Dense": _dense, "Conv1D": _convolution, "Conv2D": _convolution, "MaxPool2D": _max_pool,
}


class JaxNetwork(Network):
    """The jitted functions of a model: of a `JaxModel`, or of a `KerasModel` on JAX."""

    def __init__(self, model: Any, objective: str) -> None:
        import jax

        self.jax, self.model, self.objective = jax, model, objective
        # Copies, since a step may overwrite its donated arguments.
        self.carry = jax.tree.map(jax.numpy.array, (model.weights, model.state, model.moments))
        self.key = jax.random.key(0)
        self._step = jax.jit(self._take_step, donate_argnums=(0, 1))
        self._backward = jax.jit(self._differentiate)
        self._forward = jax.jit(lambda weights, state, x: model.apply(weights, state, x, self.key, False)[0])
        self._update = jax.jit(model.adam, donate_argnums=(0, 2))

    def forward(self, x: Any) -> Any:
        return self._forward(self.carry[0], self.carry[1], x).block_until_ready()

    def step(self, x: Any, target: Any) -> float:
        self.carry, self.key, loss = self._step(self.carry, self.key, x, target)
        self.jax.block_until_ready(self.carry)
        return float(loss)

    def backward(self, x: Any, target: Any) -> Any:
        return self.jax.block_until_ready(self._backward(self.carry[0], self.carry[1], self.key, x, target))

    def gradients(self, x: Any, target: Any) -> Arrays:
        (loss, _), found = self.backward(x, target)
        first = {"x": found[1]} if self.objective == "product" else {"loss": loss}
        return {**{name: np.asarray(array) for name, array in first.items()}, **self.model.arrays(found[0])}

    def set_gradients(self, gradients: Arrays) -> None:
        self.given = self.model.tree(gradients)

    def update(self) -> None:
        weights, moments = self._update(self.carry[0], self.given, self.carry[2])
        self.carry = weights, self.carry[1], moments
        self.jax.block_until_ready(self.carry)

    def parameters(self) -> Arrays:
        return self.model.arrays(self.carry[0])

    def _loss(self, weights: Any, x: Any, state: Any, key: Any, target: Any) -> tuple[Any, Any]:
        y, state = self.model.apply(weights, state, x, key, True)
        if self.objective == "product":
            return (y * target).sum(), state
        chosen = self.jax.numpy.take_along_axis(self.jax.nn.log_softmax(y), target[:, None], axis=1)
        return -chosen.mean(), state

    def _differentiate(self, weights: Any, state: Any, key: Any, x: Any, target: Any) -> Any:
        wanted = (0, 1) if self.objective == "product" else (0,)
        return self.jax.value_and_grad(self._loss, wanted, has_aux=True)(weights, x, state, key, target)

    def _take_step(self, carry: Any, key: Any, x: Any, target: Any) -> Any:
        weights, state, moments = carry
        key, used = self.jax.random.split(key)
        (loss, state), (gradients,) = self._differentiate(weights, state, used, x, target)
        weights, moments = self.model.adam(weights, gradients, moments)
        return (weights, state, moments), key, loss


PEERS = (Jax,)
