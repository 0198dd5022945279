"""Batch normalisation of ops/batchnorm.py in Numba, for channels on the last axis.

What bounds it: memory. Forward reads x three times (for the mean, the variance, the output) and writes once; backward
reads x and dy twice and writes once. The trick: one channel's elements lie C apart, and with a single channel there
would be nothing to fill a vector with; so as many positions as make a wide row are taken side by side, each place in
the row keeps its own sums, in float64, and those of one channel are added at the end.
"""

from typing import Any

import numpy as np
from numba import njit

from tinynet.backend.cpu.elementary import OPTIONS
from tinynet.backend.cpu.pool import run, threads

_WIDE = 64  # elements that a row has at least


def batch_norm(xp: Any, x: Any, gamma: Any, beta: Any, mean: Any = None, var: Any = None, *, axis: int = -1,
               eps: float = 1e-5) -> Any:
    """See `tn.ops.batch_norm`. float32, channels last."""
    if x.dtype != np.float32 or axis % x.ndim != x.ndim - 1 or (mean is None) != (var is None):
        return NotImplemented
    given = mean is not None
    x = np.ascontiguousarray(x)
    R = x.size // x.shape[-1]
    if not given:
        mean = _sums(_sum, x)[0] / R  # (1) (C)
        var = _sums(_sum_of_squares, x, mean)[0] / R  # (2) (C)
    s = np.sqrt(var + eps)
    y = np.empty_like(x)
    _along_rows(_scaled, x, y, mean, gamma / s, beta)  # (3) (4)
    mean, var = mean.astype(x.dtype), var.astype(x.dtype)
    return (y, mean, var), (x, mean, s, gamma, given)


def dbatch_norm(xp: Any, dy: Any, dmean: Any, dvar: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.batch_norm`."""
    x, mean, s, gamma, given = cache
    dy = np.ascontiguousarray(dy)
    dbeta, dgamma = _sums(_sum_of_products, x, mean, dy)  # (5) (6) (C)
    dgamma = dgamma / s
    dvar = dvar - dgamma * gamma / (2 * s * s)  # (7) (8) (C)
    dmean = dmean - dbeta * gamma / s  # (7) (9) (C)
    dx = None
    if needs[0]:
        dx, R = np.empty_like(x), x.size // x.shape[-1]
        terms = (np.zeros_like(s), np.zeros_like(s)) if given else (2 * dvar / R, dmean / R)
        _along_rows(_combined, x, dy, dx, mean, gamma / s, *terms)  # (10) (11)
    gradients = [dgamma, dbeta, dmean if given else None, dvar if given else None]
    return dx, *(None if gradient is None else gradient.astype(x.dtype) for gradient in gradients)


def _rows(x: Any) -> tuple[int, int]:
    """How many positions stand in a wide row, and how many whole rows there are."""
    positions, C = x.size // x.shape[-1], x.shape[-1]
    side_by_side = min(positions, -(-_WIDE // C))
    return side_by_side, positions // side_by_side


def _parts(arrays: Any, side_by_side: int, rows: int) -> Any:
    """Arrays of (...,C) as whole rows, and what is left of them as one row more; vectors of (C) repeated to match."""
    C = arrays[0].shape[-1]
    whole = rows * side_by_side * C
    for start, end, repeat in ((0, whole, side_by_side), (whole, arrays[0].size, None)):
        width = (repeat or (end - start) // C) * C
        if width:
            yield [array.reshape(-1)[start:end].reshape(-1, width) if array.ndim > 1 else
                   np.tile(array.astype(np.float32), width // C) for array in arrays]


def _along_rows(kernel: Any, *arrays: Any) -> None:
    """Run a kernel on arrays of (...,C) and vectors of (C)."""
    for part in _parts(arrays, *_rows(arrays[0])):
        run(kernel, *part)


def _sums(kernel: Any, *arrays: Any) -> Any:
    """Two sums for each channel, float64 (2,C), by a kernel that adds to sums of each place in a row."""
    C = arrays[0].shape[-1]
    total = np.zeros((2, C))
    for part in _parts(arrays, *_rows(arrays[0])):
        sums = np.zeros((threads(), 2, part[0].shape[1]))
        run(kernel, sums, *part)
        total += sums.sum(axis=0).reshape(2, -1, C).sum(axis=1)
    return total


@njit(**OPTIONS)
def _sum(shard: Any, shards: Any, sums: Any, x: Any) -> None:
    rows, width = x.shape
    for r in range(shard * rows // shards, (shard + 1) * rows // shards):
        for d in range(width):
            sums[shard, 0, d] += x[r, d]


@njit(**OPTIONS)
def _sum_of_squares(shard: Any, shards: Any, sums: Any, x: Any, mean: Any) -> None:
    rows, width = x.shape
    for r in range(shard * rows // shards, (shard + 1) * rows // shards):
        for d in range(width):
            centred = x[r, d] - mean[d]
            sums[shard, 0, d] += centred * centred


@njit(**OPTIONS)
def _sum_of_products(shard: Any, shards: Any, sums: Any, x: Any, mean: Any, dy: Any) -> None:
    """Of dy, and of dy (x - mean)."""
    rows, width = x.shape
    for r in range(shard * rows // shards, (shard + 1) * rows // shards):
        for d in range(width):
            sums[shard, 0, d] += dy[r, d]
            sums[shard, 1, d] += dy[r, d] * (x[r, d] - mean[d])


@njit(**OPTIONS)
def _scaled(shard: Any, shards: Any, x: Any, y: Any, mean: Any, scale: Any, beta: Any) -> None:
    rows, width = x.shape
    for r in range(shard * rows // shards, (shard + 1) * rows // shards):
        for d in range(width):
            y[r, d] = (x[r, d] - mean[d]) * scale[d] + beta[d]


@njit(**OPTIONS)
def _combined(shard: Any, shards: Any, x: Any, dy: Any, dx: Any, mean: Any, scale: Any, by_x: Any,
              constant: Any) -> None:
    rows, width = x.shape
    for r in range(shard * rows // shards, (shard + 1) * rows // shards):
        for d in range(width):
            dx[r, d] = dy[r, d] * scale[d] + (x[r, d] - mean[d]) * by_x[d] + constant[d]
