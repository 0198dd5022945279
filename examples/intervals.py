"""How sure a number is: intervals, written out."""

import math
import statistics
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

LEVEL = 0.95  # of all intervals; a p below 1 - LEVEL is called significant


class Mean(NamedTuple):
    """The mean of some runs, their standard deviation, and half of the interval of the mean; both 0 for one run."""

    mean: float
    deviation: float
    half: float


@cache
def t_quantile(freedom: int, level: float = LEVEL) -> float:
    """Student's t: the middle `level` of the distribution lies between minus this and this.

    >>> round(t_quantile(4), 3)
    2.776
    """
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)

    def inside(t: float, steps: int = 1000) -> float:  # Simpson's rule, from -t to t
        values = [(1 + (t * i / steps) ** 2 / freedom) ** (-(freedom + 1) / 2) for i in range(steps + 1)]
        return 2 * scale * t / steps / 3 * math.fsum([values[0], values[-1], *(4 * v for v in values[1:-1:2]),
                                                      *(2 * v for v in values[2:-1:2])])

    low, high = 0.0, 64.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) < level else (low, middle)
    return low


def mean_of(values: Iterable[float]) -> Mean:
    """Mean, standard deviation, and half of the t-interval of the mean.

    >>> mean_of([1.0, 2.0, 3.0])
    Mean(mean=2.0, deviation=1.0, half=2.484...)
    """
    values = list(values)
    if len(values) < 2:
        return Mean(values[0], 0.0, 0.0)
    deviation = statistics.stdev(values)
    return Mean(statistics.fmean(values), deviation, t_quantile(len(values) - 1) * deviation / math.sqrt(len(values)))


def wilson(right: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a share of which `right` of `n` were seen (Wilson, 1927).

    >>> tuple(round(end, 3) for end in wilson(9, 10))
    (0.596, 0.982)
    """
    z = statistics.NormalDist().inv_cdf((1 + level) / 2)
    share, whole = right / n, 1 + z * z / n
    middle, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)
