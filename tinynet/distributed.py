"""The ranks of a job: processes that mpiexec has started together, and sums over them.

    mpiexec -n 4 PROGRAM

Training with several ranks divides the rows of each batch among them, and adds up their gradients: see
`training/ranks.py`. This module holds what that needs, in one small interface, `Communicator`; `world()` gives the one
of this process.

mpi4py is imported only where mpiexec has started several processes. A rank that raises an error, that ends, or that
does not answer in time, ends the whole job: the others would wait for it forever. The time is 60 seconds, or as many as
the variable TINYNET_PATIENCE of the environment says.

Source: the MPI standard 4.1, chapters on collective communication and on environmental management; mpi4py.
"""

import atexit
import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from types import TracebackType
from typing import Any, NoReturn

import numpy as np

from tinynet.errors import DistributedError, Interrupted
from tinynet.output import say, warn
from tinynet.types import Array

PATIENCE = 60.0  # seconds that a rank waits for the others
_GRACE = 2.0  # seconds that it waits on when one of them has ended: what it sent before may be underway
_AWAKE = 0.01  # seconds that it asks for without a break: even the shortest sleep takes as long as ten messages
_POLL = 0.01  # seconds between two looks whether the others have ended
_FORWARD = 0.3  # seconds before a job is aborted: mpiexec loses what it has not passed on by then
_APART = 0.5  # seconds by which a rank waits longer than the one before it, so that one alone says why the job ends
_ENDED = 1  # the tag of the message that says so
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")  # variables in which mpiexec tells the number of processes: MPICH's and
# Intel's, Open MPI's


_let_others_run = getattr(os, "sched_yield", partial(time.sleep, 0))  # where there are more ranks than processors


class Communicator:
    """The ranks of a job, of which this process is the number `rank` of `size`. This class is a process alone.

    All ranks must call the same methods in the same order, with arrays of the same shape and dtype.

    >>> alone = Communicator()
    >>> alone.sum(np.ones(3)).tolist(), alone.gather("x"), alone.rows(10)
    ([1.0, 1.0, 1.0], ['x'], slice(0, 10, None))
    """

    rank, size = 0, 1

    def sum(self, array: Array) -> Array:
        """Replace an array of any device, in C order, by its sum over all ranks. Returns the array."""
        return array

    def broadcast(self, array: Array, root: int = 0) -> Array:
        """Replace an array of any device, in C order, by that of the rank `root`. Returns the array."""
        return array

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, in order. A value is what JSON can represent."""
        return [value]

    def abort(self, message: str) -> NoReturn:
        """End all ranks, with a message on stderr and exit code 1."""
        say(message, error=True)
        raise SystemExit(1)

    def rows(self, count: int) -> slice:
        """The part of `count` rows that is this rank's: contiguous, in the order of the ranks, and of equal sizes or
        one more.

        >>> third = Communicator()
        >>> third.rank, third.size = 2, 3
        >>> third.rows(10)
        slice(6, 10, None)
        """
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)


class Repeatable(Communicator):
    """Some ranks, for work that is done twice: its sums are sent once.

    >>> ranks, array = Repeatable(Communicator()), np.ones(3)
    >>> with ranks.noted() as notes:
    ...     ranks.sum(array).tolist()
    [1.0, 1.0, 1.0]
    >>> with ranks.repeated(notes):
    ...     ranks.sum(array).tolist()
    [1.0, 1.0, 1.0]
    >>> notes
    []
    """

    def __init__(self, ranks: Communicator) -> None:
        self.ranks, self.rank, self.size = ranks, ranks.rank, ranks.size
        self._sum: Callable[[Any], Any] = ranks.sum

    def sum(self, array: Any) -> Any:
        return self._sum(array)

    def broadcast(self, array: Array, root: int = 0) -> Array:
        return self.ranks.broadcast(array, root)

    def gather(self, value: Any) -> list[Any]:
        return self.ranks.gather(value)

    def abort(self, message: str) -> NoReturn:
        self.ranks.abort(message)

    @contextmanager
    def noted(self) -> Iterator[list[tuple[Any, Any]]]:
        """A context that notes what is added up on the host, and the sums."""
        notes = list[tuple[Any, Any]]()

        def note(array: Any) -> Any:
            given = array.copy()
            notes.append((given, self.ranks.sum(array).copy()))
            return array

        yield from self._by(note, notes)

    @contextmanager
    def repeated(self, notes: list[tuple[Any, Any]]) -> Iterator[None]:
        """A context that takes the sums from notes, without a message. Notes of other arrays than are given stay."""
        def answer(array: Any) -> Any:
            if notes and notes[0][0].tobytes() == array.tobytes():
                array[...] = notes.pop(0)[1]
            return array

        yield from self._by(answer, None)

    def _by(self, sum: Callable[[Any], Any], value: Any) -> Iterator[Any]:
        self._sum = sum
        try:
            yield value
        finally:
            self._sum = self.ranks.sum


class MPI(Communicator):
    """The ranks that mpiexec has started, through mpi4py.

    patience   seconds to wait for the other ranks; then the job is ended. None: those of TINYNET_PATIENCE, or 60

    Errors: DistributedError if mpi4py is missing, or belongs to another MPI than mpiexec.
    """

    def __init__(self, patience: float | None = None) -> None:
        told = started()
        try:
            from mpi4py import MPI as library
        except (ImportError, RuntimeError) as error:  # RuntimeError: there is no library of MPI
            raise DistributedError(f"distributed: mpiexec has started {told} processes, and mpi4py cannot be imported "
                                   f"({error}); pip install mpi4py mpich, or start one process") from error
        self.patience = _patience() if patience is None else patience
        self._library, self._all = library, library.COMM_WORLD
        self.rank, self.size = self._all.rank, self._all.size
        if self.size != told:  # each process would be rank 0, and all would train and write
            raise DistributedError(f"distributed: mpiexec has started {told} processes, and mpi4py counts {self.size}; "
                                   "they are of two MPIs: start with the mpiexec beside this Python, or install mpi4py "
                                   "for the other one")

    def sum(self, array: Array) -> Array:
        host = _on_host(array)
        self._wait(self._all.Iallreduce(self._library.IN_PLACE, host).Test)
        return _put_back(array, host)

    def broadcast(self, array: Array, root: int = 0) -> Array:
        host = _on_host(array)
        self._wait(self._all.Ibcast(host, root).Test)
        return _put_back(array, host)

    def gather(self, value: Any) -> list[Any]:
        own = np.frombuffer(json.dumps(value).encode(), "uint8")
        sizes = np.empty(self.size, "int64")
        self._wait(self._all.Iallgather(np.array([own.size]), sizes).Test)
        every = np.empty(int(sizes.sum()), "uint8")
        self._wait(self._all.Iallgatherv(own, (every, sizes)).Test)
        return [json.loads(part.tobytes()) for part in np.split(every, np.cumsum(sizes)[:-1])]

    def abort(self, message: str) -> NoReturn:
        say(f"rank {self.rank} of {self.size}: {message}", error=True)
        time.sleep(_FORWARD)
        self._all.Abort(1)
        raise SystemExit(1)

    def _wait(self, is_done: Callable[[], bool]) -> None:
        """Wait until all ranks have taken part, but not for longer than `patience`, nor for one that has ended."""
        if is_done():
            return
        own, status, start = _APART * self.rank, self._library.Status(), time.monotonic()
        end, why = start + self.patience + own, f"another rank has not answered for {self.patience:g} s"
        while not is_done():
            now = time.monotonic()
            if self._all.Iprobe(tag=_ENDED, status=status):
                end, why = min(end, now + _GRACE + own), f"rank {status.Get_source()} has ended"
            if now > end:
                self.abort(f"{why}; the job ends")
            if now - start < _AWAKE:
                _let_others_run()
            else:
                time.sleep(0)

    def leave(self) -> None:
        """Tell the others that this rank ends, and wait until all of them end. It is called when Python ends.

        A message that is never received makes MPICH end some jobs by signal 9 although all ranks are done.
        """
        others, nothing = [rank for rank in range(self.size) if rank != self.rank], np.empty(0, "uint8")
        requests = [self._all.Isend(nothing, rank, tag=_ENDED) for rank in others]
        requests += [self._all.Irecv(nothing, rank, tag=_ENDED) for rank in others]
        while not self._library.Request.Testall(requests):
            time.sleep(_POLL)


class NCCL(MPI):
    """As `MPI`, but NCCL adds up and sends arrays of CuPy, from GPU to GPU. **This has not yet run on GPUs.**

    NCCL needs a GPU for each rank. Where a rank has no NCCL, or two ranks share a GPU, arrays pass through the host,
    with a warning.

    Source: NVIDIA's documentation of NCCL, "Creating a communicator with multiple processes"; CuPy, `cupy.cuda.nccl`.
    """

    _nccl: Any = None  # the library and its communicator of all ranks, or () without one

    def sum(self, array: Any) -> Any:
        if not self._is_sent_by_nccl(array):
            return super().sum(array)
        library, between = self._nccl
        return self._launch(array, between.allReduce, array.data.ptr, array.data.ptr, array.size, _kind(library, array),
                            library.NCCL_SUM)

    def broadcast(self, array: Any, root: int = 0) -> Any:
        if not self._is_sent_by_nccl(array):
            return super().broadcast(array, root)
        library, between = self._nccl
        return self._launch(array, between.bcast, array.data.ptr, array.size, _kind(library, array), root)

    def _is_sent_by_nccl(self, array: Any) -> bool:
        if not type(array).__module__.startswith("cupy"):
            return False
        if self._nccl is None:
            self._nccl = self._join(array.device)
        return bool(self._nccl) and _kind(self._nccl[0], array) is not None

    def _join(self, device: Any) -> tuple[Any, ...]:
        """Make the communicator, if every rank has NCCL and a GPU of its own. All ranks call this together."""
        with warnings.catch_warnings(action="ignore"):  # CuPy's own, on each rank
            from cupy.cuda import nccl
        places = self.gather([platform.node(), device.pci_bus_id] if nccl.available else None)
        if None in places or any(places.count(place) > 1 for place in places):
            if self.rank == 0:
                why = "a rank has no NCCL; pip install nvidia-nccl-cu13" if None in places else "two ranks share a GPU"
                warn(f"distributed: arrays pass through the host, since {why}", stacklevel=3)
            return ()
        identity = self.gather([*nccl.get_unique_id()] if self.rank == 0 else None)[0]
        with device:
            return nccl, nccl.NcclCommunicator(self.size, bytes(identity), self.rank)

    def _launch(self, array: Any, call: Callable[..., None], *arguments: Any) -> Any:
        """Let the array's device communicate, and wait for it no longer than for MPI."""
        from cupy import cuda
        with array.device:
            stream, done = cuda.get_current_stream(), cuda.Event(disable_timing=True)
            call(*arguments, stream.ptr)
            done.record(stream)

        def is_done() -> bool:
            self._nccl[1].check_async_error()
            return bool(done.done)
        self._wait(is_done)
        return array


def _kind(library: Any, array: Any) -> Any:
    """NCCL's number of an array's dtype, or None."""
    return getattr(library, f"NCCL_{array.dtype.name.upper()}", None)


def _patience() -> float:
    said = os.environ.get("TINYNET_PATIENCE", "")
    try:
        return float(said) if said else PATIENCE
    except ValueError:
        raise DistributedError("distributed: the variable TINYNET_PATIENCE must be a number of seconds, got "
                               f"{said!r}; TINYNET_PATIENCE=600?") from None


def _on_host(array: Any) -> Any:
    return array.get() if hasattr(array, "get") else array


def _put_back(array: Any, host: Any) -> Any:
    if host is not array:
        array.set(host)
    return array


def started() -> int:
    """The number of processes that mpiexec has started together; 1 without mpiexec."""
    told = [os.environ.get(name, "") for name in _SIZES]
    return max([int(number) for number in told if number.isdecimal()], default=1)


@cache
def world() -> Communicator:
    """The communicator of this process: `NCCL` if mpiexec has started several processes.

    From the first call on, an error that ends this process ends the job, and the others learn when this process ends.

    Errors: DistributedError as of `MPI`.
    """
    if started() == 1:
        return Communicator()
    found, usual = NCCL(), sys.excepthook

    def end_all(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, Interrupted):  # by all ranks, after the same step
            if found.rank == 0:
                usual(kind, error, trace)
            return
        usual(kind, error, trace)
        found.abort(f"{kind.__name__}: {error}; the job ends")

    sys.excepthook = end_all
    atexit.register(found.leave)
    return found
