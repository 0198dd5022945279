"""Text and figures of the experiment on IDC, table II."""

import statistics
from collections.abc import Sequence
from functools import partial

from paper.reporting import figures
from paper.reporting.curves import error_curves
from paper.reporting.figures import Drawing, Figures
from paper.reporting.goals import CRUZ_ROA, NAMES
from paper.reporting.grouping import Runs, by_model, pooled
from paper.reporting.records import Record
from paper.reporting.tables import accuracies, comparisons, listed, percent, spread, subject, table
from tinynet import metrics
from tinynet.intervals import mean_of


def idc(runs: Runs) -> str:
    own = runs["idc_table2"]
    measured = {"accuracy": lambda one: one.accuracy,
                "balanced accuracy": lambda one: metrics.balanced_accuracy(one.labels, one.predicted),
                "F1": lambda one: float(metrics.f1(one.labels, one.predicted, 2)[1]),
                "PR-AUC": lambda one: metrics.average_precision(one.labels, one.scores)}
    models = by_model(own)
    rows, one_fold = [], []
    for model, some in models.items():
        found = pooled(some)
        cells = [" (".join(spread(mean_of(map(measure, found.values())), len(found))) + ")"
                 for measure in measured.values()]
        rows.append([NAMES.get(model, model), *cells])
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
        table(["model", *(f"{name}, mean ± sd (95 %)" for name in measured)], rows),
        "By the patient of the test part, means over the seeds:" if len({run["fold"] for run in own}) > 1 else
        "All test images, means over the seeds:",
        table(["model", "patient", "patches", *measured], one_fold), comparisons("idc_table2", own),
        "McNemar's test assumes independent patches. Those of one patient are not, so its p is too small."])


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
    panels = {NAMES.get(model, model) + f", patient {fold}" * bool(fold):
              [metrics.confusion_matrix(run.labels, run.predicted, 2) for run in some if run["fold"] == fold]
              for fold in folds for model, some in models.items()}
    classes = next(iter(models.values()))[0]["classes"]
    paint = partial(figures.confusions, panels=panels, columns=len(models),
                    classes=[f"{name} ({sign})" for name, sign in zip(classes, signs, strict=True)],
                    title=f"{subject(own, 'IDC')}: test patches, means over the seeds")
    found = {fold: statistics.fmean(metrics.sensitivity(run.labels, run.predicted) for some in models.values()
                                    for run in some if run["fold"] == fold) for fold in folds}
    shares = listed([f"{percent(share)} %" + f" (patient {fold})" * bool(fold) for fold, share in found.items()])
    caption = ("A column for each model" + ", a row for each patient of the test part" * (len(folds) > 1)
               + f". What to see: of the positive patches, the models find {shares} on average.")
    return {"idc_table2_error": error_curves(own, title="IDC"), "idc_table2_confusion": Drawing(paint, caption)}
