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
    beta1, beta2 = betas
    arrays, means, size = (value, gradient, m, v), (beta1, 1 - beta1, beta2, 1 - beta2), value.size
    if any(isinstance(number, xp.ndarray) for number in (lr, step)):
        lr, step = xp.asarray(lr, xp.float32), xp.asarray(step, xp.int64)
        logs = (math.log(beta) if beta else -math.inf for beta in betas)
        _cuda.launch("adam_counted", one_each(size), *arrays, *means, lr, step, *logs, eps, weight_decay, decoupled,
                     size)
        return None
    step, lr = int(step), float(lr)
    rate, root = lr / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step)  # (4)
    shrink, decay = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, float(weight_decay))
    _cuda.launch("adam", one_each(size), *arrays, *means, rate, root, eps, shrink, decay, size)
    return None
