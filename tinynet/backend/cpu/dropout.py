"""Dropout of ops/dropout.py in Numba, for float32, with the random numbers drawn inside of the loop.

Layout    a group is 64 elements; the four words of a counter belong to four neighbouring elements

  quantity        here                                              specification
  x, y, δy, δx    flat; x begins in the middle of a group, if       (...)
                  `first` is no multiple of 64
  m               bytes, 16 for a group: bit k of a byte is that    m (...)
                  of word k of a counter
  m / (1 − p)     float32 (64), for one group at a time             m, and the factor
  cache           m, factor, first                                  m, and the factor
"""

from typing import Any

import numpy as np

from tinynet.backend import call
from tinynet.backend.cpu.runtime.jit import inline, njit, noalias
from tinynet.backend.cpu.runtime.memory import contiguous, empty
from tinynet.backend.cpu.runtime.threads import launch
from tinynet.backend.cpu.runtime.vector import view

_LANES = 16  # counters of a group; each gives four words
_GROUP = 4 * _LANES  # elements
_WORD = np.uint64(0xFFFFFFFF)
_BIT0, _BIT1, _BIT2, _BIT3 = np.uint32(1), np.uint32(2), np.uint32(4), np.uint32(8)  # of the words of a counter


# --- Equations ------------------------------------------------------------------------------------------------------

@njit
def _kept(word: Any, bit: Any, threshold: Any) -> Any:
    """m of a word, as this bit."""
    return bit if word >= threshold else np.uint32(0)  # (1)


@noalias
def _draw(first: Any, low: Any, high: Any, key0: Any, key1: Any, threshold: Any, m: Any) -> None:
    """m of the four words of Philox-4x32-10 (tinynet/random.py) for each counter (first + lane, low, high, 0)."""
    for lane in range(_LANES):
        w0, w1, w2, w3 = np.uint32(first + lane), low, high, np.uint32(0)
        k0, k1 = key0, key1
        for _ in range(10):
            p0 = np.uint64(w0) * np.uint64(0xD2511F53)
            p1 = np.uint64(w2) * np.uint64(0xCD9E8D57)
            w0 = np.uint32(p1 >> np.uint64(32)) ^ w1 ^ k0
            w2 = np.uint32(p0 >> np.uint64(32)) ^ w3 ^ k1
            w1, w3 = np.uint32(p1 & _WORD), np.uint32(p0 & _WORD)
            k0, k1 = np.uint32(k0 + np.uint32(0x9E3779B9)), np.uint32(k1 + np.uint32(0xBB67AE85))
        m[lane] = (_kept(w0, _BIT0, threshold) | _kept(w1, _BIT1, threshold) | _kept(w2, _BIT2, threshold)
                   | _kept(w3, _BIT3, threshold))


@njit
def _scale(m: Any, bit: Any, factor: Any) -> Any:
    """m / (1 − p)"""
    return factor if m & bit else np.float32(0)  # (1) (2)


@noalias
def _scales(m: Any, factor: Any, scale: Any) -> None:
    for lane in range(_LANES):
        scale[4 * lane] = _scale(m[lane], _BIT0, factor)
        scale[4 * lane + 1] = _scale(m[lane], _BIT1, factor)
        scale[4 * lane + 2] = _scale(m[lane], _BIT2, factor)
        scale[4 * lane + 3] = _scale(m[lane], _BIT3, factor)


@inline
def _scaled(x: Any, scale: Any, y: Any) -> None:
    """x m / (1 − p). A dropped ∞ is 0; NaN passes."""
    for i in range(x.size):
        y[i] = x[i] * scale[i] if scale[i] != 0 or x[i] != x[i] else 0.0  # (1) (2)


# --- Schedule -------------------------------------------------------------------------------------------------------
# Forward is bound by the ten rounds of Philox, about 60 integer operations for four elements, in vectors of 8 or 16
# counters. Backward reads the mask, a sixteenth as much memory as δy: half of the time to draw it again. Each thread
# takes an equal number of groups.

@njit
def _forward(shard: Any, shards: Any, x: Any, y: Any, m: Any, factor: Any, first: Any, threshold: Any, key0: Any,
             key1: Any, draw: Any) -> None:
    low, high = np.uint32(draw[0] & _WORD), np.uint32(draw[0] >> np.uint64(32))
    scale, groups = np.empty(_GROUP, np.float32), m.size // _LANES
    for group in range(shard * groups // shards, (shard + 1) * groups // shards):
        _draw((first // _GROUP + group) * _LANES, low, high, key0, key1, threshold, view(m, group * _LANES, _LANES))
        _mask(group, x, y, m, factor, first % _GROUP, scale)


@njit
def _backward(shard: Any, shards: Any, dy: Any, dx: Any, m: Any, factor: Any, first: Any) -> None:
    scale, groups = np.empty(_GROUP, np.float32), m.size // _LANES
    for group in range(shard * groups // shards, (shard + 1) * groups // shards):
        _mask(group, dy, dx, m, factor, first % _GROUP, scale)


@inline
def _mask(group: Any, x: Any, y: Any, m: Any, factor: Any, skipped: Any, scale: Any) -> None:
    """The elements of one group; of the first group, those after the `skipped` ones."""
    _scales(view(m, group * _LANES, _LANES), factor, scale)
    start = max(group * _GROUP - skipped, 0)
    length = min((group + 1) * _GROUP - skipped, x.size) - start
    _scaled(view(x, start, length), view(scale, 0 if group else skipped, length), view(y, start, length))


# --- Entry ----------------------------------------------------------------------------------------------------------

def dropout(xp: Any, x: Any, p: float, *, key: tuple[int, int], counter: Any, first: int = 0) -> Any:
    """See `tn.ops.dropout`. float32."""
    if x.dtype != np.float32:
        return NotImplemented
    number = empty((1,), np.uint64)  # the counter may be an integer, or an array of another type
    call(np.copyto, number, counter, "unsafe")
    y, m = empty(x.shape), empty((-(-(first % _GROUP + x.size) // _GROUP) * _LANES,), np.uint8)
    factor = np.float32(1 / (1 - p))
    launch(_forward, contiguous(x).reshape(-1), y.reshape(-1), m, factor, first, np.uint32(int(p * 2.0**32)),
           np.uint32(key[0]), np.uint32(key[1]), number)
    return y, (m, factor, first)


def ddropout(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.dropout`."""
    dx = empty(dy.shape)
    launch(_backward, contiguous(dy).reshape(-1), dx.reshape(-1), *cache)
    return dx
