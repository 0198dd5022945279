"""Clipping of gradients by their global norm."""

from collections.abc import Iterable

from tinynet import backend
from tinynet.errors import ArgumentError
from tinynet.nn.parameter import Parameter
from tinynet.types import Array


def clip_global_norm(parameters: Iterable[Parameter], max_norm: float) -> Array | float:
    """Scale all gradients by one factor, in place, so that their global norm is at most `max_norm`.

      (1)  norm = √(Σ g²)        over all elements of all gradients
      (2)  g ← g min(1, max_norm / norm)

    Returns the norm before clipping: a 0-d array on the device of the parameters, without synchronisation, or 0.0 if no
    parameter has a gradient. Source: Pascanu, Mikolov, Bengio 2013.

    Errors: ArgumentError unless max_norm > 0.

    >>> import tinynet as tn
    >>> w = tn.nn.Parameter([3.0, 4.0])
    >>> (w * w / 2).sum().backward()
    >>> float(tn.optim.clip_global_norm([w], 1.0)), w.grad
    (5.0, array([0.6, 0.8], dtype=float32))
    """
    if not max_norm > 0:
        raise ArgumentError(f"clip_global_norm: max_norm must be positive, got {max_norm}; 1.0 is usual")
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return 0.0
    xp = backend.namespace(backend.device_of(gradients[0]))
    norm = xp.sqrt(sum((g * g).sum() for g in gradients))  # (1)
    factor = max_norm / xp.maximum(norm, max_norm)  # (2) without a division by 0
    for g in gradients:
        g *= factor  # (2)
    return norm
