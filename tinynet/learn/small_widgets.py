"""What the widgets of the lab compute that need no trained model: see lab.py."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinynet import intervals, nn, ops, optim
from tinynet.learn import small_tape
from tinynet.metrics import roc_curve
from tinynet.random import normal, stream, uniform
from tinynet.tensor import Tensor
from tinynet.types import Array

_KEY = (0, stream("lab"))


def products(row: int, column: int) -> dict[str, Any]:
    """A Dense layer in small numbers: x (4,3), W (3,2), y and dy (4,2), dx (4,3) and dW (3,2).

      y_terms    the products that add up to y[row,column]
      dW_terms   those that add up to dW[row modulo 3,column]
    """
    x = np.array([[1.0, 0.0, 2.0], [2.0, -1.0, 1.0], [0.0, 3.0, -2.0], [-1.0, 1.0, 1.0]])
    W = np.array([[2.0, -1.0], [1.0, 3.0], [-2.0, 1.0]])
    dy = np.array([[1.0, -1.0], [0.0, 2.0], [3.0, 1.0], [-2.0, 1.0]])
    y, cache = ops.dense.forward(np, x, W)
    dx, dW, _ = ops.dense.backward(np, dy, cache=cache, needs=(True, True, False))
    d = row % 3
    return {"x": x.tolist(), "W": W.tolist(), "y": y.tolist(), "dy": dy.tolist(), "dx": dx.tolist(), "dW": dW.tolist(),
            "y_terms": (x[row] * W[:, column]).tolist(), "dW_terms": (x[:, d] * dy[:, column]).tolist()}


def softmax(scores: Sequence[float], label: int) -> dict[str, Any]:
    """Probabilities p of some scores, the loss of a label, and the gradient by the scores, p - y."""
    z = Tensor(np.asarray(scores, float), requires_grad=True)
    p = ops.softmax(z).numpy()
    loss = ops.cross_entropy(z, Tensor(np.array(label)))
    loss.backward()
    return {"p": p.tolist(), "loss": float(loss.item()), "gradient": np.asarray(z.grad).tolist()}


def tape(a: float, b: float) -> dict[str, Any]:
    """The tape of tanh(a b) + a: names, values, slopes by their inputs, and gradients of the last number."""
    made = small_tape.Tape()
    first, second = made.number(float(a)), made.number(float(b))
    made.backward((first * second).tanh() + first)
    return {"names": ["a", "b", "a b", "tanh(a b)", "tanh(a b) + a"],
            "values": [number.value for number in made.numbers],
            "inputs": [[made.numbers.index(one) for one in number.inputs] for number in made.numbers],
            "slopes": [list(number.slopes) for number in made.numbers],
            "gradients": [number.gradient for number in made.numbers]}


POOLS: dict[str, Callable[[Tensor], Any]] = {
    "ReLU of x - 0.5": lambda x: ops.relu(x - 0.5), "max pool 2 x 2": lambda x: ops.max_pool2d(x, 2),
    "max pool 4 x 4": lambda x: ops.max_pool2d(x, 4), "average pool 4 x 4": lambda x: ops.avg_pool2d(x, 4),
    "dropout 0.5": nn.Dropout(0.5)}


def pooling(pixels: Sequence[int], kind: str) -> dict[str, Any]:
    """An op on a digit: y (H,W), and dx (28,28), what reaches each pixel of a gradient that is 1 everywhere."""
    x = Tensor(np.asarray(pixels, np.float32).reshape(1, 28, 28, 1) / 255, requires_grad=True)
    y = POOLS[kind](x)
    y.sum().backward()
    return {"y": y.numpy()[0, ..., 0], "dx": np.asarray(x.grad)[0, ..., 0], "kinds": list(POOLS)}


def optimizers(lr: float, curvature: float, steps: int = 60) -> dict[str, Any]:
    """Three optimizers in the valley (a² + curvature b²) / 2, from (-4, 1): paths (3,steps+1,2) and losses (3,steps+1).

    A point beyond 1000 stays there.
    """
    shape = np.array([1.0, float(curvature)])
    paths = []
    for make in (lambda p: optim.SGD(p, lr=lr), lambda p: optim.SGD(p, lr=lr, momentum=0.9),
                 lambda p: optim.Adam(p, lr=10 * lr)):
        point = nn.Parameter(np.array([-4.0, 1.0]))
        optimizer, path = make([point]), [point.numpy().copy()]
        for _ in range(steps):
            if np.abs(path[-1]).max() < 1000:
                optimizer.zero_grad()
                (point * point * Tensor(shape / 2)).sum().backward()
                optimizer.step()
            path.append(point.numpy().copy())
        paths.append(path)
    points: Array = np.array(paths)
    return {"names": ["gradient descent", "momentum 0.9", "Adam, 10 times the rate"], "paths": points,
            "losses": (points**2 * shape / 2).sum(axis=-1)}


def comparison(accuracy: float, better: float, images: int, seeds: int) -> dict[str, Any]:
    """Two models whose true accuracies differ by `better`: what some seeds on some images would show.

    Returns for each model the accuracies of its seeds, their mean, and half of its interval; and whether the intervals
    of the means are apart.
    """
    found = []
    for model, true in enumerate((accuracy, min(accuracy + better, 1.0))):
        spread = np.sqrt(true * (1 - true) / images) + 0.0005  # of the images, and of the training
        shown = true + spread * normal((max(int(seeds), 2),), _KEY, step=50 + model)
        mean = intervals.mean_of(np.clip(shown, 0, 1))
        found.append({"accuracies": np.clip(shown, 0, 1).tolist(), "mean": mean.mean, "half": mean.half})
    apart = abs(found[0]["mean"] - found[1]["mean"]) > found[0]["half"] + found[1]["half"]
    return {"models": found, "apart": bool(apart)}


def roc(separation: float, threshold: float, ill: float) -> dict[str, Any]:
    """Scores of 400 samples, a share `ill` of them with label 1, whose scores lie higher by `separation`.

    Returns the curve, and for the threshold: sensitivity, specificity, and the share of alarms that are right.
    """
    labels = (np.arange(400) < max(1, round(400 * ill))).astype(int)
    z = normal((400,), _KEY, step=90) + separation * (labels - 0.5)
    scores = 1 / (1 + np.exp(-z))
    false, true, _ = roc_curve(labels, scores)
    alarm = scores >= threshold
    return {"curve": np.stack([false, true], axis=-1), "sensitivity": float(alarm[labels == 1].mean()),
            "specificity": float(1 - alarm[labels == 0].mean()),
            "right": float(labels[alarm].mean()) if alarm.any() else None}


def roofline(batch: int, units: int, peak: float, bandwidth: float) -> dict[str, Any]:
    """The product [h, x] W of an LSTM step in float32: operations, bytes, and the time that a processor needs.

    peak        billion operations in a second
    bandwidth   billion bytes in a second
    """
    inputs, columns = units + 28, 4 * units
    operations = 2.0 * batch * inputs * columns
    moved = 4.0 * (batch * inputs + inputs * columns + batch * columns)
    times = operations / peak / 1e9, moved / bandwidth / 1e9
    return {"operations": operations, "bytes": moved, "intensity": operations / moved,
            "seconds": max(times), "bound": "computing" if times[0] > times[1] else "memory"}


def threads(elements: int, block: int) -> dict[str, Any]:
    """A ReLU on a GPU: blocks of `block` threads for some elements; x, y, and the block and thread of each element."""
    n, size = min(max(int(elements), 1), 64), min(max(int(block), 1), 64)
    x: Array = np.rint(18 * uniform((n,), _KEY, step=70) - 9) + 0.0
    place = np.arange(n)
    return {"x": x.tolist(), "y": ops.relu(Tensor(x)).numpy().tolist(), "blocks": -(-n // size),
            "block": (place // size).tolist(), "thread": (place % size).tolist(), "idle": -n % size}


SMALL: dict[str, Callable[..., dict[str, Any]]] = {
    function.__name__: function
    for function in (products, softmax, tape, pooling, optimizers, comparison, roc, roofline, threads)}
