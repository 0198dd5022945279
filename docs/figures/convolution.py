"""Three taps on five numbers: what each output reads, and what each input gets back."""

import numpy as np

import tinynet as tn
from docs.site.drawing import Drawing

X, TAPS, GRADIENT = [2.0, -1.0, 3.0, 1.0, -2.0], [1.0, 2.0, -1.0], [1.0, -1.0, 2.0]
COLORS = ("f", "i", "Ctilde")


def numbers() -> dict[str, np.ndarray]:
    """x, y, dy and dx of a convolution with one channel."""
    x, W, dy = (np.reshape(values, (-1, 1)) for values in (X, TAPS, GRADIENT))
    y, cache = tn.ops.conv1d.forward(np, x[None], W[..., None], None)
    dx, _, _ = tn.ops.conv1d.backward(np, dy[None], cache=cache, needs=(True, True, False))
    return {"x": x[:, 0], "y": y[0, :, 0], "dx": dx[0, :, 0], "dy": dy[:, 0]}


def signed(value: float) -> str:
    return f"{value:.0f}".replace("-", "−")


def draw() -> Drawing:
    drawing = Drawing("A convolution of five numbers with three taps, forward and backward", height=256)
    values = numbers()
    for left, above, below, title in ((8, "y", "x", "forward: y from x"), (276, "dy", "dx", "backward: δx from δy")):
        drawing.text(left, 22, title, bold=True)
        for t in range(3):
            for k in range(3):
                start, end = (left + 70 + 46 * t, 72), (left + 24 + 46 * (t + k), 156)
                if above == "y":
                    start, end = end, start
                dx, dy = end[0] - start[0], end[1] - start[1]
                length = (dx * dx + dy * dy) ** 0.5
                drawing.arrow(start[0] + dx * 19 / length, start[1] + dy * 19 / length,
                              end[0] - dx * 19 / length, end[1] - dy * 19 / length, COLORS[k], 2)
        for name, y, first, color in ((above, 72, 70, "C"), (below, 156, 24, "h")):
            for t, value in enumerate(values[name]):
                drawing.circle(left + first + 46 * t, y, 17, "paper", color)
                drawing.text(left + first + 46 * t, y + 5, signed(value), anchor="middle")
            drawing.text(left + 222 + (10 if name == "x" else 0), y + 5 if name in ("y", "dy") else y + 34,
                         {"y": "y", "dy": "δy", "x": "x", "dx": "δx"}[name], color, "middle", bold=True)
    drawing.text(8, 232, "kernel", "muted")
    for k, (tap, color) in enumerate(zip(TAPS, COLORS, strict=True)):
        drawing.line(66 + 110 * k, 227, 92 + 110 * k, 227, color, 3)
        drawing.text(98 + 110 * k, 232, f"W[{k}] = {signed(tap)}", color)
    return drawing
