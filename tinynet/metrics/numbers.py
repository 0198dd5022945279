"""Figures of a regression: targets and predictions are numbers, arrays of one shape, the first axis being samples."""

import numpy as np

from tinynet.errors import ArgumentError, ShapeError
from tinynet.plain import plain_array
from tinynet.types import Array, ArrayLike


def mean_absolute_error(targets: ArrayLike, predicted: ArrayLike) -> float:
    """The mean of |target - prediction| over all elements.

    >>> mean_absolute_error([1.0, 2.0], [1.0, 4.0])
    1.0
    """
    true, found = _both("mean_absolute_error", targets, predicted)
    return float(abs(true - found).mean())


def mean_squared_error(targets: ArrayLike, predicted: ArrayLike) -> float:
    """The mean of (target - prediction)² over all elements.

    >>> mean_squared_error([1.0, 2.0], [1.0, 4.0])
    2.0
    """
    true, found = _both("mean_squared_error", targets, predicted)
    return float(((true - found) ** 2).mean())


def root_mean_squared_error(targets: ArrayLike, predicted: ArrayLike) -> float:
    """The root of the mean squared error of each output, and the mean of these roots over the outputs.

    >>> root_mean_squared_error([1.0, 2.0], [1.0, 4.0]).__round__(3)
    1.414
    """
    true, found = _both("root_mean_squared_error", targets, predicted)
    return float(np.sqrt(((true - found) ** 2).mean(axis=0)).mean())


def r2(targets: ArrayLike, predicted: ArrayLike) -> float:
    """The coefficient of determination, 1 - Σ (target - prediction)² / Σ (target - mean)²; the mean over the outputs.

    1 is perfect, and 0 what the mean of the targets gets. An output whose targets are all equal counts 1 if it is
    predicted exactly, else 0.

    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    0.5
    """
    true, found = _both("r2", targets, predicted)
    if len(true) < 2:
        raise ArgumentError("r2: targets must have at least 2 samples, got 1; mean_squared_error for a single one?")
    rest, spread = ((true - found) ** 2).sum(axis=0), ((true - true.mean(axis=0)) ** 2).sum(axis=0)
    without = np.where(rest == 0, 1.0, 0.0)
    return float(np.where(spread == 0, without, 1 - rest / np.where(spread == 0, 1, spread)).mean())


def _both(function: str, targets: ArrayLike, predicted: ArrayLike) -> tuple[Array, Array]:
    """Both as float64."""
    true, found = plain_array(targets, f"{function}: targets"), plain_array(predicted, f"{function}: predicted")
    if true.shape != found.shape or not true.ndim or not true.size:
        raise ShapeError(f"{function}: targets and predicted must be of one shape and not empty, got {true.shape} and "
                         f"{found.shape}; outputs (N,1) for targets (N): outputs[:, 0]?")
    if {true.dtype.kind, found.dtype.kind} - set("fiub"):
        raise ArgumentError(f"{function}: targets and predicted must hold numbers, got {true.dtype} and {found.dtype}; "
                            "are the targets text?")
    return true.astype(np.float64), found.astype(np.float64)
