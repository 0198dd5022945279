"""The step of Adam (optim/adam.py) on a GPU: one kernel over the flat arrays, in adam.cu. What bounds it: memory."""

import math
from typing import Any

from tinynet.backend.cuda.launch import Kernels, one_each

_cuda = Kernels("adam")


def adam(xp: Any, value: Any, gradient: Any, m: Any, v: Any, *, lr: Any, betas: tuple[float, float], eps: float,
         step: Any, weight_decay: float, decoupled: bool) -> Any:
    """See `tinynet.optim.adam`. float32. A step and a rate on the device are not read back."""
    if value.dtype != xp.float32:
        return NotImplemented
    counted = any(isinstance(number, xp.ndarray) for number in (lr, step))
    if counted:
        lr, step = _on_device(xp, lr, xp.float32), _on_device(xp, step, xp.int64)
    else:
        lr, step = float(lr), int(step)
    means = [number for beta in betas for number in (beta, 1 - beta)]
    logs = (math.log(beta) if beta else -math.inf for beta in betas)
    _cuda.launch("adam_counted" if counted else "adam", one_each(value.size), value, gradient, m, v, *means, *logs, lr,
                 step, eps, weight_decay, decoupled, value.size)
    return None


def _on_device(xp: Any, number: Any, dtype: Any) -> Any:
    return number.astype(dtype, copy=False) if isinstance(number, xp.ndarray) else xp.full((), number, dtype)
