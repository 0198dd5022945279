"""Functions of numbers close to 0, and the sign."""

from typing import Any

from tinynet.op import Array, op


@op("x:(...) -> y:(...)", flops=1, cases=[{"x": "positive"}, {"x": "positive", "...": ()}])
def log1p(xp: Any, x: Array) -> tuple[Array, Any]:
    """The natural logarithm of 1 + x, exact for small x, where 1 + x is rounded.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = ln(1 + x)
    Backward  (2)  δx = δy / (1 + x)
    Because   as for log: ∂y/∂x = 1 / (1 + x)
    Cache     x

    >>> import tinynet as tn
    >>> tn.ops.log1p(tn.Tensor([0.0, 1e-9])).numpy()
    array([0.e+00, 1.e-09], dtype=float32)
    """
    return xp.log1p(x), x  # (1)


@log1p.gradient
def dlog1p(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    x = cache
    return dy / (1 + x)  # (2)


@op("x:(...) -> y:(...)", flops=1, cases=[{"...": (3, 4)}, {"...": ()}])
def expm1(xp: Any, x: Array) -> tuple[Array, Any]:
    """The exponential less 1, exact for small x, where eˣ is rounded.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = eˣ − 1
    Backward  (2)  δx = δy (y + 1)
    Because   ∂y/∂x = eˣ = y + 1
    Cache     y

    >>> import tinynet as tn
    >>> tn.ops.expm1(tn.Tensor([0.0, 1e-9])).numpy()
    array([0.e+00, 1.e-09], dtype=float32)
    """
    y = xp.expm1(x)  # (1)
    return y, y


@expm1.gradient
def dexpm1(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    y = cache
    return dy * (y + 1)  # (2)


@op("x:(...) -> y:(...)", analytic=False, flops=1, cases=[{"x": "distinct"}, {"x": "distinct", "...": ()}])
def sign(xp: Any, x: Array) -> tuple[Array, Any]:
    """The sign: −1, 0 or 1.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = sign x
    Backward  (2)  δx = 0
    Because   y is constant on both sides of 0: ∂y/∂x = 0, at 0 by convention
    Cache     nothing

    >>> import tinynet as tn
    >>> tn.ops.sign(tn.Tensor([-2.0, 0.0, 3.0])).numpy()
    array([-1.,  0.,  1.], dtype=float32)
    """
    return xp.sign(x), None  # (1)


@sign.gradient
def dsign(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    return xp.zeros_like(dy)  # (2)
