"""Devices from the outside: their list, the remedy where one is missing, moves, and arrays shared with other libraries.

`other_machines.py` stands in for machines on which something is missing.
"""

import configparser
import copy
import platform
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.support import gpu_cases, other_machines
from tests.support.cuda_places import DEVICES, EMULATED, GPU, on_cupy, waits, without_waiting
from tinynet import backend
from tinynet.backend import devices as places
from tinynet.backend.cuda.runtime import emulator
from tinynet.backend.cuda.runtime import gpu as cuda
from tinynet.errors import ArgumentError, DeviceError, DtypeError
from tinynet.training import session

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MIB = 2**20


# --- what there is --------------------------------------------------------------------------------------------------

@on_cupy
def test_devices_says_what_there_is() -> None:
    here = {device.name: device for device in tn.devices()}
    assert list(here) == ["cpu", "gpu", "gpu:1", "gpu-emulated"]
    assert re.fullmatch(r"gpu:1 \(Fake GPU 1, \d.\d of 4.0 GiB free\)", str(here["gpu:1"]))
    assert here["gpu"].memory == 4 * 2**30
    assert here["gpu"].is_available
    cpu = here["cpu"]
    assert "processors" in cpu.title
    assert cpu.memory is None or 0 < cpu.free < cpu.memory


def test_each_gpu_has_a_line_with_its_own_memory_and_what_the_pool_keeps_is_free() -> None:
    with other_machines.installed(count=2, compiler=None) as cupy:
        _, first, second, _ = tn.devices()
        assert cupy.cuda.runtime.current == 0
    assert (str(first), str(second)) == ("gpu (Fake 0, 0.4 of 1.0 GiB free)", "gpu:1 (Fake 1, 0.6 of 2.0 GiB free)")
    assert (first.memory, first.free) == (2**30, 2**28 + 2**27) and (second.memory, second.free) == (2**31, 5 * 2**27)


def test_of_several_gpus_the_one_that_is_used_becomes_the_current_one() -> None:
    """Also when it was used before. A single GPU is always current."""
    with other_machines.installed(count=2, compiler=None) as cupy:
        for device, number in (("gpu:1", 1), ("gpu", 0), ("gpu:1", 1), ("gpu:0", 0)):
            assert backend.namespace(device) is cupy
            assert cupy.cuda.runtime.current == number
        with pytest.raises(DeviceError, match=r"device: gpu:2 is not there, this machine has 2 GPU\(s\); count from"):
            backend.namespace("gpu:2")
    with other_machines.installed(compiler=None) as cupy:
        assert cuda.open_device("gpu", 0) == (cupy, None)
        with pytest.raises(DeviceError, match=r"device: gpu:1 is not there, this machine has 1 GPU\(s\); count from"):
            backend.namespace("gpu:1")
    with pytest.raises(DeviceError, match="device: gpu"), other_machines.installed(count=0):  # nothing is remembered
        backend.namespace("gpu")


def test_devices_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(emulator.shutil, "which", lambda name: "/usr/bin/clang++" if name == "clang++" else None)
    monkeypatch.setattr(places, "text_of", lambda path: "")  # a system without /proc
    cpu, gpu, slow = tn.devices()
    assert cpu.is_available and cpu.memory is None
    for named, title in (("Fast 9000", "Fast 9000"), ("", "arm65")):
        monkeypatch.setattr(places.platform, "processor", lambda named=named: named)
        monkeypatch.setattr(places.platform, "machine", lambda: "arm65")
        assert places.host().title.startswith(f"{title}, ")
    assert not gpu.is_available and not slow.is_available
    assert str(gpu).startswith("gpu (not available: needs CuPy, which is not installed; pip install cupy-cuda13x")
    assert str(slow) == f"gpu-emulated (not available: {emulator.missing()})"
    assert str(emulator.missing()).endswith("apt install g++ (Debian, Ubuntu)") or sys.platform != "linux"


def test_a_compiler_for_another_processor_emulates_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert emulator.missing() is None or "g++" in str(emulator.missing())
    other = {"x86_64": "aarch64", "aarch64": "x86_64"}.get(platform.machine())
    if other is None or emulator.missing():
        pytest.skip("another processor, or no g++")
    monkeypatch.setattr(emulator.platform, "machine", lambda: other)
    assert f"g++ for this processor, {other}, got one for " in str(emulator.missing())
    monkeypatch.setattr(emulator.sys, "platform", "win32")
    assert emulator.missing() == "kernels are compiled by g++ on Linux, got win32; on Windows, use WSL"


MACHINES = {
    "no driver": ({"driver": 0}, r"device: gpu needs an NVIDIA GPU and its driver, and CuPy finds none "
                                 r"\(cuda.*Driver\); look at what nvidia-smi says, or use cpu"),
    "no GPU": ({"count": 0}, r"device: gpu needs an NVIDIA GPU and its driver, and CuPy finds none \(cudaErrorNoDev"),
    "CuPy for a newer CUDA": ({"driver": 12040}, "device: gpu has a driver for CUDA 12, and CuPy is the one for CUDA "
                              r"13; pip uninstall cupy-cuda13x, then pip install cupy-cuda12x nvidia-cublas-cu12 "
                              "nvidia-cuda-nvrtc-cu12 nvidia-cuda-runtime-cu12, or take a newer driver"),
    "no headers of CUDA": ({"compiler": "Failed to find CUDA headers."}, "device: gpu needs the compiler of CUDA 13 "
                           r"\(NVRTC\) and its headers, and CuPy, .*, cannot compile with them \(Failed to find CUDA "
                           r"headers.\); pip install cupy-cuda13x 'nvidia-cublas==13.\*' 'nvidia-cuda-nvrtc==13.\*' "
                           r"'nvidia-cuda-runtime==13.\*'"),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_missing_is_said_with_the_remedy(machine: str) -> None:
    options, message = MACHINES[machine]
    with other_machines.installed(**options):
        for move in (lambda: tn.Tensor([1.0]).to("gpu"), lambda: tn.nn.ReLU().to("gpu"),
                     lambda: tn.nn.Dense(2, 3).to("gpu"), lambda: tn.Tensor([1.0], device="gpu")):
            with pytest.raises(DeviceError, match=message):
                move()
        assert not tn.devices()[1].is_available


@pytest.mark.parametrize("major", [12, 13])
def test_the_packages_of_a_remedy_are_those_of_the_extra(major: int) -> None:
    config = configparser.ConfigParser()
    config.read(EXAMPLES.parent / "setup.cfg", encoding="utf-8")
    extra = config["options.extras_require"][f"gpu-cuda{major}"].split("\n")
    names = [re.match(r"'?([\w-]+)", package)[1] for package in cuda._wheels(major).split()]
    assert names == [line.split()[0] for line in extra if line]


@pytest.mark.parametrize(("error", "message"), [
    ("ImportError('libstdc++.so.6')", r"installed but cannot be imported \(libstdc.*\); install it anew: pip"),
    ("RuntimeError('another platform')", r"installed but cannot be imported \(another platform\); install it anew"),
    ("PermissionError('no home')", r"cannot make a folder for compiled kernels \(no home\); set CUPY_CACHE_DIR")])
def test_a_cupy_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: str,
                                        message: str) -> None:
    (tmp_path / "cupy.py").write_text(f"raise {error}")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    with pytest.raises(DeviceError, match=message):
        tn.Tensor([1.0]).to("gpu")
    assert re.search(message, " ".join(str(tn.about()).split()))


@pytest.mark.parametrize("device", [GPU])
def test_looking_for_a_gpu_again_costs_nothing(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = tn.Tensor([1.0]).to(device)
    monkeypatch.setattr(cuda, "open_device", None)
    (x + x).to(device)


# --- moving ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("device", [GPU])
def test_the_first_gpu_has_two_names(device: str) -> None:
    x = tn.Tensor([1.0, 2.0]).to("gpu:0")
    assert x.device == "gpu"
    assert x.to("gpu:0") is x.to("gpu") is x
    assert tn.Tensor(x, device="gpu:0").data is x.data
    assert tn.nn.Dense(2, 3).to("gpu:0").W.device == "gpu"


@on_cupy
def test_two_gpus() -> None:
    """Each computes with its own arrays, forward, backward and update, whichever was used last."""
    x, labels = np.ones((3, 4), "float32"), np.array([0, 1, 1])
    weights = []
    models = [tn.nn.Sequential(tn.nn.Dense(4, 5), tn.nn.BatchNorm(5), tn.nn.Dropout(0.5), tn.nn.Dense(5, 2))
              for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    for model, device in zip(models, ("gpu", "gpu:1"), strict=True):
        model.to(device)
    optimizers = [tn.optim.Adam(model.parameters()) for model in models]
    losses = [tn.ops.cross_entropy(model(tn.Tensor(x, device=device)), tn.Tensor(labels, device=device))
              for model, device in zip(models, ("gpu", "gpu:1"), strict=True)]
    for loss in losses:
        loss.backward()
    for model, optimizer in zip(models, optimizers, strict=True):
        tn.optim.clip_global_norm(model.parameters(), 1.0)
        optimizer.step()
        optimizer.state_dict()
        weights.append(model.state_dict())
    assert models[1][0].W.device == models[1][0].W.to("gpu").to("gpu:1").device == "gpu:1"
    for name, array in weights[0].items():
        np.testing.assert_array_equal(array, weights[1][name])
    first = tn.Tensor([1.0, 3.0, 2.0], device="gpu")
    for use, wanted in ((lambda x: x > 2, [0, 1, 0]), (lambda x: x == 2, [0, 0, 1]), (tn.Tensor.argmax, 1),
                        (tn.Tensor.argmin, 0)):
        backend.namespace("gpu:1")
        assert use(first).numpy().tolist() == wanted
    with pytest.raises(DeviceError, match=r'add: a is on gpu, b on gpu:1; call a.to\("gpu:1"\) or model.to\("gpu"\)'):
        models[0][0].b + models[1][0].b
    with pytest.raises(DeviceError, match="device: gpu:2 is not there, this machine has 2 GPU"):
        models[0].to("gpu:2")


@pytest.mark.parametrize("device", DEVICES)
def test_there_and_back(device: str) -> None:
    x = tn.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True).to(device)
    assert x.device == device
    assert x.requires_grad and x.detach().device == device
    y = (x * x).sum()
    y.backward()
    assert y.numpy() == 30
    assert backend.to_host(x.grad).tolist() == [[2, 4], [6, 8]]
    assert type(x.to("cpu").data) is np.ndarray
    assert f"device='{device}'" in repr(x)
    model = tn.nn.Sequential(tn.nn.Dense(3, 2)).to(device)
    assert model(tn.Tensor(tn.init.ones((4, 3)), device=device)).device == device
    assert model.to("cpu")[0].W.device == "cpu"


@pytest.mark.parametrize("device", DEVICES)
def test_indexing_by_arrays_of_the_device(device: str) -> None:
    """Shapes are known without reading the numbers; where they are what says the shape, there is an error."""
    host = np.arange(24, dtype="float32").reshape(4, 3, 2)
    x, rows = tn.Tensor(host, requires_grad=True).to(device), np.array([[3, 0], [3, 1]])
    indices = [rows, (slice(1, None), rows % 3), (rows, ..., rows % 2), (None, rows[0], 1), np.array(2), np.int64(2),
               (np.int32(1), slice(None))]
    for index in indices:
        wanted = host[index]
        there = index if isinstance(index, tuple) else (index,)
        there = tuple(tn.Tensor(part, device=device) if isinstance(part, np.ndarray) else part for part in there)
        with without_waiting(device, copying=True):
            y = x[there if isinstance(index, tuple) else there[0]]
            x.zero_grad()
            y.backward(tn.Tensor(wanted, device=device))
        np.testing.assert_array_equal(y.numpy(), wanted)
        gradient = np.zeros_like(host)
        np.add.at(gradient, index, wanted)
        np.testing.assert_array_equal(backend.to_host(x.grad), gradient)
    with without_waiting(device), \
            pytest.raises(DeviceError, match=r"getitem: index must not be a mask .*, got booleans of shape "
                                             r"\(4, 3, 2\): .*; tn.ops.where\(mask, x, 0\) keeps"):
        x[x > 3]


@pytest.mark.parametrize(("name", "use"), [
    ("less", lambda a, b: a < b), ("less_equal", lambda a, b: a <= b), ("greater", lambda a, b: a > b),
    ("greater_equal", lambda a, b: a >= b), ("equal", lambda a, b: a == b), ("not_equal", lambda a, b: a != b),
    ("getitem", lambda a, b: a[b]), ("getitem", lambda a, b: a[..., b])])
@pytest.mark.parametrize("device", DEVICES)
def test_comparisons_and_indices_on_two_devices(device: str, name: str, use: Any) -> None:
    here, there = (tn.Tensor(np.array([1, 0, 1]), device=place) for place in ("cpu", device))
    first, second = ("x", "index") if name == "getitem" else ("a", "b")
    for a, b, names in ((here, there, ("cpu", device)), (there, here, (device, "cpu")),
                        (there, here.numpy(), (device, "cpu"))):
        with pytest.raises(DeviceError, match=rf'{name}: {first} is on {names[0]}, {second} on {names[1]}; call '
                                              rf'{first}.to\("{names[1]}"\) or model.to\("{names[0]}"\)'):
            use(a, b)
    for a, b in ((here, here), (there, there)):
        assert use(a, b).numpy().tolist() == use(here.numpy(), here.numpy()).tolist()


@pytest.mark.parametrize("device", [GPU])
def test_between_the_emulator_and_a_gpu(device: str) -> None:
    x = tn.Tensor([1.0, 2.0]).to("gpu-emulated")
    assert x.to("gpu").device == "gpu"
    assert x.to("gpu").to("gpu-emulated").numpy().tolist() == [1, 2]
    with pytest.raises(DeviceError, match=r'multiply: a is on gpu-emulated, b on gpu; call a.to\("gpu"\)'):
        x * x.to("gpu")


@pytest.mark.parametrize("device", DEVICES)
def test_nothing_comes_back_silently(device: str) -> None:
    x = tn.Tensor([1.0, 2.0], device=device)
    for leak in (lambda: np.asarray(x), lambda: np.array(x), lambda: np.exp(x), lambda: np.stack([x, x])):
        with pytest.raises((DeviceError, TypeError), match=r"call .numpy\(\), or .to|unsupported|function of tn\.ops"):
            leak()
    with pytest.raises(DeviceError, match=rf"__array__: a tensor on {device} does not become .*; call .numpy\(\)"):
        np.asarray(x)
    assert np.asarray(tn.Tensor([1.0, 2.0])).tolist() == [1, 2]


def test_a_copy_that_was_not_wanted() -> None:
    x = tn.Tensor([1.0, 2.0])
    assert np.shares_memory(np.array(x, copy=False), x.data)
    assert np.shares_memory(np.asarray(x, "float32"), x.data)
    assert not np.shares_memory(np.array(x), x.data) and np.array(x).dtype == "float32"
    assert np.asarray(x, "f8").dtype == "float64"
    with pytest.raises(ArgumentError, match="__array__: copy=False cannot make an array of float64 of one of float32"):
        np.array(x, copy=False, dtype="f8")
    assert issubclass(ArgumentError, ValueError)


@pytest.fixture
def own_pool() -> Iterator[Any]:
    """A memory pool of CuPy's for one test. Large blocks of the default one may have free parts."""
    xp = backend.namespace("gpu")
    pool = xp.cuda.MemoryPool()
    with xp.cuda.using_allocator(pool.malloc):
        yield pool


@on_cupy
def test_memory_that_is_full(own_pool: Any) -> None:
    """When arrays are moved, on the way forward, and on the way back."""
    from tests.support.cupy_on_cpu import machine
    x = tn.Tensor(np.ones((3000, 3000), "float32"), requires_grad=True).to("gpu")
    own_pool.free_all_blocks()
    with machine.memory(2**20):
        with pytest.raises(DeviceError, match=r"to: an array does not fit into the memory of gpu \(Fake GPU 0, .* of "
                                              r"4.0 GiB free\): Out of memory .* 36,000,256 bytes.*; make batch_s"):
            tn.Tensor(np.ones((3000, 3000), "float32")).to("gpu")
        with pytest.raises(DeviceError, match=r"exp: an array does not fit into the memory of gpu .*Out of memory"):
            tn.ops.exp(x)
    y = tn.ops.exp(x).sum()
    own_pool.free_all_blocks()
    with machine.memory(2**20), pytest.raises(DeviceError, match="backward of exp: an array does not fit"):
        y.backward()


@pytest.mark.parametrize("device", ["cpu", EMULATED])
def test_the_device_whose_memory_is_full_is_named(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **options: Any) -> Any:
        raise MemoryError("Unable to allocate 9 GiB")

    with tn.using("reference"):
        monkeypatch.setattr(tn.ops.exp, "backward", full)
        y = tn.ops.exp(tn.Tensor([1.0], requires_grad=True, device=device))
        with pytest.raises(DeviceError, match=rf"^backward of exp: an array does not fit into .* of {device} \("):
            y.backward()
        monkeypatch.setattr(tn.ops.exp, "forward", full)
        with pytest.raises(DeviceError, match=rf"^exp: an array does not fit into .* of {device} \("):
            tn.ops.exp(tn.Tensor([1.0], device=device))


# --- memory shared with other libraries -----------------------------------------------------------------------------

def test_dlpack_with_numpy() -> None:
    ours = tn.Tensor([[1.0, 2.0], [3.0, 4.0]])
    theirs = np.from_dlpack(ours)
    assert theirs.ctypes.data == ours.data.ctypes.data
    again = tn.from_dlpack(theirs, requires_grad=True)
    assert again.data.ctypes.data == theirs.ctypes.data
    assert again.requires_grad


def test_the_options_of_the_dlpack_protocol_are_passed_on() -> None:
    """Such as the stream of the other library, which must wait for ours."""
    ours, options = tn.Tensor([1.0]), {"stream": 7, "max_version": (1, 0), "dl_device": (2, 0), "copy": True}
    ours.data = SimpleNamespace(__dlpack__=lambda **given: given, __dlpack_device__=lambda: (2, 1))  # type: ignore
    assert ours.__dlpack__(**options) == options
    assert ours.__dlpack_device__() == (2, 1)


def test_dlpack_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    ours = tn.nn.Dense(3, 2).W
    theirs = torch.from_dlpack(ours)
    assert theirs.data_ptr() == ours.data.ctypes.data
    theirs[0, 0] = 7.0
    assert ours.numpy()[0, 0] == 7.0
    made = torch.arange(6.0).reshape(2, 3).T
    shared = tn.from_dlpack(made)
    assert shared.shape == (3, 2)
    assert shared.data.ctypes.data == made.data_ptr()
    made += 1
    assert shared.numpy()[0, 0] == 1.0
    assert tn.from_dlpack(torch.arange(3)).dtype == "int64"
    for offered, said in ((torch.ones(2, dtype=torch.bfloat16), r"torch.bfloat16 \(Unsupported dtype"),
                          (torch.ones(2, requires_grad=True), r"torch.float32 \(Can't export tensors that require")):
        with pytest.raises(DtypeError, match=f"from_dlpack: data must be numbers .*, got {said}.*; convert or detach"):
            tn.from_dlpack(offered)


def test_dlpack_with_jax() -> None:
    jax = pytest.importorskip("jax")
    x = jax.numpy.arange(4.0)
    ours = tn.from_dlpack(x)
    assert ours.data.ctypes.data == x.unsafe_buffer_pointer()
    big = tn.Tensor(np.ones((64, 64), "float32"))
    assert np.array_equal(jax.numpy.from_dlpack(big), big.numpy())


@on_cupy
def test_dlpack_on_gpus() -> None:
    x = tn.Tensor([1.0, 2.0]).to("gpu:1")
    assert x.__dlpack_device__() == (2, 1)
    backend.namespace("gpu")
    shared = tn.from_dlpack(x)
    assert shared.device == "gpu:1"
    assert shared.data.data.ptr == x.data.data.ptr


def test_dlpack_of_the_emulator_and_of_other_devices() -> None:
    x = tn.Tensor([1.0]).to("gpu-emulated")
    for share in (x.__dlpack__, x.__dlpack_device__):
        with pytest.raises(DeviceError, match=r'cannot share memory on gpu-emulated, .*; call .to\("cpu"\) first'):
            share()
    with pytest.raises(DtypeError, match=r"from_dlpack: data must be an array .*, got list; tn.Tensor\(data\)"):
        tn.from_dlpack([1.0, 2.0])
    with pytest.raises(DeviceError, match=r'device: must be "cpu", "gpu", .*, got None'):
        x.to(None)  # type: ignore[arg-type]
    metal = types.SimpleNamespace(__dlpack_device__=lambda: (8, 0))
    with pytest.raises(DeviceError, match=r"from_dlpack: .* types 1 and 2\), got type 8; move it to the CPU first"):
        tn.from_dlpack(metal)


class Foreign:
    """An array of another library on a GPU."""

    def __init__(self, number: int) -> None:
        self.device = SimpleNamespace(id=number)
        self.dtype, self.shape, self.__cuda_array_interface__ = np.dtype("float32"), (3,), {"number": number}

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device.id


def test_an_array_of_another_library_is_shared_on_the_gpu_that_it_is_on() -> None:
    """CuPy is asked for it while that GPU is the current one."""
    first, second = Foreign(0), Foreign(1)
    with other_machines.installed(count=2, compiler=None) as cupy:
        current = cupy.cuda.runtime
        cupy.from_dlpack = lambda data: (data, current.current)
        for array, number in ((second, 1), (first, 0)):
            assert backend.from_dlpack(array) == (array, number)  # type: ignore[arg-type]
        shared, cupy.ndarray = Foreign(0), type("ndarray", (), {})
        cupy.asarray = lambda data: shared if data is first else None
        assert backend.as_array(first) is shared  # type: ignore[arg-type]
        with pytest.raises(DeviceError, match=r"^device: gpu:5 is not there, this machine has 2 GPU"):
            backend.from_dlpack(Foreign(5))  # type: ignore[arg-type]
        for error in (BufferError, RuntimeError):
            def refuse(data: Any, error: Any = error) -> Any:
                raise error("of this kind")

            cupy.from_dlpack = refuse
            with pytest.raises(DtypeError, match=r"from_dlpack: data must be numbers .*, got float32 \(of this kind\)"):
                backend.from_dlpack(first)  # type: ignore[arg-type]


def test_a_gpu_is_named_by_its_number_and_one_device_is_common() -> None:
    host, first, second = np.ones(3), Foreign(0), Foreign(1)
    emulated = backend.to_device(host, "gpu-emulated")
    assert [backend.device_of(one) for one in (host, np.float32(1), first, second, emulated)] == [
        "cpu", "cpu", "gpu", "gpu:1", "gpu-emulated"]
    for arrays, common in (([], "cpu"), ([None], "cpu"), ([None, host, host], "cpu"), ([second, None, second], "gpu:1"),
                           ([first, second], None), ([second, first], None), ([host, None, emulated], None),
                           ([emulated, first], None), ([np.float32(1), host], "cpu"), ([emulated], "gpu-emulated")):
        assert backend.common_device(arrays) == common


def test_memory_of_a_device_that_is_full_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any) -> Any:
        raise MemoryError("Out of memory")

    x = tn.Tensor([1.0])
    monkeypatch.setattr(type(backend.namespace("gpu-emulated")), "asarray", full)
    with pytest.raises(DeviceError, match=r"^to: an array does not fit into the memory of gpu-emulated \(.*Out of"):
        x.to("gpu-emulated")
    error = backend.out_of_memory("exp", "gpu:7", MemoryError("of 5 bytes"))
    assert str(error).startswith("exp: an array does not fit into the memory of gpu:7: of 5 bytes; make batch_size")


@pytest.mark.parametrize("device", [GPU])
def test_what_another_library_has_on_a_gpu_stays_there(device: str) -> None:
    memory = backend.namespace(device).ones(3, "float32")
    foreign = types.SimpleNamespace(__cuda_array_interface__=memory.__cuda_array_interface__, dtype=memory.dtype)
    x = tn.Tensor(foreign)
    assert x.device == device
    assert x.data.data.ptr == memory.data.ptr


# --- training does not wait -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("device", DEVICES)
def test_a_step_of_fit_copies_the_batch_and_never_waits(device: str,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """All that `fit` does between two batches, its schedule, guard, callbacks and progress included: the first thing
    that waits is an error. The device runs ahead of the host until the epoch ends. Of steps that are recorded, see
    test_recorded.py."""
    seen: list[int] = []

    class Count(tn.callbacks.Callback):
        def on_step(self, run: Any) -> None:
            seen.append(waits(device))

    x, labels = np.ones((40, 6), "float32"), np.arange(40) % 3
    model = tn.nn.Sequential(tn.nn.Dense(6, 8), tn.nn.BatchNorm(8), tn.nn.ReLU(), tn.nn.Dropout(0.2), tn.nn.Dense(8, 3))
    optimizer = tn.optim.Adam(model.to(device).parameters())
    step, calls = session.train_step, []

    def forbidden(*args: Any) -> Any:
        calls.append(1)
        with without_waiting(device, copying=True):
            return step(*args)

    monkeypatch.setattr(session, "train_step", forbidden)
    loader = tn.data.Loader(x, labels, batch_size=4, shuffle=True, threads=1)
    tn.fit(model, optimizer, loader, epochs=1, schedule=tn.optim.OneCycle(optimizer, 1e-2, 10), max_norm=1.0,
           callbacks=[Count()], graph=False, show=False)
    assert len(calls) == len(seen) == 10
    assert len(set(seen)) == 1


# --- the examples ---------------------------------------------------------------------------------------------------

TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(EXAMPLES.glob("*.py"))}
CALLING = ("train_folder.py",)  # with the options of another program
WITH_DEVICES = [name for name, text in TEXTS.items() if '__name__ == "__main__"' in text
                and ("experiment.parser(" in text or '"--device"' in text or name in CALLING)]


def test_every_example_that_trains_runs_on_any_device() -> None:
    others = {name for name, text in TEXTS.items() if '__name__ == "__main__"' in text} - set(WITH_DEVICES)
    assert others == {"lab_digit.py", "lstm_by_hand.py", "lstm_versions.py", "mnist_selection.py", "reliability.py",
                      "results.py", "train_small_lstm.py", "xray_selection.py"}
    assert all("There is no --device: " in TEXTS[name] for name in others - {"results.py"})


@pytest.mark.parametrize("example", WITH_DEVICES)
def test_the_examples_name_the_devices(example: str) -> None:
    done = subprocess.run([sys.executable, EXAMPLES / example, "--help"], capture_output=True, text=True, timeout=120)
    assert re.search(r"cpu, gpu, gpu:1 \.\.\.,?\s+or\s+gpu-emulated", done.stdout), done.stdout


# --- on a GPU, and on the emulator ----------------------------------------------------------------------------------

@pytest.mark.parametrize("device", [GPU])
@pytest.mark.parametrize("name", gpu_cases.CASES)
def test_on_a_gpu(name: str, device: str) -> None:
    gpu_cases.CASES[name](device)


@pytest.mark.skipif(not tn.devices()[-1].is_available, reason="there is no C++ compiler for the emulator")
@pytest.mark.parametrize("name", [name for name in gpu_cases.CASES if not name.startswith("op ")])
def test_on_the_emulator(name: str) -> None:
    """The ops are in test_cuda_kernels.py."""
    gpu_cases.CASES[name]("gpu-emulated")


def test_a_case_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    right = dict(gpu_cases.CASES)
    ones, zeros = np.ones(2), np.zeros(2)
    monkeypatch.setitem(gpu_cases.CASES, "broken", lambda device: gpu_cases.assert_close("y", ones, zeros, 0))
    name = next(iter(right))
    assert gpu_cases.failures("cpu", [name, "broken"]) == {"broken": "AssertionError: y: error 1.0e+00, at most 0e+00 "
                                                                     "allowed"}


# --- files ----------------------------------------------------------------------------------------------------------

def test_files_and_numbers_of_a_model_on_a_device_are_those_of_the_host(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    tn.seed(0)
    models = {"cpu": tn.nn.Sequential(tn.nn.BatchNorm(5), tn.nn.LSTM(5, 4), tn.nn.Conv1D(4, 3, 3), tn.nn.ReLU(),
                                      tn.nn.Flatten(), tn.nn.Dense(12, 3), input_shape=(6, 5))}
    x, labels = np.random.default_rng(0).standard_normal((8, 6, 5)).astype("float32"), np.arange(8) % 3
    with tn.using("reference"):
        models["cpu"](tn.Tensor(x))  # averages for BatchNorm
    models["gpu-emulated"] = copy.deepcopy(models["cpu"]).to("gpu-emulated")
    kinds, found = set[type](), []

    def noted(truth: Any, outputs: Any) -> float:
        kinds.update(map(type, (truth, outputs)))
        return float((outputs.argmax(axis=-1) * truth).sum())

    with tn.using("reference"):
        for device, model in models.items():
            tn.save(tmp_path / "model", model)
            tn.to_onnx(model, tmp_path / "model.onnx")
            weights = tn.exchange.to_torch(model), tn.exchange.to_keras(model)
            arrays = [array for one in weights for array in one.values()] + [tn.predict(model, x)]
            kinds.update(map(type, arrays))
            loader = tn.data.Loader(x, labels, batch_size=3, device=device)
            found.append(([(tmp_path / name).read_bytes() for name in ("model", "model.onnx")], arrays,
                          tn.evaluate(model, loader, metrics={"noted": noted})))
    (files, ours, scores), (others, theirs, same) = found
    assert kinds == {np.ndarray} and files == others and same == pytest.approx(scores)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
