"""Figures of many labels: each sample may have none, one, or several of K labels."""

from typing import Any

import numpy as np

from tinynet.errors import ArgumentError, ShapeError
from tinynet.plain import plain_array
from tinynet.types import Array, ArrayLike


def exact_match(labels: ArrayLike, predicted: ArrayLike) -> float:
    """The share of samples with all labels right.

    >>> exact_match([[1, 0], [1, 1]], [[1, 0], [1, 0]])
    0.5
    """
    true, found = _both("exact_match", labels, predicted)
    return float((true == found).all(axis=1).mean())


def hamming_loss(labels: ArrayLike, predicted: ArrayLike) -> float:
    """The share of labels, over all samples, that are wrong.

    >>> hamming_loss([[1, 0], [1, 1]], [[1, 0], [1, 0]])
    0.25
    """
    true, found = _both("hamming_loss", labels, predicted)
    return float((true != found).mean())


def per_label(labels: ArrayLike, predicted: ArrayLike) -> dict[str, Array]:
    """Precision, recall, F1 and support, the number of samples, of each label: four arrays (K,).

    >>> per_label([[1, 0], [1, 1]], [[1, 0], [0, 1]])["recall"]
    array([0.5, 1. ])
    """
    true, found = _both("per_label", labels, predicted)
    right, support, predictions = (true & found).sum(axis=0), true.sum(axis=0), found.sum(axis=0)
    return {"precision": share_of(right, predictions), "recall": share_of(right, support),
            "f1": share_of(2 * right, predictions + support), "support": support}


def micro_f1(labels: ArrayLike, predicted: ArrayLike) -> float:
    """F1 of all labels of all samples counted together. The mean of `f1` counts each label alike: "macro F1".

    >>> round(micro_f1([[1, 0], [1, 1]], [[1, 0], [0, 1]]), 3)
    0.8
    """
    true, found = _both("micro_f1", labels, predicted)
    return float(share_of(2 * (true & found).sum(), true.sum() + found.sum()))


def share_of(part: Any, whole: Any) -> Any:
    """part / whole, and 0 where both are 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) > 0)


def _both(function: str, labels: ArrayLike, predicted: ArrayLike) -> tuple[Array, Array]:
    """Both as booleans (N,K)."""
    true, found = plain_array(labels, f"{function}: labels"), plain_array(predicted, f"{function}: predicted")
    if true.ndim != 2 or true.shape != found.shape or not true.size:
        raise ShapeError(f"{function}: labels and predicted must be (N,K) and not empty, got {true.shape} and "
                         f"{found.shape}; logits > 0 for the predictions?")
    for name, array in (("labels", true), ("predicted", found)):
        if not ((array == 0) | (array == 1)).all():
            raise ArgumentError(f"{function}: {name} must hold 0 and 1 alone, got {array.min()} to {array.max()}; "
                                "logits > 0, or probabilities > 0.5?")
    return true == 1, found == 1
