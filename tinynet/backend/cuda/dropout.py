"""Dropout of ops/dropout.py on a GPU, for float32.

Layout    the four words of a counter belong to four neighbouring elements

  quantity        here                                              specification
  x, y, δy, δx    (...), in C order                                 (...)
  counter         a number of the host, or int64 () on the          an integer, or ()
                  device: then it is not read back
  cache           the number of the draw (of the host, or on the    m and the factor: here backward draws m again
                  device), key, threshold ⌊p 2³²⌋, factor, first
"""

from typing import Any

from tinynet.backend.cuda.runtime.launch import Kernels, one_each

# --- Equations ------------------------------------------------------------------------------------------------------

_cuda = Kernels("dropout")

# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by memory: to draw the mask a second time takes less time than to write it and to read it.

def _masked(xp: Any, x: Any, step: int, counted: Any, drawn: Any, mask: Any) -> Any:
    y, quads = xp.empty(x.shape, x.dtype), -(-(mask[-1] % 4 + x.size) // 4)
    _cuda.launch("dropout", one_each(quads), xp.ascontiguousarray(x), y, step, counted, drawn, *mask, x.size)
    return y


# --- Entry ----------------------------------------------------------------------------------------------------------

def dropout(xp: Any, x: Any, p: float, *, key: tuple[int, int], counter: Any, first: int = 0) -> Any:
    """See `tn.ops.dropout`. float32."""
    if x.dtype != xp.float32:
        return NotImplemented
    step, counted, drawn = 0, None, None
    if isinstance(counter, xp.ndarray):
        counted, drawn = counter.astype(xp.int64, copy=False), xp.empty((), xp.int64)
    else:
        step = int(counter)
    mask = *map(int, key), int(p * 2.0**32), float(1 / (1 - p)), int(first)
    return _masked(xp, x, step, counted, drawn, mask), (step, drawn, mask)


def ddropout(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.dropout`."""
    step, drawn, mask = cache
    return _masked(xp, dy, step, drawn, None, mask)
