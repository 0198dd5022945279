"""CUDA graphs: the launches of a function on a GPU, recorded once and then made by a single call.

A training step is a few hundred launches of some microseconds each on the host; a small net computes faster than that.
Launching a graph takes a few microseconds, whatever its size. The graph holds kernels with their arguments, so every
run uses the same memory: what changes from run to run must lie on the device. While a graph is recorded, nothing may
wait for the device or copy from the host.

Source: the CUDA programming guide, section on CUDA graphs; CuPy's `Stream.begin_capture`.
"""

import gc
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, TypeVar

from tinynet import backend
from tinynet.backend.cuda.runtime import cublas
from tinynet.errors import DeviceError

Result = TypeVar("Result")


class Graph:
    """A recorded CUDA graph, the private pool with its arrays, and the workspace of cuBLAS.

    Not reentrant: each launch writes to the same arrays.

    It belongs to the stream that was current when it was recorded: on another one it could overlap with itself.
    """

    def __init__(self, graph: Any, size: int, xp: Any, kept: Any) -> None:
        self._graph, self._xp, self._kept = graph, xp, kept
        self._stream = _current_stream(xp)
        self.size = size  # bytes of its arrays

    def is_current(self) -> bool:
        """Whether the graph may be launched now: whether its stream is the current one."""
        return bool(_current_stream(self._xp) == self._stream)

    def launch(self) -> None:
        """Queue all kernels on the current stream, in turn with all other work."""
        self._graph.launch()

    def beside(self, work: Callable[[], Result]) -> Result:
        """Do other work, which a graph of the CPU gives its own memory."""
        return work()


def record(device: str, work: Callable[[], Any], given: Sequence[Any], limit: float) -> tuple[Any, Graph]:
    """Record `work`, then launch it once. Returns its result and the graph. Arrays need not be `given` on a GPU.

    Errors: DeviceError as of `capture`, or if the graph's arrays have more than `limit` bytes. Nothing is done then.
    """
    result, graph = capture(device, work, is_large=limit == math.inf)
    if graph.size > limit:
        raise DeviceError(f"record: arrays must have {limit} bytes at most, got {graph.size}; make batch_size smaller")
    graph.launch()
    return result, graph


def capture(device: str, work: Callable[[], Any], is_large: bool = True) -> tuple[Any, Graph]:
    """Record `work` without running it. Returns its result and the graph.

    The arrays that `work` makes are undefined before the first launch, and each launch writes them anew. Every kernel
    must have run once before: drivers older than 12.3 load no module during a capture. `is_large`: free all unused
    memory first, to make room for large arrays.

    Python's garbage collector does not run meanwhile. It could free device memory, graphs or modules, which may
    invalidate the capture.

    Errors: DeviceError if `work` does what cannot be recorded, or if its arrays do not fit into memory.
    """
    xp = backend.namespace(device)
    stream = _stream(xp, device, _current_stream(xp))
    pool = xp.cuda.MemoryPool()
    allocate = _allocator(xp, pool)
    if is_large:
        gc.collect()  # frees the graphs and arrays of earlier runs that refer to each other
        xp.get_default_memory_pool().free_all_blocks()
    try:
        with stream:
            workspace = cublas.prepare(xp)  # before the private pool: other graphs use it, too
            with xp.cuda.using_allocator(allocate), _no_garbage_collection():
                stream.begin_capture()
                try:
                    result = work()
                except BaseException:
                    with suppress(RuntimeError):  # the error of `work` says more
                        stream.end_capture()
                    raise
                graph = stream.end_capture()
    except MemoryError as error:
        raise DeviceError(f"capture: {device} has no room for the arrays of a recording ({error}); "
                          "make batch_size smaller") from error
    except NotImplementedError as error:
        raise DeviceError(f"capture: a CUDA graph cannot hold products that CuPy makes, which are those of layers in "
                          f'float64, and something makes one ({error}); model.astype("float32")?') from error
    except RuntimeError as error:  # CuPy's errors
        raise DeviceError(f"capture: nothing may wait for {device}, copy to it or load a kernel while a CUDA graph is "
                          f"recorded, and something does ({error}); keep its numbers on the device, join at most 8 "
                          "arrays at once, and run all kernels once before") from error
    return result, Graph(graph, pool.total_bytes(), xp, (allocate, workspace))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _allocator(xp: Any, pool: Any) -> Callable[[int], Any]:
    """An allocator with a private pool. The pool lives as long as the allocator or any of its arrays."""
    def allocate(size: int) -> Any:
        memory = pool.malloc(size)  # it refers to the pool, but does not keep it alive
        return xp.cuda.MemoryPointer(xp.cuda.UnownedMemory(memory.ptr, size, (memory, pool), memory.device_id), 0)
    return allocate


def _current_stream(xp: Any) -> Any:
    """The address of the current stream."""
    return xp.cuda.get_current_stream().ptr


@cache
def _stream(xp: Any, device: str, current: Any) -> Any:
    """The stream to record on, one for each stream to launch on: cuBLAS has a workspace for each. Recording needs a
    stream that does not wait for others."""
    return xp.cuda.Stream(non_blocking=True)
