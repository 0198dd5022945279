"""Gives Tensor its arithmetic, `a + b`, `x.sum()`, `x[0]`, and the functions that are ops under another name.

The tape knows no op; this file hands it the methods. Nothing here computes a gradient: each is a call of an op, or of
several.
"""

from numbers import Integral
from typing import Any

from tinynet.errors import ArgumentError
from tinynet.op import namespace_of
from tinynet.ops.axes import axes_of
from tinynet.ops.elementwise import absolute, add, divide, multiply, negative, power, sqrt, subtract
from tinynet.ops.matmul import matmul
from tinynet.ops.reduce import max, mean, min, sum, var
from tinynet.ops.shape import astype, concatenate, getitem, reshape, transpose
from tinynet.tensor import Tensor


def stack(tensors: Any, axis: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new axis.

    >>> import tinynet as tn
    >>> tn.ops.stack([tn.Tensor([1.0, 2.0]), tn.Tensor([3.0, 4.0])]).shape
    (2, 2)
    """
    return concatenate([expand_dims(tensor, axis) for tensor in tensors], axis=axis)


def expand_dims(x: Tensor, axis: int) -> Tensor:
    """x with a new axis of size 1 at place `axis` of the result.

    >>> import tinynet as tn
    >>> tn.ops.expand_dims(tn.Tensor([1.0, 2.0]), -1).shape
    (2, 1)
    """
    place, = axes_of("expand_dims", axis, x.ndim + 1)
    return x.reshape(*x.shape[:place], 1, *x.shape[place:])


def squeeze(x: Tensor, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """x without its axes of size 1: all of them, or those named.

    Errors: ArgumentError if a named axis has another size.

    >>> import tinynet as tn
    >>> tn.Tensor([[[1.0], [2.0]]]).squeeze().shape
    (2,)
    """
    if axis is None:
        return x.reshape(*[size for size in x.shape if size != 1])
    axes = axes_of("squeeze", axis, x.ndim)
    if any(x.shape[one] != 1 for one in axes):
        raise ArgumentError(f"squeeze: axis must name axes of size 1, got {axis} for shape {x.shape}; "
                            "index one element instead, x[0]?")
    return x.reshape(*[size for i, size in enumerate(x.shape) if i not in axes])


def flatten(x: Tensor) -> Tensor:
    """All elements in one axis.

    >>> import tinynet as tn
    >>> tn.Tensor([[1.0], [2.0]]).flatten().shape
    (2,)
    """
    return x.reshape(-1)


def flip(x: Tensor, axis: int) -> Tensor:
    """x backwards along an axis.

    >>> import tinynet as tn
    >>> tn.ops.flip(tn.Tensor([1.0, 2.0]), 0).numpy()
    array([2., 1.], dtype=float32)
    """
    backwards = axes_of("flip", axis, x.ndim)
    return x[tuple(slice(None, None, -1) if i in backwards else slice(None) for i in range(x.ndim))]


def std(x: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The standard deviation of elements as a population: the root of `var`.

    >>> import tinynet as tn
    >>> tn.Tensor([1.0, 3.0]).std().item()
    1.0
    """
    return sqrt(var(x, axis=axis, keepdims=keepdims))


def argmax(x: Tensor, axis: int | None = None) -> Tensor:
    """The place of the first largest element, as integers, without a gradient.

    >>> import tinynet as tn
    >>> tn.Tensor([[1.0, 3.0], [2.0, 0.0]]).argmax(axis=1).numpy()
    array([1, 0])
    """
    namespace_of("argmax", ("x", x))
    return Tensor(x.data.argmax(axis=axis))


def argmin(x: Tensor, axis: int | None = None) -> Tensor:
    """The place of the first smallest element, as integers, without a gradient.

    >>> import tinynet as tn
    >>> tn.Tensor([1.0, 3.0, 0.5]).argmin().item()
    2
    """
    namespace_of("argmin", ("x", x))
    return Tensor(x.data.argmin(axis=axis))


def _matmul(a: Any, b: Any) -> Any:
    """a @ b, where either may be a vector, as in NumPy."""
    a, b = (value if isinstance(value, Tensor) else Tensor(value) for value in (a, b))
    if b.ndim == 1:
        return _matmul(a, b.reshape(-1, 1))[..., 0]
    if a.ndim == 1:
        return _matmul(a.reshape(1, -1), b)[..., 0, :]
    return matmul(a, b)


def _plain(value: Any) -> Any:
    """The array in a tensor, the Python number in one of NumPy's, also inside of an index."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return value.data if isinstance(value, Tensor) else value


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor) or (hasattr(value, "dtype") and hasattr(value, "__len__"))


def _getitem(x: Tensor, index: Any) -> Any:
    arrays = filter(_is_array, index if isinstance(index, tuple) else (index,))
    namespace_of("getitem", ("x", x), *(("index", Tensor(array)) for array in arrays))
    return getitem(x, _plain(index))


def _reshape(x: Tensor, *shape: Any) -> Any:
    return reshape(x, tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape)


def _transpose(x: Tensor, *axes: Any) -> Any:
    if not axes:
        return transpose(x, tuple(reversed(range(x.ndim))))
    return transpose(x, tuple(axes[0]) if isinstance(axes[0], tuple | list) else axes)


def _compare(method: str, name: str) -> Any:
    def compare(a: Tensor, b: Any) -> Tensor:
        namespace_of(name, ("a", a), *([("b", Tensor(b))] if _is_array(b) else []))
        return Tensor(getattr(a.data, method)(_plain(b)))
    return compare


def _reduction(op: Any) -> Any:
    def reduce(x: Tensor, axis: Any = None, keepdims: bool = False) -> Any:
        return op(x, axis=axis, keepdims=keepdims)
    reduce.__doc__ = op.__doc__
    return reduce


def _swapped(op: Any) -> Any:
    return lambda b, a: op(a, b)


_METHODS: dict[str, Any] = {
    "__add__": lambda a, b: add(a, b), "__radd__": _swapped(add),
    "__sub__": lambda a, b: subtract(a, b), "__rsub__": _swapped(subtract),
    "__mul__": lambda a, b: multiply(a, b), "__rmul__": _swapped(multiply),
    "__truediv__": lambda a, b: divide(a, b), "__rtruediv__": _swapped(divide),
    "__matmul__": _matmul, "__rmatmul__": _swapped(_matmul),
    "__pow__": lambda x, p: power(x, p), "__neg__": lambda x: negative(x), "__abs__": lambda x: absolute(x),
    "__lt__": _compare("__lt__", "less"), "__le__": _compare("__le__", "less_equal"),
    "__gt__": _compare("__gt__", "greater"), "__ge__": _compare("__ge__", "greater_equal"),
    "__eq__": _compare("__eq__", "equal"), "__ne__": _compare("__ne__", "not_equal"), "__hash__": object.__hash__,
    "__getitem__": _getitem, "reshape": _reshape, "transpose": _transpose, "T": property(_transpose),
    "sum": _reduction(sum), "mean": _reduction(mean), "max": _reduction(max), "min": _reduction(min),
    "var": _reduction(var), "std": std, "argmax": argmax, "argmin": argmin,
    "flatten": flatten, "squeeze": squeeze, "astype": lambda x, dtype: astype(x, dtype),
}
for _name, _method in _METHODS.items():
    setattr(Tensor, _name, _method)
