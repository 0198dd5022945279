"""The convolutions of ops/conv.py on a GPU: images are unfolded into matrices (conv.cu), which cuBLAS multiplies.

What bounds it: the products, and writing and reading the unfolded images, KH KW times the image. The tricks: so many
images are unfolded at a time that this stays small; backward unfolds them again instead of keeping it.
"""

from collections.abc import Iterator
from typing import Any

from tinynet.backend import home, room
from tinynet.backend.cuda.column_sums import add_bias, column_sums
from tinynet.backend.cuda.runtime.gemm import matmul
from tinynet.backend.cuda.runtime.launch import Kernels, one_each
from tinynet.backend.cuda.runtime.windows import numbers
from tinynet.window import ONE_ROW, Window, window, windows

_UNFOLDED = 1 << 25  # elements of unfolded images at a time: 128 MiB

_cuda = Kernels("conv")


def conv1d(xp: Any, x: Any, W: Any, b: Any = None, *, stride: int = 1, padding: Any = "valid",
           dilation: int = 1) -> Any:
    """See `tn.ops.conv1d`. float32."""
    if x.dtype != xp.float32 or not W.size:
        return NotImplemented
    columns = window("conv1d", "T", x.shape[1], W.shape[0], stride, padding, dilation)
    y, cache = _convolve(xp, x[:, None], W, b, ONE_ROW, columns)
    return y[:, 0], cache  # (N,T',F)


def dconv1d(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.conv1d`."""
    dx, dW, db = dconv2d(xp, dy, cache=cache, needs=needs)
    return None if dx is None else dx[:, 0], dW, db


def conv2d(xp: Any, x: Any, W: Any, b: Any = None, *, stride: Any = 1, padding: Any = "valid",
           dilation: Any = 1) -> Any:
    """See `tn.ops.conv2d`. float32."""
    if x.dtype != xp.float32 or not W.size:
        return NotImplemented
    return _convolve(xp, x, W, b, *windows("conv2d", x.shape[1:3], W.shape[:2], stride, padding, dilation))


def dconv2d(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.conv2d`."""
    x, W, rows, columns = cache
    C, F = W.shape[-2:]
    outputs = rows.outputs * columns.outputs
    dx: Any = xp.empty(x.shape, x.dtype) if needs[0] else None
    dW: Any = room(xp, needs[1], W) if needs[1] else None
    W, dy = W.reshape(-1, F), xp.ascontiguousarray(dy).reshape(-1, F)  # (KH KW C,F), (N H' W',F)
    for some in _chunks(x, rows, columns):
        its_dy = dy[some.start * outputs : some.stop * outputs]
        if needs[0]:
            part = dx[some]
            _cuda.launch("fold", one_each(part.size), matmul(its_dy, W.T), part, part.size, C,
                         *numbers(rows, x.shape[1]), *numbers(columns, x.shape[2]))  # (2)
        if needs[1]:
            matmul(_unfolded(xp, x[some], rows, columns).T, its_dy, out=dW.reshape(W.shape),
                   accumulate=some.start > 0)  # (3)
    db = column_sums(xp, dy, out=home(needs[2])) if needs[2] else None  # (4)
    return dx, dW, db


def _convolve(xp: Any, x: Any, W: Any, b: Any, rows: Window, columns: Window) -> Any:
    x, W = xp.ascontiguousarray(x), xp.ascontiguousarray(W)
    N, F, outputs = x.shape[0], W.shape[-1], rows.outputs * columns.outputs
    y = xp.empty((N * outputs, F), x.dtype)
    for some in _chunks(x, rows, columns):
        matmul(_unfolded(xp, x[some], rows, columns), W.reshape(-1, F),
               out=y[some.start * outputs : some.stop * outputs])  # (1)
    if b is not None:
        add_bias(y, xp.ascontiguousarray(b))
    return y.reshape(N, rows.outputs, columns.outputs, F), (x, W, rows, columns)


def _chunks(x: Any, rows: Window, columns: Window) -> Iterator[slice]:
    """So many images at a time that they may be unfolded; once none, if there are none."""
    each = rows.outputs * columns.outputs * rows.width * columns.width * x.shape[3]
    step = max(1, _UNFOLDED // each)
    for start in range(0, max(1, x.shape[0]), step):
        yield slice(start, min(start + step, x.shape[0]))


def _unfolded(xp: Any, x: Any, rows: Window, columns: Window) -> Any:
    """(N H' W', KH KW C)"""
    N, H, W, C = x.shape
    windows = xp.empty((N * rows.outputs * columns.outputs, rows.width * columns.width * C), x.dtype)
    _cuda.launch("unfold", one_each(windows.size), x, windows, windows.size, C, *numbers(rows, H), *numbers(columns, W))
    return windows
