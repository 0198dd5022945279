"""Axes: the shape of a broadcast, the sum that undoes one, and the axes of a reduction."""

from numbers import Integral
from typing import Any

from tinynet.errors import ArgumentError, ShapeError
from tinynet.types import Array, Axes, Shape


def broadcast(op: str, *shapes: Shape) -> Shape:
    """The shape that arrays of these shapes broadcast to. ShapeError if sizes on one axis differ and neither is 1."""
    rank = max(map(len, shapes))
    result: list[int] = []
    for sizes in zip(*[(1,) * (rank - len(shape)) + shape for shape in shapes], strict=True):
        wide = {size for size in sizes if size != 1}
        if len(wide) > 1:
            listed = " and ".join("(" + ",".join(map(str, shape)) + ")" for shape in shapes)
            raise ShapeError(f"{op}: shapes must be equal or 1 on every axis, counted from the last, got {listed}; "
                             "reshape one, or index it with None where an axis is missing")
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def broadcasting(name: str, runs: tuple[str, ...] = ("...A", "...B")) -> Any:
    """The rule for an output of shape (...Y): these runs of axes of the inputs, broadcast."""
    def sizes(known: dict[str, Any]) -> dict[str, Any]:
        return {"...Y": broadcast(name, *(known[run] for run in runs))}
    return sizes


def unbroadcast(xp: Any, dy: Array, shape: Shape) -> Array:
    """Sum `dy` over the axes along which an array of `shape` was broadcast: the gradient of that array."""
    if dy.shape == shape:
        return dy
    extra = dy.ndim - len(shape)
    axes = (*range(extra), *(i + extra for i, size in enumerate(shape) if size == 1))
    return dy.sum(axis=axes).reshape(shape)


def axes_of(name: str, axis: Axes, rank: int) -> tuple[int, ...]:
    """The axes that `axis` (None, an int, a tuple or a list) names in an array of `rank` axes, as sorted numbers."""
    listed = range(rank) if axis is None else axis if isinstance(axis, tuple | list) else (axis,)
    for one in listed:
        if not isinstance(one, Integral) or isinstance(one, bool) or not -rank <= int(one) < rank:
            raise ArgumentError(f"{name}: axis must be None or in [-{rank}, {rank}) for an array of {rank} axes, got "
                                f"{axis}; axis=-1 is the last one")
    axes = {int(one) % rank for one in listed}
    if len(axes) < len(listed):
        raise ArgumentError(f"{name}: axis must name each axis once, got {axis} for an array of {rank} axes; "
                            f"axis={tuple(sorted(axes))}?")
    return tuple(sorted(axes))


def one_axis(name: str, axis: Any, rank: int) -> int:
    """The axis that `axis`, an integer, names in an array of `rank` axes, as a number from 0."""
    if axis is None or isinstance(axis, tuple | list):
        raise ArgumentError(f"{name}: axis must be one integer in [-{rank}, {rank}), got {axis}; axis=-1 is the last "
                            "one, x.reshape joins axes")
    return axes_of(name, axis, rank)[0]


def kept(shape: Shape, axes: tuple[int, ...]) -> Shape:
    """`shape` with 1 for each reduced axis."""
    return tuple(1 if i in axes else size for i, size in enumerate(shape))
