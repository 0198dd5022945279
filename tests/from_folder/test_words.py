"""Warnings and sentences: where numbers cannot mean what they seem to."""

from pathlib import Path

import numpy as np
import pytest

from tinynet.classifier import score
from tinynet.data import scan_folder, write_idc_stand_in
from tinynet.from_folder import words
from tinynet.from_folder.settings import Settings, class_weights


def scores(counts: list[int], right: list[int]) -> dict[str, object]:
    """The scores of counts[k] images of class k, of which right[k] are predicted correctly."""
    labels = np.repeat(np.arange(len(counts)), counts)
    predicted = np.concatenate([np.where(np.arange(n) < r, k, (k + 1) % len(counts))
                                for k, (n, r) in enumerate(zip(counts, right, strict=True))])
    return score(labels, np.eye(len(counts))[predicted], ["cat", "dog", "cow"][: len(counts)])


@pytest.mark.parametrize(("counts", "right", "expected"), [
    ([1, 0], [1, 0], ["accuracy 1.0000 is that of 1 image in the test part, and its 95 % interval goes from 0.21"]),
    ([2, 1], [2, 0], ["interval goes from 0.21 to 0.94", "no better than always naming the largest class, 0.6667"]),
    ([90, 10], [90, 0], ["accuracy 0.9000 in the test part is no better than", "mean recall, 0.5000"]),
    ([30, 1], [30, 1], ["there are only 1 of dog; its precision and recall say nothing"]),
    ([30, 20, 0], [29, 20, 0], ["only 0 of cow"]),
    ([40, 40, 4], [39, 39, 0], ["there are only 4 of cow"]), ([30, 20], [29, 19], []), ([5, 5, 5], [5, 5, 4], [])])
def test_numbers_that_cannot_mean_what_they_seem_to(counts: list[int], right: list[int], expected: list[str]) -> None:
    said = "\n".join(words.doubts_of_numbers(scores(counts, right), "the test part"))
    assert all(text in said for text in expected) and bool(said) == bool(expected)


@pytest.mark.parametrize(("changes", "expected"), [
    ({}, []), ({"interval": (0.25, 0.751)}, ["interval goes from 0.25 to 0.75"]), ({"accuracy": 0.7}, []),
    ({"accuracy": 0.6}, ["largest class, 0.6000"]), ({"accuracy": 0.6, "balanced_accuracy": 1.0}, []),
    ({"accuracy": 1.0, "images": 1, "per_class": {"cat": {"images": 1}}}, [])])
def test_just_what_is_enough_is_no_doubt(changes: dict[str, object], expected: list[str]) -> None:
    found = {"interval": (0.25, 0.75), "accuracy": 0.8, "balanced_accuracy": 0.7, "images": 10,
             "per_class": {"cat": {"images": 6}, "dog": {"images": 4}}, **changes}
    said = [one for one in words.doubts_of_numbers(found, "the test part") if "must have at least" not in one]
    assert len(said) == len(expected) and all(part in one for part, one in zip(expected, said, strict=True))


@pytest.mark.parametrize(("learning", "evaluating", "expected"), [
    (0.25, 0.45, 0), (0.45, 0.25, 0), (0.25, 0.455, 1), (0.455, 0.25, 1)])
def test_accuracies_in_training_and_in_evaluation_may_differ_a_little(learning: float, evaluating: float,
                                                                      expected: int) -> None:
    """That of the epoch that is kept, of the lowest loss in validation."""
    history = [{"epoch": 1, "validation_loss": 2.0, "train_accuracy": 0.99, "train_loss": 0.1},
               {"epoch": 2, "validation_loss": 1.0, "train_accuracy": learning, "train_loss": 0.2},
               {"epoch": 3, "validation_loss": 1.5, "train_accuracy": 0.99, "train_loss": 0.05}]
    found = {"per_class": {"cat": {}, "dog": {}}, "accuracy": evaluating}
    said = words.doubts_of_training(found, history, np.array([0, 1, 1]))
    assert len(said) == expected and all("in training (epoch 2)" in one for one in said)
    one, *_ = words.doubts_of_training(found, history, np.array([1, 1, 1]))
    assert "takes all 3 images for 'dog'" in one


def test_sentences_tell_patients_from_single_images(tmp_path: Path) -> None:
    patients = scan_folder(write_idc_stand_in(tmp_path, patients=3, patches=10, seed=0))
    settings = Settings(tmp_path)
    by_patient = "\n".join(words.meaning(patients, settings, "by patients", by_folds=True))
    assert "new patients" in by_patient and "The ensemble of these models was not measured" in by_patient
    alone = "\n".join(words.meaning(scan_folder(tmp_path, groups=None), settings, "at random", by_folds=False))
    assert "the same subject" in alone and "another one gives other numbers" in alone
    for said in (by_patient, alone):
        assert said.splitlines()[-1] == ("They say nothing about images of another kind, another camera, or other "
                                         "shares of the classes.")
    assert by_patient.startswith("How the images were divided: by patients.\nThey are those of models that were not")
    assert alone.startswith("How the images were divided: at random.\nThey are those of one division: another one")


@pytest.mark.parametrize(("settings", "expected"), [
    ({}, "above 0.3000, by default"), ({"threshold": "balanced"}, "on the validation part for the highest balanced"),
    ({"sensitivity": 0.95}, "for a sensitivity of 95%"), ({"threshold": 0.3}, "above 0.3000, as given")])
def test_the_decision_is_told(settings: dict[str, object], expected: str, tmp_path: Path) -> None:
    rule = {"temperature": 1.5, "bias": [0.5, -0.5], "threshold": 0.3}
    gain = {"before": 0.4, "after": 0.3, "gain": 0.1, "error": 0.04}
    for images, told in ((120, "error went from 0.2000 to 0.1000, the log loss from 0.4000 to 0.3000"),
                         (100, "error went from 0.2000"), (99, "99 images: too few to measure")):
        said = "\n".join(words.decision(rule, ["cat", "dog"], Settings(tmp_path, **settings), images=images,
                                        by_folds=False, errors={"before": 0.2, "after": 0.1}, gain=gain))
        assert expected in said and told in said and "1.50 and biases" in said
    said = words.decision({**rule, "bias": [0.0, 0.0]}, ["cat", "dog"], Settings(tmp_path, **settings), images=120,
                          by_folds=True, errors={"before": 0.2, "after": 0.1}, gain=gain)[0]
    assert "validation parts of all folds" in said
    assert len(words.decision(rule, ["cat", "dog", "cow"], Settings(tmp_path, **settings), images=120, by_folds=False,
                              errors={"before": 0.2, "after": 0.1}, gain=gain)) == 1, "no threshold for three classes"
    assert "1.50; the calibration error went from 0.2000 to 0.1000, as a mean over the folds, the log loss" in said


@pytest.mark.parametrize(("gain", "error", "expected"), [
    (0.1, 0.04, "a gain beyond its error of 0.0400"), (-0.1, 0.04, "a loss beyond its error of 0.0400"),
    (0.1, 0.06, "within the error of 0.0600: calibration changes nothing"), (0.0, 0.0, "within the error of 0.0000"),
    (0.1, np.nan, "of a single group of images, so that its error is unknown")])
def test_the_gain_of_calibration_is_judged(gain: float, error: float, expected: str, tmp_path: Path) -> None:
    said = words.decision({"temperature": 1.5, "bias": [0.0], "threshold": 0.5}, ["cat"], Settings(tmp_path),
                          by_folds=True, errors={"before": 0.2, "after": 0.1}, images=120,
                          gain={"before": 0.4, "after": 0.4 - gain, "gain": gain, "error": error})
    assert expected in said[0]


def test_class_weights() -> None:
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    np.testing.assert_allclose(class_weights(labels, 3, "auto"), [100 / 180, 100 / 90, 100 / 30])
    assert class_weights(labels, 3, "off") is None and class_weights(labels[:90], 2, "auto") is None
    np.testing.assert_allclose(class_weights(labels[:90], 2, "on"), [0.75, 1.5])
    assert class_weights(np.repeat([0, 1], [10, 5]), 2, "auto") is None  # exactly half is not less than half
    assert class_weights(np.repeat([0, 1], [11, 5]), 2, "auto") is not None
    assert np.isfinite(class_weights(np.zeros(4, int), 2, "auto")).all()
