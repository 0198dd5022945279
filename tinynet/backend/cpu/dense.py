"""The dense layer of ops/dense.py in Numba, for float32.

Layout    R positions

  quantity    here                                       specification
  x, δx       (R, D), in C order                         (..., D)
  y, δy       (R, F), in C order                         (..., F)
  W           (D, F), or packed (⌈F / PANEL⌉, D, PANEL)  (D, F)
  cache       x, W, the shape of x                       x, W
"""

from typing import Any

import numpy as np

from tinynet.backend import call
from tinynet.backend.cpu.runtime.gemm import PANEL, ROWS, product
from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.memory import contiguous, empty
from tinynet.backend.cpu.runtime.packing import flat, packed
from tinynet.backend.cpu.runtime.threads import launch, threads

# --- Equations ------------------------------------------------------------------------------------------------------

def _forward(x: Any, W: Any, b: Any) -> Any:
    """y (R, F)"""
    return _times(x, W, b)  # (1)


def _backward(x: Any, W: Any, dy: Any, needs: Any) -> Any:
    """δx (R, D), δW and δb, or None"""
    dx = _times(dy, W.T) if needs[0] else None  # (2)
    dW = _times(x.T, dy) if needs[1] else None  # (3)
    db = _column_sums(dy) if needs[2] else None
    return dx, dW, db


def _column_sums(dy: Any) -> Any:
    db = empty(dy.shape[1:], dy.dtype)
    call(np.sum, dy, 0, None, db)  # (4)
    return db


# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by the products, 2 R D F operations each. A thread takes at least 16 rows of the result: fewer take less time
# than a launch. B is packed into panels if enough rows of A use them.

def _times(A: Any, B: Any, start: Any = None) -> Any:
    """start + A B (R, F), where A (R, D) and B (D, F) may be transposed views and start is (F) or None."""
    R, D = A.shape
    C = empty((R, B.shape[1]))
    start = np.empty(0, A.dtype) if start is None else contiguous(start)
    if R > 2 * ROWS or not B.flags.c_contiguous:
        panels, places = packed(B), (PANEL, D * PANEL)
    else:  # packing B takes as long as the product of two tiles of rows
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


# --- Entry ----------------------------------------------------------------------------------------------------------

def dense(xp: Any, x: Any, W: Any, b: Any = None) -> Any:
    """See `tn.ops.dense`. float32."""
    if x.dtype != np.float32 or not W.size:
        return NotImplemented
    rows = contiguous(x).reshape(-1, x.shape[-1])  # (R,D)
    return _forward(rows, W, b).reshape(*x.shape[:-1], W.shape[1]), (rows, W, x.shape)


def ddense(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.dense`."""
    rows, W, shape = cache
    dy = contiguous(dy).reshape(-1, W.shape[1])  # (R,F)
    dx, dW, db = _backward(rows, W, dy, needs)
    return None if dx is None else dx.reshape(shape), dW, db
