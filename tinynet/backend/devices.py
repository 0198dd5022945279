"""The devices by name, and the module of array functions for each."""

import importlib
import os
import platform
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinynet.errors import DeviceError
from tinynet.output import say
from tinynet.types import Array, Namespace

FOLDERS = {"cpu": "tinynet.backend.cpu", "gpu": "tinynet.backend.cuda", "gpu-emulated": "tinynet.backend.cuda"}
_opened: dict[str, tuple[Any, Callable[[], Any] | None]] = {}  # by device: its module, and what makes it current
_kinds: dict[type, str] = {}  # the kind of device, by the type of its arrays
_said: set[str] = set()  # about kernels
GIBIBYTE = 2**30


@dataclass(frozen=True, repr=False)
class Device:
    """A line of `tn.devices()`. `.to(name)` takes its name; memory is in bytes; `lack` says what is missing."""

    name: str
    title: str = ""
    memory: int | None = None
    free: int | None = None
    lack: str | None = None

    @property
    def is_available(self) -> bool:
        """Whether this machine can compute on it."""
        return self.lack is None

    def __str__(self) -> str:
        if self.lack is not None:
            return f"{self.name} (not available: {self.lack})"
        known = [self.title] if self.title else []
        if self.memory is not None and self.free is not None:
            known.append(f"{self.free / GIBIBYTE:.1f} of {self.memory / GIBIBYTE:.1f} GiB free")
        return f"{self.name} ({', '.join(known)})"

    __repr__ = __str__


def host() -> Device:
    """The processor and the memory of this machine."""
    model = re.search(r"^model name\s*:\s*(.+)$", text_of("/proc/cpuinfo"), re.M)
    title = model[1].strip() if model else platform.processor() or platform.machine()
    total, free = (_meminfo(field) for field in ("MemTotal", "MemAvailable"))
    return Device("cpu", f"{title}, {os.cpu_count()} processors", total, free)


def _meminfo(field: str) -> int | None:
    found = re.search(rf"^{field}:\s+(\d+) kB", text_of("/proc/meminfo"), re.M)
    return int(found[1]) * 1024 if found else None


def text_of(path: str) -> str:
    """The text of a file of the system; "" where it is missing."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:  # only Linux has these files
        return ""


def namespace(device: str) -> Namespace:
    """The module of array functions for a device: `numpy`, `cupy`, or fake_cupy's.

    Of several GPUs, this one becomes the current one, on which new arrays are made.

    Errors: DeviceError, with the remedy, for a device that this machine or installation does not have.
    """
    if device == "cpu":
        return np
    xp, make_current = _opened.get(device) or _open(device)
    if make_current:
        make_current()
    return xp


def device_of(array: Array) -> str:
    """The name of the device that an array is on: "cpu", "gpu", "gpu:1", "gpu-emulated"."""
    kind = _kinds.get(type(array)) or _kinds.setdefault(type(array), _kind(array))
    if kind != "gpu":
        return kind
    device: Any = array.device
    return f"gpu:{device.id}" if device.id else "gpu"


def _kind(array: Array) -> str:
    if isinstance(array, np.ndarray | np.generic):  # a sum of 0-d arrays is a NumPy scalar
        return "cpu"
    return "gpu-emulated" if isinstance(array, type_of("tinynet.backend.cuda.runtime.fake_cupy", "Array")) else "gpu"


def common_device(arrays: Iterable[Array | None]) -> str | None:
    """The device that all these arrays are on, or None if they are on several. "cpu" for no arrays; None is skipped."""
    common = None
    for array in arrays:
        if array is not None:
            device = "cpu" if type(array) is np.ndarray else device_of(array)
            if common not in (None, device):
                return None
            common = device
    return common or "cpu"


def forget_devices() -> None:
    """Search for GPUs again at the next use of one."""
    _opened.clear()


def device_name(device: str) -> str:
    """The name by which tensors know a device: "gpu" for "gpu:0".

    Errors: DeviceError for an invalid name. The device may be missing.
    """
    kind, index = _parsed(device)
    return f"{kind}:{index}" if index else kind


def devices() -> list[Device]:
    """The devices of this machine, with their memory. A kind that is not available has a line with the reason.

    >>> import tinynet as tn
    >>> print(tn.devices()[0])                        # doctest: +ELLIPSIS
    cpu ...
    >>> [device.name for device in tn.devices() if device.is_available][0]
    'cpu'
    """
    return [host(), *module_for("gpu", "runtime.gpu").devices()]


def out_of_memory(what: str, device: str, error: BaseException) -> DeviceError:
    """The error to raise for a MemoryError in `what`, which is an op or a function."""
    place = next((one for one in devices() if one.name == device), None)
    return DeviceError(f"{what}: an array does not fit into the memory of {place or device}: {error}; make batch_size "
                       "smaller, evaluate inside tn.no_grad(), or delete what is no longer needed")


def _parsed(device: str) -> tuple[str, int]:
    kind, colon, index = device.partition(":") if isinstance(device, str) else ("", "", "")
    if kind not in FOLDERS or (colon and (kind != "gpu" or not index.isdecimal())):
        raise DeviceError('device: must be "cpu", "gpu", "gpu:1" or "gpu-emulated", got '
                          f'{device!r}; model.to("cpu")? tn.devices() says what there is')
    return kind, int(index or 0)


def _open(device: str) -> tuple[Any, Callable[[], Any] | None]:
    """The module for a device other than the CPU, and a function that makes the device current, or None."""
    kind, index = _parsed(device)
    _opened[device] = module_for(kind, "runtime.gpu").open_device(kind, index)
    return _opened[device]


def module_for(device: str, name: str) -> Any:
    """A module in the backend's folder for a device. No other code imports tinynet's own modules by name.

    Errors: ImportError if the module or a package that it needs is missing, or if Numba refuses to be imported.
    """
    try:
        return importlib.import_module(f"{FOLDERS[device.partition(':')[0]]}.{name}")
    except Exception as error:
        if isinstance(error, ImportError) or "numba" in sys.modules or not _passed(error, "numba"):
            raise
        why = f"Numba cannot be imported ({type(error).__name__}: {error})"
        if why not in _said:
            _said.add(why)
            say(f"tinynet: there are no kernels, and ops are slow: {why}", error=True)
        raise ImportError(why) from error


def _passed(error: Exception, package: str) -> bool:
    """Whether an error came through the code of a package."""
    return any(frame.f_globals.get("__name__", "").partition(".")[0] == package
               for frame, _ in traceback.walk_tb(error.__traceback__))


def type_of(module: str, name: str) -> Any:
    """A class of a module, or () if the module is not loaded: then nothing is an instance of it."""
    return getattr(sys.modules.get(module), name, ())
