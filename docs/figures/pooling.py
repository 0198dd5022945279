"""Eight numbers through ReLU, max pooling and dropout, and a gradient on its way back."""

import numpy as np

import tinynet as tn
from docs.site.drawing import Drawing

X = [1.0, -2.0, 3.0, 2.5, -1.0, -0.5, 0.5, 2.0]
KEY = (5, 1)  # with which dropout drops the first of the four


def rows() -> list[tuple[str, np.ndarray]]:
    """The numbers after each step, and the gradient with respect to each of these rows."""
    x = np.reshape(X, (1, 8, 1))
    a, relu = tn.ops.relu.forward(np, x)
    b, pool = tn.ops.max_pool1d.forward(np, a, 2)
    c, drop = tn.ops.dropout.forward(np, b, 0.25, key=KEY, counter=0)
    dc = np.reshape([1.0, 2.0, -1.0, 3.0], c.shape)
    db = tn.ops.dropout.backward(np, dc, cache=drop, needs=(True,))
    da = tn.ops.max_pool1d.backward(np, db, cache=pool, needs=(True,))
    dx = tn.ops.relu.backward(np, da, cache=relu, needs=(True,))
    named = {"x": x, "ReLU": a, "max of two": b, "dropout": c,
             "δ dropout": dc, "δ max of two": db, "δ ReLU": da, "δx": dx}
    return [(name, array.ravel()) for name, array in named.items()]


def draw() -> Drawing:
    drawing = Drawing("Eight numbers through ReLU, max pooling and dropout, and the gradient back", height=356)
    drawing.text(4, 22, "forward", "f", bold=True)
    drawing.text(4, 196, "backward", "C", bold=True)
    for k, (name, values) in enumerate(rows()):
        top = 34 + 36 * k + (30 if k > 3 else 0)
        drawing.text(112, top + 20, name, "muted", "end")
        cell = 392 / len(values)
        drawing.heat(122, top, 392, 28, values[None], 9, diverging=True)
        for j, value in enumerate(values):
            text = f"{value:.3g}".replace("-", "−")
            drawing.line(122 + cell * j, top, 122 + cell * j, top + 28)
            drawing.text(122 + cell * (j + 0.5), top + 19, text, "ink" if value else "muted", "middle", 13)
    return drawing
