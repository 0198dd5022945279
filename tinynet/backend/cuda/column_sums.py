"""Sums over the rows of a matrix, in column_sums.cu: they give the gradients of biases, means, and losses.

What bounds it: launches, or memory. A block has 8 columns, as many as fill the 32 bytes that memory gives out at once,
and for each as many threads as there may be: so one block, and one launch, does for some thousand rows. Where there are
more, stretches of them are added up by many blocks, and their sums by another launch.
"""

from typing import Any, NamedTuple

from tinynet.backend.cuda.runtime.launch import Grid, Kernels, one_each

THREADS, COLUMNS = 1024, 8  # of a block, at most; the first as in column_sums.h
_ROWS_ALONE, _ROWS_SHARED = 64, 16  # for a thread: at most, if one block has all rows; if many have them

_cuda = Kernels("column_sums")


class Share(NamedTuple):
    """How the rows of a matrix are shared out: in stretches of so many rows."""

    grid: Grid
    rows: int
    stretches: int


def share(R: int, C: int) -> Share:
    """For a matrix (R,C), one launch of those that add up its stretches."""
    columns = min(COLUMNS, _power_of_two(C))
    lanes = min(THREADS // columns, _power_of_two(R))
    rows = max(1, R) if _ROWS_ALONE * lanes >= R else _ROWS_SHARED * lanes
    stretches = max(1, -(-R // rows))
    return Share(Grid((-(-C // columns), stretches, 1), (columns, lanes, 1)), rows, stretches)


def whole(R: int, C: int) -> Grid:
    """For a matrix (R,C), a grid in which one block has all rows of some columns, however many they are."""
    grid = share(R, C).grid
    return grid._replace(blocks=(grid.blocks[0], 1, 1))


def _power_of_two(size: int) -> int:
    """The first that is no less."""
    return 1 << max(0, size - 1).bit_length()


def column_sums(xp: Any, x: Any, factor: float = 1.0, out: Any = None) -> Any:
    """factor times the sum of the rows of x (R,C): (C), in `out` or a new array."""
    R, C = x.shape
    grid, rows, stretches = share(R, C)
    if stretches > 1:
        sums = xp.empty((stretches, C), x.dtype)
        _cuda.launch("column_sums", grid, x, sums, 1.0, R, C, rows)
        return column_sums(xp, sums, factor, out)
    sums = xp.empty(C, x.dtype) if out is None else out
    _cuda.launch("column_sums", grid, x, sums, factor, R, C, rows)
    return sums


def add_bias(y: Any, b: Any) -> None:
    """Add b (F) to every row of y (...,F), in place."""
    _cuda.launch("add_bias", one_each(y.size), y, b, y.size, b.size)
