"""Relatives of the rectifier of activation.py, which pass a gradient also where x is negative.

leaky_relu and elu take another function of x there. gelu and silu multiply x by a number between 0 and 1 that grows
with x: a distribution function. Comparisons read the real part alone, for the complex step of the gradient check.
"""

import math
from typing import Any

from tinynet.op import Array, op
from tinynet.ops.activation import logistic
from tinynet.ops.normal import erf_and_erfc
from tinynet.plain import number

_FAR = 1000.0  # σ(−1000) and Φ(−1000) are 0; σ(1000) and Φ(1000) are 1


def _within(xp: Any, x: Array, low: float, high: float = math.inf) -> Array:
    """x limited to [low, high], so that no product of 0 and infinity arises. NaN stays."""
    x = xp.where(x.real < low, xp.full((), low, x.dtype), x)
    return x if high == math.inf else xp.where(x.real > high, xp.full((), high, x.dtype), x)


def _slope(known: dict[str, Any], negative_slope: float = 0.01) -> dict[str, Any]:
    number("leaky_relu", "negative_slope", negative_slope, 0, usual="0.01")
    return {}


@op("x:(...) -> y:(...)", sizes=_slope, flops=1, cases=[{"x": "distinct"}, {"...": (), "negative_slope": 0.3}])
def leaky_relu(xp: Any, x: Array, *, negative_slope: float = 0.01) -> tuple[Array, Any]:
    """The leaky rectifier: x where it is positive, else x times a small slope.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = x where x > 0, else a x            a the negative slope
    Backward  (2)  δx = δy where x > 0, else a δy
    Because   ∂y/∂x is the slope of each of the two straight lines; at 0, where they meet, a is used
    Cache     where x > 0, and a
    Source    Maas, Hannun, Ng 2013

    >>> import tinynet as tn
    >>> tn.ops.leaky_relu(tn.Tensor([-1.0, 2.0])).numpy()
    array([-0.01,  2.  ], dtype=float32)
    """
    positive = x.real > 0
    return xp.where(positive, x, negative_slope * x), (positive, negative_slope)  # (1)


@leaky_relu.gradient
def dleaky_relu(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    positive, negative_slope = cache
    return xp.where(positive, dy, negative_slope * dy)  # (2)


def _alpha(known: dict[str, Any], alpha: float = 1.0) -> dict[str, Any]:
    number("elu", "alpha", alpha, 0, usual="1.0")
    return {}


@op("x:(...) -> y:(...)", sizes=_alpha, flops=2, cases=[{"x": "distinct"}, {"...": (), "alpha": 0.3}, {"alpha": 2.0}])
def elu(xp: Any, x: Array, *, alpha: float = 1.0) -> tuple[Array, Any]:
    """The exponential linear unit: x where it is positive, else a curve that falls to −α.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = x where x > 0, else α (eˣ − 1)
    Backward  (2)  δx = δy where x > 0, else δy (y + α)
    Because   for x ≤ 0, ∂y/∂x = α eˣ = y + α; with α = 1, it is 1 on both sides of 0
    Cache     where x > 0, y and α
    Source    Clevert, Unterthiner, Hochreiter 2016

    >>> import tinynet as tn
    >>> tn.ops.elu(tn.Tensor([-1000.0, 2.0])).numpy()
    array([-1.,  2.], dtype=float32)
    """
    positive = x.real > 0
    y = xp.where(positive, x, alpha * xp.expm1(xp.where(positive, xp.zeros((), x.dtype), x)))  # (1)
    return y, (positive, y, alpha)


@elu.gradient
def delu(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    positive, y, alpha = cache
    return xp.where(positive, dy, dy * (y + alpha))  # (2)


@op("x:(...) -> y:(...)", flops=2, cases=[{"...": (3, 7)}, {"x": "distinct", "...": (5, 13)}, {"...": ()}])
def gelu(xp: Any, x: Array) -> tuple[Array, Any]:
    """The Gaussian error linear unit: x times the share of the standard normal distribution below x.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = x Φ(x)                      Φ(x) = erfc(−x/√2) / 2, the distribution function
    Backward  (2)  δx = δy (Φ(x) + x φ(x))         φ(x) = e^(−x²/2) / √(2π), the density
    Because   the product rule, with Φ' = φ: Φ(x) is the integral of φ from −∞ to x
    Cache     x
    Source    Hendrycks and Gimpel 2016

    >>> import tinynet as tn
    >>> tn.ops.gelu(tn.Tensor([-1000.0, 0.0, 1.0])).numpy().round(3)
    array([-0.   ,  0.   ,  0.841], dtype=float32)
    """
    return _within(xp, x, -_FAR) * _below(xp, x), x  # (1)


def _below(xp: Any, x: Array) -> Array:
    """Φ(x), exact also where it is close to 0."""
    return erf_and_erfc(xp, -x / math.sqrt(2))[1] / 2


@gelu.gradient
def dgelu(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    x = _within(xp, cache, -_FAR, _FAR)
    density = xp.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return dy * (_below(xp, x) + x * density)  # (2)


@op("x:(...) -> y:(...)", flops=2, cases=[{}, {"...": ()}])
def silu(xp: Any, x: Array) -> tuple[Array, Any]:
    """The sigmoid linear unit, also called swish: x times the logistic function of x.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = x σ(x)                              σ the logistic function
    Backward  (2)  δx = δy σ(x) (1 + x (1 − σ(x)))
    Because   the product rule, with σ' = σ (1 − σ), which ops/activation.py derives
    Cache     x
    Source    Elfwing, Uchibe, Doya 2018

    >>> import tinynet as tn
    >>> tn.ops.silu(tn.Tensor([-1000.0, 0.0, 1.0])).numpy().round(3)
    array([-0.   ,  0.   ,  0.731], dtype=float32)
    """
    return _within(xp, x, -_FAR) * logistic(xp, x), x  # (1)


@silu.gradient
def dsilu(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    x = _within(xp, cache, -_FAR, _FAR)
    s = logistic(xp, x)
    return dy * s * (1 + x * (1 - s))  # (2)
