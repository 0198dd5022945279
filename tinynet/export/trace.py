"""The ops that a model calls: its forward pass, run on an array without values.

Ops are observed, not layers, so a module of the user's own can be traced as well. An op whose inputs are all known,
such as a product of two parameters, is computed as usual: its output is a constant. Each other output is a `Traced`
array, which has a shape and a dtype. A comparison or an `argmax` of it is noted as an op would be. Anything else that
would read its values is an error.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tinynet.errors import ExportError
from tinynet.nn.module import Module
from tinynet.tape import evaluated
from tinynet.tensor import Tensor
from tinynet.tracing import Call, observe
from tinynet.types import Array, DTypeLike, Shape

COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")


class Step(NamedTuple):
    """One node of a trace: the name of an op, or of a comparison; its arrays; its options; the path of its module.

    `inputs` are in the order of the contract of the op, None for those left out.
    """

    op: str
    inputs: tuple[Any, ...]
    outputs: tuple[Array, ...]
    options: dict[str, Any]
    where: str

    def __str__(self) -> str:
        return f"op {self.op}{f' in layer {self.where}' if self.where else ''}"


class Trace(NamedTuple):
    """A forward pass: its steps, its input, its mask of real time steps if it takes one, and its outputs."""

    steps: list[Step]
    input: Array
    mask: Array | None
    outputs: tuple[Array, ...]


class Traced(np.ndarray):
    """An array of a trace. It takes the memory of one number, whose address identifies it.

    The number depends on the size of the batch: a constant that was computed from it differs between two traces.
    """

    tracer: "_Tracer | None" = None

    def __array_finalize__(self, source: Any) -> None:
        if isinstance(source, Traced) and source.tracer is not None:
            source.tracer.refuse()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        tracer = next(one.tracer for one in inputs if isinstance(one, Traced))
        assert tracer is not None
        if method != "__call__" or ufunc.__name__ not in COMPARISONS:
            tracer.refuse(f"np.{ufunc.__name__}")
        dtype = np.result_type(*(one.dtype if isinstance(one, np.ndarray) else one for one in inputs))
        arrays = tuple(np.asarray(one) if isinstance(one, np.ndarray) else np.asarray(one, dtype) for one in inputs)
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        return tracer.note(ufunc.__name__, arrays, [(shape, bool)], {})

    def __array_function__(self, function: Any, *arguments: Any) -> Any:
        assert self.tracer is not None
        self.tracer.refuse(f"np.{function.__name__}")

    def argmax(self, axis: int | None = None) -> Any:  # type: ignore[override]
        """The index of the maximum, as a step of the trace."""
        return self._index_of("argmax", axis)

    def argmin(self, axis: int | None = None) -> Any:  # type: ignore[override]
        """The index of the minimum, as a step of the trace."""
        return self._index_of("argmin", axis)

    def _index_of(self, name: str, axis: int | None) -> Any:
        assert self.tracer is not None
        shape = () if axis is None else (*self.shape[:axis], *self.shape[axis + 1 :])
        return self.tracer.note(name, (self,), [(shape, np.int64)], {"axis": axis})


def _refusing(name: str) -> Any:
    def refuse(self: Traced, *arguments: Any, **options: Any) -> Any:
        assert self.tracer is not None
        self.tracer.refuse(name)
    return refuse


for _name in ("item", "tolist", "tobytes", "__bool__", "__float__", "__int__", "__index__", "__complex__", "__iter__",
              "sum", "mean", "max", "min", "var", "std", "prod", "all", "any", "nonzero", "__setitem__", "astype",
              "copy", "cumsum", "argsort", "sort", "round", "clip", "dot", "searchsorted", "take", "fill"):
    setattr(Traced, _name, _refusing(_name))


class _Tracer:
    def __init__(self, model: Module, batch: int) -> None:
        self.batch = batch
        self.paths = {id(module): path for path, module in reversed(list(model.modules()))}
        self.inside: list[str] = []
        self.steps: list[Step] = []
        self.made: dict[int, Array] = {}  # by address; they are kept, since a free address would be used again

    def array(self, shape: Shape, dtype: DTypeLike) -> Array:
        one = np.full((), {"f": 1 / self.batch, "b": self.batch % 2 == 0}.get(np.dtype(dtype).kind, 0), dtype)
        made = np.broadcast_to(one, shape).view(Traced)
        made.tracer = self
        self.made[address(one)] = made
        return made

    def is_traced(self, array: Any) -> bool:
        return isinstance(array, np.ndarray) and address(array) in self.made

    def note(self, name: str, inputs: tuple[Any, ...], outputs: list[tuple[Shape, DTypeLike]],
             options: dict[str, Any]) -> Any:
        """Add a step. Returns its outputs."""
        made = tuple(self.array(shape, dtype) for shape, dtype in outputs)
        self.steps.append(Step(name, inputs, made, options, self.where))
        return made if len(made) > 1 else made[0]

    @property
    def where(self) -> str:
        return self.inside[-1] if self.inside else ""

    def refuse(self, what: str = "values") -> None:
        """Raise the error for code that reads the values of an array."""
        where = f"layer {self.where}" if self.where else "the model"
        raise ExportError(f"to_onnx: {where} must be made of ops of tn.ops, and uses {what} of arrays that depend on "
                          "the input; a graph has no place for Python code, so write it as an op")

    def module(self, module: Any, run: Callable[[], Any]) -> Any:
        self.inside.append(self.paths.get(id(module), ""))
        try:
            return run()
        finally:
            self.inside.pop()

    def op(self, call: Call, run: Callable[[], Any]) -> Any:
        arrays = tuple(None if tensor is None else tensor.data for tensor in call.inputs)
        if not any(map(self.is_traced, (*arrays, *arrays_in(call.options)))):
            return run()
        blanks = call.definition.blanks(arrays, call.sizes, call.options)
        outputs = [(blank.shape, blank.dtype) for blank in (blanks if isinstance(blanks, tuple) else (blanks,))]
        made = self.note(call.op, arrays, outputs, call.options)
        return tuple(map(Tensor.of, made)) if isinstance(made, tuple) else Tensor.of(made)


def trace(model: Module, input_shape: Shape, batch: int, *, masked: bool = False,
          dtype: DTypeLike = "float32") -> Trace:
    """The forward pass of a model in evaluation, for a batch of samples of a shape.

    masked   call it as model(x, mask=mask), with a mask (N,T) of booleans

    Errors: ExportError if the model reads values, or gives another thing than tensors that depend on the input.
    """
    tracer = _Tracer(model, batch)
    x = tracer.array((batch, *input_shape), dtype)
    mask = tracer.array((batch, input_shape[0]), bool) if masked else None
    with observe(module=tracer.module, op=tracer.op):
        result = evaluated(partial(model, **({} if mask is None else {"mask": Tensor.of(mask)})), Tensor.of(x))
    outputs = result if isinstance(result, tuple | list) else (result,)
    arrays: tuple[Any, ...] = tuple(one.data if isinstance(one, Tensor) else None for one in outputs)
    if not arrays or not all(map(tracer.is_traced, arrays)):
        raise ExportError("to_onnx: the model must give a tensor, or a tuple of tensors, that depend on its input, got "
                          f"{', '.join(type(one).__name__ for one in outputs)}; return what the ops give")
    return Trace(tracer.steps, x, mask, arrays)


def address(array: Array) -> int:
    """The address of the first element. It identifies an array of a trace, also as a plain array around its memory."""
    return int(array.__array_interface__["data"][0])


def arrays_in(value: Any) -> Iterator[Any]:
    """The arrays among options, such as an index."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, dict):
        yield from arrays_in(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for one in value:
            yield from arrays_in(one)
