"""The two figures of the paper for each of its tables: training and validation accuracy over the epochs."""

from collections.abc import Sequence
from functools import partial

from paper.reporting import figures
from paper.reporting.figures import Figures
from paper.reporting.goals import NAMES
from paper.reporting.grouping import by_model
from paper.reporting.records import Record
from paper.reporting.tables import subject


def accuracy_curves(runs: Sequence[Record], *, first: int, title: str) -> Figures:
    """Two figures with the paper's numbers, `first` and `first` + 1."""
    models, made = by_model(runs).items(), {}
    for number, (curve, what, how) in enumerate((("train_accuracy", "training accuracy", ", while learning"),
                                                 ("validation_accuracy", "validation accuracy", ""))):
        lines = {NAMES.get(model, model): [run["curves"][curve] for run in some] for model, some in models}
        made[f"figure{first + number}.png"] = partial(
            figures.curves, models=lines, ylabel=f"{what}{how} (%)", title=f"{subject(runs, title)}: {what}")
    return made
