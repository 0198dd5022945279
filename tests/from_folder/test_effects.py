"""What each setting of a training on a folder changes, and what is written of given numbers. Nothing is trained."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tinynet as tn
from tests.support.figures import saved_as_they_are
from tinynet import drawing
from tinynet.about import versions
from tinynet.calibration import Calibration, gained
from tinynet.data import scan_folder
from tinynet.errors import ArgumentError, DeviceError
from tinynet.from_folder import figures, run, settings, train, words
from tinynet.from_folder.settings import AUGMENT, Samples, Settings, usual_channels, usual_size, with_positive
from tinynet.random import current_seed


class Trained(Exception):
    """A training that was about to begin."""


@pytest.fixture(autouse=True)
def specification() -> Iterator[None]:
    """Run without kernels, which the numbers do not depend on."""
    with tn.using("reference"):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four grey images of cats and twelve of dogs, 16 x 20; the level of an image is its number."""
    root: Path = tmp_path_factory.mktemp("photos")
    for number in range(16):
        path = root / ("cat" if number < 4 else "dog") / f"{number:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (20, 16), 10 * number).save(path)
    return root


@pytest.fixture
def samples(folder: Path) -> Samples:
    return Samples(scan_folder(folder), 16, 1)


WEIGHTS = np.array([1.5, 0.5])
FOLD = tn.data.Fold(np.array([0, 1, 5, 6, 7, 8, 9]), np.array([2, 10, 11]), np.array([3, 12, 13, 14]), "by hand")


@pytest.mark.parametrize("change", [
    {}, {"epochs": 3}, {"epochs": 1}, {"patience": 2}, {"batch_size": 2}, {"lr": 0.5}, {"augment": True},
    {"flip": "both"}, {"augment": True, "flip": "vertical"}, {"class_weights": "off"}, {"resume": True}], ids=str)
def test_each_setting_has_its_effect(change: dict[str, Any], samples: Samples, tmp_path: Path,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def fit(model: Any, optimizer: Any, batches: Any, **options: Any) -> None:
        asked.update(options, model=model, optimizer=optimizer, train=batches)
        raise Trained

    monkeypatch.setattr(train, "fit", fit)
    settings = Settings(Path("x"), **change)
    with pytest.raises(Trained):
        train.train_on(samples, FOLD, settings, tmp_path, seed=11)
    wanted = {"epochs": 40, "patience": 12, "batch_size": 32, "lr": 2e-3, "resume": False, **change}
    batches, validation, schedule = asked["train"], asked["validation"], asked["schedule"]
    best, stopping, log = asked["callbacks"]
    assert (asked["epochs"], batches.batch_size, asked["resume"]) == (
        wanted["epochs"], wanted["batch_size"], wanted["resume"])
    assert schedule.peak == wanted["lr"] and schedule.length == max(2, wanted["epochs"] * len(batches))
    assert (stopping.patience, stopping.metric, best.metric) == (
        wanted["patience"], "validation_loss", "validation_loss")
    assert (best.path, log.path) == (tmp_path / "best.safetensors", tmp_path / "log.csv")
    assert asked["checkpoint"] == tmp_path / "checkpoint.safetensors"
    options = {**(AUGMENT if change.get("augment") else {}), **({"flip": change["flip"]} if "flip" in change else {})}
    assert batches.augment == (tn.data.Augment(**options, border="edge") if options else None)
    assert batches.shuffle and not validation.shuffle and validation.augment is None
    assert (batches.arrays[0][:, 0, 0, 0] // 10).tolist() == FOLD.train.tolist()
    assert (validation.arrays[0][:, 0, 0, 0] // 10).tolist() == FOLD.validation.tolist()
    x, _ = batches.transform(np.full((1, 16, 16, 1), 255, np.uint8), None)
    assert x.max() == 1.0 and current_seed() == 11
    if change.get("class_weights") == "off":
        assert asked["loss"] is tn.ops.cross_entropy
    else:
        np.testing.assert_allclose(asked["loss"].keywords["weight"].numpy(), [7 / 4, 7 / 10], rtol=1e-6)


def test_a_model_remembers_the_images_that_it_was_trained_on(samples: Samples, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """And has not absorbed a calibration."""
    seen: dict[str, Any] = {}

    def fit(model: Any, *arguments: Any, **options: Any) -> list[Any]:
        model.train()(tn.Tensor(samples.images / np.float32(255)))  # averages of batch normalisation
        tn.save(tmp_path / "best.safetensors", model)
        model.load_state_dict({name: 0 * array for name, array in model.state_dict().items()})  # the last epoch
        return ["history"]

    monkeypatch.setattr(train, "fit", fit)
    monkeypatch.setattr(train, "remember", lambda model, *parts, size: seen.update(parts=parts, size=size))
    made = train.train_on(samples, FOLD, Settings(Path("x")), tmp_path, seed=0)
    assert seen["size"] == (16, 20) and made.history == ["history"]
    assert any(array.any() for array in made.model.state_dict().values()), "the best model, not the last one"
    assert [(part[:, 0, 0, 0] // 10).tolist() for part in seen["parts"]] == [FOLD.train.tolist(),
                                                                            FOLD.validation.tolist()]
    for name, rows in (("train", FOLD.train), ("validation", FOLD.validation), ("test", FOLD.test)):
        p = tn.classifier.Classifier(made.model).probabilities(samples.images[rows])
        np.testing.assert_allclose(np.exp(made.logp[name]), p, atol=1e-6)


# --- the whole, of given models --------------------------------------------------------------------------------------

def given(samples: Samples, seeds: list[int], outs: list[Path],
          weights: np.ndarray | dict[int, np.ndarray] | None = WEIGHTS) -> Any:
    """A training that gives the probability 0.05 * (1 + number) of a cat to each image, and notes its arguments.

    weights   of the classes; with folds, by the seed of each
    """
    def train_on(samples: Samples, fold: tn.data.Fold, settings: Settings, out: Path, seed: int) -> train.Trained:
        seeds.append(seed)
        outs.append(out)
        parts = {"train": fold.train, "validation": fold.validation, "test": fold.test}
        dog = {name: 0.05 * (1 + part) for name, part in parts.items()}
        p = {name: np.stack([1 - one, one], axis=1) for name, one in dog.items()}
        logp = {name: np.log(one[:, ::-1]) for name, one in p.items()}
        history = [{"epoch": 1, "validation_loss": 1.0, "train_accuracy": 0.5, "train_loss": 1.0,
                    "validation_accuracy": 0.5}]
        model = train.made(samples, settings)
        return train.Trained(model, history, weights.get(seed) if isinstance(weights, dict) else weights, logp)
    return train_on


def exchanging(seen: list[tuple[list[int], list[int], bool]]) -> Any:
    """A calibration that exchanges the probabilities of the two classes. It notes images, labels, and whether to bias.
    """
    def calibrate(logp: np.ndarray, labels: np.ndarray, *, bias: bool) -> Calibration:
        seen.append(((np.exp(logp[:, 0]) / 0.05 - 1).round().astype(int).tolist(), labels.tolist(), bias))
        return Calibration(-1.0, (0.0, 0.0))
    return calibrate


@pytest.mark.parametrize("count", [None, 2])
def test_what_a_run_says_and_writes_of_itself(count: int | None, folder: Path, tmp_path: Path,
                                              monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    """The images are divided by the seed of the settings. Of several divisions without folds, the first is used."""
    seeds: list[int] = []
    used: list[Any] = []

    def folds(folder: Any, count: int = 2) -> list[tn.data.Fold]:
        seeds.append(current_seed())
        return [FOLD, replace(FOLD, train=FOLD.train[:5], test=FOLD.test[:2], sentence="by foot")]

    samples = Samples(scan_folder(folder), 16, 1)
    train_on = given(samples, [], [])
    monkeypatch.setattr(run, "train_on", lambda samples, fold, *rest: used.append(fold) or train_on(
        samples, fold, *rest))
    monkeypatch.setattr(run, "calibrate", exchanging([]))
    monkeypatch.setattr(run, "folds" if count is None else "cross_folds", folds)
    monkeypatch.setattr(run, "available", lambda: True)
    monkeypatch.setattr(run, "draw", lambda *arguments: ["curves.png", "mistakes.png"])
    monkeypatch.setattr(run.words, "doubts_of_training", lambda found, *rest: [f"{found['images']} images in doubt"])
    chosen = Settings(folder, out=tmp_path / "out", seed=7, folds=count)
    run.run(chosen)
    out, err = capsys.readouterr()
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert seeds == [7] and [one.sentence for one in used] == ["by hand", "by foot"][: count or 1]
    assert (found["classes"], found["layout"], found["skipped"]) == (["cat", "dog"], "a folder for each class", [])
    assert found["input_shape"] == [16, 16, 1] and 0 <= found["seconds"] < 600 and found["versions"] == versions()
    assert found["settings"] == json.loads(json.dumps(chosen.facts())) and found["settings"]["out"] == str(chosen.out)
    assert "images are resized to 16 x 16 x 1\n" in out and str(scan_folder(folder).report()) in out
    assert out.endswith(
        f"written to {chosen.out}: model.safetensors, results.json, predictions.csv, curves.png, mistakes.png\n"
        f"try it: python -m tinynet predict {chosen.out / 'model.safetensors'} IMAGE...\n"
        f"        python -m tinynet explain {chosen.out / 'model.safetensors'} IMAGE...\n")
    assert all(f"- {sentence}\n" in out for sentence in found["meaning"]) and len(found["meaning"]) >= 5
    history = [{"epoch": 1, "validation_loss": 1.0, "train_accuracy": 0.5, "train_loss": 1.0,
                "validation_accuracy": 0.5}]
    if count is None:
        assert "by hand (the first of 2 folds)\n" in out and found["epochs"] == history
        assert found["parted"] == "by hand" and "warning: 7 images in doubt\n" in err
    else:
        assert "\nby hand: 7 images to train on, 3 to validate, 4 to test\n" in out
        assert "\nby foot: 5 images to train on, 3 to validate, 2 to test\n" in out
        assert [one["epochs"] for one in found["folds"]] == [history] * 2
        assert [one["parted"] for one in found["folds"]] == ["by hand", "by foot"]
        assert "warning: fold 1: 7 images in doubt\nwarning: fold 2: 5 images in doubt\n" in err


def test_a_single_division_is_not_said_to_be_the_first(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    """Without matplotlib, it is said how to get the figures."""
    monkeypatch.setattr(run, "train_on", given(Samples(scan_folder(folder), 16, 1), [], []))
    monkeypatch.setattr(run, "folds", lambda folder: [FOLD])
    monkeypatch.setattr(run, "available", lambda: False)
    run.run(Settings(folder, out=tmp_path))
    out = capsys.readouterr().out
    assert "\nby hand\n" in out and "matplotlib is not installed, so the figures are left out: pip install" in out
    assert f"written to {tmp_path}: model.safetensors, results.json, predictions.csv\n" in out


def test_a_device_that_is_not_there_is_said_before_the_folder_is_read(tmp_path: Path,
                                                                      capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DeviceError):
        run.run(Settings(tmp_path / "nothing", device="tpu"))
    assert capsys.readouterr().out == ""


def test_models_and_weights_of_classes_are_on_the_device(samples: Samples, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """A probability of 0 has a logarithm, too."""
    devices: list[str] = []

    def fit(model: Any, optimizer: Any, batches: Any, *, loss: Any, **options: Any) -> list[Any]:
        devices.extend([loss.keywords["weight"].device, *(p.device for p in model.parameters())])
        tn.save(tmp_path / "best.safetensors", model.to("cpu"))
        return []

    monkeypatch.setattr(train, "fit", fit)
    monkeypatch.setattr(train, "remember", lambda model, *rest, size: None)
    monkeypatch.setattr(train.Classifier, "probabilities", lambda self, images: np.eye(2)[np.arange(len(images)) % 2])
    made = train.train_on(samples, FOLD, Settings(Path("x"), device="gpu-emulated"), tmp_path, seed=0)
    assert {*devices, *(p.device for p in made.model.parameters())} == {"gpu-emulated"}
    assert all(logp.max() == 0 and -800 < logp.min() < -700 for logp in made.logp.values())


@pytest.mark.parametrize(("threshold", "expected"), [(None, [0, 1, 0]), (0.5, [0, 1, 0]), (0.25, [0, 1, 1]),
                                                     (0.75, [0, 0, 0])])
def test_the_second_class_is_predicted_above_the_threshold(threshold: float | None, expected: list[int]) -> None:
    p = np.array([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]])
    assert train.decided(p, threshold).tolist() == expected


@pytest.mark.parametrize(("options", "expected"), [
    ({}, None), ({"threshold": 0.5}, None), ({"threshold": 0.25}, 0.25), ({"threshold": 1e-6}, 1e-6),
    ({"sensitivity": 0.5}, ("sensitive", 0.5)), ({"threshold": "balanced"}, "balanced"),
    ({"sensitivity": 0.5, "threshold": "balanced"}, ("sensitive", 0.5))])
def test_which_threshold_is_chosen(options: dict[str, Any], expected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the probabilities of the second class."""
    labels, p = np.array([0, 1]), np.array([[0.9, 0.1], [0.3, 0.7]])
    asked: list[Any] = []
    monkeypatch.setattr(train, "sensitive_threshold", lambda *given: asked.append(given[:2]) or ("sensitive", given[2]))
    monkeypatch.setattr(train, "balanced_threshold", lambda *given: asked.append(given) or "balanced")
    assert train.threshold_of(labels, p, Settings(Path("x"), **options)) == expected
    assert all(one is labels and other.tolist() == [0.1, 0.7] for one, other in asked)


@pytest.mark.parametrize(("options", "threshold"), [({}, None), ({"threshold": 0.15}, 0.15),
                                                    ({"sensitivity": 1.0}, None), ({"threshold": "balanced"}, None)])
def test_one_split_from_its_probabilities_to_its_files(options: dict[str, Any], threshold: float | None, folder: Path,
                                                       tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    outs: list[Path] = []
    drawn: list[Any] = []
    calibrated: list[Any] = []
    samples = Samples(scan_folder(folder), 16, 1)
    monkeypatch.setattr(run, "train_on", given(samples, seeds, outs))
    monkeypatch.setattr(run, "calibrate", exchanging(calibrated))
    monkeypatch.setattr(run, "folds", lambda folder: [FOLD])
    monkeypatch.setattr(run, "available", lambda: True)
    monkeypatch.setattr(run, "draw", lambda *arguments: drawn.append(arguments) or ["curves.png"])
    run.run(Settings(folder, out=tmp_path, seed=5, **options))
    found = json.loads((tmp_path / "results.json").read_text())
    if options.get("sensitivity") or options.get("threshold") == "balanced":  # of 0.15 (cat), 0.55 and 0.6
        threshold = pytest.approx(0.35)
    assert calibrated == [(FOLD.validation.tolist(), [0, 1, 1], True)]
    assert found["rule"] == {"temperature": -1.0, "bias": [0.0, 0.0],
                             "threshold": 0.5 if threshold is None else threshold}
    assert seeds == [5] and outs == [tmp_path] and found["images"] == {"train": 7, "validation": 3, "test": 4}
    wrong = {None: 0, 0.15: 1}.get(threshold if isinstance(threshold, float) else None, 0)
    assert found["test"]["accuracy"] == 1 - wrong / 4 and found["class_weights"] == [1.5, 0.5]
    assert found["validation"]["images"] == 3 and found["train"]["images"] == 7
    labels, p = np.array([0, 1, 1, 1]), 0.05 * (1 + FOLD.test)
    both = np.stack([1 - p, p], axis=1)
    assert found["calibration_error"] == {"before": pytest.approx(tn.metrics.calibration_error(labels, both[:, ::-1])),
                                          "after": pytest.approx(tn.metrics.calibration_error(labels, both))}
    shares = both[np.arange(4), labels]
    assert found["log_loss"]["before"] == pytest.approx(-np.log(1 - shares).mean())
    assert found["log_loss"]["after"] == pytest.approx(-np.log(shares).mean())
    assert found["log_loss"]["gain"] == pytest.approx(np.log(shares / (1 - shares)).mean())
    assert found["log_loss"]["error"] == pytest.approx(np.log(shares / (1 - shares)).std(ddof=1) / 2)
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["image", "fold", "class", "predicted", "p(cat)", "p(dog)"]
    assert rows[1] == ["cat/03.png", "1", "cat", "dog" if wrong else "cat", "0.8", "0.2"]
    assert [row[0] for row in rows[1:]] == ["cat/03.png", "dog/12.png", "dog/13.png", "dog/14.png"]
    model = tn.load(tmp_path / "model.safetensors")
    assert model.decision_threshold == threshold and found["parameters"] == sum(p.size for p in model.parameters())
    (out, histories, scores, _, judged, shares, predicted, what), = drawn
    assert out == tmp_path and len(histories) == 1 and scores["images"] == 4 and judged.tolist() == FOLD.test.tolist()
    np.testing.assert_allclose(shares, both)
    assert predicted.tolist() == [wrong, 1, 1, 1] and what == "the test part"


def test_folds_from_their_probabilities_to_their_files(folder: Path, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fold has a seed, a folder and a threshold of its own; the images of a fold say nothing about its threshold.
    """
    seeds: list[int] = []
    outs: list[Path] = []
    chosen: list[list[int]] = []
    samples = Samples(scan_folder(folder), 16, 1)

    def threshold_of(labels: np.ndarray, p: np.ndarray, settings: Settings) -> float:
        chosen.append(sorted((p[:, 1] / 0.05 - 1).round().astype(int).tolist()))
        return 0.01 * len(chosen)

    calibrated: list[Any] = []
    monkeypatch.setattr(run, "train_on", given(samples, seeds, outs, weights=None))
    monkeypatch.setattr(run, "calibrate", exchanging(calibrated))
    monkeypatch.setattr(run, "threshold_of", threshold_of)
    monkeypatch.setattr(run, "available", lambda: False)
    run.run(Settings(folder, out=tmp_path, seed=5, folds=2, threshold="balanced"))
    found = json.loads((tmp_path / "results.json").read_text())
    assert seeds == [5, 6] and outs == [tmp_path / "fold1", tmp_path / "fold2"]
    everything, first, second = chosen
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    images, of_fold = (np.array([int(row[key][at]) for row in rows]) for key, at in (("image", slice(4, 6)),
                                                                                     ("fold", slice(None))))
    p, labels = np.stack([1 - 0.05 * (1 + images), 0.05 * (1 + images)], axis=1), (images >= 4).astype(int)
    for part, models in ((found["calibration_error"], of_fold), (found["calibration_error"]["pooled"], None)):
        assert (part["before"], part["after"]) == pytest.approx(
            [tn.metrics.calibration_error(labels, one, models=models) for one in (p[:, ::-1], p)])
    folds = {k: sorted(int(row["image"][4:6]) for row in rows if row["fold"] == k) for k in "12"}
    assert everything == list(range(16)) and [first, second] == [folds["2"], folds["1"]]
    of_first, of_second, of_all = (sorted(images) for images, _, _ in calibrated)  # validation images
    assert set(of_first) <= set(folds["2"]) and set(of_second) <= set(folds["1"])
    assert of_all == sorted(of_first + of_second) and not any(bias for _, _, bias in calibrated)
    assert found["rule"]["threshold"] == tn.load(tmp_path / "model.safetensors").decision_threshold == 0.01
    assert found["out_of_fold"]["images"] == 16 and found["images"] == {"out_of_fold": 16}
    assert found["out_of_fold"]["accuracy"] == 12 / 16, "all thresholds are low: each image is a dog"
    assert found["out_of_fold_at_half"]["accuracy"] == 10 / 16, "the dogs 4 to 9 have 0.5 or less"
    assert [one["images"]["test"] for one in found["folds"]] == [len(folds["1"]), len(folds["2"])]
    assert found["test"] is None and found["figures"] == []


@pytest.mark.parametrize(("weights", "biased"), [({}, False), ({5: WEIGHTS}, True), ({6: WEIGHTS}, True)], ids=str)
@pytest.mark.parametrize("count", [None, 2])
def test_biases_where_a_model_was_trained_with_weights_of_classes(weights: dict[int, np.ndarray], biased: bool,
                                                                  count: int | None, folder: Path, tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one fold alone, too. Each model absorbs the calibration before it is saved."""
    calibrated: list[Any] = []
    absorbed: list[Any] = []
    absorb, save = run.absorb, run.save
    monkeypatch.setattr(run, "train_on", given(Samples(scan_folder(folder), 16, 1), [], [], weights))
    monkeypatch.setattr(run, "calibrate", exchanging(calibrated))
    monkeypatch.setattr(run, "absorb", lambda *one: absorbed.append(one[1].temperature) or absorb(*one))
    monkeypatch.setattr(run, "save", lambda path, model: absorbed.append(path.name) or save(path, model))
    monkeypatch.setattr(run, "available", lambda: False)
    run.run(Settings(folder, out=tmp_path, seed=5, folds=count))
    if count is None:
        biased = 5 in weights
    assert {bias for _, _, bias in calibrated} == {biased}
    assert absorbed == [-1.0] * (count or 1) + ["model.safetensors"]


def test_patients_count_in_the_interval_and_in_the_error_of_the_gain(folder: Path) -> None:
    found = scan_folder(folder, groups=r"(\d)\d")  # the images 0 to 9, and 10 to 15
    indices = np.array([1, 2, 4, 9, 10, 12, 15])
    p = np.linspace(0.1, 0.9, 7)
    before, after = np.stack([1 - p, p], axis=1), np.stack([1 - p**2, p**2], axis=1)
    scored = run._scored(found, indices, before, before.argmax(axis=1), 0.25)
    right = before.argmax(axis=1) == found.labels[indices]
    groups = np.array([0, 0, 0, 0, 1, 1, 1])
    assert scored["interval"] == list(tn.intervals.by_groups(right, groups)) and scored["groups"] == 2
    assert scored["threshold"] == 0.25 and scored["images"] == 7
    gain = run._gain(found, indices, before, after)
    expected = gained(found.labels[indices], before, after, groups)
    assert (gain["gain"], gain["error"]) == expected != gained(found.labels[indices], before, after)


@pytest.mark.parametrize("threshold", [None, 0.3])
def test_the_test_part_is_judged_by_the_threshold_of_the_ensemble(threshold: float | None, samples: Samples,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """And at a half, for comparison."""
    tested = [0, 3, 5, 9]
    samples.folder = replace(samples.folder, part_of=np.where(np.isin(np.arange(16), tested), "test",
                                                             np.where(np.arange(16) % 4 == 2, "val", "train")))
    model = train.made(samples, Settings(Path("x")))
    model.decision_threshold = threshold
    p = np.array([[0.6, 0.4], [0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])
    monkeypatch.setattr(run.Classifier, "probabilities",
                        lambda self, images: p[[tested.index(level // 10) for level in images[:, 0, 0, 0]]])
    found = run._tested(model, samples)
    assert found is not None and found["images"] == found["at_half"]["images"] == 4
    assert found["confusion_matrix"] == ([[2, 0], [1, 1]] if threshold is None else [[1, 1], [0, 2]])
    assert found["at_half"]["confusion_matrix"] == [[2, 0], [1, 1]] and found["threshold"] == threshold
    assert found["at_half"]["threshold"] is None


def test_doubts_are_about_the_training_images_and_the_decisions_on_all(samples: Samples,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(words, "doubts_of_training", lambda *arguments: asked.append(arguments) or [])
    made = given(samples, [], [])(samples, FOLD, Settings(Path("x")), Path("x"), 0)
    run._doubts_of_model(made, FOLD, samples.folder, Calibration(-1.0, (0.0, 0.0)), 0.72)
    (raw, history, predicted), = asked
    assert raw["images"] == 7 and raw["accuracy"] == 4 / 7, "not calibrated: 0 to 8 are dogs"
    everything = np.concatenate([FOLD.train, FOLD.validation, FOLD.test])
    assert history is made.history and predicted.tolist() == (everything > 13).astype(int).tolist()


# --- figures --------------------------------------------------------------------------------------------------------

@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    made: list[Any] = []
    with saved_as_they_are() as note:
        monkeypatch.setattr(drawing, "save",
                            lambda figure, path: made.append((Path(path).name, figure)) or note(figure))
        yield made


def test_curves_of_each_history(drawn: list[Any]) -> None:
    """Accuracies in percent, and the tested one as a line."""
    rows = [{"epoch": epoch, "train_loss": 3.0 - epoch, "validation_loss": 4.0 - epoch, "train_accuracy": epoch / 4,
             "validation_accuracy": epoch / 8} for epoch in (1, 2)]
    figures.curves(Path("curves.png"), [rows, rows[:1]], 0.625, "the test part")
    (name, figure), = drawn
    losses, shares = figure.axes
    assert losses.bbox.x1 < shares.bbox.x0 and losses.bbox.width == shares.bbox.width > losses.bbox.height
    assert name == "curves.png" and (losses.get_ylabel(), shares.get_ylabel()) == ("loss", "accuracy (%)")
    assert [list(line.get_ydata()) for line in losses.lines] == [[2, 1], [2], [3, 2], [3]]
    assert [list(line.get_ydata()) for line in shares.lines] == [[25, 50], [25], [12.5, 25], [12.5], [62.5, 62.5]]
    assert list(losses.lines[0].get_xdata()) == [1, 2] and shares.lines[-1].get_label() == "tested: the test part"
    for axes in (losses, shares):
        assert [line.get_color() for line in axes.lines[:4]] == ["tab:blue"] * 2 + ["tab:orange"] * 2
        assert all(line.get_visible() and line.get_alpha() == 0.3 for line in axes.get_xgridlines())
        assert axes.get_xlabel() == "epoch"
    assert (shares.lines[-1].get_color(), shares.lines[-1].get_linestyle()) == ("grey", ":")
    labels = [line.get_label() for line in losses.lines]
    assert labels[0] == "training, while learning" and labels[2] == "validation"
    assert losses.lines[0].get_alpha() == 0.5 and labels[1].startswith("_") and labels[3].startswith("_")
    legend = [text.get_text() for text in shares.get_legend().get_texts()]
    assert legend == [labels[0], labels[2], "tested: the test part"]
    figures.curves(Path("curves.png"), [rows], 0.625, "the test part")
    assert drawn[1][1].axes[0].lines[0].get_alpha() == 1
    ticks = drawn[1][1].axes[0].xaxis.get_major_locator().tick_values(1, 2)
    assert (ticks == ticks.round()).all(), "whole epochs"


def test_the_surest_mistakes_come_first(samples: Samples, drawn: list[Any]) -> None:
    judged = np.array([0, 4, 5, 15])  # a cat and three dogs
    p = np.array([[0.3, 0.7], [0.2, 0.8], [0.9, 0.1], [0.6, 0.4]])
    predicted = np.array([1, 1, 0, 0])
    assert figures.worst(samples.folder.labels[judged], p, predicted).tolist() == [2, 0, 3]
    figures.mistakes(Path("mistakes.png"), samples, judged, p, predicted, "the test part")
    (_, figure), = drawn
    shown = [(axes.get_title(), int(axes.images[0].get_array()[0, 0])) for axes in figure.axes]
    assert shown == [("dog, taken for\ncat (90%)", 50), ("cat, taken for\ndog (70%)", 0),
                     ("dog, taken for\ncat (60%)", 150)]
    assert figure._suptitle.get_text() == "the surest of 3 mistakes on 4 images: the test part"


def test_so_many_mistakes_are_drawn(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(drawing, "sheet", lambda path, images, captions, title: asked.append(
        (len(images), len(captions), title)))
    judged, p = np.tile(np.arange(16), 2), np.full((32, 2), 0.5)
    figures.mistakes(Path("x"), samples, judged, p, 1 - samples.folder.labels[judged], "all")
    assert asked == [(25, 25, "the surest of 32 mistakes on 32 images: all")]
    equal = figures.worst(np.zeros(40, int), np.full((40, 2), 0.5), np.ones(40, int))
    assert equal.tolist() == list(range(40)), "equally sure ones stay in their order"


def test_which_figures_are_drawn(samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(figures, "curves", lambda path, histories, accuracy, what: asked.append((path.name, accuracy)))
    monkeypatch.setattr(figures, "mistakes", lambda path, *more: asked.append((path.name, more[-1])))
    monkeypatch.setattr(drawing, "heat_map", lambda path, table, classes, title: asked.append(
        (path.name, table.tolist(), classes, title)))
    found = {"accuracy": 0.25, "confusion_matrix": [[1, 2], [3, 4]]}
    names = figures.draw(tmp_path, [], found, samples, np.array([0]), np.zeros((1, 2)), np.array([0]), "all")
    assert names == ["curves.png", "confusion.png", "mistakes.png"]
    assert asked == [("curves.png", 0.25), ("confusion.png", [[1, 2], [3, 4]], ("cat", "dog"), "all"),
                     ("mistakes.png", "all")]


# --- settings -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("sizes", "side"), [
    ([(50, 70), (40, 90), (90, 50)], 48),
    ([(50, 70), (40, 90), (60, 30)], 40), ([(500, 700)], 128), ([(9, 9)], 16), ([(31, 31)], 28), ([(33, 35)], 32)])
def test_the_usual_size_is_that_of_the_shorter_sides(sizes: list[tuple[int, int]], side: int) -> None:
    folder: Any = SimpleNamespace(sizes=np.array([(*one, 3) for one in sizes]))
    assert usual_size(folder) == side and usual_size(SimpleNamespace(sizes=None)) == 128  # type: ignore[arg-type]


def test_what_is_usual() -> None:
    assert vars(Settings(Path("x"))) == {
        "folder": Path("x"), "size": None, "epochs": 40, "patience": 12, "batch_size": 32, "lr": 2e-3, "augment": False,
        "flip": None, "class_weights": "auto", "folds": None, "threshold": 0.5, "sensitivity": None, "positive": None,
        "groups": "auto", "max_skipped": 0.25, "device": "cpu", "seed": 0, "out": Path("runs/folder"), "resume": False}
    assert AUGMENT == {"shift": 0.1, "rotate": 10.0, "scale": 0.1, "shear": 5.0, "contrast": 0.1, "brightness": 0.05}
    assert settings.MEMORY == 2**30 and settings.UNEQUAL == 0.5
    for size, channels in ((28, 1), (28, 3), (32, 1)):
        assert settings.choose(size, channels, 3).input_shape == (size, size, channels)
    assert str(settings.choose(28, 1, 3)) == str(tn.models.lstm_cnn(3)) != str(settings.choose(28, 3, 3))


def test_the_positive_class_becomes_the_second(folder: Path) -> None:
    scanned = scan_folder(folder)
    turned = with_positive(scanned, "cat")
    assert turned.classes == ("dog", "cat") and (turned.labels == 1 - scanned.labels).all()
    assert with_positive(scanned, "dog") is scanned and with_positive(scanned, None) is scanned
    for classes, positive in ((("cat", "cow", "dog"), "cow"), (("cat", "cow", "dog"), "dog"), (("cat", "dog"), "cow")):
        with pytest.raises(ArgumentError, match=f"must name one of two classes, got '{positive}' of {classes[0]}"):
            with_positive(replace(scanned, classes=classes), positive)


@pytest.mark.parametrize(("channels", "expected"), [([1, 1], 1), ([1, 3], 3), ([3, 1], 3), ([3, 3], 3)])
def test_images_are_grey_if_all_are(channels: list[int], expected: int) -> None:
    folder: Any = SimpleNamespace(sizes=np.array([(9, 9, one) for one in channels]))
    assert usual_channels(folder) == expected and usual_channels(SimpleNamespace(sizes=None)) == 3  # type: ignore[arg-type]


def test_images_that_do_not_fit_into_memory_are_read_in_the_order_asked_for(folder: Path,
                                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Samples(scan_folder(folder), 16, 1)
    sizes = np.array([(16, 20, 1)] * 8 + [(30, 40, 1)] * 7 + [(900, 700, 1)])
    assert Samples(replace(kept.folder, sizes=np.roll(sizes, 1, axis=0)), 16, 1).usual == (23, 30), "the medians"
    assert Samples(scan_folder(folder, check=False), 16, 1).usual is None
    monkeypatch.setattr(settings, "MEMORY", 16 * 16 * 16)
    assert isinstance(Samples(kept.folder, 16, 1).images, np.ndarray), "just as many bytes"
    monkeypatch.setattr(settings, "MEMORY", 16 * 16 * 16 - 1)
    read = Samples(kept.folder, 16, 1)
    assert isinstance(read.images, tn.data.Images) and read.usual == (16, 20)
    for indices in (np.array([7, 2, 15, 2]), np.array([0])):
        np.testing.assert_array_equal(read.part(indices)[:], kept.part(indices))
