"""Sums over the rows of a matrix, in columns.cu: they give the gradients of biases, means, and losses."""

from typing import Any

from tinynet.backend.cuda.launch import Grid, Kernels, one_each

COLUMNS, LANES, STRETCH = 32, 8, 512  # as in columns.h

_cuda = Kernels("columns")


def stretches(R: int) -> int:
    """How many blocks share R rows."""
    return max(1, -(-R // STRETCH))


def column_grid(R: int, C: int) -> Grid:
    """Blocks of 32 columns and a stretch of rows."""
    return Grid((-(-C // COLUMNS), stretches(R), 1), (COLUMNS, LANES, 1))


def column_sums(xp: Any, x: Any, factor: float = 1.0) -> Any:
    """factor times the sum of the rows of x (R,C): (C). Stretch by stretch, until one is left."""
    while True:
        R, C = x.shape
        sums = xp.empty((stretches(R), C), x.dtype)
        last = len(sums) == 1
        _cuda.launch("column_sums", column_grid(R, C), x, sums, factor if last else 1.0, R, C)
        if last:
            return sums[0]
        x = sums


def add_bias(y: Any, b: Any) -> None:
    """Add b (F) to every row of y (...,F), in place."""
    _cuda.launch("add_bias", one_each(y.size), y, b, y.size, b.size)
