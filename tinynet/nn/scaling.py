"""How pixels become the numbers that a model was trained on."""

import math
import reprlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynet.errors import ArgumentError

FLOAT32 = 3e38  # the largest number that is one in float32, roughly

@dataclass(frozen=True, init=False)
class Scaling:
    """(pixels - mean) / scale, with one number for all channels or one for each. The default: 0 ... 255 to 0 ... 1.

    A model that knows its scaling (`model.scaling`) is saved with it: whoever loads it need not be told.

    Errors: ArgumentError for numbers that are not finite, or a scale that is not positive.

    >>> import tinynet as tn
    >>> tn.nn.Scaling()(tn.init.ones((1, 2, 2, 3), "uint8") * 51)[0, 0, 0]
    array([0.2, 0.2, 0.2], dtype=float32)
    >>> tn.nn.Scaling(mean=(0, 255, 128), scale=255)
    Scaling(mean=(0.0, 255.0, 128.0), scale=(255.0,))
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def __init__(self, mean: Any = 0.0, scale: Any = 255.0) -> None:
        for name, given, least in (("mean", mean, -math.inf), ("scale", scale, 0)):
            numbers = tuple(map(_number, given if isinstance(given, tuple | list | np.ndarray) else [given]))
            if not numbers or not all(least < number < math.inf for number in numbers):
                raise ArgumentError(f"Scaling: {name} must be {'positive' if least == 0 else 'finite'}, one number or "
                                    f"one for each channel, got {reprlib.repr(given)}; Scaling(mean=0, scale=255)?")
            object.__setattr__(self, name, numbers)

    def __call__(self, pixels: Any) -> Any:
        """Pixels (..., C), integers or floats, as the model's input: float32 of the same shape."""
        mean, scale = (np.asarray(numbers, "float32") for numbers in (self.mean, self.scale))
        return (np.asarray(pixels, "float32") - mean) / scale

    def fits(self, channels: int) -> bool:
        """Whether there is one number, or one for each of so many channels."""
        return all(len(numbers) in (1, channels) for numbers in (self.mean, self.scale))


def _number(value: Any) -> float:
    """Python's float of a number; NaN, which no rule lets pass, for what is none."""
    is_number = isinstance(value, float | int | np.number) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < FLOAT32 else math.nan
