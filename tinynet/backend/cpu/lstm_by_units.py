"""The LSTM of ops/lstm.py for a few sequences in evaluation, in Numba: each thread takes units instead of sequences.

A few sequences are bound by reading W from the second-level cache at each step. So a thread reads only its own columns
of W, and every step needs the h of all threads. The equations are in lstm_rows.py.
"""

from typing import Any

import numpy as np

from tinynet.backend.cpu.lstm_rows import step
from tinynet.backend.cpu.runtime.gemm import PANEL, pack, product
from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.memory import contiguous, empty
from tinynet.backend.cpu.runtime.threads import launch_in_turns, threads
from tinynet.backend.cpu.runtime.vector import clear, copy, view

_WORTH = 1 << 14  # elements of W times rows; below it, a barrier costs more than the second thread saves
_PAGE = 1024  # numbers between the regions of two shards: the processor does not prefetch across a page
NONE = np.empty((0, 0), np.float32)  # a state of zeros, or a mask of ones


@njit
def _forward_by_units(shard: Any, shards: Any, turn: Any, x: Any, h0: Any, c0: Any, W: Any, b: Any, most: Any,
                      memory: Any, y: Any, h: Any, CT: Any) -> None:
    """All steps of the shard's units, from `low` to `high`. The first turn packs W, the last one writes y, h and CT.

    Step t has two turns. The odd one multiplies what the shard itself has: x, and its own part of h. The even one reads
    the parts of the other shards, multiplies these, and computes the gates.

    Units are in blocks of PANEL; the four gates of a block are contiguous. Each shard has a region of `memory`:

      its part of h, which the other shards read, for three steps      3 (N most + a page)
      all of h · its C before and after a step · z · its y             N H · 2 N most · 4 N most · T N most
      its columns of W, in the order of their use                      4 most (H + D)

    A page separates what two shards write. Without it, the prefetcher would load cache lines of one shard for the
    other: false sharing.
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
        for n in range(N):  # prefetches the cache lines that this step writes h to
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
                step(view(memory, at, units), view(memory, at + PANEL, units), view(memory, at + 2 * PANEL, units),
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


def by_units(x: Any, h0: Any, c0: Any, W: Any, b: Any, shards: int) -> tuple[Any, Any, Any]:
    """y, h and c of a few sequences, each shard with its own units."""
    (N, T, D), H = x.shape, W.shape[1] // 4
    y, h, CT = empty((N, T, H)), empty((N, H)), empty((N, H))
    most = -(-H // (PANEL * shards)) * PANEL  # units of a shard
    region = 3 * (N * most + _PAGE) + N * (H + (6 + T) * most) + 4 * most * (H + D) + _PAGE
    h0, c0 = (NONE if state is None else contiguous(state) for state in (h0, c0))
    launch_in_turns(_forward_by_units, 2 * T + 3, contiguous(x), h0, c0, contiguous(W),
                    contiguous(b), most, empty((shards, region)), y, h, CT, shards=shards)
    return y, h, CT


def shards_of_units(N: int, W: Any) -> int:
    """One for each thread, but with at least a panel of each gate, where that is worth a barrier at each step."""
    return min(threads(), W.shape[1] // (4 * PANEL)) if N * W.size > _WORTH else 1
