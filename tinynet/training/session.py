"""The steps of a run, its last good state, and its checkpoint file."""

import math
import os
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

from tinynet.atomic import remove_parts
from tinynet.data.loader import Loader
from tinynet.errors import Interrupted, NonFiniteError
from tinynet.recording import Watched, foreign_part
from tinynet.tensor import Tensor
from tinynet.training import checkpoint
from tinynet.training.guard import Found, probing
from tinynet.training.recorded import RecordedStep
from tinynet.training.run import Loss, PathLike, Run
from tinynet.training.signals import Signals
from tinynet.training.step import add_batch, device_of, tensors_of, train_step

READ_EVERY = 64  # steps between two reads of the loss from a device; on the CPU each step reads it


class Session:
    """Makes the steps of a run. Keeps its last good state in memory, and in the file `path` if given.

    Options are those of `fit`; `compared` holds what a resumed run is compared by.
    """

    def __init__(self, run: Run, compared: dict[str, Any], signals: Signals, *, path: PathLike | None, seconds: float,
                 guard: bool, graph: bool, loss: Loss, max_norm: float | None) -> None:
        self.run, self.compared, self.signals, self.path, self.seconds = run, compared, signals, path, seconds
        self.guard, self.loss, self.max_norm = guard, loss, max_norm
        self.device = device_of(run.optimizer.parameters)
        self.recorded = RecordedStep(run, self._learn, self.device) if graph and self._may_record() else None
        self.loader: Any = run.train if self.recorded and self.device != "cpu" and isinstance(run.train, Loader) \
            and run.train.has_indices() and run.train.device == self.device else None  # whose batches are made from the
        # indices of rows
        self.gathers = self.loader is not None  # whether that is a part of the recorded step
        if self.recorded and self.gathers:
            self.recorded.also = [Watched("the loader", self.loader, ["epoch", "_position", "_start"])]
        self.good = checkpoint.capture(run, self.compared)
        self.saved = time.monotonic()

    def _may_record(self) -> bool:
        """Whether steps are to be recorded: on a CPU only those of tinynet's own layers, losses and optimizers.

        There Python takes a small part of a step, and code of the user may do what a recording cannot repeat, such as
        to print.
        """
        loss = self.loss.func if isinstance(self.loss, partial) else self.loss
        return self.device != "cpu" or (
            not foreign_part(self.run.model) and str(getattr(loss, "module", loss.__module__)).startswith("tinynet.")
            and type(self.run.optimizer).__module__.startswith("tinynet.optim."))

    @property
    def refusal(self) -> str:
        """Why a GPU's steps cannot be recorded, or ""."""
        return self.recorded.reason if self.recorded and self.device != "cpu" else ""

    def start(self, resume: bool) -> str:
        """Begin, or continue from the file. Returns a sentence about it for the user, or ""."""
        if self.path is None:
            return self._check_start()
        remove_parts(self.path)
        if resume and os.path.exists(self.path):
            self.good = checkpoint.resume(self.run, self.path, self.good)
            self._check_start()
            return (f"resumed from {self.path}: {self.run.step} steps are done, "
                    f"{len(self.run.history)} of {self.run.epochs} epochs")
        self._check_start()
        checkpoint.write(self.path, self.good)
        return f"no checkpoint yet at {self.path}: from the beginning" if resume else ""

    def _check_start(self) -> str:
        name = checkpoint.not_finite(self.good) if self.guard else None
        if name:
            raise NonFiniteError(f"fit: all weights must be finite at the start, and {name} is not; "
                                 "make the model again, or train with guard=False")
        return ""

    def batches(self) -> Iterator[Any]:
        """The rest of this epoch's batches, for `step`: if there is a `loader`, the indices of their rows."""
        return self.loader.indices() if self.loader is not None and not self.run.validating else self.run.batches_left()

    def step(self, batch: Any) -> None:
        """Make a step with a batch (inputs, labels), or with the indices of its rows."""
        if self.gathers:
            arrays = [Tensor.of(batch)]
        else:
            made = batch if self.loader is None else self.loader.batch(batch)
            inputs, target = tensors_of("fit", made, self.device)
            arrays = [*inputs, target]
        (self.recorded or self._learn)(*arrays)
        if self.gathers and self.recorded and self.recorded.reason:  # the loader's transform may be it
            self.gathers, self.recorded = False, RecordedStep(self.run, self._learn, self.device)
        self.run.next_step()

    def _learn(self, *arrays: Tensor) -> tuple[Tensor, Tensor]:
        """Make a step with some inputs and a target, the last, or with the indices of their rows."""
        if self.gathers:
            inputs, target = tensors_of("fit", self.loader.batch(arrays[0].data), self.device)
        else:
            *inputs, target = arrays
        value, output = train_step(self.run, inputs, target, self.run.model, self.loss, self.max_norm)
        add_batch(self.run.sums, self.loss, value, output, target)
        return value, output

    def watch(self) -> None:
        """Check the step that was made; on a device, one of `READ_EVERY` steps, since reading waits for it."""
        if self.device == "cpu" or self.run.step % READ_EVERY == 0:
            self.check()

    def check(self) -> None:
        """Raise NonFiniteError if a loss of this epoch was not finite."""
        if self.guard and not math.isfinite(float(self.run.sums["loss"])):
            raise self._explain()

    def save_if_due(self) -> None:
        """Save the state if the last save is more than `seconds` ago."""
        if time.monotonic() - self.saved >= self.seconds:
            self.save()

    def save(self) -> None:
        """Make the current state the last good one, and write it. Errors: NonFiniteError if it is not finite."""
        if not self.guard and self.path is None:
            return
        self.check()
        state = checkpoint.capture(self.run, self.compared)
        if self.guard and checkpoint.not_finite(state):
            raise self._explain()
        if self.path is not None:
            checkpoint.write(self.path, state)
        self.good, self.saved = state, time.monotonic()

    def end_if_interrupted(self) -> None:
        """Save and raise Interrupted if a signal was received."""
        if self.signals.received:
            run = self.run
            if self.path is not None:
                self.save()
            kept = 'with checkpoint="run.ckpt" it could go on' if self.path is None else \
                f"all of it is in {self.path}; resume=True goes on from there"
            raise Interrupted(f"fit: stopped by {self.signals.name} after {run.step} steps, {len(run.history)} of "
                              f"{run.epochs} epochs; the model has the weights of this step, and the exception's "
                              f".history the finished epochs; {kept}", self.signals.received, run.history)

    def _explain(self) -> NonFiniteError:
        """Repeat the steps since the last good state, with a check of every tensor, and restore that state."""
        run, last = self.run, self.run.step
        checkpoint.restore(run, self.good)
        good = run.step
        found = f"the loss or a weight was not finite in one of the steps {good + 1} to {last}, but not when they " \
                "were made again (are the batches the same in each pass?)"
        try:
            with probing(run, self.loss) as (model, loss):
                for batch in islice(run.batches_left(), last - good):
                    train_step(run, *tensors_of("fit", batch, self.device), model, loss, self.max_norm)
                    run.next_step()
        except Found as first:
            found = f"in step {run.step + 1} (epoch {run.epoch}, batch {run.batch + 1}) {first}"
        checkpoint.restore(run, self.good)
        kept = f", which is in {self.path}" if self.path is not None else ""
        return NonFiniteError(f"fit: {found}; the model is back at step {good}, the last good state{kept}; "
                              "a lower learning rate, max_norm=1.0, or is it the data of that batch?")
