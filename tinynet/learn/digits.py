"""Ten digits as strokes of a pen, for a start without drawing. A stroke is a line through points (x, y) in 0 ... 28."""

from itertools import pairwise

import numpy as np

from tinynet.types import Array

WIDTH = 1.3  # half the width of the pen, in pixels

STROKES: list[list[list[list[float]]]] = [
    [[[14, 5], [9, 8], [8, 14], [9, 20], [14, 23], [19, 20], [20, 14], [19, 8], [14, 5]]],
    [[[11, 8], [15, 5], [15, 23]]],
    [[[8, 9], [11, 5], [16, 5], [19, 9], [17, 13], [8, 23], [20, 23]]],
    [[[8, 6], [18, 6], [13, 12], [18, 14], [19, 18], [16, 22], [11, 23], [8, 21]]],
    [[[16, 5], [7, 17], [21, 17]], [[17, 11], [17, 23]]],
    [[[19, 5], [10, 5], [9, 12], [15, 11], [19, 15], [18, 20], [14, 23], [8, 21]]],
    [[[17, 5], [11, 10], [8, 16], [10, 22], [15, 23], [19, 19], [17, 15], [12, 14], [9, 17]]],
    [[[8, 6], [20, 6], [13, 23]]],
    [[[14, 13], [9, 10], [10, 6], [14, 5], [18, 6], [19, 10], [14, 13], [9, 17], [10, 22], [14, 23], [18, 22],
      [19, 17], [14, 13]]],
    [[[19, 9], [16, 13], [11, 13], [9, 9], [11, 5], [16, 5], [19, 9], [18, 16], [15, 23]]],
]


def drawn() -> Array:
    """The ten digits as images (10,28,28), 0 ... 1: 1 on the line, falling to 0 over a pixel at its border."""
    y, x = np.mgrid[0:28, 0:28] + 0.5
    images = np.zeros((10, 28, 28), np.float32)
    for image, strokes in zip(images, STROKES, strict=True):
        for stroke in strokes:
            for (x1, y1), (x2, y2) in pairwise(stroke):
                along = np.clip(((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / ((x2 - x1)**2 + (y2 - y1)**2), 0, 1)
                away = np.hypot(x - x1 - along * (x2 - x1), y - y1 - along * (y2 - y1))
                np.maximum(image, np.clip(WIDTH + 0.5 - away, 0, 1), out=image)
    return images
