"""The figures of the experiments, drawn with matplotlib, which is imported by the first figure."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinynet import metrics
from tinynet.atomic import write_whole

COLUMNS = 5  # of a sheet of images
LEVEL_LETTERS = 30  # the most letters of all class names for horizontal labels

Figures = dict[str, Callable[[Path], None]]  # by the name of the file, the function that draws it


def available() -> bool:
    """Whether figures can be drawn."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    return True


def curves(path: Path, models: Mapping[str, Sequence[Sequence[float]]], *, ylabel: str, title: str) -> None:
    """Draw a line for each model: the mean of its runs after each epoch, in a band from the lowest to the highest."""
    figure, axes = new()
    tables = {name: 100 * np.array(runs) for name, runs in models.items()}  # (runs, epochs)
    for name, table in tables.items():
        epochs = np.arange(1, table.shape[1] + 1)
        line, = axes.plot(epochs, table.mean(axis=0), label=name, marker="o" if len(epochs) < 3 else "")
        axes.fill_between(epochs, table.min(axis=0), table.max(axis=0), color=line.get_color(), alpha=0.15, linewidth=0)
    top = max(table.max() for table in tables.values())
    half = min(np.median(table) for table in tables.values())
    bottom = max(0.0, min(half - 1.5 * (top - half), half - 1))  # to separate the last epochs
    remarks = {"lines are means, bands from the lowest to the highest run": any(len(runs) > 1 for runs in
                                                                               models.values()),
               "the first epochs are cut off": any(table.min() < bottom for table in tables.values())}
    remark = "; ".join(text for text, holds in remarks.items() if holds)
    axes.set(xlabel=f"epoch\n{remark}".strip(), ylabel=ylabel, title=title)
    axes.set_ylim(bottom, top + 0.05 * (top - bottom))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="lower right")
    save(figure, path)


def heat_map(path: Path, table: np.ndarray, classes: Sequence[str], *, title: str) -> None:
    """Draw a confusion matrix. Colours are shares of each true class, numbers are images."""
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    side = 3.0 + 0.6 * len(classes)
    figure, axes = new(side + 1.5, side)  # with the colour bar
    axes.grid(False)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(table):
        axes.text(j, i, f"{count:,}", ha="center", va="center", color="white" if shares[i, j] > 0.5 else "black")
    turned = {"rotation": 45, "ha": "right"} if sum(map(len, classes)) > LEVEL_LETTERS else {}
    axes.set_xticks(range(len(classes)), map(plain, classes), **turned)
    axes.set_yticks(range(len(classes)), map(plain, classes))
    axes.set(xlabel="predicted", ylabel="true", title=title)
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the true class")
    save(figure, path)


def roc(path: Path, runs: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], *, title: str) -> None:
    """Draw the ROC curves of labels, predictions and scores by name, with a point for the predictions."""
    figure, axes = new(5.5, 5.5)
    for name, (labels, predicted, scores) in runs.items():
        false, true, _ = metrics.roc_curve(labels, scores)
        line, = axes.plot(false, true, label=f"{name}: AUC {metrics.roc_auc(labels, scores):.3f}", linewidth=1.2)
        axes.plot(1 - metrics.specificity(labels, predicted), metrics.sensitivity(labels, predicted), "o",
                  color=line.get_color(), markersize=4)
    axes.plot([], [], "o", color="grey", markersize=4, label="where a probability above 0.5 counts")
    axes.plot([0, 1], [0, 1], ":", color="grey", label="by chance")
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title=title, aspect="equal")
    axes.legend(loc="lower right")
    save(figure, path)


def against_size(path: Path, kinds: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], *, title: str) -> None:
    """Draw the accuracy of committees against their size: by name the mean, the lowest, the highest, each (sizes)."""
    figure, axes = new()
    for name, (mean, low, high) in kinds.items():
        sizes = np.arange(1, len(mean) + 1)
        line, = axes.plot(sizes, 100 * mean, marker="o", markersize=4, label=name)
        axes.fill_between(sizes, 100 * low, 100 * high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set(xlabel="networks in the committee\nlines are means, bands from the lowest to the highest such committee",
             ylabel="test accuracy (%)", title=title)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="lower right")
    save(figure, path)


def images(path: Path, pictures: Sequence[np.ndarray], captions: Sequence[str], *, title: str) -> None:
    """Draw a sheet of uint8 images (H,W,C), each with its caption."""
    columns, rows = COLUMNS, max(1, -(-len(pictures) // COLUMNS))
    figure = new_figure(2.4 * columns, 0.5 + 2.8 * rows)
    figure.suptitle(title)
    for place, (picture, caption) in enumerate(zip(pictures, captions, strict=True), 1):
        axes = figure.add_subplot(rows, columns, place)
        axes.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255)
        axes.set_title(plain(caption), fontsize=8)
        axes.axis("off")
    if not pictures:
        figure.text(0.5, 0.5, "none", ha="center")
    save(figure, path)


def new(width: float = 7.0, height: float = 4.5, columns: int = 1) -> tuple[Any, Any]:
    """A figure and its axes; an array of axes for several columns."""
    figure = new_figure(width, height)
    made = figure.subplots(1, columns)
    for axes in np.ravel(made):
        axes.grid(alpha=0.3)
    return figure, made


def new_figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def plain(name: str) -> str:
    """A name escaped for matplotlib, which would read $ as a formula."""
    return name.replace("$", r"\$")


def save(figure: Any, path: Path) -> None:
    """Save a figure as PNG, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    write_whole(path, buffer.getvalue())
