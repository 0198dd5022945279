"""The tape: a node for each op that led to a loss, and the backward pass through them.

An op that is called on a tensor with `requires_grad` leaves a Node: the function that computes its gradients, the cache
of its forward pass, and where its inputs came from. `backward()` collects the nodes that a tensor depends on and visits
them from the youngest to the oldest. An op only uses tensors that existed before it, so the order of creation is a
topological order: no recursion, no sorting by dependencies, and time linear in the number of nodes.
"""

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import partial
from operator import attrgetter
from types import EllipsisType
from typing import Any, NoReturn, Protocol, TypeAlias

import numpy as np

from tinynet import backend
from tinynet.backend.observer import current as recorder
from tinynet.backend.repeat import Kept
from tinynet.errors import GradientError, ShapeError
from tinynet.settings import call_with
from tinynet.tracing import observers
from tinynet.types import Array, Shape

WHOLE = 1 << 12  # bytes: an array of the host up to this size is compared as a whole, a larger one by SAMPLES elements
SAMPLES = 32
_NOTHING = np.empty(0)
_shape_and_dtype = attrgetter("data.shape", "data.dtype")

_numbers = itertools.count()
in_training: ContextVar[bool | None] = ContextVar("in_training", default=None)  # of all modules; None: as each one says


def no_grad() -> AbstractContextManager[None]:
    """Compute without leaving nodes on the tape: for evaluation, or to change parameters by hand.

    >>> import tinynet as tn
    >>> x = tn.Tensor([1.0, 2.0], requires_grad=True)
    >>> with tn.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """
    return backend.recording.changed(False)


def evaluated(function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments) with all modules in evaluation, and without leaving nodes on the tape."""
    return call_with({in_training: False, backend.recording: False}, function, *arguments)


def taped(function: Callable[..., Any], *arguments: Any) -> Any:
    """function(*arguments) with nodes on the tape, inside `no_grad()` as well."""
    return call_with({backend.recording: True}, function, *arguments)


class Node:
    """One call of an op, for its backward pass."""

    __slots__ = ("backward", "cache", "constants", "edges", "given", "is_override", "needs", "number", "op", "outputs",
                 "xp")

    def __init__(self, op: Any, xp: Any, backward: Callable[..., Any], cache: Any, inputs: "Sequence[Traced | None]",
                 outputs: Sequence[Any]) -> None:
        self.op = op
        self.xp = xp
        self.backward = backward
        self.is_override = backward is not op.backward
        self.cache = cache
        needs: list[bool] = []
        edges: list[Edge] = []  # a node or a leaf for each input that needs a gradient; no other tensor is kept alive
        given: tuple[Any, ...] = ()  # inputs that no op made: the optimizer and the user may change them meanwhile
        constants: tuple[tuple[int, Traced], ...] = ()  # their places and tensors
        for place, tensor in enumerate(inputs):
            if tensor is None:
                needs.append(False)
                edges.append(None)
                continue
            need, origin = tensor.requires_grad, tensor.origin
            needs.append(need)
            edges.append((origin or tensor) if need else None)
            if tensor.is_constant:
                constants += ((place, tensor),)
            elif origin is None:
                array = tensor.data
                sample = _sample(array)
                given += ((place, tensor, tensor.version, array, sample, sample.tobytes()),)
        self.given, self.constants, self.needs = given, constants, tuple(needs)
        self.edges: tuple[Edge, ...] | None = tuple(edges)
        self.outputs = list(map(_shape_and_dtype, outputs))
        self.number = next(_numbers)

    def __reduce__(self) -> NoReturn:
        raise GradientError(f"copy: a tensor must be a leaf to be pickled or copied in depth, and this one was made by "
                            f"{self.op.name}, with a tape behind it; tensor.detach()?")

    def check(self) -> None:
        """Raise GradientError if an input has changed since the forward pass, and the backward pass would read it.

        What tinynet changes counts in `Tensor.version`. The elements of a `_sample` are compared, too.
        """
        for place, tensor, version, array, sample, values in self.given:
            if (tensor.version != version or sample.tobytes() != values) and _reads(self.cache, array):
                names = [argument.name for argument in self.op.contract.inputs]
                raise GradientError(f"{self.op.name}: {names[min(place, len(names) - 1)]} {tensor.shape} must keep its "
                                    "values from forward to backward, and was changed in between; call backward() "
                                    "before optimizer.step() and before new values, or compute the loss again")

    def gradients(self, doutputs: list[Any]) -> tuple[Any, ...]:
        """The gradients of the inputs from those of the outputs, which are None for outputs that were not used.

        The specification gets zeros for None, an override None.
        """
        if not self.is_override and len(doutputs) > 1:
            device = backend.common_device(doutputs) or "cpu"
            doutputs = [backend.full(shape, 0, dtype, device) if dy is None else dy
                        for dy, (shape, dtype) in zip(doutputs, self.outputs, strict=True)]
        try:
            if self.is_override or (recorder.get() is None and type(self.cache) is not Kept):
                if len(doutputs) == 1:  # an unpacked list of arguments would take a quarter of a microsecond
                    result = self.backward(self.xp, doutputs[0], cache=self.cache, needs=self.needs)
                else:
                    result = self.backward(self.xp, *doutputs, cache=self.cache, needs=self.needs)
            else:
                result = backend.repeat.backward(self.backward, self.xp, doutputs, self.cache, self.needs)
        except MemoryError as error:
            device = backend.common_device(doutputs) or "cpu"
            raise backend.out_of_memory(f"backward of {self.op.name}", device, error) from error
        except FloatingPointError:  # see Op._run
            if np.geterr()["under"] == "ignore":
                raise
            with np.errstate(under="ignore"):
                return self.gradients(doutputs)
        return result if isinstance(result, tuple) else (result,)


class Traced(Protocol):
    """A tensor, as the tape sees it: see `tinynet/tensor.py`."""

    requires_grad: bool
    grad: Array | None
    origin: tuple[Node, int] | None
    data: Array
    version: int
    is_constant: bool

    @property
    def shape(self) -> Shape: ...
    def place(self, dvalue: Array) -> Array: ...
    def take(self, dvalue: Array) -> bool: ...
    def accumulate(self, dvalue: Array) -> bool: ...


Edge: TypeAlias = Traced | tuple[Node, int] | None


def backward(tensor: Traced, gradient: Any) -> None:
    """Propagate the gradient of a tensor to the leaves that it depends on. This uses up the nodes between them.

    Errors: GradientError if an earlier `backward()` has used up one of the nodes, or if an input of an op was changed
    after its forward pass. Then no gradient has changed.
    """
    nodes, observer = nodes_behind(tensor), observers.get().backward
    for node in nodes:
        if node.given:
            node.check()
    pending: dict[Node, list[Any]] = {node: [None] * len(node.outputs) for node in nodes}  # gradients of outputs
    leaves: dict[int, list[Any]] = {}  # first gradients: [sum, leaf]
    owned: set[int] = set()  # ids of gradients in slots that nothing else refers to: they may be added to in place
    if tensor.origin:
        pending[tensor.origin[0]][tensor.origin[1]] = gradient
    elif not tensor.accumulate(gradient):
        leaves[id(tensor)] = [gradient, tensor]
    for node in nodes:
        doutputs = pending.pop(node)
        edges = node.edges
        dinputs = observer(node, partial(node.gradients, doutputs)) if observer else node.gradients(doutputs)
        if owned:
            owned.difference_update(map(id, doutputs))
        node.cache = node.edges = None
        node.given = node.constants = ()
        if edges is None or len(dinputs) != len(edges):
            raise GradientError(f"{node.op.name}: backward returned {len(dinputs)} gradients for "
                                f"{len(edges or ())} inputs; return one for each, None where needs is False")
        for edge, dinput in zip(edges, dinputs):  # noqa: B905  # compared above; `strict` takes half a microsecond
            if edge is None:
                continue
            if dinput is None or dinput.shape != (
                    edge[0].outputs[edge[1]][0] if isinstance(edge, tuple) else edge.data.shape):
                raise _wrong_gradient(node, edge, dinput)
            if isinstance(edge, tuple):
                slots, index = pending[edge[0]], edge[1]
            elif edge.accumulate(dinput):
                continue
            else:
                slots, index = leaves.setdefault(id(edge), [None, edge]), 0
            if slots[index] is None:
                slots[index] = dinput
                if node.is_override:  # which returns new arrays
                    owned.add(id(dinput))
            elif id(slots[index]) in owned:
                slots[index] = backend.add_to(slots[index], dinput)
            else:
                slots[index] = backend.sum_of(slots[index], dinput)
                owned.add(id(slots[index]))
    copied = [(leaf.place(dvalue), dvalue) for dvalue, leaf in leaves.values()
              if not (id(dvalue) in owned and leaf.take(dvalue))]
    backend.copy_all([target for target, _ in copied], [dvalue for _, dvalue in copied])


def nodes_behind(tensor: Traced) -> list[Node]:
    """The nodes that a tensor depends on, the youngest first. Errors: GradientError if one of them is used up."""
    found: set[Node] = set()
    waiting = [tensor.origin[0]] if tensor.origin else []
    while waiting:
        node = waiting.pop()
        if node in found:
            continue
        if node.edges is None:
            raise GradientError(f"backward: the tape behind {node.op.name} was used up by an earlier backward(), "
                                "each forward goes with one; compute the loss again, or add the losses first")
        found.add(node)
        for edge in node.edges:
            if isinstance(edge, tuple):
                waiting.append(edge[0])
    return sorted(found, key=attrgetter("number"), reverse=True)


def _sample(array: Any) -> np.ndarray[Any, Any]:
    """A view of elements of an array of the host: all, or of a large one some; none of a device, which would wait."""
    if type(array) is not np.ndarray:
        return _NOTHING
    if array.nbytes <= WHOLE:
        return array
    if array.flags.c_contiguous:
        return array.reshape(-1)[:: array.size // SAMPLES]
    return array[(slice(None, None, int((array.size / SAMPLES) ** (1 / array.ndim)) or 1),) * array.ndim]


def _reads(cache: Any, array: Any) -> bool:
    """Whether a cache may hold memory of an array."""
    if isinstance(cache, tuple | list | dict):
        return any(_reads(one, array) for one in (cache.values() if isinstance(cache, dict) else cache))
    if isinstance(cache, np.ndarray) and isinstance(array, np.ndarray):
        return np.may_share_memory(cache, array)
    return not isinstance(cache, bool | int | float | str | np.generic | np.dtype | slice | EllipsisType | None)


def _wrong_gradient(node: Node, edge: Traced | tuple[Node, int], dinput: Any) -> ShapeError:
    """The error for a gradient of another shape than its input: broadcasting would hide the mistake."""
    shape = edge[0].outputs[edge[1]][0] if isinstance(edge, tuple) else edge.shape
    got = "None" if dinput is None else str(dinput.shape)
    return ShapeError(f"{node.op.name}: backward returned a gradient of shape {got} for an input of shape {shape}; "
                      "return one gradient per input, in the order of the contract")
