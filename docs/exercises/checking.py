"""What is wrong with a number or an array, said so that it helps and does not give the answer away."""

from collections.abc import Callable
from typing import Any

import numpy as np

TOLERANCE = 1e-9  # relative


def fault(given: Any, expected: Any) -> str:
    """What is wrong with a result; "" if it is right.

    >>> fault([2.0, 4.0], [1.0, 2.0])
    'off by the factor 2'
    """
    if given is None or given is ...:
        return "still blank"
    if np.iscomplexobj(given):
        return "must be real, got a complex number"
    try:
        given, expected = np.asarray(given, np.float64), np.asarray(expected, np.float64)
    except (TypeError, ValueError):
        return f"must be an array of numbers, got {type(given).__name__}"
    if given.shape != expected.shape:
        return f"has the shape {given.shape}, and must have {expected.shape}"
    if not np.isfinite(given).all():
        return "holds NaN or infinity"
    size = max(np.abs(expected).max(initial=0.0), np.abs(given).max(initial=0.0))
    error = np.abs(given - expected).max(initial=0.0)
    if error <= TOLERANCE * size:
        return ""
    if not given.any():
        return "is zero everywhere"
    factor = float((given * expected).sum() / (expected * expected).sum()) if expected.any() else 0.0
    if factor and np.abs(given - factor * expected).max() <= 1e-6 * size:
        return "has the wrong sign" if abs(factor + 1) < 1e-6 else f"off by the factor {factor:.6g}"
    share = np.mean(np.abs(given - expected) > TOLERANCE * size)
    return f"is wrong in {share:.0%} of its elements; the largest relative error is {error / size:.1e}"


def attempt(answer: dict[str, Any], name: str, *arguments: Any) -> tuple[Any, str]:
    """The result of an answer's function, and what went wrong in the call."""
    function: Callable[..., Any] | None = answer.get(name)
    if not callable(function):
        return None, f"the function {name} is missing"
    try:
        return function(*[value.copy() if isinstance(value, np.ndarray) else value for value in arguments]), ""
    except Exception as error:  # of any kind: the answer is the learner's
        return None, f"{name} raises {type(error).__name__}: {error}"
