"""The LSTM of ops/lstm.py in Numba: the same equations, with everything between two products in one pass.

What bounds it: the products, 2 N (H+D) 4H operations a step forward and twice that backward. The tricks: each thread
takes its own rows of the batch through all the steps, so that nobody waits between steps and a thread's data stays in
its cache; W is packed once for all steps; equations (1) to (6) are one loop over a row that has just been computed, and
so are (7) to (11) and (13). The weight gradient (16) is one product over all steps, of which each thread takes columns.
"""

from typing import Any

import numpy as np
from numba import njit

from tinynet.backend import is_recording
from tinynet.backend.cpu.elementary import OPTIONS, logistic, tanh
from tinynet.backend.cpu.gemm import PANEL, product
from tinynet.backend.cpu.memory import empty
from tinynet.backend.cpu.panels import packed
from tinynet.backend.cpu.threads import run, threads

_FEW = 40  # rows, through all steps, for which it takes longer to pack W than to read it as it lies


_NEAR = 1 << 19  # elements of δz that are kept until they go into δW: the second and third cache hold them


def lstm(xp: Any, x: Any, h0: Any, c0: Any, W: Any, b: Any, recurrent_mask: Any = None) -> Any:
    """See `tn.ops.lstm`. float32."""
    if x.dtype != np.float32:
        return NotImplemented
    (N, T, D), H = x.shape, W.shape[1] // 4
    kept = T if is_recording() else min(1, T)  # steps, for backward
    hx = empty((kept + 1, N, H + D))  # [m ⊙ hₜ₋₁, xₜ] for every t; the last one holds h_T alone
    gates = empty((kept, N, 4 * H))
    C = empty((kept + 1, N, H))
    y = empty((N, T, H))
    starts_at_zero = h0 is None
    h0, c0 = (np.zeros((N, H), x.dtype) if state is None else np.ascontiguousarray(state) for state in (h0, c0))
    m = np.ones((N, H), x.dtype) if recurrent_mask is None else np.ascontiguousarray(recurrent_mask)
    if N * T > _FEW:
        panels, places = packed(W), (PANEL, (H + D) * PANEL)
    else:
        panels, places = np.ascontiguousarray(W), (4 * H, PANEL)
    h, CT = empty((N, H)), empty((N, H))  # after the last step
    run(_forward, np.ascontiguousarray(x), h0, c0, panels.reshape(-1), places, np.ascontiguousarray(b), m,
        starts_at_zero, hx, gates, C, y, h, CT, shards=_shards(N))
    return (y, h, CT), (hx, gates, C, y, h0, W, m, recurrent_mask is not None)


def dlstm(xp: Any, dy: Any, dh: Any, dC: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.lstm`."""
    hx, gates, C, y, h0, W, m, masked = cache
    (N, T, H), D = y.shape, hx.shape[2] - y.shape[2]
    steps = max(1, min(T, _NEAR // max(1, N * 4 * H)))
    dz = empty((steps, N, 4 * H))
    dx = empty((N, T, D if needs[0] else 0))
    dh, dC = dh.copy(), dC.copy()
    dm = np.zeros_like(m)
    db = np.zeros((_shards(N), 4 * H), dz.dtype)
    W_h, W_x, dy = packed(W[:H].T), packed(W[H:].T), np.ascontiguousarray(dy)
    dW = np.zeros_like(W, order="C")
    for end in range(T, 0, -steps):
        start = max(0, end - steps)
        run(_backward, start, end, gates, C, y, h0, m, masked, W_h, W_x, dy, dz, dh, dC, dx, dm, db, shards=_shards(N))
        if needs[3]:
            run(_dW, start, end, hx, dz, dW)
    return (dx if needs[0] else None, dh if needs[1] else None, dC if needs[2] else None, dW if needs[3] else None,
            db.sum(axis=0) if needs[4] else None, dm if masked else None)


def _shards(N: int) -> int:
    """A thread for at least eight rows: fewer leave the product's tiles empty."""
    return max(1, min(threads(), N // 8))


@njit(**OPTIONS)
def _forward(shard: Any, shards: Any, x: Any, h0: Any, c0: Any, W: Any, places: Any, b: Any, m: Any,
             starts_at_zero: Any, hx: Any, gates: Any, C: Any, y: Any, h: Any, CT: Any) -> None:
    """(1) to (6) for all steps of the shard's rows. Inside of `gates`, [h, x] W becomes the gates. The arrays hold all
    steps, or the last one or two."""
    N, T, D = x.shape
    H = m.shape[1]
    K, G = H + D, 4 * H
    low, high = shard * N // shards, (shard + 1) * N // shards
    for n in range(low, high):
        for j in range(H):
            C[0, n, j] = c0[n, j]
            hx[0, n, j] = m[n, j] * h0[n, j]
    for t in range(T):
        now, then, place = t % C.shape[0], (t + 1) % C.shape[0], t % gates.shape[0]
        for n in range(low, high):
            for d in range(D):
                hx[now, n, H + d] = x[n, t, d]
        skipped = H if t == 0 and starts_at_zero else 0  # h₀ = 0 adds nothing
        product((high - low, G, K - skipped), hx, ((now * N + low) * K + skipped, K, 1),
                W, (skipped * places[0], *places), gates, ((place * N + low) * G, G), False)
        for n in range(low, high):
            _gates(gates[place, n], b, C[now, n], C[then, n], y[n, t], m[n], hx[then, n])
    for n in range(low, high):
        for j in range(H):
            h[n, j] = y[n, T - 1, j] if T else h0[n, j]
            CT[n, j] = C[T % C.shape[0], n, j]


@njit(**OPTIONS)
def _gates(z: Any, b: Any, C_before: Any, C: Any, h: Any, m: Any, hx: Any) -> None:
    H = h.size
    for j in range(H):
        f = logistic(z[j] + b[j])  # (1)
        i = logistic(z[H + j] + b[H + j])  # (2)
        Ctilde = tanh(z[2 * H + j] + b[2 * H + j])  # (3)
        o = logistic(z[3 * H + j] + b[3 * H + j])  # (5)
        state = f * C_before[j] + i * Ctilde
        z[j], z[H + j], z[2 * H + j], z[3 * H + j] = f, i, Ctilde, o
        C[j] = state  # (4)
        new = o * tanh(state)
        h[j] = new  # (6)
        hx[j] = m[j] * new


@njit(**OPTIONS)
def _backward(shard: Any, shards: Any, start: Any, end: Any, gates: Any, C: Any, y: Any, h0: Any, m: Any,
              masked: Any, W_h: Any, W_x: Any, dy: Any, dz: Any, dh: Any, dC: Any, dx: Any, dm: Any, db: Any) -> None:
    """(7) to (15) and the shard's part of (17), for some steps of its rows. `dz` holds these steps alone."""
    N, T, H = y.shape
    G, D = 4 * H, dx.shape[2]
    low, high = shard * N // shards, (shard + 1) * N // shards
    for t in range(end - 1, start - 1, -1):
        s = t - start
        for n in range(low, high):
            _dgates(gates[t, n], C[t, n], C[t + 1, n], dy[n, t], dh[n], dC[n], dz[s, n])
            _added(dz[s, n], db[shard])  # (17)
        rows = (s * N + low) * G, G, 1
        product((high - low, H, G), dz, rows, W_h, (0, PANEL, G * PANEL), dh, (low * H, H), False)  # (12)
        product((high - low, D, G), dz, rows, W_x, (0, PANEL, G * PANEL), dx, ((low * T + t) * D, T * D), False)
        if masked:
            for n in range(low, high):
                _dmasked(y[n, t - 1] if t else h0[n], m[n], dh[n], dm[n])


@njit(**OPTIONS)
def _dgates(gates: Any, C_before: Any, C: Any, dy: Any, dh: Any, dC: Any, dz: Any) -> None:
    H = dy.size
    one = np.float32(1)
    for j in range(H):
        f, i, Ctilde, o = gates[j], gates[H + j], gates[2 * H + j], gates[3 * H + j]
        tanhC = tanh(C[j])
        dhj = dh[j] + dy[j]
        dCj = dC[j] + dhj * o * (one - tanhC * tanhC)  # (7)
        dz[j] = dCj * C_before[j] * f * (one - f)  # (8)
        dz[H + j] = dCj * Ctilde * i * (one - i)  # (9)
        dz[2 * H + j] = dCj * i * (one - Ctilde * Ctilde)  # (10)
        dz[3 * H + j] = dhj * tanhC * o * (one - o)  # (11)
        dC[j] = dCj * f  # (13)


@njit(**OPTIONS)
def _dmasked(h_before: Any, m: Any, dh: Any, dm: Any) -> None:
    for j in range(m.size):
        dm[j] += h_before[j] * dh[j]  # (15)
        dh[j] *= m[j]  # (14)


@njit(**OPTIONS)
def _added(row: Any, total: Any) -> None:
    for j in range(row.size):
        total[j] += row[j]


@njit(**OPTIONS)
def _dW(shard: Any, shards: Any, start: Any, end: Any, hx: Any, dz: Any, dW: Any) -> None:
    """Add to (16) what these steps give, for the shard's columns: one product over the steps and sequences."""
    _, N, G = dz.shape
    K = dW.shape[0]
    panels = (G + PANEL - 1) // PANEL
    low, high = shard * panels // shards * PANEL, min(G, (shard + 1) * panels // shards * PANEL)
    product((K, high - low, (end - start) * N), hx, (start * N * K, 1, K), dz, (low, G, PANEL), dW, (low, G), True)
