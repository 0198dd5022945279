"""Twelve classic mistakes, each planted into an op, and the checks that see it."""

from collections.abc import Callable
from functools import cache

import numpy as np

from docs.site.drawing import Drawing
from tests.core.bugs import BUGS, Bug
from tests.support import op_cases
from tests.support.op_cases import Trial
from tests.support.planted_ops import plant

# The mistake as a reader would call it, and the bug of tests/core/bugs.py: its op and the beginning of its title.
MISTAKES = [
    ("sum and mean exchanged", "dense", "the mean for the bias"),
    ("a factor of 1.0001", "multiply", "off by 0.01 %"),
    ("the carry is dropped", "lstm", "(7) the carry is dropped"),
    ("two gates exchanged", "lstm", "(8) and (9) exchanged"),
    ("a broadcast is not summed back", "add", "a is not summed back"),
    ("a term of BatchNorm is missing", "batch_norm", "(10) the term of the mean"),
    ("dropout keeps the wrong ones", "dropout", "drops what it should keep"),
    ("a tie is paid twice", "maximum", "a tie to both"),
    ("the gradient of 0 is 1", "relu", "gradient 1 at 0"),
    ("an input is overwritten", "tanh", "overwrites its input"),
    ("float64 from float32", "avg_pool2d", "float64 from float32"),
    ("NaN is swallowed", "max_pool1d", "NaN is swallowed"),
]
CHECKS = ["shapes", "loose", "strict", "values", "purity", "float32", "edges"]


def loose(trial: Trial, weights: list[np.ndarray]) -> None:
    """Differences with a step of 1e-6, and what PyTorch allows: 1e-5 + 1e-3 of the value."""
    gradients = trial.gradients(weights)
    for i in trial.floats:
        for index in np.ndindex(trial.arrays[i].shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [None if array is None else array.copy() for array in trial.arrays]
                moved[i][index] += step
                ends.append(sum((weight * output).sum() for weight, output in
                                zip(weights, trial.forward(moved)[0], strict=True)))
            slope = (ends[0] - ends[1]) / 2e-6
            assert abs(gradients[i][index] - slope) <= 1e-5 + 1e-3 * abs(slope), f"input {i} {index}"


def strict(trial: Trial, weights: list[np.ndarray]) -> None:
    """A complex step or Richardson's differences, of the planted op itself."""
    op_cases.check_gradients(trial, weights, np.random.default_rng(1))


def sees(check: Callable[[Trial, list[np.ndarray]], None], bug: Bug) -> bool:
    """Whether a check fails in one of the op's cases."""
    op = plant(bug)
    for case in op.cases:
        rng = np.random.default_rng(0)
        arrays, options = op_cases.draw(op, case, rng)
        trial = Trial(op, (op.forward, op.backward), arrays, options)
        with np.errstate(all="ignore"):
            try:
                weights = [rng.standard_normal(np.shape(output)) for output in trial.forward()[0]]
                check(trial, weights)
            except (AssertionError, ValueError):
                return True
    return False


def purity(trial: Trial, weights: list[np.ndarray]) -> None:
    before = [None if array is None else array.copy() for array in trial.arrays]
    op_cases.check_purity(trial, weights, before)


def kinks(trial: Trial, weights: list[np.ndarray]) -> None:
    op_cases.check_nan(trial, np.random.default_rng(2))
    op_cases.check_kinks(trial, np.random.default_rng(2))


FUNCTIONS: list[Callable[[Trial, list[np.ndarray]], None]] = [
    op_cases.check_shapes, loose, strict, lambda trial, weights: op_cases.check_values(trial), purity,
    op_cases.check_float32, kinks]


@cache
def table() -> list[tuple[str, list[bool]]]:
    """Each mistake, and for each check whether it sees the mistake."""
    found = []
    for name, op, title in MISTAKES:
        bug = next(bug for bug in BUGS if bug.op == op and bug.title.startswith(title))
        found.append((name, [sees(check, bug) for check in FUNCTIONS]))
    return found


def in_text() -> dict[str, str]:
    """How many bugs are planted in ops, and in how many ops."""
    return {"bugs": str(len(BUGS)), "ops": str(len({bug.op for bug in BUGS}))}


def draw() -> Drawing:
    drawing = Drawing("Twelve mistakes and the checks that see them", height=396)
    for column, check in enumerate(CHECKS):
        drawing.text(246 + 38 * column, 78, check, turn=-38, size=13)
    for row, (name, seen) in enumerate(table()):
        y = 104 + 23 * row
        drawing.text(222, y + 5, name, anchor="end", size=13)
        drawing.line(230, y + 12, 516, y + 12)
        for column, caught in enumerate(seen):
            x = 246 + 38 * column
            if caught:
                drawing.circle(x, y, 7, "f")
            else:
                drawing.circle(x, y, 3, "paper", "muted")
    return drawing
