"""The figures of the experiments, drawn with matplotlib, which is imported when the first one is drawn."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinynet import metrics
from tinynet.files import write_whole

COLUMNS = 5  # of a sheet of images


def available() -> bool:
    """Whether figures can be drawn."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    return True


def curves(path: Path, models: Mapping[str, Sequence[Sequence[float]]], *, ylabel: str, title: str) -> None:
    """A line for each model: the mean over its runs, after each epoch, in a band from the lowest to the highest."""
    figure, axes = _new()
    for name, runs in models.items():
        table = 100 * np.array(runs)  # (runs, epochs)
        epochs = np.arange(1, table.shape[1] + 1)
        line, = axes.plot(epochs, table.mean(axis=0), label=name, marker="o" if len(epochs) < 3 else "")
        axes.fill_between(epochs, table.min(axis=0), table.max(axis=0), color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set(xlabel="epoch", ylabel=ylabel, title=title)
    top = max(float(100 * np.max(runs)) for runs in models.values())
    half = min(float(100 * np.median(runs)) for runs in models.values())
    bottom = max(0.0, min(half - 1.5 * (top - half), half - 1))  # the first epochs are cut off
    axes.set_ylim(bottom, top + 0.05 * (top - bottom))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="lower right")
    _save(figure, path)


def heat_map(path: Path, table: np.ndarray, classes: Sequence[str], *, title: str) -> None:
    """A confusion matrix: colours are shares of each true class, the numbers in it are images."""
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    side = 3.0 + 0.6 * len(classes)
    figure, axes = _new(side + 1.5, side)  # the bar of colours beside it
    axes.grid(False)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(table):
        axes.text(j, i, f"{count:,}", ha="center", va="center", color="white" if shares[i, j] > 0.5 else "black")
    axes.set_xticks(range(len(classes)), map(_plain, classes))
    axes.set_yticks(range(len(classes)), map(_plain, classes))
    axes.set(xlabel="predicted", ylabel="true", title=title)
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the true class")
    _save(figure, path)


def roc(path: Path, runs: Mapping[str, tuple[np.ndarray, np.ndarray]], *, title: str) -> None:
    """The receiver operating characteristic of labels and scores by name; where 0.5 lies is a point on each."""
    figure, axes = _new(5.5, 5.5)
    for name, (labels, scores) in runs.items():
        false, true, _ = metrics.roc_curve(labels, scores)
        line, = axes.plot(false, true, label=f"{name}: AUC {metrics.roc_auc(labels, scores):.3f}", linewidth=1.2)
        predicted = (scores >= 0.5).astype(int)
        axes.plot(1 - metrics.specificity(labels, predicted), metrics.sensitivity(labels, predicted), "o",
                  color=line.get_color(), markersize=4)
    axes.plot([0, 1], [0, 1], ":", color="grey")
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title=title, aspect="equal")
    axes.legend(loc="lower right")
    _save(figure, path)


def against_size(path: Path, kinds: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], *, title: str) -> None:
    """Accuracy of committees against their size: by name the mean, the lowest, the highest, each (sizes)."""
    figure, axes = _new()
    for name, (mean, low, high) in kinds.items():
        sizes = np.arange(1, len(mean) + 1)
        line, = axes.plot(sizes, 100 * mean, marker="o", markersize=4, label=name)
        axes.fill_between(sizes, 100 * low, 100 * high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set(xlabel="networks in the committee", ylabel="test accuracy (%)", title=title)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="lower right")
    _save(figure, path)


def images(path: Path, pictures: Sequence[np.ndarray], titles: Sequence[str]) -> None:
    """A sheet of uint8 images (H,W,C), each with its title."""
    columns, rows = COLUMNS, max(1, -(-len(pictures) // COLUMNS))
    figure, _ = _new(2.4 * columns, 2.8 * rows, axes=False)
    for place, (picture, title) in enumerate(zip(pictures, titles, strict=True), 1):
        axes = figure.add_subplot(rows, columns, place)
        axes.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255)
        axes.set_title(_plain(title), fontsize=8)
        axes.axis("off")
    if not pictures:
        figure.text(0.5, 0.5, "none", ha="center")
    _save(figure, path)


def _new(width: float = 7.0, height: float = 4.5, axes: bool = True) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    if not axes:
        return figure, None
    made = figure.add_subplot()
    made.grid(alpha=0.3)
    return figure, made


def _plain(name: str) -> str:
    """A name in which matplotlib finds no formula."""
    return name.replace("$", r"\$")


def _save(figure: Any, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    write_whole(path, buffer.getvalue())
