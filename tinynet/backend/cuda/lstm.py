"""The LSTM of ops/lstm.py on a GPU: products by cuBLAS, and the time loop in one launch, or in one or two a step.

What bounds it: the steps wait for each other. Launched one by one (lstm.cu), a step costs a product and a kernel, 5 µs
or more, however small N and H are. In one launch (lstm_persistent.cu, up to 128 units), it costs what a chain of
arithmetic takes on one multiprocessor, 0.2 to 0.6 µs: `lstm_persistent.py` counts it. The tricks of both: the inputs'
part of all products is one product in front of the loop; a step's gates replace the sums they were made of; δz of all
steps stays, so that δx and both parts of δW (14) are one product each over all steps, and x need not be copied beside
m ⊙ h. The sequence comes before the time in all arrays, as in x, so that nothing is transposed. What was left out
(states, a mask, gradients of outputs that nobody used) is left out here, too, and not written as zeros or ones first.
"""

from typing import Any

from tinynet.backend import home, room
from tinynet.backend.cuda import lstm_persistent
from tinynet.backend.cuda.column_sums import column_sums
from tinynet.backend.cuda.runtime.gemm import matmul
from tinynet.backend.cuda.runtime.launch import Kernels, one_each

_cuda = Kernels("lstm")


def lstm(xp: Any, x: Any, h0: Any, c0: Any, W: Any, b: Any, recurrent_mask: Any = None) -> Any:
    """See `tn.ops.lstm`. float32."""
    if x.dtype != xp.float32:
        return NotImplemented
    (N, T, D), H = x.shape, W.shape[1] // 4
    x, W, b = (xp.ascontiguousarray(array) for array in (x, W, b))
    h0, c0, m = (None if array is None else xp.ascontiguousarray(array) for array in (h0, c0, recurrent_mask))
    gates = matmul(x.reshape(N * T, D), W[H:]).reshape(N, T, 4 * H)
    C, mh = xp.empty((N, T + 1, H), x.dtype), xp.empty((N, T, H), x.dtype)  # before each step, and the last C
    y, sizes = xp.empty((N, T, H), x.dtype), (N, T, H)
    if kernels := lstm_persistent.plan(y):
        h, c = xp.empty((N, H), x.dtype), xp.empty((N, H), x.dtype)
        kernels.forward(gates, W, b, m, h0, c0, C, mh, y, h, c, *sizes)  # (1) to (6)
    else:
        C[:, 0] = 0 if c0 is None else c0
        mh[:, :1] = 0 if h0 is None else (h0 if m is None else m * h0)[:, None]
        for t in range(T):
            matmul(mh[:, t], W[:H], out=gates[:, t], accumulate=True)
            _cuda.launch("lstm_gates", one_each(N * H), gates, b, m, C, mh, y, t, *sizes)  # (1) to (6)
        h, c = y[:, -1].copy() if T else _copy(xp, h0, (N, H)), C[:, T].copy()
    return (y, h, c), (x, mh, gates, C, y, h0, W, m)


def dlstm(xp: Any, dy: Any, dh: Any, dC: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.lstm`."""
    x, mh, gates, C, y, h0, W, m = cache
    (N, T, D), H = x.shape, y.shape[2]
    dy, dh, dC = (None if array is None else xp.ascontiguousarray(array) for array in (dy, dh, dC))
    dz, sizes = xp.empty((N, T, 4 * H), x.dtype), (N, T, H)
    if kernels := lstm_persistent.plan(y):
        dh0, dc0, dm = (xp.empty((N, H), x.dtype) for _ in range(3))
        kernels.backward(gates, W, m, h0, C, y, dy, dh, dC, dz, dh0, dc0, dm, *sizes)  # (7) to (13), (16), (17)
    else:
        dh0, dc0 = _copy(xp, dh, (N, H)), _copy(xp, dC, (N, H))  # at each step, what arrives from the next one
        dm = None if m is None else xp.zeros_like(m)
        for t in reversed(range(T)):
            _cuda.launch("lstm_dgates", one_each(N * H), gates, C, dy, dh0, dc0, dz, t, *sizes)  # (7) to (11), (13)
            matmul(dz[:, t], W[:H].T, out=dh0)  # (12)
            if m is not None:
                _cuda.launch("lstm_dmask", one_each(N * H), y, h0, m, dh0, dm, t, *sizes)  # (16) (17)
    dz = dz.reshape(N * T, 4 * H)
    dx = matmul(dz, W[H:].T).reshape(N, T, D) if needs[0] else None  # (12)
    dW: Any = room(xp, needs[3], W) if needs[3] else None
    if needs[3]:
        matmul(mh.reshape(N * T, H).T, dz, out=dW[:H])  # (14)
        matmul(x.reshape(N * T, D).T, dz, out=dW[H:])
    db = column_sums(xp, dz, out=home(needs[4])) if needs[4] else None  # (14)
    return dx, dh0 if needs[1] else None, dc0 if needs[2] else None, dW, db, dm if needs[5] else None


def _copy(xp: Any, state: Any, shape: tuple[int, int]) -> Any:
    """A copy of a state, which is zeros where it was left out."""
    return xp.zeros(shape, xp.float32) if state is None else state.copy()
