"""`tinynet train` on typical folders of users, and its files, used by the other commands."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tinynet as tn
from tinynet.__main__ import main as tinynet_main

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import train_folder  # noqa: E402

from tinynet.classifier import score  # noqa: E402
from tinynet.from_folder import settings, words  # noqa: E402


def write_images(root: Path, count: int, *, size: tuple[int, int] = (20, 16), mode: str = "RGB",
                 classes: tuple[str, ...] = ("left", "right"), suffix: str = ".png") -> Path:
    """Images of noise in which one half is brighter; a third class has both halves bright."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = rng.integers(0, 80, (size[1], size[0], 3))
            pixels[:, : size[0] // 2] += 100 * (k != 1)
            pixels[:, size[0] // 2 :] += 100 * (k > 0)
            Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(root / name / f"{i}{suffix}")
    return root


def run(folder: Path, out: Path, *more: str) -> int:
    return train_folder.main([str(folder), "--out", str(out), "--batch-size", "8", *more])


def test_a_typical_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_images(tmp_path / "mine", 30)
    (folder / "left" / "notes.txt").write_text("not an image")
    (folder / "right" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    assert run(folder, tmp_path / "out", "--epochs", "8") == 0
    printed = capsys.readouterr().out
    for part in ("60 images, a folder for each class", "broken.png is damaged", "resized to 16 x 16 x 3", "Conv2D",
                 "epoch 8/8", "The best model on the test part:", r"true \ predicted   left   right", "try it: python"):
        assert part in printed, part
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["test"]["accuracy"] > 0.9
    assert results["images"] == {"train": 36, "validation": 12, "test": 12}
    assert any("calibrated on the validation part, by" in one for one in results["meaning"])
    assert results["classes"] == ["left", "right"]
    assert [name for name, _ in results["skipped"]] == ["left/notes.txt", "right/broken.png"]
    assert results["settings"]["epochs"] == 8 and results["versions"]["numpy"] == np.__version__
    assert f"accuracy {results['test']['accuracy']:.4f} on 12 images" in printed
    for name in ("curves.png", "confusion.png", "mistakes.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            assert min(picture.size) > 200

    model = tmp_path / "out" / "model.safetensors"
    loaded = tn.load(model)
    assert (loaded.classes, loaded.input_shape, loaded.scaling) == (("left", "right"), (16, 16, 3), tn.nn.Scaling())
    new = write_images(tmp_path / "new", 4, size=(50, 33), suffix=".jpg")
    assert tinynet_main(["predict", "--json", str(model), *map(str, sorted(new.rglob("*.jpg")))]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert np.mean([answer["class"] in answer["image"] for answer in answers]) > 0.7
    assert tinynet_main(["evaluate", "--json", str(model), str(new)]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] > 0.7


def test_the_model_that_is_kept_is_the_best_one(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "mine", 20)
    assert run(folder, tmp_path, "--epochs", "5") == 0
    results = json.loads((tmp_path / "results.json").read_text())
    losses = [row["validation_loss"] for row in results["epochs"]]
    scanned = tn.data.scan_folder(folder)
    tn.seed(0)
    fold, = tn.data.folds(scanned)
    part = scanned.select(fold.validation)
    images = tn.nn.Scaling()(part.images(16)[:])
    loss = tn.evaluate(tn.load(tmp_path / "best.safetensors"), [(images, part.labels)])["loss"]
    assert loss == pytest.approx(min(losses), rel=1e-4)
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert len(lines) == 1 + len(losses)


def test_equal_seeds_give_equal_models_and_patience_ends_early(tmp_path: Path,
                                                               capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_images(tmp_path / "mine", 12, classes=("a", "b", "both"))
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert run(folder, tmp_path / name, "--epochs", "3", "--seed", seed, "--augment", "--flip", "vertical") == 0
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c
    assert run(folder, tmp_path / "d", "--epochs", "200", "--patience", "1", "--lr", "0.05") == 0
    assert "stopped: validation_loss has not become better" in capsys.readouterr().out


@pytest.mark.parametrize(("images", "expected"), [
    ({"size": (28, 28), "mode": "L"}, ("LSTM-CNN", 28, 1)), ({"size": (40, 37), "mode": "L"}, ("CNN + LSTM", 36, 1)),
    ({"size": (300, 200)}, ("CNN + LSTM", 128, 3)), ({"size": (9, 7)}, ("CNN + LSTM", 16, 3)),
    ({"size": (28, 28)}, ("CNN + LSTM", 28, 3))], ids=str)
def test_the_model_suits_the_images(images: Any, expected: tuple[str, int, int], tmp_path: Path) -> None:
    folder = tn.data.scan_folder(write_images(tmp_path, 3, **images))
    size, channels = settings.usual_size(folder), settings.usual_channels(folder)
    model = settings.choose(size, channels, 2)
    assert (size, channels) == expected[1:] == (model.input_shape[0], model.input_shape[2])
    kinds = [type(layer).__name__ for layer in model]
    assert (kinds.index("LSTM") < kinds.index("Conv1D")) if expected[0] == "LSTM-CNN" else ("Conv2D" in kinds)


@pytest.mark.parametrize("shape", [(8, 8, 1), (16, 200, 3), (28, 28, 3), (50, 50, 3), (96, 130, 1), (224, 224, 3),
                                   (1024, 1024, 3)])
def test_a_model_for_any_size(shape: tuple[int, int, int]) -> None:
    model = tn.models.image_cnn_lstm(*shape, 5)
    lines = model.summary().splitlines()
    assert "(N, 5)" in lines[-2]
    rows, features = next(layer.shape for layer in model if isinstance(layer, tn.nn.Reshape))
    filters = next(layer.filters for layer in reversed(list(model)) if isinstance(layer, tn.nn.Conv2D))
    most = max(14, max(shape) // 64)  # after at most six halvings
    assert 1 <= rows <= most and filters <= features <= most * filters
    assert sum(parameter.size for parameter in model.parameters()) < 1_000_000


@pytest.mark.parametrize("layout", ["xray", "idc", "parts"])
def test_other_layouts(layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data"
    if layout == "xray":
        tn.data.write_chest_xray_stand_in(folder, train=40, test=10, size=48, seed=0)
    elif layout == "idc":
        tn.data.write_idc_stand_in(folder, patients=4, patches=24, seed=0)
    else:
        write_images(folder / "train", 12)
        write_images(folder / "test", 5)
    assert run(folder, tmp_path / "out", "--epochs", "1", "--size", "24") == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {part: results[part]["images"] for part in ("train", "test")}.items() <= results["images"].items()
    assert 0 < results["test"]["images"] != results["train"]["images"]
    assert results["input_shape"][:2] == [24, 24]
    assert results["parted"] in capsys.readouterr().out


@pytest.mark.parametrize("seed", [3, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(10) if seed != 3)])
def test_a_few_easy_images_are_learned_with_all_defaults(seed: int, tmp_path: Path,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    """One batch an epoch: the running averages of BatchNorm must be right after a few batches."""
    folder = write_images(tmp_path / "mine", 13)
    assert train_folder.main([str(folder), "--out", str(tmp_path), "--seed", str(seed)]) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert all("at least 5 images to be judged" in line for line in warnings)  # of the small test part
    assert json.loads((tmp_path / "results.json").read_text())["train"]["accuracy"] >= 0.9
    assert tinynet_main(["evaluate", "--json", str(tmp_path / "model.safetensors"), str(folder)]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] >= 0.9


def test_a_model_in_doubt_is_said_to_be() -> None:
    right, same = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.9, 0.1], [0.8, 0.2]])
    epochs = [{"epoch": 1, "validation_loss": 2.0, "train_accuracy": 0.0},
              {"epoch": 2, "validation_loss": 1.0, "train_accuracy": 0.81},
              {"epoch": 3, "validation_loss": 3.0, "train_accuracy": 0.0}]

    def doubts(probabilities: np.ndarray) -> list[str]:
        return words.doubts_of_training(score([0, 1], probabilities, ["cat", "dog"]), epochs,
                                        probabilities.argmax(axis=1))

    assert doubts(right) == []
    constant, disagreeing = doubts(same)
    assert "takes all 2 images for 'cat'" in constant
    assert "is 0.8100 in training (epoch 2) and 0.5000 in evaluation" in disagreeing


def test_a_constant_model_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(write_images(tmp_path / "mine", 8), tmp_path / "out", "--epochs", "1", "--lr", "1e-9") == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    warned = "for 'left'" in (err := capsys.readouterr().err) or "for 'right'" in err
    counts = np.array(results["train"]["confusion_matrix"]).sum(axis=0)
    assert warned == (0 in counts)


def complaints(process: subprocess.Popen[str]) -> str:
    """What a process writes to stderr until its end, without the notice that kernels are being compiled."""
    lines = process.communicate(timeout=150)[1].splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("tinynet: compiling kernels"))


def test_killed_and_resumed_it_ends_the_same(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "mine", 24)
    command = [sys.executable, str(EXAMPLES / "train_folder.py"), str(folder), "--batch-size", "8", "--epochs", "12",
               "--augment"]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}

    def train(out: str, *more: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*command, "--out", str(tmp_path / out), *more], env=environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    whole = train("whole")
    assert complaints(whole) == ""
    killed = train("killed")
    assert killed.stdout is not None
    for line in killed.stdout:
        if line.startswith("epoch 2/12"):
            break
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "killed" / "results.json").exists()
    stopped = train("killed", "--resume")
    assert stopped.stdout is not None
    said = [next(stopped.stdout)]
    while not said[-1].startswith(("epoch", "resumed")):
        said.append(next(stopped.stdout))
    assert re.search(r"resumed from .*, \d+ of 12 epochs", said[-1])
    time.sleep(0.05)
    stopped.send_signal(signal.SIGINT)
    _, err = stopped.communicate(timeout=150)
    if stopped.returncode != 0:  # else it was done before the signal came
        assert stopped.returncode == 130
        assert "stopped by SIGINT" in err and err.endswith(": the same command with --resume\n")
    rest = train("killed", "--resume")
    assert complaints(rest) == ""
    assert ((tmp_path / "killed" / "model.safetensors").read_bytes()
            == (tmp_path / "whole" / "model.safetensors").read_bytes())
    first, second = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("whole", "killed"))
    assert first["test"] == second["test"]
    assert [row["train_loss"] for row in first["epochs"]] == [row["train_loss"] for row in second["epochs"]]


def test_resume_with_other_options_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_images(tmp_path / "mine", 8)
    assert run(folder, tmp_path / "out", "--epochs", "1") == 0
    capsys.readouterr()
    assert run(folder, tmp_path / "out", "--epochs", "1", "--resume", "--seed", "5") == 1
    assert "must be of a run like this one" in capsys.readouterr().err


@pytest.mark.parametrize(("make", "message"), [
    (lambda folder: None, "is not there"), (lambda folder: folder.mkdir(), "no files at all"),
    (lambda folder: folder.write_text(""), "is not a folder"),
    (lambda folder: write_images(folder, 5, classes=("one",)), "for each of at least 2 classes"),
    (lambda folder: [path.write_bytes(b"") for path in write_images(folder, 5).rglob("*.png")], "is empty")])
def test_folders_that_cannot_be_used(make: Any, message: str, tmp_path: Path,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "mine")
    assert run(tmp_path / "mine", tmp_path / "out") == 1
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [["--size", "4"], ["--size", "5000"], ["--epochs", "0"], ["--lr", "nan"],
                                   ["--seed", "-1"], ["--flip", "twice"], ["--patience", "0"]])
def test_impossible_options(wrong: list[str], capsys: pytest.CaptureFixture[str],
                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train_folder.py", "x", *wrong])
    for arguments in (None, ["x", *wrong]):
        with pytest.raises(SystemExit) as stopped:
            train_folder.main(arguments)
        assert stopped.value.code == 2
        assert wrong[0] in capsys.readouterr().err


def test_without_a_gpu_or_matplotlib(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_images(tmp_path / "mine", 8)
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert run(folder, tmp_path / "out", "--device", "gpu") == 2
    assert "needs CuPy" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(folder, tmp_path / "out", "--epochs", "1") == 0
    assert "matplotlib is not installed, so the figures are left out" in capsys.readouterr().out
    assert not list((tmp_path / "out").glob("*.png"))


def test_names_with_signs_that_matplotlib_takes_for_formulas(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "mine", 8, classes=("$x^$", "größe_1", "a\\b"))
    assert run(folder, tmp_path / "out", "--epochs", "1", "--lr", "1e-9") == 0
    assert re.search(rb"PNG", (tmp_path / "out" / "mistakes.png").read_bytes())
