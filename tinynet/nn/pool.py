"""Pooling layers. Their math is in ops/pool.py."""

import math
from typing import Any, ClassVar

from tinynet import ops
from tinynet.errors import ArgumentError, ShapeError
from tinynet.nn.masks import as_mask, as_tensor, of_windows, real_steps
from tinynet.nn.module import Module
from tinynet.op import Op
from tinynet.tensor import Tensor
from tinynet.types import ArrayLike, Pad, Pads, Pair
from tinynet.window import check_pool, check_pools, pool_window


class _Pool(Module):
    """Windows of `size`, `stride` apart. With a mask, of the real steps alone; outputs are real as of `Conv1D`."""

    op: ClassVar[Op[Tensor]]
    size: Any
    stride: Any
    padding: Any

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        def pooled(x: Tensor) -> Tensor:
            return type(self).op(x, self.size, self.stride, self.padding)

        x = as_tensor(x)
        if mask is None:
            return pooled(x)
        if x.ndim != 3:
            raise ArgumentError(f"{type(self).__name__}: a mask needs sequences (N,T,C), got x of shape {x.shape}; "
                                "one Conv2D or pool for each image, without a mask?")
        real = as_mask(mask, x)
        if type(self).op is ops.max_pool1d:
            y = pooled(real_steps(x, real, -math.inf))
        else:  # the mean with zeros at masked steps, divided by the share of the real ones
            share = pooled(ops.expand_dims(real.astype(x.dtype), -1))  # (N,T',1)
            y = pooled(real_steps(x, real)) / ops.where(share > 0, share, 1.0)
        return real_steps(y, self.output_mask(real))

    def output_mask(self, mask: Tensor) -> Tensor:
        size, stride, padding = self.size, self.stride, self.padding
        at = pool_window(type(self).op.name, "T", mask.shape[1], size, stride, padding)
        return of_windows(mask, at, padding)


class _Pool1D(_Pool):
    def __init__(self, size: int, stride: int | None = None, padding: Pad = "valid") -> None:
        check_pool(type(self).__name__, size, stride, padding)
        self.size, self.stride, self.padding = size, stride, padding


class _Pool2D(_Pool):
    def __init__(self, size: Pair, stride: Pair | None = None, padding: Pads = "valid") -> None:
        check_pools(type(self).__name__, size, stride, padding)
        self.size, self.stride, self.padding = size, stride, padding


class MaxPool1D(_Pool1D):
    """The maximum of each window of `size` steps. x (N, T, C) -> (N, T', C). The math: `tn.ops.max_pool1d`.

    >>> import tinynet as tn
    >>> tn.nn.MaxPool1D(2)(tn.Tensor([[[1.0], [3.0], [2.0], [0.0]]])).numpy().ravel()
    array([3., 2.], dtype=float32)
    """

    op = ops.max_pool1d


class MaxPool2D(_Pool2D):
    """The maximum of each window of `size` pixels. x (N, H, W, C) -> (N, H', W', C). The math: `tn.ops.max_pool2d`.

    >>> import tinynet as tn
    >>> tn.nn.MaxPool2D(2)(tn.Tensor([[[[1.0], [3.0]], [[2.0], [0.0]]]])).numpy().ravel()
    array([3.], dtype=float32)
    """

    op = ops.max_pool2d


class AvgPool1D(_Pool1D):
    """The mean of each window of `size` steps. x (N, T, C) -> (N, T', C). The math: `tn.ops.avg_pool1d`.

    >>> import tinynet as tn
    >>> tn.nn.AvgPool1D(2)(tn.Tensor([[[1.0], [3.0], [2.0], [0.0]]])).numpy().ravel()
    array([2., 1.], dtype=float32)
    """

    op = ops.avg_pool1d


class AvgPool2D(_Pool2D):
    """The mean of each window of `size` pixels. x (N, H, W, C) -> (N, H', W', C). The math: `tn.ops.avg_pool2d`.

    >>> import tinynet as tn
    >>> tn.nn.AvgPool2D(2)(tn.Tensor([[[[1.0], [3.0]], [[2.0], [0.0]]]])).numpy().ravel()
    array([1.5], dtype=float32)
    """

    op = ops.avg_pool2d


class _GlobalPool(Module):
    """A pooling over all axes between batch and channels. With a mask, over the real steps; 0 without a real one."""

    ends_steps = True

    def axes(self, x: Tensor) -> tuple[int, ...]:
        """The axes to pool over."""
        if x.ndim < 3:
            raise ShapeError(f"{type(self).__name__}: x must be (N,...,C) with an axis to pool over, got {x.shape}; "
                             "leave the layer out?")
        return tuple(range(1, x.ndim - 1))


class GlobalMaxPool(_GlobalPool):
    """The maximum over all axes between batch and channels. x (N, ..., C) -> (N, C). The math: `tn.ops.max`.

    >>> import tinynet as tn
    >>> tn.nn.GlobalMaxPool()(tn.Tensor([[[1.0], [3.0]]]), mask=[[1, 0]]).numpy()
    array([[1.]], dtype=float32)
    """

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        x = as_tensor(x)
        axes = self.axes(x)
        if mask is None:
            return x.max(axis=axes)
        real = as_mask(mask, x)
        y = real_steps(x, real, -math.inf).max(axis=axes)  # (N,C)
        return ops.where(real.astype(x.dtype).sum(axis=1, keepdims=True) > 0, y, 0.0)


class GlobalAveragePool(_GlobalPool):
    """The mean over all axes between batch and channels. x (N, ..., C) -> (N, C). The math: `tn.ops.mean`.

    >>> import tinynet as tn
    >>> tn.nn.GlobalAveragePool()(tn.Tensor([[[1.0], [3.0]]])).numpy()
    array([[2.]], dtype=float32)
    """

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        x = as_tensor(x)
        axes = self.axes(x)
        if mask is None:
            return x.mean(axis=axes)
        real = as_mask(mask, x)
        steps = ops.maximum(real.astype(x.dtype).sum(axis=1, keepdims=True), 1.0)  # (N,1)
        return real_steps(x, real).sum(axis=axes) / (steps * math.prod(x.shape[2:-1]))
