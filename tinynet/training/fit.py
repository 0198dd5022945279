"""The training loop: fit, evaluate, predict.

    for images, labels in loader:
        loss = cross_entropy(model(Tensor(images)), labels)
        optimizer.zero_grad();  loss.backward();  optimizer.step()

is all there is to it (`_step`). The rest of this file keeps count, shows how far it is, and sees to it that nothing is
lost: `checkpoint.py` keeps the state of a run in a file, `guard.py` finds numbers that are none, `callbacks.py` is for
everything else.
"""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Self

from tinynet import backend, ops
from tinynet.atomic import remove_parts
from tinynet.errors import ArgumentError, Interrupted, NonFiniteError
from tinynet.nn.module import Module
from tinynet.nn.parameter import Parameter
from tinynet.ops.loss import tally
from tinynet.optim.clipping import clip_global_norm
from tinynet.optim.optimizer import Optimizer
from tinynet.optim.schedule import Schedule
from tinynet.tape import no_grad
from tinynet.tensor import Tensor
from tinynet.training import checkpoint as checkpoints
from tinynet.training.callbacks import Callback, PathLike, Run, no_sums
from tinynet.training.guard import READ_EVERY, Found, Loss, probing
from tinynet.training.replay import Replay

Metric = Callable[[Any, Any], float]  # of the labels and the model's outputs, as NumPy arrays
Batches = Any  # an iterable, with a length, of (inputs, labels); such as a data.Loader

_SHOW_SECONDS = 0.5  # how often the numbers of the progress bar are read from the device


def fit(model: Module, optimizer: Optimizer, train: Batches, *, epochs: int, validation: Batches | None = None,
        loss: Loss = ops.cross_entropy, schedule: Schedule | None = None, max_norm: float | None = None,
        metrics: Mapping[str, Metric] | None = None, callbacks: Sequence[Callback] = (),
        checkpoint: PathLike | None = None, resume: bool = False, checkpoint_seconds: float = 60.0,
        guard: bool = True, graph: bool = True, show: bool = True) -> list[dict[str, float]]:
    """Train a model on batches of (inputs, labels), and say after each epoch how good it is.

    train, validation   iterables of pairs of arrays, one pass being one epoch: `tn.data.Loader`
    loss                loss(output, labels) -> a tensor of one element, the mean over the batch
    schedule            gives the optimizer its rate; one step of it for each batch
    max_norm            clips the gradients of a step to this length, all together
    metrics             more numbers of the validation data, as of `evaluate`
    callbacks           `tn.callbacks`: early stopping, the best model, logs, or your own
    checkpoint          a file for the state of the run: written at the start, every `checkpoint_seconds`, after each
                        epoch, and when Ctrl-C or SIGTERM ends the training after a step (a second one ends it at once)
    resume              go on from that file; from the beginning if there is none yet
    guard               stop at the first NaN or infinity, and name the tensor that it is in
    graph               on a GPU, record a step as a CUDA graph and launch it as one: faster, and the same numbers,
                        which are compared once in each epoch; where that is not possible, steps run as usual
    show                a progress bar for each epoch (a plain line where the output is not a terminal)

    A run that was killed at any moment and resumed ends with the weights and the history (but for its times) of a run
    that was never stopped, bit for bit: with `tn.data.Loader`, or with a list of batches.

    Returns a dictionary for each epoch: `epoch` (from 1), `train_loss` and `train_accuracy` (means over the epoch's
    images, in training mode, while the weights change), `validation_loss` and `validation_accuracy` (after the epoch,
    in evaluation mode; the other metrics likewise), `seconds` and `images_per_second` (of the training alone).

    Errors: NonFiniteError from the guard, which leaves the model in its last good state; CheckpointError for a
    checkpoint that cannot be written, or is damaged, or of another run; Interrupted (a KeyboardInterrupt) after Ctrl-C.

    >>> import tinynet as tn
    >>> images, labels = tn.init.he_normal((64, 4)), tn.Tensor([0, 1] * 32).numpy()
    >>> model = tn.nn.Sequential(tn.nn.Dense(4, 2))
    >>> batches = tn.data.Loader(images, labels, batch_size=16)
    >>> history = tn.fit(model, tn.optim.Adam(model.parameters()), batches, epochs=2, show=False)
    >>> [row["epoch"] for row in history]
    [1, 2]
    """
    if epochs < 0:
        raise ArgumentError(f"fit: epochs must not be negative, got {epochs}; epochs=10?")
    if resume and checkpoint is None:
        raise ArgumentError('fit: resume needs the checkpoint to go on from, and got none; checkpoint="runs/one.ckpt"?')
    run = Run(model, optimizer, train, epochs, validation, schedule, callbacks)
    settings = checkpoints.settings(run, loss=getattr(loss, "__name__", type(loss).__name__), max_norm=max_norm,
                                    metrics=list(metrics or ()))
    keeper = _Keeper(run, settings, checkpoint, checkpoint_seconds, guard, graph, loss, max_norm)
    said = keeper.start(resume)
    if show and said:
        print(said, flush=True)
    with _Signals(active=checkpoint is not None) as signals:
        try:
            for callback in callbacks:
                callback.on_start(run)
            start, first, refused = time.perf_counter(), run.epoch, ""
            while run.epoch <= epochs and not run.stopped:
                bar = _epoch(run, keeper, signals, metrics or {}, show)
                each = (time.perf_counter() - start) / (run.epoch - first)
                bar.close(run.history[-1], left=each * (epochs + 1 - run.epoch) * (not run.stopped))
                if show and keeper.replay and keeper.replay.refused != refused:
                    refused = keeper.replay.refused
                    print(f"steps run one kernel at a time: {refused}", flush=True)
                signals.end_if_received(run, keeper)
        finally:
            for callback in callbacks:
                callback.on_end(run)
    if show and run.stopped:
        print(f"stopped: {run.stopped}", flush=True)
    return run.history


def _epoch(run: Run, keeper: "_Keeper", signals: "_Signals", metrics: Mapping[str, Metric], show: bool) -> "_Meter":
    """Train for one epoch, or for what is left of it, and validate."""
    batches = len(run.train) if hasattr(run.train, "__len__") else None
    meter = _Meter(run.sums, f"epoch {run.epoch}/{run.epochs}", run.batch, batches, show)
    run.model.train()
    for batch in _batches(run):
        keeper.step(batch)
        meter.tick()
        keeper.watch()
        for callback in run.callbacks:
            callback.on_step(run)
        if keeper.is_due():
            keeper.save()
        signals.end_if_received(run, keeper)
        if run.stopped:
            break
    if not run.sums["images"]:
        raise ArgumentError(f"fit: train must have at least one batch in every epoch, got none in epoch {run.epoch}; "
                            "a generator can be gone through once only, list(train) or a tn.data.Loader again")
    run.validating = True
    keeper.check()
    row = {"epoch": run.epoch, **meter.means("train")}
    if run.validation is not None:
        found = evaluate(run.model, _until_signal(run, keeper, signals), loss=keeper.loss, metrics=metrics)
        row.update({f"validation_{name}": value for name, value in found.items() if name != "images"})
    run.history.append(row)
    for callback in run.callbacks:
        callback.on_epoch(run)
    run.next_epoch()
    keeper.save()
    return meter


def _batches(run: Run) -> Iterator[Any]:
    """The batches of this epoch that are left. A Loader knows where it is; others are gone through from the start."""
    if run.validating:
        return iter(())
    return iter(run.train) if hasattr(run.train, "load_state_dict") else islice(run.train, run.batch, None)


def _until_signal(run: Run, keeper: "_Keeper", signals: "_Signals") -> Iterator[Any]:
    """The batches to validate on. Where a signal ends them, the validation will begin again."""
    position = run.validation.state_dict() if hasattr(run.validation, "load_state_dict") else None
    for batch in run.validation:
        if signals.received and position is not None:
            run.validation.load_state_dict(position)
        signals.end_if_received(run, keeper)
        yield batch


def evaluate(model: Module, batches: Batches, *, loss: Loss = ops.cross_entropy,
             metrics: Mapping[str, Metric] | None = None) -> dict[str, float]:
    """The mean loss and the accuracy of a model on batches of (inputs, labels), in evaluation mode.

    `metrics` are more numbers by name: functions of all labels (N, ...) and all outputs (N, ..., K), NumPy arrays.

    Returns a dictionary with `loss`, `accuracy` (a share, 0 to 1), those of `metrics`, and `images`, their number.

    >>> import tinynet as tn
    >>> model = tn.nn.Sequential(tn.nn.Flatten())
    >>> scores, labels = tn.Tensor([[5.0, 0.0], [0.0, 5.0]]).numpy(), tn.Tensor([0, 0]).numpy()
    >>> tn.evaluate(model, tn.data.Loader(scores, labels, batch_size=1))["accuracy"]
    0.5
    >>> recall = {"recall": lambda labels, outputs: tn.metrics.sensitivity(labels, outputs.argmax(axis=-1), positive=0)}
    >>> tn.evaluate(model, tn.data.Loader(scores, labels, batch_size=1), metrics=recall)["recall"]
    0.5
    """
    meter = _Meter(no_sums())
    seen: list[tuple[Any, Any]] = []
    device = _device(model.parameters())
    with _evaluating(model):
        for batch in batches:
            x, target = _on_device(device, *_pair("evaluate", batch))
            output = model(x)
            _add(meter.sums, loss(output, target), output, target)
            meter.tick()
            if metrics:
                seen.append((target.numpy(), output.numpy()))
    if not meter.sums["images"]:
        raise ArgumentError("evaluate: batches must be at least one, got none; "
                            "a generator can be gone through once only, list(batches) or a tn.data.Loader again")
    means = meter.means("")
    result = {"loss": means["loss"], "accuracy": means["accuracy"]}
    if metrics:
        labels, outputs = (backend.namespace("cpu").concatenate(parts) for parts in zip(*seen, strict=True))
        result.update({name: float(metric(labels, outputs)) for name, metric in metrics.items()})
    return {**result, "images": meter.sums["images"]}


def predict(model: Module, inputs: Any, *, batch_size: int = 256) -> Any:
    """The outputs of a model for many inputs, as a NumPy array, in evaluation mode, in batches.

    `inputs` is an array, which is cut into batches of `batch_size`, or an iterable of batches such as a
    `tn.data.Loader`: arrays, or tuples of which the first is taken.

    >>> import tinynet as tn
    >>> tn.predict(tn.nn.Sequential(tn.nn.ReLU()), tn.Tensor([[-1.0], [2.0]]).numpy())
    array([[0.],
           [2.]], dtype=float32)
    """
    if batch_size < 1:
        raise ArgumentError(f"predict: batch_size must be at least 1, got {batch_size}; 256 is usual")
    if hasattr(inputs, "shape"):
        batches: Any = (inputs[start : start + batch_size] for start in range(0, len(inputs), batch_size))
    else:
        batches = (batch[0] if isinstance(batch, tuple | list) else batch for batch in inputs)
    with _evaluating(model):
        device = _device(model.parameters())
        parts = [model(*_on_device(device, batch)).numpy() for batch in batches]
    return backend.namespace("cpu").concatenate(parts) if parts else backend.namespace("cpu").zeros((0,), "float32")


@contextmanager
def _evaluating(model: Module) -> Iterator[None]:
    """Evaluation, and nothing on the tape. Afterwards each module is in the mode in which it was."""
    modes = [(module, module.training) for _, module in model.modules()]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def _pair(function: str, batch: Any) -> tuple[Any, Any]:
    """The inputs and the labels of a batch."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise ArgumentError(f"{function}: a batch must be a pair (inputs, labels), got {_describe(batch)}; "
                            "tn.data.Loader(images, labels, batch_size=128)?")
    return batch[0], batch[1]


def _describe(batch: Any) -> str:
    return f"{len(batch)} arrays" if isinstance(batch, tuple | list) else f"one {type(batch).__name__}"


def _step(run: Run, x: Tensor, target: Tensor, model: Callable[[Any], Any], loss: Loss,
          max_norm: float | None) -> tuple[Tensor, Tensor]:
    """One step of training, as far as the device is concerned: the loss and the outputs."""
    output = model(x)
    value = loss(output, target)
    run.optimizer.zero_grad()
    value.backward()
    if max_norm is not None:
        clip_global_norm(run.optimizer.parameters, max_norm)
    run.optimizer.step()
    return value, output


def _next(run: Run) -> None:
    """A step was made."""
    if run.schedule:
        run.schedule.step()
    run.batch += 1
    run.step += 1


def _add(sums: dict[str, Any], loss: Tensor, output: Tensor, labels: Tensor) -> None:
    """Count a batch: images, loss and right answers. Nothing is read back from a device."""
    sums["images"] += len(labels)
    for name, dtype in (("loss", loss.dtype), ("right", "int64" if labels.ndim == 1 else "float64")):
        if not hasattr(sums[name], "dtype"):  # an epoch begins, or goes on
            sums[name] = backend.as_array(sums[name], dtype, loss.device)
    if labels.dtype.kind in "iu" and output.ndim == labels.ndim + 1:
        tally(sums["loss"], sums["right"], loss.data.reshape(()), output.data, labels.data)
    else:
        sums["loss"] += loss.data.reshape(()) * len(labels)


def _device(parameters: Iterable[Parameter]) -> str:
    """Where a model's parameters are, and so its batches have to be."""
    return next((parameter.device for parameter in parameters), "cpu")


def _on_device(device: str, *arrays: Any) -> list[Tensor]:
    return [Tensor(array, device=device) for array in arrays]


class _Keeper:
    """Makes the steps of a run, and keeps its last good state: in memory, and in a file if there is to be one."""

    def __init__(self, run: Run, settings: dict[str, Any], path: PathLike | None, seconds: float, guard: bool,
                 graph: bool, loss: Loss, max_norm: float | None) -> None:
        self.run, self.settings, self.path, self.seconds, self.guard = run, settings, path, seconds, guard
        self.loss, self.max_norm = loss, max_norm
        self.device = _device(run.optimizer.parameters)
        self.replay = Replay(run, self._learn, self.device) if graph and self.device != "cpu" else None
        self.good = checkpoints.capture(run, self.settings)
        self.saved = time.monotonic()

    def start(self, resume: bool) -> str:
        """Begin, or go on from the file. Returns a sentence about it."""
        if self.path is None:
            return self._check_start()
        remove_parts(self.path)
        if resume and Path(self.path).exists():
            self.good = checkpoints.resume(self.run, self.path, self.good)
            self._check_start()
            return (f"resumed from {self.path}: {self.run.step} steps are done, "
                    f"{len(self.run.history)} of {self.run.epochs} epochs")
        self._check_start()
        checkpoints.write(self.path, self.good)
        return f"no checkpoint yet at {self.path}: from the beginning" if resume else ""

    def _check_start(self) -> str:
        name = checkpoints.not_finite(self.good) if self.guard else None
        if name:
            raise NonFiniteError(f"fit: all weights must be finite at the start, and {name} is not; "
                                 "make the model again, or train with guard=False")
        return ""

    def step(self, batch: Any) -> None:
        (self.replay or self._learn)(*_on_device(self.device, *_pair("fit", batch)))
        _next(self.run)

    def _learn(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        value, output = _step(self.run, x, target, self.run.model, self.loss, self.max_norm)
        _add(self.run.sums, value, output, target)
        return value, output

    def watch(self) -> None:
        """Keep an eye on the step that was made. From a device nothing is read but now and then."""
        if self.device == "cpu" or self.run.step % READ_EVERY == 0:
            self.check()

    def check(self) -> None:
        """Raise NonFiniteError if a loss of this epoch was not finite."""
        if self.guard and not math.isfinite(float(self.run.sums["loss"])):
            raise self._explain()

    def is_due(self) -> bool:
        return time.monotonic() - self.saved >= self.seconds

    def save(self) -> None:
        """The state as it is now is the last good one, if it is good."""
        if not self.guard and self.path is None:
            return
        self.check()
        state = checkpoints.capture(self.run, self.settings)
        if self.guard and checkpoints.not_finite(state):
            raise self._explain()
        if self.path is not None:
            checkpoints.write(self.path, state)
        self.good, self.saved = state, time.monotonic()

    def _explain(self) -> NonFiniteError:
        """Do the steps since the last good state again, looking at every tensor, and go back to that state."""
        run, last = self.run, self.run.step
        checkpoints.restore(run, self.good)
        good = run.step
        found = f"the loss or a weight was not finite in one of the steps {good + 1} to {last}, but not when they " \
                "were made again (are the batches the same in each pass?)"
        try:
            with probing(run, self.loss) as (model, loss):
                for batch in islice(_batches(run), last - good):
                    x, target = _on_device(self.device, *_pair("fit", batch))
                    _step(run, x, target, model, loss, self.max_norm)
                    _next(run)
        except Found as first:
            found = f"in step {run.step + 1} (epoch {run.epoch}, batch {run.batch + 1}) {first}"
        checkpoints.restore(run, self.good)
        kept = f", which is in {self.path}" if self.path is not None else ""
        return NonFiniteError(f"fit: {found}; the model is back at step {good}, the last good state{kept}; "
                              "a lower learning rate, max_norm=1.0, or is it the data of that batch?")


class _Signals:
    """Ctrl-C and SIGTERM end the training after the step that is being made; a second one ends it at once."""

    def __init__(self, active: bool) -> None:
        self.active = active and threading.current_thread() is threading.main_thread()
        self.received = 0
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM) if self.active else ():
            if signal.getsignal(number) not in (signal.SIG_IGN, None):  # who started us may want them to be ignored
                self.before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def _note(self, number: int, frame: Any) -> None:
        self.received = number
        self.__exit__()
        with suppress(OSError):  # print may be in the middle of something
            os.write(2, b"\nstopping after this step; once more, and it stops at once\n")

    def end_if_received(self, run: Run, keeper: _Keeper) -> None:
        if self.received:
            keeper.save()
            raise Interrupted(f"fit: stopped by {signal.Signals(self.received).name} after {run.step} steps, "
                              f"{len(run.history)} of {run.epochs} epochs, and all of it is in {keeper.path}; "
                              "resume=True goes on from there", self.received)


class _Meter:
    """Sums the loss and the right answers of an epoch where they are computed, and shows them now and then."""

    def __init__(self, sums: dict[str, Any], title: str = "", done: int = 0, batches: int | None = None,
                 show: bool = False) -> None:
        self.sums, self.title, self.show = sums, title, show
        self.last = self.shown = time.perf_counter()
        self.bar: Any = None
        if show and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=batches, initial=done, desc=title, leave=False, unit="batch",
                            bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed} < {remaining}{postfix}")

    def tick(self) -> None:
        """A batch is done. Nothing is read back from a device here, but for the bar, every half a second."""
        self._stop_watch()
        if self.bar is not None:
            self.bar.update()
            if self.last - self.shown > _SHOW_SECONDS:
                self.shown = self.last
                self.bar.set_postfix_str(self._line(self.means("")))

    def means(self, name: str) -> dict[str, float]:
        """The means so far, and the speed. This waits for a device."""
        prefix, images = f"{name}_" if name else "", max(self.sums["images"], 1)
        loss, right = float(self.sums["loss"]), float(self.sums["right"])
        self._stop_watch()
        seconds = self.sums["seconds"]
        return {f"{prefix}loss": loss / images, f"{prefix}accuracy": right / images,
                "seconds": seconds, "images_per_second": self.sums["images"] / seconds}

    def close(self, row: dict[str, float], left: float) -> None:
        """One line for the whole epoch, and the seconds that the epochs to come will take."""
        if self.bar is not None:
            self.bar.close()
        if self.show:
            shown = {name.removeprefix("train_"): value for name, value in row.items()}
            more = f", {_duration(left)} left" if left else ""
            print(f"{self.title}  {self._line(shown)}  {row['seconds']:.1f} s{more}", flush=True)

    def _stop_watch(self) -> None:
        now = time.perf_counter()
        self.sums["seconds"] += now - self.last
        self.last = now

    def _line(self, row: dict[str, float]) -> str:
        parts = [f"loss {row['loss']:.4f}", f"accuracy {row['accuracy']:.4f}"]
        if "validation_accuracy" in row:
            parts.append(f"validation accuracy {row['validation_accuracy']:.4f}")
        return "  ".join([*parts, f"{row['images_per_second']:,.0f} images/s"])


def _duration(seconds: float) -> str:
    """Seconds as a person would say them: 45 s, 12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
