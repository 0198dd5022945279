"""Intervals and corrected p-values of the examples, against SciPy, their definitions, and their coverage."""

import doctest
import math
from fractions import Fraction

import numpy as np
import pytest

from tinynet import intervals

stats = pytest.importorskip("scipy.stats")



def test_examples_in_the_text() -> None:
    assert doctest.testmod(intervals, optionflags=doctest.ELLIPSIS).failed == 0


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 34, 99, 1000])
@pytest.mark.parametrize("level", [0.5, 0.95, 1 - 0.05 / 6, 0.9999])
def test_student(freedom: int, level: float) -> None:
    assert intervals.t_quantile(freedom, level) == pytest.approx(stats.t.ppf((1 + level) / 2, freedom), rel=1e-9)


@pytest.mark.parametrize("level", [0.95, 0.99])
@pytest.mark.parametrize("n", [2, 5, 35])
def test_the_mean_of_some_runs(n: int, level: float) -> None:
    values = np.random.default_rng(n).normal(0.99, 0.001, n)
    found = intervals.mean_of(values.tolist(), level)
    assert found[:2] == pytest.approx((values.mean(), values.std(ddof=1)))
    low, high = stats.t.interval(level, n - 1, values.mean(), stats.sem(values))
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high), rel=1e-9)


def test_the_mean_of_one_run() -> None:
    assert intervals.mean_of([0.5]) == (0.5, 0, 0)


@pytest.mark.parametrize(("right", "n"), [(9920, 10000), (0, 10), (10, 10), (1, 2), (417, 480), (10000, 10000)])
def test_wilson(right: int, n: int) -> None:
    theirs = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert intervals.wilson(right, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert 0 <= intervals.wilson(right, n)[0] <= intervals.wilson(right, n)[1] <= 1


def test_of_nothing_nothing_is_known() -> None:
    assert intervals.wilson(0, 0) == intervals.by_groups(np.zeros(0, bool), np.zeros(0, int)) == (0, 1)
    scores = np.linspace(0, 1, 5)
    for labels in ([0] * 5, [1] * 5, [0, 0, 0, 0, 1]):
        assert intervals.delong(np.array(labels), scores) == (0, 1)


def curve(seed: int, positives: int, negatives: int, levels: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([1, 0], [positives, negatives]))
    scores = rng.normal(size=len(labels)) + 1.5 * labels
    return labels, np.floor(scores * levels) if levels else scores


@pytest.mark.parametrize("levels", [0, 2])
@pytest.mark.parametrize(("positives", "negatives"), [(40, 25), (2, 7), (30, 30)])
def test_delong_by_its_definition(positives: int, negatives: int, levels: int) -> None:
    labels, scores = curve(positives, positives, negatives, levels)
    wins = [[Fraction(1) if x > y else Fraction(1, 2) if x == y else Fraction(0) for y in scores[labels == 0]]
            for x in scores[labels == 1]]
    area = sum(map(sum, wins)) / positives / negatives
    of_positives = [sum(row) / negatives for row in wins]
    of_negatives = [sum(column) / positives for column in zip(*wins, strict=True)]
    variance = sum(sum((part - area) ** 2 for part in parts) / (len(parts) - 1) / len(parts)
                   for parts in (of_positives, of_negatives))
    half = 1.959963984540054 * math.sqrt(variance)
    assert intervals.delong(labels, scores) == pytest.approx((max(0, area - half), min(1, area + half)), abs=1e-12)


def test_delong_and_balanced_hold_what_they_promise() -> None:
    """The true value is in about 95 of 100 intervals."""
    area, rng, inside = stats.norm.cdf(1.5 / math.sqrt(2)), np.random.default_rng(5), np.zeros(2)
    for seed in range(600):
        low, high = intervals.delong(*curve(seed, 80, 50))
        inside[0] += low <= area <= high
        low, high = intervals.balanced([(int(rng.binomial(80, 0.95)), 80), (int(rng.binomial(50, 0.7)), 50)])
        inside[1] += low <= 0.825 <= high
    assert (np.abs(inside / 600 - 0.95) < 0.027).all(), inside / 600  # three standard deviations


def test_balanced_is_wilson_for_one_share() -> None:
    assert intervals.balanced([(9, 10), (0, 0)]) == pytest.approx(intervals.wilson(9, 10))


@pytest.mark.parametrize("seed", range(5))
def test_holm_by_its_definition(seed: int) -> None:
    p_values = np.random.default_rng(seed).choice([0.001, 0.004, 0.01, 0.03, 0.2, 0.9], 7).tolist()
    ranked, expected = sorted(p_values), []
    for p in p_values:
        place = ranked.index(p)  # the largest factor of equal ones counts
        expected.append(min(1.0, max((7 - k) * ranked[k] for k in range(place + 1))))
    assert intervals.holm(p_values) == pytest.approx(expected)


def test_holm_finds_as_many_as_may_be_found() -> None:
    assert intervals.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert intervals.holm([0.5, 0.9]) == [1, 1]
    assert intervals.holm([]) == []


def test_resampling_by_groups() -> None:
    rng = np.random.default_rng(0)
    right, alone = rng.random(400) < 0.8, np.arange(400)
    one_by_one, wilson = intervals.by_groups(right, alone), intervals.wilson(int(right.sum()), 400)
    assert np.allclose(one_by_one, wilson, atol=0.01)
    assert intervals.by_groups(right, alone) == one_by_one  # the same draws
    assert intervals.by_groups(np.arange(40) % 5 > 0, np.arange(40) ** 2 % 7) == pytest.approx((21 / 29, 39 / 47))
    fours = np.repeat(rng.random(100) < 0.8, 4)  # the four images of a patient are alike: twice as wide
    low, high = intervals.by_groups(fours, alone // 4)
    assert 1.7 < (high - low) / np.diff(intervals.wilson(int(fours.sum()), 400))[0] < 2.3
    assert intervals.by_groups(right, alone * 0) == (0.0, 1.0)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_resampling_weighs_groups_by_their_images(level: float) -> None:
    """The share of all drawn images, and the quantiles of its level."""
    sizes = np.array([300, 1, 1, 2, 40, 5, 80])
    groups = np.repeat(np.arange(7), sizes)
    right = np.random.default_rng(2).random(len(groups)) < np.repeat([0.9, 0.0, 0.0, 0.2, 0.6, 0.1, 0.8], sizes)
    drawn = np.random.default_rng(3).integers(0, 7, (40_000, 7))
    hits = np.bincount(groups, weights=right)
    shares = hits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    expected = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2])
    order = np.random.default_rng(4).permutation(len(groups))
    np.testing.assert_allclose(intervals.by_groups(right, groups, level), expected, atol=0.02)
    assert intervals.by_groups(right[order], groups[order], level) == intervals.by_groups(right, groups, level)


@pytest.mark.long
def test_resampling_by_groups_covers() -> None:
    rng, covered = np.random.default_rng(1), 0
    for _ in range(400):
        share = rng.beta(4, 1, 60)
        right = rng.random((60, 5)) < share[:, None]
        low, high = intervals.by_groups(right.ravel(), np.repeat(np.arange(60), 5))
        covered += low <= 0.8 <= high
    assert 0.91 < covered / 400 < 0.98
