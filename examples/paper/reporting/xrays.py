"""Text and figures of the experiment on chest X-rays."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from paper.reporting import figures
from paper.reporting.curves import error_curves
from paper.reporting.figures import Drawing, Figures
from paper.reporting.goals import NAMES, XRAY
from paper.reporting.grouping import Pooled, Runs, by_model, pooled
from paper.reporting.tables import interval, minutes, percent, reached, spread, subject, table
from tinynet import metrics
from tinynet.intervals import balanced, delong, mean_of, wilson


def pneumonia(runs: Runs, experiment: str = "pneumonia_cnn_lstm") -> str:
    own, = by_model(runs[experiment]).values()
    found, positive = pooled(own), own[0]["classes"][1]
    every, seeds = together(found), len(found)
    rows = []
    for name, measure in MEASURES.items():
        ours = mean_of(measure.of(one) for one in found.values())
        rows.append([name, *spread(ours, seeds, measure.factor, measure.digits), measure.shown(every),
                     measure.ends(every), *(reached(measure.factor * ours.mean, wanted)
                                            for wanted in XRAY[experiment].get(name, (None, None)))])
    each = [[str(seed), *(f"{measure.shown(one)} ({measure.ends(one)})".removesuffix(" ()")
                          for measure in MEASURES.values())]
            for seed, one in found.items()]
    first_seed, first = next(iter(found.items()))
    report = metrics.classification_report(first.labels, first.predicted, own[0]["classes"], digits=4)
    validation = statistics.fmean(run["curves"]["validation_accuracy"][-1] for run in own)
    return "\n\n".join([
        f"**Not a diagnostic tool.** An image counts as {positive} if its probability is above 0.5; this rule was "
        "fixed beforehand. \"Together\" are the mean probabilities of the networks of all seeds, also fixed "
        f"beforehand. The network has {own[0]['parameters']:,} parameters for images of "
        f"{' x '.join(map(str, own[0]['settings']['input']))}, and was trained in "
        f"{minutes(statistics.fmean(run['seconds'] for run in own))}. Its accuracy on the validation images is "
        f"{percent(validation)} %. {chosen_by(experiment)}In Kaggle's set the test part is harder than the training "
        "part, with other shares of the classes. It is not known whether a number in file names of both parts belongs "
        "to one child.",
        "Intervals over the seeds hold for other seeds on these images. Intervals over the images (Wilson's; for the "
        "AUC, DeLong's) hold for other images, assuming that no two are of one child. The calibration error is the "
        "expected one with 15 bins: how far the probability of PNEUMONIA is from its frequency.",
        table(["test images", "mean of the seeds ± sd", "95 % over the seeds", "together", "95 % over the images",
               "target", "aim"], rows),
        "Each seed, with 95 % intervals over the images:",
        table(["seed", *MEASURES], each),
        f"Confusion matrix of seed {first_seed} (rows are the true classes):",
        table(["", *own[0]["classes"]], [[name, *(f"{count:,}" for count in counts)] for name, counts in
                                         zip(own[0]["classes"], confusion(first), strict=True)]),
        f"```\n{report.rstrip()}\n```"])


def chosen_by(experiment: str) -> str:
    """Where the recipe comes from, if another section of RESULTS.md tells it."""
    return ("The recipe was chosen by `examples/xray_selection.py` before the first of these runs; the section on the "
            "choice shows its figures. " if experiment == "pneumonia_selected" else "")


def together(found: Mapping[int, Pooled]) -> Pooled:
    """The predictions of the mean probabilities of all seeds."""
    first = next(iter(found.values()))
    scores = np.mean([one.scores for one in found.values()], axis=0)
    return Pooled(first.labels, (scores > 0.5).astype(np.int64), scores)


def confusion(one: Pooled) -> np.ndarray:
    return metrics.confusion_matrix(one.labels, one.predicted, 2)


def pneumonia_figures(runs: Runs, experiment: str = "pneumonia_cnn_lstm") -> Figures:
    some, = by_model(runs[experiment]).values()
    name, short = NAMES[some[0]["model"]], experiment.removesuffix("_cnn_lstm")
    found = pooled(some)
    every = together(found) if len(found) > 1 else None
    what = f"{name} on {subject(some, 'chest X-rays')}"
    panels = {"mean of the seeds" if every else f"seed {some[0]['seed']}": [confusion(one) for one in found.values()],
              **({"all seeds together": [confusion(every)]} if every else {})}
    best, who = (every, "all seeds together") if every else (next(iter(found.values())), "the network")
    shown = {measure: MEASURES[measure].shown(best) for measure in ("sensitivity", "specificity", "AUC")}
    return {
        f"{short}_error": error_curves(some, title=what),
        f"{short}_confusion": Drawing(
            partial(figures.confusions, panels=panels, classes=some[0]["classes"], columns=len(panels),
                    title=f"{what}: test part"),
            f"What to see: for {who}, {shown['sensitivity']} % of the images with pneumonia are found, and "
            f"{shown['specificity']} % of those without it raise no alarm."),
        f"{short}_roc": Drawing(
            partial(figures.roc, seeds=[ranked(one) for one in found.values()], together=every and ranked(every),
                    name=name, title=f"{what}: ROC curves, test part"),
            "Thin: each seed; thick: the mean of their probabilities. " * bool(every)
            + f"The rectangle is enlarged on the right. What to see: the area is {shown['AUC']} for {who}, and at the "
            f"threshold of 0.5, {percent(1 - metrics.specificity(best.labels, best.predicted))} % of the images "
            "without pneumonia are false alarms, and "
            f"{percent(1 - metrics.sensitivity(best.labels, best.predicted))} % of those with it are missed.")}


def ranked(one: Pooled) -> figures.Ranked:
    assert one.scores is not None  # there are two classes
    return figures.Ranked(one.labels, one.predicted, one.scores)


# --- measures -------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Measure:
    """A measure of predictions on two classes: its value, its interval if it has one, both shown times `factor`."""

    of: Callable[[Pooled], float]
    interval_of: Callable[[Pooled], tuple[float, float]] | None = None
    factor: float = 100
    digits: int = 2

    def shown(self, one: Pooled) -> str:
        return f"{self.factor * self.of(one):.{self.digits}f}"

    def ends(self, one: Pooled) -> str:
        return interval(self.interval_of(one), self.factor, self.digits) if self.interval_of else ""


def of_class(one: Pooled, k: int) -> tuple[int, int]:
    """The numbers of correct and of all images of class k."""
    row = confusion(one)[k]
    return int(row[k]), int(row.sum())


MEASURES = {
    "accuracy": Measure(lambda one: one.accuracy, lambda one: wilson(one.right, len(one.labels))),
    "sensitivity": Measure(lambda one: metrics.sensitivity(one.labels, one.predicted),
                           lambda one: wilson(*of_class(one, 1))),
    "specificity": Measure(lambda one: metrics.specificity(one.labels, one.predicted),
                           lambda one: wilson(*of_class(one, 0))),
    "balanced accuracy": Measure(lambda one: metrics.balanced_accuracy(one.labels, one.predicted),
                                 lambda one: balanced(of_class(one, k) for k in (0, 1))),
    "AUC": Measure(lambda one: metrics.roc_auc(one.labels, one.scores), lambda one: delong(one.labels, one.scores),
                   factor=1, digits=4),
    "calibration error": Measure(lambda one: metrics.calibration_error(one.labels, one.scores), factor=1, digits=4)}
