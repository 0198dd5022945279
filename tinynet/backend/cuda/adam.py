"""The step of Adam (optim/adam.py) on a GPU, for float32.

Layout    n parameters, all of the model side by side

  quantity                  here                                             specification
  value, gradient, m, v     (n); all but the gradient change                 the same
  m̂, v̂                      not stored: m rate = lr m̂, √v root = √v̂          (n)
  lr, step                  a number of the host, or on the device: then     a number, or ()
                            it is not read back
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

from tinynet.backend.cuda.runtime.launch import Kernels, here_and_there, one_each

# --- Equations ------------------------------------------------------------------------------------------------------

_cuda = Kernels("adam")

# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by memory: one pass reads all four arrays and writes three of them, 28 bytes a parameter, in one launch.

class _Options(NamedTuple):
    """struct Options of adam.cu."""

    keep1: float
    take1: float
    keep2: float
    take2: float
    log_beta1: float
    log_beta2: float
    eps: float
    weight_decay: float
    decoupled: bool


@lru_cache
def _options(beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool) -> _Options:
    log_beta1, log_beta2 = (math.log(beta) if beta else -math.inf for beta in (beta1, beta2))
    return _Options(beta1, 1 - beta1, beta2, 1 - beta2, log_beta1, log_beta2, eps, weight_decay, decoupled)


# --- Entry ----------------------------------------------------------------------------------------------------------

def adam(xp: Any, value: Any, gradient: Any, m: Any, v: Any, *, lr: Any, betas: tuple[float, float], eps: float,
         step: Any, weight_decay: float, decoupled: bool) -> Any:
    """See `tinynet.optim.adam`. float32."""
    if value.dtype != xp.float32:
        return NotImplemented
    options = _options(*betas, eps, weight_decay, decoupled)
    _cuda.launch("adam", one_each(value.size), value, gradient, m, v, *here_and_there(xp, lr, xp.float32),
                 *here_and_there(xp, step, xp.int64), options, value.size)
    return None
