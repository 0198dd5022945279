"""The pooling of ops/pool.py in Numba, for float32. The ops on sequences are those on images of height 1.

Layout

  quantity       here                                           specification
  x, y, δy, δx   flat, in C order                               (N, H, W, C), (N, H', W', C)
  winner         uint8, flat: up to 255 taps                    int32 (N, H', W', C)
  cache          winner (max), the shape of x, the windows      winner (max), R (mean), the shape of x, the windows

Names of the equations, and what they are in the kernels

  t              (i, j), an output; its row is also counted through all images, as n H' + i
  k              (kh, kw), a tap: an element of the window; its number is kh KW + kw
  s, p           (stride_h, stride_w), (before_h, before_w)
  t s + k − p    (h, w), a pixel, with h = i stride_h + kh − before_h and w likewise
  Rₜ             (bottom − top) (right − left): the pixels of the window that lie in the image
"""

from typing import Any

import numpy as np

from tinynet.backend.cpu.runtime.jit import inline, njit
from tinynet.backend.cpu.runtime.memory import contiguous, empty
from tinynet.backend.cpu.runtime.threads import launch, shards_for
from tinynet.backend.cpu.runtime.vector import view
from tinynet.window import ONE_ROW, Window, pool_window, pool_windows

_TAPS = 255  # elements of a window that a byte can number


# --- Equations ------------------------------------------------------------------------------------------------------
# Each function takes one pixel and one output, over all C channels.

@inline
def _larger(x: Any, tap: Any, y: Any, winner: Any) -> None:
    """The larger of y and of the pixel, and which tap it came from. The first NaN stays."""
    for c in range(x.size):
        value, best, first = x[c], y[c], winner[c]
        better = (not value <= best) & (best == best)
        y[c] = value if better else best  # (1)
        winner[c] = first + np.uint8(better) * np.uint8(tap - first)


@inline
def _dlarger(dy: Any, winner: Any, tap: Any, dx: Any) -> None:
    for c in range(dx.size):
        dx[c] += dy[c] if winner[c] == tap else np.float32(0)  # (2)


@inline
def _add(x: Any, y: Any) -> None:
    for c in range(y.size):
        y[c] += x[c]  # (1)


@inline
def _divide(y: Any, share: Any) -> None:
    """`share` is 1 / Rₜ."""
    for c in range(y.size):
        y[c] *= share  # (1)


@inline
def _dmean(dy: Any, share: Any, dx: Any) -> None:
    """`share` is 1 / Rₜ."""
    for c in range(dx.size):
        dx[c] += dy[c] * share  # (2)


# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by memory: forward reads x and writes y once, backward writes δx. A pixel is a contiguous row of channels. The
# largest value so far, or the sum, stays in y until the window is done. Forward, a thread takes rows of outputs;
# backward it takes whole images, because the windows of adjacent rows overlap.

@inline
def _fill(x: Any, value: Any) -> None:
    for c in range(x.size):
        x[c] = value


@njit
def _span(tap: Any, window: Any, outputs: Any, size: Any) -> Any:
    """The first output whose element `tap` lies in the image, and one past the last such output."""
    _, stride, before = window
    return max(0, (before - tap + stride - 1) // stride), min(outputs, (size - 1 - tap + before) // stride + 1)


@njit
def _inside(output: Any, window: Any, size: Any) -> Any:
    """The first pixel of an output's window that lies in the image, and one past the last such pixel."""
    width, stride, before = window
    start = output * stride - before
    return max(0, start), min(size, start + width)


@njit
def _max(shard: Any, shards: Any, x: Any, image: Any, windows: Any, y: Any, outputs: Any, winner: Any) -> None:
    height, width, C = image
    (KH, stride_h, before_h), (KW, stride_w, before_w) = windows
    N, rows, columns = outputs
    for row in range(shard * N * rows // shards, (shard + 1) * N * rows // shards):
        n, i = row // rows, row % rows
        _fill(view(y, row * columns * C, columns * C), np.float32(-np.inf))
        top = max(0, before_h - i * stride_h)  # of the first element in the image: padding never wins
        for j in range(columns):
            left = max(0, before_w - j * stride_w)
            _fill(view(winner, (row * columns + j) * C, C), np.uint8(top * KW + left))
        for kh in range(KH):
            h = i * stride_h + kh - before_h
            for kw in range(KW):
                first, end = _span(kw, windows[1], columns, width)
                for j in range(first, end if 0 <= h < height else first):
                    pixel, out = ((n * height + h) * width + j * stride_w + kw - before_w) * C, (row * columns + j) * C
                    _larger(view(x, pixel, C), np.uint8(kh * KW + kw), view(y, out, C), view(winner, out, C))


@njit
def _dmax(shard: Any, shards: Any, dy: Any, outputs: Any, winner: Any, windows: Any, dx: Any, image: Any) -> None:
    height, width, C = image
    (KH, stride_h, before_h), (KW, stride_w, before_w) = windows
    N, rows, columns = outputs
    for n in range(shard * N // shards, (shard + 1) * N // shards):
        _fill(view(dx, n * height * width * C, height * width * C), np.float32(0))
        for i in range(rows):
            for kh in range(KH):
                h = i * stride_h + kh - before_h
                for kw in range(KW):
                    first, end = _span(kw, windows[1], columns, width)
                    for j in range(first, end if 0 <= h < height else first):
                        pixel = ((n * height + h) * width + j * stride_w + kw - before_w) * C
                        out = ((n * rows + i) * columns + j) * C
                        _dlarger(view(dy, out, C), view(winner, out, C), np.uint8(kh * KW + kw), view(dx, pixel, C))


@njit
def _avg(shard: Any, shards: Any, x: Any, image: Any, windows: Any, y: Any, outputs: Any) -> None:
    height, width, C = image
    N, rows, columns = outputs
    for row in range(shard * N * rows // shards, (shard + 1) * N * rows // shards):
        n = row // rows
        top, bottom = _inside(row % rows, windows[0], height)
        for j in range(columns):
            left, right = _inside(j, windows[1], width)
            out = view(y, (row * columns + j) * C, C)
            _fill(out, np.float32(0))
            for h in range(top, bottom):
                for w in range(left, right):
                    _add(view(x, ((n * height + h) * width + w) * C, C), out)
            _divide(out, np.float32(1 / ((bottom - top) * (right - left))))


@njit
def _davg(shard: Any, shards: Any, dy: Any, outputs: Any, windows: Any, dx: Any, image: Any) -> None:
    height, width, C = image
    N, rows, columns = outputs
    for n in range(shard * N // shards, (shard + 1) * N // shards):
        _fill(view(dx, n * height * width * C, height * width * C), np.float32(0))
        for i in range(rows):
            top, bottom = _inside(i, windows[0], height)
            for j in range(columns):
                left, right = _inside(j, windows[1], width)
                out, share = ((n * rows + i) * columns + j) * C, np.float32(1 / ((bottom - top) * (right - left)))
                for h in range(top, bottom):
                    for w in range(left, right):
                        _dmean(view(dy, out, C), share, view(dx, ((n * height + h) * width + w) * C, C))


def _pooled(kernel: Any, x: Any, rows: Window, columns: Window, *more: Any) -> Any:
    """y, and what backward needs of the windows: (width, stride, padding in front) along both axes."""
    windows = (rows.width, rows.stride, rows.before), (columns.width, columns.stride, columns.before)
    y = empty((x.shape[0], rows.outputs, columns.outputs, x.shape[3]))
    launch(kernel, contiguous(x).reshape(-1), x.shape[1:], windows, y.reshape(-1), y.shape[:3], *more,
           shards=shards_for(x.size))
    return y, windows


def _unpooled(kernel: Any, dy: Any, shape: Any, *more: Any) -> Any:
    """δx, of this shape."""
    dx = empty(shape)
    launch(kernel, contiguous(dy).reshape(-1), dy.shape[:3], *more, dx.reshape(-1), shape[1:],
           shards=shards_for(dx.size, shape[0]))
    return dx


def _max_pool(x: Any, rows: Window, columns: Window) -> Any:
    if x.dtype != np.float32 or rows.width * columns.width > _TAPS:
        return NotImplemented
    winner = empty((x.shape[0], rows.outputs, columns.outputs, x.shape[3]), np.uint8)
    y, windows = _pooled(_max, x, rows, columns, winner.reshape(-1))
    return y, (winner, x.shape, windows)


def _avg_pool(x: Any, rows: Window, columns: Window) -> Any:
    if x.dtype != np.float32:
        return NotImplemented
    y, windows = _pooled(_avg, x, rows, columns)
    return y, (x.shape, windows)


def _one_row(result: Any) -> Any:
    """The only row of y (N, 1, T, C)."""
    return result if result is NotImplemented else (result[0][:, 0], result[1])


# --- Entry ----------------------------------------------------------------------------------------------------------

def max_pool1d(xp: Any, x: Any, size: int, stride: int | None = None, padding: Any = "valid") -> Any:
    """See `tn.ops.max_pool1d`. float32."""
    columns = pool_window("max_pool1d", "T", x.shape[1], size, stride, padding)
    return _one_row(_max_pool(x[:, None], ONE_ROW, columns))


def dmax_pool1d(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.max_pool1d`."""
    return dmax_pool2d(xp, dy[:, None], cache=cache, needs=needs)[:, 0]  # (N,T,C)


def max_pool2d(xp: Any, x: Any, size: Any, stride: Any = None, padding: Any = "valid") -> Any:
    """See `tn.ops.max_pool2d`. float32."""
    return _max_pool(x, *pool_windows("max_pool2d", x.shape[1:3], size, stride, padding))


def dmax_pool2d(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.max_pool2d`."""
    winner, shape, windows = cache
    return _unpooled(_dmax, dy, shape, winner.reshape(-1), windows)


def avg_pool1d(xp: Any, x: Any, size: int, stride: int | None = None, padding: Any = "valid") -> Any:
    """See `tn.ops.avg_pool1d`. float32."""
    columns = pool_window("avg_pool1d", "T", x.shape[1], size, stride, padding)
    return _one_row(_avg_pool(x[:, None], ONE_ROW, columns))


def davg_pool1d(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.avg_pool1d`."""
    return davg_pool2d(xp, dy[:, None], cache=cache, needs=needs)[:, 0]  # (N,T,C)


def avg_pool2d(xp: Any, x: Any, size: Any, stride: Any = None, padding: Any = "valid") -> Any:
    """See `tn.ops.avg_pool2d`. float32."""
    return _avg_pool(x, *pool_windows("avg_pool2d", x.shape[1:3], size, stride, padding))


def davg_pool2d(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.avg_pool2d`."""
    shape, windows = cache
    return _unpooled(_davg, dy, shape, windows)
