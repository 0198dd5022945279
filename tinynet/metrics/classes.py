"""Figures of predicted classes. The conventions stand in `tinynet/metrics/__init__.py`."""

import math
from collections.abc import Sequence
from typing import NamedTuple

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
    true, found, _ = as_classes("accuracy", labels, predicted, None)
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
    return _table("confusion_matrix", labels, predicted, classes)


def _table(function: str, labels: ArrayLike, predicted: ArrayLike, classes: int | None = None) -> Array:
    true, found, count = as_classes(function, labels, predicted, classes)
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
    return per_label(true, predicted) if true.ndim == 2 else per_class(_table(function, true, predicted, classes))


def balanced_accuracy(labels: ArrayLike, predicted: ArrayLike) -> float:
    """The mean recall of the classes that occur in `labels`, so that rare classes count as much as frequent ones.

    >>> balanced_accuracy([0, 0, 0, 1], [0, 0, 0, 0])
    0.5
    """
    table = _table("balanced_accuracy", labels, predicted)
    support = table.sum(axis=1)
    return float((table.diagonal()[support > 0] / support[support > 0]).mean())


def sensitivity(labels: ArrayLike, predicted: ArrayLike, positive: int = 1) -> float:
    """The share of positives that are predicted as such: the recall of class `positive`, all others being negative.

    >>> sensitivity([1, 1, 1, 0], [1, 1, 0, 0]).__round__(3)
    0.667
    """
    true, found, _ = as_classes("sensitivity", labels, predicted, None)
    return float(share_of((found == positive)[true == positive].sum(), (true == positive).sum()))


def specificity(labels: ArrayLike, predicted: ArrayLike, positive: int = 1) -> float:
    """The share of negatives that are predicted as such: samples of other classes not predicted as `positive`.

    >>> specificity([1, 1, 0, 0], [1, 1, 1, 0])
    0.5
    """
    true, found, _ = as_classes("specificity", labels, predicted, None)
    return float(share_of((found != positive)[true != positive].sum(), (true != positive).sum()))


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
    true, one, _ = as_classes("mcnemar", labels, first, None)
    _, other, _ = as_classes("mcnemar", labels, second, None)
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
    table = _table("classification_report", labels, predicted, None if names is None else len(names))
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


def as_classes(function: str, labels: ArrayLike, predicted: ArrayLike, classes: int | None) -> tuple[Array, Array, int]:
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
