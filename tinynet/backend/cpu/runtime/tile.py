"""The inner loop of a matrix product: LLVM code for one tile of C = A B, generated for the vectors of a processor.

What bounds it: multiply-adds. A core starts two fused multiply-adds s + a b and two vector loads per cycle, so each
loaded value must be used several times. A tile of ROWS x PANEL elements of C therefore stays in registers while k runs.
For each k, `vectors` loads of B and `rows` loads of A serve rows * vectors multiply-adds. The number of registers
limits the tile. Compilers do not find such a loop by themselves.

    tile_function   a tile of some rows and vectors; `tile` calls it from Numba
    row_function    a product with one row of A, without packing; `row` calls it from Numba

A program needs a tile function for each number of rows and vectors, because the edges of C are smaller tiles.
"""

# What Numba says of the types of its own functions is not what they take.
# mypy: disable-error-code="attr-defined, call-arg, call-overload, no-untyped-call, misc"

from collections.abc import Mapping
from typing import Any, NamedTuple

import llvmlite.binding as llvm
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from tinynet.backend.cpu.runtime.intrinsics import (
    FLOAT,
    FLOAT_POINTER,
    I64,
    call_one_of,
    load,
    move,
    prefetch,
    repeat,
    repeat_lane,
    store,
    word,
)


class Instructions(NamedTuple):
    """The vector instructions of a processor, and the size of the tile that suits them."""

    width: int  # float32 elements in a vector
    fused: bool  # whether s + a b is one instruction, rounded once
    rows: int  # of the tile
    vectors: int = 2  # in a row of the tile
    lanes: bool = False  # whether a multiply-add can take its factor a from one element of a vector

    @property
    def column(self) -> int:
        """Elements of a packed column of A: the rows of a tile, in whole vectors."""
        return -(-self.rows // self.width) * self.width

    @property
    def panel(self) -> int:
        """Columns of the tile."""
        return self.width * self.vectors


INSTRUCTIONS = {
    "avx512": Instructions(width=16, fused=True, rows=8),
    "avx2": Instructions(width=8, fused=True, rows=6),
    "neon": Instructions(width=4, fused=True, rows=6, vectors=4, lanes=True),
    "plain": Instructions(width=4, fused=False, rows=4),
}

ROWS_AT_ONCE = 4  # rows of B that `row` reads together
_LATENCY = 8  # additions that keep both units busy: two start per cycle, and each takes four cycles


def best_instructions(features: Mapping[str, bool], triple: str) -> str:
    """A key of INSTRUCTIONS for a processor with these features, by LLVM's names. Each 64-bit ARM has NEON.

    >>> best_instructions({"avx2": True, "fma": True}, "x86_64-unknown-linux-gnu")
    'avx2'
    """
    if triple.startswith(("aarch64", "arm64")):
        return "neon"
    if features.get("avx512f"):
        return "avx512"
    return "avx2" if features.get("avx2") and features.get("fma") else "plain"


def _features() -> Mapping[str, bool]:
    """Those for which Numba compiles: of NUMBA_CPU_FEATURES where it is set, else of this processor."""
    if config.CPU_FEATURES is not None:
        return {name[1:]: name[0] == "+" for name in config.CPU_FEATURES.split(",") if name}
    try:
        return llvm.get_host_cpu_features()
    except RuntimeError:  # LLVM does not know them on this system
        return {}


HERE = best_instructions(_features(), llvm.get_process_triple())


# --- a tile ---------------------------------------------------------------------------------------------------------

def tile_function(module: Any, instructions: Instructions, rows: int, vectors: int) -> Any:
    """Add to an LLVM module the function for a tile of `rows` rows of `vectors` vectors, and return it.

    Its arguments are the 64-bit integers

        blocks, depth           numbers of k: the sum runs over blocks * depth
        a, a_row, 3 a_row, a_k, a_block    address of A and strides, in elements, to the next row, k and block
        b, b_k, b_block         the same of B; its columns are contiguous
        c, c_row                the same of C
        accumulate              0 for C = A B, else C += A B

    Its loop:

        for each block, for each k in it:
            load the row of B, `vectors` vectors
            for each row: load the element of A, repeat it through a vector, multiply it by each vector of B, add

    An addition waits for the previous one to the same sum. A tile of one row has too few sums to keep the units busy,
    so each of them is split into several that take turns.

    With `lanes`, A is packed: a column, `instructions.column` elements from a_k to the next one, is loaded as vectors,
    and a multiply-add takes its factor from an element of these. Without, to repeat the element is a part of its load.
    """
    name = f"tile_{rows}_{vectors}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * 13), name)
    function.attributes.add("noinline")
    function.attributes.add("optsize")  # no unrolling: the prefetcher loses track of loads that are too far apart
    blocks, depth, a, a_row, a_three, a_k, a_block, b, b_k, b_block, c, c_row, accumulate = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    width, side_by_side = instructions.width, range(vectors)
    vector = ir.VectorType(FLOAT, width)

    # Variables on the stack, which LLVM turns into registers: the sums, and pointers that move along k.
    turns = -(-_LATENCY // vectors) if rows == 1 else 1
    sums = {(i, v): [builder.alloca(vector) for _ in range(turns)] for i in range(rows) for v in side_by_side}
    # One pointer for three rows of A, the next one a_three = 3 a_row further. LLVM does not know that they are related:
    # else it would compute each row's address from the previous row's, a chain as slow as the multiply-adds.
    groups = 1 if instructions.lanes else -(-rows // 3)
    a_pointers, b_pointer = [builder.alloca(FLOAT_POINTER) for _ in range(groups)], builder.alloca(FLOAT_POINTER)
    a, b, c = (builder.inttoptr(address, FLOAT_POINTER) for address in (a, b, c))
    results = {(i, v): move(builder, c, _times(builder, i, c_row), word(v * width)) for i, v in sums}

    def add_products(turn: int) -> None:
        """For one k, to the sums of this turn."""
        b_row = builder.load(b_pointer)
        Bs = [load(builder, move(builder, b_row, word(v * width)), width) for v in side_by_side]
        column = builder.load(a_pointers[0])
        As = [load(builder, move(builder, column, word(i)), width) for i in range(0, rows, width)] \
            if instructions.lanes else []
        for i in range(rows):
            if As:
                repeated = repeat_lane(builder, As[i // width], i % width)
            else:
                element = builder.load(move(builder, builder.load(a_pointers[i // 3]), _times(builder, i % 3, a_row)))
                repeated = repeat(builder, element, width)
            for v in side_by_side:
                total = sums[i, v][turn]
                builder.store(_multiply_add(builder, instructions, repeated, Bs[v], builder.load(total)), total)
        for pointer in a_pointers:
            builder.store(move(builder, builder.load(pointer), a_k), pointer)
        builder.store(move(builder, b_row, b_k), b_pointer)

    for i in range(rows):  # C is written at the end: without the prefetch the stores would wait for its lines
        prefetch(builder, results[i, 0])
    for parts in sums.values():
        for part in parts:
            builder.store(ir.Constant(vector, None), part)
    with builder.if_then(builder.icmp_signed("!=", accumulate, word(0))):
        for cell, parts in sums.items():
            builder.store(load(builder, results[cell], width), parts[0])
    with cgutils.for_range(builder, blocks) as block:
        for group, pointer in enumerate(a_pointers):
            start = move(builder, a, builder.mul(block.index, a_block), _times(builder, group, a_three))
            builder.store(start, pointer)
        builder.store(move(builder, b, builder.mul(block.index, b_block)), b_pointer)
        with cgutils.for_range(builder, builder.sdiv(depth, word(turns))):
            for turn in range(turns):
                add_products(turn)
        if turns > 1:
            with cgutils.for_range(builder, builder.srem(depth, word(turns))):
                add_products(0)
    for cell, parts in sums.items():
        total = builder.load(parts[0])
        for part in parts[1:]:
            total = builder.fadd(total, builder.load(part))
        store(builder, total, results[cell])
    builder.ret_void()
    return function


@intrinsic(prefer_literal=True)
def tile(typing: Any, name: Any, rows: Any, vectors: Any, blocks: Any, depth: Any, a: Any, a_row: Any, a_k: Any,
         a_block: Any, b: Any, b_k: Any, b_block: Any, c: Any, c_row: Any, accumulate: Any) -> Any:
    """Compute a tile by the function for its rows and vectors. `name` is a key of INSTRUCTIONS."""
    instructions = INSTRUCTIONS[name.literal_value]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows, vectors, blocks, depth, a, a_row, *rest = args[1:]
        functions = {(r, v): tile_function(builder.module, instructions, r, v)
                     for v in range(1, instructions.vectors + 1) for r in range(1, instructions.rows + 1)}
        most = instructions.rows + 1
        call_one_of(builder, {v * most + r: function for (r, v), function in functions.items()},
                     builder.add(builder.mul(vectors, word(most)), rows),
                     [blocks, depth, a, a_row, builder.mul(a_row, word(3)), *rest])
        return context.get_dummy_value()
    return types.void(name, *[types.int64] * 14), generate


# --- one row --------------------------------------------------------------------------------------------------------

def row_function(module: Any, instructions: Instructions, rows: int) -> Any:
    """Add to an LLVM module the function c += a B for one row c, `rows` elements of a and as many rows of B.

    Its arguments are N (columns, a multiple of the vector), a, a_k, b, b_k, c and accumulate, as in `tile_function`. B
    is used only once here, so what counts is to read its rows from one end to the other.
    """
    name = f"row_{rows}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * 7), name)
    function.attributes.add("noinline")
    N, a, a_k, b, b_k, c, accumulate = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    width = instructions.width
    a, b, c = (builder.inttoptr(address, FLOAT_POINTER) for address in (a, b, c))
    factors = [repeat(builder, builder.load(move(builder, a, _times(builder, i, a_k))), width) for i in range(rows)]
    starts = [move(builder, b, _times(builder, i, b_k)) for i in range(rows)]
    kept = builder.icmp_signed("!=", accumulate, word(0))

    with cgutils.for_range(builder, builder.sdiv(N, word(width))) as step:
        j = builder.mul(step.index, word(width))
        place = move(builder, c, j)
        before = load(builder, place, width)
        total = builder.select(kept, before, ir.Constant(before.type, None))
        for factor, start in zip(factors, starts, strict=True):
            total = _multiply_add(builder, instructions, factor, load(builder, move(builder, start, j), width), total)
        store(builder, total, place)
    builder.ret_void()
    return function


@intrinsic(prefer_literal=True)
def row(typing: Any, name: Any, rows: Any, N: Any, a: Any, a_k: Any, b: Any, b_k: Any, c: Any, accumulate: Any) -> Any:
    """Add to a row of C by the function for `rows`, at most ROWS_AT_ONCE. `name` is a key of INSTRUCTIONS."""
    instructions = INSTRUCTIONS[name.literal_value]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        functions = {count: row_function(builder.module, instructions, count) for count in range(ROWS_AT_ONCE + 1)}
        call_one_of(builder, functions, args[1], args[2:])
        return context.get_dummy_value()
    return types.void(name, *[types.int64] * 8), generate


# --- instructions ---------------------------------------------------------------------------------------------------

def _times(builder: Any, count: int, distance: Any) -> Any:
    return builder.mul(word(count), distance)


def _multiply_add(builder: Any, instructions: Instructions, x: Any, y: Any, total: Any) -> Any:
    if not instructions.fused:
        return builder.fadd(builder.fmul(x, y), total)
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(x.type, [x.type] * 3),
                                         f"llvm.fma.v{instructions.width}f32")
    return builder.call(fma, [x, y, total])
