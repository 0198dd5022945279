"""A machine with CuPy and GPUs, on one that has neither: the arrays of `backend/cuda/runtime/fake_cupy.py` play theirs.

    with installed():                  # import cupy finds this one
        model.to("gpu")

    with installed(count=2):           # two GPUs, of which one is current; arrays of the other one are refused
    with installed(driver=12000):      # other machines: see `Runtime`
    with memory(1000):                 # more bytes than that, and an array does not fit

What is computed, what is refused and what waits is said there; here is what only GPUs have.
"""

import sys
import types
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinynet import backend
from tinynet.backend.cuda.runtime import fake_cupy
from tinynet.errors import DeviceError

_current = 0  # the GPU on which new arrays are made
_memory = 2**40  # bytes that an array may have
_streams: list["Stream"] = []  # those that were made current; the last one is


class OutOfMemoryError(MemoryError):
    """As `cupy.cuda.memory.OutOfMemoryError`."""


@contextmanager
def memory(size: int) -> Iterator[None]:
    """Inside, an array of more bytes does not fit."""
    global _memory
    before, _memory = _memory, size
    try:
        yield
    finally:
        _memory = before


class GpuArray(fake_cupy.DeviceArray):
    """An array on the GPU that was current when it was made. It is computed with, and viewed, while that one is."""

    place = "gpu"
    __cuda_array_interface__ = {"version": 3}  # noqa: RUF012  it is all that tinynet asks: is it there?

    def __init__(self, host: np.ndarray) -> None:
        if host.base is None and host.nbytes > _memory:
            raise OutOfMemoryError(f"Out of memory allocating {host.nbytes:,} bytes")
        super().__init__(host)
        if host.base is None:
            pointer = _allocator(host.nbytes)
            if fake_cupy.is_capturing() and pointer.pool() is not _streams[-1].pool:
                raise RuntimeError("an array of a graph takes memory that is not the graph's own")
            pointer.chunk.holds(host)
            weakref.finalize(host, lambda pointer: None, pointer)  # which it keeps, as long as it is there
        self.device = types.SimpleNamespace(id=_current)

    data = property(lambda self: types.SimpleNamespace(ptr=self._host.ctypes.data))

    @classmethod
    def _unwrapped(cls, value: Any) -> Any:
        if isinstance(value, cls) and value.device.id != _current:
            raise DeviceError(f"an array of gpu:{value.device.id} is computed with while gpu:{_current} is current")
        return super()._unwrapped(value)

    def __dlpack__(self, **options: Any) -> "GpuArray":
        return self  # no capsule: for `Namespace.from_dlpack` alone

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device.id


class Namespace(fake_cupy.Namespace):
    """The module `cupy`."""

    ndarray = GpuArray

    def asarray(self, data: Any, dtype: Any = None) -> GpuArray:
        """It also takes arrays of other GPUs, which are copied. What another library has on a GPU is shared."""
        if isinstance(data, GpuArray):
            data = data if data.device.id == _current else GpuArray(data._host.copy())
        elif hasattr(data, "__cuda_array_interface__"):
            return GpuArray(data.memory)
        return super().asarray(data, dtype)

    @staticmethod
    def from_dlpack(array: Any) -> GpuArray:
        return GpuArray(array.__dlpack__()._host)

    @staticmethod
    def get_default_memory_pool() -> Any:
        return _default_pool


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


class Stream:
    """What is done while it is current can be recorded, by `begin_capture`: it is not done then, but by the graph."""

    ptr = 0

    def __init__(self, non_blocking: bool = False) -> None:
        self.non_blocking = non_blocking
        self.ptr = id(self)

    def __enter__(self) -> None:
        _streams.append(self)

    def __exit__(self, *error: object) -> None:
        _streams.pop()

    def begin_capture(self) -> None:
        if not self.non_blocking or _streams[-1:] != [self]:
            raise RuntimeError("only a stream that is current and waits for no other can be recorded")
        self.pool = _allocator(0).pool()  # from which the graph's arrays have to be
        if self.pool is _default_pool:
            raise RuntimeError("a graph needs memory of its own")
        self.recording = fake_cupy.capturing()
        self.graph = self.recording.__enter__()

    def end_capture(self) -> fake_cupy.Graph:
        self.recording.__exit__(None, None, None)
        return self.graph


class Chunk:
    """A piece of a pool's memory. When it is freed, what was there is overwritten: it belongs to somebody else then."""

    def __init__(self, size: int) -> None:
        self.size, self.is_free = size, False
        self.array: Any = lambda: None

    def holds(self, array: np.ndarray) -> None:
        self.array = weakref.ref(array)

    def free(self) -> None:
        self.is_free, array = True, self.array()
        if array is not None:
            array[...] = fake_cupy.unwritten(array.shape, array.dtype)


class MemoryPool:
    """As CuPy's: its memory is freed with it, whoever has a pointer there; a pointer does not keep it."""

    def __init__(self) -> None:
        self.chunks = weakref.WeakSet[Chunk]()

    def __del__(self) -> None:
        for chunk in self.chunks:
            chunk.free()

    def malloc(self, size: int) -> "MemoryPointer":
        chunk = Chunk(size)
        self.chunks.add(chunk)
        return MemoryPointer(types.SimpleNamespace(ptr=id(chunk), chunk=chunk, pool=weakref.ref(self)))

    def free_bytes(self) -> int:
        return 2**20

    def total_bytes(self) -> int:
        return sum(chunk.size for chunk in self.chunks)

    def free_all_blocks(self) -> None:
        """Of those that nobody has: there is nothing to be seen of it here."""


class UnownedMemory:
    """Memory at an address, as long as its owner is kept."""

    def __init__(self, ptr: int, size: int, owner: Any, device_id: int) -> None:
        assert ptr == owner[0].ptr and device_id == _current
        self.ptr, self.owner, self.chunk, self.pool = ptr, owner, owner[0].chunk, owner[0].pool


class MemoryPointer:
    def __init__(self, memory: Any, offset: int = 0) -> None:
        assert not offset
        self.memory, self.device_id = memory, _current
        self.ptr, self.chunk, self.pool = memory.ptr, memory.chunk, memory.pool


_default_pool = MemoryPool()
_allocator: Any = _default_pool.malloc


@contextmanager
def using_allocator(malloc: Any) -> Iterator[None]:
    global _allocator
    before, _allocator = _allocator, malloc
    try:
        yield
    finally:
        _allocator = before


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


def _raw_kernel(error: str | None) -> Any:
    """`cupy.RawKernel`, for looking whether anything can be compiled."""
    def compile() -> None:
        if error:
            raise RuntimeError(error)
    return lambda code, name: types.SimpleNamespace(compile=compile)


xp = Namespace("cupy")


@contextmanager
def installed(count: int = 1, driver: int = 13000, built: int = 13000, compiler: str | None = None) -> Iterator[None]:
    """Inside, `import cupy` finds this device, and "gpu" is it. `compiler` is what compiling fails with, if it does."""
    global _current
    xp.RawKernel = _raw_kernel(compiler)  # type: ignore[attr-defined]
    xp.cuda = types.SimpleNamespace(  # type: ignore[attr-defined]
        Device=Device, runtime=Runtime(count, driver, built),
        Stream=Stream, MemoryPool=MemoryPool, MemoryPointer=MemoryPointer, UnownedMemory=UnownedMemory,
        using_allocator=using_allocator, alloc=lambda size: _allocator(size),
        get_current_stream=lambda: _streams[-1] if _streams else Stream)
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
    """NumPy arrays, also inside of lists and tuples, as arrays of the device: copies."""
    if isinstance(value, np.ndarray):
        return GpuArray(value.copy())
    if isinstance(value, list | tuple):
        return type(value)(map(to_device, value))
    return value


def to_host(value: Any) -> Any:
    """And back, for comparing; not a wait."""
    if isinstance(value, GpuArray):
        return value._host
    if isinstance(value, list | tuple):
        return type(value)(map(to_host, value))
    return value
