"""What goes into products (gemm.py), matrices that are flat or packed into panels; and the sum of what comes out."""

from typing import Any

import numpy as np

from tinynet.backend.cpu.runtime.gemm import PANEL, pack
from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.memory import empty
from tinynet.backend.cpu.runtime.threads import launch, shards_for, threads
from tinynet.backend.cpu.runtime.vector import view

_SMALL = 1 << 14  # elements that are not worth a launch


def flat(A: Any) -> tuple[Any, int, int]:
    """The elements of a matrix in one axis, and how far it is to the next row and column. A transpose is no copy."""
    if A.flags.c_contiguous:
        return A.reshape(-1), A.shape[1], 1
    return np.ascontiguousarray(A.T).reshape(-1), 1, A.shape[0]


def packed(B: Any, shards: int | None = None) -> Any:
    """B (K,N) in panels of PANEL columns: (panels,K,PANEL), the last one filled up with zeros.

    `shards` of those who will read them: if that is one thread, it packs alone, and has them in its cache.
    """
    K, N = B.shape
    panels = empty((-(-N // PANEL), K, PANEL))
    launch(_pack, *flat(B), K, N, panels, shards=1 if B.size < _SMALL or shards == 1 else threads())
    return panels


def summed(parts: Any, out: Any = None) -> Any:
    """What shards have added up, each its part: parts (shards,...) -> (...), in `out` or a new array."""
    total = empty(parts.shape[1:]) if out is None else out
    launch(_summed, parts.reshape(-1), total.reshape(-1), shards=shards_for(parts.size))
    return total


@njit
def _pack(shard: Any, shards: Any, B: Any, b_k: Any, b_j: Any, K: Any, N: Any, panels: Any) -> None:
    for first in range(shard * PANEL, N, shards * PANEL):
        pack((K, min(PANEL, N - first)), B, (first * b_j, b_k, b_j), panels, (first * K, 0))


@njit
def _summed(shard: Any, shards: Any, parts: Any, total: Any) -> None:
    start, end = shard * total.size // shards, (shard + 1) * total.size // shards
    result = view(total, start, end - start)
    for first in range(start, parts.size, max(1, total.size)):
        part = view(parts, first, end - start)
        for i in range(result.size):
            result[i] = part[i] + (result[i] if first > start else np.float32(0))
