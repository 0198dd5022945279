"""The real CuPy on a CPU: what it must notice, and an example from the outside."""

import ctypes
import gc
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.support import cupy_on_cpu
from tests.support.cuda_places import CUPY, on_cupy
from tests.support.cupy_on_cpu import host, kernels
from tinynet import backend, models
from tinynet.backend.cuda.runtime import cublas, graph
from tinynet.backend.cuda.runtime.gemm import matmul
from tinynet.backend.cuda.runtime.launch import Kernels, one_each
from tinynet.errors import DeviceError

ROOT = Path(__file__).resolve().parents[3]
EMPTY = 'extern "C" __global__ void k() {}'


@pytest.fixture
def cupy() -> Any:
    return backend.namespace("gpu")


@pytest.fixture
def machine() -> Any:
    from tests.support.cupy_on_cpu import machine
    return machine


def test_without_it_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cupy_on_cpu.is_installed() <= (cupy_on_cpu.reason() is None)
    monkeypatch.setattr(cupy_on_cpu.importlib.util, "find_spec", lambda name: None)
    assert "pip install cupy-cuda13x==" in str(cupy_on_cpu.reason())
    with pytest.raises(RuntimeError, match="pip install cupy"):
        cupy_on_cpu.install()


@pytest.mark.parametrize(("path", "code", "said"), [
    pytest.param(None, pytest.ExitCode.TESTS_FAILED, "1 passed, 1 skipped", marks=CUPY),
    ("", pytest.ExitCode.USAGE_ERROR, "these tests need the real CuPy: CuPy on a CPU needs Linux and g++")])
def test_what_is_skipped_is_a_failure(path: str | None, code: int, said: str, tmp_path: Path) -> None:
    """With the plugin, as make test-cupy runs the tests."""
    (tmp_path / "test_two.py").write_text("import pytest\ndef test_one(): pass\ndef test_two(): pytest.skip('')\n")
    done = subprocess.run([sys.executable, "-m", "pytest", "-p", "tests.support.cupy_on_cpu.plugin", tmp_path, "-c",
                           ROOT / "setup.cfg"], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, **({} if path is None else {"PATH": path})})
    assert done.returncode == code and said in done.stdout + done.stderr


# --- planted faults -------------------------------------------------------------------------------------------------

def planted(cupy: Any) -> dict[str, tuple[Callable[[], Any], str]]:
    _, recorded = graph.capture("gpu", lambda: cupy.empty(3))
    kept = [recorded]
    del recorded
    image, loaded = str(kernels.compiled(EMPTY)).encode(), [cupy.cuda.function.Module()]
    loaded[0].load(image)
    return {
        "a free": (lambda: (cupy.cuda.memory.Memory(1000), None)[1], "memory is freed during a capture"),
        "the end of a graph": (kept.clear, "the end of a graph during a capture"),
        "compiling": (lambda: cupy.RawModule(code=EMPTY.replace("k", "fresh")).get_function("fresh"),
                      "compiling a module during a capture"),
        "loading": (lambda: cupy.cuda.function.Module().load(image), "loading a module during a capture"),
        "unloading": (loaded.clear, "unloading a module during a capture"),
        "waiting": (cupy.cuda.runtime.deviceSynchronize, "waiting for the device during a capture"),
        "another stream": (lambda: cupy.cuda.runtime.memsetAsync(cupy.empty(3).data.ptr, 0, 8, 0),
                           "on another stream during a capture"),
    }


@on_cupy
@pytest.mark.parametrize("name", ["a free", "the end of a graph", "compiling", "loading", "unloading", "waiting",
                                  "another stream"])
def test_what_a_capture_must_not_do(name: str, cupy: Any, machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda error: None)  # of destructors
    act, message = planted(cupy)[name]
    gc.collect()
    with machine.expected(message):
        try:
            graph.capture("gpu", act)
        except DeviceError as error:
            assert message in str(error)
            assert "run all kernels once before" in str(error)
        gc.collect()


@on_cupy
@pytest.mark.parametrize(("act", "hint"), [
    (lambda x: x @ x, 'model.astype("float32")'),
    (lambda x: tn.ops.dense(tn.Tensor(x), tn.Tensor(x)), 'model.astype("float32")'),
    (lambda x: tn.ops.concatenate([tn.Tensor(x)] * 9), "join at most 8 arrays at once")])
def test_what_cupy_cannot_record_is_refused_with_the_remedy(act: Callable[[Any], Any], hint: str, cupy: Any) -> None:
    x = cupy.ones((4, 4))

    def can_be_recorded() -> Any:
        return tn.Tensor(x) @ tn.Tensor(x), tn.ops.concatenate([tn.Tensor(x)] * 8)

    act(x)
    can_be_recorded()
    with pytest.raises(DeviceError) as error:
        graph.capture("gpu", lambda: act(x))
    assert hint in str(error.value)
    graph.capture("gpu", can_be_recorded)


@on_cupy
def test_garbage_is_not_collected_during_a_capture(cupy: Any) -> None:
    """Cycles that hold a graph and a pool are left for later."""
    def cycle() -> None:
        held: dict[str, Any] = {"pool": cupy.cuda.MemoryPool()}
        with cupy.cuda.using_allocator(held["pool"].malloc):
            held["array"] = cupy.empty(1000)
        held["graph"] = graph.capture("gpu", lambda: cupy.empty(3), is_large=False)
        held["itself"] = held

    def work() -> None:
        if gc.isenabled():  # then Python may collect at each new object
            gc.collect()

    for is_large in (False, True):
        cycle()
        graph.capture("gpu", work, is_large=is_large)
    assert gc.isenabled()


@on_cupy
def test_a_missing_synchronisation_shows_old_values(cupy: Any) -> None:
    """Of a copy to the host that nothing waits for, and of work on two streams that do not wait for each other."""
    pinned = cupy.cuda.alloc_pinned_memory(64)
    host = np.frombuffer(pinned, "float32", 16)
    host[...] = 7
    ones, stream = cupy.ones(16, "float32"), cupy.cuda.Stream(non_blocking=True)
    ones.data.copy_to_host_async(ctypes.c_void_p(host.ctypes.data), 64)
    assert host[0] == 7
    cupy.cuda.get_current_stream().synchronize()
    assert host[0] == 1

    late = cupy.zeros(16, "float32")
    cupy.cuda.get_current_stream().synchronize()
    late += 1  # on the current stream
    for waits in (False, True):
        if waits:
            stream.wait_event(cupy.cuda.get_current_stream().record())
        with stream:
            seen = late + 1
            assert seen.get()[0] == (2 if waits else 1)


@on_cupy
def test_new_and_freed_memory_is_nan(cupy: Any, machine: Any) -> None:
    assert np.isnan(cupy.empty(3).get()).all()
    used = cupy.ones(3)
    address = used.data.ptr
    del used
    again = cupy.empty(3)  # CuPy's pool gives the same memory
    assert again.data.ptr == address and np.isnan(again.get()).all()
    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.using_allocator(pool.malloc):
        x = cupy.ones(3)
    view = cupy.ndarray(3, memptr=cupy.cuda.MemoryPointer(cupy.cuda.UnownedMemory(x.data.ptr, 24, None, 0), 0))
    del x
    pool.free_all_blocks()
    with machine.expected("the address of freed memory"), pytest.raises(RuntimeError, match="freed memory"):
        view + 1


@on_cupy
def test_memory_of_another_gpu_is_a_fault(cupy: Any, machine: Any) -> None:
    launched = Kernels("activation")
    x = backend.to_device(np.ones(3, "float32"), "gpu:1")
    launched.launch("relu", one_each(3), x, cupy.ndarray(3, "float32", x.data), 3)
    cupy.cuda.runtime.setDevice(0)
    with machine.expected("relu on gpu:0 gets memory of gpu:1"), pytest.raises(RuntimeError):
        launched.launch("relu", one_each(3), x, cupy.ndarray(3, "float32", x.data), 3)


@on_cupy
def test_a_wrong_leading_dimension_is_a_fault(cupy: Any, machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    A, product = cupy.ones((4, 5), "float32"), cublas.Cublas.product

    def wrong(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        return product(self, a._replace(leading=a.leading - 1), b, *rest)

    matmul(A.T, A)  # loads cuBLAS, and is of another form
    monkeypatch.setattr(cublas.Cublas, "product", wrong)
    with machine.expected("leading dimension"), pytest.raises(DeviceError, match="got 14"):
        matmul(A, A.T)


@on_cupy
def test_small_numbers_are_flushed_to_zero(cupy: Any) -> None:
    """As NVRTC does it with -ftz=true, which CuPy adds."""
    x = cupy.asarray(np.array([1e-39, 1e-30], "float32"))
    assert (x * np.float32(1)).get().tolist() == [0, np.float32(1e-30)]


@on_cupy
def test_launches_copies_and_waits_are_counted(cupy: Any, machine: Any) -> None:
    x = cupy.zeros(8)
    x += 1
    before = machine.counts.copy()
    x += 1
    assert machine.counts - before == {"launch": 1}
    x.get()
    assert machine.counts - before == {"launch": 1, "copy": 1, "wait": 1}


MODELS = {name for name, one in vars(models).items() if inspect.isfunction(one) and one.__module__ == models.__name__
          and all(parameter.default is not parameter.empty for parameter in inspect.signature(one).parameters.values())}
# Launches of kernels, and products, of a training step of 128 images: forward, loss, backward and Adam. The products of
# pneumonia_cnn_lstm are those of some images at a time.
LAUNCHES = {"lstm_cnn": (29, 10), "cnn": (43, 12), "lstm": (19, 7), "deep_lstm_cnn": (61, 24), "cnn_lstm": (32, 10),
            "idc_lstm_cnn": (29, 10), "idc_lstm": (19, 7), "idc_cnn": (53, 15), "pneumonia_cnn_lstm": (98, 61)}


@on_cupy
@pytest.mark.parametrize("name", MODELS)
def test_the_launches_of_a_recorded_step(name: str, machine: Any) -> None:
    step = host.step(name)
    step()  # compiles
    machine.forget()
    before = machine.counts.copy()
    graph.capture("gpu", step)
    found = machine.counts - before
    assert (found["launch"], found["product"]) == LAUNCHES[name]
    assert not found["copy"] and not found["set"] and not found["wait"]


# --- from the outside -----------------------------------------------------------------------------------------------

@on_cupy
def test_an_example_prints_what_it_prints_on_a_cpu(tmp_path: Path) -> None:
    """The losses and accuracies, to the last digit."""
    def lines(device: str, *command: str) -> list[str]:
        done = subprocess.run([sys.executable, *command, ROOT / "examples" / "mnist_lstm_cnn.py", "--data", "digits",
                               "--limit", "300", "--epochs", "2", "--device", device, "--out", tmp_path / device],
                              cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        return [re.sub(r"[\d.,]+ (?:s|images/s)(?= |$)", "", line) for line in done.stdout.splitlines()
                if "accuracy" in line]

    assert lines("gpu", "-m", "tests.support.cupy_on_cpu") == lines("cpu")
