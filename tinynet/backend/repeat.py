"""Array functions of `ops/` in a recording of the CPU: a replay calls them again, and copies what they return.

A recording holds kernel launches and work in place (`observer.py`). An op without an override computes new arrays with
NumPy instead. Its outputs are copied to arrays of the recording, which later kernels may take. What a forward pass
caches for its backward pass is computed again as well.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinynet.backend.arrays import empty
from tinynet.backend.observer import current


class Kept:
    """A value that a replay passes on as it is: a constant, or the cache of a forward pass."""

    __slots__ = ("value",)
    value: Any

    def __init__(self, value: object) -> None:
        self.value = value


def forward(function: Callable[..., Any], xp: Any, arrays: Sequence[Any], are_constant: Sequence[bool],
            options: Mapping[str, Any], is_traced: bool) -> tuple[Any, Any]:
    """function(xp, *arrays, **options), the outputs and the cache of an op. A recording repeats it.

    The cache is kept from replay to replay where `is_traced`, for a backward pass.

    Outputs that are views of the inputs need no work in a replay. Arrays among the options, such as indices, may be
    out of range in a replay, or select another number of elements: then the outputs end the recording.
    """
    outputs, cache = function(xp, *arrays, **options)
    watching = current.get()
    if watching is None or _has_arrays(tuple(options.values())):
        return outputs, cache
    kept, made = Kept(cache if is_traced else None), outputs if isinstance(outputs, tuple) else (outputs,)
    if all(_is_view(one, arrays) for one in made):
        return outputs, kept
    copies = tuple(map(_copy, made))
    given = [Kept(array) if constant else array for array, constant in zip(arrays, are_constant, strict=True)]
    watching.on_call(_forward, (function, xp, kept if is_traced else None, copies, *given), dict(options))
    return copies if isinstance(outputs, tuple) else copies[0], kept


def backward(function: Callable[..., Any], xp: Any, doutputs: Sequence[Any], cache: Any,
             needs: Any) -> Any | tuple[Any, ...]:
    """function(xp, *doutputs, cache=cache, needs=needs), the gradients of an op. A recording repeats it."""
    kept = cache if isinstance(cache, Kept) else Kept(cache)
    gradients = function(xp, *doutputs, cache=kept.value, needs=needs)
    watching = current.get()
    made = gradients if isinstance(gradients, tuple) else (gradients,)
    if watching is None or all(one is None or _is_view(one, doutputs) for one in made):
        return gradients
    copies = tuple(None if one is None else _copy(one) for one in made)
    watching.on_call(_backward, (function, xp, kept, copies, *doutputs), {"needs": needs})
    return copies


def _forward(function: Callable[..., Any], xp: Any, kept: Kept | None, copies: Sequence[Any], *given: Any,
             **options: Any) -> None:
    outputs, cache = function(xp, *(one.value if isinstance(one, Kept) else one for one in given), **options)
    if kept is not None:
        kept.value = cache
    for copy, output in zip(copies, outputs if isinstance(outputs, tuple) else (outputs,), strict=True):
        np.copyto(copy, output)


def _backward(function: Callable[..., Any], xp: Any, kept: Kept, copies: Sequence[Any], *doutputs: Any,
              needs: Any) -> None:
    gradients = function(xp, *doutputs, cache=kept.value, needs=needs)
    for copy, gradient in zip(copies, gradients if isinstance(gradients, tuple) else (gradients,), strict=True):
        if copy is not None:
            np.copyto(copy, gradient)


def _copy(made: Any) -> Any:
    made = np.asarray(made)
    copy = empty(made.shape, made.dtype, "cpu")
    np.copyto(copy, made)
    return copy


def _is_view(made: Any, arrays: Sequence[Any]) -> bool:
    """Whether an array shares the memory of one of the given arrays."""
    return isinstance(made, np.ndarray) and any(array is not None and np.may_share_memory(made, array)
                                                for array in arrays)


def _has_arrays(options: Any) -> bool:
    if isinstance(options, tuple | list):
        return any(map(_has_arrays, options))
    return isinstance(options, np.ndarray) and options.ndim > 0
