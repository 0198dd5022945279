"""The LSTM of ops/lstm.py on a GPU: products by cuBLAS, and the time loop in one launch, or in one or two a step.

What bounds it: the steps wait for each other. Launched one by one (lstm.cu), a step costs a product and a kernel, 5 µs
or more, however small N and H are. In one launch (persistent.cu, up to 128 units), it costs what a chain of arithmetic
takes on one multiprocessor, 0.2 to 0.6 µs: `persistent.py` counts it. The tricks of both: the inputs' part of all
products is one product in front of the loop; a step's gates replace the sums they were made of; δz of all steps stays,
so that (16) and δx are one product each over all steps. The sequence comes before the time in all arrays, as in x, so
that nothing is transposed.
"""

from typing import Any

from tinynet.backend.cuda import persistent
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
    zeros = xp.zeros((N, H), x.dtype) if h0 is None or c0 is None else None
    h0, c0 = (zeros if state is None else xp.ascontiguousarray(state) for state in (h0, c0))
    m = xp.ones((N, H), x.dtype) if recurrent_mask is None else xp.ascontiguousarray(recurrent_mask)
    hx, C = xp.empty((N, T, H + D), x.dtype), xp.empty((N, T + 1, H), x.dtype)  # before each step, and the last C
    hx[:, :, H:] = x
    gates = matmul(hx.reshape(N * T, H + D)[:, H:], W_x).reshape(N, T, 4 * H)
    y, sizes = xp.empty((N, T, H), x.dtype), (N, T, H, D)
    if kernels := persistent.plan(hx, H):
        h, c = xp.empty((N, H), x.dtype), xp.empty((N, H), x.dtype)
        kernels.forward(gates, W, b, m, h0, c0, C, hx, y, h, c, *sizes)  # (1) to (6)
    else:
        C[:, 0], hx[:, :1, :H] = c0, (m * h0)[:, None]
        for t in range(T):
            matmul(hx[:, t, :H], W_h, out=gates[:, t], accumulate=True)
            _cuda.launch("lstm_gates", one_each(N * H), gates, b, m, C, hx, y, t, *sizes)  # (1) to (6)
        h, c = (y[:, -1] if T else h0).copy(), C[:, T].copy()
    return (y, h, c), (hx, gates, C, y, h0, W, m, recurrent_mask is not None)


def dlstm(xp: Any, dy: Any, dh: Any, dC: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.lstm`."""
    hx, gates, C, y, h0, W, m, masked = cache
    (N, T, H), D = y.shape, hx.shape[2] - y.shape[2]
    W_h, W_x, dy = W[:H], W[H:], xp.ascontiguousarray(dy)
    dz, sizes = xp.empty((N, T, 4 * H), dy.dtype), (N, T, H)
    if kernels := persistent.plan(hx, H):
        dh, dC = xp.ascontiguousarray(dh), xp.ascontiguousarray(dC)
        dh0, dc0, dm = xp.empty_like(m), xp.empty_like(m), xp.empty_like(m)
        kernels.backward(gates, W, m, h0, C, y, dy, dh, dC, dz, dh0, dc0, dm, *sizes)  # (7) to (15)
    else:
        dh0, dc0, dm = dh.copy(), dC.copy(), xp.zeros_like(m)  # at each step, what arrives from the next one
        for t in reversed(range(T)):
            _cuda.launch("lstm_dgates", one_each(N * H), gates, C, dy, dh0, dc0, dz, t, *sizes)  # (7) to (11), (13)
            matmul(dz[:, t], W_h.T, out=dh0)  # (12)
            if masked:
                _cuda.launch("lstm_dmask", one_each(N * H), y, h0, m, dh0, dm, t, *sizes)  # (14) (15)
    dz = dz.reshape(N * T, 4 * H)
    dx = matmul(dz, W_x.T).reshape(N, T, D) if needs[0] else None  # (12)
    dW = matmul(hx.reshape(N * T, H + D).T, dz) if needs[3] else None  # (16)
    db = column_sums(xp, dz) if needs[4] else None  # (17)
    return dx, dh0 if needs[1] else None, dc0 if needs[2] else None, dW, db, dm if masked else None
