"""Is one model better than another? All pairs of some models, on the same test images and seed by seed."""

from collections.abc import Mapping
from itertools import combinations, islice
from typing import NamedTuple

from paper.reporting.grouping import Pooled
from tinynet import metrics
from tinynet.errors import DataError
from tinynet.intervals import LEVEL, Mean, holm, mean_of


class Comparison(NamedTuple):
    """Two models: the difference of their accuracies, and McNemar's test for each seed that both have.

    The statements about all pairs hold together with a probability of LEVEL. For this, the interval of `difference` is
    corrected for the number of pairs (Bonferroni), and `corrected` are the p-values corrected for all tests (Holm).
    """

    difference: Mean
    tests: list[metrics.McNemar]
    corrected: list[float]

    @property
    def wins(self) -> tuple[int, int]:
        """The numbers of seeds for which the first and the second model is better by McNemar's test."""
        significant = [test for test, p in zip(self.tests, self.corrected, strict=True) if p < 1 - LEVEL]
        first = sum(test.only_first > test.only_second for test in significant)
        return first, len(significant) - first

    @property
    def verdict(self) -> int:
        """1 if the first model is better, -1 if the second is, 0 if neither is shown to be."""
        if len(self.tests) == 1:
            return self.wins[0] - self.wins[1]
        mean, _, half = self.difference
        return 0 if abs(mean) <= half else 1 if mean > 0 else -1


def compare(models: Mapping[str, Mapping[int, Pooled]]) -> dict[tuple[str, str], Comparison]:
    """Compare all pairs of models by seed. Raises DataError if two models have no seed in common."""
    pairs, tests = list(combinations(models, 2)), {}
    for a, b in pairs:
        first, second = models[a], models[b]
        tests[a, b] = {seed: metrics.mcnemar(first[seed].labels, first[seed].predicted, second[seed].predicted)
                       for seed in first if seed in second}
        if not tests[a, b]:
            raise DataError(f"results: {a} and {b} must have runs with the same seeds to be compared, and have none; "
                            "the same command without --seed makes them")
    corrected = iter(holm([test.p for some in tests.values() for test in some.values()]))
    return {(a, b): Comparison(mean_of((models[a][seed].accuracy - models[b][seed].accuracy for seed in some),
                                       1 - (1 - LEVEL) / len(pairs)),
                               list(some.values()), list(islice(corrected, len(some))))
            for (a, b), some in tests.items()}
