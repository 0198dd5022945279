"""The convolutions of ops/conv.py on a GPU, for float32. Conv1D runs as Conv2D on images of height 1.

Layout    some images at a time; R of their outputs t; K = KH KW C

  quantity       here                                 specification
  x, y, δy, δx   in C order                           (N, H, W, C), (N, H', W', F)
  windows        (R, K): row t holds the window of t  x with its padding, (N, H + ..., W + ..., C)
  W, δW          (K, F)                               (KH, KW, C, F)
  cache          x without padding, W, the windows    x with its padding, W, the windows

Names of the equations, and what they are in the kernels; `rows` and `columns` are the windows along the two axes

  t              (i, j), or (out.h, out.w): an output
  k              (kh, kw), an element of the kernel
  s, d, p        (rows.stride, columns.stride), the `dilation` and the `before` of both likewise
  t s + k d − p  (h, w), or (in.h, in.w): a pixel, by `position`
"""

from collections.abc import Iterator
from typing import Any

from tinynet.backend.cuda.column_sums import add_bias, column_sums
from tinynet.backend.cuda.runtime.gemm import matmul
from tinynet.backend.cuda.runtime.launch import Kernels, one_each
from tinynet.window import ONE_ROW, Window, window, windows

# --- Equations ------------------------------------------------------------------------------------------------------

_cuda = Kernels("conv")


def _unfolded(xp: Any, x: Any, rows: Window, columns: Window) -> Any:
    """The windows (R, K) of x (N,H,W,C)."""
    N, *sizes = x.shape
    made = xp.empty((N * rows.outputs * columns.outputs, rows.width * columns.width * x.shape[3]), x.dtype)
    _cuda.launch("unfold", one_each(made.size), x, made, rows, columns, *sizes, made.size)
    return made


def _outputs(xp: Any, x: Any, W: Any, rows: Window, columns: Window, y: Any) -> None:
    """y (R, F) of x (N,H,W,C) and W (K, F)."""
    matmul(_unfolded(xp, x, rows, columns), W, out=y)  # (1)


def _dx(W: Any, dy: Any, rows: Window, columns: Window, dx: Any) -> None:
    """dx (N,H,W,C) of W (K, F) and dy (R, F)."""
    _cuda.launch("fold", one_each(dx.size), matmul(dy, W.T), dx, rows, columns, *dx.shape[1:], dx.size)  # (2)


def _add_dW(xp: Any, x: Any, dy: Any, rows: Window, columns: Window, dW: Any, is_first: bool) -> None:
    """Add the part of these images to dW (K, F)."""
    matmul(_unfolded(xp, x, rows, columns).T, dy, out=dW, accumulate=not is_first)  # (3)


# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by the products, and by writing and reading the unfolded windows, KH KW times the image. They are made for a few
# images at a time, which limits their memory. Backward unfolds again instead of keeping them.

_UNFOLDED = 1 << 25  # elements of unfolded windows at a time: 128 MiB


def _chunks(rows: Window, columns: Window, x: Any, *others: Any) -> Iterator[tuple[Any, ...]]:
    """Some images of x at a time, with the part of each other array that belongs to them; None stays None."""
    N = x.shape[0]
    step = max(1, _UNFOLDED // (rows.outputs * columns.outputs * rows.width * columns.width * x.shape[3]))
    if step >= N:
        yield x, *others
        return
    for start in range(0, N, step):
        yield tuple([None if array is None else array[start * len(array) // N : (start + step) * len(array) // N]
                     for array in (x, *others)])


def _convolve(xp: Any, x: Any, W: Any, b: Any, rows: Window, columns: Window) -> Any:
    x, W = xp.ascontiguousarray(x), xp.ascontiguousarray(W)
    N, F, outputs = x.shape[0], W.shape[-1], rows.outputs * columns.outputs
    y, flat = xp.empty((N * outputs, F), x.dtype), W.reshape(-1, F)  # (N H' W',F), (K,F)
    for images, its_y in _chunks(rows, columns, x, y):
        _outputs(xp, images, flat, rows, columns, its_y)
    if b is not None:
        add_bias(y, xp.ascontiguousarray(b))  # (1)
    return y.reshape(N, rows.outputs, columns.outputs, F), (x, W, rows, columns)


def _dconvolve(xp: Any, dy: Any, cache: Any, needs: Any) -> Any:
    x, W, rows, columns = cache
    F = W.shape[-1]
    dx: Any = xp.empty(x.shape, x.dtype) if needs[0] else None
    flat, dy = W.reshape(-1, F), xp.ascontiguousarray(dy).reshape(-1, F)  # (K,F), (N H' W',F)
    dW: Any = xp.empty(flat.shape, W.dtype) if needs[1] else None
    is_first = True
    for images, its_dy, its_dx in _chunks(rows, columns, x, dy, dx):
        if needs[0]:
            _dx(flat, its_dy, rows, columns, its_dx)
        if needs[1]:
            _add_dW(xp, images, its_dy, rows, columns, dW, is_first)
        is_first = False
    db = column_sums(xp, dy) if needs[2] else None  # (4)
    return dx, dW.reshape(W.shape) if needs[1] else None, db


# --- Entry ----------------------------------------------------------------------------------------------------------

def conv1d(xp: Any, x: Any, W: Any, b: Any = None, *, stride: int = 1, padding: Any = "valid",
           dilation: int = 1, groups: int = 1) -> Any:
    """See `tn.ops.conv1d`. float32, without groups."""
    if x.dtype != xp.float32 or not W.size or groups != 1:
        return NotImplemented
    columns = window("conv1d", "T", x.shape[1], W.shape[0], stride, padding, dilation)
    y, cache = _convolve(xp, x[:, None], W, b, ONE_ROW, columns)
    return y[:, 0], cache  # (N,T',F)


def dconv1d(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.conv1d`."""
    dx, dW, db = _dconvolve(xp, dy, cache, needs)
    return None if dx is None else dx[:, 0], dW, db


def conv2d(xp: Any, x: Any, W: Any, b: Any = None, *, stride: Any = 1, padding: Any = "valid",
           dilation: Any = 1, groups: int = 1) -> Any:
    """See `tn.ops.conv2d`. float32, without groups."""
    if x.dtype != xp.float32 or not W.size or groups != 1:
        return NotImplemented
    return _convolve(xp, x, W, b, *windows("conv2d", x.shape[1:3], W.shape[:2], stride, padding, dilation))


def dconv2d(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.conv2d`."""
    return _dconvolve(xp, dy, cache, needs)
