"""The product of ops/matmul.py on a GPU, by cuBLAS, in the precision of `tn.precision`. What bounds it: the product."""

import math
from typing import Any

from tinynet.backend.cuda.runtime import gemm


def matmul(xp: Any, a: Any, b: Any) -> Any:
    """See `tn.ops.matmul`. float32 or float64: two matrices, two stacks of one shape, or a stack and a matrix."""
    if a.dtype.char not in "fd" or (b.ndim > 2 and a.shape[:-2] != b.shape[:-2]):
        return NotImplemented
    return gemm.matmul(a, b), (a, b)  # (1)


def dmatmul(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.matmul`."""
    a, b = cache
    da = gemm.matmul(dy, b, transpose_b=True) if needs[0] else None  # (2)
    if b.ndim == 2:  # one for the whole stack: its gradient is the sum over the rows of all matrices
        R = math.prod(a.shape[:-1])
        a, dy = a.reshape(R, a.shape[-1]), dy.reshape(R, dy.shape[-1])
    db = gemm.matmul(a, dy, transpose_a=True) if needs[1] else None  # (3)
    return da, db
