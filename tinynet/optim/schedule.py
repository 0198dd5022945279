"""Learning-rate schedules. Call `schedule.step()` once after each step of the optimizer."""

import math
from typing import Any

from tinynet.errors import ArgumentError
from tinynet.optim.optimizer import Optimizer
from tinynet.plain import number, whole
from tinynet.types import Rate


class Schedule:
    """The base of schedules. A subclass writes `rate(step)`, the learning rate of a step, counted from 0.

    >>> import tinynet as tn
    >>> class Halving(tn.optim.Schedule):
    ...     def rate(self, step):
    ...         return self.base / 2**step
    >>> optimizer = tn.optim.SGD([tn.nn.Parameter([1.0])], lr=1.0)
    >>> Halving(optimizer).step(); optimizer.lr
    0.5
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.base = optimizer.lr
        self.steps = 0
        optimizer.lr = self.rate(0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(lr={float(self.optimizer.lr):g} at step {self.steps})"

    def rate(self, step: int) -> Rate:
        """The learning rate of a step, counted from 0."""
        raise NotImplementedError(f"{type(self).__name__}: a schedule needs a rate(self, step)")

    def step(self) -> None:
        """Set the optimizer's learning rate to that of the next step."""
        self.steps += 1
        self.optimizer.lr = self.rate(self.steps)

    def state_dict(self) -> dict[str, Any]:
        """The number of steps so far, and the initial rate."""
        return {"steps": self.steps, "base": float(self.base)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`. Raises `ArgumentError` for another dictionary."""
        base = number("load_state_dict", "base", state.get("base"), 0, usual="0.001")
        self.steps = whole("load_state_dict", "steps", state.get("steps"), 0, 2**63 - 1,
                           usual="was it saved by a schedule's state_dict()")
        self.base = base
        self.optimizer.lr = self.rate(self.steps)


class StepDecay(Schedule):
    """The optimizer's initial rate, multiplied by `factor` after each `every` steps.

    >>> import tinynet as tn
    >>> schedule = tn.optim.StepDecay(tn.optim.SGD([tn.nn.Parameter([1.0])], lr=1.0), every=10, factor=0.5)
    >>> schedule.rate(9), schedule.rate(10), schedule.rate(25)
    (1.0, 0.5, 0.25)
    """

    def __init__(self, optimizer: Optimizer, every: int, factor: float = 0.1) -> None:
        self.every = whole("StepDecay", "every", every, 1, usual="every=len(loader), one epoch")
        self.factor = number("StepDecay", "factor", factor, 0, usual="0.1")
        super().__init__(optimizer)

    def rate(self, step: int) -> Rate:
        return self.base * self.factor ** (step // self.every)


class Cosine(Schedule):
    """From the optimizer's initial rate to `final` along half a cosine, in `steps` steps, then constant.

    Source: Loshchilov and Hutter 2017, without restarts.

    >>> import tinynet as tn
    >>> schedule = tn.optim.Cosine(tn.optim.SGD([tn.nn.Parameter([1.0])], lr=1.0), steps=10)
    >>> schedule.rate(0), round(schedule.rate(5), 3), schedule.rate(10)
    (1.0, 0.5, 0.0)
    """

    def __init__(self, optimizer: Optimizer, steps: int, final: float = 0.0) -> None:
        self.length = whole("Cosine", "steps", steps, 1, usual="steps=epochs * len(loader)")
        self.final = number("Cosine", "final", final, 0, usual="0.0")
        super().__init__(optimizer)

    def rate(self, step: int) -> Rate:
        return _half_cosine(self.base, self.final, min(step / self.length, 1.0))


class OneCycle(Schedule):
    """Up to `peak` in the share `warmup` of `steps` steps, then down to near zero, both along half cosines.

    It starts at peak / 25 and ends at peak / 250000; the optimizer's initial rate is not used.

    Source: Smith and Topin, "Super-convergence", 2018, with the constants of PyTorch.

    >>> import tinynet as tn
    >>> schedule = tn.optim.OneCycle(tn.optim.SGD([tn.nn.Parameter([1.0])]), peak=1.0, steps=11)
    >>> [round(schedule.rate(step), 2) for step in (0, 2, 3, 10)]
    [0.04, 0.96, 0.98, 0.0]
    """

    START, END = 25.0, 25.0e4  # the peak is divided by these

    def __init__(self, optimizer: Optimizer, peak: float, steps: int, warmup: float = 0.3) -> None:
        self.length = whole("OneCycle", "steps", steps, 2, usual="steps=epochs * len(loader)")
        self.warmup = number("OneCycle", "warmup", warmup, 0, 1, below=True, usual="0.3")
        if not self.warmup:
            raise ArgumentError("OneCycle: warmup must be in (0, 1), got 0; warmup=0.3 is usual")
        self.peak = number("OneCycle", "peak", peak, 0, usual="1e-2")
        super().__init__(optimizer)

    def rate(self, step: int) -> Rate:
        top, last = self.warmup * self.length - 1, self.length - 1
        if step < top:
            return _half_cosine(self.peak / self.START, self.peak, step / top)
        return _half_cosine(self.peak, self.peak / self.END, min((step - top) / (last - top), 1.0))


class Warmup(Schedule):
    """A linear rise in `steps` steps, then another schedule from its beginning, or the optimizer's rate.

    The rate of step t, counted from 0, is (t + 1) / steps of the rate that follows. `then` is a schedule, or an
    optimizer for a constant rate.

    Source: Goyal et al. 2017.

    >>> import tinynet as tn
    >>> optimizer = tn.optim.SGD([tn.nn.Parameter([1.0])], lr=1.0)
    >>> schedule = tn.optim.Warmup(tn.optim.StepDecay(optimizer, every=10, factor=0.5), steps=4)
    >>> [schedule.rate(step) for step in (0, 1, 3, 4, 13, 14)]
    [0.25, 0.5, 1.0, 1.0, 1.0, 0.5]
    """

    def __init__(self, then: Schedule | Optimizer, steps: int) -> None:
        if not isinstance(then, Schedule | Optimizer):
            raise ArgumentError(f"Warmup: then must be an optimizer or a schedule, got {type(then).__name__}; "
                                "Warmup(Cosine(optimizer, steps=900), steps=100)?")
        self.length = whole("Warmup", "steps", steps, 1, usual="steps=len(loader), one epoch")
        self.then = then if isinstance(then, Schedule) else None
        optimizer = then.optimizer if isinstance(then, Schedule) else then
        base = self.then.base if self.then else optimizer.lr
        super().__init__(optimizer)
        self.base = base

    def rate(self, step: int) -> Rate:
        if step < self.length:
            return self._rate_after(0) * ((step + 1) / self.length)
        return self._rate_after(step - self.length)

    def _rate_after(self, step: int) -> Rate:
        return self.then.rate(step) if self.then else self.base

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.then:
            self.then.load_state_dict({**state, "steps": 0})  # it starts where the rise ends
        super().load_state_dict(state)


def _half_cosine(start: Rate, end: Rate, done: float) -> Rate:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
