"""A model of PyTorch as one of tinynet: its layers, their options and weights.

PyTorch has channels first, tinynet last. So the model takes images as (N,H,W,C), and sequences as (N,T,C). Behind a
Flatten, PyTorch has the features of channel 0 first: the rows of the next Dense are permuted.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet import nn
from tinynet.errors import StateError
from tinynet.nn.module import Module
from tinynet.saving.exchange.weights import TORCH, ours_of
from tinynet.types import Shape, TorchModule


class _Builder:
    """Our layers of a PyTorch model, in order, with what a layer must know of those before it.

    channels   of the arrays behind the last layer, None if unknown
    rank       of these arrays, None if unknown
    flat       the channels of the arrays that a Flatten has flattened, for the next Dense
    """

    def __init__(self, input_shape: Shape | None) -> None:
        self.layers: list[Module] = []
        self.channels = input_shape[-1] if input_shape else None
        self.rank = len(input_shape) + 1 if input_shape else None
        self.flat: int | None = None
        self.pooled = False

    def add(self, path: str, theirs: Any) -> None:
        """Add the layers for a module of PyTorch."""
        name = type(theirs).__name__
        if name not in _RULES or not type(theirs).__module__.startswith("torch.nn"):
            _refuse(path, theirs, f"one of {', '.join(_RULES)}")
        if self.pooled and name != "Flatten":
            _refuse(path, theirs, "a Flatten, behind a global average pooling")
        made = _RULES[name](self, path, theirs)
        if made is not None:
            self.layers.append(made)

    def filled(self, layer: Module, theirs: Any) -> Module:
        """The layer with the weights of a module of PyTorch."""
        arrays = {name: value.detach().cpu().numpy() for name, value in theirs.state_dict().items()}
        order = None
        if self.flat is not None and isinstance(layer, nn.Dense | nn.BatchNorm):
            features = len(layer.parameters()[0])
            order = np.arange(features).reshape(-1, self.flat).T.ravel()  # theirs[j] is ours[order[j]]
            if isinstance(layer, nn.Dense):
                self.flat = None
        layer.load_state_dict(ours_of(TORCH, layer, arrays, order))
        return layer


def from_torch_module(module: TorchModule, *, input_shape: Shape | None = None) -> nn.Sequential:
    """A model of tinynet that computes what a model of PyTorch computes, with its weights, in evaluation mode.

    module        a torch.nn.Sequential, which may hold others; or a torch.nn.LSTM, GRU or RNN, of which the model gives
                  the outputs of all steps
    input_shape   of one sample as tinynet takes it, channels last, for `tn.save` and `tn.to_onnx`

    The layers may be Conv1d, Conv2d, BatchNorm1d, BatchNorm2d, ReLU, LeakyReLU, ELU, GELU, SiLU, Sigmoid, Tanh,
    Softmax, Dropout, MaxPool, AvgPool, AdaptiveAvgPool to size 1, Flatten, Linear and Identity. The model takes images
    as (N,H,W,C), and sequences as (N,T,C), also where PyTorch has the batch second.

    Errors: StateError, with the name of the layer, for a layer or an option that tinynet lacks.

    >>> from_torch_module(nn.Dense(3, 2))                               # docs/saving.md has an example with PyTorch
    Traceback (most recent call last):
    tinynet.errors.StateError: from_torch_module: the model must be one of Sequential, Conv1d, ...
    """
    builder = _Builder(input_shape)
    builder.add("", module)
    if builder.pooled:
        raise StateError("from_torch_module: a global average pooling must be followed by a Flatten, and is the last "
                         "layer; add torch.nn.Flatten()")
    made = builder.layers[0] if len(builder.layers) == 1 else None
    model = made if isinstance(made, nn.Sequential) else nn.Sequential(*builder.layers)
    model.input_shape = None if input_shape is None else tuple(input_shape)
    return model.eval()


def _refuse(path: str, theirs: Any, rule: str) -> None:
    where = f"layer {path}" if path else "the model"
    one_line = str(theirs)
    if "\n" in one_line:  # a module that holds others
        one_line = type(theirs).__name__
    raise StateError(f"from_torch_module: {where} must be {rule}, got {one_line}; build its counterpart by hand, and "
                     "load the weights with tn.exchange.from_torch")


def _check(path: str, theirs: Any, **options: Any) -> None:
    """StateError unless the options have these values, the only ones that tinynet has."""
    for name, value in options.items():
        found = getattr(theirs, name)
        if found not in (value if isinstance(value, tuple) else (value,)):
            _refuse(path, theirs, f"a layer with {name}={value}")


def _sequential(builder: _Builder, path: str, theirs: Any) -> Module:
    outer, builder.layers = builder.layers, []
    for name, layer in theirs.named_children():
        builder.add(f"{path}.{name}" if path else name, layer)
    made, builder.layers = nn.Sequential(*builder.layers), outer
    return made


def _pair(value: Any) -> Any:
    """An option of PyTorch: a number for two equal ones, or for the only one."""
    parts = tuple(value) if isinstance(value, tuple | list) else (value,)
    return parts[0] if len({*parts}) == 1 else parts


def _convolution(builder: _Builder, path: str, theirs: Any) -> Module:
    _check(path, theirs, padding_mode="zeros", transposed=False)
    options = {name: _pair(getattr(theirs, name)) for name in ("stride", "padding", "dilation")}
    options["bias"], options["groups"] = theirs.bias is not None, theirs.groups
    builder.rank, builder.channels, builder.flat = len(theirs.kernel_size) + 2, theirs.out_channels, None
    if builder.rank == 3:
        layer: Module = nn.Conv1D(theirs.in_channels, theirs.out_channels, theirs.kernel_size[0], **options)
    else:
        layer = nn.Conv2D(theirs.in_channels, theirs.out_channels, tuple(theirs.kernel_size), **options)
    return builder.filled(layer, theirs)


def _batch_norm(builder: _Builder, path: str, theirs: Any) -> Module:
    _check(path, theirs, track_running_stats=True, affine=True)
    momentum = 1.0 if theirs.momentum is None else 1 - theirs.momentum
    if "BatchNorm2d" in type(theirs).__name__:
        builder.rank = 4
    if builder.rank != 2:
        builder.channels = theirs.num_features
    return builder.filled(nn.BatchNorm(theirs.num_features, momentum=momentum, eps=theirs.eps), theirs)


def _linear(builder: _Builder, path: str, theirs: Any) -> Module:
    if builder.rank not in (None, 2):
        _refuse(path, theirs, "behind a Flatten: a Linear behind a convolution takes the last axis of (N,C,H,W)")
    layer = nn.Dense(theirs.in_features, theirs.out_features)
    if builder.flat is not None and theirs.in_features % builder.flat:
        _refuse(path, theirs, f"a Linear of a multiple of {builder.flat} features")
    builder.rank = 2 if builder.rank == 2 else None
    arrays = dict(theirs.state_dict())
    return builder.filled(layer, theirs) if "bias" in arrays else builder.filled(layer, _WithoutBias(theirs))


class _WithoutBias:
    """A Linear without a bias, as one whose bias is 0."""

    def __init__(self, theirs: Any) -> None:
        self.theirs = theirs

    def state_dict(self) -> dict[str, Any]:
        weight = self.theirs.weight
        return {"weight": weight, "bias": weight.new_zeros(weight.shape[0])}


def _pooling(layer: Any, rank: int) -> Callable[[_Builder, str, Any], Module]:
    def build(builder: _Builder, path: str, theirs: Any) -> Module:
        _check(path, theirs, ceil_mode=False)
        padding = _pair(theirs.padding)
        if "Max" in type(theirs).__name__:
            _check(path, theirs, dilation=(1, (1,), (1, 1)), return_indices=False)
        elif padding != 0:
            _check(path, theirs, count_include_pad=False)
        if getattr(theirs, "divisor_override", None) is not None:
            _refuse(path, theirs, "a layer with divisor_override=None")
        builder.rank = rank
        made: Module = layer(_pair(theirs.kernel_size), _pair(theirs.stride), padding)
        return made
    return build


def _global_pooling(builder: _Builder, path: str, theirs: Any) -> Module:
    if {*(theirs.output_size if isinstance(theirs.output_size, tuple) else (theirs.output_size,))} != {1}:
        _refuse(path, theirs, "a layer with output_size=1")
    builder.pooled = True  # (N,C) here, (N,C,1,1) in PyTorch
    return nn.GlobalAveragePool()


def _flatten(builder: _Builder, path: str, theirs: Any) -> Module | None:
    _check(path, theirs, start_dim=1, end_dim=-1)
    was_pooled, builder.pooled = builder.pooled, False
    if not was_pooled and builder.rank != 2:
        if builder.channels is None:
            _refuse(path, theirs, "behind a convolution, or input_shape be given, since the number of channels decides "
                                  "the order of features")
        builder.flat = builder.channels
    builder.rank = 2
    return None if was_pooled else nn.Flatten()


def _softmax(builder: _Builder, path: str, theirs: Any) -> Module:
    if theirs.dim not in ((1, -1, None) if builder.rank in (None, 2) else (1,)):
        _refuse(path, theirs, "a Softmax of the channels, dim=1")
    return nn.Softmax()


def _gelu(builder: _Builder, path: str, theirs: Any) -> Module:
    _check(path, theirs, approximate="none")
    return nn.GELU()


def _dropout(builder: _Builder, path: str, theirs: Any) -> Module | None:
    return nn.Dropout(theirs.p) if theirs.p else None


def _recurrent(builder: _Builder, path: str, theirs: Any) -> Module:
    """A layer for each layer of a stacked LSTM, GRU or RNN, with the two directions in a Bidirectional."""
    if path:
        _refuse(path, theirs, "the whole model, since it gives a tuple in PyTorch")
    _check(path, theirs, proj_size=0)
    name = type(theirs).__name__
    if name == "RNN":
        _check(path, theirs, nonlinearity="tanh")
    kind: Any = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.SimpleRNN}[name]
    layers: list[Module] = []
    for number in range(theirs.num_layers):
        inputs = theirs.hidden_size * (1 + theirs.bidirectional) if number else theirs.input_size
        layer: Any = kind(inputs, theirs.hidden_size)
        if theirs.bidirectional:
            layer = nn.Bidirectional(layer)
            _fill(layer.backwards, theirs, f"_l{number}_reverse")
        _fill(layer.layer if theirs.bidirectional else layer, theirs, f"_l{number}")
        layers += [layer, nn.Dropout(theirs.dropout)] if theirs.dropout and number + 1 < theirs.num_layers else [layer]
    return nn.Sequential(*layers)


def _fill(layer: Any, theirs: Any, ending: str) -> None:
    """Load the weights of PyTorch's names with this ending. A missing bias is zero."""
    state = {name: value.detach().cpu().numpy() for name, value in theirs.state_dict().items()}
    arrays = {f"{name}_l0": state.get(f"{name}{ending}", np.zeros(layer.W.shape[1], "float32"))
              for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    layer.load_state_dict(ours_of(TORCH, layer, arrays, None))


_RULES: dict[str, Callable[[_Builder, str, Any], Module | None]] = {
    "Sequential": _sequential, "Conv1d": _convolution, "Conv2d": _convolution, "BatchNorm1d": _batch_norm,
    "BatchNorm2d": _batch_norm, "ReLU": lambda *_: nn.ReLU(), "SiLU": lambda *_: nn.SiLU(), "GELU": _gelu,
    "LeakyReLU": lambda builder, path, theirs: nn.LeakyReLU(theirs.negative_slope),
    "ELU": lambda builder, path, theirs: nn.ELU(theirs.alpha), "Sigmoid": lambda *_: nn.Sigmoid(),
    "Tanh": lambda *_: nn.Tanh(), "Softmax": _softmax, "Dropout": _dropout, "MaxPool1d": _pooling(nn.MaxPool1D, 3),
    "MaxPool2d": _pooling(nn.MaxPool2D, 4), "AvgPool1d": _pooling(nn.AvgPool1D, 3),
    "AvgPool2d": _pooling(nn.AvgPool2D, 4), "AdaptiveAvgPool1d": _global_pooling,
    "AdaptiveAvgPool2d": _global_pooling, "Flatten": _flatten, "Linear": _linear, "Identity": lambda *_: None,
    "LSTM": _recurrent, "GRU": _recurrent, "RNN": _recurrent}
