"""A tape for numbers in sixty lines: `tinynet/tape.py` and `tinynet/op.py` without arrays.

Each operation appends its result to the tape, with its inputs and with the derivative of the result by each input. The
backward pass visits the results in an order in which each has its whole gradient before it is visited.

    (1)  ∂(a + b)/∂a = 1,  ∂(a + b)/∂b = 1
    (2)  ∂(a b)/∂a = b,  ∂(a b)/∂b = a
    (3)  ∂ tanh a/∂a = 1 − tanh² a
    (4)  δy = 1 for the last result y, since ∂y/∂y = 1
    (5)  the order of visits: from the last result to the first, as each is made of earlier ones
    (6)  δa ← δa + δy ∂y/∂a        the chain rule; a sum, as a may be an input of several results

>>> tape = Tape()
>>> a, b = tape.number(3.0), tape.number(2.0)
>>> y = a * b + a
>>> tape.backward(y)
>>> a.gradient, b.gradient
(3.0, 3.0)
"""

import math
from collections.abc import Sequence


class Number:
    """A number on a tape."""

    def __init__(self, tape: "Tape", value: float, inputs: Sequence["Number"], slopes: Sequence[float]) -> None:
        self.tape, self.value, self.gradient = tape, value, 0.0
        self.inputs, self.slopes = inputs, slopes
        tape.numbers.append(self)

    def __add__(self, other: "Number") -> "Number":
        slopes = 1.0, 1.0  # (1)
        return Number(self.tape, self.value + other.value, (self, other), slopes)

    def __mul__(self, other: "Number") -> "Number":
        slopes = other.value, self.value  # (2)
        return Number(self.tape, self.value * other.value, (self, other), slopes)

    def tanh(self) -> "Number":
        y = math.tanh(self.value)
        slope = 1 - y * y  # (3)
        return Number(self.tape, y, (self,), (slope,))


class Tape:
    """All numbers, in the order in which they were made."""

    def __init__(self) -> None:
        self.numbers: list[Number] = []

    def number(self, value: float) -> Number:
        """A number that the gradient is wanted for."""
        return Number(self, value, (), ())

    def backward(self, last: Number) -> None:
        """Compute the gradient of `last` by each number on the tape."""
        last.gradient = 1.0  # (4)
        order = range(len(self.numbers) - 1, -1, -1)  # (5)
        for place in order:
            y = self.numbers[place]
            for a, slope in zip(y.inputs, y.slopes, strict=True):
                a.gradient += y.gradient * slope  # (6)
