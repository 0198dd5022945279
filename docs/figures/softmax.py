"""The probabilities of a softmax, and the gradient of the cross-entropy by the logits: p − y."""

import numpy as np

import tinynet as tn
from docs.site.drawing import Drawing

LOGITS, LABEL = np.array([[1.0, 3.0, 0.2, 2.2, -1.0]]), 3


def probabilities_and_gradient() -> tuple[np.ndarray, np.ndarray]:
    logits = tn.Tensor(LOGITS, dtype="float64", requires_grad=True)
    tn.ops.cross_entropy(logits, np.array([LABEL])).backward()
    return tn.ops.softmax(tn.Tensor(LOGITS, dtype="float64")).numpy()[0], logits.grad[0]


def draw() -> Drawing:
    drawing = Drawing("Probabilities of five classes, and the gradient of the loss by their logits", height=250)
    p, gradient = probabilities_and_gradient()
    classes = {float(k): f"{k}" for k in range(5)}
    left = drawing.axes(38, 52, 200, 140, x=(-0.6, 4.6), y=(0, 1), yticks=(0, 0.5, 1), xticks=classes,
                        xlabel="class; the label is 3")
    right = drawing.axes(302, 52, 200, 140, x=(-0.6, 4.6), y=(-1, 1), yticks=(-1, 0, 1), xticks=classes,
                         xlabel="pushed down above 0, up below")
    drawing.text(38, 26, "p = softmax(z)", "f", bold=True)
    drawing.text(302, 26, "δz = p − y", "C", bold=True)
    for k in range(5):
        left.bar(k, p[k], "f" if k != LABEL else "Ctilde", 24)
        left.label(k, p[k], f"{p[k]:.2f}", "muted", "middle", 0, -5, size=12)
        right.bar(k, gradient[k], "C" if k != LABEL else "Ctilde", 24)
        right.label(k, gradient[k], f"{gradient[k]:.2f}".replace("-", "−"), "muted", "middle", 0,
                    -5 if gradient[k] > 0 else 15, size=12)
    return drawing
