"""Machines on which CuPy does not work: without a driver, without a GPU, with another CUDA, without a compiler.

    with installed(driver=12000):      # `import cupy` finds the stand-in
        model.to("gpu")                # a DeviceError

CuPy that works is in `tests/support/cupy_on_cpu`.
"""

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tinynet import backend


class CUDARuntimeError(RuntimeError):
    """As `cupy.cuda.runtime.CUDARuntimeError`."""


class Runtime:
    """The number of GPUs, and the versions of CUDA (12040 is 12.4) of the driver and of CuPy.

    Version 0 stands for a missing driver. A driver that is older than CuPy finds no GPU.
    """

    CUDARuntimeError = CUDARuntimeError

    def __init__(self, count: int, driver: int, built: int) -> None:
        self.count = count
        self.driverGetVersion, self.runtimeGetVersion = lambda: driver, lambda: built

    def getDeviceCount(self) -> int:
        if self.driverGetVersion() // 1000 < self.runtimeGetVersion() // 1000:
            raise CUDARuntimeError("cudaErrorInsufficientDriver")
        if not self.count:
            raise CUDARuntimeError("cudaErrorNoDevice")
        return self.count


@contextmanager
def installed(count: int = 1, driver: int = 13000, built: int = 13000, compiler: str = "") -> Iterator[None]:
    """Inside, `import cupy` finds the stand-in. `compiler` is the error of its compiler."""
    def compile() -> Any:
        raise RuntimeError(compiler)

    xp: Any = types.ModuleType("cupy")
    xp.cuda = types.SimpleNamespace(runtime=Runtime(count, driver, built))
    xp.RawKernel = lambda code, name: types.SimpleNamespace(compile=compile)
    before = sys.modules.get("cupy")
    sys.modules["cupy"] = xp
    backend.forget_devices()
    try:
        yield
    finally:
        backend.forget_devices()
        if before is None:
            del sys.modules["cupy"]
        else:
            sys.modules["cupy"] = before
