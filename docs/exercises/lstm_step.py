"""The check of blanks/lstm_step.py."""

from collections.abc import Iterator
from typing import Any

import numpy as np

import tinynet as tn
from docs.exercises.checking import attempt, fault


def check(answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    draw = np.random.default_rng(0).standard_normal
    x, h, C, W, b = draw((2, 3)), draw((2, 4)), draw((2, 4)), draw((7, 16)), draw(16)
    outputs, (_, gates, states, *_) = tn.ops.lstm.forward(np, x[:, None], h, C, W, b)
    f, i, candidate, o = gates[0]
    expected = {"(1) f": f, "(2) i": i, "(3) C~": candidate, "(4) C": states[1], "(5) o": o, "(6) h": outputs[1]}
    result, raised = attempt(answer, "step", x, h, C, W, b)
    for k, (name, value) in enumerate(expected.items()):
        yield name, raised or fault(result[k], value)
