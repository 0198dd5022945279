"""Sums of products of rows: all sizes of tiles and remainders, and sums that stay in registers."""

import re
from typing import Any

import numpy as np
import pytest

from tests.backend.cpu.test_cpu_tile import machine_code
from tests.support import interpreted
from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.rows import ROWS, add_products, rows_function
from tinynet.backend.cpu.runtime.tile import INSTRUCTIONS


@njit(cache=True)
def run(sizes: Any, A: Any, a: Any, B: Any, b: Any, D: Any, d: Any, C: Any, c: Any) -> None:
    add_products(sizes, A, a, B, b, D, d, C, c)


@pytest.mark.parametrize("M", [0, 1, 2, 5, 6, 7, 19])
@pytest.mark.parametrize("N", [1, 31, 32, 50, 83])
@pytest.mark.parametrize(("I", "J", "step"), [(3, 3, 1), (2, 3, 2), (1, 5, 1), (0, 3, 1), (3, 0, 1)])
@pytest.mark.parametrize("in_place", [False, True])
def test_sums_of_products(M: int, N: int, I: int, J: int, step: int, in_place: bool) -> None:
    rng = np.random.default_rng(M * N)
    A, B, D = (rng.normal(size=5000).astype("float32") for _ in range(3))
    C = D if in_place else rng.normal(size=5000).astype("float32")
    c, d = (7, N + 1), (7, N + 1) if in_place else (3, 0)
    a, b = (5, step * N, 11, N), (2, 4 * N, N)
    expected = C.copy()
    interpreted.add_products((M, N, I, J), A, a, B, b, D.copy(), d, expected, c)
    run((M, N, I, J), A, a, B, b, D, d, C, c)
    np.testing.assert_allclose(C, expected, rtol=1e-5, atol=1e-5)
    outside = np.ones(5000, bool)
    outside[(c[0] + np.arange(M)[:, None] * c[1] + np.arange(N)).reshape(-1)] = False
    assert np.array_equal(C[outside], expected[outside]), "an element outside of C was written"


@pytest.mark.parametrize(("name", "processor", "register"), [
    ("avx512", "icelake-server", "zmm"), ("avx2", "haswell", "ymm")])
@pytest.mark.parametrize("near", [False, True])
def test_the_sums_stay_in_registers(name: str, processor: str, register: str, near: bool) -> None:
    lines = machine_code(name, processor, lambda module: rows_function(module, INSTRUCTIONS[name].width, ROWS[name],
                                                                       near))
    products = [line for line in lines if "vfmadd" in line]
    assert len(products) >= 2 * ROWS[name] and any(register in line for line in products)
    assert not [line for line in lines if re.search(rf"{register}\d+, -?\d*\(%rsp\)", line)], "a sum is stored"
