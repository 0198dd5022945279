"""One step of training, and the sums that it adds to.

    output = model(*inputs)
    loss(output, target).backward()
    optimizer.step()

Nothing in this file reads a number back from a device.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tinynet import backend
from tinynet.errors import ArgumentError
from tinynet.nn.parameter import Parameter
from tinynet.ops.loss import tally
from tinynet.optim.clipping import clip_global_norm
from tinynet.tensor import Tensor
from tinynet.training.run import Loss, Run


def train_step(run: Run, inputs: Sequence[Tensor], target: Tensor, model: Callable[..., Any], loss: Loss,
               max_norm: float | None) -> tuple[Tensor, Tensor]:
    """Forward, loss, backward, update. Returns the loss and the outputs.

    `model` and `loss` are those of the run, or the guard's observed ones. `max_norm` clips the gradients.
    """
    output = model(*inputs)
    value = loss(output, target)
    run.optimizer.zero_grad()
    value.backward()
    if max_norm is not None:
        clip_global_norm(run.optimizer.parameters, max_norm)
    run.optimizer.step()
    return value, output


def add_batch(sums: dict[str, Any], loss: Tensor, output: Tensor, labels: Tensor) -> None:
    """Add a batch to the sums: images, loss times images, right answers. The sums live on the loss's device.

    Without an accuracy (labels that are not class numbers, or one score only) the sum of right answers is negative.
    """
    sums["images"] += len(labels)
    for name, dtype in (("loss", loss.dtype), ("right", "int64" if labels.ndim == 1 else "float64")):
        if not hasattr(sums[name], "dtype"):  # a number of the host: the epoch has just begun, or was resumed
            sums[name] = backend.as_array(sums[name], dtype, loss.device)
    if labels.dtype.kind in "iu" and output.ndim == labels.ndim + 1 and output.shape[-1] > 1:
        tally(sums["loss"], sums["right"], loss.data.reshape(()), output.data, labels.data)
    else:
        sums["loss"] += loss.data.reshape(()) * len(labels)
        sums["right"] -= len(labels)


def pair(function: str, batch: Any) -> tuple[Any, Any]:
    """The inputs and the labels of a batch. Errors: ArgumentError, in the name of `function`, if it is not a pair."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        got = f"{len(batch)} arrays" if isinstance(batch, tuple | list) else f"one {type(batch).__name__}"
        raise ArgumentError(f"{function}: a batch must be a pair (inputs, labels), got {got}; "
                            "tn.data.Loader(images, labels, batch_size=128)?")
    return batch[0], batch[1]


def inputs_of(inputs: Any) -> tuple[Any, ...]:
    """The inputs of a model, such as those of `model(x, mask)`: all of a tuple, else the one that is given."""
    return inputs if isinstance(inputs, tuple) else (inputs,)


def tensors_of(function: str, batch: Any, device: str) -> tuple[list[Tensor], Tensor]:
    """The inputs and the labels of a batch as tensors on a device. Errors as of `pair`."""
    inputs, labels = pair(function, batch)
    return to_device(device, *inputs_of(inputs)), Tensor(labels, device=device)


def device_of(parameters: Iterable[Parameter]) -> str:
    """The device of a model's parameters, to which its batches must go; the CPU for a model without parameters."""
    return next((parameter.device for parameter in parameters), "cpu")


def to_device(device: str, *arrays: Any) -> list[Tensor]:
    """The arrays as tensors on a device."""
    return [Tensor(array, device=device) for array in arrays]
