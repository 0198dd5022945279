"""Dropout of ops/dropout.py in Numba, for float32, with the random numbers drawn inside of the loop.

Layout    a group is 64 elements; the four words of a counter belong to four neighbouring elements

  quantity        here                                              specification
  x, y, δy, δx    flat; x begins in the middle of a group, if       (...)
                  `first` is no multiple of 64
  m / (1 − p)     float32 (64), for one group at a time             m (...), and the factor
  cache           threshold ⌊p 2³²⌋, factor, key, first, number     m and the factor: here backward draws m again
                  of the draw
"""

from typing import Any

import numpy as np

from tinynet.backend import call
from tinynet.backend.cpu.runtime.jit import inline, njit
from tinynet.backend.cpu.runtime.memory import contiguous, empty
from tinynet.backend.cpu.runtime.threads import launch
from tinynet.backend.cpu.runtime.vector import view

_LANES = 16  # counters of a group; each gives four words
_WORD = np.uint64(0xFFFFFFFF)


# --- Equations ------------------------------------------------------------------------------------------------------

@inline
def _philox(first: Any, low: Any, high: Any, key0: Any, key1: Any, c0: Any, c1: Any, c2: Any, c3: Any) -> None:
    """The four words of Philox-4x32-10 (tinynet/random.py) for each counter (first + lane, low, high, 0)."""
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
        c0[lane], c1[lane], c2[lane], c3[lane] = w0, w1, w2, w3


@njit
def _scale(word: Any, threshold: Any, factor: Any) -> Any:
    """m / (1 − p)"""
    return factor if word >= threshold else np.float32(0)  # (1) (2)


# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by the ten rounds of Philox, about 60 integer operations for four elements, in vectors of 8 or 16 counters. To
# draw the mask again in backward takes less time than to write it and to read it, and no memory. Each thread takes an
# equal number of groups.

@njit
def _mask(shard: Any, shards: Any, x: Any, y: Any, threshold: Any, factor: Any, key0: Any, key1: Any, first: Any,
          draw: Any) -> None:
    low, high = np.uint32(draw[0] & _WORD), np.uint32(draw[0] >> np.uint64(32))
    c0, c1, c2, c3 = (np.empty(_LANES, np.uint32), np.empty(_LANES, np.uint32), np.empty(_LANES, np.uint32),
                      np.empty(_LANES, np.uint32))
    scale = np.empty(4 * _LANES, np.float32)
    before, skipped = first // (4 * _LANES), first % (4 * _LANES)  # groups, and elements of the first one
    groups = (skipped + x.size + 4 * _LANES - 1) // (4 * _LANES)
    for number in range(shard * groups // shards, (shard + 1) * groups // shards):
        group = before + number
        _philox(group * _LANES, low, high, key0, key1, c0, c1, c2, c3)
        for lane in range(_LANES):
            scale[4 * lane] = _scale(c0[lane], threshold, factor)
            scale[4 * lane + 1] = _scale(c1[lane], threshold, factor)
            scale[4 * lane + 2] = _scale(c2[lane], threshold, factor)
            scale[4 * lane + 3] = _scale(c3[lane], threshold, factor)
        start = max(number * 4 * _LANES - skipped, 0)
        length = min((number + 1) * 4 * _LANES - skipped, x.size) - start
        some_x, some_y = view(x, start, length), view(y, start, length)
        own = view(scale, 0 if number else skipped, length)
        for i in range(length):
            some_y[i] = some_x[i] * own[i] if own[i] != 0 or some_x[i] != some_x[i] else 0.0  # (1) (2)


def _masked(x: Any, draw: Any) -> Any:
    y = empty(x.shape)
    launch(_mask, contiguous(x).reshape(-1), y.reshape(-1), *draw)
    return y


# --- Entry ----------------------------------------------------------------------------------------------------------

def dropout(xp: Any, x: Any, p: float, *, key: tuple[int, int], counter: Any, first: int = 0) -> Any:
    """See `tn.ops.dropout`. float32."""
    if x.dtype != np.float32:
        return NotImplemented
    number = empty((1,), np.uint64)  # a copy: the counter goes on before the backward pass
    call(np.copyto, number, counter, "unsafe")
    draw = np.uint32(int(p * 2.0**32)), np.float32(1 / (1 - p)), np.uint32(key[0]), np.uint32(key[1]), first, number
    return _masked(x, draw), draw


def ddropout(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.dropout`."""
    return _masked(dy, cache)
