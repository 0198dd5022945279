"""Functions of numbers close to 0, the sign, the error function, and powers of tensors."""

import math
from typing import Any

from tinynet.op import Array, Gradients, op
from tinynet.ops.axes import broadcasting, unbroadcast
from tinynet.ops.normal import erf_and_erfc


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


@op("x:(...) -> y:(...)", flops=25, cases=[{"...": (3, 4)}, {"x": "distinct", "...": (7, 9)}, {"...": ()}])
def erf(xp: Any, x: Array) -> tuple[Array, Any]:
    """The error function.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = 2/√π ∫₀ˣ e^−t² dt        see `ops/normal.py`
    Backward  (2)  δx = δy 2/√π e^−x²
    Because   ∂y/∂x = 2/√π e^−x²: the derivative of an integral by its upper end is the integrand there
    Cache     x

    >>> import tinynet as tn
    >>> tn.ops.erf(tn.Tensor([0.0, 0.5, 9.0])).numpy().round(4)
    array([0.    , 0.5205, 1.    ], dtype=float32)
    """
    y, _ = erf_and_erfc(xp, x)  # (1)
    return y, x


@erf.gradient
def derf(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    x = cache
    return dy * (2 / math.sqrt(math.pi) * xp.exp(-x * x))  # (2)


@op("x:(...A) exponent:(...B) -> y:(...Y)", sizes=broadcasting("float_power"), flops=1, cases=[
    {"...A": (3, 4), "...B": (3, 4), "x": "positive"}, {"...A": (3, 1), "...B": (4,), "x": "positive"},
    {"...A": (), "...B": (5,), "x": "positive"}, {"...A": (2, 3), "...B": (), "x": "positive"}])
def float_power(xp: Any, x: Array, exponent: Array) -> tuple[Array, Any]:
    """x to the power of p, the exponent: two arrays that broadcast, each with a gradient.

    For x < 0 and a p that is no integer, y is NaN, and for x < 0 the gradient of p is NaN.

    Shapes    x (...A) · exponent (...B)  →  y (...Y), broadcast
    Forward   (1)  y = xᵖ
    Backward  (2)  δx = δy p xᵖ⁻¹;  0 for p = 0
              (3)  δp = δy y ln x;  0 for x = 0 and p ≥ 0
    Because   ∂y/∂x = p xᵖ⁻¹, and xᵖ = e^(p ln x) has ∂y/∂p = xᵖ ln x. For x → 0, xᵖ ln x → 0 with p > 0
    Cache     x, p and y

    >>> import tinynet as tn
    >>> x, p = tn.Tensor([2.0, 9.0]), tn.Tensor([3.0, 0.5])
    >>> (x**p).numpy(), (2**p).numpy().round(3)
    (array([8., 3.], dtype=float32), array([8.   , 1.414], dtype=float32))
    """
    y = x**exponent  # (1)
    return y, (x, exponent, y)


@float_power.gradient
def dfloat_power(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Gradients:
    x, p, y = cache
    one, zero = xp.ones((), y.dtype), xp.zeros((), y.dtype)
    dx = dp = None
    if needs[0]:
        slope = xp.where(p == 0, zero, p * xp.where(p == 0, one, x) ** (p - 1))
        dx = unbroadcast(xp, dy * slope, x.shape)  # (2)
    if needs[1]:
        logarithm = xp.log(xp.where((x == 0) & (p.real >= 0), one, x))
        dp = unbroadcast(xp, dy * y * logarithm, p.shape)  # (3)
    return dx, dp
