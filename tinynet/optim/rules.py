"""Rules for the options of optimizers, which hold in the constructor and when an option is changed later.

A rule takes the name of the optimizer and a value, and returns the value as it is kept. Errors: ArgumentError.
"""

import math
from collections.abc import Callable
from typing import Any

from tinynet.errors import ArgumentError
from tinynet.plain import number, plain
from tinynet.types import Rate

Rule = Callable[[str, Any], Any]


def learning_rate(optimizer: str, lr: Any) -> Rate:
    """A learning rate. An array, which may be on a device, is not read."""
    lr = plain(lr)
    if not hasattr(lr, "dtype") and (isinstance(lr, bool) or not isinstance(lr, float | int) or not 0 <= lr < math.inf):
        raise ArgumentError(f"{optimizer}: lr must be finite and not negative, got {lr!r}; lr=1e-3?")
    return lr


def betas(optimizer: str, pair: Any) -> tuple[float, float]:
    """The factors of two moving averages."""
    given = plain(pair)
    if not isinstance(given, tuple | list) or len(given) != 2 or not all(
            isinstance(beta, float | int) and 0 <= beta < 1 for beta in given):
        raise ArgumentError(f"{optimizer}: betas must be in [0, 1), two numbers, got {pair}; (0.9, 0.999) is usual")
    return float(given[0]), float(given[1])


def at_least_0(name: str, usual: str, *, below: float = math.inf) -> Rule:
    """The rule of an option `name` in [0, below).

    >>> at_least_0("momentum", "0.9", below=1)("SGD", 0)
    0.0
    """
    return lambda optimizer, value: float(number(optimizer, name, value, 0, below, below=below < math.inf, usual=usual))
