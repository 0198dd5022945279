"""Write the backward pass of a Dense layer, y = x W + b.

Shapes: x (N,D), W (D,F), b (F), dy (N,F). The shapes alone leave little choice.
"""


def ddense(dy, x, W):
    dx = ...      # (2)
    dW = ...      # (3)
    db = ...      # (4)
    return dx, dW, db


# --- the check
from collections.abc import Iterator
from typing import Any

import numpy as np

import tinynet as tn
from docs.exercises.checking import attempt, fault


def check(answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    draw = np.random.default_rng(0).standard_normal
    x, W, b, dy = draw((5, 3)), draw((3, 2)), draw(2), draw((5, 2))
    _, cache = tn.ops.dense.forward(np, x, W, b)
    expected = tn.ops.dense.backward(np, dy, cache=cache, needs=(True, True, True))
    result, raised = attempt(answer, "ddense", dy, x, W)
    for number, name, k in ((2, "dx", 0), (3, "dW", 1), (4, "db", 2)):
        yield f"({number}) {name}", raised or fault(result[k], expected[k])
