"""Launch the kernels of a .cu file, with every argument checked against the kernel's signature.

    cuda = Kernels("lstm")                                           # lstm.cu in backend/cuda
    cuda.launch("lstm_gates", one_each(N * H), z, b, C, h, t, N, H)

- An array must have the kernel's dtype and no gaps.
- A Python number is converted to the kernel's type. A NumPy number must have that type already.
- A struct is passed by value. Its fields are the attributes of the argument of the same names.
- None is a null pointer, for a parameter marked OR_NULL (optional.h).

The library that an array is from, CuPy or fake_cupy, compiles the file when one of its kernels is first launched.
"""

import math
import re
from functools import cache, cached_property
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

_NUMBERS = {"f": (float, int), "i": (int, bool), "u": (int,), "b": (bool, int)}  # Python's, by the kind of dtype
_OF_THE_HOST = (np.ndarray, np.generic)
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


def one_each(count: int) -> Grid:
    """A thread for each of `count` elements. The threads of the last block may be more than the elements."""
    return Grid((-(-count // BLOCK), 1, 1), (BLOCK, 1, 1))


def here_and_there(xp: Any, number: Any, dtype: Any) -> Any:
    """A number of the host and None, or 0 and the number as an array on the device, for a kernel that takes either."""
    return (dtype(0), number.astype(dtype, copy=False)) if isinstance(number, xp.ndarray) else (dtype(number), None)


class Kernels:
    """The kernels of `stem`.cu in backend/cuda, or of the file at `path`."""

    def __init__(self, stem: str, path: Path | None = None) -> None:
        self.path = path or FOLDER / f"{stem}.cu"
        self._functions: dict[tuple[str, type], Any] = {}  # compiled kernels, by name and by the type of the arrays
        self._shared: dict[tuple[Any, int], int] = {}  # bytes of shared memory asked for, by kernel and device

    def launch(self, name: str, grid: Grid, *arguments: Any) -> None:
        """Launch a kernel on arrays of one device, numbers and structs. An empty grid launches nothing.

        Errors: DtypeError for an argument of another type; ShapeError for an array with gaps; DeviceError for arrays of
        the host or of two devices. ArgumentError for a wrong number of arguments, a number out of range, a grid that is
        too large, or more shared memory than `limits` allows.
        """
        parameters = self._signatures[name]
        if len(arguments) != len(parameters):
            raise ArgumentError(f"{name}: must get {len(parameters)} arguments, "
                                f"{', '.join(parameter.name for parameter in parameters)}, got {len(arguments)}; "
                                f"compare with {self.path.name}")
        values, first, device = [], None, 0
        for parameter, value in zip(parameters, arguments, strict=True):
            if parameter.is_optional and value is None:
                values.append(_NULL)
            elif parameter.is_pointer:
                _check_array(name, parameter, value)
                if first is None:
                    first, device = value, value.data.device_id
                elif device != value.data.device_id or type(value) is not type(first):
                    _check_one_device(name, parameter, value, first)
                values.append(value)
            elif parameter.dtype.names:
                values.append(_struct(name, parameter, value))
            else:
                values.append(_number(name, parameter.name, parameter.dtype, value))
        if min(grid.blocks) == 0:
            return
        if (math.prod(grid.threads) > _BLOCK_MOST or grid.blocks[0] * grid.threads[0] > _MOST
                or max(grid.blocks[1:]) > _SIDE_MOST):
            raise ArgumentError(f"{name}: a block has at most {_BLOCK_MOST} threads, and a grid 2**31 - 1 along x and "
                                f"{_SIDE_MOST} blocks along y and z, got blocks {grid.blocks} of {grid.threads}; use "
                                "smaller batches")
        function = self._function(name, first)
        if grid.shared > _SHARED_ALWAYS and grid.shared > self._shared.get((function, device), 0):
            if grid.shared > limits(first).shared:
                raise ArgumentError(f"{name}: a block has at most {limits(first).shared} bytes of shared memory on "
                                    f"this device, got {grid.shared}; look at `limits` first, and take another kernel")
            function.max_dynamic_shared_size_bytes = grid.shared  # on the current device
            self._shared[function, device] = grid.shared
        function(grid.blocks, grid.threads, tuple(values), shared_mem=grid.shared)

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

    CuPy passes a NumPy array of one element by value, and refuses a structured NumPy scalar.
    """
    name, dtype = parameter.name, parameter.dtype
    fields = dtype.names or ()
    missing = [field for field in fields if not hasattr(value, field)]
    if missing:
        raise DtypeError(f"{kernel}: {name} must have the fields {', '.join(fields)} of struct {parameter.type}, "
                         f"got {type(value).__name__} without {', '.join(missing)}; a named tuple with these fields?")
    return np.array(tuple(_field(kernel, f"{name}.{field}", dtype[field], getattr(value, field))
                          for field in fields), dtype)


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
