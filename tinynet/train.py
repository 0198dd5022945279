"""The training loop: fit, evaluate, predict.

    for images, labels in loader:
        loss = cross_entropy(model(Tensor(images)), labels)
        optimizer.zero_grad();  loss.backward();  optimizer.step()

is all there is to it. The rest of this file keeps count, and shows how far it is.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tinynet import backend, ops
from tinynet.errors import ArgumentError
from tinynet.nn.module import Module
from tinynet.optim.clipping import clip_global_norm
from tinynet.optim.optimizer import Optimizer
from tinynet.optim.schedule import Schedule
from tinynet.tape import Tensor, no_grad

Loss = Callable[[Tensor, Any], Tensor]
Batches = Any  # an iterable, with a length, of (inputs, labels); such as a data.Loader

_SHOW_SECONDS = 0.5  # how often the numbers of the progress bar are read from the device


def fit(model: Module, optimizer: Optimizer, train: Batches, *, epochs: int, validation: Batches | None = None,
        loss: Loss = ops.cross_entropy, schedule: Schedule | None = None, max_norm: float | None = None,
        show: bool = True) -> list[dict[str, float]]:
    """Train a model on batches of (inputs, labels), and say after each epoch how good it is.

    train, validation   iterables of pairs of arrays, one pass being one epoch: `tn.data.Loader`
    loss                loss(output, labels) -> a tensor of one element, the mean over the batch
    schedule            gives the optimizer its rate; one step of it for each batch
    max_norm            clips the gradients of a step to this length, all together
    show                a progress bar for each epoch (a plain line where the output is not a terminal)

    Returns a dictionary for each epoch: `epoch` (from 1), `train_loss` and `train_accuracy` (means over the epoch's
    images, in training mode, while the weights change), `validation_loss` and `validation_accuracy` (after the epoch,
    in evaluation mode), `seconds` and `images_per_second` (of the training alone).

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
    history = []
    for epoch in range(1, epochs + 1):
        meter = _Meter(f"epoch {epoch}/{epochs}", len(train) if hasattr(train, "__len__") else None, show)
        model.train()
        for batch in train:
            meter.add(*_step(model, optimizer, *_pair("fit", batch), loss, max_norm))
            if schedule:
                schedule.step()
        if not meter.images:
            raise ArgumentError(f"fit: train must have at least one batch in every epoch, got none in epoch {epoch}; "
                                "a generator can be gone through once only, list(train) or a tn.data.Loader again")
        row = {"epoch": epoch, **meter.finish("train")}
        if validation is not None:
            row.update({f"validation_{name}": value for name, value in evaluate(model, validation, loss=loss).items()
                        if name != "images"})
        meter.close(row)
        history.append(row)
    return history


def evaluate(model: Module, batches: Batches, *, loss: Loss = ops.cross_entropy) -> dict[str, float]:
    """The mean loss and the accuracy of a model on batches of (inputs, labels), in evaluation mode.

    Returns a dictionary with `loss`, `accuracy` (a share, 0 to 1) and `images`, their number.

    >>> import tinynet as tn
    >>> model = tn.nn.Sequential(tn.nn.Flatten())
    >>> scores, labels = tn.Tensor([[5.0, 0.0], [0.0, 5.0]]).numpy(), tn.Tensor([0, 0]).numpy()
    >>> tn.evaluate(model, tn.data.Loader(scores, labels, batch_size=1))["accuracy"]
    0.5
    """
    meter = _Meter("", None, show=False)
    with _evaluating(model):
        for batch in batches:
            x, target = _on_device(model, *_pair("evaluate", batch))
            output = model(x)
            meter.add(loss(output, target), output, target)
    if not meter.images:
        raise ArgumentError("evaluate: batches must be at least one, got none; "
                            "a generator can be gone through once only, list(batches) or a tn.data.Loader again")
    result = meter.finish("")
    return {"loss": result["loss"], "accuracy": result["accuracy"], "images": meter.images}


def predict(model: Module, inputs: Any, *, batch_size: int = 256) -> Any:
    """The outputs of a model for an array of inputs, as a NumPy array, in evaluation mode, in batches.

    >>> import tinynet as tn
    >>> tn.predict(tn.nn.Sequential(tn.nn.ReLU()), tn.Tensor([[-1.0], [2.0]]).numpy())
    array([[0.],
           [2.]], dtype=float32)
    """
    if batch_size < 1:
        raise ArgumentError(f"predict: batch_size must be at least 1, got {batch_size}; 256 is usual")
    with _evaluating(model):
        parts = [model(*_on_device(model, inputs[start : start + batch_size])).numpy()
                 for start in range(0, len(inputs), batch_size)]
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


def _step(model: Module, optimizer: Optimizer, inputs: Any, labels: Any, loss: Loss,
          max_norm: float | None) -> tuple[Tensor, Tensor, Tensor]:
    """One step of training: the loss, the outputs and the labels."""
    x, target = _on_device(model, inputs, labels)
    output = model(x)
    value = loss(output, target)
    optimizer.zero_grad()
    value.backward()
    if max_norm is not None:
        clip_global_norm(optimizer.parameters, max_norm)
    optimizer.step()
    return value, output, target


def _on_device(model: Module, *arrays: Any) -> list[Tensor]:
    """Tensors of the arrays, where the model's parameters are."""
    device = next((parameter.device for parameter in model.parameters()), "cpu")
    return [Tensor(array, device=device) for array in arrays]


class _Meter:
    """Sums the loss and the right answers of an epoch where they are computed, and shows them now and then."""

    def __init__(self, title: str, batches: int | None, show: bool) -> None:
        self.title, self.show = title, show
        self.images = 0
        self.loss: Any = 0.0
        self.right: Any = 0.0
        self.start = self.shown = time.perf_counter()
        self.bar: Any = None
        if show and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=batches, desc=title, leave=False, unit="batch",
                            bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed} < {remaining}{postfix}")

    def add(self, loss: Tensor, output: Tensor, labels: Tensor) -> None:
        """Count a batch. Nothing is read back from a device here, but for the bar, every half a second."""
        n = len(labels)
        self.images += n
        self.loss = self.loss + loss.data * n
        if labels.dtype.kind in "iu" and output.ndim == labels.ndim + 1:
            self.right = self.right + (output.data.argmax(axis=-1) == labels.data).sum() / labels.data[0].size
        if self.bar is not None:
            self.bar.update()
            if time.perf_counter() - self.shown > _SHOW_SECONDS:
                self.shown = time.perf_counter()
                self.bar.set_postfix_str(self._line(self.finish("")))

    def finish(self, name: str) -> dict[str, float]:
        """The means so far, and the speed."""
        seconds = time.perf_counter() - self.start
        prefix, images = f"{name}_" if name else "", max(self.images, 1)
        return {f"{prefix}loss": float(self.loss) / images, f"{prefix}accuracy": float(self.right) / images,
                "seconds": seconds, "images_per_second": self.images / seconds}

    def close(self, row: dict[str, float]) -> None:
        """One line for the whole epoch."""
        if self.bar is not None:
            self.bar.close()
        if self.show:
            shown = {name.removeprefix("train_"): value for name, value in row.items()}
            print(f"{self.title}  {self._line(shown)}  {row['seconds']:.1f} s", flush=True)

    def _line(self, row: dict[str, float]) -> str:
        parts = [f"loss {row['loss']:.4f}", f"accuracy {row['accuracy']:.4f}"]
        if "validation_accuracy" in row:
            parts.append(f"validation accuracy {row['validation_accuracy']:.4f}")
        return "  ".join([*parts, f"{row['images_per_second']:,.0f} images/s"])
