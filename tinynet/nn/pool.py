"""Pooling layers. Their math is in ops/pool.py."""

from typing import ClassVar

from tinynet import ops
from tinynet.errors import ShapeError
from tinynet.nn.module import Module
from tinynet.op import Op
from tinynet.tensor import Tensor
from tinynet.types import Pads, Pair


class _Pool(Module):
    """A pooling layer with windows of `size`, `stride` apart (default: `size`)."""

    op: ClassVar[Op[Tensor]]

    def __init__(self, size: Pair, stride: Pair | None = None, padding: Pads = "valid") -> None:
        self.size, self.stride, self.padding = size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return type(self).op(x, self.size, self.stride, self.padding)


class MaxPool1D(_Pool):
    """The maximum of each window of `size` steps. x (N, T, C) -> (N, T', C). The math: `tn.ops.max_pool1d`.

    >>> import tinynet as tn
    >>> tn.nn.MaxPool1D(2)(tn.Tensor([[[1.0], [3.0], [2.0], [0.0]]])).numpy().ravel()
    array([3., 2.], dtype=float32)
    """

    op = ops.max_pool1d


class MaxPool2D(_Pool):
    """The maximum of each window of `size` pixels. x (N, H, W, C) -> (N, H', W', C). The math: `tn.ops.max_pool2d`.

    >>> import tinynet as tn
    >>> tn.nn.MaxPool2D(2)(tn.Tensor([[[[1.0], [3.0]], [[2.0], [0.0]]]])).numpy().ravel()
    array([3.], dtype=float32)
    """

    op = ops.max_pool2d


class AvgPool1D(_Pool):
    """The mean of each window of `size` steps. x (N, T, C) -> (N, T', C). The math: `tn.ops.avg_pool1d`.

    >>> import tinynet as tn
    >>> tn.nn.AvgPool1D(2)(tn.Tensor([[[1.0], [3.0], [2.0], [0.0]]])).numpy().ravel()
    array([2., 1.], dtype=float32)
    """

    op = ops.avg_pool1d


class AvgPool2D(_Pool):
    """The mean of each window of `size` pixels. x (N, H, W, C) -> (N, H', W', C). The math: `tn.ops.avg_pool2d`.

    >>> import tinynet as tn
    >>> tn.nn.AvgPool2D(2)(tn.Tensor([[[[1.0], [3.0]], [[2.0], [0.0]]]])).numpy().ravel()
    array([1.5], dtype=float32)
    """

    op = ops.avg_pool2d


class GlobalAveragePool(Module):
    """The mean over all axes between batch and channels. x (N, ..., C) -> (N, C). The math: `tn.ops.mean`.

    >>> import tinynet as tn
    >>> tn.nn.GlobalAveragePool()(tn.Tensor([[[1.0], [3.0]]])).numpy()
    array([[2.]], dtype=float32)
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim < 3:
            raise ShapeError(f"GlobalAveragePool: x must be (N,...,C) with an axis to average, got {x.shape}; "
                             "leave the layer out?")
        return x.mean(axis=tuple(range(1, x.ndim - 1)))
