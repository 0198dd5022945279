"""The device of a GPU benchmark: its description, its driver, and waiting for it."""

import subprocess
from typing import Any

import tinynet as tn
from tinynet import backend

Row = dict[str, Any]


def described(device: str) -> Any:
    """The entry of `tn.devices()` for a device. DeviceError if it is missing."""
    backend.namespace(backend.device_name(device))
    return next(one for one in tn.devices() if one.name == backend.device_name(device))


def driver(device: str) -> dict[str, Any]:
    """The versions of the driver and of CUDA."""
    if not is_gpu(device):
        return {}
    runtime = backend.namespace(backend.device_name(device)).cuda.runtime
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        version = subprocess.run(asked, capture_output=True, text=True, timeout=30).stdout.split("\n")[0].strip()
    except (OSError, subprocess.TimeoutExpired):
        version = ""
    return {"driver": version or None, "driver_cuda": runtime.driverGetVersion(), "cuda": runtime.runtimeGetVersion()}


def is_gpu(device: str) -> bool:
    return device.partition(":")[0] == "gpu"


def wait(device: str) -> None:
    """Wait until the device has finished all its work."""
    if is_gpu(device):
        backend.namespace(backend.device_name(device)).cuda.get_current_stream().synchronize()
