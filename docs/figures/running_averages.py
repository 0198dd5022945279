"""The running mean of BatchNorm, batch by batch: with the plain formula from 0, and with the correction."""

import numpy as np

from docs.site.drawing import Drawing
from tinynet.ops.batchnorm import running_averages

TRUE, BATCHES, MOMENTUM = 2.0, 30, 0.9


def averages() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean of each batch, and both running averages after it."""
    rng, batch, plain, corrected = np.random.default_rng(0), [], [0.0], [0.0]
    mean, var = np.zeros(1), np.ones(1)
    for seen in range(BATCHES):
        x = rng.normal(TRUE, 1.0, 16)
        batch.append(x.mean())
        plain.append(MOMENTUM * plain[-1] + (1 - MOMENTUM) * batch[-1])
        running_averages(mean, var, x[None].mean(axis=1), x[None].var(axis=1), momentum=MOMENTUM, seen=seen)
        corrected.append(float(mean[0]))
    return np.array(batch), np.array(plain), np.array(corrected)


def draw() -> Drawing:
    drawing = Drawing("Two running averages of a mean that is 2, over thirty batches", height=280)
    batch, plain, corrected = averages()
    axes = drawing.axes(40, 36, 460, 190, x=(0, BATCHES), y=(0, 2.6), xticks=(0, 5, 10, 20, 30), yticks=(0, 1, 2),
                        xlabel="batches seen", ylabel="running mean of a channel")
    axes.points(range(1, BATCHES + 1), batch, "rule", 3.5)
    axes.curve(range(BATCHES + 1), plain, "C")
    axes.curve(range(1, BATCHES + 1), corrected[1:], "f")
    axes.label(12, 0.75, "plain: 0.9 of the old value", "C", bold=True)
    axes.label(13.6, 2.28, "corrected, as in tinynet", "f", bold=True)
    axes.label(5, plain[5], f"{plain[5]:.2f} after five", "muted", dx=10, dy=16, size=12)
    axes.points([5], [plain[5]], "C", 4.5)
    return drawing
