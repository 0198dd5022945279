"""Products on a device: the column-major product that cuBLAS is asked for is our row-major product.

`FakeCublas` has the functions of the library. It computes from the memory at the given addresses, so that the values
check the order of the arguments, the leading dimensions and the flags.
"""

import ctypes
import gc
import itertools
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.support import fake_device
from tinynet import backend
from tinynet.backend.cuda.runtime import cublas, fake_cuda, fake_cupy, graph
from tinynet.backend.cuda.runtime.gemm import matmul
from tinynet.errors import ArgumentError, DeviceError, ShapeError

DTYPES = {0: np.float32, 1: np.float64}
COMPUTE = {68: "float32", 77: "tf32", 75: "bf16", 70: "float64"}


class FakeCublas:
    """cuBLAS on host memory. It refuses what cuBLAS refuses, and keeps a list of its calls."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.status = 0

    def cublasCreate_v2(self, handle: Any) -> int:
        handle._obj.value = 1000 + len(self.calls)
        self.calls.append("create")
        return self.status

    def cublasSetStream_v2(self, handle: Any, stream: int) -> int:
        self.calls.append(f"stream {stream}")
        return 0

    def cublasSetWorkspace_v2(self, handle: Any, pointer: int, size: int) -> int:
        self.calls.append(f"workspace {size}")
        return 0

    def cublasGemmEx(self, handle: Any, op_a: int, op_b: int, m: int, n: int, k: int, alpha: Any, a: int,
                     a_kind: int, lda: int, b: int, b_kind: int, ldb: int, beta: Any, c: int, c_kind: int, ldc: int,
                     compute: int, algorithm: int) -> int:
        assert handle.value
        assert algorithm == -1
        assert a_kind == b_kind == c_kind
        dtype = np.dtype(DTYPES[a_kind])
        assert type(alpha._obj) is type(beta._obj) is (ctypes.c_double if a_kind else ctypes.c_float)
        self.calls.append(COMPUTE[compute])
        A, B = _columns(a, lda, (k, m) if op_a else (m, k), dtype), _columns(b, ldb, (n, k) if op_b else (k, n), dtype)
        C, factors = _columns(c, ldc, (m, n), dtype), (alpha._obj.value, beta._obj.value)

        def multiply() -> None:
            product = (A.T if op_a else A) @ (B.T if op_b else B)
            C[...] = factors[0] * product + (factors[1] * C if factors[1] else 0)

        fake_cupy.perform(multiply)
        return self.status

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


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCublas]:
    """The fake device with the fake cuBLAS."""
    library = FakeCublas()
    with fake_device.installed():
        binding = cublas.Cublas(library, fake_device.xp)
        monkeypatch.setattr(cublas, "load", lambda xp: binding)
        yield library


# --- the mapping ----------------------------------------------------------------------------------------------------

def device(array: np.ndarray) -> Any:
    """The same memory, as an array of the device: a view stays a view."""
    return fake_device.GpuArray(array)


# Each makes an array of a shape in memory of its own: without gaps, with gaps, by columns, ...
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rows": lambda x: x.copy(),
    "gaps": lambda x: _within(x, (slice(None),) * (x.ndim - 1) + (slice(2, 2 + x.shape[-1]),), (0, 5)),
    "columns": lambda x: x.swapaxes(-1, -2).copy().swapaxes(-1, -2),
    "columns with gaps": lambda x: LAYOUTS["gaps"](x.swapaxes(-1, -2)).swapaxes(-1, -2),
    "every second": lambda x: _within(x, (slice(None),) * (x.ndim - 1) + (slice(0, 2 * x.shape[-1], 2),),
                                      (0, x.shape[-1])),
    "backwards": lambda x: x[..., ::-1, :].copy()[..., ::-1, :],
}


def _combinations() -> Iterator[tuple[Any, Any, Any]]:
    """Layouts of A, B and C: each pair of two of them occurs."""
    ways = list(LAYOUTS.values())
    for i, j in itertools.product(range(len(ways)), repeat=2):
        yield ways[i], ways[j], ways[(i + j) % len(ways)]


def _within(x: np.ndarray, where: tuple[slice, ...], more: tuple[int, int]) -> np.ndarray:
    """A view of x's values in a larger array, which is full of NaN beside it."""
    larger = np.full((*x.shape[:-2], x.shape[-2] + more[0], x.shape[-1] + more[1]), np.nan, x.dtype)
    larger[where] = x
    return larger[where]


FLAGS = list(itertools.product([False, True], repeat=2))
SIZES = [(1, 1, 1), (3, 4, 5), (1, 4, 3), (4, 1, 3), (4, 3, 1), (7, 2, 6), (0, 3, 2), (3, 0, 2), (3, 2, 0)]  # M, K, N


@pytest.mark.parametrize("transposes", FLAGS, ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_all_layouts_and_transposes(library: FakeCublas, sizes: tuple[int, int, int],
                                    transposes: tuple[bool, bool]) -> None:
    rng = np.random.default_rng(0)
    M, K, N = sizes
    A = rng.standard_normal((K, M) if transposes[0] else (M, K)).astype("float32")
    B = rng.standard_normal((N, K) if transposes[1] else (K, N)).astype("float32")
    expected = (A.T if transposes[0] else A) @ (B.T if transposes[1] else B)
    before = rng.standard_normal((M, N)).astype("float32")
    for a, b, c in _combinations():
        options = {"transpose_a": transposes[0], "transpose_b": transposes[1]}
        inputs = device(a(A)), device(b(B))
        np.testing.assert_allclose(matmul(*inputs, **options)._host, expected, rtol=1e-5, atol=1e-5)
        for accumulate in (False, True):
            out = device(c(before))
            assert matmul(*inputs, **options, out=out, accumulate=accumulate) is out
            np.testing.assert_allclose(out._host, expected + before * accumulate, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(inputs[0]._host, A)
        np.testing.assert_array_equal(inputs[1]._host, B)
    assert ("float32" in library.calls) == (0 not in sizes)


@pytest.mark.parametrize("transposes", FLAGS, ids=str)
@pytest.mark.parametrize("batches", [((2,), (2,)), ((2, 3), (2, 3)), ((2,), ()), ((), (2,)), ((2, 3), ()),
                                     ((1,), (1,))], ids=str)
def test_batches(library: FakeCublas, batches: tuple[tuple[int, ...], ...], transposes: tuple[bool, bool]) -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((*batches[0], *((4, 5) if transposes[0] else (5, 4))))
    B = rng.standard_normal((*batches[1], *((3, 4) if transposes[1] else (4, 3))))
    expected = np.matmul(A.swapaxes(-1, -2) if transposes[0] else A, B.swapaxes(-1, -2) if transposes[1] else B)
    for a, b, c in _combinations():
        inputs, options = (device(a(A)), device(b(B))), {"transpose_a": transposes[0], "transpose_b": transposes[1]}
        np.testing.assert_allclose(matmul(*inputs, **options)._host, expected, rtol=1e-12, atol=1e-12)
        out = device(c(np.ones_like(expected)))
        matmul(*inputs, **options, out=out, accumulate=True)
        np.testing.assert_allclose(out._host, expected + 1, rtol=1e-12, atol=1e-12)


def test_a_batch_and_a_matrix_are_one_product(library: FakeCublas) -> None:
    x, W = device(np.ones((2, 3, 4), "float32")), device(np.ones((4, 5), "float32"))
    assert matmul(x, W).shape == (2, 3, 5)
    assert library.calls[-1] == "float32"
    matmul(x, device(np.ones((2, 4, 5), "float32")))
    assert library.calls[-1] == "batch of 2"


def test_views_are_not_copied(library: FakeCublas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_device.GpuArray, "copy", None)
    A, W = device(np.ones((3, 8), "float32")), device(np.ones((6, 9), "float32"))
    out = device(np.zeros((5, 20), "float32"))
    for product in (lambda: matmul(A[:, 2:6], W[2:, 1:]), lambda: matmul(A.T[1:5], A),
                    lambda: matmul(A[:, 1:5], A, transpose_a=True), lambda: matmul(A, W[:, 1:], transpose_b=True),
                    lambda: matmul(W[:5, :4], W[1:5], out=out[:, 3:12])):
        product()
    with pytest.raises(TypeError):  # every second column is
        matmul(A[:, ::2], W[2:])


def test_a_copy_lives_until_the_product_is_made(library: FakeCublas) -> None:
    """Else both copies could be given the same memory."""
    A, B = np.arange(200.0 * 200).reshape(200, 200), np.eye(200)
    np.testing.assert_allclose(matmul(device(A)[::2, ::2], device(B)[::2, ::2])._host, A[::2, ::2])


# --- a @ b ----------------------------------------------------------------------------------------------------------

STACKS = {"two matrices": ((3, 4), (4, 5), 3), "a stack and a matrix": ((2, 6, 3, 4), (4, 5), 3),
          "two stacks": ((2, 3, 4), (2, 4, 5), 6), "no rows": ((0, 4), (4, 5), 0),
          "sums of nothing": ((3, 0), (0, 5), 0)}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", STACKS)
def test_the_op_multiplies_by_cublas(library: FakeCublas, name: str, dtype: str) -> None:
    """Both passes, in one call of cuBLAS each for the product and the two gradients."""
    rng, (*shapes, count) = np.random.default_rng(0), STACKS[name]
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    exact, given = ([tn.Tensor(array, True, device=place) for array in arrays] for place in ("cpu", "gpu"))
    for tensors in (exact, given):
        y = tensors[0] @ tensors[1]
        y.backward(tn.Tensor(np.cos(np.arange(y.size)).reshape(y.shape).astype(dtype), device=y.device))
    for ours, wanted in zip(given, exact, strict=True):
        np.testing.assert_allclose(ours.grad._host, wanted.grad, rtol=1e-5, atol=1e-5)
        assert ours.grad.dtype == dtype
    calls = [call for call in library.calls if call in COMPUTE.values()]
    assert calls == [dtype] * count


def test_the_op_takes_the_chosen_precision(library: FakeCublas) -> None:
    a, b = (tn.Tensor(np.ones((2, 2), "float32"), True, device="gpu") for _ in range(2))
    with tn.precision("tf32"):
        (a @ b).sum().backward()
        tn.ops.matmul(a, b)
    assert [call for call in library.calls if call in COMPUTE.values()] == ["tf32"] * 4


def test_stacks_that_broadcast_multiply_themselves(library: FakeCublas) -> None:
    for shapes in (((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (3, 4, 5)), ((1, 3, 4), (2, 4, 5))):
        a, b = (tn.Tensor(np.ones(shape, "float32"), True, device="gpu") for shape in shapes)
        y = a @ b
        y.backward(y.detach())
        assert y.shape == np.matmul(a.numpy(), b.numpy()).shape
        assert (a.grad.shape, b.grad.shape) == shapes
    assert not library.calls


# --- precision, streams, errors -------------------------------------------------------------------------------------

def test_precision_is_a_choice(library: FakeCublas) -> None:
    A = device(np.ones((2, 2), "float32"))

    def asked() -> Any:
        matmul(A, A)
        return library.calls[-1]

    assert asked() == "float32"
    with tn.precision("tf32"):
        assert asked() == "tf32"
        with tn.precision("bf16"):
            assert asked() == "bf16"
            matmul(A.astype("float64"), A.astype("float64"))
            assert library.calls[-1] == "float64"
        assert asked() == "tf32"
    assert asked() == "float32"
    with pytest.raises(ArgumentError, match='precision: which must be "float32", "tf32" or "bf16", got \'fp8\''), \
            tn.precision("fp8"):
        pass


def test_a_handle_for_each_stream_gets_its_workspace_last(library: FakeCublas,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    A = device(np.ones((2, 2), "float32"))
    first = ["create", "stream 7", f"workspace {32 * 2**20}", "float32"]
    monkeypatch.setattr(fake_device.xp.cuda, "get_current_stream", lambda: types.SimpleNamespace(ptr=7))
    matmul(A, A)
    assert library.calls == first
    matmul(A, A)
    assert library.calls == [*first, "float32"]
    monkeypatch.setattr(fake_device.xp.cuda, "get_current_stream", lambda: types.SimpleNamespace(ptr=8))
    matmul(A, A)
    assert library.calls[5:] == ["create", "stream 8", f"workspace {32 * 2**20}", "float32"]


def test_each_thread_has_a_handle_and_each_gpu_too(library: FakeCublas, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handle and its workspace serve one product at a time."""
    binding, found = cublas.load(fake_device.xp), list[Any]()
    assert binding is not None
    threads = [threading.Thread(target=lambda: found.append(binding.handle())) for _ in range(2)]
    for thread in threads:
        thread.start()
        thread.join()  # its number may be that of the next one: a handle that has no thread is used again
    monkeypatch.setattr(fake_device.xp.cuda.runtime, "getDevice", lambda: 1)
    here = [binding.handle(), *found]
    monkeypatch.undo()
    assert binding.handle() is binding.handle()
    assert all(binding.handle() is not handle for handle in here)


def test_products_are_recorded_with_a_workspace_that_outlives_the_graph(library: FakeCublas) -> None:
    """The handle of the stream on which graphs are recorded, and its workspace, serve all graphs."""
    A = device(np.ones((2, 2), "float32"))
    for number in range(3):
        library.calls.clear()
        y, recorded = graph.capture("gpu", lambda: matmul(A, A))
        assert len(library.calls) == (1 if number else 4)
        assert library.calls[-2:] == ([f"workspace {32 * 2**20}", "float32"] if not number else ["float32"])
        for factor in 1.0, 3.0:
            A.fill(factor)
            recorded.launch()
            assert y.get().tolist() == [[2 * factor**2] * 2] * 2
        del y, recorded
        gc.collect()
        (_, workspace), = cublas.load(fake_device.xp)._handles.values()  # type: ignore[union-attr]
        assert workspace.ptr == id(fake_cuda.default_pool)


def test_what_cublas_reports_is_an_error(library: FakeCublas) -> None:
    A = device(np.ones((2, 2), "float32"))
    matmul(A, A)
    library.status = 13
    with pytest.raises(DeviceError, match=r"cublasGemmEx: must return 0, got 13 \(the kernel failed\); is the GPU's"):
        matmul(A, A)


@pytest.mark.parametrize("place", ["cpu", "fake", "emulated"])
def test_without_cublas_the_arrays_multiply_themselves(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    load = cublas.load
    monkeypatch.setattr(cublas, "load", lambda xp: cublas.Cublas(None, xp) if xp is fake_device.xp else load(xp))
    put = {"cpu": np.copy, "fake": device, "emulated": fake_cupy.namespace.asarray}[place]
    rng = np.random.default_rng(0)
    A, B, before = rng.standard_normal((4, 3)), rng.standard_normal((5, 4)), rng.standard_normal((3, 5))
    with fake_device.installed():
        out = put(before.copy())
        assert matmul(put(A), put(B), transpose_a=True, transpose_b=True, out=out, accumulate=True) is out
        np.testing.assert_allclose(backend.to_host(out), before + A.T @ B.T)
        np.testing.assert_allclose(backend.to_host(matmul(put(A.T), put(B.T))), A.T @ B.T)


def test_without_cublas_there_is_one_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    load = cublas.load
    monkeypatch.setattr(cublas, "load", lambda xp: cublas.Cublas(None, xp) if xp is fake_device.xp else load(xp))
    with fake_device.installed(), tn.precision("tf32"):
        A = np.ones((2, 2), "float32")
        with pytest.raises(DeviceError, match=r"precision: products in tf32 need cuBLAS, .*; install the packages"):
            matmul(device(A), device(A))
        for one in (device(A.astype("float64")), A, fake_cupy.namespace.asarray(A)):  # which it does not concern
            assert backend.to_host(matmul(one, one)).tolist() == [[2, 2], [2, 2]]


def test_integers_and_complex_numbers_are_not_for_cublas(library: FakeCublas) -> None:
    for dtype in ("int64", "complex128"):
        A = device(np.ones((2, 2), dtype))
        assert matmul(A, A)._host.tolist() == [[2, 2], [2, 2]]
    assert not library.calls


@pytest.mark.parametrize(("A", "B", "more", "message"), [
    ((2, 3), (2, 3), {}, r"matmul: A must be \(...,M,K\) and B .*, got \(2, 3\) and \(2, 3\); transpose_a or"),
    ((2, 3), (2, 3), {"transpose_a": True, "transpose_b": True}, "got .* transposed and .* transposed;"),
    ((2, 4, 5), (3, 5, 4), {}, "got"), ((3,), (3, 2), {}, "must have at least 2 axes"),
    ((2, 3), (3, 4), {"out": (2, 3)}, r"matmul: out must be \(2, 4\), got \(2, 3\); xp.empty"),
])
def test_sizes_that_do_not_match(library: FakeCublas, A: Any, B: Any, more: dict[str, Any], message: str) -> None:
    more = {name: device(np.ones(value)) if name == "out" else value for name, value in more.items()}
    with pytest.raises(ShapeError, match=message):
        matmul(device(np.ones(A)), device(np.ones(B)), **more)
    with pytest.raises(ArgumentError, match="matmul: accumulate needs the array to add to, and got none; out=y"):
        matmul(device(np.ones((2, 2))), device(np.ones((2, 2))), accumulate=True)


def test_more_than_cublas_counts_is_refused(library: FakeCublas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cublas, "_MOST", 4)
    with pytest.raises(ArgumentError, match=r"matmul: cuBLAS counts to .*, got a product of \(5, 2\) and \(2, 2\)"):
        matmul(device(np.ones((5, 2))), device(np.ones((2, 2))))


def test_the_library_is_told_what_its_functions_take() -> None:
    class Library:
        def __getattr__(self, name: str) -> Any:
            function = types.SimpleNamespace()
            setattr(self, name, function)
            return function

    found = cublas.bound(Library())
    assert len(found.cublasGemmEx.argtypes) == 19
    assert len(found.cublasGemmStridedBatchedEx.argtypes) == 23
    assert found.cublasGemmEx.restype is ctypes.c_int
    with pytest.raises(AttributeError):
        cublas.bound(object())


def test_no_cublas_is_no_error() -> None:
    class Cuda:
        @property
        def cublas(self) -> Any:
            raise ImportError('Failure finding "libcublas.so.13"')

    assert cublas.load(np) is cublas.load(fake_cupy.namespace) is None
    binding = cublas.load(type("CuPy", (), {"cuda": Cuda()}))
    assert binding and not binding.takes(np.dtype("float32"), np.dtype("float32"), "float32")
    cublas.prepare(binding.cupy)
