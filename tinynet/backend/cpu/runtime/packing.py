"""Matrices as arguments of products (gemm.py): flat, or packed into panels; and sums over the shards' results."""

from typing import Any

import numpy as np

from tinynet.backend.cpu.runtime.gemm import PANEL, pack
from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.memory import contiguous, empty
from tinynet.backend.cpu.runtime.threads import launch, shards_for, threads
from tinynet.backend.cpu.runtime.vector import view

_SMALL = 1 << 14  # elements: less is packed by one thread


def flat(A: Any) -> tuple[Any, int, int]:
    """A matrix as a vector, and its strides in elements to the next row and column. A transposed one is not copied."""
    if A.flags.c_contiguous:
        return A.reshape(-1), A.shape[1], 1
    return contiguous(A.T).reshape(-1), 1, A.shape[0]


def packed(B: Any, shards: int | None = None) -> Any:
    """B (K,N) in panels of PANEL columns: (panels,K,PANEL), the last panel filled up with zeros.

    shards  of the launch that will read them. With 1 the calling thread packs, and then has them in its cache
    """
    K, N = B.shape
    panels = empty((-(-N // PANEL), K, PANEL))
    launch(_pack, *flat(B), K, N, panels, shards=1 if B.size < _SMALL or shards == 1 else threads())
    return panels


def summed(parts: Any) -> Any:
    """The sum over the first axis: parts (shards,...) -> (...)."""
    total = empty(parts.shape[1:])
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


def shards_of_rows(N: int) -> int:
    """One for each thread, but with at least eight rows each: fewer leave the tiles of the product empty."""
    return max(1, min(threads(), N // 8))
