"""Sums over the rows of a matrix (column_sums.cu): gradients of biases, means, and losses; and biases.

Bound by launches, or by memory. A block has 8 columns, which fill one 32-byte sector of memory, and as many threads for
each column as there may be. One block, and one launch, then does for several thousand rows. More rows are added up in
stretches by many blocks, and the sums of the stretches by another launch.
"""

from functools import lru_cache
from typing import Any, NamedTuple

from tinynet.backend.cuda.runtime.launch import Grid, Kernels, one_each

THREADS, COLUMNS = 1024, 8  # of a block, at most; THREADS also stands in column_sums.h
_ROWS_ALONE, _ROWS_SHARED = 64, 16  # rows of a thread: at most, if one block has all rows; else

_cuda = Kernels("column_sums")


class Share(NamedTuple):
    """The division of a matrix: the grid of the launch, the rows of a stretch, and the number of stretches."""

    grid: Grid
    rows: int
    stretches: int


@lru_cache(1 << 10)
def share(R: int, C: int) -> Share:
    """The division of a matrix (R,C) for one launch, which adds up the rows of each stretch."""
    columns = min(COLUMNS, _power_of_two(C))
    lanes = min(THREADS // columns, _power_of_two(R))
    rows = max(1, R) if _ROWS_ALONE * lanes >= R else _ROWS_SHARED * lanes
    stretches = max(1, -(-R // rows))
    return Share(Grid((-(-C // columns), stretches, 1), (columns, lanes, 1)), rows, stretches)


@lru_cache(1 << 10)
def whole(R: int, C: int) -> Grid:
    """A grid for a matrix (R,C) in which one block has all rows of some columns."""
    grid = share(R, C).grid
    return grid._replace(blocks=(grid.blocks[0], 1, 1))


def _power_of_two(size: int) -> int:
    """The smallest power of two that is at least `size`."""
    return 1 << max(0, size - 1).bit_length()


def column_sums(xp: Any, x: Any, factor: float = 1.0) -> Any:
    """`factor` times the sum of the rows of x (R,C): (C)."""
    R, C = x.shape
    grid, rows, stretches = share(R, C)
    if stretches > 1:
        sums = xp.empty((stretches, C), x.dtype)
        _cuda.launch("column_sums", grid, x, sums, 1.0, R, C, rows)
        return column_sums(xp, sums, factor)
    sums = xp.empty(C, x.dtype)
    _cuda.launch("column_sums", grid, x, sums, factor, R, C, rows)
    return sums


def add_bias(y: Any, b: Any) -> None:
    """Add b (F) to every row of y (...,F), in place."""
    _cuda.launch("add_bias", one_each(y.size), y, b, y.size, b.size)
