"""Groups of runs: those of each model under equal conditions, and the test images of a seed over all folds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from paper.reporting import records
from paper.reporting.goals import NAMES
from paper.reporting.records import Record
from tinynet.errors import DataError

Runs = Mapping[str, Sequence[Record]]  # by experiment


def by_model(runs: Iterable[Record]) -> dict[str, list[Record]]:
    """The runs of each model, in the order of NAMES, by seed and fold, without those of `incomplete`.

    Raises DataError for unequal conditions, or if no run is left.
    """
    runs = sorted(runs, key=lambda run: (run["seed"], run["fold"]))
    check_equal(runs)
    missing = incomplete(runs)
    whole = [run for run in runs if run not in missing]
    if runs and not whole:
        raise DataError(f"results: {runs[0]['experiment']} must have runs of all folds of a seed, and has none; the "
                        "same command makes the missing ones")
    order = [*NAMES, *sorted({run["model"] for run in whole} - set(NAMES))]
    found = {name: [run for run in whole if run["model"] == name] for name in order}
    return {name: some for name, some in found.items() if some}


def incomplete(runs: Sequence[Record]) -> list[Record]:
    """The runs whose seed lacks other folds, so that their test images are not those of the other seeds."""
    folds = {run["fold"] for run in runs}
    there: dict[tuple[str, int], set[str]] = {}
    for run in runs:
        there.setdefault((run["model"], run["seed"]), set()).add(run["fold"])
    return [run for run in runs if there[run["model"], run["seed"]] != folds]


def check_equal(runs: Sequence[Record]) -> None:
    """Raise DataError if runs of one table differ in more than model, seed and fold, or if one is there twice.

    Data and test images must be equal within a fold.
    """
    first: dict[str, Record] = {}
    seen: set[str] = set()
    for run in runs:
        other = first.setdefault(run["fold"], run)
        pairs = {"settings": (runs[0]["settings"], run["settings"]), "classes": (runs[0]["classes"], run["classes"]),
                 "data": (other["data"], run["data"]), "test images": (other["labels"], run["labels"])}
        differing = [name for name, (there, here) in pairs.items() if there != here]
        if differing:
            unlike = other if {"data", "test images"} & {*differing} else runs[0]
            raise DataError(f"results: runs of {run['experiment']} must be made under equal conditions, but "
                            f"{title(unlike)} and {title(run)} differ in {', '.join(differing)}; leave one out")
        if title(run) in seen:
            raise DataError(f"results: {run['experiment']} must have each run once, and has {title(run)} twice; "
                            "remove one of its files")
        seen.add(title(run))


def title(run: Record) -> str:
    return records.name_of(run["model"], run["seed"], run["fold"])


class Pooled(NamedTuple):
    """All test images of one seed, over the folds: each predicted by the model that was not trained on its patient."""

    labels: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray | None

    @property
    def right(self) -> int:
        return int((self.labels == self.predicted).sum())

    @property
    def accuracy(self) -> float:
        return self.right / len(self.labels)


def pooled(runs: Iterable[Record]) -> dict[int, Pooled]:
    """The runs of one model, from `by_model`, pooled by seed."""
    some: dict[int, list[Record]] = {}
    for run in runs:
        some.setdefault(run["seed"], []).append(run)
    return {seed: Pooled(np.concatenate([run.labels for run in folds]),
                         np.concatenate([run.predicted for run in folds]),
                         None if folds[0].scores is None else np.concatenate([run.scores for run in folds]))
            for seed, folds in some.items()}
