"""Every option of every public class refuses values of another kind, by an error that names the option.

Classes and options are found by themselves.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tinynet import data, nn, optim
from tinynet.errors import TinynetError


def optimizer() -> Any:
    return optim.SGD(nn.Dense(2, 2).parameters())


# Makes each argument that a class needs beside its options.
NEEDED: dict[str, Callable[[], Any]] = {
    "inputs": lambda: 3, "units": lambda: 2, "filters": lambda: 2, "width": lambda: 3, "size": lambda: 2,
    "features": lambda: 3, "vocabulary": lambda: 4, "p": lambda: 0.5, "shape": lambda: (3,),
    "layer": lambda: nn.LSTM(3, 2), "module": nn.ReLU, "branches": lambda: [nn.ReLU()],
    "parameters": lambda: nn.Dense(2, 2).parameters(), "optimizer": optimizer, "then": optimizer, "peak": lambda: 0.1,
    "steps": lambda: 9, "every": lambda: 3, "batch_size": lambda: 2, "data": lambda: np.ones(2),
    "arrays": lambda: np.ones(4), "layers": nn.ReLU}
NOT_FOR_USERS = {"Optimizer", "Schedule", "Parameters", "Dataset", "ImageFolder", "Skipped", "Images", "Fold"}

WRONG: dict[type, tuple[Any, ...]] = {str: ("", "nonsense", None, -1, ["same"]),
                                      int: ("1", "", None, 2.5, True, [1]),
                                      float: ("0.5", "", None, math.nan, True, [0.5])}
ALLOWED = {("Scaling", "mean"), ("Scaling", "scale")}  # numbers, or an array for each channel
WHEN_CALLED = {("BatchNorm", "axis"), ("Softmax", "axis")}  # checked with the shape of the input


def classes() -> dict[str, Any]:
    return {name: thing for room in (nn, optim, data) for name, thing in vars(room).items()
            if inspect.isclass(thing) and name[0] != "_" and name not in NOT_FOR_USERS}


def made(thing: Any, **options: Any) -> Any:
    wanted = {name: one for name, one in inspect.signature(thing).parameters.items() if one.default is one.empty}
    several = [NEEDED[name]() for name, one in wanted.items() if one.kind is one.VAR_POSITIONAL]
    named = {name: NEEDED[name]() for name, one in wanted.items() if one.kind is not one.VAR_POSITIONAL}
    return thing(*several, **named, **options)


def cases() -> Iterator[Any]:
    for name, thing in classes().items():
        for option, one in inspect.signature(thing).parameters.items():
            for wrong in WRONG.get(type(one.default), ()) if (name, option) not in ALLOWED | WHEN_CALLED else ():
                if wrong != one.default:
                    yield pytest.param(thing, option, wrong, id=f"{name}-{option}-{wrong!r}")


@pytest.mark.parametrize("name", [*classes()])
def test_a_class_is_made_without_options(name: str) -> None:
    assert made(classes()[name]) is not None


@pytest.mark.parametrize(("thing", "option", "wrong"), [*cases()])
def test_a_value_of_another_kind_is_refused(thing: Any, option: str, wrong: Any) -> None:
    with pytest.raises(TinynetError, match=option):
        made(thing, **{option: wrong})
