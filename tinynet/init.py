"""Initial values of parameters, drawn on the host: the same on every device.

Each call draws new numbers from the seed that `tn.seed` set and the number of draws since. The last axis of a weight is
its outputs, the axis before it its inputs: (D,F), (K,C,F) or (KH,KW,C,F). For such a shape,

    fan_in = the product of all sizes but the last        fan_out = the product of all sizes but the last but one

Each function returns a NumPy array of `shape` and `dtype`.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tinynet.elsewhere import in_modules
from tinynet.errors import ArgumentError
from tinynet.plain import plain
from tinynet.random import current_seed, next_draw, normal, stream, uniform
from tinynet.tensor import blank
from tinynet.tracing import is_shapes_only
from tinynet.types import Array, DTypeLike, Shape

if not TYPE_CHECKING:
    __getattr__ = in_modules({"tn.init": ["zeros", "ones", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal",
                                          "orthogonal"]})


def zeros(shape: Shape, dtype: DTypeLike = "float32") -> Array:
    """Zeros.

    >>> zeros((2,))
    array([0., 0.], dtype=float32)
    """
    return _constant(shape, 0, dtype)


def ones(shape: Shape, dtype: DTypeLike = "float32") -> Array:
    """Ones.

    >>> ones((2,))
    array([1., 1.], dtype=float32)
    """
    return _constant(shape, 1, dtype)


def he_normal(shape: Shape, dtype: DTypeLike = "float32") -> Array:
    """Normal numbers with variance 2 / fan_in, for layers followed by a ReLU.

    Source: He, Zhang, Ren, Sun, "Delving deep into rectifiers", ICCV 2015.

    >>> he_normal((100, 50)).std().round(2)
    np.float32(0.14)
    """
    return _drawn(normal, shape, math.sqrt(2 / _fans(shape)[0]), dtype)


def he_uniform(shape: Shape, dtype: DTypeLike = "float32") -> Array:
    """Uniform numbers in ±√(6 / fan_in), with the variance of `he_normal`.

    >>> bool(abs(he_uniform((6, 50))).max() <= 1)
    True
    """
    return _drawn(_symmetric, shape, math.sqrt(6 / _fans(shape)[0]), dtype)


def glorot_normal(shape: Shape, dtype: DTypeLike = "float32") -> Array:
    """Normal numbers with variance 2 / (fan_in + fan_out), for layers followed by tanh, σ or softmax.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.

    >>> glorot_normal((100, 100)).std().round(2)
    np.float32(0.1)
    """
    return _drawn(normal, shape, math.sqrt(2 / sum(_fans(shape))), dtype)


def glorot_uniform(shape: Shape, dtype: DTypeLike = "float32") -> Array:
    """Uniform numbers in ±√(6 / (fan_in + fan_out)), with the variance of `glorot_normal`.

    >>> bool(abs(glorot_uniform((3, 3))).max() <= 1)
    True
    """
    return _drawn(_symmetric, shape, math.sqrt(6 / sum(_fans(shape))), dtype)


def orthogonal(shape: Shape, dtype: DTypeLike = "float32") -> Array:
    """A matrix with orthonormal rows or columns, whichever are fewer. All axes before the last count as rows.

    It is Q of the QR decomposition of a matrix of normal numbers, with its columns multiplied by the signs of the
    diagonal of R: its distribution is uniform over the orthogonal matrices.

    Source: Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of learning", ICLR 2014.

    >>> Q = orthogonal((3, 3))
    >>> bool(np.allclose(Q @ Q.T, np.eye(3), atol=1e-6))
    True
    """
    _fans(shape)
    rows, columns = math.prod(shape[:-1]), shape[-1]
    if is_shapes_only():
        return _drawn(normal, shape, 1.0, dtype)
    tall = _drawn(normal, (max(rows, columns), min(rows, columns)), 1.0, "float64")
    Q, R = np.linalg.qr(tall)
    Q = Q * np.where(np.diag(R) < 0, -1.0, 1.0)
    return (Q if rows >= columns else Q.T).reshape(shape).astype(dtype)


def _constant(shape: Shape, value: float, dtype: DTypeLike) -> Array:
    _check(shape)
    if is_shapes_only():
        return blank(shape, dtype).data
    return np.full(shape, value, dtype)


def _drawn(draw: Callable[..., Array], shape: Shape, scale: float, dtype: DTypeLike) -> Array:
    """Numbers of `draw`, times `scale`."""
    shape = plain(shape)
    if is_shapes_only():
        return _constant(shape, 0, dtype)
    return (scale * draw(shape, (current_seed(), stream("init")), next_draw())).astype(dtype)


def _symmetric(shape: Shape, key: tuple[int, int], step: int) -> Array:
    """Uniform numbers in (-1, 1)."""
    return 2 * uniform(shape, key, step) - 1


def _fans(shape: Shape) -> tuple[int, int]:
    """fan_in and fan_out of a weight: the inputs of one output, and the outputs of one input."""
    shape = plain(shape)
    _check(shape)
    if len(shape) < 2 or min(shape) < 1:
        raise ArgumentError(f"init: shape must have at least two axes, none empty, inputs before outputs, got {shape}; "
                            "tn.init.zeros is for biases")
    field = math.prod(shape[:-2])
    return field * shape[-2], field * shape[-1]


def _check(shape: Shape) -> None:
    if not all(isinstance(size, int | np.integer) and not isinstance(size, bool) and size >= 0 for size in shape):
        raise ArgumentError(f"init: shape must be integers of at least 0, got {shape}; are the sizes of the layer "
                            "integers, such as 64?")
