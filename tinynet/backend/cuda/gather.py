"""The gather of a batch (data/gather.py) on a GPU, by the kernels of gather.cu. What bounds it: memory."""

from typing import Any

from tinynet.backend.cuda.runtime.launch import Kernels, one_each

_cuda = Kernels("gather")


def gather(xp: Any, batch: Any, rows: Any, index: Any) -> Any:
    """See `tinynet.data.gather`. Arrays of any numbers; an index out of range is not noticed."""
    if not (batch.flags.c_contiguous and rows.flags.c_contiguous) or batch.dtype != rows.dtype:
        return NotImplemented
    if not batch.size:
        return None
    addresses = batch.data.ptr, rows.data.ptr  # an array shared by another library may begin anywhere
    in_words = all(number % 4 == 0 for number in (batch.nbytes // len(batch), *addresses))
    kernel, unit = ("gather_words", xp.uint32) if in_words else ("gather_bytes", xp.uint8)
    units, taken = batch.reshape(-1).view(unit), xp.ascontiguousarray(index.astype(xp.int64, copy=False))
    _cuda.launch(kernel, one_each(units.size), rows.reshape(-1).view(unit), taken, units, units.size // len(batch),
                 units.size)
    return None
