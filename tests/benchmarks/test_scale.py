"""The model of a step with many ranks: its equations by hand, and the page with its tables."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_measures import Clock

from benchmarks import scale
from benchmarks.process import MPIEXEC
from tests.test_distributed import ROOT, with_mpi
from tinynet.training import fit

SUMS = {"1": 0.5, "100": 1.5, "1000": 10.5}


def found(**changes: Any) -> Any:
    """Measurements with simple numbers: a row takes 1 ms, and a step 2 ms beside."""
    one = {"compute": {str(rows): [2.0 + rows] * 3 for rows in scale.ROWS}, "messages": [100, 1],
           "single": {"128": 130.0, "512": 514.0},
           "pairs": [{"batch": batch, "delay": delay, "step": 2 + batch / 2 + 2.0 + 2 * delay, "slept": delay}
                     for batch in scale.BATCHES for delay in scale.DELAYS]}
    return {"machine": {"cpu": "A processor", "cores": 2, "load": [0.1]}, "commit": "12345678", "sums": SUMS,
            "models": {"lstm_cnn": one, "deep_lstm_cnn": one}, **changes}


def test_the_slowest_of_some_ranks_is_a_mean_over_draws() -> None:
    sample = [1.0, 5.0, 2.0, 10.0]
    rng = np.random.default_rng(0)
    for ranks in (1, 2, 7):
        drawn = rng.choice(sample, (100_000, ranks)).max(axis=1).mean()
        assert scale.slowest(sample, ranks) == pytest.approx(drawn, rel=0.01)
    assert scale.slowest(sample, 10_000) == pytest.approx(10.0)


def test_a_sum_takes_the_faster_algorithm() -> None:
    assert scale.add_up(SUMS, 100, 1, delay=9.0) == 0
    assert scale.add_up(SUMS, 100, 2) == 1.5
    assert scale.add_up(SUMS, 100, 2, delay=0.25) == 1.75
    assert scale.add_up(SUMS, 1, 1024, delay=1.0) == 10 * 1.5  # a short message: log₂ R times
    assert scale.add_up(SUMS, 1000, 4, delay=0.25) == 2 * 2 * 0.75 + 1.5 * 10.0  # a long one: in parts
    assert scale.add_up(SUMS, 1, 3) == scale.add_up(SUMS, 1, 4)


def test_ranks_are_useful_up_to_the_first_doubling_that_is_not_a_tenth_faster() -> None:
    times = [1.0], [1.1, 1.0], [1.09, 1.0], [2.2, 2.0, 1.0, 1.0, 0.5]
    assert [*map(scale.useful, times)] == [0, 1, 0, 2]


def test_a_step_is_compute_and_its_sums() -> None:
    assert scale.step(found(), "lstm_cnn", 1, 128) == 130
    assert scale.step(found(), "lstm_cnn", 2, 128, 1.0) == 66 + 1.5 + 0.5 + 2 * 1.0
    assert scale.step(found(), "lstm_cnn", 1, 3) == 5  # between the measured rows 2 and 4


def test_tables_are_those_of_the_model() -> None:
    tables = scale.tables(found())
    assert tables["machine"] == "Measured on A processor, 2 cores, load 0.1, commit 1234567."
    busy = scale.tables(found(machine={"cpu": "A processor", "cores": 2, "load": [1.6]}))
    assert busy["machine"].startswith("Measured on A processor, 2 cores, load 1.6,")
    assert busy["machine"].endswith("these numbers are preliminary.**")
    quiet = scale.tables(found(machine={"cpu": "A processor", "cores": 2, "load": [0.5]}))  # just the limit, of each
    assert quiet["machine"].endswith("commit 1234567.")
    assert "| `lstm_cnn` | 512 | 2 | 10 | 280.0 | 280.0 | 1.00 |" in tables["checks"]
    assert "| `lstm_cnn` | 3.0 | 10.0 | 66.0 | 514.0 | 2 | 101 | 2.00 | 0.0 | 0.0 |" in tables["parts"]
    seldom = found()
    seldom["models"]["lstm_cnn"]["compute"]["8"] = [10.0] * 99 + [1010.0]  # 20 on average
    late = [10 + 1000 * (1 - 0.99**ranks) - 20 for ranks in (16, 1024)]
    assert f"| 20.0 | 66.0 | 514.0 | 2 | 101 | 2.00 | {late[0]:.1f} | {late[1]:.1f} |" in scale.tables(seldom)["parts"]
    times = [scale.step(found(), "lstm_cnn", ranks, 128, 10.0) for ranks in (1, 2, 4)]
    assert times == [130, 88, 78]
    row = next(line for line in tables["limits"].splitlines() if "`lstm_cnn` | 128" in line)
    assert row.endswith("| 4 (1.7) |")  # with 8 ranks it is 84
    last = tables["lstm_cnn"].splitlines()[-1].split(" | ")
    assert last[1:7] == [""] * 6 and last[0] == "| 1,024"
    one, many = (1 + 1000 / 128) * 130, (1 + 1000 / 256) * scale.step(found(), "lstm_cnn", 2, 256, 0.1)
    assert f"| 2 | 256 | {one / many:.1f} |" in tables["whole runs"]


def test_the_page_holds_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = scale.PAGE.read_text("utf-8")
    measured = json.loads(scale.RESULTS.read_text("utf-8"))
    assert page == scale.with_tables(page, measured)
    measured["sums"]["1"] *= 50
    assert page != scale.with_tables(page, measured)
    monkeypatch.setattr(scale, "PAGE", tmp_path / "page.md")
    scale.PAGE.write_text(scale.with_tables(page, measured), "utf-8")
    assert scale.main(["page"]) == 0
    assert scale.PAGE.read_text("utf-8") == page
    with pytest.raises(ValueError, match="has no place for parts"):
        scale.with_tables(page.replace("<!-- parts -->", ""), measured)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "ranks", fit.ranks)
    for name, value in {"ROWS": [1, 4], "BATCHES": (8,), "LEAST": 2, "WARM_UP": 1}.items():
        monkeypatch.setattr(scale, name, value)


@pytest.mark.usefixtures("short")
def test_a_rank_alone_is_timed_and_its_messages_are_noted(capsys: pytest.CaptureFixture[str]) -> None:
    assert scale.main(["_alone", "0", "lstm"]) == 0
    one = json.loads(capsys.readouterr().out)
    made = scale.models.lstm()
    parameters = made.parameters()
    assert one["messages"].count(sum(one.size for one in parameters) + len(parameters) + 5) == 1
    assert [len(steps) for steps in one["compute"].values()] == [2, 2] and [*one["single"]] == ["8"]


def test_without_arguments_those_of_the_process_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(scale, "alone", lambda *arguments: asked.append(arguments) or {})
    monkeypatch.setattr("sys.argv", ["scale.py", "_alone", "0.5", "lstm"])
    assert scale.main() == 0 and asked == [("lstm", 0.5)]
    with pytest.raises(SystemExit):
        scale.main([])
    assert len(asked) == 1


def test_steps_are_those_of_fit_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many of one batch as may be needed, of images of ten classes."""
    asked: dict[str, Any] = {"threads": []}
    monkeypatch.setattr(fit, "ranks", fit.ranks)
    monkeypatch.setattr(scale.tn.init, "orthogonal", scale.tn.init.zeros)  # quicker
    monkeypatch.setattr(scale.tn, "set_threads", asked["threads"].append)
    monkeypatch.setattr(scale.tn, "fit", lambda model, optimizer, batches, **more: asked.update(more, batches=batches))
    ranks = scale.Silent()
    made: list[np.ndarray] = []
    monkeypatch.setattr(scale.tn.optim, "Adam", lambda parameters: made.append(parameters[-2].numpy()))
    for _ in range(2):
        assert scale.steps_of("lstm", 20, ranks, 3.0) == [] and fit.ranks() is ranks
    assert asked["threads"] == [1, 1] and asked["epochs"] == 1 and asked["callbacks"][0].seconds == 3.0
    assert made[0].any() and (made[0] == made[1]).all() and asked["show"] is False, "the same weights each time"
    assert len(asked["batches"]) == scale.WARM_UP + scale.MOST
    images, labels = asked["batches"][-1]
    assert images.shape == (20, 28, 28, 1) and images.dtype == np.float32 and images.std() > 0.25
    assert labels.tolist() == [*range(10), *range(10)]


def test_steps_are_timed_until_enough_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the warm-up do not count, nor what is noted between two steps."""
    clock = Clock()
    monkeypatch.setattr(scale, "time", clock)
    monkeypatch.setattr(scale, "WARM_UP", 2)
    for least, seconds, count in ((3, 0.0, 3), (1, 7.5, 2)):
        monkeypatch.setattr(scale, "LEAST", least)
        stopped: list[str] = []
        times = scale.Times(seconds, clock.taking(100.0 if least == 3 else 0.0))
        run = SimpleNamespace(step=0, stop=stopped.append)
        while not stopped:
            run.step += 1
            clock.now += 0.5 + run.step
            times.on_step(run)
        assert times.steps == [1000 * (0.5 + step) for step in (3, 4, 5)][:count]


def test_the_sums_and_steps_of_two_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Medians of the sums without the first ten; means of the steps and of the sleep for each delay."""
    clock = Clock()
    slow = clock.taking(*[9.0] * 10, *[0.002] * 50)
    monkeypatch.setattr(scale, "time", clock)
    for name, value in {"BATCHES": (8,), "DELAYS": [0.0, 3.0], "FLOATS": [1, 10]}.items():
        monkeypatch.setattr(scale, name, value)

    class Ranks:
        def sum(self, array: Any) -> None:
            assert array.dtype == np.float32
            slow()

        def reset(self, delay: float) -> None:
            self.delay, self.slept = delay, [delay, delay + 1]

    monkeypatch.setattr(scale, "Delayed", Ranks)
    monkeypatch.setattr(scale, "steps_of", lambda name, batch, ranks, seconds: [batch, ranks.delay, seconds])
    found = scale.together(["lstm"], 4.0)
    assert found == {"sums": {1: 2.0, 10: 2.0}, "pairs": {"lstm": [
        {"batch": 8, "delay": 0.0, "step": 4.0, "slept": 0.0}, {"batch": 8, "delay": 3.0, "step": 5.0, "slept": 3.5}]}}


def test_a_rank_alone_computes_half_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def steps_of(model: str, batch: int, ranks: Any, seconds: float, noted: Any = None) -> list[float]:
        asked.append((model, batch, ranks.size, seconds))
        if noted:
            for size, dtype in ((3, "float32"), (5, "float64")):
                assert ranks.sum(np.zeros(size, dtype)).size == size
            assert ranks.gather("one") == ["one", "one"]
            noted()
        return [1.0, 2.0, 6.0]

    monkeypatch.setattr(scale, "steps_of", steps_of)
    found = scale.alone("lstm", 4.0)
    assert asked == [*(("lstm", 2 * rows, 2, 4.0) for rows in scale.ROWS), *(("lstm", n, 1, 4.0) for n in (128, 512))]
    assert found["compute"][4] == [1.0, 2.0, 6.0] and found["messages"] == [3, 10]
    assert found["single"] == {128: 3.0, 512: 3.0}


@with_mpi
def test_two_ranks_sleep_before_each_sum(tmp_path: Path) -> None:
    code = ("from benchmarks import scale; scale.BATCHES, scale.DELAYS, scale.FLOATS = (8,), [0.0, 3.0], [1, 10]\n"
            "scale.LEAST, scale.WARM_UP = 2, 1; scale.main(['_together', '0', 'lstm'])")
    done = subprocess.run([MPIEXEC, "-n", "2", sys.executable, "-c", code], cwd=ROOT, check=True, text=True,
                          stdout=subprocess.PIPE, timeout=120)
    both = json.loads(done.stdout)
    assert [*both["sums"]] == ["1", "10"]
    without, slow = both["pairs"]["lstm"]
    assert without["slept"] == 0 and slow["slept"] >= 3.0 and slow["step"] >= 3.0


def test_the_file_of_measurements_names_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = []

    def started(ranks: int, *arguments: object) -> Any:
        calls.append((ranks, *arguments))
        return {"sums": SUMS, "pairs": {name: [1] for name in arguments[2:]}} if ranks == 2 else {"compute": {}}

    monkeypatch.setattr(scale, "started", started)
    assert scale.main(["measure", "--models", "lstm", "--out", str(tmp_path / "scale.json")]) == 0
    written = json.loads((tmp_path / "scale.json").read_text())
    assert calls == [(2, "_together", 1.0, "lstm"), (1, "_alone", 1.0, "lstm")]
    assert written["models"] == {"lstm": {"compute": {}, "pairs": [1]}} and written["machine"]["cores"]
    assert scale.main(["measure", "--seconds", "3", "--out", str(tmp_path / "scale.json")]) == 0
    assert calls[2:] == [(2, "_together", 3.0, "lstm_cnn", "deep_lstm_cnn"), (1, "_alone", 3.0, "lstm_cnn"),
                         (1, "_alone", 3.0, "deep_lstm_cnn")]
