"""A device that is none: a stand-in for CuPy that computes with NumPy and is as strict as a GPU, or stricter.

Its arrays refuse what a GPU's arrays refuse: to turn into NumPy arrays by themselves, and to be mixed with them. What
makes the host wait for the device (float(), bool(), item(), get()) is counted in `waits`; that, and copying an array
of the host's, is an error inside `no_waiting()`. What a reduction returns is an array of no axes, as in CuPy, and
never a number.

    with installed():                  # import cupy finds this one
        model.to("gpu")

    with installed(count=2):           # two GPUs, of which one is current; arrays of the other one are refused
    with installed(driver=12000):      # other machines: see `Runtime`
    with memory(1000):                 # more bytes than that, and an array does not fit

The namespace has the functions of CuPy's that the project uses. One that is not in `FUNCTIONS` is an error: its entry
should be made after a look at CuPy's documentation.
"""

import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinynet import backend

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
_waiting_forbidden = _copying_forbidden = False
_current = 0  # the GPU on which new arrays are made
_memory = 2**40  # bytes that an array may have


class HostError(AssertionError):
    """Array code did what a GPU's arrays do not allow, or what would make the host wait."""


class OutOfMemoryError(MemoryError):
    """As `cupy.cuda.memory.OutOfMemoryError`."""


@contextmanager
def no_waiting(copying: bool = False) -> Iterator[None]:
    """Inside, making the host wait for the device is an error, and so is copying arrays there, unless it is allowed."""
    global _waiting_forbidden, _copying_forbidden
    before = _waiting_forbidden, _copying_forbidden
    _waiting_forbidden, _copying_forbidden = True, not copying
    try:
        yield
    finally:
        _waiting_forbidden, _copying_forbidden = before


@contextmanager
def memory(size: int) -> Iterator[None]:
    """Inside, an array of more bytes does not fit."""
    global _memory
    before, _memory = _memory, size
    try:
        yield
    finally:
        _memory = before


def _wait(what: str) -> None:
    global waits
    waits += 1
    if _waiting_forbidden:
        raise HostError(f"{what} makes the host wait for the device")


class DeviceArray:
    """An array on the device. `_host` is where it really is; only this file may look."""

    __array_ufunc__ = None
    __cuda_array_interface__ = {"version": 3}  # noqa: RUF012  it is all that tinynet asks: is it there?

    def __init__(self, host: np.ndarray, index: int | None = None) -> None:
        if host.base is None and host.nbytes > _memory:
            raise OutOfMemoryError(f"Out of memory allocating {host.nbytes:,} bytes")
        self._host = host
        self.device = types.SimpleNamespace(id=_current if index is None else index)

    shape = property(lambda self: self._host.shape)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    dtype = property(lambda self: self._host.dtype)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides)
    flags = property(lambda self: self._host.flags)
    data = property(lambda self: types.SimpleNamespace(ptr=self._host.ctypes.data))
    real = property(lambda self: DeviceArray(self._host.real, self.device.id))
    imag = property(lambda self: DeviceArray(self._host.imag, self.device.id))
    T = property(lambda self: DeviceArray(self._host.T, self.device.id))

    def __dlpack__(self, **options: Any) -> "DeviceArray":
        return self  # no capsule: for `Namespace.from_dlpack` alone

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device.id

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
        return DeviceArray(np.asarray(self._host[_unwrapped(index)]), self.device.id)

    def __setitem__(self, index: Any, value: Any) -> None:
        _unwrapped(self)[_unwrapped(index)] = _unwrapped(value)

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
        if value.device.id != _current:
            raise HostError(f"an array of gpu:{value.device.id} is computed with while gpu:{_current} is current")
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
        changed = getattr(_unwrapped(self), name)(_unwrapped(other))
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
        """Unlike the other functions, this takes arrays of NumPy's, and of other GPUs, which are copied: it is how
        they get here. What another library has on a GPU is shared."""
        if isinstance(array, DeviceArray):
            here = array if array.device.id == _current else DeviceArray(array._host.copy())
            return here if dtype in (None, array.dtype) else here.astype(dtype)
        if hasattr(array, "__cuda_array_interface__"):
            return DeviceArray(array.memory)
        if isinstance(array, np.ndarray) and _copying_forbidden:
            raise HostError("copying an array of the host's makes the host wait for the device")
        return DeviceArray(np.array(array, dtype))

    @staticmethod
    def from_dlpack(array: Any) -> DeviceArray:
        return DeviceArray(array.__dlpack__()._host)

    @staticmethod
    def get_default_memory_pool() -> Any:
        return types.SimpleNamespace(free_bytes=lambda: 2**20)


class Device:
    """A GPU by its number; `with` or `use()` makes it the current one."""

    def __init__(self, index: int) -> None:
        self.index = index

    def use(self) -> None:
        global _current
        assert self.index < xp.cuda.runtime.count
        _current = self.index

    def __enter__(self) -> None:
        self.before = _current
        self.use()

    def __exit__(self, *error: object) -> None:
        Device(self.before).use()


class Runtime:
    """A machine: the number of its GPUs, and the versions of CUDA (12040 is 12.4) of its driver and of CuPy. A driver
    of version 0 is none; one that is older than CuPy finds no GPU."""

    CUDARuntimeError = type("CUDARuntimeError", (RuntimeError,), {})

    def __init__(self, count: int, driver: int, built: int) -> None:
        self.count = count
        self.driverGetVersion, self.runtimeGetVersion = lambda: driver, lambda: built
        self.memGetInfo = lambda: (3 * 2**30, 4 * 2**30)
        self.getDevice = lambda: _current
        self.getDeviceProperties = lambda index: {"name": f"Fake GPU {index}".encode()}

    def getDeviceCount(self) -> int:
        if self.driverGetVersion() // 1000 < self.runtimeGetVersion() // 1000:
            raise self.CUDARuntimeError("cudaErrorInsufficientDriver")
        if not self.count:
            raise self.CUDARuntimeError("cudaErrorNoDevice")
        return self.count


def _compiler_version(error: str | None) -> tuple[int, int]:
    if error:
        raise RuntimeError(error)
    return 13, 0


xp = Namespace("cupy")


@contextmanager
def installed(count: int = 1, driver: int = 13000, built: int = 13000, compiler: str | None = None) -> Iterator[None]:
    """Inside, `import cupy` finds this device, and "gpu" is it. `compiler` is what NVRTC fails with, if it does."""
    global _current
    nvrtc = types.SimpleNamespace(getVersion=lambda: _compiler_version(compiler))
    xp.cuda = types.SimpleNamespace(  # type: ignore[attr-defined]
        Device=Device, runtime=Runtime(count, driver, built), nvrtc=nvrtc,
        get_current_stream=lambda: types.SimpleNamespace(ptr=0), alloc=lambda size: types.SimpleNamespace(ptr=1))
    before = sys.modules.get("cupy")
    sys.modules["cupy"] = xp
    backend.forget_devices()
    try:
        yield
    finally:
        _current = 0
        backend.forget_devices()
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
