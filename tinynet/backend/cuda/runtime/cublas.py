"""The part of cuBLAS that we need, called through ctypes in the library that CuPy has loaded.

`cupy.matmul` cannot be captured into a CUDA graph, takes longer on the host, and has no choice of precision.

The order of the calls matters. SetStream resets a handle to a workspace that cuBLAS allocates itself, and no capture
allows that allocation. So each thread has a handle for each stream, and SetWorkspace is called last. The first product
on a stream makes the handle, so it must not run inside a capture: call `prepare` before.

Products on one stream run one after another, so they share a workspace, whichever thread launches them. A handle ends
with its thread, a workspace with the last handle or graph that uses it.

Source: the cuBLAS reference, sections on GemmEx, GemmStridedBatchedEx, SetWorkspace, and on CUDA graphs.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from threading import local
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from tinynet.errors import DeviceError

_WORKSPACES = {227 * 1024: 32 * 2**20, 0: 4 * 2**20}  # bytes as cuBLAS recommends, by the shared memory of a block:
# 227 KiB on Hopper (sm_90) and on its successors for data centers
_HANDLES = 16  # of a thread: more streams than that are not in use at once
_MOST = 2**31 - 1  # cuBLAS takes sizes as int

_N, _T = 0, 1  # cublasOperation_t: not transposed, transposed
_DEFAULT_ALGORITHM = -1


class _Kind(NamedTuple):
    """The storage and arithmetic of a product: cudaDataType, cublasComputeType_t, and the type of alpha and beta."""

    data: int
    compute: int
    scalar: Any


# CUBLAS_COMPUTE_32F, _32F_FAST_TF32, _32F_FAST_16BF: all of them sum in float32.
_SINGLE = {"float32": _Kind(0, 68, ctypes.c_float), "tf32": _Kind(0, 77, ctypes.c_float),
           "bf16": _Kind(0, 75, ctypes.c_float)}
_DOUBLE = _Kind(1, 70, ctypes.c_double)
_SCALARS = {(scalar, value): scalar(value) for scalar in (ctypes.c_float, ctypes.c_double) for value in (0.0, 1.0)}

_INT, _LONG, _POINTER, _SIZE = ctypes.c_int, ctypes.c_longlong, ctypes.c_void_p, ctypes.c_size_t
_MATRIX, _BATCH = [_POINTER, _INT, _INT], [_POINTER, _INT, _INT, _LONG]  # address, dtype, leading dimension, stride
_SIGNATURES = {
    "cublasCreate_v2": [ctypes.POINTER(_POINTER)],
    "cublasDestroy_v2": [_POINTER],
    "cublasSetStream_v2": [_POINTER, _POINTER],
    "cublasSetWorkspace_v2": [_POINTER, _POINTER, _SIZE],
    # handle, two operations, m, n, k, alpha, A, B, beta, C, how to compute, algorithm
    "cublasGemmEx": [_POINTER, *[_INT] * 5, _POINTER, *_MATRIX, *_MATRIX, _POINTER, *_MATRIX, _INT, _INT],
    "cublasGemmStridedBatchedEx": [_POINTER, *[_INT] * 5, _POINTER, *_BATCH, *_BATCH, _POINTER, *_BATCH, _INT, _INT,
                                   _INT],
}


Product = Callable[[int, int, int], None]  # of three addresses


class Matrix(NamedTuple):
    """A matrix as cuBLAS takes it: its address, its leading dimension, and whether to transpose it.

    `stride` is the distance between two matrices of a batch. Distances are in elements. `array` keeps the memory alive.
    """

    array: Any
    pointer: int
    leading: int
    transposed: bool = False
    stride: int = 0


class Workspace:
    """Memory of a device for the products on one stream."""

    def __init__(self, cupy: Any, device: int) -> None:
        runtime = cupy.cuda.runtime
        shared = runtime.deviceGetAttribute(runtime.cudaDevAttrMaxSharedMemoryPerBlockOptin, device)
        self.size = next(size for least, size in _WORKSPACES.items() if shared >= least)
        self.memory = cupy.cuda.alloc(self.size)


class Handle:
    """A handle of cuBLAS for one thread and stream, with its workspace. It is destroyed with this object."""

    def __init__(self, library: Any, stream: int, workspace: Workspace) -> None:
        self.library, self.workspace, self.pointer = library, workspace, ctypes.c_void_p()
        _check(library.cublasCreate_v2(ctypes.byref(self.pointer)), "Create")
        _check(library.cublasSetStream_v2(self.pointer, stream), "SetStream")
        _check(library.cublasSetWorkspace_v2(self.pointer, workspace.memory.ptr, workspace.size), "SetWorkspace")

    def __del__(self) -> None:
        if self.pointer:
            self.library.cublasDestroy_v2(self.pointer)


class Cublas:
    """cuBLAS on the current GPU and stream of `cupy`. `library` has the functions of `_SIGNATURES`, or is None."""

    def __init__(self, library: Any, cupy: Any) -> None:
        self.library, self.cupy = library, cupy
        self.known: dict[Any, Any] = {}  # products that were made before, by the form of their arrays
        self._local = local()  # `handles` of each thread, by device and stream
        self._workspaces = WeakValueDictionary[tuple[int, int], Workspace]()  # by device and stream

    def takes(self, a: Any, b: Any, precision: str) -> bool:
        """Whether cuBLAS multiplies matrices of these dtypes.

        Errors: DeviceError if cuBLAS is missing and the precision needs it.
        """
        if self.library is None and a.char == "f" and precision != "float32":
            raise DeviceError(f"precision: products in {precision} need cuBLAS, and CuPy does not find it; install the "
                              "packages that the README names for a GPU, or leave tn.precision out")
        return self.library is not None and a == b and a.char in "fd"

    def product(self, a: Matrix, b: Matrix, c: Matrix, sizes: tuple[int, int, int], dtype: Any, precision: str,
                accumulate: bool = False, batch: int | None = None) -> Product:
        """A function that computes C (m,n) = A (m,k) B (k,n), or C += A B, all column-major. `sizes` is (m, n, k).

        It takes the three addresses: the layouts are those of `a`, `b` and `c`. Errors, from the function: DeviceError
        if cuBLAS reports an error.
        """
        kind = _SINGLE[precision] if dtype.char == "f" else _DOUBLE
        one, beta = (ctypes.byref(_SCALARS[kind.scalar, value]) for value in (1.0, float(accumulate)))
        # Converted here, once: ctypes would take half of the time of a call for it.
        form = tuple(map(_INT, (_T if a.transposed else _N, _T if b.transposed else _N, *sizes)))
        A, B, C = ((_INT(kind.data), _INT(x.leading), *([] if batch is None else [_LONG(x.stride)])) for x in (a, b, c))
        end = tuple(map(_INT, (*([] if batch is None else [batch]), kind.compute, _DEFAULT_ALGORITHM)))
        name = "GemmEx" if batch is None else "GemmStridedBatchedEx"
        function = getattr(self.library, f"cublas{name}")

        def multiply(a: int, b: int, c: int) -> None:
            status = function(self.handle().pointer, *form, one, a, *A, b, *B, beta, c, *C, *end)
            if status:
                _check(status, name)
        return multiply

    def handle(self) -> Handle:
        """The handle for this thread, the current GPU and the current stream."""
        key = self.cupy.cuda.runtime.getDevice(), self.cupy.cuda.get_current_stream().ptr
        try:
            return self._local.handles[key]
        except (AttributeError, KeyError):
            return self._new_handle(*key)

    def _new_handle(self, device: int, stream: int) -> Handle:
        workspace = self._workspaces.get((device, stream)) or Workspace(self.cupy, device)
        self._workspaces[device, stream] = workspace
        handles = vars(self._local).setdefault("handles", {})
        if len(handles) >= _HANDLES:
            handles.clear()
        return handles.setdefault((device, stream), Handle(self.library, stream, workspace))


def fits(*sizes: int) -> bool:
    """Whether cuBLAS can take these sizes."""
    return max(sizes) <= _MOST


@cache
def load(xp: Any) -> Cublas | None:
    """The cuBLAS that CuPy loads. None for a library without cuBLAS: NumPy, and that of the emulated GPU."""
    try:
        xp.cuda.cublas.__name__  # noqa: B018  CuPy searches and loads the library when this module is first used
    except AttributeError:
        return None
    except (ImportError, RuntimeError, OSError):
        return Cublas(None, xp)
    major = xp.cuda.runtime.runtimeGetVersion() // 1000
    for name in (f"libcublas.so.{major}", f"cublas64_{major}.dll"):  # the name alone finds a library that is loaded
        try:
            return Cublas(bound(ctypes.CDLL(name)), xp)
        except (OSError, AttributeError):
            continue
    return Cublas(None, xp)


def prepare(xp: Any) -> Workspace | None:
    """Make the handle for the current stream: while the stream is recorded, that is not allowed.

    Returns its workspace, which a recording must keep. None without cuBLAS.
    """
    binding = load(xp)
    return binding.handle().workspace if binding and binding.library else None


def bound(library: Any) -> Any:
    """The library, with the argument types of its functions set. AttributeError if a function is missing."""
    for name, arguments in _SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, ctypes.c_int
    return library


_STATUS = {1: "it is not initialised", 3: "a resource could not be allocated", 7: "an argument is invalid",
           8: "this GPU lacks a feature", 13: "the kernel failed", 14: "an internal operation failed",
           15: "it is not supported"}


def _check(status: int, function: str) -> None:
    if status:
        raise DeviceError(f"cublas{function}: must return 0, got {status} ({_STATUS.get(status, 'unknown')}); is the "
                          "GPU's memory full? or did an earlier kernel fail? CUDA_LAUNCH_BLOCKING=1 shows which")
