"""A small CuPy for machines without a GPU: the library of the device "gpu-emulated".

`namespace` stands for the module `cupy`. NumPy computes, and the emulator runs our kernels, both in host memory. The
arrays refuse what CuPy's refuse:

- They do not become NumPy arrays by themselves, and no operation takes both kinds.
- A reduction returns an array without axes, never a number.
- What makes the host wait for a GPU (float(), bool(), item(), get()) is counted in `waits`. It is an error inside
  `no_waiting()` and while a stream records, and so is copying from the host.
- Memory that was never written is NaN.

Every new array and every view is made in `DeviceArray.compute`, and every change in `DeviceArray.change`, so that a
stream can record them (fake_cuda.py). A function that is missing in the lists below is an error: look it up in CuPy's
documentation before adding it.
"""

import operator
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import numpy as np

from tinynet.backend.cuda.runtime import fake_cuda
from tinynet.backend.cuda.runtime.emulator import Library
from tinynet.backend.cuda.runtime.fake_cuda import is_capturing, perform, unwritten
from tinynet.errors import DeviceError

# What CuPy has under NumPy's names: docs.cupy.dev/en/stable/reference/comparison.html
FUNCTIONS = {
    "abs", "arange", "ascontiguousarray", "broadcast_to", "clip", "concatenate", "exp", "expand_dims", "expm1", "floor",
    "full", "isfinite", "log", "log1p", "maximum", "minimum", "ones", "ones_like", "pad", "sign", "split", "sqrt",
    "stack", "swapaxes", "take_along_axis", "tanh", "zeros", "zeros_like"}
# What CuPy takes from NumPy: constants and types.
SHARED = {"bool_", "float32", "float64", "inf", "int32", "int64", "nan", "pi", "uint8", "uint16", "uint32", "uint64"}
OPERATORS = [
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift",
    "radd", "rsub", "rmul", "rtruediv", "rfloordiv", "rmod", "rpow", "rmatmul", "rand", "ror", "rxor",
    "lt", "le", "gt", "ge", "eq", "ne", "neg", "pos", "abs", "invert"]
IN_PLACE = ["iadd", "isub", "imul", "itruediv", "ifloordiv", "ipow", "iand", "ior", "ixor"]
METHODS = [
    "all", "any", "argmax", "argmin", "astype", "clip", "copy", "cumsum", "max", "mean", "min", "prod", "ravel",
    "repeat", "reshape", "squeeze", "std", "sum", "swapaxes", "take", "transpose", "var", "view"]

waits = 0  # how often the host would have waited for the device
_allowed: ContextVar[tuple[bool, bool]] = ContextVar("allowed", default=(True, True))  # to wait, to copy


@contextmanager
def no_waiting(copying: bool = False) -> Iterator[None]:
    """Inside, what makes the host wait for the device is a DeviceError, and without `copying` copies from the host."""
    token = _allowed.set((False, copying))
    try:
        yield
    finally:
        _allowed.reset(token)


def _wait(what: str) -> None:
    global waits
    waits += 1
    _check(_allowed.get()[0], what)


def _check(allowed: bool, what: str) -> None:
    if not allowed or is_capturing():
        raise DeviceError(f"no_waiting: nothing may make the host wait here, and {what} does; keep the value on the "
                          "device, and read it later")


class DeviceArray:
    """An array on a device, in NumPy's memory `_host`. A subclass is a kind of device, and refuses arrays of others."""

    place: str  # the device's name
    device: Any  # with its number, `id`
    __array_ufunc__ = None  # NumPy's arrays then leave `array + ours` to our __radd__, which refuses it
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, host: np.ndarray) -> None:
        if host.base is None:
            fake_cuda.place(host)
        self._host = host

    @classmethod
    def compute(cls, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """The result of a NumPy function of arrays of this device: new arrays, or views."""
        args = tuple(map(cls._unwrapped, args))
        kwargs = {name: cls._unwrapped(value) for name, value in kwargs.items()}
        with fake_cuda.quiet():
            made = cls._wrapped(function(*args, **kwargs))
        if is_capturing() and isinstance(made, cls) and not _share_memory(made._host, args):
            perform(partial(compute_again, made._host, function, args, kwargs))
        return made

    @classmethod
    def change(cls, function: Callable[..., Any], /, *args: Any) -> None:
        """Change an array of this device, the first of the arguments, by a NumPy function."""
        perform(partial(function, *map(cls._unwrapped, args)))

    @classmethod
    def _unwrapped(cls, value: Any) -> Any:
        """What NumPy is to compute with. Numbers pass; NumPy's arrays and those of other devices do not."""
        if isinstance(value, cls):
            return value._host
        if isinstance(value, np.ndarray | DeviceArray):
            raise DeviceError(f"{cls.place}: all arrays must be on the device, got {type(value).__name__} of shape "
                              f"{value.shape} from elsewhere; tensor.to({cls.place!r}), or xp.asarray(array)")
        if isinstance(value, list | tuple):
            return type(value)(map(cls._unwrapped, value))
        return value

    @classmethod
    def _wrapped(cls, value: Any) -> Any:
        """What NumPy returned, as the device returns it: an array also where NumPy has a number."""
        if isinstance(value, np.ndarray | np.generic):
            return cls(np.asarray(value))
        if isinstance(value, list | tuple):
            return type(value)(map(cls._wrapped, value))
        return value

    shape = property(lambda self: self._host.shape)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    dtype = property(lambda self: self._host.dtype)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    strides = property(lambda self: self._host.strides)
    flags = property(lambda self: self._host.flags)
    data = property(lambda self: types.SimpleNamespace(ptr=self._host.ctypes.data, device_id=self.device.id))
    real = property(lambda self: self.compute(np.real, self))
    imag = property(lambda self: self.compute(np.imag, self))
    T = property(lambda self: self.compute(np.transpose, self))

    def get(self) -> np.ndarray:
        """The values as a NumPy array: a copy."""
        _wait("get()")
        return self._host.copy()

    def set(self, values: np.ndarray) -> None:
        """Copy a NumPy array into this one."""
        _wait("set()")
        self._host[...] = values

    def item(self) -> Any:
        _wait("item()")
        return self._host.item()

    def tolist(self) -> Any:
        _wait("tolist()")
        return self._host.tolist()

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

    def __repr__(self) -> str:
        _wait("printing")
        return repr(self._host)

    def __str__(self) -> str:
        _wait("printing")
        return str(self._host)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise DeviceError(f"{self.place}: an array of the device does not turn into one of NumPy's by itself; "
                          "array.get(), or tensor.numpy()")

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        _check_index(index)
        return self.compute(operator.getitem, self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, DeviceArray) or not isinstance(index, DeviceArray):  # x[mask] = number does not wait
            _check_index(index)
        self.change(operator.setitem, self, index, value)

    def fill(self, value: Any) -> None:
        self.change(np.ndarray.fill, self, value)


def _check_index(index: Any) -> None:
    """A mask makes the host wait for the number of elements it picks; a list is copied to the device."""
    for part in index if isinstance(index, tuple) else (index,):
        if isinstance(part, DeviceArray) and part.dtype == np.bool_:
            _wait("a mask as an index")
        if isinstance(part, list):
            _check(_allowed.get()[1], "copying an index from the host")


def _method(name: str) -> Callable[..., Any]:
    function = getattr(np.ndarray, name)

    def method(self: DeviceArray, *args: Any, **kwargs: Any) -> Any:
        return self.compute(function, self, *args, **kwargs)
    return method


def _in_place(name: str) -> Callable[..., Any]:
    function = getattr(np.ndarray, name)

    def method(self: DeviceArray, other: Any) -> DeviceArray:
        self.change(function, self, other)
        return self
    return method


for _name in METHODS:
    setattr(DeviceArray, _name, _method(_name))
for _name in OPERATORS:
    setattr(DeviceArray, f"__{_name}__", _method(f"__{_name}__"))
for _name in IN_PLACE:
    setattr(DeviceArray, f"__{_name}__", _in_place(f"__{_name}__"))


class Array(DeviceArray):
    """An array on the device "gpu-emulated"."""

    place = "gpu-emulated"
    device = types.SimpleNamespace(id=0)


class RawKernel:
    """A kernel as `cupy.RawModule.get_function` returns it."""

    max_dynamic_shared_size_bytes = 48 * 1024  # more must be asked for, by setting this

    def __init__(self, library: Library, name: str) -> None:
        self._library, self._name = library, name

    def __call__(self, blocks: tuple[int, int, int], threads: tuple[int, int, int], args: tuple[Any, ...], *,
                 shared_mem: int = 0) -> None:
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise RuntimeError(f"CUDA_ERROR_INVALID_VALUE: {self._name} did not ask for {shared_mem} bytes of shared "
                               "memory")
        values = [arg._host if isinstance(arg, DeviceArray) else arg[()] if isinstance(arg, np.ndarray) else arg
                  for arg in args]  # a NumPy array of one element is a struct, passed by value
        perform(partial(self._library.run, self._name, blocks, threads, shared_mem, values))


class RawModule:
    """As `cupy.RawModule`: the kernels of a source text, compiled for the emulator. `options` are for NVRTC."""

    def __init__(self, code: str, options: tuple[str, ...] = ()) -> None:
        self._library = Library(code)

    def get_function(self, name: str) -> RawKernel:
        return RawKernel(self._library, name)


class Namespace(types.ModuleType):
    """What stands for the module `cupy`. A subclass with arrays of another kind is that of another device."""

    ndarray: type[DeviceArray] = Array
    cuda: Any = fake_cuda
    RawModule = RawModule
    get_default_memory_pool = staticmethod(lambda: fake_cuda.default_pool)
    add = property(lambda self: types.SimpleNamespace(at=self._add_at))

    def _add_at(self, array: DeviceArray, index: Any, values: Any) -> None:
        _check_index(index)
        self.ndarray.change(np.add.at, array, index, values)

    def where(self, condition: Any, *arrays: Any) -> Any:
        if not arrays:
            _wait("where() of a condition alone")
        return self.ndarray.compute(np.where, condition, *arrays)

    def __getattr__(self, name: str) -> Any:
        if name in SHARED:
            return getattr(np, name)
        if name in FUNCTIONS:
            return partial(self.ndarray.compute, getattr(np, name))
        raise AttributeError(f"cupy.{name} is not in the lists of tinynet/backend/cuda/runtime/fake_cupy.py; does CuPy "
                             "have it? then add it")

    def asarray(self, data: Any, dtype: Any = None) -> Any:
        """A copy of a NumPy array on the device. No other function takes NumPy arrays."""
        if isinstance(data, np.ndarray) or (is_capturing() and not isinstance(data, DeviceArray)):
            _check(_allowed.get()[1], "copying from the host")
            return self.ndarray(np.array(data, dtype))
        if isinstance(data, self.ndarray) and dtype in (None, data.dtype):
            return data
        return self.ndarray.compute(np.array, data, dtype)

    def array(self, data: Any, dtype: Any = None, copy: bool = True, order: Any = "K") -> Any:
        return self.ndarray.compute(np.array, self.asarray(data), dtype, copy=copy, order=order)

    def empty(self, shape: Any, dtype: Any = np.float64) -> Any:
        return self.ndarray.compute(unwritten, shape, dtype)

    def empty_like(self, like: DeviceArray, dtype: Any = None) -> Any:
        return self.empty(like.shape, like.dtype if dtype is None else dtype)


def _share_memory(made: np.ndarray, args: Any) -> bool:
    """Whether an array is a view of one of the arguments."""
    return any(_share_memory(made, arg) if isinstance(arg, list | tuple) else
               isinstance(arg, np.ndarray) and np.may_share_memory(made, arg) for arg in args)


def compute_again(made: np.ndarray, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
    """The recorded action that makes an array: what the function returns, in the array's memory."""
    made[...] = function(*args, **kwargs)


namespace = Namespace("cupy", __doc__)
