"""The machine code of a tile: its sums stay in registers, for each kind of processor."""

import re

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from tinynet.backend.cpu.runtime.tile import INSTRUCTIONS, best_instructions, tile_function


@pytest.mark.parametrize(("features", "name"), [
    ({"avx512f": True, "avx2": True, "fma": True}, "avx512"),
    ({"avx512f": False, "avx2": True, "fma": True}, "avx2"),
    ({"avx2": True, "fma": False}, "plain"),
    ({}, "plain"),
])
def test_the_best_instructions(features: dict[str, bool], name: str) -> None:
    assert best_instructions(features) == name


def assembly(name: str, processor: str, rows: int, vectors: int) -> list[str]:
    """The tile's code for a processor that need not be this one."""
    module = ir.Module()
    module.triple = "x86_64-unknown-linux-gnu"
    tile_function(module, INSTRUCTIONS[name], rows, vectors)
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
