"""Recorded training steps: a replayed step gives the bits of a usual one."""

import ctypes
import gc
import random
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pytest

import tinynet as tn
from tests.support.cuda_places import DEVICES, on_cupy, on_host, waits, without_waiting
from tinynet import backend
from tinynet.backend.cuda.runtime import fake_cuda, fake_cupy, graph
from tinynet.errors import ArgumentError, DeviceError, DtypeError, NonFiniteError
from tinynet.tracing import observe
from tinynet.training import recorded, session
from tinynet.training.callbacks import Callback, Run
from tinynet.training.recorded import RecordedStep

BATCH, IMAGES = 8, 35  # four batches, and a smaller one


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["cpu", *DEVICES])
def place(request: pytest.FixtureRequest) -> str:
    """A device of any kind."""
    return str(request.param)


def lstm_cnn() -> Any:
    nn = tn.nn
    return nn.Sequential(nn.BatchNorm(5), nn.LSTM(5, 6, recurrent_dropout=0.1), nn.Dropout(0.2), nn.Conv1D(6, 4, 3),
                         nn.ReLU(), nn.Flatten(), nn.Dense(16, 3))


def train(device: str, *, graph: bool, make: Callable[[], Any] = lstm_cnn, epochs: int = 3,
          optimizer: Callable[[Any], Any] = tn.optim.AdamW, data: str = "cpu", transform: Any = None,
          **options: Any) -> tuple[dict[str, Any], list[Any]]:
    """The state of model and optimizer after some epochs, and the history without its times."""
    tn.seed(3)
    model = make().to(device)
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((IMAGES, 6, 5)).astype("float32"), rng.integers(0, 3, IMAGES)
    loader = tn.data.Loader(images, labels, batch_size=BATCH, shuffle=True, device=data, transform=transform)
    with_moments = optimizer(model.parameters())
    schedule = tn.optim.OneCycle(with_moments, peak=0.02, steps=epochs * len(loader))
    history = tn.fit(model, with_moments, loader, epochs=epochs, schedule=schedule, max_norm=1.0, graph=graph,
                     show=False, **options)
    state = {**model.state_dict(), **{f"optimizer {name}": array for name, array in with_moments.state_dict().items()}}
    return state, [{name: value for name, value in row.items() if "seconds" not in name and "second" not in name}
                   for row in history]


def assert_equal_runs(first: Any, second: Any) -> None:
    assert first[0].keys() == second[0].keys()
    for name, array in first[0].items():
        np.testing.assert_array_equal(array, second[0][name], err_msg=name)
    assert first[1] == second[1]


def compare(device: str, *, is_refused: bool = False, **options: Any) -> None:
    """The two runs are equal. If the graph is refused, `fit` warns and says so in its history."""
    usual = train(device, graph=False, **options)
    with pytest.warns(UserWarning, match="steps run one kernel at a time") if is_refused else nullcontext():
        state, history = train(device, graph=True, **options)
    assert is_refused == any([row.pop("graph_refused", 0) for row in history])
    assert_equal_runs(usual, (state, history))


# --- the same numbers -----------------------------------------------------------------------------------------------

def grouped(parameters: Any) -> Any:
    """Ratios of the rates that are no powers of 2, and a decay of the first group's own."""
    return tn.optim.AdamW([{"parameters": parameters[:3], "lr": 3e-4, "weight_decay": 0.3},
                           {"parameters": parameters[3:5]}, {"parameters": parameters[5:], "lr": 7e-3}])


@pytest.mark.parametrize("optimizer", [tn.optim.Adam, tn.optim.AdamW, tn.optim.SGD, grouped])
def test_replayed_steps_end_as_eager_ones_bit_for_bit(place: str, steps: list[RecordedStep], optimizer: Any) -> None:
    compare(place, optimizer=optimizer)
    assert [one.reason for one in steps] == [""]
    assert steps[0].recording is not None


@pytest.mark.parametrize(("loss", "measure"), [
    (tn.ops.mse, "mae"), (tn.ops.binary_cross_entropy, "exact_match"), (tn.ops.cross_entropy, "accuracy")])
def test_measures_of_other_tasks_are_counted_by_replayed_steps(device: str, steps: list[RecordedStep], loss: Any,
                                                               measure: str) -> None:
    rng = np.random.default_rng(0)
    images, targets = rng.standard_normal((IMAGES, 6, 5)).astype("float32"), rng.dirichlet(np.ones(3), IMAGES)
    targets = (targets > 0.4 if measure == "exact_match" else targets).astype("float32")

    def run(graph: bool) -> tuple[Any, Any]:
        tn.seed(3)
        model = lstm_cnn().to(device)
        history = tn.fit(model, tn.optim.Adam(model.parameters()), tn.data.Loader(images, targets, batch_size=BATCH),
                         epochs=3, loss=loss, graph=graph, show=False)
        return model.state_dict(), [{name: row[name] for name in ("train_loss", f"train_{measure}")} for row in history]

    assert_equal_runs(run(False), run(True))
    assert steps[0].recording is not None


def test_averages_of_weights_with_replayed_steps(place: str, steps: list[RecordedStep]) -> None:
    usual, replayed = tn.callbacks.EMA(0.8), tn.callbacks.EMA(0.8)
    runs = [train(place, graph=graph, callbacks=[ema]) for graph, ema in ((False, usual), (True, replayed))]
    assert_equal_runs(*runs)
    assert steps[0].recording is not None
    for name, mean in usual.means.items():
        np.testing.assert_array_equal(on_host(mean), on_host(replayed.means[name]), err_msg=name)


def test_python_makes_the_first_steps_and_those_of_other_shapes(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, usual = [], session.train_step

    def noting(run: Run, inputs: Any, *arguments: Any) -> Any:
        calls.append(len(inputs[0]))
        return usual(run, inputs, *arguments)

    monkeypatch.setattr(session, "train_step", noting)
    train(place, graph=True)
    rest = IMAGES % BATCH  # as usual, rehearsed, recorded, and to compare; then to compare once in each epoch
    assert calls == [BATCH, BATCH, BATCH, BATCH, rest, BATCH, rest, BATCH, rest]


def test_a_replayed_step_neither_waits_nor_copies_more_than_its_batch(device: str) -> None:
    class Watch(Callback):
        def on_step(self, run: Run) -> None:
            self.waits, before = waits(device), getattr(self, "waits", waits(device))
            assert run.batch == 1 or run.step == 4 or self.waits == before  # those that are made twice wait

    compare(device, callbacks=[Watch()])


def test_data_on_the_device_give_the_same_run_without_any_copy(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step = RecordedStep.__call__

    def forbidden(*args: Any) -> Any:
        with without_waiting(device):
            return step(*args)

    def equal(xp: Any, *lists: list[Any]) -> bool:
        return all(np.array_equal(on_host(a), on_host(b)) for a, b in zip(*lists, strict=True))

    expected = train(device, graph=False)
    monkeypatch.setattr(RecordedStep, "__call__", forbidden)
    monkeypatch.setattr(recorded, "same_bits", equal)  # the one thing that waits
    assert_equal_runs(expected, train(device, graph=True, data=device))


def halved(x: Any, labels: Any) -> Any:
    return x / 2, labels


def test_the_gather_of_a_loader_on_the_device_is_recorded_with_the_step(device: str, steps: list[RecordedStep]) -> None:
    """A replay gets the indices of the rows."""
    assert_equal_runs(train(device, graph=False, transform=halved), train(device, graph=True, data=device,
                                                                         transform=halved))
    assert steps[0].recording is not None
    assert [(x.shape, x.dtype) for x in steps[0].recording.inputs] == [((BATCH,), "int64")]


@pytest.mark.parametrize("fault", ["copies from the host", "draws a number"])
def test_a_transform_that_cannot_be_recorded_is_left_out(device: str, steps: list[RecordedStep], fault: str) -> None:
    """The step without it is recorded."""
    def transform(x: Any, labels: Any) -> Any:
        if fault == "draws a number":
            return x * random.random(), labels
        return x * backend.to_device(np.full(5, 0.5, "float32"), device), labels

    def run(graph: bool) -> Any:
        random.seed(0)
        return train(device, graph=graph, data=device, transform=transform, epochs=4)

    assert_equal_runs(run(False), run(True))
    assert steps[0].reason and not steps[1].reason
    assert steps[1].recording is not None and len(steps[1].recording.inputs) == 2


def test_another_transform_counts_from_the_next_step(device: str) -> None:
    def change(run: Run) -> None:
        run.train.transform = halved  # type: ignore[attr-defined]

    assert_equal_runs(*(train(device, graph=graph, data=device, callbacks=[Change(change, step)])
                        for graph, step in ((False, 7), (True, 7))))


def test_two_optimizers_one_model_and_a_second_fit(place: str) -> None:
    def twice(graph: bool) -> Any:
        tn.seed(3)
        made = lstm_cnn()
        train(place, graph=graph, make=lambda: made, epochs=1)
        return train(place, graph=graph, make=lambda: made, epochs=2, optimizer=tn.optim.SGD)

    assert_equal_runs(twice(False), twice(True))


class Change(Callback):
    """Do something to the run after some steps."""

    def __init__(self, change: Callable[[Run], None], step: int = 7) -> None:
        self.change, self.step = change, step

    def on_step(self, run: Run) -> None:
        if run.step == self.step:
            self.change(run)


def freeze(run: Run) -> None:
    for parameter in run.model[1].parameters():
        parameter.requires_grad = False


def move(run: Run) -> None:
    device = run.model[0].gamma.device
    run.model.to("cpu").to(device)


def renew(run: Run) -> None:
    buffer = run.model[0].running_mean
    buffer.data = buffer.data * 2


def another_optimizer(run: Run) -> None:
    run.optimizer, run.schedule = tn.optim.SGD(run.model.parameters(), lr=0.1), None


def rate_on_the_device(run: Run) -> None:
    run.optimizer.lr, run.schedule = backend.as_array(0.03, "float32", run.model[0].gamma.device), None


def another_model(run: Run) -> None:
    layers = list(run.model)
    run.model = tn.nn.Sequential(*layers[:4], tn.nn.Tanh(), *layers[5:])


CHANGES: dict[str, Callable[[Run], Any]] = {
    "another model of the same layers": another_model,
    "the rate of dropout": lambda run: setattr(run.model[2], "p", 0.7),
    "betas": lambda run: setattr(run.optimizer, "betas", (0.5, 0.6)),
    "weight decay": lambda run: setattr(run.optimizer, "weight_decay", 0.5),
    "the mode of a layer": lambda run: run.model[0].eval(),
    "frozen layers": freeze,
    "the seed": lambda run: tn.seed(99),
    "weights in other memory": move,
    "a buffer in other memory": renew,
    "another layer": lambda run: run.model.layers.__setitem__(4, tn.nn.Tanh()),
    "a layer less": lambda run: run.model.layers.pop(2),
    "another optimizer": another_optimizer,
    "a rate on the device": rate_on_the_device,
    "weights": lambda run: run.model.load_state_dict({name: array * 0.5 if array.dtype.kind == "f" else array
                                                      for name, array in run.model.state_dict().items()}),
    "the optimizer's state": lambda run: run.optimizer.load_state_dict(
        {name: array * 2 for name, array in run.optimizer.state_dict().items()}),
}


WITHOUT_KERNELS = {"another model of the same layers", "another layer", "a rate on the device"}  # on a CPU


@pytest.mark.parametrize("step", [7, 9], ids=["before a launched step", "before a usual one"])
@pytest.mark.parametrize("what", CHANGES)
def test_what_a_callback_changes_counts_from_the_next_step(place: str, steps: list[RecordedStep], what: str,
                                                           step: int) -> None:
    compare(place, callbacks=[Change(CHANGES[what], step)])
    if place != "cpu" or what not in WITHOUT_KERNELS:
        assert steps[0].reason == ""
        assert steps[0].recording is not None


def test_a_global_number_counts_from_the_next_epoch(device: str, steps: list[RecordedStep]) -> None:
    """The loss is scaled by a number that is in no attribute."""
    scale = [1.0]

    class Scale(Callback):
        def on_start(self, run: Run) -> None:
            scale[0] = 1.0

        def on_epoch(self, run: Run) -> None:
            scale[0] /= 4

    def loss(output: Any, labels: Any) -> Any:
        return scale[0] * tn.ops.cross_entropy(output, labels)

    compare(device, loss=loss, callbacks=[Scale()])
    assert steps[0].reason == ""
    assert steps[0].recording is not None


@pytest.mark.parametrize("change", ["the precision", "the seed", "nothing"])
def test_a_setting_that_changes_is_noticed(device: str, steps: list[RecordedStep], change: str,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """The step after the change is not replayed."""
    calls, forward = list[int](), tn.nn.Dense.forward
    monkeypatch.setattr(tn.nn.Dense, "forward", lambda self, x: calls.append(0) or forward(self, x))
    precision = ExitStack()

    def set_it(run: Run) -> None:
        calls.clear()
        if change == "the precision":
            precision.enter_context(tn.precision("tf32"))  # on a GPU the products would be others
        elif change == "the seed":
            tn.seed(99)

    def stop(run: Run) -> None:
        run.stop("enough")

    with precision:
        train(device, graph=True, epochs=2, callbacks=[Change(set_it, step=7), Change(stop, step=8)])
    assert len(calls) == (change != "nothing")
    assert steps[0].recording is None or change == "nothing"


def test_a_parameter_that_is_not_the_models_is_watched_too(place: str) -> None:
    def run(graph: bool) -> Any:
        scale = tn.nn.Parameter(backend.as_array(1.0, "float32", place))

        def optimizer(parameters: Any) -> Any:
            return tn.optim.Adam([*parameters, scale])

        def loss(output: Any, labels: Any) -> Any:
            return tn.ops.cross_entropy(output * scale, labels)

        def freeze_it(run: Run) -> None:
            scale.requires_grad = False

        return train(place, graph=graph, optimizer=optimizer, loss=loss, callbacks=[Change(freeze_it)])

    assert_equal_runs(run(False), run(True))


def test_a_rate_on_the_device_that_changes_in_place(place: str) -> None:
    def halve(run: Run) -> None:
        run.optimizer.lr *= 0.5

    compare(place, callbacks=[Change(rate_on_the_device), Change(halve, step=9), Change(halve, step=12)])


class Descent(tn.optim.Optimizer):
    def update(self, value: Any, gradient: Any, *moments: Any) -> None:
        value -= self.lr * gradient


def test_rates_of_numpy_and_optimizers_of_ones_own(device: str, steps: list[RecordedStep]) -> None:
    class Numpys(tn.optim.Schedule):
        def rate(self, step: int) -> Any:
            return np.float32(0.05) / np.float32(step + 1)

    def run(graph: bool) -> Any:
        tn.seed(3)
        model = lstm_cnn().to(device)
        optimizer = Descent(model.parameters(), lr=0.1)
        batches = [(np.full((BATCH, 6, 5), i, "float32"), np.arange(BATCH) % 3) for i in range(7)]
        tn.fit(model, optimizer, batches, epochs=1, schedule=Numpys(optimizer), graph=graph, show=False)
        return model.state_dict(), []

    assert_equal_runs(run(False), run(True))
    assert steps[0].reason == ""


@pytest.mark.parametrize("sizes", [[3, 8, 8, 8, 8, 3], [8, 3, 8, 8, 3, 8], [8, 3]])
def test_the_first_shape_to_come_twice_is_recorded(place: str, steps: list[RecordedStep], sizes: list[int]) -> None:
    def run(graph: bool) -> Any:
        tn.seed(3)
        model = lstm_cnn().to(place)
        rng = np.random.default_rng(0)
        batches = [(rng.standard_normal((size, 6, 5)).astype("float32"), np.arange(size) % 3) for size in sizes]
        history = tn.fit(model, tn.optim.Adam(model.parameters()), batches, epochs=3, graph=graph, show=False)
        return model.state_dict(), [row["train_loss"] for row in history]

    assert_equal_runs(run(False), run(True))
    assert steps[0].shape[0] == (8, 6, 5)
    assert steps[0].recording is not None


def test_a_batch_of_another_dtype_is_not_replayed() -> None:
    model, labels = lstm_cnn(), np.arange(BATCH) % 3
    x = np.random.default_rng(0).standard_normal((BATCH, 6, 5)).astype("float32")
    batches = [*[(x, labels)] * 5, (x.astype("float64"), labels)]
    with pytest.raises(DtypeError, match="batch_norm: x is float64"):
        tn.fit(model, tn.optim.Adam(model.parameters()), batches, epochs=1, show=False)


def test_an_observed_step_runs_as_usual(steps: list[RecordedStep]) -> None:
    seen, watch = list[str](), ExitStack()

    def note(call: Any, run: Callable[[], Any]) -> Any:
        seen.append(call.op)
        return run()

    class Watch(Callback):
        def on_step(self, run: Run) -> None:
            if run.step == 6:
                watch.enter_context(observe(op=note))
            if run.step == 8:
                watch.close()

    assert_equal_runs(train("cpu", graph=False), train("cpu", graph=True, callbacks=[Watch()]))
    assert seen.count("lstm") == 2 and steps[0].recording is not None


def test_a_run_that_was_stopped_goes_on(place: str, tmp_path: Any) -> None:
    whole = train(place, graph=True)

    class Enough(Exception):
        pass

    def stop(run: Run) -> None:
        raise Enough

    with pytest.raises(Enough):
        train(place, graph=True, checkpoint=tmp_path / "run", checkpoint_seconds=0,
              callbacks=[Change(stop)])
    assert_equal_runs(whole, train(place, graph=True, checkpoint=tmp_path / "run", resume=True,
                                   callbacks=[Change(lambda run: None)]))


def test_the_guard_names_the_tensor_of_a_replayed_step(place: str, steps: list[RecordedStep]) -> None:
    tn.seed(3)
    model = lstm_cnn().to(place)
    batches = [(np.ones((BATCH, 6, 5), "float32"), np.arange(BATCH) % 3) for _ in range(8)]
    batches[5][0][2, 1, 3] = np.nan
    with pytest.raises(NonFiniteError, match=r"in step 6 .*the input of the model"):
        tn.fit(model, tn.optim.Adam(model.parameters()), batches, epochs=1, show=False)
    assert steps[0].recording is not None
    assert all(np.isfinite(array).all() for array in model.state_dict().values())


# --- what cannot be recorded ----------------------------------------------------------------------------------------

class Layer(tn.nn.Module):
    """Multiplies x by 1 + factor(layer, x)."""

    calls: Any = 0

    def __init__(self, factor: Callable[[Any, Any], Any]) -> None:
        self.factor = factor
        self.calls = 0

    def forward(self, x: Any) -> Any:
        return x * (1.0 + self.factor(self, x)) if self.training else x


class Counted(Layer):
    """Its counter belongs to its state. It may be counted, but not read."""

    host_state: ClassVar[dict[str, int]] = {"calls": 0}


SEEN = [0]


def count(layer: Any, x: Any, start: Any = 0) -> Any:
    layer.calls = (layer.calls or start) + 1
    return layer.calls


def count_in_a_list(layer: Any, x: Any) -> Any:
    layer.calls = layer.calls or []
    layer.calls.append(0)
    return len(layer.calls)


def count_for_all(layer: Any, x: Any) -> Any:
    SEEN[0] += 1
    return SEEN[0] % 7


def draw(layer: Any, x: Any) -> Any:
    vars(layer).setdefault("generator", np.random.default_rng(0))
    return float(layer.generator.random())


def average(layer: Any, x: Any) -> Any:
    layer.calls = layer.calls * 0.5 + x.data.mean()  # a new array each time
    return tn.Tensor(layer.calls)


def picked(layer: Any, x: Any) -> Any:
    return 1.0 / (1 + x.data[x.data > 0].size)


def guarded(layer: Any, x: Any) -> Any:
    """Sets a mark while it runs. When the recording fails in the middle, the mark must be removed."""
    factor = 2.0 if hasattr(layer, "is_at_work") else 1.0
    layer.is_at_work = True
    value = 0.0 * float(x.data.sum())
    del layer.is_at_work
    return factor + value


def found(layer: Any, x: Any) -> Any:
    return 1.0 / (1 + len(backend.namespace(x.device).where(x.data > 0)[0]))


FAULTS: dict[str, tuple[Callable[[], Any], str]] = {
    "counts": (lambda: Layer(count), "changes 0.calls;"),
    "counts in NumPy's numbers": (lambda: Layer(lambda layer, x: float(count(layer, x, np.int64(0)))), "0.calls;"),
    "counts in a list": (lambda: Layer(count_in_a_list), "0.calls;"),
    "replaces an array": (lambda: Layer(average), "0.calls;"),
    "counts its state, and looks at it": (lambda: Counted(count), "bit for bit"),
    "counts in a global variable": (lambda: Layer(count_for_all), "bit for bit"),
    "draws a number": (lambda: Layer(lambda layer, x: random.random()), "bit for bit"),
    "draws one of NumPy's": (lambda: Layer(draw), "bit for bit"),
    "reads a number": (lambda: Layer(lambda layer, x: float(x.data.sum())), "wait"),
    "reads an array": (lambda: Layer(lambda layer, x: float(x.numpy()[0, 0, 0])), "wait"),
    "is left in the middle": (lambda: Layer(guarded), "wait"),
    "decides by a number": (lambda: Layer(lambda layer, x: 1.0 if x.data.sum() > 0 else 2.0), "wait"),
    "picks by a mask": (lambda: Layer(picked), "a mask"),
    "looks for elements": (lambda: Layer(found), "where()"),
    "copies an array": (lambda: Layer(lambda layer, x: tn.Tensor(np.full(5, 2.0, "float32"), device=x.device)),
                        "copying"),
    "copies an index": (lambda: Layer(lambda layer, x: tn.Tensor(x.data[:, [0, 0, 1, 2, 3, 4]])), "copying"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_step_that_cannot_be_recorded_runs_as_usual(device: str, steps: list[RecordedStep], fault: str) -> None:
    layer, reason = FAULTS[fault]

    def make() -> Any:
        random.seed(0)
        SEEN[0] = 0
        return tn.nn.Sequential(layer(), *lstm_cnn())

    compare(device, make=make, guard=False, is_refused=True)
    if device != "gpu-emulated" and reason in ("wait", "a mask", "where()", "copying"):
        reason = "transfers are disallowed"  # as CuPy says it
    assert reason in steps[0].reason
    assert steps[0].recording is None or "bit for bit" in reason


def test_bits_are_compared_not_values() -> None:
    """NaN equals itself, and 0 is not -0."""
    def array(*values: float) -> Any:
        return np.array([values], "float32")

    nan = array(np.nan, 1.0)
    assert recorded.same_bits(np, [nan, array(2.0)], [nan.copy(), array(2.0)])
    assert recorded.same_bits(np, [np.array(3), array(0.0)], [np.array(3), array(0.0)])
    for other in (array(-0.0, 1.0), array(0.0, 2.0)):
        assert not recorded.same_bits(np, [nan, array(0.0, 1.0)], [nan, other])
        assert not recorded.same_bits(np, [array(0.0, 1.0), nan], [other, nan])


def test_a_step_whose_optimizer_cannot_be_recorded_leaves_it_as_it_was(device: str) -> None:
    class Fading(tn.optim.SGD):
        updates = 0

        def update(self, value: Any, gradient: Any, *moments: Any) -> None:
            self.updates += 1
            value -= self.lr / self.updates * gradient
            float(gradient.sum())  # waits for the GPU

    compare(device, optimizer=Fading, guard=False, is_refused=True)


@on_cupy
def test_another_algorithm_of_cublas_is_named(monkeypatch: pytest.MonkeyPatch, steps: list[RecordedStep]) -> None:
    """Plant a cuBLAS that rounds in another way while a step is recorded, as for another stream it may."""
    from tests.support.cupy_on_cpu import machine
    from tests.support.fake_cublas import FakeCublas
    product = FakeCublas.cublasGemmEx

    def rounded(self: Any, *given: Any) -> int:
        alpha = ctypes.byref(ctypes.c_float(1 + 2**-20 * machine.is_capturing()))
        return product(self, *given[:6], alpha, *given[7:])

    monkeypatch.setattr(FakeCublas, "cublasGemmEx", rounded)
    with pytest.warns(UserWarning, match="steps run one kernel at a time"):
        train("gpu", graph=True, guard=False)
    assert "has cuBLAS chosen another algorithm" in steps[0].reason


def test_counting_alone_is_no_fault(device: str, steps: list[RecordedStep]) -> None:
    compare(device, make=lambda: tn.nn.Sequential(Counted(lambda layer, x: count(layer, x) * 0), *lstm_cnn()))
    assert steps[0].reason == ""


def test_fit_says_why_steps_are_not_recorded() -> None:
    """Once, after the epoch in which the reason was found, and in each row from there on."""
    for batches, epoch in (4, 1), (1, 3):
        tn.seed(0)
        model = tn.nn.Sequential(FAULTS["reads a number"][0](), tn.nn.Dense(4, 2)).to("gpu-emulated")
        with pytest.warns(UserWarning, match="fit: steps run one kernel at a time, .*wait") as said:
            history = tn.fit(model, tn.optim.SGD(model.parameters()), [(np.ones((2, 4), "float32"), np.array([0, 1]))]
                             * batches, epochs=4, guard=False, show=False)
        assert len(said) == 1 and said[0].filename == __file__
        assert ["graph_refused" in row for row in history] == [row["epoch"] >= epoch for row in history]


@pytest.mark.parametrize(("place", "second", "groups", "expected"), [
    ("gpu-emulated", "float32", False, "float32"), ("gpu-emulated", "float64", False, "float64"),
    ("gpu-emulated", "float32", True, "float64"), ("cpu", "float32", False, "float64")])
def test_the_rate_on_a_device_is_as_precise_as_the_most_precise_weights(place: str, second: str, groups: bool,
                                                                        expected: str) -> None:
    """And with groups, whose factors are numbers of Python, as these."""
    model = tn.nn.Sequential(tn.nn.Dense(3, 2), tn.nn.Dense(2, 2).astype(second)).to(place)
    own = model.parameters()
    optimizer = tn.optim.SGD([{"parameters": own[:2], "lr": 0.1}, {"parameters": own[2:]}] if groups else own)
    step = RecordedStep(Run(model, optimizer, [], 1), lambda *arrays: arrays, place)  # type: ignore[arg-type, return-value]
    step._choose_scalars()
    assert {str(scalar.dtype) for (_, name), scalar in step.scalars.items() if name == "lr"} == {expected}


def test_a_number_in_a_model_is_made_on_the_device(device: str, steps: list[RecordedStep]) -> None:
    class Half(tn.nn.Module):
        def forward(self, x: Any) -> Any:
            return 0.5 * x + 1

    compare(device, make=lambda: tn.nn.Sequential(Half(), *lstm_cnn()))
    assert steps[0].reason == ""


def test_memory_that_is_not_the_graphs_own_is_found(monkeypatch: pytest.MonkeyPatch, steps: list[RecordedStep]) -> None:
    """A graph in the shared memory pool; and a layer that allocates memory elsewhere."""
    pool = fake_cuda.MemoryPool()

    def elsewhere(layer: Any, x: Any) -> Any:
        with fake_cuda.using_allocator(pool.malloc):
            return tn.Tensor(fake_cupy.namespace.ones(5, "float32"))

    compare("gpu-emulated", make=lambda: tn.nn.Sequential(Layer(elsewhere), *lstm_cnn()), is_refused=True)
    monkeypatch.setattr(fake_cuda, "using_allocator", lambda malloc: nullcontext())
    compare("gpu-emulated", is_refused=True)
    assert "memory that is not the graph's own" in steps[0].reason
    assert "memory of its own" in steps[1].reason


def test_without_room_for_a_recorded_step_steps_run_as_usual(monkeypatch: pytest.MonkeyPatch,
                                                             steps: list[RecordedStep]) -> None:
    malloc = fake_cuda.MemoryPool.malloc

    def full(self: Any, size: int) -> Any:
        if fake_cupy.is_capturing():
            raise MemoryError("Out of memory")
        return malloc(self, size)

    monkeypatch.setattr(fake_cuda.MemoryPool, "malloc", full)
    compare("gpu-emulated", is_refused=True)
    assert "memory" in steps[0].reason


def test_without_room_for_a_comparison_steps_run_as_usual(device: str, monkeypatch: pytest.MonkeyPatch,
                                                          steps: list[RecordedStep]) -> None:
    class Full:
        def copy(self) -> Any:
            raise MemoryError("Out of memory")

    monkeypatch.setattr(RecordedStep, "_places", lambda self: [Full()])
    compare(device, is_refused=True)
    assert "no room to compare" in steps[0].reason


# --- recording itself -----------------------------------------------------------------------------------------------

def test_recording_does_nothing_and_each_launch_does_all(device: str) -> None:
    xp = backend.namespace(device)
    x, total = xp.zeros(4), xp.zeros((), "float64")

    def work() -> Any:
        nonlocal total
        y = xp.zeros(4)
        y[1:3] = x[::2] * 2
        total += y.sum()
        x.fill(1.0)
        return y

    work()  # compiles the kernels
    x[...], total[...] = xp.asarray(np.arange(4.0)), 0
    y, recorded = graph.capture(device, work)
    np.testing.assert_array_equal(x.get(), np.arange(4.0))
    assert float(total) == 0
    recorded.launch()
    np.testing.assert_array_equal(y.get(), [0, 0, 4, 0])
    np.testing.assert_array_equal(x.get(), np.ones(4))
    recorded.launch()
    np.testing.assert_array_equal(y.get(), [0, 2, 2, 0])
    assert float(total) == 8


def test_after_an_error_the_device_works_as_before(device: str) -> None:
    xp = backend.namespace(device)
    x = xp.ones(3)
    float(x.sum())  # compiles the kernel
    with pytest.raises(DeviceError):
        graph.capture(device, lambda: float(x.sum()))
    x += 1
    assert x.get().tolist() == [2, 2, 2]


@pytest.mark.parametrize("fault", FAULTS)
def test_on_a_cpu_layers_of_ones_own_run_as_usual(steps: list[RecordedStep], fault: str,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a warning. If they were recorded all the same, the comparison would find what a replay leaves out."""
    def make() -> Any:
        random.seed(0)
        SEEN[0] = 0
        return tn.nn.Sequential(FAULTS[fault][0](), *lstm_cnn())

    compare("cpu", make=make, guard=False)
    assert not steps
    monkeypatch.setattr(session, "foreign_part", lambda model: "")
    compare("cpu", make=make, guard=False)
    could_differ = FAULTS[fault][1] != "wait"  # the others may read the same in each step
    assert "bit for bit" in steps[0].reason or steps[0].recording is None or not could_differ


def test_on_a_cpu_a_loss_or_an_optimizer_of_ones_own_runs_as_usual(steps: list[RecordedStep]) -> None:
    def loss(output: Any, labels: Any) -> Any:
        return tn.ops.cross_entropy(output, labels)

    compare("cpu", loss=loss)
    compare("cpu", optimizer=lambda parameters: Descent(parameters, lr=0.1))
    assert not steps
    compare("cpu", loss=partial(tn.ops.cross_entropy, label_smoothing=0.1))
    assert steps[0].recording is not None


def test_on_a_cpu_labels_are_checked_in_a_replayed_step(steps: list[RecordedStep]) -> None:
    tn.seed(3)
    model = lstm_cnn()
    batches = [(np.ones((BATCH, 6, 5), "float32"), np.arange(BATCH) % 3) for _ in range(8)]
    batches[6][1][2] = 3
    with pytest.raises(ArgumentError, match=r"labels must be in \[0, K\) = \[0, 3\), got values from 0 to 3"):
        tn.fit(model, tn.optim.Adam(model.parameters()), batches, epochs=1, show=False)
    assert steps[0].is_proven


def test_a_gradient_may_be_read_after_a_replayed_step(place: str) -> None:
    class Read(Callback):
        def on_step(self, run: Run) -> None:
            found.append([on_host(parameter.grad).copy() for parameter in run.model.parameters()])

    runs = []
    for is_recorded in (False, True):
        found: list[list[np.ndarray]] = []
        train(place, graph=is_recorded, callbacks=[Read()])
        runs.append(found)
    for usual, replayed in zip(*runs, strict=True):
        assert all(map(np.array_equal, usual, replayed))


def test_a_device_that_forgets_to_count_is_noticed(monkeypatch: pytest.MonkeyPatch, steps: list[RecordedStep]) -> None:
    """Plant bugs: numbers that stay on the host, and a rate that is not written to the device."""
    names, write = RecordedStep._host_numbers, RecordedStep._write_scalars
    for name in ("steps", "lr", "batches_seen"):
        with monkeypatch.context() as patch:
            patch.setattr(RecordedStep, "_host_numbers",
                          lambda self, name=name: [place for place in names(self) if place[1] != name])
            compare("gpu-emulated", is_refused=name != "lr")
    assert "the optimizer.steps" in steps[0].reason
    assert steps[1].recording is None  # it was never twice the same
    assert "bit for bit" in steps[2].reason

    def lazy(self: RecordedStep) -> None:
        self.written = dict.fromkeys(self.scalars, 0.1)
        write(self)
        self.scalars[self.run.optimizer, "lr"].fill(0.1)

    monkeypatch.setattr(RecordedStep, "_write_scalars", lazy)
    with pytest.raises(AssertionError):
        compare("gpu-emulated")


def test_arrays_of_a_graph_keep_their_memory(device: str) -> None:
    """Also after the graph is gone. A graph keeps the memory of arrays that are gone."""
    x = backend.namespace(device).ones(3)

    def work() -> Any:
        return ((x + 1) * 2).reshape(3, 1)[1:]

    work()
    y, recorded = graph.capture(device, work)
    for _ in range(2):
        gc.collect()
        recorded.launch()
        assert y.get().tolist() == [[4], [4]]
    del recorded
    gc.collect()
    assert y.get().tolist() == [[4], [4]]


def test_the_emulated_gpu_overwrites_what_is_freed() -> None:
    """As another program on the GPU would."""
    pool = fake_cuda.MemoryPool()
    with fake_cuda.using_allocator(pool.malloc):
        x = fake_cupy.namespace.ones(3)
    assert x.get().tolist() == [1, 1, 1]
    del pool
    assert np.isnan(x.get()).all()
