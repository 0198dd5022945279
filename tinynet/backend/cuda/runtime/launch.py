"""Kernels of a .cu file, launched from Python, with every argument checked against the kernel's signature.

    cuda = Kernels("lstm")                                           # lstm.cu in this folder
    cuda.launch("lstm_gates", one_each(N * H), z, b, C, h, t, N, H)

A GPU takes arguments as bytes: a Python float where the kernel has a `float`, or an array of other numbers or with
gaps, is no error there, only a wrong result. So the signatures are read from the source, and what does not fit is
refused here. Python numbers take the type that the kernel has for them; numbers of NumPy's must have it. None is a null
pointer, where the kernel says OR_NULL (optional.h).

Arrays of CuPy's go to the GPU, for which CuPy compiles the file when it is first used; arrays of the emulated device go
to the emulator.
"""

import math
import re
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinynet.backend.cuda.runtime import fake_cupy
from tinynet.errors import ArgumentError, DeviceError, DtypeError, ShapeError

FOLDER = Path(__file__).resolve().parents[1]
BLOCK = 256  # threads in a block, unless a kernel wants something else
_BLOCK_MOST, _SIDE_MOST = 1024, 65535  # threads in a block, and blocks along y and z: CUDA has these limits
_MOST = 2**31 - 1  # threads along x: they are counted in an int
_SHARED_ALWAYS = 48 * 1024  # bytes of shared memory that every block may have, unasked

_TYPES = {"float": np.float32, "int": np.int32, "unsigned": np.uint32, "long long": np.int64,
          "unsigned short": np.uint16, "unsigned char": np.uint8, "bool": np.bool_}
_NUMBERS = {"f": (float, int), "i": (int, bool), "u": (int,), "b": (bool, int)}  # Python's, by the kind of dtype
_OF_THE_HOST = (np.ndarray, np.generic)
_KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)')
_PARAMETER = re.compile(r"(const\s+)?([a-z ]+?)\s*(\*)?\s*(?:(__restrict__|OR_NULL)\s+)?(\w+)")
_NULL = np.uint64(0)  # a null pointer: CuPy passes a number as the bytes that it has
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_INCLUDE = re.compile(r'^#include "(\w+\.h)"$', re.M)


class Parameter(NamedTuple):
    """What a kernel takes in one place: a number, or a pointer to many."""

    name: str
    dtype: Any
    is_pointer: bool
    is_written: bool
    is_optional: bool = False


class Grid(NamedTuple):
    """How many blocks, how many threads in each, along x, y and z, and its bytes of `extern __shared__` memory."""

    blocks: tuple[int, int, int]
    threads: tuple[int, int, int]
    shared: int = 0


class Limits(NamedTuple):
    """What a device has: bytes of shared memory for a block, and multiprocessors, on which blocks run."""

    shared: int
    multiprocessors: int


def limits(array: Any) -> Limits:
    """Those of the device that an array is on."""
    return _limits(array.data.device_id)


@cache
def _limits(device: Any) -> Limits:
    if device == fake_cupy.DEVICE_ID:
        from tinynet.backend.cuda.runtime import emulator

        return Limits(emulator.SHARED, emulator.MULTIPROCESSORS)
    import cupy

    runtime = cupy.cuda.runtime
    return Limits(*(runtime.deviceGetAttribute(attribute, device) for attribute in (
        runtime.cudaDevAttrMaxSharedMemoryPerBlockOptin, runtime.cudaDevAttrMultiProcessorCount)))


def one_each(count: int) -> Grid:
    """A thread for each of `count` elements, and as many more as fill the last block."""
    return Grid((-(-count // BLOCK), 1, 1), (BLOCK, 1, 1))


def source(path: Path) -> str:
    """The text of a file of kernels, with the headers of ours that it includes put in their places: then a compiler
    needs no folder to look in, and whoever keeps compiled code by its source notices a change of them."""
    text = path.read_text(encoding="utf-8")

    def header(match: re.Match[str]) -> str:
        name = path.with_name(match[1])
        line = text[: match.end()].count("\n") + 2
        return f'#line 1 "{name}"\n{name.read_text(encoding="utf-8")}\n#line {line} "{path}"'

    return f'#line 1 "{path}"\n' + _INCLUDE.sub(header, text)


def signatures(text: str) -> dict[str, tuple[Parameter, ...]]:
    """The kernels in a source by their names, and what they take. DtypeError for a type that no kernel should have.

    >>> text = 'extern "C" __global__ void scale(const float* x, float* y, float factor, int n) {}'
    >>> [(parameter.name, parameter.is_pointer) for parameter in signatures(text)["scale"]]
    [('x', True), ('y', True), ('factor', False), ('n', False)]
    """
    return {name: tuple(_parameter(name, part.strip()) for part in parts.split(","))
            for name, parts in _KERNEL.findall(_COMMENT.sub(" ", text))}


def _parameter(kernel: str, text: str) -> Parameter:
    found = _PARAMETER.fullmatch(text)
    if not found or found[2] not in _TYPES:
        raise DtypeError(f"{kernel}: every parameter must be a number or a pointer to numbers of type "
                         f"{', '.join(_TYPES)}, got {text!r}; float64 is slow on a GPU, use float")
    return Parameter(found[5], np.dtype(_TYPES[found[2]]), bool(found[3]), bool(found[3]) and not found[1],
                     found[4] == "OR_NULL")


class Kernels:
    """The kernels of `stem`.cu in this folder, or of the file at `path`."""

    def __init__(self, stem: str, path: Path | None = None) -> None:
        self.path = path or FOLDER / f"{stem}.cu"
        self._functions: dict[str, Any] = {}
        self._shared: dict[tuple[str, Any], int] = {}  # bytes of shared memory that kernels may have on devices

    def launch(self, name: str, grid: Grid, *arguments: Any) -> None:
        """Run a kernel on arrays that are on one device, and numbers. Nothing happens where the grid is empty.

        Errors: ArgumentError for a wrong number of arguments, a number out of range, too large a grid or too much
        shared memory (`limits` says how much there is); DtypeError for another type, ShapeError for an array with
        gaps, DeviceError for arrays of the host or of two devices.
        """
        parameters = self._signatures[name]
        if len(arguments) != len(parameters):
            raise ArgumentError(f"{name}: must get {len(parameters)} arguments, "
                                f"{', '.join(parameter.name for parameter in parameters)}, got {len(arguments)}; "
                                f"compare with {self.path.name}")
        values, place = [], None
        for parameter, value in zip(parameters, arguments, strict=True):
            if parameter.is_optional and value is None:
                values.append(_NULL)
            elif parameter.is_pointer:
                _check_array(name, parameter, value)
                if place is None:
                    place = value.data.device_id
                elif place != value.data.device_id:
                    raise DeviceError(f"{name}: its arrays must be on one device, got {parameter.name} on "
                                      f"{value.data.device_id}, others on {place}; move them with .to()")
                values.append(value)
            else:
                values.append(_number(name, parameter, value))
        if min(grid.blocks) == 0:
            return
        if (math.prod(grid.threads) > _BLOCK_MOST or grid.blocks[0] * grid.threads[0] > _MOST
                or max(grid.blocks[1:]) > _SIDE_MOST):
            raise ArgumentError(f"{name}: a block has at most {_BLOCK_MOST} threads, and a grid 2**31 - 1 along x and "
                                f"{_SIDE_MOST} blocks along y and z, got blocks {grid.blocks} of {grid.threads}; use "
                                "smaller batches")
        if grid.shared > _SHARED_ALWAYS and grid.shared > _limits(place).shared:
            raise ArgumentError(f"{name}: a block has at most {_limits(place).shared} bytes of shared memory on this "
                                f"device, got {grid.shared}; look at `limits` first, and take another kernel")
        if place == fake_cupy.DEVICE_ID:
            memories = [fake_cupy.memory(value) if isinstance(value, fake_cupy.Array) else value for value in values]
            fake_cupy.perform(partial(self._emulated.run, name, parameters, grid, memories))
        else:
            function = self._function(name)
            if grid.shared > self._shared.get((name, place), _SHARED_ALWAYS):
                function.max_dynamic_shared_size_bytes = grid.shared  # asks for it, on the current device
                self._shared[name, place] = grid.shared
            function(grid.blocks, grid.threads, tuple(values), shared_mem=grid.shared)

    @cached_property
    def source(self) -> str:
        return source(self.path)

    @cached_property
    def _signatures(self) -> dict[str, tuple[Parameter, ...]]:
        return signatures(self.source)

    def _function(self, name: str) -> Any:
        """The compiled kernel, which CuPy keeps for each device."""
        if name not in self._functions:
            self._functions[name] = self._compiled.get_function(name)
        return self._functions[name]

    @cached_property
    def _compiled(self) -> Any:
        import cupy

        # CuPy writes the text to a file in the encoding of the locale; only comments are not in ASCII.
        return cupy.RawModule(code=self.source.encode("ascii", "replace").decode(), options=("-std=c++17",))

    @cached_property
    def _emulated(self) -> Any:
        from tinynet.backend.cuda.runtime.emulator import Library

        return Library(self.source, self._signatures)


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


def _number(kernel: str, parameter: Parameter, value: Any) -> Any:
    """The number in the kernel's type: one of NumPy's must have it, one of Python's takes it."""
    kind, dtype = type(value), parameter.dtype
    if kind not in _NUMBERS[dtype.kind] and kind is not dtype.type:
        got = value.dtype if hasattr(value, "dtype") else kind.__name__
        raise DtypeError(f"{kernel}: {parameter.name} must be a number of {dtype}, got {got}; np.{dtype}(...)?")
    try:
        return dtype.type(value)
    except OverflowError:
        raise ArgumentError(f"{kernel}: {parameter.name} must fit into {dtype}, got {value}; "
                            "use smaller batches") from None
