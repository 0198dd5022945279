"""The training loop: what it returns, that it is repeatable, and what it shows."""

import io
import re
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import nn, ops, optim
from tinynet.data import Loader
from tinynet.errors import ArgumentError, CallError, DtypeError, ShapeError
from tinynet.training import calls, fit, progress

rng = np.random.default_rng(0)
IMAGES = rng.uniform(0, 1, (22, 6, 4, 1)).astype("float32")
LABELS = np.arange(22) % 3
COLUMNS = ["epoch", "train_loss", "train_accuracy", "seconds", "images_per_second"]


def lstm_cnn() -> Any:
    return nn.Sequential(nn.BatchNorm(1), nn.Reshape((6, 4)), nn.LSTM(4, 5, dropout=0.1, recurrent_dropout=0.1),
                         nn.Dropout(0.2), nn.Conv1D(5, 3, 3), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Dense(12, 3))


def batches(batch_size: int = 8, shuffle: bool = True) -> Loader:
    return Loader(IMAGES, LABELS, batch_size=batch_size, shuffle=shuffle)


def fitted(seed: int = 0, epochs: int = 2, **options: Any) -> tuple[Any, list[dict[str, float]]]:
    tn.seed(seed)
    model = lstm_cnn()
    history = tn.fit(model, optim.Adam(model.parameters(), lr=0.01), batches(), epochs=epochs,
                     **{"show": False, **options})
    return model, history


def assert_same_state(one: Any, other: Any) -> None:
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


# --- what comes out -------------------------------------------------------------------------------------------------

def test_the_history() -> None:
    _, history = fitted(validation=batches(5, shuffle=False))
    assert [row["epoch"] for row in history] == [1, 2]
    assert all(list(row) == [*COLUMNS, "validation_loss", "validation_accuracy"] for row in history)
    assert all(type(value) in (int, float) and np.isfinite(value) for row in history for value in row.values())
    assert all(row["images_per_second"] == pytest.approx(22 / row["seconds"]) for row in history)
    assert list(fitted(epochs=1)[1][0]) == COLUMNS
    assert fitted(epochs=0)[1] == []


def test_training_learns() -> None:
    tn.seed(0)
    model = nn.Sequential(nn.Dense(2, 8), nn.Tanh(), nn.Dense(8, 2))
    x = np.random.default_rng(0).standard_normal((64, 2)).astype("float32")
    labels = (x[:, 0] * x[:, 1] > 0).astype(int)
    optimizer, loader = optim.Adam(model.parameters(), lr=0.05), Loader(x, labels, batch_size=16)
    history = tn.fit(model, optimizer, loader, epochs=30, show=False)
    assert history[-1]["train_accuracy"] > 0.95
    assert history[-1]["train_loss"] < 0.3 * history[0]["train_loss"]
    assert tn.evaluate(model, loader)["accuracy"] > 0.95


def test_the_same_seed_gives_the_same_bits() -> None:
    (one, first), (again, second), (other, _) = fitted(3), fitted(3), fitted(4)
    assert_same_state(one, again)
    for a, b in zip(first, second, strict=True):
        assert (a["train_loss"], a["train_accuracy"]) == (b["train_loss"], b["train_accuracy"])
    assert any((one.state_dict()[name] != array).any() for name, array in other.state_dict().items())


def test_fit_is_the_loop_that_it_says() -> None:
    """The same by hand: forward, loss, backward, step for each batch; means over images; dropout active."""
    model, history = fitted(5, epochs=1)
    tn.seed(5)
    byhand = lstm_cnn().train()
    optimizer = optim.Adam(byhand.parameters(), lr=0.01)
    losses, right = [], 0
    for images, labels in batches():
        output = byhand(tn.Tensor(images))
        loss = tn.ops.cross_entropy(output, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item() * len(images))
        right += int((output.numpy().argmax(axis=1) == labels).sum())
    assert_same_state(model, byhand)
    assert history[0]["train_loss"] == pytest.approx(sum(losses) / 22, rel=1e-6)
    assert history[0]["train_accuracy"] == right / 22


def test_fit_switches_to_training() -> None:
    model = lstm_cnn().eval()
    tn.fit(model, optim.SGD(model.parameters()), batches(), epochs=1, show=False)
    assert all(module.training for _, module in model.modules())
    assert model[0].batches_seen == model[3].calls.item() == 3


def test_the_last_batch_counts_by_its_images() -> None:
    """22 = 8 + 8 + 6: means do not depend on the batch size."""
    model, _ = fitted()
    whole = tn.evaluate(model, batches(22, shuffle=False))
    for size in (1, 5, 8, 21):
        parts = tn.evaluate(model, batches(size, shuffle=False))
        assert parts["loss"] == pytest.approx(whole["loss"], rel=1e-6)
        assert parts["accuracy"] == whole["accuracy"]
        assert parts["images"] == whole["images"] == 22
    scores = tn.predict(model, IMAGES)
    assert whole["accuracy"] == (scores.argmax(axis=1) == LABELS).mean()
    logp = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    assert whole["loss"] == pytest.approx(-logp[np.arange(22), LABELS].mean(), rel=1e-5)


@pytest.mark.parametrize("sizes", [(3, 1), (1, 1, 2), (4,)])
@pytest.mark.parametrize(("labels", "loss"), [
    (np.array([[1.0, 2], [5, 7], [0, 0], [-9, 4]], "float32"), tn.ops.mse),
    (np.array([[0, 1], [1, 1], [1, 1], [0, 0]]), tn.ops.cross_entropy), (np.array([0, 1, 1, 0]), tn.ops.cross_entropy)])
def test_a_mean_over_batches_of_any_sizes_is_the_mean_over_all(labels: Any, loss: Any, sizes: tuple[int, ...]) -> None:
    """Of floats, of classes, and of several classes for each sample."""
    shape = labels.shape if loss is tn.ops.mse else (*labels.shape, 2)
    scores = np.random.default_rng(0).standard_normal(shape).astype("float32")
    model, ends = nn.Sequential(nn.Tanh()), np.cumsum(sizes)
    batches = [(scores[end - size : end], labels[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
    found = tn.evaluate(model, batches, loss=loss)
    assert found["loss"] == pytest.approx(loss(model(tn.Tensor(scores)), tn.Tensor(labels)).item(), rel=1e-6)
    assert found["images"] == 4


def test_accuracy_of_sequences_counts_positions() -> None:
    model = nn.Sequential(nn.ReLU())
    scores = np.array([[[5, 0], [5, 0]], [[0, 5], [0, 5]], [[5, 0], [0, 5]]], "float32")
    labels = np.array([[0, 0], [1, 1], [1, 1]])
    assert tn.evaluate(model, [(scores, labels)])["accuracy"] == pytest.approx(5 / 6)


def _smoothed(output: tn.Tensor, labels: Any) -> tn.Tensor:
    return tn.ops.cross_entropy(output, labels, label_smoothing=0.1)


@pytest.mark.parametrize(("loss", "scores", "labels", "measure", "value"), [
    (tn.ops.binary_cross_entropy, [[1.0, 2], [2, 3], [-1, -1]], [[1, 1], [1, 0], [0, 0]], "exact_match", 2 / 3),
    (partial(tn.ops.binary_cross_entropy, pos_weight=2.0), [[1.0, 2], [2, 3]], [[1, 1], [1, 0]], "exact_match", 0.5),
    (tn.ops.binary_cross_entropy, [[1.0], [2], [-1]], [[1], [0], [0]], "accuracy", 2 / 3),
    (tn.ops.binary_cross_entropy, [1.0, 2, -1, 0], [1, 0, 0, 0], "accuracy", 3 / 4),
    (tn.ops.cross_entropy, [[1.0, 0], [0, 2], [3, 0]], [[0.9, 0.1], [1, 0], [0.5, 0.5]], "accuracy", 2 / 3),
    (_smoothed, [[1.0, 0], [0, 2], [3, 0]], [0, 0, 0], "accuracy", 2 / 3),
    (tn.ops.mse, [[1.0, 0], [0, 2]], [[0.0, 0], [0, -1]], "mae", 1.0),
    (tn.ops.mae, [[1.0, 0], [0, 2]], [[0.0, 0], [0, -1]], "mae", 1.0),
    (partial(tn.ops.huber, delta=2.0), [1.0, 4, 2.5], [1.0, 1, 2], "mae", 3.5 / 3),
    (lambda output, labels: tn.ops.mse(output, labels) * 2, [[1.0, 0]], [[0.0, 0]], "", 0.0)])
def test_a_task_is_measured_by_what_fits_it(loss: Any, scores: Any, labels: Any, measure: str, value: float,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    x, y = np.array(scores, "float32"), np.array(labels)
    y = y.astype("float32") if y.dtype == float else y
    x[x == 0] = -1e-9
    model = nn.Sequential(Scale())
    batches = [(x[:1], y[:1]), (x[1:], y[1:])] if len(x) > 1 else [(x, y)]
    found = tn.evaluate(model, batches, loss=loss)
    assert found.keys() - {measure} == {"loss", "images"}
    history = tn.fit(model, optim.SGD(model.parameters(), lr=0.0), batches, epochs=1, validation=batches, loss=loss)
    names = {name for name in history[0] if name.endswith(("accuracy", "exact_match", "mae"))}
    printed = capsys.readouterr().out
    if measure:
        assert names == {f"train_{measure}", f"validation_{measure}"}
        assert found[measure] == pytest.approx(value) == history[0][f"train_{measure}"]
        shown = f"{measure.replace('_', ' ')} {value:.4f}"
        assert f"  {shown}  validation {shown}" in printed
    else:
        assert not names
        assert "validation loss" in printed


class Scale(nn.Module):
    def __init__(self) -> None:
        self.factor = nn.Parameter([1.0])

    def forward(self, x: tn.Tensor) -> tn.Tensor:
        return x * self.factor


def test_another_loss() -> None:
    tn.seed(0)
    x = np.linspace(-1, 1, 20, dtype="float32").reshape(-1, 1)
    model = nn.Sequential(nn.Dense(1, 1))
    history = tn.fit(model, optim.SGD(model.parameters(), lr=0.3), Loader(x, 3 * x + 1, batch_size=10), epochs=40,
                     loss=tn.ops.mse, show=False)
    assert history[-1]["train_loss"] < 1e-3
    assert "train_accuracy" not in history[-1]
    found = tn.evaluate(model, [(x, 3 * x + 1)], loss=tn.ops.mse)
    assert found["loss"] < 1e-3 and "accuracy" not in found


@pytest.mark.parametrize(("target", "units"), [
    (np.ones((8, 1), "float32"), 1), (np.ones((8, 3), "float32"), 3), (np.ones((8, 3), int), 3), (np.ones(8, int), 1)])
def test_no_accuracy_where_no_answer_is_right(target: Any, units: int, capsys: pytest.CaptureFixture[str]) -> None:
    def loss(output: Any, target: Any) -> Any:
        return tn.ops.mse(output, tn.Tensor(target.numpy().reshape(8, -1).astype("float32")))

    model = nn.Sequential(nn.Dense(2, units))
    batch = [(np.ones((8, 2), "float32"), target)]
    history = tn.fit(model, optim.SGD(model.parameters()), batch, epochs=2, validation=batch, loss=loss)
    assert [sorted(row) for row in history] == [
        ["epoch", "images_per_second", "seconds", "train_loss", "validation_loss"]] * 2
    assert sorted(tn.evaluate(model, batch, loss=loss)) == ["images", "loss"]
    out = capsys.readouterr().out
    assert "accuracy" not in out and out.count("  validation loss ") == 2


def test_more_metrics() -> None:
    """Metrics get all labels and all outputs, in the order of the batches, for any shape."""
    seen: list[Any] = []

    def share(labels: Any, outputs: Any) -> float:
        seen.append((labels, outputs))
        return tn.metrics.balanced_accuracy(labels, outputs.argmax(axis=1))

    model, history = fitted(validation=batches(5, shuffle=False), metrics={"balanced": share})
    assert all(list(row)[-3:] == ["validation_loss", "validation_accuracy", "validation_balanced"] for row in history)
    found = tn.evaluate(model, batches(5, shuffle=False), metrics={"balanced": share})
    assert list(found) == ["loss", "accuracy", "balanced", "images"]
    assert found["balanced"] == history[-1]["validation_balanced"]
    np.testing.assert_array_equal(seen[-1][0], LABELS)
    np.testing.assert_allclose(seen[-1][1], tn.predict(model, IMAGES), atol=1e-6)


# --- what stays -----------------------------------------------------------------------------------------------------

def test_validation_leaves_training_alone() -> None:
    """Validation leaves counters, running averages and masks alone: the weights are those without it."""
    assert_same_state(fitted()[0], fitted(validation=batches(5, shuffle=False))[0])


@pytest.mark.parametrize("training", [True, False])
def test_evaluate_and_predict_change_nothing(training: bool) -> None:
    model, _ = fitted()
    model.train(training)
    model[0].train(not training)  # a layer that the user has frozen
    model[3].training = training
    modes, before = [module.training for _, module in model.modules()], model.state_dict()
    tn.evaluate(model, batches())
    tn.predict(model, IMAGES)
    assert [module.training for _, module in model.modules()] == modes
    assert all((array == before[name]).all() for name, array in model.state_dict().items())


def test_modes_come_back_after_an_error() -> None:
    model = lstm_cnn().train()
    model(tn.Tensor(IMAGES))
    for call in (lambda: tn.predict(model, IMAGES[:, :3]), lambda: tn.evaluate(model, [(IMAGES[:, :3], LABELS)])):
        with pytest.raises(ShapeError):
            call()
        assert all(module.training for _, module in model.modules())
        assert model(tn.Tensor(IMAGES)).requires_grad


def test_evaluation_leaves_no_tape() -> None:
    model = nn.Sequential(nn.Dense(4, 3))
    seen = []
    tn.evaluate(model, [(np.ones((2, 4), "float32"), np.array([0, 1]))],
                loss=lambda output, labels: seen.append(output.requires_grad) or tn.ops.cross_entropy(output, labels))
    assert seen == [False]


@pytest.mark.parametrize("batch_size", [1, 4, 22, 100])
def test_predict(batch_size: int) -> None:
    model, _ = fitted()
    with tn.no_grad():
        expected = model.eval()(tn.Tensor(IMAGES)).numpy()
    model.train()
    scores = tn.predict(model, IMAGES, batch_size=batch_size)
    assert type(scores) is np.ndarray
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_predict_from_batches() -> None:
    model, _ = fitted()
    scores = tn.predict(model, IMAGES)
    for given in (batches(8, shuffle=False), Loader(IMAGES, batch_size=5), [IMAGES[:10], IMAGES[10:]],
                  [[IMAGES[:10], LABELS[:10]], (IMAGES[10:], LABELS[10:])],
                  (part for part in (IMAGES[:10], IMAGES[10:]))):
        np.testing.assert_allclose(tn.predict(model, given), scores, atol=1e-6)
    assert tn.evaluate(model, [[IMAGES, LABELS]]) == tn.evaluate(model, [(IMAGES, LABELS)])


# --- rates and clipping ---------------------------------------------------------------------------------------------

def test_the_schedule_makes_a_step_for_each_batch() -> None:
    model = lstm_cnn()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    rates: list[float] = []

    class Noted(optim.Schedule):
        def rate(self, step: int) -> float:
            return 1.0 / (1 + step)

    update = optimizer.update
    optimizer.update = lambda *args: (rates.append(float(optimizer.lr)), update(*args))[1]
    schedule = Noted(optimizer)
    tn.fit(model, optimizer, batches(), epochs=2, schedule=schedule, show=False)
    assert rates == [1 / (1 + step) for step in range(6)]
    assert schedule.steps == 6


def test_gradients_are_clipped() -> None:
    norms = []
    for max_norm in (None, 1e9, 1e-3):
        tn.seed(0)
        model = lstm_cnn()
        optimizer = optim.SGD(model.parameters(), lr=0.0)
        tn.fit(model, optimizer, batches(22), epochs=1, max_norm=max_norm, show=False)
        norms.append(np.sqrt(sum((p.grad**2).sum() for p in model.parameters())))
    assert norms[0] == norms[1] > 1e-3
    assert norms[2] == pytest.approx(1e-3, rel=1e-5)


# --- what is shown --------------------------------------------------------------------------------------------------

LINE = r"epoch {}/2  loss \d+\.\d{{4}}  accuracy \d\.\d{{4}}{}  [\d,]+ images/s  \d+\.\d s{}"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_where_the_output_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    fitted(show=True)
    fitted(show=True, validation=batches())
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert captured.err == ""
    assert len(lines) == 4
    for line, epoch, more in zip(lines, (1, 2, 1, 2), ["", "", *[r"  validation accuracy \d\.\d{4}"] * 2], strict=True):
        assert re.fullmatch(LINE.format(epoch, more, ""), line), line


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3540, "59 min"),
                                                (3600, "1 h 0 min"), (9000, "2 h 30 min")])
def test_time_left_as_one_would_say_it(seconds: float, words: str) -> None:
    assert progress.duration(seconds) == words


def test_time_left_is_what_the_epochs_to_come_take(capsys: pytest.CaptureFixture[str],
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10_000))
    monkeypatch.setattr(fit.time, "perf_counter", lambda: 100.0 * next(ticks))
    fitted(show=True, epochs=4)
    first, *lines = capsys.readouterr().out.splitlines()
    assert "left" not in first  # it compiles
    spent = [re.search(r"  ([\d.]+) s, (\d+) min left", line) for line in lines[:2]]
    assert all(spent)
    seconds, left = (float(part) for part in spent[0].groups())  # type: ignore[union-attr]
    assert left * 60 >= 2 * seconds
    assert float(spent[1][2]) == pytest.approx(left / 2, rel=0.1)  # type: ignore[index]
    assert "left" not in lines[2]
    stopping = tn.callbacks.EarlyStopping("train_loss", patience=1, min_delta=1e9)
    fitted(show=True, epochs=9, callbacks=[stopping])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and "left" not in lines[1]  # it stops


def test_the_line_says_what_the_history_says(capsys: pytest.CaptureFixture[str]) -> None:
    _, history = fitted(show=True, validation=batches())
    for line, row in zip(capsys.readouterr().out.splitlines(), history, strict=True):
        assert f"loss {row['train_loss']:.4f}  accuracy {row['train_accuracy']:.4f}  validation" in line
        assert f"validation accuracy {row['validation_accuracy']:.4f}" in line


def test_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "SHOW_SECONDS", 0.0)
    _, history = fitted(show=True)
    shown = terminal.getvalue()
    assert "\r" in shown
    assert "epoch 1/2" in shown
    assert "100%" in shown
    assert re.search(r"loss \d\.\d{4}  accuracy \d\.\d{4}  [\d,]+ images/s", shown)
    assert len(history) == len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(("terminal", "kernel", "found"), [
    (False, False, None), (False, True, None), (True, False, "tqdm.std"), (True, True, "tqdm.std")])
@pytest.mark.filterwarnings("ignore:IProgress not found")
def test_a_notebook_without_widgets_has_no_bar(terminal: bool, kernel: bool, found: str | None,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """tqdm then offers its bar for terminals, whose lines a notebook would show one below the other."""
    from tqdm import auto, notebook, std

    monkeypatch.setattr(progress, "is_terminal", lambda stream: terminal)
    monkeypatch.setitem(sys.modules, "ipykernel", sys) if kernel else monkeypatch.delitem(
        sys.modules, "ipykernel", raising=False)
    monkeypatch.setattr(auto, "tqdm", std.tqdm)
    assert getattr(progress._bar(), "__module__", None) == found
    if kernel and not terminal:
        monkeypatch.setattr(auto, "tqdm", type("tqdm", (notebook.tqdm_notebook,), {}))
        assert progress._bar() is auto.tqdm


def test_the_bar_begins_where_the_epoch_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
                                                ) -> None:
    """Its numbers are renewed twice a second at most: each reads the sums."""
    asked, clock = list[Any](), [0.0]

    class Bar:
        def __init__(self, **options: Any) -> None:
            asked.append((options["total"], options["initial"], options["desc"]))

        def update(self) -> None:
            pass

        def set_postfix_str(self, text: str) -> None:
            asked.append(text)

        def close(self) -> None:
            pass

    monkeypatch.setattr(progress, "_bar", lambda: Bar)
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock[0])
    sums = {"images": 8, "loss": 4.0, "right": 6.0, "seconds": 0.0, "measure": "accuracy"}
    with progress.Meter(sums, "epoch 3/4", done=5, batches=9, show=True) as meter:
        for seconds in (0.2, 0.5, 0.6, 0.9, 1.2):
            clock[0] = seconds
            meter.tick()
    row = {"loss": 1.0, "images_per_second": 2.0, "seconds": 3.0}
    meter.close(row, left=0.4)
    meter.close(row, left=0.6)
    assert capsys.readouterr().out.splitlines() == ["epoch 3/4  loss 1.0000  2 images/s  3.0 s",
                                                    "epoch 3/4  loss 1.0000  2 images/s  3.0 s, 1 s left"]
    assert asked == [(9, 5, "epoch 3/4"), "loss 0.5000  accuracy 0.7500  13 images/s",
                     "loss 0.5000  accuracy 0.7500  7 images/s"]
    assert sums["seconds"] == pytest.approx(1.2)


def test_nothing_is_shown_unless_asked_for(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    fitted(show=False)
    assert terminal.getvalue() == capsys.readouterr().out == ""


def test_what_is_shown_does_not_change_what_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fitted()[0]
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(progress, "SHOW_SECONDS", 0.0)
    assert_same_state(plain, fitted(show=True)[0])


# --- odd input ------------------------------------------------------------------------------------------------------

def generator() -> Iterator[Any]:
    yield IMAGES, LABELS


FIT = re.escape("tn.fit(model, tn.optim.Adam(model.parameters()), tn.data.Loader(x, y, batch_size=32), epochs=10)")

@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda m, o: tn.fit(m, o, batches(), epochs=-1), ArgumentError,
     r"fit: epochs must be given, as an integer of 0 or more, got -1"),
    (lambda m, o: tn.fit(m, o, batches(), epochs=1.5), ArgumentError, r"fit: epochs must be .*, got 1.5; epochs=10\?"),
    (lambda m, o: tn.fit(m, o, IMAGES, LABELS, epochs=1), CallError, rf"fit\(\) takes 3 positional .*; {FIT}\?$"),
    (lambda m, o: tn.fit(m, o, batches(), epochs=1, verbose=0), CallError, rf"'verbose'; {FIT}\?$"),
    (lambda m, o: tn.fit(m, batches(), epochs=1), CallError, rf"missing 1 .* 'train'; {FIT}\?$"),
    (lambda m, o: tn.fit(m, o, batches(), epochs=1, validation=(IMAGES, LABELS)), ArgumentError,
     r"fit: validation: a batch must be a pair"),
    (lambda m, o: tn.fit(m, o, (IMAGES, LABELS), epochs=1), ArgumentError, r"fit: train: a batch must be a pair"),
    (lambda m, o: tn.fit(m, o, batches(), epochs=1, validation=0.2), ArgumentError,
     r"fit: validation must be pairs \(inputs, labels\), got a value of type float; tn.data.Loader\(images, lab"),
    (lambda m, o: tn.fit(m, o, None, epochs=1), ArgumentError, r"fit: train must be pairs .*, got a value of type No"),
    (lambda m, o: tn.fit(m, o, {"x": IMAGES}, epochs=1), ArgumentError, r"fit: train must be pairs .*, got .* dict"),
    (lambda m, o: tn.evaluate(m, m), ArgumentError, r"evaluate: batches must be pairs .*, got a value of type Sequent"),
    (lambda m, o: tn.evaluate(m, batches(), metrics={"auc": 1}), ArgumentError,
     r"evaluate: metrics must be a dictionary of functions .*, got a value of type dict"),
    (lambda m, o: tn.predict(m, "one.png"), ArgumentError,
     r"predict: inputs must be an array, or batches, got 'one.png'; tn.predict\(model, x\)\?"),
    (lambda m, o: tn.predict(m, min), ArgumentError, r"predict: inputs must be an array, or batches, got a value"),
    (lambda m, o: tn.fit(m, o, batches(), epochs=1, loss="mse"), ArgumentError,
     r"fit: loss must be a function .*, got 'mse'; loss=tn.ops.cross_entropy\?"),
    (lambda m, o: tn.fit(m, o, batches(), epochs=1, loss=lambda z, y: 1.0), ArgumentError,
     r"fit: loss must return a tensor of one element, got a value of type float; is it made by operators and"),
    (lambda m, o: tn.evaluate(nn.LSTM(4, 2, return_state=True), [(IMAGES[..., 0], LABELS)]), ArgumentError,
     r"evaluate: model must return one tensor, got a value of type tuple; does its forward end with return, and"),
    (lambda m, o: tn.evaluate(nn.Flatten(), batches(), loss=lambda z, y: z.numpy()), ArgumentError,
     r"evaluate: loss must return a tensor of one element, got a value of type ndarray"),
    (lambda m, o: tn.fit(m, o, batches(), epochs=1, schedule=optim.Cosine), ArgumentError,
     r"fit: schedule must be .*, got the class Cosine; schedule=tn.optim.Cosine\(optimizer, steps"),
    (lambda m, o: tn.fit(m, o, batches(), epochs=1, schedule=optim.Cosine(optim.SGD(m.parameters()), 3)), ArgumentError,
     r"fit: schedule must be one of this optimizer, and changes .*; tn.optim.Cosine\(optimizer, ...\)\?"),
    (lambda m, o: tn.fit(m, o, batches(), epochs=1, max_norm="1"), ArgumentError,
     r"fit: max_norm must be a positive number, got '1'; max_norm=1.0\?"),
    *[(lambda m, o, limit=limit: tn.fit(m, o, batches(), epochs=1, max_norm=limit), ArgumentError,
       rf"fit: max_norm must be a positive number, got {limit}; ") for limit in (0, -1.5, np.nan, True)],
    (lambda m, o: tn.fit(m, o, batches(), epochs=1, metrics=["auc"]), ArgumentError,
     r"fit: metrics must be a dictionary of functions .*, got a value of type list"),
    (lambda m, o: tn.fit(m, o, batches(), epochs=1, callbacks=[tn.callbacks.EarlyStopping]), ArgumentError,
     r"fit: callbacks must be a list .*, got \[the class EarlyStopping\]; callbacks=\["),
    (lambda m, o: tn.fit(lstm_cnn(), o, batches(), epochs=1), ArgumentError,
     r"fit: optimizer must have parameters of the model, and has none of them; tn.optim.SGD\(model.param"),
    (lambda m, o: tn.data.Loader(IMAGES, LABELS), CallError,
     r"missing 1 .* 'batch_size'; tn.data.Loader\(images, labels, batch_size=128\)\?$"),
    (lambda m, o: tn.evaluate(m, IMAGES, LABELS), CallError, r"takes 2 .*; tn.evaluate\(model, tn.data.Loader\("),
    (lambda m, o: tn.evaluate("m.safetensors", batches()), ArgumentError,
     r"evaluate: model must be .*, got 'm.safetensors'; tn.load\('m.safetensors'\)\?"),
    (lambda m, o: tn.predict(IMAGES, m), ArgumentError, r"predict: model must be .*; tn.predict\(model, x\)\?"),
    (lambda m, o: tn.evaluate(IMAGES, m), ArgumentError,
     r"evaluate: model must be .*, got a value of type ndarray; tn.evaluate\(model, tn.data.Loader\(x, y, batch_size="),
    (lambda m, o: tn.fit(IMAGES, o, batches(), epochs=1), ArgumentError,
     rf"fit: model must be a tn.nn.Module, got a value of type ndarray; {FIT}\?$"),
    (lambda m, o: tn.fit(m, o, batches(), epochs=1, callbacks=tn.callbacks.EarlyStopping()), ArgumentError,
     r"fit: callbacks must be a list .*, got a value of type EarlyStopping; callbacks=\["),
    *[(lambda m, o, seconds=seconds: tn.fit(m, o, batches(), epochs=1, checkpoint_seconds=seconds), ArgumentError,
       rf"fit: checkpoint_seconds must be a number of seconds of at least 0, got {seconds!r}; checkpoint_seconds=60\?")
      for seconds in (-1, float("nan"), "60", None)],
    (lambda m, o: tn.predict(m, [[1.0, 2.0], [3.0]]), ShapeError, r"predict: inputs must have rows of one length"),
    (lambda m, o: tn.fit(m, o, batches()), ArgumentError, r"fit: epochs must be given, .*, got None; epochs=10\?"),
    (lambda m, o: tn.fit(m, IMAGES, LABELS), ArgumentError,
     r"fit: optimizer must be .*, got a value of type ndarray; tn.fit\(model, tn.optim.Adam\(.*Loader\(x, y"),
    (lambda m, o: tn.fit(m, "AdamW", batches(), epochs=1), ArgumentError,
     r"got 'AdamW'; tn.optim.AdamW\(model.parameters\(\)\)\?"),
    (lambda m, o: tn.fit(m, optim.SGD, batches(), epochs=1), ArgumentError,
     r"got the class SGD; tn.optim.SGD\(model"),
    (lambda m, o: tn.fit("cnn", o, batches(), epochs=1), ArgumentError,
     r"fit: model must be a tn.nn.Module, got 'cnn'; "),
    (lambda m, o: tn.fit(m, o, [], epochs=1), ArgumentError,
     r"fit: train must have at least one batch in every epoch, got none in epoch 1; "),
    (lambda m, o: tn.fit(m, o, generator(), epochs=2), ArgumentError,
     r"fit: train must have at least one batch in every epoch, got none in epoch 2; a generator yields its batches"),
    (lambda m, o: tn.evaluate(m, []), ArgumentError, r"evaluate: batches must be at least one, got none; "),
    (lambda m, o: tn.fit(m, o, [(IMAGES, LABELS + 1)], epochs=1), ArgumentError,
     r"cross_entropy: labels must be in \[0, K\) = \[0, 3\), got values from 1 to 3"),
    (lambda m, o: tn.fit(m, o, [(IMAGES, LABELS[:5])], epochs=1), ShapeError, r"cross_entropy: "),
    (lambda m, o: tn.fit(m, o, [((IMAGES * 255).astype("uint8"), LABELS)], epochs=1), DtypeError,
     r"layer 0 \(BatchNorm\): batch_norm: x must hold floats, got uint8; .*tn.nn.Scaling\(\)\(x\)"),
    (lambda m, o: tn.fit(m, o, [(IMAGES, LABELS.astype(float))], epochs=1), ShapeError,
     r"cross_entropy: labels that are floats must be \(...,K\), got \(22\) .* labels.astype\(\"int64\"\)\?"),
    (lambda m, o: tn.fit(m, o, [(IMAGES[:0], LABELS[:0])], epochs=1), ShapeError,
     r"batch_norm: x must have at least one"),
    (lambda m, o: tn.fit(m, o, [IMAGES], epochs=1), ArgumentError,
     r"fit: train: a batch must be a pair \(inputs, labels\), got one ndarray; tn.data.Loader"),
    (lambda m, o: tn.evaluate(m, [(IMAGES,)]), ArgumentError,
     r"evaluate: a batch must be a pair \(inputs, labels\), got 1 arrays; tn.data.Loader"),
    (lambda m, o: tn.predict(m, IMAGES, batch_size=0), ArgumentError,
     r"predict: batch_size must be an integer of at least 1, got 0; batch_size=256"),
])
def test_odd_input_is_named(call: Any, error: type[Exception], message: str) -> None:
    model = lstm_cnn()
    with pytest.raises(error, match=message):
        call(model, optim.SGD(model.parameters()))


@pytest.mark.parametrize(("model", "loss", "layer"), [
    (nn.Sequential(nn.Flatten(), nn.Dense(24, 3), nn.Softmax()), ops.cross_entropy, "Softmax"),
    (nn.Sequential(nn.Sequential(nn.Flatten(), nn.Dense(24, 3), nn.Sigmoid())),
     partial(ops.cross_entropy, label_smoothing=0.1), "Sigmoid"),
    (nn.Sequential(nn.Flatten(), nn.Dense(24, 3), nn.Softmax()), lambda z, y: ops.cross_entropy(ops.log(z), y), ""),
    (nn.Sequential(nn.Flatten(), nn.Softmax(), nn.Dense(24, 3)), ops.cross_entropy, "")])
def test_probabilities_for_a_loss_of_logits_are_a_warning(model: Any, loss: Any, layer: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tn.fit(model, optim.SGD(model.parameters()), batches(), epochs=1, loss=loss, show=False)
    assert [str(one.message) for one in caught] == ([
        f"fit: cross_entropy takes logits, and the model ends with {layer}, so it learns slowly; leave {layer} out, "
        f"and make probabilities of its scores by tn.ops.{layer.lower()}"] if layer else [])
    assert all(one.filename == __file__ for one in caught)


@pytest.mark.parametrize(("layers", "loss", "said"), [
    ([nn.Dense(3, 1), nn.Sigmoid()], ops.binary_cross_entropy, "fit: binary_cross_entropy takes logits, .* Sigmoid"),
    ([nn.Dense(3, 1), nn.Sigmoid()], partial(partial(ops.binary_cross_entropy, pos_weight=2.0)), "fit: binary_cross_"),
    ([nn.Dense(3, 1), nn.Sigmoid()], ops.mse, "$"), ([nn.Dense(3, 1)], ops.binary_cross_entropy, "$"),
    ([], ops.cross_entropy, "$"), ([nn.Softmax(), nn.Sequential()], ops.cross_entropy, "$")])
def test_which_losses_take_logits(layers: list[nn.Module], loss: Any, said: str) -> None:
    assert re.match(said, calls.probabilities_for_logits(nn.Sequential(*layers), loss))


def test_nothing_to_predict() -> None:
    model = nn.Sequential(nn.Dense(4, 3))
    assert tn.predict(model, np.zeros((0, 4), "float32")).shape[0] == 0


@pytest.mark.parametrize(("model", "inputs", "shape"), [
    (tn.nn.Sequential(tn.nn.Dense(3, 2)), np.zeros((0, 3), "float32"), (0, 2)),
    (tn.nn.Sequential(tn.nn.BatchNorm(3), tn.nn.Dense(3, 2)), np.zeros((0, 3), "float32"), (0, 2)),
    (tn.nn.Sequential(tn.nn.LSTM(3, 4)), np.zeros((0, 7, 3), "float32"), (0, 7, 4)),
    (tn.nn.Sequential(tn.nn.Dense(3, 2), input_shape=(3,)), [], (0, 2)), (tn.nn.ReLU(), [], (0,)),
    (tn.nn.Sequential(tn.nn.LSTM(3, 4)), (np.zeros((0, 7, 3), "float32"), np.zeros((0, 7), bool)), (0, 7, 4)),
    (tn.nn.Sequential(tn.nn.Dense(3, 2), input_shape=(3,)).astype("float64"), [], (0, 2)),
    (tn.nn.ReLU(), np.zeros((0, 3)), (0, 3))])
def test_no_inputs_give_no_outputs_of_the_usual_shape(model: Any, inputs: Any, shape: tuple[int, ...]) -> None:
    found = tn.predict(model, inputs)
    assert found.shape == shape
    kept = [getattr(inputs, "dtype", "float32"), *(parameter.dtype for parameter in model.parameters())]
    assert found.dtype == kept[-1]
    assert model.training


def test_predictions_that_overlap_and_training_inside_of_one() -> None:
    """The mode is one of the call: code between two batches sees the model as it was."""
    tn.seed(0)
    model = tn.nn.Sequential(tn.nn.BatchNorm(3), tn.nn.Dense(3, 4), tn.nn.Dropout(0.5))
    x = np.random.default_rng(0).random((6, 3), dtype=np.float32)
    model(tn.Tensor(x))
    model[2].eval()
    expected, mean = tn.predict(model, x), model[0].running_mean.numpy().copy()

    def batches() -> Any:
        yield x[:3]
        assert [module.training for _, module in model.modules()] == [True, True, True, False]
        assert tn.Tensor([1.0], requires_grad=True).sum().requires_grad
        np.testing.assert_array_equal(tn.predict(model, x), expected)
        yield x[3:]

    np.testing.assert_allclose(tn.predict(model, batches()), expected, rtol=1e-6)
    np.testing.assert_array_equal(model[0].running_mean.numpy(), mean)
    assert [module.training for _, module in model.modules()] == [True, True, True, False]


def test_a_layer_that_sees_its_mode_during_evaluation() -> None:
    class Seen(tn.nn.Module):
        def forward(self, x: Any) -> Any:
            seen.append((self.training, x.requires_grad))
            return x

    seen: list[tuple[bool, bool]] = []
    model = tn.nn.Sequential(Seen())
    tn.predict(model, np.ones((1, 2), "float32"))
    model(tn.Tensor([[1.0, 2.0]]))
    tn.evaluate(model, [(np.ones((1, 2), "float32"), np.array([0]))])
    model.eval()(tn.Tensor([[1.0, 2.0]]))
    assert [training for training, _ in seen] == [False, True, False, False]
