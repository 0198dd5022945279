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
from tinynet.backend.cpu.runtime.gemm import PANEL, SHALLOW, pack, product
from tinynet.backend.cpu.runtime.jit import njit, noalias
from tinynet.backend.cpu.runtime.memory import empty
from tinynet.backend.cpu.runtime.packing import packed, summed
from tinynet.backend.cpu.runtime.threads import launch, launch_in_turns, threads
from tinynet.backend.cpu.runtime.vector import add_row, clear, copy, logistic, tanh, view

_FEW = 12  # rows of all steps together, for which packing W takes longer than reading it unpacked
_WORTH = 1 << 14  # elements of W times rows; below it, a barrier costs more than the second thread saves
_PAGE = 1024  # numbers between the regions of two shards: the processor does not prefetch across a page
_NONE = np.empty((0, 0), np.float32)  # a state of zeros, or a mask of ones
_ALL_REAL = np.empty((0, 0), np.uint8)


# --- Equations ------------------------------------------------------------------------------------------------------
# Each function takes one row: H units of one sequence at one step.

@noalias
def _gates(f: Any, i: Any, Ctilde: Any, o: Any, b_f: Any, b_i: Any, b_C: Any, b_o: Any, C_before: Any, C: Any, h: Any
           ) -> None:
    """The gates, which are [h, x] W before, and the states Cₜ and hₜ.

    There are two loops because each result ends a long chain of dependent operations: with less to do for one element,
    the processor works on more elements at a time.
    """
    for j in range(h.size):
        fj = logistic(f[j] + b_f[j])  # (1)
        ij = logistic(i[j] + b_i[j])  # (2)
        Ctildej = tanh(Ctilde[j] + b_C[j])  # (3)
        f[j], i[j], Ctilde[j], C[j] = fj, ij, Ctildej, fj * C_before[j] + ij * Ctildej  # (4)
    for j in range(h.size):
        oj = logistic(o[j] + b_o[j])  # (5)
        o[j], h[j] = oj, oj * tanh(C[j])  # (6)


@noalias
def _mask(h: Any, m: Any, htilde: Any) -> None:
    """h̃; without a mask it is h."""
    if m.size == 0:
        copy(h, htilde)
    for j in range(m.size):
        htilde[j] = m[j] * h[j]  # (15)


@noalias
def _stay(h_before: Any, C_before: Any, h: Any, C: Any, y: Any) -> None:
    """The states after a masked step, and its y."""
    copy(h_before, h)  # (19)
    copy(C_before, C)  # (19)
    clear(y)  # (20)


@noalias
def _dgates(gates: Any, C_before: Any, C: Any, dy: Any, dh: Any, dC: Any, dz_f: Any, dz_i: Any, dz_C: Any, dz_o: Any
            ) -> None:
    """δz from δyₜ and from δh and δC of step t+1. δC becomes that of step t−1."""
    H = dy.size
    one = np.float32(1)
    for j in range(H):
        f, i, Ctilde, o = gates[j], gates[H + j], gates[2 * H + j], gates[3 * H + j]
        tanhC = tanh(C[j])
        dhj = dh[j] + dy[j]
        dCj = dC[j] + dhj * o * (one - tanhC * tanhC)  # (7)
        dz_f[j] = dCj * C_before[j] * f * (one - f)  # (8)
        dz_i[j] = dCj * Ctilde * i * (one - i)  # (9)
        dz_C[j] = dCj * i * (one - Ctilde * Ctilde)  # (10)
        dz_o[j] = dhj * tanhC * o * (one - o)  # (11)
        dC[j] = dCj * f  # (13)


@noalias
def _dmask(h_before: Any, m: Any, dh: Any, dm: Any) -> None:
    """δm, and δh from δh̃."""
    for j in range(h_before.size):
        dm[j] += h_before[j] * dh[j]  # (17)
    for j in range(m.size):
        dh[j] *= m[j]  # (16)


# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by the products: 2 N (H + D) 4H operations a step forward, twice that backward. A thread takes some sequences
# through all steps: there is no barrier between steps, and its data stays in its cache. W is packed once. (1) to (6),
# and (7) to (13), are computed on a row that a product has just written, or will read next. A thread adds its part of
# (14) by one product for some steps, while their δz is still in its cache. A masked step has a row in each product.

@njit
def _is_real(real: Any, n: Any, t: Any) -> Any:
    return real.size == 0 or real[n, t] != 0


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
        _mask(view(h, n * H, H), view(m, n * H, H if m.size else 0), view(hx, n * K, H))
    for t in range(T):
        now, then, place = t % C.shape[0], (t + 1) % C.shape[0], t % gates.shape[0]
        for n in range(low, high):
            if _is_real(real, n, t):
                copy(view(x, (n * T + t) * D, D), view(hx, (now * N + n) * K + H, D))
            else:
                clear(view(hx, (now * N + n) * K + H, D))  # (18)
        skipped = H if t == 0 and h0.size == 0 else 0  # h₀ = 0 adds nothing
        product((high - low, G, K - skipped), hx, ((now * N + low) * K + skipped, K, 1),
                W, (skipped * places[0], *places), gates, ((place * N + low) * G, G), False)
        for n in range(low, high):
            row, at = (place * N + n) * G, (n * T + t) * H
            if _is_real(real, n, t):
                _gates(view(gates, row, H), view(gates, row + H, H), view(gates, row + 2 * H, H),
                       view(gates, row + 3 * H, H), view(b, 0, H), view(b, H, H), view(b, 2 * H, H), view(b, 3 * H, H),
                       view(C, (now * N + n) * H, H), view(C, (then * N + n) * H, H), view(states, at, H))
                if real.size:
                    copy(view(states, at, H), view(y, at, H))
            else:
                _stay(view(states, at - H, H) if t else view(h, n * H, H), view(C, (now * N + n) * H, H),
                      view(states, at, H), view(C, (then * N + n) * H, H), view(y, at, H))
            _mask(view(states, at, H), view(m, n * H, H if m.size else 0), view(hx, (then * N + n) * K, H))
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
                if not _is_real(real, n, t):
                    clear(view(dz, row, G))  # (21)
                    continue
                _dgates(view(gates, (t * N + n) * G, G), view(C, (t * N + n) * H, H),
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
                    if not _is_real(real, n, t):
                        continue
                    before = view(states, (n * T + t - 1) * H, H) if t else view(h0, n * H, H if h0.size else 0)
                    _dmask(before, view(m, n * H, H), view(dh, n * H, H), view(dm, n * H, H))
        if dW.size:
            product((K, G, high - low, end - start), hx, ((start * N + low) * K, 1, K, N * K),
                    dz, (low * G, G, PANEL, N * G), dW, (shard * K * G, G), True)  # (14)


# A few sequences in evaluation are bound by reading W from the second cache at each step. So a thread takes units
# instead of sequences and reads only its own columns of W, and every step needs the h of all threads.

@njit
def _forward_by_units(shard: Any, shards: Any, turn: Any, x: Any, h0: Any, c0: Any, W: Any, b: Any, most: Any,
                      memory: Any, y: Any, h: Any, CT: Any) -> None:
    """All steps of the shard's units, from `low` to `high`. The first turn packs W, the last one writes y, h and CT.

    Step t has two turns. The odd one multiplies what the shard itself has: x, and its own part of h. The even one reads
    the parts of the other shards, multiplies these, and computes the gates.

    Units are in blocks of PANEL, with the four gates of a block side by side. Each shard has a region of `memory`:

      its part of h, which the other shards read, for three steps      3 (N most + a page)
      all of h · its C before and after a step · z · its y             N H · 2 N most · 4 N most · T N most
      its columns of W, in the order of their use                      4 most (H + D)

    A page lies between what one shard writes and what another one writes: nearer than that, the prefetcher would load
    the cache lines of the one for the other, which is false sharing.
    """
    (N, T, D), H = x.shape, h.shape[1]
    G, region, slot = 4 * H, memory.shape[1], N * most + _PAGE
    low, high = min(H, shard * most), min(H, (shard + 1) * most)
    own, columns = high - low, (high - low + PANEL - 1) // PANEL * 4 * PANEL  # units, and columns of z
    mine = shard * region + 3 * slot
    C = mine + N * H
    z = C + 2 * N * most
    past = z + 4 * N * most
    W_own = past + T * N * most
    W_x, W_low, W_high = W_own + own * columns, W_own + (own + D) * columns, W_own + (own + D + low) * columns
    t = (turn - 1) // 2
    if turn == 0:
        for first in range(low, high, PANEL):
            units = min(PANEL, H - first)
            for gate in range(4):
                p, column = (first - low) * 4 + gate * PANEL, gate * H + first
                pack((own, units), W, (low * G + column, G, 1), memory, (W_own + p * own, 0))
                pack((D, units), W, (H * G + column, G, 1), memory, (W_x + p * D, 0))
                pack((low, units), W, (column, G, 1), memory, (W_low + p * low, 0))
                pack((H - high, units), W, (high * G + column, G, 1), memory, (W_high + p * (H - high), 0))
        for n in range(N):
            h_before, C_before = view(memory, mine + n * H + low, own), view(memory, C + n * most, own)
            for j in range(own):
                h_before[j] = h0[n, low + j] if h0.size else 0
                C_before[j] = c0[n, low + j] if c0.size else 0
            copy(h_before, view(memory, shard * region + n * most, own))
    elif turn % 2 and t < T:
        for n in range(N):  # fetches the cache lines that this step's h will be written to
            clear(view(memory, shard * region + (t + 1) % 3 * slot + n * most, own))
        product((N, columns, own), memory, (mine + low, H, 1), memory, (W_own, PANEL, own * PANEL),
                memory, (z, columns), False)
        product((N, columns, D), x, (t * D, T * D, 1), memory, (W_x, PANEL, D * PANEL), memory, (z, columns), True)
    elif t < T:
        for other in range(shards):
            if other != shard:
                for n in range(N):  # all of them before the first product: the loads from another core overlap
                    start = min(H, other * most)
                    units = min(H, start + most) - start
                    copy(view(memory, other * region + t % 3 * slot + n * most, units),
                         view(memory, mine + n * H + start, units))
        if low:
            product((N, columns, low), memory, (mine, H, 1), memory, (W_low, PANEL, low * PANEL),
                    memory, (z, columns), True)
        if high < H:
            product((N, columns, H - high), memory, (mine + high, H, 1), memory, (W_high, PANEL, (H - high) * PANEL),
                    memory, (z, columns), True)
        for n in range(N):
            for j in range(0, own, PANEL):
                units, at, first = min(PANEL, own - j), z + n * columns + j * 4, low + j
                _gates(view(memory, at, units), view(memory, at + PANEL, units), view(memory, at + 2 * PANEL, units),
                       view(memory, at + 3 * PANEL, units), view(b, first, units), view(b, H + first, units),
                       view(b, 2 * H + first, units), view(b, 3 * H + first, units),
                       view(memory, C + (t % 2 * N + n) * most + j, units),
                       view(memory, C + ((t + 1) % 2 * N + n) * most + j, units),
                       view(memory, past + (t * N + n) * most + j, units))
            made = view(memory, past + (t * N + n) * most, own)
            copy(made, view(memory, shard * region + (t + 1) % 3 * slot + n * most, own))
            copy(made, view(memory, mine + n * H + low, own))
    elif turn % 2 == 0:
        for t in range(shard * T // shards, (shard + 1) * T // shards):
            for n in range(N):
                for other in range(shards):
                    start = min(H, other * most)
                    units = min(H, start + most) - start
                    copy(view(memory, past + (other - shard) * region + (t * N + n) * most, units),
                         view(y, (n * T + t) * H + start, units))
        for n in range(N):
            copy(view(memory, shard * region + T % 3 * slot + n * most, own), view(h, n * H + low, own))
            copy(view(memory, C + (T % 2 * N + n) * most, own), view(CT, n * H + low, own))


def _by_units(x: Any, h0: Any, c0: Any, W: Any, b: Any, shards: int) -> tuple[Any, Any, Any]:
    """y, h and c of a few sequences, each shard with its own units."""
    (N, T, D), H = x.shape, W.shape[1] // 4
    y, h, CT = empty((N, T, H)), empty((N, H)), empty((N, H))
    most = -(-H // (PANEL * shards)) * PANEL  # units of a shard
    region = 3 * (N * most + _PAGE) + N * (H + (6 + T) * most) + 4 * most * (H + D) + _PAGE
    h0, c0 = (_NONE if state is None else np.ascontiguousarray(state) for state in (h0, c0))
    launch_in_turns(_forward_by_units, 2 * T + 3, np.ascontiguousarray(x), h0, c0, np.ascontiguousarray(W),
                    np.ascontiguousarray(b), most, empty((shards, region)), y, h, CT, shards=shards)
    return y, h, CT


def _shards(N: int) -> int:
    """One for each thread, but with at least eight rows each: fewer leave the tiles of the product empty."""
    return max(1, min(threads(), N // 8))


def _shards_of_units(N: int, W: Any) -> int:
    """One for each thread, but with at least a panel of each gate, where that is worth a barrier at each step."""
    return min(threads(), W.shape[1] // (4 * PANEL)) if N * W.size > _WORTH else 1


# --- Entry ----------------------------------------------------------------------------------------------------------

def lstm(xp: Any, x: Any, h0: Any, c0: Any, W: Any, b: Any, recurrent_mask: Any = None, mask: Any = None) -> Any:
    """See `tn.ops.lstm`. float32."""
    if x.dtype != np.float32:
        return NotImplemented
    (N, T, D), H = x.shape, W.shape[1] // 4
    by_units = _shards_of_units(N, W)
    masked = recurrent_mask is not None or mask is not None
    if not is_recording() and not masked and N * T > _FEW and by_units > _shards(N):
        return _by_units(x, h0, c0, W, b, by_units), None
    kept = T if is_recording() else min(1, T)  # steps
    hx, gates = empty((kept + 1, N, H + D)), empty((kept, N, 4 * H))
    C, y = empty((kept + 1, N, H)), empty((N, T, H))
    h0, c0, m = (_NONE if state is None else np.ascontiguousarray(state) for state in (h0, c0, recurrent_mask))
    real = _ALL_REAL if mask is None else np.ascontiguousarray(mask if mask.dtype == bool else mask != 0).view(np.uint8)
    states = y if mask is None else empty(y.shape)
    shards = _shards(N)
    if N * T > _FEW:
        panels, places = packed(W, shards), (PANEL, (H + D) * PANEL)
    else:
        panels, places = np.ascontiguousarray(W), (4 * H, PANEL)
    h, CT = empty((N, H)), empty((N, H))
    launch(_forward, np.ascontiguousarray(x), h0, c0, panels.reshape(-1), places, np.ascontiguousarray(b), m,
           real, hx, gates, C, states, y, h, CT, shards=shards)
    return (y, h, CT), (hx, gates, C, states, h0, W, m, real)


def dlstm(xp: Any, dy: Any, dh: Any, dC: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.lstm`."""
    hx, gates, C, states, h0, W, m, real = cache
    (N, T, H), D = states.shape, hx.shape[2] - states.shape[2]
    shards = _shards(N)
    steps = max(1, min(T, SHALLOW * shards // max(1, N)))
    dz = empty((steps, N, 4 * H))
    dx = empty((N, T, D if needs[0] else 0))
    dy = np.zeros(states.shape, W.dtype) if dy is None else np.ascontiguousarray(dy)
    dh, dC = (np.zeros((N, H), W.dtype) if state is None else state.copy() for state in (dh, dC))
    dm = np.zeros_like(m)
    dW, db = np.zeros((shards, *W.shape) if needs[3] else (shards, 0, 0), W.dtype), np.zeros((shards, 4 * H), W.dtype)
    W_h, W_x = packed(W[:H].T, shards), packed(W[H:].T, shards)
    launch(_backward, gates, C, states, h0, hx, m, real, W_h, W_x, dy, dz, dh, dC, dx, dm, dW, db, shards=shards)
    return (dx if needs[0] else None, dh if needs[1] else None, dC if needs[2] else None,
            summed(dW) if needs[3] else None, summed(db) if needs[4] else None,
            None if m is _NONE else dm, None)
