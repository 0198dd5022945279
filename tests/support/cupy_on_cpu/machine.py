"""A machine with two GPUs in host memory: what CuPy's calls of CUDA do, strictly.

Each stream has a queue. Work runs as late as CUDA allows: when something waits for it. So a missing synchronisation
shows old values, as it may on a GPU. While a stream captures, its work becomes the nodes of a graph.

New memory is 0xFF in every byte, which is NaN, and so is freed memory. What CUDA leaves undefined, or may refuse, is
a `Fault`. It is raised, and kept in `faults`, because an exception in a destructor reaches no caller:

- during a capture: freeing memory, the end of a graph, loading, unloading or compiling a module, waiting, and work of
  the same thread on another stream;
- a kernel or a copy that gets the address of freed memory, or of another GPU.

`counts` counts launches, copies, waits and more. A function of `TABLE` has the name and the arguments that it has in
CuPy's `cupy_backends.cuda.api`.
"""

import bisect
import ctypes
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, NamedTuple

from tests.support.cupy_on_cpu import kernels

DEVICES, MEMORY, FREE = 2, 4 << 30, 3 << 30  # GPUs, and the bytes of each
CUDA = 13020
_OUT_OF_MEMORY, _NOT_READY, _INVALID = 2, 600, 1  # cudaError_t
_CAPTURE_UNSUPPORTED, _CAPTURE_IMPLICIT = 900, 906
_HOST_TO_DEVICE, _DEVICE_TO_HOST = 1, 2  # cudaMemcpyKind
_DYNAMIC_SHARED = 8  # CUfunction_attribute
_QUARANTINE = 64 << 20  # freed bytes that are not given out again
_ATTRIBUTES = {1: 1024, 2: 1024, 5: 2**31 - 1, 6: 65535, 8: 48 * 1024, 10: 32, 16: 2, 39: 2048, 75: 9, 76: 0,
               97: 227 * 1024}  # cudaDeviceAttr, as of sm_90; few multiprocessors, so that small arrays occupy all

TABLE: dict[str, Callable[..., Any]] = {}
counts: Counter[str] = Counter()
faults: list[str] = []
_lock = threading.RLock()
_libc = ctypes.CDLL(None)
_libc.aligned_alloc.restype, _libc.aligned_alloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t] * 2
_libc.free.argtypes = [ctypes.c_void_p]
_local = threading.local()  # the current device of each thread
_error: type[Exception] = RuntimeError  # CuPy's CUDARuntimeError, once it is known
_limit = [MEMORY]  # bytes that one allocation may have


class Fault(RuntimeError):
    """What CUDA leaves undefined, or may refuse."""


def fault(message: str) -> Fault:
    faults.append(message)
    return Fault(message)


@contextmanager
def expected(part: str) -> Iterator[None]:
    """Inside, there must be a fault with this part of a message, and no other."""
    with _lock:
        before = list(faults)
        faults.clear()
    yield
    found, faults[:] = list(faults), before
    assert found and all(part in message for message in found), found


@contextmanager
def memory(size: int) -> Iterator[None]:
    """Inside, an allocation of more bytes fails."""
    before, _limit[0] = _limit[0], size
    try:
        yield
    finally:
        _limit[0] = before


def entry(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that CuPy calls."""
    @wraps(function)
    def locked(*arguments: Any) -> Any:
        with _lock:
            return function(*arguments)

    TABLE[function.__name__] = locked
    return locked


def error(status: int) -> Exception:
    return _error(status)


# --- devices ---------------------------------------------------------------------------------------------------------

@entry
def getDeviceCount() -> int:
    return DEVICES


@entry
def getDevice() -> int:
    return getattr(_local, "device", 0)


@entry
def setDevice(device: int) -> None:
    if not 0 <= device < DEVICES:
        raise error(101)
    _local.device = device


TABLE["_ensure_context"] = lambda: None
for _name in ("runtimeGetVersion", "driverGetVersion", "get_build_version"):
    TABLE[_name] = lambda: CUDA
TABLE["_getCUDAMajorVersion"] = lambda: CUDA // 1000
TABLE["memGetInfo"] = lambda: (FREE, MEMORY)
TABLE["deviceGetAttribute"] = lambda attribute, device: _ATTRIBUTES.get(attribute, 1)
TABLE["deviceCanAccessPeer"] = lambda device, other: 0
TABLE["deviceGetPCIBusId"] = lambda device: f"0000:{device:02}:00.0"
TABLE["deviceGetLimit"] = lambda limit: 0
TABLE["profilerStart"] = TABLE["profilerStop"] = lambda: None


@entry
def getDeviceProperties(device: int) -> dict[str, Any]:
    return {"name": f"Fake GPU {device}".encode(), "major": 9, "minor": 0, "warpSize": 32, "multiProcessorCount": 2,
            "maxThreadsPerBlock": 1024, "sharedMemPerBlock": 48 * 1024, "totalGlobalMem": MEMORY}


# --- memory ----------------------------------------------------------------------------------------------------------

class Block(NamedTuple):
    start: int
    size: int
    device: int


_starts: list[int] = []  # of the blocks, sorted
_blocks: dict[int, Block] = {}  # allocated and quarantined ones
_freed: deque[Block] = deque()  # the quarantine
_pinned: dict[int, int] = {}  # host memory that CUDA has allocated: sizes by address


def _block(address: int) -> Block | None:
    """The block of device memory in which an address lies."""
    at = bisect.bisect_right(_starts, address) - 1
    found = _blocks[_starts[at]] if at >= 0 else None
    return found if found and address < found.start + found.size else None


def check_address(address: int, size: int, what: str) -> None:
    """An address that a kernel or a copy gets; others than those of device memory are no concern here."""
    found = _block(address)
    if found is None:
        return
    if found in _freed:
        raise fault(f"{what} gets the address of freed memory")
    if found.device != getDevice():
        raise fault(f"{what} on gpu:{getDevice()} gets memory of gpu:{found.device}")
    if address + size > found.start + found.size:
        raise fault(f"{what} goes beyond its memory")


@entry
def malloc(size: int) -> int:
    if size > _limit[0]:
        raise error(_OUT_OF_MEMORY)
    counts["malloc"] += 1
    size = max(512, -(-size // 512) * 512)
    start = _libc.aligned_alloc(512, size)
    ctypes.memset(start, 0xFF, size)
    bisect.insort(_starts, start)
    _blocks[start] = Block(start, size, getDevice())
    return int(start)


@entry
def free(start: int) -> None:
    """Free memory. As in CUDA, all work of the GPU ends before."""
    counts["free"] += 1
    block, captures = _blocks[start], _capturing()
    if not captures:
        _finish(block.device)
    ctypes.memset(start, 0xFF, block.size)
    _freed.append(block)
    while sum(one.size for one in _freed) > _QUARANTINE:
        oldest = _freed.popleft()
        _starts.remove(oldest.start)
        del _blocks[oldest.start]
        _libc.free(oldest.start)
    if captures:
        raise fault("memory is freed during a capture")


@entry
def hostAlloc(size: int, flags: int) -> int:
    size = max(512, -(-size // 512) * 512)
    start = int(_libc.aligned_alloc(512, size))
    _pinned[start] = size
    return start


@entry
def freeHost(start: int) -> None:
    for device in range(DEVICES):
        _finish(device)
    del _pinned[start]
    _libc.free(start)


@entry
def pointerGetMemoryType(address: int) -> int:
    return 2 if _block(address) else int(_is_pinned(address))


@entry
def pointerGetAttributes(address: int) -> Any:
    from cupy_backends.cuda.api import runtime
    block = _block(address)
    return runtime.PointerAttributes(block.device if block else getDevice(), address, address, 2 if block else 0)


# --- streams and events ----------------------------------------------------------------------------------------------

Action = Callable[[], Any]


class Stream:
    """A queue of work of one device. `made` and `done` count its actions."""

    def __init__(self, device: int, is_blocking: bool) -> None:
        self.device, self.is_blocking = device, is_blocking
        self.queue: deque[Action] = deque()
        self.made = self.done = 0
        self.nodes: list[Action] | None = None  # while it captures
        self.thread = 0  # that captures

    def add(self, action: Action) -> None:
        self.queue.append(action)
        self.made += 1

    def run(self, until: int) -> None:
        """Run all work before this position."""
        while self.done < until:
            self.done += 1
            self.queue.popleft()()


_null = [Stream(device, True) for device in range(DEVICES)]  # the legacy default stream of each device
_streams: dict[int, Stream] = {}  # by handle
_events: dict[int, tuple[Stream, int]] = {}  # the positions at which events were recorded
_graphs: dict[int, list[Action]] = {}
_handles = iter(range(1 << 12, 1 << 60, 16))


def _stream(handle: int) -> Stream:
    found = _null[getDevice()] if handle in (0, 1) else _streams.get(handle)
    if found is None or found.device != getDevice():
        raise error(400)  # cudaErrorInvalidResourceHandle
    return found


def _capturing() -> list[Stream]:
    return [stream for stream in _streams.values() if stream.nodes is not None]


def is_capturing() -> bool:
    """Whether a stream captures."""
    return bool(_capturing())


def _not_while_capturing(what: str) -> None:
    if _capturing():
        raise fault(f"{what} during a capture")


def on(handle: int, what: str, action: Action) -> None:
    """Put work into a stream's queue, or into the graph that it captures."""
    stream = _stream(handle)
    if stream.nodes is not None:
        stream.nodes.append(action)
        return
    if any(one.thread == threading.get_ident() for one in _capturing()):
        raise fault(f"{what} on another stream during a capture")
    null = _null[stream.device]
    if stream is null:  # it waits for all streams that block, and they for it
        for other in _streams.values():
            if other.is_blocking and other.device == stream.device and other.done < other.made:
                stream.add(partial(other.run, other.made))
    elif stream.is_blocking and null.done < null.made:
        stream.add(partial(null.run, null.made))
    stream.add(action)


def _finish(device: int) -> None:
    """Run all work of a device."""
    for stream in (_null[device], *_streams.values()):
        if stream.device == device:
            stream.run(stream.made)


def forget() -> None:
    """Drop all work that nothing has waited for yet. It was counted."""
    with _lock:
        for stream in (*_null, *_streams.values()):
            stream.queue.clear()
            stream.done = stream.made


def _wait(what: str) -> None:
    counts["wait"] += 1
    _not_while_capturing(what)


@entry
def deviceSynchronize() -> None:
    _wait("waiting for the device")
    _finish(getDevice())


@entry
def streamSynchronize(handle: int) -> None:
    _wait("waiting for a stream")
    stream = _stream(handle)
    for other in _streams.values():
        if handle == 0 and other.is_blocking and other.device == stream.device:
            other.run(other.made)
    stream.run(stream.made)


@entry
def streamCreateWithPriority(flags: int, priority: int) -> int:
    handle = next(_handles)
    _streams[handle] = Stream(getDevice(), not flags & 1)
    return handle


TABLE["streamCreateWithFlags"] = lambda flags: streamCreateWithPriority(flags, 0)
TABLE["streamCreate"] = lambda: streamCreateWithPriority(0, 0)


@entry
def streamDestroy(handle: int) -> None:
    stream = _streams.pop(handle)
    stream.run(stream.made)


@entry
def streamIsCapturing(handle: int) -> int:
    return int(_stream(handle).nodes is not None)


@entry
def streamQuery(handle: int) -> int:
    stream = _stream(handle)
    return _NOT_READY if stream.done < stream.made else 0


@entry
def streamGetFlags(handle: int) -> int:
    return int(not _stream(handle).is_blocking)


@entry
def streamWaitEvent(handle: int, event: int, flags: int = 0) -> None:
    if event in _events:
        on(handle, "waiting for an event", partial(Stream.run, *_events[event]))


@entry
def eventCreateWithFlags(flags: int) -> int:
    return next(_handles)


@entry
def eventDestroy(event: int) -> None:
    _events.pop(event, None)


@entry
def eventRecord(event: int, handle: int) -> None:
    stream = _stream(handle)
    on(handle, "recording an event", lambda: None)
    _events[event] = stream, stream.made


@entry
def eventQuery(event: int) -> int:
    """A device goes on while the host asks: each question runs one action, unless this says that it is not ready."""
    stream, position = _events.get(event, (_null[0], 0))
    if stream.done >= position:
        return 0
    if getattr(stream.queue[0], "is_ready", lambda: True)():
        stream.run(stream.done + 1)
    return _NOT_READY


@entry
def eventSynchronize(event: int) -> None:
    _wait("waiting for an event")
    if event in _events:
        Stream.run(*_events[event])


@entry
def eventElapsedTime(start: int, end: int) -> float:
    return 1.0


# --- copies ----------------------------------------------------------------------------------------------------------

def _is_pinned(address: int) -> bool:
    return any(start <= address < start + size for start, size in _pinned.items())


@entry
def memcpyAsync(to: int, of: int, size: int, kind: int, handle: int) -> None:
    counts["copy"] += 1
    source, target = _block(of), _block(to)
    if source and target and source.device != target.device:
        if handle:
            raise NotImplementedError("copies between GPUs on a stream of one's own")
        _not_while_capturing("copying between GPUs")
        for device in source.device, target.device:  # as in CUDA, before and after all work of both
            _finish(device)
        ctypes.memmove(to, of, size)
        return
    for address, block in ((of, source), (to, target)):
        if block:
            check_address(address, size, "a copy")
    if source is None and not _is_pinned(of):  # CUDA copies such memory before it returns
        held = ctypes.create_string_buffer(ctypes.string_at(of, size), max(size, 1))
        on(handle, "a copy", lambda: ctypes.memmove(to, held, size))
    else:
        on(handle, "a copy", partial(ctypes.memmove, to, of, size))


@entry
def memcpy(to: int, of: int, size: int, kind: int) -> None:
    _wait("a copy that waits")
    memcpyAsync(to, of, size, kind, 0)
    streamSynchronize(0)


@entry
def memcpyPeerAsync(to: int, to_device: int, of: int, of_device: int, size: int, handle: int) -> None:
    memcpyAsync(to, of, size, 3, handle)


@entry
def memsetAsync(to: int, value: int, size: int, handle: int) -> None:
    counts["set"] += 1
    check_address(to, size, "setting memory")
    on(handle, "setting memory", partial(ctypes.memset, to, value, size))


@entry
def memset(to: int, value: int, size: int) -> None:
    memsetAsync(to, value, size, 0)


# --- captures and graphs ---------------------------------------------------------------------------------------------

@entry
def streamBeginCapture(handle: int, mode: int = 2) -> None:
    if handle == 0:
        raise error(_CAPTURE_UNSUPPORTED)
    stream = _stream(handle)
    if stream.is_blocking:
        raise error(_CAPTURE_IMPLICIT)
    stream.nodes, stream.thread = [], threading.get_ident()
    counts["capture"] += 1


@entry
def streamEndCapture(handle: int) -> int:
    stream = _stream(handle)
    if stream.nodes is None:
        raise error(_INVALID)
    graph = next(_handles)
    _graphs[graph], stream.nodes = stream.nodes, None
    return graph


@entry
def graphInstantiate(graph: int) -> int:
    made = next(_handles)
    _graphs[made] = _graphs[graph]
    return made


@entry
def graphDestroy(graph: int) -> None:
    del _graphs[graph]
    _not_while_capturing("the end of a graph")


TABLE["graphExecDestroy"] = graphDestroy
TABLE["graphUpload"] = lambda graph, handle: None


@entry
def graphLaunch(graph: int, handle: int) -> None:
    counts["graph launch"] += 1
    nodes = _graphs[graph]
    counts["node"] += len(nodes)

    def run() -> None:
        for action in nodes:
            action()

    on(handle, "the launch of a graph", run)


# --- modules and kernels ---------------------------------------------------------------------------------------------

_modules: dict[int, ctypes.CDLL] = {}
_functions: dict[int, tuple[kernels.Kernel, dict[int, int]]] = {}  # with attributes that were set


@entry
def moduleLoadData(image: bytes) -> int:
    """Load a library. `image` is its path, where CUDA has machine code."""
    handle = next(_handles)
    _modules[handle] = ctypes.CDLL(image.decode())
    _not_while_capturing("loading a module")
    return handle


@entry
def moduleUnload(handle: int) -> None:
    _not_while_capturing("unloading a module")


@entry
def moduleGetFunction(module: int, name: str) -> int:
    found = kernels.kernel(_modules[module], name)
    if found is None:
        raise error(500)  # cudaErrorSymbolNotFound
    handle = next(_handles)
    _functions[handle] = found, {}
    return handle


@entry
def funcSetAttribute(function: int, attribute: int, value: int) -> None:
    _functions[function][1][attribute] = value


@entry
def funcGetAttribute(attribute: int, function: int) -> int:
    return _functions[function][1].get(attribute, {0: 1024, _DYNAMIC_SHARED: 48 * 1024}.get(attribute, 0))


TABLE["occupancyMaxActiveBlocksPerMultiprocessor"] = lambda function, threads, shared: 2


@entry
def launchKernel(function: int, gx: int, gy: int, gz: int, bx: int, by: int, bz: int, shared: int, handle: int,
                 parameters: int, extra: int) -> None:
    counts["launch"] += 1
    kernel, attributes = _functions[function]
    if (min(gx, gy, gz, bx, by, bz) < 1 or bx * by * bz > 1024 or max(gy, gz) > 65535
            or shared > attributes.get(_DYNAMIC_SHARED, 48 * 1024)):
        raise error(9)  # cudaErrorInvalidConfiguration
    places = (ctypes.c_void_p * max(len(kernel.sizes), 1)).from_address(parameters) if kernel.sizes else []
    values = [ctypes.string_at(place, size) for place, size in zip(places, kernel.sizes, strict=False)]
    for value in values:
        if len(value) >= 8:  # a pointer, or CuPy's description of an array, which begins with one
            check_address(int.from_bytes(value[:8], "little"), 0, kernel.name)

    def run() -> None:
        message = kernel.run(values, (gx, gy, gz, bx, by, bz, shared))
        if message:
            raise fault(f"{kernel.name}: {message}")

    on(handle, kernel.name, run)


def compile(source: str, *options: Any, **more: Any) -> Any:
    """In the place of CuPy's compiler and its cache."""
    from cupy.cuda import function
    _not_while_capturing("compiling a module")
    counts["compile"] += 1
    module = function.Module()
    module.load(str(kernels.compiled(source)).encode())
    return module
