"""The machine that results come from, the command line of the benchmark, and the comparison of two commits."""

import itertools
import json
import os
import platform
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import benchmarks
import benchmarks.__main__ as command_line
import tinynet as tn
from benchmarks import commits, machine, process, ranks, report, scale, table
from benchmarks.bench import Bench
from benchmarks.peers import OURS
from benchmarks.process import PeerError, Worker

# --- the machine ----------------------------------------------------------------------------------------------------

SIBLINGS = {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3", 4: ""}


def test_one_processor_of_each_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of those that share it and that this process may use; one of unknown siblings is a core."""
    monkeypatch.setattr(machine, "_read", lambda path: SIBLINGS[int(path.split("/cpu")[-1].partition("/")[0])])
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {4, 3, 2, 1}, raising=False)
    assert machine.cores() == [1, 2, 4]


def test_the_machine_is_described_in_the_right_units(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"/proc/meminfo": "MemTotal:       16777216 kB\nMemFree: 5 kB\n", "/proc/cpuinfo": (
        "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 97\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\n")}
    monkeypatch.setattr(machine, "_read", lambda path: files.get(path, ""))
    monkeypatch.setattr(machine, "cores", lambda: [0, 2, 4])
    monkeypatch.setattr(machine, "instructions", lambda: ["avx2"])
    monkeypatch.setattr(os, "getloadavg", lambda: (0.126, 2.0, 3.0), raising=False)
    found = machine.describe()
    assert (found["cpu"], found["family"], found["model"]) == ("AMD EPYC", "25", "97")
    assert (found["memory_gib"], found["cores"], found["processors"]) == (16.0, 3, 2)
    assert found["features"] == ["avx2"] and found["load"] == [0.13, 2.0, 3.0]
    assert found["python"] == sys.version.split()[0]
    files.clear()
    found = machine.describe()
    assert (found["memory_gib"], found["processors"]) == (None, os.cpu_count())
    assert found["cpu"] == (platform.processor() or platform.machine())


def test_a_commit_with_changed_files_is_said_to_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results do not count, as they are written after the measurement."""
    changed = ""

    def run(command: list[str], **options: Any) -> Any:
        assert options == {"cwd": machine.ROOT, "capture_output": True, "text": True}
        if command[1] == "status":
            assert {":!benchmarks/results", ":!benchmarks/RESULTS.md", ":!benchmarks/scale.json"} <= {*command}
        return SimpleNamespace(returncode=0, stdout=changed if command[1] == "status" else f"{'a' * 40}\n")

    monkeypatch.setattr(subprocess, "run", run)
    assert machine.commit() == {"commit": "a" * 40, "changed": False}
    changed = " M tinynet/op.py\n"
    assert machine.commit() == {"commit": "a" * 40, "changed": True}
    assert machine.commit("1a2b") == {"commit": "1a2b", "changed": None}
    monkeypatch.setattr(subprocess, "run", lambda *command, **options: SimpleNamespace(returncode=128, stdout="fatal"))
    assert machine.commit() == {"commit": None, "changed": False}, "outside a repository"
    monkeypatch.setattr(subprocess, "run", lambda *command, **options: (_ for _ in ()).throw(OSError))
    assert machine.commit() == {"commit": None, "changed": None}


def test_the_size_of_an_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a package requires counts once; extras, compiled files and what is not installed do not."""
    required = {"one": ["Two_Lib>=1", "three ; extra == 'more'", "lacking"], "two-lib": ["one"], "three": []}
    for name, size in (("one", 10), ("two-lib", 200), ("three", 4000)):
        (tmp_path / f"{name}.py").write_bytes(b"x" * size)
        (tmp_path / f"{name}.pyc").write_bytes(b"x" * 77)

    def distribution(name: str) -> Any:
        if name not in required:
            raise machine.PackageNotFoundError(name)
        return SimpleNamespace(files=[f"{name}.py", f"{name}.pyc", "gone.py"], requires=required[name],
                               locate_file=lambda file: tmp_path / file)

    monkeypatch.setattr(machine, "distribution", distribution)
    assert machine.installed_bytes(("one",)) == 210 and machine.installed_bytes(("three", "one")) == 4210
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.py").write_bytes(b"x" * 5)
    assert machine.folder_bytes(tmp_path) == 4210 + 3 * 77
    assert machine.versions(["numpy", "no-such-package"]) == {"numpy": np.__version__}


# --- the command line -----------------------------------------------------------------------------------------------

def test_the_options_of_the_command() -> None:
    cores = len(machine.cores())
    usual = command_line.parse([], {"jax": "jax not installed"})
    assert (usual.threads, usual.seconds, usual.quick, usual.out) == (cores, 2.0, False, None)
    assert usual.rows == [*command_line.ROWS] and usual.peers == ["torch", "compile", "keras", "tinygrad"]
    given = command_line.parse(["--rows", "step,,epoch", "--peers", "torch", "--seconds", "7", "--threads", "1"], {})
    assert (given.rows, given.peers, given.seconds, given.threads) == (["step", "epoch"], ["torch"], 7.0, 1)


def test_the_arguments_are_those_of_the_process_unless_given(monkeypatch: pytest.MonkeyPatch,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--nonsense"])
    monkeypatch.setattr(command_line, "names", lambda: [OURS])
    for given, wrong in ((None, "--nonsense"), (["--folly"], "--folly")):
        with pytest.raises(SystemExit):
            command_line.main(given)
        assert f"unrecognized arguments: {wrong}\n" in capsys.readouterr().err


def test_a_line_of_progress_has_the_time_since_the_start(monkeypatch: pytest.MonkeyPatch,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, as the tables are on stdout."""
    monkeypatch.setattr(command_line, "time", SimpleNamespace(perf_counter=iter([5.0, 12.4]).__next__))
    command_line.progress()("a line")
    assert capsys.readouterr() == ("", "     7 s  a line\n")
    with pytest.raises(SystemExit):
        command_line.parse(["--help"], {})
    assert str(benchmarks.__doc__).split("\n")[0] in " ".join(capsys.readouterr().out.split())


def test_a_peer_that_is_not_there_cannot_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command_line.parse(["--peers", "torch,jax"], {"jax": "jax not installed", "keras": "x"})
    assert "error: jax: jax not installed\n" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command_line.parse(["--threads", str(len(machine.cores()) + 1)], {})


@pytest.mark.parametrize(("more", "seconds", "is_warned"), [([], 2.0, True), (["--seconds", "9"], 9.0, True),
                                                             (["--quick"], 0.05, False)])
def test_what_a_run_is_given(more: list[str], seconds: float, is_warned: bool, tmp_path: Path,
                             monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """And that other programs are told of, unless times do not matter."""
    asked: list[Any] = []

    def run(options: Any, rows: list[str], command: str) -> dict[str, Any]:
        asked.append((options.seconds, options.quick, options.peers, len(options.cpus), rows, command))
        options.say("a row is done")
        return {"machine": {"cpu": "A", "features": [], "python": "3"}, "records": [], "titles": {}, "versions": {},
                "threads": 1, "commit": None, "changed": False, "date": "today", "seconds": 3}

    monkeypatch.setattr(command_line, "run", run)
    monkeypatch.setattr(command_line, "names", lambda: [OURS, "jax", "torch"])
    monkeypatch.setattr(command_line, "peer", lambda name: SimpleNamespace(lacks=lambda: {"jax": "why"}.get(name)))
    monkeypatch.setattr(os, "getloadavg", lambda: (0.6, 0.0, 0.0), raising=False)
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    arguments = ["--rows", "step", "--threads", "1", *more]
    assert command_line.main(arguments) == 0
    assert asked == [(seconds, "--quick" in more, ["torch"], 1, ["step"],
                      " ".join(["python -m benchmarks", *arguments]))]
    printed = capsys.readouterr()
    assert ("Other programs are running here (load 0.6)" in printed.err) == is_warned
    assert printed.err.endswith("     0 s  a row is done\n")
    assert [path.name for path in tmp_path.iterdir()] == ["a-plain-1-threads.json"] * ("--quick" not in more)
    for path in tmp_path.iterdir():
        assert json.loads(path.read_text())["not_there"] == {"jax": "why"} and path.read_text().endswith("}\n")
        assert printed.out.endswith(f"\n\nwritten to {path}\n")
    assert ("written to" in printed.out) == ("--quick" not in more)
    assert "A, 1 threads, Python 3, \ncommit unknown, today, 3 s" in printed.out
    assert "In brackets: ours divided by theirs" in printed.out and "below 1, tinynet is faster" in printed.out
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 0.0, 0.0), raising=False)
    command_line.main(arguments)
    assert "Other programs" not in capsys.readouterr().err


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, PeerError])
def test_nothing_is_left_of_a_bench(error: type[BaseException] | None) -> None:
    """Neither its folder nor a process, whatever ended it."""
    with pytest.raises(error) if error else nullcontext(), Bench(command_line.Options([], [0])) as bench:
        assert bench.folder.is_dir()
        if error:
            raise error
    assert not bench.folder.exists() and all(worker._process is None for worker in bench.workers.values())


def test_a_row_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    class Measured:
        def __init__(self, options: Any) -> None:
            self.records: list[Any] = []
            self.workers = {OURS: SimpleNamespace(ask=lambda do: {do: {"threads": 2}})}
            made.append(options)

        def __enter__(self) -> "Measured":
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def record(self, row: str, case: str, unit: str, results: Any) -> None:
            self.records.append((row, case, unit, results))

    def broken(bench: Any) -> None:
        raise PeerError("died")

    monkeypatch.setattr(command_line, "Bench", Measured)
    monkeypatch.setattr(command_line, "ROWS", {"step": broken, "ops": lambda bench: bench.record("ops", "a", "s", {})})
    options = command_line.Options([], [0, 1], seconds=3.0)
    found = command_line.run(options, ["step", "ops"], "a command")
    assert found["records"] == [("step", "", "s", {OURS: {"error": "died"}}), ("ops", "a", "s", {})]
    assert (found["threads"], found["command"], found["titles"]) == (2, "a command", {OURS: "tinynet"})
    assert found["settings"] == {"seconds_for_a_pair": 3.0, "quick": False, "peers": {OURS: {"threads": 2}}}
    assert found["versions"]["numpy"] == np.__version__ and found["date"] == time.strftime("%Y-%m-%d")
    assert "torch" not in found["versions"], "which took no part"
    assert isinstance(found["seconds"], int)


def test_the_list_says_versions_and_what_is_lacking(monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(machine, "versions", lambda packages: dict.fromkeys(packages, "1.2"))
    command_line.show({"jax": "jax not installed"})
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "torch PyTorch: torch 1.2" in lines and any(line.endswith(": jax not installed") for line in lines)
    assert next(line for line in lines if line.startswith("epoch ")).startswith("epoch An epoch of MNIST-sized data")
    assert lines[0] == "rows" and lines.index("peers") == 2 + len(command_line.ROWS)


@pytest.mark.parametrize(("told", "used"), [(None, ["avx2", "fma", "avx512f"]), ("+avx2,+fma", ["avx2", "fma"])])
def test_features_that_are_hidden_are_not_named(told: str | None, used: list[str], monkeypatch: pytest.MonkeyPatch
                                                ) -> None:
    monkeypatch.setattr(machine, "instructions", lambda: ["avx2", "fma", "avx512f"])
    monkeypatch.delenv("NUMBA_CPU_FEATURES", raising=False)
    if told is not None:
        monkeypatch.setenv("NUMBA_CPU_FEATURES", told)
    assert machine.features() == used


def test_the_parts_of_a_report() -> None:
    results = {"machine": {"cpu": "A CPU", "features": ["asimd"], "family": "6", "model": "7", "python": "3.12"},
               "threads": 4, "commit": "0123456789abcdef", "changed": True, "date": "2026-01-01"}
    assert report.machine_of(results) == ("A CPU, NEON, 4 threads", "family 6, model 7", "3.12")
    assert report.commit_of(results) == "commit 0123456789ab and changes, 2026-01-01"
    assert [report.vectors(some) for some in (["avx2", "avx512f"], ["avx2"], [])] == ["AVX-512", "AVX2", "plain"]


def test_the_cells_of_a_table() -> None:
    def cell(result: dict[str, Any], unit: str = "s", name: str = "torch") -> str:
        return table.cell({"results": {name: result}, "unit": unit}, name)

    assert cell({"value": 0.5, "ratio": 1.239}) == "500 ms (1.24)"
    assert cell({"value": 2.0, "of_peak": 0.456}) == "2.00 s (46% of the peak)"
    assert cell({"theirs": {"median": 0.04}, "ratio": {"median": 0.0512}}) == "40.0 ms (0.05)"
    assert [cell({"value": value}) for value in (0.001, 0.01, 0.1, 1.0)] == ["1.00 ms", "10.0 ms", "100 ms", "1.00 s"]
    assert cell({"error": "died", "value": 1.0}) == "-"
    assert table.short(0.1) == "0.10" and table.short(0.0996) == "0.1" and table.short(12.345) == "12.35"
    beside = {name: {"ours": {"median": median}} for name, median in (("a", 1.0), ("b", 2.0), ("c", 9.0))}
    assert table.cell({"results": beside, "unit": "s"}, OURS) == "2.00 s"
    assert table.cell({"results": beside, "unit": "s"}, "d") == ""


# --- the process of a peer ------------------------------------------------------------------------------------------

def test_a_process_gets_its_peer_its_processors_and_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []

    class Started:
        def __init__(self, command: list[str], **options: Any) -> None:
            started.append((command[1:], options["cwd"], options["env"]))
            read, write = os.pipe()
            os.write(write, b'{"ready": true}\n{"a": 1}\n{"error": "why"}\n')
            self.stdin = SimpleNamespace(write=lambda line: started.append(line), flush=lambda: None)
            self.stdout = os.fdopen(read, "rb", buffering=0)
            os.close(write)

        def kill(self) -> None:
            self.stdout.close()

        def communicate(self) -> None:
            pass

    read = os.read
    monkeypatch.setattr(process.os, "read", lambda file, size: read(file, min(size, 5)))  # an answer comes in parts
    monkeypatch.setattr(process.subprocess, "Popen", Started)
    monkeypatch.setenv("CACHE", "elsewhere")
    with Worker("torch", [0, 3], {"CACHE": "here"}) as worker:
        assert worker.started == 0.0 and worker.ask("dance", count=2) == {"a": 1}
        assert worker.started > 0
        with pytest.raises(PeerError, match=r"^why$"):
            worker.ask("sing")
        assert worker.patience == 120.0
        worker._waiting = b'{"half an answer": '
        worker.stop()
        assert worker.ask("dance") == {"a": 1}, "what a process left says nothing about the next one"
    assert worker._process is None and worker._errors.closed, "at the end"
    command, folder, environment = started[0]
    assert command == ["-m", "benchmarks.worker", "torch", "0,3"] and folder == process.ROOT
    assert environment == {**os.environ, "CACHE": "here"}
    assert started[1:3] == [b'{"do": "dance", "count": 2}\n', b'{"do": "sing"}\n']


@pytest.mark.parametrize(("said", "error"), [(b"one line\nthe reason\n", "its process ended: the reason"),
                                             (b"", "its process ended")])
def test_a_process_that_ended_says_why_and_the_next_request_starts_another(said: bytes, error: str,
                                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is noticed as the request is written, or as the answer is read."""
    done: list[str] = []

    class Started:
        def __init__(self, command: list[str], *, stderr: Any, **options: Any) -> None:
            done.append("started")
            stderr.write(said)
            read, write = os.pipe()
            os.write(write, b'{"ready": true}\n')
            os.close(write)
            self.stdin = SimpleNamespace(write=self.write, flush=lambda: None)
            self.stdout = os.fdopen(read, "rb", buffering=0)

        def write(self, line: bytes) -> None:
            if b"broken" in line:
                raise BrokenPipeError

        def kill(self) -> None:
            done.append("killed")
            self.stdout.close()

        def communicate(self) -> None:
            done.append("waited")

    monkeypatch.setattr(process.subprocess, "Popen", Started)
    with Worker("torch", [0]) as worker:
        for request in ("broken", "sing"):
            with pytest.raises(PeerError, match=f"^{error}$"):
                worker.ask(request)
            assert worker.ask_if_alive("sing") is None and done == ["started", "killed", "waited"]
            done.clear()


def test_a_worker_of_ranks_is_started_as_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """And alone as one process; what it prints is the answer."""
    started: list[Any] = []
    monkeypatch.setattr(process.subprocess, "run", lambda command, **options: started.append(
        (command, options["check"])) or SimpleNamespace(stdout='{"a": 1}'))
    assert ranks.started(3, "_time", "cnn", 128, 1) == '{"a": 1}'
    assert scale.started(1, "_alone", 0.5, "cnn") == {"a": 1}
    assert started == [
        ([str(process.MPIEXEC), "-n", "3", sys.executable, "-m", "benchmarks.ranks", "_time", "cnn", "128", "1"], True),
        ([sys.executable, "-m", "benchmarks.scale", "_alone", "0.5", "cnn"], True)]


def test_the_report_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                               capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(report, "PLACE", tmp_path / "RESULTS.md")
    monkeypatch.setattr(report, "text", lambda: "all tables")
    assert command_line.main(["--report"]) == 0 and (tmp_path / "RESULTS.md").read_text() == "all tables"
    assert capsys.readouterr().out == f"written to {tmp_path / 'RESULTS.md'}\n"


# --- commits --------------------------------------------------------------------------------------------------------

def test_the_median_of_the_calls_of_half_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three calls before them are not timed, and there are five at least."""
    now = [0.0]
    monkeypatch.setattr(commits, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def taking(*seconds: float) -> list[float]:
        calls: list[float] = []
        times = itertools.cycle(seconds)

        def call() -> None:
            calls.append(next(times))
            now[0] += calls[-1]

        return [commits.median_seconds(call), len(calls)]

    assert taking(0.125) == [0.125, 3 + 5]
    assert taking(0.0625) == [0.0625, 3 + 8]
    assert taking(9.0, 9.0, 9.0, 1.0, 2.0, 3.0, 4.0, 5.0) == [3.0, 3 + 5]


def test_a_process_is_asked_for_a_row_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    caches: list[Any] = []
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)

    class Started:
        def __init__(self, command: list[str], **options: Any) -> None:
            assert command[-1] == "--serve"
            caches.append(options["env"].get("NUMBA_CACHE_DIR"))
            self.stdin = SimpleNamespace(write=said.append, flush=lambda: said.append("flush"))
            self.stdout = SimpleNamespace(readline=lambda: "0.25\n")

        def communicate(self) -> None:
            said.append("ended")

    monkeypatch.setattr(commits.subprocess, "Popen", Started)
    assert commits.Worker(tmp_path).seconds("step-32") == 0.25 and said == ["step-32\n", "flush"]
    said.clear()
    assert commits.first_step(tmp_path) == 0.25 and said == ["first-step\n", "flush", "ended"]
    commits.first_step(tmp_path)
    assert caches[0] is None and len({*caches[1:]}) == 2 and not Path(caches[1]).exists(), "empty caches, then removed"
    monkeypatch.setattr(sys, "argv", ["commits"])
    with pytest.raises(SystemExit):
        commits.main()


def test_rows_are_made_once_and_the_first_step_each_time(monkeypatch: pytest.MonkeyPatch,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    made: list[str] = []
    monkeypatch.setattr(commits, "work", lambda row: made.append(row) or (lambda: made.append("call")))
    monkeypatch.setattr(commits, "median_seconds", lambda function: 0.25)
    monkeypatch.setattr(commits, "time", SimpleNamespace(perf_counter=itertools.count(1.0).__next__))
    monkeypatch.setattr(sys, "stdin", ["step-32\n", "first-step\n", "step-32\n"])
    commits.serve()
    assert capsys.readouterr().out.split() == ["0.25", "1.0", "0.25"]
    assert made == ["step-32", "first-step", "call"]


def test_the_mean_ratio_is_geometric_and_new_by_old(monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[Any] = []

    def compare(trees: Any, rows: list[str], alternations: int) -> dict[str, tuple[float, float]]:
        asked.append((trees[1], rows, alternations))
        return {"step-32": (0.001, 0.002), "step-128": (0.002, 0.001), "forward-1": (0.004, 0.032),
                "first-step": (1.0, 99.0)}

    monkeypatch.setattr(commits, "compare", compare)
    monkeypatch.setattr("tests.same_bits.checkout", lambda commit, folder: folder)
    monkeypatch.setattr(sys, "argv", ["commits", "abc"])
    assert commits.main() == 0
    assert asked == [(commits.ROOT, list(commits.ROWS), 11)]
    assert capsys.readouterr().out.splitlines()[-1] == "geometric mean without the first step 2.000"
    monkeypatch.setattr(commits, "compare", lambda *arguments: {"first-step": (1.0, 2.0)})
    assert commits.main() == 0
    assert capsys.readouterr().out.split() == ["first-step", "1000.000", "ms", "2000.000", "ms", "ratio", "2.000"]


def test_the_data_of_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(commits.ROOT / "examples"))
    import models

    seen: list[Any] = []

    class Stopped(Exception):
        pass

    def stopped(y: Any, labels: Any) -> Any:
        seen.append((y.numpy(), labels.numpy()))
        raise Stopped

    monkeypatch.setattr(models, "lstm_cnn", lambda: tn.nn.Sequential(tn.nn.Dense(1, 1)))
    monkeypatch.setattr(tn.ops, "cross_entropy", stopped)
    outputs = []
    for row, batch in (("step-7", 7), ("first-step", 128), ("step-7", 7)):
        with pytest.raises(Stopped):
            commits.work(row)()
        y, labels = seen.pop()
        assert y.shape == (batch, 28, 28, 1) and labels.tolist() == [i % 10 for i in range(batch)]
        outputs.append(y)
    assert (outputs[0] == outputs[2]).all(), "the same weights each time"
