"""The comparison of ranks with threads: what is started, and what is printed."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from benchmarks import ranks


def test_times_are_printed_with_their_ratio(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
                                            tmp_path: Path) -> None:
    calls = []
    first = iter([4.0, 3.0, 3.0])

    def started(count: int, *arguments: object) -> str:
        calls.append((count, *arguments))
        return json.dumps([next(first), 90.0, 1.0] if count == 1 else [6.0])

    monkeypatch.setattr(ranks, "started", started)
    assert ranks.main(["time", "--batches", "128", "--rounds", "3", "--out", str(tmp_path / "times.json")]) == 0
    assert calls == [(1, "_time", "lstm_cnn", 128, 2), (2, "_time", "lstm_cnn", 128, 1)] * 3
    assert capsys.readouterr().out == (
        "lstm_cnn, batch 128: 1 process x 2 threads 3.00 ms, 2 ranks x 1 thread 6.00 ms, ratio 2.00\n")
    found = json.loads((tmp_path / "times.json").read_text())
    assert found == {"about": str(tn.about()), "ranks": 2, "rows": [
        {"model": "lstm_cnn", "batch": 128, "threads": [4.0, 3.0, 3.0], "ranks": [6.0, 6.0, 6.0]}]}
    calls.clear()
    first = iter([4.0] * 7)
    assert ranks.main(["time", "--model", "cnn", "--ranks", "3", "--batches", "5"]) == 0
    assert calls == [(1, "_time", "cnn", 5, 3), (3, "_time", "cnn", 5, 1)] * 7


def test_what_is_compared_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    for name in ("compare_times", "compare_weights"):
        monkeypatch.setattr(ranks, name, lambda options, name=name: seen.update({name: vars(options)}))
    for given in ("time", "weights"):
        ranks.main([given])
    times, weights = seen["compare_times"], seen["compare_weights"]
    del times["work"], weights["work"]
    assert times == {"model": "lstm_cnn", "batches": [128, 512], "ranks": 2, "rounds": 7, "out": None}
    assert weights == {"models": ["lstm_cnn", "cnn", "deep_lstm_cnn", ranks.XRAY], "ranks": [2, 3, 4], "data": None}


def test_the_largest_differences_of_weights_are_printed(monkeypatch: pytest.MonkeyPatch,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    def started(count: int, name: str, model: str, data: str, threads: int, file: Any) -> str:
        asked.append((count, model, data, threads))
        np.savez(file, W=np.array([2.0, 1.0]), b=np.array([4.0, 1.0 + 4 * (count == 3)]), c=np.ones(1), d=np.ones(1))
        return ""

    monkeypatch.setattr(ranks, "started", started)
    assert ranks.main(["weights", "--models", "cnn", "--ranks", "2", "3", "--data", "there"]) == 0
    assert asked == [(1, "cnn", "there", 1), (1, "cnn", "there", 2), (2, "cnn", "there", 0), (3, "cnn", "there", 0)]
    assert capsys.readouterr().out.splitlines() == [
        "cnn, 2 threads: W 0.0e+00, b 0.0e+00, c 0.0e+00", "cnn, 2 ranks: W 0.0e+00, b 0.0e+00, c 0.0e+00",
        "cnn, 3 ranks: b 1.0e+00, W 0.0e+00, c 0.0e+00"]


def test_without_arguments_those_of_the_process_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(ranks, "timed", lambda *arguments: asked.append(arguments) or [])
    monkeypatch.setattr("sys.argv", ["ranks.py", "_time", "lstm", "7", "1"])
    assert ranks.main() == 0 and asked == [("lstm", 7, 1)]
    with pytest.raises(SystemExit):
        ranks.main([])
    assert len(asked) == 1


def test_the_worker_times_epochs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "EPOCHS", 3)
    assert ranks.main(["_time", "lstm", "700", "1"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `fit` and `set_threads` were given."""
    seen: dict[str, Any] = {"threads": []}

    def fit(model: Any, optimizer: Any, batches: Any, **more: Any) -> list[dict[str, float]]:
        seen.update(more, model=model, batches=batches)
        return [{"seconds": seconds} for seconds in (9.0, 9.0, 1.0, 4.0)]

    monkeypatch.setattr(tn, "fit", fit)
    monkeypatch.setattr(tn, "set_threads", seen["threads"].append)
    monkeypatch.setattr(tn.init, "orthogonal", tn.init.glorot_normal)  # quicker
    return seen


@pytest.mark.parametrize(("batch", "steps"), [(1000, 8), (512, 10)])
def test_times_are_those_of_a_step(batch: int, steps: int, fitted: dict[str, Any]) -> None:
    """In milliseconds, without the first epochs."""
    assert ranks.timed("lstm", batch, 2) == [1000 / steps, 4000 / steps]
    batches = fitted["batches"]
    assert fitted["threads"] == [2] and fitted["epochs"] == ranks.EPOCHS and fitted["show"] is False
    assert (batches.batch_size, batches.length) == (batch, steps * batch)
    images, labels = batches.arrays
    assert 0 <= images.min() < 0.01 < 0.99 < images.max() < 1 and {*labels.tolist()} == {*range(10)}


@pytest.mark.parametrize(("model", "batch", "shape"), [
    *((name, 67, (28, 28, 1)) for name in ("lstm", "cnn", "lstm_cnn")), ("cnn_lstm", 19, (28, 28, 1)),
    (ranks.XRAY, 19, (56, 56, 3))])
def test_weights_are_those_after_thirty_steps_on_digits(model: str, batch: int, shape: tuple[int, ...],
                                                        fitted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
                                                        ) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2000, 28, 28)).astype(np.uint8)
    digits = SimpleNamespace(train_images=images, train_labels=np.arange(2000) % 10)
    monkeypatch.setattr(tn.data, "load_mnist", lambda data: digits)
    found = ranks.weights(model, "there", 3)
    batches = fitted["batches"]
    assert {*found} == {*fitted["model"].state_dict()} and fitted["threads"] == [3] and fitted["show"] is False
    assert batches.seed == 5, "each process has the same order"
    if model == "lstm":
        again = ranks.weights(model, "there", 0)
        assert all((array == again[name]).all() for name, array in found.items() if array.dtype.kind == "f")
    assert (batches.batch_size, batches.length, batches.shuffle, fitted["epochs"]) == (batch, 15 * batch, True, 2)
    x, labels = batches.arrays
    assert x.shape[1:] == shape and x.dtype == np.float32 and x.max() == 1.0
    step = shape[0] // 28
    assert (x[:, ::step, ::step, -1] * 255).round().astype(np.uint8).tobytes() == images[: 15 * batch].tobytes()
    wanted = np.arange(15 * batch) % 10
    assert labels.tolist() == ((wanted > 4).astype(int) if model == ranks.XRAY else wanted).tolist()


def test_the_worker_writes_weights(fitted: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A rank keeps the number of threads that it has; without a folder, MNIST is searched for."""
    asked: list[str] = []
    digits = SimpleNamespace(train_images=np.zeros((1005, 28, 28), np.uint8), train_labels=np.arange(1005) % 10)
    monkeypatch.setattr(tn.data, "load", lambda name: asked.append(name) or (digits, ""))
    assert ranks.main(["_weights", "lstm", "", "0", str(tmp_path / "some.npz")]) == 0
    assert asked == ["mnist"] and fitted["threads"] == []
    written = np.load(tmp_path / "some.npz")
    assert {*written} == {*fitted["model"].state_dict()} and written["2.W"].any()
    monkeypatch.setattr(ranks, "world", lambda: SimpleNamespace(rank=1))
    assert ranks.main(["_weights", "lstm", "", "0", str(tmp_path / "others.npz")]) == 0
    assert not (tmp_path / "others.npz").exists(), "one rank writes"
