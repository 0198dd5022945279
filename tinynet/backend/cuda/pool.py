"""The pooling of ops/pool.py on a GPU, by the kernels of pool.cu. What bounds it: memory; so what is remembered of a
window, which tap had the largest, takes two bytes.
"""

from typing import Any

from tinynet.backend.cuda.runtime.launch import Kernels, one_each
from tinynet.backend.cuda.runtime.windows import numbers
from tinynet.window import ONE_ROW, Window, pool_window, pool_windows

_TAPS = 2**16  # of a window, whose numbers fit into two bytes

_cuda = Kernels("pool")


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
    winner, shape, places = cache
    return _spread(xp, "dmax_pool", shape, places, dy, winner)


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
    shape, places = cache
    return _spread(xp, "davg_pool", shape, places, dy)


def _max_pool(xp: Any, x: Any, rows: Window, columns: Window) -> Any:
    if x.dtype != xp.float32 or rows.width * columns.width > _TAPS:
        return NotImplemented
    winner = xp.empty((x.shape[0], rows.outputs, columns.outputs, x.shape[3]), xp.uint16)
    y, places = _gathered(xp, "max_pool", x, rows, columns, winner)
    return y, (winner, x.shape, places)


def _avg_pool(xp: Any, x: Any, rows: Window, columns: Window) -> Any:
    if x.dtype != xp.float32:
        return NotImplemented
    y, places = _gathered(xp, "avg_pool", x, rows, columns)
    return y, (x.shape, places)


def _gathered(xp: Any, kernel: str, x: Any, rows: Window, columns: Window, *more: Any) -> Any:
    """The outputs, and where their windows stand."""
    N, H, W, C = x.shape
    places = *numbers(rows, H), *numbers(columns, W)
    y = xp.empty((N, rows.outputs, columns.outputs, C), x.dtype)
    _cuda.launch(kernel, one_each(y.size), xp.ascontiguousarray(x), y, *more, y.size, C, *places)
    return y, places


def _spread(xp: Any, kernel: str, shape: Any, places: Any, dy: Any, *more: Any) -> Any:
    """dx, of this shape."""
    dx = xp.empty(shape, dy.dtype)
    _cuda.launch(kernel, one_each(dx.size), xp.ascontiguousarray(dy), *more, dx, dx.size, shape[3], *places)
    return dx


def _one_row(result: Any) -> Any:
    """Of (N,1,T,C) the only row."""
    return result if result is NotImplemented else (result[0][:, 0], result[1])
