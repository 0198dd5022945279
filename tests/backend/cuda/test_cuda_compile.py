"""Every file of kernels compiles for a GPU, without spilled registers, float64 or atomic additions of floats."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.complete import declared
from tests.support.cuda_compiler import (
    ARCHITECTURES,
    OPTIONS,
    Compiled,
    CompileError,
    compiled,
    compilers,
    faults,
    registers,
    registers_allowed,
)
from tests.support.cuda_places import on_cupy
from tinynet.backend.cuda import gru_persistent, lstm_persistent
from tinynet.backend.cuda.runtime import emulator, launch
from tinynet.backend.cuda.runtime.source import FOLDER, assemble, signatures

FILES = sorted(FOLDER.glob("*.cu"))
STRICT = ["-fsyntax-only", "-Wall", "-Wextra", "-Wdouble-promotion", "-Wfloat-conversion", "-Werror",
          "-Wno-unknown-pragmas", "-Wno-sign-compare"]

needs_compiler = pytest.mark.skipif(not compilers(), reason="neither nvcc nor the wheel nvidia-cuda-nvrtc is here")
needs_gxx = pytest.mark.skipif(not shutil.which("g++"), reason="no g++ is here")


def strict(text: str) -> str:
    """The warnings of g++ for a source, of which numbers that become float64 are one."""
    return subprocess.run(["g++", *emulator.FLAGS, *STRICT, f"-I{FOLDER / 'runtime'}", "-x", "c++", "-"],
                          input=emulator.program(text), capture_output=True, text=True).stderr


def changed(stem: str, old: str, new: str) -> str:
    text = assemble(FOLDER / f"{stem}.cu")
    assert old in text
    return text.replace(old, new, 1)


def test_there_are_kernels_and_each_file_has_its_python() -> None:
    assert len(FILES) >= 10
    assert all(path.with_suffix(".py").exists() for path in FILES)


def test_every_kernel_is_launched() -> None:
    python = "\n".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py"))
    assert not [name for path in FILES for name in signatures(assemble(path)) if f'"{name}"' not in python]


def test_the_page_names_every_file_of_kernels() -> None:
    """Those of ops: tests/ops/test_complete.py."""
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert not [path.name for path in FILES if f"| `{path.name}` |" not in page and path.stem not in
                declared().values()]


@needs_compiler
@pytest.mark.parametrize(("compiler", "architecture"), [
    (compiler, architecture) for compiler in compilers() for architecture in ARCHITECTURES
    if compiler == "nvrtc" or architecture == "sm_90"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_compiles_for_a_gpu(path: Path, compiler: str, architecture: str) -> None:
    """No kernel has more registers than its launch bounds allow: more would be spilled, or the launch would fail."""
    text = assemble(path)
    code = compiled(compiler, text, architecture)
    assert not faults(code, stack=16 if architecture == "sm_75" else 0)
    assert all(f".entry {name}(" in code.ptx for name in signatures(text))
    used = registers(code)
    assert used.keys() == signatures(text).keys()
    assert not {name: count for name, count in used.items() if count > registers_allowed(text, name)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_cupy_is_given_ascii_without_trigraphs(path: Path) -> None:
    """CuPy writes the text in the encoding of the locale; `??` and another character would be one, as `??/` is."""
    class Library:
        def RawModule(self, code: str, options: tuple[str, ...]) -> str:
            assert options == ("-std=c++17",)
            return code

    code = launch._compiled(Library(), assemble(path))
    assert code.isascii() and "??" not in code
    assert len(code) == len(assemble(path))


@on_cupy
def test_options_are_those_of_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    from cupy._core import core
    from cupy.cuda import compiler
    given = []

    class Program:
        def __init__(self, *arguments: Any, **more: Any) -> None:
            pass

        def compile(self, options: Any, log_stream: Any = None) -> Any:
            given.extend(options)
            raise compiler.CompileException("", "", "", options, "nvrtc")

    monkeypatch.setattr(compiler, "_NVRTCProgram", Program)
    with pytest.raises(compiler.CompileException):
        compiler._compile_using_nvrtc_no_warning(
            "", (*core.assemble_cupy_compiler_options(("-std=c++17",)), "-ftz=true"), "90")
    assert {option for option in given if option[:2] != "-I"} == {*OPTIONS, "-arch=sm_90"}


@needs_compiler
@pytest.mark.parametrize("compiler", compilers())
@pytest.mark.parametrize("module", [lstm_persistent, gru_persistent])
def test_as_many_blocks_as_planned_have_registers(compiler: str, module: Any) -> None:
    """And no shared memory but what the launch asks for."""
    report = compiled(compiler, assemble(module.kernels.path)).report
    used = {name: int(registers) for name, registers in re.findall(
        r"Compiling entry function '(\w+)'(?:.*\n)*?.*Used (\d+) registers(?!.* smem)", report)}
    for size in module.SIZES:
        for name in size.forward, size.backward:
            assert -(-used[name] // 8) * 8 * 2 * size.units * size.blocks <= 64 * 1024


@needs_gxx
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_warning_of_a_strict_compiler(path: Path) -> None:
    if warnings := strict(assemble(path)):
        pytest.fail(warnings, pytrace=False)


PLANTED = {
    "a float64 literal": changed("activation", "y * (1.0f - y)", "y * (1.0 - y)"),
    "a float64 variable": changed("column_sums", "float sum = 0.0f;", "double sum = 0;"),
    "an atomic addition of floats": changed("column_sums", "y[at] += b[at % F]", "atomicAdd(&y[at], b[at % F])"),
}


@needs_compiler
@pytest.mark.parametrize("fault", PLANTED)
def test_planted_faults_are_found(fault: str) -> None:
    assert faults(compiled(compilers()[0], PLANTED[fault]))


@needs_gxx
@pytest.mark.parametrize("fault", PLANTED)
def test_planted_faults_are_found_without_a_compiler_of_cuda(fault: str) -> None:
    assert "error" in strict(PLANTED[fault])


@needs_compiler
def test_spills_are_found() -> None:
    many = " ".join(f"float a{i} = x[{i} * n];" for i in range(99))
    used = " + ".join(f"a{i} * a{(7 * i) % 99}" for i in range(99))
    text = f'extern "C" __global__ void __launch_bounds__(1024) hog(float* x, int n) {{ {many} __syncthreads(); ' \
           f"x[n] = {used}; {' '.join(f'x[{i} * n + 1] = a{i};' for i in range(99))} }}"
    assert any("spill" in fault for fault in faults(compiled(compilers()[0], text)))


@pytest.mark.parametrize(("frame", "spilled", "allowed", "is_fine"), [
    (0, 0, 0, True), (16, 0, 0, False), (16, 0, 16, True), (24, 0, 16, False), (0, 8, 0, False)])
def test_stack_frames_are_found(frame: int, spilled: int, allowed: int, is_fine: bool) -> None:
    report = f"    {frame} bytes stack frame, {spilled} bytes spill stores, {spilled} bytes spill loads"
    assert (not faults(Compiled("", report), allowed)) == is_fine


@pytest.mark.parametrize(("bounds", "count"), [("(1024)", 64), ("(256, 2)", 128), ("(256, 1)", 255), ("(96)", 255)])
def test_launch_bounds_limit_the_registers(bounds: str, count: int) -> None:
    assert registers_allowed(f'extern "C" __global__ void __launch_bounds__{bounds} k(float* x) {{}}', "k") == count
    assert registers_allowed('extern "C" __global__ void k(float* x) {}', "k") == 255


@needs_compiler
def test_a_mistake_in_the_source_is_told() -> None:
    with pytest.raises(CompileError, match="undefined"):
        compiled(compilers()[0], changed("lstm", "tanhf(C)", "tanhf(state)"))
