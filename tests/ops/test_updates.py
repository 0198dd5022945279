"""Every update in place: its override does what its specification says, and its equations are those of its code."""

import inspect
import itertools
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import update_cases
from tests.support.op_texts import equations_in_code, functions
from tests.support.update_cases import CASES, faults
from tinynet.op import UPDATES, Update

pytestmark = pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of NaN that are compared


def test_every_update_has_cases() -> None:
    missing = UPDATES.keys() - CASES.keys()
    assert not missing, f"add a function {missing.pop()}() to {update_cases.__file__}"
    assert len(UPDATES) >= 6


@pytest.mark.parametrize("device", ["cpu", "gpu-emulated"])
@pytest.mark.parametrize("name", CASES)
def test_an_update_agrees_with_its_specification(name: str, device: str) -> None:
    assert not faults(name, UPDATES[name].specification, UPDATES[name], device)


@pytest.mark.parametrize(("name", "old", "new"), [
    ("adam", "(1 - beta1) * g", "(1 - beta2) * g"), ("adam", "g * g", "g"), ("adam", "1 - beta2**step", "1 - beta2"),
    ("adam", "(xp.sqrt(vhat) + eps)", "xp.sqrt(vhat + eps)"), ("adam", "(weight_decay * value)", "weight_decay"),
    ("sgd", "velocity *= momentum", "velocity *= 1 - momentum"), ("sgd", "if nesterov", "if not nesterov"),
    ("sgd", "gradient + weight_decay", "gradient - weight_decay"),
    ("running_averages", "take * batch", "batch"), ("running_averages", "(k, 1 - k)", "(1 - k, k)"),
    ("running_averages", "smaller(momentum, seen / (seen + 1))", "momentum"),
    ("running_averages", "R > 1", "R > 2"),
    ("running_averages", ".sum() * positions", ".sum()"),
    ("average", "mean *= decay", "mean *= 1 - decay"), ("average", "(1 - decay) * value", "value"),
    ("tally", "total += loss * len(labels)", "total += loss"), ("tally", "scores.argmax", "scores.argmin"),
    ("tally", "else count / each", "else count"),
    ("tally_labels", "loss * len(targets)", "loss"), ("tally_labels", "logits > 0", "logits >= 0"),
    ("tally_labels", "targets > 0.5", "targets > 1"), ("tally_labels", ".all(", ".any("),
    ("tally_errors", "loss * len(target)", "loss"), ("tally_errors", ".mean() *", ".sum() *"),
    ("tally_errors", "xp.abs(prediction - target)", "(prediction - target)"),
    ("gather", "rows[index]", "rows[index - 1]"), ("gather", "batch[...] = rows[index]", "batch[1:] = rows[index][1:]"),
    ("warp", "xp.floor(qx)", "xp.ceil(qx)"), ("warp", "levels[:, 1", "levels[:, 0"), ("warp", "b * x", "c * x"),
])
def test_a_planted_bug_is_found(name: str, old: str, new: str) -> None:
    """Also a bug that leaves all but one of the results right."""
    update = UPDATES[name]
    source = inspect.getsource(update.specification)
    assert old in source
    room = dict(vars(sys.modules[update.module]))
    exec(source.replace(old, new).removeprefix("@Update\n"), room)
    wrong = room[name]
    assert faults(name, update.specification, lambda *arrays, **options: wrong(np, *arrays, **options), "cpu")


# --- the specifications, one number after another -------------------------------------------------------------------

def adam(w: float, g: float, m: float, v: float, *, lr: float, betas: tuple[float, float], eps: float, step: int,
         weight_decay: float, decoupled: bool) -> tuple[float, ...]:
    before, (beta1, beta2) = w, betas
    g += 0.0 if decoupled else weight_decay * before
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    w = before * (1 - lr * weight_decay * decoupled)
    return w - lr * (m / (1 - beta1**step)) / (math.sqrt(v / (1 - beta2**step)) + eps), g, m, v


def sgd(w: float, g: float, velocity: float, *, lr: float, momentum: float, nesterov: bool, weight_decay: float
        ) -> tuple[float, ...]:
    slope = g + weight_decay * w
    velocity = momentum * velocity + slope
    return w - lr * (slope + momentum * velocity if nesterov else velocity), g, velocity


def running_averages(mean: float, var: float, batch_mean: float, batch_var: float, *, momentum: float, seen: int
                     ) -> tuple[float, ...]:
    k = min(momentum, seen / (seen + 1))
    return k * mean + (1 - k) * batch_mean, k * var + (1 - k) * batch_var, batch_mean, batch_var


def average(mean: float, value: float, *, decay: float) -> tuple[float, ...]:
    return decay * mean + (1 - decay) * value, value


NAIVE: dict[str, tuple[Any, dict[str, list[Any]]]] = {
    "adam": (adam, {"lr": [0.1], "betas": [(0.9, 0.99), (0.0, 0.5)], "eps": [1e-8, 0.1], "step": [1, 2, 30],
                    "weight_decay": [0.0, 0.3], "decoupled": [False, True]}),
    "sgd": (sgd, {"lr": [0.1], "momentum": [0.0, 0.9], "nesterov": [False, True], "weight_decay": [0.0, 0.3]}),
    "average": (average, {"decay": [0.0, 0.5, 0.999]}),
    "running_averages": (running_averages, {"momentum": [0.0, 0.5, 0.9, 1.0], "seen": [0, 1, 8, 9, 50]}),
}


@pytest.mark.parametrize("name", NAIVE)
def test_a_specification_does_what_its_equations_say_for_all_options_together(name: str) -> None:
    """Elements of a gradient or a moment may be 0."""
    naive, options = NAIVE[name]
    count = len(next(CASES[name]())[0])
    for values in itertools.product(*options.values()):
        arrays = list(np.random.default_rng(0).standard_normal((count, 7)))
        arrays[-1] = abs(arrays[-1])
        for i, array in enumerate(arrays):
            array[i] = 0
        given = dict(zip(options, values, strict=True))
        wanted = [naive(*map(float, numbers), **given) for numbers in zip(*arrays, strict=True)]
        UPDATES[name].specification(np, *arrays, **given)
        for i, array in enumerate(arrays):
            if (name, i) != ("adam", 1):  # the gradient with its decay is no result
                np.testing.assert_allclose(array, [one[i] for one in wanted], rtol=1e-12, err_msg=str(given))


# --- equations ------------------------------------------------------------------------------------------------------

def numbers(text: str) -> list[int]:
    """The numbers of the equations in a text: those that stand first on a line."""
    return [int(number) for number in re.findall(r"^ *\((\d+)\)", text, re.M)]


def equation_faults(text: str, code: str) -> list[str]:
    listed = numbers(text)
    found = [] if listed and listed == list(range(listed[0], listed[0] + len(listed))) else [f"numbers are {listed}"]
    found += [f"({number}) is in the text and not in the code" for number in {*listed} - equations_in_code(code)]
    return found + [f"({number}) is in the code and not in the text" for number in equations_in_code(code) - {*listed}]


def text_and_code(update: Update) -> tuple[str, str]:
    """The equations may stand at the top of the file; the code includes the functions of the file that it calls."""
    module = sys.modules[update.module]
    text = update.__doc__ or ""
    own = functions(Path(str(module.__file__)))
    waiting, seen = [update.name], list[str]()
    while waiting:
        seen.append(waiting.pop())
        waiting += sorted(own[seen[-1]].names & own.keys() - {*seen, *waiting})
    code = "\n".join(line.text for name in seen for line in own[name].body)
    return text if numbers(text) else module.__doc__ or "", code


@pytest.mark.parametrize("name", UPDATES)
def test_the_equations_are_those_of_the_code(name: str) -> None:
    assert not equation_faults(*text_and_code(UPDATES[name]))


@pytest.mark.parametrize(("old", "new", "fault"), [
    ("# (2)", "", "(2) is in the text and not in the code"), ("# (2)", "# (2) (7)", "(7) is in the code"),
    ("(3)  v", "     v", "numbers are [1, 2, 4, 5]")])
def test_an_equation_that_is_missing_is_found(old: str, new: str, fault: str) -> None:
    text, code = text_and_code(UPDATES["adam"])
    assert old in text + code
    assert fault in "\n".join(equation_faults(text.replace(old, new), code.replace(old, new)))


def test_the_cases_change_something() -> None:
    for name, draw in CASES.items():
        for arrays, options in draw():
            changed: list[Any] = [array.copy() for array in arrays]
            UPDATES[name].specification(np, *changed, **options)
            assert any((a != b).any() for a, b in zip(arrays, changed, strict=True))
