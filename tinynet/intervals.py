"""The uncertainty of numbers: intervals, and corrections for several tests. The tests compare with SciPy.

    mean_of(accuracies)            # mean, standard deviation and half of Student's interval over some runs
    wilson(right, n)               # the interval of a share
    balanced([(right, n), ...])    # the interval of a mean of shares
    delong(labels, scores)         # the interval of an area under the ROC curve
    by_groups(right, patients)     # the interval of a share, if the images of a patient resemble each other
    holm(p_values)                 # p-values of several tests, corrected for their number
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from tinynet.random import stream, uniform

RESAMPLED = 2000  # times
LEVEL = 0.95  # of all intervals; a p below 1 - LEVEL is called significant


class Mean(NamedTuple):
    """Mean and standard deviation of some runs, and half of the interval of the mean; the last are 0 for one run."""

    mean: float
    deviation: float
    half: float


@cache
def t_quantile(freedom: int, level: float = LEVEL) -> float:
    """The t of Student's distribution for which the share `level` of it is between -t and t.

    With t = √freedom tan(angle), this share is a finite sum of sines and cosines (Abramowitz and Stegun, 26.7.3 and
    26.7.4).

    >>> round(t_quantile(4), 3)
    2.776
    """
    def inside(angle: float) -> float:
        sine, cosine, power = math.sin(angle), math.cos(angle), freedom % 2
        term, total = cosine**power, 0.0
        while power <= freedom - 2:
            total += term
            term *= (power + 1) / (power + 2) * cosine * cosine
            power += 2
        return 2 / math.pi * (angle + sine * total) if freedom % 2 else sine * total

    low, high = 0.0, math.pi / 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) < level else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def mean_of(values: Iterable[float], level: float = LEVEL) -> Mean:
    """Mean, standard deviation, and half of the t-interval of the mean.

    >>> mean_of([1.0, 2.0, 3.0])
    Mean(mean=2.0, deviation=1.0, half=2.484...)
    """
    values = list(values)
    if len(values) < 2:
        return Mean(values[0], 0.0, 0.0)
    deviation, root = statistics.stdev(values), math.sqrt(len(values))
    return Mean(statistics.fmean(values), deviation, t_quantile(len(values) - 1, level) * deviation / root)


def wilson(right: int, n: int) -> tuple[float, float]:
    """The interval of a share, from `right` of `n` (Wilson, 1927). From 0 to 1 for n = 0.

    >>> tuple(round(end, 3) for end in wilson(9, 10))
    (0.596, 0.982)
    """
    if not n:
        return 0.0, 1.0
    share, whole, z = right / n, 1 + _z() ** 2 / n, _z()
    middle, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)


def balanced(shares: Iterable[tuple[int, int]]) -> tuple[float, float]:
    """The interval of the mean of shares (right, n) of different images: Zou and Donner, 2008, from Wilson's intervals.

    >>> tuple(round(end, 3) for end in balanced([(9, 10), (9, 10)]))
    (0.685, 0.958)
    """
    seen = [(right / n, *wilson(right, n)) for right, n in shares if n]
    middle = statistics.fmean(share for share, _, _ in seen)
    down, up = (math.hypot(*(share - ends[side] for share, *ends in seen)) / len(seen) for side in (0, 1))
    return middle - down, middle + up


def delong(labels: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """The interval of the area under the ROC curve of labels 0 and 1 (DeLong, DeLong and Clarke-Pearson, 1988).

    From 0 to 1 with fewer than two of each class.

    >>> tuple(round(end, 3) for end in delong(np.array([0, 0, 0, 1, 1, 1]), np.array([0.1, 0.3, 0.6, 0.4, 0.5, 0.9])))
    (0.291, 1.0)
    """
    negatives, positives = np.sort(scores[labels == 0]), np.sort(scores[labels == 1])
    if min(len(negatives), len(positives)) < 2:
        return 0.0, 1.0

    def below(these: np.ndarray, those: np.ndarray) -> np.ndarray:
        """For each of those, the share of these below it; ties count half."""
        return np.asarray(sum(np.searchsorted(these, those, side) for side in ("left", "right")) / (2 * len(these)))

    parts = below(negatives, positives), 1 - below(positives, negatives)
    error = math.sqrt(sum(part.var(ddof=1) / len(part) for part in parts))
    area = float(parts[0].mean())
    return max(0.0, area - _z() * error), min(1.0, area + _z() * error)


def by_groups(right: np.ndarray, groups: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a share whose elements come in groups: the bootstrap by whole groups (Davison and Hinkley, 1997).

    right    bool (N), such as whether the prediction of an image is correct
    groups   (N), such as its patient

    The share is computed `RESAMPLED` times from as many groups, drawn with replacement; the interval leaves out equal
    tails. From 0 to 1 with fewer than two groups. The draws are always the same.

    >>> by_groups(np.array([1, 1, 0, 0]), np.array(["a", "a", "b", "b"]))
    (0.0, 1.0)
    """
    _, group = np.unique(groups, return_inverse=True)
    count = int(group.max(initial=-1)) + 1
    if count < 2:
        return 0.0, 1.0
    hits, sizes = np.bincount(group, weights=right), np.bincount(group)
    drawn = (uniform((RESAMPLED, count), (0, stream("bootstrap")), 0) * count).astype(np.int64).clip(0, count - 1)
    shares = hits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of several tests, corrected for their number (Holm, 1979), in their order.

    >>> holm([0.04, 0.01])
    [0.04, 0.02]
    """
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


@cache
def _z() -> float:
    """The z for which the share LEVEL of the normal distribution is between -z and z."""
    return statistics.NormalDist().inv_cdf((1 + LEVEL) / 2)
