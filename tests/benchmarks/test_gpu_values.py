"""The numbers of the benchmark for a GPU, with invented times and without a GPU."""

import inspect
import json
import os
import signal
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_measures import Clock

import tinynet as tn
from benchmarks import gpu, gpu_device, gpu_pairs, gpu_sections, timing
from benchmarks.cases import case, write_data
from tinynet import backend

ROW = {"name": "one", "unit": "s", "ours": 1.0}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (gpu_pairs, gpu_sections):
        monkeypatch.setattr(module, "time", made)
    return made


# --- the script -----------------------------------------------------------------------------------------------------

def finished(monkeypatch: pytest.MonkeyPatch, out: Path, *arguments: str, **section: Any
             ) -> tuple[int, list[tuple[str, float]], dict[str, Any]]:
    """The exit code, the sections with their seconds, and the file of a run whose sections are invented."""
    asked: list[tuple[str, float]] = []

    def watched(name: str, options: Any, seconds: float) -> dict[str, Any]:
        if asked and out.name != "file":  # written after each section
            assert [one["section"] for one in json.loads(out.read_text())["sections"]] == [name for name, _ in asked]
        asked.append((name, seconds))
        return {"section": name, "seconds": 1.0, "error": None, "rows": [ROW], **section}

    monkeypatch.setattr(gpu, "watched", watched)
    monkeypatch.setattr(gpu, "time", SimpleNamespace(**{
        "monotonic": lambda: 100.0 * len(asked), "strftime": time.strftime, "gmtime": time.gmtime}))
    code = gpu.main(["--device", "cpu", "--out", str(out), *arguments])
    return code, asked, json.loads(out.read_text())


@pytest.mark.parametrize(("section", "code"), [
    ({}, 0), ({"error": "died"}, 1), ({"rows": [ROW, {**ROW, "error": "disagrees"}]}, 1), ({"rows": []}, 0)], ids=str)
def test_an_error_of_a_section_or_of_a_row_is_that_of_the_run(section: dict[str, Any], code: int, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    assert finished(monkeypatch, tmp_path / "out.json", "--sections", "launch", **section)[0] == code


def test_each_section_has_its_time_and_all_have_that_of_the_options(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """Here each takes 100 seconds."""
    _, asked, found = finished(monkeypatch, tmp_path / "out.json")
    assert [name for name, _ in asked] == [*gpu.SECONDS] == [one["section"] for one in found["sections"]]
    assert [seconds for _, seconds in asked] == [40, 120, 75, 25, 65, -35]
    _, asked, _ = finished(monkeypatch, tmp_path / "out.json", "--seconds", "30", "--sections", "launch", "mnist")
    assert asked == [("launch", 25.0), ("mnist", -70.0)]
    assert finished(monkeypatch, tmp_path / "out.json", "--quick", "--commit", "1a2b")[2]["quick"]
    assert found["device"].startswith("cpu") and found["seconds"] == 600.0 and not found["quick"]
    assert finished(monkeypatch, tmp_path / "out.json", error=gpu.STOPPED)[1] == [("warm", 40.0)]


@pytest.mark.parametrize(("seconds", "given", "waited"), [(60.0, "55.0", 60.0), (5.5, "1.0", 5.5), (-35.0, "1.0", 1.0)])
def test_a_section_has_a_second_at_least_and_leaves_no_process(seconds: float, given: str, waited: float,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """What it started ends with it: all have its session."""
    done: list[Any] = []

    class Process:
        pid, returncode = 7, 0

        def __init__(self, command: list[str], *, start_new_session: bool, **options: Any) -> None:
            done.append((command[command.index("--seconds") + 1], start_new_session))

        def wait(self, timeout: float | None = None) -> int:
            done.append(timeout)
            return 0

    def killpg(*arguments: Any) -> None:
        done.append(arguments)
        raise ProcessLookupError

    monkeypatch.setattr(gpu.subprocess, "Popen", Process)
    monkeypatch.setattr(gpu.os, "killpg", killpg)
    options = SimpleNamespace(device="cpu", quick=True)
    assert gpu.watched("lstm", options, seconds)["error"] is None  # type: ignore[arg-type]
    assert done == [(given, True), waited, (7, signal.SIGKILL), None]


def test_the_table_of_sections() -> None:
    rows = [{"name": "a", "unit": "s", "ours": 0.002, "theirs": 0.008, "note": "eager"},
            {"name": "b", "unit": "bytes", "ours": 2**20, "theirs": None},
            {"name": "c", "unit": "s", "error": "disagrees"}]
    section = {"section": "lstm", "seconds": 12.4, "error": "was ended", "rows": rows}
    assert gpu.tables([section]) == """\
lstm, 12 s
       ours   theirs  ours/theirs
a   2.00 ms  8.00 ms         0.25  eager
b  1.00 MiB
c

Errors
  lstm, c: disagrees
  lstm: was ended"""
    assert gpu.summary(section) == "lstm: 3 rows, 1 with errors, was ended"
    assert gpu.times(rows[0], "s") == ("2.00 ms", "8.00 ms", "0.25")


def test_the_file_of_a_run_has_its_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    """In universal time, among the results, with the machine and the versions."""
    monkeypatch.setattr(gpu, "ROOT", tmp_path)
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    monkeypatch.setattr(gpu, "watched", lambda name, *more: {
        "section": name, "seconds": 1.0, "error": None, "rows": []})
    monkeypatch.setattr(gpu, "time", SimpleNamespace(monotonic=lambda: 3.0, strftime=time.strftime,
                                                     gmtime=lambda: time.struct_time((2026, 2, 3, 4, 5, 6, 1, 34, 0))))
    assert gpu.main(["--device", "cpu", "--sections", "launch"]) == 0
    path, = (tmp_path / "benchmarks" / "results").iterdir()
    found = json.loads(path.read_text())
    assert path.name == "gpu-2026-02-03-0405.json" and found["date"] == "2026-02-03 04:05 UTC"
    assert found["machine"]["cores"] and found["versions"]["numpy"] == np.__version__
    printed = capsys.readouterr()
    assert printed.out.startswith(f"on {found['device']}\n") and printed.out.endswith(f" s; written to {path}\n")
    assert printed.err == "    0 s  launch: 0 rows, 0 with errors\n"


def test_a_section_in_its_process_gets_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(gpu_sections, "run", lambda *arguments: asked.append(arguments))
    assert gpu.main(["--section", "lstm", "--device", "gpu:1", "--seconds", "7", "--quick"]) == 0
    assert asked == [("lstm", "gpu:1", True, 7.0)]


def test_rows_are_printed_until_a_deadline(monkeypatch: pytest.MonkeyPatch, clock: Clock,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    def section(device: str, quick: bool, deadline: float) -> Iterator[dict[str, Any]]:
        yield {"name": device, "quick": quick, "deadline": deadline}

    monkeypatch.setitem(gpu_sections.SECTIONS, "launch", section)
    clock.now = 50.0
    gpu_sections.run("launch", "cpu", True, 8.0)
    assert json.loads(capsys.readouterr().out) == {"name": "cpu", "quick": True, "deadline": 58.0}


# --- times ----------------------------------------------------------------------------------------------------------

def test_a_block_divides_the_time_of_its_calls(clock: Clock) -> None:
    """The wait at its end counts, and the wait before it does not."""
    side = SimpleNamespace(wait=clock.taking(40.0, 2.0))
    assert gpu_pairs.block(side, clock.taking(1.0, 3.0))(4) == [(1 + 3 + 1 + 3 + 2) / 4] * 4  # type: ignore[arg-type]
    pair = timing.Pair([[1.0] * 3, [5.0] * 3, [2.0] * 3], [[4.0], [3.0], [9.0]])
    assert gpu_pairs.medians(pair) == {"ours": 2.0, "theirs": 4.0}


@pytest.mark.parametrize(("until_done", "seconds"), [(False, 1.5), (True, 4.0)])
def test_a_call_takes_the_median_of_five_rounds(until_done: bool, seconds: float, clock: Clock,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """On the host, or until the device is done."""
    monkeypatch.setattr(gpu_sections, "wait", clock.taking(5.0))
    rounds = [9.0, 1.0, 2.0, 1.0, 1.0, 2.0, 2.0, 9.0, 9.0, 1.0, 1.0]  # the first call is no part of a round
    assert gpu_sections.per_call(clock.taking(*rounds), "cpu", 2, until_done) == seconds


def test_a_graph_is_launched_as_a_whole(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """The first of six launches does not count; the time of each call is that of the whole by their number."""
    done: list[str] = []
    graph = SimpleNamespace(launch=clock.taking(50.0, 0.5))
    monkeypatch.setattr(gpu_sections.backend, "record", lambda device, work: (len(work()), graph))
    monkeypatch.setattr(gpu_sections, "wait", clock.taking(7.0, 3.5))
    host, each = gpu_sections.in_a_graph("gpu", lambda: done.append("call"), 4)
    assert len(done) == 1 + 4
    assert host["name"] == "graph of 4 products, launch" and host["ours"] == 0.5
    assert each["name"] == "graph of 4 products, each" and each["ours"] == (0.5 + 3.5) / 4


def test_small_calls_are_timed_on_the_host_and_until_they_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def per_call(call: Any, device: str, count: int, until_done: bool) -> float:
        asked.append((count, until_done))
        return float(len(asked))

    monkeypatch.setattr(gpu_sections, "per_call", per_call)
    found = list(gpu_sections.launch("cpu", False, 0.0))
    assert [row["name"].rpartition(", ")[2] for row in found] == ["on the host", "until it is done"] * 4
    assert [row["theirs"] is not None for row in found] == [True] * 4 + [False] * 4
    assert asked[:4] == [(300, False)] * 2 + [(300, True)] * 2
    assert found[2]["name"].startswith("product 128 x 128, beside A @ A")
    asked.clear()
    list(gpu_sections.launch("cpu", True, 0.0))
    assert {count for count, _ in asked} == {3}
    calls: list[Any] = []
    monkeypatch.setattr(gpu_sections, "per_call", lambda call, *more: calls.append(call) or 1.0)
    list(gpu_sections.launch("cpu", True, 0.0))
    ours, theirs, product, other = (calls[i]() for i in (0, 1, 4, 5))
    assert isinstance(ours, tn.Tensor) and not ours.requires_grad and type(theirs) is np.ndarray
    assert ours.numpy().tolist() == theirs.tolist() == [1.0] * 8
    assert product.tolist() == other.tolist() == np.eye(16).tolist() and product is calls[4]() is not calls[5]()
    graphs: list[Any] = []
    monkeypatch.setattr(gpu_sections, "in_a_graph", lambda device, work, count: graphs.append((device, count)) or [ROW])
    for name in ("namespace", "to_device"):
        monkeypatch.setattr(gpu_sections.backend, name, lambda *given: np if len(given) == 1 else given[0])
    for maker in ("adam_step", "small_step"):
        monkeypatch.setattr(gpu_sections, maker, lambda device: None)
    monkeypatch.setattr(tn, "Tensor", lambda array, device: array)
    for quick in (True, False):
        assert list(gpu_sections.launch("gpu:1", quick, 0.0))[8:] == [ROW]
    assert graphs == [("gpu:1", 3), ("gpu:1", 100)]


def test_the_first_use_of_both_sides_is_timed(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(gpu_sections.Ours, "once", clock.taking(3.0))
    monkeypatch.setattr(gpu_sections.Theirs, "once", clock.taking(4.0))
    for torch_device, times in (("cuda:0", [("ours", 3.0), ("theirs", 4.0)]), (None, [("ours", 3.0)])):
        monkeypatch.setattr(gpu_sections, "torch_device", lambda device, found=torch_device: found)
        rows = list(gpu_sections.warm("gpu", False, 0.0))
        assert [(side, row[side]) for row, (side, _) in zip(rows, times, strict=True)] == times


# --- pairs ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_a_case_is_computed_in_its_precision(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def beside(work: Any, device: str, precision: str, seconds: float, data: Path) -> Iterator[dict[str, Any]]:
        seen.append((backend.current_precision(), precision, seconds))
        yield ROW

    monkeypatch.setattr(gpu_pairs, "_beside", beside)
    work = case("", "step", tn.nn.Sequential(tn.nn.Dense(2, 2)), 1, (2,))
    assert list(gpu_pairs.beside(work, "gpu", precision, 9.0)) == [ROW]
    assert seen == [(precision, precision, 9.0)] and backend.current_precision() == "float32"


@pytest.mark.parametrize(("off", "note"), [(2e-6, "agree to 2e-06, PyTorch "), (1e-3, None)])
@pytest.mark.parametrize("form", [True, False])
def test_both_forms_of_pytorch_must_agree_and_that_which_is_timed_is_named(form: bool, off: float, note: str | None,
                                                                          monkeypatch: pytest.MonkeyPatch,
                                                                          tmp_path: Path) -> None:
    class Side:
        backward = "backward"

        def __init__(self, work: Any, data: Path, device: str, channels_last: bool = True) -> None:
            self.channels_last = channels_last

        def gradients(self) -> dict[str, np.ndarray]:
            return {"output": np.ones(2)}

    class Theirs(Side):
        def gradients(self) -> dict[str, np.ndarray]:
            return {"output": np.ones(2) - off * (self.channels_last != form)}

    monkeypatch.setattr(gpu_pairs, "Ours", Side)
    monkeypatch.setattr(gpu_pairs, "Theirs", Theirs)
    monkeypatch.setattr(gpu_pairs, "torch_device", lambda device: "cpu")
    monkeypatch.setattr(gpu_pairs, "use_tf32", lambda yes: None)
    monkeypatch.setattr(gpu_pairs, "fastest", lambda work, data, device, forms: Theirs(work, data, device, form))
    monkeypatch.setattr(gpu_pairs, "block", lambda side, call: call)
    monkeypatch.setattr(gpu_pairs.timing, "in_turn", lambda *sides: timing.Pair([[1.0]], [[2.0]]))
    work = case("a case", "backward", tn.nn.Sequential(tn.nn.Conv1D(2, 3, 3)), 1, (5, 2))
    row, = gpu_pairs._beside(work, "cpu", "float32", 9.0, tmp_path / "data.npz")
    if note:
        assert row["note"] == f"PyTorch eager; {note}{'channels_last' if form else 'NCHW'}" and row["theirs"] == 2.0
    else:
        assert row["error"].startswith("disagrees with PyTorch: {'output': 0.001") and "ours" not in row


@pytest.mark.parametrize(("kind", "precision"), [("step", "float32"), ("backward", "tf32")])
def test_the_rows_of_a_case_on_a_gpu(kind: str, precision: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
                                     ) -> None:
    """Memory of a step, then each way of ours beside eager PyTorch, and graph beside graph, a third of the time each.
    """
    done: list[Any] = []

    class Side:
        channels_last = True

        def __init__(self, work: Any, data: Path, device: str, form: bool = True) -> None:
            self.dropout = [options["p"] for name, options in work.layers if name == "Dropout"]

        def gradients(self) -> dict[str, np.ndarray]:
            assert self.dropout == [0.0]
            return {"output": np.ones(2)}

        def graphed(self, call: str) -> str:
            return f"{call} in a graph"

        step, backward = "step", "backward"

    def in_turn(ours: Any, theirs: Any, seconds: float) -> timing.Pair:
        done.append((ours[1], theirs[1], seconds))
        assert ours[0].dropout == theirs[0].dropout == [0.5]
        return timing.Pair([[1.0]], [[2.0]])

    monkeypatch.setattr(gpu_pairs, "Ours", Side)
    monkeypatch.setattr(gpu_pairs, "Theirs", Side)
    monkeypatch.setattr(gpu_pairs, "torch_device", lambda device: "cuda:0")
    monkeypatch.setattr(gpu_pairs, "use_tf32", lambda yes: done.append(yes))
    monkeypatch.setattr(gpu_pairs, "block", lambda side, call: (side, call))
    monkeypatch.setattr(gpu_pairs, "peaks", lambda *sides: {"ours": 1.0, "theirs": 2.0})
    monkeypatch.setattr(gpu_pairs.timing, "in_turn", in_turn)
    work = case("a case", kind, tn.nn.Sequential(tn.nn.LSTM(2, 2), tn.nn.Dropout(0.5)), 1, (3, 2))
    found = list(gpu_pairs._beside(work, "gpu", precision, 9.0, tmp_path / "data.npz"))
    assert done == [precision == "tf32", (kind, kind, 3.0), (f"{kind} in a graph", kind, 3.0),
                    (f"{kind} in a graph", f"{kind} in a graph", 3.0)]
    named = [(row["name"], row["unit"], row.get("note")) for row in found]
    note = "agree to 0e+00" + ", our product with h in float32" * (precision == "tf32")
    assert named == [*[("a case, memory", "bytes", None)] * (kind == "step"),
                     ("a case, eager", "s", f"PyTorch eager; {note}"), ("a case, graph", "s", f"PyTorch eager; {note}"),
                     ("a case, graph beside graph", "s", note)]
    assert all((row["ours"], row["theirs"]) == (1.0, 2.0) for row in found)


def test_each_side_waits_for_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(gpu_pairs, "wait", waited.append)
    gpu_pairs.Ours.wait(SimpleNamespace(device="gpu:1"))  # type: ignore[arg-type]
    cuda = SimpleNamespace(synchronize=lambda: waited.append("PyTorch"))
    for device in ("cpu", "cuda:1"):
        gpu_pairs.Theirs.wait(SimpleNamespace(device=device, torch=SimpleNamespace(cuda=cuda)))  # type: ignore[arg-type]
    assert waited == ["gpu:1", "PyTorch"]


@pytest.mark.parametrize("faster", [True, False])
def test_the_faster_form_of_pytorch_is_timed(faster: bool, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """After calls that choose algorithms, by the least of three."""
    class Form:
        def __init__(self, work: Any, data: Path, device: str, channels_last: bool) -> None:
            self.channels_last = channels_last
            self.step = clock.taking(*[0.5] * 3, *(  # these would mislead
                [9.0] * 3 + [1.0] * 3 + [9.0] * 3 if channels_last == faster else [2.0] * 9))

        def wait(self) -> None:
            pass

    monkeypatch.setattr(gpu_pairs, "Theirs", Form)
    work = case("", "step", tn.nn.Sequential(tn.nn.Dense(2, 2)), 1, (2,))
    assert gpu_pairs.fastest(work, Path(), "cpu", [True, False]).channels_last == faster
    assert gpu_pairs.fastest(work, Path(), "cpu", [True]).channels_last


def test_the_time_that_is_left_is_shared(clock: Clock) -> None:
    clock.now = 10.0
    assert gpu_pairs.remaining(110.0, 6) == pytest.approx(10.0)
    assert gpu_pairs.remaining(10.1, 6) == 0.2


def test_each_case_has_its_share_of_what_is_left(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100 s, of which none takes any here."""
    asked: list[float] = []
    work = case("", "step", tn.nn.Sequential(tn.nn.Dense(2, 2)), 1, (2,))
    monkeypatch.setattr(gpu_pairs, "timed_cases", lambda section, quick: [(work, "float32")] * 3)
    monkeypatch.setattr(gpu_pairs, "beside", lambda work, device, precision, seconds: asked.append(seconds) or [ROW])
    assert list(gpu_pairs.steps("cpu", False, 100.0)) == [ROW] * 3
    assert asked == pytest.approx([20.0, 30.0, 60.0])


def test_the_memory_of_a_side_is_what_its_pool_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """After two steps, from empty pools."""
    done: list[str] = []
    pool = SimpleNamespace(free_all_blocks=lambda: done.append("free"), total_bytes=lambda: 11, used_bytes=lambda: 5)
    cuda = SimpleNamespace(empty_cache=lambda: done.append("free"), max_memory_reserved=lambda: 22,
                           max_memory_allocated=lambda: 7, reset_peak_memory_stats=lambda: done.append("reset"))
    monkeypatch.setattr(gpu_pairs.backend, "device_name", lambda device: device)
    monkeypatch.setattr(gpu_pairs.backend, "namespace",
                        lambda device: SimpleNamespace(get_default_memory_pool=lambda: pool))
    sides = [SimpleNamespace(step=lambda: done.append("step"), wait=lambda: done.append("wait"),
                             torch=SimpleNamespace(cuda=cuda)) for _ in range(2)]
    assert gpu_pairs.peaks(*sides, "gpu") == {"ours": 11, "theirs": 22}  # type: ignore[arg-type]
    assert done == ["free", "free", "reset", *["step", "step", "wait"] * 2]


def test_a_cpu_has_no_graph_and_a_gpu_has() -> None:
    side: Any = SimpleNamespace(step="call", graphed=lambda call: f"{call} in a graph")
    assert list(gpu_pairs.ways(side, "step", "cpu")) == [("eager", "call")]
    assert list(gpu_pairs.ways(side, "step", "gpu")) == [("eager", "call"), ("graph", "call in a graph")]


def test_a_graph_is_recorded_after_two_runs_with_a_count_on_the_device(tmp_path: Path,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    monkeypatch.setattr(gpu_pairs.backend, "record", lambda device, work: (
        done.append(device), SimpleNamespace(launch="launch")))
    work, data = case("", "step", tn.nn.Sequential(tn.nn.Dense(4, 3)), 2, (4,)), tmp_path / "data.npz"
    write_data(work, data)
    ours = gpu_pairs.Ours(work, data, "cpu")
    assert ours.graphed(lambda: done.append("run")) == "launch" and done == ["run", "run", "cpu"]  # type: ignore[comparison-overlap]
    assert isinstance(ours.optimizer.steps, np.ndarray) and ours.optimizer.lr == 1e-3


def test_a_graph_of_pytorch_is_recorded_after_three_runs_on_another_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an Adam whose step count is on the device."""
    torch = pytest.importorskip("torch")
    done: list[Any] = []

    class Stream:
        def wait_stream(self, other: Any) -> None:
            done.append("wait")

    class Within:
        def __init__(self, what: Any) -> None:
            done.append("graph" if what == "a graph" else "stream")

        def __enter__(self) -> None:
            pass

        def __exit__(self, *error: object) -> None:
            done.append("end")

    class Adam:
        def __init__(self, parameters: Any, **options: Any) -> None:
            done.append(options)

    graph = type("Graph", (), {"replay": "replay", "__eq__": lambda self, other: other == "a graph"})
    for name, value in {"Stream": Stream, "current_stream": Stream, "stream": Within, "CUDAGraph": graph,
                        "graph": Within}.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.optim, "Adam", Adam)
    side: Any = gpu_pairs.Theirs.__new__(gpu_pairs.Theirs)
    side.torch, side.network = torch, SimpleNamespace(optimizer="one", model=torch.nn.Linear(2, 2))
    assert side.graphed(lambda: done.append("run")) == "replay"
    assert done == [{"lr": 1e-3, "fused": True, "capturable": True}, "wait", "stream", "run", "run", "run", "end",
                    "wait", "graph", "run", "end"]


@pytest.mark.parametrize("device", ["cpu", "gpu", "gpu:1"])
def test_a_device_is_waited_for_if_it_is_a_gpu(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    stream = SimpleNamespace(synchronize=lambda: done.append("waited"))
    monkeypatch.setattr(gpu_device.backend, "device_name", lambda name: name)
    monkeypatch.setattr(gpu_device.backend, "namespace", lambda name: SimpleNamespace(
        cuda=SimpleNamespace(get_current_stream=lambda: stream)))
    gpu_device.wait(device)
    assert done == ["waited"] * (device != "cpu")


def test_the_cases_of_the_lstm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tn.init, "orthogonal", tn.init.zeros)
    found = list(gpu_pairs.timed_cases("lstm"))
    assert [(precision, work.shape[0], work.layers[0][1]["units"]) for work, precision in found] == [
        (precision, N, H) for precision in ("float32", "tf32") for N in (256, 64, 1024) for H in (128, 512, 256, 64)]
    assert all(work.shape[1:] == (28, 28) and work.work == "backward" for work, _ in found)
    assert len(list(gpu_pairs.timed_cases(quick=True))) == 4


def test_the_first_use_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(gpu_pairs, "wait", waited.append)
    gpu_pairs.Ours.once("cpu")
    assert waited == ["cpu"]


def test_pytorch_calls_a_device_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    named = {name: gpu_pairs.torch_device(name) for name in ("cpu", "gpu", "gpu:1", "gpu-emulated")}
    assert named == {"cpu": "cpu", "gpu": "cuda:0", "gpu:1": "cuda:1", "gpu-emulated": None}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_pairs.torch_device("gpu") is None and gpu_pairs.torch_device("cpu") == "cpu"

    def broken(name: str, *more: Any) -> Any:
        raise OSError(f"a library of {name} is missing")

    with monkeypatch.context() as changed:
        changed.setattr("builtins.__import__", broken)
        found = gpu_pairs.torch_device("cpu")
    assert found is None
    assert [gpu_device.is_gpu(name) for name in named] == [False, True, True, False]


def test_a_device_is_described_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [SimpleNamespace(name=name, is_available=True) for name in ("gpu:0", "cpu")]
    monkeypatch.setattr(tn, "devices", lambda: both)
    assert gpu_device.described("cpu") is both[1]


def test_the_versions_of_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the driver by its program, if it is there, and those of CUDA by the runtime."""
    runtime = SimpleNamespace(driverGetVersion=lambda: 13000, runtimeGetVersion=lambda: 12080)
    monkeypatch.setattr(gpu_device.backend, "device_name", lambda device: device)
    monkeypatch.setattr(gpu_device.backend, "namespace", lambda device: SimpleNamespace(
        cuda=SimpleNamespace(runtime=runtime)))
    done = SimpleNamespace(stdout="570.1\n570.2\n")
    monkeypatch.setattr(gpu_device.subprocess, "run", lambda *command, timeout, **options: done)
    assert gpu_device.driver("gpu") == {"driver": "570.1", "driver_cuda": 13000, "cuda": 12080}
    for fault in (OSError(), gpu_device.subprocess.TimeoutExpired("nvidia-smi", 30)):
        monkeypatch.setattr(gpu_device.subprocess, "run", lambda *command, fault=fault, **options: (
            _ for _ in ()).throw(fault))
        assert gpu_device.driver("gpu:1") == {"driver": None, "driver_cuda": 13000, "cuda": 12080}
    assert gpu_device.driver("cpu") == {}


def test_the_small_model_is_for_digits() -> None:
    with tn.no_grad():
        assert gpu_pairs.small_model()(tn.Tensor(np.zeros((2, 28, 28, 1), np.float32))).shape == (2, 10)


# --- the job of the size of MNIST -----------------------------------------------------------------------------------

def test_the_images_of_the_job() -> None:
    """Bytes of ten classes, the same each time; those of the test are others, of the same shapes."""
    (train, labels), (test, others) = gpu_sections.images(300, 0), gpu_sections.images(300, 1)
    assert train.shape == (300, 28, 28) and train.dtype == np.uint8 and train.max() <= 126
    assert set(labels) == set(range(10)) and (labels != others).any() and (train != test).any()
    assert (gpu_sections.images(300, 0)[0] == train).all()
    assert (zlib.crc32(train.tobytes()), zlib.crc32(test.tobytes())) == (1987462097, 2824902789), "as at first"
    brighter = train.astype(int) - gpu_sections.images(300, 1)[0]  # the noise of a row is that of its number
    assert set(np.unique(brighter)) == {-16, 0, 16}


@pytest.mark.parametrize(("done", "error"), [(4, None), (3, "the time was up after 3 of 4 steps")])
def test_what_is_said_of_the_job(done: int, error: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def fit(model: Any, optimizer: Any, loader: Any, **options: Any) -> list[dict[str, float]]:
        asked.update(options, loader=loader, start=model[1].W.numpy().copy())
        optimizer.steps = done
        return [{"seconds": seconds, "images_per_second": 1234.0} for seconds in (9.0, 1.0, 2.0, 5.0)]

    def evaluate(model: Any, loader: Any) -> dict[str, float]:
        asked["tested"] = loader
        return {"accuracy": 0.25}

    monkeypatch.setattr(tn, "fit", fit)
    monkeypatch.setattr(tn, "evaluate", evaluate)
    tn.seed(5)  # which changes nothing
    row, first, later = gpu_sections.mnist("cpu", True, 70.0)
    assert row["name"] == "4 epochs of 256 images" and row["ours"] == 17.0
    assert row["note"] == "test accuracy 0.2500, 1,234 images/s" and row.get("error") == error
    assert (first["ours"], later["ours"]) == (9.0, 2.0)
    assert asked["epochs"] == 2 and asked["callbacks"][0].deadline == 65.0
    assert asked["schedule"].length == 4 and asked["schedule"].peak == 3e-3
    assert asked["loader"].batch_size == 128 and asked["loader"].shuffle and asked["tested"].length == 128
    for loader, (pixels, labels) in ((asked["loader"], gpu_sections.images(256, 0)),
                                     (asked["tested"], gpu_sections.images(128, 1))):
        assert (loader.arrays[0] == pixels).all() and (loader.arrays[1] == labels).all()
    tn.seed(0)
    assert (asked["start"] == gpu_pairs.small_model()[1].W.numpy()).all()


def test_the_whole_job_is_of_the_size_of_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    """And its accuracy stands beside that on a CPU."""
    asked: list[Any] = []
    monkeypatch.setattr(gpu_sections, "images", lambda count, draw: asked.append((count, draw)) or (
        np.zeros((4, 28, 28), np.uint8), np.zeros(4, np.int64)))
    monkeypatch.setattr(gpu_sections, "example_models", lambda: SimpleNamespace(lstm_cnn=lambda: asked.append(
        "LSTM-CNN") or gpu_pairs.small_model()))
    monkeypatch.setattr(tn, "fit", lambda *arguments, epochs, schedule, **more: asked.append(
        (epochs, schedule.length)) or [{"seconds": 2.0, "images_per_second": 5.0}])
    monkeypatch.setattr(tn, "evaluate", lambda *arguments: {"accuracy": 0.25})
    row, *_ = gpu_sections.mnist("cpu", False, 70.0)
    assert asked == [(60_000, 0), (10_000, 1), "LSTM-CNN", (10, 10)]
    assert row["note"] == "test accuracy 0.2500, on a CPU 0.9962, 5 images/s"


def test_training_ends_at_the_deadline(clock: Clock) -> None:
    run = tn.callbacks.Run(None, None, [], epochs=1)  # type: ignore[arg-type]
    one = gpu_sections.UntilTime(5.0)
    for clock.now, said in ((5.0, ""), (5.5, "the time is up")):
        one.on_step(run)
        assert run.stopped == said


def test_every_twelfth_case_is_tested_if_it_must_be_quick(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    from tests.support import gpu_cases

    tried: list[str] = []
    monkeypatch.setattr(gpu_cases, "CASES", {f"case {i}": None for i in range(30)})
    monkeypatch.setattr(gpu_cases, "failures", lambda device, names: tried.extend(names) or (
        {"case 12": "wrong"} if names == ["case 12"] else {}))
    row, wrong = gpu_sections.tests("cpu", True, 1.0)
    assert tried == ["case 0", "case 12", "case 24"]
    assert row["note"] == "2 passed, 1 failed" and wrong == {"name": "case 12", "unit": "s", "error": "wrong"}
    list(gpu_sections.tests("cpu", False, 1.0))
    assert len(tried) == 33
    monkeypatch.setattr(gpu_cases, "failures", lambda device, names: clock.taking(1.0)() or (
        {names[0]: "wrong"} if names == ["case 1"] else {}))
    row, wrong, rest = gpu_sections.tests("cpu", False, 2.5)
    assert row["note"] == "2 passed, 2 failed" and wrong["name"] == "case 1"
    assert rest == {"name": "the rest", "unit": "s", "error": "no time was left for 27 of 30 cases"}


def test_small_work_is_the_same_each_time() -> None:
    """A step of Adam changes the weights; the gradients of a pass are not added to those of the one before it."""
    step = gpu_sections.adam_step("cpu")
    weight = step.__self__.parameters[0]  # type: ignore[attr-defined]
    assert sum(one.size for one in step.__self__.parameters) == 8  # type: ignore[attr-defined]
    before = weight.numpy().copy()
    step()
    assert (weight.numpy() != before).all()
    whole = gpu_sections.small_step("cpu")
    model = inspect.getclosurevars(whole).nonlocals["model"]
    for _ in range(2):
        whole()
        assert model.W.grad.tolist() == [[4.0] * 8] * 8


FAILED = "a/test_a.py::test_one PASSED\na/test_a.py::test_two FAILED\n"


@pytest.mark.parametrize(("code", "printed", "row"), [
    (0, "..\n== 5 passed, 3 skipped in 9 s ==\n\n", {"note": "== 5 passed, 3 skipped in 9 s =="}),
    (0, "== 5 passed, 4 skipped in 9 s ==", {"note": "== 5 passed, 4 skipped in 9 s ==",
                                             "error": "on a GPU, tests must run and not be skipped"}),
    (1, "FAILED a - b\nthe rest\nERROR c\n== 2 failed ==", {"note": "== 2 failed ==",
                                                           "error": "FAILED a - b; ERROR c"}),
    (None, f"{FAILED}a/test_a.py::test_three ", {"note": "a/test_a.py::test_three ",
                                                "error": "no end after 7 s, at a/test_a.py::test_three ; "
                                                         "FAILED a/test_a.py::test_two"}),
    (4, "usage", None)], ids=str)
def test_the_row_of_a_run_of_pytest(code: int | None, printed: str, row: dict[str, Any] | None,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], stdout: Any, timeout: float, **options: Any) -> Any:
        assert command[1:5] == ["-m", "pytest", "-m", "gpu"] and command[-1] == "test_a.py" and timeout == 7.0
        assert {"COLUMNS": "300", "PYTHONUNBUFFERED": "1"}.items() <= options["env"].items() > {}.items()
        assert command[5] == "-v" and command[command.index("-W") + 1] == "default" and options["cwd"] == gpu.ROOT
        assert options["env"].get("PATH") == os.environ.get("PATH")
        stdout.write(printed)
        if code is None:
            raise gpu_sections.subprocess.TimeoutExpired(command, timeout)
        return SimpleNamespace(returncode=code)

    monkeypatch.setattr(gpu_sections, "marked_files", lambda: ["test_a.py"])
    monkeypatch.setattr(gpu_sections.subprocess, "run", run)
    assert gpu_sections.by_pytest(7.0) == (None if row is None else {"name": "pytest -m gpu", "unit": "s", **row})


def test_on_a_gpu_pytest_is_asked_first(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """With the time that is left."""
    asked: list[float] = []
    clock.now = 3.0
    monkeypatch.setattr(gpu_sections, "by_pytest", lambda seconds: asked.append(seconds) or ROW)
    assert list(gpu_sections.tests("gpu", True, 10.0)) == [ROW] and asked == [7.0]
