"""Which code runs an op, and that nothing stands in the way of a GPU: the emulated one runs the specification."""

import itertools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.support.complete import OPS
from tests.support.op_cases import draw
from tinynet import backend
from tinynet.backend.cuda.runtime import fake_cupy
from tinynet.backend.cuda.runtime.fake_cupy import no_waiting
from tinynet.errors import ArgumentError, DeviceError, GradientError
from tinynet.op import REGISTRY, UPDATES, Op, Update, op
from tinynet.optim.adam import adam
from tinynet.optim.sgd import sgd

TRIALS = [pytest.param(each, case, id=f"{name}-{i}") for name, each in OPS.items() for i, case in enumerate(each.cases)]


# --- overrides ------------------------------------------------------------------------------------------------------

@op("x:(...) -> y:(...)", cases=[{}])
def doubled(xp: Any, x: Any) -> Any:
    return 2 * x, "specification"


@doubled.gradient
def ddoubled(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    assert cache == "specification", "the backward of the specification got the cache of an override"
    return 2 * dy


del REGISTRY["doubled"]  # it is for this file alone
doubled.module = "tinynet.ops.test_backend"  # where overrides of tinynet's own ops are looked for


def fast_doubled(xp: Any, x: Any) -> Any:
    if x.size == 1:
        return NotImplemented
    return 2 * x + 100, "fast"


def dfast_doubled(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    assert cache == "fast", "the backward of an override got the cache of the specification"
    return 2 * dy + 100


@pytest.fixture
def overridden(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts functions into a module that lies where overrides of this file's ops are looked for."""
    monkeypatch.setattr(backend.overrides, "_overrides", {})

    def override(**functions: Any) -> None:
        module = types.ModuleType("tinynet.backend.cpu.test_backend")
        module.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
        vars(module).update(functions)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return override


def run(*values: float) -> tuple[list[float], list[float]]:
    """Outputs and gradients of `doubled`."""
    x = tn.Tensor(list(map(float, values)), requires_grad=True)
    y = doubled(x)
    y.sum().backward()
    return y.numpy().tolist(), x.grad.tolist()


def test_an_op_without_an_override_runs_the_specification(overridden: Any) -> None:
    assert run(1, 2) == ([2, 4], [2, 2])


def test_an_override_is_found_by_the_names_of_its_file_and_functions(overridden: Any) -> None:
    overridden(doubled=fast_doubled, ddoubled=dfast_doubled)
    assert run(1, 2) == ([102, 104], [102, 102])


def test_using_reference_leaves_overrides_out(overridden: Any) -> None:
    overridden(doubled=fast_doubled, ddoubled=dfast_doubled)
    with tn.using("reference"):
        assert run(1, 2) == ([2, 4], [2, 2])
        with tn.using("fast"):
            assert run(1, 2) == ([102, 104], [102, 102])
        assert run(1, 2) == ([2, 4], [2, 2])
    assert run(1, 2) == ([102, 104], [102, 102])


def test_backward_comes_from_where_forward_came_from(overridden: Any) -> None:
    """Also where `using` has changed in between."""
    overridden(doubled=fast_doubled, ddoubled=dfast_doubled)
    x = tn.Tensor([1.0, 2.0], requires_grad=True)
    y = doubled(x).sum()
    with tn.using("reference"):
        y.backward()
        z = doubled(x).sum()
    assert x.grad.tolist() == [102, 102]
    x.zero_grad()
    z.backward()
    assert x.grad.tolist() == [2, 2]


def test_an_override_may_decline(overridden: Any) -> None:
    overridden(doubled=fast_doubled, ddoubled=dfast_doubled)
    assert run(1) == ([2], [2])


@pytest.mark.parametrize("module", ["theirs.lstm", "lstm", "tinynet_extras.ops.lstm", "__main__"])
@pytest.mark.parametrize("device", ["cpu", "gpu-emulated"])
def test_the_modules_of_others_are_not_overridden(module: str, device: str) -> None:
    """A user's own op may be called as one of tinynet's."""
    assert backend.find_override("tinynet.ops.lstm", ("lstm", "dlstm"), device)
    assert backend.find_override(module, ("lstm", "dlstm"), device) is None
    assert backend.implementations(module, ("lstm", "dlstm")).startswith("specification ")


@pytest.mark.parametrize(("functions", "message"), [
    ({"doubled": fast_doubled}, "and ddoubled is missing; write it, or remove the other one"),
    ({"ddoubled": dfast_doubled}, "and doubled is missing; write it, or remove the other one")])
def test_half_an_override_is_refused(overridden: Any, functions: dict[str, Any], message: str) -> None:
    overridden(**functions)
    for _ in range(2):
        with pytest.raises(GradientError, match="doubled: backend/cpu/test_backend.py must define both doubled and "
                                                f"ddoubled, {message}"):
            run(1, 2)
    with tn.using("reference"):
        assert run(1, 2) == ([2, 4], [2, 2])


def test_using_takes_one_of_two_words() -> None:
    with pytest.raises(ArgumentError, match='using: which must be "reference" or "fast", got \'slow\''), \
            tn.using("slow"):
        pass


def test_an_override_whose_module_needs_what_is_not_there_is_left_out(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr("tinynet.backend.cpu.__path__", [str(tmp_path)])
    monkeypatch.setattr(backend.overrides, "_overrides", {})
    names = "doubled", "ddoubled"
    for text in ("import a_module_that_is_not_installed", "import numba_that_is_not_installed.jit as njit"):
        (tmp_path / "fast_ops.py").write_text(f"{text}\ndef doubled(): ...\n")
        assert backend.find_override("tinynet.ops.fast_ops", names, "cpu") is None
    assert backend.find_override("tinynet.ops.no_such_ops", names, "cpu") is None
    assert backend.find_override("fast_ops", names, "cpu") is None
    (tmp_path / "fast_wrong.py").write_text("from tinynet.errors import NoSuchError\n")
    with pytest.raises(ImportError, match="NoSuchError"):  # a mistake is not passed over in silence
        backend.find_override("tinynet.ops.fast_wrong", names, "cpu")


def test_the_text_of_an_op_names_the_files_that_implement_it() -> None:
    assert repr(tn.ops.lstm) == (f"<op lstm: {tn.ops.lstm.contract.text}\n"
                                 "  specification ops/lstm.py · cpu backend/cpu/lstm.py · gpu backend/cuda/lstm.py>")
    assert repr(adam) == ("<update adam\n"
                          "  specification optim/adam.py · cpu backend/cpu/adam.py · gpu backend/cuda/adam.py>")
    assert repr(doubled).endswith("specification ops/test_backend.py>")


@pytest.mark.parametrize("each", [*OPS.values(), *UPDATES.values()], ids=[*OPS, *UPDATES])
def test_the_files_that_are_named_are_those_that_run(each: Any) -> None:
    names = (each.name,) if isinstance(each, Update) else (each.name, f"d{each.name}")
    named = backend.implementations(each.module, names)
    pytest.importorskip("numba")
    for device, emulated in (("cpu", "cpu"), ("gpu", "gpu-emulated")):
        assert (f"· {device} " in named) == (backend.find_override(each.module, names, emulated) is not None)


def test_everything_runs_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend.overrides, "_overrides", {})
    for name in [name for name in sys.modules if name.startswith(("tinynet.backend.cpu", "numba"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "numba", None)  # import numba: ImportError
    x, y = tn.Tensor(np.ones((2, 3, 4), "float32")), tn.nn.LSTM(4, 5)
    without = y(x).numpy().copy()
    assert all(pair is None for pair in backend.overrides._overrides.values())
    with tn.using("reference"):
        assert np.array_equal(without, y(x).numpy())


@pytest.mark.parametrize("device", ["cpu", "gpu-emulated"])
def test_without_numba_nothing_is_recorded_and_a_cpu_has_done_the_work(device: str, monkeypatch: pytest.MonkeyPatch
                                                                       ) -> None:
    def missing(*given: Any) -> Any:
        raise ImportError("no Numba here")

    monkeypatch.setattr(backend.overrides, "module_for", missing)
    done = list[int]()
    with pytest.raises(DeviceError, match=r"record: only kernels are recorded, and these need Numba \(no Numba here\); "
                                          "install it"):
        backend.record(device, lambda: done.append(1))
    assert done == [1] * (device == "cpu")


def test_updates_are_overridden_like_ops(overridden: Any) -> None:
    @Update
    def grown(xp: Any, value: Any, *, by: float) -> None:
        value += by

    def fast_grown(xp: Any, value: Any, *, by: float) -> Any:
        if by < 0:
            return NotImplemented
        value += by + 100
        return None

    del UPDATES["grown"]
    grown.module = "tinynet.optim.test_backend"
    value = np.zeros(2)
    grown(value, by=1.0)
    assert value.tolist() == [1, 1]
    backend.overrides._overrides.clear()
    overridden(grown=fast_grown)
    grown(value, by=1.0)
    assert value.tolist() == [102, 102]
    grown(value, by=-2.0)
    assert value.tolist() == [100, 100]
    with tn.using("reference"):
        grown(value, by=1.0)
    assert value.tolist() == [101, 101]


# --- devices --------------------------------------------------------------------------------------------------------

@pytest.fixture
def no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)


@pytest.mark.usefixtures("no_cupy")
def test_without_cupy_the_gpu_says_how_to_get_it() -> None:
    for move in (lambda: tn.Tensor([1.0]).to("gpu"), lambda: tn.nn.Dense(2, 3).to("gpu"),
                 lambda: tn.Tensor([1.0], device="gpu:1")):
        with pytest.raises(DeviceError, match=r"device: gpu.* needs CuPy, .*; pip install cupy-cuda13x 'nvidia"):
            move()


@pytest.mark.parametrize("name", ["tpu", "cuda", "gpu:", "gpu:x", "gpu:-1", "CPU", "", "cpu:0", "gpu-emulated:1"])
def test_unknown_devices(name: str) -> None:
    with pytest.raises(DeviceError, match=r'device: must be "cpu", .* or "gpu-emulated", got .*; model.to\("cpu"\)'):
        tn.Tensor([1.0]).to(name)


@pytest.fixture
def gpu() -> Iterator[None]:
    """The emulated GPU runs the specification."""
    with tn.using("reference"):
        yield


def to_device(value: Any) -> Any:
    """NumPy arrays, also inside of lists and tuples, as arrays of the device: copies."""
    if isinstance(value, np.ndarray):
        return fake_cupy.Array(value.copy())
    if isinstance(value, list | tuple):
        return type(value)(map(to_device, value))
    return value


def as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def assert_same(on_device: Any, on_host: Any) -> None:
    """The device's results are those of the host, with the same dtype; None for None."""
    assert len(on_device) == len(on_host)
    for ours, expected in zip(on_device, on_host, strict=True):
        assert (ours is None) == (expected is None)
        if ours is not None:
            assert isinstance(ours, fake_cupy.Array), f"a result is no array of the device but {type(ours)}"
            found = ours._host
            assert found.dtype == np.asarray(expected).dtype
            np.testing.assert_allclose(found, expected, rtol=3e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("each", "case"), TRIALS)
def test_every_op_runs_on_a_device_and_never_waits(each: Op, case: dict[str, Any], dtype: str) -> None:
    rng = np.random.default_rng(0)
    arrays, options = draw(each, case, rng, dtype)
    needs = tuple(array is not None and array.dtype.kind == "f" for array in arrays)
    outputs, cache = each.forward(np, *arrays, **options)
    douts = [np.asarray(rng.standard_normal(np.shape(y)), np.asarray(y).dtype) for y in as_tuple(outputs)]
    gradients = as_tuple(each.backward(np, *douts, cache=cache, needs=needs))
    with no_waiting(copying=each.name == "getitem"):  # a list of numbers is an index on the host
        there, cache = each.forward(fake_cupy.namespace, *to_device(arrays), **options)
        back = as_tuple(each.backward(fake_cupy.namespace, *to_device(douts), cache=cache, needs=needs))
    assert_same(as_tuple(there), as_tuple(outputs))
    assert_same([g if need else None for g, need in zip(back, needs, strict=True)],
                [g if need else None for g, need in zip(gradients, needs, strict=True)])


def test_the_counter_of_dropout_may_be_on_the_device() -> None:
    x, options = np.ones((3, 5), "float32"), {"p": 0.5, "key": (1, 2)}
    with no_waiting():
        there, _ = tn.ops.dropout.forward(fake_cupy.namespace, to_device(x),
                                          counter=to_device(np.array(2**33 + 7)), **options)
    np.testing.assert_array_equal(there.get(), tn.ops.dropout.forward(np, x, counter=2**33 + 7, **options)[0])


ADAM = {"betas": (0.9, 0.999), "eps": 1e-8}
KERNELS = [
    pytest.param(sgd, 1, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, id="sgd, Nesterov"),
    pytest.param(sgd, 1, {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0}, id="sgd"),
    pytest.param(adam, 2, {**ADAM, "weight_decay": 0.1, "decoupled": False, "step": 3}, id="adam"),
    pytest.param(adam, 2, {**ADAM, "weight_decay": 0.1, "decoupled": True, "step": 3}, id="adamw")]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("each", "moments", "options"), KERNELS)
def test_kernels_take_step_and_rate_from_the_device(each: Any, moments: int, options: Any, dtype: str) -> None:
    """They give the same bits as Python's numbers, and nothing waits."""
    options = {**options, "lr": 0.3}
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(0.1, 1, 1000).astype(dtype) for _ in range(2 + moments)]
    there = to_device(arrays)
    given = {name: to_device(np.array(value)) if name in ("lr", "step") else value
             for name, value in options.items()}
    each.specification(np, *arrays, **options)
    with no_waiting():
        each.specification(fake_cupy.namespace, *there, **given)
    for ours, expected in zip((array._host for array in there), arrays, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_array_equal(ours, expected)


def lstm_cnn() -> Any:
    tn.seed(0)
    nn = tn.nn
    return nn.Sequential(
        nn.BatchNorm(1), nn.Reshape((6, 4)), nn.LSTM(4, 5, dropout=0.2, recurrent_dropout=0.2), nn.Dropout(0.2),
        nn.Conv1D(5, 3, 3), nn.ReLU(), nn.MaxPool1D(2), nn.Dropout(0.2), nn.Flatten(), nn.Dense(6, 4))


OPTIMIZERS = [pytest.param(tn.optim.SGD, {"momentum": 0.9}, id="SGD"), pytest.param(tn.optim.Adam, {}, id="Adam"),
              pytest.param(tn.optim.AdamW, {}, id="AdamW")]


@pytest.mark.parametrize(("make", "options"), OPTIMIZERS)
def test_steps_of_training_on_a_device_never_wait(make: Any, options: Any, gpu: None) -> None:
    """A whole step, forward, backward, clipping and optimizer, with rate and step on the device: the host's weights."""
    rng = np.random.default_rng(0)
    images, labels = rng.uniform(0, 1, (4, 8, 6, 4, 1)).astype("float32"), rng.integers(0, 4, (4, 8))

    def train(device: str, number: Callable[[Any], Any]) -> tuple[Any, Any]:
        model = lstm_cnn().to(device)
        optimizer = make(model.parameters(), lr=number(0.01), **options)
        optimizer.steps = number(0)
        batches = [[tn.Tensor(array, device=device) for array in batch] for batch in zip(images, labels, strict=True)]
        with no_waiting():
            for x, y in batches:
                loss = tn.ops.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                tn.optim.clip_global_norm(model.parameters(), 1.0)
                optimizer.step()
        return model, optimizer

    here, _ = train("cpu", lambda value: value)
    there, optimizer = train("gpu-emulated", lambda value: to_device(np.array(value)))
    for name, tensor in there.tensors().items():
        assert tensor.device == "gpu-emulated", name
        assert isinstance(tensor.data, fake_cupy.Array)
        assert tensor.dtype == here.tensors()[name].dtype
        np.testing.assert_allclose(tensor.numpy(), here.tensors()[name].numpy(), rtol=1e-5, atol=1e-6, err_msg=name)
    assert int(optimizer.steps) == 4
    state = optimizer.state_dict()
    assert all(type(array) is np.ndarray for array in [*state.values(), *there.state_dict().values()])


def test_fit_reads_from_the_device_once_an_epoch(gpu: None) -> None:
    """Mean loss and accuracy of training and validation: the number of reads does not depend on the number of batches.
    A snapshot of the state is made at the start, and with the guard after each epoch. In each epoch, one recorded step
    is compared with an eager one."""
    rng = np.random.default_rng(0)
    images, labels = rng.uniform(0, 1, (32, 6, 4, 1)).astype("float32"), rng.integers(0, 4, 32)
    counts = {}
    for guard, batch_size in itertools.product((False, True), (4, 8)):
        model = lstm_cnn().to("gpu-emulated")
        loader = tn.data.Loader(images, labels, batch_size=batch_size)
        before = fake_cupy.waits
        tn.fit(model, tn.optim.Adam(model.parameters()), loader, epochs=2, validation=loader, max_norm=1.0, guard=guard,
               show=False)
        counts[guard, batch_size] = fake_cupy.waits - before
    copy = len(model.tensors()) + 2 * len(model.parameters())
    assert counts[False, 4] == counts[False, 8] <= 2 * 2 * 2 + copy + 2
    assert counts[True, 4] == counts[True, 8] <= 2 * 2 * 4 + 3 * (copy + 2) + 2
    assert tn.predict(model, images, batch_size=8).shape == (32, 4)


def test_moving_there_and_back(gpu: None) -> None:
    model = lstm_cnn()
    before = model.state_dict()
    optimizer = tn.optim.Adam(model.parameters())
    parameters = list(model.parameters())
    x, labels = tn.Tensor(np.ones((2, 6, 4, 1), "float32")), tn.Tensor(np.array([0, 3]))
    model.to("gpu-emulated")
    tn.ops.cross_entropy(model(x.to("gpu-emulated")), labels.to("gpu-emulated")).backward()
    assert all(isinstance(parameter.grad, fake_cupy.Array) for parameter in parameters)
    optimizer.step()
    model.to("cpu")
    assert all(type(p.data) is np.ndarray and type(p.grad) is np.ndarray for p in parameters)
    assert all(p is q for p, q in zip(parameters, model.parameters(), strict=True))
    optimizer.step()
    assert any((model.state_dict()[name] != array).any() for name, array in before.items())
    model.load_state_dict(before)
    np.testing.assert_array_equal(model.to("gpu-emulated").state_dict()["2.W"], before["2.W"])


def test_arrays_of_two_devices_are_not_mixed(gpu: None) -> None:
    with pytest.raises(DeviceError, match=r'dense: x is on cpu, W on gpu-emulated; call '
                                          r'x.to\("gpu-emulated"\) or model.to\("cpu"\)'):
        tn.nn.Dense(3, 2).to("gpu-emulated")(tn.Tensor([[1.0, 2.0, 3.0]]))


def test_tensors_on_a_device(gpu: None) -> None:
    x = tn.Tensor([1.0, 2.0], requires_grad=True).to("gpu-emulated")
    assert x.device == "gpu-emulated"
    assert x.requires_grad
    assert "device='gpu-emulated'" in repr(x)
    y = (2 * x + 1 - x / 4) @ tn.Tensor([1.0, 1.0], device="gpu-emulated")
    with no_waiting():
        y.backward()
    assert x.grad.get().tolist() == [1.75, 1.75]
    assert y.item() == 7.25
    assert type(x.numpy()) is np.ndarray
    for number in (3, True, 2.5):  # made there
        assert tn.Tensor(number, device="gpu-emulated").dtype == tn.Tensor(number).dtype
        assert tn.Tensor(number, dtype="float64", device="gpu-emulated").dtype == "float64"
