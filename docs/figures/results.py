"""The runs of examples/results: true and predicted classes, and scores, for the figures of two chapters."""

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from docs.site.drawing import Drawing

FOLDER = Path(__file__).parents[2] / "examples" / "results"


class Run(NamedTuple):
    """A model of one seed on the test images. `scores` are probabilities of class 1; empty for more classes."""

    labels: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray

    @property
    def accuracy(self) -> float:
        return float((self.labels == self.predicted).mean())


@cache
def runs(pattern: str) -> list[Run]:
    """The runs of the files with a name like this, in the order of their seeds."""
    found = []
    for path in sorted(FOLDER.glob(pattern)):
        fields = json.loads(path.read_text("utf-8"))
        labels, predicted = (np.array([*map(int, fields[name])]) for name in ("labels", "predicted"))
        found.append(Run(labels, predicted, np.array(fields.get("scores") or [])))
    if not found:
        raise FileNotFoundError(f"{FOLDER} holds no {pattern}")
    return found


def draw() -> Drawing:
    drawing = Drawing("The number of runs of the paper's first table", height=40)
    drawing.text(8, 26, f"{len(runs('mnist_table1-*.json'))} runs")
    return drawing
