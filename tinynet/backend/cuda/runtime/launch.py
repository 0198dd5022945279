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
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinynet.backend.cuda.runtime import fake_cupy
from tinynet.backend.cuda.runtime.source import FOLDER, Parameter, assemble, signatures
from tinynet.errors import ArgumentError, DeviceError, DtypeError, ShapeError

BLOCK = 256  # threads in a block, unless a kernel wants something else
_BLOCK_MOST, _SIDE_MOST = 1024, 65535  # threads in a block, and blocks along y and z: CUDA has these limits
_MOST = 2**31 - 1  # threads along x: they are counted in an int
_SHARED_ALWAYS = 48 * 1024  # bytes of shared memory that every block may have, unasked

_NUMBERS = {"f": (float, int), "i": (int, bool), "u": (int,), "b": (bool, int)}  # Python's, by the kind of dtype
_OF_THE_HOST = (np.ndarray, np.generic)
_NULL = np.uint64(0)  # a null pointer: CuPy passes a number as the bytes that it has


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
                values.append(_value(name, parameter, value))
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
        return assemble(self.path)

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


def _value(kernel: str, parameter: Parameter, value: Any) -> Any:
    """A number in the kernel's type, or a struct, whose fields are the attributes of `value` of the same names."""
    name, dtype = parameter.name, parameter.dtype
    if dtype.names is None:
        return _number(kernel, name, dtype, value)
    missing = [field for field in dtype.names if not hasattr(value, field)]
    if missing:
        raise DtypeError(f"{kernel}: {name} must have the fields {', '.join(dtype.names)} of struct {parameter.type}, "
                         f"got {type(value).__name__} without {', '.join(missing)}; a named tuple with these fields?")
    return np.void(tuple(_number(kernel, f"{name}.{field}", dtype[field], getattr(value, field))
                         for field in dtype.names), dtype)


def _number(kernel: str, name: str, dtype: Any, value: Any) -> Any:
    """A number in the kernel's type. A NumPy number must have this type already; a Python number is converted."""
    kind = type(value)
    if kind not in _NUMBERS[dtype.kind] and kind is not dtype.type:
        got = value.dtype if hasattr(value, "dtype") else kind.__name__
        raise DtypeError(f"{kernel}: {name} must be a number of {dtype}, got {got}; np.{dtype}(...)?")
    try:
        return dtype.type(value)
    except OverflowError:
        raise ArgumentError(f"{kernel}: {name} must fit into {dtype}, got {value}; "
                            "use smaller batches") from None
