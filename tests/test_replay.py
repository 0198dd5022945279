"""Steps that are recorded once and launched as one: the numbers of those that run as usual, bit for bit."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import fake_device
import numpy as np
import pytest
from fake_device import installed

import tinynet as tn
from tinynet import backend, replay
from tinynet.backend.cuda import emulated, graph
from tinynet.callbacks import Callback, Run
from tinynet.errors import DeviceError, NonFiniteError
from tinynet.replay import WARM_UP, Replay

BATCH, IMAGES = 8, 35  # four batches, and a smaller one


@pytest.fixture(params=["gpu", "gpu-emulated"])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """A stand-in for CuPy's GPU, which has CuPy's way to record, and the emulated one, which has our kernels."""
    with installed(), tn.using("reference") if request.param == "gpu" else nullcontext():
        yield request.param


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[Replay]:
    """The Replay of each `fit`."""
    made: list[Replay] = []
    start = Replay.__init__

    def noting(self: Replay, *arguments: Any) -> None:
        made.append(self)
        start(self, *arguments)

    monkeypatch.setattr(Replay, "__init__", noting)
    return made


def lstm_cnn() -> Any:
    nn = tn.nn
    return nn.Sequential(nn.BatchNorm(5), nn.LSTM(5, 6, recurrent_dropout=0.1), nn.Dropout(0.2), nn.Conv1D(6, 4, 3),
                         nn.ReLU(), nn.Flatten(), nn.Dense(16, 3))


def train(device: str, *, graph: bool, make: Callable[[], Any] = lstm_cnn, epochs: int = 3,
          optimizer: Callable[[Any], Any] = tn.optim.AdamW, data: str = "cpu",
          **options: Any) -> tuple[dict[str, Any], list[Any]]:
    """The state of model and optimizer after some epochs, and the history but for its times."""
    tn.seed(3)
    model = make().to(device)
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((IMAGES, 6, 5)).astype("float32"), rng.integers(0, 3, IMAGES)
    loader = tn.data.Loader(images, labels, batch_size=BATCH, shuffle=True, device=data)
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


def compare(device: str, **options: Any) -> None:
    assert_equal_runs(train(device, graph=False, **options), train(device, graph=True, **options))


# --- the same numbers -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("optimizer", [tn.optim.Adam, tn.optim.AdamW, tn.optim.SGD])
def test_replayed_steps_end_as_eager_ones_bit_for_bit(device: str, replays: list[Replay], optimizer: Any) -> None:
    compare(device, optimizer=optimizer)
    assert [one.refused for one in replays] == [""]
    assert replays[0].launch is not None


def test_python_makes_the_first_steps_and_those_of_other_shapes(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, forward = [], tn.nn.Dense.forward

    def noting(self: Any, x: Any) -> Any:
        calls.append(len(x))
        return forward(self, x)

    monkeypatch.setattr(tn.nn.Dense, "forward", noting)
    train(device, graph=True)
    assert calls == [BATCH] * (WARM_UP + 1) + [IMAGES % BATCH] * 3


def test_a_replayed_step_neither_waits_nor_copies_more_than_its_batch(device: str) -> None:
    class Watch(Callback):
        def on_step(self, run: Run) -> None:
            self.waits, before = emulated.waits, getattr(self, "waits", emulated.waits)
            assert run.batch == 1 or self.waits == before

    compare(device, callbacks=[Watch()])


def test_data_on_the_device_give_the_same_run_without_any_copy(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Replay.__call__

    def forbidden(*args: Any) -> Any:
        with emulated.no_waiting():
            return step(*args)

    expected = train(device, graph=False)
    monkeypatch.setattr(Replay, "__call__", forbidden)
    assert_equal_runs(expected, train(device, graph=True, data=device))


def test_two_optimizers_one_model_and_a_second_fit(device: str) -> None:
    def twice(graph: bool) -> Any:
        tn.seed(3)
        made = lstm_cnn()
        train(device, graph=graph, make=lambda: made, epochs=1)
        return train(device, graph=graph, make=lambda: made, epochs=2, optimizer=tn.optim.SGD)

    assert_equal_runs(twice(False), twice(True))


class Change(Callback):
    """Do something to the run after some steps."""

    def __init__(self, change: Callable[[Run], None], step: int = 9) -> None:
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


CHANGES: dict[str, Callable[[Run], Any]] = {
    "the rate of dropout": lambda run: setattr(run.model[2], "p", 0.7),
    "betas": lambda run: setattr(run.optimizer, "betas", (0.5, 0.6)),
    "weight decay": lambda run: setattr(run.optimizer, "weight_decay", 0.5),
    "the mode of a layer": lambda run: run.model[0].eval(),
    "frozen layers": freeze,
    "the seed": lambda run: tn.seed(99),
    "weights in other memory": move,
    "weights": lambda run: run.model.load_state_dict({name: array * 0.5 if array.dtype.kind == "f" else array
                                                      for name, array in run.model.state_dict().items()}),
    "the optimizer's state": lambda run: run.optimizer.load_state_dict(
        {name: array * 2 for name, array in run.optimizer.state_dict().items()}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_a_callback_changes_counts_from_the_next_step(device: str, replays: list[Replay], what: str) -> None:
    compare(device, callbacks=[Change(CHANGES[what])])
    assert replays[0].refused == ""


def test_a_run_that_was_stopped_goes_on(device: str, tmp_path: Any) -> None:
    whole = train(device, graph=True)

    class Enough(Exception):
        pass

    def stop(run: Run) -> None:
        raise Enough

    with pytest.raises(Enough):
        train(device, graph=True, checkpoint=tmp_path / "run", checkpoint_seconds=0,
              callbacks=[Change(stop)])
    assert_equal_runs(whole, train(device, graph=True, checkpoint=tmp_path / "run", resume=True,
                                   callbacks=[Change(lambda run: None)]))


def test_the_guard_names_the_tensor_of_a_replayed_step(device: str, replays: list[Replay]) -> None:
    tn.seed(3)
    model = lstm_cnn().to(device)
    batches = [(np.ones((BATCH, 6, 5), "float32"), np.arange(BATCH) % 3) for _ in range(8)]
    batches[5][0][2, 1, 3] = np.nan
    with pytest.raises(NonFiniteError, match=r"in step 6 .*the input of the model"):
        tn.fit(model, tn.optim.Adam(model.parameters()), batches, epochs=1, show=False)
    assert replays[0].launch is not None
    assert all(np.isfinite(array).all() for array in model.state_dict().values())


# --- what cannot be recorded ----------------------------------------------------------------------------------------

class Counting(tn.nn.Module):
    """Draws a number on the host in each step."""

    def __init__(self) -> None:
        self.calls = 0

    def forward(self, x: Any) -> Any:
        if self.training:
            self.calls += 1
        return x * (1.0 + self.calls)


class Waiting(tn.nn.Module):
    def forward(self, x: Any) -> Any:
        return x * float(x.sum().data)


class Copying(tn.nn.Module):
    def forward(self, x: Any) -> Any:
        return x * tn.Tensor(np.full(x.shape[-1], 2.0, "float32"), device=x.device)


@pytest.mark.parametrize(("layer", "reason"), [(Counting, "calls"), (Waiting, "wait"), (Copying, "copying")])
def test_a_step_that_cannot_be_recorded_runs_as_usual(device: str, replays: list[Replay], layer: Any,
                                                      reason: str) -> None:
    def make() -> Any:
        return tn.nn.Sequential(layer(), *lstm_cnn())

    compare(device, make=make, guard=False)
    assert reason in replays[0].refused
    assert replays[0].launch is None


def test_fit_says_why_steps_are_not_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    tn.seed(0)
    model = tn.nn.Sequential(Waiting(), tn.nn.Flatten(), tn.nn.Dense(4, 2)).to("gpu-emulated")
    batches = [(np.ones((2, 4), "float32"), np.array([0, 1]))] * 4
    tn.fit(model, tn.optim.SGD(model.parameters()), batches, epochs=2, guard=False)
    assert capsys.readouterr().out.count("steps run one kernel at a time") == 1


def test_a_number_in_a_model_is_made_on_the_device(device: str, replays: list[Replay]) -> None:
    class Half(tn.nn.Module):
        def forward(self, x: Any) -> Any:
            return 0.5 * x + 1

    compare(device, make=lambda: tn.nn.Sequential(Half(), *lstm_cnn()))
    assert replays[0].refused == ""


def test_memory_that_is_not_the_graphs_own_is_found(monkeypatch: pytest.MonkeyPatch, replays: list[Replay]) -> None:
    with installed(), tn.using("reference"):
        monkeypatch.setattr(fake_device.xp.cuda, "using_allocator", lambda malloc: nullcontext())
        train("gpu", graph=True)
    assert "memory" in replays[0].refused


# --- recording itself -----------------------------------------------------------------------------------------------

def test_recording_does_nothing_and_each_launch_does_all(device: str) -> None:
    xp = backend.namespace(device)
    x, total = xp.asarray(np.arange(4.0)), xp.zeros((), "float64")

    def work() -> Any:
        nonlocal total
        y = xp.zeros(4)
        y[1:3] = x[::2] * 2
        total += y.sum()
        x.fill(1.0)
        return y

    y, launch = graph.capture(device, work)
    np.testing.assert_array_equal(x.get(), np.arange(4.0))
    assert float(total) == 0
    launch()
    np.testing.assert_array_equal(y.get(), [0, 0, 4, 0])
    np.testing.assert_array_equal(x.get(), np.ones(4))
    launch()
    np.testing.assert_array_equal(y.get(), [0, 2, 2, 0])
    assert float(total) == 8


def test_after_an_error_the_device_works_as_before(device: str) -> None:
    xp = backend.namespace(device)
    x = xp.ones(3)
    with pytest.raises(DeviceError):
        graph.capture(device, lambda: float(x.sum()))
    x += 1
    assert x.get().tolist() == [2, 2, 2]


def test_on_a_cpu_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "Replay", None)
    compare("cpu", epochs=1)


def test_a_device_that_forgets_to_count_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant a bug: the count of steps stays on the host."""
    make_room = Replay._make_room

    def forgetful(self: Replay, *batch: Any) -> None:
        make_room(self, *batch)
        del self.numbers["steps"]

    monkeypatch.setattr(Replay, "_make_room", forgetful)
    with pytest.raises(AssertionError):
        compare("gpu-emulated")
