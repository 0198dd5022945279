"""The elements of x in another shape, order of axes or dtype. Each gradient restores those of x."""

import math
from typing import Any

from tinynet.errors import ArgumentError, DtypeError, ShapeError
from tinynet.op import Array, op
from tinynet.plain import kind_of
from tinynet.types import DTypeLike, Shape


def _reshape_sizes(known: dict[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    before = known["..."]
    size, rest = math.prod(before), math.prod(n for n in shape if n != -1)
    if list(shape).count(-1) == 1 and rest and size % rest == 0:
        return {"...Y": tuple(size // rest if n == -1 else n for n in shape)}
    if -1 in shape or size != rest:
        raise ShapeError(f"reshape: shape must have as many elements as x, {size} in {before}, got {tuple(shape)}; "
                         "-1 at most once, for the remaining size")
    return {"...Y": tuple(shape)}


@op("x:any(...) -> y:any(...Y)", sizes=_reshape_sizes,
    flops=0, keeps=0,
    cases=[{"...": (3, 4), "shape": (2, 6)}, {"...": (2, 3, 4), "shape": (-1, 4)}, {"...": (1,), "shape": ()}])
def reshape(xp: Any, x: Array, shape: Shape) -> tuple[Array, Any]:
    """The elements of x, in the same order, in another shape. One size may be -1: it is computed from the others.

    Shapes    x (...)  →  y (...Y), the same number of elements
    Forward   (1)  y = x
    Backward  (2)  δx = δy, in the shape of x
    Because   y holds the elements of x in the same order: ∂y/∂x = 1 between elements at equal positions
    Cache     the shape of x

    >>> import tinynet as tn
    >>> tn.ops.reshape(tn.Tensor([1.0, 2.0, 3.0, 4.0]), (2, -1)).numpy()
    array([[1., 2.],
           [3., 4.]], dtype=float32)
    """
    return x.reshape(shape), x.shape  # (1)


@reshape.gradient
def dreshape(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    return dy.reshape(cache)  # (2)


def _transpose_sizes(known: dict[str, Any], axes: tuple[int, ...]) -> dict[str, Any]:
    shape = known["..."]
    rank = len(shape)
    if sorted(axis % rank if -rank <= axis < rank else rank for axis in axes) != list(range(rank)):
        raise ArgumentError(f"transpose: axes must name each of the {rank} axes of x once, got {tuple(axes)}; "
                            "x.T reverses all axes")
    return {"...Y": tuple(shape[axis] for axis in axes)}


@op("x:any(...) -> y:any(...Y)", sizes=_transpose_sizes,
    flops=0, keeps=0, cases=[{"...": (3, 4), "axes": (1, 0)}, {"...": (2, 3, 4), "axes": (2, 0, 1)},
           {"...": (2, 3, 4), "axes": (-1, 0, 1)}])
def transpose(xp: Any, x: Array, axes: tuple[int, ...]) -> tuple[Array, Any]:
    """x with permuted axes: axis i of y is axis `axes[i]` of x.

    Shapes    x (...)  →  y (...Y)
    Forward   (1)  y = x, its axes in the order `axes`
    Backward  (2)  δx = δy, its axes in the order of x
    Because   each element of y is one of x: ∂y/∂x = 1 between the two, so δy moves back by the inverse permutation
    Cache     the axes

    >>> import tinynet as tn
    >>> tn.ops.transpose(tn.Tensor([[1.0, 2.0]]), (1, 0)).shape
    (2, 1)
    """
    return x.transpose(axes), axes  # (1)


@transpose.gradient
def dtranspose(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    order = [axis % dy.ndim for axis in cache]
    return dy.transpose([order.index(axis) for axis in range(dy.ndim)])  # (2)


def _check_dtype(known: dict[str, Any], dtype: DTypeLike) -> dict[str, Any]:
    if kind_of(dtype) not in tuple("fciub"):
        raise DtypeError(f'astype: dtype must be one of numbers, such as "float32" or "int64", got {dtype!r}; '
                         'x.astype("float32")?')
    return {}


@op("x:any(...) -> y:any(...)", sizes=_check_dtype, analytic=False, flops=0, cases=[{"dtype": "float64"}])
def astype(xp: Any, x: Array, dtype: DTypeLike) -> tuple[Array, Any]:
    """x in another dtype.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = x, rounded to dtype
    Backward  (2)  δx = δy, rounded to the dtype of x
    Because   rounding is treated as the identity, ∂y/∂x = 1
    Cache     the dtype of x

    >>> import tinynet as tn
    >>> tn.Tensor([1, 2]).astype("float32").dtype
    dtype('float32')
    """
    return x.astype(dtype), x.dtype  # (1)


@astype.gradient
def dastype(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    return dy.astype(cache)  # (2)
