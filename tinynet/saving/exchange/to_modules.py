"""A model of tinynet as one of PyTorch: a torch.nn.Sequential of its layers, with their weights.

PyTorch has channels first, tinynet last. The module takes what its first layer takes in PyTorch: images as (N,C,H,W),
sequences as (N,C,T) in front of a convolution or pooling and as (N,T,D) in front of an LSTM. It gives what its last
layer gives there. Where the next layer needs channels last (Flatten, Reshape, LSTM, Dense on sequences, branches), a
`Permute` stands in between, so that no weights change their order.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinynet import nn
from tinynet.errors import StateError
from tinynet.nn.module import Module
from tinynet.nn.summary import ModuleCall, trace
from tinynet.saving.exchange.orders import CHANNELS_FIRST
from tinynet.saving.exchange.torch_layers import modules
from tinynet.saving.exchange.weights import TORCH, theirs_of
from tinynet.types import Shape, TorchModule
from tinynet.window import Window, pool_window, pool_windows, window, windows

_GLOBAL_POOLS = (nn.GlobalAveragePool, nn.GlobalMaxPool)
_ANY_ORDER = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Softmax, nn.Dropout,
              nn.BatchNorm)


def to_torch_module(model: Module) -> TorchModule:
    """A torch.nn.Sequential that computes what a model computes, with its weights, in evaluation mode.

    The model is a Sequential, also of Sequentials and branches, with an input_shape. Its layers become those of
    PyTorch; a recurrent layer becomes a module around that of PyTorch. See the top of this file for the layout.

    Errors: StateError for a model without input_shape, and, with the name of the layer, for a layer that PyTorch lacks:
    a recurrent dropout, for example.

    >>> to_torch_module(nn.Sequential(nn.Dense(3, 2)))                  # docs/saving.md has an example with PyTorch
    Traceback (most recent call last):
    tinynet.errors.StateError: to_torch_module: the model must be a Sequential with an input_shape, and is ...
    """
    if not isinstance(model, nn.Sequential) or model.input_shape is None:
        raise StateError("to_torch_module: the model must be a Sequential with an input_shape, and is "
                         f"{type(model).__name__} of {model.input_shape}; model.input_shape = (28, 28, 1)?")
    import torch

    deciding = [type(module) for _, module in model.modules()
                if not isinstance(module, (nn.Sequential, *_ANY_ORDER))]
    rank = len(model.input_shape)
    first = rank == 3 or (rank == 2 and bool(deciding) and issubclass(deciding[0], CHANNELS_FIRST))
    builder = _Builder(torch, {id(module): path for path, module in model.modules()}, first)
    builder.add(trace(model, model.input_shape), model.input_shape)
    return torch.nn.Sequential(*builder.made).eval()


class _Builder:
    """The modules of PyTorch, in order, and whether the arrays behind the last one have channels first.

    paths   of our layers: their places in the model
    """

    def __init__(self, torch: Any, paths: dict[int, str], first: bool) -> None:
        self.torch, self.paths, self.first = torch, paths, first
        self.made = list[Any]()
        self.modules = modules(torch)

    def channels_first(self, first: bool, rank: int) -> None:
        """Bring the channels to the front or to the end, if they are elsewhere."""
        if first != self.first and rank > 2:
            axes = (0, rank - 1, *range(1, rank - 1)) if first else (0, *range(2, rank), 1)
            self.made.append(self.modules["Permute"](axes))
        self.first = first

    def add(self, call: ModuleCall, before: Shape) -> None:
        """Add the modules for a layer whose input has this shape, without the batch."""
        layer = call.module
        if type(layer) is nn.Sequential:
            for part in call.inside:
                self.add(part, before)
                before = part.shape
            return
        if type(layer) not in _RULES | _BRANCHES:
            self.refuse(layer, f"one of {', '.join(one.__name__ for one in _RULES | _BRANCHES)}")
        rank = len(before) + 1
        if type(layer) in CHANNELS_FIRST or isinstance(layer, (*_GLOBAL_POOLS, nn.BatchNorm)):
            self.channels_first(not isinstance(layer, nn.BatchNorm) or layer.axis in (-1, rank - 1), rank)
        elif not isinstance(layer, _ANY_ORDER):
            self.channels_first(False, rank)
        if type(layer) in _BRANCHES:
            inside = before[1:] if isinstance(layer, nn.TimeDistributed) else before
            self.made.append(_BRANCHES[type(layer)](self.modules, layer, [self.inner(one, inside)
                                                                          for one in call.inside]))
        else:
            self.made += _RULES[type(layer)](self, layer, before)

    def inner(self, call: ModuleCall, before: Shape) -> Any:
        """A module of a container, which takes and gives channels last."""
        builder = _Builder(self.torch, self.paths, False)
        builder.add(call, before)
        builder.channels_first(False, len(call.shape) + 1)
        return self.torch.nn.Sequential(*builder.made)

    def refuse(self, layer: Module, rule: str) -> None:
        """Raise the error for a layer that PyTorch lacks."""
        raise StateError(f"to_torch_module: layer {self.paths.get(id(layer), '')} must be {rule}, got {layer!r}; "
                         "exchange the weights of its parts with tn.exchange.to_torch")

    def filled(self, theirs: Any, layer: Module) -> Any:
        """A module of PyTorch with the weights of a layer."""
        arrays = theirs_of(TORCH, layer, None)
        theirs.load_state_dict({name: self.torch.tensor(np.ascontiguousarray(array).reshape(array.shape))
                                for name, array in arrays.items()})
        return theirs


def _pads(found: Sequence[Window]) -> list[int]:
    """Paddings in PyTorch's order: the last axis first."""
    return [size for one in reversed(found) for size in (one.before, one.after)]


def _padding(builder: _Builder, found: Sequence[Window], value: float) -> tuple[list[Any], tuple[int, ...]]:
    """A module that pads unequally, if that is needed; and the equal paddings of the next one."""
    if all(one.before == one.after for one in found):
        return [], tuple(one.before for one in found)
    return [getattr(builder.torch.nn, f"ConstantPad{len(found)}d")(_pads(found), value)], (0,) * len(found)


def _convolution(builder: _Builder, layer: Any, before: Shape) -> list[Any]:
    options = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    kernel = layer.W.shape[:-2]
    found = ([window("conv1d", "T", before[0], *kernel, **options)] if len(kernel) == 1 else
             list(windows("conv2d", (before[0], before[1]), kernel, **options)))
    pad, padding = _padding(builder, found, 0.0)
    theirs = getattr(builder.torch.nn, f"Conv{len(kernel)}d")(
        layer.inputs, layer.filters, kernel, stride=tuple(one.stride for one in found), padding=padding,
        dilation=tuple(one.dilation for one in found), groups=layer.groups, bias=layer.b is not None)
    return [*pad, builder.filled(theirs, layer)]


def _pool(builder: _Builder, layer: Any, before: Shape) -> list[Any]:
    kind, ends = type(layer).__name__[:3], len(before) - 1
    found = ([pool_window("pool", "T", before[0], layer.size, layer.stride, layer.padding)] if ends == 1 else
             list(pool_windows("pool", (before[0], before[1]), layer.size, layer.stride, layer.padding)))
    pad, padding = _padding(builder, found, float("-inf") if kind == "Max" else 0.0)
    options: dict[str, Any] = {"kernel_size": tuple(one.width for one in found),
                               "stride": tuple(one.stride for one in found), "padding": padding}
    pool = getattr(builder.torch.nn, f"{kind}Pool{ends}d")
    if kind == "Max":
        return [*pad, pool(**options)]
    theirs = pool(**options, count_include_pad=False)
    return [builder.modules["AveragePool"](*pad, theirs)] if pad else [theirs]


def _batch_norm(builder: _Builder, layer: Any, before: Shape) -> list[Any]:
    rank = len(before) + 1
    if layer.axis not in (-1, rank - 1, 1):
        builder.refuse(layer, "a BatchNorm of the last or the first axis")
    kind = "BatchNorm2d" if rank == 4 else "BatchNorm1d"
    if rank > 4:
        builder.refuse(layer, "a BatchNorm of samples with at most three axes")
    return [builder.filled(getattr(builder.torch.nn, kind)(layer.features, eps=layer.eps, momentum=1 - layer.momentum),
                           layer)]


def _dense(builder: _Builder, layer: Any, before: Shape) -> list[Any]:
    return [builder.filled(builder.torch.nn.Linear(layer.inputs, layer.units), layer)]


def _one_direction(builder: _Builder, layer: Any, before: Shape) -> list[Any]:
    return _recurrent(builder, layer, [layer], "concat")


def _both_directions(builder: _Builder, layer: Any, before: Shape) -> list[Any]:
    return _recurrent(builder, layer.layer, [layer.layer, layer.backwards], layer.merge_mode)


def _recurrent(builder: _Builder, layer: Any, parts: Sequence[Any], merge: str) -> list[Any]:
    """PyTorch's LSTM, GRU or RNN with the weights of one or two of ours."""
    kind = type(layer).__name__.removeprefix("Simple")
    if kind == "LSTM" and (layer.dropout or layer.recurrent_dropout):
        builder.refuse(layer, "an LSTM without dropout inside, which PyTorch lacks (layer.dropout = 0 leaves it out)")
    theirs = getattr(builder.torch.nn, kind)(layer.inputs, layer.units, bias=layer.b is not None, batch_first=True,
                                             bidirectional=len(parts) > 1)
    theirs.load_state_dict({name + ending: builder.torch.tensor(np.ascontiguousarray(array))
                            for part, ending in zip(parts, ("", "_reverse"), strict=False)
                            for name, array in theirs_of(TORCH, part, None).items()})
    return [builder.modules["Recurrent"](theirs, layer, merge)]


def _softmax(builder: _Builder, layer: Any, before: Shape) -> list[Any]:
    rank = len(before) + 1
    axis = layer.axis % rank
    if builder.first and rank > 2:
        axis = 1 if axis == rank - 1 else axis + bool(axis)
    return [builder.torch.nn.Softmax(dim=axis)]


def _global_pooling(builder: _Builder, layer: Any, before: Shape) -> list[Any]:
    torch, kind = builder.torch, "Avg" if isinstance(layer, nn.GlobalAveragePool) else "Max"
    return [getattr(torch.nn, f"Adaptive{kind}Pool{len(before) - 1}d")(1), torch.nn.Flatten()]


def _plain(name: str) -> Callable[[_Builder, Any, Shape], list[Any]]:
    return lambda builder, layer, before: [getattr(builder.torch.nn, name)()]


_RULES: dict[type[Module], Callable[[_Builder, Any, Shape], list[Any]]] = {
    nn.Dense: _dense, nn.Conv1D: _convolution, nn.Conv2D: _convolution, nn.BatchNorm: _batch_norm,
    nn.LSTM: _one_direction, nn.GRU: _one_direction, nn.SimpleRNN: _one_direction,
    nn.Bidirectional: _both_directions,
    nn.LeakyReLU: lambda builder, layer, before: [builder.torch.nn.LeakyReLU(layer.negative_slope)],
    nn.ELU: lambda builder, layer, before: [builder.torch.nn.ELU(layer.alpha)],
    nn.GELU: _plain("GELU"), nn.SiLU: _plain("SiLU"),
    nn.ReLU: _plain("ReLU"), nn.Sigmoid: _plain("Sigmoid"), nn.Tanh: _plain("Tanh"), nn.Softmax: _softmax,
    nn.Dropout: lambda builder, layer, before: [builder.torch.nn.Dropout(layer.p)], nn.MaxPool1D: _pool,
    nn.MaxPool2D: _pool, nn.AvgPool1D: _pool, nn.AvgPool2D: _pool, nn.GlobalAveragePool: _global_pooling,
    nn.GlobalMaxPool: _global_pooling,
    nn.Flatten: _plain("Flatten"),
    nn.Reshape: lambda builder, layer, before: [builder.modules["Reshape"](layer.shape)]}
_BRANCHES: dict[type[Module], Callable[[dict[str, Any], Any, list[Any]], Any]] = {
    nn.Residual: lambda modules, layer, inside: modules["Residual"](*inside),
    nn.Parallel: lambda modules, layer, inside: modules["Parallel"](inside, layer.merge_mode),
    nn.TimeDistributed: lambda modules, layer, inside: modules["TimeDistributed"](*inside)}
