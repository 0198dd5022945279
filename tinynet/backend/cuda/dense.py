"""The dense layer of ops/dense.py on a GPU: products by cuBLAS, biases and their gradients by column_sums.cu."""

from typing import Any

from tinynet.backend import home
from tinynet.backend.cuda.column_sums import add_bias, column_sums
from tinynet.backend.cuda.runtime.gemm import matmul


def dense(xp: Any, x: Any, W: Any, b: Any = None) -> Any:
    """See `tn.ops.dense`. float32."""
    if x.dtype != xp.float32:
        return NotImplemented
    rows, W = xp.ascontiguousarray(x).reshape(-1, x.shape[-1]), xp.ascontiguousarray(W)  # (R,D)
    y = matmul(rows, W)  # (1) (R,F)
    if b is not None:
        add_bias(y, xp.ascontiguousarray(b))
    return y.reshape(*x.shape[:-1], W.shape[1]), (rows, W, x.shape)


def ddense(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.dense`."""
    rows, W, shape = cache
    dy = xp.ascontiguousarray(dy).reshape(-1, W.shape[1])  # (R,F)
    dx = matmul(dy, W.T).reshape(shape) if needs[0] else None  # (2)
    dW = matmul(rows.T, dy, out=home(needs[1])) if needs[1] else None  # (3)
    db = column_sums(xp, dy, out=home(needs[2])) if needs[2] else None  # (4)
    return dx, dW, db
