"""Activations: relu, sigmoid, tanh, softmax and its logarithm.

`logistic` and `log_of_softmax` are the functions on plain arrays that other ops contain: the gates of the LSTM and the
cross-entropy. No exponential in them overflows. Their comparisons read the real part alone, so that the complex step of
the gradient check passes through.
"""

from typing import Any

from tinynet.errors import ArgumentError
from tinynet.op import Array, op
from tinynet.ops.axes import one_axis


def logistic(xp: Any, z: Array) -> Array:
    """σ(z) = 1 / (1 + e⁻ᶻ) for z ≥ 0 and eᶻ / (1 + eᶻ) for z < 0: the exponential is at most 1."""
    right = z.real >= 0
    small = xp.exp(xp.where(right, -z, z))
    return xp.where(right, xp.ones((), z.dtype), small) / (1 + small)


def log_of_softmax(xp: Any, z: Array, axis: int) -> Array:
    """ln (eᶻ / Σ eᶻ) = s − ln(1 + Σ' eˢ), where s = z − max z and Σ' leaves out the first maximum.

    The maximum contributes e⁰ = 1: the sum is at least 1, and no exponential overflows. log1p keeps a small Σ', so the
    logarithm of a probability close to 1 is exact.
    """
    largest = xp.expand_dims(z.real.argmax(axis=axis), axis)
    index = xp.arange(z.shape[axis]).reshape([-1 if i == axis % z.ndim else 1 for i in range(z.ndim)])
    shifted = z - xp.take_along_axis(z, largest, axis=axis)
    rest = xp.where(index == largest, xp.zeros((), z.dtype), xp.exp(shifted)).sum(axis=axis, keepdims=True)
    return shifted - xp.log1p(rest)


@op("x:(...) -> y:(...)", analytic=False, flops=1, cases=[{"x": "distinct"}, {"x": "distinct", "...": ()}])
def relu(xp: Any, x: Array) -> tuple[Array, Any]:
    """The rectified linear unit: x where it is positive, else 0.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = max(x, 0)
    Backward  (2)  δx = δy where x > 0, else 0
    Because   y = x for x > 0 and y = 0 for x < 0; at 0, where no derivative exists, 0 is used
    Cache     where x > 0

    >>> import tinynet as tn
    >>> tn.ops.relu(tn.Tensor([-1.0, 2.0])).numpy()
    array([0., 2.], dtype=float32)
    """
    return xp.maximum(x, xp.zeros((), x.dtype)), x > 0  # (1)


@relu.gradient
def drelu(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    positive = cache
    return xp.where(positive, dy, xp.zeros((), dy.dtype))  # (2) also where δy is infinite


@op("x:(...) -> y:(...)", flops=1, cases=[{}, {"...": ()}])
def sigmoid(xp: Any, x: Array) -> tuple[Array, Any]:
    """The logistic function, with values in (0, 1).

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = σ(x) = 1 / (1 + e⁻ˣ)
    Backward  (2)  δx = δy y (1 − y)
    Because   ∂y/∂x = e⁻ˣ / (1 + e⁻ˣ)² = y · e⁻ˣ / (1 + e⁻ˣ) = y (1 − y)
    Cache     y

    >>> import tinynet as tn
    >>> tn.ops.sigmoid(tn.Tensor([0.0, -1000.0])).numpy()
    array([0.5, 0. ], dtype=float32)
    """
    y = logistic(xp, x)  # (1)
    return y, y


@sigmoid.gradient
def dsigmoid(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    y = cache
    return dy * y * (1 - y)  # (2)


@op("x:(...) -> y:(...)", flops=1, cases=[{}, {"...": ()}])
def tanh(xp: Any, x: Array) -> tuple[Array, Any]:
    """The hyperbolic tangent, with values in (-1, 1).

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = tanh x
    Backward  (2)  δx = δy (1 − y²)
    Because   tanh = sinh / cosh, so ∂y/∂x = (cosh² x − sinh² x) / cosh² x = 1 − y²
    Cache     y

    >>> import tinynet as tn
    >>> tn.ops.tanh(tn.Tensor([0.0, 0.5])).numpy().round(3)
    array([0.   , 0.462], dtype=float32)
    """
    y = xp.tanh(x)  # (1)
    return y, y


@tanh.gradient
def dtanh(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    y = cache
    return dy * (1 - y * y)  # (2)


def _axis_size(name: str) -> Any:
    def sizes(known: dict[str, Any], axis: int = -1) -> dict[str, Any]:
        shape = known["..."]
        if not isinstance(axis, int) or isinstance(axis, bool):
            one_axis(name, axis, len(shape))
        if not -len(shape) <= axis < len(shape) or shape[axis] == 0:
            raise ArgumentError(f"{name}: axis must be an axis of x that is not empty, x has shape {shape}, got "
                                f"axis = {axis}; axis=-1 is the last one")
        return {}
    return sizes


@op("x:(...) -> y:(...)", sizes=_axis_size("softmax"), flops=3, cases=[{"...": (3, 5)}, {"...": (2, 4, 3), "axis": 1}])
def softmax(xp: Any, x: Array, *, axis: int = -1) -> tuple[Array, Any]:
    """Probabilities from scores: positive numbers with the sum 1 along `axis`.

    Shapes    x (...)  →  y (...)
    Forward   (1)  yᵢ = e^xᵢ / Σⱼ e^xⱼ
    Backward  (2)  δxᵢ = yᵢ (δyᵢ − Σⱼ δyⱼ yⱼ)
    Because   ∂yⱼ/∂xᵢ = yⱼ ∂ ln yⱼ/∂xᵢ = yⱼ (1[i=j] − yᵢ), by the derivation of log_softmax; summed with δyⱼ over j
    Cache     y and axis
    Source    Bridle 1990

    >>> import tinynet as tn
    >>> tn.ops.softmax(tn.Tensor([0.0, 0.0, -1000.0])).numpy()
    array([0.5, 0.5, 0. ], dtype=float32)
    """
    y = xp.exp(log_of_softmax(xp, x, axis))  # (1)
    return y, (y, axis)


@softmax.gradient
def dsoftmax(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    y, axis = cache
    return y * (dy - (dy * y).sum(axis=axis, keepdims=True))  # (2)


@op("x:(...) -> y:(...)", sizes=_axis_size("log_softmax"), flops=3,
    cases=[{"...": (3, 5)}, {"...": (2, 4, 3), "axis": 1}])
def log_softmax(xp: Any, x: Array, *, axis: int = -1) -> tuple[Array, Any]:
    """The logarithm of the softmax along `axis`, exact also where the softmax itself rounds to 0 or 1.

    Shapes    x (...)  →  y (...)
    Forward   (1)  yᵢ = xᵢ − ln Σⱼ e^xⱼ
    Backward  (2)  δxᵢ = δyᵢ − e^yᵢ Σⱼ δyⱼ
    Because   ∂yⱼ/∂xᵢ = 1[i=j] − e^xᵢ / Σₖ e^xₖ = 1[i=j] − e^yᵢ; summed with δyⱼ over j
    Cache     y and axis

    >>> import tinynet as tn
    >>> tn.ops.log_softmax(tn.Tensor([0.0, 10000.0])).numpy()
    array([-10000.,      0.], dtype=float32)
    """
    y = log_of_softmax(xp, x, axis)  # (1)
    return y, (y, axis)


@log_softmax.gradient
def dlog_softmax(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    y, axis = cache
    return dy - xp.exp(y) * dy.sum(axis=axis, keepdims=True)  # (2)
