"""Figures with matplotlib, which is imported by the first one."""

import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynet.atomic import write_whole

COLUMNS = 5  # of a sheet of images
LEVEL_LETTERS = 30  # the most letters of all class names for horizontal labels
SHARES = "share of the true class"  # beside the colours of a confusion matrix


def available() -> bool:
    """Whether figures can be drawn."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    return True


def new_figure(width: float, height: float) -> Any:
    """An empty figure, of a size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def plain(name: str) -> str:
    """A name escaped for matplotlib, which would read $ as a formula.

    >>> plain("$x$")
    '\\\\$x\\\\$'
    """
    return name.replace("$", r"\$")


def save(figure: Any, path: str | os.PathLike[str]) -> None:
    """Save a figure as PNG, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    write_whole(path, buffer.getvalue())


def heat_map(path: str | os.PathLike[str], table: np.ndarray, classes: Sequence[str], *, title: str) -> None:
    """Draw a confusion matrix (K,K). Colours are shares of each true class, numbers are images."""
    side = 3.0 + 0.6 * len(classes)
    figure = new_figure(side + 1.5, side)  # with the colour bar
    axes = figure.subplots()
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    shaded = confusion(axes, shares, [[f"{count:,}" for count in row] for row in table], classes)
    axes.set(title=title)
    figure.colorbar(shaded, ax=axes, shrink=0.7, label=SHARES)
    save(figure, path)


def confusion(axes: Any, shares: np.ndarray, texts: Sequence[Sequence[str]], classes: Sequence[str], *,
              letters: float | None = None) -> Any:
    """Draw shares (K,K) of each true class as colours with texts, `letters` points high. Returns the coloured image."""
    shaded = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (i, j), share in np.ndenumerate(shares):
        axes.text(j, i, texts[i][j], ha="center", va="center", color="white" if share > 0.5 else "black",
                  fontsize=letters)
    turned = {"rotation": 45, "ha": "right"} if sum(map(len, classes)) > LEVEL_LETTERS else {}
    axes.set_xticks(range(len(classes)), map(plain, classes), **turned)
    axes.set_yticks(range(len(classes)), map(plain, classes), rotation=90 * (not turned), va="center")
    axes.set(xlabel="predicted", ylabel="true")
    return shaded


def sheet(path: str | os.PathLike[str], pictures: Sequence[np.ndarray], captions: Sequence[str], *, title: str) -> None:
    """Draw uint8 images (H,W,C) side by side, each with its caption."""
    save(sheet_of(pictures, captions, title), path)


def sheet_of(pictures: Sequence[np.ndarray], captions: Sequence[str], title: str) -> Any:
    """The figure of `sheet`."""
    columns = min(COLUMNS, max(3, len(pictures)))  # three are as wide as a title
    rows = max(1, -(-len(pictures) // columns))
    figure = new_figure(2.4 * columns, 0.5 + 2.8 * rows)
    figure.suptitle(title)
    for place, (picture, caption) in enumerate(zip(pictures, captions, strict=True), 1):
        axes = figure.add_subplot(rows, columns, place)
        _show(axes, picture)
        axes.set_title(plain(caption), fontsize=8)
        axes.axis("off")
    if not pictures:
        figure.text(0.5, 0.5, "none", ha="center")
    return figure


def _show(axes: Any, picture: np.ndarray) -> None:
    """Draw a uint8 image (H,W,1) in grey, or (H,W,3) in its colours. Any side may be a single pixel."""
    axes.imshow(picture[..., 0] if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=255)


def map_over(path: str | os.PathLike[str], picture: np.ndarray, heat: np.ndarray, *, title: str, label: str,
             signed: bool) -> None:
    """Draw a uint8 image (H,W,C), the same in grey below a map (H,W), and the scale of the map.

    label    what the map shows
    signed   whether 0 is in the middle of the scale, or at its end
    """
    figure = new_figure(9, 4.4)
    figure.suptitle(plain(title), fontsize=10)
    left, right = figure.subplots(1, 2)
    _show(left, picture)
    right.imshow(picture.mean(axis=-1), cmap="gray", vmin=0, vmax=255)
    most = float(np.abs(heat).max()) or 1.0
    colours, least = ("PuOr_r", -most) if signed else ("inferno", 0.0)
    shade = right.imshow(heat, cmap=colours, vmin=least, vmax=most, alpha=0.55)
    for axes in (left, right):
        axes.axis("off")
    figure.colorbar(shade, ax=right, shrink=0.85, label=label)
    save(figure, path)
