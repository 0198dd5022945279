"""Activations: relu, sigmoid, tanh, softmax and its logarithm.

`logistic` and `log_of_softmax` are the same functions on plain arrays, for the ops that contain them (the LSTM's gates,
the cross-entropy). Both are written so that no exponential overflows, and remain analytic: comparisons look at the real
part alone, so that a complex step passes through.
"""

from typing import Any

from tinynet.errors import ArgumentError
from tinynet.op import op


def logistic(xp: Any, z: Any) -> Any:
    """σ(z) = 1 / (1 + e⁻ᶻ) = eᶻ / (1 + eᶻ), the first for z ≥ 0 and the second below: e is never large."""
    right = z.real >= 0
    small = xp.exp(xp.where(right, -z, z))
    return xp.where(right, xp.ones((), z.dtype), small) / (1 + small)


def log_of_softmax(xp: Any, z: Any, axis: int) -> Any:
    """ln (eᶻ / Σ eᶻ) = s − ln(1 + Σ' eˢ) with s = z − the largest z, and Σ' the sum over all the others.

    The largest contributes e⁰ = 1, so the sum is never 0 and nothing overflows; log1p keeps a small Σ', so that a
    probability close to 1 has an exact logarithm.
    """
    largest = xp.expand_dims(z.real.argmax(axis=axis), axis)
    index = xp.arange(z.shape[axis]).reshape([-1 if i == axis % z.ndim else 1 for i in range(z.ndim)])
    shifted = z - xp.take_along_axis(z, largest, axis=axis)
    rest = xp.where(index == largest, xp.zeros((), z.dtype), xp.exp(shifted)).sum(axis=axis, keepdims=True)
    return shifted - xp.log1p(rest)


@op("x:(...) -> y:(...)", analytic=False, cases=[{"x": "distinct"}, {"x": "distinct", "...": ()}])
def relu(xp: Any, x: Any) -> Any:
    """The rectifier: what is positive passes.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = max(x, 0)
    Backward  (2)  δx = δy where x > 0, else 0        0 at x = 0
    Cache     where x > 0

    >>> import tinynet as tn
    >>> tn.ops.relu(tn.Tensor([-1.0, 2.0])).numpy()
    array([0., 2.], dtype=float32)
    """
    return xp.maximum(x, xp.zeros((), x.dtype)), x > 0  # (1)


@relu.gradient
def drelu(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    positive = cache
    return dy * positive  # (2)


@op("x:(...) -> y:(...)", cases=[{}, {"...": ()}])
def sigmoid(xp: Any, x: Any) -> Any:
    """The logistic function, from 0 to 1.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = σ(x) = 1 / (1 + e⁻ˣ)
    Backward  (2)  δx = δy y (1 − y)
    Cache     y

    >>> import tinynet as tn
    >>> tn.ops.sigmoid(tn.Tensor([0.0, -1000.0])).numpy()
    array([0.5, 0. ], dtype=float32)
    """
    y = logistic(xp, x)  # (1)
    return y, y


@sigmoid.gradient
def dsigmoid(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    y = cache
    return dy * y * (1 - y)  # (2)


@op("x:(...) -> y:(...)", cases=[{}, {"...": ()}])
def tanh(xp: Any, x: Any) -> Any:
    """The hyperbolic tangent, from -1 to 1.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = tanh x
    Backward  (2)  δx = δy (1 − y²)
    Cache     y

    >>> import tinynet as tn
    >>> tn.ops.tanh(tn.Tensor([0.0, 0.5])).numpy().round(3)
    array([0.   , 0.462], dtype=float32)
    """
    y = xp.tanh(x)  # (1)
    return y, y


@tanh.gradient
def dtanh(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    y = cache
    return dy * (1 - y * y)  # (2)


def _axis_size(name: str) -> Any:
    def sizes(known: dict[str, Any], axis: int = -1) -> dict[str, Any]:
        shape = known["..."]
        if not -len(shape) <= axis < len(shape) or shape[axis] == 0:
            raise ArgumentError(f"{name}: axis must be an axis of x that is not empty, x has shape {shape}, got "
                                f"axis = {axis}; axis=-1 is the last one")
        return {}
    return sizes


@op("x:(...) -> y:(...)", sizes=_axis_size("softmax"), cases=[{"...": (3, 5)}, {"...": (2, 4, 3), "axis": 1}])
def softmax(xp: Any, x: Any, *, axis: int = -1) -> Any:
    """Probabilities from scores: positive, with the sum 1 along an axis.

    Shapes    x (...)  →  y (...)
    Forward   (1)  yᵢ = e^xᵢ / Σⱼ e^xⱼ
    Backward  (2)  δxᵢ = yᵢ (δyᵢ − Σⱼ δyⱼ yⱼ)        because ∂yⱼ/∂xᵢ = yⱼ (1[i=j] − yᵢ)
    Cache     y and the axis
    Source    Bridle 1990

    >>> import tinynet as tn
    >>> tn.ops.softmax(tn.Tensor([0.0, 0.0, -1000.0])).numpy()
    array([0.5, 0.5, 0. ], dtype=float32)
    """
    y = xp.exp(log_of_softmax(xp, x, axis))  # (1)
    return y, (y, axis)


@softmax.gradient
def dsoftmax(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    y, axis = cache
    return y * (dy - (dy * y).sum(axis=axis, keepdims=True))  # (2)


@op("x:(...) -> y:(...)", sizes=_axis_size("log_softmax"), cases=[{"...": (3, 5)}, {"...": (2, 4, 3), "axis": 1}])
def log_softmax(xp: Any, x: Any, *, axis: int = -1) -> Any:
    """The logarithm of the softmax, exact also where the softmax itself would round to 0 or 1.

    Shapes    x (...)  →  y (...)
    Forward   (1)  yᵢ = xᵢ − ln Σⱼ e^xⱼ
    Backward  (2)  δxᵢ = δyᵢ − e^yᵢ Σⱼ δyⱼ        because ∂yⱼ/∂xᵢ = 1[i=j] − e^yᵢ
    Cache     y and the axis

    >>> import tinynet as tn
    >>> tn.ops.log_softmax(tn.Tensor([0.0, 10000.0])).numpy()
    array([-10000.,      0.], dtype=float32)
    """
    y = log_of_softmax(xp, x, axis)  # (1)
    return y, (y, axis)


@log_softmax.gradient
def dlog_softmax(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    y, axis = cache
    return dy - xp.exp(y) * dy.sum(axis=axis, keepdims=True)  # (2)
