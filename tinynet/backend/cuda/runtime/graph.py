"""CUDA graphs: what a function launches on a GPU, recorded once, and then launched as one.

A step of training is a few hundred launches, each of some microseconds on the host; a small net computes faster than
that. Launching a graph costs a few microseconds, whatever its size. What is recorded are kernels with their arguments,
so each launch works on the same memory, with the same numbers: whatever is to change from launch to launch must lie on
the device. Nothing may wait for the device, and nothing may be copied from the host.

Source: the CUDA programming guide, section on CUDA graphs; CuPy's `Stream.begin_capture`.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

from tinynet import backend
from tinynet.backend.cuda.runtime import cublas, fake_cupy
from tinynet.errors import DeviceError


def capture(device: str, work: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
    """Record what `work` does on a device. Returns what it returned, and a function that does it.

    Nothing is done while it is recorded: arrays that `work` makes hold nothing before the first launch, and are written
    anew by each. Kernels must have run before, once.

    Errors: DeviceError if `work` does what cannot be recorded, or if there is no memory for it.
    """
    if device == "gpu-emulated":
        with fake_cupy.capturing() as graph:
            result = work()
        return result, graph.launch
    xp = backend.namespace(device)
    stream = _stream(xp, device)
    memory = _memory(xp)
    xp.get_default_memory_pool().free_all_blocks()  # there has to be room for the step twice: as usual, and recorded
    try:
        with stream:
            cublas.prepare(xp)  # with memory of everybody's: its workspace outlives this graph
            with xp.cuda.using_allocator(memory):
                stream.begin_capture()
                try:
                    result = work()
                except BaseException:
                    with suppress(RuntimeError):  # what was recorded is of no use
                        stream.end_capture()
                    raise
                graph = stream.end_capture()
    except MemoryError as error:
        raise DeviceError(f"capture: {device} has no room for a step that is recorded, beside one that runs as usual "
                          f"({error}); make batch_size smaller") from error
    except RuntimeError as error:  # CuPy's errors, and NotImplementedError
        raise DeviceError(f"capture: nothing may wait for {device} or copy to it in a step that is recorded as a CUDA "
                          f"graph, and something does ({error}); keep its numbers on the device") from error

    def launch(kept: Any = memory) -> None:
        graph.launch()  # on the current stream: in turn with everything else
    return result, launch


def _memory(xp: Any) -> Callable[[int], Any]:
    """Gives out memory from which nobody else takes any. It is freed when no array that lies there is left, nor who
    gives it out."""
    pool = xp.cuda.MemoryPool()

    def allocate(size: int) -> Any:
        memory = pool.malloc(size)  # which knows its pool, but does not keep it alive
        return xp.cuda.MemoryPointer(xp.cuda.UnownedMemory(memory.ptr, size, (memory, pool), memory.device_id), 0)
    return allocate


@cache
def _stream(xp: Any, device: str) -> Any:
    """The stream on which graphs are recorded: one that waits for no other, as CUDA wants it."""
    return xp.cuda.Stream(non_blocking=True)
