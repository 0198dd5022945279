"""The steps of a run, its last good state, and its checkpoint file."""

import math
import os
import signal
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from tinynet.atomic import remove_parts
from tinynet.data.loader import Loader
from tinynet.errors import CheckpointError, DistributedError, Interrupted, NonFiniteError
from tinynet.parts import part, within
from tinynet.recording import Watched, foreign_part
from tinynet.tensor import Tensor
from tinynet.training import checkpoint
from tinynet.training.guard import probing
from tinynet.training.ranks import Exchange, checksum, on_first, parts_left
from tinynet.training.recorded import RecordedStep
from tinynet.training.run import Loss, PathLike, Run
from tinynet.training.signals import Signals
from tinynet.training.step import add_batch, device_of, function_of, tensors_of, train_step

READ_EVERY = 64  # steps between two reads of the loss from a device; on the CPU each step reads it


class Session:
    """Makes the steps of a run. Keeps its last good state in memory, and in the file `path` if given.

    Options are those of `fit`; `compared` holds what a resumed run is compared by. With several ranks, each makes its
    part of each step, all of them decide alike, and rank 0 reads and writes the file.
    """

    def __init__(self, run: Run, compared: dict[str, Any], signals: Signals, *, path: PathLike | None, seconds: float,
                 guard: bool, graph: bool, loss: Loss, max_norm: float | None) -> None:
        self.run, self.compared, self.signals, self.path, self.seconds = run, compared, signals, path, seconds
        self.guard, self.loss, self.max_norm = guard, loss, max_norm
        self.device = device_of(run.optimizer.parameters)
        self.exchange = Exchange(run.ranks, run.optimizer.parameters, self.device) if run.ranks.size > 1 else None
        self.received = 0  # the signal that all ranks know of
        self.is_due = False  # whether rank 0 finds the last save too long ago
        self.recorded = RecordedStep(run, self._learn, self.device, self.exchange.arrays if self.exchange else list) \
            if graph and self._may_record() else None
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
        loss = function_of(self.loss)
        return (self.device != "cpu" and not self.exchange) or (self.device == "cpu" and
            not foreign_part(self.run.model) and str(getattr(loss, "module", loss.__module__)).startswith("tinynet.")
            and type(self.run.optimizer).__module__.startswith("tinynet.optim."))

    @property
    def refusal(self) -> str:
        """Why a GPU's steps cannot be recorded, or ""."""
        return self.recorded.reason if self.recorded and self.device != "cpu" else ""

    def start(self, resume: bool) -> str:
        """Begin, or continue from the file. Returns a sentence about it for the user, or "".

        With several ranks, rank 0 does that, and the others take over its state.
        """
        ranks = self.run.ranks
        said = self._start(resume) if ranks.rank == 0 else ""
        if ranks.size > 1:
            self.good = checkpoint.shared(self.good, ranks)
            checkpoint.restore(self.run, self.good)
        return said

    def _start(self, resume: bool) -> str:
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
        """The rest of this epoch's batches, for `step`: if there is a `loader`, the indices of their rows.

        With several ranks, pairs of a part and a batch.
        """
        if self.exchange:
            return parts_left(self.run)
        return self.loader.indices() if self.loader is not None and not self.run.validating else self.run.batches_left()

    def step(self, batch: Any) -> None:
        """Make a step with a batch (inputs, labels), or with the indices of its rows, or with a part of a batch."""
        if self.exchange:
            self.exchange.ask(self.signals.received > 0,
                              self.path is not None and self.run.ranks.rank == 0 and self._is_late())
            own, batch = batch
            with within(own):
                self._step(batch)
            is_told, self.is_due = self.exchange.answers()
            self.run.next_step()
            if is_told:
                self._agree_on_signal()
        else:
            self._step(batch)
            self.run.next_step()

    def _step(self, batch: Any) -> None:
        """Make a step with the rows of this rank."""
        if self.gathers:
            arrays = [Tensor.of(batch)]
        else:
            made = batch if self.loader is None else self.loader.batch(batch)
            inputs, target = tensors_of("fit", made, self.device)
            arrays = [*inputs, target]
        (self.recorded or self._learn)(*arrays)
        if self.gathers and self.recorded and self.recorded.reason:  # the loader's transform may be it
            self.gathers, self.recorded = False, RecordedStep(self.run, self._learn, self.device)

    def _learn(self, *arrays: Tensor) -> tuple[Tensor, Tensor]:
        """Make a step with some inputs and a target, the last, or with the indices of their rows."""
        if self.gathers:
            inputs, target = tensors_of("fit", self.loader.batch(arrays[0].data), self.device)
        else:
            *inputs, target = arrays
        return self._train(inputs, target, self.run.model, self.loss)

    def _train(self, inputs: Sequence[Tensor], target: Tensor, model: Any, loss: Loss) -> tuple[Tensor, Tensor]:
        """Make a step, and add its batch to the sums. `model` and `loss` are those of the run, or the guard's."""
        run, exchange = self.run, self.exchange

        def backward(value: Tensor, output: Tensor) -> None:
            assert exchange
            exchange.add(part(), run.sums, self.loss, value, output, target)

        value, output = train_step(run, inputs, target, model, loss, self.max_norm, backward if exchange else None)
        if not exchange:
            add_batch(run.sums, self.loss, value, output, target)
        return value, output

    def _agree_on_signal(self) -> None:
        self.received = self.received or max(self.run.ranks.gather(self.signals.received))

    def interrupted(self) -> bool:
        """Whether a signal was received; with several ranks by one of them, and all must ask at the same time."""
        if self.exchange and self.run.ranks.sum(np.array([self.signals.received > 0], "float32"))[0]:
            self._agree_on_signal()
        elif not self.exchange:
            self.received = self.signals.received
        return self.received > 0

    def agree_on_stop(self) -> None:
        """If a callback has stopped the run on one rank, stop it on all of them."""
        run = self.run
        if self.exchange and run.callbacks and run.ranks.sum(np.array([run.stopped != ""], "float32"))[0]:
            run.stopped = next(filter(None, run.ranks.gather(run.stopped)))

    def agree_on_epoch(self, row: dict[str, float]) -> dict[str, float]:
        """The row of rank 0, which has times of its own. Errors: DistributedError if ranks have other weights."""
        if not self.exchange:
            return row
        found = self.run.ranks.gather([row, checksum(self.run)])
        others = [str(rank) for rank, (_, crc) in enumerate(found) if crc != found[0][1]]
        if others:
            raise DistributedError(f"fit: all ranks must have the same weights, and after epoch {self.run.epoch} rank "
                                   f"{', '.join(others)} of {len(found)} has others than rank 0; does a layer or a "
                                   "callback use a clock, the rank, or random numbers that are not tinynet's?")
        first: dict[str, float] = found[0][0]
        return first

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
        if self.is_due if self.exchange else self._is_late():
            self.save()

    def _is_late(self) -> bool:
        return time.monotonic() - self.saved >= self.seconds

    def save(self) -> None:
        """Make the current state the last good one, and write it. Errors: NonFiniteError if it is not finite."""
        if not self.guard and self.path is None:
            return
        self.check()
        state = checkpoint.capture(self.run, self.compared)
        if self.guard and checkpoint.not_finite(state):
            raise self._explain()
        if self.path is not None:
            on_first(self.run.ranks, partial(checkpoint.write, self.path, state), CheckpointError)
        self.good, self.saved = state, time.monotonic()

    def end_if_interrupted(self) -> None:
        """Save and raise Interrupted if a signal was received."""
        if not self.exchange:
            self.received = self.signals.received
        if self.received:
            run = self.run
            if self.path is not None:
                self.save()
            kept = 'with checkpoint="run.ckpt" it could go on' if self.path is None else \
                f"all of it is in {self.path}; resume=True goes on from there"
            name = signal.Signals(self.received).name
            raise Interrupted(f"fit: stopped by {name} after {run.step} steps, {len(run.history)} of {run.epochs} "
                              "epochs; the model has the weights of this step, and the exception's "
                              f".history the finished epochs; {kept}", self.received, run.history)

    def _batches_left(self) -> Iterator[Any]:
        return parts_left(self.run) if self.exchange else self.run.batches_left()

    def _probe(self, batch: Any, model: Any, loss: Loss) -> None:
        own, batch = batch if self.exchange else (part(), batch)
        with within(own):
            self._train(*tensors_of("fit", batch, self.device), model, loss)

    def _explain(self) -> NonFiniteError:
        """Repeat the steps since the last good state, with a check of every tensor, and restore that state."""
        run, last = self.run, self.run.step
        checkpoint.restore(run, self.good)
        good = run.step
        found = f"the loss or a weight was not finite in one of the steps {good + 1} to {last}, but not when they " \
                "were made again (are the batches the same in each pass?)"
        with probing(run, self.loss) as (model, loss, faults):
            for batch in islice(self._batches_left(), last - good):
                self._probe(batch, model, loss)
                first = [(*one[0], rank) for rank, one in enumerate(run.ranks.gather(faults[:1])) if one]
                if first:  # other ranks may meet the fault later, by the sums over ranks
                    _, what, rank = min(first)
                    on = f", on rank {rank}" if self.exchange else ""
                    found = f"in step {run.step + 1} (epoch {run.epoch}, batch {run.batch + 1}) {what}{on}"
                    break
                run.next_step()
        checkpoint.restore(run, self.good)
        kept = f", which is in {self.path}" if self.path is not None else ""
        return NonFiniteError(f"fit: {found}; the model is back at step {good}, the last good state{kept}; "
                              "a lower learning rate, max_norm=1.0, or is it the data of that batch?")
