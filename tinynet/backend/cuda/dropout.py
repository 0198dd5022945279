"""Dropout of ops/dropout.py on a GPU, by the kernels of dropout.cu. What bounds it: memory.

The mask is a function of the key and the counter, so backward draws it again, and it is never stored.
"""

from typing import Any

from tinynet.backend.cuda.launch import Kernels, one_each

_cuda = Kernels("dropout")


def dropout(xp: Any, x: Any, p: float, *, key: tuple[int, int], counter: Any) -> Any:
    """See `tn.ops.dropout`. float32. A counter on the device is not read back."""
    if x.dtype != xp.float32:
        return NotImplemented
    seed, stream = map(int, key)
    if isinstance(counter, xp.ndarray):
        kernel, step = "dropout_counted", counter.astype(xp.int64)  # a copy: it may have been counted on in backward
    else:
        kernel, step = "dropout", int(counter)
    draw = kernel, step, seed, stream, int(p * 2.0**32), float(1 / (1 - p))
    return _masked(xp, x, draw), draw  # (1)


def ddropout(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.dropout`."""
    return _masked(xp, dy, cache)  # (2)


def _masked(xp: Any, x: Any, draw: Any) -> Any:
    kernel, *numbers = draw
    y = xp.empty(x.shape, x.dtype)
    _cuda.launch(kernel, one_each(-(-x.size // 4)), xp.ascontiguousarray(x), y, *numbers, x.size)
    return y
