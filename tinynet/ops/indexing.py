"""Selecting, joining and padding. Each gradient moves the elements of δy back to where they came from."""

import itertools
import math
from typing import Any

from tinynet.errors import ArgumentError, DeviceError, ShapeError
from tinynet.op import Array, Gradients, op
from tinynet.ops.axes import broadcast, one_axis
from tinynet.tensor import blank, stand_in


def _getitem_sizes(known: dict[str, Any], index: Any) -> dict[str, Any]:
    return {"...Y": blank(known["..."]).data[_unread(index)].shape}


def _unread(index: Any) -> Any:
    """`index` with arrays on a device replaced by zeros on the host, for the shape of the result alone."""
    if isinstance(index, tuple):
        return tuple(map(_unread, index))
    if not hasattr(index, "dtype"):
        return index
    host = stand_in(index)
    if host is not index and host.dtype == bool:
        raise DeviceError(f"getitem: index must not be a mask on a device, got booleans of shape {index.shape}: the "
                          "shape of the result is the number of true elements, and reading it would synchronise; "
                          "tn.ops.where(mask, x, 0) keeps the shape, or give the indices of the elements")
    return host


def _is_basic(index: Any) -> bool:
    """Whether `index` holds integers, slices, None and ... alone: no arrays, so no element is selected twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or isinstance(part, int | slice) for part in parts)


@op("x:any(...) -> y:any(...Y)", sizes=_getitem_sizes, flops=0,
    keeps=lambda s: 0 if _is_basic(s["index"]) else math.prod(s["...Y"]),
    cases=[{"...": (3, 4), "index": 1}, {"...": (5, 4), "index": (slice(None, None, -2), slice(1, 3))},
           {"...": (3, 4), "index": (None, Ellipsis, 0)}, {"...": (5, 2), "index": [0, 3, 3, 0]},
           {"...": (4, 3), "index": ([0, 1, 0], [2, 2, 2])}])
def getitem(xp: Any, x: Array, index: Any) -> tuple[Array, Any]:
    """Selected elements, x[index], by NumPy's rules. Arrays in the index are on the device of x.

    On a GPU an index out of range is no error, and masks are refused. If arrays select an element more than once, the
    order of the sum in (2) is not fixed on a GPU: its last bits may differ from run to run.

    Shapes    x (...)  →  y (...Y)
    Forward   (1)  y = x[index]
    Backward  (2)  δx[index] += δy, from δx = 0
    Because   ∂y/∂x = 1 between an element and each of its copies, so δx is the sum of δy over the copies
    Cache     the shape of x and the index

    >>> import tinynet as tn
    >>> tn.Tensor([1.0, 2.0, 3.0])[1:].numpy()
    array([2., 3.], dtype=float32)
    """
    return x[index], (x.shape, index)  # (1)


@getitem.gradient
def dgetitem(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    shape, index = cache
    dx = xp.zeros(shape, dy.dtype)
    if _is_basic(index):
        dx[index] = dy  # (2)
    else:
        xp.add.at(dx, index, dy)
    return dx


def _take_sizes(known: dict[str, Any], axis: int = -1) -> dict[str, Any]:
    shape, places = known["..."], known["...I"]
    at = one_axis("take_along_axis", axis, len(shape))
    if len(shape) != len(places):
        raise ShapeError(f"take_along_axis: indices must have as many axes as x, got {places} for x of {shape}; "
                         "tn.ops.expand_dims(indices, axis)?")
    others = [size if i != at else 1 for i, size in enumerate(shape)]
    return {"...Y": broadcast("take_along_axis", tuple(others), places)}


def _check_indices(x: Array, indices: Array, *, sizes: dict[str, Any], axis: int = -1) -> None:
    n = x.shape[axis]
    if indices.size and not -n <= indices.min() <= indices.max() < n:
        raise ArgumentError(f"take_along_axis: indices must be in [{-n}, {n}) for {n} elements along axis {axis}, got "
                            f"values from {indices.min()} to {indices.max()}; is it another axis?")


@op("x:any(...) indices:int(...I) -> y:any(...Y)", sizes=_take_sizes, check=_check_indices, flops=0,
    keeps=lambda s: math.prod(s["...Y"]),
    cases=[{"...": (3, 4), "...I": (3, 2), "indices": [[0, 3], [1, 1], [-1, 0]]},
           {"...": (3, 2), "...I": (4, 2), "indices": [[0, 2], [1, 1], [2, 0], [0, 0]], "axis": 0},
           {"...": (2, 2, 2), "...I": (2, 1, 3), "indices": [[[1, 0, 1]], [[0, 0, 1]]]},
           {"...": (2, 1, 2), "...I": (2, 3, 1), "indices": [[[1], [0], [1]], [[1], [1], [0]]]}])
def take_along_axis(xp: Any, x: Array, indices: Array, *, axis: int = -1) -> tuple[Array, Any]:
    """Elements along an axis, chosen at each place of the other axes on their own: those of `argmax`, for example.

    x and indices have the same number of axes; those other than `axis` broadcast. `torch.gather` does the same. If an
    element is taken more than once, the order of the sum in (2) is not fixed on a GPU, as for `getitem`.

    Shapes    x (...) · indices (...I) of integers  →  y (...Y)
    Forward   (1)  y[i, ..., j, ...] = x[i, ..., indices[i, ..., j, ...], ...]        j along `axis`
    Backward  (2)  δx at each of these elements += δy, from δx = 0
    Because   ∂y/∂x = 1 between an element and each of its copies, so δx is the sum of δy over the copies
    Cache     the shape of x, and an index of all axes

    >>> import tinynet as tn
    >>> x = tn.Tensor([[1.0, 3.0, 2.0], [6.0, 4.0, 5.0]])
    >>> tn.ops.take_along_axis(x, tn.ops.expand_dims(x.argmax(axis=1), 1)).numpy()
    array([[3.],
           [6.]], dtype=float32)
    """
    at = axis % x.ndim
    places = [xp.arange(n).reshape([-1 if i == j else 1 for j in range(x.ndim)]) for i, n in enumerate(x.shape)]
    index = tuple(indices if i == at else place for i, place in enumerate(places))
    return x[index], (x.shape, index)  # (1)


@take_along_axis.gradient
def dtake_along_axis(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Gradients:
    shape, index = cache
    dx = xp.zeros(shape, dy.dtype)
    xp.add.at(dx, index, dy)  # (2)
    return dx, None


def _concatenate_sizes(known: dict[str, Any], axis: int = 0) -> dict[str, Any]:
    shapes = known["*xs"]
    first = shapes[0] if shapes else ()
    if not -len(first) <= axis < len(first):
        raise ArgumentError(f"concatenate: axis must be an axis of the arrays, got axis = {axis} for "
                            f"{len(shapes)} arrays, the first of shape {first}; tn.ops.stack makes a new axis")
    rests = {(len(shape), *shape[: axis % len(first)], *shape[axis % len(first) + 1 :]) for shape in shapes}
    if len(rests) > 1:
        raise ShapeError(f"concatenate: xs must have equal shapes except on axis {axis}, got {shapes}; "
                         "reshape or slice them first")
    joined = list(first)
    joined[axis] = sum(shape[axis] for shape in shapes)
    return {"...Y": tuple(joined)}


@op("*xs:any(...) -> y:any(...Y)", sizes=_concatenate_sizes, flops=0,
    cases=[{"*xs": [(2, 3), (4, 3)]}, {"*xs": [(2, 3), (2, 1), (2, 2)], "axis": 1}, {"*xs": [(2, 3, 1)], "axis": -1}])
def concatenate(xp: Any, *xs: Array, axis: int = 0) -> tuple[Array, Any]:
    """Arrays joined along an existing axis. Takes a list, or the arrays as arguments.

    Shapes    xs (...), equal except on `axis`  →  y (...Y)
    Forward   (1)  y = x₁, x₂, ... along `axis`
    Backward  (2)  δxᵢ = the part of δy at the place of xᵢ
    Because   each element of y is one of some xᵢ, with ∂y/∂xᵢ = 1
    Cache     the sizes along `axis`, and axis

    >>> import tinynet as tn
    >>> tn.ops.concatenate([tn.Tensor([1.0]), tn.Tensor([2.0, 3.0])]).numpy()
    array([1., 2., 3.], dtype=float32)
    """
    return xp.concatenate(xs, axis=axis), ([x.shape[axis] for x in xs], axis)  # (1)


@concatenate.gradient
def dconcatenate(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Gradients:
    sizes, axis = cache
    ends = list(itertools.accumulate(sizes))
    return tuple(xp.split(dy, ends[:-1], axis=axis))  # (2)


def _pad_widths(width: Any, rank: int) -> tuple[tuple[int, int], ...]:
    """(before, after) for each axis, from a number, a pair, or a pair for each axis; negative for another value."""
    if isinstance(width, tuple | list) and len(width) == 2 and all(map(_is_size, width)):
        return ((width[0], width[1]),) * rank
    pairs = width if isinstance(width, tuple | list) else ((width, width),) * max(rank, 1)
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 and all(map(_is_size, pair)) for pair in pairs):
        return ((-1, -1),)
    return tuple((before, after) for before, after in pairs)[:rank if pairs is not width else None]


def _is_size(n: Any) -> bool:
    return isinstance(n, int) and not isinstance(n, bool) and n >= 0


def _pad_sizes(known: dict[str, Any], width: Any, value: float = 0.0) -> dict[str, Any]:
    shape = known["..."]
    widths = _pad_widths(width, len(shape))
    if len(widths) != len(shape) or not shape or any(n < 0 for pair in widths for n in pair):
        raise ArgumentError(f"pad: width must be a number, a pair, or a pair (before, after) for each of the "
                            f"{len(shape)} axes, at least 0, got {width}; (0, 0) leaves an axis as it is")
    return {"...Y": tuple(before + size + after for size, (before, after) in zip(shape, widths, strict=True))}


@op("x:any(...) -> y:any(...Y)", sizes=_pad_sizes,
    flops=0, cases=[{"...": (3, 4), "width": 1}, {"...": (3, 4), "width": ((0, 2), (1, 0)), "value": 7.0},
           {"...": (2, 3, 2), "width": (1, 2)}])
def pad(xp: Any, x: Array, width: int | tuple[Any, ...], *, value: float = 0.0) -> tuple[Array, Any]:
    """x with a margin of a constant value.

    `width` is a number, a pair (before, after) for all axes, or a pair for each axis.

    Shapes    x (...)  →  y (...Y)
    Forward   (1)  y = x inside, value in the margin
    Backward  (2)  δx = δy inside
    Because   ∂y/∂x = 1 inside; the margin does not depend on x
    Cache     the slices of the inside

    >>> import tinynet as tn
    >>> tn.ops.pad(tn.Tensor([1.0, 2.0]), (1, 0)).numpy()
    array([0., 1., 2.], dtype=float32)
    """
    widths = _pad_widths(width, x.ndim)
    inside = tuple(slice(before, before + size) for size, (before, _) in zip(x.shape, widths, strict=True))
    return xp.pad(x, widths, constant_values=value), inside  # (1)


@pad.gradient
def dpad(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    return dy[cache]  # (2)
