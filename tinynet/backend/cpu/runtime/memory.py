"""Memory for large arrays, used again as soon as nobody looks at it any more.

What it saves: the system gives out memory page by page, each at its first touch and filled with zeros, and a program
that gives memory back pays again at the next step. A step of training makes some fifty arrays, of the same sizes each
time; mapping their pages anew took a third of the step.

`empty` gives an array that is like any other. When it and all views of it are gone, its memory is kept for the next
`empty` of about this size: so no two arrays that are alive share any. What is kept is at most twice what was ever in
use at once; beyond that, all of it goes back to the system.
"""

import os
from threading import RLock
from typing import Any

import numpy as np

from tinynet.backend.cpu.runtime import observer

SMALL = 1 << 16  # bytes; below it NumPy's own memory is as good
PAIR = 128  # bytes of two lines of the cache, where arrays begin: a processor may fetch both at once

_kept: dict[int, list[Any]] = {}  # by size, in bytes: memory, and where in it an array begins
_made = _most = 0  # bytes that are kept or in use, and that were ever in use at once
_changing = RLock()


def _forget() -> None:
    """In a forked child: who knows who held the lock."""
    global _changing
    _changing = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class _Block:
    """The owner of an array's memory: the array and its views refer to it."""

    __slots__ = ("__array_interface__", "memory", "start")

    def __init__(self, memory: Any, start: int, shape: tuple[int, ...], dtype: Any) -> None:
        self.memory, self.start = memory, start
        self.__array_interface__ = {"shape": shape, "typestr": dtype.str, "version": 3, "data": (start, False)}

    def __del__(self, kept: dict[int, list[Any]] = _kept) -> None:
        if hasattr(self, "start"):  # not if somebody interrupted the beginning
            kept.setdefault(self.memory.size, []).append((self.memory, self.start))


def empty(shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    """An array whose elements are whatever was there before, as of `numpy.empty`.

    >>> empty((2, 3)).shape
    (2, 3)
    """
    array = _empty(shape, np.dtype(dtype))
    if (watching := observer.current.get()) is not None:
        watching.on_empty(array)
    return array


def _empty(shape: tuple[int, ...], dtype: Any) -> Any:
    size = dtype.itemsize
    for length in shape:
        size *= length
    if size < SMALL:
        return np.empty(shape, dtype)
    size = _rounded(size + PAIR)
    try:
        memory, start = _kept[size].pop()
    except (KeyError, IndexError):
        memory, start = _more(size)
    return np.asarray(_Block(memory, start, shape, dtype))


def release() -> None:
    """Give what is kept back to the system."""
    global _made
    with _changing:
        for size, blocks in list(_kept.items()):
            while blocks:
                blocks.pop()
                _made -= size


def _rounded(size: int) -> int:
    """The next of eight sizes between two powers of two: arrays that differ little can take each other's place."""
    step = 1 << (size.bit_length() - 4)
    return -(-size // step) * step


def _more(size: int) -> tuple[Any, int]:
    """Memory from the system, and where in it an array begins."""
    global _made, _most
    with _changing:
        kept = sum(size * len(blocks) for size, blocks in list(_kept.items()))
        _most = max(_most, _made - kept + size)
        if kept > 2 * _most:
            release()
        _made += size
    try:
        memory = np.empty(size, np.uint8)
    except MemoryError:
        release()
        memory = np.empty(size, np.uint8)
    start = memory.ctypes.data
    return memory, start + -start % PAIR
