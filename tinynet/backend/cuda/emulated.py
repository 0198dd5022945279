"""The device "gpu-emulated": arrays that are as strict as a GPU's, and that our CUDA kernels run on.

`namespace` stands for the module `cupy`. It computes with NumPy, and its arrays refuse what CuPy's refuse: to turn into
NumPy arrays by themselves, and to be mixed with them. What a reduction returns is an array of no axes, never a number.
What would make the host wait for a GPU (float(), bool(), item(), get()) is counted in `waits`, and is an error inside
of `no_waiting()`, as is copying an array of the host's. Memory that nobody has written to yet is NaN.

A function that is not in the lists below is an error: its entry is made after a look at CuPy's documentation.
"""

import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinynet.errors import DeviceError

# What CuPy has under NumPy's names: docs.cupy.dev/en/stable/reference/comparison.html
FUNCTIONS = {
    "abs", "arange", "ascontiguousarray", "broadcast_to", "clip", "concatenate", "exp", "expand_dims", "floor", "full",
    "isfinite", "log", "log1p", "maximum", "minimum", "ones", "ones_like", "pad", "sign", "split", "sqrt", "stack",
    "swapaxes", "take_along_axis", "tanh", "where", "zeros", "zeros_like"}
# What CuPy takes from NumPy: constants and types.
SHARED = {"bool_", "float32", "float64", "inf", "int32", "int64", "nan", "pi", "uint8", "uint32", "uint64"}
OPERATORS = [
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift",
    "radd", "rsub", "rmul", "rtruediv", "rfloordiv", "rmod", "rpow", "rmatmul", "rand", "ror", "rxor",
    "lt", "le", "gt", "ge", "eq", "ne", "neg", "pos", "abs", "invert"]
IN_PLACE = ["iadd", "isub", "imul", "itruediv", "ifloordiv", "ipow", "iand", "ior", "ixor"]
METHODS = [
    "all", "any", "argmax", "argmin", "astype", "clip", "copy", "cumsum", "max", "mean", "min", "prod", "ravel",
    "repeat", "reshape", "squeeze", "std", "sum", "swapaxes", "take", "transpose", "var", "view"]

DEVICE_ID = "emulated"  # where CuPy has the number of a GPU

waits = 0  # how often the host would have waited for the device
_waiting_forbidden = False


@contextmanager
def no_waiting() -> Iterator[None]:
    """Inside, whatever makes the host wait for the device is a DeviceError."""
    global _waiting_forbidden
    before, _waiting_forbidden = _waiting_forbidden, True
    try:
        yield
    finally:
        _waiting_forbidden = before


def _wait(what: str) -> None:
    global waits
    waits += 1
    _check(what)


def _check(what: str) -> None:
    if _waiting_forbidden:
        raise DeviceError(f"gpu-emulated: nothing may make the host wait here, and {what} does; keep the value on the "
                          "device, and read it later")


class Array:
    """An array on the device. `memory(array)` is where it really is; only what belongs to the device may look."""

    data = types.SimpleNamespace(device_id=DEVICE_ID)
    __array_ufunc__ = None  # so that NumPy's arrays leave `array + ours` to us, who refuse it
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, host: np.ndarray) -> None:
        self._host = host

    shape = property(lambda self: self._host.shape)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    dtype = property(lambda self: self._host.dtype)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    strides = property(lambda self: self._host.strides)
    flags = property(lambda self: self._host.flags)
    real = property(lambda self: Array(self._host.real))
    imag = property(lambda self: Array(self._host.imag))
    T = property(lambda self: Array(self._host.T))

    def get(self) -> np.ndarray:
        """The values as a NumPy array: a copy."""
        _wait("get()")
        return self._host.copy()

    def item(self) -> Any:
        _wait("item()")
        return self._host.item()

    def tolist(self) -> Any:
        _wait("tolist()")
        return self._host.tolist()

    def fill(self, value: Any) -> None:
        self._host.fill(_unwrapped(value))

    def __float__(self) -> float:
        _wait("float()")
        return float(self._host)

    def __int__(self) -> int:
        _wait("int()")
        return int(self._host)

    def __index__(self) -> int:
        _wait("use as an index")
        return self._host.__index__()

    def __bool__(self) -> bool:
        _wait("bool(), or an if,")
        return bool(self._host)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("gpu-emulated: an array of the device does not turn into one of NumPy's by itself; "
                        "array.get(), or tensor.numpy()")

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator["Array"]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> "Array":
        return Array(np.asarray(self._host[_unwrapped(index)]))

    def __setitem__(self, index: Any, value: Any) -> None:
        self._host[_unwrapped(index)] = _unwrapped(value)

    def __repr__(self) -> str:
        _wait("printing")
        return repr(self._host)

    def __str__(self) -> str:
        _wait("printing")
        return str(self._host)


def array(host: Any) -> Array:
    """A copy of a NumPy array on the device."""
    _check("copying an array of the host's")
    return Array(np.array(host))


def memory(array: Array) -> np.ndarray:
    """The memory of an array, for what runs on the device."""
    return array._host


def _on_device(value: Any) -> Any:
    """What NumPy returned, as the device would: arrays, also of no axes."""
    if isinstance(value, np.ndarray | np.generic):
        return Array(np.asarray(value))
    if isinstance(value, list | tuple):
        return type(value)(_on_device(one) for one in value)
    return value


def _unwrapped(value: Any) -> Any:
    """What NumPy is to compute with. Numbers pass, arrays of NumPy's do not."""
    if isinstance(value, Array):
        return value._host
    if isinstance(value, np.ndarray):
        raise DeviceError(f"gpu-emulated: all arrays must be on the device, got one of NumPy's of shape {value.shape}; "
                          'tensor.to("gpu-emulated"), or xp.asarray(array)')
    if isinstance(value, list | tuple):
        return type(value)(map(_unwrapped, value))
    if isinstance(value, slice):
        return slice(*map(_unwrapped, (value.start, value.stop, value.step)))
    return value


def _lifted(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of NumPy's for arrays of the device."""
    def on_device(*args: Any, **kwargs: Any) -> Any:
        return _on_device(function(*map(_unwrapped, args), **{name: _unwrapped(arg) for name, arg in kwargs.items()}))
    return on_device


def _in_place(name: str) -> Callable[..., Any]:
    def update(self: Array, other: Any) -> Array:
        getattr(self._host, name)(_unwrapped(other))
        return self
    return update


for _name in OPERATORS:
    setattr(Array, f"__{_name}__", _lifted(getattr(np.ndarray, f"__{_name}__")))
for _name in IN_PLACE:
    setattr(Array, f"__{_name}__", _in_place(f"__{_name}__"))
for _name in METHODS:
    setattr(Array, _name, _lifted(getattr(np.ndarray, _name)))


class Namespace(types.ModuleType):
    """What stands for the module `cupy`."""

    ndarray = Array

    def __getattr__(self, name: str) -> Any:
        if name in SHARED:
            return getattr(np, name)
        if name in FUNCTIONS:
            return _lifted(getattr(np, name))
        raise AttributeError(f"gpu-emulated: {name} is none of the functions of CuPy's that "
                             "tinynet/backend/cuda/emulated.py lists; does CuPy have it? then add it")

    @staticmethod
    def asarray(data: Any, dtype: Any = None) -> Array:
        """Unlike the other functions, this takes arrays of NumPy's: it is how they get here. They are copied."""
        if isinstance(data, Array):
            return data if dtype in (None, data.dtype) else Array(data._host.astype(dtype))
        if isinstance(data, np.ndarray):
            _check("copying an array of the host's")
        return Array(np.array(data, dtype))

    @staticmethod
    def array(data: Any, dtype: Any = None, copy: bool = True, order: Any = "K") -> Array:
        return Array(np.array(Namespace.asarray(data)._host, dtype, copy=copy, order=order))

    @staticmethod
    def asnumpy(data: Any) -> np.ndarray:
        return data.get() if isinstance(data, Array) else np.asarray(data)

    @staticmethod
    def empty(shape: Any, dtype: Any = np.float64) -> Array:
        made = np.empty(shape, dtype)
        made.fill(np.nan if made.dtype.kind in "fc" else 1 if made.dtype.kind == "b" else np.iinfo(made.dtype).max)
        return Array(made)

    @staticmethod
    def empty_like(like: Array, dtype: Any = None) -> Array:
        return Namespace.empty(like.shape, like.dtype if dtype is None else dtype)

    @staticmethod
    def add_at(array: Array, index: Any, value: Any) -> None:
        np.add.at(array._host, _unwrapped(index), _unwrapped(value))


namespace = Namespace("cupy", __doc__)
namespace.add = types.SimpleNamespace(at=Namespace.add_at)  # type: ignore[attr-defined]
