"""The step of Adam (optim/adam.py) in Numba: one pass over the flat arrays.

What bounds it: memory. Value, gradient and both moments are read and all but the gradient written, 28 bytes a
parameter; NumPy makes a dozen passes of it.
"""

import math
from typing import Any

import numpy as np

from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.threads import launch


def adam(xp: Any, value: Any, gradient: Any, m: Any, v: Any, *, lr: Any, betas: tuple[float, float], eps: float,
         step: Any, weight_decay: float, decoupled: bool) -> Any:
    """See `tinynet.optim.adam`. float32."""
    if value.dtype != np.float32:
        return NotImplemented
    beta1, beta2 = betas
    step, lr = float(step), float(lr)
    rate, root = lr / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step)  # (4)
    shrink, decay = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
    numbers = map(np.float32, (beta1, 1 - beta1, beta2, 1 - beta2, rate, root, eps, shrink, decay))
    launch(_adam, value, gradient, m, v, *numbers)
    return None


@njit
def _adam(shard: Any, shards: Any, value: Any, gradient: Any, m: Any, v: Any, keep1: Any, take1: Any, keep2: Any,
          take2: Any, rate: Any, root: Any, eps: Any, shrink: Any, decay: Any) -> None:
    start, end = shard * value.size // shards, (shard + 1) * value.size // shards
    value, gradient, m, v = value[start:end], gradient[start:end], m[start:end], v[start:end]
    for i in range(end - start):  # from 0: Numba then knows that no index counts from the end
        g = gradient[i] + decay * value[i]  # (1)
        mean = keep1 * m[i] + take1 * g
        square = keep2 * v[i] + take2 * g * g
        m[i] = mean  # (2)
        v[i] = square  # (3)
        value[i] = shrink * value[i] - rate * mean / (np.sqrt(square) * root + eps)  # (5)
