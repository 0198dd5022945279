"""Which rows of a batch a rank computes, and sums over all rows.

While a rank computes its rows, `part()` tells layers which these are: dropout counts the elements of the whole batch,
and BatchNorm takes the statistics of all ranks.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynet.distributed import Communicator

Across = Callable[..., Any]  # (xp, *sums) -> the same sums, over all ranks


def alone(xp: Any, *sums: Any) -> tuple[Any, ...]:
    """The sums of a rank that has all rows: themselves."""
    return sums


@dataclass(frozen=True)
class Part:
    """The rows of a batch that a rank computes: `count` of `total`, from the row `begin` on.

    counts   whether they count. A batch with fewer rows than there are ranks is computed by each rank, as a whole, and
             that of rank 0 counts

    >>> Part(Communicator(), begin=2, count=2, total=6).first(10)            # an array (2,5)
    10
    """

    ranks: Communicator
    begin: int = 0
    count: int = 1
    total: int = 1
    counts: bool = True

    @classmethod
    def of(cls, ranks: Communicator, total: int) -> "Part":
        """The part of a batch of `total` rows that is a rank's.

        >>> Part.of(Communicator(), 10).count
        10
        """
        if total < ranks.size:
            return cls(ranks, 0, total, total, ranks.rank == 0)
        rows = ranks.rows(total)
        return cls(ranks, rows.start, rows.stop - rows.start, total)

    @property
    def rows(self) -> slice:
        """The rows in the batch."""
        return slice(self.begin, self.begin + self.count)

    def first(self, size: int) -> int:
        """The number of the first element, in the array of the whole batch, of an array with `size` elements."""
        return self.begin * (size // self.count)

    def whole(self, size: int) -> int:
        """The number of elements, in the whole batch, of an array with `size` elements."""
        return size // self.count * self.total

    @property
    def across(self) -> Across:
        """A function (xp, *sums) that adds up arrays and numbers over all ranks, by one message."""
        return alone if self.ranks.size == 1 else self._across

    def _across(self, xp: Any, *sums: Any) -> list[Any]:
        flat = xp.concatenate([xp.asarray(one, "float64").reshape(-1) for one in sums])
        if not self.counts:
            flat[...] = 0
        ends = np.cumsum([getattr(one, "size", 1) for one in sums])
        parts = [flat[end - getattr(one, "size", 1) : end] for one, end in zip(sums, ends, strict=True)]
        self.ranks.sum(flat)
        return [part.reshape(one.shape).astype(one.dtype) if hasattr(one, "dtype") else float(part[0])
                for one, part in zip(sums, parts, strict=True)]


_part: ContextVar[Part] = ContextVar("part", default=Part(Communicator()))  # noqa: B039 (it is frozen)
part = _part.get


@contextmanager
def within(own: Part) -> Iterator[None]:
    """A context in which layers compute a part of a batch: `part()` is that part, and else a whole batch."""
    token = _part.set(own)
    try:
        yield
    finally:
        _part.reset(token)
