"""Training and validation error over the epochs, which the paper shows in two figures for each of its tables."""

import statistics
from collections.abc import Sequence
from functools import partial

from paper.reporting import figures
from paper.reporting.figures import Drawing, Panel
from paper.reporting.goals import NAMES
from paper.reporting.grouping import by_model
from paper.reporting.records import Record
from paper.reporting.tables import percent, subject

PARTS = {"train": "training, while learning", "validation": "validation"}


def error_curves(runs: Sequence[Record], *, title: str) -> Drawing:
    """The figure of an experiment: training beside validation, with a row for each of several folds."""
    models = by_model(runs)
    folds = sorted({run["fold"] for some in models.values() for run in some})
    rows = [[_panel({model: [run for run in some if run["fold"] == fold] for model, some in models.items()}, part,
                    f", tested on {fold_title(fold)}" * (len(folds) > 1)) for part in PARTS] for fold in folds]
    several = any(len(lines) > 1 for row in rows for panel in row for lines in panel.lines.values())
    caption = ("100 - accuracy after each epoch, on one logarithmic scale: a straight line is a constant factor per "
               f"epoch. {'Lines are means over the seeds, in bands from the lowest to the highest. ' * several}"
               f"{_seen(rows)}")
    return Drawing(partial(figures.curves, rows=rows, title=f"{subject(runs, title)}: errors over the epochs"), caption)


def fold_title(fold: str) -> str:
    """A fold in a title: a patient, or one of several folds of patients.

    >>> fold_title("14082"), fold_title("fold3")
    ('patient 14082', 'fold 3')
    """
    return fold.replace("fold", "fold ") if fold.startswith("fold") else f"patient {fold}"


def _panel(models: dict[str, list[Record]], part: str, remark: str) -> Panel:
    some = next(iter(models.values()))
    return Panel(PARTS[part] + remark, {NAMES.get(model, model): [run["curves"][f"{part}_accuracy"] for run in runs]
                                        for model, runs in models.items()}, max(1, int(some[0]["data"][part])))


def _seen(rows: Sequence[Sequence[Panel]]) -> str:
    """What the figure shows: the errors after the last epoch."""
    said = []
    for place, name in enumerate(PARTS.values()):
        last = {model: statistics.fmean(lines[-1] for row in rows for lines in row[place].lines[model])
                for model in rows[0][place].lines}
        best, worst = max(last, key=last.__getitem__), min(last, key=last.__getitem__)
        ends = (f"{percent(1 - last[best])} % ({best}) to {percent(1 - last[worst])} % ({worst})" if len(last) > 1 else
                f"{percent(1 - last[best])} %")
        said.append(f"the {name.partition(',')[0]} error is {ends}")
    return (f"What to see: after the last epoch {said[0]}, and {said[1]}. Training is measured with dropout and "
            "augmented images, validation without.")
