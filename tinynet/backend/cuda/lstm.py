"""The LSTM of ops/lstm.py on a GPU: products by cuBLAS, and between two products one kernel of lstm.cu.

What bounds it: launches, two for each step, as long as N and H are small. The tricks: the inputs' part of all products
is one product in front of the loop; a step's gates replace the sums they were made of; δz of all steps stays, so that
(16) and the gradient of x are products over all steps at once.
"""

from typing import Any

from tinynet.backend.cuda.columns import column_sums
from tinynet.backend.cuda.launch import Kernels, one_each
from tinynet.backend.cuda.products import matmul

_cuda = Kernels("lstm")


def lstm(xp: Any, x: Any, h0: Any, c0: Any, W: Any, b: Any, recurrent_mask: Any = None) -> Any:
    """See `tn.ops.lstm`. float32."""
    if x.dtype != xp.float32:
        return NotImplemented
    (N, T, D), H = x.shape, W.shape[1] // 4
    W, b = xp.ascontiguousarray(W), xp.ascontiguousarray(b)
    W_h, W_x = W[:H], W[H:]
    h0, c0 = (xp.zeros((N, H), x.dtype) if state is None else xp.ascontiguousarray(state) for state in (h0, c0))
    m = xp.ones((N, H), x.dtype) if recurrent_mask is None else xp.ascontiguousarray(recurrent_mask)
    x = xp.ascontiguousarray(x.transpose(1, 0, 2)).reshape(T * N, D)
    gates = matmul(x, W_x).reshape(T, N, 4 * H)
    C, mh = xp.empty((T + 1, N, H), x.dtype), xp.empty((T + 1, N, H), x.dtype)  # before each step, and after the last
    y = xp.empty((N, T, H), x.dtype)
    C[0], mh[0] = c0, m * h0
    for t in range(T):
        matmul(mh[t], W_h, out=gates[t], accumulate=True)
        _cuda.launch("lstm_gates", one_each(N * H), gates, b, m, C, mh, y, t, N, T, H)  # (1) to (6)
    h = y[:, -1].copy() if T else h0.copy()
    return (y, h, C[T].copy()), (x, gates, C, mh, y, h0, W, m, recurrent_mask is not None)


def dlstm(xp: Any, dy: Any, dh: Any, dC: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.lstm`."""
    x, gates, C, mh, y, h0, W, m, masked = cache
    (N, T, H), D = y.shape, x.shape[1]
    W_h, W_x, dy = W[:H], W[H:], xp.ascontiguousarray(dy)
    dh, dC, dm = dh.copy(), dC.copy(), xp.zeros_like(m)
    dz = xp.empty((T, N, 4 * H), dy.dtype)
    for t in reversed(range(T)):
        _cuda.launch("lstm_dgates", one_each(N * H), gates, C, dy, dh, dC, dz, t, N, T, H)  # (7) to (11), (13)
        matmul(dz[t], W_h.T, out=dh)  # (12)
        if masked:
            _cuda.launch("lstm_dmask", one_each(N * H), y, h0, m, dh, dm, t, N, T, H)  # (14) (15)
    dz = dz.reshape(T * N, 4 * H)
    dx = matmul(dz, W_x.T).reshape(T, N, D).transpose(1, 0, 2) if needs[0] else None  # (12)
    dW: Any = xp.empty((H + D, 4 * H), dz.dtype) if needs[3] else None
    if needs[3]:
        matmul(mh[:T].reshape(T * N, H).T, dz, out=dW[:H])  # (16)
        matmul(x.T, dz, out=dW[H:])
    db = column_sums(xp, dz) if needs[4] else None  # (17)
    return dx, dh if needs[1] else None, dC if needs[2] else None, dW, db, dm if masked else None
