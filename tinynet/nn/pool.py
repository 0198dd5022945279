"""Pooling layers. Their math is in ops/pool.py."""

import math
from typing import ClassVar

from tinynet import ops
from tinynet.errors import ArgumentError, ShapeError
from tinynet.nn.masks import as_mask, as_tensor, count, of_windows, real_steps
from tinynet.nn.module import Module
from tinynet.op import Op
from tinynet.tensor import Tensor
from tinynet.types import ArrayLike, Pads, Pair
from tinynet.window import pool_window


class _Pool(Module):
    """A pooling layer with windows of `size`, `stride` apart (default: `size`).

    With a mask, a window has the real steps alone. An output is real as one of `Conv1D` is.
    """

    op: ClassVar[Op[Tensor]]

    def __init__(self, size: Pair, stride: Pair | None = None, padding: Pads = "valid") -> None:
        self.size, self.stride, self.padding = size, stride, padding

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        if mask is None:
            return self._pooled(x)
        if x.ndim != 3:
            raise ArgumentError(f"{type(self).__name__}: a mask needs sequences (N,T,C), got x of shape {x.shape}; "
                                "one Conv2D or pool for each image, without a mask?")
        real = as_mask(mask, x)
        return real_steps(self._masked(x, real), self.output_mask(real))

    def _pooled(self, x: Tensor) -> Tensor:
        return type(self).op(x, self.size, self.stride, self.padding)

    def _masked(self, x: Tensor, mask: Tensor) -> Tensor:
        """The pooling of the real steps; anything where a window has none."""
        raise NotImplementedError

    def output_mask(self, mask: Tensor) -> Tensor:
        size, stride, padding = self.size, self.stride, self.padding
        at = pool_window(type(self).op.name, "T", mask.shape[1], size, stride, padding)  # type: ignore[arg-type]
        return of_windows(mask, at, padding)


class _MaxPool(_Pool):
    """The largest of each window."""

    def _masked(self, x: Tensor, mask: Tensor) -> Tensor:
        return self._pooled(real_steps(x, mask, -math.inf))


class _AvgPool(_Pool):
    """The mean of each window. With a mask: the mean with zeros at masked steps, divided by the share of real steps."""

    def _masked(self, x: Tensor, mask: Tensor) -> Tensor:
        share = self._pooled(ops.expand_dims(mask.astype(x.dtype), -1))  # (N,T',1)
        return self._pooled(real_steps(x, mask)) / ops.where(share > 0, share, 1.0)


class MaxPool1D(_MaxPool):
    """The maximum of each window of `size` steps. x (N, T, C) -> (N, T', C). The math: `tn.ops.max_pool1d`.

    >>> import tinynet as tn
    >>> tn.nn.MaxPool1D(2)(tn.Tensor([[[1.0], [3.0], [2.0], [0.0]]])).numpy().ravel()
    array([3., 2.], dtype=float32)
    """

    op = ops.max_pool1d


class MaxPool2D(_MaxPool):
    """The maximum of each window of `size` pixels. x (N, H, W, C) -> (N, H', W', C). The math: `tn.ops.max_pool2d`.

    >>> import tinynet as tn
    >>> tn.nn.MaxPool2D(2)(tn.Tensor([[[[1.0], [3.0]], [[2.0], [0.0]]]])).numpy().ravel()
    array([3.], dtype=float32)
    """

    op = ops.max_pool2d


class AvgPool1D(_AvgPool):
    """The mean of each window of `size` steps. x (N, T, C) -> (N, T', C). The math: `tn.ops.avg_pool1d`.

    >>> import tinynet as tn
    >>> tn.nn.AvgPool1D(2)(tn.Tensor([[[1.0], [3.0], [2.0], [0.0]]])).numpy().ravel()
    array([2., 1.], dtype=float32)
    """

    op = ops.avg_pool1d


class AvgPool2D(_AvgPool):
    """The mean of each window of `size` pixels. x (N, H, W, C) -> (N, H', W', C). The math: `tn.ops.avg_pool2d`.

    >>> import tinynet as tn
    >>> tn.nn.AvgPool2D(2)(tn.Tensor([[[[1.0], [3.0]], [[2.0], [0.0]]]])).numpy().ravel()
    array([1.5], dtype=float32)
    """

    op = ops.avg_pool2d


class _GlobalPool(Module):
    """A pooling over all axes between batch and channels. With a mask, over the real steps; 0 without a real one."""

    def output_mask(self, mask: Tensor) -> None:
        return None

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
        return real_steps(x, real).sum(axis=axes) / (count(real, x) * math.prod(x.shape[2:-1]))
