"""Batch normalisation of ops/batchnorm.py in Numba, for channels on the last axis.

What bounds it: memory. Forward reads x three times (for the mean, the variance, the output) and writes once; backward
reads x and dy twice and writes once. The trick: one channel's elements lie C apart, and with a single channel there
would be nothing to fill a vector with; so as many positions as make a wide row are taken side by side. Each place in
the row keeps its own sums, in float64, and those of one channel are added at the end.
"""

from typing import Any

import numpy as np

from tinynet.backend import is_recording
from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.memory import empty
from tinynet.backend.cpu.runtime.threads import launch, shards_for
from tinynet.backend.cpu.runtime.vector import view

_WIDE = 256  # elements that a row has at least


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
    y = empty(x.shape)
    mean, narrow = (vector.astype(x.dtype, copy=False) for vector in (mean, var))
    _along_rows(_normalised, x, y, mean, narrow, gamma, beta, np.float32(eps))  # (3) (4)
    return (y, mean, narrow), (x, mean, np.sqrt(var + eps), gamma, given) if is_recording() else None


def dbatch_norm(xp: Any, dy: Any, dmean: Any, dvar: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.batch_norm`."""
    x, mean, s, gamma, given = cache
    dy = np.zeros(x.shape, x.dtype) if dy is None else np.ascontiguousarray(dy)
    dbeta, dgamma = _sums(_sum_of_products, x, mean, dy)  # (5) (6) (C)
    dgamma = dgamma / s
    dvar = (0 if dvar is None else dvar) - dgamma * gamma / (2 * s * s)  # (7) (8) (C)
    dmean = (0 if dmean is None else dmean) - dbeta * gamma / s  # (7) (9) (C)
    dx = None
    if needs[0]:
        dx, R = empty(x.shape), x.size // x.shape[-1]
        terms = (np.zeros_like(s), np.zeros_like(s)) if given else (2 * dvar / R, dmean / R)
        _along_rows(_combined, x, dy, dx, mean, gamma / s, *terms)  # (10) (11)
    gradients = [dgamma, dbeta, dmean if given else None, dvar if given else None]
    return dx, *(None if gradient is None else gradient.astype(x.dtype) for gradient in gradients)


def _width(x: Any) -> int:
    """Of a wide row: as many elements as the channels, or a multiple of it."""
    C = x.shape[-1]
    return C * -(-_WIDE // C)


def _flat(dtype: Any, arrays: Any) -> list[Any]:
    """Arrays as kernels take them: those of (...,C) flat, vectors of (C) and numbers in this dtype."""
    return [array.reshape(-1) if array.ndim > 1 else array.astype(dtype, copy=False) for array in arrays]


def _along_rows(kernel: Any, *arrays: Any) -> None:
    """Run a kernel on arrays of (...,C), x the first of them, and vectors of (C)."""
    x = arrays[0]
    launch(kernel, _width(x), *_flat(x.dtype, arrays), shards=shards_for(x.size))


def _sums(kernel: Any, *arrays: Any) -> Any:
    """Two sums for each channel, float64 (2,C), by a kernel that adds to sums of each place in a row."""
    x = arrays[0]
    shards = shards_for(x.size)
    sums = np.zeros((shards, 2, _width(x)))
    launch(kernel, sums, *_flat(x.dtype, arrays), shards=shards)
    return sums.reshape(-1, 2, sums.shape[2] // x.shape[-1], x.shape[-1]).sum(axis=(0, 2))


# In a kernel, arrays are flat, and a row is a piece of them that begins where another channel 0 stands: so that its
# loop counts from 0 and no index can be negative, which lets it become vector instructions.

@njit
def _share(shard: Any, shards: Any, size: Any, width: Any) -> Any:
    """Where the shard's rows begin and end."""
    rows = (size + width - 1) // width
    return shard * rows // shards * width, min(size, (shard + 1) * rows // shards * width)


@njit
def _wide(vector: Any, width: Any) -> Any:
    """A vector (C), repeated to the width of a row."""
    wide = np.empty(width, vector.dtype)
    for d in range(width):
        wide[d] = vector[d % vector.size]
    return wide


@njit
def _sum(shard: Any, shards: Any, sums: Any, x: Any) -> None:
    width = sums.shape[2]
    start, end = _share(shard, shards, x.size, width)
    total = sums[shard, 0]
    for at in range(start, end, width):
        row = view(x, at, min(width, end - at))
        for d in range(row.size):
            total[d] += row[d]


@njit
def _sum_of_squares(shard: Any, shards: Any, sums: Any, x: Any, mean: Any) -> None:
    width = sums.shape[2]
    start, end = _share(shard, shards, x.size, width)
    total, mean = sums[shard, 0], _wide(mean, width)
    for at in range(start, end, width):
        row = view(x, at, min(width, end - at))
        for d in range(row.size):
            centred = row[d] - mean[d]
            total[d] += centred * centred


@njit
def _sum_of_products(shard: Any, shards: Any, sums: Any, x: Any, mean: Any, dy: Any) -> None:
    """Of dy, and of dy (x - mean)."""
    width = sums.shape[2]
    start, end = _share(shard, shards, x.size, width)
    total, total_of_products, mean = sums[shard, 0], sums[shard, 1], _wide(mean, width)
    for at in range(start, end, width):
        length = min(width, end - at)
        row, given = view(x, at, length), view(dy, at, length)
        for d in range(row.size):
            total[d] += given[d]
            total_of_products[d] += given[d] * (row[d] - mean[d])


@njit
def _normalised(shard: Any, shards: Any, width: Any, x: Any, y: Any, mean: Any, var: Any, gamma: Any, beta: Any,
                eps: Any) -> None:
    start, end = _share(shard, shards, x.size, width)
    scale = np.empty_like(gamma)
    for c in range(scale.size):
        scale[c] = gamma[c] / np.sqrt(var[c] + eps)
    mean, scale, beta = _wide(mean, width), _wide(scale, width), _wide(beta, width)
    for at in range(start, end, width):
        length = min(width, end - at)
        row, result = view(x, at, length), view(y, at, length)
        for d in range(row.size):
            result[d] = (row[d] - mean[d]) * scale[d] + beta[d]


@njit
def _combined(shard: Any, shards: Any, width: Any, x: Any, dy: Any, dx: Any, mean: Any, scale: Any, by_x: Any,
              constant: Any) -> None:
    start, end = _share(shard, shards, x.size, width)
    mean, scale, by_x, constant = _wide(mean, width), _wide(scale, width), _wide(by_x, width), _wide(constant, width)
    for at in range(start, end, width):
        length = min(width, end - at)
        row, given, result = view(x, at, length), view(dy, at, length), view(dx, at, length)
        for d in range(row.size):
            result[d] = given[d] * scale[d] + (row[d] - mean[d]) * by_x[d] + constant[d]
