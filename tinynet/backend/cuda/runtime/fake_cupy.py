"""The device "gpu-emulated": arrays that are as strict as a GPU's, and that our CUDA kernels run on.

`namespace` stands for the module `cupy`. It computes with NumPy, and its arrays refuse what CuPy's refuse: to turn into
NumPy arrays by themselves, and to be mixed with them. What a reduction returns is an array of no axes, never a number.
What would make the host wait for a GPU (float(), bool(), item(), get()) is counted in `waits`, and is an error inside
of `no_waiting()`, as is copying an array of the host's. Memory that nobody has written to yet is NaN.

Whatever is computed, and every view, is made in one place, `DeviceArray.compute`, and whatever is changed, in another,
`DeviceArray.change`. So what is done can be recorded instead, and done later, once or often: `capturing`.

A function that is not in the lists below is an error: its entry is made after a look at CuPy's documentation.
"""

import operator
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import numpy as np

from tinynet.errors import DeviceError

# What CuPy has under NumPy's names: docs.cupy.dev/en/stable/reference/comparison.html
FUNCTIONS = {
    "abs", "arange", "ascontiguousarray", "broadcast_to", "clip", "concatenate", "exp", "expand_dims", "floor", "full",
    "isfinite", "log", "log1p", "maximum", "minimum", "ones", "ones_like", "pad", "sign", "split", "sqrt", "stack",
    "swapaxes", "take_along_axis", "tanh", "zeros", "zeros_like"}
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

DEVICE_ID = "emulated"  # where CuPy has the number of a GPU

waits = 0  # how often the host would have waited for the device
_allowed: ContextVar[tuple[bool, bool]] = ContextVar("allowed", default=(True, True))  # to wait, to copy


@contextmanager
def no_waiting(copying: bool = False) -> Iterator[None]:
    """Inside, whatever makes the host wait for the device is a DeviceError; `copying` allows to copy arrays there."""
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
    if not allowed:
        raise DeviceError(f"no_waiting: nothing may make the host wait here, and {what} does; keep the value on the "
                          "device, and read it later")


class Graph:
    """What was recorded inside of `capturing`: `launch` does it, on the arrays of then, with what they hold now."""

    def __init__(self) -> None:
        self.actions: list[Callable[[], Any]] = []
        self.size = 0  # bytes of the arrays that were made

    def launch(self) -> None:
        with _quiet():
            for action in self.actions:
                action()


def _quiet() -> Any:
    """A GPU says nothing of overflow and NaN."""
    return np.errstate(all="ignore")


_recorded: ContextVar[Graph | None] = ContextVar("recorded", default=None)  # the graph that this thread records


@contextmanager
def capturing() -> Iterator[Graph]:
    """Inside, nothing is changed and no kernel runs; it is recorded. Arrays that are made hold no sensible numbers yet.

    What a CUDA graph cannot hold is a DeviceError: to wait for the device, and to copy from the host.
    """
    token = _recorded.set(graph := Graph())
    try:
        with no_waiting():
            yield graph
    finally:
        _recorded.reset(token)


def is_capturing() -> bool:
    """Whether what is done is recorded."""
    return _recorded.get() is not None


def perform(action: Callable[[], Any]) -> None:
    """Do what changes memory of the device: now, or when the graph that is being recorded is launched."""
    graph = _recorded.get()
    if graph is None:
        with _quiet():
            action()
    else:
        graph.actions.append(action)


class DeviceArray:
    """An array on a device, with NumPy's memory behind it. Each subclass is a kind of device, and refuses arrays of the
    others. `memory(array)` is where it really is; only what belongs to the device may look.
    """

    place: str  # the device's name
    __array_ufunc__ = None  # so that NumPy's arrays leave `array + ours` to us, who refuse it
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, host: np.ndarray) -> None:
        self._host = host

    @classmethod
    def compute(cls, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """What a function of NumPy's makes of arrays of this device: new ones, or views."""
        args = tuple(map(cls._unwrapped, args))
        kwargs = {name: cls._unwrapped(value) for name, value in kwargs.items()}
        with _quiet():
            made = cls._wrapped(function(*args, **kwargs))
        graph = _recorded.get()
        if graph is not None and isinstance(made, cls) and not _share_memory(made._host, args):
            graph.size += made.nbytes
            perform(partial(compute_again, made._host, function, args, kwargs))
        return made

    @classmethod
    def change(cls, function: Callable[..., Any], /, *args: Any) -> None:
        """Change an array of this device, the first of the arguments, by a function of NumPy's."""
        perform(partial(function, *map(cls._unwrapped, args)))

    @classmethod
    def _unwrapped(cls, value: Any) -> Any:
        """What NumPy is to compute with. Numbers pass; arrays of NumPy's, or of other devices, do not."""
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
        """What NumPy returned, as the device would: arrays, also of no axes."""
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
    real = property(lambda self: self.compute(np.real, self))
    imag = property(lambda self: self.compute(np.imag, self))
    T = property(lambda self: self.compute(np.transpose, self))

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
        if isinstance(value, DeviceArray) or not isinstance(index, DeviceArray):  # a number goes where a mask says so
            _check_index(index)
        self.change(operator.setitem, self, index, value)

    def fill(self, value: Any) -> None:
        self.change(np.ndarray.fill, self, value)


def _check_index(index: Any) -> None:
    """The host has to know how many elements a mask picks; a list of numbers is copied to the device."""
    for part in index if isinstance(index, tuple) else (index,):
        if isinstance(part, DeviceArray) and part.dtype == np.bool_:
            _wait("a mask as an index")
        _check(_allowed.get()[1] or not isinstance(part, list), "copying an index from the host")


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
    data = types.SimpleNamespace(device_id=DEVICE_ID)


def array(host: Any) -> Array:
    """A copy of a NumPy array on the device."""
    return namespace.asarray(np.asarray(host))


def memory(array: DeviceArray) -> np.ndarray:
    """The memory of an array, for what runs on the device."""
    return array._host


class Namespace(types.ModuleType):
    """What stands for the module `cupy`. A subclass with arrays of another kind is that of another device."""

    ndarray: type[DeviceArray] = Array
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
        raise AttributeError(f"cupy.{name} is none of the functions of CuPy's that "
                             "tinynet/backend/cuda/runtime/fake_cupy.py lists; does CuPy have it? then add it")

    def asarray(self, data: Any, dtype: Any = None) -> Any:
        """Unlike the other functions, this takes arrays of NumPy's: it is how they get here. They are copied."""
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
    made[...] = function(*args, **kwargs)


def unwritten(shape: Any, dtype: Any) -> np.ndarray:
    """New memory, full of what is no sensible number."""
    made = np.empty(shape, dtype)
    made.fill(np.nan if made.dtype.kind in "fc" else 1 if made.dtype.kind == "b" else np.iinfo(made.dtype).max)
    return made


namespace = Namespace("cupy", __doc__)
