"""The LSTM of ops/lstm.py in Numba: the same equations, with everything between two products in one pass.

What bounds it: the products, 2 N (H+D) 4H operations a step forward and twice that backward. The tricks: each thread
takes its own rows of the batch through all the steps, so that nobody waits between steps and a thread's data stays in
its cache; W is packed once for all steps; equations (1) to (6) are one loop over a row that has just been computed, and
so are (7) to (11) and (13). What a thread's rows give to the weight gradient (14) it adds up itself, a product over a
few steps at a time, while their δz is still near.

A few sequences, in evaluation, are bound by reading W once for each step, from the second cache. There each thread
takes its own units instead of rows, and reads only its own columns of W; h has to travel between the threads at each
step.
"""

from typing import Any

import numpy as np

from tinynet.backend import home, is_recording
from tinynet.backend.cpu.runtime.gemm import PANEL, SHALLOW, pack, product
from tinynet.backend.cpu.runtime.jit import njit, noalias
from tinynet.backend.cpu.runtime.memory import empty
from tinynet.backend.cpu.runtime.packing import packed, summed
from tinynet.backend.cpu.runtime.threads import launch, launch_in_turns, threads
from tinynet.backend.cpu.runtime.vector import add_row, clear, copy, logistic, tanh, view

_FEW = 12  # rows, through all steps, for which it takes longer to pack W than to read it as it lies
_WORTH = 1 << 14  # elements of W, times rows, that take longer to go through than to meet
_APART = 1024  # numbers that fill a page: a processor does not fetch ahead beyond it
_NONE = np.empty((0, 0), np.float32)  # a state of zeros, or a mask of ones


def lstm(xp: Any, x: Any, h0: Any, c0: Any, W: Any, b: Any, recurrent_mask: Any = None) -> Any:
    """See `tn.ops.lstm`. float32."""
    if x.dtype != np.float32:
        return NotImplemented
    (N, T, D), H = x.shape, W.shape[1] // 4
    by_units = _shards_of_units(N, W)
    if not is_recording() and recurrent_mask is None and N * T > _FEW and by_units > _shards(N):
        return _by_units(x, h0, c0, W, b, by_units), None
    kept = T if is_recording() else min(1, T)  # steps, for backward
    hx = empty((kept + 1, N, H + D))  # [m ⊙ hₜ₋₁, xₜ] for every t; the last one holds h_T alone
    gates = empty((kept, N, 4 * H))
    C = empty((kept + 1, N, H))
    y = empty((N, T, H))
    h0, c0, m = (_NONE if state is None else np.ascontiguousarray(state) for state in (h0, c0, recurrent_mask))
    shards = _shards(N)
    if N * T > _FEW:
        panels, places = packed(W, shards), (PANEL, (H + D) * PANEL)
    else:
        panels, places = np.ascontiguousarray(W), (4 * H, PANEL)
    h, CT = empty((N, H)), empty((N, H))  # after the last step
    launch(_forward, np.ascontiguousarray(x), h0, c0, panels.reshape(-1), places, np.ascontiguousarray(b), m,
           hx, gates, C, y, h, CT, shards=shards)
    return (y, h, CT), (hx, gates, C, y, h0, W, m)


def dlstm(xp: Any, dy: Any, dh: Any, dC: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.lstm`."""
    hx, gates, C, y, h0, W, m = cache
    (N, T, H), D = y.shape, hx.shape[2] - y.shape[2]
    shards = _shards(N)
    steps = max(1, min(T, SHALLOW * shards // max(1, N)))  # whose δz is kept, as much as goes into δW at once
    dz = empty((steps, N, 4 * H))
    dx = empty((N, T, D if needs[0] else 0))
    dy = np.zeros(y.shape, y.dtype) if dy is None else np.ascontiguousarray(dy)
    dh, dC = (np.zeros((N, H), W.dtype) if state is None else state.copy() for state in (dh, dC))
    dm = np.zeros_like(m)
    dW, db = np.zeros((shards, *W.shape) if needs[3] else (shards, 0, 0), W.dtype), np.zeros((shards, 4 * H), W.dtype)
    W_h, W_x = packed(W[:H].T, shards), packed(W[H:].T, shards)
    launch(_backward, gates, C, y, h0, hx, m, W_h, W_x, dy, dz, dh, dC, dx, dm, dW, db, shards=shards)
    return (dx if needs[0] else None, dh if needs[1] else None, dC if needs[2] else None,
            summed(dW, home(needs[3])) if needs[3] else None, summed(db, home(needs[4])) if needs[4] else None,
            None if m is _NONE else dm)


def _shards(N: int) -> int:
    """A thread for at least eight rows: fewer leave the product's tiles empty."""
    return max(1, min(threads(), N // 8))


def _shards_of_units(N: int, W: Any) -> int:
    """A thread for at least a panel of each gate, where that is worth a turn."""
    return min(threads(), W.shape[1] // (4 * PANEL)) if N * W.size > _WORTH else 1


def _by_units(x: Any, h0: Any, c0: Any, W: Any, b: Any, shards: int) -> tuple[Any, Any, Any]:
    """(1) to (6) for a few sequences, each thread for its own units."""
    (N, T, D), H = x.shape, W.shape[1] // 4
    y, h, CT = empty((N, T, H)), empty((N, H)), empty((N, H))
    most = -(-H // (PANEL * shards)) * PANEL  # units of a shard
    region = 3 * (N * most + _APART) + N * (H + (6 + T) * most) + 4 * most * (H + D) + _APART
    h0, c0 = (_NONE if state is None else np.ascontiguousarray(state) for state in (h0, c0))
    launch_in_turns(_forward_by_units, 2 * T + 3, np.ascontiguousarray(x), h0, c0, np.ascontiguousarray(W),
                    np.ascontiguousarray(b), most, empty((shards, region)), y, h, CT, shards=shards)
    return y, h, CT


@njit
def _forward_by_units(shard: Any, shards: Any, turn: Any, x: Any, h0: Any, c0: Any, W: Any, b: Any, most: Any,
                      room: Any, y: Any, h: Any, CT: Any) -> None:
    """(1) to (6) for the shard's units, from `low` to `high`. Two turns are a step t: in one the shard multiplies what
    it has, x and its own part of h; in the other what the others have made meanwhile, and goes on to the gates.

    Units come in blocks of PANEL, the four gates of a block side by side. Each shard has its room: for its part of h,
    where the others look, for three steps; for all of h, for C, for z, for what it gives to y; and for its columns of
    W, in the order of their use. What others write is never close to what it reads: the processor fetches ahead, and
    would take away from them what is theirs.
    """
    (N, T, D), H = x.shape, h.shape[1]
    G, region, slot = 4 * H, room.shape[1], N * most + _APART
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
                pack((own, units), W, (low * G + column, G, 1), room, (W_own + p * own, 0))
                pack((D, units), W, (H * G + column, G, 1), room, (W_x + p * D, 0))
                pack((low, units), W, (column, G, 1), room, (W_low + p * low, 0))
                pack((H - high, units), W, (high * G + column, G, 1), room, (W_high + p * (H - high), 0))
        for n in range(N):
            h_before, C_before = view(room, mine + n * H + low, own), view(room, C + n * most, own)
            for j in range(own):
                h_before[j] = h0[n, low + j] if h0.size else 0
                C_before[j] = c0[n, low + j] if c0.size else 0
            copy(h_before, view(room, shard * region + n * most, own))
    elif turn % 2 and t < T:
        for n in range(N):
            clear(view(room, shard * region + (t + 1) % 3 * slot + n * most, own))  # asks for the lines in time
        product((N, columns, own), room, (mine + low, H, 1), room, (W_own, PANEL, own * PANEL),
                room, (z, columns), False)
        product((N, columns, D), x, (t * D, T * D, 1), room, (W_x, PANEL, D * PANEL), room, (z, columns), True)
    elif t < T:
        for other in range(shards):
            if other != shard:
                for n in range(N):  # all at once, since they are far away
                    start = min(H, other * most)
                    units = min(H, start + most) - start
                    copy(view(room, other * region + t % 3 * slot + n * most, units),
                         view(room, mine + n * H + start, units))
        if low:
            product((N, columns, low), room, (mine, H, 1), room, (W_low, PANEL, low * PANEL), room, (z, columns), True)
        if high < H:
            product((N, columns, H - high), room, (mine + high, H, 1), room, (W_high, PANEL, (H - high) * PANEL),
                    room, (z, columns), True)
        for n in range(N):
            for j in range(0, own, PANEL):
                units, at, first = min(PANEL, own - j), z + n * columns + j * 4, low + j
                _gates(view(room, at, units), view(room, at + PANEL, units), view(room, at + 2 * PANEL, units),
                       view(room, at + 3 * PANEL, units), view(b, first, units), view(b, H + first, units),
                       view(b, 2 * H + first, units), view(b, 3 * H + first, units),
                       view(room, C + (t % 2 * N + n) * most + j, units),
                       view(room, C + ((t + 1) % 2 * N + n) * most + j, units),
                       view(room, past + (t * N + n) * most + j, units))
            made = view(room, past + (t * N + n) * most, own)
            copy(made, view(room, shard * region + (t + 1) % 3 * slot + n * most, own))
            copy(made, view(room, mine + n * H + low, own))
    elif turn % 2 == 0:
        for t in range(shard * T // shards, (shard + 1) * T // shards):
            for n in range(N):
                for other in range(shards):
                    start = min(H, other * most)
                    units = min(H, start + most) - start
                    copy(view(room, past + (other - shard) * region + (t * N + n) * most, units),
                         view(y, (n * T + t) * H + start, units))
        for n in range(N):
            copy(view(room, shard * region + T % 3 * slot + n * most, own), view(h, n * H + low, own))
            copy(view(room, C + (T % 2 * N + n) * most, own), view(CT, n * H + low, own))


@njit
def _forward(shard: Any, shards: Any, x: Any, h0: Any, c0: Any, W: Any, places: Any, b: Any, m: Any, hx: Any,
             gates: Any, C: Any, y: Any, h: Any, CT: Any) -> None:
    """(1) to (6) for all steps of the shard's rows. Inside of `gates`, [h, x] W becomes the gates. The arrays hold all
    steps, or the last one or two."""
    (N, T, D), H = x.shape, h.shape[1]
    K, G = H + D, 4 * H
    low, high = shard * N // shards, (shard + 1) * N // shards
    for n in range(low, high):
        for j in range(H):
            C[0, n, j] = c0[n, j] if c0.size else 0
            h[n, j] = h0[n, j] if h0.size else 0
        _masked(view(h, n * H, H), view(m, n * H, H if m.size else 0), view(hx, n * K, H))
    for t in range(T):
        now, then, place = t % C.shape[0], (t + 1) % C.shape[0], t % gates.shape[0]
        for n in range(low, high):
            copy(view(x, (n * T + t) * D, D), view(hx, (now * N + n) * K + H, D))
        skipped = H if t == 0 and h0.size == 0 else 0  # h₀ = 0 adds nothing
        product((high - low, G, K - skipped), hx, ((now * N + low) * K + skipped, K, 1),
                W, (skipped * places[0], *places), gates, ((place * N + low) * G, G), False)
        for n in range(low, high):
            row = (place * N + n) * G
            _gates(view(gates, row, H), view(gates, row + H, H), view(gates, row + 2 * H, H),
                   view(gates, row + 3 * H, H), view(b, 0, H), view(b, H, H), view(b, 2 * H, H), view(b, 3 * H, H),
                   view(C, (now * N + n) * H, H), view(C, (then * N + n) * H, H), view(y, (n * T + t) * H, H))
            _masked(view(y, (n * T + t) * H, H), view(m, n * H, H if m.size else 0),
                    view(hx, (then * N + n) * K, H))
    for n in range(low, high):
        if T:
            copy(view(y, (n * T + T - 1) * H, H), view(h, n * H, H))
        copy(view(C, (T % C.shape[0] * N + n) * H, H), view(CT, n * H, H))


@noalias
def _gates(f: Any, i: Any, Ctilde: Any, o: Any, b_f: Any, b_i: Any, b_C: Any, b_o: Any, C_before: Any, C: Any, h: Any
           ) -> None:
    """(1) to (6) for a row, in which each gate begins as its part of [h, x] W.

    Two loops, for a processor to have more elements under way at once than in one: all of their results are needed only
    at the end of a long chain.
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
def _masked(h: Any, m: Any, hx: Any) -> None:
    """m ⊙ h for a row; h where there is no mask."""
    if m.size == 0:
        copy(h, hx)
    for j in range(m.size):
        hx[j] = m[j] * h[j]  # (15)


@njit
def _backward(shard: Any, shards: Any, gates: Any, C: Any, y: Any, h0: Any, hx: Any, m: Any, W_h: Any, W_x: Any,
              dy: Any, dz: Any, dh: Any, dC: Any, dx: Any, dm: Any, dW: Any, db: Any) -> None:
    """(7) to (14), (16), (17) for the shard's rows. `dz` holds some steps, which then go into its part of δW (14)."""
    N, T, H = y.shape
    G, D, K = 4 * H, dx.shape[2], hx.shape[2]
    low, high = shard * N // shards, (shard + 1) * N // shards
    total = view(db, shard * G, G)
    for end in range(T, 0, -dz.shape[0]):
        start = max(0, end - dz.shape[0])
        for t in range(end - 1, start - 1, -1):
            s = t - start
            for n in range(low, high):
                row = (s * N + n) * G
                _dgates(view(gates, (t * N + n) * G, G), view(C, (t * N + n) * H, H),
                        view(C, ((t + 1) * N + n) * H, H), view(dy, (n * T + t) * H, H), view(dh, n * H, H),
                        view(dC, n * H, H), view(dz, row, H), view(dz, row + H, H), view(dz, row + 2 * H, H),
                        view(dz, row + 3 * H, H))
                add_row(view(dz, row, G), total)  # (14)
            rows = (s * N + low) * G, G, 1
            product((high - low, H, G), dz, rows, W_h, (0, PANEL, G * PANEL), dh, (low * H, H), False)  # (12)
            product((high - low, D, G), dz, rows, W_x, (0, PANEL, G * PANEL), dx, ((low * T + t) * D, T * D), False)
            if m.size:
                for n in range(low, high):
                    before = view(y, (n * T + t - 1) * H, H) if t else view(h0, n * H, H if h0.size else 0)
                    _dmasked(before, view(m, n * H, H), view(dh, n * H, H), view(dm, n * H, H))
        if dW.size:
            product((K, G, high - low, end - start), hx, ((start * N + low) * K, 1, K, N * K),
                    dz, (low * G, G, PANEL, N * G), dW, (shard * K * G, G), True)  # (14)


@noalias
def _dgates(gates: Any, C_before: Any, C: Any, dy: Any, dh: Any, dC: Any, df: Any, di: Any, dCtilde: Any, do: Any
            ) -> None:
    """(7) to (11) and (13) for a row. Of each gate it is the gradient of what goes into its function."""
    H = dy.size
    one = np.float32(1)
    for j in range(H):
        f, i, Ctilde, o = gates[j], gates[H + j], gates[2 * H + j], gates[3 * H + j]
        tanhC = tanh(C[j])
        dhj = dh[j] + dy[j]
        dCj = dC[j] + dhj * o * (one - tanhC * tanhC)  # (7)
        df[j] = dCj * C_before[j] * f * (one - f)  # (8)
        di[j] = dCj * Ctilde * i * (one - i)  # (9)
        dCtilde[j] = dCj * i * (one - Ctilde * Ctilde)  # (10)
        do[j] = dhj * tanhC * o * (one - o)  # (11)
        dC[j] = dCj * f  # (13)


@noalias
def _dmasked(h_before: Any, m: Any, dh: Any, dm: Any) -> None:
    for j in range(h_before.size):
        dm[j] += h_before[j] * dh[j]  # (17)
    for j in range(m.size):
        dh[j] *= m[j]  # (16)
