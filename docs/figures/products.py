"""A Dense layer in numbers: one element of the output and one of the gradient of W, with what they are made of."""

import numpy as np

import tinynet as tn
from docs.site.drawing import Drawing


def matrices() -> dict[str, np.ndarray]:
    """x, W, y of the forward pass, and dy, dW of the backward pass, all small integers."""
    rng = np.random.default_rng(4)
    x, W, dy = (rng.integers(-2, 3, shape).astype(float) for shape in ((4, 3), (3, 2), (4, 2)))
    y, cache = tn.ops.dense.forward(np, x, W, None)
    _, dW, _ = tn.ops.dense.backward(np, dy, cache=cache, needs=(True, True, False))
    return {"x": x, "W": W, "y": y, "xᵀ": x.T, "δy": dy, "δW": dW}


def matrix(drawing: Drawing, left: float, top: float, name: str, values: np.ndarray, marked: np.ndarray) -> None:
    cell = 30
    drawing.text(left + values.shape[1] * cell / 2, top - 10, name, anchor="middle", bold=True)
    drawing.heat(left, top, values.shape[1] * cell, values.shape[0] * cell, values, 24, diverging=True)
    for (row, column), value in np.ndenumerate(values):
        if marked[row, column]:
            drawing.rect(left + column * cell + 1, top + row * cell + 1, cell - 2, cell - 2, "none", "C", 3)
        drawing.text(left + column * cell + cell / 2, top + row * cell + 20, f"{value:.0f}".replace("-", "−"),
                     "C" if marked[row, column] else "ink", "middle", bold=bool(marked[row, column]))


def mark(shape: tuple[int, ...], row: int | None = None, column: int | None = None) -> np.ndarray:
    marked = np.zeros(shape, bool)
    marked[slice(None) if row is None else row, slice(None) if column is None else column] = True
    return marked


def draw() -> Drawing:
    drawing = Drawing("The products of a Dense layer, forward and backward, in numbers", height=340)
    m = matrices()
    row, feature, out = 1, 2, 0
    for top, names, marks in (
            (44, ("x", "W", "y"), (mark((4, 3), row), mark((3, 2), None, out), mark((4, 2), row, out))),
            (212, ("xᵀ", "δy", "δW"), (mark((3, 4), feature), mark((4, 2), None, out), mark((3, 2), feature, out)))):
        left = 30.0
        for name, marked, sign in zip(names, marks, ("", "×", "="), strict=True):
            values = m[name]
            if sign:
                drawing.text(left + 18, top + 62, sign, "muted", "middle", 20)
                left += 36
            matrix(drawing, left, top + (4 - values.shape[0]) * 15, name, values, marked)
            left += values.shape[1] * 30
        drawing.text(left + 16, top + 58, ("y = x W", "δW = xᵀ δy")[top > 100], "muted", mono=True)
    return drawing
