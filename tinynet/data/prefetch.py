"""Work that threads do ahead, and that comes out in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future


def ahead(make: Callable[[Any], Any], items: Iterable[Any], threads: int) -> Iterator[Any]:
    """make(item) for each item, in order, computed by so many threads before it is asked for; by none with 0.

    threads + 1 results at most are waiting or being made. What `make` raises is raised here, where its result would
    have come. The threads end with this iterator: at its end, when it is closed, or with the loop that it is left by.
    In a forked child, which has no threads of its parent's, it goes on without any.

    >>> list(ahead(lambda n: n * n, range(5), threads=2))
    [0, 1, 4, 9, 16]
    """
    if threads == 0:
        yield from map(make, items)
        return
    from concurrent.futures import ThreadPoolExecutor  # takes a while

    owner, items = os.getpid(), iter(items)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="tinynet-loader")

    def begin(item: Any) -> "tuple[Any, Future[Any]]":
        return item, pool.submit(copy_context().run, make, item)  # with what `using` has set, too

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
