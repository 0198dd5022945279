"""Plain arrays and plain numbers, made of what users give: pandas, np.matrix, masked arrays, NumPy scalars.

A subclass of an array brings its own arithmetic and its own order of rows. A NumPy scalar brings a dtype of its own.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import is_
from typing import Any

import numpy as np

from tinynet.elsewhere import SHARED
from tinynet.errors import ArgumentError, DtypeError, ShapeError


def plain_array(data: Any, what: str = "Tensor: data") -> Any:
    """NumPy's plain array of the data, without a copy where that is possible. `what` begins the message of an error.

    Errors: DtypeError if an element is masked; ShapeError for rows of unequal length.

    >>> import numpy as np
    >>> type(plain_array(np.ma.array([1.0]))).__name__
    'ndarray'
    """
    if type(data) is np.ndarray:
        return data
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        masked = int(np.ma.getmaskarray(data).sum())
        raise DtypeError(f"{what} must not have masked elements, got {masked} of {data.size}; "
                         "data.filled(0), or leave these rows out?")
    try:
        return np.asarray(data)
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        raise ShapeError(f"{what} must have rows of one length, got a list of unequal rows; "
                         "pad the shorter ones, or give one array for each?") from None


def plain_rows(data: Any, what: str) -> Any:
    """Data that are indexed by row: a table of pandas, which would take labels for row numbers, as a plain array.

    So is a list of numbers, or of lists of them; Python's floats become float32. What reads its rows on demand, such as
    `tn.data.Images`, and a list of arrays are returned as they are.

    Errors: ShapeError for lists of unequal length.
    """
    first = data
    while isinstance(first, list) and first:
        first = first[0]
    if first is not data and isinstance(first, bool | int | float | np.generic):
        array = plain_array(data, what)
        return array.astype("float32") if type(first) is float else array
    is_table = hasattr(data, "to_numpy") or isinstance(data, np.ndarray)
    return plain_array(data, what) if is_table else data


def plain(value: Any) -> Any:
    """A NumPy scalar as a Python number; in a tuple or list, each part. Other values are returned as they are.

    >>> import numpy as np
    >>> plain((np.int64(2), [np.float32(0.5)], "same"))
    (2, [0.5], 'same')
    """
    if type(value) in (tuple, list):
        parts = [plain(part) for part in value]
        return value if all(map(is_, parts, value)) else type(value)(parts)
    return value.item() if isinstance(value, np.generic) else value


def number(function: str, name: str, value: Any, low: float, high: float = math.inf, *, usual: str,
           below: bool = False) -> Any:
    """A finite number in [low, high], or in [low, high) with `below`, as Python's. `usual` is the hint of the error.

    Errors: ArgumentError for another value.

    >>> import numpy as np
    >>> number("f", "share", np.float32(0.5), 0, 1, usual="0.5")
    0.5
    """
    found = value.item() if isinstance(value, np.ndarray) and not value.ndim else plain(value)
    if isinstance(found, bool) or not isinstance(found, int | float) or not (
            low <= found <= high and math.isfinite(found) and not (below and found == high)):
        limit = f"finite and at least {low}" if high == math.inf else f"in [{low}, {high}{')' if below else ']'}"
        raise ArgumentError(f"{function}: {name} must be {limit}, got {value!r}; {name}={usual} is usual")
    return found


def whole(function: str, name: str, value: Any, low: int, high: float = math.inf, *, usual: str) -> int:
    """An integer in [low, high], as Python's. `usual` is the hint of the error.

    Errors: ArgumentError for another value.

    >>> import numpy as np
    >>> whole("f", "steps", np.int64(3), 1, usual="10")
    3
    """
    found = value.item() if isinstance(value, np.ndarray) and not value.ndim else plain(value)
    if isinstance(found, bool) or not isinstance(found, int) or not low <= found <= high:
        limit = f"of at least {low}" if high == math.inf else f"from {low} to {high}"
        raise ArgumentError(f"{function}: {name} must be an integer {limit}, got {value!r}; {usual}?")
    return found


def sizes(layer: str, **given: Any) -> list[int]:
    """The sizes of a layer, integers of at least 0, as Python's.

    Errors: ArgumentError for another value.

    >>> import numpy as np
    >>> sizes("Dense", inputs=np.uint16(3), units=4)
    [3, 4]
    """
    return [whole(layer, name, value, 0, usual=f"{name}=32") for name, value in given.items()]


def shape_of(function: str, name: str, value: Any, least: int = 1) -> tuple[int, ...]:
    """A shape as a tuple of Python's integers of at least `least`.

    >>> import numpy as np
    >>> shape_of("Reshape", "shape", [np.int64(2), -1], -1)
    (2, -1)
    """
    if not isinstance(value, tuple | list):
        raise ArgumentError(f"{function}: {name} must be a tuple of integers, got {value!r}; {name}=(28, 28)?")
    return tuple(whole(function, name, size, least, usual=f"{name}=(28, 28)") for size in value)


def kind_of(dtype: Any) -> str:
    """The kind of a dtype, as NumPy's letter: "f" for floats; "" for what is not a dtype.

    >>> kind_of("float32"), kind_of("banana")
    ('f', '')
    """
    try:
        return np.dtype(dtype).kind
    except TypeError:
        return ""


_REFLECTED = {"add": "__radd__", "subtract": "__rsub__", "multiply": "__rmul__", "divide": "__rtruediv__",
              "matmul": "__rmatmul__", "less": "__gt__", "less_equal": "__ge__", "greater": "__lt__",
              "greater_equal": "__le__", "equal": "__eq__", "not_equal": "__ne__"}  # by the name of NumPy's function


class ForNumPy:
    """`Tensor.__array_ufunc__`: a function for NumPy, which asks the class; None for CuPy, which asks the tensor."""

    def __get__(self, tensor: Any, owner: Any) -> Any:
        return _ufunc if tensor is None else None


def _ufunc(tensor: Any, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """`array + tensor` as a tensor. DtypeError for other functions of NumPy, which would lose the gradient."""
    reflected = _REFLECTED.get(ufunc.__name__) if method == "__call__" else None
    if reflected and inputs[1] is tensor and not isinstance(inputs[0], type(tensor)):
        return getattr(tensor, reflected)(inputs[0])
    raise _no_gradient(ufunc.__name__)


def numpy_function(tensor: object, function: Callable[..., object], types: Iterable[type], inputs: Sequence[object],
                   options: Mapping[str, object]) -> object:
    """`Tensor.__array_function__`: NumPy's result for the values, where no gradient is lost.

    Errors: DtypeError if an input requires a gradient and the result has floats.
    """
    given: list[Any] = []
    positional, named = _values((tuple(inputs), dict(options)), type(tensor), given)
    result = function(*positional, **named)
    if any(one.requires_grad for one in given) and np.asarray(result).dtype.kind in "fc":
        raise _no_gradient(function.__name__)
    return result


def _values(value: Any, kind: type, given: list[Any]) -> Any:
    """A value with arrays in the place of its tensors, which are added to `given`."""
    if isinstance(value, kind):
        given.append(value)
        return np.asarray(value)
    if isinstance(value, dict):
        return {name: _values(one, kind, given) for name, one in value.items()}
    return type(value)(_values(one, kind, given) for one in value) if type(value) in (list, tuple) else value


def _no_gradient(name: str) -> DtypeError:
    right = f"tn.ops.{name}" if name in SHARED else "functions of tn.ops"
    return DtypeError(f"np.{name}: a tensor must be given to a function of tn.ops, since NumPy leaves no gradient; "
                      f"{right}, or np.{name}(x.numpy()) if it needs none?")
