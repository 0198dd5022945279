"""Reductions over one axis, several, or all (axis=None), with the names of NumPy."""

import math
from typing import Any

from tinynet.errors import ShapeError
from tinynet.op import Array, Op, op
from tinynet.ops.axes import axes_of, kept
from tinynet.types import Axes

_CASES: list[dict[str, Any]] = [{"...": (3, 4)}, {"...": (3, 4, 2), "axis": 1}, {"...": (1, 5), "axis": 0}, {"...": ()},
                                {"...": (3, 4), "axis": -1, "keepdims": True}, {"...": (2, 3, 4), "axis": (0, 2)}]
_DISTINCT = [{**case, "x": "distinct"} for case in _CASES]


class _Sum(Op[Any]):
    """A sum or mean, whose dtype for booleans or integers is another: that of the sum or mean of one number."""

    def blanks(self, arrays: Any, sizes: Any, options: dict[str, Any]) -> Any:
        number = arrays[0].dtype.type(0)
        return super().blanks(arrays, sizes, {**options, "dtype": getattr(number, self.name)().dtype})


def _reduced(name: str, *, empty: bool = False) -> Any:
    """The rule for the shape of the output; `empty` tells whether a reduction of no elements has a value."""
    def sizes(known: dict[str, Any], axis: Any = None, keepdims: bool = False) -> dict[str, Any]:
        shape = known["..."]
        axes = axes_of(name, axis, len(shape))
        if not empty and math.prod(shape[i] for i in axes) == 0:
            raise ShapeError(f"{name}: x must have elements to reduce, got shape {shape} over axes {axes}; "
                             "skip empty batches")
        return {"...Y": kept(shape, axes) if keepdims else tuple(n for i, n in enumerate(shape) if i not in axes)}
    return sizes


@op("x:any(...) -> y:any(...Y)", sizes=_reduced("sum", empty=True), flops=1, cases=_CASES, kind=_Sum)
def sum(xp: Any, x: Array, *, axis: Axes = None, keepdims: bool = False) -> tuple[Array, Any]:
    """The sum over axes.

    Shapes    x (...)  →  y (...Y): without the reduced axes, or with 1 for each (keepdims)
    Forward   (1)  y = Σ x
    Backward  (2)  δx = δy
    Because   ∂y/∂x = 1 for each x in the sum
    Cache     the shape of x and the axes

    >>> import tinynet as tn
    >>> tn.ops.sum(tn.Tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0).numpy()
    array([4., 6.], dtype=float32)
    """
    axes = axes_of("sum", axis, x.ndim)
    return x.sum(axis=axes, keepdims=keepdims), (x.shape, axes)  # (1)


@sum.gradient
def dsum(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    shape, axes = cache
    return xp.broadcast_to(dy.reshape(kept(shape, axes)), shape)  # (2)


@op("x:any(...) -> y:any(...Y)", sizes=_reduced("mean"), flops=1, cases=_CASES, kind=_Sum)
def mean(xp: Any, x: Array, *, axis: Axes = None, keepdims: bool = False) -> tuple[Array, Any]:
    """The mean over axes.

    Shapes    x (...)  →  y (...Y): without the reduced axes, or with 1 for each (keepdims)
    Forward   (1)  y = Σ x / R        over R elements
    Backward  (2)  δx = δy / R
    Because   ∂y/∂x = 1 / R for each x in the mean
    Cache     the shape of x and the axes

    >>> import tinynet as tn
    >>> tn.ops.mean(tn.Tensor([[1.0, 2.0], [3.0, 4.0]])).item()
    2.5
    """
    axes = axes_of("mean", axis, x.ndim)
    return x.mean(axis=axes, keepdims=keepdims), (x.shape, axes)  # (1)


@mean.gradient
def dmean(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    shape, axes = cache
    R = math.prod(shape[i] for i in axes)
    return xp.broadcast_to((dy / R).reshape(kept(shape, axes)), shape)  # (2)


@op("x:(...) -> y:(...Y)", sizes=_reduced("var"), flops=4, cases=_CASES)
def var(xp: Any, x: Array, *, axis: Axes = None, keepdims: bool = False) -> tuple[Array, Any]:
    """The population variance over axes: divided by R, not by R − 1.

    Shapes    x (...)  →  y (...Y): without the reduced axes, or with 1 for each (keepdims)
    Forward   (1)  y = Σ (x − μ)² / R        over R elements, μ their mean
    Backward  (2)  δx = δy 2 (x − μ) / R
    Because   ∂y/∂xⱼ = Σᵢ 2 (xᵢ − μ) (1[i=j] − 1 / R) / R, for μ depends on xⱼ too; but Σᵢ (xᵢ − μ) = 0
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
def dvar(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    centred, axes = cache
    R = math.prod(centred.shape[i] for i in axes)
    return dy.reshape(kept(centred.shape, axes)) * centred * (2 / R)  # (2)


def _first(xp: Any, x: Array, axes: tuple[int, ...], which: str) -> Array:
    """A boolean array like x, True at the first maximum (argmax) or minimum (argmin) of the elements along `axes`."""
    others = [i for i in range(x.ndim) if i not in axes]
    R = math.prod(x.shape[i] for i in axes)
    rows = x.transpose(*others, *axes).reshape(*[x.shape[i] for i in others], R)  # (others..., R)
    index = xp.expand_dims(getattr(rows, which)(axis=-1), -1)
    first = xp.arange(rows.shape[-1]) == index
    back = sorted(range(x.ndim), key=[*others, *axes].__getitem__)
    return first.reshape([x.shape[i] for i in [*others, *axes]]).transpose(back)  # as x


@op("x:any(...) -> y:any(...Y)", sizes=_reduced("max"), analytic=False, flops=1, cases=_DISTINCT)
def max(xp: Any, x: Array, *, axis: Axes = None, keepdims: bool = False) -> tuple[Array, Any]:
    """The maximum over axes.

    Shapes    x (...)  →  y (...Y): without the reduced axes, or with 1 for each (keepdims)
    Forward   (1)  y = max x
    Backward  (2)  δx = δy at the first maximum, else 0
    Because   y copies one x: ∂y/∂x = 1 for this x, 0 for the others; of equal ones, the first counts
    Cache     where the first maxima are, and the axes

    >>> import tinynet as tn
    >>> tn.ops.max(tn.Tensor([[1.0, 2.0], [3.0, 0.0]]), axis=1).numpy()
    array([2., 3.], dtype=float32)
    """
    axes = axes_of("max", axis, x.ndim)
    return x.max(axis=axes, keepdims=keepdims), (_first(xp, x, axes, "argmax"), axes)  # (1)


@max.gradient
def dmax(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    first, axes = cache
    return xp.where(first, dy.reshape(kept(first.shape, axes)), xp.zeros((), dy.dtype))  # (2)


@op("x:any(...) -> y:any(...Y)", sizes=_reduced("min"), analytic=False, flops=1, cases=_DISTINCT)
def min(xp: Any, x: Array, *, axis: Axes = None, keepdims: bool = False) -> tuple[Array, Any]:
    """The minimum over axes.

    Shapes    x (...)  →  y (...Y): without the reduced axes, or with 1 for each (keepdims)
    Forward   (1)  y = min x
    Backward  (2)  δx = δy at the first minimum, else 0
    Because   as for max: y copies one x, with ∂y/∂x = 1
    Cache     where the first minima are, and the axes

    >>> import tinynet as tn
    >>> tn.ops.min(tn.Tensor([[1.0, 2.0], [3.0, 0.0]]), axis=1).numpy()
    array([1., 0.], dtype=float32)
    """
    axes = axes_of("min", axis, x.ndim)
    return x.min(axis=axes, keepdims=keepdims), (_first(xp, x, axes, "argmin"), axes)  # (1)


min.gradient(dmax)  # (2), on a cache with the same parts


@op("x:(...) -> y:(...Y)", sizes=_reduced("logsumexp"), flops=3, cases=_CASES)
def logsumexp(xp: Any, x: Array, *, axis: Axes = None, keepdims: bool = False) -> tuple[Array, Any]:
    """The logarithm of the sum of exponentials over axes: a smooth maximum. No exponential overflows.

    Elements of −∞ count nothing; if there are no others, y is −∞ and the gradient 0.

    Shapes    x (...)  →  y (...Y): without the reduced axes, or with 1 for each (keepdims)
    Forward   (1)  y = ln Σ eˣ = m + ln(1 + Σ' e^(x − m))        m the first maximum, which Σ' leaves out
    Backward  (2)  δx = δy e^(x − y)
    Because   ∂y/∂x = eˣ / Σ eˣ = e^(x − y), the softmax of x; and eᵐ Σ e^(x − m) = Σ eˣ, where m has the term 1
    Cache     x, y and the axes

    >>> import tinynet as tn
    >>> tn.ops.logsumexp(tn.Tensor([[0.0, 0.0], [100.0, 0.0]]), axis=1).numpy().round(4)
    array([  0.6931, 100.    ], dtype=float32)
    """
    axes, zero = axes_of("logsumexp", axis, x.ndim), xp.zeros((), x.dtype)
    first = _first(xp, x.real, axes, "argmax")
    m = xp.where(first, x, zero).sum(axis=axes, keepdims=True)
    shift = xp.where(abs(m.real) == math.inf, zero, m)
    rest = xp.where(first, zero, xp.exp(x - shift)).sum(axis=axes, keepdims=True)
    y = m + xp.log1p(rest)  # (1)
    return y if keepdims else y.reshape([n for i, n in enumerate(x.shape) if i not in axes]), (x, y, axes)


@logsumexp.gradient
def dlogsumexp(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    x, y, axes = cache
    shares = xp.exp(x - xp.where(y == -math.inf, xp.zeros((), y.dtype), y))  # e^−∞ = 0 where all are −∞
    return dy.reshape(kept(x.shape, axes)) * shares  # (2)
