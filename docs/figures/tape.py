"""Five nodes of a tape: the values of the forward pass, and the gradients that meet them on the way back."""

import tinynet as tn
from docs.site.drawing import Drawing

X, WEIGHT, BIAS, TARGET = 0.5, 2.0, -0.5, 0.0
STEPS = [("w x", lambda w, b: w * X), ("+ b", lambda u, b: u + b), ("tanh", lambda z, b: tn.ops.tanh(z)),
         ("− t", lambda y, b: y - TARGET), ("square", lambda e, b: e * e)]


def run(start: int, value: float, bias: tn.Tensor) -> tuple[list[float], float]:
    """The values from node `start` on, and the gradient of the last one by the value that enters."""
    entering = tn.Tensor(value, dtype="float64", requires_grad=True)
    values, x = [], entering
    for _, function in STEPS[start:]:
        x = function(x, bias)
        values.append(x.item())
    if x is not entering:
        x.backward()
    return values, 1.0 if entering.grad is None else float(entering.grad)


def numbers() -> tuple[list[float], list[float]]:
    """The value that leaves w and each node, and the gradient of the loss by it."""
    bias = tn.Tensor(BIAS, dtype="float64")
    values = [WEIGHT, *run(0, WEIGHT, bias)[0]]
    return values, [run(k, value, bias)[1] for k, value in enumerate(values[:-1])] + [1.0]


def draw() -> Drawing:
    drawing = Drawing("Five nodes of a tape with their values and gradients", height=176)
    values, gradients = numbers()
    drawing.text(4, 26, "forward", "f", bold=True)
    drawing.text(4, 162, "backward", "C", bold=True)
    for k, (value, gradient) in enumerate(zip(values, gradients, strict=True)):
        x = 26 + 92 * k
        if k == 0:
            drawing.circle(x, 92, 17, "paper", "muted")
            drawing.text(x, 97, "w", anchor="middle")
        else:
            drawing.rect(x - 35, 73, 64, 38, "fill", "muted", 6)
            drawing.text(x - 3, 97, STEPS[k - 1][0], anchor="middle")
        if k < len(values) - 1:
            left = x + (20 if k == 0 else 32)
            drawing.arrow(left, 86, x + 53, 86, "f")
            drawing.arrow(x + 53, 99, left, 99, "C")
        drawing.text(x - 3, 60, f"{value:.3g}".replace("-", "−"), "f", "middle")
        drawing.text(x - 3, 134, f"{gradient:.3f}".replace("-", "−"), "C", "middle")
    return drawing
