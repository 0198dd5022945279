"""The table at the top of RESULTS.md: a row for each system, with the published number, ours, and one sentence."""

from collections.abc import Callable, Sequence
from functools import partial

from paper.reporting import ciresan as differing
from paper.reporting.committees import committees
from paper.reporting.goals import CIRESAN, CLAIMED, COMMITTEE_SIZE, KERMANY, NAMES, PAPER
from paper.reporting.grouping import Runs, by_model, pooled
from paper.reporting.idc import few_patients
from paper.reporting.pairs import compare
from paper.reporting.records import Record
from paper.reporting.tables import WORDS, instances, interval, percent, spread, table
from paper.reporting.xrays import MEASURES
from tinynet import metrics
from tinynet.intervals import mean_of, wilson

HEAD = ("system", "data", "published, %", "ours, test, %", "95 % interval", "in one sentence")
EXPLAINED = ("The published numbers of the paper are validation accuracies. Ours are accuracies on test images that "
             "were evaluated once: the mean of the seeds with its interval; for a committee, which is one, Wilson's.")


def summary(runs: Runs) -> str:
    """The table of the experiments that have runs, and what its columns mean."""
    rows = [row for experiment, of in ROWS.items() if experiment in runs for row in of(runs)]
    return f"{table(HEAD, rows, words=(0, 1, 5))}\n\n{EXPLAINED}" if rows else ""


def table1(runs: Runs) -> list[list[str]]:
    models = {model: pooled(some) for model, some in by_model(runs["mnist_table1"]).items()}
    ours, rows = CLAIMED["mnist_table1"], []
    found = compare(models) if len(models) > 1 else {}
    for model in models:
        versus = {b if a == model else a: one.verdict * (1 if a == model else -1) for (a, b), one in found.items()
                  if model in (a, b)}
        if model == ours:
            text = ", ".join(f"{WORDS[verdict]} {instances(versus, verdict)}" for verdict in WORDS
                             if verdict in versus.values())
            text = f"The paper's model: {text or 'not compared yet'}."
        else:
            text = f"{WORDS[versus[ours]].capitalize()} {NAMES[ours]}." if ours in versus else "Not compared yet."
        rows.append(_row("mnist_table1", runs["mnist_table1"], model, "MNIST", text))
    return rows


def deep(runs: Runs, experiment: str = "mnist_deep", data: str = "MNIST") -> list[list[str]]:
    (model, some), = by_model(runs[experiment]).items()
    before = by_model(runs.get("mnist_table1", ())).get("lstm_cnn")
    text = "Several LSTM-CNN layers instead of one, and stronger augmentation."
    if before:
        means = [mean_of(one.accuracy for one in pooled(part).values()).mean for part in (some, before)]
        text = f"{text[:-1]}: {100 * (means[0] - means[1]):+.2f} points."
    return [_row(experiment, runs[experiment], model, data, text)]


def committee(runs: Runs) -> list[list[str]]:
    name, one = list(committees(runs).items())[-1]
    right, n = int((one.predicted == one.labels).sum()), len(one.labels)
    kind = "LSTM-CNN networks of two depths" if name == "both" else f"{name} networks"
    return [[f"committee of {len(one.mean)}", "MNIST", f"{CIRESAN[COMMITTEE_SIZE]:g}", percent(right / n),
             interval(wilson(right, n)), f"{kind} choose together, and {n - right:,} of {n:,} images are wrong; "
             f"published: Ciresan {COMMITTEE_SIZE}, of convolutional networks."]]


def ciresan(runs: Runs) -> list[list[str]]:
    every = differing.found(runs)["all"]
    right, n = int((every.predicted == every.labels).sum()), len(every.labels)
    return [[f"committee of {len(every.mean)}", "MNIST, seen differently", f"{CIRESAN[COMMITTEE_SIZE]:g}",
             percent(right / n), interval(wilson(right, n)),
             f"{differing.unfinished(differing.members(runs))}LSTM-CNN and CNN-LSTM networks that see digits of "
             f"several widths, and {n - right:,} of {n:,} images are wrong; published: Ciresan {COMMITTEE_SIZE}, built "
             "alike of convolutional networks."]]


def idc(runs: Runs) -> list[list[str]]:
    own, rows = runs["idc_table2"], []
    for model, some in by_model(own).items():
        balanced = mean_of(metrics.balanced_accuracy(one.labels, one.predicted) for one in pooled(some).values()).mean
        text = f"Balanced accuracy {percent(balanced)} %; always \"negative\" has 50 %."
        rows.append(_row("idc_table2", own, model, "IDC, by patient",
                         f"A smoke test with {few_patients(own)}. {text}" if few_patients(own) else text))
    return rows


def xrays(runs: Runs, experiment: str = "pneumonia_cnn_lstm", data: str = "chest X-rays") -> list[list[str]]:
    own = runs[experiment]
    (model, some), = by_model(own).items()
    found = pooled(some).values()
    shown = {name: f"{measure.factor * mean_of(map(measure.of, found)).mean:.{3 if measure.factor == 1 else 1}f}"
             for name, measure in MEASURES.items()}
    return [_row(experiment, own, model, data,
                 f"AUC {shown['AUC']}, sensitivity {shown['sensitivity']} %, specificity {shown['specificity']} %; "
                 "published: Kermany 2018, a larger network that was trained on other images before; not a diagnostic "
                 "tool.")]


def _row(experiment: str, runs: Sequence[Record], model: str, data: str, text: str) -> list[str]:
    found = pooled(by_model(runs)[model])
    published = PAPER.get((experiment, model), (0.0, KERMANY["accuracy"]))[1]
    mean, ends = spread(mean_of(one.accuracy for one in found.values()), len(found))
    return [NAMES.get(model, model), data, f"{published:g}", mean, ends, text]


ROWS: dict[str, Callable[[Runs], list[list[str]]]] = {
    "mnist_table1": table1, "mnist_deep": deep,
    "mnist_deep_selected": partial(deep, experiment="mnist_deep_selected", data="MNIST, selected recipe"),
    "mnist_committee": committee, "mnist_ciresan": ciresan, "idc_table2": idc,
    "pneumonia_cnn_lstm": xrays,
    "pneumonia_selected": partial(xrays, experiment="pneumonia_selected", data="chest X-rays, selected recipe")}
