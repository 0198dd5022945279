"""Compile kernels for a GPU by nvcc or by NVRTC, as far as these are installed. CuPy uses NVRTC."""

import ctypes
import importlib.util
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_100", "sm_120")
OPTIONS = ("-std=c++17", "-ftz=true", "--device-as-default-execution-space")  # as CuPy compiles our kernels
_REGISTERS, _MOST_REGISTERS = 64 * 1024, 255  # of a multiprocessor, and of a thread
_THREADS = 256  # in a block, of kernels without __launch_bounds__


class Compiled(NamedTuple):
    """The PTX of a kernel file, and the report of the assembler on registers and spills."""

    ptx: str
    report: str


class CompileError(Exception):
    """A file that cannot be compiled, with the compiler's message."""


@cache
def nvrtc() -> Any:
    """The library of the wheel nvidia-cuda-nvrtc, or None."""
    places = getattr(importlib.util.find_spec("nvidia"), "submodule_search_locations", [])
    folders = [Path(place, name, "lib") for place in places for name in ("cu13", "cuda_nvrtc")]
    for folder in folders:
        for library in folder.glob("libnvrtc.so.*"):
            for part in folder.glob("libnvrtc-builtins.so.*"):  # NVRTC does not look for it in its own folder
                ctypes.CDLL(str(part))
            return ctypes.CDLL(str(library))
    return None


def compilers() -> list[str]:
    """The names of the compilers that are installed."""
    return [name for name, there in (("nvcc", shutil.which("nvcc")), ("nvrtc", nvrtc())) if there]


@cache
def compiled(compiler: str, source: str, architecture: str = "sm_90") -> Compiled:
    """Compile with nvcc or nvrtc. Errors: CompileError."""
    return (_by_nvcc if compiler == "nvcc" else _by_nvrtc)(source, architecture)


def _by_nvcc(source: str, architecture: str) -> Compiled:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "kernels.cu").write_text(source, encoding="utf-8")
        done = subprocess.run(["nvcc", f"-arch={architecture}", "-ftz=true", "-std=c++17", "-Xptxas", "-v",
                               "-cubin", "-keep", "kernels.cu"], cwd=folder, capture_output=True, text=True)
        report = done.stdout + done.stderr
        if done.returncode:
            raise CompileError(report)
        return Compiled(Path(folder, "kernels.ptx").read_text(encoding="utf-8"), report)


def _by_nvrtc(source: str, architecture: str) -> Compiled:
    options = [*OPTIONS, f"-arch={architecture}", "--ptxas-options=-v"]
    library, program = nvrtc(), ctypes.c_void_p()
    library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
    try:
        encoded = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
        failed = library.nvrtcCompileProgram(program, len(options), encoded)
        report = _text(library.nvrtcGetProgramLogSize, library.nvrtcGetProgramLog, program)
        if failed:
            raise CompileError(report)
        return Compiled(_text(library.nvrtcGetPTXSize, library.nvrtcGetPTX, program), report)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _text(size_of: Any, get: Any, program: Any) -> str:
    size = ctypes.c_size_t()
    size_of(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    get(program, buffer)
    return buffer.value.decode()


def faults(code: Compiled, stack: int = 0) -> list[str]:
    """Faults that no kernel may have: spilled registers, float64 instructions, atomic additions of floats.

    `stack`: bytes that a stack frame may have. What lies there, such as spilled registers, is in slow memory.
    """
    spills = [line for line in code.report.splitlines()
              if any(int(size) > stack for size in re.findall(r"(\d+) bytes (?:stack|spill)", line))]
    doubles = re.findall(r"^.*\.f64.*$", code.ptx, re.M)
    atomics = re.findall(r"^.*\b(?:atom|red)\b.*\.f(?:16|32|64).*$", code.ptx, re.M)
    return [line.strip() for line in (*spills, *doubles, *atomics)]


def registers(code: Compiled) -> dict[str, int]:
    """The registers of a thread, by kernel."""
    return {name: int(count) for name, count in re.findall(
        r"Compiling entry function '(\w+)'(?:(?!Compiling)[\s\S])*?Used (\d+) registers", code.report)}


def registers_allowed(source: str, name: str) -> int:
    """The registers that a thread may have: what `__launch_bounds__` leaves, in steps of 8."""
    bounds = re.search(rf"__launch_bounds__\s*\((\d+)(?:\s*,\s*(\d+))?\)\s*{name}\s*\(", source)
    threads, blocks = (int(bounds[1]), int(bounds[2] or 1)) if bounds else (_THREADS, 1)
    return min(_MOST_REGISTERS, _REGISTERS // (threads * blocks) // 8 * 8)
