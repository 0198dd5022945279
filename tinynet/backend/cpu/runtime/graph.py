"""Launches of kernels that are recorded once and then made as one: on a CPU what a CUDA graph is on a GPU.

Between two kernels Python takes some microseconds, to look at shapes and to make arrays; for a single image the kernels
take no longer themselves. What is recorded are kernels with their arguments, so each launch works on the same memory,
with the same numbers: whatever is to change from launch to launch must lie in the arrays that are given.

What NumPy computes is not recorded, and would stay as it was. So kernels may look only at what was given and at what
`empty` made meanwhile, which is for kernels to write to; where one looks at anything else, nothing is recorded.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Lock, get_ident
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from tinynet.backend.cpu.runtime import memory, threads
from tinynet.errors import DeviceError

_recording = Lock()


class Graph:
    """Launches, and the arrays that they write to: two at once would mix them up. The arrays that were given are not
    kept; they must be there when it is launched."""

    def __init__(self, launches: Sequence[Any], arrays: Sequence[Any]) -> None:
        self._arrays, self._threads = arrays, threads.threads()
        self._launches = threads.table(len(launches), threads.KEPT)
        self._launches[...] = launches

    def is_current(self) -> bool:
        """Whether the same would be recorded now: the number of threads decides how work is shared out."""
        return threads.threads() == self._threads

    def launch(self) -> None:
        threads.run_kept(self._launches)


def capture(work: Callable[[], Any], given: Sequence[Any], most: int) -> tuple[Any, Graph]:
    """Do `work`, which gives an array, and record it. Returns that array, and what writes it anew.

    Errors: DeviceError if `work` does what cannot be recorded, or makes arrays of more than `most` bytes.
    """
    me, left = get_ident(), most
    made, strange, launches = list[Any](), list[Any](), list[Any]()

    def on_empty(array: Any) -> None:
        nonlocal left
        if get_ident() == me:
            left -= array.nbytes
            made.append(array)
            if left < 0:  # it will come to nothing: arrays may go as usual
                made.clear()

    def on_launch(launch: Any, shards: int, turns: int, arguments: tuple[Any, ...]) -> None:
        if get_ident() == me and left >= 0:
            look_at(_arrays_in(arguments))
            launches.append(threads.keep(launch, shards, turns, arguments))

    def look_at(arrays: Iterable[Any]) -> None:
        strange.extend(array for array in arrays if not _lies_in([*given, *made], array))

    with _recording:
        memory.on_empty, threads.on_launch = on_empty, on_launch
        try:
            result = work()
        finally:
            memory.on_empty = threads.on_launch = None
    if left < 0:
        raise DeviceError(f"capture: arrays must have {most} bytes at most, got {most - left}; make batch_size smaller")
    look_at([result])
    if strange or not launches:
        what = f"an array of shape {strange[0].shape} that NumPy made" if strange else "nothing"
        raise DeviceError("capture: kernels must do everything, with what is given and what `empty` makes, got "
                          f"{what}; write a kernel")
    return result, Graph(launches, made)


def _arrays_in(arguments: tuple[Any, ...]) -> Iterator[Any]:
    for argument in arguments:
        if isinstance(argument, tuple):
            yield from _arrays_in(argument)
        elif isinstance(argument, np.ndarray):
            yield argument


def _lies_in(known: Sequence[Any], array: Any) -> bool:
    """Whether all of an array is memory of others."""
    low, high = byte_bounds(array)
    return array.size == 0 or any(start <= low and high <= end for start, end in map(byte_bounds, known))


def _forget() -> None:
    """In a forked child: whoever was recording is not there."""
    global _recording
    _recording, memory.on_empty, threads.on_launch = Lock(), None, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
