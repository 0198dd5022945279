"""A training that is stopped at any moment and resumed ends like one that was never stopped, bit for bit."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

import tinynet as tn
from tests import kill
from tinynet import nn, optim
from tinynet.errors import Interrupted
from tinynet.training import checkpoint, progress
from tinynet.training.callbacks import EMA, Callback, EarlyStopping, Log, Run
from tinynet.training.signals import Signals

ROOT = Path(__file__).resolve().parents[2]
numbers = np.random.default_rng(0)
IMAGES, LABELS = numbers.uniform(0, 1, (30, 6, 4, 1)).astype("float32"), numbers.integers(0, 3, 30)
EPOCHS, BATCHES = 3, 3


def lstm_cnn() -> Any:
    return nn.Sequential(nn.BatchNorm(1), nn.Reshape((6, 4)), nn.LSTM(4, 5, dropout=0.1, recurrent_dropout=0.1),
                         nn.Dropout(0.2), nn.Conv1D(5, 3, 3), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Dense(12, 3))


class Die(Callback):
    """Raise an exception in a given step, or at the end of a given epoch."""

    def __init__(self, step: int | None = None, epoch: int | None = None) -> None:
        self._step, self._epoch = step, epoch

    def on_step(self, run: Run) -> None:
        if run.step == self._step:
            raise ZeroDivisionError

    def on_epoch(self, run: Run) -> None:
        if run.epoch == self._epoch:
            raise ZeroDivisionError


Made = Callable[[Any], tuple[Any, Any]]
OPTIMIZERS: dict[str, Made] = {
    "sgd": lambda p: (optim.SGD(p, 0.1, momentum=0.9), None),
    "adam, one cycle": lambda p: ((o := optim.Adam(p)), optim.OneCycle(o, peak=0.02, steps=EPOCHS * BATCHES)),
    "adamw, cosine": lambda p: ((o := optim.AdamW(p, 0.01)), optim.Cosine(o, steps=EPOCHS * BATCHES)),
    "groups, warm-up": lambda p: (
        (o := optim.Adam([{"parameters": p[:2], "lr": 3e-3}, {"parameters": p[2:], "weight_decay": 0.1}], lr=0.01)),
        optim.Warmup(optim.Cosine(o, steps=EPOCHS * BATCHES), steps=3)),
    "sgd, decay": lambda p: ((o := optim.SGD(p, 0.1)), optim.StepDecay(o, every=2, factor=0.7)),
}


def loaders() -> tuple[Any, Any]:
    return (tn.data.Loader(IMAGES[:20], LABELS[:20], batch_size=8, shuffle=True),
            tn.data.Loader(IMAGES[20:], LABELS[20:], batch_size=4, shuffle=True))


def threaded() -> tuple[Any, Any]:
    """Loaders that prefetch and augment."""
    def scaled(images: Any, labels: Any) -> Any:
        return images.astype("float32") / 255, labels

    bytes_ = (IMAGES[:20] * 255).astype("uint8")
    return (tn.data.Loader(bytes_, LABELS[:20], batch_size=8, shuffle=True, threads=2, transform=scaled,
                           augment=tn.data.Augment(shift=0.2, flip="horizontal")), loaders()[1])


def lists() -> tuple[Any, Any]:
    return [[(IMAGES[i : i + 8], LABELS[i : i + 8]) for i in range(start, end, 8)]
            for start, end in ((0, 20), (20, 30))]  # type: ignore[return-value]


def fitted(path: Path | None = None, *, optimizer: str = "adam, one cycle", data: Any = loaders, die: Any = None,
           make: Any = lstm_cnn, epochs: int = EPOCHS, show: bool = False, more: Any = (),
           **options: Any) -> tuple[Any, Any, Any]:
    """Train. Returns the model, its optimizer and the history."""
    tn.seed(1)
    model = make()
    update, schedule = OPTIMIZERS[optimizer](model.parameters())
    train, validation = data()
    stopping = EarlyStopping("train_loss" if validation is None else "validation_loss", patience=2)
    history = tn.fit(model, update, train, epochs=epochs, validation=validation, schedule=schedule, show=show,
                     checkpoint=path, callbacks=[stopping, die or Die(), *more], **{"checkpoint_seconds": 0, **options})
    return model, update, history


def assert_same(one: tuple[Any, Any, Any], other: tuple[Any, Any, Any]) -> None:
    for a, b in zip(one[:2], other[:2], strict=True):
        for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
            np.testing.assert_array_equal(x, y, err_msg=name)
    assert without_times(one[2]) == without_times(other[2])


def without_times(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name not in kill.TIMES} for row in history]


# --- stopped anywhere -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("optimizer", "data"), [
    *((optimizer, data) for optimizer in OPTIMIZERS for data in (loaders, lists)), ("sgd", threaded)])
def test_any_step(tmp_path: Path, optimizer: str, data: Any) -> None:
    expected = fitted(optimizer=optimizer, data=data)
    for step in range(1, EPOCHS * BATCHES + 1):
        path = tmp_path / f"{step}"
        with pytest.raises(ZeroDivisionError):
            fitted(path, optimizer=optimizer, data=data, die=Die(step))
        assert_same(fitted(path, optimizer=optimizer, data=data, resume=True), expected)


@pytest.mark.parametrize("step", [1, 4, 8])
@pytest.mark.parametrize("seconds", [0, 1e9])
def test_averages_of_weights(tmp_path: Path, step: int, seconds: float) -> None:
    """The averages of a resumed run, which are in the model at its end, and what was validated with them."""
    def run(die: Any = None, **options: Any) -> Any:
        ema = EMA(decay=0.7)
        model, update, history = fitted(tmp_path / "c", more=[ema], die=die, checkpoint_seconds=seconds, **options)
        assert ema.steps == EPOCHS * BATCHES
        return {**model.state_dict(), **update.state_dict(), **ema.means}, without_times(history)

    expected = run()
    with pytest.raises(ZeroDivisionError):
        run(Die(step))
    found = run(resume=True)
    assert found[0].keys() == expected[0].keys()
    assert found[1] == expected[1]
    for name, array in expected[0].items():
        np.testing.assert_array_equal(found[0][name], array, err_msg=name)


def test_a_signal_while_averages_are_validated(tmp_path: Path) -> None:
    """The checkpoint has the weights themselves, and the model too."""
    class Kill(Callback):
        def __init__(self, epoch: int) -> None:
            self._epoch = epoch

        def evaluating(self, run: Run) -> Any:
            if run.epoch == self._epoch:
                os.kill(os.getpid(), signal.SIGINT)
            return super().evaluating(run)

    expected = fitted(more=[EMA(0.7)])
    with pytest.raises(Interrupted):
        fitted(tmp_path / "c", more=[EMA(0.7), Kill(2)])
    assert_same(fitted(tmp_path / "c", more=[EMA(0.7), Kill(0)], resume=True), expected)


@pytest.mark.parametrize("seconds", [0, 1e9])
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_between_epochs(tmp_path: Path, epoch: int, seconds: float) -> None:
    with pytest.raises(ZeroDivisionError):
        fitted(tmp_path / "c", die=Die(epoch=epoch), checkpoint_seconds=seconds)
    assert_same(fitted(tmp_path / "c", resume=True), fitted())


def test_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "c"
    for step in (1, 2, 5, 5, 9):
        with pytest.raises(ZeroDivisionError):
            fitted(path, die=Die(step), resume=path.exists())
    assert_same(fitted(path, resume=True), fitted())


@pytest.mark.parametrize("make", [
    lambda: nn.LSTM(4, 3, dropout=0.3, recurrent_dropout=0.3, return_sequences=False),
    lambda: nn.Sequential(nn.LSTM(4, 3, return_sequences=False), nn.Sequential(nn.Dropout(0.5), nn.Dense(3, 3))),
])
def test_random_masks_of_other_models(tmp_path: Path, make: Any) -> None:
    """A layer that is the whole model draws from its own stream, which is part of the state."""
    def data() -> Any:
        return tn.data.Loader(IMAGES[..., 0], LABELS, batch_size=10, shuffle=True), None

    expected = fitted(make=make, data=data)
    for step in range(1, EPOCHS * BATCHES + 1):
        with pytest.raises(ZeroDivisionError):
            fitted(tmp_path / f"{step}", make=make, data=data, die=Die(step))
        assert_same(fitted(tmp_path / f"{step}", make=make, data=data, resume=True), expected)


def test_a_model_that_has_drawn_masks_goes_on_with_those_of_the_checkpoint(tmp_path: Path) -> None:
    made = [0]

    def make() -> Any:
        layer = nn.LSTM(4, 3, dropout=0.3, return_sequences=False)
        for other in [nn.Dropout(0.5) for _ in range(made[0])]:
            other(tn.Tensor([1.0]))
        if made[0]:
            layer(tn.Tensor(IMAGES[:1, ..., 0]))
        made[0] += 1
        return layer

    def data() -> Any:
        return tn.data.Loader(IMAGES[..., 0], LABELS, batch_size=10), None

    path = tmp_path / "c"
    with pytest.raises(ZeroDivisionError):
        fitted(path, make=make, data=data, die=Die(4))
    found = fitted(path, make=make, data=data, resume=True)
    made[0] = 0
    assert_same(found, fitted(make=make, data=data))


@pytest.mark.parametrize("place", ["cpu", "gpu-emulated"])
def test_on_a_device(tmp_path: Path, place: str) -> None:
    """With averages of the weights, and with the images on either side."""
    def data() -> Any:
        return tn.data.Loader(IMAGES[:20], LABELS[:20], batch_size=8, shuffle=True, device=place), loaders()[1]

    def run(**options: Any) -> Any:
        return fitted(make=lambda: lstm_cnn().to("gpu-emulated"), more=[EMA(0.7)], data=data, **options)

    with tn.using("reference"):
        expected = run()
        with pytest.raises(ZeroDivisionError):
            run(path=tmp_path / "c", die=Die(5))
        assert_same(run(path=tmp_path / "c", resume=True), expected)


def test_the_position_in_the_epoch_counts(tmp_path: Path) -> None:
    """Each image is seen once in each epoch, before and after the stop."""
    seen: list[Any] = []

    def noted(images: Any, labels: Any) -> Any:
        seen.extend(labels.tolist())
        return images, labels

    def data() -> Any:
        return tn.data.Loader(IMAGES[:20], np.arange(20), batch_size=8, shuffle=True, transform=noted), None

    def run(**options: Any) -> None:
        tn.seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Dense(24, 20))
        tn.fit(model, optim.SGD(model.parameters()), data()[0], epochs=2, show=False, checkpoint=tmp_path / "c",
               checkpoint_seconds=0, **options)

    run()
    expected, seen[:] = list(seen), []
    with pytest.raises(ZeroDivisionError):
        run(callbacks=[Die(5)])
    del seen[-8:]  # of the step that was not saved
    run(callbacks=[Die()], resume=True)
    assert seen == expected
    assert sorted(seen[:20]) == sorted(seen[20:]) == list(range(20))


# --- over, longer, anew ---------------------------------------------------------------------------------------------

def test_a_run_that_is_over_stays_as_it_is(tmp_path: Path) -> None:
    expected = fitted(tmp_path / "c")
    assert_same(fitted(tmp_path / "c", resume=True, die=Die(step=1)), expected)


def test_more_epochs(tmp_path: Path) -> None:
    options = {"optimizer": "sgd", "data": lists}
    fitted(tmp_path / "c", epochs=1, **options)
    assert_same(fitted(tmp_path / "c", epochs=3, resume=True, **options), fitted(epochs=3, **options))


def test_a_run_that_stopped_early_stays_stopped(tmp_path: Path) -> None:
    def run(**options: Any) -> Any:
        tn.seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Dense(24, 3))
        train, validation = loaders()
        return tn.fit(model, optim.SGD(model.parameters()), train, validation=validation, epochs=9, show=False,
                      checkpoint=tmp_path / "c", callbacks=[EarlyStopping(patience=2, min_delta=1e9)], **options)

    assert len(run()) == len(run(resume=True)) == 3


def test_nothing_to_resume_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = fitted()
    capsys.readouterr()
    assert_same(fitted(tmp_path / "c", resume=True, show=True), expected)
    assert capsys.readouterr().out.splitlines()[0] == f"no checkpoint yet at {tmp_path / 'c'}: from the beginning"


def test_it_says_where_it_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """In words, and by the bars, each of which begins at the batches that are done."""
    with pytest.raises(ZeroDivisionError):
        fitted(tmp_path / "c", die=Die(6))
    bars = list[tuple[str, int]]()
    monkeypatch.setattr(progress, "_bar", lambda: lambda **options: (
        bars.append((options["desc"], options["initial"])) or MagicMock()))
    fitted(tmp_path / "c", resume=True, show=True)
    assert bars == [("epoch 2/3", 5 % BATCHES), ("epoch 3/3", 0)]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"resumed from {tmp_path / 'c'}: 5 steps are done, 1 of 3 epochs"
    assert lines[1].startswith("epoch 2/3")


def test_without_resume_it_begins_anew(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fitted(tmp_path / "c", die=Die(6))
    assert_same(fitted(tmp_path / "c"), fitted())


# --- signals --------------------------------------------------------------------------------------------------------

class Raise(Callback):
    """Send a signal to this process, in a step or after an epoch."""

    def __init__(self, number: int, step: int, times: int = 1) -> None:
        self._number, self._step, self._times, self.started = number, step, times, -1

    def on_start(self, run: Run) -> None:
        self.started = run.step

    def on_step(self, run: Run) -> None:
        if run.step == self._step:
            for _ in range(self._times):
                os.kill(os.getpid(), self._number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("step", [1, 3, 5, 9])
def test_a_signal_ends_it_after_the_step(tmp_path: Path, number: signal.Signals, code: int, step: int,
                                         capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(number)
    message = rf"stopped by {number.name} after {step} steps, .*/c; resume=True goes on"
    with pytest.raises(Interrupted, match=message) as caught:
        fitted(tmp_path / "c", die=Raise(number, step), checkpoint_seconds=1e9)
    assert caught.value.exit_code == code
    assert signal.getsignal(number) == before
    assert "stopping after this step; once more, and it stops at once" in capfd.readouterr().err
    again = Raise(number, 99)
    assert_same(fitted(tmp_path / "c", resume=True, die=again), fitted())
    assert again.started == step, "all of it is in the checkpoint"


@pytest.mark.parametrize("epoch", [1, EPOCHS])
def test_a_signal_at_the_end_of_an_epoch(tmp_path: Path, epoch: int) -> None:
    """Also of the last one: the caller learns of it."""
    class Late(Raise):
        def on_epoch(self, run: Run) -> None:
            if run.epoch == epoch:
                os.kill(os.getpid(), self._number)

    with pytest.raises(Interrupted, match=rf"{epoch} of {EPOCHS} epochs"):
        fitted(tmp_path / "c", die=Late(signal.SIGINT, -1))
    late = Late(signal.SIGINT, -1)
    late.on_epoch = lambda run: None  # type: ignore[method-assign]
    assert_same(fitted(tmp_path / "c", resume=True, die=late), fitted())


def test_a_signal_while_validating(tmp_path: Path) -> None:
    def data() -> Any:
        train, validation = loaders()
        batches = iter(range(99))

        def interrupting(*batch: Any) -> Any:
            if next(batches) == 1:
                os.kill(os.getpid(), signal.SIGINT)
            return batch
        validation.transform = interrupting
        return train, validation

    with pytest.raises(Interrupted, match=r"after 3 steps, 0 of 3 epochs"):
        fitted(tmp_path / "c", data=data)
    assert_same(fitted(tmp_path / "c", resume=True), fitted())


def test_a_signal_while_validating_on_a_list() -> None:
    """Which has no position to go back to: a pass always begins at its first batch."""
    class Sends(list[Any]):
        def __iter__(self) -> Any:
            os.kill(os.getpid(), signal.SIGINT)
            return super().__iter__()

    with pytest.raises(Interrupted, match=r"after 3 steps, 0 of 3 epochs"):
        fitted(data=lambda: (loaders()[0], Sends([(IMAGES[20:], LABELS[20:])])))


def test_a_second_one_ends_it_at_once(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        fitted(tmp_path / "c", die=Raise(signal.SIGINT, 5, times=2))
    assert not isinstance(caught.value, Interrupted)
    assert_same(fitted(tmp_path / "c", resume=True, die=Raise(signal.SIGINT, 99)), fitted())


@pytest.mark.parametrize("checkpoint", [False, True])
def test_an_interrupt_carries_the_history_and_keeps_the_weights(tmp_path: Path, checkpoint: bool) -> None:
    """Also without a checkpoint, where SIGTERM keeps its own handler."""
    class Stop(Raise):
        def on_step(self, run: Run) -> None:
            if run.step == self._step:
                kept.append((run.model, run.model.state_dict(), list(run.history)))
                if not checkpoint:
                    assert signal.getsignal(signal.SIGTERM) == before
            super().on_step(run)

    kept: list[Any] = []
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match=r"the weights of this step, and the exception's \.history the") as caught:
        fitted(tmp_path / "c" if checkpoint else None, die=Stop(signal.SIGINT, 5))
    [(model, state, history)] = kept
    assert caught.value.history == history and len(history) == 1
    assert ("resume=True" in str(caught.value)) == checkpoint
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[name])


def test_a_handler_that_an_interrupt_left_behind_passes_signals_on() -> None:
    with (running := threading.Lock()):
        Signals(running, signal.SIGINT).__enter__()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_that_was_set_meanwhile_stays(capfd: pytest.CaptureFixture[str]) -> None:
    """And only the first rank says that a signal is noted."""
    usual = signal.getsignal(signal.SIGINT)
    try:
        with (running := threading.Lock()), Signals(running, signal.SIGINT, show=False) as signals:
            signal.raise_signal(signal.SIGINT)
        assert signals.name == "SIGINT" and capfd.readouterr().err == ""
        with running, Signals(running, signal.SIGINT):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, usual)


def test_signals_that_are_ignored_stay_so(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert len(fitted(tmp_path / "c", die=Raise(signal.SIGINT, 5))[2]) == EPOCHS
    finally:
        signal.signal(signal.SIGINT, before)


# --- killed ---------------------------------------------------------------------------------------------------------

def test_killed_and_resumed(tmp_path: Path) -> None:
    """SIGKILL of child processes at a step of each epoch: weights, best model, logs. More: tests/kill.py."""
    folders = {step: tmp_path / f"step{step}" for step in (1, kill.BATCHES, 13, kill.STEPS, None)}
    for folder in folders.values():
        folder.mkdir()
    more = "--reference"
    first = [kill.start(folder, more, *([] if step is None else ["--kill-at", str(step)]))
             for step, folder in folders.items()]
    for process in first:
        process.communicate()
    assert [process.returncode for process in first] == [-signal.SIGKILL] * 4 + [0]
    again = [kill.start(folder, more, resume=True) for step, folder in folders.items() if step]
    for process in again:
        process.communicate()
    assert [process.returncode for process in again] == [0] * 4
    expected = kill.outcome(folders[None])
    assert len(expected["log.csv"]) == len(expected["log.jsonl"]) == kill.EPOCHS
    for step, folder in folders.items():
        assert kill.outcome(folder) == expected, step


def test_the_example_ends_with_the_same_weights(tmp_path: Path) -> None:
    """Interrupted in epoch 1, killed in epoch 2, and resumed each time by the same command."""
    def start(name: str, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "examples/mnist_lstm_cnn.py", "--data", "digits", "--limit", "600", "--epochs", "3",
                   "--batch-size", "32", "--out", str(tmp_path / name), *more]
        return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def read_until(process: subprocess.Popen[str], part: str) -> None:
        assert process.stdout is not None
        while part not in (line := process.stdout.readline()):
            assert line, process.communicate()[1]

    whole, stopped = start("whole"), start("stopped")
    read_until(stopped, "total")  # the table of layers; now it trains
    while not (tmp_path / "stopped" / "checkpoint.safetensors").exists():
        time.sleep(0.001)
    time.sleep(0.05)
    stopped.send_signal(signal.SIGINT)
    _, said = stopped.communicate()
    assert stopped.returncode == 130
    assert re.search(r"stopped by SIGINT after \d+ steps, .* the same command with --resume", said)
    killed = start("stopped", "--resume")
    read_until(killed, "resumed from")
    read_until(killed, "epoch 2/3")
    killed.kill()
    killed.communicate()
    last = start("stopped", "--resume")
    for process in (last, whole):
        _, said = process.communicate()
        assert process.returncode == 0, said
    results = []
    for name in ("whole", "stopped"):
        found = json.loads((tmp_path / name / "results.json").read_text())
        results.append([found["test_accuracy"], found["test_loss"], without_times(found["epochs"])])
    assert results[0] == results[1]
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "stopped"))
    assert one == other


def test_what_was_not_resumed_differs(tmp_path: Path) -> None:
    """The comparison can fail: a training resumed from a part of the state ends differently."""
    expected = fitted()
    with pytest.raises(ZeroDivisionError):
        fitted(tmp_path / "c", die=Die(6))
    restore = checkpoint.restore
    for name in ("batches_seen", "calls", "optimizer/2.W.m", "running_mean"):
        def partly(run: Any, state: Any, name: str = name) -> None:
            restore(run, state._replace(arrays={key: array * (name not in key) for key, array in state.arrays.items()}))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoint, "restore", partly)
            resumed = fitted(tmp_path / "c", resume=True, guard=False)
        with pytest.raises(AssertionError):
            assert_same(resumed, expected)


def test_logs_have_each_line_once(tmp_path: Path) -> None:
    """Also if the run was stopped between the log and the checkpoint."""
    tn.seed(1)

    def run(**options: Any) -> Any:
        tn.seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Dense(24, 3))
        return tn.fit(model, optim.SGD(model.parameters()), loaders()[0], epochs=4, show=False,
                      checkpoint=tmp_path / "c", **options)

    log = Log(tmp_path / "log.jsonl")
    for epoch in (1, 2, 2, 4, None):
        try:
            history = run(callbacks=[log, Die(epoch=epoch)], resume=(tmp_path / "c").exists())
        except ZeroDivisionError:
            lines = (tmp_path / "log.jsonl").read_text().splitlines()
            assert len(lines) == epoch  # it was written, the checkpoint was not
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == history
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
