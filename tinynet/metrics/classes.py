"""Figures of classification, and curves of scores. The conventions stand in `tinynet/metrics/__init__.py`."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinynet.errors import ArgumentError, DtypeError, ShapeError
from tinynet.metrics.labels import per_label, share_of
from tinynet.plain import plain_array
from tinynet.types import Array, ArrayLike


def accuracy(labels: ArrayLike, predicted: ArrayLike) -> float:
    """The share of correct predictions.

    >>> accuracy([0, 1, 1, 2], [0, 1, 2, 2])
    0.75
    """
    true, found, _ = _classes("accuracy", labels, predicted, None)
    return float((true == found).mean())


def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, classes: int | None = None) -> Array:
    """How often class i (the row) was predicted as class j (the column): (K, K), int64.

    Errors: ShapeError unless both are (N,) of the same N > 0; DtypeError unless they are integers; ArgumentError for a
    class below 0 or not below `classes`. The same holds for all functions of classes.

    >>> confusion_matrix([0, 1, 1, 2], [0, 1, 2, 2])
    array([[1, 0, 0],
           [0, 1, 1],
           [0, 0, 1]])
    """
    true, found, count = _classes("confusion_matrix", labels, predicted, classes)
    return np.bincount(true * count + found, minlength=count * count).reshape(count, count)


def per_class(table: ArrayLike) -> dict[str, Array]:
    """Precision, recall, F1 and support, the number of samples, of each class: four arrays (K,).

    table   a confusion matrix (K, K): the true classes in rows, the predicted ones in columns

    >>> per_class([[1, 0], [1, 2]])["recall"].round(3)
    array([1.   , 0.667])
    """
    counts = plain_array(table, "per_class: table")
    right, predicted, support = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    return {"precision": share_of(right, predicted), "recall": share_of(right, support),
            "f1": share_of(2 * right, predicted + support), "support": support}


def precision(labels: ArrayLike, predicted: ArrayLike, classes: int | None = None) -> Array:
    """For each class, or each of K labels, the share of its predictions that are correct: (K,).

    >>> precision([0, 1, 1, 2], [0, 1, 2, 2])
    array([1. , 1. , 0.5])
    """
    return _figures("precision", labels, predicted, classes)["precision"]


def recall(labels: ArrayLike, predicted: ArrayLike, classes: int | None = None) -> Array:
    """For each class, or each of K labels, the share of its samples that are predicted correctly: (K,).

    >>> recall([0, 1, 1, 2], [0, 1, 2, 2])
    array([1. , 0.5, 1. ])
    """
    return _figures("recall", labels, predicted, classes)["recall"]


def f1(labels: ArrayLike, predicted: ArrayLike, classes: int | None = None) -> Array:
    """For each class, or each of K labels, the harmonic mean of precision and recall: (K,). Its mean is "macro F1".

    >>> f1([0, 1, 1, 2], [0, 1, 2, 2]).round(3)
    array([1.   , 0.667, 0.667])
    """
    return _figures("f1", labels, predicted, classes)["f1"]


def _figures(function: str, labels: ArrayLike, predicted: ArrayLike, classes: int | None) -> dict[str, Array]:
    true = plain_array(labels, f"{function}: labels")
    return per_label(true, predicted) if true.ndim == 2 else per_class(confusion_matrix(true, predicted, classes))


def balanced_accuracy(labels: ArrayLike, predicted: ArrayLike) -> float:
    """The mean recall of the classes that occur in `labels`, so that rare classes count as much as frequent ones.

    >>> balanced_accuracy([0, 0, 0, 1], [0, 0, 0, 0])
    0.5
    """
    table = confusion_matrix(labels, predicted)
    support = table.sum(axis=1)
    return float((table.diagonal()[support > 0] / support[support > 0]).mean())


def sensitivity(labels: ArrayLike, predicted: ArrayLike, positive: int = 1) -> float:
    """The share of positives that are predicted as such: the recall of class `positive`, all others being negative.

    >>> sensitivity([1, 1, 1, 0], [1, 1, 0, 0]).__round__(3)
    0.667
    """
    true, found, _ = _classes("sensitivity", labels, predicted, None)
    return float(share_of((found == positive)[true == positive].sum(), (true == positive).sum()))


def specificity(labels: ArrayLike, predicted: ArrayLike, positive: int = 1) -> float:
    """The share of negatives that are predicted as such: samples of other classes not predicted as `positive`.

    >>> specificity([1, 1, 0, 0], [1, 1, 1, 0])
    0.5
    """
    true, found, _ = _classes("specificity", labels, predicted, None)
    return float(share_of((found != positive)[true != positive].sum(), (true != positive).sum()))


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[Array, Array, Array]:
    """The receiver operating characteristic: false positive rates, true positive rates, and their thresholds.

    labels (N,) are 0 and 1, scores (N,) finite numbers. At the first threshold, infinity, no sample counts as positive.
    Points on a straight line between others are left out. Without negatives, or positives, that rate is NaN.

    >>> false_positive, true_positive, thresholds = roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> false_positive, true_positive
    (array([0. , 0. , 0.5, 0.5, 1. ]), array([0. , 0.5, 0.5, 1. , 1. ]))
    """
    false, true, thresholds = _counts("roc_curve", labels, scores)
    if len(false) > 2:
        corner = np.r_[True, (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0), True]
        false, true, thresholds = false[corner], true[corner], thresholds[corner]
    false, true = np.r_[0, false], np.r_[0, true]
    with np.errstate(invalid="ignore"):
        return false / false[-1], true / true[-1], np.r_[np.inf, thresholds]


def roc_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """The area under the ROC curve: the probability that a positive scores higher than a negative; ties count half.

    For more than two classes, labels (N,) are 0 ... K - 1, scores are (N, K), and the result is the mean over classes,
    each against all others. NaN if a class does not occur, or no other class.

    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    def area(labels: ArrayLike, scores: ArrayLike) -> float:
        false, true, _ = roc_curve(labels, scores)
        return float(np.trapezoid(true, false))

    return _one_against_all("roc_auc", labels, scores, area)


def precision_recall_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[Array, Array, Array]:
    """Precisions, recalls, and their thresholds in rising order.

    The last point, precision 1 and recall 0, has no threshold. Without positives, all other recalls are 1.

    >>> precisions, recalls, thresholds = precision_recall_curve([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    >>> precisions.round(2), recalls
    (array([0.5 , 0.67, 0.5 , 1.  , 1.  ]), array([1. , 1. , 0.5, 0.5, 0. ]))
    """
    false, true, thresholds = _counts("precision_recall_curve", labels, scores)
    recalls = true / true[-1] if true[-1] else np.ones(len(true))
    return np.r_[share_of(true, true + false)[::-1], 1], np.r_[recalls[::-1], 0], thresholds[::-1]


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """The area under the precision-recall curve (PR-AUC), as the sum of steps: Σ (recall_n − recall_n₋₁) precision_n.

    For more than two classes as `roc_auc`. Without positives, 0.

    >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    def area(labels: ArrayLike, scores: ArrayLike) -> float:
        precisions, recalls, _ = precision_recall_curve(labels, scores)
        return float(-(np.diff(recalls) * precisions[:-1]).sum())

    return _one_against_all("average_precision", labels, scores, area)


def calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15, *, models: ArrayLike | None = None
                      ) -> float:
    """The expected calibration error (ECE): how far confidence is from accuracy, as a mean over bins of equal width.

    labels          integers (N)
    probabilities   (N, K), of which the highest is the confidence, in the answer that it belongs to; or (N), of class 1
    models          (N), comparable values: which of several models each row is from, such as those of the folds of a
                    cross-validation. The result is then the mean of the models' errors, weighted by their rows.
                    Without it, the overconfidence of one model and the underconfidence of another cancel.

    Source: Naeini, Cooper, Hauskrecht 2015; Guo et al. 2017.

    >>> round(calibration_error([0, 0, 1, 1], [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.2, 0.8]]), 4)  # 0.9 for 2 of 3
    0.225
    >>> calibration_error([1, 0], [0.9, 0.9], 1), calibration_error([1, 0], [0.9, 0.9], 1, models=[0, 1])
    (0.4, 0.5)
    """
    values, true = plain_array(probabilities, "calibration_error: probabilities"), plain_array(labels)
    true, _, _ = _classes("calibration_error", true, np.zeros(true.shape, int), None)
    if values.ndim not in (1, 2) or len(values) != len(true) or isinstance(bins, bool) or bins < 1:
        raise ShapeError(f"calibration_error: probabilities must be (N,) or (N, K) with N = {len(true)}, and bins at "
                         f"least 1, got {values.shape} and {bins}; tn.ops.softmax(scores)?")
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1 + 1e-6):
        raise ArgumentError("calibration_error: probabilities must lie in [0, 1], got others; tn.ops.softmax(scores)?")
    confidence, right = (values, true == 1) if values.ndim == 1 else (values.max(axis=1), values.argmax(axis=1) == true)
    place = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    if models is not None:  # bins of each model
        model = np.unique(plain_array(models, "calibration_error: models"), return_inverse=True)[1]
        if model.shape != place.shape:
            raise ShapeError(f"calibration_error: models must be {place.shape}, got {model.shape}; one for each row")
        place += bins * model
    gaps = np.bincount(place, weights=confidence - right)
    return float(np.abs(gaps).sum() / len(true))


class McNemar(NamedTuple):
    """The result of `mcnemar`: how many samples only the first or only the second got right, and the p-value.

    >>> mcnemar([0, 1, 1], [0, 1, 1], [0, 1, 0]).only_first
    1
    """

    only_first: int
    only_second: int
    p: float


def mcnemar(labels: ArrayLike, first: ArrayLike, second: ArrayLike) -> McNemar:
    """McNemar's exact test of whether two classifiers are equally good on the same samples.

    Only samples that one classifier gets right and the other wrong count. If both are equally good, each of them is a
    fair coin toss. `p` is the two-sided probability of a split at least as uneven, by the binomial distribution.

    Source: McNemar 1947, in its exact form.

    >>> mcnemar([0, 1, 1, 0, 1, 1], [0, 1, 1, 0, 1, 1], [1, 0, 0, 1, 0, 0])
    McNemar(only_first=6, only_second=0, p=0.03125)
    """
    true, one, _ = _classes("mcnemar", labels, first, None)
    _, other, _ = _classes("mcnemar", labels, second, None)
    only_first = int(((one == true) & (other != true)).sum())
    only_second = int(((one != true) & (other == true)).sum())
    n, fewer = only_first + only_second, min(only_first, only_second)
    term = total = 1  # binomial coefficients, exact integers
    for k in range(fewer):
        term = term * (n - k) // (k + 1)
        total += term
    return McNemar(only_first, only_second, min(1.0, _ratio(2 * total, n)))


def _ratio(numerator: int, exponent: int) -> float:
    """numerator / 2^exponent, for integers beyond the range of a float."""
    shift = max(numerator.bit_length() - 64, 0)
    return math.ldexp(float(numerator >> shift), shift - exponent)


def classification_report(labels: ArrayLike, predicted: ArrayLike, names: Sequence[str] | None = None,
                          digits: int = 2) -> str:
    """Precision, recall, F1 and the number of samples for each class, and their means, as text.

    `names` are those of all classes, 0 ... K - 1. The macro average weights classes equally, the weighted one by
    samples. The text is that of scikit-learn.

    >>> print(classification_report([0, 1, 1, 1], [0, 1, 1, 0], names=["cat", "dog"]))
                  precision    recall  f1-score   support
    <BLANKLINE>
             cat       0.50      1.00      0.67         1
             dog       1.00      0.67      0.80         3
    <BLANKLINE>
        accuracy                           0.75         4
       macro avg       0.75      0.83      0.73         4
    weighted avg       0.88      0.75      0.77         4
    <BLANKLINE>
    """
    table = confusion_matrix(labels, predicted, None if names is None else len(names))
    measures = per_class(table)
    support, columns = measures.pop("support"), np.stack(list(measures.values()))  # (K) and (3, K)
    names = names or [str(k) for k in range(len(table))]
    width = max(*map(len, names), len("weighted avg"), digits)

    def line(name: str, values: Sequence[float | str], count: int) -> str:
        cells = "".join(f" {value:>9.{digits}f}" if not isinstance(value, str) else f" {value:>9}" for value in values)
        return f"{name:>{width}} {cells} {count:>9}\n"

    head = f"{'':>{width}}  {'precision':>9} {'recall':>9} {'f1-score':>9} {'support':>9}\n"
    rows = "".join(line(name, columns[:, k].tolist(), int(support[k])) for k, name in enumerate(names))
    total = int(support.sum())
    return "\n".join([head, rows, line("accuracy", ["", "", accuracy(labels, predicted)], total)
                      + line("macro avg", columns.mean(axis=1).tolist(), total)
                      + line("weighted avg", np.average(columns, axis=1, weights=support).tolist(), total)])


def _classes(function: str, labels: ArrayLike, predicted: ArrayLike, classes: int | None) -> tuple[Array, Array, int]:
    """Both as arrays of int64, and the number of classes."""
    arrays = {"labels": plain_array(labels, f"{function}: labels"),
              "predicted": plain_array(predicted, f"{function}: predicted")}
    for name, array in arrays.items():
        if array.ndim != 1 or len(array) == 0 or len(array) != len(arrays["labels"]):
            raise ShapeError(f"{function}: {name} must be (N,), as long as labels and not empty, got {array.shape} for "
                             f"labels of {arrays['labels'].shape}; scores.argmax(axis=-1), or .reshape(-1)?")
        if array.dtype.kind not in "iub":
            raise DtypeError(f"{function}: {name} must hold integers, the numbers of classes, got {array.dtype}; "
                             "scores.argmax(axis=1)?")
    true, found = (array.astype(np.int64) for array in arrays.values())
    lowest, highest = min(int(true.min()), int(found.min())), max(int(true.max()), int(found.max()))
    count = highest + 1 if classes is None else classes
    if lowest < 0 or highest >= count:
        raise ArgumentError(f"{function}: classes must lie in [0, {max(count, 1)}), got {lowest} to {highest}; "
                            "are the labels numbered from 0, and are all classes named?")
    return true, found, count


def _counts(function: str, labels: ArrayLike, scores: ArrayLike) -> tuple[Array, Array, Array]:
    """For each distinct score, from the highest: the negatives and positives that reach it, and the score itself."""
    values, true = plain_array(scores, f"{function}: scores"), plain_array(labels, f"{function}: labels")
    true, _, count = _classes(function, true, np.zeros(true.shape, int), None)
    if values.shape != true.shape:
        raise ShapeError(f"{function}: scores must be {true.shape}, a score for each label, got {values.shape}; "
                         "probabilities[:, 1] for two classes?")
    if count > 2:
        raise ArgumentError(f"{function}: labels must be 0 and 1, got up to {count - 1}; labels == k for class k?")
    if values.dtype.kind not in "fiub" or not np.isfinite(values).all():
        raise ArgumentError(f"{function}: scores must be finite numbers, got some that are not; "
                            "did the training diverge?")
    ranks = np.unique(values, return_inverse=True)[1]  # whole numbers beyond 2^53 would be equal as floats
    order = np.argsort(-ranks.reshape(-1), kind="stable")
    values, true = values[order], true[order]
    last = np.r_[np.nonzero(values[1:] != values[:-1])[0], len(values) - 1]  # of each run of equal scores
    positives = true.cumsum()[last]
    return last + 1 - positives, positives, values[last]


def _one_against_all(function: str, labels: ArrayLike, scores: ArrayLike, area: Any) -> float:
    values, true = plain_array(scores, f"{function}: scores"), plain_array(labels, f"{function}: labels")
    if values.ndim < 2:
        return float(area(true, values))
    true, _, count = _classes(function, true, np.zeros(true.shape, int), None)
    if values.ndim != 2 or values.shape[0] != len(true) or values.shape[1] < max(count, 3):
        raise ShapeError(f"{function}: scores must be (N,) for two classes, or (N, K) for K of at least 3, with N = "
                         f"{len(true)} and labels below {count}; got {values.shape}; probabilities[:, 1]?")
    return float(np.mean([area((true == k).astype(np.int64), values[:, k]) for k in range(values.shape[1])]))
