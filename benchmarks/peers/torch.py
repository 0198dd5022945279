"""PyTorch on a CPU: eager with fused Adam, and `torch.compile`.

Activations are channels last in all layers. A convolution gets a view of them in PyTorch's order of axes: this is its
memory format `channels_last`, which is the faster one, and nothing is copied between layers. For the same reason a
Conv1D is a Conv2D of height 1; nn.Conv1d has no channels_last, and takes a third longer. Flatten then has tinynet's
order of features, and Dense its rows.

    tinynet                                PyTorch
    Dense W (inputs, units)                weight (units, inputs): transposed
    Conv2D W (KH, KW, C, F)                weight (F, C, KH, KW)
    Conv1D W (K, C, F)                     weight (F, C, 1, K)
    LSTM W (H + D, 4H), rows [h, x],       weight_hh (4H, H), weight_ih (4H, D): transposed, blocks i, f, C̃, o
      column blocks f, i, C̃, o
    LSTM b (4H)                            bias_ih, and bias_hh of zeros, whose gradient is the same
    BatchNorm momentum, the share kept      1 - momentum; the running variance is divided by n - 1, that of a batch by n
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.peers.base import LEARNING_RATE, Arrays, Layer, Network, Peer, swapped


class Torch(Peer):
    name, title, packages = "torch", "PyTorch", ("torch",)
    compiled: ClassVar[bool] = False

    def start(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)

    def build(self, layers: list[Layer], weights: Arrays, shape: tuple[int, ...], objective: str) -> Network:
        return TorchNetwork(layers, weights, objective, self.compiled)

    def put(self, array: np.ndarray) -> Any:
        import torch

        return torch.from_numpy(np.array(array, order="C"))  # channels last in memory, as the layers expect

    def numpy(self, array: Any) -> np.ndarray:
        return array.detach().numpy()

    def settings(self) -> dict[str, Any]:
        import torch

        return {"threads": torch.get_num_threads(), "capability": torch.backends.cpu.get_cpu_capability(),
                "optimizer": "Adam, fused", "memory": "channels_last", "forward": "inference_mode",
                "compiled": self.compiled}

    def chain(self, length: int) -> Callable[[], Any] | None:
        import torch

        x = torch.ones(8, requires_grad=True)

        def run() -> None:
            y = x
            for _ in range(length):
                y = y * 1.0001
            y.sum().backward()
        return run


class TorchCompile(Torch):
    name, title, programs = "compile", "torch.compile", ("g++",)
    compiled: ClassVar[bool] = True

    @classmethod
    def environment(cls, cache: Path) -> dict[str, str]:
        return {"TORCHINDUCTOR_CACHE_DIR": str(cache)}

    def product(self, size: int) -> Callable[[], Any] | None:
        return None  # the same as in eager mode

    def chain(self, length: int) -> Callable[[], Any] | None:
        return None  # compiled, it is not a tape


class TorchNetwork(Network):
    def __init__(self, layers: list[Layer], weights: Arrays, objective: str, compiled: bool,
                 channels_last: bool = True) -> None:
        import torch

        self.torch, self.objective = torch, objective
        self.layers = [Translated(i, kind, options, weights, channels_last) for i, (kind, options) in enumerate(layers)]
        self.model: Any = torch.nn.Sequential(*(layer.module for layer in self.layers))
        named = list(self.model.parameters())
        self.optimizer: Any = torch.optim.Adam(named, lr=LEARNING_RATE, fused=True) if named else None
        loss = torch.nn.functional.cross_entropy if objective == "cross_entropy" else None
        whole = self.model if loss is None else lambda x, labels: loss(self.model(x), labels)
        self.run, self.output = whole, self.model
        if compiled:
            torch.compiler.reset()  # otherwise it stops compiling after some models, and treats their sizes as dynamic
            self.run, self.output = (torch.compile(function, dynamic=False) for function in (whole, self.model))

    def mode(self, training: bool) -> None:
        self.model.train(training)

    def forward(self, x: Any) -> Any:
        with self.torch.inference_mode():
            return self.output(x)

    def step(self, x: Any, target: Any) -> float:
        loss = self.run(x, target)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def backward(self, x: Any, target: Any) -> Any:
        self.model.zero_grad(set_to_none=True)
        if self.objective == "cross_entropy":
            loss = self.run(x, target)
            loss.backward()
            return loss
        x.requires_grad_().grad = None
        y = self.run(x)
        y.backward(target)
        return y

    def gradients(self, x: Any, target: Any) -> Arrays:
        result = self.backward(x, target).detach()
        first = {"x": x.grad.numpy()} if self.objective == "product" else {"loss": result.numpy()}
        return {**first, **self._arrays(lambda parameter: parameter.grad)}

    def set_gradients(self, gradients: Arrays) -> None:
        for layer in self.layers:
            for name, array in layer.native(gradients).items():
                parameter = getattr(layer.inner, name)  # the fused Adam takes it that both lie in memory alike
                parameter.grad = self.torch.empty_like(parameter).copy_(self.torch.tensor(array))

    def update(self) -> None:
        self.optimizer.step()

    def parameters(self) -> Arrays:
        return self._arrays(lambda parameter: parameter.detach())

    def _arrays(self, value: Callable[[Any], Any]) -> Arrays:
        return {name: array for layer in self.layers for name, array in layer.ours(value).items()}


class Translated:
    """One layer as a PyTorch module, `module`; `inner` is the module in it that has the parameters."""

    def __init__(self, number: int, kind: str, options: dict[str, Any], weights: Arrays, channels_last: bool) -> None:
        import torch

        self.number, self.kind = number, kind
        self.module, self.inner = _module(kind, options, channels_last)
        with torch.no_grad():
            for name, array in self.native(weights).items():
                parameter = getattr(self.inner, name)
                parameter.copy_(torch.tensor(array).reshape(parameter.shape))  # nn.Conv1d has no axis of height 1
            if kind == "BatchNorm":
                for name in ("running_mean", "running_var"):
                    getattr(self.inner, name).copy_(torch.tensor(weights[f"{number}.{name}"]))

    def native(self, ours: Arrays) -> Arrays:
        """The arrays of this layer in PyTorch's names and layouts."""
        own = {name.partition(".")[2]: array for name, array in ours.items() if name.startswith(f"{self.number}.")}
        if self.kind == "BatchNorm":
            return {"weight": own["gamma"], "bias": own["beta"]}
        if self.kind == "LSTM":
            W, b = swapped(own["W"]), swapped(own["b"])
            H = W.shape[1] // 4
            return {"weight_hh_l0": W[:H].T, "weight_ih_l0": W[H:].T, "bias_ih_l0": b, "bias_hh_l0": np.zeros_like(b)}
        if self.kind in _TO_NATIVE:
            return {"weight": _TO_NATIVE[self.kind](own["W"]), **({"bias": own["b"]} if "b" in own else {})}
        return {}

    def ours(self, value: Callable[[Any], Any]) -> Arrays:
        """Values of this layer's parameters, such as gradients, in the layout of tinynet."""
        own = {name: value(parameter).numpy() for name, parameter in self.inner.named_parameters()}
        if self.kind == "BatchNorm":
            own = {"gamma": own["weight"], "beta": own["bias"]}
        elif self.kind == "LSTM":
            W = np.concatenate([own["weight_hh_l0"].T, own["weight_ih_l0"].T])
            own = {"W": swapped(W), "b": swapped(own["bias_ih_l0"])}
        elif self.kind in _TO_OURS:
            own = {"W": _TO_OURS[self.kind](own["weight"]), **({"b": own["bias"]} if "bias" in own else {})}
        return {f"{self.number}.{name}": np.ascontiguousarray(array) for name, array in own.items()}


_TO_NATIVE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Dense": lambda W: W.T,
    "Conv1D": lambda W: W.transpose(2, 1, 0)[:, :, None],
    "Conv2D": lambda W: W.transpose(3, 2, 0, 1),
}
_TO_OURS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Dense": lambda weight: weight.T,
    "Conv1D": lambda weight: weight.reshape(*weight.shape[:2], -1).transpose(2, 1, 0),
    "Conv2D": lambda weight: weight.transpose(2, 3, 1, 0),
}


def _module(kind: str, options: dict[str, Any], channels_last: bool) -> tuple[Any, Any]:
    """PyTorch's module for a layer, and the module in it that has the parameters: usually itself.

    Without `channels_last`, activations lie in PyTorch's own order of axes between the layers that have images.
    """
    import torch
    from torch import nn

    class ChannelsLast(nn.Module):
        """A module for (N, C, H, W), applied to activations (N, H, W, C) or (N, T, C)."""

        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner.to(memory_format=torch.channels_last)

        def forward(self, x: Any) -> Any:
            image = x if x.ndim == 4 else x.unsqueeze(1)
            y = self.inner(image.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            return y if x.ndim == 4 else y.squeeze(1)

    class ChannelsFirst(nn.Module):
        """The same in PyTorch's own order. Between two such modules the permuted views are contiguous: no copies."""

        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Any) -> Any:
            if isinstance(self.inner, nn.Conv1d):
                return self.inner(x.permute(0, 2, 1).contiguous()).permute(0, 2, 1)
            image = x if x.ndim == 4 else x.unsqueeze(1)
            y = self.inner(image.permute(0, 3, 1, 2).contiguous()).permute(0, 2, 3, 1)
            return y if x.ndim == 4 else y.squeeze(1)

    class Recurrent(nn.Module):
        def __init__(self, inner: Any, sequences: bool) -> None:
            super().__init__()
            self.inner, self.sequences = inner, sequences

        def forward(self, x: Any) -> Any:
            y, (h, _) = self.inner(x)
            return y if self.sequences else h[0]

    class Shaped(nn.Module):
        def __init__(self, shape: tuple[int, ...]) -> None:
            super().__init__()
            self.shape = shape

        def forward(self, x: Any) -> Any:
            return x.reshape(x.shape[0], *self.shape)

    plain: dict[str, Callable[[], Any]] = {
        "ReLU": lambda: nn.ReLU(),
        "Dropout": lambda: nn.Dropout(options["p"]),
        "Flatten": lambda: Shaped((-1,)),
        "Reshape": lambda: Shaped(tuple(options["shape"])),
        "Dense": lambda: nn.Linear(options["inputs"], options["units"], options["bias"]),
    }
    if kind in plain:
        module = plain[kind]()
        return module, module
    inner: Any
    if kind == "LSTM":
        inner = nn.LSTM(options["inputs"], options["units"], batch_first=True)
        return Recurrent(inner, options["return_sequences"]), inner
    if kind == "BatchNorm":
        inner = nn.BatchNorm2d(options["features"], eps=options["eps"], momentum=1 - options["momentum"])
    elif kind == "MaxPool2D":
        inner = nn.MaxPool2d(options["size"], options["stride"])
    elif kind == "Conv1D":
        width, padding = options["width"], options["padding"]
        inner = nn.Conv2d(options["inputs"], options["filters"], (1, width), padding=padding) if channels_last else \
            nn.Conv1d(options["inputs"], options["filters"], width, padding=padding)
    elif kind == "Conv2D":
        inner = nn.Conv2d(options["inputs"], options["filters"], options["size"], padding=options["padding"])
    else:
        raise NotImplementedError(f"{kind} is not translated to PyTorch")
    return (ChannelsLast if channels_last else ChannelsFirst)(inner), inner


PEERS = (Torch, TorchCompile)
