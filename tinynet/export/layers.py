"""Rules for products, convolution, pooling, batch normalisation and the LSTM."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynet.export.graph import Graph
from tinynet.export.masks import lengths_of
from tinynet.export.rules import RULES, Rule, rule
from tinynet.export.shapes import reduced
from tinynet.export.trace import Step
from tinynet.types import Array
from tinynet.window import Window, pool_window, pool_windows, window, windows

_CHANNELS_SECOND = {3: (0, 2, 1), 4: (0, 3, 1, 2)}  # by rank


@rule("dense")
def dense(graph: Graph, step: Step) -> None:
    """MatMul and Add. The leading axes may be stored in any order."""
    x, W, b = step.inputs
    order = graph.order(x)
    if order and order[-1] != x.ndim - 1:
        order = tuple(range(x.ndim))
    name = graph.emit("MatMul", graph.value(x, order), graph.value(W))
    graph.set(step.outputs[0], name if b is None else graph.emit("Add", name, graph.value(b)), order)


@rule("matmul")
def matmul(graph: Graph, step: Step) -> None:
    """MatMul."""
    a, b = step.inputs
    graph.set(step.outputs[0], graph.emit("MatMul", graph.value(a), graph.value(b)))


def _convolution(graph: Graph, step: Step, windows: Sequence[Window]) -> None:
    x, W, b = step.inputs
    order = _CHANNELS_SECOND[x.ndim]
    weight = graph.value(W, (W.ndim - 1, W.ndim - 2, *range(W.ndim - 2)))
    graph.set(step.outputs[0], graph.emit(
        "Conv", graph.value(x, order), weight, *([] if b is None else [graph.value(b)]), **_window(windows),
        dilations=[one.dilation for one in windows], group=step.options["groups"]), order)


def _window(windows: Sequence[Window]) -> dict[str, Any]:
    """The attributes of a node with windows. Paddings are numbers: what "same" means differs between programs."""
    return {"kernel_shape": [one.width for one in windows], "strides": [one.stride for one in windows],
            "pads": [*(one.before for one in windows), *(one.after for one in windows)]}


@rule("conv1d")
def conv1d(graph: Graph, step: Step) -> None:
    """Conv over (N,C,T)."""
    x, W, _ = step.inputs
    _convolution(graph, step, [window("conv1d", "T", x.shape[1], W.shape[0], **_of_windows(step))])


@rule("conv2d")
def conv2d(graph: Graph, step: Step) -> None:
    """Conv over (N,C,H,W)."""
    x, W, _ = step.inputs
    _convolution(graph, step, windows("conv2d", (x.shape[1], x.shape[2]), (W.shape[0], W.shape[1]),
                                      **_of_windows(step)))


def _of_windows(step: Step) -> dict[str, Any]:
    """The options of a convolution that its windows have."""
    return {name: value for name, value in step.options.items() if name != "groups"}


def _pool(kind: str, **attributes: int) -> Rule:
    def write(graph: Graph, step: Step) -> None:
        x = step.inputs[0]
        found = ([pool_window(step.op, "T", x.shape[1], **step.options)] if x.ndim == 3 else
                 pool_windows(step.op, (x.shape[1], x.shape[2]), **step.options))
        order = _CHANNELS_SECOND[x.ndim]
        name = graph.emit(kind, graph.value(x, order), **_window(found), **attributes)
        graph.set(step.outputs[0], name, order)
    return write


RULES["max_pool1d"] = RULES["max_pool2d"] = _pool("MaxPool")
RULES["avg_pool1d"] = RULES["avg_pool2d"] = _pool("AveragePool", count_include_pad=0)


@rule("batch_norm")
def batch_norm(graph: Graph, step: Step) -> None:
    """BatchNormalization for channels second; else a product and a sum, computed in float64."""
    x, gamma, beta, mean, var, mask = step.inputs
    if mask is not None:
        graph.fail("must have no mask, since ONNX has no place for one; with averages that are given, it needs none")
    eps, axis = step.options["eps"], step.options["axis"] % x.ndim
    order = graph.order(x)
    along = [gamma.size if one == axis else 1 for one in order]
    given = [gamma, beta, mean, var]
    if not all(one is not None and graph.is_constant(one) for one in given):
        _normalised(graph, step, order, along)
        return
    scale, shift, mean, var = (graph.values(one, "statistic") for one in given)
    if order.index(axis) == 1 and x.ndim > 2:
        name = graph.emit("BatchNormalization", graph.value(x, order), scale, shift, mean, var, epsilon=float(eps))
    else:
        factor = scale.astype("float64") / np.sqrt(var.astype("float64") + eps)
        name = graph.emit("Mul", graph.value(x, order), factor.astype(x.dtype).reshape(along))
        name = graph.emit("Add", name, (shift - mean * factor).astype(x.dtype).reshape(along))
    graph.set(step.outputs[0], name, order)
    for made, statistic in zip(step.outputs[1:], (mean, var), strict=True):
        graph.set(made, graph.emit("Identity", statistic))


def _normalised(graph: Graph, step: Step, order: tuple[int, ...], along: list[int]) -> None:
    """Batch normalisation by statistics that depend on the input."""
    x, gamma, beta, mean, var, _ = step.inputs
    others = [place for place, axis in enumerate(order) if axis != step.options["axis"] % x.ndim]
    name = graph.value(x, order)
    mean_name = reduced(graph, name, "ReduceMean", others, False) if mean is None else graph.value(mean)
    centred = graph.emit("Sub", name, graph.reshape(mean_name, along))
    square = graph.emit("Mul", centred, centred)
    var_name = reduced(graph, square, "ReduceMean", others, False) if var is None else graph.value(var)
    deviation = graph.emit("Sqrt", graph.emit("Add", var_name, np.asarray(step.options["eps"], x.dtype)))
    scale = graph.reshape(graph.emit("Div", graph.value(gamma), deviation), along)
    name = graph.emit("Add", graph.emit("Mul", centred, scale), graph.reshape(graph.value(beta), along))
    graph.set(step.outputs[0], name, order)
    graph.set(step.outputs[1], mean_name)
    graph.set(step.outputs[2], var_name)


@rule("layer_norm")
def layer_norm(graph: Graph, step: Step) -> None:
    """LayerNormalization of the last axis."""
    x, gamma, beta = step.inputs
    name = graph.emit("LayerNormalization", graph.value(x), graph.value(gamma), graph.value(beta),
                      axis=-1, epsilon=float(step.options["eps"]))
    graph.set(step.outputs[0], name)


@rule("lstm")
def lstm(graph: Graph, step: Step) -> None:
    """LSTM, with the gates in the order i, o, f, C̃."""
    _, h0, c0, W, b, recurrent_mask, mask = step.inputs
    if recurrent_mask is not None:
        graph.fail("must have no recurrent_mask, since ONNX has no place for one; it is for training alone")
    weight = graph.values(W, "W")
    bias = np.zeros_like(weight[0]) if b is None else graph.values(b, "b")
    _recurrent(graph, step, "LSTM", mask, [h0, c0], *map(_gates, (weight, bias, np.zeros_like(bias))))


@rule("gru")
def gru(graph: Graph, step: Step) -> None:
    """GRU, with the gates in the order z, r, n, and the reset behind the product."""
    _, h0, W, b, b_h, mask = step.inputs
    weight = graph.values(W, "W")
    biases = [np.zeros_like(weight[0]) if one is None else graph.values(one, name)
              for one, name in ((b, "b"), (b_h, "b_h"))]
    _recurrent(graph, step, "GRU", mask, [h0], *map(_zrn, (weight, *biases)), linear_before_reset=1)


@rule("simple_rnn")
def simple_rnn(graph: Graph, step: Step) -> None:
    """RNN, whose activation is tanh by default."""
    _, h0, W, b, mask = step.inputs
    weight = graph.values(W, "W")
    bias = np.zeros_like(weight[0]) if b is None else graph.values(b, "b")
    _recurrent(graph, step, "RNN", mask, [h0], weight, bias, np.zeros_like(bias))


def _recurrent(graph: Graph, step: Step, kind: str, mask: Array | None, states: Sequence[Array | None], weight: Array,
               *biases: Array, **attributes: Any) -> None:
    """A recurrent node over (T,N,D), with outputs Y (T,1,N,H) and a state (1,N,H) for each of `states`.

    Its input `sequence_lens` takes the place of a mask. Padding on the left is that of a flipped sequence: the node
    gets the sequence as it was, with padding on the right, and reads it from the end.
    """
    H = step.outputs[0].shape[-1]
    lengths, is_flipped = (None, False) if mask is None else lengths_of(graph, step, mask)
    initial: list[Any] = [] if lengths is None else [lengths]
    if any(one is not None for one in states):
        names = [None if one is None else graph.emit("Unsqueeze", graph.value(one), np.array([0])) for one in states]
        zeros = graph.emit("ConstantOfShape", graph.emit("Shape", next(filter(None, names)))) if None in names else None
        initial = [*(initial or [None]), *(name or zeros for name in names)]
    steps = graph.value(step.inputs[0], (1, 0, 2))
    if is_flipped:
        attributes["direction"] = "reverse"
    y, *after = graph.emit(kind, _flipped(graph, steps) if is_flipped else steps, weight[H:].T[None],
                           weight[:H].T[None], np.concatenate(biases)[None], *initial, outputs=1 + len(states),
                           hidden_size=H, **attributes)
    y = graph.emit("Squeeze", y, np.array([1]))
    graph.set(step.outputs[0], _flipped(graph, y) if is_flipped else y, (1, 0, 2))
    for made, state in zip(step.outputs[1:], after, strict=True):
        graph.set(made, graph.emit("Squeeze", state, np.array([0])))


def _flipped(graph: Graph, steps: str) -> str:
    """A value (T,N,...) with its steps in the opposite order."""
    end = np.array([2**62])
    made: str = graph.emit("Slice", steps, end, -end, np.array([0]), np.array([-1]))
    return made


def _zrn(columns: Array) -> Array:
    """Column blocks r, z, n in the order of ONNX: z, r, n."""
    r, z, n = np.split(columns, 3, axis=-1)
    return np.concatenate([z, r, n], axis=-1)


def _gates(columns: Array) -> Array:
    """Column blocks f, i, C̃, o in the order of ONNX: i, o, f, C̃."""
    f, i, C, o = np.split(columns, 4, axis=-1)
    return np.concatenate([i, o, f, C], axis=-1)
