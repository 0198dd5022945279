"""The metrics against scikit-learn's, if it is installed, with ties, missing classes and shares of nothing."""

import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynet import metrics
from tinynet.errors import ArgumentError, DtypeError, ShapeError

sk = pytest.importorskip("sklearn.metrics")
HIDDEN: Any = np.ma.masked_array([0.2, 0.7], [False, True])


def drawn(seed: int, n: int = 60, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Labels without one class, and predictions without another."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    predicted = np.where(rng.uniform(size=n) < 0.5, labels, rng.integers(0, classes, n))
    labels[labels == seed % classes] = (seed + 1) % classes
    predicted[predicted == (seed + 2) % classes] = 0
    return labels, predicted


def binary(seed: int, n: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels 0 and 1, and scores with many ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    return labels, rng.integers(0, levels, n) / levels + 0.2 * labels


@pytest.mark.parametrize("seed", range(8))
def test_classes_as_scikit_learn(seed: int) -> None:
    labels, predicted = drawn(seed)
    known = {"labels": range(4), "average": None, "zero_division": 0}
    assert metrics.accuracy(labels, predicted) == sk.accuracy_score(labels, predicted)
    np.testing.assert_array_equal(metrics.confusion_matrix(labels, predicted, 4),
                                  sk.confusion_matrix(labels, predicted, labels=range(4)))
    for mine, theirs in ((metrics.precision, sk.precision_score), (metrics.recall, sk.recall_score),
                         (metrics.f1, sk.f1_score)):
        np.testing.assert_allclose(mine(labels, predicted, 4), theirs(labels, predicted, **known), rtol=1e-14)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, of a class that occurs in the predictions only
        assert metrics.balanced_accuracy(labels, predicted) == pytest.approx(
            sk.balanced_accuracy_score(labels, predicted), rel=1e-14)
    for positive in range(4):
        is_true, is_found = labels == positive, predicted == positive
        assert metrics.sensitivity(labels, predicted, positive) == pytest.approx(
            sk.recall_score(is_true, is_found, zero_division=0))
        assert metrics.specificity(labels, predicted, positive) == pytest.approx(
            sk.recall_score(~is_true, ~is_found, zero_division=0))


@pytest.mark.parametrize("names", [None, ["a", "bird", "a rather long name", "d"]])
@pytest.mark.parametrize("digits", [2, 14])
@pytest.mark.parametrize("seed", range(4))
def test_the_report_is_that_of_scikit_learn(seed: int, digits: int, names: list[str] | None) -> None:
    labels, predicted = drawn(seed)
    labels[0] = 3  # so that K is 4 without names
    assert metrics.classification_report(labels, predicted, names, digits) == sk.classification_report(
        labels, predicted, labels=range(4), target_names=names, digits=digits, zero_division=0)


@pytest.mark.parametrize(("n", "levels"), [(2, 1), (3, 2), (40, 3), (200, 20), (200, 10**6)])
@pytest.mark.parametrize("seed", range(4))
def test_curves_as_scikit_learn(seed: int, n: int, levels: int) -> None:
    labels, scores = binary(seed, n, levels)
    labels[:2] = 0, 1
    for mine, theirs in ((metrics.roc_curve, sk.roc_curve),
                         (metrics.precision_recall_curve, sk.precision_recall_curve)):
        for a, b in zip(mine(labels, scores), theirs(labels, scores), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13)
    assert metrics.roc_auc(labels, scores) == pytest.approx(sk.roc_auc_score(labels, scores), rel=1e-13)
    assert metrics.average_precision(labels, scores) == pytest.approx(sk.average_precision_score(labels, scores),
                                                                      rel=1e-13)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4)), min_size=1, max_size=12))
def test_small_curves_as_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    labels, scores = np.array(pairs).T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, of missing classes
        np.testing.assert_allclose(metrics.roc_auc(labels, scores), sk.roc_auc_score(labels, scores), rtol=1e-13)
        for mine, theirs in ((metrics.roc_curve, sk.roc_curve),
                             (metrics.precision_recall_curve, sk.precision_recall_curve)):
            for a, b in zip(mine(labels, scores), theirs(labels, scores), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-13)
        np.testing.assert_allclose(metrics.average_precision(labels, scores),
                                   sk.average_precision_score(labels, scores), rtol=1e-13)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=10))
def test_few_classes_as_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = np.array(pairs).T
    known = {"labels": range(4), "average": None, "zero_division": 0}
    np.testing.assert_allclose(metrics.f1(labels, predicted, 4), sk.f1_score(labels, predicted, **known), rtol=1e-14)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert metrics.balanced_accuracy(labels, predicted) == pytest.approx(
            sk.balanced_accuracy_score(labels, predicted))


def test_areas_of_many_classes_are_means() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 3, 50), rng.integers(1, 6, (50, 3)).astype(float)
    scores /= scores.sum(axis=1, keepdims=True)  # scikit-learn wants probabilities
    assert metrics.roc_auc(labels, scores) == pytest.approx(sk.roc_auc_score(labels, scores, multi_class="ovr"))
    assert metrics.average_precision(labels, scores) == pytest.approx(sk.average_precision_score(labels, scores))


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    labels, scores = binary(1, 30, 5)
    pairs = [(scores[i] > scores[j]) + (scores[i] == scores[j]) / 2
             for i, j in itertools.product(range(30), repeat=2) if labels[i] > labels[j]]
    assert metrics.roc_auc(labels, scores) == pytest.approx(np.mean(pairs))


def test_one_class_alone() -> None:
    assert math.isnan(metrics.roc_auc([1, 1], [0.1, 0.2]))
    assert math.isnan(metrics.roc_auc([0, 0], [0.1, 0.2]))
    assert str(metrics.average_precision([0, 0], [0.1, 0.2])) == "0.0"
    assert metrics.average_precision([1, 1], [0.1, 0.2]) == 1
    assert metrics.sensitivity([0, 0], [0, 1]) == 0
    assert metrics.specificity([1, 1], [0, 1]) == 0


# --- McNemar's test -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (5, 5), (3, 9), (40, 20), (300, 260), (3000, 2700)])
def test_mcnemar_is_the_binomial_test(first: int, second: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    labels = np.zeros(first + second + 7, int)
    one, other = labels.copy(), labels.copy()
    other[:first] = 1
    one[first : first + second] = 1
    one[-2:] = other[-2:] = 1  # both wrong, which must not count
    found = metrics.mcnemar(labels, one, other)
    assert found[:2] == (first, second)
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert found.p == pytest.approx(expected, rel=1e-9)
    assert metrics.mcnemar(labels, other, one) == (second, first, found.p)


def test_mcnemar_by_counting() -> None:
    """Count all 2^n outcomes of n coins that are at least as uneven."""
    for n, fewer in ((5, 1), (6, 3), (9, 0)):
        labels, one = np.zeros(n, int), np.zeros(n, int)
        one[:fewer] = 1
        splits = [sum(coins) for coins in itertools.product((0, 1), repeat=n)]
        share = sum(min(heads, n - heads) <= fewer for heads in splits) / 2**n
        assert metrics.mcnemar(labels, one, 1 - one).p == pytest.approx(share)


# --- odd input ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: metrics.accuracy([], []), ShapeError, r"accuracy: labels must be \(N,\).*not empty, got \(0,\)"),
    (lambda: metrics.accuracy([1, 0], [1]), ShapeError, r"predicted must be \(N,\), as long as labels.*got \(1,\)"),
    (lambda: metrics.f1([1, 0], [[1, 0], [0, 1]]), ShapeError, r"got \(2, 2\).*argmax"),
    (lambda: metrics.f1([1, 0], [0.1, 0.9]), DtypeError, r"predicted must hold integers.*got float64; scores.argmax"),
    (lambda: metrics.recall([1, -1], [1, 0]), ArgumentError, r"classes must lie in \[0, 2\), got -1 to 1"),
    (lambda: metrics.recall([1, 0], [1, -1]), ArgumentError, r"classes must lie in \[0, 2\), got -1 to 1"),
    (lambda: metrics.recall([1, 4], [1, 0], 3), ArgumentError, r"classes must lie in \[0, 3\), got 0 to 4"),
    (lambda: metrics.recall([1, 0], [1, 3], 3), ArgumentError, r"classes must lie in \[0, 3\), got 0 to 3"),
    (lambda: metrics.classification_report([0, 2], [0, 1], ["a", "b"]), ArgumentError, r"are all classes named"),
    (lambda: metrics.roc_curve([0, 1], [[0.1, 0.2], [0.3, 0.4]]), ShapeError, r"scores must be \(2,\).*got \(2, 2\)"),
    (lambda: metrics.roc_auc([0, 1], [[0.1, 0.2], [0.3, 0.4]]), ShapeError, r"\(N,\) for two classes.*\[:, 1\]\?"),
    (lambda: metrics.roc_auc([0, 1, 2], [0.1, 0.2, 0.3]), ArgumentError, r"labels must be 0 and 1, got up to 2"),
    (lambda: metrics.roc_auc([0, 1], [0.1, float("nan")]), ArgumentError, r"scores must be finite"),
    (lambda: metrics.roc_auc([0, 1], ["a", "b"]), ArgumentError, r"scores must be finite"),
    (lambda: metrics.average_precision([0, 3], np.ones((2, 3))), ShapeError, r"labels below 4; got \(2, 3\)"),
    (lambda: metrics.roc_auc([0, 1, 2], np.ones((2, 3))), ShapeError, r"with N = 3 and .* got \(2, 3\)"),
    (lambda: metrics.roc_auc([0, 1, 2], np.ones((3, 3, 1))), ShapeError, r"got \(3, 3, 1\)"),
    (lambda: metrics.calibration_error([0, 1], [0.5, 0.5], 0), ShapeError, "bins at least 1, got .* and 0"),
    (lambda: metrics.calibration_error([0, 1], [0.5, 0.5], True), ShapeError, "bins at least 1, got .* and True"),
    (lambda: metrics.calibration_error([0, 1], [-0.1, 0.5]), ArgumentError, r"must lie in \[0, 1\]"),
    (lambda: metrics.calibration_error([0, 1], [1.0001, 0.5]), ArgumentError, r"must lie in \[0, 1\]"),
    (lambda: metrics.calibration_error([0, 1], [0.5]), ShapeError, r"\(N, K\) with N = 2, .* got \(1,\) and 15"),
    *((function, DtypeError, "masked") for function in (
        lambda: metrics.calibration_error([0, 1], HIDDEN), lambda: metrics.calibration_error(HIDDEN > 0, [0.5, 0.5]),
        lambda: metrics.roc_auc([0, 1], HIDDEN), lambda: metrics.roc_curve([0, 1], HIDDEN),
        lambda: metrics.average_precision([0, 1], HIDDEN), lambda: metrics.accuracy(HIDDEN > 0, [0, 1]),
        lambda: metrics.confusion_matrix([0, 1], HIDDEN > 0), lambda: metrics.recall(HIDDEN > 0, [0, 1]))),
    (lambda: metrics.accuracy([-1], [-2]), ArgumentError, r"classes must lie in \[0, 1\), got -2 to -1"),
    (lambda: metrics.calibration_error([0, 1], np.full((2, 1, 1), 0.5)), ShapeError, r"got \(2, 1, 1\) and 15"),
])
def test_odd_input_is_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("name", [name for name in metrics.__all__ if name not in ("McNemar", "mcnemar", "per_class")])
def test_an_error_names_the_function_that_was_called(name: str) -> None:
    with pytest.raises(ShapeError, match=f"^{name}: "):
        getattr(metrics, name)([0, 1, 1], [0.5, 1.0])


def test_booleans_and_unsigned_integers_are_classes_and_numbers() -> None:
    assert metrics.accuracy(np.array([True, False, True]), np.array([1, 0, 0], np.uint8)) == 2 / 3
    assert metrics.mean_absolute_error(np.array([True, False]), np.array([0, 0], np.uint8)) == 0.5
    assert metrics.mean_squared_error(np.array([3], np.uint8), np.array([250], np.uint8)) == 247**2
    many = np.arange(40, dtype=np.uint8)
    assert (metrics.confusion_matrix(many, many[::-1]) == np.eye(40)[::-1]).all()
    assert metrics.confusion_matrix(many > 30, many > 20).tolist() == [[21, 10], [0, 9]]


@pytest.mark.parametrize("dtype", ["uint8", "uint64", "int8", "bool", "float16", "float32"])
def test_scores_of_any_dtype(dtype: str) -> None:
    """The negative of an unsigned number is positive."""
    labels, scores = np.array([0, 1, 0, 1, 1, 0]), np.array([0, 7, 1, 7, 3, 0]).astype(dtype)
    assert metrics.roc_auc(labels, scores) == sk.roc_auc_score(labels, scores.astype(float))
    assert metrics.average_precision(labels, scores) == pytest.approx(
        sk.average_precision_score(labels, scores.astype(float)), rel=1e-12)


def test_scores_beyond_the_precision_of_floats() -> None:
    """2^53 and 2^53 + 1 are equal as floats."""
    scores = np.array([2**53, 2**53 + 1, 2**53 + 2])
    assert metrics.roc_auc([0, 1, 1], scores) == metrics.average_precision([0, 1, 1], scores) == 1
    assert metrics.roc_auc([1, 0, 0], scores) == 0


@pytest.mark.parametrize("seed", range(4))
def test_many_labels_as_scikit_learn(seed: int) -> None:
    """One label is never true, and another never predicted."""
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, 2, (2, 30, 4))
    labels[:, 0] = predicted[:, 1] = 0
    given = {"average": None, "zero_division": 0}
    assert metrics.exact_match(labels, predicted) == sk.accuracy_score(labels, predicted)
    assert metrics.hamming_loss(labels, predicted) == pytest.approx(sk.hamming_loss(labels, predicted))
    assert metrics.micro_f1(labels, predicted) == pytest.approx(sk.f1_score(labels, predicted, average="micro"))
    for mine, theirs in ((metrics.precision, sk.precision_score), (metrics.recall, sk.recall_score),
                         (metrics.f1, sk.f1_score)):
        np.testing.assert_allclose(mine(labels, predicted), theirs(labels, predicted, **given), rtol=1e-14)
        np.testing.assert_array_equal(mine(labels == 1, predicted == 1), mine(labels, predicted.astype("float32")))
    assert metrics.per_label(labels, predicted)["support"].tolist() == labels.sum(axis=0).tolist()


def test_of_no_labels_none_are_found() -> None:
    nothing = np.zeros((3, 2), int)
    assert metrics.micro_f1(nothing, nothing) == metrics.hamming_loss(nothing, nothing) == 0
    assert metrics.exact_match(nothing, nothing) == 1 and metrics.f1(nothing, nothing).tolist() == [0, 0]


@pytest.mark.parametrize("shape", [(20,), (20, 3), (2, 1)])
def test_regression_as_scikit_learn(shape: tuple[int, ...]) -> None:
    targets, predicted = np.random.default_rng(0).standard_normal((2, *shape)).astype("float32").astype("float64")
    for mine, theirs in ((metrics.mean_absolute_error, sk.mean_absolute_error),
                         (metrics.mean_squared_error, sk.mean_squared_error),
                         (metrics.root_mean_squared_error, sk.root_mean_squared_error), (metrics.r2, sk.r2_score)):
        assert mine(targets, predicted) == pytest.approx(theirs(targets, predicted), rel=1e-12)
        assert mine(targets.astype("float32"), predicted) == pytest.approx(theirs(targets, predicted), rel=1e-12)


@pytest.mark.parametrize("predicted", [[2.0, 2.0, 2.0], [2.0, 2.0, 3.0]])
def test_targets_that_are_all_equal(predicted: list[float]) -> None:
    targets = [2.0, 2.0, 2.0]
    assert metrics.r2(targets, predicted) == sk.r2_score(targets, predicted)
    both = np.stack([targets, [1.0, 5.0, 3.0]], axis=1), np.stack([predicted, [2.0, 5.0, 2.0]], axis=1)
    assert metrics.r2(*both) == pytest.approx(sk.r2_score(*both))


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: metrics.exact_match([1, 0], [1, 0]), ShapeError, r"exact_match: .* must be \(N,K\) and .* got \(2,\)"),
    (lambda: metrics.f1([[1, 0]], [[1]]), ShapeError, r"per_label: .* got \(1, 2\) and \(1, 1\)"),
    *((lambda call=call: call(np.ones((0, 2)), np.ones((0, 2))), ShapeError, r"not empty, got \(0, 2\) and \(0, 2\)")
      for call in (metrics.exact_match, metrics.hamming_loss, metrics.micro_f1, metrics.f1)),
    (lambda: metrics.exact_match(np.ones((2, 0)), np.ones((2, 0))), ShapeError, r"not empty, got \(2, 0\)"),
    (lambda: metrics.hamming_loss([[1, 0]], [[1, 0], [0, 1]]), ShapeError, r"got \(1, 2\) and \(2, 2\)"),
    (lambda: metrics.micro_f1([[1, 0]], [[0.5, 1]]), ArgumentError, r"micro_f1: predicted must hold 0 and 1"),
    (lambda: metrics.hamming_loss([[1, 2]], [[0, 1]]), ArgumentError, r"hamming_loss: labels must hold 0 and 1"),
    *((lambda one=one: metrics.r2(one, one), ArgumentError, r"r2: targets must have at least 2 samples, got 1")
      for one in ([1.0], [[1.0, 2.0]])),
    (lambda: metrics.mean_squared_error([1.0, 2.0], [[1.0], [2.0]]), ShapeError, r"got \(2,\) and \(2, 1\)"),
    (lambda: metrics.mean_absolute_error([], []), ShapeError, r"not empty"),
    (lambda: metrics.mean_squared_error(1.0, 2.0), ShapeError, r"got \(\) and \(\)"),
    (lambda: metrics.r2([1, 2], ["a", "b"]), ArgumentError, r"must hold numbers, got int64 and <U1"),
    (lambda: metrics.r2(["a", "b"], [1, 2]), ArgumentError, r"must hold numbers, got <U1 and int64"),
])
def test_faults_of_labels_and_numbers_are_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
