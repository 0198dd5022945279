"""The LSTM of ops/lstm.py in Numba, for float32: one pass over a row between two products.

Layout    The rows of all matrices are sequences. 4H columns are f, i, C̃, o, as in W.

  quantity        here                                              specification
  x, y, δx, δy    (N, T, D), (N, T, H), in C order                  the same
  h0, c0, m       (N, H); (0, 0) for None                           (N, H) or None
  mask            real, bytes (N, T); (0, 0) for None               (N, T) or None
  W               packed into panels of PANEL columns; backward,    (H + D, 4H)
                  W_h (4H, H) and W_x (4H, D), transposed, packed
  δz              (steps, N, 4H), as many steps as one product      (T, N, 4H)
                  of (14) takes
  δW, δb          (shards, H + D, 4H), (shards, 4H), then summed    (H + D, 4H), (4H)

The cache; without a backward pass hx and C have two rows of time, gates has one, and the steps take turns in them

  hx              (T + 1, N, H + D): [h̃ₜ₋₁, xₜ] for each step,      (T, N, H + D)
                  and at last h̃_T alone
  gates           (T, N, 4H)                                        (T, 4, N, H)
  C               (T + 1, N, H): C[t] is the state before step t    (T + 1, N, H)
  states, h0      (N, T, H): before step t, h is states[:, t − 1],  h (T + 1, N, H)
                  or h0; without a mask, states is y itself
  W, m, real      as above                                          W, m, mask
"""

from typing import Any

import numpy as np

from tinynet.backend import is_recording
from tinynet.backend.cpu.lstm_by_units import NONE, by_units, shards_of_units
from tinynet.backend.cpu.lstm_rows import dmask_h, dstep, mask_h, stay, step
from tinynet.backend.cpu.masking import ALL_REAL, bytes_of, is_real_at
from tinynet.backend.cpu.runtime.gemm import PANEL, SHALLOW, product
from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.memory import contiguous, copied, empty, zeros
from tinynet.backend.cpu.runtime.packing import packed, shards_of_rows, summed
from tinynet.backend.cpu.runtime.threads import launch
from tinynet.backend.cpu.runtime.vector import add_row, clear, copy, view

_FEW = 12  # rows of all steps: for no more than these, packing W takes longer than reading it unpacked


# --- Equations ------------------------------------------------------------------------------------------------------
# lstm_rows.py: (1) to (11), (13), (15) to (17), (19) and (20), for one row.

# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by the products: 2 N (H + D) 4H operations a step forward, twice that backward. A thread takes some sequences
# through all steps: there is no barrier between steps, and its data stays in its cache. W is packed once. (1) to (6),
# and (7) to (13), are computed on a row that a product has just written, or will read next. A thread adds its part of
# (14) by one product for some steps, while their δz is still in its cache. A masked step has a row in each product.

@njit
def _forward(shard: Any, shards: Any, x: Any, h0: Any, c0: Any, W: Any, places: Any, b: Any, m: Any, real: Any, hx: Any,
             gates: Any, C: Any, states: Any, y: Any, h: Any, CT: Any) -> None:
    """All steps of the shard's rows. h and CT receive the last states."""
    (N, T, D), H = x.shape, h.shape[1]
    K, G = H + D, 4 * H
    low, high = shard * N // shards, (shard + 1) * N // shards
    for n in range(low, high):
        for j in range(H):
            C[0, n, j] = c0[n, j] if c0.size else 0
            h[n, j] = h0[n, j] if h0.size else 0
        mask_h(view(h, n * H, H), view(m, n * H, H if m.size else 0), view(hx, n * K, H))
    for t in range(T):
        now, then, place = t % C.shape[0], (t + 1) % C.shape[0], t % gates.shape[0]
        for n in range(low, high):
            if is_real_at(real, n, t):
                copy(view(x, (n * T + t) * D, D), view(hx, (now * N + n) * K + H, D))
            else:
                clear(view(hx, (now * N + n) * K + H, D))  # (18)
        skipped = H if t == 0 and h0.size == 0 else 0  # h₀ = 0 adds nothing
        product((high - low, G, K - skipped), hx, ((now * N + low) * K + skipped, K, 1),
                W, (skipped * places[0], *places), gates, ((place * N + low) * G, G), False)
        for n in range(low, high):
            row, at = (place * N + n) * G, (n * T + t) * H
            if is_real_at(real, n, t):
                step(view(gates, row, H), view(gates, row + H, H), view(gates, row + 2 * H, H),
                     view(gates, row + 3 * H, H), view(b, 0, H), view(b, H, H), view(b, 2 * H, H), view(b, 3 * H, H),
                     view(C, (now * N + n) * H, H), view(C, (then * N + n) * H, H), view(states, at, H))
                if real.size:
                    copy(view(states, at, H), view(y, at, H))
            else:
                stay(view(states, at - H, H) if t else view(h, n * H, H), view(C, (now * N + n) * H, H),
                     view(states, at, H), view(C, (then * N + n) * H, H), view(y, at, H))
            mask_h(view(states, at, H), view(m, n * H, H if m.size else 0), view(hx, (then * N + n) * K, H))
    for n in range(low, high):
        if T:
            copy(view(states, (n * T + T - 1) * H, H), view(h, n * H, H))
        copy(view(C, (T % C.shape[0] * N + n) * H, H), view(CT, n * H, H))


@njit
def _backward(shard: Any, shards: Any, gates: Any, C: Any, states: Any, h0: Any, hx: Any, m: Any, real: Any, W_h: Any,
              W_x: Any, dy: Any, dz: Any, dh: Any, dC: Any, dx: Any, dm: Any, dW: Any, db: Any) -> None:
    """All steps of the shard's rows, from the last to the first. dh and dC become those of h0 and c0."""
    N, T, H = states.shape
    G, D, K = 4 * H, dx.shape[2], hx.shape[2]
    low, high = shard * N // shards, (shard + 1) * N // shards
    total = view(db, shard * G, G)
    for end in range(T, 0, -dz.shape[0]):
        start = max(0, end - dz.shape[0])
        for t in range(end - 1, start - 1, -1):
            s = t - start
            for n in range(low, high):
                row = (s * N + n) * G
                if not is_real_at(real, n, t):
                    clear(view(dz, row, G))  # (21)
                    continue
                dstep(view(gates, (t * N + n) * G, G), view(C, (t * N + n) * H, H),
                      view(C, ((t + 1) * N + n) * H, H), view(dy, (n * T + t) * H, H), view(dh, n * H, H),
                      view(dC, n * H, H), view(dz, row, H), view(dz, row + H, H), view(dz, row + 2 * H, H),
                      view(dz, row + 3 * H, H))
                add_row(view(dz, row, G), total)  # (14)
                if real.size:  # the product adds to dh, which a masked step keeps
                    clear(view(dh, n * H, H))
            rows, panels = ((s * N + low) * G, G, 1), (0, PANEL, G * PANEL)
            product((high - low, H, G), dz, rows, W_h, panels, dh, (low * H, H), real.size > 0)  # (12) (22)
            product((high - low, D, G), dz, rows, W_x, panels, dx, ((low * T + t) * D, T * D), False)  # (12)
            if m.size:
                for n in range(low, high):
                    if not is_real_at(real, n, t):
                        continue
                    before = view(states, (n * T + t - 1) * H, H) if t else view(h0, n * H, H if h0.size else 0)
                    dmask_h(before, view(m, n * H, H), view(dh, n * H, H), view(dm, n * H, H))
        if dW.size:
            product((K, G, high - low, end - start), hx, ((start * N + low) * K, 1, K, N * K),
                    dz, (low * G, G, PANEL, N * G), dW, (shard * K * G, G), True)  # (14)


# --- Entry ----------------------------------------------------------------------------------------------------------

def lstm(xp: Any, x: Any, h0: Any, c0: Any, W: Any, b: Any, recurrent_mask: Any = None, mask: Any = None) -> Any:
    """See `tn.ops.lstm`. float32."""
    if x.dtype != np.float32:
        return NotImplemented
    (N, T, D), H = x.shape, W.shape[1] // 4
    units = shards_of_units(N, W)
    is_plain = b is not None and recurrent_mask is None and mask is None
    if not is_recording() and is_plain and N * T > _FEW and units > shards_of_rows(N):
        return by_units(x, h0, c0, W, b, units), None
    kept = T if is_recording() else min(1, T)  # steps
    hx, gates = empty((kept + 1, N, H + D)), empty((kept, N, 4 * H))
    C, y = empty((kept + 1, N, H)), empty((N, T, H))
    h0, c0, m = (NONE if state is None else contiguous(state) for state in (h0, c0, recurrent_mask))
    real = ALL_REAL if mask is None else bytes_of(mask)
    states = y if mask is None else empty(y.shape)
    shards, b = shards_of_rows(N), zeros((4 * H,), W.dtype) if b is None else contiguous(b)
    if N * T > _FEW:
        panels, places = packed(W, shards), (PANEL, (H + D) * PANEL)
    else:
        panels, places = contiguous(W), (4 * H, PANEL)
    h, CT = empty((N, H)), empty((N, H))
    launch(_forward, contiguous(x), h0, c0, panels.reshape(-1), places, b, m,
           real, hx, gates, C, states, y, h, CT, shards=shards)
    return (y, h, CT), (hx, gates, C, states, h0, W, m, real)


def dlstm(xp: Any, dy: Any, dh: Any, dC: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.lstm`."""
    hx, gates, C, states, h0, W, m, real = cache
    (N, T, H), D = states.shape, hx.shape[2] - states.shape[2]
    shards = shards_of_rows(N)
    steps = max(1, min(T, SHALLOW * shards // max(1, N)))
    dz = empty((steps, N, 4 * H))
    dx = empty((N, T, D if needs[0] else 0))
    dy = zeros(states.shape, W.dtype) if dy is None else contiguous(dy)
    dh, dC = (zeros((N, H), W.dtype) if state is None else copied(state) for state in (dh, dC))
    dm = zeros(m.shape, m.dtype)
    dW, db = zeros((shards, *W.shape) if needs[3] else (shards, 0, 0), W.dtype), zeros((shards, 4 * H), W.dtype)
    W_h, W_x = packed(W[:H].T, shards), packed(W[H:].T, shards)
    launch(_backward, gates, C, states, h0, hx, m, real, W_h, W_x, dy, dz, dh, dC, dx, dm, dW, db, shards=shards)
    return (dx if needs[0] else None, dh if needs[1] else None, dC if needs[2] else None,
            summed(dW) if needs[3] else None, summed(db) if needs[4] else None,
            None if m is NONE else dm, None)
