"""Text and figures of the experiment on IDC, table II."""

from collections.abc import Sequence
from functools import partial

from paper.reporting import figures
from paper.reporting.curves import accuracy_curves
from paper.reporting.figures import Figures
from paper.reporting.goals import CRUZ_ROA, NAMES
from paper.reporting.grouping import Runs, by_model, pooled
from paper.reporting.records import Record
from paper.reporting.tables import accuracies, comparisons, percent, spread, subject, table
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


def of_patients(runs: Sequence[Record]) -> str:
    """How the patches are split, and with fewer than three patients, a warning: parts of slides are validated on."""
    patients = {run["fold"] for run in runs}
    split = ("Split by patient: each patch is predicted by a model that was not trained on its patient"
             + ", and the patches of all patients are pooled" * (len(patients) > 1))
    if not any("strip" in run["data"]["parted"] for run in runs):
        return f"{split}."
    few, split = (f"{len(patients)} patients", split) if len(patients) > 1 else (
        "one patient", "The test images are another part of the training slide")
    return (f"**This is a smoke test: the patches are of {few} only. The results cannot be compared with "
            f"published ones, and say nothing about other patients.** {split}.")


def idc_figures(runs: Runs) -> Figures:
    made, signs = accuracy_curves(runs["idc_table2"], first=8, title="IDC"), ("negative", "positive")
    for model, some in by_model(runs["idc_table2"]).items():
        seed, one = next(iter(pooled(some).items()))
        made[f"{model}_confusion.png"] = partial(
            figures.heat_map, table=metrics.confusion_matrix(one.labels, one.predicted, 2),
            classes=[f"{name} ({sign})" for name, sign in zip(some[0]["classes"], signs, strict=True)],
            title=f"{NAMES.get(model, model)} on {subject(some, 'IDC')}:\nall test patches, seed {seed}")
    return made
