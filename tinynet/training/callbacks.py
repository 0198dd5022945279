"""Callbacks of `fit`: early stopping, the best model, averages of weights, logs.

    tn.fit(model, optimizer, train, epochs=50, validation=validation, callbacks=[
        tn.callbacks.EarlyStopping("validation_loss", patience=5),
        tn.callbacks.BestModel("runs/best.safetensors", "validation_accuracy"),
        tn.callbacks.Log("runs/log.csv")])

A callback is called at the start, after each step, after each epoch and at the end, with the `Run`: it may read all of
it, and ask for its end. What it remembers from epoch to epoch goes into the checkpoint as its `state_dict()`, so that a
resumed run decides like one that was never stopped. The base class: `training/run.py`.
"""

import csv
import io
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinynet import backend
from tinynet.atomic import write_whole
from tinynet.elsewhere import in_modules
from tinynet.errors import ArgumentError, DataError
from tinynet.nn.module import Module
from tinynet.optim.averaging import average
from tinynet.output import json_text
from tinynet.plain import number, whole
from tinynet.saving import models
from tinynet.training.run import Callback, PathLike, Run

__all__ = ["EMA", "BestModel", "Callback", "EarlyStopping", "Log", "Run", "TensorBoard"]

if not TYPE_CHECKING:
    __getattr__ = in_modules({"tn.callbacks": __all__})


class _Watch(Callback):
    """The base of callbacks that track the best value of a column of the history."""

    def __init__(self, metric: str, mode: str | None) -> None:
        if mode not in (None, "min", "max"):
            raise ArgumentError(f'{type(self).__name__}: mode must be "min" or "max", got {mode!r}; "min" for a loss')
        self.metric = metric
        self.mode = mode or ("min" if metric.endswith(("loss", "mae")) else "max")
        self.best: float | None = None

    def improvement(self, run: Run) -> float:
        """The last epoch's value minus the best before it, positive for better; NaN if it is not a number."""
        row = run.history[-1]
        if self.metric not in row:
            raise ArgumentError(f"{type(self).__name__}: metric must be one of {', '.join(row)}, got {self.metric!r}; "
                                "give fit validation data, or another name")
        value = row[self.metric]
        if self.best is None:
            return math.nan if math.isnan(value) else math.inf
        return self.best - value if self.mode == "min" else value - self.best

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best = None if state["best"] is None else float(state["best"])


class EarlyStopping(_Watch):
    """End the training when a metric has not improved for `patience` epochs.

    metric      a column of the history, such as "validation_loss"
    min_delta   only an improvement larger than this counts
    mode        "min" or "max"; None: "min" for a metric whose name ends in "loss" or "mae", else "max"

    >>> import tinynet as tn
    >>> stopping = tn.callbacks.EarlyStopping("validation_loss", patience=2)
    >>> run = tn.callbacks.Run(model=None, optimizer=None, train=None, epochs=9)
    >>> for loss in (0.5, 0.4, 0.6, 0.4):
    ...     run.history.append({"validation_loss": loss})
    ...     stopping.on_epoch(run)
    >>> run.stopped
    'validation_loss has not become better than 0.4 for 2 epochs'
    """

    def __init__(self, metric: str = "validation_loss", *, patience: int = 5, min_delta: float = 0.0,
                 mode: str | None = None) -> None:
        super().__init__(metric, mode)
        self.patience = whole("EarlyStopping", "patience", patience, 1, usual="patience=5")
        self.min_delta = number("EarlyStopping", "min_delta", min_delta, 0, usual="0.0")
        self.waited = 0

    def on_epoch(self, run: Run) -> None:
        if self.improvement(run) > self.min_delta:
            self.best, self.waited = run.history[-1][self.metric], 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            run.stop(f"{self.metric} has not become better than {self.best} for {self.waited} epochs")

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.waited = int(state["waited"])


class BestModel(_Watch):
    """Save the model after each epoch that is the best so far.

    path     of the file; it is replaced whole
    metric   a column of the history; mode as of `EarlyStopping`
    save     save(path, model) writes the file: `tn.save`, or a function that passes it more options

    >>> import tempfile, tinynet as tn
    >>> path = Path(tempfile.mkdtemp()) / "best.safetensors"
    >>> model, batch = tn.nn.Sequential(tn.nn.Dense(2, 2)), (tn.init.ones((4, 2)), tn.Tensor([0, 1, 0, 1]).numpy())
    >>> best = tn.callbacks.BestModel(path, "train_loss")
    >>> history = tn.fit(model, tn.optim.SGD(model.parameters()), [batch], epochs=2, callbacks=[best], show=False)
    >>> best.best == min(row["train_loss"] for row in history), len(tn.load(path))
    (True, 1)
    """

    def __init__(self, path: PathLike, metric: str = "validation_loss", *, mode: str | None = None,
                 save: Callable[[PathLike, Module], None] = models.save) -> None:
        super().__init__(metric, mode)
        self.path: PathLike = path
        self.save = save

    def on_start(self, run: Run) -> None:
        self.path = os.path.abspath(self.path)

    def on_epoch(self, run: Run) -> None:
        if self.improvement(run) > 0:
            self.best = run.history[-1][self.metric]
            if run.ranks.rank == 0:
                self.save(self.path, run.model)


class EMA(Callback):
    """Keep an exponential moving average of the weights, which is validated and saved in their place.

    decay      the share of the average that stays in each step; it looks back about 1 / (1 - decay) steps

    After the first step, the average is the weights; from then on average = decay * average + (1 - decay) * weights.
    Training goes on with the weights themselves. The validation and `on_epoch` of all callbacks, so `BestModel` too,
    find the averages in the model, and so does the code after `fit`, unless the training ended by an error or a signal.
    Buffers, such as the running averages of BatchNorm, are not averaged. Checkpoints hold both.

    >>> import tinynet as tn
    >>> model, batch = tn.nn.Sequential(tn.nn.Dense(2, 2)), (tn.init.ones((4, 2)), tn.Tensor([0, 1, 0, 1]).numpy())
    >>> ema = tn.callbacks.EMA(decay=0.9)
    >>> history = tn.fit(model, tn.optim.SGD(model.parameters()), [batch], epochs=5, callbacks=[ema], show=False)
    >>> ema.steps, bool((model.parameters()[0].numpy() == ema.means["0.W"]).all())
    (5, True)
    """

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = float(number("EMA", "decay", decay, 0, 1, below=True, usual="0.999"))
        self.steps = 0
        self.means: dict[str, Any] = {}  # by the names of the parameters

    def arrays(self, run: Run) -> dict[str, Any]:
        parameters = run.model.parameters()
        if self.means.keys() != {*parameters.names} or any(
                mean.shape != one.shape or mean.dtype != one.dtype or backend.device_of(mean) != one.device
                for mean, one in zip(self.means.values(), parameters, strict=True)):
            self.steps, self.means = 0, {name: one.data.copy() for name, one in parameters.items()}
        return self.means

    def on_step(self, run: Run) -> None:
        for mean, one in zip(self.arrays(run).values(), run.model.parameters(), strict=True):
            if self.steps:
                average(mean, one.data, decay=self.decay)
            else:
                mean[...] = one.data
        self.steps += 1

    def evaluating(self, run: Run) -> AbstractContextManager[None]:
        return self.averaged(run.model)

    @contextmanager
    def averaged(self, model: Module) -> Iterator[None]:
        """A context in which the parameters of the model are the averages."""
        kept = {name: one.data.copy() for name, one in model.parameters().items()}
        try:
            self._put(model, self.means)
            yield
        finally:
            self._put(model, kept)

    def on_end(self, run: Run) -> None:
        if self.steps and (run.stopped or run.epoch > run.epochs):
            self._put(run.model, self.means)

    def _put(self, model: Module, values: Mapping[str, Any]) -> None:
        if self.steps:
            for name, one in model.parameters().items():
                one.data[...] = values[name]
                one.version += 1

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.steps = int(state["steps"])


class Log(Callback):
    """Write the history into a file: a table (`.csv`), or one JSON object per line (`.jsonl`), by the file's name.

    NaN and infinity are null in JSON. A column that begins late is empty before. The file is rewritten whole after each
    epoch. So it has one complete line for each epoch of the run, also after a run was killed and resumed.

    >>> import tempfile, tinynet as tn
    >>> path = Path(tempfile.mkdtemp()) / "log.csv"
    >>> tn.callbacks.Log(path).on_epoch(tn.callbacks.Run(None, None, None, 2, history=[{"epoch": 1, "loss": 0.5}]))
    >>> print(path.read_text())
    epoch,loss
    1,0.5
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        if self.path.suffix not in (".csv", ".jsonl"):
            raise ArgumentError(f"Log: path must end in .csv or .jsonl, got {str(path)!r}; runs/log.csv?")

    def on_start(self, run: Run) -> None:
        self.path = self.path.absolute()
        self.on_epoch(run)

    def on_epoch(self, run: Run) -> None:
        if run.ranks.rank > 0:
            return
        text = io.StringIO()
        if self.path.suffix == ".jsonl":
            text.writelines(json_text(row) + "\n" for row in run.history)
        elif run.history:
            table = csv.DictWriter(text, list(dict.fromkeys(chain(*run.history))), lineterminator="\n")
            table.writeheader()
            table.writerows(run.history)
        try:
            write_whole(self.path, text.getvalue().encode())
        except OSError as error:
            raise DataError(f"Log: {self.path} cannot be written ({error.strerror}); is there enough space, and "
                            "permission to write?") from error


class TensorBoard(Callback):
    """Write the history as curves for TensorBoard; each run needs a folder of its own. Needs tensorboardX.

    A run that is started again or resumed hides the points of the epochs that it repeats.

    >>> import tinynet as tn
    >>> callback = tn.callbacks.TensorBoard("runs/one")        # then: tensorboard --logdir runs
    """

    def __init__(self, folder: PathLike) -> None:
        self.folder = folder
        self.writer: Any = None

    def on_start(self, run: Run) -> None:
        if run.ranks.rank > 0:
            return
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise ArgumentError("TensorBoard: tensorboardX must be installed, and is not; pip install "
                                "tensorboardX, or use tn.callbacks.Log") from None
        self.writer = SummaryWriter(os.path.abspath(self.folder), purge_step=run.epoch, filename_suffix=f".{run.step}")

    def on_epoch(self, run: Run) -> None:
        if self.writer is None:
            return
        row = run.history[-1]
        for name, value in row.items():
            if name != "epoch":
                tag = re.sub("^(train|validation)_", r"\1/", name)  # a slash groups the curves in TensorBoard
                self.writer.add_scalar(tag, value, row["epoch"])
        self.writer.flush()

    def on_end(self, run: Run) -> None:
        if self.writer is not None:
            self.writer.close()
