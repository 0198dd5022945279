"""A graph of nodes, as ONNX has them: values by name, constants, and the order of axes in which each array is stored.

An op of tinynet has channels last, the nodes of convolution and pooling have them second, and an LSTM has time first. A
value is stored in the order of the node that made it. It is transposed only where a node needs another order.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from tinynet.errors import ExportError
from tinynet.export.trace import Step, Trace, address
from tinynet.tensor import Tensor
from tinynet.types import Array

Order = tuple[int, ...]  # axis order[i] of the array is axis i of the stored value


class Node(NamedTuple):
    """A node of a graph. An empty name stands for an input or output that is left out."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    step: Step | None


class Graph:
    """The nodes that the rules write, step by step.

    trace, other   the same model for two sizes of the batch; an axis whose size differs depends on the batch
    """

    def __init__(self, trace: Trace, other: Trace) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = {}
        self.step: Step | None = None
        self._constant_names: dict[Any, str] = {}
        self._stored: dict[int, dict[Order, str]] = {}
        self._varies: dict[int, tuple[bool, ...]] = {}
        self.mask = trace.mask
        self.padding: dict[int, str] = {}  # the side of the padding, for the masks among the arrays; see masks.py
        for array, twin in zip(arrays_of(trace), arrays_of(other), strict=True):
            self._varies[address(array)] = tuple(a != b for a, b in zip(array.shape, twin.shape, strict=True))

    def fail(self, reason: str) -> NoReturn:
        """Raise the ExportError for the current step. `reason` continues a sentence that begins with the op."""
        raise ExportError(f"to_onnx: {self.step} {reason}")

    # --- nodes

    def emit(self, kind: str, *inputs: str | Array | None, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node. An input is the name of a value, or an array, which becomes a constant. Returns output names."""
        names = tuple("" if one is None else one if isinstance(one, str) else self.constant(one) for one in inputs)
        made = tuple(f"{kind.lower()}_{len(self.nodes)}" + (f"_{i}" if i else "") for i in range(outputs))
        self.nodes.append(Node(kind, names, made, attributes, self.step))
        return made if outputs > 1 else made[0]

    def constant(self, array: Any) -> str:
        """The name of a constant. Equal ones are stored once."""
        array = np.ascontiguousarray(array).reshape(np.shape(array))  # the first makes a number an array of one axis
        key = array.shape, str(array.dtype), array.tobytes()
        if key not in self._constant_names:
            name = self._constant_names[key] = f"constant_{len(self._constant_names)}"
            self.constants[name] = array
        return self._constant_names[key]

    # --- arrays

    def set(self, array: Array, name: str, order: Iterable[int] | None = None) -> None:
        """Say that an array of the trace is the value of this name, stored in an order of its axes."""
        self._stored[address(array)] = {tuple(range(array.ndim) if order is None else order): name}

    def is_constant(self, array: Array) -> bool:
        """Whether an array does not depend on the input."""
        return not isinstance(array, np.ndarray) or address(array) not in self._varies

    def values(self, array: Array | None, name: str) -> Array:
        """The values of a constant input. ExportError if it depends on the input of the model."""
        if array is None or not self.is_constant(array):
            self.fail(f"must have a constant {name}, and it depends on the input; ONNX has no node for that")
        return _host(array)

    def order(self, array: Array) -> Order:
        """The order in which an array is stored; that of its axes for a constant."""
        return tuple(range(array.ndim)) if self.is_constant(array) else next(iter(self._stored[address(array)]))

    def value(self, array: Array, order: Iterable[int] | None = None) -> str:
        """The name of an array in an order of its axes: stored, constant, or transposed here."""
        wanted = tuple(range(array.ndim) if order is None else order)
        if self.is_constant(array):
            return self.constant(_host(array).transpose(wanted))
        known = self._stored[address(array)]
        if wanted not in known:
            have, name = next(iter(known.items()))
            wide = [axis for axis in have if array.shape[axis] != 1]
            if [axis for axis in wanted if array.shape[axis] != 1] == wide:  # the elements keep their places
                known[wanted] = self.reshape(name, [self.sizes(array)[axis] for axis in wanted])
            else:
                known[wanted] = self.emit("Transpose", name, perm=[have.index(axis) for axis in wanted])
        return known[wanted]

    def broadcast(self, array: Array, order: Order) -> str:
        """The name of an array that is broadcast with others, whose axes are stored in `order`."""
        natural = order == tuple(sorted(order))
        if array.ndim == 0 or (natural and array.ndim < len(order)):
            return self.value(array)
        if self.is_constant(array):
            whole = _host(array)
            return self.constant(whole.reshape((1,) * (len(order) - array.ndim) + whole.shape).transpose(order))
        assert array.ndim == len(order)
        return self.value(array, order)

    def common_order(self, arrays: Sequence[Array], rank: int) -> Order:
        """The order for an elementwise node: that of its first input of full rank, if all inputs can be given in it."""
        wide = [array for array in arrays if array.ndim == rank and not self.is_constant(array)]
        narrow = [array for array in arrays if 0 < array.ndim < rank and not self.is_constant(array)]
        return tuple(range(rank)) if narrow or not wide else self.order(wide[0])

    def sizes(self, array: Array) -> list[int]:
        """The shape of an array for a Reshape node: -1 for an axis that depends on the batch."""
        varies = self._varies.get(address(array), (False,) * array.ndim)
        if sum(varies) > 1:
            self.fail(f"must have one axis that depends on the batch, and makes several, {array.shape}; "
                      "keep the batch on the first axis")
        return [-1 if dynamic else size for dynamic, size in zip(varies, array.shape, strict=True)]

    def reshape(self, name: str, sizes: Sequence[int]) -> str:
        """A node that gives a value other sizes."""
        made: str = self.emit("Reshape", name, np.array(sizes, "int64"))
        return made

    def axes(self, array: Array) -> list[str | int]:
        """The shape for the description of a graph's output: "N" for the batch."""
        varies = self._varies[address(array)]
        return [f"N{axis or ''}" if dynamic else size for axis, (dynamic, size) in
                enumerate(zip(varies, array.shape, strict=True))]

    # --- the whole graph

    def prune(self, outputs: Iterable[str]) -> None:
        """Remove nodes, outputs of nodes and constants that the outputs do not need."""
        needed, kept = set(outputs), list[Node]()
        for node in reversed(self.nodes):
            if needed.isdisjoint(node.outputs):
                continue
            names = [name if name in needed else "" for name in node.outputs]
            while not names[-1]:
                names.pop()
            kept.append(node._replace(outputs=tuple(names)))
            needed.update(node.inputs)
        self.nodes = kept[::-1]
        self.constants = {name: array for name, array in self.constants.items() if name in needed}


def _host(array: Array) -> Array:
    """The values of a constant as a NumPy array."""
    return Tensor.of(array).numpy()


def arrays_of(trace: Trace) -> list[Array]:
    """All arrays of a trace: its inputs, and what its steps make."""
    masks = [] if trace.mask is None else [trace.mask]
    return [trace.input, *masks, *(array for step in trace.steps for array in step.outputs)]


def difference(one: Graph, other: Graph) -> Step | None:
    """The step of the first node that differs in the two graphs; None if they are equal."""
    for a, b in zip(one.nodes, other.nodes, strict=False):
        same = a.kind == b.kind and a.attributes == b.attributes and len(a.inputs) == len(b.inputs)
        if not same or not all(_same(one, x, other, y) for x, y in zip(a.inputs, b.inputs, strict=True)):
            return a.step
    return None if len(one.nodes) == len(other.nodes) else one.nodes[-1].step


def _same(one: Graph, x: str, other: Graph, y: str) -> bool:
    if x in one.constants and y in other.constants:
        a, b = one.constants[x], other.constants[y]
        return a.shape == b.shape and a.dtype == b.dtype and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    return x == y
