"""The error of a measured derivative of an LSTM's output, for each size of the step: three ways to measure it."""

from functools import partial
from typing import Any

import numpy as np

import tinynet as tn
from docs.site.drawing import Drawing, powers

STEPS = 10.0 ** np.arange(-20, 0.01, 0.5)
ELEMENT = 4, 8  # of W: a weight from x to the candidate state, with a derivative of ordinary size


def output(shapes: list[Any], weights: Any, step: complex) -> complex:
    """The weighted sum of the outputs of an LSTM, with one element of W moved by a step."""
    x, W, b = (array.astype(complex) for array in shapes)
    W[ELEMENT] += step
    (y, _, _), _ = tn.ops.lstm.forward(np, x, None, None, W, b)
    return complex((y * weights).sum())


def errors() -> dict[str, np.ndarray]:
    """The relative errors by method, one for each step."""
    draw = np.random.default_rng(0).standard_normal
    arrays, weights = [draw((2, 5, 3)), draw((7, 16)), draw(16)], draw((2, 5, 4))
    f = partial(output, arrays, weights)
    tensors = [tn.Tensor(array, dtype="float64", requires_grad=True) for array in arrays]
    y, _, _ = tn.ops.lstm(tensors[0], None, None, tensors[1], tensors[2])
    (y * weights).sum().backward()
    true = tensors[1].grad[ELEMENT]
    measured = {"one-sided": [(f(h) - f(0)).real / h for h in STEPS],
                "central": [(f(h) - f(-h)).real / (2 * h) for h in STEPS],
                "complex step": [f(1j * h).imag / h for h in STEPS]}
    return {name: np.maximum(np.abs(np.array(values) / true - 1), 1e-16) for name, values in measured.items()}


def draw() -> Drawing:
    drawing = Drawing("Relative error of three measured derivatives against the size of the step", height=330)
    axes = drawing.axes(52, 40, 440, 230, x=(1e-20, 1), y=(1e-16, 1e2), log="xy", ylabel="relative error",
                        xlabel="size of the step h", xticks=powers(-20, -15, -10, -5, 0),
                        yticks=powers(-16, -12, -8, -4, 0))
    for values, color in zip(errors().values(), ("i", "f", "Ctilde"), strict=True):
        axes.curve(STEPS, values, color)
    axes.label(2e-9, 1e-3, "one-sided", "i", bold=True)
    axes.label(3e-17, 1e-6, "central", "f", bold=True)
    axes.label(1e-19, 1e-13, "complex step", "Ctilde", bold=True)
    return drawing
