"""The gather of a batch (data/gather.py) on a GPU, by the kernels of gather.cu. What bounds it: memory."""

from typing import Any

from tinynet.backend.cuda.runtime import fake_cupy
from tinynet.backend.cuda.runtime.launch import Kernels, one_each

_cuda = Kernels("gather")


def gather(xp: Any, batch: Any, rows: Any, index: Any) -> Any:
    """See `tinynet.data.gather`. Arrays of any numbers; an index out of range is not noticed."""
    if not (batch.flags.c_contiguous and rows.flags.c_contiguous) or batch.dtype != rows.dtype:
        return NotImplemented
    if not batch.size:
        return None
    in_words = all(number % 4 == 0 for number in (batch.nbytes // len(batch), _address(batch), _address(rows)))
    kernel, unit = ("gather_words", xp.uint32) if in_words else ("gather_bytes", xp.uint8)
    units, taken = batch.reshape(-1).view(unit), xp.ascontiguousarray(index.astype(xp.int64, copy=False))
    _cuda.launch(kernel, one_each(units.size), rows.reshape(-1).view(unit), taken, units, units.size // len(batch),
                 units.size)
    return None


def _address(array: Any) -> int:
    """Where an array begins; one that another library shares may begin anywhere."""
    emulates = isinstance(array, fake_cupy.Array)
    return int(fake_cupy.memory(array).ctypes.data if emulates else array.data.ptr)
