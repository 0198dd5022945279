"""The scaling of pixels to the input of a model."""

import math
import reprlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynet.errors import ArgumentError
from tinynet.plain import plain_array
from tinynet.types import Array, ArrayLike

FLOAT32 = 3e38  # slightly below the largest finite float32


@dataclass(frozen=True, init=False)
class Scaling:
    """(pixels - mean) / scale, with one number for all channels or one for each. By default 0 ... 255 becomes 0 ... 1.

    A saved model holds its scaling (`model.scaling`).

    Errors: ArgumentError for a number that is not finite, or a scale that is not positive.

    >>> import tinynet as tn
    >>> tn.nn.Scaling()(tn.init.ones((1, 2, 2, 3), "uint8") * 51)[0, 0, 0]
    array([0.2, 0.2, 0.2], dtype=float32)
    >>> tn.nn.Scaling(mean=(0, 255, 128), scale=255)
    Scaling(mean=(0.0, 255.0, 128.0), scale=(255.0,))
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def __init__(self, mean: ArrayLike = 0.0, scale: ArrayLike = 255.0) -> None:
        for name, given, least in (("mean", mean, -math.inf), ("scale", scale, 0)):
            numbers = tuple(map(_number, given if isinstance(given, tuple | list | np.ndarray) else [given]))
            if not numbers or not all(least < number < math.inf for number in numbers):
                raise ArgumentError(f"Scaling: {name} must be {'positive' if least == 0 else 'finite'}, one number or "
                                    f"one for each channel, got {reprlib.repr(given)}; Scaling(mean=0, scale=255)?")
            object.__setattr__(self, name, numbers)

    def __call__(self, pixels: ArrayLike) -> Array:
        """Scale pixels (..., C), integers or floats, to float32 of the same shape."""
        mean, scale = (np.asarray(numbers, "float32") for numbers in (self.mean, self.scale))
        return (plain_array(pixels, "Scaling: pixels").astype("float32", copy=False) - mean) / scale

    def fits(self, channels: int) -> bool:
        """Whether mean and scale have one number, or one for each of `channels`."""
        return all(len(numbers) in (1, channels) for numbers in (self.mean, self.scale))


def _number(value: Any) -> float:
    """A number as a Python float; NaN, which fails every check, for any other value."""
    is_number = isinstance(value, float | int | np.number) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < FLOAT32 else math.nan
