"""Runs side by side: those of each model, under equal conditions, and the test images of a seed over all folds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import records
from goals import NAMES
from records import Record

from tinynet.errors import DataError

Runs = Mapping[str, Sequence[Record]]  # by experiment


def by_model(runs: Iterable[Record]) -> dict[str, list[Record]]:
    """The runs of each model, in the order of NAMES, by seed and fold. Raises DataError for unequal conditions."""
    runs = sorted(runs, key=lambda run: (run["seed"], run["fold"]))
    check_equal(runs)
    order = [*NAMES, *sorted({run["model"] for run in runs} - set(NAMES))]
    found = {name: [run for run in runs if run["model"] == name] for name in order}
    return {name: some for name, some in found.items() if some}


def check_equal(runs: Sequence[Record]) -> None:
    """Raise DataError if runs that stand in one table differ in anything but model, seed and fold."""
    first: dict[str, Record] = {}
    for run in runs:
        other = first.setdefault(run["fold"], run)
        pairs = {"settings": (other["settings"], run["settings"]), "data": (other["data"], run["data"]),
                 "test images": (other["labels"], run["labels"])}
        differing = [name for name, (there, here) in pairs.items() if there != here]
        if differing:
            raise DataError(f"results: runs of {run['experiment']} must be made under equal conditions, but "
                            f"{title(other)} and {title(run)} differ in {', '.join(differing)}; leave one out")


def title(run: Record) -> str:
    return records.name_of(run["model"], run["seed"], run["fold"])


class Pooled(NamedTuple):
    """All test images of one seed, over the folds: each was seen by the model that had not trained on its patient."""

    labels: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray | None

    @property
    def right(self) -> int:
        return int((self.labels == self.predicted).sum())

    @property
    def accuracy(self) -> float:
        return self.right / len(self.labels)


def pooled(runs: Sequence[Record]) -> dict[int, Pooled]:
    """By seed. Seeds that lack a fold that others have are left out."""
    folds = {run["fold"] for run in runs}
    found = {}
    for seed in sorted({run["seed"] for run in runs}):
        some = [run for run in runs if run["seed"] == seed]
        if {run["fold"] for run in some} == folds:
            scores = [run.scores for run in some if run.scores is not None]
            found[seed] = Pooled(np.concatenate([run.labels for run in some]),
                                 np.concatenate([run.predicted for run in some]),
                                 np.concatenate(scores) if len(scores) == len(some) else None)
    return found
