"""Rules for shapes, indices and reductions."""

import reprlib
from typing import Any

import numpy as np

from tinynet.export.elementwise import DTYPES
from tinynet.export.graph import Graph
from tinynet.export.rules import RULES, Rule, rule
from tinynet.export.trace import Step
from tinynet.ops.axes import axes_of
from tinynet.types import Array

_END = 2**62  # beyond the last element of every axis


@rule("reshape")
def reshape(graph: Graph, step: Step) -> None:
    """Reshape. One size may depend on the batch."""
    graph.set(step.outputs[0], graph.reshape(graph.value(step.inputs[0]), graph.sizes(step.outputs[0])))


@rule("transpose")
def transpose(graph: Graph, step: Step) -> None:
    """No node: the output is the same value, with its axes named in another order."""
    x = step.inputs[0]
    axes, order = [axis % x.ndim for axis in step.options["axes"]], graph.order(x)
    graph.set(step.outputs[0], graph.value(x, order), [axes.index(axis) for axis in order])


@rule("concatenate")
def concatenate(graph: Graph, step: Step) -> None:
    """Concat, in the order in which the first input is stored."""
    y = step.outputs[0]
    order = graph.common_order(step.inputs, y.ndim)
    names = [graph.value(array, order) for array in step.inputs]
    graph.set(y, graph.emit("Concat", *names, axis=order.index(step.options["axis"] % y.ndim)), order)


@rule("pad")
def pad(graph: Graph, step: Step) -> None:
    """Pad, by as many elements as the shapes differ."""
    x, width = step.inputs[0], step.options["width"]
    pairs = np.broadcast_to(np.array(width, "int64"), (x.ndim, 2))
    value = np.asarray(step.options["value"], x.dtype)
    graph.set(step.outputs[0], graph.emit("Pad", graph.value(x), pairs.T.ravel(), value))


@rule("getitem")
def getitem(graph: Graph, step: Step) -> None:
    """Slice for slices and integers, Gather for one array of integers, Squeeze and Unsqueeze for the axes."""
    x, y = step.inputs[0], step.outputs[0]
    parts = _whole(step.options["index"], x.ndim)
    arrays = [part for part in parts if isinstance(part, list | np.ndarray)]
    if len(arrays) > 1 or (arrays and any(isinstance(part, int) for part in parts)) or any(
            np.asarray(part).dtype == bool for part in arrays):
        graph.fail("must have at most one array of integers in its index, beside slices, got "
                   f"{reprlib.repr(step.options['index'])}; select along one axis at a time")
    slices, gone, new, gather = [], [], [], None
    axis = place = 0  # of x, and of y
    for part in parts:
        if part is None:
            new.append(place)
            place += 1
            continue
        if isinstance(part, slice):
            if part != slice(None):
                slices.append((axis, *_limits(part)))
            place += 1
        elif isinstance(part, int):
            slices.append((axis, part, part + 1 if part != -1 else _END, 1))
            gone.append(axis)
        else:
            gather = axis, np.asarray(part)
            place += gather[1].ndim
        axis += 1
    name = graph.value(x)
    if slices:
        axes, starts, ends, steps = (np.array(column, "int64") for column in zip(*slices, strict=True))
        name = graph.emit("Slice", name, starts, ends, axes, steps)
    if gather is not None:
        index = gather[1] if graph.is_constant(gather[1]) else graph.value(gather[1])
        name = graph.emit("Gather", name, index if isinstance(index, str) else index.astype("int64"), axis=gather[0])
    if gone:
        name = graph.emit("Squeeze", name, np.array(gone, "int64"))
    if new:
        name = graph.emit("Unsqueeze", name, np.array(new, "int64"))
    graph.set(y, name)


@rule("take_along_axis")
def take_along_axis(graph: Graph, step: Step) -> None:
    """GatherElements, which does not broadcast: Expand before it."""
    x, indices = step.inputs
    axis = step.options["axis"] % x.ndim
    if axis and x.shape[0] != indices.shape[0]:
        graph.fail(f"must have indices for each sample of the batch, whose size is free, got {indices.shape} for "
                   f"{x.shape}; repeat them")
    names = []
    for one, other in ((x, indices), (indices, x)):
        wide = [m if n == 1 and i != axis else 1 for i, (n, m) in enumerate(zip(one.shape, other.shape, strict=True))]
        name = graph.value(one)
        names.append(graph.emit("Expand", name, np.array(wide, "int64")) if max(wide, default=1) > 1 else name)
    graph.set(step.outputs[0], graph.emit("GatherElements", *names, axis=axis))


def _whole(index: Any, rank: int) -> list[Any]:
    """The parts of an index, with a slice for each axis that `...` or nothing stands for."""
    parts = list(index) if isinstance(index, tuple) else [index]
    missing = rank - sum(part is not None and part is not Ellipsis for part in parts)
    at = next((i for i, part in enumerate(parts) if part is Ellipsis), None)
    rest = [slice(None)] * missing
    return [*parts, *rest] if at is None else [*parts[:at], *rest, *parts[at + 1 :]]


def _limits(part: slice) -> tuple[int, int, int]:
    """Start, end and step for a Slice node, which counts from the end as Python does."""
    step = 1 if part.step is None else part.step
    first, last = (0, _END) if step > 0 else (_END, -_END)
    return first if part.start is None else part.start, last if part.stop is None else part.stop, step


def reduced(graph: Graph, name: str, kind: str, axes: tuple[int, ...] | list[int], keepdims: bool) -> str:
    """A node that reduces a value over axes, at least one."""
    if kind == "ReduceSum":  # the axes of the others become an input later, in opset 18
        return str(graph.emit(kind, name, np.array(axes, "int64"), keepdims=int(keepdims)))
    return str(graph.emit(kind, name, axes=list(axes), keepdims=int(keepdims)))


def _reduction(kind: str) -> Rule:
    def write(graph: Graph, step: Step) -> None:
        x, keepdims = step.inputs[0], bool(step.options["keepdims"])
        axes = axes_of(step.op, step.options["axis"], x.ndim)
        name, order = _summable(graph, step, x)
        places = sorted(order.index(axis) for axis in axes)
        left = order if keepdims else tuple(axis for axis in order if axis not in axes)
        if not axes:  # an empty list would stand for all axes
            name = graph.emit("Sub", name, name) if kind == "variance" else name
        elif kind == "variance":
            centred = graph.emit("Sub", name, reduced(graph, name, "ReduceMean", places, True))
            name = reduced(graph, graph.emit("Mul", centred, centred), "ReduceMean", places, keepdims)
        else:
            name = reduced(graph, name, kind, places, keepdims)
        ranks = {axis: rank for rank, axis in enumerate(sorted(left))}
        graph.set(step.outputs[0], name, [ranks[axis] for axis in left])
    return write


def _summable(graph: Graph, step: Step, x: Array) -> tuple[str, tuple[int, ...]]:
    """The value of an input of a reduction, and its order. Booleans are counted as integers."""
    order = graph.order(x)
    name = graph.value(x, order)
    if x.dtype.kind != "f" and step.op == "mean":
        graph.fail('must have floats, and has integers; x.astype("float32") first')
    return (graph.emit("Cast", name, to=DTYPES["int64"]) if x.dtype == bool else name), order


RULES.update({op: _reduction(kind) for op, kind in {
    "sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin", "var": "variance",
    "logsumexp": "ReduceLogSumExp"}.items()})


@rule("argmax", "argmin")
def index_of(graph: Graph, step: Step) -> None:
    """ArgMax or ArgMin: of equal elements the first."""
    x, axis = step.inputs[0], step.options["axis"]
    name = graph.value(x) if axis is not None else graph.reshape(graph.value(x), [-1])
    kind = {"argmax": "ArgMax", "argmin": "ArgMin"}[step.op]
    graph.set(step.outputs[0], graph.emit(kind, name, axis=axis or 0, keepdims=0))

