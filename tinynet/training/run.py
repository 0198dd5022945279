"""A training in progress, and the base of the callbacks that are given it."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tinynet.distributed import Repeatable, world
from tinynet.nn.module import Module
from tinynet.optim.optimizer import Optimizer
from tinynet.optim.schedule import Schedule
from tinynet.shown import brief
from tinynet.tensor import Tensor
from tinynet.types import Array

PathLike = str | os.PathLike[str]
Loss = Callable[[Tensor, Any], Tensor]  # of outputs and labels: one element, the mean over the batch
Batches = Iterable[Any]  # an iterable of (inputs, labels), best with a length: a data.Loader, a list


def no_sums() -> dict[str, Any]:
    """The sums of an epoch before its first batch: images, losses, right answers or errors, seconds.

    `measure` names what the answers are counted by: "accuracy", for example.

    >>> no_sums()["images"]
    0
    """
    return {"images": 0, "loss": 0.0, "right": 0.0, "seconds": 0.0, "measure": ""}


@dataclass(repr=False)
class Run:
    """A training in progress: what is trained, and how far the training is.

    epoch        the current epoch, from 1
    batch        batches done in this epoch
    step         batches done in all epochs
    validating   whether the batches of this epoch are done
    history      a row for each completed epoch
    sums         of the current epoch: images, losses, right answers, seconds, and the name of the measure
    stopped      the reason to end, or ""
    ranks        the ranks that train together, of which this process is `ranks.rank`

    >>> run = Run(None, None, None, epochs=9)                 # as `fit` makes it
    >>> run.next_epoch(); run.epoch
    2
    """

    model: Module
    optimizer: Optimizer
    train: Batches
    epochs: int
    validation: Batches | None = None
    schedule: Schedule | None = None
    callbacks: Sequence["Callback"] = ()
    epoch: int = 1
    batch: int = 0
    step: int = 0
    validating: bool = False
    history: list[dict[str, float]] = field(default_factory=list)
    sums: dict[str, Any] = field(default_factory=no_sums)
    stopped: str = ""
    ranks: Repeatable = field(default_factory=lambda: Repeatable(world()))

    def __repr__(self) -> str:
        return f"Run(epoch {self.epoch} of {self.epochs}, {self.step} steps)"

    def stop(self, reason: str) -> None:
        """End the training after the current step; in `on_epoch`, after this epoch."""
        self.stopped = reason

    def next_step(self) -> None:
        """Count a step, and move the schedule on."""
        if self.schedule:
            self.schedule.step()
        self.batch += 1
        self.step += 1

    def next_epoch(self) -> None:
        """Begin the next epoch."""
        self.epoch, self.batch, self.validating, self.sums = self.epoch + 1, 0, False, no_sums()

    def batches_left(self) -> Iterator[Any]:
        """The rest of this epoch's batches. A Loader continues at its position; others are iterated from the start."""
        if self.validating:
            return iter(())
        return iter(self.train) if hasattr(self.train, "load_state_dict") else islice(self.train, self.batch, None)


class Callback:
    """The base of callbacks. Each method does nothing; a subclass overrides those that it needs.

    >>> import tinynet as tn
    >>> class Announce(tn.callbacks.Callback):
    ...     def on_epoch(self, run):
    ...         print(f"epoch {run.epoch} is over after {run.step} steps")
    >>> model, batch = tn.nn.Sequential(tn.nn.Dense(2, 2)), (tn.init.ones((4, 2)), tn.Tensor([0, 1, 0, 1]).numpy())
    >>> history = tn.fit(model, tn.optim.SGD(model.parameters()), [batch], epochs=2, callbacks=[Announce()], show=False)
    epoch 1 is over after 1 steps
    epoch 2 is over after 2 steps
    """

    def __repr__(self) -> str:
        return brief(self)

    def on_start(self, run: Run) -> None:
        """Called before the first step. After a resume, `run.history` holds the epochs of the checkpoint."""

    def on_step(self, run: Run) -> None:
        """Called after each step: `run.step` counts all, `run.batch` those of this epoch.

        Reading a number from a GPU here makes the step wait for it.
        """

    def on_epoch(self, run: Run) -> None:
        """Called after each epoch, whose numbers are `run.history[-1]`."""

    def on_end(self, run: Run) -> None:
        """Called at the end, also after an error: the place to close files."""

    def evaluating(self, run: Run) -> AbstractContextManager[None]:
        """A context in which the model is validated, and `on_epoch` of all callbacks is called."""
        return nullcontext()

    def arrays(self, run: Run) -> dict[str, Array]:
        """Arrays that a checkpoint must hold of this callback, by name, on any device. A resume writes into them."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold of this callback: a dictionary that JSON can represent."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned. Called before `on_start`."""
