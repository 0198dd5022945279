"""Prefetching: threads compute the next items in the background."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from itertools import islice
from typing import TYPE_CHECKING, Any

from tinynet.processors import processors

if TYPE_CHECKING:
    from concurrent.futures import Future


def prefetch(make: Callable[[Any], Any], items: Iterable[Any], threads: int | None = None) -> Iterator[Any]:
    """Yield make(item) for each item, in order, computed by threads in the background.

    threads   their number: None for one per processor, at most 8; with 0 the caller computes each item itself

    At most threads + 1 results are waiting or being computed. An error of `make` is raised in place of its result. The
    threads end with the iterator: at its end, when it is closed, or when the loop over it is left. A forked child has
    no threads of its parent, so there the iterator goes on as with threads=0.

    >>> list(prefetch(lambda n: n * n, range(5), threads=2))
    [0, 1, 4, 9, 16]
    """
    if threads is None:
        threads = min(8, processors())
    if threads == 0:
        yield from map(make, items)
        return
    from concurrent.futures import ThreadPoolExecutor  # slow to import

    owner, items = os.getpid(), iter(items)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="tinynet-prefetch")

    def begin(item: Any) -> "tuple[Any, Future[Any]]":
        return item, pool.submit(copy_context().run, make, item)  # the context holds what `using` has set

    try:
        waiting = deque(begin(item) for item in islice(items, threads + 1))
        while waiting:
            item, future = waiting.popleft()
            if os.getpid() == owner:
                result = future.result()
                waiting.extend(begin(item) for item in islice(items, 1))
                yield result
            else:
                yield make(item)
                waiting.extend((item, future) for item in islice(items, 1))
    finally:
        if os.getpid() == owner:
            pool.shutdown(cancel_futures=True)
