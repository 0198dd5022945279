"""Where arrays live, and which code runs an op there.

The pair of functions in `ops/` is what an op means; it is array code that runs on any device. A file of the same name
in `backend/cpu` or `backend/cuda` may hold the same two functions, faster: `ops/lstm.py` has `lstm` and `dlstm`,
and so has `backend/cpu/lstm.py`. Nothing else is needed to override an op; `with using("reference"):` leaves the
overrides out. An override returns NotImplemented for arguments that it has no fast way for.

Two things spare the backward of an override work that the specification is spared to know of. The gradient of an output
that nobody used is None there, not zeros; and an element of `needs` that is true may be a `Home`.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from tinynet.backend.device import Device, host
from tinynet.errors import ArgumentError, DeviceError, DtypeError

Functions = tuple[Callable[..., Any], ...]


class Home(NamedTuple):
    """In `needs`, for True: whose gradient may be written into this array, which is to be returned then."""

    array: Any


def home(need: bool | Home) -> Any:
    """The array that a gradient may be written into; None for a new one."""
    return need.array if isinstance(need, Home) else None


def room(xp: Any, need: bool | Home, like: Any) -> Any:
    """The array that a gradient of `like` may be written into, or a new one."""
    array = home(need)
    return xp.empty_like(like) if array is None else array


_FOLDERS = {"cpu": "tinynet.backend.cpu", "gpu": "tinynet.backend.cuda", "gpu-emulated": "tinynet.backend.cuda"}
_DLPACK_CPU, _DLPACK_CUDA = 1, 2  # numbers of the DLPack protocol
PRECISIONS = ("float32", "tf32", "bf16")
_reference: ContextVar[bool] = ContextVar("reference", default=False)
recording: ContextVar[bool] = ContextVar("recording", default=True)  # set by `tape.no_grad`
_precision: ContextVar[str] = ContextVar("precision", default="float32")
_opened: dict[str, tuple[Any, Callable[[], Any] | None]] = {}  # what `namespace` found, by device
_overrides: dict[tuple[str, str, tuple[str, ...]], Any] = {}  # Functions or None, once looked up


@contextmanager
def using(which: str) -> Iterator[None]:
    """Choose the code that runs: "reference" for the specification in `ops/`, "fast" for the overrides (the default).

    >>> import tinynet as tn
    >>> with tn.using("reference"):
    ...     y = tn.ops.relu(tn.Tensor([-1.0, 2.0]))
    """
    if which not in ("reference", "fast"):
        raise ArgumentError(f'using: which must be "reference" or "fast", got {which!r}; with tn.using("reference"):')
    token = _reference.set(which == "reference")
    try:
        yield
    finally:
        _reference.reset(token)


@contextmanager
def precision(which: str) -> Iterator[None]:
    """Choose how a GPU multiplies matrices of float32 numbers: "float32" (the default), "tf32" or "bf16".

    tf32 rounds the factors to 10 bits behind the point, bf16 to 7; both add up in float32, and are several times faster
    on GPUs with tensor cores. Forward and backward take the precision that holds when they run, so the whole training
    belongs inside. Other arithmetic, float64, and the other devices are not concerned. On a GPU where cuBLAS is not
    found there is float32 alone, and a product in another precision is a DeviceError.

    >>> import tinynet as tn
    >>> with tn.precision("tf32"):
    ...     y = tn.Tensor([[1.0, 2.0]]) @ tn.Tensor([[3.0], [4.0]])
    """
    if which not in PRECISIONS:
        raise ArgumentError(f'precision: which must be "float32", "tf32" or "bf16", got {which!r}; '
                            'with tn.precision("tf32"):')
    token = _precision.set(which)
    try:
        yield
    finally:
        _precision.reset(token)


def is_reference() -> bool:
    """Whether `using("reference")` holds."""
    return _reference.get()


def current_precision() -> str:
    """The precision of products that was chosen last."""
    return _precision.get()


def is_recording() -> bool:
    """Whether ops leave nodes on the tape: True, except inside `no_grad()`. If not, nobody will ask for a backward, and
    the forward of an override may return any cache."""
    return recording.get()


def overrides(module: str, names: tuple[str, ...], device: str) -> Functions | None:
    """The fast functions of these names for what a module of tinynet's specifies, or None to run the specification."""
    if _reference.get():
        return None
    key = device.partition(":")[0], module, names
    if key not in _overrides:
        package, _, stem = module.rpartition(".")
        is_ours = package.partition(".")[0] == "tinynet"  # somebody else's lstm.py is not ours made fast
        _overrides[key] = _look_up(f"{_FOLDERS[key[0]]}.{stem}", names) if is_ours else None
    return _overrides[key]


def _look_up(module: str, names: tuple[str, ...]) -> Functions | None:
    try:
        if importlib.util.find_spec(module) is None:
            return None
    except ModuleNotFoundError:
        return None
    try:
        found = importlib.import_module(module)
    except ImportError:  # Numba or CuPy is not there: the specification needs NumPy alone
        return None
    functions = vars(found)
    return tuple(functions[name] for name in names) if functions.keys() >= set(names) else None


def namespace(device: str) -> Any:
    """The module of array functions for a device: `numpy`, `cupy`, or the emulator's. Of several GPUs, this one is from
    now on where new arrays are made.

    Errors: DeviceError, with the remedy, for a device that this machine or installation does not have.
    """
    if device == "cpu":
        return np
    xp, make_current = _opened.get(device) or _open(device)
    if make_current:
        make_current()
    return xp


def capture(device: str, work: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
    """Record what `work` does on a GPU, as a CUDA graph: what it returned, and what does it. See `cuda/graph.py`."""
    from tinynet.backend.cuda.runtime import graph

    return graph.capture(device, work)


def record(work: Callable[[], Any], given: Sequence[Any], most: int) -> tuple[Any, Any]:
    """Do `work` on the CPU and record it: the array that it returned, and a Graph that makes it anew of the arrays that
    are given. See `cpu/graph.py`.

    Errors: DeviceError if `work` does what cannot be recorded, or makes arrays of more than `most` bytes.
    """
    try:
        from tinynet.backend.cpu.runtime import graph
    except ImportError as error:
        raise DeviceError(f"record: only kernels are recorded, and these need Numba ({error}); install it") from error
    return graph.capture(work, given, most)


def device_of(array: Any) -> str:
    """Where an array lives, as a name: "cpu", "gpu", "gpu:1", "gpu-emulated"."""
    if isinstance(array, np.ndarray):
        return "cpu"
    if isinstance(array, _type_of("tinynet.backend.cuda.runtime.fake_cupy", "Array")):
        return "gpu-emulated"
    index = array.device.id
    return f"gpu:{index}" if index else "gpu"


def common_device(arrays: Iterable[Any]) -> str | None:
    """Where these arrays live, those that are not None: "cpu" if there are none, None if they live apart."""
    common = None
    for array in arrays:
        if array is not None:
            device = device_of(array)
            if common not in (None, device):
                return None
            common = device
    return common or "cpu"


def forget_devices() -> None:
    """Look anew for GPUs when one is next asked for."""
    _opened.clear()


def device_name(device: str) -> str:
    """The name by which tensors know a device: "gpu" for "gpu:0".

    Errors: DeviceError for a name that is none. Whether the device is there is not asked.
    """
    kind, index = _parsed(device)
    return f"{kind}:{index}" if index else kind


def devices() -> list[Device]:
    """The devices that can be computed on here, with their memory; where a kind has none, the reason.

    >>> import tinynet as tn
    >>> print(tn.devices()[0])                        # doctest: +ELLIPSIS
    cpu ...
    >>> [device.name for device in tn.devices() if device.is_available][0]
    'cpu'
    """
    from tinynet.backend.cuda.runtime import gpu as cuda

    return [host(), *cuda.gpus(), cuda.emulator()]


def as_array(data: Any, dtype: Any = None, device: str | None = None) -> Any:
    """`data` as an array: one that is there already is shared; Python floats become float32.

    What another library keeps on a GPU (it has a `__cuda_array_interface__`) is shared there, too.
    """
    if isinstance(data, bool | int | float) and device not in (None, "cpu"):  # it is made there: nothing is copied
        return namespace(device).full((), data, dtype or as_array(data).dtype)
    if not isinstance(data, np.ndarray) and not _is_on_device(data):
        typed = hasattr(data, "dtype")
        data = _from_elsewhere(data)
        if not typed and dtype is None and data.dtype == np.float64:
            dtype = np.float32
    if not data.dtype.isnative:
        data = data.astype(data.dtype.newbyteorder("="))
    if dtype is not None and data.dtype != dtype:
        data = data.astype(dtype)
    return data if device is None or device == device_of(data) else to_device(data, device)


def from_dlpack(data: Any) -> Any:
    """An array that shares the memory of another library's, by the DLPack protocol."""
    if not hasattr(data, "__dlpack_device__"):
        raise DtypeError("from_dlpack: data must be an array that can be shared by the DLPack protocol, got "
                         f"{type(data).__name__}; tn.Tensor(data)?")
    kind, index = data.__dlpack_device__()
    try:
        if kind == _DLPACK_CPU:
            return np.from_dlpack(data)
        if kind == _DLPACK_CUDA:
            return namespace(device_name(f"gpu:{index}")).from_dlpack(data)
    except (BufferError, RuntimeError) as error:
        if isinstance(error, DeviceError):
            raise
        raise DtypeError(f"from_dlpack: data must be numbers that NumPy knows, in memory that may be shared, got "
                         f"{getattr(data, 'dtype', type(data).__name__)} ({error}); convert or detach it first, in the "
                         "library it is from") from error
    raise DeviceError(f"from_dlpack: the array must be on a CPU or an NVIDIA GPU (DLPack's device types {_DLPACK_CPU} "
                      f"and {_DLPACK_CUDA}), got type {int(kind)}; move it to the CPU first, in the library it is from")


def to_host(array: Any) -> np.ndarray:
    """A NumPy array of the same values; the same array if it is one."""
    return array if isinstance(array, np.ndarray) else array.get()


def to_device(array: Any, device: str) -> Any:
    """The array on `device`; the same array if it is there.

    Errors: DeviceError, with the remedy, for a device that this machine or installation does not have, or whose memory
    is full.
    """
    device, here = device_name(device), device_of(array)
    if device == here:
        return array
    if device == "cpu":
        return to_host(array)
    xp = namespace(device)
    if "gpu-emulated" in (here, device):
        array = to_host(array)
    try:
        return _emulated().array(array) if device == "gpu-emulated" else xp.asarray(array)
    except MemoryError as error:
        raise out_of_memory("to", device, error) from None


def out_of_memory(what: str, device: str, error: BaseException) -> DeviceError:
    """What to raise where an op (or whatever `what` is) met a MemoryError."""
    place = next((one for one in devices() if one.name == device), None)
    return DeviceError(f"{what}: an array does not fit into the memory of {place or device}: {error}; make batch_size "
                       "smaller, evaluate inside tn.no_grad(), or delete what is no longer needed")


def _parsed(device: str) -> tuple[str, int]:
    kind, colon, index = device.partition(":") if isinstance(device, str) else ("", "", "")
    if kind not in _FOLDERS or (colon and (kind != "gpu" or not index.isdecimal())):
        raise DeviceError('device: must be "cpu", "gpu", "gpu:1" or "gpu-emulated", got '
                          f'{device!r}; model.to("cpu")? tn.devices() says what there is')
    return kind, int(index or 0)


def _open(device: str) -> tuple[Any, Callable[[], Any] | None]:
    """The namespace of a device that is no CPU, and what makes it the current one, where there are several."""
    kind, index = _parsed(device)
    if kind == "gpu-emulated":
        _opened[device] = _emulated().namespace, None
    else:
        from tinynet.backend.cuda.runtime.gpu import open_gpu

        _opened[device] = open_gpu(index)
    return _opened[device]


def _emulated() -> Any:
    return importlib.import_module("tinynet.backend.cuda.runtime.fake_cupy")


def _type_of(module: str, name: str) -> Any:
    """A class of a module that need not be loaded; if it is not, nothing is an instance of it."""
    return getattr(sys.modules.get(module), name, ())


def _is_on_device(data: Any) -> bool:
    return isinstance(data, (_type_of("cupy", "ndarray"), _type_of("tinynet.backend.cuda.runtime.fake_cupy", "Array")))


def _from_elsewhere(data: Any) -> Any:
    if hasattr(data, "__cuda_array_interface__"):
        return namespace("gpu").asarray(data)
    return np.asarray(data)
