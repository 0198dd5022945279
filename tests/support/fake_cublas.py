"""A cuBLAS on host memory, which computes from addresses, leading dimensions and flags as the library does."""

import ctypes
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from tinynet.backend.cuda.runtime import fake_cuda

DTYPES = {0: np.float32, 1: np.float64}
COMPUTE = {68: "float32", 77: "tf32", 75: "bf16", 70: "float64"}


def perform_emulated(multiply: Callable[[], None], addresses: list[int]) -> None:
    """Run a product on the emulated GPU, or record it."""
    fake_cuda.perform(multiply)


def on_the_machine(multiply: Callable[[], None], addresses: list[int]) -> None:
    """Queue a product on the current stream of the real CuPy (cupy_on_cpu)."""
    import cupy

    from tests.support.cupy_on_cpu import machine
    machine.counts["product"] += 1
    for address in addresses:
        machine.check_address(address, 0, "a product")
    machine.on(cupy.cuda.get_current_stream().ptr, "a product", multiply)


def _of_numbers(function: Callable[..., int]) -> Callable[..., int]:
    """A function that takes numbers of ctypes, too, after its handle."""
    @wraps(function)
    def call(self: Any, handle: Any, *arguments: Any) -> int:
        return function(self, handle, *[getattr(argument, "value", argument) for argument in arguments])
    return call


class FakeCublas:
    """cuBLAS on host memory. It refuses what cuBLAS refuses, and keeps a list of its calls.

    `perform` gets each product as a function, with the addresses that it reads and writes, to run in its turn.
    """

    def __init__(self, perform: Callable[[Callable[[], None], list[int]], None] = perform_emulated) -> None:
        self.calls: list[Any] = []
        self.perform = perform
        self.status = 0

    def cublasCreate_v2(self, handle: Any) -> int:
        handle._obj.value = 1000 + len(self.calls)
        self.calls.append("create")
        return self.status

    def cublasDestroy_v2(self, handle: Any) -> int:
        self.calls.append("destroy")
        return 0

    def cublasSetStream_v2(self, handle: Any, stream: int) -> int:
        self.calls.append(f"stream {stream}")
        return 0

    def cublasSetWorkspace_v2(self, handle: Any, pointer: int, size: int) -> int:
        self.calls.append(f"workspace {size}")
        return 0

    @_of_numbers
    def cublasGemmEx(self, handle: Any, op_a: int, op_b: int, m: int, n: int, k: int, alpha: Any, a: int,
                     a_kind: int, lda: int, b: int, b_kind: int, ldb: int, beta: Any, c: int, c_kind: int, ldc: int,
                     compute: int, algorithm: int) -> int:
        assert handle.value
        assert algorithm in (-1, 99), f"algorithm {algorithm}"  # the two defaults: ours, and CuPy's
        assert a_kind == b_kind == c_kind
        dtype = np.dtype(DTYPES[a_kind])
        assert type(alpha._obj) is type(beta._obj) is (ctypes.c_double if a_kind else ctypes.c_float)
        self.calls.append(COMPUTE[compute])
        A, B = _columns(a, lda, (k, m) if op_a else (m, k), dtype), _columns(b, ldb, (n, k) if op_b else (k, n), dtype)
        C, factors = _columns(c, ldc, (m, n), dtype), (alpha._obj.value, beta._obj.value)

        def multiply() -> None:
            product = (A.T if op_a else A) @ (B.T if op_b else B)
            C[...] = factors[0] * product + (factors[1] * C if factors[1] else 0)

        self.perform(multiply, [a, b, c])
        return self.status

    @_of_numbers
    def cublasGemmStridedBatchedEx(self, handle: Any, op_a: int, op_b: int, m: int, n: int, k: int,
                                   alpha: Any, a: int, a_kind: int, lda: int, step_a: int, b: int, b_kind: int,
                                   ldb: int, step_b: int, beta: Any, c: int, c_kind: int, ldc: int, step_c: int,
                                   count: int, compute: int, algorithm: int) -> int:
        size = np.dtype(DTYPES[a_kind]).itemsize
        for i in range(count):
            self.cublasGemmEx(handle, op_a, op_b, m, n, k, alpha, a + i * step_a * size, a_kind, lda,
                              b + i * step_b * size, b_kind, ldb, beta, c + i * step_c * size, c_kind, ldc, compute,
                              algorithm)
        self.calls.append(f"batch of {count}")
        return self.status


def _columns(pointer: int, leading: int, shape: tuple[int, int], dtype: np.dtype[Any]) -> np.ndarray:
    """The column-major matrix at an address."""
    rows, columns = shape
    assert leading >= max(1, rows), f"leading dimension {leading} for {rows} rows"
    count = leading * (columns - 1) + rows
    memory = np.frombuffer((ctypes.c_char * (count * dtype.itemsize)).from_address(pointer), dtype)
    return np.lib.stride_tricks.as_strided(memory, shape, (dtype.itemsize, leading * dtype.itemsize))
