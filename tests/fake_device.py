"""A device that is none: a stand-in for CuPy that computes with NumPy and is as strict as a GPU, or stricter.

Its arrays refuse what a GPU's arrays refuse: to turn into NumPy arrays by themselves, and to be mixed with them. What
makes the host wait for the device (float(), bool(), item(), get()) is counted in `waits`; that, and copying an array
of the host's, is an error inside `no_waiting()`. What a reduction returns is an array of no axes, as in CuPy, and
never a number.

    with installed():                  # import cupy finds this one
        model.to("gpu")

The namespace has the functions of CuPy's that the project uses. One that is not in `FUNCTIONS` is an error: its entry
should be made after a look at CuPy's documentation.
"""

import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

# What CuPy has under NumPy's names: docs.cupy.dev/en/stable/reference/comparison.html
FUNCTIONS = {
    "abs", "arange", "broadcast_to", "clip", "concatenate", "empty", "empty_like", "exp", "expand_dims", "full", "log",
    "log1p", "maximum", "minimum", "ones", "pad", "sign", "split", "sqrt", "stack", "swapaxes", "take_along_axis",
    "tanh", "where", "zeros", "zeros_like"}
# What CuPy takes from NumPy: constants and types.
SHARED = {"inf", "pi", "nan", "int32", "int64", "uint32", "uint64", "float32", "float64"}
OPERATORS = [
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift",
    "radd", "rsub", "rmul", "rtruediv", "rfloordiv", "rmod", "rpow", "rmatmul", "rand", "ror", "rxor",
    "lt", "le", "gt", "ge", "eq", "ne", "neg", "pos", "abs", "invert"]
IN_PLACE = ["iadd", "isub", "imul", "itruediv", "ifloordiv", "ipow", "iand", "ior", "ixor"]
METHODS = [
    "all", "any", "argmax", "argmin", "astype", "clip", "copy", "max", "mean", "min", "prod", "ravel", "repeat",
    "reshape", "squeeze", "std", "sum", "swapaxes", "take", "transpose", "var", "view"]

waits = 0
_waiting_forbidden = False


class HostError(AssertionError):
    """Array code did what a GPU's arrays do not allow, or what would make the host wait."""


@contextmanager
def no_waiting() -> Iterator[None]:
    """Inside, making the host wait for the device is an error."""
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
        raise HostError(f"{what} makes the host wait for the device")


class DeviceArray:
    """An array on the device. `_host` is where it really is; only this file may look."""

    __array_ufunc__ = None
    __cuda_array_interface__ = {"version": 3}  # noqa: RUF012  it is all that tinynet asks: is it there?
    device = types.SimpleNamespace(id=0)

    def __init__(self, host: np.ndarray) -> None:
        self._host = host

    shape = property(lambda self: self._host.shape)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    dtype = property(lambda self: self._host.dtype)
    nbytes = property(lambda self: self._host.nbytes)
    flags = property(lambda self: self._host.flags)
    real = property(lambda self: DeviceArray(self._host.real))
    imag = property(lambda self: DeviceArray(self._host.imag))
    T = property(lambda self: DeviceArray(self._host.T))

    def get(self) -> np.ndarray:
        _wait("get()")
        return self._host.copy()

    def item(self) -> Any:
        _wait("item()")
        return self._host.item()

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
        raise HostError("an array of the device does not turn into one of NumPy's by itself; .get() does it")

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator["DeviceArray"]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> "DeviceArray":
        return _on_device(self._host[_unwrapped(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self._host[_unwrapped(index)] = _unwrapped(value)

    def __repr__(self) -> str:
        return f"DeviceArray{self.shape}"


def _on_device(value: Any) -> Any:
    """What NumPy returned, as the device would: arrays, also of no axes."""
    if isinstance(value, np.ndarray | np.generic):
        return DeviceArray(np.asarray(value))
    if isinstance(value, list | tuple):
        return type(value)(_on_device(one) for one in value)
    return value


def _unwrapped(value: Any) -> Any:
    """What NumPy is to compute with. Numbers pass, arrays of NumPy's do not."""
    if isinstance(value, DeviceArray):
        return value._host
    if isinstance(value, np.ndarray):
        raise HostError(f"an array of NumPy's, of shape {value.shape}, was given to the device")
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
    def update(self: DeviceArray, other: Any) -> DeviceArray:
        changed = getattr(self._host, name)(_unwrapped(other))
        assert changed is self._host, name
        return self
    return update


for _name in OPERATORS:
    setattr(DeviceArray, f"__{_name}__", _lifted(getattr(np.ndarray, f"__{_name}__")))
for _name in IN_PLACE:
    setattr(DeviceArray, f"__{_name}__", _in_place(f"__{_name}__"))
for _name in METHODS:
    setattr(DeviceArray, _name, _lifted(getattr(np.ndarray, _name)))
DeviceArray.__hash__ = None  # type: ignore[assignment]


class Namespace(types.ModuleType):
    """The module `cupy`."""

    ndarray = DeviceArray
    add = types.SimpleNamespace(at=lambda array, index, value: np.add.at(*map(_unwrapped, (array, index, value))))

    @staticmethod
    def array(array: Any, dtype: Any = None, copy: bool = True, order: str = "K") -> DeviceArray:
        return DeviceArray(np.array(Namespace.asarray(array)._host, dtype, copy=copy, order=order))

    def __getattr__(self, name: str) -> Any:
        if name in SHARED:
            return getattr(np, name)
        if name in FUNCTIONS:
            return _lifted(getattr(np, name))
        raise AttributeError(f"cupy.{name} is not known to tests/fake_device.py: does CuPy have it?")

    @staticmethod
    def asarray(array: Any, dtype: Any = None) -> DeviceArray:
        """Unlike the other functions, this takes arrays of NumPy's: it is how they get here. They are copied."""
        if isinstance(array, DeviceArray):
            return array if dtype in (None, array.dtype) else array.astype(dtype)
        if isinstance(array, np.ndarray):
            _check("copying an array of the host's")
        return DeviceArray(np.array(array, dtype))


@contextmanager
def _chosen(index: int) -> Iterator[None]:
    assert index == 0
    yield


xp = Namespace("cupy")
xp.cuda = types.SimpleNamespace(  # type: ignore[attr-defined]
    Device=_chosen, runtime=types.SimpleNamespace(getDeviceCount=lambda: 1, CUDARuntimeError=RuntimeError))


@contextmanager
def installed() -> Iterator[None]:
    """Inside, `import cupy` finds this device, and "gpu" is it."""
    before = sys.modules.get("cupy")
    sys.modules["cupy"] = xp
    try:
        yield
    finally:
        if before is None:
            del sys.modules["cupy"]
        else:
            sys.modules["cupy"] = before


def to_device(value: Any) -> Any:
    """NumPy arrays, also inside of lists, tuples and dictionaries, as arrays of the device: copies."""
    if isinstance(value, np.ndarray):
        return DeviceArray(value.copy())
    if isinstance(value, list | tuple):
        return type(value)(map(to_device, value))
    if isinstance(value, dict):
        return {name: to_device(one) for name, one in value.items()}
    return value


def to_host(value: Any) -> Any:
    """And back, for comparing; not a wait."""
    if isinstance(value, DeviceArray):
        return value._host
    if isinstance(value, list | tuple):
        return type(value)(map(to_host, value))
    return value
