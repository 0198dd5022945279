"""Two commits are timed in turn: which is which, in what order, and what is printed."""

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import commits, machine, report
from tests import same_bits

SECONDS = {"old": {"step-32": [4.0, 2.0, 3.0], "forward-1": [1.0, 1.0, 1.0], "first-step": [9.0] * 5},
           "new": {"step-32": [1.0, 2.0, 1.5], "forward-1": [4.0, 2.0, 2.0], "first-step": [3.0] * 5}}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What the processes of the two trees, both invented, were asked for."""
    found: list[tuple[str, str]] = []

    class Worker:
        def __init__(self, tree: Path, **environment: str) -> None:
            self.tree = "old" if tree.name == "old" else "new"

        def seconds(self, row: str) -> float:
            found.append((self.tree, row))
            return SECONDS[self.tree][row][found.count((self.tree, row)) - 1]

        def end(self) -> None:
            found.append((self.tree, "end"))

    monkeypatch.setattr(commits, "Worker", Worker)
    return found


def test_the_sides_change_their_order(asked: list[tuple[str, str]]) -> None:
    found = commits.compare((Path("old"), Path("new")), ["step-32", "first-step"], 3)
    assert found == {"step-32": (3.0, 1.5), "first-step": (9.0, 3.0)}
    assert [tree for tree, row in asked if row == "step-32"] == ["old", "new", "new", "old", "old", "new"]
    assert [row for _, row in asked[6:9]] == ["end", "end", "first-step"] and len(asked) == 6 + 2 + 2 * 10
    assert [tree for tree, row in asked if row == "first-step"] == ["old", "new", "new", "old"] * 2 + ["old", "new"]


def test_what_is_printed(asked: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                         capsys: pytest.CaptureFixture[str]) -> None:
    def checkout(commit: str, folder: Path) -> Path:
        assert commit == "abc"
        return folder / "old"

    monkeypatch.setattr(same_bits, "checkout", checkout)
    rows = ["step-32", "forward-1", "first-step"]
    monkeypatch.setattr(sys, "argv", ["commits", "abc", "--rows", *rows, "--alternations", "3", "--out",
                                      str(tmp_path / "times.json")])
    assert commits.main() == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["step-32", "3000.000", "ms", "1500.000", "ms", "ratio", "0.500"],
        ["forward-1", "1000.000", "ms", "2000.000", "ms", "ratio", "2.000"],
        ["first-step", "9000.000", "ms", "3000.000", "ms", "ratio", "0.333"],
        ["geometric", "mean", "without", "the", "first", "step", "1.000"]]
    text = report.text(tmp_path)
    assert [line.split() for line in text.partition("```\n")[2].partition("```")[0].splitlines()] == [
        ["Beside", "an", "older", "commit", "of", "tinynet"], ["tinynet", "at", "abc"],
        ["step-32", "1.50", "s", "3.00", "s", "(0.50)"], ["forward-1", "2.00", "s", "1.00", "s", "(2.00)"],
        ["first-step", "3.00", "s", "9.00", "s", "(0.33)"]]
    assert f"`python -m benchmarks.commits abc --rows {' '.join(rows)} --alternations 3 --out " in text
    written = json.loads((tmp_path / "times.json").read_text())
    assert f"{len(machine.cores())} threads" in text and written["machine"]
    assert written["versions"] == machine.versions(["numpy", "numba"]) and {"numpy", "numba"} <= {*written["versions"]}


def test_a_process_of_a_tree_serves_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[bool] = []
    monkeypatch.setattr(commits, "serve", lambda: served.append(True))
    monkeypatch.setattr(sys, "argv", ["commits", "--serve"])
    assert commits.main() == 0 and served == [True]
    monkeypatch.setattr(sys, "argv", ["commits"])
    with pytest.raises(SystemExit, match="2"):
        commits.main()


def test_a_first_step_is_timed_with_what_comes_before_it(monkeypatch: pytest.MonkeyPatch,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    """Import and model too; of other rows the model is made once, and not timed."""
    now, made = [0.0], list[str]()

    def takes(seconds: float) -> float:
        now[0] += seconds
        return seconds

    def work(row: str) -> Callable[[], Any]:
        made.append(row)
        takes(10.0)
        return lambda: takes(3.0)

    monkeypatch.setattr(commits, "work", work)
    monkeypatch.setattr(commits, "median_seconds", lambda function: function())
    monkeypatch.setattr(commits.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(sys, "stdin", io.StringIO("first-step\nstep-32\nforward-1\nstep-32\n"))
    commits.serve()
    assert capsys.readouterr().out.split() == ["13.0", "3.0", "3.0", "3.0"]
    assert made == ["first-step", "step-32", "forward-1"]


@pytest.mark.parametrize("row", ["step-32", "deep-128", "forward-1"])
def test_the_work_of_a_row(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step changes the weights of a model in training, a forward pass changes nothing."""
    monkeypatch.syspath_prepend(str(commits.ROOT / "examples"))
    import models

    made: list[Any] = []
    makers = {name: getattr(models, name) for name in ("lstm_cnn", "deep_lstm_cnn")}
    for name in makers:
        monkeypatch.setattr(models, name, lambda name=name: made.append(makers[name]()) or made[0])
    seen: list[Any] = []
    function = commits.work(row)
    taped: list[bool] = []

    def called(model: Any, x: Any) -> Any:
        seen.append(x.shape)
        y = model.through(x)
        taped.append(y.requires_grad)
        return y

    monkeypatch.setattr(type(made[0]), "__call__", called)
    before = {name: one.numpy().copy() for name, one in made[0].parameters().items()}  # averages change without a step
    function()
    assert seen[0] == (int(row.partition("-")[2]), 28, 28, 1)
    changed = any((one.numpy() != before[name]).any() for name, one in made[0].parameters().items())
    assert changed == made[0].training == taped[0] == (not row.startswith("forward"))
    sizes = {"step": 121_676, "forward": 121_676}
    assert sum(parameter.size for parameter in made[0].parameters()) == sizes.get(row.partition("-")[0], 369_868)


def test_the_process_of_a_tree_imports_that_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a kernel cache of its own, if it is told one."""
    started: list[dict[str, Any]] = []

    def popen(command: list[str], **more: Any) -> None:
        assert command == [sys.executable, "-P", commits.__file__, "--serve"], "without the folder of the script"
        assert more["stderr"] == commits.subprocess.DEVNULL, "which nobody reads, and which would fill up"
        started.append(more["env"])

    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setattr(commits.subprocess, "Popen", popen)
    commits.Worker(Path("tree"))
    commits.Worker(Path("tree"), NUMBA_CACHE_DIR="cold")
    assert [env["PYTHONPATH"].split(os.pathsep) for env in started] == [["tree", str(Path("tree", "examples"))]] * 2
    assert started[1]["NUMBA_CACHE_DIR"] == "cold" != started[0].get("NUMBA_CACHE_DIR")
    assert all(env["PATH"] == os.environ["PATH"] for env in started)
