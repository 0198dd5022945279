"""Rules for arithmetic, activations and comparisons: the output is stored in the order of the input."""

from typing import Any

import numpy as np

from tinynet.export.graph import Graph
from tinynet.export.rules import RULES, Rule, rule
from tinynet.export.trace import Step

_UNARY = {
    "absolute": "Abs",
    "erf": "Erf",
    "exp": "Exp",
    "log": "Log",
    "negative": "Neg",
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "sign": "Sign",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
}
_BINARY = {"add": "Add", "divide": "Div", "float_power": "Pow", "maximum": "Max", "minimum": "Min", "multiply": "Mul",
           "subtract": "Sub"}
_COMPARISONS = {"equal": "Equal", "not_equal": "Equal", "less": "Less", "less_equal": "LessOrEqual",
                "greater": "Greater", "greater_equal": "GreaterOrEqual"}
_ALONG = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}
# The numbers that ONNX has for dtypes.
DTYPES = {"float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9,
          "float16": 10, "float64": 11, "uint32": 12, "uint64": 13}


def _unary(kind: str) -> Rule:
    def write(graph: Graph, step: Step) -> None:
        order = graph.order(step.inputs[0])
        graph.set(step.outputs[0], graph.emit(kind, graph.value(step.inputs[0], order)), order)
    return write


def elementwise(graph: Graph, step: Step, kind: str) -> tuple[str, tuple[int, ...]]:
    """A node whose inputs are broadcast: its name, and its order of axes."""
    order = graph.common_order(step.inputs, max(array.ndim for array in step.inputs))
    return graph.emit(kind, *(graph.broadcast(array, order) for array in step.inputs)), order


def _binary(kind: str) -> Rule:
    def write(graph: Graph, step: Step) -> None:
        graph.set(step.outputs[0], *elementwise(graph, step, kind))
    return write


def _along(kind: str) -> Rule:
    def write(graph: Graph, step: Step) -> None:
        x = step.inputs[0]
        order = graph.order(x)
        axis = order.index(step.options["axis"] % x.ndim)
        graph.set(step.outputs[0], graph.emit(kind, graph.value(x, order), axis=axis), order)
    return write


RULES.update({op: _unary(kind) for op, kind in _UNARY.items()})
RULES.update({op: _binary(kind) for op, kind in _BINARY.items()})
RULES.update({op: _along(kind) for op, kind in _ALONG.items()})


@rule(*_COMPARISONS)
def comparison(graph: Graph, step: Step) -> None:
    """A comparison of two arrays in their common dtype."""
    order = graph.common_order(step.inputs, step.outputs[0].ndim)
    dtype = np.result_type(*step.inputs)
    names = [graph.broadcast(array, order) if array.dtype == dtype else
             graph.emit("Cast", graph.broadcast(array, order), to=DTYPES[dtype.name]) for array in step.inputs]
    name = graph.emit(_COMPARISONS[step.op], *names)
    graph.set(step.outputs[0], graph.emit("Not", name) if step.op == "not_equal" else name, order)


@rule("where")
def where(graph: Graph, step: Step) -> None:
    """Where, with a condition of booleans."""
    order = graph.common_order(step.inputs, step.outputs[0].ndim)
    condition, a, b = (graph.broadcast(array, order) for array in step.inputs)
    if step.inputs[0].dtype != bool:
        condition = graph.emit("Cast", condition, to=DTYPES["bool"])
    graph.set(step.outputs[0], graph.emit("Where", condition, a, b), order)


@rule("log1p", "expm1")
def close_to_0(graph: Graph, step: Step) -> None:
    """Log of 1 + x, or Exp less 1: close to 0 they are less exact than ours."""
    order, one = graph.order(step.inputs[0]), np.ones((), step.inputs[0].dtype)
    name = graph.value(step.inputs[0], order)
    name = (graph.emit("Log", graph.emit("Add", name, one)) if step.op == "log1p" else
            graph.emit("Sub", graph.emit("Exp", name), one))
    graph.set(step.outputs[0], name, order)


@rule("leaky_relu", "elu")
def rectifier(graph: Graph, step: Step) -> None:
    """LeakyRelu or Elu, of which both call their option alpha."""
    kind, option = {"leaky_relu": ("LeakyRelu", "negative_slope"), "elu": ("Elu", "alpha")}[step.op]
    order = graph.order(step.inputs[0])
    name = graph.emit(kind, graph.value(step.inputs[0], order), alpha=float(step.options[option]))
    graph.set(step.outputs[0], name, order)


@rule("gelu", "silu")
def times_a_share(graph: Graph, step: Step) -> None:
    """x times (1 + Erf(x / √2)) / 2, or times its Sigmoid."""
    x = step.inputs[0]
    order = graph.order(x)
    name = graph.value(x, order)
    if step.op == "silu":
        share = graph.emit("Sigmoid", name)
    else:
        one, half, root = (np.asarray(value, x.dtype) for value in (1.0, 0.5, 0.5**0.5))
        erf = graph.emit("Erf", graph.emit("Mul", name, root))
        share = graph.emit("Mul", graph.emit("Add", erf, one), half)
    graph.set(step.outputs[0], graph.emit("Mul", name, share), order)


@rule("mask_steps")
def mask_steps(graph: Graph, step: Step) -> None:
    """Where, with the mask (N,T) as the condition."""
    x, mask = step.inputs
    order = graph.order(x)
    condition = graph.value(mask, [axis for axis in order if axis < mask.ndim])
    if mask.dtype != bool:
        condition = graph.emit("Cast", condition, to=DTYPES["bool"])
    if others := [place for place, axis in enumerate(order) if axis >= mask.ndim]:
        condition = graph.emit("Unsqueeze", condition, np.array(others))
    value = np.asarray(step.options["value"], x.dtype)
    graph.set(step.outputs[0], graph.emit("Where", condition, graph.value(x, order), value), order)


@rule("power")
def power(graph: Graph, step: Step) -> None:
    """Pow, with a constant exponent."""
    x = step.inputs[0]
    order = graph.order(x)
    exponent = np.asarray(step.options["exponent"], x.dtype)
    graph.set(step.outputs[0], graph.emit("Pow", graph.value(x, order), exponent), order)


@rule("clip")
def clip(graph: Graph, step: Step) -> None:
    """Clip, with limits that may be left out."""
    x = step.inputs[0]
    order, limits = graph.order(x), [step.options["low"], step.options["high"]]
    given: list[Any] = [None if limit is None else np.asarray(limit, x.dtype) for limit in limits]
    graph.set(step.outputs[0], graph.emit("Clip", graph.value(x, order), *given), order)


@rule("astype")
def astype(graph: Graph, step: Step) -> None:
    """Cast."""
    x, dtype = step.inputs[0], np.dtype(step.options["dtype"])
    if dtype.name not in DTYPES:
        graph.fail(f"must make one of {', '.join(DTYPES)}, and makes {dtype}; ONNX has no such numbers")
    order = graph.order(x)
    graph.set(step.outputs[0], graph.emit("Cast", graph.value(x, order), to=DTYPES[dtype.name]), order)


@rule("mse", "mae", "huber")
def mse(graph: Graph, step: Step) -> None:
    """A function of a difference, and its mean or sum over all elements."""
    name, order = elementwise(graph, step, "Sub")
    if step.op == "huber":
        delta, half = (np.asarray(value, step.inputs[0].dtype) for value in (step.options["delta"], 0.5))
        limited = graph.emit("Clip", name, -delta, delta)
        square = graph.emit("Mul", limited, graph.emit("Sub", name, graph.emit("Mul", limited, half)))
    else:
        square = graph.emit("Abs", name) if step.op == "mae" else graph.emit("Mul", name, name)
    if step.options["reduction"] == "none":
        graph.set(step.outputs[0], square, order)
    else:
        kind = {"mean": "ReduceMean", "sum": "ReduceSum"}[step.options["reduction"]]
        graph.set(step.outputs[0], graph.emit(kind, square, keepdims=0))
