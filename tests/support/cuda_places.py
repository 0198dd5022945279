"""The devices for tests of GPU code: the emulated one if g++ is installed, and a GPU if there is one."""

import shutil
from contextlib import AbstractContextManager, nullcontext

import pytest

import tinynet as tn
from tinynet.backend.cuda.runtime import fake_cupy

_HAS_GPU = any(device.name == "gpu" and device.is_available for device in tn.devices())

DEVICES = [
    pytest.param("gpu-emulated", marks=pytest.mark.skipif(not shutil.which("g++"), reason="no g++ to emulate kernels")),
    pytest.param("gpu", marks=[pytest.mark.gpu, pytest.mark.skipif(not _HAS_GPU, reason="no GPU, or no CuPy")])]


def without_waiting(device: str) -> AbstractContextManager[None]:
    """Inside, what makes the host wait for the emulated device is an error. A GPU cannot tell."""
    return fake_cupy.no_waiting() if device == "gpu-emulated" else nullcontext()
