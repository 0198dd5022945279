"""A small digit and the trained LSTM of 32 units that reads it, for the figures of two chapters."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

import tinynet as tn
from docs.site.drawing import Drawing

MODEL = Path(__file__).parents[2] / "examples" / "trained" / "lstm_32.safetensors"
INDEX = 3  # of the test image


class Reading(NamedTuple):
    """What an LSTM makes of a digit, row by row: arrays (T,H), and the probabilities after each row, (T,10)."""

    image: np.ndarray  # (T,D), 0 ... 1
    label: int
    f: np.ndarray
    i: np.ndarray
    Ctilde: np.ndarray
    o: np.ndarray
    C: np.ndarray
    h: np.ndarray
    p: np.ndarray


@cache
def weights() -> list[np.ndarray]:
    """W and b of the LSTM, W and b of the Dense layer, in float64."""
    lstm, dense = tn.load(MODEL)
    return [part.numpy().astype(np.float64) for part in (lstm.W, lstm.b, dense.W, dense.b)]


@cache
def reading(index: int = INDEX) -> Reading:
    """The digit with this index among the test images. Units are in the order of the row at which |C| is largest."""
    data, _ = tn.data.load("digits")
    image = data.test_images[index].astype(np.float64) / 255
    W, b, V, c = weights()
    (y, _, _), (_, gates, C, _, _, _, _) = tn.ops.lstm.forward(np, image[None], None, None, W, b)
    f, i, Ctilde, o = gates[:, :, 0].transpose(1, 0, 2)  # (T,H)
    C, h = C[1:, 0], y[0]
    p = tn.ops.softmax(tn.Tensor(h @ V + c)).numpy()
    order = np.argsort(np.abs(C).argmax(axis=0), kind="stable")
    return Reading(image, int(data.test_labels[index]), f[:, order], i[:, order], Ctilde[:, order], o[:, order],
                   C[:, order], h[:, order], p)


def draw() -> Drawing:
    read = reading()
    drawing = Drawing("A digit, one row for each time step", height=190)
    drawing.heat(20, 20, 150, 150, read.image, 1.0)
    return drawing
