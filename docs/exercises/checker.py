"""The check of blanks/checker.py."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from docs.exercises.checking import attempt

Function = Callable[..., Any]


def overwrites_x(x: Any, dy: Any) -> Any:
    x *= x
    return dy * 2 * np.sqrt(x)


def overwrites_dy(x: Any, dy: Any) -> Any:
    dy *= 2 * x
    return dy


CASES: list[tuple[str, Function, Function, str]] = [
    ("x²", lambda x: x * x, lambda x, dy: 2 * x * dy, "right"),
    ("tanh", np.tanh, lambda x, dy: dy * (1 - np.tanh(x) ** 2), "right"),
    ("tanh without its square", np.tanh, lambda x, dy: dy * (1 - np.tanh(x)), "wrong"),
    ("a factor of 1.0001", lambda x: x * x, lambda x, dy: 2.0002 * x * dy, "wrong"),
    ("a sum that is not spread", lambda x: x.sum(axis=0), lambda x, dy: dy, "shape"),
    ("a sum over rows", lambda x: x.sum(axis=0), lambda x, dy: np.broadcast_to(dy, x.shape), "right"),
    ("one wrong element", lambda x: x * x, lambda x, dy: 2 * x * dy * np.where(x == x.max(), 2, 1), "wrong"),
    ("x is overwritten", lambda x: x * x, overwrites_x, "impure"),
    ("dy is overwritten", lambda x: x * x, overwrites_dy, "impure"),
]


def check(answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, forward, backward, expected in CASES:
        x = np.random.default_rng(1).uniform(0.5, 1.5, (3, 4))
        given, raised = attempt(answer, "verdict", forward, backward, x)
        yield name, raised or ("" if given == expected else f"is {expected!r}, and verdict says {given!r}")
