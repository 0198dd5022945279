"""Is one model better than another? Compared on the same test images, seed by seed."""

from collections.abc import Mapping
from typing import NamedTuple

from grouping import Pooled
from intervals import LEVEL, Mean, mean_of

from tinynet import metrics
from tinynet.errors import DataError


class Comparison(NamedTuple):
    """Two models on the same test images: the difference of accuracies over the seeds, and McNemar's test for each."""

    difference: Mean
    tests: list[metrics.McNemar]

    @property
    def verdict(self) -> int:
        """1 if the first is better, -1 if the second is, 0 if neither is shown to be."""
        if len(self.tests) == 1:
            only = self.tests[0]
            return 0 if only.p >= 1 - LEVEL else 1 if only.only_first > only.only_second else -1
        mean, _, half = self.difference
        return 0 if abs(mean) <= half else 1 if mean > 0 else -1


def compare(first: Mapping[int, Pooled], second: Mapping[int, Pooled]) -> Comparison:
    """Compare two models on the seeds that both have. Raises DataError if there is none."""
    seeds = [seed for seed in first if seed in second]
    if not seeds:
        raise DataError("results: two models must have runs with the same seeds to be compared, and have none; "
                        "the same command without --seed makes them")
    return Comparison(mean_of(first[seed].accuracy - second[seed].accuracy for seed in seeds),
                      [metrics.mcnemar(first[seed].labels, first[seed].predicted, second[seed].predicted)
                       for seed in seeds])
