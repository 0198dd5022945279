"""Convolution layers. Their math is in ops/conv.py."""

import math
from typing import Any, ClassVar

from tinynet import init, ops
from tinynet.errors import ArgumentError
from tinynet.nn.masks import of_windows, real_steps
from tinynet.nn.module import Module
from tinynet.nn.parameter import Parameter
from tinynet.plain import sizes, whole
from tinynet.tensor import Tensor
from tinynet.types import ArrayLike, Pad, Pads, Pair
from tinynet.window import check_window, check_windows, pair, window


class Conv1D(Module):
    """A one-dimensional convolution over sequences, with `filters` kernels of `width` steps.

    Shapes: x (N, T, inputs) -> (N, T', filters). `padding` is "valid", "same" (as TensorFlow pads), "causal" or a
    number of steps on both sides. Parameters: W (width, inputs / groups, filters), He uniform; b (filters), zeros.
    The math: `tn.ops.conv1d`.

    With `groups`, inputs and filters are divided into as many blocks, and a filter reads those of its block alone.

    With a mask, masked steps count as zeros. An output is real where its own step is ("same", "causal"), or all steps
    of its window are ("valid"); with a stride above 1, where the first step of its window is. "same" with a stride pads
    by the padded length: a sequence alone may have other windows.

    >>> import tinynet as tn
    >>> tn.nn.Conv1D(2, 4, 3)(tn.Tensor([[[0.0, 1.0]] * 7])).shape
    (1, 5, 4)
    """

    added_options: ClassVar[dict[str, Any]] = {"groups": 1}

    def __init__(self, inputs: int, filters: int, width: int, *, stride: int = 1, padding: Pad = "valid",
                 dilation: int = 1, bias: bool = True, groups: int = 1) -> None:
        inputs, filters = sizes("Conv1D", inputs=inputs, filters=filters)
        check_window("Conv1D", width, stride, padding, dilation)
        self.inputs, self.filters, self.width = inputs, filters, int(width)
        self.stride, self.padding, self.dilation, self.bias = stride, padding, dilation, bias
        self.groups = check_groups("Conv1D", groups, inputs, filters)
        self.W = Parameter(init.he_uniform((width, inputs // self.groups, filters)))
        self.b = Parameter(init.zeros((filters,))) if bias else None

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        x = real_steps(x, mask)
        return ops.conv1d(x, self.W, self.b, stride=self.stride, padding=self.padding, dilation=self.dilation,
                          groups=self.groups)

    def output_mask(self, mask: Tensor) -> Tensor:
        at = window("conv1d", "T", mask.shape[1], self.width, self.stride, self.padding, self.dilation)
        return of_windows(mask, at, self.padding)


class Conv2D(Module):
    """A two-dimensional convolution over images, channels last, with `filters` kernels of `size` (height, width).

    Shapes: x (N, H, W, inputs) -> (N, H', W', filters). `size`, `stride`, `padding` and `dilation` are one value or a
    pair; padding is "valid", "same" (as TensorFlow pads) or a number of pixels on both sides. Parameters: W (height,
    width, inputs / groups, filters), He uniform; b (filters), zeros. The math: `tn.ops.conv2d`.

    With `groups`, inputs and filters are divided into as many blocks, and a filter reads those of its block alone. With
    groups = inputs that is a depthwise convolution.

    >>> import tinynet as tn
    >>> tn.nn.Conv2D(1, 4, 3, padding="same")(tn.Tensor([[[[0.0]] * 5] * 6])).shape
    (1, 6, 5, 4)
    """

    added_options: ClassVar[dict[str, Any]] = {"groups": 1}

    def __init__(self, inputs: int, filters: int, size: Pair, *, stride: Pair = 1, padding: Pads = "valid",
                 dilation: Pair = 1, bias: bool = True, groups: int = 1) -> None:
        inputs, filters = sizes("Conv2D", inputs=inputs, filters=filters)
        check_windows("Conv2D", size, stride, padding, dilation)
        self.inputs, self.filters, self.size = inputs, filters, size
        self.stride, self.padding, self.dilation, self.bias = stride, padding, dilation, bias
        height, width = pair("Conv2D", "size", size)
        self.groups = check_groups("Conv2D", groups, inputs, filters)
        self.W = Parameter(init.he_uniform((height, width, inputs // self.groups, filters)))
        self.b = Parameter(init.zeros((filters,))) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv2d(x, self.W, self.b, stride=self.stride, padding=self.padding, dilation=self.dilation,
                          groups=self.groups)


def check_groups(layer: str, groups: Any, inputs: int, filters: int) -> int:
    """The number of groups as Python's integer. Errors: ArgumentError unless it divides inputs and filters."""
    groups = whole(layer, "groups", groups, 1, usual="groups=1")
    if inputs % groups or filters % groups:
        raise ArgumentError(f"{layer}: groups must divide inputs and filters, got groups = {groups} for {inputs} and "
                            f"{filters}; groups={math.gcd(inputs, filters)}?")
    return groups
