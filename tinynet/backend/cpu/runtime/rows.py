"""Sums of rows in vectors, for Numba functions: convolutions of groups, and layer normalisation.

    add_products   sums of products of rows, number by number
    total, dot     the sum of a row, and of the products of two

What bounds them: two loads for each multiply-add. Several vectors are summed at once, so that no addition waits for the
one before.
"""

# What Numba says of the types of its own functions is not what they take.
# mypy: disable-error-code="call-arg, misc"

from typing import Any

from tinynet.backend.cpu.runtime.intrinsics import add_vectors, load_vector, multiply_add, store_vector, sum_of_vector
from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.tile import HERE, INSTRUCTIONS

_WIDTH = INSTRUCTIONS[HERE].width


@njit
def add_products(sizes: Any, A: Any, a: Any, B: Any, b: Any, D: Any, d: Any, C: Any, c: Any) -> None:
    """C[m, n] = D[m, n] + Σ A[m, i, j, n] B[m, i, j, n] over i and j.

    A, B, C, D   float32 arrays; the strides below are counted in elements
    sizes        (M, N, I, J): the numbers of m, n, i and j
    a, b         (start, m, i, j): the index of the first element, and the strides along m, i and j; n is contiguous
    c, d         (start, m) likewise

    D may be C, at the same place. All must lie within the arrays: bounds are not checked.
    """
    M, N, I, J = sizes
    a_0, b_0, c_0, d_0 = (A.ctypes.data + 4 * a[0], B.ctypes.data + 4 * b[0], C.ctypes.data + 4 * c[0],
                          D.ctypes.data + 4 * d[0])
    for n in range(0, N // (4 * _WIDTH) * (4 * _WIDTH), 4 * _WIDTH):
        for m in range(M):
            start = d_0 + 4 * (m * d[1] + n)
            first, second = load_vector(_WIDTH, start, _WIDTH), load_vector(_WIDTH, start + 4 * _WIDTH, _WIDTH)
            third, fourth = (load_vector(_WIDTH, start + 8 * _WIDTH, _WIDTH),
                             load_vector(_WIDTH, start + 12 * _WIDTH, _WIDTH))
            for i in range(I):
                p, q = a_0 + 4 * (m * a[1] + i * a[2] + n), b_0 + 4 * (m * b[1] + i * b[2] + n)
                for _ in range(J):
                    first = multiply_add(_WIDTH, load_vector(_WIDTH, p, _WIDTH), load_vector(_WIDTH, q, _WIDTH), first)
                    second = multiply_add(_WIDTH, load_vector(_WIDTH, p + 4 * _WIDTH, _WIDTH),
                                          load_vector(_WIDTH, q + 4 * _WIDTH, _WIDTH), second)
                    third = multiply_add(_WIDTH, load_vector(_WIDTH, p + 8 * _WIDTH, _WIDTH),
                                         load_vector(_WIDTH, q + 8 * _WIDTH, _WIDTH), third)
                    fourth = multiply_add(_WIDTH, load_vector(_WIDTH, p + 12 * _WIDTH, _WIDTH),
                                          load_vector(_WIDTH, q + 12 * _WIDTH, _WIDTH), fourth)
                    p, q = p + 4 * a[3], q + 4 * b[3]
            place = c_0 + 4 * (m * c[1] + n)
            store_vector(_WIDTH, place, first, _WIDTH)
            store_vector(_WIDTH, place + 4 * _WIDTH, second, _WIDTH)
            store_vector(_WIDTH, place + 8 * _WIDTH, third, _WIDTH)
            store_vector(_WIDTH, place + 12 * _WIDTH, fourth, _WIDTH)
    for n in range(N // (4 * _WIDTH) * (4 * _WIDTH), N, _WIDTH):
        count = N - n
        for m in range(M):
            total = load_vector(_WIDTH, d_0 + 4 * (m * d[1] + n), count)
            for i in range(I):
                p, q = a_0 + 4 * (m * a[1] + i * a[2] + n), b_0 + 4 * (m * b[1] + i * b[2] + n)
                for _ in range(J):
                    total = multiply_add(_WIDTH, load_vector(_WIDTH, p, count), load_vector(_WIDTH, q, count), total)
                    p, q = p + 4 * a[3], q + 4 * b[3]
            store_vector(_WIDTH, c_0 + 4 * (m * c[1] + n), total, count)


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
