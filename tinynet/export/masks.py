"""Masks that are lengths: which arrays of a trace are masks of sequences with all padding on one side.

ONNX's LSTM takes lengths, not masks. The mask that a model is called with has its padding on the right. What layers
make of it may have it on the left, as a flipped mask has, or still on the right: a part of it, or the product of two.
"""

import numpy as np

from tinynet.export.graph import Graph
from tinynet.export.trace import Step, address

RIGHT, LEFT = "right", "left"  # where the padding is
_OTHER = {RIGHT: LEFT, LEFT: RIGHT}


def note(graph: Graph, step: Step) -> None:
    """Note the output of a step as a mask with its padding on one side, if its inputs are such masks."""
    sides = [graph.padding.get(address(array)) for array in step.inputs if isinstance(array, np.ndarray)]
    side = sides[0] if sides else None
    if side is None:
        return
    made = None
    if step.op == "astype" or (step.op == "multiply" and sides[1] == side) or _is_nonzero(graph, step):
        made = side
    elif step.op == "getitem":
        made = _selected(step, side)
    if made is not None:
        graph.padding[address(step.outputs[0])] = made


def _is_nonzero(graph: Graph, step: Step) -> bool:
    """Whether a step is the comparison x != 0."""
    return step.op == "not_equal" and graph.is_constant(step.inputs[1]) and not np.any(step.inputs[1])


def _selected(step: Step, side: str) -> str | None:
    """The side of the padding of selected steps: mask[:, index]."""
    index, T = step.options["index"], step.inputs[0].shape[1]
    if not isinstance(index, tuple) or len(index) != 2 or index[0] != slice(None) or index[1] is None:
        return None
    chosen = np.arange(T)[index[1]]
    if chosen.ndim != 1:
        return None
    moves = np.diff(chosen)
    return side if (moves >= 0).all() else _OTHER[side] if (moves <= 0).all() else None


def lengths_of(graph: Graph, step: Step, mask: np.ndarray) -> tuple[str, bool]:
    """The lengths (N) of a mask as int32, and whether its padding is on the left. ExportError for another mask."""
    side = graph.padding.get(address(mask))
    if side is None:
        graph.fail("must have a mask with all padding on one side, made of that of the model, since ONNX takes lengths "
                   "alone; pad on the right, and export with lengths=True")
    if graph.mask is not None and address(mask) == address(graph.mask):
        return "lengths", False
    whole = graph.emit("Cast", graph.value(mask), to=6)  # int32
    return graph.emit("ReduceSum", whole, np.array([1]), keepdims=0), side == LEFT
