"""The training loop.

    for images, labels in loader:
        loss = cross_entropy(model(Tensor(images)), labels)
        optimizer.zero_grad();  loss.backward();  optimizer.step()

This is the whole of it (`step.py`). The rest counts epochs, prints progress, and makes a run safe: it can be
interrupted and resumed (`session.py`, `checkpoint.py`), and it stops at the first NaN (`guard.py`).
"""

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack
from threading import Lock
from typing import Any

from tinynet import ops
from tinynet.distributed import Repeatable
from tinynet.elsewhere import guided
from tinynet.errors import ArgumentError
from tinynet.nn.module import Module
from tinynet.optim.optimizer import Optimizer
from tinynet.optim.schedule import Schedule
from tinynet.output import say, warn
from tinynet.plain import plain
from tinynet.training import checkpoint as checkpoints
from tinynet.training.calls import FIT, check_fit, probabilities_for_logits
from tinynet.training.evaluate import Metric, evaluate_parts
from tinynet.training.lock import locked
from tinynet.training.progress import Meter
from tinynet.training.ranks import parts, ranks
from tinynet.training.run import Batches, Callback, Loss, PathLike, Run
from tinynet.training.session import Session
from tinynet.training.signals import Signals
from tinynet.training.step import device_of


@guided(FIT)
def fit(model: Module, optimizer: Optimizer, train: Batches, *, epochs: int | None = None,
        validation: Batches | None = None, loss: Loss = ops.cross_entropy, schedule: Schedule | None = None,
        max_norm: float | None = None, metrics: Mapping[str, Metric] | None = None, callbacks: Sequence[Callback] = (),
        checkpoint: PathLike | None = None, resume: bool = False, checkpoint_seconds: float = 60.0,
        guard: bool = True, graph: bool = True, show: bool = True) -> list[dict[str, float]]:
    """Train a model on batches of (inputs, labels), and evaluate it after each epoch.

    epochs              how many passes over `train`; must be given
    train, validation   iterables of pairs of arrays; one pass is one epoch: `tn.data.Loader`
    loss                loss(output, labels) -> a tensor of one element, the mean over the batch
    schedule            sets the optimizer's learning rate; advanced once per batch
    max_norm            the largest global norm of a step's gradients; larger ones are scaled down
    metrics             more numbers of the validation data, as of `evaluate`
    callbacks           `tn.callbacks`: early stopping, the best model, logs, or your own
    checkpoint          a file for the state of the run. Written at the start, every `checkpoint_seconds`, after each
                        epoch, and when Ctrl-C or SIGTERM ends the training after a step
    resume              continue from that file; start from the beginning if it does not exist
    guard               stop at the first NaN or infinity, and name the tensor that holds it
    graph               record a step and launch its kernels as one, on a GPU as a CUDA graph: faster, with the same
                        bits, which are compared once in each epoch. A step that cannot be recorded runs as usual
    show                a progress bar for each epoch on a terminal, and in a notebook with ipywidgets; a plain line
                        after each epoch

    A run that is killed and resumed ends with the same weights and history, bit for bit, as one that was never stopped;
    only the times differ. This holds for a `tn.data.Loader` and for a list of batches.

    Under mpiexec all ranks train together. A batch has the rows that it has in one process, and each rank computes its
    part of them: `train` and `validation` give the whole batches, by a `Loader` without reading the other rows. The
    result is that of one process but for rounding. Rank 0 prints and writes the files; callbacks run on all ranks.
    On GPUs, steps are not recorded.

    Returns a dictionary for each epoch:

    epoch                        from 1
    train_loss, train_accuracy   means over the epoch in training mode, while the weights change. Instead of the
                                 accuracy there is train_exact_match for many labels, train_mae for a regression, or
                                 nothing: see `evaluate`
    validation_loss, ...         and validation_accuracy, validation_<metric>: after the epoch, in evaluation mode
    seconds, images_per_second   of the training alone
    graph_refused                1, only if steps on a GPU could not be recorded; a warning says why

    Ctrl-C ends the training after the current step with Interrupted, a KeyboardInterrupt. Its `history` has the
    finished epochs; the model has the weights of that step. A second Ctrl-C ends it at once.

    Errors: NonFiniteError from the guard, which restores the last good state. CheckpointError for a checkpoint that
    cannot be written, is damaged, is of another run, or is in use. DistributedError for ranks that do not train the
    same.

    >>> import tinynet as tn
    >>> images, labels = tn.init.he_normal((64, 4)), tn.Tensor([0, 1] * 32).numpy()
    >>> model = tn.nn.Sequential(tn.nn.Dense(4, 2))
    >>> batches = tn.data.Loader(images, labels, batch_size=16)
    >>> history = tn.fit(model, tn.optim.Adam(model.parameters()), batches, epochs=2, show=False)
    >>> [row["epoch"] for row in history]
    [1, 2]
    """
    epochs = check_fit(model, optimizer, epochs, {"train": train, "validation": validation}, loss, schedule, max_norm,
                       metrics, callbacks)
    if resume and checkpoint is None:
        raise ArgumentError('fit: resume needs the checkpoint to go on from, and got none; checkpoint="runs/one.ckpt"?')
    if checkpoint is not None and (not os.fspath(checkpoint) or "\0" in os.fspath(checkpoint)):
        raise ArgumentError(f'fit: checkpoint must be the name of a file, got {checkpoint!r}; checkpoint="run.ckpt"?')
    if not isinstance(plain(checkpoint_seconds), int | float) or not checkpoint_seconds >= 0:
        raise ArgumentError("fit: checkpoint_seconds must be a number of seconds of at least 0, got "
                            f"{checkpoint_seconds!r}; checkpoint_seconds=60?")
    max_norm = plain(max_norm)
    checkpoint = None if checkpoint is None else os.path.abspath(checkpoint)  # also after os.chdir in a callback
    run = Run(model, optimizer, train, epochs, validation, schedule, callbacks, ranks=Repeatable(ranks()))
    is_first = run.ranks.rank == 0
    if is_first and (mistake := probabilities_for_logits(model, loss)):
        warn(mistake, stacklevel=4)
    compared = _compared(run, loss, max_norm, metrics or {}, checkpoint is not None and is_first)
    running, show = Lock(), show and is_first
    ending = [signal.SIGINT, *([signal.SIGTERM] if checkpoint is not None else [])]
    signals = Signals(running, *ending, show=is_first)
    session = Session(run, compared, signals, path=checkpoint, seconds=checkpoint_seconds, guard=guard, graph=graph,
                      loss=loss, max_norm=max_norm)
    with running, locked(checkpoint if is_first else None, running):  # an interrupt cannot prevent the end of `with`
        started = session.start(resume)
        if show and started:
            say(started)
        with signals:
            _train(run, session, metrics or {}, show)
    if show and run.stopped:
        say(f"stopped: {run.stopped}")
    return run.history


def _compared(run: Run, loss: Loss, max_norm: float | None, metrics: Mapping[str, Metric],
              is_kept: bool) -> dict[str, Any]:
    """What a resumed run is compared by. The data are read for it only if there is a checkpoint."""
    settings = checkpoints.settings(run, loss=getattr(loss, "__name__", type(loss).__name__), max_norm=max_norm,
                                    metrics=list(metrics))
    if not is_kept:
        return {"settings": settings}
    return checkpoints.identity(run, device_of(run.optimizer.parameters), settings, loss=loss,
                                **{f"metric {name}": metric for name, metric in metrics.items()})


def _train(run: Run, session: Session, metrics: Mapping[str, Metric], show: bool) -> None:
    """Train for the epochs that are left."""
    try:
        for callback in run.callbacks:
            callback.on_start(run)
        start, first, reason = time.perf_counter(), run.epoch, ""
        while run.epoch <= run.epochs and not run.stopped:
            meter = _epoch(run, session, metrics, show)
            if run.epoch == first + 1:
                start, left = time.perf_counter(), 0.0  # the first epoch compiles: it says nothing about the others
            else:
                left = (time.perf_counter() - start) / (run.epoch - first - 1) * (run.epochs + 1 - run.epoch)
            meter.close(run.history[-1], left=left * (not run.stopped))
            if session.refusal != reason:
                reason = session.refusal
                warn(f"fit: steps run one kernel at a time, and not as a CUDA graph: {reason}", stacklevel=5)
            session.interrupted()
            session.end_if_interrupted()
    finally:
        for callback in run.callbacks:
            callback.on_end(run)


def _epoch(run: Run, session: Session, metrics: Mapping[str, Metric], show: bool) -> Meter:
    """Train for an epoch, or for the rest of one, and validate."""
    batches = len(run.train) if isinstance(run.train, Sized) else None
    meter = Meter(run.sums, f"epoch {run.epoch}/{run.epochs}", run.batch, batches, show)
    run.model.train()
    with meter:
        for batch in session.batches():
            session.step(batch)
            meter.tick()
            session.watch()
            for callback in run.callbacks:
                callback.on_step(run)
            session.agree_on_stop()
            session.save_if_due()
            session.end_if_interrupted()
            if run.stopped:
                break
    if not run.sums["images"]:
        raise ArgumentError(f"fit: train must have at least one batch in every epoch, got none in epoch {run.epoch}; "
                            "a generator yields its batches only once: list(train), or a tn.data.Loader?")
    run.validating = True
    session.check()
    row = {"epoch": run.epoch, **meter.means("train")}
    if session.refusal:
        row["graph_refused"] = 1.0
    try:
        with ExitStack() as contexts:
            for callback in run.callbacks:
                contexts.enter_context(callback.evaluating(run))
            if run.validation is not None:
                found = evaluate_parts(run.model, _until_interrupted(run, session), run.ranks, session.loss, metrics)
                row.update({f"validation_{name}": value for name, value in found.items() if name != "images"})
            run.history.append(session.agree_on_epoch(row))
            for callback in run.callbacks:
                callback.on_epoch(run)
            session.agree_on_stop()
    except _Interrupted:  # the state is saved when the contexts are left
        session.end_if_interrupted()
    run.next_epoch()
    session.save()
    return meter


class _Interrupted(Exception):
    """A signal was received in the validation."""


def _until_interrupted(run: Run, session: Session) -> Iterator[Any]:
    """The validation batches. An interrupted validation starts again after the resume, so its loader is rewound."""
    batches: Any = run.validation
    position = batches.state_dict() if hasattr(batches, "load_state_dict") else None
    for pair in parts("evaluate", batches, run.ranks):
        if session.interrupted():
            if position is not None:
                batches.load_state_dict(position)
            raise _Interrupted
        yield pair
