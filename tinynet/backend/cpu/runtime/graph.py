"""CPU graphs: the kernel launches of a function, recorded once and then made by a few calls.

Between two kernels Python spends some microseconds on shapes and new arrays; for a single image the kernels take no
longer. A graph holds each launch with its arguments, so every run uses the same memory: what changes from run to run
must lie in the arrays that were given. Launches without other work between them are made by one call.

Of NumPy's work, that of `observer.call` and of ops by `repeat.py` alone is recorded. So kernels and such work may take
only the given arrays and those from `memory.empty`, which they alone fill; any other array ends the recording with a
DeviceError.

The arrays of a graph lie in blocks of their own, and take turns in them as they did when they were recorded.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
from numpy.lib.array_utils import byte_bounds

from tinynet.backend import observer
from tinynet.backend.cpu.runtime import threads
from tinynet.backend.cpu.runtime.launcher import launch_as_row
from tinynet.backend.cpu.runtime.mailbox import ROW_WORDS
from tinynet.backend.cpu.runtime.memory import SMALL, Blocks, aligned_words, shared
from tinynet.errors import DeviceError

Result = TypeVar("Result")
Work = Callable[[], Any]


class Graph:
    """Recorded work and the memory that it writes to. Not reentrant: each launch writes to the same arrays.

    The graph keeps its own arrays alive, not the given ones: these must exist when it is launched.
    """

    def __init__(self, recorder: "_Recorder") -> None:
        self._arrays, self._blocks, self._threads = recorder.made, recorder.blocks, threads.threads()
        self._parts: list[Work] = []
        for are_rows, group in groupby(recorder.parts, lambda part: isinstance(part, np.ndarray)):
            parts = list(group)
            self._parts += [_in_one_call(parts)] if are_rows else parts

    def is_current(self) -> bool:
        """Whether a recording made now would hold the same launches: the number of threads decides their shards."""
        return threads.threads() == self._threads

    def launch(self) -> None:
        """Do all of the work again, in its order."""
        if len(self._parts) == 1:
            self._parts[0]()
            return
        with np.errstate(under="ignore"):  # as for an Update
            for part in self._parts:
                part()

    def beside(self, work: Callable[[], Result]) -> Result:
        """Do other work, which takes its arrays from the memory of the graph. They are valid until the next launch."""
        return _observed(_Guest(self._blocks), work)


def _in_one_call(launches: Sequence[Any]) -> Work:
    rows = aligned_words(len(launches), ROW_WORDS)
    rows[...] = launches
    return partial(threads.launch_rows, rows)


class _Guest:
    """An observer that gives arrays memory, and records nothing."""

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks

    def on_empty(self, array: Any) -> None: ...
    def on_launch(self, launch: Any, shards: int, turns: int, arguments: tuple[Any, ...]) -> None: ...
    def on_call(self, function: Callable[..., None], arguments: Any, options: Any) -> None: ...


class _Recorder:
    """Collects the work and the new arrays of one thread. `limit` is in bytes."""

    def __init__(self, given: Sequence[Any], limit: float) -> None:
        self.limit, self.size, self.blocks = limit, 0, Blocks()
        self.known = list(map(byte_bounds, given))  # where kernels may read and write
        self.made, self.foreign = list[Any](), list[Any]()
        self.parts = list[Any]()  # launches, as rows of words, and calls

    def on_empty(self, array: Any) -> None:
        self.size += array.nbytes
        self.known.append(byte_bounds(array))
        if array.nbytes < SMALL:  # not in a block
            self.made.append(array)
        if self.size > self.limit:  # nothing will come of the recording: let arrays be freed as usual
            self.made, self.blocks = [], shared

    def on_launch(self, launch: Any, shards: int, turns: int, arguments: tuple[Any, ...]) -> None:
        if self.size <= self.limit:
            self.check(_arrays_in(arguments))
            self.parts.append(launch_as_row(launch, shards, turns, arguments))

    def on_call(self, function: Callable[..., None], arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        if self.size <= self.limit:
            self.check(_arrays_in((*arguments, *options.values())))
            self.parts.append(partial(function, *map(_unowned, arguments),
                                      **{name: _unowned(value) for name, value in options.items()}))

    def check(self, arrays: Iterable[Any]) -> None:
        """Note the arrays that lie neither in given memory nor in memory from `empty`."""
        self.foreign.extend(array for array in arrays if not _lies_in(self.known, array))


def record(device: str, work: Work, given: Sequence[Any], limit: float) -> tuple[Any, Graph]:
    """Do `work`, which returns an array or a tuple of arrays, and record it. Returns these and the graph.

    Errors: DeviceError if `work` uses arrays that are neither `given` nor from `memory.empty`, or makes arrays of more
    than `limit` bytes. The work has been done all the same.
    """
    recorder = _Recorder(given, limit)
    result = _observed(recorder, work)
    if recorder.size > limit:
        raise DeviceError(f"record: arrays must have {limit} bytes at most, got {recorder.size}; "
                          "make batch_size smaller")
    recorder.check(_arrays_in((result,)))
    if recorder.foreign or not recorder.parts:
        what = f"an array of shape {recorder.foreign[0].shape} that NumPy made" if recorder.foreign else "no kernel"
        raise DeviceError("record: kernels must do all the work, on the given arrays and on those that `empty` makes, "
                          f"got {what}; write a kernel for it")
    return result, Graph(recorder)


def _observed(watching: observer.Observer, work: Callable[[], Result]) -> Result:
    token = observer.current.set(watching)
    try:
        return work()
    finally:
        observer.current.reset(token)


def _arrays_in(arguments: Sequence[Any]) -> Iterator[Any]:
    for argument in arguments:
        if isinstance(argument, tuple | list):
            yield from _arrays_in(argument)
        elif isinstance(argument, np.ndarray):
            yield argument


def _unowned(argument: Any) -> Any:
    """An argument whose arrays do not keep their memory alive: it goes to other arrays within a step."""
    if isinstance(argument, tuple | list):
        return type(argument)(map(_unowned, argument))
    if isinstance(argument, np.ndarray):
        return np.asarray(SimpleNamespace(__array_interface__=argument.__array_interface__))
    return argument


def _lies_in(known: Sequence[tuple[int, int]], array: Any) -> bool:
    """Whether all of an array lies in one of the known ranges of addresses."""
    low, high = byte_bounds(array)
    return array.size == 0 or any(start <= low and high <= end for start, end in known)
