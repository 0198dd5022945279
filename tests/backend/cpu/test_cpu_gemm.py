"""The product of matrices against NumPy in float64: every size, any strides, all instructions, nothing read beside."""

import mmap
import os
import sys
from collections.abc import Callable, Iterator
from ctypes import CDLL, c_size_t, c_void_p
from functools import cache
from typing import Any

import numpy as np
import pytest
from numba.core.errors import TypingError

from tinynet.backend.cpu.runtime.gemm import PANEL, compile_pack, compile_product, pack, product
from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.threads import launch
from tinynet.backend.cpu.runtime.tile import INSTRUCTIONS

GUARD = np.float32(12345)
Placed = Callable[[tuple[int, ...], float], np.ndarray]  # an array of this shape, and what surrounds it

compiled_product = cache(compile_product)
compiled_pack = cache(compile_pack)
every_instructions = pytest.mark.parametrize("name", INSTRUCTIONS)


def in_a_sea(shape: tuple[int, ...], water: float) -> np.ndarray:
    """A matrix within a larger one that holds `water`: its rows do not touch."""
    rows, columns = shape
    sea = np.full((rows + 4, columns + 5), water, np.float32)
    return sea[2:rows + 2, 3:columns + 3]


def whole(inside: np.ndarray) -> np.ndarray:
    return inside.base if inside.base is not None else inside


def multiply(name: str, A: Any, B: Any, C: Any, accumulate: bool = False, blocks: int = 1) -> None:
    """C = A B by the C function; A is (M, blocks * K) with any strides, B and C have their columns side by side."""
    (M, K), N = A.shape, B.shape[1]
    K //= blocks
    a_row, a_k = (stride // 4 for stride in A.strides)
    b_k, c_row = B.strides[0] // 4, C.strides[0] // 4
    compiled_product(name).ctypes(M, N, K, blocks, A.ctypes.data, a_row, a_k, K * a_k, B.ctypes.data, b_k,
                                  INSTRUCTIONS[name].panel, K * b_k, C.ctypes.data, c_row, INSTRUCTIONS[name].panel,
                                  accumulate)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_product(C: Any, A: Any, B: Any, start: Any = 0.0) -> None:
    exact = A.astype(np.float64) @ B + start
    bound = np.abs(A).astype(np.float64) @ np.abs(B) + np.abs(start)
    assert (np.abs(C - exact) <= 2e-6 * bound + 1e-30).all()


def sizes(name: str) -> Iterator[tuple[int, int, int]]:
    """All edges of the tile, then some of everything."""
    rows, panel = INSTRUCTIONS[name].rows, INSTRUCTIONS[name].panel
    edges = 1, panel // 2, panel // 2 + 1, panel - 1, panel, panel + 1, 2 * panel
    yield from ((M, N, 3) for M in range(1, 2 * rows + 2) for N in edges)
    yield from ((1, N, 5) for N in range(1, 9 * panel, 7))
    generator = np.random.default_rng(1)
    yield from (tuple(generator.integers(1, limit)) for limit in 40 * [(50, 150, 80)] + 4 * [(210, 100, 1200)])
    yield from ((0, 5, 5), (5, 0, 5), (5, 5, 0), (1, 300, 0), (1, 3 * panel, 1100), (7, 70, 2048), (97, 33, 513))


# --- values, and what lies beside -----------------------------------------------------------------------------------

@every_instructions
def test_every_size_and_nothing_beside(name: str) -> None:
    for M, N, K in sizes(name):
        A, B, C = in_a_sea((M, K), np.nan), in_a_sea((K, N), np.nan), in_a_sea((M, N), GUARD)
        A[:], B[:] = random(M, K), random(K, N, seed=1)
        C[:] = np.nan  # what was in C does not matter
        multiply(name, A, B, C)
        assert_product(C, A, B)
        inside = C.copy()
        multiply(name, A, B, C, accumulate=True)
        assert_product(C, A, B, start=inside.astype(np.float64))
        C[:] = GUARD
        assert (whole(C) == GUARD).all()


@every_instructions
def test_any_strides_of_a(name: str) -> None:
    big, B = random(300, 300), random(70, 37, seed=1)
    for A in (big[:70, :41].T, big[:82:2, :140:2], big[:41, :70][::-1], big[:41, :70][:, ::-1], big[5:6, :70],
              np.broadcast_to(big[0, :70], (41, 70)), np.broadcast_to(big[:41, :1], (41, 70))):
        C = np.full((A.shape[0], 37), np.nan, np.float32)
        multiply(name, A, B, C)
        assert_product(C, A, B)


@every_instructions
@pytest.mark.parametrize(("K", "blocks"), [(1, 9), (3, 1), (32, 5), (64, 9), (130, 7), (300, 3), (700, 2)])
def test_two_levels_of_k(name: str, K: int, blocks: int) -> None:
    for M, N in ((1, 100), (13, 40)):
        for A in (random(M, blocks * K), random(blocks * K, M).T):
            B, C = random(blocks * K, N, seed=1), np.empty((M, N), np.float32)
            multiply(name, A, B, C, blocks=blocks)
            assert_product(C, A, B)


@every_instructions
@pytest.mark.parametrize("M", [1, 2, 7, 100])
def test_a_result_in_panels(name: str, M: int) -> None:
    panel, K = INSTRUCTIONS[name].panel, 9
    for N in (1, panel - 1, panel, 4 * panel, 9 * panel + 3):
        A, B, C = random(M, K), random(K, N, seed=1), np.full((-(-N // panel), M + 2, panel), np.nan, np.float32)
        compiled_product(name).ctypes(M, N, K, 1, A.ctypes.data, K, 1, 0, B.ctypes.data, N, panel, 0,
                                      C[:, 1:].ctypes.data, panel, (M + 2) * panel, 0)
        rows = C.transpose(1, 0, 2).reshape(M + 2, -1)
        assert_product(rows[1:-1, :N], A, B)
        assert np.isnan(rows[0]).all() and np.isnan(rows[-1]).all() and np.isnan(rows[:, N:]).all()


@every_instructions
@pytest.mark.parametrize(("K", "N"), [(1, 1), (5, 16), (70, 33), (200, 130), (0, 5), (5, 0)])
def test_pack(name: str, K: int, N: int) -> None:
    panel = INSTRUCTIONS[name].panel
    count, apart = -(-N // panel), (K + 2) * panel  # between panels, two rows that are not to be touched
    for transposed in (False, True):
        B = in_a_sea((N, K), np.nan).T if transposed else in_a_sea((K, N), np.nan)
        B[:] = random(K, N)
        panels = np.full((count, K + 2, panel), GUARD)
        compiled_pack(name).ctypes(K, N, B.ctypes.data, B.strides[0] // 4, B.strides[1] // 4, panels.ctypes.data, apart)
        expected = np.zeros((K, count * panel), np.float32)
        expected[:, :N] = B
        np.testing.assert_array_equal(panels[:, :K], expected.reshape(K, count, panel).transpose(1, 0, 2))
        assert (panels[:, K:] == GUARD).all()


@every_instructions
@pytest.mark.parametrize(("M", "N", "K"), [(1, 200, 30), (11, 70, 40), (9, 20, 600), (13, 16, 40), (9, 3, 7)])
def test_nan_and_infinity_go_where_numpy_lets_them(name: str, M: int, N: int, K: int) -> None:
    for strange in (np.nan, np.inf, -np.inf):
        A, B = random(M, K), random(K, N, seed=1)
        A[M // 2, K // 3] = strange
        B[K // 2, N - 1] = strange
        B[K // 3, 0] = 0
        C = np.empty((M, N), np.float32)
        multiply(name, A, B, C)
        with np.errstate(invalid="ignore"):
            expected = A.astype(np.float64) @ B
        np.testing.assert_array_equal(np.isnan(C), np.isnan(expected))
        np.testing.assert_array_equal(np.where(np.isinf(C), C, 0), np.where(np.isinf(expected), expected, 0))


@every_instructions
def test_equal_bits_however_rows_and_columns_are_divided(name: str) -> None:
    A, B = random(50, 700), random(700, 130, seed=1)
    at_once, in_parts = np.empty((50, 130), np.float32), np.empty((50, 130), np.float32)
    multiply(name, A, B, at_once)
    for rows in (slice(0, 2), slice(2, 24), slice(24, 50)):
        for columns in (slice(0, 64), slice(64, 128), slice(128, 130)):
            multiply(name, A[rows], B[:, columns], in_parts[rows, columns])
    np.testing.assert_array_equal(at_once, in_parts)


# --- memory that must not even be read ------------------------------------------------------------------------------

class Fenced:
    """Arrays that begin, or end, where memory does that cannot be read."""

    def __init__(self, at_the_end: bool) -> None:
        self.at_the_end = at_the_end
        self.maps: list[mmap.mmap] = []

    def array(self, *shape: int) -> np.ndarray:
        size = 4 * int(np.prod(shape))
        pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        memory = mmap.mmap(-1, pages + 2 * mmap.PAGESIZE)
        self.maps.append(memory)
        everything = np.frombuffer(memory, np.uint8)
        protect = CDLL(None).mprotect
        for fence in (0, mmap.PAGESIZE + pages):
            assert protect(c_void_p(everything.ctypes.data + fence), c_size_t(mmap.PAGESIZE), 0) == 0
        start = mmap.PAGESIZE + (pages - size if self.at_the_end else 0)
        return everything[start:start + size].view(np.float32).reshape(shape)


def multiply_fenced(name: str) -> None:
    panel = INSTRUCTIONS[name].panel
    for at_the_end in (False, True):
        for M, N, K in [(1, 1, 1), (1, 4 * panel + 1, 5), (7, panel - 1, 3), (9, panel + 3, 600), (13, 2 * panel, 7)]:
            fenced = Fenced(at_the_end)
            A, B, C = fenced.array(M, K), fenced.array(K, N), fenced.array(M, N)
            A[:], B[:] = random(M, K), random(K, N, seed=1)
            for matrix in (A, A.reshape(K, M).T):
                multiply(name, matrix, B, C)
                assert_product(C, matrix, B)
            count = -(-N // panel)
            for b_k, b_j in ((N, 1), (1, K)):
                panels = fenced.array(count, K, panel)
                compiled_pack(name).ctypes(K, N, B.ctypes.data, b_k, b_j, panels.ctypes.data, K * panel)
            compiled_product(name).ctypes(M, N, K, 1, A.ctypes.data, K, 1, 0, panels.ctypes.data, panel, K * panel, 0,
                                          C.ctypes.data, N, panel, 0)
            assert_product(C, A, B.reshape(N, K).T)


@pytest.mark.skipif(sys.platform != "linux", reason="fences are made with Linux's mprotect")
@every_instructions
def test_nothing_beside_is_read(name: str) -> None:
    compiled_product(name), compiled_pack(name)
    child = os.fork()  # for a fault to end the child alone
    if child == 0:
        try:
            multiply_fenced(name)
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# --- in kernels -----------------------------------------------------------------------------------------------------

@njit
def pack_shared(shard: Any, shards: Any, W: Any, packed: Any) -> None:
    K, N = W.shape
    for first in range(shard * PANEL, N, shards * PANEL):
        pack((K, min(PANEL, N - first)), W, (first, N, 1), packed, (first * K, 0))


@njit
def dense(shard: Any, shards: Any, x: Any, packed: Any, y: Any, accumulate: Any) -> None:
    (M, K), N = x.shape, y.shape[1]
    low, high = shard * M // shards, (shard + 1) * M // shards
    product((high - low, N, K), x, (low * K, K, 1), packed, (0, PANEL, K * PANEL), y, (low * N, N), accumulate)


@njit
def convolve(shard: Any, shards: Any, x: Any, W: Any, y: Any) -> None:
    """Conv1D over (N,T,C) with W (k,C,F), not packed, without unfolding."""
    (N, T, C), (k, _, F) = x.shape, W.shape
    for n in range(shard, N, shards):
        product((T - k + 1, F, C, k), x, (n * T * C, C, 1, C), W, (0, F, PANEL, C * F), y, (n * (T - k + 1) * F, F),
                False)


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_a_product_in_shards(shards: int) -> None:
    for M, N, K in ((61, 109, 56), (2, 10, 300), (128, 2 * PANEL, 64)):
        x, W, y = random(M, K), random(K, N, seed=1), np.full((M, N), np.nan, np.float32)
        packed = np.full((-(-N // PANEL), K, PANEL), np.nan, np.float32)
        launch(pack_shared, W, packed, shards=shards)
        launch(dense, x, packed, y, False, shards=shards)
        assert_product(y, x, W)
        once = y.astype(np.float64)
        launch(dense, x, packed, y, True, shards=shards)
        assert_product(y, x, W, start=once)


def test_a_convolution_is_a_product_in_blocks() -> None:
    x, W = random(5, 28, 40), random(3, 40, 70, seed=1)
    y = np.full((5, 26, 70), np.nan, np.float32)
    launch(convolve, x, W, y)
    windows = np.lib.stride_tricks.sliding_window_view(x, 3, axis=1).transpose(0, 1, 3, 2).reshape(5 * 26, 3 * 40)
    assert_product(y.reshape(5 * 26, 70), windows, W.reshape(3 * 40, 70))


def test_what_does_not_fit_is_refused_when_a_kernel_is_compiled() -> None:
    x, packed, y = random(4, 4), random(1, 4, PANEL), random(4, 4)
    with pytest.raises(TypingError, match="product: arrays must be of float32, got array\\(float64"):
        launch(dense, x.astype(np.float64), packed, y, False)
    with pytest.raises(TypingError, match="pack: arrays must be of float32"):
        launch(pack_shared, x, packed.astype(np.float64))

    @njit
    def short(shard: Any, shards: Any, x: Any) -> None:
        product((4, 4), x, (0, 4, 1), x, (0, 4, PANEL), x, (0, 4), False)

    with pytest.raises(TypingError, match="product: sizes and places must be tuples of 3 or 4 integers"):
        launch(short, x)


@njit
def narrow(shard: Any, shards: Any, x: Any, W: Any, packed: Any, y: Any, sizes: Any) -> None:
    """y = x W, with sizes and strides of int32 and uint8."""
    M, K, N = sizes
    pack((np.uint8(K), np.int32(N)), W, (np.int32(0), N, np.uint8(1)), packed, (np.int32(0), np.int32(K * PANEL)))
    product((np.int32(M), np.int32(N), np.uint8(K)), x, (np.int32(0), np.int32(K), np.uint8(1)), packed,
            (np.int32(0), np.int32(PANEL), np.int32(K * PANEL)), y, (np.uint8(0), np.int32(N)), False)


def test_sizes_and_strides_of_any_integers() -> None:
    M, K, N = 9, 7, 2 * PANEL + 3
    x, W, y = random(M, K), random(K, N, seed=1), np.empty((M, N), np.float32)
    packed = np.empty(3 * K * PANEL, np.float32)
    launch(narrow, x.reshape(-1), W.reshape(-1), packed, y.reshape(-1), np.array([M, K, N], "int32"), shards=1)
    assert_product(y, x, W)
