"""Elementwise arithmetic. Two inputs broadcast, by NumPy's rules.

An element of an input that is broadcast occurs at several places of the result. Its gradient is the sum over those
places, which `unbroadcast` takes. The derivations below are of one place.
"""

import math
from typing import Any

from tinynet.errors import ArgumentError
from tinynet.op import Array, Gradients, Op, op
from tinynet.ops.axes import broadcasting, unbroadcast
from tinynet.ops.special import float_power
from tinynet.plain import plain
from tinynet.tensor import Tensor

_PAIRS: list[dict[str, Any]] = [{"...A": (3, 4), "...B": (3, 4)}, {"...A": (3, 1, 2, 1), "...B": (4, 1, 1)},
                                {"...A": (), "...B": (5,)}, {"...A": (2, 3), "...B": ()}]
_DISTINCT = [{**case, "a": "distinct", "b": "distinct between"} for case in _PAIRS]


@op("a:(...A) b:(...B) -> y:(...Y)", sizes=broadcasting("add"), flops=1, cases=_PAIRS)
def add(xp: Any, a: Array, b: Array) -> tuple[Array, Any]:
    """The sum of two arrays, elementwise.

    Shapes    a (...A) · b (...B)  →  y (...Y), broadcast
    Forward   (1)  y = a + b
    Backward  (2)  δa = δy
              (3)  δb = δy
    Because   ∂y/∂a = ∂y/∂b = 1
    Cache     the two shapes

    >>> import tinynet as tn
    >>> tn.ops.add(tn.Tensor([1.0, 2.0]), 3).numpy()
    array([4., 5.], dtype=float32)
    """
    return a + b, (a.shape, b.shape)  # (1)


@add.gradient
def dadd(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Gradients:
    shape_a, shape_b = cache
    da = unbroadcast(xp, dy, shape_a) if needs[0] else None  # (2)
    db = unbroadcast(xp, dy, shape_b) if needs[1] else None  # (3)
    return da, db


@op("a:(...A) b:(...B) -> y:(...Y)", sizes=broadcasting("subtract"), flops=1, cases=_PAIRS)
def subtract(xp: Any, a: Array, b: Array) -> tuple[Array, Any]:
    """The difference of two arrays, elementwise.

    Shapes    a (...A) · b (...B)  →  y (...Y), broadcast
    Forward   (1)  y = a − b
    Backward  (2)  δa = δy
              (3)  δb = −δy
    Because   ∂y/∂a = 1 and ∂y/∂b = −1
    Cache     the two shapes

    >>> import tinynet as tn
    >>> tn.ops.subtract(tn.Tensor([1.0, 2.0]), 3).numpy()
    array([-2., -1.], dtype=float32)
    """
    return a - b, (a.shape, b.shape)  # (1)


@subtract.gradient
def dsubtract(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Gradients:
    shape_a, shape_b = cache
    da = unbroadcast(xp, dy, shape_a) if needs[0] else None  # (2)
    db = unbroadcast(xp, -dy, shape_b) if needs[1] else None  # (3)
    return da, db


@op("a:(...A) b:(...B) -> y:(...Y)", sizes=broadcasting("multiply"), flops=1, cases=_PAIRS)
def multiply(xp: Any, a: Array, b: Array) -> tuple[Array, Any]:
    """The product of two arrays, elementwise.

    Shapes    a (...A) · b (...B)  →  y (...Y), broadcast
    Forward   (1)  y = a b
    Backward  (2)  δa = δy b
              (3)  δb = δy a
    Because   ∂y/∂a = b and ∂y/∂b = a
    Cache     a and b

    >>> import tinynet as tn
    >>> tn.ops.multiply(tn.Tensor([1.0, 2.0]), 3).numpy()
    array([3., 6.], dtype=float32)
    """
    return a * b, (a, b)  # (1)


@multiply.gradient
def dmultiply(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Gradients:
    a, b = cache
    da = unbroadcast(xp, dy * b, a.shape) if needs[0] else None  # (2)
    db = unbroadcast(xp, dy * a, b.shape) if needs[1] else None  # (3)
    return da, db


@op("a:(...A) b:(...B) -> y:(...Y)", sizes=broadcasting("divide"), flops=1,
    cases=[{**case, "b": "positive"} for case in _PAIRS])
def divide(xp: Any, a: Array, b: Array) -> tuple[Array, Any]:
    """The quotient of two arrays, elementwise.

    Shapes    a (...A) · b (...B)  →  y (...Y), broadcast
    Forward   (1)  y = a / b
    Backward  (2)  δa = δy / b
              (3)  δb = −δy y / b
    Because   ∂y/∂a = 1 / b and ∂y/∂b = −a / b² = −y / b
    Cache     the shape of a; b and y

    >>> import tinynet as tn
    >>> tn.ops.divide(tn.Tensor([1.0, 2.0]), 4).numpy()
    array([0.25, 0.5 ], dtype=float32)
    """
    y = a / b  # (1)
    return y, (a.shape, b, y)


@divide.gradient
def ddivide(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Gradients:
    shape_a, b, y = cache
    da = unbroadcast(xp, dy / b, shape_a) if needs[0] else None  # (2)
    db = unbroadcast(xp, -dy * y / b, b.shape) if needs[1] else None  # (3)
    return da, db


@op("a:(...A) b:(...B) -> y:(...Y)", sizes=broadcasting("maximum"), analytic=False, flops=1, cases=_DISTINCT)
def maximum(xp: Any, a: Array, b: Array) -> tuple[Array, Any]:
    """The larger of two arrays, elementwise.

    Shapes    a (...A) · b (...B)  →  y (...Y), broadcast
    Forward   (1)  y = a where a ≥ b, else b
    Backward  (2)  δa = δy where a ≥ b, else 0
              (3)  δb = δy where a < b, else 0
    Because   y copies a where a ≥ b and b elsewhere: ∂y/∂a is 1 or 0, and ∂y/∂b = 1 − ∂y/∂a; a tie counts as a
    Cache     where a ≥ b; the two shapes

    >>> import tinynet as tn
    >>> tn.ops.maximum(tn.Tensor([-1.0, 2.0]), 0).numpy()
    array([0., 2.], dtype=float32)
    """
    return xp.maximum(a, b), (a >= b, a.shape, b.shape)  # (1)


@maximum.gradient
def dmaximum(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Gradients:
    first, shape_a, shape_b = cache
    zero = xp.zeros((), dy.dtype)
    da = unbroadcast(xp, xp.where(first, dy, zero), shape_a) if needs[0] else None  # (2)
    db = unbroadcast(xp, xp.where(first, zero, dy), shape_b) if needs[1] else None  # (3)
    return da, db


@op("a:(...A) b:(...B) -> y:(...Y)", sizes=broadcasting("minimum"), analytic=False, flops=1, cases=_DISTINCT)
def minimum(xp: Any, a: Array, b: Array) -> tuple[Array, Any]:
    """The smaller of two arrays, elementwise.

    Shapes    a (...A) · b (...B)  →  y (...Y), broadcast
    Forward   (1)  y = a where a ≤ b, else b
    Backward  (2)  δa = δy where a ≤ b, else 0
              (3)  δb = δy where a > b, else 0
    Because   y copies a where a ≤ b and b elsewhere: ∂y/∂a is 1 or 0, and ∂y/∂b = 1 − ∂y/∂a; a tie counts as a
    Cache     where a ≤ b; the two shapes

    >>> import tinynet as tn
    >>> tn.ops.minimum(tn.Tensor([-1.0, 2.0]), 0).numpy()
    array([-1.,  0.], dtype=float32)
    """
    return xp.minimum(a, b), (a <= b, a.shape, b.shape)  # (1)


minimum.gradient(dmaximum)  # (2) (3), on a cache with the same parts


@op("condition:any(...P) a:(...A) b:(...B) -> y:(...Y)", sizes=broadcasting("where", ("...P", "...A", "...B")),
    flops=0, cases=[{"...P": (3, 4), "...A": (3, 4), "...B": (4,), "condition": "boolean"},
           {"...P": (3, 1), "...A": (), "...B": (1, 2), "condition": "boolean"}])
def where(xp: Any, condition: Array, a: Array, b: Array) -> tuple[Array, Any]:
    """Elements of a where `condition` is true, of b where it is false.

    Shapes    condition (...P) of booleans · a (...A) · b (...B)  →  y (...Y), broadcast
    Forward   (1)  y = a where condition, else b
    Backward  (2)  δa = δy where condition, else 0
              (3)  δb = 0 where condition, else δy
    Because   y copies a where the condition is true and b elsewhere: ∂y/∂a is 1 or 0, and ∂y/∂b = 1 − ∂y/∂a
    Cache     the condition; the shapes of a and b

    >>> import tinynet as tn
    >>> x = tn.Tensor([-1.0, 2.0])
    >>> tn.ops.where(x > 0, x, 0.1 * x).numpy()
    array([-0.1,  2. ], dtype=float32)
    """
    return xp.where(condition, a, b), (condition, a.shape, b.shape)  # (1)


@where.gradient
def dwhere(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Gradients:
    condition, shape_a, shape_b = cache
    zero = xp.zeros((), dy.dtype)
    da = unbroadcast(xp, xp.where(condition, dy, zero), shape_a) if needs[1] else None  # (2)
    db = unbroadcast(xp, xp.where(condition, zero, dy), shape_b) if needs[2] else None  # (3)
    return None, da, db


@op("x:(...) -> y:(...)", flops=1, cases=[{"...": (3, 4)}, {"...": ()}])
def negative(xp: Any, x: Array) -> tuple[Array, Any]:
    """The negative of x.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = −x
    Backward  (2)  δx = −δy
    Because   ∂y/∂x = −1
    Cache     nothing

    >>> import tinynet as tn
    >>> tn.ops.negative(tn.Tensor([1.0, -2.0])).numpy()
    array([-1.,  2.], dtype=float32)
    """
    return -x, None  # (1)


@negative.gradient
def dnegative(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    return -dy  # (2)


class _Power(Op[Tensor]):
    """The op `power`: with a tensor or an array as the exponent, its calls are calls of `float_power`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        exponent = plain(args[1] if len(args) > 1 else kwargs.get("exponent"))
        if isinstance(exponent, Tensor) or hasattr(exponent, "dtype"):
            return float_power(*args, **kwargs)
        return super().__call__(*args, **kwargs)


def _power_sizes(known: dict[str, Any], exponent: Any) -> dict[str, Any]:
    if isinstance(exponent, bool) or not isinstance(exponent, int | float):
        raise ArgumentError(f"power: exponent must be a number, a tensor or an array, got {exponent!r}; x**2?")
    return {}


@op("x:(...) -> y:(...)", sizes=_power_sizes, kind=_Power,
    flops=1, cases=[{"exponent": 3}, {"exponent": 0}, {"exponent": -0.5, "x": "positive"}, {"exponent": 1, "...": ()}])
def power(xp: Any, x: Array, exponent: float) -> tuple[Array, Any]:
    """x to the power of a number p, the exponent. For a tensor p, which may have a gradient, it is `float_power`.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = xᵖ
    Backward  (2)  δx = δy p xᵖ⁻¹;  0 for p = 0
    Because   ∂y/∂x = p xᵖ⁻¹; a constant (p = 0) has slope 0 also at x = 0, where 0 · 0⁻¹ would be NaN
    Cache     x and p

    >>> import tinynet as tn
    >>> tn.ops.power(tn.Tensor([1.0, 3.0]), 2).numpy()
    array([1., 9.], dtype=float32)
    """
    return x**exponent, (x, exponent)  # (1)


@power.gradient
def dpower(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    x, p = cache
    return dy * p * x ** (p - 1) if p else xp.zeros_like(dy)  # (2)


@op("x:(...) -> y:(...)", flops=1, cases=[{}, {"...": ()}])
def exp(xp: Any, x: Array) -> tuple[Array, Any]:
    """The exponential function.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = eˣ
    Backward  (2)  δx = δy y
    Because   ∂y/∂x = eˣ = y
    Cache     y

    >>> import tinynet as tn
    >>> tn.ops.exp(tn.Tensor([0.0, 1.0])).numpy().round(3)
    array([1.   , 2.718], dtype=float32)
    """
    y = xp.exp(x)  # (1)
    return y, y


@exp.gradient
def dexp(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    y = cache
    return dy * y  # (2)


@op("x:(...) -> y:(...)", flops=1, cases=[{"x": "positive"}, {"x": "positive", "...": ()}])
def log(xp: Any, x: Array) -> tuple[Array, Any]:
    """The natural logarithm.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = ln x
    Backward  (2)  δx = δy / x
    Because   x = eʸ has the derivative ∂x/∂y = eʸ = x, so ∂y/∂x = 1 / x
    Cache     x

    >>> import tinynet as tn
    >>> tn.ops.log(tn.Tensor([1.0, 2.0])).numpy().round(3)
    array([0.   , 0.693], dtype=float32)
    """
    return xp.log(x), x  # (1)


@log.gradient
def dlog(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    x = cache
    return dy / x  # (2)


@op("x:(...) -> y:(...)", flops=1, cases=[{"x": "positive"}, {"x": "positive", "...": ()}])
def sqrt(xp: Any, x: Array) -> tuple[Array, Any]:
    """The square root.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = √x
    Backward  (2)  δx = δy / 2y
    Because   x = y² has the derivative ∂x/∂y = 2y, so ∂y/∂x = 1 / 2y
    Cache     y

    >>> import tinynet as tn
    >>> tn.ops.sqrt(tn.Tensor([1.0, 9.0])).numpy()
    array([1., 3.], dtype=float32)
    """
    y = xp.sqrt(x)  # (1)
    return y, y


@sqrt.gradient
def dsqrt(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    y = cache
    return dy / (2 * y)  # (2)


@op("x:(...) -> y:(...)", analytic=False, flops=1, cases=[{"x": "distinct"}, {"x": "distinct", "...": ()}])
def absolute(xp: Any, x: Array) -> tuple[Array, Any]:
    """The absolute value.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = |x|
    Backward  (2)  δx = δy sign x
    Because   y = x for x > 0 and y = −x for x < 0; at 0, where no derivative exists, sign x = 0 is used
    Cache     x

    >>> import tinynet as tn
    >>> tn.ops.absolute(tn.Tensor([-1.0, 2.0])).numpy()
    array([1., 2.], dtype=float32)
    """
    return xp.abs(x), x  # (1)


@absolute.gradient
def dabsolute(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    x = cache
    sign = xp.sign(x)  # (2)
    return xp.where(sign == 0, xp.zeros((), dy.dtype), dy) * sign  # (2)


def _clip_sizes(known: dict[str, Any], low: float | None, high: float | None = None) -> dict[str, Any]:
    if any(isinstance(e, bool) or not isinstance(e, int | float | None) for e in (low, high)) or low is high is None:
        raise ArgumentError(f"clip: low and high must be numbers, one of them may be None, got low = {low!r}, high = "
                            f"{high!r}; for tensors, maximum(minimum(x, high), low)")
    low, high = _ends(low, high)
    if not low <= high:
        raise ArgumentError(f"clip: low must be at most high, got low = {low}, high = {high}; the other way round?")
    return {}


def _ends(low: float | None, high: float | None) -> tuple[float, float]:
    return -math.inf if low is None else low, math.inf if high is None else high


@op("x:(...) -> y:(...)", sizes=_clip_sizes, analytic=False, flops=2,
    cases=[{"x": "distinct", "low": -0.31, "high": 0.43}, {"x": "distinct", "low": None, "high": 0.43},
           {"x": "distinct", "low": -0.31}, {"x": "distinct", "low": -9.0, "high": 0.0, "...": ()}])
def clip(xp: Any, x: Array, low: float | None, high: float | None = None) -> tuple[Array, Any]:
    """x limited to the interval [low, high]. None leaves that side open.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = min(max(x, low), high)
    Backward  (2)  δx = δy where low ≤ x ≤ high, else 0
    Because   y = x inside the interval and constant outside, so ∂y/∂x is 1 or 0; the end points count as inside
    Cache     where low ≤ x ≤ high

    >>> import tinynet as tn
    >>> tn.ops.clip(tn.Tensor([-1.0, 0.5, 2.0]), 0, 1).numpy()
    array([0. , 0.5, 1. ], dtype=float32)
    """
    low, high = _ends(low, high)
    return xp.clip(x, low, high), (x >= low) & (x <= high)  # (1)


@clip.gradient
def dclip(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    inside = cache
    return xp.where(inside, dy, xp.zeros((), dy.dtype))  # (2)
