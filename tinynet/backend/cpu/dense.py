"""The dense layer of ops/dense.py in Numba. What bounds it: the products; each thread takes rows of the result."""

from typing import Any

import numpy as np
from numba import njit

from tinynet.backend.cpu.elementary import OPTIONS
from tinynet.backend.cpu.gemm import PANEL, product
from tinynet.backend.cpu.panels import flat, packed
from tinynet.backend.cpu.pool import run, threads


def dense(xp: Any, x: Any, W: Any, b: Any = None) -> Any:
    """See `tn.ops.dense`. float32."""
    if x.dtype != np.float32:
        return NotImplemented
    rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])  # (R,D)
    y = _times(rows, W)  # (1) (R,F)
    if b is not None:
        y += b
    return y.reshape(*x.shape[:-1], W.shape[1]), (rows, W, x.shape)


def ddense(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.dense`."""
    rows, W, shape = cache
    dy = np.ascontiguousarray(dy).reshape(-1, W.shape[1])  # (R,F)
    dx = _times(dy, W.T).reshape(shape) if needs[0] else None  # (2)
    dW = _times(rows.T, dy) if needs[1] else None  # (3)
    db = dy.sum(axis=0) if needs[2] else None  # (4)
    return dx, dW, db


def _times(A: Any, B: Any) -> Any:
    """A B, where A (R,D) may be transposed."""
    R, D = A.shape
    C = np.empty((R, B.shape[1]), A.dtype)
    run(_rows, *flat(A), packed(B), D, C, shards=max(1, min(threads(), R // 16)))
    return C


@njit(**OPTIONS)
def _rows(shard: Any, shards: Any, A: Any, a_row: Any, a_k: Any, B: Any, depth: Any, C: Any) -> None:
    R, F = C.shape
    low, high = shard * R // shards, (shard + 1) * R // shards
    product((high - low, F, depth), A, (low * a_row, a_row, a_k), B, (0, PANEL, depth * PANEL), C, (low * F, F), False)
