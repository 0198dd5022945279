"""The pooling of ops/pool.py on a GPU, for float32. The ops on sequences are those on images of height 1.

Layout

  quantity       here                             specification
  x, y, δy, δx   in C order                       (N, H, W, C), (N, H', W', C)
  winner         uint16 (N, H', W', C)            int32
  cache          winner (max), the shape of x,    winner (max), R (mean), the shape of x, the windows
                 the windows

Names of the equations, and what they are in the kernels; `rows` and `columns` are the windows along the two axes

  t              (i, j), or (out.h, out.w): an output
  k              (kh, kw), an element of the window; its number, `tap`, is kh KW + kw
  s, p           (rows.stride, columns.stride), (rows.before, columns.before)
  t s + k − p    (h, w), or (in.h, in.w): a pixel, by `position`
  Rₜ             the product of `elements_inside` along both axes
"""

from typing import Any

from tinynet.backend.cuda.runtime.launch import Kernels, one_each
from tinynet.window import ONE_ROW, Window, pool_window, pool_windows

# --- Equations ------------------------------------------------------------------------------------------------------

_cuda = Kernels("pool")

# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by memory. So the cache takes two bytes for each output: the number of the largest element of its window.

_TAPS = 2**16  # elements of a window that two bytes can number


def _max_pool(xp: Any, x: Any, rows: Window, columns: Window) -> Any:
    if x.dtype != xp.float32 or rows.width * columns.width > _TAPS:
        return NotImplemented
    winner = xp.empty((x.shape[0], rows.outputs, columns.outputs, x.shape[3]), xp.uint16)
    return _pooled(xp, "max_pool", x, rows, columns, winner), (winner, x.shape, rows, columns)


def _avg_pool(xp: Any, x: Any, rows: Window, columns: Window) -> Any:
    if x.dtype != xp.float32:
        return NotImplemented
    return _pooled(xp, "avg_pool", x, rows, columns), (x.shape, rows, columns)


def _pooled(xp: Any, kernel: str, x: Any, rows: Window, columns: Window, *more: Any) -> Any:
    """y (N, H', W', C)"""
    N, H, W, C = x.shape
    y = xp.empty((N, rows.outputs, columns.outputs, C), x.dtype)
    _cuda.launch(kernel, one_each(y.size), xp.ascontiguousarray(x), y, *more, rows, columns, H, W, C, y.size)
    return y


def _unpooled(xp: Any, kernel: str, shape: Any, rows: Window, columns: Window, dy: Any, *more: Any) -> Any:
    """dx, of this shape."""
    dx = xp.empty(shape, dy.dtype)
    _cuda.launch(kernel, one_each(dx.size), xp.ascontiguousarray(dy), *more, dx, rows, columns, *shape[1:], dx.size)
    return dx


def _one_row(result: Any) -> Any:
    """The only row of y (N, 1, T, C)."""
    return result if result is NotImplemented else (result[0][:, 0], result[1])


# --- Entry ----------------------------------------------------------------------------------------------------------

def max_pool1d(xp: Any, x: Any, size: int, stride: int | None = None, padding: Any = "valid") -> Any:
    """See `tn.ops.max_pool1d`. float32."""
    columns = pool_window("max_pool1d", "T", x.shape[1], size, stride, padding)
    return _one_row(_max_pool(xp, x[:, None], ONE_ROW, columns))


def dmax_pool1d(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.max_pool1d`."""
    return dmax_pool2d(xp, dy[:, None], cache=cache, needs=needs)[:, 0]  # (N,T,C)


def max_pool2d(xp: Any, x: Any, size: Any, stride: Any = None, padding: Any = "valid") -> Any:
    """See `tn.ops.max_pool2d`. float32."""
    return _max_pool(xp, x, *pool_windows("max_pool2d", x.shape[1:3], size, stride, padding))


def dmax_pool2d(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.max_pool2d`."""
    winner, shape, rows, columns = cache
    return _unpooled(xp, "dmax_pool", shape, rows, columns, dy, winner)


def avg_pool1d(xp: Any, x: Any, size: int, stride: int | None = None, padding: Any = "valid") -> Any:
    """See `tn.ops.avg_pool1d`. float32."""
    columns = pool_window("avg_pool1d", "T", x.shape[1], size, stride, padding)
    return _one_row(_avg_pool(xp, x[:, None], ONE_ROW, columns))


def davg_pool1d(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.avg_pool1d`."""
    return davg_pool2d(xp, dy[:, None], cache=cache, needs=needs)[:, 0]  # (N,T,C)


def avg_pool2d(xp: Any, x: Any, size: Any, stride: Any = None, padding: Any = "valid") -> Any:
    """See `tn.ops.avg_pool2d`. float32."""
    return _avg_pool(xp, x, *pool_windows("avg_pool2d", x.shape[1:3], size, stride, padding))


def davg_pool2d(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.avg_pool2d`."""
    return _unpooled(xp, "davg_pool", *cache, dy)
