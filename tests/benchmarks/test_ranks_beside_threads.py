"""The comparison of ranks with threads: what is started, and what is printed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import ranks


def test_times_are_printed_with_their_ratio(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
                                            tmp_path: Path) -> None:
    calls = []

    def started(count: int, *arguments: object) -> str:
        calls.append((count, *arguments))
        return json.dumps([4.0, 2.0, 3.0] if count == 1 else [6.0])

    monkeypatch.setattr(ranks, "started", started)
    assert ranks.main(["time", "--batches", "128", "--rounds", "2", "--out", str(tmp_path / "times.json")]) == 0
    assert calls == [(1, "_time", "lstm_cnn", 128, 2), (2, "_time", "lstm_cnn", 128, 1)] * 2
    assert capsys.readouterr().out == (
        "lstm_cnn, batch 128: 1 process x 2 threads 3.00 ms, 2 ranks x 1 thread 6.00 ms, ratio 2.00\n")
    row, = json.loads((tmp_path / "times.json").read_text())["rows"]
    assert (row["threads"], row["ranks"]) == ([3.0, 3.0], [6.0, 6.0])


def test_the_largest_differences_of_weights_are_printed(monkeypatch: pytest.MonkeyPatch,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    def started(count: int, name: str, model: str, data: str, threads: int, file: Any) -> str:
        np.savez(file, W=np.array([2.0, 1.0]), b=np.array([4.0, 1.0 + 0.5 * (count == 3)]))
        return ""

    monkeypatch.setattr(ranks, "started", started)
    assert ranks.main(["weights", "--models", "cnn", "--ranks", "2", "3"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "cnn, 2 threads: W 0.0e+00, b 0.0e+00", "cnn, 2 ranks: W 0.0e+00, b 0.0e+00",
        "cnn, 3 ranks: b 1.2e-01, W 0.0e+00"]


def test_the_worker_times_epochs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "EPOCHS", 3)
    assert ranks.main(["_time", "lstm", "700", "1"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1
