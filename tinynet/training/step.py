"""One step of training, and the sums that it adds to.

    output = model(*inputs)
    loss(output, target).backward()
    optimizer.step()

Nothing in this file reads a number back from a device.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from tinynet import backend, ops
from tinynet.errors import ArgumentError
from tinynet.nn.parameter import Parameter
from tinynet.ops.loss import tally, tally_errors, tally_labels
from tinynet.optim.clipping import clip_global_norm
from tinynet.tensor import Tensor
from tinynet.training.run import Loss, Run
from tinynet.types import Array


def train_step(run: Run, inputs: Sequence[Tensor], target: Tensor, model: Callable[..., Any], loss: Loss,
               max_norm: float | None, backward: Callable[[Tensor, Tensor], None] | None = None
               ) -> tuple[Tensor, Tensor]:
    """Forward, loss, backward, update. Returns the loss and the outputs.

    `model` and `loss` are those of the run, or the guard's observed ones. `max_norm` clips the gradients. With several
    ranks, `backward(value, output)` takes the place of `value.backward()`: see `ranks.py`.
    """
    output = model(*inputs)
    value = loss_of("fit", loss, output, target)
    run.optimizer.zero_grad()
    if backward is None:
        value.backward()
    else:
        backward(value, output)
    if max_norm is not None:
        clip_global_norm(run.optimizer.parameters, max_norm)
    run.optimizer.step()
    return value, output


def loss_of(function: str, loss: Loss, output: Tensor, target: Any) -> Tensor:
    """The loss of a batch. Errors: ArgumentError, in the name of `function`, if it or the output is not a tensor."""
    if not isinstance(output, Tensor):
        raise ArgumentError(f"{function}: model must return one tensor, got a value of type {type(output).__name__}; "
                            "does its forward end with return, and an LSTM have return_state=False?")
    value = loss(output, target)
    if not isinstance(value, Tensor):
        raise ArgumentError(f"{function}: loss must return a tensor of one element, got a value of type "
                            f"{type(value).__name__}; is it made by operators and functions of tn.ops?")
    return value


def function_of(loss: Any) -> Any:
    """The function of a loss, without the options that `functools.partial` gives it."""
    return function_of(loss.func) if isinstance(loss, partial) else loss


def measured_by(loss: Any, output: Tensor, labels: Tensor) -> str:
    """The name of what a batch is measured by besides its loss; "" for none.

    accuracy      the share of right classes: labels are class numbers, and outputs have a score for each class. Also
                  for `cross_entropy` with probabilities, and for `binary_cross_entropy` with one score for a sample
    exact_match   the share of samples with all labels right: for `binary_cross_entropy` with many labels
    mae           the mean absolute error: for `mse`, `mae` and `huber`
    """
    loss = function_of(loss)
    if labels.dtype.kind in "iu" and output.ndim == labels.ndim + 1 and output.shape[-1] > 1:
        return "accuracy"
    if output.shape == labels.shape and output.ndim:
        if loss is ops.cross_entropy:
            return "accuracy"
        if loss is ops.binary_cross_entropy:
            return "exact_match" if labels.size > len(labels) else "accuracy"
        if any(loss is one for one in (ops.mse, ops.mae, ops.huber)):
            return "mae"
    return ""


def add_batch(sums: dict[str, Any], loss: Loss, value: Tensor, output: Tensor, labels: Tensor) -> None:
    """Add a batch to the sums: images, loss times images, and what `measured_by` names. They live on the loss's device.

    Without a name for it the sum of the measure is negative. `value` is what the loss returned.
    """
    sums["images"] += len(labels)
    measure = sums["measure"] = measured_by(loss, output, labels)
    counted = "int64" if labels.ndim == 1 and measure != "mae" else "float64"
    for name, dtype in (("loss", value.dtype), ("right", counted)):
        if not hasattr(sums[name], "dtype"):  # a number of the host: the epoch has just begun, or was resumed
            sums[name] = backend.as_array(sums[name], dtype, value.device)
    totals, mean = (sums["loss"], sums["right"]), value.data.reshape(())
    if measure == "mae":
        tally_errors(*totals, mean, output.data, labels.data)
    elif measure and function_of(loss) is ops.binary_cross_entropy:
        tally_labels(*totals, mean, output.data, labels.data)
    elif measure:
        classes = labels.data if output.ndim > labels.ndim else labels.data.argmax(axis=-1)
        tally(*totals, mean, output.data, classes)
    else:
        backend.call(_add_loss, *totals, mean, len(labels))


def _add_loss(total: Array, right: Array, loss: Array, count: int) -> None:
    total += loss * count
    right -= count


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
