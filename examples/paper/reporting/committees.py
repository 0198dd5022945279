"""Committees of networks, which choose the class with the highest mean of their probabilities."""

import math
import statistics
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import numpy as np

from paper.reporting.grouping import Runs, by_model
from paper.reporting.records import Record
from tinynet.errors import DataError
from tinynet.random import permutation, stream

SUBSETS = 100  # the most committees of one size


class Committee(NamedTuple):
    """Committees of the networks of some runs: the mean, lowest and highest accuracy of each size.

    `predicted` are the classes with the highest mean probability of all networks.
    """

    labels: np.ndarray
    predicted: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def committee_of(runs: Sequence[Record]) -> Committee:
    """Evaluate all subsets of each size, or SUBSETS random ones. Raises DataError without probabilities."""
    return _committee_of(tuple(runs))


@lru_cache(maxsize=8)  # the tables and the figure need the same ones
def _committee_of(runs: tuple[Record, ...]) -> Committee:
    if any(run.probabilities is None for run in runs):
        raise DataError("results: the runs of a committee must hold probabilities, and some do not; make them again")
    members, labels = len(runs), runs[0].labels
    units = np.stack([np.rint(255 * run.probabilities) for run in runs]).astype(np.float32)  # exact sums
    found, together = [], np.zeros((0, 0))
    for size in range(1, members + 1):
        chosen = np.zeros((min(SUBSETS, math.comb(members, size)), members), np.float32)
        subsets = (combinations(range(members), size) if math.comb(members, size) <= SUBSETS else
                   (permutation(members, key=(0, stream("committee")), step=step * members + size)[:size]
                    for step in range(SUBSETS)))
        for row, subset in zip(chosen, subsets, strict=True):
            row[list(subset)] = 1
        sums = chosen @ units.reshape(members, -1)  # (subsets, N K)
        together = sums.reshape(len(chosen), *units.shape[1:]).argmax(axis=2)
        shares = (together == labels).mean(axis=1).tolist()
        found.append((statistics.fmean(shares), min(shares), max(shares)))
    return Committee(labels, together[0], *np.array(found).T)


def committees(runs: Runs) -> dict[str, Committee]:
    """The committees of the LSTM-CNN networks and, if trained, of the deep ones and of both together."""
    own, = by_model(runs["mnist_committee"]).values()
    found = {"LSTM-CNN": committee_of(own)}
    others = [run for some in by_model(runs.get("mnist_deep", ())).values() for run in some]
    if others and others[0]["labels"] == own[0]["labels"]:
        found["deep LSTM-CNN"] = committee_of(others)
        found["both"] = committee_of([*own, *others])
    return found
