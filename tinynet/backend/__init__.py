"""Where arrays live, and which code runs an op there.

The pair of functions in `ops/` is what an op means; it is array code that runs on any device. A file of the same name
in `backend/cpu` (later `backend/cuda`) may hold the same two functions, faster: `ops/lstm.py` has `lstm` and `dlstm`,
and so has `backend/cpu/lstm.py`. Nothing else is needed to override an op; `with using("reference"):` leaves the
overrides out. An override returns NotImplemented for arguments that it has no fast way for.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from tinynet.errors import ArgumentError, DeviceError

Functions = tuple[Callable[..., Any], ...]

_FOLDERS = {"cpu": "tinynet.backend.cpu", "gpu": "tinynet.backend.cuda"}
_reference: ContextVar[bool] = ContextVar("reference", default=False)
recording: ContextVar[bool] = ContextVar("recording", default=True)  # set by `tape.no_grad`
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
    """The module of array functions for a device: `numpy` or `cupy`."""
    return np if device == "cpu" else _cupy(device)


def device_of(array: Any) -> str:
    """Where an array lives, as a name: "cpu", "gpu", "gpu:1"."""
    if isinstance(array, np.ndarray):
        return "cpu"
    index = array.device.id
    return f"gpu:{index}" if index else "gpu"


def common_device(arrays: Iterable[Any]) -> str | None:
    """Where these arrays live, those that are not None: "cpu" if there are none, None if they live apart."""
    devices = {device_of(array) for array in arrays if array is not None}
    return devices.pop() if len(devices) == 1 else None if devices else "cpu"


def as_array(data: Any, dtype: Any = None, device: str | None = None) -> Any:
    """`data` as an array: one that is there already is shared; Python floats become float32."""
    if not isinstance(data, np.ndarray) and not hasattr(data, "__cuda_array_interface__"):
        typed = hasattr(data, "dtype")
        data = np.asarray(data)
        if not typed and dtype is None and data.dtype == np.float64:
            dtype = np.float32
    if not data.dtype.isnative:
        data = data.astype(data.dtype.newbyteorder("="))
    if dtype is not None and data.dtype != dtype:
        data = data.astype(dtype)
    return data if device is None or device == device_of(data) else to_device(data, device)


def to_host(array: Any) -> np.ndarray:
    """A NumPy array of the same values; the same array if it is one."""
    return array if isinstance(array, np.ndarray) else array.get()


def to_device(array: Any, device: str) -> Any:
    """The array on `device`; the same array if it is there.

    Errors: DeviceError, with the remedy, for a device that this machine or installation does not have.
    """
    if device == device_of(array):
        return array
    if device == "cpu":
        return to_host(array)
    cupy = _cupy(device)
    with cupy.cuda.Device(_gpu_index(device)):
        return cupy.asarray(array)


def _gpu_index(device: str) -> int:
    kind, _, index = device.partition(":")
    if kind != "gpu" or (index and not index.isdecimal()) or device.endswith(":"):
        raise DeviceError(f'device: must be "cpu", "gpu" or "gpu:1", got {device!r}; model.to("cpu")?')
    return int(index or 0)


def _cupy(device: str) -> Any:
    index = _gpu_index(device)
    try:
        import cupy
    except ImportError:
        raise DeviceError(f"device: {device} needs CuPy, which is not installed; pip install 'tinynet[gpu-cuda13]' "
                          "(gpu-cuda12 for a CUDA 12 driver), or use cpu") from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(f"device: {device} needs an NVIDIA GPU and its driver, and CuPy finds none ({error}); "
                          "look at what nvidia-smi says, or use cpu") from None
    if index >= count:
        raise DeviceError(f"device: {device} is not there, this machine has {count} GPU(s); count from gpu:0")
    return cupy
