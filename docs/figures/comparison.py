"""Four models with five seeds each on the test images of MNIST: each run, the mean, and its interval."""

from functools import cache
from itertools import combinations

import numpy as np

from docs.figures.results import runs
from docs.site.drawing import Drawing
from tinynet.intervals import holm, mean_of
from tinynet.metrics import mcnemar

MODELS = {"lstm_cnn": "LSTM-CNN", "cnn_lstm": "CNN-LSTM", "lstm": "LSTM", "cnn": "CNN"}


@cache
def in_text() -> dict[str, str]:
    """Wrong images of all runs, means of the models, and McNemar's tests: of LSTM-CNN and LSTM, and of all pairs."""
    found = {name: runs(f"mnist_table1-{name}-*.json") for name in MODELS}
    wrong = [round(len(run.labels) * (1 - run.accuracy)) for each in found.values() for run in each]
    means = [100 * float(np.mean([run.accuracy for run in each])) for each in found.values()]
    spans = [max(run.accuracy for run in each) - min(run.accuracy for run in each) for each in found.values()]
    tests = {(first, second): [mcnemar(one.labels, one.predicted, other.predicted)
                               for one, other in zip(found[first], found[second], strict=True)]
             for first, second in combinations(found, 2)}
    p_values = [test.p for each in tests.values() for test in each]
    first, last = tests["lstm_cnn", "lstm"][0], tests["lstm_cnn", "lstm"][-1]
    return {"fewest wrong": str(min(wrong)), "most wrong": str(max(wrong)), "lowest mean": f"{min(means):.2f}",
            "highest mean": f"{max(means):.2f}", "widest mean": f"{max(means) - min(means):.2f}",
            "narrowest seeds": f"{100 * min(spans):.2f}", "widest seeds": f"{100 * max(spans):.2f}",
            "widest images": f"{1e4 * max(spans):.0f}",
            "LSTM-CNN 0": str(first.only_first), "LSTM 0": str(first.only_second), "p 0": f"{first.p:.3f}",
            "LSTM-CNN 4": str(last.only_first), "LSTM 4": str(last.only_second), "p 4": f"{last.p:.3f}",
            "tests": str(len(p_values)), "smallest p": f"{min(p_values):.4f}",
            "corrected p": f"{min(holm(p_values)):.2f}"}


def draw() -> Drawing:
    drawing = Drawing("Test accuracy of four models on MNIST, five seeds each, with intervals", height=262)
    axes = drawing.axes(100, 30, 400, 176, x=(99.2, 99.8), y=(4, 0), xticks=(99.2, 99.4, 99.6, 99.8),
                        xlabel="test accuracy in percent; paper: 98.27, 97.07, 98.13, 97.27 (validation)")
    for row, (name, title) in enumerate(MODELS.items()):
        accuracies = [100 * run.accuracy for run in runs(f"mnist_table1-{name}-*.json")]
        mean, _, half = mean_of(accuracies)
        x, y = axes.at(mean, row + 0.5)
        drawing.text(90, y + 5, title, name, "end", bold=True)
        low, high = axes.at(mean - half, 0)[0], axes.at(mean + half, 0)[0]
        drawing.rect(low, y - 11, high - low, 22, name, opacity=0.22, rounded=4)
        drawing.line(x, y - 11, x, y + 11, name, 3)
        axes.points(accuracies, [row + 0.5] * len(accuracies), name, 4)
    return drawing
