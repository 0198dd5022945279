"""The number of threads that run kernels on the CPU."""

from typing import Any

from tinynet.backend.devices import module_for
from tinynet.plain import whole

MOST_BY_DEFAULT = 16
MOST = 65_535  # slots that the mailbox of the pool can tell apart


def threads() -> int:
    """The number of threads that run kernels on the CPU, the caller's included.

    By default one for each processor that this process may use, 16 at most. The quota of a container limits them, and
    so do NUMBA_NUM_THREADS and OMP_NUM_THREADS. Without Numba there are no kernels, and it is 1.

    >>> import tinynet as tn
    >>> tn.threads() >= 1
    True
    """
    pool = _pool()
    return pool.threads() if pool else 1


def set_threads(count: int) -> None:
    """Run kernels on the CPU on `count` threads, the caller's included. 1 starts no threads.

    The bits of a result depend on this number. It does not concern NumPy's BLAS. Without Numba there are no kernels,
    and nothing changes: `threads()` stays 1.

    Errors: ArgumentError if `count` is not an integer from 1 to 65535.

    >>> import tinynet as tn
    >>> tn.set_threads(2)
    """
    count = checked(count)
    if pool := _pool():
        pool.set_threads(count)


def checked(count: Any) -> int:
    """A number of threads as an int. Errors: ArgumentError if it is not an integer from 1 to 65535."""
    return whole("set_threads", "count", count, 1, MOST, usual="count=1 to start no threads")


def _pool() -> Any:
    """The module of the thread pool, imported now if it was not; None without Numba."""
    try:
        return module_for("cpu", "runtime.threads")
    except ImportError:
        return None
