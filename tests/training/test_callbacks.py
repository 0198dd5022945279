"""When callbacks are called, and what those of tinynet do."""

import csv
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.distributed import Communicator, Repeatable
from tinynet.errors import ArgumentError, DataError
from tinynet.training.callbacks import BestModel, Callback, EarlyStopping, Log, Run, TensorBoard

X, Y = np.random.default_rng(0).standard_normal((12, 3)).astype("float32"), np.arange(12) % 2


def fitted(*callbacks: Callback, epochs: int = 3, **options: Any) -> list[dict[str, float]]:
    tn.seed(0)
    model = tn.nn.Sequential(tn.nn.Dense(3, 2))
    batches = tn.data.Loader(X, Y, batch_size=5)
    return tn.fit(model, tn.optim.SGD(model.parameters()), batches, epochs=epochs, validation=batches,
                  callbacks=callbacks, show=False, **options)


def after(values: list[float], *callbacks: Callback, metric: str = "validation_loss") -> Run:
    """A run with this history; its callbacks were called epoch by epoch until one stopped it."""
    run = Run(tn.nn.Sequential(), None, None, 99)  # type: ignore[arg-type]
    for epoch, value in enumerate(values, 1):
        run.history.append({"epoch": epoch, metric: value})
        for callback in callbacks:
            callback.on_epoch(run)
        if run.stopped:
            break
    return run


class Diary(Callback):
    """Record the calls."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.lines: list[Any] = []
        self._stop_at = stop_at

    def on_start(self, run: Run) -> None:
        self.lines.append("start")

    def on_step(self, run: Run) -> None:
        self.lines.append((run.epoch, run.batch, run.step))
        if run.step == self._stop_at:
            run.stop("enough")

    def on_epoch(self, run: Run) -> None:
        self.lines.append(("epoch", run.epoch, run.history[-1]["epoch"]))

    def on_end(self, run: Run) -> None:
        self.lines.append("end")


def test_when_callbacks_are_told() -> None:
    diary = Diary()
    fitted(diary, epochs=2)
    assert diary.lines == ["start", (1, 1, 1), (1, 2, 2), (1, 3, 3), ("epoch", 1, 1),
                           (2, 1, 4), (2, 2, 5), (2, 3, 6), ("epoch", 2, 2), "end"]


def test_callbacks_are_told_in_the_order_in_which_they_are_given() -> None:
    told: list[tuple[str, str]] = []

    def noting(name: str) -> Callback:
        callback = Callback()
        for moment in ("on_start", "on_step", "on_epoch", "on_end"):
            setattr(callback, moment, lambda run, moment=moment: told.append((moment, name)))
        return callback

    fitted(noting("first"), noting("second"), epochs=1)
    moments = ["on_start", "on_step", "on_step", "on_step", "on_epoch", "on_end"]
    assert told == [(moment, name) for moment in moments for name in ("first", "second")]


def test_the_end_is_told_after_an_error_too() -> None:
    class Fails(Diary):
        def on_epoch(self, run: Run) -> None:
            raise RuntimeError("mine")

    diary = Fails()
    with pytest.raises(RuntimeError, match="mine"):
        fitted(diary)
    assert diary.lines[-1] == "end"


def test_a_callback_may_end_the_training_after_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    diary = Diary(stop_at=5)
    history = fitted(diary)
    assert diary.lines[-3:] == [(2, 2, 5), ("epoch", 2, 2), "end"]
    assert len(history) == 2
    tn.fit(model := tn.nn.Sequential(tn.nn.Dense(3, 2)), tn.optim.SGD(model.parameters()), [(X, Y)], epochs=9,
           callbacks=[Diary(stop_at=1)])
    assert capsys.readouterr().out.splitlines()[-1] == "stopped: enough"


# --- early stopping -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("values", "options", "epochs"), [
    ([5, 4, 3, 2, 1], {"patience": 1}, None),
    ([5, 4, 4, 4, 4], {"patience": 2}, 4),
    ([5, 4, 6, 3, 6, 7, 8], {"patience": 2}, 6),
    ([5, 4.5, 3.9, 3.8, 3.5], {"patience": 2, "min_delta": 1.0}, 5),
    ([5, 4.5, 4.4, 4.3], {"patience": 2, "min_delta": 1.0}, 3),
    ([5, 4, 2, 1], {"patience": 1, "min_delta": 1.0}, 2),  # an improvement of just min_delta does not count
    ([1, 2, 3, 3, 3], {"patience": 2, "mode": "max"}, 5),
    ([float("nan"), float("nan"), 3, 2], {"patience": 3}, None),
    ([3, float("nan"), float("nan"), 2], {"patience": 2}, 3),
    ([float("inf"), 3, 2], {"patience": 1}, None),
])
def test_early_stopping(values: list[float], options: dict[str, Any], epochs: int | None) -> None:
    run = after(values, EarlyStopping(**options))
    assert bool(run.stopped) == (epochs is not None)
    assert len(run.history) == (epochs or len(values))


def test_the_name_says_what_is_better() -> None:
    assert after([0.5, 0.6, 0.7, 0.7], EarlyStopping("validation_accuracy", patience=1),
                 metric="validation_accuracy").stopped == \
        "validation_accuracy has not become better than 0.7 for 1 epochs"
    for metric in ("validation_mae", "train_loss"):
        assert after([0.5, 0.4, 0.6, 0.3], EarlyStopping(metric, patience=1), metric=metric).stopped == \
            f"{metric} has not become better than 0.4 for 1 epochs"


def test_early_stopping_goes_on_where_it_was() -> None:
    values = [5, 4, 6, 6, 6, 6]
    for cut in range(5):
        first, second = EarlyStopping(patience=3), EarlyStopping(patience=3)
        after(values[:cut], first)
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        run = after(values[cut:], second)
        assert len(run.history) == 5 - cut and run.stopped.endswith(" for 3 epochs")


def test_training_stops_early() -> None:
    assert len(fitted(EarlyStopping(patience=2, min_delta=1e9), epochs=10)) == 3


# --- the best model -------------------------------------------------------------------------------------------------

def test_the_best_model_is_kept(tmp_path: Path) -> None:
    saved: list[int] = []
    best = BestModel(tmp_path / "best", save=lambda path, model: saved.append(path == tmp_path / "best"))
    after([3, 2, 4, 2, float("nan"), 1], best)
    assert len(saved) == 3 and all(saved)
    assert best.best == 1


def test_the_saved_model_is_the_best_one(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    history = fitted(BestModel(path), epochs=3)
    assert tn.evaluate(tn.load(path), tn.data.Loader(X, Y, batch_size=5))["loss"] == min(
        row["validation_loss"] for row in history)


def test_a_relative_path_is_that_of_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)

    class Leave(Callback):
        def on_step(self, run: Run) -> None:
            monkeypatch.chdir(tmp_path / "other")

    fitted(BestModel("best"), Log("log.csv"), Leave(), epochs=2)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["best", "log.csv", "other"]
    assert not list((tmp_path / "other").iterdir())


@pytest.mark.parametrize("change", [
    lambda model: model.astype("float64"), lambda model: model.to("gpu-emulated"),
    lambda model: tn.nn.Sequential(tn.nn.Dense(2, 2)), lambda model: tn.nn.Sequential(tn.nn.ReLU(), tn.nn.Dense(3, 2))])
def test_averages_of_other_parameters_begin_anew(change: Any) -> None:
    """Of another precision, on another device, of other shapes, with other names."""
    model, ema = tn.nn.Sequential(tn.nn.Dense(3, 2)), tn.callbacks.EMA(0.5)
    ema.on_step(Run(model, None, None, 1))  # type: ignore[arg-type]
    with tn.using("reference"):
        model = change(model)
        for parameter in model.parameters():
            parameter.data[...] = 3
        ema.on_step(Run(model, None, None, 1))  # type: ignore[arg-type]
    assert ema.steps == 1 and ema.means.keys() == {*model.parameters().names}
    for mean, parameter in zip(ema.means.values(), model.parameters(), strict=True):
        assert (mean.dtype, mean.shape) == (parameter.dtype, parameter.shape)
        assert tn.backend.device_of(mean) == parameter.device
        assert (tn.backend.to_host(mean) == 3).all()


def test_a_metric_that_is_not_there() -> None:
    with pytest.raises(ArgumentError, match=r"EarlyStopping: metric must be one of epoch, .*, got 'f1'"):
        fitted(EarlyStopping("f1"))


# --- logs -----------------------------------------------------------------------------------------------------------

def test_logs_say_what_the_history_says(tmp_path: Path) -> None:
    history = fitted(Log(tmp_path / "log.csv"), Log(tmp_path / "deep" / "log.jsonl"))
    with (tmp_path / "log.csv").open(newline="") as file:
        table = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    lines = [json.loads(line) for line in (tmp_path / "deep" / "log.jsonl").read_text().splitlines()]
    assert lines == table == history


def test_a_new_run_begins_a_new_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("of yesterday\n")
    fitted(Log(path), epochs=0)
    assert path.read_text() == ""


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_a_log_that_cannot_be_written_is_told(tmp_path: Path, name: str) -> None:
    (path := tmp_path / name).mkdir()
    with pytest.raises(DataError) as caught:
        fitted(Log(path))
    assert str(caught.value) == (f"Log: {path} cannot be written (Is a directory); is there enough space, and "
                                 "permission to write?") and isinstance(caught.value.__cause__, OSError)


# --- TensorBoard ----------------------------------------------------------------------------------------------------

def test_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, endings = list[Any](), list[str]()

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int, filename_suffix: str) -> None:
            calls.append((folder, purge_step))
            endings.append(filename_suffix)

        def add_scalar(self, *values: Any) -> None:
            calls.append(values)

        def flush(self) -> None:
            calls.append("flush")

        def close(self) -> None:
            calls.append("close")

    module = ModuleType("tensorboardX")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    history = fitted(TensorBoard("runs/one"), epochs=2)
    assert calls[0] == (str(Path("runs/one").absolute()), 1)
    assert ("train/loss", history[0]["train_loss"], 1) in calls
    assert ("images_per_second", history[0]["images_per_second"], 1) in calls
    assert ("validation/accuracy", history[1]["validation_accuracy"], 2) in calls
    assert {call[0] for call in calls if len(call) == 3} == {
        "train/loss", "train/accuracy", "validation/loss", "validation/accuracy", "seconds", "images_per_second"}
    assert calls[-2:] == ["flush", "close"]
    del calls[:]
    for epochs in (1, 2):
        fitted(TensorBoard("runs/one"), epochs=epochs, checkpoint=tmp_path / "c", resume=True)
    assert [call[1] for call in calls if len(call) == 2] == [1, 2], "a resumed run hides what it repeats"
    assert endings == [".0", ".0", ".3"], "and does not write into the same file"


def test_only_the_first_rank_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others keep the best value too, so that all decide alike, and need no TensorBoard."""
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    second = Communicator()
    second.rank, second.size = 1, 2
    run = Run(tn.nn.Sequential(), None, None, 2, history=[{"epoch": 1, "validation_loss": 0.5}],  # type: ignore[arg-type]
              ranks=Repeatable(second))
    best = BestModel(tmp_path / "best")
    for callback in (best, Log(tmp_path / "log.csv"), TensorBoard(tmp_path / "board")):
        callback.on_start(run)
        callback.on_epoch(run)
        callback.on_end(run)
    assert best.best == 0.5 and not list(tmp_path.iterdir())


def test_without_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ArgumentError, match=r"tensorboardX must be installed.*; pip install tensorboardX"):
        fitted(TensorBoard("runs/one"))


# --- odd options ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("make", "message"), [
    (lambda: EarlyStopping(patience=0), "EarlyStopping: patience must be an integer of at least 1, got 0; patience=5"),
    (lambda: EarlyStopping(patience=2.5), "EarlyStopping: patience must be an integer of at least 1, got 2.5"),
    (lambda: EarlyStopping(min_delta=-1.0), "EarlyStopping: min_delta must be finite and at least 0, got -1.0"),
    (lambda: BestModel("x", mode="least"), "BestModel: mode must be \"min\" or \"max\", got 'least'"),
    (lambda: Log("log.txt"), "Log: path must end in .csv or .jsonl, got 'log.txt'"),
])
def test_odd_options_are_named(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()


# --- what is hard to write -------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("value", "text"), [(float("nan"), "null"), (float("inf"), "null"), (-float("inf"), "null"),
                                             (np.float32(0.5), "0.5"), (np.int64(3), "3"), (np.float32("nan"), "null")])
def test_json_lines_hold_json_only(tmp_path: Path, value: Any, text: str) -> None:
    path = tmp_path / "log.jsonl"
    tn.callbacks.Log(path).on_epoch(Run(None, None, None, 2, history=[{"epoch": 1, "auc": value}]))
    assert path.read_text() == f'{{"epoch": 1, "auc": {text}}}\n'


def test_a_column_that_begins_late(tmp_path: Path) -> None:
    """Such as a number that a callback adds from the second epoch on."""
    path = tmp_path / "log.csv"
    tn.callbacks.Log(path).on_epoch(Run(None, None, None, 2, history=[{"epoch": 1}, {"epoch": 2, "gap": 0.5}]))
    assert path.read_text() == "epoch,gap\n1,\n2,0.5\n"


def test_the_average_is_that_of_all_steps_and_is_what_is_validated(tmp_path: Path) -> None:
    """By the sum of the derivation: after the first step the weights, then 1 - decay of each."""
    seen: list[Any] = []

    class Watch(Callback):
        def on_step(self, run: Run) -> None:
            seen.append(run.model.parameters()[0].numpy().copy())

        def on_epoch(self, run: Run) -> None:
            np.testing.assert_array_equal(run.model.parameters()[0].numpy(), ema.means["0.W"])

    ema, best = tn.callbacks.EMA(0.75), BestModel(tmp_path / "best", "train_loss", mode="max")
    model = tn.nn.Sequential(tn.nn.Dense(2, 3))
    x, labels = np.eye(2, dtype="float32"), np.array([0, 2])
    batches = [(x, labels), (x[:1], labels[:1])]
    history = tn.fit(model, tn.optim.SGD(model.parameters(), lr=0.5), batches, epochs=2, validation=batches,
                     callbacks=[Watch(), ema, best], show=False)
    expected = 0.75**3 * seen[0] + 0.25 * (0.75**2 * seen[1] + 0.75 * seen[2] + seen[3])
    np.testing.assert_allclose(ema.means["0.W"], expected, rtol=1e-6)
    np.testing.assert_array_equal(model.parameters()[0].numpy(), ema.means["0.W"])
    assert tn.evaluate(model, batches)["loss"] == history[-1]["validation_loss"]
    early = 0.75 * seen[0] + 0.25 * seen[1]
    np.testing.assert_allclose(tn.load(tmp_path / "best").parameters()[0].numpy(), early, rtol=1e-6)
    before = model.parameters()[0].numpy().copy()
    ema.means["0.W"] = before + 1
    with ema.averaged(model):
        np.testing.assert_array_equal(model.parameters()[0].numpy(), before + 1)
    np.testing.assert_array_equal(model.parameters()[0].numpy(), before)


def test_after_an_error_the_model_has_the_weights_themselves() -> None:
    model, ema, seen = tn.nn.Sequential(tn.nn.Dense(2, 2)), tn.callbacks.EMA(0.5), list[Any]()

    class Die(Callback):
        def on_step(self, run: Run) -> None:
            seen.append(run.model.parameters()[0].numpy().copy())

        def on_epoch(self, run: Run) -> None:
            raise ZeroDivisionError

    batch = np.eye(2, dtype="float32"), np.array([0, 1])
    with pytest.raises(ZeroDivisionError):
        tn.fit(model, tn.optim.SGD(model.parameters(), lr=0.5), [batch, batch], epochs=1, callbacks=[ema, Die()],
               show=False)
    np.testing.assert_array_equal(model.parameters()[0].numpy(), seen[-1])
    assert (ema.means["0.W"] != seen[-1]).any()


def test_after_an_early_stop_the_model_has_the_averages() -> None:
    tn.seed(0)
    model, ema = tn.nn.Sequential(tn.nn.Dense(3, 2)), tn.callbacks.EMA(0.5)
    stopping = EarlyStopping("train_loss", patience=1, min_delta=1e9)
    history = tn.fit(model, tn.optim.SGD(model.parameters(), lr=0.5), [(X, Y)] * 3, epochs=9, show=False,
                     callbacks=[ema, stopping])
    assert len(history) == 2 and ema.steps == 6
    np.testing.assert_array_equal(model.parameters()[0].numpy(), ema.means["0.W"])


def test_averages_in_the_place_of_weights_count_as_a_change() -> None:
    """As an optimizer's step does: a backward pass through the weights before them is refused."""
    model, ema = tn.nn.Sequential(tn.nn.Dense(3, 2)), tn.callbacks.EMA(0.5)
    ema.on_step(Run(model, None, None, 1))  # type: ignore[arg-type]
    before = [one.version for one in model.parameters()]
    with ema.averaged(model):
        inside = [one.version for one in model.parameters()]
    after = [one.version for one in model.parameters()]
    assert all(a < b < c for a, b, c in zip(before, inside, after, strict=True))
