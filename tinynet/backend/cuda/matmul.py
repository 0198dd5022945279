"""The product of ops/matmul.py on a GPU, for float32 and float64.

Layout    two matrices, two stacks of one shape, or a stack and a matrix

  quantity           here              specification
  a, b, y, and δ     any strides       (...A, M, K), (...B, K, P), (...Y, M, P)
  cache              a, b              a, b
"""

import math
from typing import Any

from tinynet.backend.cuda.runtime import gemm

# --- Equations ------------------------------------------------------------------------------------------------------

def _da(dy: Any, b: Any) -> Any:
    return gemm.matmul(dy, b, transpose_b=True)  # (2)


def _db(a: Any, dy: Any, shape: Any) -> Any:
    """`shape` is that of b. One matrix b for a whole stack gets the sum over the rows of all matrices of the stack."""
    if len(shape) == 2:
        R = math.prod(a.shape[:-1])
        a, dy = a.reshape(R, a.shape[-1]), dy.reshape(R, dy.shape[-1])
    return gemm.matmul(a, dy, transpose_a=True)  # (3)


# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by the product, which cuBLAS computes in the precision of `tn.precision`.

# --- Entry ----------------------------------------------------------------------------------------------------------

def matmul(xp: Any, a: Any, b: Any) -> Any:
    """See `tn.ops.matmul`. float32 or float64."""
    if a.dtype.char not in "fd" or (b.ndim > 2 and a.shape[:-2] != b.shape[:-2]):
        return NotImplemented
    return gemm.matmul(a, b), (a, b)  # (1)


def dmatmul(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.matmul`."""
    a, b = cache
    return _da(dy, b) if needs[0] else None, _db(a, dy, b.shape) if needs[1] else None
