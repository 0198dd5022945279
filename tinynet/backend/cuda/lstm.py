"""The LSTM of ops/lstm.py on a GPU, for float32.

Layout    The sequence comes before the time in all arrays. 4H columns are f, i, C̃, o, as in W.

  quantity          here                                              specification
  x, y, δx, δy      (N, T, D), (N, T, H), in C order                  the same
  h0, c0, m, δ      (N, H), or None: a null pointer in a kernel       (N, H) or None
  mask              real, booleans (N, T), or None                    (N, T) or None
  z, δz             (N, T, 4H)                                        (N, 4H), (T, N, 4H)

The cache

  mh                (N, T, H): h̃ₜ₋₁ for each step                     hx (T, N, H + D): [h̃ₜ₋₁, xₜ]
  gates             (N, T, 4H), in the memory of z                    (T, 4, N, H)
  C                 (N, T + 1, H): C[:, t] is the state before step t (T + 1, N, H)
  states, h0        (N, T, H): before step t, h is states[:, t − 1],  h (T + 1, N, H)
                    or h0; without a mask, states is y itself
  x, W, m, real     in C order                                        W, m, mask
"""

from typing import Any

from tinynet.backend.cuda import lstm_persistent
from tinynet.backend.cuda.column_sums import column_sums
from tinynet.backend.cuda.runtime.gemm import matmul
from tinynet.backend.cuda.runtime.launch import Kernels, one_each

# --- Equations ------------------------------------------------------------------------------------------------------
# lstm.h: (1) to (11), (13), (19) and (20), for one unit of one sequence.

_cuda = Kernels("lstm")


def _dW(xp: Any, W: Any, mh: Any, x: Any, dz: Any) -> Any:
    """δW (H + D, 4H) of h̃ (R, H), x (R, D) and dz (R, 4H), where R counts all steps of all sequences."""
    H, dW = mh.shape[1], xp.empty(W.shape, W.dtype)
    matmul(mh.T, dz, out=dW[:H])  # (14)
    matmul(x.T, dz, out=dW[H:])  # (14)
    return dW


# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by the steps, which wait for each other. Step by step (lstm.cu), each costs a product and a kernel, at least 5
# µs for any N and H. In one launch (lstm_persistent.cu, up to 128 units), a step costs a chain of arithmetic on one
# multiprocessor, 0.2 to 0.6 µs by the count in lstm_persistent.py.
#
# x W_x of all steps is one product before the loop. δz of all steps is stored, so that δx and both parts of δW are one
# product each after the loop.

def _forward(xp: Any, gates: Any, W: Any, b: Any, m: Any, real: Any, h0: Any, c0: Any) -> Any:
    """y, h and c; C, mh and states for the cache. `gates` is x W_x before, and the gates after."""
    N, T, H = sizes = *gates.shape[:2], W.shape[1] // 4
    C, mh, y = (xp.empty((N, steps, H), gates.dtype) for steps in (T + 1, T, T))
    states = None if real is None else xp.empty(y.shape, y.dtype)
    if plan := lstm_persistent.plan(y):
        h, c = xp.empty((N, H), gates.dtype), xp.empty((N, H), gates.dtype)
        plan.forward(lstm_persistent.kernels, gates, W, b, m, real, h0, c0, C, mh, states, y, h, c, *sizes)
    else:
        C[:, 0] = 0 if c0 is None else c0
        mh[:, :1] = 0 if h0 is None else (h0 if m is None else m * h0)[:, None]  # (15)
        for t in range(T):
            matmul(mh[:, t], W[:H], out=gates[:, t], accumulate=True)
            _cuda.launch("lstm_gates", one_each(N * H), gates, b, m, real, h0, C, mh, states, y, t, *sizes)
        h = (y if states is None else states)[:, -1].copy() if T else _copy(xp, h0, (N, H))
        c = C[:, T].copy()
    return y, h, c, C, mh, y if states is None else states


def _backward(xp: Any, dy: Any, dh: Any, dC: Any, gates: Any, C: Any, states: Any, h0: Any, W: Any, m: Any,
              real: Any) -> Any:
    """δz (N, T, 4H), δh0, δc0 and δm."""
    N, T, H = sizes = states.shape
    dz = xp.empty((N, T, 4 * H), W.dtype)
    if plan := lstm_persistent.plan(states):
        dh0, dc0, dm = (xp.empty((N, H), W.dtype) for _ in range(3))
        plan.backward(lstm_persistent.kernels, gates, W, m, real, h0, C, states, dy, dh, dC, dz, dh0, dc0, dm, *sizes)
    else:
        dh0, dc0 = _copy(xp, dh, (N, H)), _copy(xp, dC, (N, H))  # at step t: δh and δC of step t+1
        dm = None if m is None else xp.zeros_like(m)
        for t in reversed(range(T)):
            _cuda.launch("lstm_dgates", one_each(N * H), gates, real, C, dy, dh0, dc0, dz, t, *sizes)
            matmul(dz[:, t], W[:H].T, out=dh0, accumulate=real is not None)  # (12) (22)
            if m is not None:
                _cuda.launch("lstm_dmask", one_each(N * H), states, h0, m, real, dh0, dm, t, *sizes)
    return dz, dh0, dc0, dm


def _copy(xp: Any, state: Any, shape: tuple[int, int]) -> Any:
    """A copy of a state; zeros for None."""
    return xp.zeros(shape, xp.float32) if state is None else state.copy()


def _in_order(xp: Any, *arrays: Any) -> Any:
    """The arrays in C order; None stays None."""
    return (None if array is None else xp.ascontiguousarray(array) for array in arrays)


# --- Entry ----------------------------------------------------------------------------------------------------------

def lstm(xp: Any, x: Any, h0: Any, c0: Any, W: Any, b: Any, recurrent_mask: Any = None, mask: Any = None) -> Any:
    """See `tn.ops.lstm`. float32."""
    if x.dtype != xp.float32:
        return NotImplemented
    (N, T, D), H = x.shape, W.shape[1] // 4
    real, b = None if mask is None else mask != 0, xp.zeros(W.shape[1], W.dtype) if b is None else b
    if real is not None:
        x = xp.where(real[..., None], x, xp.zeros((), x.dtype))  # (18)
    x, W, b, h0, c0, m, real = _in_order(xp, x, W, b, h0, c0, recurrent_mask, real)
    gates = matmul(x.reshape(N * T, D), W[H:]).reshape(N, T, 4 * H)
    y, h, c, C, mh, states = _forward(xp, gates, W, b, m, real, h0, c0)
    return (y, h, c), (x, mh, gates, C, states, h0, W, m, real)


def dlstm(xp: Any, dy: Any, dh: Any, dC: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.lstm`."""
    x, mh, gates, C, states, h0, W, m, real = cache
    (N, T, D), H = x.shape, states.shape[2]
    dy, dh, dC = _in_order(xp, dy, dh, dC)
    dz, dh0, dc0, dm = _backward(xp, dy, dh, dC, gates, C, states, h0, W, m, real)
    dz = dz.reshape(N * T, 4 * H)
    dx = matmul(dz, W[H:].T).reshape(N, T, D) if needs[0] else None  # (12)
    dW = _dW(xp, W, mh.reshape(N * T, H), x.reshape(N * T, D), dz) if needs[3] else None
    db = column_sums(xp, dz) if needs[4] else None  # (14)
    return dx, dh0 if needs[1] else None, dc0 if needs[2] else None, dW, db, dm if needs[5] else None, None
