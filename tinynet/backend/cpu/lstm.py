"""The LSTM of ops/lstm.py in Numba: the same equations, with everything between two products in one pass.

What bounds it: the products, 2 N (H+D) 4H operations a step forward and twice that backward, run by NumPy's BLAS on all
its threads. The specification spends most of its time elsewhere, in some twenty passes of NumPy over (N,H) arrays for
each step, with a new array each. Here equations (1) to (6) are one loop on one thread, and so are (7) to (15).

Numba's own threads stay out of it: two pools that wait for each other's turn, spinning, make this forty times slower.
"""

from typing import Any

import numpy as np
from numba import njit

from tinynet.backend.cpu.elementary import OPTIONS, logistic, tanh


def lstm(xp: Any, x: Any, h0: Any, c0: Any, W: Any, b: Any, recurrent_mask: Any = None) -> Any:
    """See `tn.ops.lstm`. float32 and float64."""
    if x.dtype not in (np.float32, np.float64):
        return NotImplemented
    (N, T, D), H = x.shape, W.shape[1] // 4
    hx = np.empty((T + 1, N, H + D), x.dtype)  # [m ⊙ hₜ₋₁, xₜ] for every t; the last one holds h_T alone
    hx[:T, :, H:] = x.transpose(1, 0, 2)  # (T,N,D)
    gates = np.empty((T, N, 4 * H), x.dtype)
    C = np.empty((T + 1, N, H), x.dtype)
    y = np.empty((N, T, H), x.dtype)
    h0, C[0] = np.zeros((N, H), x.dtype) if h0 is None else h0, 0 if c0 is None else c0
    m = np.ones((N, H), x.dtype) if recurrent_mask is None else np.ascontiguousarray(recurrent_mask)
    hx[0, :, :H] = m * h0
    W, b = np.ascontiguousarray(W), np.ascontiguousarray(b)
    for t in range(T):
        np.matmul(hx[t], W, out=gates[t])
        _step(t, gates, b, C, m, hx, y)
    h = y[:, -1].copy() if T else h0.copy()
    return (y, h, C[T].copy()), (hx, gates, C, y, h0, W, m, recurrent_mask is not None)


def dlstm(xp: Any, dy: Any, dh: Any, dC: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.lstm`."""
    hx, gates, C, y, h0, W, m, masked = cache
    (N, T, H), D = y.shape, hx.shape[2] - y.shape[2]
    dz = np.empty_like(gates)
    dy, dh, dC = np.ascontiguousarray(dy), dh.copy(), dC.copy()
    dm = np.zeros_like(m)
    recurrent = W[:H].T  # (4H,H)
    for t in reversed(range(T)):
        _dstep(t, gates, C, dy, dh, dC, dz)
        np.matmul(dz[t], recurrent, out=dh)  # (12)
        if masked:
            dm += (y[:, t - 1] if t else h0) * dh  # (15)
            dh *= m  # (14)
    rows = dz.reshape(T * N, 4 * H)  # (TN,4H)
    dx = (rows @ W[H:].T).reshape(T, N, D).transpose(1, 0, 2) if needs[0] else None  # (12) (N,T,D)
    dW = hx[:T].reshape(T * N, H + D).T @ rows if needs[3] else None  # (16)
    db = rows.sum(axis=0) if needs[4] else None  # (17)
    return dx, dh if needs[1] else None, dC if needs[2] else None, dW, db, dm if masked else None


@njit(cache=True, **OPTIONS)
def _step(t: Any, gates: Any, b: Any, C: Any, m: Any, hx: Any, y: Any) -> None:
    """(1) to (6) of step t: gates[t] holds [h, x] W and becomes the gates; C, y and the next row of hx are written."""
    N, H = m.shape
    for n in range(N):
        for j in range(2 * H):
            gates[t, n, j] = logistic(gates[t, n, j] + b[j])  # (1) (2)
        for j in range(2 * H, 3 * H):
            gates[t, n, j] = tanh(gates[t, n, j] + b[j])  # (3)
        for j in range(3 * H, 4 * H):
            gates[t, n, j] = logistic(gates[t, n, j] + b[j])  # (5)
        for j in range(H):
            C[t + 1, n, j] = gates[t, n, j] * C[t, n, j] + gates[t, n, H + j] * gates[t, n, 2 * H + j]  # (4)
        for j in range(H):
            y[n, t, j] = gates[t, n, 3 * H + j] * tanh(C[t + 1, n, j])  # (6)
        for j in range(H):
            hx[t + 1, n, j] = m[n, j] * y[n, t, j]


@njit(cache=True, **OPTIONS)
def _dstep(t: Any, gates: Any, C: Any, dy: Any, dh: Any, dC: Any, dz: Any) -> None:
    """(7) to (11) and (13) of step t: writes dz[t], and leaves in dC what goes back to step t - 1."""
    N, H = dh.shape
    one = gates.dtype.type(1)
    for n in range(N):
        for j in range(H):
            f, i = gates[t, n, j], gates[t, n, H + j]
            Ctilde, o = gates[t, n, 2 * H + j], gates[t, n, 3 * H + j]
            tanhC = tanh(C[t + 1, n, j])
            dhj = dh[n, j] + dy[n, t, j]
            dCj = dC[n, j] + dhj * o * (one - tanhC * tanhC)  # (7)
            dz[t, n, j] = dCj * C[t, n, j] * f * (one - f)  # (8)
            dz[t, n, H + j] = dCj * Ctilde * i * (one - i)  # (9)
            dz[t, n, 2 * H + j] = dCj * i * (one - Ctilde * Ctilde)  # (10)
            dz[t, n, 3 * H + j] = dhj * tanhC * o * (one - o)  # (11)
            dC[n, j] = dCj * f  # (13)
