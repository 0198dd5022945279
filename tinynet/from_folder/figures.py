"""The figures of a training on a folder, as PNG files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinynet import drawing
from tinynet.errors import counted
from tinynet.from_folder.settings import Samples

SHOWN = 25  # images in mistakes.png


def draw(out: Path, histories: Sequence[list[dict[str, float]]], found: dict[str, Any], samples: Samples,
         judged: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray, what: str) -> list[str]:
    """Draw curves, confusion matrix and worst mistakes. Returns the names of the files.

    histories       of one model, or of one for each fold
    found           the scores, as of `score`
    judged          int64 (n), the images that were predicted, as indices into the samples
    probabilities   (n,K); predicted (n)
    """
    curves(out / "curves.png", histories, found["accuracy"], what)
    drawing.heat_map(out / "confusion.png", np.array(found["confusion_matrix"]), samples.folder.classes, title=what)
    mistakes(out / "mistakes.png", samples, judged, probabilities, predicted, what)
    return ["curves.png", "confusion.png", "mistakes.png"]


def curves(path: Path, histories: Sequence[list[dict[str, float]]], accuracy: float, what: str) -> None:
    """Draw loss and accuracy over the epochs, a line for each history."""
    figure = drawing.new_figure(10, 4)
    both = figure.subplots(1, 2)
    for axes, column, factor in zip(both, ("loss", "accuracy"), (1, 100), strict=True):
        for part, label, colour in (("train", "training, while learning", "tab:blue"),
                                    ("validation", "validation", "tab:orange")):
            for number, history in enumerate(histories):
                axes.plot([row["epoch"] for row in history], [factor * row[f"{part}_{column}"] for row in history],
                          color=colour, alpha=1 if len(histories) == 1 else 0.5, label=label if number == 0 else None)
        axes.set(xlabel="epoch", ylabel=column + " (%)" * (column == "accuracy"))
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    both[1].axhline(100 * accuracy, color="grey", linestyle=":", label=f"tested: {what}")
    both[1].legend()
    drawing.save(figure, path)


def mistakes(path: Path, samples: Samples, judged: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray,
             what: str) -> None:
    """Draw the wrong predictions of the highest probability, with their images."""
    names, labels = samples.folder.classes, samples.folder.labels[judged]
    order = worst(labels, probabilities, predicted)
    shown = samples.part(judged[order[:SHOWN]])
    captions = [f"{names[labels[index]]}, taken for\n{names[predicted[index]]} "
                f"({probabilities[index, predicted[index]]:.0%})" for index in order[:SHOWN]]
    drawing.sheet(path, [shown[number] for number in range(len(captions))], captions,
                  title=f"the surest of {counted(len(order), 'mistake')} on {counted(len(judged), 'image')}: {what}")


def worst(labels: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The indices of the wrong predictions, the highest probability first."""
    wrong = np.flatnonzero(predicted != labels)
    return wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")]
