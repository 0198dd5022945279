"""The real CuPy on a machine without a GPU and without a driver.

CuPy's own code runs: its arrays, pools, streams, captures, packing of arguments, and the kernels that it generates.
Below it, `machine.py` stands for CUDA and two GPUs, and `blas.py` for cuBLAS. g++ compiles all kernels, CuPy's and
ours.

    python -m pytest -p tests.support.cupy_on_cpu.plugin -m "gpu or cupy"      # make test-cupy
    python -m tests.support.cupy_on_cpu examples/mnist_lstm_cnn.py --device gpu --data digits --limit 300

Not shown: faults of a device, races of real warps, cuBLAS itself, all that CUDA refuses during a capture, time. It
depends on how one release of CuPy calls CUDA: `VERSION`.
"""

import atexit
import importlib.metadata
import importlib.util
import os
import shutil
import sys
from typing import Any

VERSION = "14.2.0"


def reason() -> str | None:
    """Why CuPy cannot run here, with the remedy; None if it can."""
    if sys.platform != "linux" or not shutil.which("g++"):
        return "CuPy on a CPU needs Linux and g++"
    if not importlib.util.find_spec("cupy_backends"):
        return f"CuPy is not installed; pip install cupy-cuda13x=={VERSION}"
    found = next((importlib.metadata.version(name) for name in ("cupy-cuda13x", "cupy-cuda12x", "cupy")
                  if importlib.util.find_spec("cupy") and _is_installed(name)), "of an unknown version")
    if found != VERSION:
        return f"CuPy is {found}, and this is written for {VERSION}; pip install cupy-cuda13x=={VERSION}"
    return None


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def is_installed() -> bool:
    """Whether `import cupy` gives the CuPy that runs here."""
    return "tests.support.cupy_on_cpu.machine" in sys.modules


def install(is_fast: bool = False) -> Any:
    """Let `import cupy` give the real CuPy on two GPUs in host memory. Returns the module.

    is_fast   launches, copies and products return at once: what remains is the time that the host needs
    """
    lack = reason()
    if lack:
        raise RuntimeError(lack)
    if "cupy" in sys.modules:
        raise RuntimeError("cupy_on_cpu: must be installed before CuPy is imported")
    os.environ["CUPY_ACCELERATORS"] = ""  # CUB is compiled for GPUs
    from cupy_backends.cuda.api import driver, runtime

    from tests.support.cupy_on_cpu import machine, shim
    machine._error = runtime.CUDARuntimeError
    shim.replace({"runtime": runtime, "driver": driver}, machine.TABLE, is_fast)
    for name, function in machine.TABLE.items():
        if is_fast and name in shim.FAST:
            function = _one if shim.FAST[name] else _nothing
        for module in (runtime, driver):
            if hasattr(module, name):
                setattr(module, name, function)
                atexit.register(setattr, module, name, _nothing)
    import cupy
    import cupy.cuda.compiler
    cupy.cuda.compiler._compile_module_with_cache = machine.compile
    from tests.support import fake_cublas
    from tests.support.cupy_on_cpu import blas
    blas.install(None if is_fast else fake_cublas.FakeCublas(fake_cublas.on_the_machine))
    if not is_fast:
        cupy.cuda.set_allocator(_poisoned)
    return cupy


def _nothing(*arguments: Any) -> int:
    """Also for destructors that are called when Python has ended."""
    return 0


def _one(*arguments: Any) -> int:
    return 1


def _poisoned(size: int) -> Any:
    """Memory of CuPy's pool, overwritten by 0xFF in its turn: it may hold old values."""
    import ctypes
    from functools import partial

    import cupy

    from tests.support.cupy_on_cpu import machine
    pointer = cupy.get_default_memory_pool().malloc(size)
    stream = cupy.cuda.get_current_stream().ptr
    if size and not machine.streamIsCapturing(stream):
        machine.on(stream, "new memory", partial(ctypes.memset, pointer.ptr, 0xFF, size))
    return pointer
