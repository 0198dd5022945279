"""The part of `cupy.cuda` that "gpu-emulated" needs: streams that record, memory pools, the limits of the device.

Every action that changes memory of the device goes through `perform`. While a stream records, `perform` appends the
action to a graph instead of running it. NumPy owns all memory; the pools here only check that it is used as CuPy's is.
"""

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from tinynet.backend.cuda.runtime import emulator


class MemoryPool:
    """As `cupy.cuda.MemoryPool`: its memory is freed with it. Arrays that still lie there are overwritten then."""

    def __init__(self) -> None:
        self.arrays = weakref.WeakValueDictionary[int, np.ndarray]()
        self._size = 0
        _pools[id(self)] = self
        weakref.finalize(self, _overwrite, self.arrays).atexit = False

    def malloc(self, size: int) -> "UnownedMemory":
        """Memory of this pool; it does not keep the pool alive. Its address only tells the pool."""
        self._size += size
        return UnownedMemory(id(self), size, None, 0)

    def total_bytes(self) -> int:
        return self._size

    def free_all_blocks(self) -> None:
        pass


def _overwrite(arrays: Mapping[int, np.ndarray]) -> None:
    for array in arrays.values():
        array[...] = unwritten(array.shape, array.dtype)


class UnownedMemory(NamedTuple):
    """As `cupy.cuda.UnownedMemory`: memory at an address, which keeps its owner alive."""

    ptr: int
    size: int
    owner: Any
    device_id: int


def MemoryPointer(mem: UnownedMemory, offset: int) -> UnownedMemory:
    """As `cupy.cuda.MemoryPointer`, but only for the beginning of some memory."""
    assert not offset
    return mem


class Graph:
    """Recorded actions. `launch` runs them on the arrays of the recording, with the values these hold by then."""

    def __init__(self, pool: MemoryPool) -> None:
        self.actions: list[Callable[[], Any]] = []
        self.pool = pool  # of the arrays that are made while recording

    def launch(self) -> None:
        with quiet():
            for action in self.actions:
                action()


class Stream:
    """As `cupy.cuda.Stream`. Actions run at once, in the order of the calls, whichever stream is current."""

    def __init__(self, non_blocking: bool = False) -> None:
        self.ptr, self.non_blocking = id(self) if non_blocking else 0, non_blocking

    def __enter__(self) -> "Stream":
        _streams.set((*_streams.get(), self))
        return self

    def __exit__(self, *error: object) -> None:
        _streams.set(_streams.get()[:-1])

    def begin_capture(self) -> None:
        if not self.non_blocking or get_current_stream() is not self:
            raise RuntimeError("only the current stream can record, and only if it does not wait for others")
        pool = _pools[alloc(0).ptr]
        if pool is default_pool:
            raise RuntimeError("a graph needs memory of its own")
        _graph.set(Graph(pool))

    def end_capture(self) -> Graph | None:
        graph = _graph.get()
        _graph.set(None)
        return graph


_pools = weakref.WeakValueDictionary[int, MemoryPool]()  # by the addresses of their memory
default_pool = MemoryPool()
_allocator: ContextVar[Callable[[int], Any]] = ContextVar("allocator", default=default_pool.malloc)
_streams: ContextVar[tuple[Stream, ...]] = ContextVar("streams", default=(Stream(),))  # the last one is current
_graph: ContextVar[Graph | None] = ContextVar("graph", default=None)  # the one that this thread records


def get_current_stream() -> Stream:
    return _streams.get()[-1]


def is_capturing() -> bool:
    """Whether a stream of this thread records."""
    return _graph.get() is not None


def perform(action: Callable[[], Any]) -> None:
    """Run an action that changes memory of the device, or append it to the graph that is being recorded."""
    graph = _graph.get()
    if graph is None:
        with quiet():
            action()
    else:
        graph.actions.append(action)


def quiet() -> AbstractContextManager[Any]:
    """A context without NumPy's warnings: a GPU gives none for overflow and NaN."""
    return np.errstate(all="ignore")


def alloc(size: int) -> Any:
    """As `cupy.cuda.alloc`: memory from the current allocator."""
    return _allocator.get()(size)


@contextmanager
def using_allocator(malloc: Callable[[int], Any]) -> Iterator[None]:
    """As `cupy.cuda.using_allocator`."""
    token = _allocator.set(malloc)
    try:
        yield
    finally:
        _allocator.reset(token)


def place(host: np.ndarray) -> None:
    """Account for a new array in the pool of the current allocator. In a graph, that must be the graph's pool."""
    pointer, graph = alloc(host.nbytes), _graph.get()
    pool = _pools[pointer.ptr]
    if graph is not None and pool is not graph.pool:
        raise RuntimeError("an array of a graph takes memory that is not the graph's own")
    if pool is not default_pool:
        pool.arrays[id(host)] = host
        weakref.finalize(host, lambda pointer: None, pointer)  # the array keeps its memory's owner alive


def unwritten(shape: Any, dtype: Any) -> np.ndarray:
    """New memory: NaN, the largest integer, or True."""
    made = np.empty(shape, dtype)
    made.fill(np.nan if made.dtype.kind in "fc" else 1 if made.dtype.kind == "b" else np.iinfo(made.dtype).max)
    return made


class runtime:
    """As the module `cupy.cuda.runtime`: the limits of the emulated device, by their numbers in CUDA."""

    cudaDevAttrMultiProcessorCount, cudaDevAttrMaxSharedMemoryPerBlockOptin = 16, 97

    @classmethod
    def deviceGetAttribute(cls, attribute: int, device: int) -> int:
        return {cls.cudaDevAttrMultiProcessorCount: emulator.MULTIPROCESSORS,
                cls.cudaDevAttrMaxSharedMemoryPerBlockOptin: emulator.SHARED}[attribute]

    @staticmethod
    def getDevice() -> int:
        return 0
