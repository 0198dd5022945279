"""What is said of each experiment, and what is drawn."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import figures
import numpy as np
from committees import SUBSETS, committees
from goals import CIRESAN, COMMITTEE_AIM, CRUZ_ROA, NAMES, XRAY
from grouping import Pooled, Runs, by_model, check_equal, pooled
from intervals import mean_of, wilson
from records import Record
from tables import accuracies, comparisons, conditions, minutes, percent, reached, spread, table, warning

from tinynet import metrics

# --- the experiments ------------------------------------------------------------------------------------------------

def table1(runs: Runs) -> str:
    return f"{accuracies('mnist_table1', runs['mnist_table1'])}\n\n{comparisons(runs['mnist_table1'])}"


def deep(runs: Runs) -> str:
    return accuracies("mnist_deep", runs["mnist_deep"])


def committee(runs: Runs) -> str:
    found = committees(runs)
    rows = []
    for name, one in found.items():
        right, n = int((one.predicted == one.labels).sum()), len(one.labels)
        rows.append([name, str(len(one.mean)), percent(float(one.mean[0])), percent(right / n),
                     " to ".join(map(percent, wilson(right, n))), f"{n - right:,}",
                     reached(100 * right / n, COMMITTEE_AIM)])
    sizes = max(len(one.mean) for one in found.values())
    against = [[str(size), *(percent(float(one.mean[size - 1])) if size <= len(one.mean) else ""
                             for one in found.values())] for size in range(1, sizes + 1)]
    alone = members_alone(runs["mnist_committee"])
    peers = ", ".join(f"{value:g} % ({name})" for name, value in CIRESAN.items())
    return "\n\n".join([
        "A committee chooses the class with the highest mean of its members' probabilities. Which networks it has was "
        f"fixed before the test images were looked at: all that were trained. {alone} Ciresan: {peers}.",
        table(["members", "number", "one of them, mean", "all together", "95 % interval (Wilson)", "wrong", "aim"],
              rows),
        f"Mean test accuracy of committees by size, over all choices of so many members, or {SUBSETS} of them:",
        table(["size", *found], against)])


def members_alone(runs: Sequence[Record]) -> str:
    mean, interval = spread(mean_of(run.accuracy for run in runs), len(runs))
    return f"Each alone, the LSTM-CNN networks reach {mean} % ({interval})."


def idc(runs: Runs) -> str:
    measured = {"accuracy": lambda one: one.accuracy,
                "balanced accuracy": lambda one: metrics.balanced_accuracy(one.labels, one.predicted),
                "F1": lambda one: float(metrics.f1(one.labels, one.predicted, 2)[1]),
                "PR-AUC": lambda one: metrics.average_precision(one.labels, one.scores)}
    models = by_model(runs["idc_table2"])
    rows, one_fold = [], []
    for model, some in models.items():
        found = pooled(some)
        cells = [" (".join(spread(mean_of(map(measure, found.values())), len(found))) + ")"
                 for measure in measured.values()]
        rows.append([NAMES.get(model, model), *cells])
        for fold in sorted({run["fold"] for run in some}):
            alone = pooled([run for run in some if run["fold"] == fold]).values()
            one_fold.append([NAMES.get(model, model), fold or "all", f"{len(next(iter(alone)).labels):,}",
                             *(percent(mean_of(map(measure, alone)).mean) for measure in measured.values())])
    labels = next(iter(pooled(next(iter(models.values()))).values())).labels
    share = float(labels.mean())
    rows.append(["always \"negative\"", percent(1 - share), "50.00", "0.00", percent(share)])
    rows.append(["Cruz-Roa 2014, whole set", *(f"{CRUZ_ROA[name]:.2f}" if name in CRUZ_ROA else ""
                                               for name in measured)])
    patients = {run["fold"] for run in runs["idc_table2"]}
    smoke = ("This is a smoke test: the patches are of two patients only, so that nothing here can be compared with "
             "published results, or says anything about other patients. Intervals are over seeds, not over patients. "
             if len(patients) > 1 else "")
    return "\n\n".join([
        f"{smoke}Split by patient. F1 and PR-AUC are of the positive class; all patches are pooled, each judged by a "
        "model that has not seen its patient.",
        accuracies("idc_table2", runs["idc_table2"]),
        table(["model", *(f"{name}, mean ± sd (95 %)" for name in measured)], rows),
        "By the patient that was left out, means over the seeds:",
        table(["model", "patient", "patches", *measured], one_fold), comparisons(runs["idc_table2"])])


def pneumonia(runs: Runs) -> str:
    found = pooled(runs["pneumonia_cnn_lstm"])
    check_equal(list(runs["pneumonia_cnn_lstm"]))
    measured: dict[str, tuple[Callable[[Pooled], float], float, int]] = {
        "accuracy": (lambda one: one.accuracy, 100, 2),
        "sensitivity": (lambda one: metrics.sensitivity(one.labels, one.predicted), 100, 2),
        "specificity": (lambda one: metrics.specificity(one.labels, one.predicted), 100, 2),
        "balanced accuracy": (lambda one: metrics.balanced_accuracy(one.labels, one.predicted), 100, 2),
        "AUC": (lambda one: metrics.roc_auc(one.labels, one.scores), 1, 4)}
    everyone = together(found)
    rows = []
    for name, (measure, factor, digits) in measured.items():
        ours = mean_of(map(measure, found.values()))
        rows.append([name, *spread(ours, len(found), factor, digits), f"{factor * measure(everyone):.{digits}f}",
                     *(reached(factor * ours.mean, wanted) for wanted in XRAY.get(name, (None, None)))])
    seeds = [[str(seed), *(f"{factor * measure(one):.{digits}f}" for measure, factor, digits in measured.values()),
              " to ".join(map(percent, wilson(one.right, len(one.labels))))] for seed, one in found.items()]
    first_seed, first = next(iter(found.items()))
    run = runs["pneumonia_cnn_lstm"][0]
    report = metrics.classification_report(first.labels, first.predicted, run["classes"], digits=4)
    return "\n\n".join([
        "Not a diagnostic tool. An image counts as PNEUMONIA if its probability is at least 0.5: this rule was fixed "
        "beforehand. The test part is harder than the training part, and of another mixture. \"Together\" are the mean "
        f"probabilities of the networks of all {len(found)} seeds, also fixed beforehand. The network has "
        f"{run['parameters']:,} parameters for images of {' x '.join(map(str, run['settings'].get('input', ())))}; to "
        f"train it took {minutes(statistics.fmean(one['seconds'] for one in runs['pneumonia_cnn_lstm']))}.",
        table(["test images", "mean ± sd", "95 % interval", "together", "target", "aim"], rows),
        table(["seed", *measured, "95 % interval of the accuracy (Wilson)"], seeds),
        f"Confusion matrix of seed {first_seed} (rows are the true classes):",
        table(["", *run["classes"]], [[name, *(f"{count:,}" for count in counts)] for name, counts in
                                      zip(run["classes"], confusion(first), strict=True)]),
        f"```\n{report.rstrip()}\n```"])


def together(found: Mapping[int, Pooled]) -> Pooled:
    """The mean of the probabilities of all seeds."""
    first = next(iter(found.values()))
    scores = np.mean([one.scores for one in found.values()], axis=0)
    return Pooled(first.labels, (scores >= 0.5).astype(np.int64), scores)


def confusion(one: Pooled) -> np.ndarray:
    return metrics.confusion_matrix(one.labels, one.predicted, 2)


# --- figures --------------------------------------------------------------------------------------------------------

Figures = dict[str, Callable[[Path], None]]  # by the name of the file: what draws it


def curves(experiment: str, first: int, title: str) -> Callable[[Runs], Figures]:
    """Two figures with the numbers of the paper's: training accuracy, and validation accuracy."""
    def found(runs: Runs) -> Figures:
        models = by_model(runs[experiment]).items()
        made: Figures = {}
        for number, (curve, what) in enumerate((("train_accuracy", "training"), ("validation_accuracy", "validation"))):
            lines = {NAMES.get(model, model): [run["curves"][curve] for run in some] for model, some in models}
            made[f"figure{first + number}.png"] = partial(
                figures.curves, models=lines, ylabel=f"{what} accuracy (%)", title=f"{title}: {what} accuracy"
                f"{' (while learning, with dropout)' if what == 'training' else ''}")
        return made
    return found


def committee_figures(runs: Runs) -> Figures:
    kinds = {name: (one.mean, one.low, one.high) for name, one in committees(runs).items()}
    return {"committee.png": partial(figures.against_size, kinds=kinds,
                                     title="MNIST: committees of LSTM-CNN networks")}


def idc_figures(runs: Runs) -> Figures:
    made = curves("idc_table2", 8, "IDC")(runs)
    for model, some in by_model(runs["idc_table2"]).items():
        seed, one = next(iter(pooled(some).items()))
        made[f"{model}_confusion.png"] = partial(
            figures.heat_map, table=confusion(one), classes=some[0]["classes"],
            title=f"{NAMES.get(model, model)} on IDC, seed {seed}")
    return made


def pneumonia_figures(runs: Runs) -> Figures:
    some = list(runs["pneumonia_cnn_lstm"])
    found = pooled(some)
    seed, first = next(iter(found.items()))
    accuracy = {what: [run["curves"][curve] for run in some] for what, curve in
                (("training, while learning", "train_accuracy"), ("validation", "validation_accuracy"))}
    lines = {f"seed {seed}": (one.labels, one.scores) for seed, one in found.items()}
    if len(found) > 1:
        every = together(found)
        lines["together"] = every.labels, every.scores
    return {
        "pneumonia_accuracy.png": partial(figures.curves, models=accuracy, ylabel="accuracy (%)",
                                          title="CNN + LSTM on chest X-rays"),
        "pneumonia_confusion.png": partial(figures.heat_map, table=confusion(first), classes=some[0]["classes"],
                                           title=f"CNN + LSTM, test part, seed {seed}"),
        "pneumonia_roc.png": partial(figures.roc, runs=lines, title="CNN + LSTM on chest X-rays, test part")}


# --- all of them ----------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Section:
    """What is said of an experiment, and what is drawn."""

    title: str
    text: Callable[[Runs], str]
    figures: Callable[[Runs], Figures]


SECTIONS = {
    "mnist_table1": Section("MNIST, the paper's table I", table1, curves("mnist_table1", 4, "MNIST")),
    "mnist_deep": Section("MNIST, two more LSTM-CNN layers", deep, curves("mnist_deep", 6, "MNIST, deep LSTM-CNN")),
    "mnist_committee": Section("MNIST, a committee of LSTM-CNN networks", committee, committee_figures),
    "idc_table2": Section("IDC, the paper's table II", idc, idc_figures),
    "pneumonia_cnn_lstm": Section("Chest X-rays, CNN + LSTM", pneumonia, pneumonia_figures)}


def section(experiment: str, runs: Runs) -> str:
    """All that is said of one experiment, but for its figures."""
    own = list(runs[experiment])
    return f"{warning(own)}{conditions(own)}\n\n{SECTIONS[experiment].text(runs)}"


def draw(experiment: str, runs: Runs, folder: Path) -> list[Path]:
    """Draw the figures of an experiment; their paths. Nothing, and a word about it, without matplotlib."""
    if not figures.available():
        print("matplotlib is not installed, so the figures are left out: pip install matplotlib")
        return []
    made = SECTIONS[experiment].figures(runs)
    for name, paint in made.items():
        paint(folder / name)
    return [folder / name for name in made]


def show(experiment: str, own: Sequence[Record], folder: Path) -> None:
    """What an experiment says of its own runs at its end: text on the screen, figures in the folder."""
    runs = {experiment: own}
    print(f"\n{section(experiment, runs)}\n")
    drawn = draw(experiment, runs, folder)
    if drawn:
        print(f"drawn: {', '.join(map(str, drawn))}")
