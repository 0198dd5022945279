"""The moving average of weights, for `tn.callbacks.EMA`."""

from typing import Any

from tinynet.op import Update
from tinynet.types import Array


@Update
def average(xp: Any, mean: Array, value: Array, *, decay: float) -> None:
    """Move an average one step towards a value, arrays of one shape, in place.

      (1)  mean ← β mean + (1 − β) value        β the decay

    Because   by (1), a value of k steps ago has the share (1 − β) βᵏ: the average looks back about 1 / (1 − β) steps
    Source    Polyak and Juditsky 1992; with a decay, Szegedy et al. 2016
    """
    mean *= decay
    mean += (1 - decay) * value  # (1)
