"""The gather of a batch (data/gather.py) on a GPU, for arrays of any dtype. An index out of range is not checked.

Layout

  quantity    here                                                    specification
  rows        in C order, as bytes or as words of four bytes          (N, ...)
  batch       likewise; rows and batch have one dtype                 (B, ...)
  index       int64 (B)                                               integers (B)
"""

from typing import Any

from tinynet.backend.cuda.runtime.launch import Kernels, one_each

# --- Equations ------------------------------------------------------------------------------------------------------

_cuda = Kernels("gather")

# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by memory. Words are used where the length of a row and both addresses are multiples of four bytes: an array
# that another library shares may begin at any address.

def _in_words(batch: Any, rows: Any) -> bool:
    return all(number % 4 == 0 for number in (batch.nbytes // len(batch), batch.data.ptr, rows.data.ptr))


# --- Entry ----------------------------------------------------------------------------------------------------------

def gather(xp: Any, batch: Any, rows: Any, index: Any) -> Any:
    """See `tinynet.data.gather`. Arrays in C order, of one dtype."""
    if not (batch.flags.c_contiguous and rows.flags.c_contiguous) or batch.dtype != rows.dtype:
        return NotImplemented
    if not batch.size:
        return None
    kernel, unit = ("gather_words", xp.uint32) if _in_words(batch, rows) else ("gather_bytes", xp.uint8)
    units, taken = batch.reshape(-1).view(unit), xp.ascontiguousarray(index.astype(xp.int64, copy=False))
    _cuda.launch(kernel, one_each(units.size), rows.reshape(-1).view(unit), taken, units, units.size // len(batch),
                 units.size)
    return None
