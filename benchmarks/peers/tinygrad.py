"""tinygrad on its CPU device, with a whole training step in one TinyJit.

It compiles with LLVM if it finds a usable one, else with clang. Its beam search (BEAM=2) is off: on this device it
chose kernels ten times slower than the default ones. Its kernels run on one thread, independently of NUM_CPU_THREADS.

It is channels first: convolutions get a transposed view, which is fused into their kernels. It has an LSTMCell, but no
LSTM, so the steps are unrolled here; the inputs' part of the gates is computed for all steps at once. The layouts of
weights are those of tinynet, except kernels of convolutions, which are transposed to (F, C, KH, KW).
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.base import LEARNING_RATE, Arrays, Layer, Network, Peer


class Tinygrad(Peer):
    name, title, packages, programs = "tinygrad", "tinygrad", ("tinygrad",), ("clang",)

    @classmethod
    def environment(cls, cache: Path) -> dict[str, str]:
        return {"CACHEDB": str(cache / "tinygrad.db")}

    def start(self, threads: int) -> None:
        os.environ["NUM_CPU_THREADS"] = str(threads)
        from tinygrad import Tensor
        from tinygrad.helpers import DEV

        self.device = os.environ.get("DEV", "CPU:LLVM")
        DEV.value = self.device
        try:
            (Tensor.rand(8, 8) @ Tensor.rand(8, 8)).realize()
        except Exception:  # no LLVM, or one that is too old
            DEV.value = self.device = "CPU"

    def build(self, layers: list[Layer], weights: Arrays, shape: tuple[int, ...], objective: str) -> Network:
        return TinygradNetwork(layers, weights, objective)

    def put(self, array: np.ndarray) -> Any:
        from tinygrad import Tensor

        return Tensor(np.ascontiguousarray(array.astype("int32") if array.dtype.kind == "i" else array)).realize()

    def numpy(self, array: Any) -> np.ndarray:
        return array.numpy()

    def settings(self) -> dict[str, Any]:
        return {"device": self.device, "step": "one TinyJit"}

    def product(self, size: int) -> Callable[[], Any] | None:
        return None


class TinygradNetwork(Network):
    def __init__(self, layers: list[Layer], weights: Arrays, objective: str) -> None:
        from tinygrad import Context, Device, Tensor, TinyJit
        from tinygrad.nn.optim import Adam

        self.context, self.tensor, self.objective, self.layers = Context, Tensor, objective, layers
        self.wait = Device[Device.DEFAULT].synchronize
        running = [name for name in weights if "running" in name]
        self.weights = {name: Tensor(_native(array)).realize()
                        for name, array in weights.items() if name not in running}
        self.running = {name: Tensor(weights[name]).is_param_(False).realize() for name in running}
        self.optimizer: Any = Adam(list(self.weights.values()), lr=LEARNING_RATE) if self.weights else None
        self._forward, self._step, self._backward, self._update = (
            TinyJit(function) for function in (self._evaluate, self._take_step, self._differentiate, self._take_update))

    def forward(self, x: Any) -> Any:
        return self._waited(self._forward(x))

    def step(self, x: Any, target: Any) -> float:
        return self._waited(self._step(x, target)).item()

    def backward(self, x: Any, target: Any) -> Any:
        return self._waited(self._backward(x, target))

    def gradients(self, x: Any, target: Any) -> Arrays:
        loss, *found = (tensor.numpy() for tensor in self._differentiate(x, target))
        first = {"x": found.pop()} if self.objective == "product" else {"loss": loss}
        return {**first, **{name: _ours(array) for name, array in zip(self.weights, found, strict=True)}}

    def set_gradients(self, gradients: Arrays) -> None:
        for name, parameter in self.weights.items():
            parameter.grad = self.tensor(_native(gradients[name])).realize()

    def update(self) -> None:
        self._waited(self._update())

    def parameters(self) -> Arrays:
        return {name: _ours(parameter.numpy()) for name, parameter in self.weights.items()}

    def _waited(self, result: Any) -> Any:
        self.wait()
        return result

    def _evaluate(self, x: Any) -> Any:
        return self._apply(x, training=False).realize()

    def _loss(self, x: Any, target: Any) -> Any:
        y = self._apply(x, training=True)
        return (y * target).sum() if self.objective == "product" else y.sparse_categorical_crossentropy(target)

    def _differentiate(self, x: Any, target: Any) -> Any:
        loss = self._loss(x, target)
        wanted = [*self.weights.values(), *([x] if self.objective == "product" else [])]
        results = [loss, *loss.gradient(*wanted)]
        self.tensor.realize(*results)
        return results

    def _take_step(self, x: Any, target: Any) -> Any:
        loss = self._loss(x, target)
        for parameter, gradient in zip(self.weights.values(), loss.gradient(*self.weights.values()), strict=True):
            parameter.grad = gradient
        return self._take_update(loss)

    def _take_update(self, *others: Any) -> Any:
        with self.context(TRAINING=1):
            return self.tensor.realize(*others, *self.optimizer.schedule_step(), *self.running.values())

    def _apply(self, x: Any, training: bool) -> Any:
        with self.context(TRAINING=int(training)):
            for i, (kind, options) in enumerate(self.layers):
                own = {name: self.weights.get(f"{i}.{name}") for name in ("W", "b", "gamma", "beta")}
                if kind == "BatchNorm":
                    x = self._batch_norm(i, x, own, options, training)
                else:
                    x = _LAYERS[kind](x, own, options)
        return x

    def _batch_norm(self, i: int, x: Any, own: Any, options: dict[str, Any], training: bool) -> Any:
        mean, var = self.running[f"{i}.running_mean"], self.running[f"{i}.running_var"]
        if training:
            axes = tuple(range(x.ndim - 1))
            keep, batch_mean, batch_var = options["momentum"], x.mean(axes), x.var(axes, correction=0)
            mean.assign(keep * mean + (1 - keep) * batch_mean.detach())
            var.assign(keep * var + (1 - keep) * batch_var.detach())
            mean, var = batch_mean, batch_var
        return (x - mean) * (var + options["eps"]).rsqrt() * own["gamma"] + own["beta"]


def _native(array: np.ndarray) -> np.ndarray:
    """Kernels (..., C, F) as (F, C, ...); other weights unchanged."""
    return array if array.ndim < 3 else np.ascontiguousarray(np.moveaxis(array, (-1, -2), (0, 1)))


def _ours(array: np.ndarray) -> np.ndarray:
    """The inverse of `_native`."""
    return array if array.ndim < 3 else np.ascontiguousarray(np.moveaxis(array, (0, 1), (-1, -2)))


def _lstm(x: Any, own: Any, options: dict[str, Any]) -> Any:
    W, H = own["W"], options["units"]
    inputs = (x @ W[H:] + own["b"]).contiguous()  # (N,T,4H)
    h = c = None
    outputs = []
    for t in range(x.shape[1]):
        z = inputs[:, t] if h is None else inputs[:, t] + h @ W[:H]
        f, i, g, o = z.chunk(4, dim=1)
        kept = 0 if c is None else f.sigmoid() * c
        c = (kept + i.sigmoid() * g.tanh()).contiguous()  # without contiguous, each use would compute it again
        h = (o.sigmoid() * c.tanh()).contiguous()
        outputs.append(h)
    return outputs[0].stack(*outputs[1:], dim=1) if options["return_sequences"] else h


def _convolution(x: Any, own: Any, options: dict[str, Any]) -> Any:
    """Transpose to (N, C, ...), convolve, and transpose back."""
    width = own["W"].shape[2:]
    padding = [(k - 1) // 2 for k in width] if options["padding"] == "same" else 0
    channels_first = x.permute(0, x.ndim - 1, *range(1, x.ndim - 1))
    y = channels_first.conv2d(own["W"], own["b"], padding=padding)
    return y.permute(0, *range(2, x.ndim), 1)


def _max_pool(x: Any, own: Any, options: dict[str, Any]) -> Any:
    return x.permute(0, 3, 1, 2).max_pool2d(options["size"]).permute(0, 2, 3, 1)


_LAYERS: dict[str, Callable[..., Any]] = {
    "ReLU": lambda x, own, options: x.relu(),
    "Dropout": lambda x, own, options: x.dropout(options["p"]),
    "Flatten": lambda x, own, options: x.flatten(1),
    "Reshape": lambda x, own, options: x.reshape(x.shape[0], *options["shape"]),
    "Dense": lambda x, own, options: x @ own["W"] if own["b"] is None else x @ own["W"] + own["b"],
    "LSTM": _lstm, "Conv1D": _convolution, "Conv2D": _convolution, "MaxPool2D": _max_pool,
}


PEERS = (Tinygrad,)
