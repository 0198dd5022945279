"""Launch the kernels of a .cu file, with every argument checked against the kernel's signature.

    cuda = Kernels("lstm")                                           # lstm.cu in backend/cuda
    cuda.launch("lstm_gates", one_each(N * H), z, b, C, h, t, N, H)

- An array must have the kernel's dtype and no gaps.
- A Python number is converted to the kernel's type. A NumPy number must have that type already.
- A struct is passed by value. Its fields are the attributes of the argument of the same names.
- None is a null pointer, for a parameter marked OR_NULL (optional.h).

The library that an array is from, CuPy or fake_cupy, compiles the file when one of its kernels is first launched.

The host makes many small launches, so their checks must be quick. The first launch of a kernel checks everything, with
messages. Later ones compare the arguments with what was accepted; anything unusual is checked in full again.
"""

import math
import re
from collections.abc import Callable, Sequence
from functools import cache, cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinynet import backend
from tinynet.backend.cuda.runtime.source import FOLDER, Parameter, assemble, signatures
from tinynet.errors import ArgumentError, DeviceError, DtypeError, ShapeError

BLOCK = 256  # threads in a block, unless a kernel wants another number
_BLOCK_MOST, _SIDE_MOST = 1024, 65535  # CUDA's limits: threads in a block, and blocks along y and z
_MOST = 2**31 - 1  # threads along x: kernels count them in an int
_SHARED_ALWAYS = 48 * 1024  # bytes of shared memory that a block may have without asking for more
_GRIDS, _INTEGERS = 1 << 10, 1 << 12  # how many are remembered

_NUMBERS = {"f": (float, int), "i": (int, bool), "u": (int,), "b": (bool, int)}  # Python's, by the kind of dtype
_OF_THE_HOST = (np.ndarray, np.generic)
_PLAIN = (int, float, bool)
_NULL = np.uint64(0)  # a null pointer: CuPy passes the eight bytes of this number


class Grid(NamedTuple):
    """The shape of a launch: blocks and threads per block along x, y and z, and bytes of `extern __shared__` memory."""

    blocks: tuple[int, int, int]
    threads: tuple[int, int, int]
    shared: int = 0


class Limits(NamedTuple):
    """Limits of a device: bytes of shared memory per block, and the number of its multiprocessors."""

    shared: int
    multiprocessors: int


def limits(array: Any) -> Limits:
    """The limits of the device that an array is on."""
    return _limits(_library(array), array.data.device_id)


def _library(array: Any) -> Any:
    """The module that an array is from."""
    return backend.namespace(backend.device_of(array))


@cache
def _limits(xp: Any, device: int) -> Limits:
    runtime = xp.cuda.runtime
    return Limits(*(runtime.deviceGetAttribute(attribute, device) for attribute in (
        runtime.cudaDevAttrMaxSharedMemoryPerBlockOptin, runtime.cudaDevAttrMultiProcessorCount)))


@cache
def _compiled(xp: Any, text: str) -> Any:
    # CuPy writes the text to a file in the encoding of the locale: comments must be in ASCII.
    return xp.RawModule(code=re.sub(r"[^\0-\x7F]", "_", text), options=("-std=c++17",))


@lru_cache(_GRIDS)
def one_each(count: int) -> Grid:
    """A thread for each of `count` elements. The threads of the last block may be more than the elements."""
    return Grid((-(-count // BLOCK), 1, 1), (BLOCK, 1, 1))


def here_and_there(xp: Any, number: Any, dtype: Any) -> Any:
    """A number of the host and None, or 0 and the number as an array on the device, for a kernel that takes either."""
    return (dtype(0), number.astype(dtype, copy=False)) if isinstance(number, xp.ndarray) else (dtype(number), None)


class _Unusual(Exception):
    """An argument has another form than in the last launch."""


class _Plan:
    """How a kernel is launched on arrays of one device once their form has been accepted.

    device     the type of the arrays, and the number of the device
    checks     by parameter: returns what the kernel gets for an argument, or raises _Unusual
    launches   by grid: launches the kernel with a tuple of what it gets
    """

    __slots__ = ("checks", "device", "launches")

    def __init__(self, device: tuple[Any, int], checks: tuple[Callable[[Any], Any], ...]) -> None:
        self.device, self.checks = device, checks
        self.launches: dict[Grid, Callable[[tuple[Any, ...]], Any]] = {}


class Kernels:
    """The kernels of `stem`.cu in backend/cuda, or of the file at `path`."""

    def __init__(self, stem: str, path: Path | None = None) -> None:
        self.path = path or FOLDER / f"{stem}.cu"
        self._functions: dict[tuple[str, type], Any] = {}  # compiled kernels, by name and by the type of the arrays
        self._shared: dict[tuple[Any, int], int] = {}  # bytes of shared memory asked for, by kernel and device
        self._plans: dict[str, _Plan] = {}  # of the last launch of each kernel

    def launch(self, name: str, grid: Grid, *arguments: Any) -> None:
        """Launch a kernel on arrays of one device, numbers and structs. An empty grid launches nothing.

        Errors: DtypeError for an argument of another type; ShapeError for an array with gaps; DeviceError for arrays of
        the host or of two devices. ArgumentError for a wrong number of arguments, a number out of range, a grid that is
        too large, or more shared memory than `limits` allows.
        """
        try:
            plan = self._plans[name]
            launch = plan.launches[grid]
            values = tuple([check(value) for check, value in zip(plan.checks, arguments, strict=True)])
        except (KeyError, ValueError, _Unusual):  # ValueError: another number of arguments
            plan, launch = self._planned(name, grid, arguments)
            values = tuple([check(value) for check, value in zip(plan.checks, arguments, strict=True)])
        launch(values)

    def _planned(self, name: str, grid: Grid, arguments: Sequence[Any]) -> tuple[_Plan, Callable[[Any], Any]]:
        """Check all arguments and the grid. Returns the plan that later launches of this form take, and the launch.

        Errors: as of `launch`.
        """
        parameters = self._signatures[name]
        if len(arguments) != len(parameters):
            raise ArgumentError(f"{name}: must get {len(parameters)} arguments, "
                                f"{', '.join(parameter.name for parameter in parameters)}, got {len(arguments)}; "
                                f"compare with {self.path.name}")
        first: Any = None
        for parameter, value in zip(parameters, arguments, strict=True):
            if parameter.is_pointer and not (parameter.is_optional and value is None):
                _check_array(name, parameter, value)
                first = value if first is None else first
                _check_one_device(name, parameter, value, first)
            elif parameter.dtype.names:
                _struct(name, parameter, value)
            elif not parameter.is_pointer:
                _number(name, parameter.name, parameter.dtype, value)
        if (math.prod(grid.threads) > _BLOCK_MOST or grid.blocks[0] * grid.threads[0] > _MOST
                or max(grid.blocks[1:]) > _SIDE_MOST):
            raise ArgumentError(f"{name}: a block has at most {_BLOCK_MOST} threads, and a grid 2**31 - 1 along x and "
                                f"{_SIDE_MOST} blocks along y and z, got blocks {grid.blocks} of {grid.threads}; use "
                                "smaller batches")
        function, device = self._function(name, first), first.data.device_id
        if grid.shared > _SHARED_ALWAYS and grid.shared > self._shared.get((function, device), 0):
            if grid.shared > limits(first).shared:
                raise ArgumentError(f"{name}: a block has at most {limits(first).shared} bytes of shared memory on "
                                    f"this device, got {grid.shared}; look at `limits` first, and take another kernel")
            function.max_dynamic_shared_size_bytes = grid.shared  # on the current device
            self._shared[function, device] = grid.shared
        plan = self._plans.get(name)
        if plan is None or plan.device != (type(first), device):
            checks = tuple(_check(name, parameter, type(first), device) for parameter in parameters)
            plan = self._plans[name] = _Plan((type(first), device), checks)
        if len(plan.launches) >= _GRIDS:
            plan.launches.clear()
        shared = {"shared_mem": grid.shared} if grid.shared else {}
        launch = partial(function, grid.blocks, grid.threads, **shared) if min(grid.blocks) else _nothing
        plan.launches[grid] = launch
        return plan, launch

    @cached_property
    def _text(self) -> str:
        return assemble(self.path)

    @cached_property
    def _signatures(self) -> dict[str, tuple[Parameter, ...]]:
        return signatures(self._text)

    def _function(self, name: str, array: Any) -> Any:
        """The compiled kernel for arrays like this one. CuPy keeps it for each GPU."""
        key = name, type(array)
        if key not in self._functions:
            self._functions[key] = _compiled(_library(array), self._text).get_function(name)
        return self._functions[key]


def _nothing(values: tuple[Any, ...]) -> None:
    """The launch of an empty grid."""


def _check(kernel: str, parameter: Parameter, kind: Any, device: int) -> Callable[[Any], Any]:
    """The quick check of one parameter, for arrays of one kind and device."""
    dtype = parameter.dtype
    if parameter.is_pointer:
        is_optional = parameter.is_optional
        is_quick = hasattr(kind, "_c_contiguous")  # CuPy makes an object for `flags` at each look

        def array(value: Any) -> Any:
            if type(value) is kind:
                is_contiguous = value._c_contiguous if is_quick else value.flags.c_contiguous
                if is_contiguous and value.dtype is dtype and value.data.device_id == device:
                    return value
            elif value is None and is_optional:
                return _NULL
            raise _Unusual
        return array
    if dtype.names:
        known: dict[Any, Any] = {}

        def struct(value: Any) -> Any:
            try:
                return known[value]
            except (KeyError, TypeError):  # new, or it cannot be hashed
                made = _struct(kernel, parameter, value)
            if isinstance(value, tuple) and all(map(_is_plain, value)):
                if len(known) >= _GRIDS:
                    known.clear()
                known[value] = made
            return made
        return struct
    accepted, convert = {*_NUMBERS[dtype.kind], dtype.type}, dtype.type

    def number(value: Any) -> Any:
        if type(value) in accepted:
            try:
                return convert(value)
            except OverflowError:
                raise _Unusual from None
        raise _Unusual
    return number if dtype.kind == "f" else lru_cache(_INTEGERS, typed=True)(number)  # 0.0 equals -0.0


def _is_plain(part: Any) -> bool:
    return type(part) in _PLAIN or (type(part) is tuple and all([type(one) in _PLAIN for one in part]))


def _check_array(kernel: str, parameter: Parameter, array: Any) -> None:
    name = parameter.name
    if isinstance(array, _OF_THE_HOST) or not hasattr(array, "flags"):
        raise DeviceError(f"{kernel}: {name} must be an array on the device, got {type(array).__name__} of the host; "
                          "xp.asarray copies one there")
    if array.dtype != parameter.dtype:
        raise DtypeError(f"{kernel}: {name} must be of {parameter.dtype}, got {array.dtype}; "
                         f".astype({parameter.dtype})?")
    if not array.flags.c_contiguous:
        raise ShapeError(f"{kernel}: {name} must lie in one piece, since a kernel knows no strides, got shape "
                         f"{array.shape} with gaps; xp.ascontiguousarray copies it")


def _check_one_device(kernel: str, parameter: Parameter, array: Any, first: Any) -> None:
    here, there = backend.device_of(array), backend.device_of(first)
    if here != there:
        raise DeviceError(f"{kernel}: its arrays must be on one device, got {parameter.name} on {here}, others on "
                          f"{there}; move them with .to()")


def _struct(kernel: str, parameter: Parameter, value: Any) -> Any:
    """A struct, whose fields are the attributes of `value` of the same names.

    CuPy passes a NumPy array of one element by value, and refuses a structured NumPy scalar. The array has no fields
    any more: at each launch, CuPy would have NumPy describe them.
    """
    name, dtype = parameter.name, parameter.dtype
    fields = dtype.names or ()
    missing = [field for field in fields if not hasattr(value, field)]
    if missing:
        raise DtypeError(f"{kernel}: {name} must have the fields {', '.join(fields)} of struct {parameter.type}, "
                         f"got {type(value).__name__} without {', '.join(missing)}; a named tuple with these fields?")
    made = np.array(tuple(_field(kernel, f"{name}.{field}", dtype[field], getattr(value, field))
                          for field in fields), dtype)
    return made.view(f"V{dtype.itemsize}")


def _field(kernel: str, name: str, dtype: Any, value: Any) -> Any:
    """A number of a struct, or an array of numbers."""
    if not dtype.shape:
        return _number(kernel, name, dtype, value)
    if len(value) != dtype.shape[0]:
        raise DtypeError(f"{kernel}: {name} must hold {dtype.shape[0]} numbers, got {len(value)}; add zeros")
    return [_number(kernel, name, dtype.base, one) for one in value]


def _number(kernel: str, name: str, dtype: Any, value: Any) -> Any:
    """A number in the kernel's type. A NumPy number must have this type already; a Python number is converted."""
    kind = type(value)
    if kind not in _NUMBERS[dtype.kind] and kind is not dtype.type:
        got = value.dtype if hasattr(value, "dtype") else kind.__name__
        raise DtypeError(f"{kernel}: {name} must be a number of {dtype}, got {got}; np.{dtype}(...)?")
    try:
        return dtype.type(value)
    except OverflowError:
        raise ArgumentError(f"{kernel}: {name} must fit into {dtype}, got {value}; use smaller batches") from None
