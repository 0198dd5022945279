"""The step of Adam (optim/adam.py) in Numba, for float32.

Layout    n parameters, all of the model side by side

  quantity                  here                                      specification
  value, gradient, m, v     (n); all but the gradient change          the same
  m̂, v̂                      not stored: m rate = lr m̂, √v root = √v̂   (n)
  lr λ, λ                   1 − shrink, decay: one of the two is 0    by `decoupled`
"""

import math
from typing import Any

import numpy as np

from tinynet.backend import call
from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.memory import empty
from tinynet.backend.cpu.runtime.threads import launch

_COUNT = 9  # numbers that all parameters share


# --- Equations ------------------------------------------------------------------------------------------------------

def _numbers(numbers: Any, lr: Any, betas: tuple[float, float], eps: float, step: Any, weight_decay: float,
             decoupled: bool) -> None:
    """What all parameters share, computed in float64 and rounded."""
    lr, step, (beta1, beta2) = float(lr), float(step), betas
    rate, root = lr / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step)  # (4)
    shrink, decay = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)  # (1)
    numbers[:] = beta1, 1 - beta1, beta2, 1 - beta2, rate, root, eps, shrink, decay


@njit
def _updated(value: Any, gradient: Any, m: Any, v: Any, keep1: Any, take1: Any, keep2: Any, take2: Any, rate: Any,
             root: Any, eps: Any, shrink: Any, decay: Any) -> Any:
    """One parameter and its moments after the step."""
    g = gradient + decay * value  # (1)
    m = keep1 * m + take1 * g  # (2)
    v = keep2 * v + take2 * g * g  # (3)
    value = shrink * value - rate * m / (np.sqrt(v) * root + eps)  # (5)
    return value, m, v


# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by memory: one pass reads all four arrays and writes three of them, 28 bytes a parameter. Each thread takes an
# equal part.

@njit
def _adam(shard: Any, shards: Any, value: Any, gradient: Any, m: Any, v: Any, numbers: Any) -> None:
    keep1, take1, keep2, take2, rate = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    root, eps, shrink, decay = numbers[5], numbers[6], numbers[7], numbers[8]
    start, end = shard * value.size // shards, (shard + 1) * value.size // shards
    value, gradient, m, v = value[start:end], gradient[start:end], m[start:end], v[start:end]
    for i in range(end - start):  # from 0: then Numba knows that no index counts from the end
        value[i], m[i], v[i] = _updated(value[i], gradient[i], m[i], v[i], keep1, take1, keep2, take2, rate, root, eps,
                                        shrink, decay)


# --- Entry ----------------------------------------------------------------------------------------------------------

def adam(xp: Any, value: Any, gradient: Any, m: Any, v: Any, *, lr: Any, betas: tuple[float, float], eps: float,
         step: Any, weight_decay: float, decoupled: bool) -> Any:
    """See `tinynet.optim.adam`. float32."""
    if value.dtype != np.float32:
        return NotImplemented
    numbers = empty((_COUNT,))
    call(_numbers, numbers, lr, betas, eps, step, weight_decay, decoupled)
    launch(_adam, value, gradient, m, v, numbers)
    return None
