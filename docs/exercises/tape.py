"""Write the backward pass of this tape of numbers.

A `Number` remembers its parents, each with the derivative of the number by it. `backward` must add the gradient of the
loss to the `grad` of every number behind it. A number may be used twice, and then its gradients add up.
"""

import math


class Number:
    count = 0

    def __init__(self, value, parents=()):
        self.value, self.parents, self.grad = value, parents, 0.0
        Number.count += 1
        self.order = Number.count                       # a number is younger than its parents

    def __add__(self, other):
        return Number(self.value + other.value, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other):
        return Number(self.value * other.value, [(self, other.value), (other, self.value)])


def tanh(x):
    y = math.tanh(x.value)
    return Number(y, [(x, 1 - y * y)])


def behind(number):
    found = {number}
    waiting = [number]
    while waiting:
        for parent, _ in waiting.pop().parents:
            if parent not in found:
                found.add(parent)
                waiting.append(parent)
    return found


def backward(loss):
    loss.grad = 1.0
    for number in sorted(behind(loss), key=lambda number: ...):
        for parent, derivative in number.parents:
            ...


# --- the check
from collections.abc import Iterator
from typing import Any

import tinynet as tn
from docs.exercises.checking import attempt, fault


def chain(x: Any, w: Any, tanh: Any) -> Any:
    return tanh(x * w + x)


def diamond(x: Any, w: Any, tanh: Any) -> Any:
    a = x * w
    return a * tanh(a) + a


def late(x: Any, w: Any, tanh: Any) -> Any:
    a = tanh(x * w)
    b = tanh(a) * w
    return b * b + a


def check(answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for build in (chain, diamond, late):
        leaves = [tn.Tensor(value, dtype="float64", requires_grad=True) for value in (0.7, -1.2)]
        build(*leaves, tn.ops.tanh).backward()

        def gradients(build: Any = build) -> list[float]:
            numbers = [answer["Number"](value) for value in (0.7, -1.2)]
            answer["backward"](build(*numbers, answer["tanh"]))
            return [number.grad for number in numbers]

        result, raised = attempt({"backward": gradients}, "backward")
        for k, name in enumerate("xw"):
            yield f"{build.__name__}, gradient of {name}", raised or fault(result[k], leaves[k].grad)
