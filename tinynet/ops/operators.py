"""The operators and methods of Tensor, such as `a + b`, `x.sum()` and `x[0]`: each is the call of an op.

Tensor does not import the ops; `attach_operators` gives it the methods.
"""

from numbers import Integral
from typing import Any

from tinynet.elsewhere import TENSOR, answers
from tinynet.ops.axes import broadcast
from tinynet.ops.composed import argmax, argmin, flatten, squeeze, std
from tinynet.ops.elementwise import absolute, add, divide, multiply, negative, power, subtract
from tinynet.ops.indexing import getitem
from tinynet.ops.matmul import matmul
from tinynet.ops.reduce import max, mean, min, sum, var
from tinynet.ops.shape import astype, reshape, transpose
from tinynet.ops.special import float_power
from tinynet.tensor import Tensor, namespace_of, tensor_like
from tinynet.types import ArrayLike, Axes, Index, Shape


def _matmul(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a @ b; either may be a vector, as in NumPy."""
    x, y = (value if isinstance(value, Tensor) else Tensor(value) for value in (a, b))
    if y.ndim == 1:
        return _matmul(x, y.reshape(-1, 1))[..., 0]
    if x.ndim == 1:
        return _matmul(x.reshape(1, -1), y)[..., 0, :]
    return matmul(x, y)


def _plain(value: Any) -> Any:
    """A tensor's array, a NumPy integer as a Python int, other values unchanged; in a tuple, of each part."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return value.data if isinstance(value, Tensor) else value


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor) or (hasattr(value, "dtype") and hasattr(value, "__len__"))


def _getitem(x: Tensor, index: Index) -> Tensor:
    arrays = filter(_is_array, index if isinstance(index, tuple) else (index,))
    namespace_of("getitem", ("x", x), *(("index", Tensor(array)) for array in arrays))
    return getitem(x, _plain(index))


def _reshape(x: Tensor, *shape: int | Shape) -> Tensor:
    return reshape(x, tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape)


def _transpose(x: Tensor, *axes: int | Shape) -> Tensor:
    if not axes:
        return transpose(x, tuple(reversed(range(x.ndim))))
    return transpose(x, tuple(axes[0]) if isinstance(axes[0], tuple | list) else axes)


def _compare(method: str, name: str) -> Any:
    def compare(a: Tensor, b: ArrayLike) -> Tensor:
        others = []
        if _is_array(b) or isinstance(b, list | tuple):
            b = b if isinstance(b, Tensor) else Tensor(b)
            others = [("b", b)]
            broadcast(name, a.shape, b.shape)
        namespace_of(name, ("a", a), *others)  # makes this GPU the current one, if there are several
        return tensor_like(getattr(a.data, method)(_plain(b)), a.data)
    return compare


def _reduction(op: Any) -> Any:
    def reduce(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
        return op(x, axis=axis, keepdims=keepdims)
    reduce.__doc__, reduce.__name__, reduce.__qualname__ = op.__doc__, op.name, op.name
    return reduce


def _swapped(op: Any) -> Any:
    return lambda b, a: op(a, b)


_METHODS: dict[str, Any] = {
    "__add__": lambda a, b: add(a, b), "__radd__": _swapped(add),
    "__sub__": lambda a, b: subtract(a, b), "__rsub__": _swapped(subtract),
    "__mul__": lambda a, b: multiply(a, b), "__rmul__": _swapped(multiply),
    "__truediv__": lambda a, b: divide(a, b), "__rtruediv__": _swapped(divide),
    "__matmul__": _matmul, "__rmatmul__": _swapped(_matmul),
    "__pow__": lambda x, p: power(x, p), "__rpow__": _swapped(float_power),
    "__neg__": lambda x: negative(x), "__abs__": lambda x: absolute(x),
    "__lt__": _compare("__lt__", "less"), "__le__": _compare("__le__", "less_equal"),
    "__gt__": _compare("__gt__", "greater"), "__ge__": _compare("__ge__", "greater_equal"),
    "__eq__": _compare("__eq__", "equal"), "__ne__": _compare("__ne__", "not_equal"), "__hash__": object.__hash__,
    "__getitem__": _getitem, "reshape": _reshape, "transpose": _transpose, "T": property(_transpose),
    "sum": _reduction(sum), "mean": _reduction(mean), "max": _reduction(max), "min": _reduction(min),
    "var": _reduction(var), "std": std, "argmax": argmax, "argmin": argmin,
    "flatten": flatten, "squeeze": squeeze, "astype": lambda x, dtype: astype(x, dtype),
}


def attach_operators() -> None:
    """Make the methods of Tensor, and let it answer the names of methods that it lacks."""
    for name, method in _METHODS.items():
        setattr(Tensor, name, method)
    answers(Tensor, TENSOR)
