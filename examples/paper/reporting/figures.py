"""The figures of the experiments, drawn with matplotlib, which is imported by the first figure.

A model has one colour in all figures, of a palette that readers with any colour vision can tell apart (Okabe and Ito).
"""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinynet import drawing, metrics
from tinynet.atomic import write_whole
from tinynet.drawing import available as available
from tinynet.drawing import new_figure, plain, sheet_of

PIXELS = 200  # in an inch of a PNG

COLOURS = {"LSTM-CNN": "#0072B2", "CNN-LSTM": "#E69F00", "LSTM": "#009E73", "CNN": "#D55E00",
           "deep LSTM-CNN": "#CC79A7", "CNN + LSTM": "#56B4E9"}
OTHER = "#000000"  # of what is not one model, such as a committee of several


class Drawing(NamedTuple):
    """A figure of RESULTS.md: `paint(path)` writes it as PNG, and as SVG beside it. The caption says what to see."""

    paint: Callable[[Path], None]
    caption: str


Figures = dict[str, Drawing]  # by the name of the file without its suffix


class Panel(NamedTuple):
    """Accuracies over the epochs: of each model by name those of its runs, (runs, epochs), on some images."""

    title: str
    lines: Mapping[str, Sequence[Sequence[float]]]
    images: int

    def errors(self, model: str) -> np.ndarray:
        """100 - accuracy in percent: the mean, the lowest and the highest of the runs (3, epochs).

        Half an image of all runs stands for 0, which has no logarithm.
        """
        errors = 100 - 100 * np.array(self.lines[model])
        shown = np.stack([errors.mean(axis=0), errors.min(axis=0), errors.max(axis=0)])
        return np.maximum(shown, 50 / self.images / len(errors))


def colour(name: str) -> str:
    return COLOURS.get(name, OTHER)


def curves(path: Path, rows: Sequence[Sequence[Panel]], *, title: str, vector: bool = True) -> None:
    """Draw rows of panels of one logarithmic scale: the mean error of each model, in a band of its runs."""
    figure = new_figure(9.0, 0.8 + 3.2 * len(rows))
    figure.suptitle(title)
    grid = figure.subplots(len(rows), len(rows[0]), sharex=True, sharey=True, squeeze=False)
    for panel, axes in zip((panel for row in rows for panel in row), grid.flat, strict=True):
        for name in panel.lines:
            mean, lowest, highest = panel.errors(name)
            epochs = np.arange(1, len(mean) + 1)
            axes.plot(epochs, mean, label=name, color=colour(name), marker="o" * (len(epochs) < 3))
            axes.fill_between(epochs, lowest, highest, color=colour(name), alpha=0.15, linewidth=0)
        axes.set(title=plain(panel.title), yscale="log")
        axes.grid(alpha=0.3, which="both")
    logarithmic(grid.flat[0].yaxis)
    for axes in grid[-1]:
        axes.set(xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in grid[:, 0]:
        axes.set(ylabel="100 - accuracy (%)")
    grid[0, 0].legend(loc="upper right")
    save(figure, path, vector)


def logarithmic(axis: Any) -> None:
    """Label a logarithmic axis at 1, 2 and 5 times the powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def confusions(path: Path, panels: Mapping[str, Sequence[np.ndarray]], classes: Sequence[str], *, title: str,
               columns: int) -> None:
    """Draw confusion matrices, each the mean of some runs on the same images: shares of a true class, and images."""
    side, rows = 2.0 + 0.6 * len(classes), -(-len(panels) // columns)
    figure = new_figure(side * columns + 1.5, (side + 0.3) * rows + 0.7)  # with the colour bar and the title
    figure.suptitle(title)
    grid = figure.subplots(rows, columns, squeeze=False)
    for (name, tables), axes in zip(panels.items(), grid.flat, strict=True):
        table = np.mean(tables, axis=0)
        totals = table.sum(axis=1)
        shares = table / np.maximum(totals, 1)[:, None]
        texts = [[f"{100 * count / max(total, 1):.1f} %\n{f'{count:,.1f}'.removesuffix('.0')} of {total:,.0f}"
                  for count in counts] for counts, total in zip(table, totals, strict=True)]
        shaded = drawing.confusion(axes, shares, texts, classes, letters=9 if side < 4 else 6)
        axes.set(title=plain(name))
    figure.colorbar(shaded, ax=grid, shrink=0.7, label=drawing.SHARES)
    save(figure, path, vector=True)


class Ranked(NamedTuple):
    """Labels, predictions and scores of the images of two classes."""

    labels: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray


def roc(path: Path, seeds: Sequence[Ranked], together: Ranked | None, *, name: str, title: str) -> None:
    """Draw the ROC curves of a model's seeds, thin, and of all together, thick: whole, and enlarged."""
    figure, both = new(10.0, 5.5, columns=2)
    areas = [metrics.roc_auc(one.labels, one.scores) for one in seeds]
    drawn = [(one, {"color": colour(name), "linewidth": 1.0}) for one in seeds]
    thin = f"{len(seeds)} seeds: AUC {min(areas):.3f} to {max(areas):.3f}" if len(seeds) > 1 else \
        f"one seed: AUC {areas[0]:.3f}"
    labels = [thin, *[""] * (len(seeds) - 1)]
    if together is not None:
        drawn.append((together, {"color": OTHER, "linewidth": 2.5}))
        labels.append(f"together: AUC {metrics.roc_auc(together.labels, together.scores):.3f}")
    for axes in both:
        for (one, style), label in zip(drawn, labels, strict=True):
            false, true, _ = metrics.roc_curve(one.labels, one.scores)
            axes.plot(false, true, label=label or None, **style)
            axes.plot(1 - metrics.specificity(one.labels, one.predicted),
                      metrics.sensitivity(one.labels, one.predicted), "o", color=style["color"],
                      markersize=4 * style["linewidth"] ** 0.5, markeredgecolor="white", zorder=3)
        axes.plot([], [], "o", color="grey", label="where a probability above 0.5 counts")
        axes.plot([0, 1], [0, 1], ":", color="grey", label="by chance")
        axes.set(xlabel="1 - specificity", ylabel="sensitivity")
    both[0].set(aspect="equal", title="whole")
    right, bottom = enlarged([one for one, _ in drawn])
    both[1].set(xlim=(-0.01 * right, right), ylim=(bottom, 1 + 0.01 * (1 - bottom)), title="enlarged")
    both[0].indicate_inset([0, bottom, right, 1 - bottom], edgecolor="black")
    both[0].legend(loc="lower right", fontsize=9)
    figure.suptitle(title)
    save(figure, path, vector=True)


def enlarged(drawn: Sequence[Ranked]) -> tuple[float, float]:
    """The corner of the ROC curves where they differ, in tenths.

    1 - specificity at which all have found 95 % of the positives, and the sensitivity of the lowest at 5 % of that
    width.
    """
    found = [metrics.roc_curve(one.labels, one.scores)[:2] for one in drawn]
    right = max(float(false[np.argmax(true >= 0.95)]) for false, true in found)
    right = min(1.0, max(0.1, math.ceil(10 * right) / 10))
    bottom = min(float(true[false <= 0.05 * right].max()) for false, true in found)
    return right, max(0.0, min(0.9, math.floor(10 * bottom) / 10))


def against_size(path: Path, kinds: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], *, title: str) -> None:
    """Draw the accuracy of committees against their size: by name the mean, the lowest, the highest, each (sizes)."""
    figure, axes = new()
    for name, (mean, low, high) in kinds.items():
        sizes = np.arange(1, len(mean) + 1)
        axes.plot(sizes, 100 * mean, marker="o", markersize=4, label=name, color=colour(name))
        axes.fill_between(sizes, 100 * low, 100 * high, color=colour(name), alpha=0.15, linewidth=0)
    axes.set(xlabel="networks in the committee", ylabel="test accuracy (%)", title=title)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="lower right")
    save(figure, path, vector=True)


def images(path: Path, pictures: Sequence[np.ndarray], captions: Sequence[str], *, title: str,
           vector: bool = False) -> None:
    """Draw a sheet of uint8 images (H,W,C), each with its caption."""
    save(sheet_of(pictures, captions, title), path, vector)


def new(width: float = 7.0, height: float = 4.5, columns: int = 1) -> tuple[Any, Any]:
    """A figure and its axes; an array of axes for several columns."""
    figure = new_figure(width, height)
    made = figure.subplots(1, columns)
    for axes in np.ravel(made):
        axes.grid(alpha=0.3)
    return figure, made


def save(figure: Any, path: Path, vector: bool = False) -> None:
    """Save a figure as PNG, and with `vector` as SVG beside it, each whole or not at all."""
    from matplotlib import rc_context

    nothing: dict[str, dict[str, None]] = {"png": {"Software": None}, "svg": {"Creator": None, "Date": None}}
    for kind in ("png", "svg")[: 1 + vector]:
        buffer = io.BytesIO()
        with rc_context({"svg.hashsalt": "tinynet"}):  # the same bytes each time
            figure.savefig(buffer, format=kind, dpi=PIXELS, metadata=nothing[kind])
        write_whole(path.with_suffix(f".{kind}"), buffer.getvalue())
