"""The thread pool of all kernels. A kernel is a Numba function that computes one share of the work, a shard:

    @njit
    def scale_rows(shard, shards, x, y, factor):
        N = x.shape[0]
        for n in range(shard * N // shards, (shard + 1) * N // shards):
            for j in range(x.shape[1]):
                y[n, j] = factor * x[n, j]

    launch(scale_rows, x, y, np.float32(2))  # all shards in parallel; returns when the last one is done

Numba's `prange` is not an alternative. Its OpenMP layer does not survive a fork. Its workqueue layer needs 100 µs for a
launch, and aborts if two threads launch at once. `parallel=True` doubles the time to compile.

How a launch works:

    1. `launch` looks up the compiled launcher of the kernel (launcher.py).
    2. It takes the pool's lock. If the pool is busy with a launch of another thread, the calling thread runs all shards
       by itself, one after the other.
    3. It wakes sleeping workers, and calls the launcher, which offers the shards to them in the mailbox (mailbox.py).

Workers. The pool starts with the first launch. A worker is a Python thread inside compiled code, without the
interpreter's lock. It polls the mailbox. After POLLS polls without a launch it sleeps: it waits for its `bell`, a lock
that the next launch releases. Results depend on the number of shards, not on which thread ran them.

Fork. A child process has none of the workers, and locks may be held by threads that do not exist in it. So the workers
end before a fork, parent and child start new ones with their next launch, and the child replaces the locks. Numba's
compiler lock is held during the fork, so that no other thread can hold it.

Interrupts. Compiled code is not interrupted: KeyboardInterrupt is raised after the launch. It may be raised between any
two instructions of Python; the `finally` in `_call` releases the pool in each case.
"""

import atexit
import os
from contextlib import suppress
from threading import Lock, RLock, Thread
from typing import Any

from numba.core.compiler_lock import global_compiler_lock

from tinynet.backend import observer
from tinynet.backend.cpu.runtime.launcher import launchers, make_launcher
from tinynet.backend.cpu.runtime.mailbox import SEQUENCE, STOP, new_mailbox, perform_rows, serve
from tinynet.backend.threads import MOST_BY_DEFAULT, checked
from tinynet.errors import ArgumentError
from tinynet.processors import processors
from tinynet.settings import exclusively

POLLS = 4_000  # before a worker sleeps, about 1 ms; waking it takes a tenth of that
WORTH = 8_192  # elements of a pass that take about as long as a launch


def launch(kernel: Any, *arguments: Any, shards: int | None = None) -> None:
    """Run kernel(shard, shards, *arguments) for every shard, in parallel on the threads of the pool.

    kernel     a function decorated with `jit.njit`, which returns nothing and does not raise
    arguments  any that Numba takes
    shards     the number of parts of the work, by default one for each thread. A launch costs about 2 µs. With
               shards=1 the calling thread does all of the work and no launch is needed: for small work

    Errors: RuntimeError if a shard raised, as it does when there is no memory for an array; ArgumentError for less than
    one shard; TypingError for a kernel that returns a value.

    >>> import numpy as np
    >>> from tinynet.backend.cpu.runtime.jit import njit
    >>> @njit
    ... def double(shard, shards, x):
    ...     for i in range(shard, x.size, shards):
    ...         x[i] *= 2
    >>> x = np.arange(5)
    >>> launch(double, x)
    >>> x
    array([0, 2, 4, 6, 8])
    """
    _launch(kernel, 2, shards, 1, arguments)


def launch_in_turns(kernel: Any, turns: int, *arguments: Any, shards: int | None = None) -> None:
    """Run kernel(shard, shards, turn, *arguments) for every shard and turn: for steps that need the previous results.

    There is a barrier before turns 2, 4, 6, ...: in an even turn a shard sees what all shards wrote up to the previous
    even turn. In an odd turn it must use its own results only. Meanwhile the other threads reach the barrier, so a step
    of two turns costs less than the 2 µs of a `launch`.

    >>> import numpy as np
    >>> from tinynet.backend.cpu.runtime.jit import njit
    >>> @njit
    ... def add_neighbours(shard, shards, turn, x):
    ...     t = (turn + 1) // 2
    ...     for i in range(shard, x.shape[1], shards):
    ...         if turn % 2:
    ...             x[t, i] = x[t - 1, i]
    ...         elif t > 0:
    ...             x[t, i] += x[t - 1, i - 1]
    >>> x = np.zeros((4, 4), int)
    >>> x[0, 0] = 1
    >>> launch_in_turns(add_neighbours, 7, x)
    >>> x[3]
    array([1, 3, 3, 1])
    """
    _launch(kernel, 3, shards, turns, arguments)


def launch_rows(rows: Any) -> None:
    """Replay recorded launches in order: rows (launches, ROW_WORDS) from `launcher.launch_as_row`."""
    if _call(perform_rows, _threads, rows):
        _raise_failed("a recorded kernel")


def _launch(kernel: Any, places: int, shards: int | None, turns: int, arguments: tuple[Any, ...]) -> None:
    launcher = launchers.get(kernel) or make_launcher(kernel, places)
    shards = _threads if shards is None else shards
    if shards < 1:
        raise ArgumentError(f"launch: shards must be at least 1, got {shards}; leave it out for one for each thread")
    if (watching := observer.current.get()) is not None:
        watching.on_launch(launcher, shards, turns, arguments)
    if _call(launcher, shards, turns, *arguments):
        _raise_failed(kernel.__name__)


def _call(launcher: Any, shards: int, *arguments: Any) -> Any:
    pool = _pool or running_pool()
    if shards == 1 or pool.free._is_owned():  # owned: a kernel that launches another
        return launcher(0, shards, *arguments)
    try:
        if not pool.free.acquire(blocking=False):
            return launcher(0, shards, *arguments)
        if pool.sleepers:
            pool.wake()
        failed = launcher(pool.address, shards, *arguments)
        pool.free.release()
        return failed
    except BaseException:  # not `finally`: Python may be interrupted before the first instruction of its block
        if pool.free._is_owned():
            pool.free.release()
        raise


def _raise_failed(kernel: str) -> None:
    raise RuntimeError(f"launch: a shard of {kernel} raised, which kernels must not; is there enough memory?")


# --- the number of threads ------------------------------------------------------------------------------------------

def threads() -> int:
    """The number of threads that run kernels, the caller's included: by default `processors()`, 16 at most."""
    return _threads


def set_threads(count: int) -> None:
    """Run kernels on `count` threads, the caller's included; 1 starts no threads. See `tn.set_threads`.

    Errors: ArgumentError if `count` is not an integer from 1 to 65535.

    >>> set_threads(2)
    >>> threads()
    2
    """
    exclusively(_changing, _replace, checked(count))


def shards_for(elements: int, most: int | None = None) -> int:
    """The number of shards for a pass over `elements` elements: one per thread, at most `most`, each worth a launch."""
    shards = max(1, min(_threads, elements // WORTH))
    return shards if most is None else max(1, min(shards, most))


# --- the pool -------------------------------------------------------------------------------------------------------

class Pool:
    """A mailbox and the workers that poll it. They start with the pool and end with `stop`."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.free: Any = RLock()  # held during a launch
        self.sleepers: list[Lock] = []  # the bell of each sleeping worker; to release it wakes the worker
        self._mailbox = new_mailbox(threads)
        self.address = self._mailbox.ctypes.data
        self._workers: list[Thread] = []
        serve(self.address, 0, 0, 0)  # compile it before workers need it
        with suppress(RuntimeError):  # the system's limit of threads: the threads that exist claim the other slots
            for slot in range(1, threads):
                worker = Thread(target=self._work, args=(slot,), name=f"tinynet-{slot}", daemon=True)
                worker.start()
                self._workers.append(worker)

    def wake(self) -> None:
        """Wake two sleeping workers; each wakes two more. A worker removes its own bell from the list."""
        for bell in self.sleepers[-2:]:
            with suppress(RuntimeError):  # released already, by another thread
                bell.release()

    def stop(self) -> None:
        """End the workers. The lock stays held: a thread that still launches here runs its shards by itself."""
        if self.free.acquire(timeout=1):
            self._mailbox[SEQUENCE] = STOP
            self.wake()
            for worker in self._workers:
                worker.join(timeout=1)

    def _work(self, slot: int) -> None:
        seen = 0
        while (seen := serve(self.address, slot, seen, POLLS)) != STOP:
            bell = Lock()
            bell.acquire()
            self.sleepers.append(bell)
            if self._mailbox[SEQUENCE] == seen:  # else a launch began before the bell was in the list
                bell.acquire()
            self.sleepers.remove(bell)
            self.wake()


_pool: Pool | None = None
_threads = min(MOST_BY_DEFAULT, processors())
_changing = RLock()  # held while `_pool` or `_threads` changes


def running_pool() -> Pool:
    """The pool; it starts now if it has not."""
    return exclusively(_changing, _start)


def _start() -> Pool:
    global _pool
    if _pool is None:
        _pool = Pool(_threads)
    return _pool


def _replace(count: int) -> None:
    """End the pool; the next launch starts another one with `count` threads."""
    global _pool, _threads
    pool, _pool, _threads = _pool, None, count  # first: an interrupt may leave the pool with its lock held
    if pool is not None:
        pool.stop()


def _stop() -> None:
    exclusively(_changing, lambda: _replace(_threads))


def _replace_locks() -> None:
    """In a forked child: see "Fork" above."""
    global _pool, _changing
    _pool, _changing = None, RLock()


atexit.register(_stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_stop, after_in_child=_replace_locks)
    os.register_at_fork(before=global_compiler_lock.acquire, after_in_parent=global_compiler_lock.release,
                        after_in_child=global_compiler_lock.release)
