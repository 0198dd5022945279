"""The step of Adam (optim/adam.py) on a GPU: one kernel over the flat arrays, in adam.cu. What bounds it: memory."""

import math
from typing import Any

from tinynet.backend.cuda.runtime.launch import Kernels, one_each

_cuda = Kernels("adam")


def adam(xp: Any, value: Any, gradient: Any, m: Any, v: Any, *, lr: Any, betas: tuple[float, float], eps: float,
         step: Any, weight_decay: float, decoupled: bool) -> Any:
    """See `tinynet.optim.adam`. float32. A step and a rate on the device are not read back."""
    if value.dtype != xp.float32:
        return NotImplemented
    means = [number for beta in betas for number in (beta, 1 - beta)]
    logs = (math.log(beta) if beta else -math.inf for beta in betas)
    numbers = *_here_and_there(xp, lr, xp.float32), *_here_and_there(xp, step, xp.int64)
    _cuda.launch("adam", one_each(value.size), value, gradient, m, v, *means, *logs, *numbers, eps, weight_decay,
                 decoupled, value.size)
    return None


def _here_and_there(xp: Any, number: Any, dtype: Any) -> Any:
    """A number of the host's and none on the device, or the other way round."""
    return (dtype(0), number.astype(dtype, copy=False)) if isinstance(number, xp.ndarray) else (dtype(number), None)
