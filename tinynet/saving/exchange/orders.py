"""The order of features in PyTorch, which has channels first: what its Flatten gives, and the weights that follow it.

    ours      (H,W,C) flattened       feature  (W h + w) C + c
    PyTorch   (C,H,W) flattened       feature  (H c + h) W + w

A Flatten of channels gives features in another order. The layers behind it keep that order, up to the first Dense,
whose rows are permuted.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinynet import nn
from tinynet.errors import ShapeError, StateError
from tinynet.nn.module import Module
from tinynet.nn.recurrent import Recurrent
from tinynet.nn.summary import ModuleCall, trace
from tinynet.types import Shape

Order = Any  # of features: theirs[j] is ours[order[j]]; None if both are equal
PER_FEATURE: dict[type[Module], tuple[str, ...]] = {  # arrays whose first axis is the input's features
    nn.Dense: ("W",), nn.BatchNorm: ("gamma", "beta", "running_mean", "running_var"), nn.LayerNorm: ("gamma", "beta")}
CHANNELS_FIRST = (nn.Conv1D, nn.Conv2D, nn.MaxPool1D, nn.MaxPool2D, nn.AvgPool1D, nn.AvgPool2D)  # in PyTorch
_CHANNELS_LAST = (Recurrent, nn.Reshape, nn.GlobalAveragePool, nn.GlobalMaxPool, nn.Flatten, nn.Dense)  # also there


class _Array(NamedTuple):
    """What is known of an array between two layers.

    shape     ours, without the batch
    channel   the axis of the channels in PyTorch, without the batch; None if it is the last one there, too
    order     of the features on the last axis
    """

    shape: Shape
    channel: int | None
    order: Order


def orders(function: str, model: Module) -> dict[int, Order]:
    """The order of PyTorch's features for each layer between a Flatten of channels and the next Dense, by its id."""
    kinds = {type(module) for _, module in model.modules()}
    if nn.Flatten not in kinds or not kinds & {*CHANNELS_FIRST}:
        return {}
    if model.input_shape is None:
        raise ShapeError(f"{function}: input_shape must be known, since PyTorch flattens channels first, and is None; "
                         "model.input_shape = (28, 28, 1)? (or channels_last=True, if that model does not)")
    found = _Orders(function)
    found.through(trace(model, model.input_shape),
                  _Array(model.input_shape, 0 if len(model.input_shape) == 3 else None, None))
    return found.orders


class _Orders:
    def __init__(self, function: str) -> None:
        self.function = function
        self.orders: dict[int, Order] = {}

    def through(self, call: ModuleCall, x: _Array) -> _Array:
        """The output of a module for an input x."""
        module, y = call.module, x
        if isinstance(module, nn.Parallel):
            y = self.merged(module.merge_mode, [self.through(branch, x) for branch in call.inside])
        elif isinstance(module, nn.Residual):
            y = self.merged("sum", [x, self.through(call.inside[0], x)])
        elif isinstance(module, nn.TimeDistributed):
            y = self.through(call.inside[0], _Array(x.shape[1:], x.channel - 1 if x.channel else None, x.order))
            y = y._replace(channel=None if y.channel is None else y.channel + 1)
        elif list(module.children()):
            for part in call.inside:
                y = self.through(part, y)
        else:
            y = self.through_a_layer(module, x)
        return y._replace(shape=call.shape)

    def through_a_layer(self, layer: Module, x: _Array) -> _Array:
        shape, channel, order = x
        if isinstance(layer, nn.Flatten):
            order = _flattened(x)
        elif order is not None and isinstance(layer, nn.Reshape | Recurrent):
            raise StateError(f"{self.function}: after a Flatten there must be a Dense before {type(layer).__name__}, "
                             "which takes features in their order; leave the Flatten out")
        elif type(layer) in PER_FEATURE and not _equal(self.orders.setdefault(id(layer), order), order, shape[-1]):
            raise StateError(f"{self.function}: {type(layer).__name__} must have its features in one order in all its "
                             "calls, and PyTorch has another one behind a Flatten of channels; two layers?")
        if isinstance(layer, nn.Dense):
            order = None
        if isinstance(layer, CHANNELS_FIRST):
            channel = 0
        elif isinstance(layer, _CHANNELS_LAST):
            channel = None
        return _Array(shape, channel, order)

    def merged(self, merge_mode: str, parts: Sequence[_Array]) -> _Array:
        """Arrays side by side on the axis of the channels, or their sum."""
        order, sizes = parts[0].order, [part.shape[-1] for part in parts]
        if merge_mode == "concat":
            if any(part.order is not None for part in parts):
                order = np.concatenate([sum(sizes[:i]) + _indices(part.order, sizes[i])
                                        for i, part in enumerate(parts)])
        elif not all(_equal(part.order, order, sizes[0]) for part in parts):
            raise StateError(f"{self.function}: the parts of a sum must have their features in one order, and those "
                             "behind a Flatten of channels have another one in PyTorch; a Dense behind the Flatten?")
        channel = next((part.channel for part in parts if part.channel is not None), None)
        return _Array(parts[0].shape, channel, order)


def _flattened(x: _Array) -> Order:
    if x.channel in (None, len(x.shape) - 1) and x.order is None:
        return None
    features = np.arange(math.prod(x.shape)).reshape(x.shape)[..., _indices(x.order, x.shape[-1])]
    return (features if x.channel is None else np.moveaxis(features, -1, x.channel)).ravel()


def _indices(order: Order, size: int) -> Any:
    return np.arange(size) if order is None else order


def _equal(one: Order, other: Order, size: int) -> bool:
    return np.array_equal(_indices(one, size), _indices(other, size))
