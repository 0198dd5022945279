"""The bounds of what fused passes gain: a line for each pass, whose columns fit together."""

import inspect
import sys
from typing import Any

import numpy as np
import pytest

import benchmarks.fusion as fusion


def test_a_line_for_each_pass(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["fusion", "--batch", "8", "--repeats", "2"])
    assert fusion.main() == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[-2:] == ["fusing", "gains"]
    assert [line[:34].strip() for line in lines] == list(fusion.SHAPES)
    for line in lines:
        whole, cached, gain = map(int, line[34:].split())
        assert whole > 0 and abs(whole - cached - gain) <= 1


def test_the_gains_are_bounds_of_measured_times(monkeypatch: pytest.MonkeyPatch,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    """In microseconds: what a pass takes more than in the cache."""
    asked = []

    def seconds(run: tuple[str, int], repeats: int) -> float:
        asked.append((*run, repeats))
        _, images = run
        return 1e-6 * {0: 10, 8: 12, 64: 90}[images]

    monkeypatch.setattr(sys, "argv", ["fusion", "--batch", "64", "--repeats", "2"])
    monkeypatch.setattr(fusion, "passes", lambda name, images, shape: (name, images))
    monkeypatch.setattr(fusion, "seconds", seconds)
    assert fusion.main() == 0
    for name, line in zip(fusion.SHAPES, capsys.readouterr().out.splitlines()[1:], strict=True):
        assert line.split()[-3:] == ["90", "26", "64"]  # 10 + (12 - 10) 64 / 8
        assert asked[:3] == [(name, 64, 2), (name, 0, 2), (name, 8, 20)]
        del asked[:3]


def test_the_options_and_what_is_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given arguments are taken before those of the process, and one thread works."""
    asked: list[Any] = []
    monkeypatch.setattr(sys, "argv", ["fusion", "--nonsense"])
    monkeypatch.setattr(fusion, "passes", lambda name, images, shape: (images, shape))
    monkeypatch.setattr(fusion, "seconds", lambda run, repeats: asked.append((*run, repeats)) or 1e-3)
    monkeypatch.setattr(fusion.tn, "set_threads", lambda count: asked.append(count))
    assert fusion.main([]) == 0
    assert asked[:4] == [1, (128, (28, 128), 200), (0, (28, 128), 200), (8, (28, 128), 2000)]
    assert asked[4] == (128, (26, 64), 200) and len(asked) == 1 + 3 * 3
    asked.clear()
    assert fusion.main(["--batch", "16", "--repeats", "3"]) == 0
    assert asked[1] == (16, (28, 128), 3)


def test_the_shortest_time_of_a_pass_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 3.0, 10.0, 11.0, 20.0, 22.0])
    monkeypatch.setattr(fusion.time, "perf_counter", lambda: next(times))
    assert fusion.seconds(lambda: None, 3) == 1.0


def test_passes_are_those_of_the_op() -> None:
    """ReLU lets the positive through, dropout a drawn share; each call begins without gradients."""
    for name, share in (("ReLU after", 0.5), ("dropout after", 0.8)):
        run = fusion.passes(name, 30, (4, 5))
        held = inspect.getclosurevars(run).nonlocals
        for _ in range(2):
            run()
        assert held["x"].shape == (30, 4, 5) and np.mean(held["x"].grad != 0) == pytest.approx(share, abs=0.1)
        assert held["x"].grad.max() == pytest.approx(1 if name.startswith("ReLU") else 1.25)
