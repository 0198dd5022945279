"""The GRU of ops/gru.py in Numba, for float32: one pass over a row between products.

Layout    The rows of all matrices are sequences. 4H columns are a_r + q_r, a_z + q_z, q_n, a_n: the first three make up
          q, the first two and the last one a.

  quantity        here                                              specification
  x, y, δx, δy    (N, T, D), (N, T, H), in C order                  the same; x is 0 at masked steps
  h0              (N, H); (0, 0) for None                           (N, H) or None
  W               W_h (H, 3H), and W_x for r, z (D, 2H) and for n   (H + D, 3H)
                  (D, H), packed into panels; backward, transposed
  b, b_h          (3H), zeros for None                              (3H) or None
  mask            real, bytes (N, T); (0, 0) for None               (N, T) or None
  δa, δq          (steps, N, 4H), as many steps as one product      (T, N, 3H) each
                  of (10) takes
  δW, δb          (shards, H + D, 3H), (shards, 4H), then summed    (H + D, 3H), (3H)

The cache; without a backward pass h has two rows of time, gates has one, and the steps take turns in them

  h               (T + 1, N, H): h[t] is the state before step t    (T + 1, N, H)
  gates           (T, N, 4H): r, z, q_n, n                          (T, 4, N, H): r, z, n, q_n
  x, W, real      as above                                          x, W, mask
"""

from typing import Any

import numpy as np

from tinynet.backend import call, is_recording
from tinynet.backend.cpu.masking import ALL_REAL, bytes_of, cleared, is_real_at
from tinynet.backend.cpu.runtime.gemm import PANEL, SHALLOW, product
from tinynet.backend.cpu.runtime.jit import njit, noalias
from tinynet.backend.cpu.runtime.memory import contiguous, copied, empty, zeros
from tinynet.backend.cpu.runtime.packing import packed, shards_of_rows, summed
from tinynet.backend.cpu.runtime.threads import launch
from tinynet.backend.cpu.runtime.vector import add_row, clear, copy, logistic, tanh, view

_NONE = np.empty((0, 0), np.float32)


# --- Equations ------------------------------------------------------------------------------------------------------
# Each function takes one row: H units of one sequence at one step.

@noalias
def _gru_step(r: Any, z: Any, q: Any, n: Any, b_r: Any, b_z: Any, b_n: Any, bh_r: Any, bh_z: Any, bh_n: Any,
              h_before: Any, h: Any) -> None:
    """The gates, which are the products before, and the state.

    Two loops: with less to do for one element, the processor works on more elements at a time.
    """
    for j in range(h.size):
        r[j] = logistic(r[j] + b_r[j] + bh_r[j])  # (1)
        z[j] = logistic(z[j] + b_z[j] + bh_z[j])  # (2)
        q[j] += bh_n[j]
    for j in range(h.size):
        n[j] = tanh(n[j] + b_n[j] + r[j] * q[j])  # (3)
        h[j] = n[j] + z[j] * (h_before[j] - n[j])  # (4)


@noalias
def _stay(h_before: Any, h: Any, y: Any) -> None:
    """The state after a masked step, and its y."""
    copy(h_before, h)  # (12)
    clear(y)  # (13)


@noalias
def _dgru_step(gates: Any, h_before: Any, dy: Any, dh: Any, dr: Any, dz: Any, dq: Any, dn: Any) -> None:
    """δa and δq from δyₜ and from δh of step t+1. δh becomes its direct part in that of step t−1."""
    H = dy.size
    one = np.float32(1)
    for j in range(H):
        r, z, q, n = gates[j], gates[H + j], gates[2 * H + j], gates[3 * H + j]
        dhj = dh[j] + dy[j]
        dnj = dhj * (one - z) * (one - n * n)  # (5)
        dz[j] = dhj * (h_before[j] - n) * z * (one - z)  # (6)
        dr[j] = dnj * q * r * (one - r)  # (7)
        dn[j], dq[j] = dnj, dnj * r  # (5)
        dh[j] = dhj * z  # (8)


# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by the products: 2 N (H + D) 3H operations a step forward, twice that backward. As in the LSTM, a thread takes
# some sequences through all steps, and W is packed once. A step has three products each way, since a and q share the
# sums of r and z, and differ in n.

@njit
def _forward(shard: Any, shards: Any, x: Any, h0: Any, W_h: Any, W_rz: Any, W_n: Any, b: Any, b_h: Any, real: Any,
             hs: Any, gates: Any, y: Any, h: Any) -> None:
    """All steps of the shard's rows. h receives the last states."""
    (N, T, D), H = x.shape, h.shape[1]
    G = 4 * H
    low, high = shard * N // shards, (shard + 1) * N // shards
    for n in range(low, high):
        for j in range(H):
            hs[0, n, j] = h0[n, j] if h0.size else 0
    for t in range(T):
        now, then, place = t % hs.shape[0], (t + 1) % hs.shape[0], t % gates.shape[0]
        to, rows = (place * N + low) * G, ((low * T + t) * D, T * D, 1)
        product((high - low, 3 * H, H), hs, ((now * N + low) * H, H, 1), W_h, (0, PANEL, H * PANEL), gates, (to, G),
                False)
        product((high - low, 2 * H, D), x, rows, W_rz, (0, PANEL, D * PANEL), gates, (to, G), True)
        product((high - low, H, D), x, rows, W_n, (0, PANEL, D * PANEL), gates, (to + 3 * H, G), False)
        for n in range(low, high):
            row, before, after = (place * N + n) * G, (now * N + n) * H, (then * N + n) * H
            if is_real_at(real, n, t):
                _gru_step(view(gates, row, H), view(gates, row + H, H), view(gates, row + 2 * H, H),
                          view(gates, row + 3 * H, H), view(b, 0, H), view(b, H, H), view(b, 2 * H, H),
                          view(b_h, 0, H), view(b_h, H, H), view(b_h, 2 * H, H), view(hs, before, H),
                          view(hs, after, H))
                copy(view(hs, after, H), view(y, (n * T + t) * H, H))
            else:
                _stay(view(hs, before, H), view(hs, after, H), view(y, (n * T + t) * H, H))
    for n in range(low, high):
        copy(view(hs, (T % hs.shape[0] * N + n) * H, H), view(h, n * H, H))


@njit
def _backward(shard: Any, shards: Any, x: Any, gates: Any, hs: Any, real: Any, W_h: Any, W_rz: Any, W_n: Any, dy: Any,
              dz: Any, dh: Any, dx: Any, dW: Any, db: Any) -> None:
    """All steps of the shard's rows, from the last to the first. dh becomes that of h0."""
    (N, T, D), H = x.shape, dh.shape[1]
    G, K = 4 * H, H + D
    low, high = shard * N // shards, (shard + 1) * N // shards
    total = view(db, shard * G, G)
    for end in range(T, 0, -dz.shape[0]):
        start = max(0, end - dz.shape[0])
        for t in range(end - 1, start - 1, -1):
            s = t - start
            for n in range(low, high):
                row = (s * N + n) * G
                if not is_real_at(real, n, t):
                    clear(view(dz, row, G))  # (14)
                    continue
                _dgru_step(view(gates, (t * N + n) * G, G), view(hs, (t * N + n) * H, H),
                           view(dy, (n * T + t) * H, H), view(dh, n * H, H), view(dz, row, H), view(dz, row + H, H),
                           view(dz, row + 2 * H, H), view(dz, row + 3 * H, H))
                add_row(view(dz, row, G), total)  # (10)
            first, at = (s * N + low) * G, ((low * T + t) * D, T * D)
            rz, n_too, panel = (first, G, 1), (first + 3 * H, G, 1), H * PANEL
            product((high - low, H, 3 * H), dz, rz, W_h, (0, PANEL, 3 * panel), dh, (low * H, H), True)  # (8) (15)
            if dx.size:
                product((high - low, D, 2 * H), dz, rz, W_rz, (0, PANEL, 2 * panel), dx, at, False)  # (9)
                product((high - low, D, H), dz, n_too, W_n, (0, PANEL, panel), dx, at, True)  # (9)
        if dW.size:
            rows, steps, into = high - low, end - start, shard * K * 3 * H
            of_q, of_n, of_x = (low * G, G, PANEL, N * G), (low * G + 3 * H, G, PANEL, N * G), into + H * 3 * H
            inputs, states = ((low * T + start) * D, 1, T * D, D), ((start * N + low) * H, 1, H, N * H)
            product((H, 3 * H, rows, steps), hs, states, dz, of_q, dW, (into, 3 * H), True)  # (10)
            product((D, 2 * H, rows, steps), x, inputs, dz, of_q, dW, (of_x, 3 * H), True)  # (10)
            product((D, H, rows, steps), x, inputs, dz, of_n, dW, (of_x + 2 * H, 3 * H), True)  # (10)


# --- Entry ----------------------------------------------------------------------------------------------------------

def gru(xp: Any, x: Any, h0: Any, W: Any, b: Any = None, b_h: Any = None, mask: Any = None) -> Any:
    """See `tn.ops.gru`. float32."""
    if x.dtype != np.float32:
        return NotImplemented
    (N, T, _), H = x.shape, W.shape[1] // 3
    real = ALL_REAL if mask is None else bytes_of(mask)
    x = contiguous(x) if mask is None else cleared(x, real)  # (11)
    kept, shards = T if is_recording() else min(1, T), shards_of_rows(N)  # steps
    hs, gates, y, h = empty((kept + 1, N, H)), empty((kept, N, 4 * H)), empty((N, T, H)), empty((N, H))
    start = _NONE if h0 is None else contiguous(h0)
    biases = [zeros((3 * H,), W.dtype) if one is None else contiguous(one) for one in (b, b_h)]
    launch(_forward, x, start, packed(W[:H], shards), packed(W[H:, : 2 * H], shards), packed(W[H:, 2 * H :], shards),
           *biases, real, hs, gates, y, h, shards=shards)
    return (y, h), (x, gates, hs, W, real)


def dgru(xp: Any, dy: Any, dh: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.gru`."""
    x, gates, hs, W, real = cache
    (N, T, D), H = x.shape, W.shape[1] // 3
    shards = shards_of_rows(N)
    steps = max(1, min(T, SHALLOW * shards // max(1, N)))
    dz, dx = empty((steps, N, 4 * H)), empty((N, T, D) if needs[0] else (0, 0, 0))
    dy = zeros((N, T, H), W.dtype) if dy is None else contiguous(dy)
    dh = zeros((N, H), W.dtype) if dh is None else copied(dh)
    dW, db = zeros((shards, *W.shape) if needs[2] else (shards, 0, 0), W.dtype), zeros((shards, 4 * H), W.dtype)
    W_x = W[H:].T
    launch(_backward, x, gates, hs, real, packed(W[:H].T, shards), packed(W_x[: 2 * H], shards),
           packed(W_x[2 * H :], shards), dy, dz, dh, dx, dW, db, shards=shards)
    total = summed(db)
    return (dx if needs[0] else None, dh if needs[1] else None, summed(dW) if needs[2] else None,
            _without_q(total) if needs[3] else None,
            total[: 3 * H] if needs[4] else None, None)


def _without_q(total: Any) -> Any:
    """The sums of δa, (3H), among those of δa and δq, (4H)."""
    H = total.size // 4
    db = empty((3 * H,))
    call(np.concatenate, [total[: 2 * H], total[3 * H :]], 0, db)
    return db
