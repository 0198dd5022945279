"""The machine code of a tile: its sums stay in registers, for each kind of processor."""

import re
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from tinynet.backend.cpu.runtime import tile
from tinynet.backend.cpu.runtime.tile import INSTRUCTIONS, best_instructions, tile_function


@pytest.mark.parametrize(("features", "triple", "name"), [
    ({"avx512f": True, "avx2": True, "fma": True}, "x86_64-unknown-linux-gnu", "avx512"),
    ({"avx512f": False, "avx2": True, "fma": True}, "x86_64-pc-windows-msvc", "avx2"),
    ({"avx2": True, "fma": False}, "x86_64-unknown-linux-gnu", "plain"),
    ({}, "powerpc64le-unknown-linux-gnu", "plain"),
    ({"neon": True}, "aarch64-unknown-linux-gnu", "neon"),
    ({}, "arm64-apple-darwin23.1.0", "neon"),
])
def test_the_best_instructions(features: dict[str, bool], triple: str, name: str) -> None:
    assert best_instructions(features, triple) == name


@pytest.mark.parametrize(("told", "name"), [("+avx2,+fma", "avx2"), ("+avx512f,-avx2", "avx512"), ("+avx2", "plain"),
                                            ("", "plain"), ("-avx512f,+avx2,+fma", "avx2")])
def test_the_features_that_numba_is_told(told: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile.config, "CPU_FEATURES", told)
    assert best_instructions(tile._features(), "x86_64-unknown-linux-gnu") == name


def assembly(name: str, processor: str, rows: int, vectors: int) -> list[str]:
    """The tile's code for a processor that need not be this one."""
    return machine_code(name, processor, lambda module: tile_function(module, INSTRUCTIONS[name], rows, vectors))


def machine_code(name: str, processor: str, add: Callable[[Any], Any]) -> list[str]:
    """The code of the function that `add` adds to a module, for a processor that need not be this one."""
    module = ir.Module()
    module.triple = f"{'aarch64' if name == 'neon' else 'x86_64'}-unknown-linux-gnu"
    add(module)
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(module.triple).create_target_machine(cpu=processor, opt=3)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    builder = llvm.create_pass_builder(machine, options)
    passes = builder.getModulePassManager()
    passes.run(parsed, builder)
    return machine.emit_assembly(parsed).splitlines()


@pytest.mark.parametrize(("name", "processor", "register", "instruction"), [
    ("avx512", "icelake-server", "zmm", "vfmadd"),
    ("avx512", "skylake-avx512", "zmm", "vfmadd"),
    ("avx2", "haswell", "ymm", "vfmadd"),
    ("plain", "x86-64", "xmm", "mulps"),
])
@pytest.mark.parametrize("vectors", [1, 2])
def test_the_sums_stay_in_registers(name: str, processor: str, register: str, instruction: str, vectors: int) -> None:
    rows = INSTRUCTIONS[name].rows
    lines = assembly(name, processor, rows, vectors)
    products = [line for line in lines if instruction in line]
    assert len(products) >= rows * vectors and all(register in line for line in products)
    assert len(set(re.findall(register + r"\d+", " ".join(lines)))) > rows * vectors
    assert not [line for line in lines if register in line and "(%rsp)" in line], "a sum does not fit into registers"


def inner_loop(lines: list[str]) -> list[str]:
    """The instructions of the innermost loop with multiply-adds: from a label to the branch back to it."""
    loops = []
    for start, line in enumerate(lines):
        if label := re.match(r"(\.L\w+):", line):
            ends = [at for at in range(start, len(lines)) if re.search(rf"\sb\S*\s.*{re.escape(label[1])}$", lines[at])]
            loops += [lines[start:end + 1] for end in ends]
    return min((loop for loop in loops if any("fmla" in line for line in loop)), key=len)


@pytest.mark.parametrize("processor", ["apple-m1", "neoverse-v1", "cortex-a72"])
def test_the_loop_on_arm_is_multiply_adds(processor: str) -> None:
    """Each takes its factor from an element of a vector. Nothing is stored, and pairs are loaded at once."""
    rows, vectors = INSTRUCTIONS["neon"].rows, INSTRUCTIONS["neon"].vectors
    loop = inner_loop(assembly("neon", processor, rows, vectors))
    in_vectors = [line for line in loop if re.search(r"\b[vqds]\d+\b", line)]
    products = [line for line in in_vectors if re.search(r"fmla\s+v\d+\.4s, v\d+\.4s, v\d+\.s\[\d\]", line)]
    assert len(products) >= rows * vectors >= 24
    assert len(products) >= 0.85 * len(in_vectors), "\n".join(in_vectors)
    assert {line.split()[0] for line in in_vectors} <= {"fmla", "ldp", "ldr", "ldur"}
    assert not [line for line in loop if "sp" in re.findall(r"\w+", line)], "a sum does not fit into registers"
    assert len(set(re.findall(r"fmla\s+(v\d+)", "\n".join(loop)))) == rows * vectors
