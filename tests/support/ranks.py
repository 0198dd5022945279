"""Ranks as threads of one process: the sums of a job without MPI."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet.distributed import Communicator


class Threads(Communicator):
    """One rank of some that are threads. `shared` has a barrier and a place for each rank's value."""

    def __init__(self, rank: int, size: int, shared: dict[str, Any]) -> None:
        self.rank, self.size, self.shared = rank, size, shared
        self.sums = 0

    def gather(self, value: Any) -> list[Any]:
        self.shared["values"][self.rank] = value
        self.shared["barrier"].wait()
        values = list(self.shared["values"])
        self.shared["barrier"].wait()
        return values

    def sum(self, array: Any) -> Any:
        self.sums += 1
        values = self.gather(_host(array))
        return _put(array, sum(values[1:], values[0]))

    def broadcast(self, array: Any, root: int = 0) -> Any:
        return _put(array, self.gather(_host(array))[root])


def _host(array: Any) -> Any:
    return array.get() if hasattr(array, "get") else array.copy()


def _put(array: Any, values: Any) -> Any:
    if hasattr(array, "set"):
        array.set(values)
    else:
        array[...] = values
    return array


def run(size: int, work: Callable[[Threads], Any]) -> list[Any]:
    """The results of `work` in some ranks."""
    shared = {"barrier": threading.Barrier(size, timeout=60), "values": [None] * size}
    results: list[Any] = [None] * size
    errors: list[BaseException] = []

    def one(rank: int) -> None:
        try:
            results[rank] = work(Threads(rank, size, shared))
        except BaseException as error:
            errors.append(error)
            shared["barrier"].abort()

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    real = [error for error in errors if not isinstance(error, threading.BrokenBarrierError)]
    if errors:
        raise (real or errors)[0]
    return results


def difference(one: Any, other: Any) -> float:
    """The largest difference of two arrays, relative to the largest element of the second."""
    return float(np.abs(one - other).max() / max(np.abs(other).max(), 1e-9))
