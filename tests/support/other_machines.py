"""Machines on which CuPy does not work: without a driver, without a GPU, with another CUDA, without a compiler.

    with installed(driver=12000):      # `import cupy` finds the stand-in
        model.to("gpu")                # a DeviceError

With `compiler=None` CuPy finds its GPUs, tells their memory and makes one of them current. It has no arrays: CuPy that
computes is in `tests/support/cupy_on_cpu`.
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

        self.current = 0

    def memGetInfo(self) -> tuple[int, int]:
        """The free and the total bytes of the current GPU: it has one GiB, the next one two."""
        return 2**28 * (self.current + 1), 2**30 * (self.current + 1)

    def getDeviceProperties(self, number: int) -> dict[str, Any]:
        return {"name": f"Fake {number}".encode()}

    def getDeviceCount(self) -> int:
        if self.driverGetVersion() // 1000 < self.runtimeGetVersion() // 1000:
            raise CUDARuntimeError("cudaErrorInsufficientDriver")
        if not self.count:
            raise CUDARuntimeError("cudaErrorNoDevice")
        return self.count


class Device:
    """As `cupy.cuda.Device`: current inside its block, or from `use` on."""

    def __init__(self, runtime: Runtime, number: int) -> None:
        self.runtime, self.number = runtime, number

    def use(self) -> None:
        self.runtime.current = self.number

    def __enter__(self) -> None:
        self.before, self.runtime.current = self.runtime.current, self.number

    def __exit__(self, *error: object) -> None:
        self.runtime.current = self.before


@contextmanager
def installed(count: int = 1, driver: int = 13000, built: int = 13000, compiler: str | None = "") -> Iterator[Any]:
    """Inside, `import cupy` finds the stand-in, which is yielded. `compiler` is the error of its compiler, if any."""
    def compile() -> Any:
        if compiler is not None:
            raise RuntimeError(compiler)

    xp: Any = types.ModuleType("cupy")
    runtime = Runtime(count, driver, built)
    xp.cuda = types.SimpleNamespace(runtime=runtime, Device=lambda number: Device(runtime, number))
    xp.get_default_memory_pool = lambda: types.SimpleNamespace(free_bytes=lambda: 2**27)
    xp.RawKernel = lambda code, name: types.SimpleNamespace(compile=compile)
    before = sys.modules.get("cupy")
    sys.modules["cupy"] = xp
    backend.forget_devices()
    try:
        yield xp
    finally:
        backend.forget_devices()
        if before is None:
            del sys.modules["cupy"]
        else:
            sys.modules["cupy"] = before
