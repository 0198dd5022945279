"""Name the option of a call whose value is not of its type, when the call has failed for another reason."""

import inspect
import types
from collections.abc import Mapping
from operator import index
from typing import Any, Union, get_args, get_origin

from tinynet.errors import ArgumentError

_LARGEST = 2**63 - 1


def wrong_option(function: str, signature: inspect.Signature, options: Mapping[str, Any]) -> ArgumentError | None:
    """The error for the first option that its annotation does not allow; None if all are allowed.

    >>> def pad(x, width: int): ...
    >>> print(wrong_option("pad", inspect.signature(pad), {"width": 1.5}))
    pad: width must be int, got 1.5; see help(pad)
    """
    for name, value in options.items():
        parameter = signature.parameters[name]
        if fits(value, parameter.annotation):
            continue
        rule = inspect.formatannotation(parameter.annotation)
        usual = f"see help({function})" if parameter.default is parameter.empty else f"{name}={parameter.default!r}?"
        return ArgumentError(f"{function}: {name} must be {rule}, got {value!r}; {usual}")
    return None


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value is of a type. True where that is not known, as for a type of arrays.

    >>> fits(3, int | tuple[int, int]), fits((3, 0.5), int | tuple[int, int]), fits(10**30, int)
    (True, False, False)
    """
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in get_args(annotation))
    if origin is tuple:
        parts = get_args(annotation)
        if not isinstance(value, tuple | list):
            return False
        if parts[1:] == (...,):
            return all(fits(one, parts[0]) for one in value)
        return len(value) == len(parts) and all(map(fits, value, parts))
    if annotation is None or annotation is types.NoneType:
        return value is None
    if annotation is int:
        return _is_integer(value)
    if annotation is float:
        return isinstance(value, float) or _is_integer(value)
    return isinstance(value, annotation) if annotation in (bool, str) else True


def _is_integer(value: Any) -> bool:
    try:
        return abs(index(value)) <= _LARGEST
    except TypeError:
        return False
