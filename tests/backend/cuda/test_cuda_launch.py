"""Launches: arguments that do not fit the signature are refused, and the emulator finds faults in kernels."""

import itertools
import re
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.support.cuda_places import GPU, on_cupy
from tests.support.op_cases import difference, draw
from tinynet import backend
from tinynet.backend.cuda.runtime import emulator, fake_cupy, launch
from tinynet.backend.cuda.runtime.emulator import KernelError
from tinynet.backend.cuda.runtime.launch import Grid, Kernels, one_each
from tinynet.backend.cuda.runtime.source import FOLDER, assemble, signatures
from tinynet.errors import ArgumentError, DeviceError, DtypeError, ShapeError, TinynetError
from tinynet.op import REGISTRY
from tinynet.optim.adam import adam

xp = fake_cupy.namespace
needs_gxx = pytest.mark.skipif(not shutil.which("g++"), reason="kernels are emulated with g++, which is not here")

SCALE = """
// out = x * factor
extern "C" __global__ void __launch_bounds__(256)
scale(const float* __restrict__ x, float* __restrict__ out, /* finite */ float factor,
      int size, bool twice, const long long* count, unsigned bits) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size) out[at] = x[at] * factor * (twice ? 2.0f : 1.0f) + (float)count[0] + (float)bits;
}
"""


OPTIONAL = """
extern "C" __global__ void fill(const float* OR_NULL x, float* __restrict__ y, int* OR_NULL count, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size) y[at] = x ? x[at] : 7.0f;
  if (count && at == 0) count[0] = size;
}
"""

STRUCT = """
struct Part { int first, step; float factor; bool twice; long long offset; };  // of an array
extern "C" __global__ void pick(const float* __restrict__ x, float* __restrict__ y, const Part part, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size)
    y[at] = x[part.first + at * part.step] * part.factor * (part.twice ? 2.0f : 1.0f) + (float)part.offset;
}
"""


class Part(NamedTuple):
    """What STRUCT has, in another order, with a field that the kernel does not take."""

    offset: Any = 2**40
    first: Any = 1
    step: Any = 2
    twice: Any = True
    factor: Any = 3
    note: str = ""


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TINYNET_EMULATOR_FLAGS", "-O0")
    return tmp_path / "cache" / "tinynet" / "kernels"


@pytest.fixture
def kernels(tmp_path: Path, own_cache: Path) -> Callable[[str], Kernels]:
    def make(text: str) -> Kernels:
        path = tmp_path / "planted.cu"
        path.write_text(text, encoding="utf-8")
        return Kernels("planted", path)
    return make


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The launches of compiled kernels, which are not made: blocks, threads, arguments and shared memory of each."""
    made = list[Any]()
    monkeypatch.setattr(fake_cupy.RawModule, "__init__", lambda self, code, options: setattr(self, "_library", None))
    monkeypatch.setattr(fake_cupy.RawKernel, "__call__",
                        lambda self, *call, shared_mem=0: made.append((*call, shared_mem)))
    return made


def device(*shape: int, dtype: str = "float32") -> Any:
    return xp.asarray(np.ones(shape, dtype))


def arguments(**changes: Any) -> list[Any]:
    return list({"x": device(5), "out": device(5), "factor": 3.0, "size": 5, "twice": True,
                 "count": device(1, dtype="int64"), "bits": np.uint32(1), **changes}.values())


# --- signatures -----------------------------------------------------------------------------------------------------

def test_signatures_are_read_from_the_source() -> None:
    found = signatures(SCALE)["scale"]
    assert [(p.name, p.dtype.name, p.is_pointer, p.is_written) for p in found] == [
        ("x", "float32", True, False), ("out", "float32", True, True), ("factor", "float32", False, False),
        ("size", "int32", False, False), ("twice", "bool", False, False), ("count", "int64", True, False),
        ("bits", "uint32", False, False)]
    assert [p.name for p in signatures(OPTIONAL)["fill"] if p.is_optional] == ["x", "count"]


@pytest.mark.parametrize("parameter", ["double x", "const double* x", "float** x", "size_t n", "half* x", "float x[4]",
                                       "Pair p", "Both* b", "Other o"])
def test_parameters_of_other_types_are_refused(parameter: str) -> None:
    with pytest.raises(DtypeError, match="every parameter must be"):
        signatures("struct Pair { int a; double b; }; struct Both { int a, b; };\n"
                   f'extern "C" __global__ void bad({parameter}) {{}}')


def test_a_struct_is_laid_out_as_the_compiler_does() -> None:
    part = signatures(STRUCT)["pick"][2]
    assert (part.name, part.type, part.is_pointer) == ("part", "Part", False)
    assert part.dtype.names == ("first", "step", "factor", "twice", "offset")
    assert [part.dtype.fields[name][1] for name in part.dtype.names] == [0, 4, 8, 12, 16]  # type: ignore[index]
    assert part.dtype.itemsize == 24


@needs_gxx
@pytest.mark.parametrize("checked", [False, True])
def test_a_struct_is_passed_by_value(kernels: Callable[[str], Kernels], checked: bool) -> None:
    """Its fields are looked up by name."""
    x, y = xp.asarray(np.arange(9, dtype="float32")), device(4)
    with emulator.checked() if checked else nullcontext():
        kernels(STRUCT).launch("pick", one_each(4), x, y, Part(offset=np.int64(1000)), 4)
    assert y.get().tolist() == [1006, 1018, 1030, 1042]


ARRAY = ("struct Table { int rows[3]; bool twice; };\n"
         'extern "C" __global__ void look(const Table table, float* y) { y[threadIdx.x] = table.rows[threadIdx.x]; }')


@needs_gxx
def test_a_struct_may_hold_arrays(kernels: Callable[[str], Kernels]) -> None:
    y = device(3)
    kernels(ARRAY).launch("look", Grid((1, 1, 1), (3, 1, 1)), SimpleNamespace(rows=[4, 5, 6], twice=True), y)
    assert y.get().tolist() == [4, 5, 6]
    with pytest.raises(DtypeError, match=r"look: table\.rows must hold 3 numbers, got 2; add zeros"):
        kernels(ARRAY).launch("look", Grid((1, 1, 1), (3, 1, 1)), SimpleNamespace(rows=[4, 5], twice=True), y)


@pytest.mark.parametrize(("part", "error", "message"), [
    (Part(step=1.0), DtypeError, "pick: part.step must be a number of int32, got float"),
    (Part(factor=np.float64(1)), DtypeError, "part.factor must be a number of float32, got float64"),
    (Part(first=2**31), ArgumentError, "part.first must fit into int32, got 2147483648"),
    ((1, 2), DtypeError, "part must have the fields first, step, .* of struct Part, got tuple without first, step"),
])
def test_a_struct_that_does_not_fit_is_refused(kernels: Callable[[str], Kernels], part: Any, error: type[Exception],
                                               message: str) -> None:
    with pytest.raises(error, match=message):
        kernels(STRUCT).launch("pick", one_each(4), device(9), device(4), part, 4)


def test_headers_are_put_into_the_source_and_lines_keep_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "own.h").write_text("int one;\n")
    (tmp_path / "a.cu").write_text('// first\n#include "own.h"\nint two;\n')
    lines = assemble(tmp_path / "a.cu").splitlines()
    assert lines[lines.index("int one;") - 1] == f'#line 1 "{tmp_path / "own.h"}"'
    assert lines[lines.index("int two;") - 1] == f'#line 3 "{tmp_path / "a.cu"}"'


@needs_gxx
@pytest.mark.parametrize("checked", [False, True])
def test_a_kernel_runs(kernels: Callable[[str], Kernels], checked: bool) -> None:
    values = arguments()
    if checked:
        with emulator.checked():
            kernels(SCALE).launch("scale", one_each(5), *values)
    else:
        kernels(SCALE).launch("scale", one_each(5), *values)
    assert np.array_equal(values[1].get(), np.full(5, 8, "float32"))


@needs_gxx
@pytest.mark.parametrize("checked", [False, True])
def test_an_array_may_be_left_out_where_the_kernel_says_so(kernels: Callable[[str], Kernels], checked: bool) -> None:
    kernel = kernels("#define OR_NULL __restrict__\n" + OPTIONAL)
    with emulator.checked() if checked else nullcontext():
        for x, count in itertools.product((None, device(5)), (None, device(1, dtype="int32"))):
            y = device(5)
            kernel.launch("fill", one_each(5), x, y, count, 5)
            assert y.get().tolist() == [7.0 if x is None else 1.0] * 5
            assert count is None or count.get().tolist() == [5]
        with pytest.raises(DeviceError, match="y must be an array on the device, got NoneType"):
            kernel.launch("fill", one_each(5), device(5), None, None, 5)


def test_cupy_is_given_eight_bytes_of_zeros_for_an_array_that_is_left_out(kernels: Callable[[str], Kernels],
                                                                          launched: list[Any]) -> None:
    y = device(5)
    kernels(OPTIONAL).launch("fill", one_each(5), None, y, None, 5)
    (_, _, (x, given, count, _), _), = launched
    assert given is y and x.tobytes() == count.tobytes() == bytes(8)
    kernels(OPTIONAL).launch("fill", one_each(5), None, y, None, 5)  # known from the launch before
    assert [value.tobytes() for value in launched[1][2][::2]] == [bytes(8)] * 2


def test_cupy_is_given_the_bytes_of_a_struct(kernels: Callable[[str], Kernels], launched: list[Any]) -> None:
    kernels(STRUCT).launch("pick", one_each(4), device(9), device(4), Part(), 4)
    (_, _, (_, _, part, _), _), = launched
    assert type(part) is np.ndarray and part.size == 1  # CuPy refuses np.void
    assert struct.unpack("iif?xxxq", part.tobytes()) == (1, 2, 3.0, True, 2**40)


@pytest.mark.parametrize(("changes", "error", "message"), [
    ({"factor": np.float64(3)}, DtypeError, "factor must be a number of float32, got float64"),
    ({"factor": xp.asarray(np.float32(1))}, DtypeError, "factor must be a number"),
    ({"factor": "3"}, DtypeError, "got str"),
    ({"size": 5.0}, DtypeError, "size must be a number of int32, got float"),
    ({"size": np.int64(5)}, DtypeError, "size must be a number of int32, got int64"),
    ({"size": 2**31}, ArgumentError, "size must fit into int32, got 2147483648"),
    ({"bits": -1}, ArgumentError, "bits must fit into uint32"),
    ({"x": np.ones(5, "float32")}, DeviceError, "x must be an array on the device, got ndarray"),
    ({"x": 1.0}, DeviceError, "got float"),
    ({"x": None}, DeviceError, "got NoneType"),
    ({"x": device(5, dtype="float64")}, DtypeError, "x must be of float32, got float64"),
    ({"count": device(1, dtype="int32")}, DtypeError, "count must be of int64, got int32"),
    ({"x": device(5, 5).T}, ShapeError, "x must lie in one piece"),
    ({"x": device(10)[::2]}, ShapeError, "x must lie in one piece"),
    ({"more": 1}, ArgumentError, "scale: must get 7 arguments, x, out, factor"),
])
def test_what_does_not_fit_is_refused(kernels: Callable[[str], Kernels], changes: dict[str, Any],
                                      error: type[Exception], message: str, launched: list[Any]) -> None:
    """Also where a launch with other arguments came before: it was checked, and later ones are compared with it."""
    planted = kernels(SCALE)
    for _ in range(2):
        with pytest.raises(error, match=message):
            planted.launch("scale", one_each(5), *arguments(**changes))
        planted.launch("scale", one_each(5), *arguments())


def test_too_large_a_grid_is_refused_and_an_empty_one_does_nothing(kernels: Callable[[str], Kernels],
                                                                   launched: list[Any]) -> None:
    for grid in (one_each(2**31), Grid((1, 1, 1), (64, 32, 1)), Grid((1, 2**16, 1), (32, 1, 1)),
                 Grid((1, 1, 2**16), (32, 1, 1)), Grid((1, 1, 1), (1, 1, 1025))):
        with pytest.raises(ArgumentError, match="a block has at most 1024 threads, and a grid"):
            kernels(SCALE).launch("scale", grid, *arguments())
    values = arguments()
    for grid in one_each(0), Grid((1, 0, 1), (32, 1, 1)), Grid((1, 1, 0), (32, 1, 1)):
        kernels(SCALE).launch("scale", grid, *values)
    assert np.array_equal(values[1].get(), np.ones(5)) and not launched
    largest = one_each(2**31 - 256), Grid((1, 2**16 - 1, 2**16 - 1), (1024, 1, 1))
    for grid in largest:
        kernels(SCALE).launch("scale", grid, *values)
    assert [(blocks, threads) for blocks, threads, *_ in launched] == [grid[:2] for grid in largest]


def test_a_number_is_of_the_host_or_of_the_device_and_in_the_type_of_the_kernel() -> None:
    for number in (2, 0.5, np.float64(0.5), np.int64(3), np.float32(7)):
        here, there = launch.here_and_there(xp, number, np.float32)
        assert (type(here), here, there) == (np.float32, number, None)
        here, there = launch.here_and_there(xp, xp.asarray(np.asarray(number)), np.float32)
        assert (here, there.dtype, there.get()) == (0, np.float32, number)


def test_a_limited_number_of_grids_is_remembered(kernels: Callable[[str], Kernels], launched: list[Any],
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_GRIDS", 3)
    planted = kernels(SCALE)
    for blocks in range(1, 8):
        planted.launch("scale", launch.Grid((blocks, 1, 1), (32, 1, 1)), *arguments())
        assert 0 < len(planted._plans["scale"].launches) <= 3
    assert [blocks for (blocks, *_), *_ in launched] == list(range(1, 8))


def test_shared_memory_is_asked_for_within_the_limits(kernels: Callable[[str], Kernels], launched: list[Any],
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_limits", lambda xp, device: launch.Limits(2**16, 1))
    asked_for, kernel, values = list[int](), kernels(SCALE), arguments()
    monkeypatch.setattr(fake_cupy.RawKernel, "max_dynamic_shared_size_bytes",
                        property(None, lambda self, size: asked_for.append(size)))
    grid = Grid((1, 1, 1), (32, 1, 1))
    with pytest.raises(ArgumentError, match="at most 65536 bytes of shared memory on this device, got 65537"):
        kernel.launch("scale", grid._replace(shared=2**16 + 1), *values)
    for shared in 0, 49_152, 49_156, 65_536, 49_160:
        kernel.launch("scale", grid._replace(shared=shared), *values)
    assert [shared for _, _, _, shared in launched] == [0, 49_152, 49_156, 65_536, 49_160]
    assert asked_for == [49_156, 65_536]  # at most once for each more


@pytest.fixture
def on_gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[Any]]:
    """Makes arguments of `scale` whose arrays say that they are on the GPU of a number."""
    monkeypatch.setattr(launch.backend, "device_of", lambda array: f"gpu:{array.device.id}")
    monkeypatch.setattr(launch, "_library", lambda array: xp)

    def make(number: int) -> list[Any]:
        values = arguments()
        for value in values:
            if isinstance(value, fake_cupy.Array):
                value.device = SimpleNamespace(id=number)
        return values
    return make


def test_each_gpu_is_asked_for_shared_memory(kernels: Callable[[str], Kernels], launched: list[Any],
                                             on_gpus: Callable[[int], list[Any]],
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for, limits, kernel = list[int](), list[int](), kernels(SCALE)
    monkeypatch.setattr(fake_cupy.RawKernel, "max_dynamic_shared_size_bytes",
                        property(None, lambda self, size: asked_for.append(size)))
    monkeypatch.setattr(launch, "_limits", lambda xp, device: limits.append(device) or launch.Limits(2**16, 1))
    for number in (0, 1, 0, 1):
        kernel.launch("scale", Grid((1, 1, 1), (32, 1, 1), 50_000), *on_gpus(number))
    assert asked_for == [50_000] * 2 and limits == [0, 1] and len(launched) == 4


def test_arrays_of_another_gpu_are_noticed_after_a_launch_on_one(kernels: Callable[[str], Kernels], launched: list[Any],
                                                                 on_gpus: Callable[[int], list[Any]]) -> None:
    kernel = kernels(SCALE)
    for number in (1, 1, 0, 1):
        kernel.launch("scale", one_each(5), *on_gpus(number))
        for place, name in ((1, "out"), (5, "count")):
            values = on_gpus(number)
            values[place] = on_gpus(1 - number)[place]
            with pytest.raises(DeviceError, match=f"scale: its arrays must be on one device, got {name} on "
                                                  f"gpu:{1 - number}, others on gpu:{number}; move them with"):
                kernel.launch("scale", one_each(5), *values)
    assert len(launched) == 4


def test_the_sign_of_zero_arrives(kernels: Callable[[str], Kernels], launched: list[Any]) -> None:
    """Numbers that are equal are not always the same."""
    kernel = kernels(SCALE)
    for factor in (0.0, -0.0, 0, np.float32(-0.0)):
        kernel.launch("scale", one_each(5), *arguments(factor=factor))
    assert [bool(np.signbit(values[2])) for _, _, values, _ in launched] == [False, True, False, True]


def test_a_limited_number_of_structs_is_remembered(kernels: Callable[[str], Kernels], launched: list[Any],
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain(NamedTuple):
        first: int
        step: int = 2
        factor: float = 3.0
        twice: bool = True
        offset: int = 0

    made, struct_of, kernel = list[int](), launch._struct, kernels(STRUCT)
    monkeypatch.setattr(launch, "_GRIDS", 3)
    monkeypatch.setattr(launch, "_struct", lambda *given: made.append(given[2].first) or struct_of(*given))
    for first in (0, 1, 2, 3, 3, 0):
        kernel.launch("pick", one_each(4), device(9), device(4), Plain(first), 4)
    assert made == [0, 0, 1, 2, 3, 0]  # the first launch checks all arguments, too
    assert [struct.unpack("iif?xxxq", values[2].tobytes())[0] for _, _, values, _ in launched] == [0, 1, 2, 3, 3, 0]


@needs_gxx
def test_more_shared_memory_must_be_asked_for(kernels: Callable[[str], Kernels]) -> None:
    kernel = fake_cupy.RawModule(DYNAMIC).get_function("k")
    with pytest.raises(RuntimeError, match="INVALID_VALUE: k did not ask for 49156 bytes of shared memory"):
        kernel((1, 1, 1), (64, 1, 1), (device(64), device(64)), shared_mem=49_156)


def test_limits_of_the_emulated_gpu() -> None:
    assert launch.limits(device(1)) == (emulator.SHARED, emulator.MULTIPROCESSORS)


@on_cupy
def test_limits_are_those_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend.namespace("gpu").cuda.runtime, "deviceGetAttribute",
                        lambda attribute, device: 1000 * device + attribute)
    monkeypatch.setattr(launch, "_limits", launch._limits.__wrapped__)  # not what is kept
    assert launch.limits(backend.to_device(np.ones(1), "gpu:1")) == (1097, 1016)


@on_cupy
def test_arrays_of_two_devices_are_refused(kernels: Callable[[str], Kernels]) -> None:
    values = arguments(x=backend.to_device(np.ones(5, "float32"), "gpu"))
    for elsewhere in "gpu:1", "gpu-emulated":
        values[1] = backend.to_device(np.ones(5, "float32"), elsewhere)
        with pytest.raises(DeviceError, match="scale: its arrays must be on one device, got out on "
                                              f"{elsewhere}, others on gpu; move them"):
            kernels(SCALE).launch("scale", one_each(5), *values)


@needs_gxx
@pytest.mark.parametrize("place", [GPU])
def test_each_library_compiles_for_its_arrays(place: str, kernels: Callable[[str], Kernels]) -> None:
    kernel, values = kernels(SCALE), arguments()
    kernel.launch("scale", one_each(5), *values)
    there = [backend.to_device(value, place) if isinstance(value, fake_cupy.Array) else value for value in arguments()]
    kernel.launch("scale", one_each(5), *there)
    assert values[1].get().tolist() == there[1].get().tolist() == [8] * 5
    assert len(kernel._functions) == 2


def test_numbers_are_passed_in_the_types_of_the_kernel(kernels: Callable[[str], Kernels], launched: list[Any]) -> None:
    """A GPU takes bytes."""
    kernels(SCALE).launch("scale", one_each(5), *arguments())
    (blocks, threads, given, shared), = launched
    assert (blocks, threads, shared) == ((1, 1, 1), (256, 1, 1), 0)
    assert [type(value) for value in given] == [fake_cupy.Array, fake_cupy.Array, np.float32, np.int32, np.bool_,
                                                fake_cupy.Array, np.uint32]


# --- the emulator ---------------------------------------------------------------------------------------------------

def run(kernel: Kernels, blocks: int, threads: int, *arrays: Any, shared: int = 256) -> None:
    with emulator.checked():
        kernel.launch("k", Grid((blocks, 1, 1), (threads, 1, 1), shared), *arrays)


HEAD = 'extern "C" __global__ void k(const float* x, float* y) { int t = threadIdx.x, b = blockIdx.x; '
REVERSE = HEAD + "__shared__ float s[64]; s[t] = x[t]; __syncthreads(); y[64 * b + t] = s[63 - t]; }"
DYNAMIC = REVERSE.replace("__shared__ float s[64];", "extern __shared__ float s[];")
WARPS = HEAD + """float v = x[t];
  for (int by = 16; by > 0; by /= 2) v += __shfl_xor_sync(0xffffffffu, v, by);
  y[64 * b + t] = v + __shfl_sync(0xffffffffu, x[t], 3) - __shfl_down_sync(0xffffffffu, x[t], 1); }"""


@needs_gxx
@pytest.mark.parametrize("text", [REVERSE, DYNAMIC])
def test_barriers_shared_memory_and_blocks(kernels: Callable[[str], Kernels], text: str) -> None:
    x, y = np.arange(64, dtype="float32"), fake_cupy.namespace.empty(128, "float32")
    run(kernels(text), 2, 64, xp.asarray(x), y)
    assert np.array_equal(y.get(), np.tile(x[::-1], 2))


@needs_gxx
def test_shuffles_stay_in_their_warp(kernels: Callable[[str], Kernels]) -> None:
    x, y = np.arange(64, dtype="float32"), fake_cupy.namespace.empty(64, "float32")
    run(kernels(WARPS), 1, 64, xp.asarray(x), y)
    warps = x.reshape(2, 32)
    next_lane = np.concatenate([warps[:, 1:], warps[:, -1:]], axis=1)
    assert np.array_equal(y.get().reshape(2, 32), warps.sum(1, keepdims=True) + warps[:, 3:4] - next_lane)

LANES = HEAD + "__shared__ float s[64]; float v = s[t] = x[t]; __syncwarp(); y[64 * b + t] = s[t ^ 1] + 0.0f * v; }"
COUNT = HEAD + """__shared__ int n[1]; if (t == 0) n[0] = 0; __syncthreads(); atomicAdd(n, 2); __syncthreads();
  y[64 * b + t] = (float)n[0]; }"""


@needs_gxx
def test_barriers_of_a_warp_and_counting_are_no_races(kernels: Callable[[str], Kernels]) -> None:
    x, y = np.arange(64, dtype="float32"), fake_cupy.namespace.empty(128, "float32")
    run(kernels(LANES), 2, 64, xp.asarray(x), y)
    assert np.array_equal(y.get(), np.tile(x.reshape(32, 2)[:, ::-1].ravel(), 2))
    run(kernels(COUNT), 2, 64, xp.asarray(x), y)
    assert np.array_equal(y.get(), np.full(128, 128.0))


FAULTY = {
    "a missing barrier": (REVERSE.replace("__syncthreads();", ""), "read and written .* of the shared memory is"),
    "two threads, one place": (HEAD + "y[b] = x[t]; }", "written twice .* element 0 of y is"),
    "two blocks, one place": (HEAD + "y[t] = (float)b; }", "written twice .* thread 0 of an earlier block"),
    "two threads, one number": (HEAD + "y[b] = 1.0f; }", "written twice"),
    "a sum in another's place": (HEAD + "y[0] += x[t] / 3.0f; }", "read and written"),
    "a sum that is right in every order": (HEAD + "y[b] += 1.0f; }", "read and written"),
    "read, then written too early": (HEAD + "__shared__ float s[1]; if (t == 0) s[0] = 1.0f; __syncthreads(); "
                                     "float v = s[0]; if (t == 63) s[0] = 1.0f; y[64 * b + t] = v; }",
                                     "read and written"),
    "read by another block": (HEAD + "if (b) y[64 + t] = y[t]; else y[t] = x[t]; }", "read and written .* of block 1"),
    "read by all blocks and written by the last": (HEAD + "float v = y[t]; y[(b ? 0 : 64) + t] = v; }",
                                                   "read and written"),
    "written behind other blocks": (HEAD + "if (b) y[0] = 1.0f; else y[64 + t] = y[0]; }", "no element may be"),
    "a shuffle in a barrier's place": (LANES.replace("__syncwarp()", "v = __shfl_sync(0xffffffffu, v, 0)"),
                                       "read and written"),
    "a barrier of the warp for two": (LANES.replace("t ^ 1", "t ^ 32"), "read and written"),
    "counted and written": (HEAD + "__shared__ int n[1]; if (t == 0) n[0] = 0; atomicAdd(n, 1); __syncthreads(); "
                            "y[64 * b + t] = (float)n[0]; }", "written twice"),
    "an order that shows": (HEAD + "__shared__ int n[1]; if (t == 0) n[0] = 0; __syncthreads(); "
                            "y[64 * b + t] = (float)atomicAdd(n, 1); }", "must not depend on the order"),
    "a barrier not all reach": (HEAD + "if (t < 32) __syncthreads(); y[64 * b + t] = x[t]; }", "every thread"),
    "a return before a barrier": (HEAD + "if (t > 40) return; __syncthreads(); y[64 * b + t] = x[t]; }",
                                  "every thread"),
    "a barrier in each branch": (HEAD + "if (t < 32) { __syncthreads(); }\nelse { __syncthreads(); } y[t] = 0.0f; }",
                                 "every thread"),
    "a shuffle not all reach": (HEAD + "float v = x[t]; if (t % 2) v = __shfl_sync(0xffffffffu, v, 0); y[t] = v; }",
                                "every thread"),
    "lanes left out": (HEAD + "y[t] = __shfl_sync(0xffffu, x[t], 0); }", "all lanes must take part"),
    "an index too large": (HEAD + "y[64 * b + t + 64] = x[t]; }", "written beside y"),
    "an index too small": (HEAD + "y[64 * b + t - 1] = x[t]; }", "written beside y"),
    "one element too far": (HEAD + "y[64 * b + t] = x[t + 1]; }", "read beside x, which has 64 elements.* element 64,"),
    "one too far, without effect": (HEAD + "float v = x[t + 1]; y[64 * b + t] = v > 0.0f ? 1.0f : v < 0.0f; }",
                                    "read beside x"),
    "more shared memory than asked for": (DYNAMIC.replace("s[t]", "s[t + 1]"), "written beside the shared memory of"),
    "shared memory read behind its end": (DYNAMIC.replace("s[63 - t]", "s[63 - t + 1]"), "read beside the shared"),
    "a missing barrier, dynamic": (DYNAMIC.replace("__syncthreads();", ""), "read and written"),
    "a constant written": (HEAD + "((float*)x)[t] = y[t]; }", "written beside x"),
    "an atomic sum of floats": (HEAD + "atomicAdd(&y[b], x[t]); }", "not deterministic"),
    "a misspelt name": (HEAD + "y[t] = z[t]; }", "planted.cu:1"),
}


@needs_gxx
@pytest.mark.parametrize("fault", FAULTY)
def test_faults_are_found(kernels: Callable[[str], Kernels], fault: str) -> None:
    text, message = FAULTY[fault]
    with pytest.raises(KernelError, match=message):
        run(kernels(text), 2, 64, xp.asarray(np.sqrt(np.arange(64, dtype="float32"))), device(128))


@needs_gxx
def test_what_was_never_written_is_nan(kernels: Callable[[str], Kernels]) -> None:
    y = xp.empty(64, "float32")
    run(kernels(HEAD + "__shared__ float s[64]; if (t < 60) s[t] = 1.0f; __syncthreads(); y[t] = s[t]; }"), 1, 64,
        device(64), y)
    assert np.isnan(y.get()[60:]).all()
    run(kernels(HEAD + "extern __shared__ float s[]; if (t < 60) s[t] = 1.0f; __syncthreads(); y[t] = s[t]; }"), 1, 64,
        device(64), y)
    assert np.isnan(y.get()[60:]).all() and not np.isnan(y.get()[:60]).any()


LANGUAGE = """
extern "C" __global__ void places(int* __restrict__ y) {
  int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  y[block * blockDim.x * blockDim.y * blockDim.z + thread] =
      threadIdx.x + 10 * (threadIdx.y + 10 * (threadIdx.z + 10 * (blockIdx.x + 10 * (blockIdx.y + 10 * blockIdx.z))));
}
extern "C" __global__ void left(float* __restrict__ y, float* __restrict__ z) {
  __shared__ float s[32];
  extern __shared__ float d[];
  if (blockIdx.x % 2 == 0) s[threadIdx.x] = d[threadIdx.x] = 1.0f;
  y[32 * blockIdx.x + threadIdx.x] = s[threadIdx.x];
  z[32 * blockIdx.x + threadIdx.x] = d[threadIdx.x];
}
extern "C" __global__ void functions(const float* __restrict__ x, float* __restrict__ y, int size) {
  int t = threadIdx.x;
  if (t >= size) return;
  float a = x[t], b = x[size + t];
  float made[] = {expf(a), expm1f(a), fabsf(a), fmaxf(a, b), fminf(a, b), log1pf(a), logf(a), powf(a, b), sqrtf(a),
                  tanhf(a), (float)min(t, 3), (float)max(t, 3), make_float4(1.0f, 2.0f, 3.0f, 4.0f).z,
                  (float)make_uint4(1, 2, 3, 4).w, (float)__umulhi(3000000000u, t), __uint_as_float(0x3f800000u + t),
                  __fdividef(a, b), __fdividef(1e38f, 0x1p126f), __fdividef(1e38f, 0x1.8p126f)};
  for (int i = 0; i < sizeof made / sizeof *made; i++) y[i * size + t] = made[i];
}
"""


@needs_gxx
@pytest.mark.parametrize("checked", [False, True])
def test_the_emulator_speaks_the_language_of_cuda(kernels: Callable[[str], Kernels], checked: bool) -> None:
    """Places in grids of three axes; shared memory that each block finds unwritten; and the functions."""
    kernel, blocks, threads = kernels(LANGUAGE), (4, 3, 2), (2, 3, 5)
    y, left, last = xp.empty(24 * 30, "int32"), xp.empty(4 * 32, "float32"), xp.empty(4 * 32, "float32")
    a = np.array([0, -0.0, 0.3, 1, 4, -0.7, -3, 1e-4, 88, 300, np.inf, -np.inf, np.nan], "float32")
    size, x = a.size, np.stack([a, np.roll(a, 4)])
    found = xp.empty(19 * size, "float32")
    with emulator.checked() if checked else nullcontext():
        kernel.launch("places", Grid(blocks, threads), y)
        kernel.launch("left", Grid((4, 1, 1), (32, 1, 1), 128), left, last)
        kernel.launch("functions", Grid((1, 1, 1), (32, 1, 1)), xp.asarray(x), found, size)
    digits = np.indices((*blocks[::-1], *threads[::-1])).reshape(6, -1)
    np.testing.assert_array_equal(y.get(), 10 ** np.array([5, 4, 3, 2, 1, 0]) @ digits)
    for made in (left, last):
        np.testing.assert_array_equal(made.get().reshape(4, 32)[:, 5], [1, np.nan, 1, np.nan])
    b, t = x[1], np.arange(size)
    with np.errstate(all="ignore"):
        wanted = [np.exp(a), np.expm1(a), abs(a), np.fmax(a, b), np.fmin(a, b), np.log1p(a), np.log(a), a**b,
                  np.sqrt(a), np.tanh(a), np.minimum(t, 3), np.maximum(t, 3), 0 * t + 3, 0 * t + 4,
                  t * 3_000_000_000 >> 32, (0x3F800000 + t).astype("uint32").view("float32"), a / b,
                  0 * t + 1e38 / 2**126, 0 * t]
    np.testing.assert_allclose(found.get().reshape(19, size), np.array(wanted), rtol=1e-6)


@needs_gxx
def test_arguments_that_share_memory_are_found(kernels: Callable[[str], Kernels]) -> None:
    both = device(64)
    with pytest.raises(KernelError, match="x and y share memory"):
        run(kernels(HEAD + "y[t] = x[t]; }"), 1, 64, both, both)


@needs_gxx
def test_after_a_fault_other_kernels_run(kernels: Callable[[str], Kernels]) -> None:
    y = xp.empty(128, "float32")
    with pytest.raises(KernelError):
        run(kernels(FAULTY["a return before a barrier"][0]), 2, 64, device(64), y)
    run(kernels(REVERSE), 2, 64, device(64), y)
    assert np.array_equal(y.get(), np.ones(128))


# --- compiling ------------------------------------------------------------------------------------------------------

@needs_gxx
def test_what_was_compiled_is_kept_by_its_content(kernels: Callable[[str], Kernels], own_cache: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    run(kernels(REVERSE), 2, 64, device(64), xp.empty(128, "float32"))
    kept = list(own_cache.iterdir())
    assert len(kept) == 1
    before = kept[0].stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")  # no compiler is needed now
        run(kernels(REVERSE), 2, 64, device(64), xp.empty(128, "float32"))
    assert kept[0].stat().st_mtime_ns == before
    run(kernels(REVERSE.replace("63 - t", "t")), 2, 64, device(64), xp.empty(128, "float32"))
    assert len(list(own_cache.iterdir())) == 2


def test_code_is_kept_for_each_text_header_flag_and_processor(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is the same is not compiled twice."""
    built, read = list[Any](), Path.read_text
    monkeypatch.setattr(emulator, "_build", lambda text, flags: built.append((text, flags)) or b"code")

    def kept(text: str = "one", *given: Any) -> str:
        return emulator.compiled(text, *given).name

    names = [kept(), kept("two"), kept("one", ("-O3",))]
    with monkeypatch.context() as patch:
        patch.setenv("TINYNET_EMULATOR_FLAGS", "-O0 '-DNAME=a b'")
        names.append(kept())
    assert built[-1][1][:-1] == [*emulator.FLAGS, "-O0", "-DNAME=a b"]
    assert built[-1][1][-1] == f"-I{Path(emulator.__file__).parent}"
    with monkeypatch.context() as patch:
        patch.setattr(emulator.platform, "machine", lambda: "another")
        names.append(kept())
    for header in ("emulator.h", "emulated_functions.h"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_text", lambda path, header=header, **more: (
                read(path, **more) + " " * (path.name == header)))
            names.append(kept())
    assert len({*names}) == len(built) == len(names) == 7
    assert kept() == names[0] and len(built) == 7
    assert {path.name for path in own_cache.iterdir()} == {*names}


def test_without_a_compiler_the_remedy_is_told(kernels: Callable[[str], Kernels],
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DeviceError, match=r"compiled by g\+\+, which is missing; apt install g\+\+.*use cpu"):
        run(kernels(REVERSE), 2, 64, device(64), xp.empty(128, "float32"))


@needs_gxx
def test_a_cache_that_cannot_be_written_is_told(kernels: Callable[[str], Kernels], tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DeviceError, match="set XDG_CACHE_HOME"):
        run(kernels(REVERSE), 2, 64, device(64), xp.empty(128, "float32"))


# --- faults planted in our kernels ----------------------------------------------------------------------------------

PLANTED = {  # case, file, what stands there, what is planted
    "lstm: a gate's column": ("lstm, step by step", "lstm.cu", "z[2 * H + j] + b[2 * H + j]",
                              "z[2 * H + j] + b[H + j]"),
    "lstm: no end": ("lstm, step by step", "lstm.cu", "if (unit >= N * H) return;", ""),
    "lstm: the wrong step": ("lstm", "lstm.h", "dC += dh", "dC = dC * gate.f + dh"),
    "lstm: no barrier between steps": ("lstm", "lstm_persistent.cu", "mhs.turn();\n      __syncthreads();",
                                       "mhs.turn();"),
    "lstm: no barrier before the first step": ("lstm", "lstm_persistent.cu", "    __syncthreads();\n    for (int t = 0",
                                               "    for (int t = 0"),
    "lstm: no barrier backward": ("lstm", "lstm_persistent.cu", "during the product\n      __syncthreads();",
                                  "during the product"),
    "lstm: one vector for two steps": ("lstm", "persistent.h", "next(shared + SIZE)", "next(shared)"),
    "lstm: units beyond H": ("lstm", "lstm_persistent.cu", "return k < H && unit < H ?", "return unit < H ?"),
    "lstm: another sequence's sums": ("lstm", "persistent.h", "sums[SEQUENCES - 1][c], 1)", "sums[0][c], 1)"),
    "lstm: half of the lanes": ("lstm", "persistent.h", "bit = LANES / 2; bit > 1", "bit = LANES / 2; bit > 2"),
    "lstm: weights in one place": ("lstm, 128 units", "persistent.h", "row - KEPT) * (COLUMNS / 4) * THREADS",
                                   "row - KEPT) * THREADS"),
    "gru: no barrier between steps": ("gru", "gru_persistent.cu", "hs.turn();\n      __syncthreads();", "hs.turn();"),
    "gru: no barrier backward": ("gru", "gru_persistent.cu", "during the product\n      __syncthreads();",
                                 "during the product"),
    "gru: units beyond H": ("gru", "gru_persistent.cu", "return k < H && unit < H ?", "return unit < H ?"),
    "conv: two threads, one place": ("conv2d", "conv.cu", "dx[at] = folded", "dx[at / 2] = folded"),
    "conv: stride left out": ("conv2d", "window.h", "return t * w.stride +", "return t +"),
    "pool: the last of equals": ("max_pool2d", "pool.cu", "!(value <= best.value)", "!(value < best.value)"),
    "batch norm: no barrier": ("batch_norm", "column_sums.h", "    __syncthreads();\n  }", "  }"),
    "batch norm: shared memory too early": ("batch_norm", "column_sums.h", "= value;\n  __syncthreads();", "= value;"),
    "batch norm: not all reach": ("batch_norm", "batchnorm.cu", "  if (COLUMN < C)", "  if (COLUMN >= C) return;"),
    "batch norm: the next sum too early": ("batch_norm", "column_sums.h", "shared[threadIdx.x];\n  __syncthreads();",
                                           "shared[threadIdx.x];"),
    "batch norm: a last stretch as long as all": ("batch_norm, stretches", "batchnorm.cu",
                                                  "(float)(ROWS_END(R) - int(blockIdx.y * rows))", "(float)rows"),
    "batch norm: stretches about their own means": ("batch_norm, stretches", "batchnorm.cu", " + away * away", ""),
    "cross-entropy: no barrier": ("cross_entropy", "loss.cu", "of_warps[warp] = loss;\n  __syncthreads();",
                                  "of_warps[warp] = loss;"),
    "cross-entropy: half a warp": ("cross_entropy", "warp.h", "int bits = 16; bits > 0; bits /= 2) value",
                                   "int bits = 8; bits > 0; bits /= 2) value"),
    "dropout: another multiplier": ("dropout", "dropout.cu", "__umulhi(0xCD9E8D57u", "__umulhi(0xCD9E8D59u"),
    "dense: a bias too far": ("dense", "column_sums.cu", "b[at % F]", "b[at % F + 1]"),
    "relu: no zero": ("relu", "activation.cu", "x < 0.0f", "x < -0.5f"),
    # One thread too many, or all of the last block: what they read beside an array, they write beside another.
    "relu: no end": ("relu", "activation.cu", "if (at < size) y[at] = rect", "y[at] = rect"),
    "relu: one too many backward": ("relu", "activation.cu", "if (at < size) dx[at] = drect",
                                    "if (at <= size) dx[at] = drect"),
    "dense: one bias too many": ("dense", "column_sums.cu", "if (at < size) y[at] += b", "if (at <= size) y[at] += b"),
    "batch norm: one too many": ("batch_norm", "batchnorm.cu",
                                 "if (at >= size) return;\n  int c = at % C;\n  y[at]",
                                 "if (at > size) return;\n  int c = at % C;\n  y[at]"),
    "lstm: a mask too many": ("lstm, step by step", "lstm.cu",
                              "if (unit >= N * H) return;\n  int n = unit / H, j = unit % H;\n  if (!is_real",
                              "if (unit > N * H) return;\n  int n = unit / H, j = unit % H;\n  if (!is_real"),
    "cross-entropy: one too many": ("cross_entropy", "loss.cu", "if (at < size)", "if (at <= size)"),
}
CASES: dict[str, dict[str, Any]] = {
    "lstm": {"N": 5, "T": 3, "D": 2, "H": 19}, "lstm, 128 units": {"N": 1, "T": 2, "D": 1, "H": 128},
    "gru": {"N": 5, "T": 3, "D": 2, "H": 19},
    "lstm, step by step": {"N": 5, "T": 3, "D": 2, "H": 129}, "dense": {"...": (5,), "D": 3, "F": 4},
    "conv2d": {"H": 5, "W": 6, "KH": 3, "KW": 2, "stride": 2},
    "max_pool2d": {"H": 5, "W": 6, "size": 2, "x": "boolean"},
    "batch_norm": {"...": (600, 3), "C": 3, "mean": None, "var": None},
    "batch_norm, stretches": {"...": (9000, 5), "C": 5, "mean": None, "var": None},
    "dropout": {"...": (50,), "p": 0.5, "key": (1, 2), "counter": 0},
    "cross_entropy": {"...": (5,), "K": 40, "weight": None, "sample_weight": None}, "relu": {"...": (50,)}}


def agrees(case: str) -> bool:
    """Whether an op's override agrees with its specification in the case above; False also for a KernelError."""
    op = REGISTRY[case.split(",")[0]]
    forward, backward = backend.find_override(op.module, (op.name, f"d{op.name}"), "gpu-emulated")  # type: ignore[misc]
    rng = np.random.default_rng(0)
    arrays, options = draw(op, CASES[case], rng, "float32")
    arrays = [array.astype("float32") if array is not None and array.dtype == bool else array for array in arrays]
    outputs, cache = op.forward(np, *arrays, **options)
    given = [np.asarray(rng.standard_normal(np.shape(y)), "float32") for y in tuple_of(outputs)]
    needs = tuple(array is not None and array.dtype == "float32" for array in arrays)
    expected = [*tuple_of(outputs), *tuple_of(op.backward(np, *given, cache=cache, needs=needs))]
    try:
        with emulator.checked():
            outputs, cache = forward(xp, *map(on_device, arrays), **options)
            results = [*tuple_of(outputs), *tuple_of(backward(xp, *map(on_device, given), cache=cache, needs=needs))]
    except TinynetError:
        return False
    return all(difference(a.get(), b, 1e-2) <= 1e-5 for a, b in zip(results, expected, strict=True) if b is not None)


def on_device(array: Any) -> Any:
    return None if array is None else xp.asarray(array)


def tuple_of(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


@pytest.fixture
def planted(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    def plant(file: str, old: str, new: str) -> None:
        """Use the kernels of a copy of our folder, with a change in one file."""
        folder = tmp_path / "kernels"
        shutil.copytree(FOLDER, folder, ignore=lambda _, names: [n for n in names if not n.endswith((".cu", ".h"))])
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))
        for stem in ("activation", "adam", "batchnorm", "column_sums", "conv", "dropout", "dense", "gru",
                     "gru_persistent", "layernorm", "loss", "lstm", "lstm_persistent", "pool"):
            module = __import__(f"tinynet.backend.cuda.{stem}", fromlist=[stem])
            for name, value in list(vars(module).items()):
                if isinstance(value, Kernels) and (value.path.name == file or f'#include "{file}"' in
                                                   value.path.read_text(encoding="utf-8")):
                    monkeypatch.setattr(module, name, Kernels(stem, folder / value.path.name))
    yield plant


@needs_gxx
def test_the_page_for_learners_is_true(planted: Callable[..., None], capfd: pytest.CaptureFixture[str]) -> None:
    """Its code runs, and the line to print with prints from the kernel."""
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    line, = re.findall(r"```c\n(.*?)```", page, re.S)
    after = "      State state = state_after(is_real, {C_now, h_now}, state_of(gate, C_now));\n"
    planted("lstm_persistent.cu", after, after + line)
    first, second = re.findall(r"```python\n(.*?)```", page, re.S)
    code: dict[str, Any] = {}
    exec(first, code)
    printed = capfd.readouterr().out
    assert re.findall(r"^step (\d): f 0\.\d{4}, i 0\.\d{4}, C -?0\.\d{4}, h (-?0\.\d{4})$", printed, re.M) == [
        (str(t), f"{h:.4f}") for t, h in enumerate(code["lstm"](code["x"]).numpy()[0, :, 2])]
    exec(second, code)
    (file, line, equation), = re.findall(r"break ([\w.]+):(\d+) .*# equation (\(\d+\))", page)
    assert equation in (FOLDER / file).read_text(encoding="utf-8").splitlines()[int(line) - 1]


@needs_gxx
@pytest.mark.parametrize("case", CASES)
def test_the_cases_for_planted_faults_agree(case: str) -> None:
    assert agrees(case)


@needs_gxx
@pytest.mark.parametrize("fault", PLANTED)
def test_faults_planted_in_our_kernels_are_found(planted: Callable[..., None], fault: str) -> None:
    case, file, old, new = PLANTED[fault]
    planted(file, old, new)
    assert not agrees(case)


@needs_gxx
def test_a_parameter_too_many_is_found(planted: Callable[..., None]) -> None:
    def step() -> None:
        with emulator.checked():
            adam(*(device(5) for _ in range(4)), lr=0.1, betas=(0.9, 0.999), eps=1e-8, step=1, weight_decay=0.0,
                 decoupled=False)

    step()
    planted("adam.cu", "if (at >= size) return;", "if (at > size) return;")
    with pytest.raises(KernelError, match="adam: numbers were read beside gradient, which has 5 elements"):
        step()
