"""Views of digits: the same images upright, of one width, or with rows and columns exchanged.

A committee gains most from members that make different mistakes. Ciresan and others (2012) gave each member digits of
another width. Output pixel (y, x) of an image takes its value, linearly between two pixels of the row, from the column

    (1)  q = mean_x + s (y - mean_y) + x - centre          s = sum m (x - mean_x)(y - mean_y) / sum m (y - mean_y)^2
    (2)  q = middle + (x - centre) box / width             box, middle: width and middle of the columns with ink

of the original, where m is the ink of a pixel: (1) shears a digit upright and centres it, (2) gives it a width.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import tinynet as tn

INK = 32  # a column with less in all pixels does not belong to the digit
STRETCHED = 2.0  # a narrow digit, such as 1, becomes at most this much wider
CHUNK = 1000  # images at a time

WIDTHS = (None, 10, 12, 14, 16, 18, 20)


@dataclass(frozen=True)
class View:
    """How a member sees digits: sheared upright, of a width in pixels (None: their own), by columns instead of rows.

    >>> View(width=10, deskewed=True).name
    'w10_deskewed'
    """

    width: int | None = None
    deskewed: bool = False
    by_columns: bool = False

    @property
    def name(self) -> str:
        return "_".join([f"w{self.width}" if self.width else "own", *["deskewed"] * self.deskewed,
                         *["columns"] * self.by_columns])

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W, 1) -> the same shape; H = W for a view by columns."""
        seen = images[..., 0]
        if self.deskewed:
            seen = in_chunks(upright, seen)
        if self.width:
            width = self.width
            seen = in_chunks(lambda some: of_width(some, width), seen)
        return np.ascontiguousarray(seen.swapaxes(1, 2) if self.by_columns else seen)[..., None]


@dataclass(frozen=True)
class Member:
    """A network of a committee: the function in `tinynet.models` that makes it, what it sees, its seed."""

    architecture: str
    view: View
    seed: int

    @property
    def name(self) -> str:
        return f"{self.architecture}_{self.view.name}"

    def make(self) -> tn.nn.Sequential:
        made: tn.nn.Sequential = getattr(tn.models, self.architecture)()
        return made


MEMBERS = tuple(member for width in WIDTHS for member in (
    Member("lstm_cnn", View(width), 0), Member("cnn_lstm", View(width), 1),
    Member("lstm_cnn", View(width, by_columns=True), 2),
    Member("lstm_cnn", View(width, deskewed=True), 3), Member("cnn_lstm", View(width, deskewed=True), 4)))


def in_chunks(change: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    return np.concatenate([change(images[start : start + CHUNK]) for start in range(0, len(images), CHUNK)])


def upright(images: np.ndarray) -> np.ndarray:
    """Equation (1): uint8 (N, H, W) -> the same."""
    mass = images.astype(np.float64)
    total = np.maximum(mass.sum(axis=(1, 2)), 1.0)
    y, x = np.arange(images.shape[1])[:, None], np.arange(images.shape[2])
    mean_y, mean_x = ((mass * one).sum(axis=(1, 2)) / total for one in (y, x))
    down, across = y - mean_y[:, None, None], x - mean_x[:, None, None]
    slope = (mass * down * across).sum(axis=(1, 2)) / np.maximum((mass * down**2).sum(axis=(1, 2)), 1e-9)
    centre = (images.shape[2] - 1) / 2
    return columns_from(images, mean_x[:, None, None] + slope[:, None, None] * down + x - centre)


def of_width(images: np.ndarray, width: int) -> np.ndarray:
    """Equation (2): uint8 (N, H, W) -> the same."""
    ink = (images >= INK).any(axis=1)  # (N, W)
    first = ink.argmax(axis=1)
    last = images.shape[2] - 1 - ink[:, ::-1].argmax(axis=1)
    scale = np.maximum((last - first + 1) / width, 1 / STRETCHED)
    x = np.arange(images.shape[2]) - (images.shape[2] - 1) / 2
    places = (first + last)[:, None] / 2 + scale[:, None] * x
    return columns_from(images, np.broadcast_to(places[:, None, :], images.shape))


def columns_from(images: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The values of each row at real columns `places` (N, H, W), linearly between pixels, 0 beyond the border."""
    padded = np.pad(images, [(0, 0), (0, 0), (1, 1)]).astype(np.float64)
    places = np.clip(places + 1, 0, images.shape[2] + 1)
    before = np.minimum(places.astype(np.int64), images.shape[2])
    share = places - before
    left, right = (np.take_along_axis(padded, before + step, axis=2) for step in (0, 1))
    return np.rint((1 - share) * left + share * right).astype(np.uint8)
