"""The pooling of ops/pool.py in Numba: one pass over the image, by rows of outputs.

What bounds it: memory; x is read once and y written, backward dx is written. The trick: channels lie side by side, so a
window's element is a row of channels, and the largest of each channel is kept in a row of y until the window is done.
"""

from typing import Any

import numpy as np

from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.memory import empty
from tinynet.backend.cpu.runtime.threads import launch, shards_for
from tinynet.window import ONE_ROW, Window, pool_window, pool_windows

_TAPS = 255  # elements of a window that a byte can number


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
    winner, shape, places = cache
    return _spread(_dmax, dy, shape, winner.reshape(-1), places)


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
    shape, places = cache
    return _spread(_davg, dy, shape, places)


def _max_pool(x: Any, rows: Window, columns: Window) -> Any:
    if x.dtype != np.float32 or rows.width * columns.width > _TAPS:
        return NotImplemented
    winner = empty((x.shape[0], rows.outputs, columns.outputs, x.shape[3]), np.uint8)
    y, places = _gathered(_max, x, rows, columns, winner.reshape(-1))
    return y, (winner, x.shape, places)


def _avg_pool(x: Any, rows: Window, columns: Window) -> Any:
    if x.dtype != np.float32:
        return NotImplemented
    y, places = _gathered(_avg, x, rows, columns)
    return y, (x.shape, places)


def _gathered(kernel: Any, x: Any, rows: Window, columns: Window, *more: Any) -> Any:
    """The outputs, and width, stride, padding of the window along both axes."""
    places = (rows.width, rows.stride, rows.before), (columns.width, columns.stride, columns.before)
    y = empty((x.shape[0], rows.outputs, columns.outputs, x.shape[3]))
    launch(kernel, np.ascontiguousarray(x).reshape(-1), x.shape[1:], places, y.reshape(-1), y.shape[:3], *more,
           shards=shards_for(x.size))
    return y, places


def _spread(kernel: Any, dy: Any, shape: Any, *more: Any) -> Any:
    """dx, of this shape."""
    dx = empty(shape)
    launch(kernel, np.ascontiguousarray(dy).reshape(-1), dy.shape[:3], *more, dx.reshape(-1), shape[1:],
           shards=shards_for(dx.size, shape[0]))
    return dx


def _one_row(result: Any) -> Any:
    """Of (N,1,T,C) the only row."""
    return result if result is NotImplemented else (result[0][:, 0], result[1])


# Kernels count along flat arrays in unsigned numbers: a slice costs more than it is long, and an index that cannot be
# negative lets the loop over the channels become vector instructions.

@njit
def _offset(row: Any, column: Any, columns: Any, C: Any) -> Any:
    """Where a pixel begins, if rows are counted through all images."""
    return np.uint64((row * columns + column) * C)


@njit
def _fill(x: Any, start: Any, length: Any, value: Any) -> None:
    for c in range(length):
        x[start + c] = value


@njit
def _span(tap: Any, place: Any, outputs: Any, size: Any) -> Any:
    """The first output, and the one behind the last, whose element `tap` lies in the image."""
    _, stride, before = place
    return max(0, (before - tap + stride - 1) // stride), min(outputs, (size - 1 - tap + before) // stride + 1)


@njit
def _max(shard: Any, shards: Any, x: Any, image: Any, places: Any, y: Any, outputs: Any, winner: Any) -> None:
    """(1) for the shard's rows of outputs, tap by tap."""
    height, width, C = image
    (KH, stride_h, before_h), (KW, stride_w, before_w) = places
    N, rows, columns = outputs
    for row in range(shard * N * rows // shards, (shard + 1) * N * rows // shards):
        n, i = row // rows, row % rows
        out = _offset(row, 0, columns, C)
        _fill(y, out, np.uint64(columns * C), np.float32(-np.inf))
        _fill(winner, out, np.uint64(columns * C), np.uint8(0))
        for p in range(KH):
            h = i * stride_h + p - before_h
            for q in range(KW):
                first, end = _span(q, places[1], columns, width)
                if 0 <= h < height and first < end:
                    pixel = _offset(n * height + h, first * stride_w + q - before_w, width, C)
                    _better(x, pixel, np.uint64(stride_w * C), np.uint8(p * KW + q), y, winner,
                            _offset(row, first, columns, C), np.uint64(end - first), np.uint64(C))


@njit
def _better(x: Any, pixel: Any, step: Any, tap: Any, y: Any, winner: Any, out: Any, columns: Any, C: Any) -> None:
    """Where a pixel is larger than the best, or the first that is NaN, it is the best now."""
    for j in range(columns):
        for c in range(C):
            value, best, first = x[pixel + j * step + c], y[out + j * C + c], winner[out + j * C + c]
            better = (not value <= best) & (best == best)
            y[out + j * C + c] = value if better else best
            winner[out + j * C + c] = first + np.uint8(better) * np.uint8(tap - first)


@njit
def _dmax(shard: Any, shards: Any, dy: Any, outputs: Any, winner: Any, places: Any, dx: Any, image: Any) -> None:
    """(2) for the shard's images, tap by tap."""
    height, width, C = image
    (KH, stride_h, before_h), (KW, stride_w, before_w) = places
    N, rows, columns = outputs
    for n in range(shard * N // shards, (shard + 1) * N // shards):
        _fill(dx, _offset(n * height, 0, width, C), np.uint64(height * width * C), np.float32(0))
        for i in range(rows):
            for p in range(KH):
                h = i * stride_h + p - before_h
                for q in range(KW):
                    first, end = _span(q, places[1], columns, width)
                    if 0 <= h < height and first < end:
                        pixel = _offset(n * height + h, first * stride_w + q - before_w, width, C)
                        _give_back(dy, winner, _offset(n * rows + i, first, columns, C), np.uint8(p * KW + q),
                                   dx, pixel, np.uint64(stride_w * C), np.uint64(end - first), np.uint64(C))


@njit
def _give_back(dy: Any, winner: Any, out: Any, tap: Any, dx: Any, pixel: Any, step: Any, columns: Any, C: Any) -> None:
    for j in range(columns):
        for c in range(C):
            won = np.float32(winner[out + j * C + c] == tap)
            dx[pixel + j * step + c] += dy[out + j * C + c] * won


@njit
def _avg(shard: Any, shards: Any, x: Any, image: Any, places: Any, y: Any, outputs: Any) -> None:
    """(1) for the shard's rows of outputs."""
    height, width, C = image
    N, rows, columns = outputs
    channels = np.uint64(C)
    for row in range(shard * N * rows // shards, (shard + 1) * N * rows // shards):
        n = row // rows
        top, bottom = _inside(row % rows, places[0], height)
        for j in range(columns):
            left, right = _inside(j, places[1], width)
            out, share = _offset(row, j, columns, C), np.float32(1 / ((bottom - top) * (right - left)))
            _fill(y, out, channels, np.float32(0))
            for h in range(top, bottom):
                for w in range(left, right):
                    pixel = _offset(n * height + h, w, width, C)
                    for c in range(channels):
                        y[out + c] += x[pixel + c]
            for c in range(channels):
                y[out + c] *= share


@njit
def _davg(shard: Any, shards: Any, dy: Any, outputs: Any, places: Any, dx: Any, image: Any) -> None:
    """(2) for the shard's images."""
    height, width, C = image
    N, rows, columns = outputs
    channels = np.uint64(C)
    for n in range(shard * N // shards, (shard + 1) * N // shards):
        _fill(dx, _offset(n * height, 0, width, C), np.uint64(height * width * C), np.float32(0))
        for i in range(rows):
            top, bottom = _inside(i, places[0], height)
            for j in range(columns):
                left, right = _inside(j, places[1], width)
                out, share = _offset(n * rows + i, j, columns, C), np.float32(1 / ((bottom - top) * (right - left)))
                for h in range(top, bottom):
                    for w in range(left, right):
                        pixel = _offset(n * height + h, w, width, C)
                        for c in range(channels):
                            dx[pixel + c] += dy[out + c] * share


@njit
def _inside(output: Any, place: Any, size: Any) -> Any:
    """Where an output's window begins and ends, as far as it lies in the image."""
    width, stride, before = place
    start = output * stride - before
    return max(0, start), min(size, start + width)
