"""Three optimizers go down a valley that is a hundred times as steep in one direction as in the other."""

import numpy as np

import tinynet as tn
from docs.site.drawing import Drawing

START, STEPS, CURVATURE = (-4.0, 1.0), 60, np.array([1.0, 100.0])


def path(make: object, lr: float) -> np.ndarray:
    """The points (STEPS+1,2) of an optimizer, which is made by make(parameters, lr=lr)."""
    point = tn.nn.Parameter(np.array(START, "float64"))
    optimizer, points = make([point], lr=lr), [point.numpy().copy()]  # type: ignore[operator]
    for _ in range(STEPS):
        optimizer.zero_grad()
        (point * point * CURVATURE / 2).sum().backward()
        optimizer.step()
        points.append(point.numpy().copy())
    return np.array(points)


def momentum(parameters: list[tn.nn.Parameter], lr: float) -> tn.optim.Optimizer:
    return tn.optim.SGD(parameters, lr=lr, momentum=0.9)


def loss(points: np.ndarray) -> np.ndarray:
    return (points**2 * CURVATURE / 2).sum(axis=1)


PATHS = {"gradient descent": (tn.optim.SGD, 0.018, "i"), "momentum": (momentum, 0.01, "Ctilde"),
         "Adam": (tn.optim.Adam, 0.3, "f")}


def in_text() -> dict[str, str]:
    """The loss of each optimizer after the last step."""
    return {name: f"{loss(path(make, lr))[-1]:.2g}" for name, (make, lr, _) in PATHS.items()}


def draw() -> Drawing:
    drawing = Drawing("Three optimizers in a long narrow valley", height=300)
    axes = drawing.axes(40, 40, 320, 204, x=(0, STEPS), y=(1e-3, 100), log="y", xticks=(0, 20, 40, 60),
                        yticks={1e-2: "0.01", 1.0: "1", 100.0: "100"}, xlabel="steps", ylabel="loss")
    for name, (make, lr, color) in PATHS.items():
        values = np.maximum(loss(path(make, lr)), 1e-3)
        axes.curve(range(STEPS + 1), values, color)
        axes.label(STEPS, values[-1], name, color, dx=8, bold=True)
    return drawing
