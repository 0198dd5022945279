"""Checks of what `fit`, `evaluate` and `predict` are given: a wrong call is answered by the right one."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tinynet import ops, optim
from tinynet.errors import ArgumentError
from tinynet.nn.activation import Sigmoid, Softmax
from tinynet.nn.module import Module
from tinynet.nn.sequential import Sequential
from tinynet.optim.optimizer import Optimizer
from tinynet.optim.schedule import Schedule
from tinynet.plain import plain
from tinynet.training.run import Callback
from tinynet.training.step import function_of, pair

FIT = "tn.fit(model, tn.optim.Adam(model.parameters()), tn.data.Loader(x, y, batch_size=32), epochs=10)"
EVALUATE = "tn.evaluate(model, tn.data.Loader(x, y, batch_size=256))"
PREDICT = "tn.predict(model, x)"


def check_model(function: str, model: Any, right: str) -> None:
    """ArgumentError, with the right call, for a model of another kind."""
    if not isinstance(model, Module):
        right = f"tn.load({model!r})" if isinstance(model, str) else right
        raise ArgumentError(f"{function}: model must be a tn.nn.Module, got {_kind(model)}; {right}?")


def check_batches(call: str, given: Any, rule: str = "pairs (inputs, labels)",
                  right: str = "tn.data.Loader(images, labels, batch_size=128)") -> None:
    """ArgumentError for what has no batches: a number, a function, a path, a model."""
    if isinstance(given, str | Mapping | Module) or not (isinstance(given, Iterable) or hasattr(given, "__getitem__")):
        raise ArgumentError(f"{call} must be {rule}, got {_kind(given)}; {right}?")


def check_metrics(function: str, metrics: Any) -> None:
    """ArgumentError unless they are None, or functions by name."""
    if metrics is not None and not (isinstance(metrics, Mapping) and all(map(callable, metrics.values()))):
        raise ArgumentError(f"{function}: metrics must be a dictionary of functions of labels and outputs, got "
                            f'{_kind(metrics)}; the accuracy needs none: metrics={{"name": function}}?')


def check_fit(model: Any, optimizer: Any, epochs: Any, batches: Mapping[str, Any], loss: Any, schedule: Any,
              max_norm: Any, metrics: Any, callbacks: Any) -> int:
    """The number of epochs. Errors: ArgumentError, with the right call, for arguments of another kind.

    batches   those to train and to validate on, by the names of the arguments
    """
    check_model("fit", model, FIT)
    if not isinstance(optimizer, Optimizer):
        names = {name.lower(): name for name in optim.__all__}
        name = optimizer if isinstance(optimizer, str) else getattr(optimizer, "__name__", "")
        right = f"tn.optim.{names.get(name.lower(), 'Adam')}(model.parameters())"
        fix = right if name else FIT
        raise ArgumentError(f"fit: optimizer must be an optimizer of tn.optim, got {_kind(optimizer)}; {fix}?")
    own = {id(parameter) for parameter in model.parameters()}
    if own and not any(id(parameter) in own for parameter in optimizer.parameters):
        raise ArgumentError("fit: optimizer must have parameters of the model, and has none of them; "
                            f"tn.optim.{type(optimizer).__name__}(model.parameters()) of this model?")
    number = plain(epochs)
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ArgumentError(f"fit: epochs must be given, as an integer of 0 or more, got {epochs!r}; epochs=10?")
    for name, given in batches.items():
        if name == "train" or given is not None:
            check_batches(f"fit: {name}", given)
        if isinstance(given, tuple | list) and given:
            pair(f"fit: {name}", given[0])
    if not callable(loss):
        raise ArgumentError(f"fit: loss must be a function of outputs and labels, got {_kind(loss)}; "
                            "loss=tn.ops.cross_entropy?")
    if schedule is not None and not isinstance(schedule, Schedule):
        raise ArgumentError(f"fit: schedule must be a schedule of tn.optim, got {_kind(schedule)}; "
                            "schedule=tn.optim.Cosine(optimizer, steps=epochs * len(loader))?")
    if getattr(schedule, "optimizer", optimizer) is not optimizer:
        raise ArgumentError("fit: schedule must be one of this optimizer, and changes the rate of another one; "
                            f"tn.optim.{type(schedule).__name__}(optimizer, ...)?")
    limit = plain(max_norm)
    if max_norm is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0):
        got = limit if isinstance(limit, int | float) else _kind(max_norm)
        raise ArgumentError(f"fit: max_norm must be a positive number, got {got}; max_norm=1.0?")
    check_metrics("fit", metrics)
    if not isinstance(callbacks, Sequence) or not all(isinstance(one, Callback) for one in callbacks):
        raise ArgumentError("fit: callbacks must be a list of tn.callbacks.Callback, got "
                            f"{_kinds(callbacks)}; callbacks=[tn.callbacks.EarlyStopping()]?")
    return number


def probabilities_for_logits(model: Module, loss: Any) -> str:
    """The warning for a loss of logits whose model ends with probabilities; or ""."""
    last, function = model, function_of(loss)
    while isinstance(last, Sequential) and len(last):
        last = last[-1]
    if not isinstance(last, Softmax | Sigmoid) or function not in (ops.cross_entropy, ops.binary_cross_entropy):
        return ""
    kind = type(last).__name__
    return (f"fit: {function.name} takes logits, and the model ends with {kind}, so it learns slowly; leave {kind} "
            f"out, and make probabilities of its scores by tn.ops.{kind.lower()}")


def _kinds(values: Any) -> str:
    return f"[{', '.join(map(_kind, values))}]" if isinstance(values, list | tuple) else _kind(values)


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return repr(value)
    return f"the class {value.__name__}" if isinstance(value, type) else f"a value of type {type(value).__name__}"
