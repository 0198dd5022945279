"""Layer normalisation of ops/layernorm.py on a GPU, for float32.

Layout    R positions of D features; their gradients of γ and β are added up in P stretches

  quantity         here                                  specification
  x, y, δy, δx     (R, D), in C order                    (..., D)
  μ, 1 / s         (R) each                              (..., 1)
  sums             (2, P, D): Σ δy x̂ and Σ δy            δγ, δβ (D)
  cache            x, γ, μ and 1 / s                     x̂, s and γ: x̂ is computed again
"""

from typing import Any

from tinynet.backend.cuda.column_sums import column_sums, share
from tinynet.backend.cuda.runtime.launch import Kernels, one_each

# --- Equations ------------------------------------------------------------------------------------------------------

_cuda = Kernels("layernorm")

# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by memory, or by launches: one forward, two backward, and two more if there are several stretches.

_WARP = 32  # threads for one position


# --- Entry ----------------------------------------------------------------------------------------------------------

def layer_norm(xp: Any, x: Any, gamma: Any, beta: Any, *, eps: float = 1e-5) -> Any:
    """See `tn.ops.layer_norm`. float32."""
    if x.dtype != xp.float32 or not x.size:
        return NotImplemented
    x, gamma, beta = (xp.ascontiguousarray(array) for array in (x, gamma, beta))
    D = x.shape[-1]
    R = x.size // D
    y, means, inverses = xp.empty(x.shape, x.dtype), xp.empty(R, x.dtype), xp.empty(R, x.dtype)
    _cuda.launch("layer_norm", one_each(R * _WARP), x, gamma, beta, y, means, inverses, float(eps), R, D)
    return y, (x, gamma, means, inverses)


def dlayer_norm(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.layer_norm`."""
    x, gamma, means, inverses = cache
    dy, R, D = xp.ascontiguousarray(dy), means.size, gamma.size
    dx = None
    if needs[0]:
        dx = xp.empty(x.shape, x.dtype)
        _cuda.launch("dlayer_norm", one_each(R * _WARP), x, gamma, means, inverses, dy, dx, R, D)
    grid, rows, P = share(R, D)
    sums = xp.empty((2, P, D), x.dtype)
    _cuda.launch("dparameters", grid, x, means, inverses, dy, sums, R, D, rows)
    dgamma, dbeta = (part[0] if P == 1 else column_sums(xp, part) for part in sums)
    return dx, dgamma, dbeta
