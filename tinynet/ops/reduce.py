"""Reductions over one axis, several, or all (axis=None), under NumPy's names."""

import math
from numbers import Integral
from typing import Any

from tinynet.errors import ArgumentError, ShapeError
from tinynet.op import op

_CASES: list[dict[str, Any]] = [
    {"...": (3, 4)}, {"...": (3, 4, 2), "axis": 1}, {"...": (3, 4), "axis": -1, "keepdims": True},
    {"...": (2, 3, 4), "axis": (0, 2)}, {"...": ()}, {"...": (1, 5), "axis": 0}]
_DISTINCT = [{**case, "x": "distinct"} for case in _CASES]


def axes_of(name: str, axis: Any, rank: int) -> tuple[int, ...]:
    """The axes to reduce, as a sorted tuple."""
    listed = range(rank) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    for one in listed:
        if not isinstance(one, Integral) or not -rank <= int(one) < rank:
            raise ArgumentError(f"{name}: axis must be None or in [-{rank}, {rank}) for an array of {rank} axes, got "
                                f"{axis}; axis=-1 is the last one")
    return tuple(sorted({int(one) % rank for one in listed}))


def _kept(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with 1 for each reduced axis."""
    return tuple(1 if i in axes else size for i, size in enumerate(shape))


def _reduced(name: str, *, empty: bool = False) -> Any:
    """What computes the output's shape; `empty` tells whether a reduction of nothing has a value."""
    def sizes(known: dict[str, Any], axis: Any = None, keepdims: bool = False) -> dict[str, Any]:
        shape = known["..."]
        axes = axes_of(name, axis, len(shape))
        if not empty and math.prod(shape[i] for i in axes) == 0:
            raise ShapeError(f"{name}: x must have elements to reduce, got shape {shape} over axes {axes}; "
                             "leave empty batches out")
        result = _kept(shape, axes) if keepdims else tuple(s for i, s in enumerate(shape) if i not in axes)
        return {"...Y": result}
    return sizes


@op("x:any(...) -> y:any(...Y)", sizes=_reduced("sum", empty=True), cases=_CASES)
def sum(xp: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """The sum of elements.

    Shapes    x (...)  →  y (...Y): without the reduced axes, or with 1 for each (keepdims)
    Forward   (1)  y = Σ x
    Backward  (2)  δx = δy at every element of the sum
    Cache     the shape of x and the axes

    >>> import tinynet as tn
    >>> tn.ops.sum(tn.Tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0).numpy()
    array([4., 6.], dtype=float32)
    """
    axes = axes_of("sum", axis, x.ndim)
    return x.sum(axis=axes, keepdims=keepdims), (x.shape, axes)  # (1)


@sum.gradient
def dsum(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    shape, axes = cache
    return xp.broadcast_to(dy.reshape(_kept(shape, axes)), shape)  # (2)


@op("x:any(...) -> y:any(...Y)", sizes=_reduced("mean"), cases=_CASES)
def mean(xp: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean of elements.

    Shapes    x (...)  →  y (...Y): without the reduced axes, or with 1 for each (keepdims)
    Forward   (1)  y = Σ x / R        over R elements
    Backward  (2)  δx = δy / R at every element of the mean
    Cache     the shape of x and the axes

    >>> import tinynet as tn
    >>> tn.ops.mean(tn.Tensor([[1.0, 2.0], [3.0, 4.0]])).item()
    2.5
    """
    axes = axes_of("mean", axis, x.ndim)
    return x.mean(axis=axes, keepdims=keepdims), (x.shape, axes)  # (1)


@mean.gradient
def dmean(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    shape, axes = cache
    R = math.prod(shape[i] for i in axes)
    return xp.broadcast_to((dy / R).reshape(_kept(shape, axes)), shape)  # (2)


@op("x:(...) -> y:(...Y)", sizes=_reduced("var"), cases=_CASES)
def var(xp: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """The variance of elements as a population: divided by their number, not by one less.

    Shapes    x (...)  →  y (...Y): without the reduced axes, or with 1 for each (keepdims)
    Forward   (1)  y = Σ (x − μ)² / R        over R elements with the mean μ
    Backward  (2)  δx = δy 2 (x − μ) / R     μ moves too, but Σ (x − μ) = 0 leaves nothing of that
    Cache     x − μ and the axes

    >>> import tinynet as tn
    >>> tn.ops.var(tn.Tensor([1.0, 2.0, 3.0, 4.0])).item()
    1.25
    """
    axes = axes_of("var", axis, x.ndim)
    centred = x - x.mean(axis=axes, keepdims=True)
    y = (centred * centred).mean(axis=axes, keepdims=keepdims)  # (1)
    return y, (centred, axes)


@var.gradient
def dvar(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    centred, axes = cache
    R = math.prod(centred.shape[i] for i in axes)
    return dy.reshape(_kept(centred.shape, axes)) * centred * (2 / R)  # (2)


def _first(xp: Any, x: Any, axes: tuple[int, ...], which: str) -> Any:
    """A boolean array, True at the first largest (or smallest) element of each group that `axes` reduce."""
    kept = [i for i in range(x.ndim) if i not in axes]
    rows = x.transpose(*kept, *axes).reshape(*[x.shape[i] for i in kept], -1)  # (kept..., R)
    index = xp.expand_dims(getattr(rows, which)(axis=-1), -1)
    first = xp.arange(rows.shape[-1]) == index
    back = sorted(range(x.ndim), key=[*kept, *axes].__getitem__)
    return first.reshape([x.shape[i] for i in [*kept, *axes]]).transpose(back)  # as x


@op("x:any(...) -> y:any(...Y)", sizes=_reduced("max"), analytic=False, cases=_DISTINCT)
def max(xp: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """The largest element.

    Shapes    x (...)  →  y (...Y): without the reduced axes, or with 1 for each (keepdims)
    Forward   (1)  y = max x
    Backward  (2)  δx = δy at the first element that is the largest, else 0
    Cache     where the first largest elements are, and the axes

    >>> import tinynet as tn
    >>> tn.ops.max(tn.Tensor([[1.0, 2.0], [3.0, 0.0]]), axis=1).numpy()
    array([2., 3.], dtype=float32)
    """
    axes = axes_of("max", axis, x.ndim)
    return x.max(axis=axes, keepdims=keepdims), (_first(xp, x, axes, "argmax"), axes)  # (1)


@max.gradient
def dmax(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    first, axes = cache
    return dy.reshape(_kept(first.shape, axes)) * first  # (2)


@op("x:any(...) -> y:any(...Y)", sizes=_reduced("min"), analytic=False, cases=_DISTINCT)
def min(xp: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """The smallest element.

    Shapes    x (...)  →  y (...Y): without the reduced axes, or with 1 for each (keepdims)
    Forward   (1)  y = min x
    Backward  (2)  δx = δy at the first element that is the smallest, else 0
    Cache     where the first smallest elements are, and the axes

    >>> import tinynet as tn
    >>> tn.ops.min(tn.Tensor([[1.0, 2.0], [3.0, 0.0]]), axis=1).numpy()
    array([1., 0.], dtype=float32)
    """
    axes = axes_of("min", axis, x.ndim)
    return x.min(axis=axes, keepdims=keepdims), (_first(xp, x, axes, "argmin"), axes)  # (1)


@min.gradient
def dmin(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    first, axes = cache
    return dy.reshape(_kept(first.shape, axes)) * first  # (2)
