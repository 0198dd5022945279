"""The dense layer of ops/dense.py in Numba. What bounds it: the products; each thread takes rows of the result."""

from typing import Any

import numpy as np

from tinynet.backend import home
from tinynet.backend.cpu.runtime.gemm import PANEL, ROWS, product
from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.memory import empty
from tinynet.backend.cpu.runtime.packing import flat, packed
from tinynet.backend.cpu.runtime.threads import launch, threads


def dense(xp: Any, x: Any, W: Any, b: Any = None) -> Any:
    """See `tn.ops.dense`. float32."""
    if x.dtype != np.float32:
        return NotImplemented
    rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])  # (R,D)
    y = _times(rows, W, b)  # (1) (R,F)
    return y.reshape(*x.shape[:-1], W.shape[1]), (rows, W, x.shape)


def ddense(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.dense`."""
    rows, W, shape = cache
    dy = np.ascontiguousarray(dy).reshape(-1, W.shape[1])  # (R,F)
    dx = _times(dy, W.T).reshape(shape) if needs[0] else None  # (2)
    dW = _times(rows.T, dy, out=home(needs[1])) if needs[1] else None  # (3)
    db = dy.sum(axis=0, out=home(needs[2])) if needs[2] else None  # (4)
    return dx, dW, db


def _times(A: Any, B: Any, start: Any = None, out: Any = None) -> Any:
    """A B, where A (R,D) may be transposed, beginning from a row (F) where one is given, in `out` or a new array."""
    R, D = A.shape
    C = empty((R, B.shape[1])) if out is None else out
    start = np.empty(0, A.dtype) if start is None else np.ascontiguousarray(start)
    if R > 2 * ROWS or not B.flags.c_contiguous:
        panels, places = packed(B), (PANEL, D * PANEL)
    else:  # packing takes as long as so few rows
        panels, places = B, (B.shape[1], PANEL)
    launch(_rows, *flat(A), panels.reshape(-1), places, D, start, C, shards=max(1, min(threads(), R // 16)))
    return C


@njit
def _rows(shard: Any, shards: Any, A: Any, a_row: Any, a_k: Any, B: Any, places: Any, depth: Any, start: Any,
          C: Any) -> None:
    R, F = C.shape
    low, high = shard * R // shards, (shard + 1) * R // shards
    if start.size:
        for i in range(low, high):
            for j in range(F):
                C[i, j] = start[j]
    product((high - low, F, depth), A, (low * a_row, a_row, a_k), B, (0, *places), C, (low * F, F), start.size > 0)
