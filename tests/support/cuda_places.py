"""The devices for tests of GPU code: the emulated one if g++ is installed, and a GPU if there is one.

With the plugin `tests.support.cupy_on_cpu` the GPU is the real CuPy in host memory.
"""

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.support import cupy_on_cpu
from tinynet import backend
from tinynet.backend.cuda.runtime import fake_cupy

_HAS_GPU = any(device.name == "gpu" and device.is_available for device in tn.devices())

EMULATED = pytest.param("gpu-emulated", marks=pytest.mark.skipif(not shutil.which("g++"), reason="no g++"))
GPU = pytest.param("gpu", marks=[pytest.mark.gpu, pytest.mark.skipif(not _HAS_GPU, reason="no GPU, or no CuPy")])
DEVICES = [EMULATED, GPU]

# Marks of a test that runs only with CuPy on a CPU.
CUPY = [pytest.mark.cupy, pytest.mark.skipif(not cupy_on_cpu.is_installed(), reason="make test-cupy runs it")]
CUPY_GPU = pytest.param("gpu", marks=CUPY)


def on_cupy(test: Any) -> Any:
    """Mark a test that runs only with CuPy on a CPU."""
    for mark in CUPY:
        test = mark(test)
    return test


def without_waiting(device: str, copying: bool = False) -> AbstractContextManager[None]:
    """Inside, what makes the host wait for the device is an error; the emulated one copies nothing but if `copying`.

    A GPU itself cannot tell.
    """
    if device == "gpu-emulated":
        return fake_cupy.no_waiting(copying)
    return _no_waits_of_cupy() if cupy_on_cpu.is_installed() else nullcontext()


@contextmanager
def _no_waits_of_cupy() -> Iterator[None]:
    before = waits("gpu")
    yield
    assert waits("gpu") == before, "the host has waited for the GPU"


def waits(device: str) -> int:
    """How often the host has waited for a device; 0 for a GPU that cannot tell."""
    if device == "gpu-emulated":
        return fake_cupy.waits
    if not cupy_on_cpu.is_installed():
        return 0
    from tests.support.cupy_on_cpu import machine
    return machine.counts["wait"]


def on_host(value: Any) -> np.ndarray:
    """The values of an array of any device. This does not count as a wait."""
    if isinstance(value, fake_cupy.DeviceArray):
        return value._host
    if not cupy_on_cpu.is_installed():
        return backend.to_host(value)
    from tests.support.cupy_on_cpu import machine
    before = machine.counts["wait"]
    found = backend.to_host(value)
    machine.counts["wait"] = before
    return found
