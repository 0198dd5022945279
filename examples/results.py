"""Make RESULTS.md and its figures from the files of the runs, so that no number in them is typed by hand.

    python examples/results.py                                # of the files in examples/results
    python examples/results.py --add runs/mnist_table1        # take over the finished runs of a folder first

Only runs on real data, on all of it, are taken over. Runs that stand beside each other in a table must have been made
under equal conditions, and be of the same test images; else it is an error that names what differs. The exit code is 0,
or 1 if a file is at fault.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import figures
import numpy as np
import records
from records import Record

from tinynet import metrics
from tinynet.errors import DataError, TinynetError
from tinynet.files import write_whole
from tinynet.random import permutation, stream

HERE = Path(__file__).resolve().parent
LEVEL = 0.95  # of all intervals; a p below 1 - LEVEL is called significant
SUBSETS = 100  # committees of one size that are tried at most

# What others published, in percent: training and validation accuracy in the paper's tables I and II, figures 6 and 7.
PAPER = {
    ("mnist_table1", "lstm_cnn"): (99.8261, 98.267), ("mnist_table1", "cnn_lstm"): (99.6572, 97.074),
    ("mnist_table1", "lstm"): (99.6407, 98.125), ("mnist_table1", "cnn"): (99.2274, 97.273),
    ("mnist_deep", "deep_lstm_cnn"): (99.7, 99.29),
    ("idc_table2", "idc_lstm_cnn"): (84.548, 85.017), ("idc_table2", "idc_lstm"): (82.955, 83.410),
    ("idc_table2", "idc_cnn"): (82.691, 82.909)}
CRUZ_ROA = {"balanced accuracy": 84.23, "F1": 71.80}  # 2014, on the whole set
CIRESAN = {"2010, one network": 99.65, "2012, a committee of 35": 99.77}
# What this project wanted to reach on the test images, in percent; an aim is less than a target.
TARGETS = {("mnist_table1", "lstm_cnn"): 99.2, ("mnist_table1", "cnn_lstm"): 99.2, ("mnist_table1", "lstm"): 98.9,
           ("mnist_table1", "cnn"): 99.2, ("mnist_deep", "deep_lstm_cnn"): 99.5}
COMMITTEE_AIM = 99.7
XRAY = {"accuracy": (87.0, 91.0), "AUC": (0.93, 0.96)}  # target and aim

NAMES = {"lstm_cnn": "LSTM-CNN", "cnn_lstm": "CNN-LSTM", "lstm": "LSTM", "cnn": "CNN", "deep_lstm_cnn": "deep LSTM-CNN",
         "idc_lstm_cnn": "LSTM-CNN", "idc_lstm": "LSTM", "idc_cnn": "CNN", "pneumonia_cnn_lstm": "CNN + LSTM"}

Runs = Mapping[str, Sequence[Record]]  # by experiment


# --- intervals ------------------------------------------------------------------------------------------------------

class Mean(NamedTuple):
    """The mean of some runs, their standard deviation, and half of the interval of the mean; both 0 for one run."""

    mean: float
    deviation: float
    half: float


@cache
def t_quantile(freedom: int, level: float = LEVEL) -> float:
    """Student's t: the middle `level` of the distribution lies between minus this and this.

    >>> round(t_quantile(4), 3)
    2.776
    """
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)

    def inside(t: float, steps: int = 1000) -> float:  # Simpson's rule, from -t to t
        values = [(1 + (t * i / steps) ** 2 / freedom) ** (-(freedom + 1) / 2) for i in range(steps + 1)]
        return 2 * scale * t / steps / 3 * math.fsum([values[0], values[-1], *(4 * v for v in values[1:-1:2]),
                                                      *(2 * v for v in values[2:-1:2])])

    low, high = 0.0, 64.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) < level else (low, middle)
    return low


def mean_of(values: Iterable[float]) -> Mean:
    """Mean, standard deviation, and half of the t-interval of the mean.

    >>> mean_of([1.0, 2.0, 3.0])
    Mean(mean=2.0, deviation=1.0, half=2.484...)
    """
    values = list(values)
    if len(values) < 2:
        return Mean(values[0], 0.0, 0.0)
    deviation = statistics.stdev(values)
    return Mean(statistics.fmean(values), deviation, t_quantile(len(values) - 1) * deviation / math.sqrt(len(values)))


def wilson(right: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a share of which `right` of `n` were seen (Wilson, 1927).

    >>> tuple(round(end, 3) for end in wilson(9, 10))
    (0.596, 0.982)
    """
    z = statistics.NormalDist().inv_cdf((1 + level) / 2)
    share, whole = right / n, 1 + z * z / n
    middle, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)


# --- runs -----------------------------------------------------------------------------------------------------------

def load(folder: Path) -> dict[str, list[Record]]:
    """The runs in a folder, by experiment. Raises DataError for a file that is none."""
    found: dict[str, list[Record]] = {}
    for path in sorted(folder.glob("*.json")):
        record = records.read(path)
        found.setdefault(record["experiment"], []).append(record)
    return found


def add(source: Path, folder: Path) -> int:
    """Take over the runs of a folder, and return their number. Raises DataError if one is not for publication."""
    paths = sorted(source.glob("*.json"))
    if not paths:
        raise DataError(f"results: {source} must hold the JSON files of runs, and holds none; runs/mnist_table1?")
    for path in paths:
        record = records.read(path)
        if record["data"]["stand_in"] or record["settings"].get("limit") is not None:
            raise DataError(f"results: {path} must be a run on real data, and on all of it, and is of "
                            f"{'a stand-in' if record['data']['stand_in'] else 'a part of it'}; leave it out")
        records.write(folder / f"{record['experiment']}-{path.name}", record.fields)
    return len(paths)


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
                            f"{_title(other)} and {_title(run)} differ in {', '.join(differing)}; leave one out")


def _title(run: Record) -> str:
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


# --- text -----------------------------------------------------------------------------------------------------------

def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; all columns but the first are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(share: float) -> str:
    return f"{100 * share:.2f}"


def spread(found: Mean, runs: int, factor: float = 100, digits: int = 2) -> tuple[str, str]:
    """Mean and standard deviation, and the interval of the mean, as two cells."""
    mean, deviation, half = (factor * value for value in found)
    if runs < 2:
        return f"{mean:.{digits}f}", "one run"
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}", f"{mean - half:.{digits}f} to {mean + half:.{digits}f}"


def reached(value: float, target: float | None) -> str:
    """Whether a target was reached, all in percent."""
    if target is None:
        return ""
    return f">= {target:g}: {'reached' if value >= target else 'not reached'}"


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"


def conditions(runs: Sequence[Record]) -> str:
    """How the runs of a table were made, all of them alike."""
    settings, data = runs[0]["settings"], {run["fold"]: run["data"] for run in runs}
    augment = ", ".join(f"{name} {value}" for name, value in settings.get("augment", {}).items())
    clip = f", gradients clipped to {settings['max_norm']:g}" if settings.get("max_norm") else ""
    lines = [
        f"Conditions, equal in all runs: AdamW (weight decay {settings.get('weight_decay')}), one cycle of the "
        f"learning rate up to {settings.get('peak')}, batches of {settings.get('batch_size')}, "
        f"{settings.get('epochs')} epochs, label smoothing {settings.get('label_smoothing')}{clip}; training images "
        f"{f'changed at random ({augment})' if augment else 'as they are'}; the model after the last epoch.",
        *dict.fromkeys(f"Trained on {facts['train']:,} images, validated on {facts['validation']:,}, tested on "
                       f"{facts['test']:,}; {facts['parted']}." for facts in data.values())]
    seeds = ", ".join(map(str, sorted({run["seed"] for run in runs})))
    made = "; ".join(sorted({f"{run['hardware'].get('processor')} (device: {run['hardware'].get('device')})"
                             for run in runs}))
    commands = ", ".join(sorted({f"`{run['command']}`" for run in runs}))
    lines.append(f"Seeds {seeds}. Made on {made}, by {commands}.")
    return "\n".join(lines)


def warning(runs: Sequence[Record]) -> str:
    """What must be said before all else."""
    if any(run["data"]["stand_in"] for run in runs):
        return "**These are results on a STAND-IN for the data: they mean nothing.**\n\n"
    limit = runs[0]["settings"].get("limit")
    return f"**Trained on {limit:,} images only.**\n\n" if limit is not None else ""


def accuracies(experiment: str, runs: Sequence[Record]) -> str:
    """A row for each model: the paper's numbers and ours."""
    rows = []
    for model, some in by_model(runs).items():
        found = pooled(some)
        paper = PAPER.get((experiment, model))
        ours = mean_of(one.accuracy for one in found.values())
        last = [statistics.fmean(run["curves"][name][-1] for run in some)
                for name in ("train_accuracy", "validation_accuracy")]
        rows.append([NAMES.get(model, model), f"{some[0]['parameters']:,}",
                     *(f"{value:g}" for value in paper or ()), *([""] * (0 if paper else 2)), *map(percent, last),
                     *(spread(ours, len(found)) if len(found) > 1 else (percent(ours.mean), _wilson(found))),
                     reached(100 * ours.mean, TARGETS.get((experiment, model))),
                     minutes(statistics.fmean(run["seconds"] for run in some))])
    return table(["model", "parameters", "paper: training", "paper: validation", "training", "validation",
                  "test: mean ± sd", "95 % interval", "target", "time of a run"], rows)


def _wilson(found: Mapping[int, Pooled]) -> str:
    one = next(iter(found.values()))
    return " to ".join(map(percent, wilson(one.right, len(one.labels)))) + " (one run)"


class Comparison(NamedTuple):
    """Two models on the same test images: the difference of accuracies over the seeds, and McNemar's test for each."""

    difference: Mean
    tests: list[metrics.McNemar]

    @property
    def verdict(self) -> int:
        """1 if the first is better, -1 if the second is, 0 if neither is shown to be."""
        if len(self.tests) == 1:
            only = self.tests[0]
            return 0 if only.p >= 1 - LEVEL else 1 if only.only_first > only.only_second else -1
        mean, _, half = self.difference
        return 0 if abs(mean) <= half else 1 if mean > 0 else -1


def compare(first: Mapping[int, Pooled], second: Mapping[int, Pooled]) -> Comparison:
    """Compare two models on the seeds that both have. Raises DataError if there is none."""
    seeds = [seed for seed in first if seed in second]
    if not seeds:
        raise DataError("results: two models must have runs with the same seeds to be compared, and have none; "
                        "the same command without --seed makes them")
    return Comparison(mean_of(first[seed].accuracy - second[seed].accuracy for seed in seeds),
                      [metrics.mcnemar(first[seed].labels, first[seed].predicted, second[seed].predicted)
                       for seed in seeds])


def comparisons(runs: Sequence[Record]) -> str:
    """Each model against each other, and what that says about the paper's claim."""
    models = {model: pooled(some) for model, some in by_model(runs).items()}
    if len(models) < 2:
        return ""
    found = {pair: compare(models[pair[0]], models[pair[1]]) for pair in combinations(models, 2)}
    rows = []
    for (a, b), one in found.items():
        wins = [sum(test.p < 1 - LEVEL and sign * (test.only_first - test.only_second) > 0 for test in one.tests)
                for sign in (1, -1)]
        mean, half = 100 * one.difference.mean, 100 * one.difference.half
        only = [sum(counts) for counts in zip(*(test[:2] for test in one.tests), strict=True)]
        rows.append([f"{NAMES.get(a, a)} - {NAMES.get(b, b)}",
                     f"{mean:+.2f}" + (f" ± {half:.2f}" if len(one.tests) > 1 else ""), f"{only[0]:,} : {only[1]:,}",
                     ", ".join(f"{test.p:.2g}" for test in one.tests), f"{wins[0]} : {wins[1]} of {len(one.tests)}"])
    head = ["pair", "difference, points (95 %)", "only the first right : only the second",
            "McNemar's p, for each seed", "seeds with p < 0.05 for the first : the second"]
    first = next(iter(models))
    return "\n\n".join([table(head, rows), claim(first, {b: one for (a, b), one in found.items() if a == first})])


def claim(first: str, against: Mapping[str, Comparison]) -> str:
    """Whether the paper's claim holds, that its model is better than each of the others."""
    words = {1: "better than", 0: "not shown to be better or worse than", -1: "worse than"}
    said = []
    for verdict, phrase in words.items():
        names = [NAMES.get(name, name) for name, one in against.items() if one.verdict == verdict]
        if names:
            said.append(f"{phrase} {' and '.join(names)}")
    holds = all(one.verdict == 1 for one in against.values())
    return (f"Does the paper's claim hold, that the {NAMES.get(first, first)} is better than each of the others? "
            f"Under these equal conditions it {'does' if holds else 'does not'}: it is {', '.join(said)}.")


# --- the experiments ------------------------------------------------------------------------------------------------

def table1(runs: Runs) -> str:
    return f"{accuracies('mnist_table1', runs['mnist_table1'])}\n\n{comparisons(runs['mnist_table1'])}"


def deep(runs: Runs) -> str:
    return accuracies("mnist_deep", runs["mnist_deep"])


class Committee(NamedTuple):
    """Committees of the networks of some runs: by size the mean, lowest and highest accuracy; and that of all of them.

    `predicted` are the classes that all of them together choose: the highest mean of their probabilities.
    """

    labels: np.ndarray
    predicted: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def committee_of(runs: Sequence[Record]) -> Committee:
    """All subsets of each size, or SUBSETS of them at random. Raises DataError without probabilities."""
    if any(run.probabilities is None for run in runs):
        raise DataError("results: the runs of a committee must hold probabilities, and some do not; make them again")
    members, labels = len(runs), runs[0].labels
    units = np.stack([np.rint(255 * run.probabilities) for run in runs]).astype(np.float32)  # whole numbers
    found, together = [], np.zeros((0, 0))
    for size in range(1, members + 1):
        chosen = np.zeros((min(SUBSETS, math.comb(members, size)), members), np.float32)
        subsets = (combinations(range(members), size) if math.comb(members, size) <= SUBSETS else
                   (permutation(members, key=(0, stream("committee")), step=step * members + size)[:size]
                    for step in range(SUBSETS)))
        for row, subset in zip(chosen, subsets, strict=True):
            row[list(subset)] = 1
        sums = chosen @ units.reshape(members, -1)  # (subsets, N K)
        together = sums.reshape(len(chosen), *units.shape[1:]).argmax(axis=2)
        shares = (together == labels).mean(axis=1).tolist()
        found.append((statistics.fmean(shares), min(shares), max(shares)))
    return Committee(labels, together[0], *np.array(found).T)


def committees(runs: Runs) -> dict[str, Committee]:
    """Of the LSTM-CNN networks; and of the deep ones, and of both, where they were trained, too."""
    own = list(runs["mnist_committee"])
    check_equal(own)
    found = {"LSTM-CNN": committee_of(own)}
    others = [run for run in runs.get("mnist_deep", ()) if run.probabilities is not None
              and run["labels"] == own[0]["labels"]]
    if others:
        found["deep LSTM-CNN"] = committee_of(others)
        found["both"] = committee_of([*own, *others])
    return found


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

def draw_curves(experiment: str, first: int, title: str) -> Callable[[Runs, Path], list[Path]]:
    """Two figures with the numbers of the paper's: training accuracy, and validation accuracy."""
    def draw(runs: Runs, folder: Path) -> list[Path]:
        paths = []
        for number, (curve, what) in enumerate((("train_accuracy", "training"), ("validation_accuracy", "validation"))):
            path = folder / f"figure{first + number}.png"
            models = {NAMES.get(model, model): [run["curves"][curve] for run in some]
                      for model, some in by_model(runs[experiment]).items()}
            figures.curves(path, models, ylabel=f"{what} accuracy (%)", title=f"{title}: {what} accuracy"
                           f"{' (while learning, with dropout)' if what == 'training' else ''}")
            paths.append(path)
        return paths
    return draw


def draw_committee(runs: Runs, folder: Path) -> list[Path]:
    path = folder / "committee.png"
    figures.against_size(path, {name: (one.mean, one.low, one.high) for name, one in committees(runs).items()},
                         title="MNIST: committees of LSTM-CNN networks")
    return [path]


def draw_idc(runs: Runs, folder: Path) -> list[Path]:
    paths = draw_curves("idc_table2", 8, "IDC")(runs, folder)
    for model, some in by_model(runs["idc_table2"]).items():
        seed, one = next(iter(pooled(some).items()))
        paths.append(folder / f"{model}_confusion.png")
        figures.heat_map(paths[-1], confusion(one), some[0]["classes"],
                         title=f"{NAMES.get(model, model)} on IDC, seed {seed}")
    return paths


def draw_pneumonia(runs: Runs, folder: Path) -> list[Path]:
    some = list(runs["pneumonia_cnn_lstm"])
    found = pooled(some)
    seed, first = next(iter(found.items()))
    paths = [folder / f"pneumonia_{name}.png" for name in ("accuracy", "confusion", "roc")]
    figures.curves(paths[0], {what: [run["curves"][curve] for run in some] for what, curve in
                              (("training, while learning", "train_accuracy"), ("validation", "validation_accuracy"))},
                   ylabel="accuracy (%)", title="CNN + LSTM on chest X-rays")
    figures.heat_map(paths[1], confusion(first), some[0]["classes"], title=f"CNN + LSTM, test part, seed {seed}")
    lines = {f"seed {seed}": (one.labels, one.scores) for seed, one in found.items()}
    if len(found) > 1:
        every = together(found)
        lines["together"] = every.labels, every.scores
    figures.roc(paths[2], lines, title="CNN + LSTM on chest X-rays, test part")
    return paths


@dataclass(frozen=True)
class Section:
    """What is said of an experiment, and what is drawn."""

    title: str
    text: Callable[[Runs], str]
    draw: Callable[[Runs, Path], list[Path]]


SECTIONS = {
    "mnist_table1": Section("MNIST, the paper's table I", table1, draw_curves("mnist_table1", 4, "MNIST")),
    "mnist_deep": Section("MNIST, two more LSTM-CNN layers", deep,
                          draw_curves("mnist_deep", 6, "MNIST, deep LSTM-CNN")),
    "mnist_committee": Section("MNIST, a committee of LSTM-CNN networks", committee, draw_committee),
    "idc_table2": Section("IDC, the paper's table II", idc, draw_idc),
    "pneumonia_cnn_lstm": Section("Chest X-rays, CNN + LSTM", pneumonia, draw_pneumonia)}


def section(experiment: str, runs: Runs) -> str:
    """All that is said of one experiment, but for its figures."""
    own = list(runs[experiment])
    return f"{warning(own)}{conditions(own)}\n\n{SECTIONS[experiment].text(runs)}"


def show(experiment: str, own: Sequence[Record], folder: Path) -> None:
    """What an experiment says of its own runs at its end: text on the screen, figures in the folder."""
    runs = {experiment: own}
    print(f"\n{section(experiment, runs)}\n")
    if not figures.available():
        print("matplotlib is not installed, so the figures are left out: pip install matplotlib")
        return
    print(f"drawn: {', '.join(map(str, SECTIONS[experiment].draw(runs, folder)))}")


# --- RESULTS.md -----------------------------------------------------------------------------------------------------

INTRODUCTION = """\
Made by `python examples/results.py` from the files in `examples/results`, one for each run; no number here is typed by
hand. Accuracies are in percent. The test images were looked at once in each run, after all choices were made on the
validation images, which are a part of the training set. What the paper calls validation is not said there: its numbers
stand beside ours, and are not the same thing. Intervals are of the mean over the seeds (Student's t) if nothing else is
said; p-values are of McNemar's exact test, not corrected for their number. Times are those of the runs, whatever else
their machine did meanwhile."""

def markdown(runs: Runs, drawn: Mapping[str, Sequence[str]]) -> str:
    """RESULTS.md. `drawn` are the names of the figures of each experiment."""
    parts = [f"# Results\n\n{INTRODUCTION}"]
    for experiment, one in SECTIONS.items():
        made = experiment in runs
        text = section(experiment, runs) if made else f"No runs yet: `python examples/{experiment}.py`."
        pictures = "".join(f"\n\n![{Path(name).stem}](figures/{name})" for name in drawn.get(experiment, ()) if made)
        parts.append(f"## {one.title}\n\n{text}{pictures}")
    everything = [run for experiment in SECTIONS for run in runs.get(experiment, ())]
    if everything:
        parts.append(f"## All runs\n\n{all_runs(everything)}")
    return "\n\n".join(parts) + "\n"


def all_runs(runs: Sequence[Record]) -> str:
    rows = []
    for run in runs:
        right = int((run.labels == run.predicted).sum())
        rows.append([run["experiment"], _title(run), percent(run.accuracy),
                     " to ".join(map(percent, wilson(right, run.images))), minutes(run["seconds"]),
                     run["started"][:10], run["commit"][:10] + "+" * run["commit"].endswith("+")])
    return (f"{len(runs)} runs, {math.fsum(run['seconds'] for run in runs) / 3600:.1f} hours of training.\n\n"
            + table(["experiment", "run", "test", "95 % interval (Wilson)", "training", "begun", "commit"], rows))


FIGURES = {"mnist_table1": ("figure4.png", "figure5.png"), "mnist_deep": ("figure6.png", "figure7.png"),
           "mnist_committee": ("committee.png",),
           "idc_table2": ("figure8.png", "figure9.png", *(f"idc_{model}_confusion.png"
                                                          for model in ("lstm_cnn", "lstm", "cnn"))),
           "pneumonia_cnn_lstm": tuple(f"pneumonia_{name}.png" for name in ("accuracy", "confusion", "roc"))}


def make(folder: Path, out: Path) -> list[Path]:
    """Write RESULTS.md and the figures of the runs in a folder. Returns what was written."""
    runs = load(folder)
    text = markdown(runs, FIGURES)  # before anything is written
    written = [out / "RESULTS.md"]
    write_whole(written[0], text.encode())
    if not figures.available():
        print("matplotlib is not installed, so the figures are as they were: pip install matplotlib")
        return written
    for experiment, one in SECTIONS.items():
        if experiment in runs:
            written += one.draw(runs, out / "figures")
    return written


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--add", type=Path, nargs="+", default=[], metavar="FOLDER",
                        help="take over the finished runs of these folders, such as runs/mnist_table1")
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="FOLDER",
                        help="the files of the runs (default: examples/results)")
    parser.add_argument("--out", type=Path, default=HERE, metavar="FOLDER",
                        help="for RESULTS.md and figures (default: examples)")
    options = parser.parse_args(arguments)
    try:
        for source in options.add:
            print(f"{add(source, options.results)} runs of {source} are in {options.results}")
        for path in make(options.results, options.out):
            print(f"written: {path}")
    except TinynetError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename}: {error.strerror}; choose another folder", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
