"""The chest X-rays: every threshold as a point of a curve, and what three thresholds mean for the patients."""

from functools import cache

import numpy as np

from docs.figures.results import runs
from docs.site.drawing import Drawing
from tinynet.intervals import mean_of
from tinynet.metrics import calibration_error, roc_auc, roc_curve

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


@cache
def in_text() -> dict[str, str]:
    """Counts of images, scores of the seeds and of their mean, and what an alarm means where one of 100 is ill."""
    labels, scores = pooled()
    alarms, found = shares(0.5)
    seeds = runs("pneumonia_cnn_lstm-*.json")
    rare = found * 0.01 / (found * 0.01 + alarms * 0.99)
    sure = scores >= 0.9
    return {"images": str(len(labels)), "ill": str(int(labels.sum())), "share ill": f"{labels.mean():.0%}",
            "accuracy": f"{mean_of(run.accuracy for run in seeds).mean:.0%}", "auc": f"{roc_auc(labels, scores):.2f}",
            "sensitivity": f"{found:.2f}", "specificity": f"{1 - alarms:.2f}",
            "precision": f"{labels[scores >= 0.5].mean():.0%}", "precision if rare": f"{rare:.1%}",
            "alarms for each ill": f"{1 / rare:.0f}", "calibration error": f"{calibration_error(labels, scores):.2f}",
            "sure": str(int(sure.sum())), "sure and ill": f"{labels[sure].mean():.0%}",
            "said": f"{scores[sure].mean():.0%}"}


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
