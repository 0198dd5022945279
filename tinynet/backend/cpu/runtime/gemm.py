"""The product of float32 matrices, from machine instructions up: what Dense, LSTM and convolutions are made of.

What bounds it: operations, 2 M N K of them. In each cycle a core begins two vector instructions s + a b ("fma") and
reads two vectors from its cache, so what is read once must be used often. Therefore a tile of C, ROWS x PANEL, stays in
registers while k runs: two vectors of B and ROWS numbers of A are read for 2 ROWS fmas. How many registers there are
decides the size of the tile. A compiler does not find such a loop, so `tile_function` writes it in LLVM's language.

A is read where it lies, with any strides: to transpose it is to exchange them. B is best packed into panels of PANEL
columns, whose vectors lie one after the other: rows that are far apart meet in few places of the cache, and drive each
other out of it. So where B is not packed and many rows of A pass by, a panel is copied first. k has two levels, blocks
and elements within a block, with strides of their own: a convolution is one product, without unfolding, where each
position in its window is a block.

Kernels call `product` and `pack` with arrays, and for each array a tuple that says where in it the matrix begins and
how far apart its elements are, counted in elements. That the matrix lies within the array is for the author to see to.
Nothing outside of the matrix is read or written, whatever its size.

The code of both is made once for all kernels, which find it by its name: they are compiled quickly, and none holds an
older copy of it.
"""

# What Numba says of the types of its own functions is not what they take.
# mypy: disable-error-code="call-arg, call-overload, no-untyped-call, var-annotated, assignment, misc"

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import llvmlite.binding as llvm
from llvmlite import ir
from numba import cfunc, njit, types
from numba.core import cgutils
from numba.core.datamodel.models import PrimitiveModel
from numba.core.errors import TypingError
from numba.extending import intrinsic, register_model

import tinynet.backend.cpu.runtime.notice  # noqa: F401  # it listens from now on


class Instructions(NamedTuple):
    """The vectors of a processor, and the tile that suits them."""

    width: int  # floats in a vector
    fused: bool  # whether s + a b is one instruction
    rows: int  # of the tile
    vectors: int = 2  # side by side in the tile

    @property
    def panel(self) -> int:
        return self.width * self.vectors


INSTRUCTIONS = {
    "avx512": Instructions(width=16, fused=True, rows=8),
    "avx2": Instructions(width=8, fused=True, rows=6),
    "plain": Instructions(width=4, fused=False, rows=4),
}


def best_instructions(features: dict[str, bool]) -> str:
    """The name of the instructions for a processor that has these features, as LLVM calls them."""
    if features.get("avx512f"):
        return "avx512"
    return "avx2" if features.get("avx2") and features.get("fma") else "plain"


_HERE = best_instructions(llvm.get_host_cpu_features())
ROWS, PANEL = INSTRUCTIONS[_HERE].rows, INSTRUCTIONS[_HERE].panel

# A product goes through k in steps of so many elements, and within a step through A in strips of so many elements: a
# strip then stays in the second cache while all panels pass by. Where a column of A lies together, a cache line holds
# more than one tile needs of it; steps are short, for the rest to be there still when the next tile comes.
_DEEP, SHALLOW, _STRIP = 512, 192, 96 * 512
_BUSY = 8  # additions that must be under way for the units to be busy: two begin in each cycle, and take four
_AT_ONCE = 4  # rows of B that a product of one row passes through together


# --- what kernels call ----------------------------------------------------------------------------------------------

@intrinsic
def product(typing: Any, sizes: Any, A: Any, a: Any, B: Any, b: Any, C: Any, c: Any, accumulate: Any) -> Any:
    """C = A B, or C += A B where `accumulate` is true.

    sizes  (M, N, K), or (M, N, K, blocks) where C[i, j] is the sum of A[i, p, k] B[p, k, j] over blocks p and all k
    a      (start, row, k), or (start, row, k, block): from where the first element of the matrix lies in A, how far it
           is to the next one in i, in k, and in p
    b      (start, k, panel), or (start, k, panel, block). The columns of a panel lie side by side. A matrix in rows of
           N elements is (start, N, PANEL), a packed one (start, PANEL, K * PANEL). Where k is PANEL, the last panel is
           taken to be filled up, as `pack` does, and read whole
    c      (start, row): the columns of C lie side by side; or (start, row, panel), those of each panel do

    From y = x W, with x (M,K), y (M,N) and W packed, the rows from `low` to `high` are

        product((high - low, N, K), x, (low * K, K, 1), packed, (0, PANEL, K * PANEL), y, (low * N, N), False)

    Equal bits for equal sizes and strides, and for a row of C in whatever company, but not alone: a single row is added
    up in another order. NaN and infinity go where NumPy lets them go.
    """
    _check("product", (A, B, C), (sizes, a, b), (3, 4))
    _check("product", (), (c,), (2, 3))

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sizes, (A,), a, (B,), b, (C,), c, (accumulate,) = _words(context, builder, signature, args)
        sizes, a, b = [*sizes, _word(1)][:4], [*a, _word(0)][:4], [*b, _word(0)][:4]
        c = [*c, _word(PANEL)][:3]
        _call(builder, "tinynet_product", [*sizes, _plus(builder, A, a[0]), *a[1:], _plus(builder, B, b[0]), *b[1:],
                                           _plus(builder, C, c[0]), *c[1:], accumulate])
        return context.get_dummy_value()
    return types.void(sizes, A, a, B, b, C, c, accumulate), generate


@intrinsic
def pack(typing: Any, sizes: Any, B: Any, b: Any, panels: Any, p: Any) -> Any:
    """Copy a matrix into panels of PANEL columns, the last one filled up with zeros.

    sizes  (K, N)
    b      (start, k, j): where the matrix begins in B, how far it is to the next row, and to the next column
    p      (start, panel): where the first panel begins in `panels`, how far it is to the next one, K * PANEL or more.
           There are -(-N // PANEL); row k of a panel begins k * PANEL after it

    To let each shard pack some of the panels:

        for first in range(shard * PANEL, N, shards * PANEL):
            pack((K, min(PANEL, N - first)), W, (first, N, 1), packed, (first * K, 0))
    """
    _check("pack", (B, panels), (sizes, p), (2,))
    _check("pack", (), (b,), (3,))

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sizes, (B,), b, (panels,), p = _words(context, builder, signature, args)
        _call(builder, "tinynet_pack", [*sizes, _plus(builder, B, b[0]), *b[1:], _plus(builder, panels, p[0]), *p[1:]])
        return context.get_dummy_value()
    return types.void(sizes, B, b, panels, p), generate


def _check(name: str, arrays: Sequence[Any], tuples: Sequence[Any], lengths: Sequence[int]) -> None:
    for array in arrays:
        if not isinstance(array, types.Array) or array.dtype != types.float32:
            raise TypingError(f"{name}: arrays must be of float32, got {array}; return NotImplemented for others")
    for numbers in tuples:
        if not isinstance(numbers, types.Tuple | types.UniTuple) or len(numbers) not in lengths \
                or not all(isinstance(number, types.Integer) for number in numbers):
            raise TypingError(f"{name}: sizes and places must be tuples of {' or '.join(map(str, lengths))} integers, "
                              f"got {numbers}; is a stride missing?")


# --- the code of both, made once ------------------------------------------------------------------------------------

def compile_product(name: str) -> Any:
    """The C function of `product` for these instructions."""
    return cfunc(types.void(*[types.int64] * 16), cache=True)(_product(name, *INSTRUCTIONS[name]))


def compile_pack(name: str) -> Any:
    """The C function of `pack` for these instructions."""
    return cfunc(types.void(*[types.int64] * 7), cache=True)(_pack(INSTRUCTIONS[name].width, INSTRUCTIONS[name].panel))


def _product(name: str, width: int, fused: bool, most: int, vectors: int) -> Callable[..., None]:
    panel = width * vectors
    panel_of_step, tile = _DEEP * panel, most * panel

    def product(M, N, K, blocks, A, a_row, a_k, a_block, B, b_k, b_panel, b_block,  # type: ignore[no-untyped-def]
                C, c_row, c_panel, accumulate):
        limit = SHALLOW if a_row == 1 else _DEEP
        depth = max(1, min(K, limit))
        group = max(1, limit // depth)  # a step is some blocks, or a part of one
        edge, corner = _stack(panel_of_step), _stack(tile)
        for p in range(0, max(1, blocks), group):
            for k in range(0, max(1, K), depth):
                ps, ks = min(group, blocks - p), min(depth, K - k)
                a = A + 4 * (p * a_block + k * a_k)
                b = B + 4 * (p * b_block + k * b_k)
                more = 1 if accumulate != 0 or p > 0 or k > 0 else 0
                first = N // panel * panel if M == 1 and b_panel == panel and c_panel == panel else 0
                if first:
                    for q in range(ps):
                        for i in range(0, max(1, ks), _AT_ONCE):
                            _row(name, min(_AT_ONCE, ks - i), first, a + 4 * (q * a_block + i * a_k), a_k,
                                 b + 4 * (q * b_block + i * b_k), b_k, C, more if q + i == 0 else 1)
                top = 0
                for strips in range(-(-M * max(1, ps * ks) // _STRIP), 0, -1):
                    bottom = top + _share(M - top, strips)
                    for j in range(first, N, panel):
                        columns = min(panel, N - j)
                        cj = C + 4 * (j // panel * c_panel)
                        bj, bj_k, bj_block = b + 4 * (j // panel * b_panel), b_k, b_block
                        if b_k != panel and (columns < panel or bottom - top > 2 * most):  # continue with a copy
                            for q in range(ps):
                                source, target = bj + 4 * q * b_block, edge + 4 * q * ks * panel
                                _copy(width, ks, columns, source, b_k, target, panel)
                            bj, bj_k, bj_block = edge, panel, ks * panel
                        i = top
                        for tiles in range(-(-(bottom - top) // most), 0, -1):
                            rows = _share(bottom - i, tiles)
                            if columns % width == 0:
                                _tile(name, rows, columns // width, ps, ks, a + 4 * i * a_row, a_row, a_k, a_block,
                                      bj, bj_k, bj_block, cj + 4 * i * c_row, c_row, more)
                            else:
                                _tile(name, rows, -(-columns // width), ps, ks, a + 4 * i * a_row, a_row, a_k, a_block,
                                      bj, bj_k, bj_block, corner, panel, 0)
                                _merge(width, rows, columns, corner, panel, cj + 4 * i * c_row, c_row, more)
                            i += rows
                    top = bottom
    return product


def _pack(width: int, panel: int) -> Callable[..., None]:
    def pack(K, N, B, b_k, b_j, panels, p_panel):  # type: ignore[no-untyped-def]
        for first in range(0, N, panel):
            columns = min(panel, N - first)
            source, target = B + 4 * first * b_j, panels + 4 * (first // panel * p_panel)
            if b_j == 1:
                _copy(width, K, columns, source, b_k, target, panel)
            else:
                _gather(K, columns, source, b_k, b_j, target, panel)
    return pack


@njit
def _share(rows: Any, parts: Any) -> Any:
    """How many rows the next of so many parts takes, for all to be as equal as can be: one takes as long as four."""
    return -(-rows // parts)


@njit
def _copy(width: Any, K: Any, columns: Any, source: Any, s_k: Any, target: Any, panel: Any) -> None:
    """Copy some columns, side by side, to the left of a panel; the rest of it becomes zero."""
    for k in range(K):
        for j in range(0, panel, width):
            _store(width, target + 4 * (k * panel + j), _load(width, source + 4 * (k * s_k + j), columns - j), width)


@njit
def _gather(K: Any, columns: Any, source: Any, s_k: Any, s_j: Any, target: Any, panel: Any) -> None:
    """The same for columns that lie s_j apart."""
    for first in range(0, K, 64):  # rows, not all at once: the panel's lines stay in the cache for the next column
        for j in range(panel):
            for k in range(first, min(K, first + 64)):
                _put(target, k * panel + j, _get(source, k * s_k + j * s_j) if j < columns else types.float32(0))


@njit
def _merge(width: Any, rows: Any, columns: Any, source: Any, s_row: Any, target: Any, t_row: Any,
           accumulate: Any) -> None:
    """Write some columns of a tile, or add them."""
    for i in range(rows):
        for j in range(0, columns, width):
            value, place = _load(width, source + 4 * (i * s_row + j), width), target + 4 * (i * t_row + j)
            if accumulate:
                value = _sum(width, value, _load(width, place, columns - j))
            _store(width, place, value, columns - j)


# --- one tile, in LLVM's language -----------------------------------------------------------------------------------

_I64, _I32, _FLOAT = ir.IntType(64), ir.IntType(32), ir.FloatType()
_POINTER = _FLOAT.as_pointer()


def tile_function(module: Any, instructions: Instructions, rows: int, vectors: int) -> Any:
    """Write into a module the function that computes one tile of C, some rows of some vectors: all of a panel, or its
    left part where C ends there.

    For all blocks, for all k in a block:
        load a row of B, one vector after the other
        for each row: load the element of A, repeat it through a vector, multiply it with each vector of B, add

    An addition can begin when the one before it, to the same sum, is done. So a tile of a single row has several sums
    for each place, which take turns: _BUSY additions are under way at any time.
    """
    name = f"tile_{rows}_{vectors}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_I64] * 13), name)
    function.attributes.add("noinline")
    function.attributes.add("optsize")  # no unrolling: the steps from load to load become too long to be foreseen
    blocks, depth, a, a_row, a_three, a_k, a_block, b, b_k, b_block, c, c_row, accumulate = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    width, side_by_side = instructions.width, range(vectors)
    vector = ir.VectorType(_FLOAT, width)

    # Variables in memory, for LLVM to put into registers: the sums, and pointers that walk along with k.
    turns = -(-_BUSY // vectors) if rows == 1 else 1
    sums = {(i, v): [builder.alloca(vector) for _ in range(turns)] for i in range(rows) for v in side_by_side}
    # From every third row to the next it is a_three, which is 3 a_row. LLVM does not know that: else it would reach
    # each row from the one before, in a chain of additions that takes as long as the multiplications.
    a_walks, b_walk = [builder.alloca(_POINTER) for _ in range(0, rows, 3)], builder.alloca(_POINTER)
    a, b, c = (builder.inttoptr(address, _POINTER) for address in (a, b, c))
    results = {(i, v): _move(builder, c, _times(builder, i, c_row), _word(v * width)) for i, v in sums}

    def add_products(turn: int) -> None:
        """For one k, to the sums whose turn it is."""
        b_row = builder.load(b_walk)
        Bs = [_vector(builder, _move(builder, b_row, _word(v * width)), width) for v in side_by_side]
        for i in range(rows):
            element = builder.load(_move(builder, builder.load(a_walks[i // 3]), _times(builder, i % 3, a_row)))
            repeated = _repeat(builder, element, width)
            for v in side_by_side:
                total = sums[i, v][turn]
                builder.store(_multiply_add(builder, instructions, repeated, Bs[v], builder.load(total)), total)
        for walk in a_walks:
            builder.store(_move(builder, builder.load(walk), a_k), walk)
        builder.store(_move(builder, b_row, b_k), b_walk)

    for row in range(rows):  # ask for the lines that will be written, so that nobody waits for them then
        _prefetch(builder, results[row, 0])
    for parts in sums.values():
        for part in parts:
            builder.store(ir.Constant(vector, None), part)
    with builder.if_then(builder.icmp_signed("!=", accumulate, _word(0))):
        for cell, parts in sums.items():
            builder.store(_vector(builder, results[cell], width), parts[0])
    with cgutils.for_range(builder, blocks) as block:
        for group, walk in enumerate(a_walks):
            builder.store(_move(builder, a, builder.mul(block.index, a_block), _times(builder, group, a_three)), walk)
        builder.store(_move(builder, b, builder.mul(block.index, b_block)), b_walk)
        with cgutils.for_range(builder, builder.sdiv(depth, _word(turns))):
            for turn in range(turns):
                add_products(turn)
        if turns > 1:
            with cgutils.for_range(builder, builder.srem(depth, _word(turns))):
                add_products(0)
    for cell, parts in sums.items():
        total = builder.load(parts[0])
        for part in parts[1:]:
            total = builder.fadd(total, builder.load(part))
        builder.store(total, builder.bitcast(results[cell], vector.as_pointer()), align=4)
    builder.ret_void()
    return function


def row_function(module: Any, instructions: Instructions, rows: int) -> Any:
    """Write into a module the function of a product of one row: to N elements of C, whole vectors, some rows of B, each
    times an element of A. B is used but once here: what counts is to read it as it lies, from one end to the other.
    """
    name = f"row_{rows}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_I64] * 7), name)
    function.attributes.add("noinline")
    N, a, a_k, b, b_k, c, accumulate = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    width = instructions.width
    a, b, c = (builder.inttoptr(address, _POINTER) for address in (a, b, c))
    factors = [_repeat(builder, builder.load(_move(builder, a, _times(builder, i, a_k))), width) for i in range(rows)]
    starts = [_move(builder, b, _times(builder, i, b_k)) for i in range(rows)]
    kept = builder.icmp_signed("!=", accumulate, _word(0))

    with cgutils.for_range(builder, builder.sdiv(N, _word(width))) as step:
        j = builder.mul(step.index, _word(width))
        place = _move(builder, c, j)
        before = _vector(builder, place, width)
        total = builder.select(kept, before, ir.Constant(before.type, None))
        for factor, start in zip(factors, starts, strict=True):
            row = _vector(builder, _move(builder, start, j), width)
            total = _multiply_add(builder, instructions, factor, row, total)
        builder.store(total, builder.bitcast(place, total.type.as_pointer()), align=4)
    builder.ret_void()
    return function


def _move(builder: Any, pointer: Any, *distances: Any) -> Any:
    for distance in distances:
        pointer = builder.gep(pointer, [distance])
    return pointer


def _times(builder: Any, count: int, distance: Any) -> Any:
    return builder.mul(_word(count), distance)


def _vector(builder: Any, pointer: Any, width: int) -> Any:
    return builder.load(builder.bitcast(pointer, ir.VectorType(_FLOAT, width).as_pointer()), align=4)


def _repeat(builder: Any, number: Any, width: int) -> Any:
    """A vector of one number."""
    nothing = ir.Constant(ir.VectorType(number.type, width), ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_I32, width), None))


def _multiply_add(builder: Any, instructions: Instructions, x: Any, y: Any, total: Any) -> Any:
    if not instructions.fused:
        return builder.fadd(builder.fmul(x, y), total)
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(x.type, [x.type] * 3),
                                         f"llvm.fma.v{instructions.width}f32")
    return builder.call(fma, [x, y, total])


def _prefetch(builder: Any, pointer: Any) -> None:
    """Ask for a line of memory, to write to it soon."""
    byte = ir.IntType(8).as_pointer()
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32]),
                                              "llvm.prefetch.p0")
    builder.call(function, [builder.bitcast(pointer, byte), *(ir.Constant(_I32, word) for word in (1, 3, 1))])


@intrinsic(prefer_literal=True)
def _tile(typing: Any, name: Any, rows: Any, vectors: Any, blocks: Any, depth: Any, a: Any, a_row: Any, a_k: Any,
          a_block: Any, b: Any, b_k: Any, b_block: Any, c: Any, c_row: Any, accumulate: Any) -> Any:
    """A tile of some rows and vectors: there is a function for each number of them."""
    instructions = INSTRUCTIONS[name.literal_value]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows, vectors, blocks, depth, a, a_row, *rest = args[1:]
        functions = {(r, v): tile_function(builder.module, instructions, r, v)
                     for v in range(1, instructions.vectors + 1) for r in range(1, instructions.rows + 1)}
        most = instructions.rows + 1
        _call_one_of(builder, {v * most + r: function for (r, v), function in functions.items()},
                     builder.add(builder.mul(vectors, _word(most)), rows),
                     [blocks, depth, a, a_row, builder.mul(a_row, _word(3)), *rest])
        return context.get_dummy_value()
    return types.void(name, *[types.int64] * 14), generate


@intrinsic(prefer_literal=True)
def _row(typing: Any, name: Any, rows: Any, N: Any, a: Any, a_k: Any, b: Any, b_k: Any, c: Any, accumulate: Any) -> Any:
    """To a row of C some rows of B: there is a function for each number of them."""
    instructions = INSTRUCTIONS[name.literal_value]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        functions = {count: row_function(builder.module, instructions, count) for count in range(_AT_ONCE + 1)}
        _call_one_of(builder, functions, args[1], args[2:])
        return context.get_dummy_value()
    return types.void(name, *[types.int64] * 8), generate


def _call_one_of(builder: Any, functions: dict[int, Any], which: Any, args: Sequence[Any]) -> None:
    """Call the function of this number."""
    done = builder.append_basic_block()
    switch = builder.switch(which, done)
    for number, function in functions.items():
        with builder.goto_block(builder.append_basic_block()):
            switch.add_case(number, builder.block)
            function.linkage = "internal"
            builder.call(function, args)
            builder.branch(done)
    builder.position_at_end(done)


# --- memory ---------------------------------------------------------------------------------------------------------

@intrinsic
def _get(typing: Any, address: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.gep(builder.inttoptr(args[0], _POINTER), [args[1]]), align=4)
    return types.float32(types.int64, types.int64), generate


@intrinsic
def _put(typing: Any, address: Any, index: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], builder.gep(builder.inttoptr(args[0], _POINTER), [args[1]]), align=4)
        return context.get_dummy_value()
    return types.void(types.int64, types.int64, types.float32), generate


class _Vector(types.Opaque):
    """The type of a vector in Numba's eyes, which has no business looking into it."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(name=f"tinynet_vector_{width}")


@register_model(_Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, manager: Any, type: Any) -> None:
        super().__init__(manager, type, ir.VectorType(_FLOAT, type.width))


@intrinsic(prefer_literal=True)
def _load(typing: Any, width: Any, source: Any, count: Any) -> Any:
    """A vector: so many elements, at most, from an address, then zeros."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _first_of(builder, builder.inttoptr(args[1], _POINTER), width.literal_value, args[2])
    return _Vector(width.literal_value)(width, types.int64, types.int64), generate


@intrinsic(prefer_literal=True)
def _store(typing: Any, width: Any, target: Any, value: Any, count: Any) -> Any:
    """Write the first elements of a vector, at most so many, to an address."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, target, value, count = args
        _write_first(builder, value, builder.inttoptr(target, _POINTER), count)
        return context.get_dummy_value()
    return types.void(width, types.int64, value, types.int64), generate


@intrinsic(prefer_literal=True)
def _sum(typing: Any, width: Any, a: Any, b: Any) -> Any:
    """Of two vectors."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fadd(*args[1:])
    return a(width, a, b), generate


def _first_of(builder: Any, pointer: Any, width: int, count: Any) -> Any:
    """A vector of the first elements behind a pointer, at most so many, then zeros."""
    vector = ir.VectorType(_FLOAT, width)
    mask = _mask(builder, width, count)
    load = _masked(builder, "load", vector, [vector.as_pointer(), _I32, mask.type, vector], vector)
    return builder.call(load, [builder.bitcast(pointer, vector.as_pointer()), ir.Constant(_I32, 4), mask,
                               ir.Constant(vector, None)])


def _write_first(builder: Any, value: Any, pointer: Any, count: Any) -> None:
    """Write the first elements of a vector, at most so many."""
    vector, mask = value.type, _mask(builder, value.type.count, count)
    store = _masked(builder, "store", ir.VoidType(), [vector, vector.as_pointer(), _I32, mask.type], vector)
    builder.call(store, [value, builder.bitcast(pointer, vector.as_pointer()), ir.Constant(_I32, 4), mask])


def _mask(builder: Any, width: int, count: Any) -> Any:
    """Of the first elements; all of them where the number is known to be large enough."""
    numbers = ir.Constant(ir.VectorType(_I64, width), list(range(width)))
    return builder.icmp_signed("<", numbers, _repeat(builder, count, width))


def _masked(builder: Any, name: str, result: Any, args: Sequence[Any], vector: Any) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, args),
                                          f"llvm.masked.{name}.v{vector.count}f32.p0")


@intrinsic(prefer_literal=True)
def _stack(typing: Any, floats: Any) -> Any:
    """The address of so many floats in the stack frame of the caller."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        with builder.goto_entry_block():
            memory = builder.alloca(ir.ArrayType(_FLOAT, floats.literal_value))
        return builder.ptrtoint(memory, _I64)
    return types.int64(floats), generate


def _word(value: int) -> Any:
    return ir.Constant(_I64, value)


def _words(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> list[list[Any]]:
    """Each argument as 64-bit integers: of an array the address, of a tuple its elements."""
    words = []
    for type, value in zip(signature.args, args, strict=True):
        if isinstance(type, types.Array):
            words.append([builder.ptrtoint(context.make_array(type)(context, builder, value).data, _I64)])
        elif isinstance(type, types.BaseTuple):
            words.append([context.cast(builder, element, of, types.int64)
                          for element, of in zip(cgutils.unpack_tuple(builder, value), type, strict=True)])
        else:
            words.append([context.cast(builder, value, type, types.int64)])
    return words


def _plus(builder: Any, address: Any, elements: Any) -> Any:
    return builder.add(address, builder.mul(elements, _word(4)))


def _call(builder: Any, name: str, words: Sequence[Any]) -> None:
    type = ir.FunctionType(ir.VoidType(), [_I64] * len(words))
    builder.call(cgutils.get_or_insert_function(builder.module, type, name), words)


_compiled = {"tinynet_product": compile_product(_HERE), "tinynet_pack": compile_pack(_HERE)}
for _name, _function in _compiled.items():
    llvm.add_symbol(_name, _function.address)
