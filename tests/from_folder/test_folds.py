"""`tinynet train --folds`: pooled predictions, ensemble, thresholds, calibration, unequal classes."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinynet as tn
from tinynet.__main__ import main
from tinynet.calibration import Calibration, calibrate
from tinynet.classifier import Classifier
from tinynet.ensemble import members


def write(root: Path, counts: dict[str, int], contrast: int = 40, patients: int = 0) -> Path:
    """Noise in which the left half is brighter in the first class. With `patients`, names that tell them."""
    rng = np.random.default_rng(0)
    for k, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = rng.integers(0, 160, (16, 16, 3))
            pixels[:, :8] += contrast * (k == 0)
            file = f"person{i % patients}_{i}.png" if patients else f"{i}.png"
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / name / file)
    return root


def train(folder: Path, out: Path, *more: str) -> dict[str, object]:
    assert main(["train", str(folder), "--out", str(out), "--batch-size", "8", "--epochs", "4", *more]) == 0
    found: dict[str, object] = json.loads((out / "results.json").read_text())
    return found


def test_folds_and_their_ensemble(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "mine", {"cat": 24, "dog": 9}, contrast=60)
    (folder / "dog" / "broken.webp").write_bytes(b"RIFF")
    found = train(folder, tmp_path / "out", "--folds", "3", "--threshold", "balanced")
    printed = capsys.readouterr().out
    assert "weigh in the loss: cat 0.6" in printed and "broken.webp must be a PNG, JPEG" in printed
    assert "judged by a model that was not trained on it, 3 folds" in printed and "pattern of the file names" in printed
    assert found["out_of_fold"]["images"] == 33 and found["test"] is None and len(found["folds"]) == 3
    low, high = found["out_of_fold"]["interval"]
    assert 0 < low < found["out_of_fold"]["accuracy"] <= high + 1e-9
    assert all(np.argmax(fold["class_weights"]) == 1 for fold in found["folds"])

    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    right = np.mean([row["class"] == row["predicted"] for row in rows])
    assert len(rows) == 33 and right == pytest.approx(found["out_of_fold"]["accuracy"])
    assert {row["fold"] for row in rows} == {"1", "2", "3"}

    model = tn.load(tmp_path / "out" / "model.safetensors")
    rule = found["rule"]
    assert model.decision_threshold == rule["threshold"] != 0.5
    assert len(members(model)) == 3 and any(rule["bias"])
    pixels = tn.data.scan_folder(folder).images(16)[:]
    best = [Classifier(tn.load(tmp_path / f"out/fold{k}/best.safetensors")) for k in (1, 2, 3)]
    calibration = Calibration(rule["temperature"], tuple(rule["bias"]))
    single = [calibration(np.log(one.probabilities(pixels))) for one in best]
    p = Classifier(model).probabilities(pixels)
    np.testing.assert_allclose(p, np.mean(single, axis=0), atol=1e-5)

    of_fold = np.array([int(row["fold"]) for row in rows])
    labels = np.array([int(row["class"] == "dog") for row in rows])
    told = np.array([[float(row["p(cat)"]), float(row["p(dog)"])] for row in rows])
    raw = np.array([best[k - 1].probabilities(pixels[i : i + 1])[0] for i, k in enumerate(of_fold)])
    scanned = tn.data.scan_folder(folder)
    assert [row["image"] for row in rows] == list(scanned.names)
    parts = tn.data.cross_folds(scanned, 3, seed=0)
    validation = np.concatenate([fold.validation for fold in parts])
    logp = np.log(np.concatenate([one.probabilities(pixels[fold.validation])
                                  for one, fold in zip(best, parts, strict=True)]))
    assert calibration.temperature == pytest.approx(calibrate(logp, labels[validation], bias=True).temperature)
    for k, fold in enumerate(parts, 1):  # without the images in question
        rest = ~np.isin(validation, fold.test)
        assert (of_fold[fold.test] == k).all() and 0 < rest.sum() < len(rest)
        expected = calibrate(logp[rest], labels[validation[rest]], bias=True)(np.log(raw[fold.test]))
        np.testing.assert_allclose(told[fold.test], expected, atol=2e-5)
        assert np.abs(told[fold.test] - calibration(np.log(raw[fold.test]))).max() > 1e-3
    for name, one in (("before", raw), ("after", told)):
        every = [tn.metrics.calibration_error(labels[of_fold == k], one[of_fold == k]) for k in (1, 2, 3)]
        assert found["calibration_error"][name] == pytest.approx(np.mean(every), abs=1e-3)
        pooled = tn.metrics.calibration_error(labels, one)
        assert found["calibration_error"]["pooled"][name] == pytest.approx(pooled, abs=1e-3)

    assert main(["evaluate", "--json", str(tmp_path / "out" / "model.safetensors"), str(folder)]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert evaluated["threshold"] == rule["threshold"]
    table = tn.metrics.confusion_matrix(tn.data.scan_folder(folder).labels, (p[:, 1] > rule["threshold"]).astype(int))
    assert evaluated["confusion_matrix"] == table.tolist()
    assert main(["predict", "--json", str(tmp_path / "out" / "model.safetensors"), str(folder / "cat")]) == 0
    for answer in json.loads(capsys.readouterr().out):
        above = answer["probabilities"]["dog"] > rule["threshold"]
        assert answer["class"] == ("dog" if above else "cat")
        assert answer["probability"] == answer["probabilities"][answer["class"]]


def test_folds_by_patient_and_a_test_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data"
    write(folder / "train", {"NORMAL": 18, "PNEUMONIA": 18}, patients=6)
    write(folder / "test", {"NORMAL": 6, "PNEUMONIA": 6}, patients=3)
    for number in (1, 2):
        shutil.copy(folder / "train/NORMAL/person1_1.png", folder / f"test/NORMAL/person{number}_copy.png")
    found = train(folder, tmp_path / "out", "--folds", "4", "--sensitivity", "1.0", "--size", "16")
    assert found["out_of_fold"]["images"] == 36 and found["test"]["images"] == 14
    assert found["out_of_fold"]["groups"] == 6 and "by numbers in the file names" in found["parted"]
    printed, complaints = capsys.readouterr()
    assert "The ensemble on the folder's part `test`" in printed and "for a sensitivity of 100%" in printed
    assert "must not be in the part `test`, and 8 images of it can be found" in complaints
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    patients = [{row["image"].split("person")[1][0] for row in rows if row["fold"] == fold} for fold in "1234"]
    assert sum(map(len, patients)) == 6
    first = (tmp_path / "out" / "model.safetensors").read_bytes()
    train(folder, tmp_path / "out", "--folds", "4", "--sensitivity", "1.0", "--size", "16", "--resume")
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == first
    assert "resumed from" in capsys.readouterr().out


def test_calibration_makes_up_for_the_weights_of_classes(tmp_path: Path) -> None:
    """Images that cannot be told apart: calibrated probabilities are the shares of the classes."""
    folder = write(tmp_path / "mine", {"rare": 20, "usual": 100}, contrast=0)
    found = train(folder, tmp_path / "out", "--folds", "2")
    images = tn.data.scan_folder(folder).images(16)[:]
    p = Classifier(tn.load(tmp_path / "out" / "model.safetensors")).probabilities(images)
    assert p.mean(axis=0)[1] == pytest.approx(100 / 120, abs=0.08)
    assert found["calibration_error"]["after"] < found["calibration_error"]["before"]


def test_the_positive_class_and_given_thresholds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "mine", {"cat": 12, "dog": 12}, contrast=90)
    found = train(folder, tmp_path / "out", "--positive", "cat", "--threshold", "0.2", "--groups", "none")
    assert found["classes"] == ["dog", "cat"] and found["rule"]["threshold"] == 0.2
    model = tn.load(tmp_path / "out" / "model.safetensors")
    assert model.classes == ("dog", "cat") and model.decision_threshold == 0.2
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "out" / "model.safetensors"), str(folder / "cat" / "0.png")]) == 0
    assert "(cat is predicted above 20.0%)" in capsys.readouterr().out
    assert main(["summary", str(tmp_path / "out" / "model.safetensors")]) == 0
    assert "threshold 0.2000" in capsys.readouterr().out
    assert main(["train", str(folder), "--out", str(tmp_path / "x"), "--positive", "cow"]) == 1
    assert "--positive must name one of two classes" in capsys.readouterr().err
    assert main(["train", str(folder), "--out", str(tmp_path / "x"), "--folds", "30", "--groups", r"(\d)",
                 "--epochs", "1"]) == 0
    write(folder, {"cat": 1, "cow": 9, "dog": 1})
    assert main(["train", str(folder), "--out", str(tmp_path / "y"), "--threshold", "balanced"]) == 1
    assert "--threshold and --sensitivity are for two classes, got 3" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--folds", "1"], ["--threshold", "1.5"], ["--threshold", "some"],
                                   ["--sensitivity", "0"], ["--sensitivity", "0.9", "--threshold", "0.2"],
                                   ["--class-weights", "some"], ["--max-skipped", "2"]])
def test_impossible_options(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "x", *wrong])
    assert stopped.value.code == 2 and wrong[0] in capsys.readouterr().err
