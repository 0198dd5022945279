"""Curves and figures of scores. The conventions stand in `tinynet/metrics/__init__.py`."""

from typing import Any

import numpy as np

from tinynet.errors import ArgumentError, ShapeError
from tinynet.metrics.classes import as_classes
from tinynet.metrics.labels import share_of
from tinynet.plain import plain_array
from tinynet.types import Array, ArrayLike


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
        false, true, _ = _counts("roc_auc", labels, scores)
        with np.errstate(invalid="ignore"):
            return float(np.trapezoid(np.r_[0, true], np.r_[0, false]) / np.float64(true[-1] * false[-1]))

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
        false, true, _ = _counts("average_precision", labels, scores)
        steps = np.diff(true, prepend=0) / max(true[-1], 1)  # of the recall
        return float((steps * share_of(true, true + false)).sum())

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
    true, _, _ = as_classes("calibration_error", true, np.zeros(true.shape, int), None)
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


def _counts(function: str, labels: ArrayLike, scores: ArrayLike) -> tuple[Array, Array, Array]:
    """For each distinct score, from the highest: the negatives and positives that reach it, and the score itself."""
    values, true = plain_array(scores, f"{function}: scores"), plain_array(labels, f"{function}: labels")
    true, _, count = as_classes(function, true, np.zeros(true.shape, int), None)
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
    true, _, count = as_classes(function, true, np.zeros(true.shape, int), None)
    if values.ndim != 2 or values.shape[0] != len(true) or values.shape[1] < max(count, 3):
        raise ShapeError(f"{function}: scores must be (N,) for two classes, or (N, K) for K of at least 3, with N = "
                         f"{len(true)} and labels below {count}; got {values.shape}; probabilities[:, 1]?")
    return float(np.mean([area((true == k).astype(np.int64), values[:, k]) for k in range(values.shape[1])]))
