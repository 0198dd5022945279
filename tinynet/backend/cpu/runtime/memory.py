"""Memory for arrays of a kilobyte or more, aligned, and reused as soon as no array refers to it.

The system hands out memory page by page, each filled with zeros at its first touch. A program that frees its memory
pays for this again in the next step. A training step makes some fifty arrays, of the same sizes each time; mapping
their pages anew took a third of the step.

`empty` returns an ordinary NumPy array. When the array and all views of it are gone, its memory is kept for the next
`empty` of about the same size. Kept memory is at most twice the largest amount ever in use at once; beyond that, all of
it goes back to the system.

Arrays begin at a cache line. NumPy's begin at any multiple of 16 bytes, so that vectors cross lines. A vector that was
stored across two lines takes longer to load again while the store is under way, as in sums that a kernel adds up.

A recording has blocks of its own: its kernels write to the same memory in each replay. It takes over kept memory where
the size fits, and within a step its arrays take turns like others.
"""

import math
import os
from functools import partial
from threading import RLock
from typing import Any
from weakref import ref

import numpy as np

from tinynet.backend import observer
from tinynet.backend.observer import call
from tinynet.settings import exclusively

SMALL = 1 << 10  # bytes; smaller arrays are NumPy's
PAIR = 128  # bytes: the alignment of arrays, two cache lines, which the prefetcher of a processor may load together

_made = _most = 0  # bytes of the shared blocks: kept or in use now, and the most in use at once so far
_changing = RLock()


class Blocks:
    """Blocks of memory that arrays take turns in. It must exist as long as its arrays are used."""

    def __init__(self) -> None:
        self.kept: dict[int, dict[_Block, Any]] = {}  # by size in bytes: blocks that have come back
        self.lent: dict[_Block, Any] = {}  # of each block the last loan: a weak reference that brings it back


class _Block:
    """Memory from the system, and the byte where an array begins in it. It is hashed by identity."""

    __slots__ = ("memory", "offset")

    def __init__(self, memory: Any) -> None:
        self.memory, self.offset = memory, -memory.ctypes.data % PAIR


shared = Blocks()


def _replace_lock() -> None:
    """In a forked child: the lock may be held by a thread that does not exist there."""
    global _changing
    _changing = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_replace_lock)


def empty(shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    """An array in C order with arbitrary elements, as from `numpy.empty`. Errors: MemoryError.

    >>> empty((2, 3)).shape
    (2, 3)
    """
    watching = observer.current.get()
    array = _empty(shape, np.dtype(dtype), shared if watching is None else watching.blocks)
    if watching is not None:
        watching.on_empty(array)
    return array


def zeros(shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    """An array of zeros. A replay of a recording fills it again."""
    array = empty(shape, dtype)
    if array.size:
        call(np.ndarray.fill, array, 0)
    return array


def contiguous(array: Any, dtype: Any = None) -> Any:
    """The array itself if it is in C order and of this dtype (None: any), else a copy that is.

    >>> contiguous(np.ones((2, 3)).T).flags.c_contiguous
    True
    """
    if array.flags.c_contiguous and (dtype is None or array.dtype == dtype):
        return array
    return copied(array, dtype)


def copied(array: Any, dtype: Any = None) -> Any:
    """A copy in C order, of this dtype (None: of the same)."""
    copy = empty(array.shape, array.dtype if dtype is None else dtype)
    call(np.copyto, copy, array, "unsafe")
    return copy


def _empty(shape: tuple[int, ...], dtype: Any, blocks: Blocks) -> Any:
    elements = math.prod(shape)
    size = elements * dtype.itemsize
    if size < SMALL:
        return np.empty(shape, dtype)
    size = _rounded(size + PAIR)
    kept = blocks.kept.setdefault(size, {})
    try:
        block = kept.popitem()[0]
    except KeyError:
        block = _more(size) if blocks is shared else _of_its_own(size)
    flat: Any = np.frombuffer(memoryview(block.memory), dtype, elements, block.offset)
    # The base of this array and of all its views is that memoryview. Its end calls `kept.setdefault(block, loan)`. That
    # is not code of Python, as `__del__` would be: an interrupt that is raised in a `__del__` is lost.
    blocks.lent[block] = ref(flat.base, partial(kept.setdefault, block))
    return flat.reshape(shape)


def aligned_words(rows: int, words: int) -> Any:
    """Zeros, int64 (rows, words), aligned to a pair of cache lines."""
    memory = np.zeros(rows * words + PAIR // 8, np.int64)
    return memory[-memory.ctypes.data // 8 % (PAIR // 8):][:rows * words].reshape(rows, words)


def release() -> None:
    """Return all kept memory to the system."""
    exclusively(_changing, _release)


def _release() -> None:
    """Drop the blocks that have come back, and any that an interrupt kept from coming back."""
    global _made
    for kept in list(shared.kept.values()):
        kept.clear()
    for block, loan in list(shared.lent.items()):
        if loan() is None:
            shared.lent.pop(block, None)
    _made = sum(block.memory.nbytes for block in list(shared.lent))


def _of_its_own(size: int) -> _Block:
    """A block for a recording: a shared one that is kept, or one from the system."""
    try:
        return exclusively(_changing, _taken_over, size)
    except KeyError:
        return _from_system(size)


def _taken_over(size: int) -> _Block:
    global _made
    block = shared.kept[size].popitem()[0]
    shared.lent.pop(block, None)
    _made -= size
    return block


def _rounded(size: int) -> int:
    """The size rounded up to one of eight steps between powers of two: arrays of similar sizes can share a block."""
    step = 1 << (size.bit_length() - 4)
    return -(-size // step) * step


def _more(size: int) -> _Block:
    """A block of memory from the system. It is counted once it is there."""
    block = _from_system(size)
    exclusively(_changing, _count, size)
    return block


def _from_system(size: int) -> _Block:
    try:
        return _Block(np.empty(size, np.uint8))
    except MemoryError:
        release()
        return _Block(np.empty(size, np.uint8))


def _count(size: int) -> None:
    """Count a block that was made. Return the kept memory if it is far more than was in use at once."""
    global _made, _most
    kept = sum(size * len(blocks) for size, blocks in list(shared.kept.items()))
    _most = max(_most, _made - kept + size)
    if kept > 2 * _most:
        _release()
    _made += size
