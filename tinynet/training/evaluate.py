"""Loss, accuracy or another measure, and outputs of a model in evaluation mode: `evaluate` and `predict`."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tinynet import backend, ops
from tinynet.distributed import Communicator
from tinynet.elsewhere import guided
from tinynet.errors import ArgumentError
from tinynet.nn.module import Module
from tinynet.parts import Part
from tinynet.plain import plain_rows, whole
from tinynet.tape import evaluated
from tinynet.tensor import blank
from tinynet.tracing import shapes_only
from tinynet.training.calls import EVALUATE, PREDICT, check_batches, check_metrics, check_model
from tinynet.training.progress import Meter
from tinynet.training.ranks import Exchange, joined, parts, ranks
from tinynet.training.run import Batches, Loss, no_sums
from tinynet.training.step import add_batch, device_of, inputs_of, loss_of, tensors_of, to_device
from tinynet.types import Array, Rows

Metric = Callable[[Any, Any], float]  # of all labels and all outputs, NumPy arrays


@guided(EVALUATE)
def evaluate(model: Module, batches: Batches, *, loss: Loss = ops.cross_entropy,
             metrics: Mapping[str, Metric] | None = None) -> dict[str, float]:
    """The mean loss of a model on batches of (inputs, labels), in evaluation mode, and a measure that fits the task.

    metrics   more numbers by name: functions of all labels (N, ...) and all outputs (N, ..., K), NumPy arrays

    Returns a dictionary: `loss`, the measure, the metrics, and `images`, their number. The measure is

    accuracy      a share, 0 to 1, if labels are class numbers, and outputs have a score for each class; and for
                  `cross_entropy` of probabilities, and `binary_cross_entropy` with one score for each sample
    exact_match   the share of samples with all labels right, for `binary_cross_entropy` with many labels
    mae           the mean absolute error, for `mse`, `mae` and `huber`

    or missing, as for other losses of a regression. Options as `functools.partial` gives them change nothing.

    Under mpiexec each rank computes its rows of each batch, and all ranks return the same.

    Errors: ArgumentError if there is no batch, or a batch is not a pair.

    >>> import tinynet as tn
    >>> model = tn.nn.Sequential(tn.nn.Flatten())
    >>> scores, labels = tn.Tensor([[5.0, 0.0], [0.0, 5.0]]).numpy(), tn.Tensor([0, 0]).numpy()
    >>> tn.evaluate(model, tn.data.Loader(scores, labels, batch_size=1))["accuracy"]
    0.5
    >>> recall = {"recall": lambda labels, outputs: tn.metrics.sensitivity(labels, outputs.argmax(axis=-1), positive=0)}
    >>> tn.evaluate(model, tn.data.Loader(scores, labels, batch_size=1), metrics=recall)["recall"]
    0.5
    """
    check_model("evaluate", model, EVALUATE)
    check_batches("evaluate: batches", batches)
    check_metrics("evaluate", metrics)
    job = ranks()
    return evaluate_parts(model, parts("evaluate", batches, job), job, loss, metrics or {})


def evaluate_parts(model: Module, batches: Iterator[tuple[Part, Any]], job: Communicator, loss: Loss,
                   metrics: Mapping[str, Metric]) -> dict[str, float]:
    """As `evaluate`, for the parts of batches that are this rank's."""
    meter = Meter(no_sums())
    seen: list[tuple[tuple[Part, Any], tuple[Part, Any]]] = []
    device = device_of(model.parameters())
    exchange = Exchange(job, device=device) if job.size > 1 else None
    for part, batch in batches:
        inputs, target = tensors_of("evaluate", batch, device)
        output = evaluated(model, *inputs)
        value = evaluated(loss_of, "evaluate", loss, output, target)
        if exchange is None:
            add_batch(meter.sums, loss, value, output, target)
        else:
            exchange.add(part, meter.sums, loss, value, output, target)
        if metrics:
            seen.append(((part, target.numpy()), (part, output.numpy())))
    if not meter.sums["images"]:
        raise ArgumentError("evaluate: batches must be at least one, got none; a generator yields its batches only "
                            "once: list(batches), or a tn.data.Loader?")
    means = meter.means("")
    result: dict[str, float] = {name: means[name] for name in means if name in ("loss", meter.measure)}
    if metrics:
        labels, outputs = (joined(job, list(rows)) for rows in zip(*seen, strict=True))
        result.update({name: float(metric(labels, outputs)) for name, metric in metrics.items()})
    return {**result, "images": meter.sums["images"]}


@guided(PREDICT)
def predict(model: Module, inputs: Rows | Iterable[Any], *, batch_size: int = 256) -> Array:
    """The outputs of a model for all inputs, a NumPy array, computed in batches in evaluation mode.

    inputs   an array, which is cut into batches of `batch_size`; or a tuple of arrays, such as `(x, mask)`, for a model
             of several inputs. Any other iterable, such as a `tn.data.Loader` or a list, has batches: an array each, or
             a tuple whose first element is taken, which may be a tuple of inputs again

    No inputs give no outputs: (0, ...), with the other axes that the outputs have.

    Errors: ArgumentError for a batch size below 1.

    >>> import tinynet as tn
    >>> tn.predict(tn.nn.Sequential(tn.nn.ReLU()), tn.Tensor([[-1.0], [2.0]]).numpy())
    array([[0.],
           [2.]], dtype=float32)
    """
    check_model("predict", model, PREDICT)
    batch_size = whole("predict", "batch_size", batch_size, 1, usual="batch_size=256")
    inputs = plain_rows(inputs, "predict: inputs")
    check_batches("predict: inputs", inputs, "an array, or batches", PREDICT)
    if hasattr(inputs, "shape") or isinstance(inputs, tuple):
        arrays = [plain_rows(array, "predict: inputs") for array in inputs_of(inputs)]
        if len({len(array) for array in arrays}) != 1:
            raise ArgumentError("predict: the inputs in a tuple must have one length, got "
                                f"{', '.join(str(len(array)) for array in arrays)}; a list for several batches?")
        batches: Any = (tuple(array[start : start + batch_size] for array in arrays)
                        for start in range(0, len(arrays[0]), batch_size))
    else:
        batches = (batch[0] if isinstance(batch, tuple | list) else batch for batch in inputs)
    device = device_of(model.parameters())
    parts = [evaluated(model, *to_device(device, *inputs_of(batch))).numpy() for batch in batches]
    return backend.namespace("cpu").concatenate(parts) if parts else _output_of_nothing(model, inputs)


def _output_of_nothing(model: Module, inputs: Any) -> Any:
    """The output for no inputs, with the shape that an input of its own shape would have; else (0,)."""
    dtype = next((parameter.dtype for parameter in model.parameters()), "float32")
    if hasattr(inputs, "shape") or isinstance(inputs, tuple):
        blanks = [blank((1, *array.shape[1:]), array.dtype) for array in inputs_of(inputs)]
    elif model.input_shape is not None:
        blanks = [blank((1, *model.input_shape), dtype)]
    else:
        return backend.namespace("cpu").zeros((0,), "float32")
    with shapes_only():
        output = evaluated(model, *blanks)
    return backend.namespace("cpu").zeros((0, *output.shape[1:]), output.dtype)
