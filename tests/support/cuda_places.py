"""Where the tests of the GPU's code run: in the emulator, if there is g++, and on a GPU, if there is one."""

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
    """Inside, making the host wait is an error, where that can be told: in the emulator."""
    return fake_cupy.no_waiting() if device == "gpu-emulated" else nullcontext()
