"""Dropout of ops/dropout.py on a GPU, by the kernels of dropout.cu. What bounds it: memory.

The mask is a function of the key and the counter, so backward draws it again, and it is never stored.
"""

from typing import Any

from tinynet.backend.cuda.runtime.launch import Kernels, one_each

_cuda = Kernels("dropout")


def dropout(xp: Any, x: Any, p: float, *, key: tuple[int, int], counter: Any) -> Any:
    """See `tn.ops.dropout`. float32. A counter on the device is not read back."""
    if x.dtype != xp.float32:
        return NotImplemented
    step, counted, drawn = 0, None, None
    if isinstance(counter, xp.ndarray):
        counted, drawn = counter.astype(xp.int64, copy=False), xp.empty((), xp.int64)
    else:
        step = int(counter)
    mask = *map(int, key), int(p * 2.0**32), float(1 / (1 - p))
    return _masked(xp, x, step, counted, drawn, mask), (step, drawn, mask)  # (1)


def ddropout(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.dropout`."""
    step, drawn, mask = cache
    return _masked(xp, dy, step, drawn, None, mask)  # (2)


def _masked(xp: Any, x: Any, step: int, counted: Any, drawn: Any, mask: Any) -> Any:
    y = xp.empty(x.shape, x.dtype)
    _cuda.launch("dropout", one_each(-(-x.size // 4)), xp.ascontiguousarray(x), y, step, counted, drawn, *mask, x.size)
    return y
