"""Text and figures of the experiment on IDC, table II."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from paper.reporting import figures
from paper.reporting.curves import error_curves, fold_title
from paper.reporting.figures import Drawing, Figures
from paper.reporting.goals import CRUZ_ROA, NAMES
from paper.reporting.grouping import Pooled, Runs, by_model, pooled
from paper.reporting.records import Record
from paper.reporting.tables import accuracies, comparisons, interval, listed, percent, spread, subject, table
from paper.reporting.xrays import together
from tinynet import metrics
from tinynet.intervals import LEVEL, balanced, mean_of, wilson
from tinynet.random import stream, uniform

RESAMPLED = 1_000


def idc(runs: Runs) -> str:
    own = runs["idc_table2"]
    measured = {"accuracy": lambda one: one.accuracy,
                "balanced accuracy": lambda one: metrics.balanced_accuracy(one.labels, one.predicted),
                "F1": lambda one: float(metrics.f1(one.labels, one.predicted, 2)[1]),
                "PR-AUC": lambda one: metrics.average_precision(one.labels, one.scores)}
    models = by_model(own)
    (head, rows), one_fold = spreads(models, measured), list[list[str]]()
    for model, some in models.items():
        for fold in sorted({run["fold"] for run in some}):
            alone = pooled(run for run in some if run["fold"] == fold).values()
            one_fold.append([NAMES.get(model, model), fold or "all", f"{len(next(iter(alone)).labels):,}",
                             *(percent(mean_of(map(measure, alone)).mean) for measure in measured.values())])
    labels = next(iter(pooled(next(iter(models.values()))).values())).labels
    share = float(labels.mean())
    rows.append(["always \"negative\"", percent(1 - share), "50.00", "0.00", percent(share)])
    rows.append(["Cruz-Roa 2014, whole set", *(f"{CRUZ_ROA[name]:.2f}" if name in CRUZ_ROA else ""
                                               for name in measured)])
    return "\n\n".join([
        f"{of_patients(own)} F1 and PR-AUC are of the positive class. Intervals are over the seeds, not over patients.",
        accuracies("idc_table2", own),
        table(head, rows), all_seeds(models),
        *at_thresholds(models, {name: measure for name, measure in measured.items() if name != "PR-AUC"}),
        "By the patient of the test part, means over the seeds:" if len({run["fold"] for run in own}) > 1 else
        "All test images, means over the seeds:",
        table(["model", "patient", "patches", *measured], one_fold), comparisons("idc_table2", own),
        "McNemar's test assumes independent patches. Those of one patient are not, so its p is too small."])


def at_thresholds(models: Mapping[str, Sequence[Record]], measured: Mapping[str, Callable[[Pooled], float]]
                  ) -> list[str]:
    """The same measures by the other rule: the thresholds that were chosen on the validation images."""
    if any("threshold" not in run.fields for some in models.values() for run in some):
        return []
    moved = {model: [at_threshold(run) for run in some] for model, some in models.items()}
    return ["By another rule, a patch counts as positive above the threshold of the highest balanced accuracy on the "
            "validation part of its run:",
            table(*spreads(moved, measured)), all_seeds(moved, "above the mean of their thresholds")]


def spreads(models: Mapping[str, Sequence[Record]], measured: Mapping[str, Callable[[Pooled], float]]
            ) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of a table: the measures of each model, over the seeds."""
    rows = []
    for model, some in models.items():
        found = pooled(some)
        cells = [" (".join(spread(mean_of(map(measure, found.values())), len(found))) + ")"
                 for measure in measured.values()]
        rows.append([NAMES.get(model, model), *cells])
    return ["model", *(f"{name}, mean ± sd (95 %)" for name in measured)], rows


def at_threshold(run: Record) -> Record:
    """A run by its own threshold, with scores moved so that this is 0.5, as it is for the mean over several seeds."""
    scores = run.scores - run["threshold"] + 0.5
    return replace(run, scores=scores, predicted=(scores > 0.5).astype(np.int64))


def all_seeds(models: Mapping[str, Sequence[Record]], rule: str = "at a threshold of 0.5") -> str:
    """The ensembles of all seeds: their measures, with intervals over the patches."""
    rows = []
    for model, some in models.items():
        one = together(pooled(some))
        table_of = metrics.confusion_matrix(one.labels, one.predicted, 2)
        shares = [(int(table_of[k, k]), int(table_of[k].sum())) for k in (0, 1)]
        measured = {"accuracy": (one.accuracy, wilson(one.right, len(one.labels))),
                    "balanced accuracy": (metrics.balanced_accuracy(one.labels, one.predicted), balanced(shares)),
                    "F1": (f1_of(table_of), f1_interval(table_of))}
        rows.append([NAMES.get(model, model), *(f"{percent(value)} ({interval(ends)})"
                                                for value, ends in measured.values())])
    return (f"The mean of the probabilities of all seeds, {rule}, with 95 % intervals over the patches "
            f"(Wilson's; Zou and Donner's; F1: {RESAMPLED:,} resamples), which hold for independent patches:\n\n"
            + table(["model", "accuracy", "balanced accuracy", "F1"], rows))


def f1_of(confusion: np.ndarray) -> float:
    """F1 of class 1 of a confusion matrix (2, 2), or of several (..., 2, 2); 0 without a positive.

    >>> round(f1_of(np.array([[5, 1], [2, 3]])), 3)
    0.667
    """
    positives = 2 * confusion[..., 1, 1] + confusion[..., 0, 1] + confusion[..., 1, 0]
    found = 2 * confusion[..., 1, 1] / np.maximum(positives, 1)
    return float(found) if found.ndim == 0 else found


def f1_interval(confusion: np.ndarray) -> tuple[float, float]:
    """The bootstrap interval of F1: quantiles over RESAMPLED tables of as many patches, drawn from this one."""
    cells = confusion.reshape(-1)
    total = int(cells.sum())
    tables = np.empty((RESAMPLED, 2, 2), np.int64)
    for step in range(RESAMPLED):
        draws = uniform((total,), (0, stream("F1")), step) * total
        drawn = np.searchsorted(np.cumsum(cells), draws, side="right").clip(0, 3)  # the cell of each patch
        tables[step] = np.bincount(drawn, minlength=4).reshape(2, 2)
    low, high = np.quantile(f1_of(tables), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def few_patients(runs: Sequence[Record]) -> str:
    """The number of patients if there are fewer than three, so that parts of slides are validated on; else ""."""
    count = len({run["fold"] for run in runs})
    if not any("strip" in run["data"]["parted"] for run in runs):
        return ""
    return f"{count} patients" if count > 1 else "one patient"


def of_patients(runs: Sequence[Record]) -> str:
    """How the patches are split, and with fewer than three patients, a warning."""
    patients, few = {run["fold"] for run in runs}, few_patients(runs)
    split = ("Split by patient: each patch is predicted by a model that was not trained on its patient"
             + ", and the patches of all patients are pooled" * (len(patients) > 1))
    if not few:
        return f"{split}."
    if len(patients) == 1:
        split = "The test images are another part of the training slide"
    return (f"**This is a smoke test: the patches are of {few} only. The results cannot be compared with "
            f"published ones, and say nothing about other patients.** {split}.")


def idc_figures(runs: Runs) -> Figures:
    own, signs = runs["idc_table2"], ("negative", "positive")
    models = by_model(own)
    folds = sorted({run["fold"] for some in models.values() for run in some})
    panels = {NAMES.get(model, model) + f", {fold_title(fold)}" * bool(fold):
              [metrics.confusion_matrix(run.labels, run.predicted, 2) for run in some if run["fold"] == fold]
              for fold in folds for model, some in models.items()}
    classes = next(iter(models.values()))[0]["classes"]
    paint = partial(figures.confusions, panels=panels, columns=len(models),
                    classes=[f"{name} ({sign})" for name, sign in zip(classes, signs, strict=True)],
                    title=f"{subject(own, 'IDC')}: test patches, means over the seeds")
    found = {fold: statistics.fmean(metrics.sensitivity(run.labels, run.predicted) for some in models.values()
                                    for run in some if run["fold"] == fold) for fold in folds}
    shares = listed([f"{percent(share)} %" + f" ({fold_title(fold)})" * bool(fold) for fold, share in found.items()])
    caption = ("A column for each model" + ", a row for each patient or fold of the test part" * (len(folds) > 1)
               + f". What to see: of the positive patches, the models find {shares} on average.")
    return {"idc_table2_error": error_curves(own, title="IDC"), "idc_table2_confusion": Drawing(paint, caption)}
