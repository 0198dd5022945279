"""Batch normalisation of ops/batchnorm.py in Numba, for float32 with the channels on the last axis.

Layout    R elements in each of C channels. A row has the contiguous elements of m = ⌈256 / C⌉ positions.

  quantity         here                                      specification
  x, y, δy, δx     (R C), flat; in a kernel rows of m C      (..., C)
  μ, σ², γ, β, s   (C); in a kernel repeated to m C          (C)
  k                (C), an element of each channel           -
  sums             float64 (shards, 2, m C)                  Σ over the R elements of a channel, (C)
  mask             real, bytes of the first axes of x, or    the same
                   None
  R                float64 (1); None with μ and σ² given     a number, or (C)
  cache            x, μ, s, γ, whether μ and σ² were given,  x̂, s, γ: here x̂ = (x − μ) / s is computed again
                   the mask, R and `across`

One pass over x gives Σ (x − k) and Σ (x − k)², and these give μ and σ²: with d = μ − k,

    Σ x = Σ (x − k) + R k        Σ (x − μ)² = Σ (x − k)² − 2 d Σ (x − k) + R d²

The second one subtracts numbers of nearly the same size if d² is much larger than σ². For an element k of the channel,
d² is at most R σ². The sums are float64, so that this leaves more digits than float32 has (Chan, Golub and LeVeque,
"Algorithms for computing the sample variance", 1983). With a mask, masked elements are k: they add nothing to the sums.
"""

from typing import Any

import numpy as np

from tinynet.backend import call, is_recording
from tinynet.backend.cpu.masking import bytes_of
from tinynet.backend.cpu.runtime.jit import inline, njit, noalias
from tinynet.backend.cpu.runtime.memory import contiguous, copied, empty, zeros
from tinynet.backend.cpu.runtime.threads import launch, shards_for
from tinynet.backend.cpu.runtime.vector import copy, view
from tinynet.parts import Across, alone

_WIDE = 256  # elements that a row has at least
_ROWS = 8  # rows of x that are summed at once
_BLOCK = 64  # rows, 64 KB or more: the hardware prefetches within a block


# --- Equations ------------------------------------------------------------------------------------------------------
# Each function takes one row, and vectors repeated to its width. Sums of a row's places are float64.

@noalias
def _add_powers(x: Any, k: Any, total: Any, squares: Any) -> None:
    """Σ (x − k), and Σ (x − k)², of `_ROWS` rows. k is float64, and so are the differences."""
    width = k.size
    for d in range(width):
        sum, square = total[d], squares[d]
        for row in range(_ROWS):
            shifted = x[row * width + d] - k[d]
            sum += shifted  # (1)
            square += shifted * shifted  # (2)
        total[d], squares[d] = sum, square


@inline
def _normalise(x: Any, mean: Any, scale: Any, beta: Any, y: Any) -> None:
    """`scale` is γ / s."""
    for d in range(x.size):
        y[d] = (x[d] - mean[d]) * scale[d] + beta[d]  # (3) (4)


@inline
def _add_products(x: Any, mean: Any, dy: Any, total: Any, products: Any) -> None:
    """Σ δy, and Σ δy (x − μ), which is s Σ δy x̂."""
    for d in range(x.size):
        total[d] += dy[d]  # (5)
        products[d] += dy[d] * (x[d] - mean[d])  # (6)


def _statistics(sums: Any, k: Any, R: Any, eps: float, mean: Any, var: Any, s: Any, across: Across) -> None:
    """μ, σ² and s of all channels (C), and R of all ranks, from Σ (x − k) and Σ (x − k)² of this rank."""
    first, second = _over_places(sums)
    own = R[0]
    total, count = across(np, first + own * k, R)
    R[:] = np.maximum(count, 1)
    exact = total / R  # (1)
    d = exact - k
    squares, = across(np, np.maximum(second - 2 * d * first + own * d * d, 0))  # (2)
    variance = squares / R  # (2)
    mean[:], var[:] = exact, variance
    _deviations(variance, eps, s)


def _deviations(var: Any, eps: float, s: Any) -> None:
    s[:] = np.sqrt(var + eps)


def _channel_gradients(sums: Any, R: Any, s: Any, gamma: Any, dmean: Any, dvar: Any, given: bool, across: Across,
                       results: Any) -> None:
    """δγ, δβ, δμ and δσ² of all channels (C), and the factors of `_combine`, from Σ δy and Σ δy (x − μ).

    Σ δx̂ = γ Σ δy, so that (7) needs no pass of its own.
    """
    dbeta, products = _over_places(sums)  # (5)
    dgamma = products / s  # (6)
    dvar = (0 if dvar is None else dvar) - dgamma * gamma / (2 * s * s)  # (7) (8)
    dmean = (0 if dmean is None else dmean) - dbeta * gamma / s  # (7) (9)
    if not given:
        dvar, dmean = across(np, dvar, dmean)
    by_x, constant = (0, 0) if given else (2 * dvar / R, dmean / R)  # (10)
    for row, result in enumerate((dgamma, dbeta, dmean, dvar, gamma / s, by_x, constant)):
        results[row] = result


def _over_places(sums: Any) -> Any:
    """Two sums for each channel, (2, C), from those of all shards and places in a row."""
    return sums.sum(axis=(0, 2))


@inline
def _combine(x: Any, mean: Any, dy: Any, scale: Any, by_x: Any, constant: Any, dx: Any) -> None:
    """`scale` is γ / s, `by_x` is 2 δσ² / R and `constant` is δμ / R; both are 0 with statistics that were given."""
    for d in range(x.size):
        dx[d] = dy[d] * scale[d] + (x[d] - mean[d]) * by_x[d] + constant[d]  # (10) (11)


# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by memory: forward reads x twice, for the sums and for y, and writes y; backward reads x and δy twice and writes
# δx. The elements of one channel are C apart, and a loop over one channel would not fill a vector. So the loops run
# over rows of m positions, each place of a row has its own sum, and the sums of a channel's places are added at the
# end. Threads take equal numbers of rows.
#
# LLVM unrolls the loop over the rows that are summed at once, and the sums of a place stay in registers meanwhile. For
# Σ δy and Σ δy (x − μ) this gains nothing: they read twice as much memory.
#
# A pass without sums goes from the last block of rows to the first: the end of x is still in the cache, since the pass
# before has read it last.
#
# A row is a view that starts at channel 0: its loop counts from 0, so no index can be negative and LLVM vectorises it.

@njit
def _share(shard: Any, shards: Any, size: Any, width: Any) -> Any:
    """The first element of the shard's rows of this width, and one past their last element."""
    rows = (size + width - 1) // width
    return shard * rows // shards * width, min(size, (shard + 1) * rows // shards * width)


@njit
def _wide(vector: Any, width: Any) -> Any:
    """A vector (C), repeated to the width of a row."""
    wide = np.empty(width, vector.dtype)
    copy(vector, wide)
    done = vector.size
    while done < width:  # twice as many each time
        size = min(done, width - done)
        copy(view(wide, 0, size), view(wide, done, size))
        done += size
    return wide


@njit
def _sum_of_powers(shard: Any, shards: Any, sums: Any, x: Any, k: Any) -> None:
    width = sums.shape[2]
    size = _ROWS * width
    start, end = _share(shard, shards, x.size, size)
    exact, first = _wide(k, width).astype(np.float64), shard * 2 * width
    for at in range(start, end, size):
        rows = view(x, at, size) if at + size <= end else _filled_up(view(x, at, end - at), k, size)
        _add_powers(rows, exact, view(sums, first, width), view(sums, first + width, width))


@njit
def _filled_up(x: Any, k: Any, size: Any) -> Any:
    """The last elements, and then k, which adds nothing to the sums, up to this size."""
    rows = _wide(k, size)
    copy(x, rows)
    return rows


@njit
def _normalised(shard: Any, shards: Any, width: Any, x: Any, y: Any, mean: Any, var: Any, gamma: Any, beta: Any,
                eps: Any) -> None:
    start, end = _share(shard, shards, x.size, width)
    scale = np.empty_like(gamma)
    for c in range(scale.size):
        scale[c] = gamma[c] / np.sqrt(var[c] + eps)  # (3)
    mean, scale, beta = _wide(mean, width), _wide(scale, width), _wide(beta, width)
    block = _BLOCK * width
    for first in range(start + (end - start - 1) // block * block, start - 1, -block):
        for at in range(first, min(end, first + block), width):
            length = min(width, end - at)
            _normalise(view(x, at, length), mean, scale, beta, view(y, at, length))


@njit
def _sum_of_products(shard: Any, shards: Any, sums: Any, x: Any, mean: Any, dy: Any) -> None:
    width = sums.shape[2]
    start, end = _share(shard, shards, x.size, width)
    mean, first = _wide(mean, width), shard * 2 * width
    for at in range(start, end, width):
        length = min(width, end - at)
        _add_products(view(x, at, length), mean, view(dy, at, length), view(sums, first, width),
                      view(sums, first + width, width))


@njit
def _combined(shard: Any, shards: Any, width: Any, x: Any, dy: Any, dx: Any, mean: Any, scale: Any, by_x: Any,
              constant: Any) -> None:
    start, end = _share(shard, shards, x.size, width)
    mean, scale, by_x, constant = _wide(mean, width), _wide(scale, width), _wide(by_x, width), _wide(constant, width)
    block = _BLOCK * width
    for first in range(start + (end - start - 1) // block * block, start - 1, -block):
        for at in range(first, min(end, first + block), width):
            length = min(width, end - at)
            _combine(view(x, at, length), mean, view(dy, at, length), scale, by_x, constant, view(dx, at, length))


@njit
def _fill(shard: Any, shards: Any, x: Any, real: Any, row: Any) -> None:
    """Put a row (C) in the place of masked elements of x."""
    step = x.size // real.size  # elements for one of the mask
    for place in range(shard * real.size // shards, (shard + 1) * real.size // shards):
        for at in range(place * step, (place + 1) * step if real[place] == 0 else 0, row.size):
            copy(row, view(x, at, row.size))


def _fill_masked(x: Any, real: Any, row: Any) -> None:
    if real is not None:
        launch(_fill, x.reshape(-1), real, row, shards=shards_for(x.size))


def _count(real: Any, positions: int, R: Any) -> None:
    """The elements of a channel; those where the mask is not 0, each of which is for some positions."""
    R[0] = positions if real is None else np.count_nonzero(real) * positions


def _first(x: Any, real: Any, k: Any) -> None:
    """k, the first element of each channel that is not masked; 0 where that is not finite, or if all are masked."""
    at = 0 if real is None else real.argmax()
    row = x.reshape(1 if real is None else real.size, -1, k.size)[at, 0]
    k[:] = np.where(np.isfinite(row), row, 0) if real is None or real[at] else 0


def _width(x: Any) -> int:
    """The elements of a row, m C."""
    C = x.shape[-1]
    return C * -(-_WIDE // C)


def _flat(dtype: Any, arrays: Any) -> list[Any]:
    """Arrays as kernels take them: those of (..., C) flat, vectors of (C) and numbers in this dtype."""
    return [array.reshape(-1) if array.ndim > 1 else contiguous(array, dtype) for array in arrays]


def _along_rows(kernel: Any, *arrays: Any) -> None:
    """Run a kernel on arrays of (..., C), x the first of them, and vectors of (C)."""
    x = arrays[0]
    launch(kernel, _width(x), *_flat(x.dtype, arrays), shards=shards_for(x.size))


def _sums(kernel: Any, *arrays: Any) -> Any:
    """Two sums for each place in a row, float64 (shards, 2, m, C), by a kernel that adds to them."""
    x = arrays[0]
    shards = shards_for(x.size)
    sums = zeros((shards, 2, _width(x)), np.float64)
    launch(kernel, sums, *_flat(x.dtype, arrays), shards=shards)
    return sums.reshape(shards, 2, -1, x.shape[-1])


# --- Entry ----------------------------------------------------------------------------------------------------------

def batch_norm(xp: Any, x: Any, gamma: Any, beta: Any, mean: Any = None, var: Any = None, mask: Any = None, *,
               axis: int = -1, eps: float = 1e-5, across: Across = alone) -> Any:
    """See `tn.ops.batch_norm`. float32, channels last, with a mask of whole positions."""
    if (x.dtype != np.float32 or not x.size or axis % x.ndim != x.ndim - 1 or (mean is None) != (var is None)
            or (mask is not None and mask.ndim == x.ndim)):
        return NotImplemented
    given = mean is not None
    x = contiguous(x) if mask is None else copied(x)
    C, R, real, zero, positions = x.shape[-1], None, None, None, x.size // x.shape[-1]
    if mask is not None:
        real, zero, positions = bytes_of(mask).reshape(-1), zeros((C,)), positions // mask.size
    s = empty((C,), np.float32 if given else np.float64)
    if given:
        _fill_masked(x, real, zero)
        if is_recording():
            call(_deviations, var, eps, s)
    else:
        mean, var, R, k = empty((C,)), empty((C,)), empty((1,), np.float64), empty((C,))
        call(_count, real, positions, R)
        call(_first, x, real, k)
        _fill_masked(x, real, k)
        call(_statistics, _sums(_sum_of_powers, x, k), k, R, eps, mean, var, s, across)
    y = empty(x.shape)
    _along_rows(_normalised, x, y, mean, var, gamma, beta, np.float32(eps))
    _fill_masked(y, real, zero)
    return (y, mean, var), (x, mean, s, gamma, given, real, zero, R, across)


def dbatch_norm(xp: Any, dy: Any, dmean: Any, dvar: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.batch_norm`."""
    x, mean, s, gamma, given, real, zero, R, across = cache
    dy = zeros(x.shape, x.dtype) if dy is None else contiguous(dy) if real is None else copied(dy)
    _fill_masked(dy, real, zero)
    results = empty((7, x.shape[-1]))
    call(_channel_gradients, _sums(_sum_of_products, x, mean, dy), R, s, gamma, dmean, dvar, given, across, results)
    dgamma, dbeta, dmean, dvar, *factors = results
    dx = None
    if needs[0]:
        dx = empty(x.shape)
        _along_rows(_combined, x, dy, dx, mean, *factors)
        _fill_masked(dx, real, zero)
    return dx, dgamma, dbeta, dmean if given else None, dvar if given else None, None
