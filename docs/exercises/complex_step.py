"""The check of blanks/complex_step.py."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from docs.exercises.checking import attempt, fault


def check(answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    cases = {"exp at 1": (np.exp, 1.0, np.exp(1.0)), "tanh at 0.5": (np.tanh, 0.5, 1 - np.tanh(0.5) ** 2),
             "x**3 at -2": (lambda x: x**3, -2.0, 12.0)}
    for what, (f, x, expected) in cases.items():
        result, raised = attempt(answer, "derivative", f, x)
        yield what, raised or fault(result, expected)
