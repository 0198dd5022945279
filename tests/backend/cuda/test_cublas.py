"""Products on a device: the column-major product that cuBLAS is asked for is our row-major product.

The cuBLAS is `tests/support/fake_cublas.py`. It computes from the memory at the given addresses, so that the values
check the order of the arguments, the leading dimensions and the flags. The arrays are the emulated GPU's, and CuPy's.
"""

import ctypes
import gc
import itertools
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest

import tinynet as tn
from tests.support.cuda_places import CUPY_GPU, EMULATED, on_host
from tests.support.fake_cublas import COMPUTE, FakeCublas, on_the_machine, perform_emulated
from tinynet import backend
from tinynet.backend.cuda.runtime import cublas, fake_cupy, gemm, graph
from tinynet.backend.cuda.runtime.gemm import matmul
from tinynet.errors import ArgumentError, DeviceError, ShapeError


@pytest.fixture(params=[EMULATED, CUPY_GPU])
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def library(place: str, monkeypatch: pytest.MonkeyPatch) -> FakeCublas:
    """The fake cuBLAS, for the arrays of a device."""
    library = FakeCublas(perform_emulated if place == "gpu-emulated" else on_the_machine)
    binding = cublas.Cublas(library, backend.namespace(place))
    monkeypatch.setattr(cublas, "load", lambda xp: binding)
    return library


# --- the mapping ----------------------------------------------------------------------------------------------------

Put = Callable[[np.ndarray], Any]


@pytest.fixture
def device(place: str) -> Put:
    """Makes an array of the device of one of NumPy's: a view stays a view, of a copy of all that it is a view of."""
    def put(array: np.ndarray) -> Any:
        if place == "gpu-emulated":
            return fake_cupy.Array(array)
        whole = array
        while isinstance(whole.base, np.ndarray):
            whole = whole.base
        xp, there = backend.namespace(place), backend.to_device(whole.reshape(-1), place)
        offset = array.ctypes.data - whole.ctypes.data
        return xp.ndarray(array.shape, array.dtype, there.data + offset, strides=array.strides)
    return put


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
                                    transposes: tuple[bool, bool], device: Put) -> None:
    rng = np.random.default_rng(0)
    M, K, N = sizes
    A = rng.standard_normal((K, M) if transposes[0] else (M, K)).astype("float32")
    B = rng.standard_normal((N, K) if transposes[1] else (K, N)).astype("float32")
    expected = (A.T if transposes[0] else A) @ (B.T if transposes[1] else B)
    before = rng.standard_normal((M, N)).astype("float32")
    for a, b, c in _combinations():
        options = {"transpose_a": transposes[0], "transpose_b": transposes[1]}
        inputs = device(a(A)), device(b(B))
        np.testing.assert_allclose(on_host(matmul(*inputs, **options)), expected, rtol=1e-5, atol=1e-5)
        for accumulate in (False, True):
            out = device(c(before))
            assert matmul(*inputs, **options, out=out, accumulate=accumulate) is out
            np.testing.assert_allclose(on_host(out), expected + before * accumulate, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(on_host(inputs[0]), A)
        np.testing.assert_array_equal(on_host(inputs[1]), B)
    assert ("float32" in library.calls) == (0 not in sizes)


@pytest.mark.parametrize("transposes", FLAGS, ids=str)
@pytest.mark.parametrize("batches", [((2,), (2,)), ((2, 3), (2, 3)), ((2,), ()), ((), (2,)), ((2, 3), ()),
                                     ((1,), (1,))], ids=str)
def test_batches(library: FakeCublas, batches: tuple[tuple[int, ...], ...], transposes: tuple[bool, bool],
                 device: Put) -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((*batches[0], *((4, 5) if transposes[0] else (5, 4))))
    B = rng.standard_normal((*batches[1], *((3, 4) if transposes[1] else (4, 3))))
    expected = np.matmul(A.swapaxes(-1, -2) if transposes[0] else A, B.swapaxes(-1, -2) if transposes[1] else B)
    for a, b, c in _combinations():
        inputs, options = (device(a(A)), device(b(B))), {"transpose_a": transposes[0], "transpose_b": transposes[1]}
        np.testing.assert_allclose(on_host(matmul(*inputs, **options)), expected, rtol=1e-12, atol=1e-12)
        out = device(c(np.ones_like(expected)))
        matmul(*inputs, **options, out=out, accumulate=True)
        np.testing.assert_allclose(on_host(out), expected + 1, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("transposes", FLAGS, ids=str)
def test_a_product_of_a_known_form_is_made_from_the_arrays_of_now(library: FakeCublas, transposes: tuple[bool, bool],
                                                                  device: Put) -> None:
    """In whatever layout the result is; and sums are added to what is there now."""
    rng, options = np.random.default_rng(0), {"transpose_a": transposes[0], "transpose_b": transposes[1]}
    for a, b, c in _combinations():
        for turn in range(3):
            A, B, before = (rng.standard_normal(shape) for shape in ((3, 4), (4, 5), (3, 5)))
            inputs = device(a(A.T.copy() if transposes[0] else A)), device(b(B.T.copy() if transposes[1] else B))
            for accumulate in (False, True):
                out = device(c(before))
                assert matmul(*inputs, **options, out=out, accumulate=accumulate) is out
                np.testing.assert_allclose(on_host(out), A @ B + before * accumulate, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(on_host(matmul(*inputs, **options)), A @ B, rtol=1e-12, atol=1e-12,
                                       err_msg=str(turn))


def test_batches_with_steps_and_in_reverse_order(library: FakeCublas, device: Put) -> None:
    """The matrices themselves have no gaps."""
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((6, 3, 4)), rng.standard_normal((6, 4, 5))
    for part in (slice(None, None, -1), slice(None, None, 2), slice(None, None, -2), slice(2, 3), slice(3, 3)):
        expected = A[part] @ B[part]
        for a, b in ((A[part], B[part].copy()), (A[part].copy(), B[part])):
            np.testing.assert_allclose(on_host(matmul(device(a), device(b))), expected, rtol=1e-12)
        out = device(np.ones((6, 3, 5))[part])
        matmul(device(A[part].copy()), device(B[part].copy()), out=out, accumulate=True)
        np.testing.assert_allclose(on_host(out), expected + 1, rtol=1e-12)


def test_rows_that_repeat_or_overlap(library: FakeCublas, device: Put) -> None:
    """A gradient of a sum over rows repeats one row. cuBLAS takes no rows closer than their length."""
    B = np.random.default_rng(0).standard_normal((4, 3))
    for step in (0, 8):
        A: np.ndarray = np.ndarray((5, 4), float, np.arange(8.0), strides=(step, 8))
        np.testing.assert_allclose(on_host(matmul(device(A), device(B))), A @ B)
        np.testing.assert_allclose(on_host(matmul(device(B), device(A.T), transpose_a=True)), B.T @ A.T)


def test_a_batch_and_a_matrix_are_one_product(library: FakeCublas, device: Put) -> None:
    x, W = device(np.ones((2, 3, 4), "float32")), device(np.ones((4, 5), "float32"))
    assert matmul(x, W).shape == (2, 3, 5)
    assert library.calls[-1] == "float32"
    matmul(x, device(np.ones((2, 4, 5), "float32")))
    assert library.calls[-1] == "batch of 2"


def test_a_limited_number_of_products_is_remembered(library: FakeCublas, device: Put, place: str,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemm, "_KNOWN", 3)
    known = cublas.load(backend.namespace(place)).known  # type: ignore[union-attr]
    for size in range(1, 8):
        ones = device(np.ones((size, size), "float32"))
        for _ in range(2):
            assert on_host(matmul(ones, ones))[0, 0] == size and 0 < len(known) <= 3


@pytest.mark.parametrize("place", [EMULATED], indirect=True)
def test_views_are_not_copied(library: FakeCublas, monkeypatch: pytest.MonkeyPatch, device: Put) -> None:
    monkeypatch.setattr(fake_cupy.Array, "copy", None)
    A, W = device(np.ones((3, 8), "float32")), device(np.ones((6, 9), "float32"))
    out = device(np.zeros((5, 20), "float32"))
    for product in (lambda: matmul(A[:, 2:6], W[2:, 1:]), lambda: matmul(A.T[1:5], A),
                    lambda: matmul(A[:, 1:5], A, transpose_a=True), lambda: matmul(A, W[:, 1:], transpose_b=True),
                    lambda: matmul(W[:5, :4], W[1:5], out=out[:, 3:12])):
        product()
    with pytest.raises(TypeError):  # every second column is
        matmul(A[:, ::2], W[2:])


def test_a_copy_lives_until_the_product_is_made(library: FakeCublas, device: Put) -> None:
    """Else both copies could be given the same memory."""
    A, B = np.arange(200.0 * 200).reshape(200, 200), np.eye(200)
    np.testing.assert_allclose(on_host(matmul(device(A)[::2, ::2], device(B)[::2, ::2])), A[::2, ::2])


# --- a @ b ----------------------------------------------------------------------------------------------------------

STACKS = {"two matrices": ((3, 4), (4, 5), 3), "a stack and a matrix": ((2, 6, 3, 4), (4, 5), 3),
          "two stacks": ((2, 3, 4), (2, 4, 5), 6), "no rows": ((0, 4), (4, 5), 0),
          "sums of nothing": ((3, 0), (0, 5), 0)}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", STACKS)
def test_the_op_multiplies_by_cublas(library: FakeCublas, name: str, dtype: str, place: str) -> None:
    """Both passes, in one call of cuBLAS each for the product and the two gradients."""
    rng, (*shapes, count) = np.random.default_rng(0), STACKS[name]
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    exact, given = ([tn.Tensor(array, True, device=there) for array in arrays] for there in ("cpu", place))
    for tensors in (exact, given):
        y = tensors[0] @ tensors[1]
        y.backward(tn.Tensor(np.cos(np.arange(y.size)).reshape(y.shape).astype(dtype), device=y.device))
    for ours, wanted in zip(given, exact, strict=True):
        np.testing.assert_allclose(on_host(ours.grad), wanted.grad, rtol=1e-5, atol=1e-5)
        assert ours.grad.dtype == dtype
    calls = [call for call in library.calls if call in COMPUTE.values()]
    assert calls == [dtype] * count


def test_the_op_takes_the_chosen_precision(library: FakeCublas, place: str) -> None:
    a, b = (tn.Tensor(np.ones((2, 2), "float32"), True, device=place) for _ in range(2))
    with tn.precision("tf32"):
        (a @ b).sum().backward()
        tn.ops.matmul(a, b)
    assert [call for call in library.calls if call in COMPUTE.values()] == ["tf32"] * 4


def test_stacks_that_broadcast_multiply_themselves(library: FakeCublas, place: str) -> None:
    for shapes in (((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (3, 4, 5)), ((1, 3, 4), (2, 4, 5))):
        a, b = (tn.Tensor(np.ones(shape, "float32"), True, device=place) for shape in shapes)
        y = a @ b
        y.backward(y.detach())
        assert y.shape == np.matmul(a.numpy(), b.numpy()).shape
        assert (a.grad.shape, b.grad.shape) == shapes
    assert not library.calls


# --- precision, streams, errors -------------------------------------------------------------------------------------

def test_precision_is_a_choice(library: FakeCublas, device: Put) -> None:
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


def test_a_handle_for_each_stream_gets_its_workspace_last(library: FakeCublas, device: Put, place: str) -> None:
    A, xp = device(np.ones((2, 2), "float32")), backend.namespace(place)
    library.calls.clear()
    streams = [xp.cuda.Stream(non_blocking=True) for _ in range(2)]
    for stream in streams:
        made = ["create", f"stream {stream.ptr}", f"workspace {32 * 2**20}"]
        for first in (made, []):
            library.calls.clear()
            with stream:
                matmul(A, A)
            assert library.calls == [*first, "float32"]


def test_threads_share_the_workspace_of_a_stream_and_free_their_handles(library: FakeCublas, device: Put,
                                                                        place: str) -> None:
    A, xp = device(np.ones((2, 2), "float32")), backend.namespace(place)
    for _ in range(3):
        worker = threading.Thread(target=lambda: matmul(A, A))
        worker.start()
        worker.join()
    gc.collect()
    binding = cublas.load(xp)
    assert binding is not None
    assert library.calls.count("create") == library.calls.count("destroy") == 3
    assert not binding._workspaces
    matmul(A, A)
    kept, = binding._workspaces.values()
    worker = threading.Thread(target=lambda: matmul(A, A))
    worker.start()
    worker.join()
    assert list(binding._workspaces.values()) == [kept]


def test_a_thread_keeps_the_handles_of_a_limited_number_of_streams(library: FakeCublas, device: Put, place: str
                                                                   ) -> None:
    A, xp, streams = device(np.ones((2, 2), "float32")), backend.namespace(place), list[Any]()
    binding = cublas.load(xp)
    assert binding is not None
    for _ in range(2 * cublas._HANDLES + 3):
        streams.append(xp.cuda.Stream(non_blocking=True))
        with streams[-1]:
            assert on_host(matmul(A, A)).tolist() == [[2, 2]] * 2
            assert 0 < len(binding._local.handles) <= cublas._HANDLES
    gc.collect()
    assert library.calls.count("create") - library.calls.count("destroy") == len(binding._local.handles)


@pytest.mark.parametrize(("status", "reason"), [(1, "it is not initialised"), (3, "a resource could not be allocated"),
                                                (99, "unknown")])
def test_a_handle_that_cannot_be_made_is_an_error_and_is_not_destroyed(library: FakeCublas, device: Put, status: int,
                                                                       reason: str,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "cublasCreate_v2", lambda handle: status)
    A = device(np.ones((2, 2), "float32"))
    with pytest.raises(DeviceError, match=rf"cublasCreate: must return 0, got {status} \({reason}\); is the GPU's"):
        matmul(A, A)
    gc.collect()
    assert not library.calls


@pytest.mark.parametrize(("architecture", "shared", "size"), [("sm_75", 64, 4), ("sm_80", 163, 4), ("sm_90", 227, 32),
                                                              ("sm_100", 227, 32), ("sm_120", 99, 4)])
def test_the_size_of_a_workspace_is_what_cublas_recommends(architecture: str, shared: int, size: int) -> None:
    runtime = types.SimpleNamespace(deviceGetAttribute=lambda attribute, device: shared * 1024,
                                    cudaDevAttrMaxSharedMemoryPerBlockOptin=97)
    cupy = types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime, alloc=lambda size: size))
    assert cublas.Workspace(cupy, 0).memory == size * 2**20


def test_products_are_recorded_with_a_workspace_that_outlives_the_graph(library: FakeCublas, device: Put,
                                                                        place: str) -> None:
    """The handle of the stream on which graphs are recorded, and its workspace, serve all graphs."""
    A = device(np.ones((2, 2), "float32"))
    y = matmul(A, A)
    y + 1  # compiles the kernels
    A.fill(1.0)
    for number in range(3):
        library.calls.clear()
        y, recorded = graph.capture(place, lambda: matmul(A, A))
        assert library.calls[-1] == "float32"
        assert len(library.calls) == (1 if number else 4)
        for factor in 1.0, 3.0:
            A.fill(factor)
            recorded.launch()
            assert y.get().tolist() == [[2 * factor**2] * 2] * 2
        del y, recorded
        gc.collect()
        binding = cublas.load(backend.namespace(place))
        assert binding is not None and len(binding._workspaces) == 2


def test_what_cublas_reports_is_an_error(library: FakeCublas, device: Put) -> None:
    A = device(np.ones((2, 2), "float32"))
    matmul(A, A)
    library.status = 13
    with pytest.raises(DeviceError, match=r"cublasGemmEx: must return 0, got 13 \(the kernel failed\); is the GPU's"):
        matmul(A, A)


def test_without_cublas_the_arrays_multiply_themselves(device: Put, place: str,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    xp, load = backend.namespace(place), cublas.load
    monkeypatch.setattr(cublas, "load", lambda of: cublas.Cublas(None, xp) if of is xp else load(of))
    rng = np.random.default_rng(0)
    A, B, before = rng.standard_normal((4, 3)), rng.standard_normal((5, 4)), rng.standard_normal((3, 5))
    for put in (np.copy, device):
        out = put(before.copy())
        assert matmul(put(A), put(B), transpose_a=True, transpose_b=True, out=out, accumulate=True) is out
        np.testing.assert_allclose(backend.to_host(out), before + A.T @ B.T)
        np.testing.assert_allclose(backend.to_host(matmul(put(A.T), put(B.T))), A.T @ B.T)


def test_without_cublas_there_is_one_precision(monkeypatch: pytest.MonkeyPatch, device: Put, place: str) -> None:
    xp, load = backend.namespace(place), cublas.load
    monkeypatch.setattr(cublas, "load", lambda of: cublas.Cublas(None, xp) if of is xp else load(of))
    with tn.precision("tf32"):
        A = np.ones((2, 2), "float32")
        with pytest.raises(DeviceError, match=r"precision: products in tf32 need cuBLAS, .*; install the packages"):
            matmul(device(A), device(A))
        for one in (device(A.astype("float64")), A):  # which it does not concern
            assert backend.to_host(matmul(one, one)).tolist() == [[2, 2], [2, 2]]


@pytest.mark.parametrize("place", [EMULATED], indirect=True)
def test_integers_and_complex_numbers_are_not_for_cublas(library: FakeCublas, device: Put) -> None:
    for dtype in ("int64", "complex128"):
        A = device(np.ones((2, 2), dtype))
        assert on_host(matmul(A, A)).tolist() == [[2, 2], [2, 2]]
    assert not library.calls


@pytest.mark.parametrize(("A", "B", "more", "message"), [
    ((2, 3), (2, 3), {}, r"matmul: A must be \(...,M,K\) and B .*, got \(2, 3\) and \(2, 3\); transpose_a or"),
    ((2, 3), (2, 3), {"transpose_a": True, "transpose_b": True}, "got .* transposed and .* transposed;"),
    ((2, 4, 5), (3, 5, 4), {}, "got"), ((3,), (3, 2), {}, "must have at least 2 axes"),
    ((2, 3), (3, 4), {"out": (2, 3)}, r"matmul: out must be \(2, 4\), got \(2, 3\); xp.empty"),
])
@pytest.mark.parametrize("bound", [True, False])
@pytest.mark.usefixtures("library")
def test_sizes_that_do_not_match(A: Any, B: Any, more: dict[str, Any], message: str, bound: bool, device: Put,
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """With cuBLAS and without."""
    if not bound:
        monkeypatch.setattr(cublas, "load", lambda xp: None)
    more = {name: device(np.ones(value)) if name == "out" else value for name, value in more.items()}
    with pytest.raises(ShapeError, match=message):
        matmul(device(np.ones(A)), device(np.ones(B)), **more)
    with pytest.raises(ArgumentError, match="matmul: accumulate needs the array to add to, and got none; out=y"):
        matmul(device(np.ones((2, 2))), device(np.ones((2, 2))), accumulate=True)


def test_more_than_cublas_counts_is_refused(library: FakeCublas, monkeypatch: pytest.MonkeyPatch, device: Put) -> None:
    monkeypatch.setattr(cublas, "_MOST", 4)
    with pytest.raises(ArgumentError, match=r"matmul: cuBLAS counts to .*, got a product of \(5, 2\) and \(2, 2\)"):
        matmul(device(np.ones((5, 2))), device(np.ones((2, 2))))


def test_the_largest_size_is_that_of_an_int() -> None:
    assert ctypes.c_int(cublas._MOST).value == cublas._MOST and ctypes.c_int(cublas._MOST + 1).value < 0


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


@pytest.mark.parametrize(("version", "present", "is_found", "asked"), [
    (13020, ["libcublas.so.13"], True, ["libcublas.so.13"]),
    (12090, ["cublas64_12.dll"], True, ["libcublas.so.12", "cublas64_12.dll"]),
    (13000, [], False, ["libcublas.so.13", "cublas64_13.dll"])])
def test_the_library_is_that_of_the_version_of_cuda(version: int, present: list[str], is_found: bool, asked: list[str],
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    names, found = list[str](), mock.Mock()

    def open_library(name: str) -> Any:
        names.append(name)
        if name not in present:
            raise OSError(f"{name}: cannot open")
        return found

    monkeypatch.setattr(ctypes, "CDLL", open_library)
    runtime = types.SimpleNamespace(runtimeGetVersion=lambda: version)
    cuda = types.SimpleNamespace(cublas=types.ModuleType("cublas"), runtime=runtime)
    binding = cublas.load(type("CuPy", (), {"cuda": cuda}))
    assert binding and (binding.library is found) == is_found and names == asked


@pytest.mark.parametrize("error", [ImportError, RuntimeError, OSError])
def test_no_cublas_is_no_error(error: type[Exception]) -> None:
    class Cuda:
        @property
        def cublas(self) -> Any:
            raise error('Failure finding "libcublas.so.13"')

    assert cublas.load(np) is cublas.load(fake_cupy.namespace) is None
    binding = cublas.load(type("CuPy", (), {"cuda": Cuda()}))
    assert binding and not binding.takes(np.dtype("float32"), np.dtype("float32"), "float32")
    cublas.prepare(binding.cupy)
