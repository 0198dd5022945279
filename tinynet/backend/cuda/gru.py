"""The GRU of ops/gru.py on a GPU, for float32.

Layout    The sequence comes before the time in all arrays. 3H columns are r, z, n, as in W.

  quantity          here                                              specification
  x, y, δx, δy      (N, T, D), (N, T, H), in C order; x is 0 at       the same
                    masked steps
  h0, δ             (N, H), or None: a null pointer in a kernel       (N, H) or None
  mask              real, booleans (N, T), or None                    (N, T) or None
  δa, δq            (N, T, 3H)                                        (T, N, 3H)

The cache

  gates             (N, T, 3H): r, z, n, in the memory of a           (T, 4, N, H): r, z, n, q_n
  q                 (N, T, 3H), of which the last block is q_n
  h                 (N, T + 1, H): h[:, t] is the state before step t (T + 1, N, H)
  x, W, real        in C order                                        x, W, mask
"""

from typing import Any

from tinynet.backend.cuda import gru_persistent
from tinynet.backend.cuda.column_sums import column_sums
from tinynet.backend.cuda.runtime.gemm import matmul
from tinynet.backend.cuda.runtime.launch import Kernels, one_each

# --- Equations ------------------------------------------------------------------------------------------------------
# gru.h: (1) to (7), (12) and (13), for one unit of one sequence.

_cuda = Kernels("gru")


def _dW(xp: Any, W: Any, h: Any, x: Any, da: Any, dq: Any) -> Any:
    """δW (H + D, 3H) of the states h (R, H), x (R, D), δa and δq (R, 3H), where R counts all steps of all sequences."""
    H, dW = h.shape[1], xp.empty(W.shape, W.dtype)
    matmul(h.T, dq, out=dW[:H])  # (10)
    matmul(x.T, da, out=dW[H:])  # (10)
    return dW


# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by the steps, which wait for each other. Step by step (gru.cu), each costs a product and a kernel. In one launch
# (gru_persistent.cu, up to 128 units), a step costs a chain of arithmetic on one multiprocessor.
#
# x W_x of all steps is one product before the loop; δx, both parts of δW and the sums of the biases are one product or
# sum each after it.

# --- Entry ----------------------------------------------------------------------------------------------------------

def gru(xp: Any, x: Any, h0: Any, W: Any, b: Any = None, b_h: Any = None, mask: Any = None) -> Any:
    """See `tn.ops.gru`. float32."""
    if x.dtype != xp.float32:
        return NotImplemented
    (N, T, D), H = x.shape, W.shape[1] // 3
    real = None if mask is None else xp.ascontiguousarray(mask != 0)
    if real is not None:
        x = xp.where(real[..., None], x, xp.zeros((), x.dtype))  # (11)
    x, W, b, b_h = (None if one is None else xp.ascontiguousarray(one) for one in (x, W, b, b_h))
    gates = matmul(x.reshape(N * T, D), W[H:]).reshape(N, T, 3 * H)
    q, h, y = (xp.empty(shape, x.dtype) for shape in ((N, T, 3 * H), (N, T + 1, H), (N, T, H)))
    if plan := gru_persistent.plan(y):
        h0 = None if h0 is None else xp.ascontiguousarray(h0)
        plan.forward(gru_persistent.kernels, gates, W, b, b_h, real, h0, q, h, y, N, T, H)
    else:
        h[:, 0] = 0 if h0 is None else h0
        for t in range(T):
            matmul(h[:, t], W[:H], out=q[:, t])
            _cuda.launch("gru_gates", one_each(N * H), gates, q, b, b_h, real, h, y, t, N, T, H)
    return (y, h[:, T].copy()), (x, gates, q, h, W, real)


def dgru(xp: Any, dy: Any, dh: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.gru`."""
    x, gates, q, h, W, real = cache
    (N, T, D), H = x.shape, W.shape[1] // 3
    dy, dh = (None if one is None else xp.ascontiguousarray(one) for one in (dy, dh))
    da, dq = (xp.empty((N, T, 3 * H), W.dtype) for _ in range(2))
    if plan := gru_persistent.plan(h[:, 1:]):
        dh0 = xp.empty((N, H), W.dtype)
        plan.backward(gru_persistent.kernels, gates, W, q, h, real, dy, dh, da, dq, dh0, N, T, H)
    else:
        dh0 = xp.zeros((N, H), W.dtype) if dh is None else dh.copy()
        for t in reversed(range(T)):
            _cuda.launch("gru_dgates", one_each(N * H), gates, q, h, real, dy, dh0, da, dq, t, N, T, H)
            matmul(dq[:, t], W[:H].T, out=dh0, accumulate=True)  # (8) (15)
    da, dq = da.reshape(N * T, 3 * H), dq.reshape(N * T, 3 * H)
    dx = matmul(da, W[H:].T).reshape(N, T, D) if needs[0] else None  # (9)
    states = xp.ascontiguousarray(h[:, :T]).reshape(N * T, H)
    dW = _dW(xp, W, states, x.reshape(N * T, D), da, dq) if needs[2] else None
    return (dx, dh0 if needs[1] else None, dW, column_sums(xp, da) if needs[3] else None,  # (10)
            column_sums(xp, dq) if needs[4] else None, None)  # (10)
