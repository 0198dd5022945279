"""The script for a GPU, with tiny sizes and without a GPU: it runs to its end, and handles failures."""

import argparse
import json
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from benchmarks import gpu, gpu_device, gpu_pairs, gpu_sections
from benchmarks.cases import case, write_data


def run(out: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    code = gpu.main([*arguments, "--quick", "--out", str(out)])
    return code, json.loads(out.read_text())


@pytest.mark.skipif(not tn.devices()[-1].is_available, reason="there is no C++ compiler for the emulator")
def test_it_runs_on_the_emulator(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, found = run(tmp_path / "out.json", "--device", "gpu-emulated", "--commit", "1a2b3c4")
    assert code == 0, found
    assert [section["section"] for section in found["sections"]] == list(gpu.SECONDS)
    assert all(section["rows"] and not section["error"] for section in found["sections"])
    timed = [section for section in found["sections"] if section["section"] != "tests"]
    assert all(row["ours"] > 0 for section in timed for row in section["rows"])
    assert found["device"].startswith("gpu-emulated")
    assert found["commit"] == "1a2b3c4"
    assert found["versions"]["numpy"]
    printed = capfd.readouterr().out
    for part in ("2 epochs of 256 images", "passed, 0 failed", "LSTM 28 -> 8, batch 2, tf32", "written to"):
        assert part in printed


def test_pytorch_is_timed_if_it_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    layer = tn.nn.Sequential(tn.nn.LSTM(5, 6))
    for work in (case("an LSTM", "backward", layer, 3, (4, 5)),
                 case("a step", "step", tn.nn.Sequential(tn.nn.Dropout(0.5), tn.nn.Dense(4, 3)), 2, (4,))):
        (row,) = gpu_pairs.beside(work, "cpu", "float32", 0.01)
        assert row["ours"] > 0 and row["theirs"] > 0, row
    right = gpu_pairs.Ours.gradients
    monkeypatch.setattr(gpu_pairs.Ours, "gradients", lambda self: {
        name: array * 1.001 for name, array in right(self).items()})
    (row,) = gpu_pairs.beside(work, "cpu", "float32", 0.01)
    assert row["error"].startswith("disagrees with PyTorch: {'output': 0.0009")
    assert "ours" not in row


def test_the_first_use_of_pytorch_has_all_kinds_of_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    used: list[str] = []
    for kind in (torch.nn.LSTM, torch.nn.Conv2d):
        monkeypatch.setattr(kind, "forward", lambda self, *x, forward=kind.forward: used.append(
            type(self).__name__) or forward(self, *x))
    gpu_pairs.Theirs.once("cpu")
    assert used == ["LSTM", "Conv2d"]


@pytest.mark.parametrize("kind", ["step", "backward"])
def test_a_step_is_the_same_on_both_sides(tmp_path: Path, kind: str) -> None:
    """Each side has the other's weights afterwards, and the gradient of the input where it is not an image."""
    pytest.importorskip("torch")
    work, data = case("a case", kind, tn.nn.Sequential(tn.nn.Dense(4, 3)), 2, (4,)), tmp_path / "data.npz"
    write_data(work, data)
    mine, theirs = gpu_pairs.Ours(work, data, "cpu"), gpu_pairs.Theirs(work, data, "cpu")
    assert mine.x.requires_grad == theirs.x.requires_grad == (kind == "backward")
    before = mine.parameters["0.W"].numpy().copy()
    for _ in range(3 if kind == "step" else 0):
        mine.step()
        theirs.step()
    after = theirs.network._arrays(lambda parameter: parameter.detach())["0.W"]
    np.testing.assert_allclose(mine.parameters["0.W"].numpy(), after, rtol=1e-5)
    assert (np.abs(after - before).min() > 1e-3) == (kind == "step")
    for _ in range(2):  # a pass begins without gradients
        found, other = mine.gradients(), theirs.gradients()
        assert found.keys() == other.keys() >= {"output", "0.W", "0.b"}
        for name, array in found.items():
            np.testing.assert_allclose(array, other[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_all_models_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    models = SimpleNamespace(**dict.fromkeys(gpu_pairs.MODELS, gpu_pairs.small_model))  # quick to make
    monkeypatch.setattr(gpu_pairs, "example_models", lambda: models)
    assert [(work.name, precision) for work, precision in gpu_pairs.timed_cases("steps")] == [
        (f"{name}, batch {batch}, {precision}", precision)
        for precision, models in (("float32", gpu_pairs.MODELS), ("tf32", gpu_pairs.IN_TF32))
        for name, batch in models.items()]


def test_images_are_scaled_for_training_and_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    loaders = []

    def called(*arguments: Any, **more: Any) -> Any:
        loaders.append(next(one for one in arguments if isinstance(one, tn.data.Loader)))
        return {"accuracy": 1.0} if len(loaders) == 2 else [{"seconds": 1.0, "images_per_second": 1.0}]

    monkeypatch.setattr(tn, "fit", called)
    monkeypatch.setattr(tn, "evaluate", called)
    list(gpu_sections.mnist("cpu", True, time.monotonic() + 60))
    for loader in loaders:
        x, labels = next(iter(loader))
        assert x.shape == (len(labels), 28, 28, 1) and x.dtype == np.float32
        assert 0 <= x.min() < x.max() <= 1


def test_without_pytorch_ours_are_timed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    (row,) = gpu_pairs.beside(case("an LSTM", "backward", tn.nn.Sequential(tn.nn.LSTM(5, 6)), 3, (4, 5)), "cpu",
                                 "float32", 0.01)
    assert row["ours"] > 0 and "theirs" not in row
    assert row["note"] == "no PyTorch for this device"


def test_a_refused_graph_is_an_error_of_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any, **more: Any) -> Any:
        warnings.warn("fit: steps run one kernel at a time: why", stacklevel=2)
        return [dict.fromkeys(("seconds", "images_per_second", "train_loss", "train_accuracy", "graph_refused"), 1.0)]

    monkeypatch.setattr(tn, "fit", refused)
    row, *_ = gpu_sections.mnist("cpu", True, time.monotonic() + 60)
    assert row["error"] == "the time was up after 0 of 4 steps; fit: steps run one kernel at a time: why"


@pytest.mark.parametrize(("summary", "is_fine"), [
    ("== 531 passed in 9 s ==", True), ("== 529 passed, 2 skipped in 9 s ==", True),
    ("== 531 skipped in 1 s ==", False), ("== 400 passed, 131 skipped in 1 s ==", False), ("", False)])
def test_skipped_tests_are_no_success_on_a_gpu(summary: str, is_fine: bool) -> None:
    assert gpu_sections.few_skipped(summary) == is_fine


def test_all_sections_fit_into_a_call_of_eight_minutes() -> None:
    """The first one loads libraries before the clocks of the others start."""
    assert [*gpu.SECONDS] == [*gpu_sections.SECTIONS] and next(iter(gpu.SECONDS)) == "warm"
    assert sum(gpu.SECONDS.values()) <= gpu.IN_ALL < 480


def test_pytorch_chooses_the_fastest_algorithms_and_has_both_precisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                        ) -> None:
    torch = pytest.importorskip("torch")
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.benchmark, cudnn.allow_tf32, products.allow_tf32
    work, data = case("a case", "step", tn.nn.Sequential(tn.nn.Dense(4, 3)), 2, (4,)), tmp_path / "data.npz"
    write_data(work, data)
    try:
        cudnn.benchmark = False
        counts: list[int] = []
        monkeypatch.setattr(torch, "set_num_threads", counts.append)
        gpu_pairs.Theirs(work, data, "cpu")
        assert cudnn.benchmark and counts == [1]
        for yes in True, False:
            gpu_pairs.use_tf32(yes)
            assert cudnn.allow_tf32 == products.allow_tf32 == yes
    finally:
        cudnn.benchmark, cudnn.allow_tf32, products.allow_tf32 = before


def test_tf32_may_differ_by_one_percent() -> None:
    assert [gpu_pairs.tolerance(name, precision) for name, precision in (
        ("output", "float32"), ("W", "float32"), ("output", "tf32"), ("W", "tf32"))] == [1e-5, 5e-4, 0.01, 0.01]


def test_no_case_begins_after_the_time_is_up() -> None:
    row, = gpu_pairs.lstm("cpu", False, time.monotonic() - 1)
    assert row["error"] == "no time was left for 24 of 24 cases"
    assert row["name"] == "from LSTM 28 -> 128, batch 256, float32 on"


def test_pytorch_has_the_same_numbers_in_both_orders_of_axes() -> None:
    pytest.importorskip("torch")
    nn = tn.nn
    model = nn.Sequential(nn.Conv2D(1, 3, 3, padding="same"), nn.BatchNorm(3), nn.MaxPool2D(2), nn.Reshape((4, 12)),
                          nn.Conv1D(12, 5, 3), nn.Flatten(), nn.Dense(10, 3))
    (row,) = gpu_pairs.beside(case("a step", "step", model, 2, (8, 8, 1)), "cpu", "float32", 0.01)
    assert "PyTorch channels_last" in row["note"] or "PyTorch NCHW" in row["note"], row


def test_a_row_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> Any:
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(gpu_pairs, "_beside", broken)
    rows = list(gpu_pairs.lstm("cpu", True, time.monotonic() + 9))
    assert [row["error"] for row in rows] == ["RuntimeError: no kernel image"] * 2


def test_the_rows_before_a_failure_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaking(*arguments: Any) -> Any:
        yield {"name": "one"}
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(gpu_pairs, "_beside", breaking)
    first, second = gpu_pairs.beside(case("a step", "step", tn.nn.Sequential(tn.nn.Dense(2, 2)), 1, (2,)), "cpu",
                                     "float32", 1.0)
    assert first == {"name": "one"} and (second["name"], second["error"]) == ("a step", "RuntimeError: no kernel image")


def options(**more: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"device": "cpu", "quick": True, "seconds": 60.0, **more})


def test_a_section_that_hangs_is_ended_and_its_rows_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "section.py"
    script.write_text("import time\nprint('{\"name\": \"one\", \"unit\": \"s\", \"ours\": 1.0}', flush=True)\n"
                      "print('{\"name\": \"two', end='', flush=True)\ntime.sleep(60)\n")
    monkeypatch.setattr(gpu, "__file__", str(script))
    section = gpu.watched("launch", options(), 2.0)
    assert section["error"] == "was ended after 2 s"
    assert [row["name"] for row in section["rows"]] == ["one"]
    assert section["seconds"] < 60
    assert "launch: was ended after 2 s" in gpu.tables([section])


@pytest.mark.parametrize(("more", "said"), [({"quick": True, "seconds": 9.0}, "--seconds 55.0 --quick"),
                                           ({"quick": False, "device": "gpu:1"}, "--device gpu:1 --seconds 55.0")])
def test_a_section_gets_the_options(more: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch,
                                    tmp_path: Path) -> None:
    """Except its time, which ends before it is killed. A warning is no error."""
    script = tmp_path / "section.py"
    script.write_text("import json, sys\nprint(json.dumps({'name': ' '.join(sys.argv[1:])}))\n"
                      "print('a warning', file=sys.stderr)")
    monkeypatch.setattr(gpu, "__file__", str(script))
    section = gpu.watched("lstm", options(**more), 60.0)
    (row,) = section["rows"]
    assert section["error"] is None
    assert row["name"].startswith("--section lstm --device ") and row["name"].endswith(said)


def test_what_is_no_row_is_left_out() -> None:
    lines = ['{"name": "one", "unit": "s"}', "a library says {hello}", '{"name": "two", "u', "{}", "[1]", "3"]
    assert list(gpu.whole(lines)) == [{"name": "one", "unit": "s"}]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_prints_the_table(tmp_path: Path, number: int) -> None:
    """And writes the file, and leaves no process."""
    out = tmp_path / "out.json"
    command = [sys.executable, gpu.__file__, "--device", "cpu", "--sections", "launch", "mnist", "lstm",
               "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stderr or ():
        if "launch: " in line:
            break
    time.sleep(1)
    process.send_signal(number)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "relu of 8 numbers" in printed
    assert f"mnist: {gpu.STOPPED}" in printed
    assert printed.endswith(f"; written to {out}\n")
    assert [section["section"] for section in json.loads(out.read_text())["sections"]] == ["launch", "mnist"]


def test_the_table_comes_also_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(gpu, "watched", lambda name, *more: {
        "section": name, "seconds": 1.0, "error": None, "rows": [{"name": "one", "unit": "s", "ours": 1.0}]})
    assert gpu.main(["--device", "cpu", "--sections", "launch", "--out", str(tmp_path / "file" / "out.json")]) == 0
    printed = capsys.readouterr().out
    assert "one  1.00 s" in printed
    _, _, why = printed.partition(f"; not written to {tmp_path / 'file' / 'out.json'}: ")
    assert re.fullmatch(r"[A-Z][a-z ]+\n", why), "in words, without a number"


def test_a_section_that_breaks_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "section.py"
    script.write_text("import os, sys\nsys.stderr.buffer.write(b'\\xff')\nsys.stdout.buffer.write(b'\\xff\\n')\n"
                      f"assert os.getcwd() == {str(gpu.ROOT)!r}\nraise SystemError('the driver is gone' + 999 * '.')")
    monkeypatch.setattr(gpu, "__file__", str(script))
    said = gpu.watched("launch", options(), 20.0)["error"]
    assert said.rstrip(".") == "ended with code 1: SystemError: the driver is gone" and len(said) == 19 + 300
    monkeypatch.setattr(gpu_device, "described", lambda device: "a device")
    assert gpu.main(["--device", "cpu", "--sections", "lstm", "--out", str(tmp_path / "out.json")]) == 1


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert gpu.main([]) == 2
    assert "device: gpu needs CuPy, which is not installed" in capsys.readouterr().err


def test_no_pytest_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """If pytest cannot run the tests, the cases run one by one. The end of the time is reported."""
    monkeypatch.setattr(gpu_sections, "is_gpu", lambda device: True)
    monkeypatch.setattr(gpu_sections, "by_pytest", lambda seconds: None)
    (row, *wrong) = gpu_sections.tests("cpu", True, time.monotonic() + 60)
    assert not wrong
    assert re.fullmatch(r"\d+ passed, 0 failed", row["note"])
    (row, rest) = gpu_sections.tests("cpu", True, time.monotonic() - 1)
    assert re.fullmatch(r"no time was left for (\d+) of \1 cases", rest["error"])


def test_pytest_says_what_became_of_the_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = [Path(path).name for path in gpu_sections.marked_files()]
    assert {"test_devices.py", "test_cuda_kernels.py", "test_masks.py"} <= set(names) and "test_wheels.py" not in names
    file = tmp_path / "test_one.py"
    monkeypatch.setattr(gpu_sections, "marked_files", lambda: [str(file)])
    for body, more in (("pass", {}), ("assert 1 == 2", {"error": r"FAILED .*::test_one\[1\] - assert 1 == 2"}),
                       ("assert i == 1; import time; time.sleep(60)", {
                           "error": r"no end after \d+ s, at .*::test_one\[1\]\W*; FAILED .*::test_one\[0\]$"})):
        file.write_text("import pytest\n@pytest.mark.gpu\n@pytest.mark.parametrize('i', [0, 1])\n"
                        f"def test_one(i):\n    {body}\n")
        row = gpu_sections.by_pytest(5.0 if "sleep" in body else 60.0)
        assert row is not None
        if "sleep" in body and "::test_one" not in row["error"]:  # on a busy machine, pytest takes longer to start
            row = gpu_sections.by_pytest(45.0)
            assert row is not None
        assert ("error" in row) == bool(more)
        assert re.search(more.get("error", ""), row.get("error", ""))
    file.write_text("import a_module_that_is_not_installed")
    assert gpu_sections.by_pytest(60.0) is None
