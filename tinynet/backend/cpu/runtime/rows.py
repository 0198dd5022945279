"""Sums of rows in vectors, for Numba functions: convolutions of groups, and layer normalisation.

    add_products   sums of products of rows, number by number
    total, dot     the sum of a row, and of the products of two

What bounds them: loads, two of which start per cycle. So `add_products` multiplies each vector that it loads of B by
vectors of several rows of A, and no sum leaves its register until it is complete. Several are summed at once, so that
no addition waits for the one before.
"""

# What Numba says of the types of its own functions is not what they take.
# mypy: disable-error-code="call-arg, no-untyped-call, misc"

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinynet.backend.cpu.runtime.intrinsics import (
    FLOAT,
    FLOAT_POINTER,
    I64,
    add_product,
    add_vectors,
    call_one_of,
    load,
    load_vector,
    move,
    multiply_add,
    prefetch,
    store,
    sum_of_vector,
    word,
)
from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.tile import HERE, INSTRUCTIONS

ROWS = {"avx512": 6, "avx2": 3, "neon": 6, "plain": 3}  # of A at once: as many as the registers for vectors allow
_VECTORS = 2  # of a row at once
_NEAR = 3  # the number of j whose B stays in registers
_WIDTH, _ROWS = INSTRUCTIONS[HERE].width, ROWS[HERE]


@njit
def add_products(sizes: Any, A: Any, a: Any, B: Any, b: Any, D: Any, d: Any, C: Any, c: Any) -> None:
    """C[m, n] = D[m, n] + Σ A[m, i, j, n] B[i, j, n] over i and j.

    A, B, C, D   float32 arrays; the strides below are counted in elements
    sizes        (M, N, I, J): the numbers of m, n, i and j
    a            (start, m, i, j): the index of the first element, and the strides along m, i and j; n is contiguous
    b, c, d      (start, i, j), (start, m), (start, m) likewise

    D may be C, at the same place. All must lie within the arrays: bounds are not checked.
    """
    M, N, I, J = sizes
    x, y = A.ctypes.data + 4 * a[0], B.ctypes.data + 4 * b[0]
    begin, out = D.ctypes.data + 4 * d[0], C.ctypes.data + 4 * c[0]
    rows = _ROWS
    while M > 0:
        rows = min(rows, M)
        near = _ROWS if J == _NEAR and a[1] == a[3] and rows == _ROWS else 0
        _add_to_rows(near + rows, M // rows, N, I, J, x, a[1], a[2], a[3], y, b[1], b[2], begin, d[1], out, c[1])
        whole = M // rows * rows
        x, begin, out, M = x + 4 * whole * a[1], begin + 4 * whole * d[1], out + 4 * whole * c[1], M - whole


def rows_function(module: Any, width: int, rows: int, near: bool) -> Any:
    """Add to an LLVM module the function of `add_products` for M = `rows` times `blocks`, and return it.

    `width` is the number of elements in a vector.

    Its arguments are blocks, N, I, J, the address of A and its strides along m, i and j, the address of B and its
    strides along i and j, and those of D and C along m. Its loops:

        for each `rows` of m, for each _VECTORS vectors of n:
            prefetch C of the next rows; load D
            for each i and j: load B; for each row: load A, multiply, add
            store C

    With `near`, A[m, i, j] depends on m + j, and J is _NEAR: each vector of A is loaded once for all m and j.
    """
    name = f"add_to_{rows}_rows{'_near' * near}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * 15), name)
    function.attributes.add("noinline")
    function.attributes.add("optsize")  # no unrolling: I and J are small, often 3
    blocks, N, I, J, a, a_m, a_i, a_j, b, b_i, b_j, d, d_m, c, c_m = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    a, b, c, d = (builder.inttoptr(address, FLOAT_POINTER) for address in (a, b, c, d))
    vector = ir.VectorType(FLOAT, width)
    sums = {(row, v): builder.alloca(vector) for row in range(rows) for v in range(_VECTORS)}  # registers, for LLVM
    A, B = builder.alloca(FLOAT_POINTER), builder.alloca(FLOAT_POINTER)

    def vectors(start: Any, stride: Any, row: int, left: Any) -> list[Any]:
        """The vectors of a row, from that many rows after `start`; of the last elements, one."""
        first = move(builder, start, builder.mul(stride, word(row)))
        return [load(builder, move(builder, first, word(v * width)), width, left)
                for v in range(_VECTORS if left is None else 1)]

    def add(row: int, values: list[Any], factors: list[Any]) -> None:
        for v, (value, factor) in enumerate(zip(values, factors, strict=True)):
            builder.store(add_product(builder, value, factor, builder.load(sums[row, v])), sums[row, v])

    def add_line(left: Any) -> None:
        """For one i."""
        if near:
            factors = [vectors(builder.load(B), b_j, j, left) for j in range(_NEAR)]
            for k in range(rows + _NEAR - 1):
                values = vectors(builder.load(A), a_m, k, left)
                for row in range(max(0, k - _NEAR + 1), min(rows, k + 1)):
                    add(row, values, factors[k - row])
            return
        with cgutils.for_range(builder, J):
            values, factor = builder.load(A), vectors(builder.load(B), b_j, 0, left)
            for row in range(rows):
                add(row, vectors(values, a_m, row, left), factor)
            builder.store(move(builder, values, a_j), A)
            builder.store(move(builder, builder.load(B), b_j), B)

    def add_to_tile(block: Any, n: Any, left: Any = None) -> None:
        """For some m, and for _VECTORS vectors from n on, or for the last `left` elements, at most one vector."""
        m = builder.mul(block, word(rows))
        begin, out = (move(builder, start, builder.mul(m, stride), n) for start, stride in ((d, d_m), (c, c_m)))
        for row in range(rows if left is None else 0):  # else the stores of the next rows would wait for their lines
            for v in range(_VECTORS):
                prefetch(builder, move(builder, out, builder.mul(c_m, word(rows + row)), word(v * width)))
        for row in range(rows):
            for v, value in enumerate(vectors(begin, d_m, row, left)):
                builder.store(value, sums[row, v])
        with cgutils.for_range(builder, I) as i:
            builder.store(move(builder, a, builder.mul(m, a_m), n, builder.mul(i.index, a_i)), A)
            builder.store(move(builder, b, n, builder.mul(i.index, b_i)), B)
            add_line(left)
        for (row, v), total in sums.items():
            if left is None or v == 0:
                place = move(builder, out, builder.mul(c_m, word(row)), word(v * width))
                store(builder, builder.load(total), place, left)

    wide = word(_VECTORS * width)
    with cgutils.for_range(builder, blocks) as block:
        with cgutils.for_range(builder, builder.sdiv(N, wide)) as part:
            add_to_tile(block.index, builder.mul(part.index, wide))
        whole = builder.mul(builder.sdiv(N, wide), wide)
        rest = builder.sdiv(builder.add(builder.sub(N, whole), word(width - 1)), word(width))
        with cgutils.for_range(builder, rest) as part:
            n = builder.add(whole, builder.mul(part.index, word(width)))
            add_to_tile(block.index, n, builder.sub(N, n))
    builder.ret_void()
    return function


@intrinsic
def _add_to_rows(typing: Any, rows: Any, blocks: Any, N: Any, I: Any, J: Any, a: Any, a_m: Any, a_i: Any, a_j: Any,
                 b: Any, b_i: Any, b_j: Any, d: Any, d_m: Any, c: Any, c_m: Any) -> Any:
    """Call the function for `rows`, at most _ROWS, or for 2 _ROWS the one for _ROWS that are near."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        functions = {rows: rows_function(builder.module, _WIDTH, rows, False) for rows in range(1, _ROWS + 1)}
        functions[2 * _ROWS] = rows_function(builder.module, _WIDTH, _ROWS, True)
        call_one_of(builder, functions, args[0], args[1:])
        return context.get_dummy_value()
    return types.void(*[types.int64] * 16), generate


@njit
def total(x: Any) -> Any:
    """The sum of a vector of float32."""
    at, size = x.ctypes.data, x.size
    first, second = load_vector(_WIDTH, at, 0), load_vector(_WIDTH, at, 0)  # zeros
    for j in range(0, size // (2 * _WIDTH) * (2 * _WIDTH), 2 * _WIDTH):
        first = add_vectors(_WIDTH, first, load_vector(_WIDTH, at + 4 * j, _WIDTH))
        second = add_vectors(_WIDTH, second, load_vector(_WIDTH, at + 4 * (j + _WIDTH), _WIDTH))
    for j in range(size // (2 * _WIDTH) * (2 * _WIDTH), size, _WIDTH):
        first = add_vectors(_WIDTH, first, load_vector(_WIDTH, at + 4 * j, size - j))
    return sum_of_vector(_WIDTH, add_vectors(_WIDTH, first, second))


@njit
def dot(x: Any, y: Any) -> Any:
    """The sum of the products of two vectors of float32."""
    a, b, size = x.ctypes.data, y.ctypes.data, x.size
    first, second = load_vector(_WIDTH, a, 0), load_vector(_WIDTH, a, 0)  # zeros
    for j in range(0, size // (2 * _WIDTH) * (2 * _WIDTH), 2 * _WIDTH):
        first = multiply_add(_WIDTH, load_vector(_WIDTH, a + 4 * j, _WIDTH), load_vector(_WIDTH, b + 4 * j, _WIDTH),
                             first)
        second = multiply_add(_WIDTH, load_vector(_WIDTH, a + 4 * (j + _WIDTH), _WIDTH),
                              load_vector(_WIDTH, b + 4 * (j + _WIDTH), _WIDTH), second)
    for j in range(size // (2 * _WIDTH) * (2 * _WIDTH), size, _WIDTH):
        first = multiply_add(_WIDTH, load_vector(_WIDTH, a + 4 * j, size - j), load_vector(_WIDTH, b + 4 * j, size - j),
                             first)
    return sum_of_vector(_WIDTH, add_vectors(_WIDTH, first, second))
