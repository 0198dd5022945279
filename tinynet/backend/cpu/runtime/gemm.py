"""The product of float32 matrices, for Numba functions: the core of Dense, LSTM and convolutions.

Layout. A and C are read and written in place, with any leading dimension and stride; to transpose is to exchange the
strides. B should be packed: panels of PANEL columns, the rows of a panel contiguous. Rows of an unpacked B map to few
sets of the cache and evict each other. So if many rows of A use an unpacked B, `product` copies one panel at a time.

Blocking, for C (M,N) = A (M,K) B (K,N):

    1. k in steps of DEEP elements; of SHALLOW if a column of A is contiguous. A cache line of A then serves several
       tiles, and must still be cached for the next tile
    2. rows of A in strips of STRIP elements, which stay in the second-level cache during a pass over all panels of B.
       Where a tile reads columns of A as vectors, the strip is packed first
    3. columns in panels, rows in tiles of at most ROWS: see tile.py

The sum over k has two levels, blocks and elements in a block, each with its own stride. So a convolution is one
product, without unfolding (im2col): each position of its window is a block.

Both intrinsics call machine code by its symbol. It is compiled once, when this module is imported: kernels then compile
faster, and hold no copy of it.
"""

# What Numba says of the types of its own functions is not what they take.
# mypy: disable-error-code="call-arg, call-overload, no-untyped-call, misc"

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from tinynet.backend.cpu.runtime.intrinsics import (
    I64,
    add_vectors,
    call_symbol,
    load_element,
    load_vector,
    stack,
    store_element,
    store_vector,
    word,
)
from tinynet.backend.cpu.runtime.jit import compile_for_c, njit
from tinynet.backend.cpu.runtime.tile import HERE, INSTRUCTIONS, ROWS_AT_ONCE, row, tile

ROWS, PANEL = INSTRUCTIONS[HERE].rows, INSTRUCTIONS[HERE].panel
SHALLOW, _DEEP, _STRIP = 192, 512, 96 * 512  # elements: see "Blocking"


# --- what kernels call ----------------------------------------------------------------------------------------------

@intrinsic
def product(typing: Any, sizes: Any, A: Any, a: Any, B: Any, b: Any, C: Any, c: Any, accumulate: Any) -> Any:
    """C = A B, or C += A B where `accumulate` is true.

    A, B, C  float32 arrays that hold the matrices. The strides below are counted in elements
    sizes    (M, N, K), or (M, N, K, blocks): C[i, j] is the sum of A[i, p, k] B[p, k, j] over blocks p and all k
    a        (start, row, k), or (start, row, k, block): the index of the matrix's first element in A, and the strides
             along i, k and p
    b        (start, k, panel), or (start, k, panel, block). The columns of a panel are contiguous. A matrix in rows of
             N elements is (start, N, PANEL), a packed one (start, PANEL, K * PANEL). With k = PANEL the last panel
             must be padded, as `pack` does: it is read whole
    c        (start, row), with contiguous columns; or (start, row, panel), with contiguous columns in each panel

    For y = x W, with x (M,K), y (M,N) and W packed, the rows from `low` to `high` are

        product((high - low, N, K), x, (low * K, K, 1), packed, (0, PANEL, K * PANEL), y, (low * N, N), False)

    The matrices must lie within the arrays: bounds are not checked. Nothing outside the matrices is read or written.
    Equal sizes and strides give equal bits, and the bits of a row of C do not depend on the other rows; but M = 1 adds
    in another order. NaN and infinity propagate as in NumPy. Errors: TypingError, when the kernel is compiled, for
    other types.
    """
    _check("product", (A, B, C), (sizes, a, b), (3, 4))
    _check("product", (), (c,), (2, 3))

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sizes, (A,), a, (B,), b, (C,), c, (accumulate,) = _words(context, builder, signature, args)
        sizes, a, b = [*sizes, word(1)][:4], [*a, word(0)][:4], [*b, word(0)][:4]
        c = [*c, word(PANEL)][:3]
        words = [*sizes, _plus(builder, A, a[0]), *a[1:], _plus(builder, B, b[0]), *b[1:], _plus(builder, C, c[0]),
                 *c[1:], accumulate]
        call_symbol(builder, "tinynet_product", words, ir.VoidType())
        return context.get_dummy_value()
    return types.void(sizes, A, a, B, b, C, c, accumulate), generate


@intrinsic
def pack(typing: Any, sizes: Any, B: Any, b: Any, panels: Any, p: Any) -> Any:
    """Pack a matrix: copy it into panels of PANEL columns. The last panel is padded with zeros.

    sizes   (K, N)
    B       a float32 array, and b = (start, k, j): the index of the matrix's first element in it, and the strides
            along k and j, in elements
    panels  a float32 array, and p = (start, panel): the index of the first panel, and the stride to the next one, at
            least K * PANEL. There are -(-N // PANEL) panels; row k of a panel begins k * PANEL after it

    Each shard packs some of the panels in

        for first in range(shard * PANEL, N, shards * PANEL):
            pack((K, min(PANEL, N - first)), W, (first, N, 1), packed, (first * K, 0))
    """
    _check("pack", (B, panels), (sizes, p), (2,))
    _check("pack", (), (b,), (3,))

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sizes, (B,), b, (panels,), p = _words(context, builder, signature, args)
        words = [*sizes, _plus(builder, B, b[0]), *b[1:], _plus(builder, panels, p[0]), *p[1:]]
        call_symbol(builder, "tinynet_pack", words, ir.VoidType())
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


def _words(context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> list[list[Any]]:
    """Each argument as 64-bit integers: the address of an array, the elements of a tuple, or the number."""
    words = []
    for type, value in zip(signature.args, args, strict=True):
        if isinstance(type, types.Array):
            words.append([builder.ptrtoint(context.make_array(type)(context, builder, value).data, I64)])
        elif isinstance(type, types.BaseTuple):
            words.append([context.cast(builder, element, of, types.int64)
                          for element, of in zip(cgutils.unpack_tuple(builder, value), type, strict=True)])
        else:
            words.append([context.cast(builder, value, type, types.int64)])
    return words


def _plus(builder: Any, address: Any, elements: Any) -> Any:
    return builder.add(address, builder.mul(elements, word(4)))


# --- blocking -------------------------------------------------------------------------------------------------------

def _product(name: str) -> Callable[..., None]:
    """The product for a key of INSTRUCTIONS. Addresses are in bytes, strides in elements."""
    width, most, panel = INSTRUCTIONS[name].width, INSTRUCTIONS[name].rows, INSTRUCTIONS[name].panel
    panel_of_step, whole_tile = _DEEP * panel, most * panel
    lanes, column = INSTRUCTIONS[name].lanes, INSTRUCTIONS[name].column
    strip = _STRIP // 4 if lanes else _STRIP  # which lies on the stack if it is packed
    packed_strip = (strip // most + 2 * _DEEP) * column if lanes else 1

    def product(M, N, K, blocks, A, a_row, a_k, a_block, B, b_k, b_panel, b_block,  # type: ignore[no-untyped-def]
                C, c_row, c_panel, accumulate):
        limit = SHALLOW if a_row == 1 else _DEEP
        depth = max(1, min(K, limit))
        group = max(1, limit // depth)  # a step is several blocks, or a part of one
        copied, corner, columns_of_A = stack(panel_of_step), stack(whole_tile), stack(packed_strip)
        for p in range(0, max(1, blocks), group):
            for k in range(0, max(1, K), depth):
                ps, ks = min(group, blocks - p), min(depth, K - k)
                a = A + 4 * (p * a_block + k * a_k)
                b = B + 4 * (p * b_block + k * b_k)
                more = 1 if accumulate != 0 or p > 0 or k > 0 else 0
                first = N // panel * panel if M == 1 and b_panel == panel and c_panel == panel else 0
                if first:
                    for q in range(ps):
                        for i in range(0, max(1, ks), ROWS_AT_ONCE):
                            row(name, min(ROWS_AT_ONCE, ks - i), first, a + 4 * (q * a_block + i * a_k), a_k,
                                b + 4 * (q * b_block + i * b_k), b_k, C, more if q + i == 0 else 1)
                top = 0
                for strips in range(-(-M * max(1, ps * ks) // strip), 0, -1):
                    bottom = top + _share(M - top, strips)
                    if lanes:
                        _pack_strip(most, column, bottom - top, ps, ks, a + 4 * top * a_row, a_row, a_k, a_block,
                                    columns_of_A)
                    for j in range(first, N, panel):
                        columns = min(panel, N - j)
                        cj = C + 4 * (j // panel * c_panel)
                        bj, bj_k, bj_block = b + 4 * (j // panel * b_panel), b_k, b_block
                        if b_k != panel and (columns % width or bottom - top > 2 * most):  # continue with a copy
                            for q in range(ps):
                                source, target = bj + 4 * q * b_block, copied + 4 * q * ks * panel
                                _copy(width, ks, columns, source, b_k, target, panel)
                            bj, bj_k, bj_block = copied, panel, ks * panel
                        i = top
                        for tiles in range(-(-(bottom - top) // most), 0, -1):
                            rows = _share(bottom - i, tiles)
                            ai, ai_k, ai_block = a + 4 * i * a_row, a_k, a_block
                            if lanes:
                                ai = columns_of_A + 4 * (-(-(bottom - top) // most) - tiles) * ps * ks * column
                                ai_k, ai_block = column, ks * column
                            if columns % width == 0:
                                tile(name, rows, columns // width, ps, ks, ai, a_row, ai_k, ai_block,
                                     bj, bj_k, bj_block, cj + 4 * i * c_row, c_row, more)
                            else:
                                tile(name, rows, -(-columns // width), ps, ks, ai, a_row, ai_k, ai_block,
                                     bj, bj_k, bj_block, corner, panel, 0)
                                _merge(width, rows, columns, corner, panel, cj + 4 * i * c_row, c_row, more)
                            i += rows
                    top = bottom
    product.__qualname__ = f"product_{name}"  # LLVM's symbol, unique in a process
    return product


def _pack(name: str) -> Callable[..., None]:
    """The packing for a key of INSTRUCTIONS."""
    width, panel = INSTRUCTIONS[name].width, INSTRUCTIONS[name].panel

    def pack(K, N, B, b_k, b_j, panels, p_panel):  # type: ignore[no-untyped-def]
        for first in range(0, N, panel):
            columns = min(panel, N - first)
            source, target = B + 4 * first * b_j, panels + 4 * (first // panel * p_panel)
            if b_j == 1:
                _copy(width, K, columns, source, b_k, target, panel)
            else:
                _gather(K, columns, source, b_k, b_j, target, panel)
    pack.__qualname__ = f"pack_{name}"
    return pack


@njit
def _pack_strip(most: Any, column: Any, M: Any, blocks: Any, depth: Any, A: Any, a_row: Any, a_k: Any, a_block: Any,
                target: Any) -> None:
    """Copy M rows of A, tile by tile: for each block and k a column of the tile's rows. Its rest is arbitrary."""
    i, place = 0, 0
    for tiles in range(-(-M // most), 0, -1):
        rows = _share(M - i, tiles)
        for p in range(blocks):
            for k in range(depth):
                for r in range(rows):
                    element = load_element(A, (i + r) * a_row + p * a_block + k * a_k)
                    store_element(target, place + r, element)
                place += column
        i += rows


@njit
def _share(rows: Any, parts: Any) -> Any:
    """The rows of the first of `parts` nearly equal parts: a tile of one row takes as long as one of four."""
    return -(-rows // parts)


@njit
def _copy(width: Any, K: Any, columns: Any, source: Any, s_k: Any, target: Any, panel: Any) -> None:
    """Copy K rows of contiguous columns into a panel; the rest of the panel becomes zero."""
    for k in range(K):
        for j in range(0, panel, width):
            part = load_vector(width, source + 4 * (k * s_k + j), columns - j)
            store_vector(width, target + 4 * (k * panel + j), part, width)


@njit
def _gather(K: Any, columns: Any, source: Any, s_k: Any, s_j: Any, target: Any, panel: Any) -> None:
    """The same for columns that are s_j elements apart."""
    for first in range(0, K, 64):  # 64 rows at a time: the panel's cache lines stay cached for the next column
        for j in range(panel):
            for k in range(first, min(K, first + 64)):
                element = load_element(source, k * s_k + j * s_j) if j < columns else types.float32(0)
                store_element(target, k * panel + j, element)


@njit
def _merge(width: Any, rows: Any, columns: Any, source: Any, s_row: Any, target: Any, t_row: Any,
           accumulate: Any) -> None:
    """Write the first columns of a tile to C, or add them."""
    for i in range(rows):
        for j in range(0, columns, width):
            value, place = load_vector(width, source + 4 * (i * s_row + j), width), target + 4 * (i * t_row + j)
            if accumulate:
                value = add_vectors(width, value, load_vector(width, place, columns - j))
            store_vector(width, place, value, columns - j)


def compile_product(name: str) -> Any:
    """The C function of `product` for a key of INSTRUCTIONS: 16 words, in the order of `_product`."""
    return compile_for_c(_product(name), types.void(*[types.int64] * 16))


def compile_pack(name: str) -> Any:
    """The C function of `pack` for a key of INSTRUCTIONS: 7 words, in the order of `_pack`."""
    return compile_for_c(_pack(name), types.void(*[types.int64] * 7))


_compiled = {"tinynet_product": compile_product(HERE), "tinynet_pack": compile_pack(HERE)}  # keeps the code alive
for _symbol, _function in _compiled.items():
    llvm.add_symbol(_symbol, _function.address)
