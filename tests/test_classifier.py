"""From probabilities to classes: the same decision in every part of the library, also where a limit is met exactly."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import explain
from tinynet.calibration import sensitive_threshold
from tinynet.classifier import Classifier, report, score
from tinynet.from_folder import train
from tinynet.from_folder.settings import Settings

Decide = Callable[[np.ndarray, float | None], Any]


def gives(threshold: float | None) -> tn.nn.Sequential:
    """A model whose outputs are probabilities."""
    model = tn.nn.Sequential(tn.nn.Flatten(), tn.nn.Dense(64, 2), tn.nn.Softmax(), input_shape=(8, 8, 1))
    model.decision_threshold = threshold
    return model


def test_the_size_is_height_and_width() -> None:
    model = tn.nn.Sequential(tn.nn.Flatten(), tn.nn.Dense(72, 2), input_shape=(4, 6, 3))
    assert (Classifier(model).size, Classifier(model).channels) == ((4, 6), 3)


@pytest.mark.parametrize("decide", [
    lambda p, threshold: Classifier(gives(threshold)).decided(p),
    lambda p, threshold: train.decided(p, threshold),
    lambda p, threshold: explain._decided(gives(threshold), p),
], ids=["classifier", "from_folder", "explain"])
def test_the_second_class_is_what_lies_above_the_threshold(decide: Decide) -> None:
    above = np.nextafter(0.25, 1)
    p = np.array([[0.75, 0.25], [1 - above, above], [0.8, 0.2], [0.1, 0.9]])
    assert decide(p, 0.25).tolist() == [0, 1, 0, 1]
    assert decide(np.array([[0.5, 0.5], [0.4, 0.6]]), None).tolist() == [0, 1]
    assert decide(p, 0.25).dtype == np.int64


def test_a_threshold_is_for_two_classes_alone() -> None:
    p = np.array([[0.2, 0.45, 0.35], [0.4, 0.2, 0.4]])
    model = tn.nn.Sequential(tn.nn.Flatten(), tn.nn.Dense(64, 3), input_shape=(8, 8, 1))
    assert Classifier(model).decided(p).tolist() == train.decided(p, None).tolist() == [1, 0]
    assert explain._decided(model, p).tolist() == [1, 0]


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75, 1.0])
def test_just_the_sensitivity_that_was_asked_for_is_enough(share: float) -> None:
    labels, positive = np.array([1, 1, 1, 1, 0, 0]), np.array([0.2, 0.4, 0.6, 0.8, 0.1, 0.7])
    threshold = sensitive_threshold(labels, positive, share)
    assert (positive[labels == 1] > threshold).mean() == share


def test_which_threshold_the_settings_ask_for(tmp_path: Path) -> None:
    labels, p = np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.1, 0.9]])
    usual = Settings(tmp_path)
    assert train.threshold_of(labels, p, usual) is None
    assert train.threshold_of(labels, p, replace(usual, threshold="balanced")) == 0.25
    assert train.threshold_of(labels, p, replace(usual, threshold=0.7)) == 0.7
    asked = train.threshold_of(labels, p, replace(usual, sensitivity=0.5))
    assert asked is not None and 0.3 <= asked < 0.9


@pytest.mark.parametrize(("mean", "scale", "message"), [
    (True, 1, "mean must be finite"), ([], 1, "mean must be finite"), ("a", 1, "mean must be finite"),
    (3e38, 1, "mean must be finite"), (0, 0, "scale must be positive"), (0, (1, 0), "scale must be positive"),
    (0, np.inf, "scale must be positive"), (0, [], "scale must be positive")])
def test_numbers_that_cannot_scale(mean: Any, scale: Any, message: str) -> None:
    with pytest.raises(tn.errors.ArgumentError, match=f"Scaling: {message}, one number or one for each channel, got"):
        tn.nn.Scaling(mean, scale)
    assert tn.nn.Scaling(-2.9e38, 2.9e38).fits(3) and not tn.nn.Scaling((1, 2), 1).fits(3)


def test_figures_of_one_class_and_of_groups() -> None:
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])
    assert "roc_auc" not in score([0, 0, 0, 0], p, ["a", "b"])
    single, grouped = (score([0, 1, 1, 0], p, ["a", "b"], groups=groups)
                       for groups in (None, np.array(["x", "x", "y", "y"])))
    assert single["groups"] is None and grouped["groups"] == 2
    assert single["interval"] != grouped["interval"] and single["accuracy"] == grouped["accuracy"] == 0.75


def test_each_group_counts_once_and_numbers_have_thousands() -> None:
    labels = np.zeros(1200, np.int64)
    found = score(labels, np.tile([[0.8, 0.2]], (1200, 1)), ["a", "b"], groups=np.arange(1200) // 5)
    assert found["groups"] == 240
    text = report(found)
    assert "on 1,200 images" in text and text.splitlines()[3].split() == ["a", "1.0000", "1.0000", "1.0000", "1,200"]


def test_numbered_classes_are_told_by_their_names_where_others_are_fewer() -> None:
    """As many names as outputs are those of the outputs, in their order."""
    pictures = Classifier(gives(None))
    assert pictures.labels_of(np.array([0, 1]), ["1", "cat"]).tolist() == [0, 1]
    assert pictures.labels_of(np.array([0, 0]), ["1"]).tolist() == [1, 1]
    for names, said in ((["0", "1", "cat"], "'0', '1', and 'cat' is not"), (["0", "x", "y"], "and 'x', 'y' are not"),
                        (list("abcde"), "and 'a', 'b', 'c', 'd', 'e' are not"),
                        (list("abcdefg"), "'e' and 2 more are not")):
        with pytest.raises(tn.errors.DataError, match=f"{said}; rename the folders"):
            pictures.labels_of(np.array([0]), names)
    model = gives(None)
    model.classes = ("cat", "dog")
    assert Classifier(model).labels_of(np.array([0, 1, 1]), ["dog", "cat"]).tolist() == [1, 0, 0], "by names, not order"
    with pytest.raises(tn.errors.DataError, match="among those of the model, 'cat', 'dog', and 'emu' is not"):
        Classifier(model).labels_of(np.array([0, 1]), ["cat", "emu"])
    pictures.classes = ("tea", "cafe\u0301")  # decomposed
    assert pictures.labels_of(np.array([0, 0]), ["caf\u00e9"]).tolist() == [1, 1]


def test_the_report_names_the_class_that_the_threshold_is_of() -> None:
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3]])
    found = score([0, 1, 1], p, ["cat", "dog"], predicted=np.array([0, 1, 0]), threshold=0.35)
    assert "\ndog is predicted if its probability is above 0.3500\n" in report(found)
    assert found["accuracy"] == 2 / 3 and found["per_class"]["dog"]["recall"] == 0.5
    assert "is predicted if" not in report(score([0, 1, 1], p, ["cat", "dog"]))
    html = report(found)._repr_html_()
    assert html.index("accuracy 0.6667") < html.index("dog is predicted if") < html.index("precision") < html.index(
        "true \\ predicted") and html.count("<table") == 2


def test_scores_become_probabilities_before_they_are_compared_with_a_threshold() -> None:
    model = tn.nn.Sequential(tn.nn.Flatten(), tn.nn.Dense(64, 2), input_shape=(8, 8, 1))
    model.decision_threshold = 0.3
    scores = np.array([[0.0, 0.0], [2.0, 0.5], [0.0, -2.0], [-3.0, -4.0]])  # 0.5, 0.18, 0.12 and 0.27 of class 1
    assert explain._decided(model, scores).tolist() == [1, 0, 0, 0]
