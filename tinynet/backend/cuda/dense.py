"""The dense layer of ops/dense.py on a GPU, for float32.

Layout    R positions

  quantity    here                    specification
  x, δx       (R, D), in C order      (..., D)
  y, δy       (R, F), in C order      (..., F)
  cache       x, W, the shape of x    x, W
"""

from typing import Any

from tinynet.backend.cuda.column_sums import add_bias, column_sums
from tinynet.backend.cuda.runtime.gemm import matmul

# --- Equations ------------------------------------------------------------------------------------------------------

def _forward(xp: Any, x: Any, W: Any, b: Any) -> Any:
    """y (R, F)"""
    y = matmul(x, W)  # (1)
    if b is not None:
        add_bias(y, xp.ascontiguousarray(b))  # (1)
    return y


def _backward(xp: Any, x: Any, W: Any, dy: Any, needs: Any) -> Any:
    """δx (R, D), δW and δb, or None"""
    dx = matmul(dy, W.T) if needs[0] else None  # (2)
    dW = matmul(x.T, dy) if needs[1] else None  # (3)
    db = column_sums(xp, dy) if needs[2] else None  # (4)
    return dx, dW, db


# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by the products, which cuBLAS computes in the precision of `tn.precision`. The bias and its gradient are one
# launch each (column_sums.cu).

# --- Entry ----------------------------------------------------------------------------------------------------------

def dense(xp: Any, x: Any, W: Any, b: Any = None) -> Any:
    """See `tn.ops.dense`. float32."""
    if x.dtype != xp.float32 or not W.size:
        return NotImplemented
    rows, W = xp.ascontiguousarray(x).reshape(-1, x.shape[-1]), xp.ascontiguousarray(W)  # (R,D)
    return _forward(xp, rows, W, b).reshape(*x.shape[:-1], W.shape[1]), (rows, W, x.shape)


def ddense(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.dense`."""
    rows, W, shape = cache
    dy = xp.ascontiguousarray(dy).reshape(-1, W.shape[1])  # (R,F)
    dx, dW, db = _backward(xp, rows, W, dy, needs)
    return None if dx is None else dx.reshape(shape), dW, db
