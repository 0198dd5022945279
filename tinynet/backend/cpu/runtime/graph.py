"""CPU graphs: the kernel launches of a function, recorded once and then made by a single call.

Between two kernels Python spends some microseconds on shapes and new arrays; for a single image the kernels take no
longer. A graph holds each launch with its arguments, so every run uses the same memory: what changes from run to run
must lie in the arrays that were given.

NumPy's work is not recorded. So kernels may take only the given arrays and those from `memory.empty`, which kernels
alone fill; any other array ends the recording with a DeviceError.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from tinynet.backend.cpu.runtime import observer, threads
from tinynet.backend.cpu.runtime.launcher import launch_as_row
from tinynet.backend.cpu.runtime.mailbox import ROW_WORDS
from tinynet.backend.cpu.runtime.memory import aligned_words
from tinynet.errors import DeviceError


class Graph:
    """Recorded launches and the arrays that they write to. Not reentrant: each launch writes to the same arrays.

    The graph keeps its own arrays alive, not the given ones: these must exist when it is launched.
    """

    def __init__(self, launches: Sequence[Any], arrays: Sequence[Any]) -> None:
        self._arrays, self._threads = arrays, threads.threads()
        self._launches = aligned_words(len(launches), ROW_WORDS)
        self._launches[...] = launches

    def is_current(self) -> bool:
        """Whether a recording made now would hold the same launches: the number of threads decides their shards."""
        return threads.threads() == self._threads

    def launch(self) -> None:
        """Run all kernels, in their order."""
        threads.launch_rows(self._launches)


class _Recorder:
    """Collects the launches and the new arrays of one thread. `limit` is in bytes."""

    def __init__(self, given: Sequence[Any], limit: float) -> None:
        self.limit, self.size = limit, 0
        self.known = list(map(byte_bounds, given))  # where kernels may read and write
        self.made, self.foreign, self.launches = list[Any](), list[Any](), list[Any]()

    def on_empty(self, array: Any) -> None:
        self.size += array.nbytes
        self.made.append(array)
        self.known.append(byte_bounds(array))
        if self.size > self.limit:  # nothing will come of the recording: let arrays be freed as usual
            self.made.clear()

    def on_launch(self, launch: Any, shards: int, turns: int, arguments: tuple[Any, ...]) -> None:
        if self.size <= self.limit:
            self.check(_arrays_in(arguments))
            self.launches.append(launch_as_row(launch, shards, turns, arguments))

    def check(self, arrays: Iterable[Any]) -> None:
        """Note the arrays that lie neither in given memory nor in memory from `empty`."""
        self.foreign.extend(array for array in arrays if not _lies_in(self.known, array))


def record(device: str, work: Callable[[], Any], given: Sequence[Any], limit: float) -> tuple[Any, Graph]:
    """Do `work`, which returns an array or a tuple of arrays, and record it. Returns these and the graph.

    Errors: DeviceError if `work` uses arrays that are neither `given` nor from `memory.empty`, or makes arrays of more
    than `limit` bytes. The work has been done all the same.
    """
    recorder = _Recorder(given, limit)
    token = observer.current.set(recorder)
    try:
        result = work()
    finally:
        observer.current.reset(token)
    if recorder.size > limit:
        raise DeviceError(f"record: arrays must have {limit} bytes at most, got {recorder.size}; "
                          "make batch_size smaller")
    recorder.check(_arrays_in((result,)))
    if recorder.foreign or not recorder.launches:
        what = f"an array of shape {recorder.foreign[0].shape} that NumPy made" if recorder.foreign else "no kernel"
        raise DeviceError("record: kernels must do all the work, on the given arrays and on those that `empty` makes, "
                          f"got {what}; write a kernel for it")
    return result, Graph(recorder.launches, recorder.made)


def _arrays_in(arguments: tuple[Any, ...]) -> Iterator[Any]:
    for argument in arguments:
        if isinstance(argument, tuple):
            yield from _arrays_in(argument)
        elif isinstance(argument, np.ndarray):
            yield argument


def _lies_in(known: Sequence[tuple[int, int]], array: Any) -> bool:
    """Whether all of an array lies in one of the known ranges of addresses."""
    low, high = byte_bounds(array)
    return array.size == 0 or any(start <= low and high <= end for start, end in known)
