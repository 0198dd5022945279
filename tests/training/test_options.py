"""Each option of `fit` has its effect. Several trainings at once are as each alone."""

import inspect
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import nn, optim, parts
from tinynet.backend.cuda.runtime import emulator
from tinynet.errors import NonFiniteError
from tinynet.training import checkpoint, session

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((11, 3)).astype("float32"), np.arange(11) % 2
EFFECTS: dict[str, Callable[..., None]] = {}


def effect(function: Callable[..., None]) -> Callable[..., None]:
    EFFECTS[function.__name__] = function
    return function


class Watch(tn.callbacks.Callback):
    """Keeps the rate of each step, and the weights after it."""

    def __init__(self) -> None:
        self.rates, self.weights = list[float](), list[Any]()

    def on_start(self, run: Any) -> None:
        self.weights.append(weights(run.model))

    def on_step(self, run: Any) -> None:
        self.rates.append(run.optimizer.lr)
        self.weights.append(weights(run.model))

    def steps(self) -> list[float]:
        """The lengths of the steps of all weights together."""
        return [float(np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(one, other, strict=True))))
                for one, other in zip(self.weights, self.weights[1:], strict=False)]


def weights(model: Any) -> list[Any]:
    return [parameter.numpy().copy() for parameter in model.parameters()]


def trained(device: str = "cpu", x: Any = X, **options: Any) -> tuple[Any, list[dict[str, float]], Watch]:
    tn.seed(0)
    model, watch = nn.Sequential(nn.Dense(3, 2)).to(device), Watch()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    schedule = options.pop("schedule", lambda optimizer: None)(optimizer)
    callbacks = [watch, *options.pop("callbacks", ())]
    history = tn.fit(model, optimizer, tn.data.Loader(x, Y, batch_size=4),
                     **{"epochs": 2, "show": False, "schedule": schedule, "callbacks": callbacks, **options})
    return model, history, watch


@effect
def epochs(path: Path, **more: Any) -> None:
    assert [len(trained(epochs=number)[2].rates) for number in (0, 1, 3)] == [0, 3, 9]


@effect
def validation(path: Path, **more: Any) -> None:
    data = [(X[:5], 1 - Y[:5]), (X[5:6], Y[5:6])]
    model, history, _ = trained(validation=data)
    assert history[-1]["validation_loss"] == tn.evaluate(model, data)["loss"] != history[-1]["train_loss"]
    assert history[-1]["validation_accuracy"] == tn.evaluate(model, data)["accuracy"]
    loader = tn.data.Loader(X, Y, batch_size=3, shuffle=True)
    trained(validation=loader, checkpoint=path)
    assert loader.state_dict() == {"epoch": 2, "batch": 0}, "each epoch has made a pass"


@effect
def loss(path: Path, **more: Any) -> None:
    """In training and in validation."""
    def nothing(output: Any, labels: Any) -> Any:
        return tn.ops.cross_entropy(output, labels) * 0.0 + 7.0

    _, history, watch = trained(loss=nothing, validation=[(X, Y)])
    assert watch.steps() == [0.0] * 6
    assert history[0]["train_loss"] == history[0]["validation_loss"] == 7


@effect
def schedule(path: Path, **more: Any) -> None:
    _, _, watch = trained(schedule=lambda optimizer: optim.StepDecay(optimizer, every=2, factor=0.5))
    assert watch.rates == [1, 0.5, 0.5, 0.25, 0.25, 0.125]  # of the step that follows


@effect
def max_norm(path: Path, **more: Any) -> None:
    """Over all parameters together; gradients that are smaller stay."""
    free = trained()[2].steps()
    limit = sorted(free)[2]
    for _, _, watch in (trained(max_norm=limit), trained(max_norm=limit, checkpoint=path, checkpoint_seconds=0)):
        assert watch.steps()[0] == pytest.approx(min(free[0], limit), rel=1e-5)
        assert max(watch.steps()) == pytest.approx(limit, rel=1e-5) and min(watch.steps()) < 0.999 * limit
    assert trained(max_norm=1e9)[2].steps() == free


@effect
def metrics(path: Path, **more: Any) -> None:
    def sums(labels: Any, outputs: Any) -> float:
        return float(labels.sum() + 10 * len(outputs))

    assert trained(metrics={"sums": sums}, validation=[(X, Y), (X, Y)])[1][1]["validation_sums"] == 2 * (Y.sum() + 110)
    assert "validation_sums" not in trained(metrics={"sums": sums})[1][1]


@effect
def callbacks(path: Path, **more: Any) -> None:
    first, second = Watch(), Watch()
    trained(callbacks=[first, second])
    assert len(first.rates) == len(second.rates) == 6


@effect
def checkpoint_(path: Path, **more: Any) -> None:
    trained(epochs=1)
    assert not path.exists()
    trained(epochs=1, checkpoint=path)
    assert path.exists()


EFFECTS["checkpoint"] = EFFECTS.pop("checkpoint_")


@effect
def resume(path: Path, **more: Any) -> None:
    trained(epochs=1, checkpoint=path)
    assert len(trained(checkpoint=path, resume=True)[2].rates) == 3
    assert len(trained(checkpoint=path)[2].rates) == 6


@effect
def checkpoint_seconds(path: Path, monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
    """A step is saved if the last save is so long ago; the start and each epoch always."""
    written, write, clock = list[int](), checkpoint.write, [0.0]
    monkeypatch.setattr(session.checkpoint, "write", lambda path, state: (written.append(state.facts["step"]),
                                                                          write(path, state)))
    monkeypatch.setattr(session.time, "monotonic", lambda: clock[0])

    class Tick(tn.callbacks.Callback):
        def on_step(self, run: Any) -> None:
            clock[0] += 10.0

    for seconds, steps in ((0, [0, 1, 2, 3, 3, 4, 5, 6, 6]), (20.0, [0, 2, 3, 5, 6]), (20.1, [0, 3, 3, 6, 6]),
                           (1e9, [0, 3, 6])):
        written.clear()
        trained(checkpoint=path, checkpoint_seconds=seconds, callbacks=[Tick()])
        assert written == steps, seconds


@effect
def guard(path: Path, **more: Any) -> None:
    bad = np.where(np.arange(33).reshape(11, 3) == 20, np.nan, X)
    with pytest.raises(NonFiniteError, match="step 2"):
        trained(x=bad)
    assert np.isnan(trained(x=bad, guard=False)[1][-1]["train_loss"])


@effect
def graph(path: Path, monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
    made, recorded = list[Any](), session.RecordedStep
    monkeypatch.setattr(session, "RecordedStep", lambda *given: made.append(recorded(*given)) or made[-1])
    for device in ("cpu", *(["gpu-emulated"] if emulator.missing() is None else [])):
        for wanted in (True, False):
            made.clear()
            trained(device, epochs=3, graph=wanted)
            assert bool(made) == wanted and all(step.recording is not None for step in made)


@effect
def show(path: Path, capsys: pytest.CaptureFixture[str], **more: Any) -> None:
    trained(show=False)
    assert capsys.readouterr() == ("", "")
    trained(show=True)
    assert capsys.readouterr().out.count("\n") == 2


@pytest.mark.parametrize("name", EFFECTS)
def test_an_option_has_its_effect(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    EFFECTS[name](tmp_path / "c", monkeypatch=monkeypatch, capsys=capsys)


def test_every_option_has_a_test() -> None:
    options = [p.name for p in inspect.signature(tn.fit).parameters.values() if p.kind is p.KEYWORD_ONLY]
    assert sorted(options) == sorted(EFFECTS)


@pytest.mark.parametrize(("function", "defaults"), [
    (tn.fit, {"loss": tn.ops.cross_entropy, "callbacks": (), "resume": False, "checkpoint_seconds": 60.0, "guard": True,
              "graph": True, "show": True}),
    (tn.evaluate, {"loss": tn.ops.cross_entropy}), (tn.predict, {"batch_size": 256}), (tn.load, {"modules": ()}),
    (tn.to_onnx, {"pixels": False, "probabilities": False, "lengths": False}), (nn.Module.profile, {"repeat": 5}),
    (tn.gradcheck, {"mode": "auto", "elementwise": False, "seed": 0})])
def test_what_is_not_given_is_as_usual(function: Any, defaults: dict[str, Any]) -> None:
    """All else is None."""
    given = {p.name: p.default for p in inspect.signature(function).parameters.values() if p.default is not p.empty}
    assert {name: value for name, value in given.items() if value is not None} == defaults


# The defaults of options, by name: one for all functions and classes, but for those named here.
DEFAULTS: dict[str, Any] = {
    "alpha": 1.0, "axis": -1, "betas": (0.9, 0.999), "bias": True, "bins": 15, "border": "zero", "brightness": 0.0,
    "channels": 3, "channels_last": False, "check": True, "classes": 10, "contrast": 0.0, "decay": 0.999, "delta": 1.0,
    "device": "cpu", "digits": 2, "dilation": 1, "drop_last": False, "dropout": 0.0, "dtype": "float32", "elastic": 0.0,
    "eps": 1e-5, "factor": 0.1, "final": 0.0, "first": 0, "flip": "", "go_backwards": False, "group_name": "",
    "groups": 1, "keepdims": False, "label_smoothing": 0.0, "limit": 2**30, "lr": 1e-3, "max_skipped": 0.25,
    "mean": 0.0, "merge_mode": "concat", "metric": "validation_loss", "min_classes": 2, "min_delta": 0.0,
    "momentum": 0.9, "negative_slope": 0.01, "nesterov": False, "notes": (), "padding": "valid", "patches": 60,
    "patience": 5, "patients": 4, "positive": 1, "recurrent_dropout": 0.0, "reduction": "mean", "requires_grad": True,
    "return_sequences": True, "return_state": False, "rotate": 0.0, "save": tn.save, "scale": 0.0, "seed": 0,
    "shear": 0.0, "shift": 0.0, "shuffle": False, "side": "right", "size": 224, "skipped": (), "source": "auto",
    "stand_in": False, "stride": 1, "test": 0.2, "threads": 0, "train": 80, "validation": 0.2, "value": 0.0,
    "warmup": 0.3, "weight_decay": 0.0}
UNLIKE: dict[str, dict[str, Any]] = {
    "Adam": {"eps": 1e-8}, "AdamW": {"eps": 1e-8, "weight_decay": 0.01}, "SGD": {"lr": 0.01, "momentum": 0.0},
    "Scaling": {"scale": 255.0}, "concatenate": {"axis": 0}, "stack": {"axis": 0}, "scan_folder": {"groups": "auto"},
    "write_chest_xray_stand_in": {"test": 20}, "batch_norm": {"across": parts.alone},
    **{name: {"classes": 2} for name in ("idc_lstm_cnn", "idc_lstm", "idc_cnn", "pneumonia_cnn_lstm")}}


@pytest.mark.parametrize("place", [nn, tn.ops, optim, tn.data, tn.init, tn.metrics, tn.callbacks, tn.exchange,
                                   tn.models], ids=lambda place: place.__name__)
def test_an_option_has_one_default_in_all_functions_and_classes(place: Any) -> None:
    """A default is a promise, as a name is. None is not looked at."""
    own = [name for name, one in vars(place).items() if getattr(one, "__module__", "") == place.__name__]
    names = [name for name in getattr(place, "__all__", own) if name not in ("Run", "length_mask")]
    public = {name: getattr(place, name) for name in names}
    for name, one in public.items():
        for option, parameter in inspect.signature(one).parameters.items() if callable(one) else ():
            if parameter.default is not parameter.empty and parameter.default is not None:
                usual = {**DEFAULTS, **UNLIKE.get(name, {})}[option]
                assert (type(usual), usual) == (type(parameter.default), parameter.default), f"{name}: {option}"


# --- several trainings at once --------------------------------------------------------------------------------------

def lstm_cnn() -> Any:
    return nn.Sequential(nn.BatchNorm(1), nn.Reshape((6, 4)), nn.LSTM(4, 5, recurrent_dropout=0.1), nn.Conv1D(5, 3, 3),
                         nn.ReLU(), nn.Dropout(0.2), nn.MaxPool1D(2), nn.Flatten(), nn.Dense(6, 3))


@pytest.mark.parametrize("device", ["cpu", pytest.param("gpu-emulated", marks=pytest.mark.skipif(
    emulator.missing() is not None, reason="no g++"))])
def test_trainings_in_several_threads_are_as_each_alone(device: str) -> None:
    """Bit for bit: the steps of one do not touch what another records, draws, keeps or packs."""
    tn.seed(0)
    models = [lstm_cnn().to(device) for _ in range(3)]
    states, wrong = [model.state_dict() for model in models], list[BaseException]()
    images, labels = rng.uniform(0, 1, (20, 6, 4, 1)).astype("float32"), np.arange(20) % 3

    def train(model: Any) -> None:
        try:
            tn.fit(model, optim.Adam(model.parameters(), lr=0.01), tn.data.Loader(images, labels, batch_size=7,
                   shuffle=True, seed=1), epochs=3, validation=[(images[:3], labels[:3])] * 3, show=False)
        except BaseException as error:
            wrong.append(error)

    ends = []
    for at_once in (False, True):
        for model, state in zip(models, states, strict=True):
            model.load_state_dict(state)
        threads = [threading.Thread(target=train, args=(model,)) for model in models]
        for thread in threads:
            thread.start()
            if not at_once:
                thread.join()
        for thread in threads:
            thread.join()
        ends.append([model.state_dict() for model in models])
    assert not wrong
    for alone, together in zip(*ends, strict=True):
        assert all(np.array_equal(array, together[name]) for name, array in alone.items())
