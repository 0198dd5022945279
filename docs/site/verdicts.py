"""The verdict on each equation of each op: checked as it stands, and once more with a mistake planted on its line."""

from functools import cache
from typing import NamedTuple

import numpy as np

from tests.core import bugs
from tests.support import op_cases, planted_ops
from tinynet.op import REGISTRY, Op


class Verdict(NamedTuple):
    """Of one equation: a mistake planted on its line, and what the check then says; empty if it says nothing."""

    planted: str
    caught: str


class OpVerdict(NamedTuple):
    """Of one op: the largest relative error of its gradients, and a verdict for each equation, by number."""

    method: str  # how derivatives were measured
    error: float
    tolerance: float
    equations: dict[int, Verdict]


def gradient_error(op: Op) -> float:
    """The largest relative error of a gradient of the op, over its cases and inputs."""
    largest = 0.0
    for case in op.cases:
        rng = np.random.default_rng(0)
        arrays, options = op_cases.draw(op, case, rng)
        trial = op_cases.Trial(op, (op.forward, op.backward), arrays, options)
        with np.errstate(all="ignore"):
            weights = [rng.standard_normal(np.shape(output)) for output in trial.forward()[0]]
            largest = max([largest, *(error for _, error in op_cases.gradient_errors(trial, weights, rng))])
    return largest


@cache
def judge(name: str) -> OpVerdict:
    """Check an op, and plant the first mistake of `tests/core/bugs.py` on the line of each of its equations."""
    op, equations = REGISTRY[name], dict[int, Verdict]()
    for bug in bugs.BUGS:
        if bug.op == name:
            new = bugs.equations(bug) - equations.keys()
            if new:
                verdict = Verdict(bug.title, planted_ops.complaint(planted_ops.plant(bug)) or "")
                equations.update(dict.fromkeys(new, verdict))
    return OpVerdict("complex step" if op.analytic else "differences", gradient_error(op),
                     op_cases.GRADIENTS[op.analytic], equations)
