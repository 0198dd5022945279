"""The devices "gpu", "gpu:1", ... and "gpu-emulated": their libraries, and the remedy where one cannot be used."""

from collections.abc import Callable
from typing import Any

from tinynet.backend.cuda.runtime import emulator, fake_cupy
from tinynet.backend.devices import Device
from tinynet.errors import DeviceError

_TRIVIAL = '#include <cuda_fp16.h>\nextern "C" __global__ void nothing() {}'  # CuPy's kernels include this header


def open_device(kind: str, index: int) -> tuple[Any, Callable[[], Any] | None]:
    """The library of a device, and a function that makes the device current, or None if there is only one.

    Errors: DeviceError, with the remedy, if CuPy, the driver, the GPU or a library of CUDA is missing.
    """
    return (fake_cupy.namespace, None) if kind == "gpu-emulated" else _open_gpu(index)


def _open_gpu(index: int) -> tuple[Any, Callable[[], Any] | None]:
    device = f"gpu:{index}" if index else "gpu"
    cupy = _cupy(device)
    count = _count(cupy, device)
    if index >= count:
        raise DeviceError(f"device: {device} is not there, this machine has {count} GPU(s); count from gpu:0")
    _check_compiler(cupy, device)
    return cupy, cupy.cuda.Device(index).use if count > 1 else None


def devices() -> list[Device]:
    """All GPUs of this machine, or a single line with the reason why none can be used; then the emulated one."""
    emulated = Device("gpu-emulated", "our CUDA kernels, run by the processor: slow, to look into",
                      lack=emulator.missing())
    try:
        cupy, _ = _open_gpu(0)
    except DeviceError as error:
        return [Device("gpu", lack=str(error).removeprefix("device: gpu ")), emulated]
    return [*(_described(cupy, index) for index in range(_count(cupy, "gpu"))), emulated]


def _described(cupy: Any, index: int) -> Device:
    with cupy.cuda.Device(index):
        free, total = cupy.cuda.runtime.memGetInfo()
        free += cupy.get_default_memory_pool().free_bytes()  # held by CuPy's pool for later arrays
    title = cupy.cuda.runtime.getDeviceProperties(index)["name"].decode()
    return Device(f"gpu:{index}" if index else "gpu", title, total, free)


def _cupy(device: str) -> Any:
    try:
        import cupy
    except ModuleNotFoundError:
        raise DeviceError(f"device: {device} needs CuPy, which is not installed; pip install {_wheels(13)}, or for "
                          f"a CUDA 12 driver {_wheels(12)}, or use cpu") from None
    except OSError as error:  # CuPy makes the folder of its compiled kernels at once
        raise DeviceError(f"device: {device} needs CuPy, which cannot make a folder for compiled kernels ({error}); "
                          "set CUPY_CACHE_DIR to a folder that can be written, or use cpu") from None
    except Exception as error:  # not ImportError alone: its libraries raise their own where one does not fit
        raise DeviceError(f"device: {device} needs CuPy, which is installed but cannot be imported ({error}); install "
                          "it anew: pip install --force-reinstall cupy-cuda13x (cupy-cuda12x for a CUDA 12 driver), or "
                          "use cpu") from None
    return cupy


def _count(cupy: Any, device: str) -> int:
    """The number of GPUs, at least 1."""
    runtime = cupy.cuda.runtime
    try:
        count = runtime.getDeviceCount()
        if count:
            return int(count)
        reason: Any = "it counts 0"
    except runtime.CUDARuntimeError as error:
        reason = error
    driver, built = runtime.driverGetVersion() // 1000, runtime.runtimeGetVersion() // 1000
    if 0 < driver < built:
        raise DeviceError(f"device: {device} has a driver for CUDA {driver}, and CuPy is the one for CUDA {built}; pip "
                          f"uninstall cupy-cuda{built}x, then pip install {_wheels(driver)}, or take a newer driver")
    raise DeviceError(f"device: {device} needs an NVIDIA GPU and its driver, and CuPy finds none ({reason}); "
                      "look at what nvidia-smi says, or use cpu")


def _check_compiler(cupy: Any, device: str) -> None:
    """Compile a kernel, because CuPy may be installed without NVRTC or its headers. CuPy caches what it compiles."""
    built = cupy.cuda.runtime.runtimeGetVersion() // 1000
    try:
        cupy.RawKernel(_TRIVIAL, "nothing").compile()
    except Exception as error:  # its class depends on what is missing: a library, a header, or the right version
        raise DeviceError(f"device: {device} needs the compiler of CUDA {built} (NVRTC) and its headers, and CuPy, "
                          f"which is the one for CUDA {built}, cannot compile with them ({error}); pip install "
                          f"{_wheels(built)}") from error


def _wheels(cuda: int) -> str:
    """The packages that this major version of CUDA needs, as in the extras of setup.cfg."""
    libraries = ("nvidia-cublas", "nvidia-cuda-nvrtc", "nvidia-cuda-runtime")
    wanted = [f"{name}-cu{cuda}" if cuda < 13 else f"'{name}=={cuda}.*'" for name in libraries]
    return " ".join([f"cupy-cuda{cuda}x", *wanted])
