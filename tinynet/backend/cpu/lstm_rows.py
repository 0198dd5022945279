"""The equations of ops/lstm.py for the CPU, in Numba: each function takes one row, H units of one sequence at one step.

They have a file of their own because both schedules use them, `lstm.py` and `lstm_by_units.py`.
"""

from typing import Any

import numpy as np

from tinynet.backend.cpu.runtime.jit import noalias
from tinynet.backend.cpu.runtime.vector import clear, copy, logistic, tanh


@noalias
def step(f: Any, i: Any, Ctilde: Any, o: Any, b_f: Any, b_i: Any, b_C: Any, b_o: Any, C_before: Any, C: Any, h: Any
         ) -> None:
    """The gates f, i, C̃ and o, in place of their parts of [h, x] W, and the states Cₜ and hₜ.

    There are two loops because each result ends a long chain of dependent operations. With shorter chains, the
    processor works on more elements at a time.
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
def mask_h(h: Any, m: Any, htilde: Any) -> None:
    """h̃; without a mask it is h."""
    if m.size == 0:
        copy(h, htilde)
    for j in range(m.size):
        htilde[j] = m[j] * h[j]  # (15)


@noalias
def stay(h_before: Any, C_before: Any, h: Any, C: Any, y: Any) -> None:
    """The states after a masked step, and its y."""
    copy(h_before, h)  # (19)
    copy(C_before, C)  # (19)
    clear(y)  # (20)


@noalias
def dstep(gates: Any, C_before: Any, C: Any, dy: Any, dh: Any, dC: Any, dz_f: Any, dz_i: Any, dz_C: Any, dz_o: Any
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
def dmask_h(h_before: Any, m: Any, dh: Any, dm: Any) -> None:
    """δm, and δh from δh̃."""
    for j in range(h_before.size):
        dm[j] += h_before[j] * dh[j]  # (17)
    for j in range(m.size):
        dh[j] *= m[j]  # (16)
