"""Other machines than this one: with CuPy and one GPU or two, with too old a driver, with memory that is full.

    with installed():                  # `import cupy` finds the stand-in, and "gpu" is its GPU
        model.to("gpu")

    with installed(count=2):           # two GPUs; arrays of the one that is not current are refused
    with installed(driver=12000):      # other machines: see `Runtime`
    with memory(1000):                 # an array of more bytes does not fit

The stand-in is `fake_cupy`, with what only such machines have: GPUs with numbers, a driver, memory that ends.
"""

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinynet import backend
from tinynet.backend.cuda.runtime import fake_cuda, fake_cupy
from tinynet.errors import DeviceError

_current = 0  # the GPU on which new arrays are made
_memory = 2**40  # bytes that an array may have


class OutOfMemoryError(MemoryError):
    """As `cupy.cuda.memory.OutOfMemoryError`."""


@contextmanager
def memory(size: int) -> Iterator[None]:
    """Inside, an array of more bytes does not fit."""
    global _memory
    before, _memory = _memory, size
    try:
        yield
    finally:
        _memory = before


class GpuArray(fake_cupy.DeviceArray):
    """An array on the GPU that is current when it is made. Nothing takes it while another GPU is current."""

    place = "gpu"
    __cuda_array_interface__ = {"version": 3}  # noqa: RUF012  tinynet only asks whether there is one

    def __init__(self, host: np.ndarray) -> None:
        if host.base is None and host.nbytes > _memory:
            raise OutOfMemoryError(f"Out of memory allocating {host.nbytes:,} bytes")
        super().__init__(host)
        self.device = types.SimpleNamespace(id=_current)

    @classmethod
    def _unwrapped(cls, value: Any) -> Any:
        if isinstance(value, cls) and value.device.id != _current:
            raise DeviceError(f"an array of gpu:{value.device.id} is computed with while gpu:{_current} is current")
        return super()._unwrapped(value)

    def __dlpack__(self, **options: Any) -> "GpuArray":
        return self  # no capsule: for `Namespace.from_dlpack` alone

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device.id


class Namespace(fake_cupy.Namespace):
    """The module `cupy`."""

    ndarray = GpuArray

    def asarray(self, data: Any, dtype: Any = None) -> GpuArray:
        """Arrays of other GPUs are copied, too. An array of another library that is on a GPU is shared."""
        if isinstance(data, GpuArray):
            data = data if data.device.id == _current else GpuArray(data._host.copy())
        elif hasattr(data, "__cuda_array_interface__"):
            return GpuArray(data.memory)
        return super().asarray(data, dtype)

    @staticmethod
    def from_dlpack(array: Any) -> GpuArray:
        return GpuArray(array.__dlpack__()._host)

    @staticmethod
    def get_default_memory_pool() -> Any:
        return types.SimpleNamespace(free_bytes=lambda: 2**20, free_all_blocks=lambda: None)


class Device:
    """A GPU by its number; `with` or `use()` makes it the current one."""

    def __init__(self, index: int) -> None:
        self.index = index

    def use(self) -> None:
        global _current
        assert self.index < xp.cuda.runtime.count
        _current = self.index

    def __enter__(self) -> None:
        self.before = _current
        self.use()

    def __exit__(self, *error: object) -> None:
        Device(self.before).use()


class Runtime(fake_cuda.runtime):
    """A machine: the number of its GPUs, and the versions of CUDA (12040 is 12.4) of its driver and of CuPy.

    Version 0 stands for a missing driver. A driver that is older than CuPy finds no GPU.
    """

    CUDARuntimeError = type("CUDARuntimeError", (RuntimeError,), {})

    def __init__(self, count: int, driver: int, built: int) -> None:
        self.count = count
        self.driverGetVersion, self.runtimeGetVersion = lambda: driver, lambda: built
        self.memGetInfo = lambda: (3 * 2**30, 4 * 2**30)
        self.getDevice = lambda: _current
        self.getDeviceProperties = lambda index: {"name": f"Fake GPU {index}".encode()}

    def getDeviceCount(self) -> int:
        if self.driverGetVersion() // 1000 < self.runtimeGetVersion() // 1000:
            raise self.CUDARuntimeError("cudaErrorInsufficientDriver")
        if not self.count:
            raise self.CUDARuntimeError("cudaErrorNoDevice")
        return self.count


def _raw_kernel(error: str | None) -> Any:
    """`cupy.RawKernel`, as far as it tells whether kernels can be compiled."""
    def compile() -> None:
        if error:
            raise RuntimeError(error)
    return lambda code, name: types.SimpleNamespace(compile=compile)


xp = Namespace("cupy")


@contextmanager
def installed(count: int = 1, driver: int = 13000, built: int = 13000, compiler: str | None = None) -> Iterator[None]:
    """Inside, `import cupy` finds the stand-in. `compiler` is the error of its compiler, if it has one."""
    global _current
    xp.RawKernel = _raw_kernel(compiler)
    xp.cuda = types.SimpleNamespace(**{**vars(fake_cuda), "Device": Device, "runtime": Runtime(count, driver, built)})
    before = sys.modules.get("cupy")
    sys.modules["cupy"] = xp
    backend.forget_devices()
    try:
        yield
    finally:
        _current = 0
        backend.forget_devices()
        if before is None:
            del sys.modules["cupy"]
        else:
            sys.modules["cupy"] = before
