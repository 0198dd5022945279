"""`tn.about()`: what it holds, and what it says where something is missing."""

import importlib.metadata
import json
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.backend import devices
from tinynet.backend.devices import module_for

MODULE: Any = sys.modules["tinynet.about"]  # `tinynet.about` is the function


def test_versions() -> None:
    found = tn.about().versions
    assert list(found)[:3] == ["python", "tinynet", "numpy"]
    assert found["python"] == platform.python_version()
    assert found["tinynet"] == tn.__version__
    assert found["numpy"] == np.__version__
    for name in ("numba", "llvmlite", "safetensors"):
        assert found[name] == importlib.metadata.version(name)
    assert MODULE.versions(["no-such-package"]) == {"python": found["python"], "tinynet": tn.__version__}


def test_the_packages_that_results_depend_on_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the CPU, of files, and CuPy under each of its names."""
    monkeypatch.setattr(MODULE, "version", lambda package: f"{package} 1")
    found = tn.about().versions
    assert list(found)[2:] == ["numpy", "numba", "llvmlite", "safetensors", "cupy", "cupy-cuda12x", "cupy-cuda13x"]
    assert found["cupy"] == "cupy 1"


def test_it_is_plain_and_printable() -> None:
    found = tn.about()
    assert json.loads(json.dumps(found.as_dict())) == found.as_dict()
    lines = str(found).splitlines()
    assert repr(found) == str(found)
    assert all(re.match(r"\S* +\S|instructions$", line) and line.isprintable() for line in lines)
    for text in (found.platform, found.processor, found.kernels, *found.devices):
        assert any(line.endswith(text) for line in lines)
    assert found.devices == [str(device) for device in tn.devices()]
    assert (found.platform, found.processor) == (platform.platform(), tn.devices()[0].title)
    several = MODULE.About({"numpy": "2"}, "Linux", "fast", ["avx", "fma"], 3, "/there", ["cpu (one)", "gpu (two)"])
    assert str(several).splitlines() == [
        "numpy         2", "platform      Linux", "processor     fast", "instructions  avx fma", "threads       3",
        "kernels       /there", "devices       cpu (one)", "              gpu (two)"]


def test_the_line_of_the_host_says_what_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"/proc/cpuinfo": "processor : 0\nmodel name\t: Fast 9000 \nmodel name\t: Slow\n",
             "/proc/meminfo": "MemTotal:    2097152 kB\nMemFree:  99 kB\nMemAvailable: 1048576 kB\n"}
    monkeypatch.setattr(devices, "text_of", texts.__getitem__)
    monkeypatch.setattr(devices.os, "cpu_count", lambda: 3)
    cpu = devices.host()
    assert (cpu.memory, cpu.free) == (2 * 2**30, 2**30)
    assert str(cpu) == repr(cpu) == "cpu (Fast 9000, 3 processors, 1.0 of 2.0 GiB free)"
    assert str(devices.Device("gpu", memory=2**30, free=2**29)) == "gpu (0.5 of 1.0 GiB free)"
    assert str(devices.Device("gpu", "Fake GPU", memory=2**30)) == "gpu (Fake GPU)"


def test_threads_are_those_of_the_kernels() -> None:
    before = tn.threads()
    try:
        tn.set_threads(1 + before % 3)
        assert tn.about().threads == tn.threads() == 1 + before % 3
    finally:
        tn.set_threads(before)


def test_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(text: str) -> list[str]:
        monkeypatch.setattr(Path, "read_text", lambda self, **options: text)
        found: list[str] = MODULE.instructions()
        return found

    assert read("processor\t: 0\nflags\t\t: fpu avx2 sse4_2 avx\nprocessor\t: 1\nflags\t\t: fma\n") == [
        "sse4_2", "avx", "avx2"]
    assert read("Features\t: fp asimd sve\n") == ["asimd", "sve"]
    assert read("flags : amx_tile avx512vl avx512_bf16 avx512f avx512bw fma\n") == [
        "fma", "avx512f", "avx512bw", "avx512vl", "avx512_bf16", "amx_tile"]
    assert read("nothing\n") == []

    def missing(self: Path, **options: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert MODULE.instructions() == []


def test_the_folder_of_kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cache = module_for("cpu", "runtime.kernel_cache")
    monkeypatch.setattr(cache, "kernel_folder", lambda: tmp_path)
    assert tn.about().kernels == str(tmp_path)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert tn.about().kernels == f"compiled again in each process: {tmp_path} is read-only"

    def refused() -> Path:
        raise PermissionError("cache: it belongs to another user")

    monkeypatch.setattr(cache, "kernel_folder", refused)
    assert tn.about().kernels == "compiled again in each process: cache: it belongs to another user"


def test_without_numba() -> None:
    code = "import sys; sys.modules['numba'] = None; import tinynet as tn; print(tn.about())"
    printed = subprocess.run([sys.executable, "-c", code], cwd=Path(tn.__file__).parents[1], stdout=subprocess.PIPE,
                             text=True, check=True, timeout=120).stdout
    assert re.search(r"^threads +1\nkernels +there are no kernels: .*numba", printed, re.M)
