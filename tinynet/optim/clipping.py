"""Clipping of gradients by their global norm."""

import math
from collections.abc import Iterable
from functools import reduce
from typing import Any

import numpy as np

from tinynet import backend
from tinynet.errors import ArgumentError
from tinynet.nn.parameter import Parameter
from tinynet.tensor import Tensor
from tinynet.types import Array

_TINY = 1e-15  # the norm below which squares of float32 have lost digits


def clip_global_norm(parameters: Iterable[Tensor], max_norm: float) -> Array | float:
    """Scale all gradients by one factor, in place, so that their global norm is at most `max_norm`.

      (1)  norm = √(Σ g²)        over all elements of all gradients
      (2)  g ← g min(1, max_norm / norm)

    Returns the norm before clipping: a 0-d array on the device of the parameters, without synchronisation, or 0.0 if no
    parameter has a gradient. It is right also where squares overflow. With max_norm = inf nothing is clipped.

    Source: Pascanu, Mikolov, Bengio 2013.

    Errors: ArgumentError unless max_norm > 0.

    >>> import tinynet as tn
    >>> w = tn.nn.Parameter([3.0, 4.0])
    >>> (w * w / 2).sum().backward()
    >>> float(tn.optim.clip_global_norm([w], 1.0)), w.grad
    (5.0, array([0.6, 0.8], dtype=float32))
    """
    if not max_norm > 0:
        raise ArgumentError(f"clip_global_norm: max_norm must be positive, got {max_norm}; 1.0 is usual")
    held = [one.held if isinstance(one, Parameter) else one.grad for one in parameters]
    gradients = [gradient for gradient in held if gradient is not None]
    if not gradients:
        return 0.0
    device = backend.device_of(gradients[0])
    if device == "cpu":
        norm = backend.empty((), np.result_type(*gradients), device)
        backend.call(_clip_on_host, norm, gradients, max_norm)
        return norm
    xp = backend.namespace(device)
    norm = _scaled_norm(xp, gradients)  # a device is not asked for its norm, which would wait for it
    _scale(xp, gradients, norm, max_norm)
    return norm


def _clip_on_host(norm: Array, gradients: list[Array], max_norm: float) -> None:
    with np.errstate(over="ignore", under="ignore"):
        norm[...] = _norm(np, gradients)
        if not _TINY < norm < math.inf:
            norm[...] = _scaled_norm(np, gradients)
        _scale(np, gradients, norm, max_norm)


def _scale(xp: Any, gradients: list[Array], norm: Array, max_norm: float) -> None:
    if max_norm < math.inf:
        factor = max_norm / xp.maximum(norm, max_norm)  # (2) without a division by 0
        for g in gradients:
            g *= factor  # (2)


def _norm(xp: Any, gradients: list[Array]) -> Any:
    return xp.sqrt(sum((g * g).sum() for g in gradients))  # (1)


def _scaled_norm(xp: Any, gradients: list[Array]) -> Any:
    """The norm as s √(Σ (g / s)²), where s is the largest |g|: no square overflows, and not all of them underflow."""
    largest = reduce(xp.maximum, [xp.abs(g).max() for g in gradients if g.size])  # CuPy's stack may copy from the host
    s = xp.where((largest > 0) & (largest < math.inf), largest, xp.ones((), largest.dtype))  # not 0, ∞ or NaN
    return s * _norm(xp, [g / s for g in gradients])
