"""The chest X-rays: every threshold as a point of a curve, and what three thresholds mean for the patients."""

import numpy as np

from docs.figures.results import runs
from docs.site.drawing import Drawing
from tinynet.metrics import roc_auc, roc_curve

THRESHOLDS = (0.1, 0.5, 0.9)


def pooled() -> tuple[np.ndarray, np.ndarray]:
    """The labels, and the mean of the probabilities of all seeds."""
    found = runs("pneumonia_cnn_lstm-*.json")
    return found[0].labels, np.mean([run.scores for run in found], axis=0)


def shares(threshold: float) -> tuple[float, float]:
    """False alarms among the images without pneumonia, and hits among those with it."""
    labels, scores = pooled()
    alarm = scores >= threshold
    return float(alarm[labels == 0].mean()), float(alarm[labels == 1].mean())


def draw() -> Drawing:
    drawing = Drawing("The ROC curve of a model for chest X-rays, with three thresholds", height=330)
    labels, scores = pooled()
    false, true, _ = roc_curve(labels, scores)
    axes = drawing.axes(50, 34, 232, 232, x=(0, 1), y=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1),
                        xlabel="false alarms among the healthy", ylabel="found among the ill")
    axes.curve((0, 1), (0, 1), "rule", 1.5, "4 4")
    axes.curve(false, true, "lstm_cnn", 2.6)
    axes.label(0.98, 0.05, f"area {roc_auc(labels, scores):.3f}", "lstm_cnn", "end", dx=0, bold=True)
    drawing.text(310, 54, "threshold", "muted", size=12)
    drawing.text(412, 54, "found", "muted", "end", 12)
    drawing.text(508, 54, "false alarms", "muted", "end", 12)
    for k, threshold in enumerate(THRESHOLDS):
        alarms, found = shares(threshold)
        axes.points([alarms], [found], "f", 5)
        axes.label(alarms, found, f"{threshold:g}", "f", dx=8, dy=16, bold=True)
        y = 84 + 28 * k
        drawing.text(310, y, f"{threshold:g}", "f", bold=True)
        drawing.text(412, y, f"{found:.0%}", anchor="end")
        drawing.text(508, y, f"{alarms:.0%}", anchor="end")
    drawing.text(310, 192, "The model is the same.", "muted", size=13)
    drawing.text(310, 211, "The threshold decides", "muted", size=13)
    drawing.text(310, 230, "which error is made.", "muted", size=13)
    return drawing
