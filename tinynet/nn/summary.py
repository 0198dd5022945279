"""What a model costs: shapes, parameters, operations and memory, layer by layer, from the contracts of the ops alone.

Nothing is computed: the model is called once in evaluation on a tensor without memory (`tracing.shapes_only`), which
gives a list of the ops with the sizes of their letters. What an op costs stands beside its contract: `flops`, `keeps`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tinynet.errors import ArgumentError
from tinynet.nn.module import Module
from tinynet.nn.parameter import Parameter
from tinynet.plain import plain
from tinynet.shown import Text, in_bytes, table
from tinynet.tape import evaluated
from tinynet.tensor import blank
from tinynet.tracing import Call, observe, shapes_only
from tinynet.window import pair, window


@dataclass(frozen=True)
class Row:
    """One layer, for a batch of one sample.

    shape         shape of the output without the batch; None if it is unknown
    flops         operations of the forward pass in evaluation; None if they are unknown
    activations   bytes of the outputs of its ops, or what these declare to keep; None if no op made its output
    largest       bytes of the largest array that one of them makes
    """

    name: str
    layer: str
    shape: tuple[int, ...] | None
    parameters: int
    flops: int | None
    activations: int | None
    largest: int


def rows(model: Module, input_shape: tuple[int, ...] | None) -> list[Row]:
    """A row for each layer in the order of the calls; without a shape, in the order of the attributes.

    Modules that only call others have no row. A shared parameter counts for the first layer that has it.
    """
    paths = {id(module): path for path, module in reversed(list(model.modules()))}
    found: list[Row] = []
    counted: set[int] = set()

    def add(module: Module, shape: tuple[int, ...] | None, calls: list[Call], traced: bool = True) -> None:
        own = {id(one): one.size for _, one in module.members() if isinstance(one, Parameter)}
        parameters = sum(size for key, size in own.items() if key not in counted)
        counted.update(own)
        flops = _total(map(_flops, calls)) if traced else None
        if parameters or calls or flops != 0 or not list(module.children()):
            found.append(Row(paths[id(module)], type(module).__name__, shape, parameters, flops,
                             sum(map(_activations, calls)) if traced else None, max(map(_largest, calls), default=0)))

    if input_shape is not None:
        for call in trace(model, input_shape).ended():
            add(call.module, call.shape, call.ops, call.is_traced)
    else:
        for _, module in model.modules():
            add(module, None, [])
    return found


@dataclass(frozen=True)
class ModuleCall:
    """A call of a module on one sample.

    shape       of its output, without the batch
    ops         the calls of ops that it made itself
    is_traced   whether its outputs are those of ops, or its inputs: others were computed in an unknown way
    inside      the calls of other modules that it made itself
    """

    module: Module
    shape: tuple[int, ...]
    ops: list[Call]
    is_traced: bool
    inside: list["ModuleCall"]

    def ended(self) -> Iterator["ModuleCall"]:
        """This call and all inside it, in the order of their ends."""
        for call in self.inside:
            yield from call.ended()
        yield self


def trace(model: Module, input_shape: tuple[int, ...]) -> ModuleCall:
    """Call a model in evaluation on the shape of one sample."""
    def look(module: Module, run: Callable[[], Any]) -> Any:
        begun, before = len(ops), len(calls)
        output = run()
        own, inside = ops[begun:], calls[before:]
        del ops[begun:], calls[before:]  # the rest are the caller's
        known.update({id(made): made for op in own for made in op.outputs})
        outputs = output if isinstance(output, tuple) else (output,)
        calls.append(ModuleCall(module, outputs[0].shape[1:], own, all(id(one) in known for one in outputs), inside))
        known.update({id(one): one for one in outputs})
        return output

    x = blank((1, *input_shape), next((parameter.dtype for parameter in model.parameters()), "float32"))
    known = {id(one): one for one in (x, *model.tensors().values())}
    ops: list[Call] = []
    calls: list[ModuleCall] = []
    with shapes_only(ops), observe(module=look):
        evaluated(model, x)
    return calls[0]


def summary(model: Module, input_shape: tuple[int, ...] | None = None) -> Text:
    """A table of the layers: shape of the output, parameters, operations, memory. A notebook shows it as HTML.

    `input_shape` is the shape of one sample, without the batch; `model.input_shape` by default. The shapes come from
    the contracts of the ops: nothing is computed. Without a shape only the parameters are shown. For one sample:

    FLOPs        operations of the forward pass, by the equations of its ops: a multiply-add counts as two; a bias, a
                 function value and an element of a window as one. Forward and backward together take about three times
                 as many. "?" for an op without `flops`, or an output that no op made.
    activations  bytes of the outputs of the ops; for an LSTM, of what it keeps of every step for its backward pass. In
                 training, dropout adds the size of its input. `profile` measures what is kept.

    >>> import tinynet as tn
    >>> print(tn.nn.Sequential(tn.nn.Dense(3, 2), tn.nn.ReLU()).summary((3,)))
    layer   output shape   parameters   FLOPs   activations
    Dense   (N, 2)                  8      14           8 B
    ReLU    (N, 2)                  0       2           8 B
    total                           8      16          16 B
    """
    shape = model.input_shape if input_shape is None else checked_shape(input_shape)
    layers = rows(model, shape)
    lines = [("layer", "output shape", "parameters", "FLOPs", "activations")]
    lines += [(row.layer, "" if row.shape is None else f"({', '.join(['N', *map(str, row.shape)])})",
               f"{row.parameters:,}", _shown(row.flops, "{:,}".format), _shown(row.activations, in_bytes))
              for row in layers]
    lines.append(("total", "", f"{sum(row.parameters for row in layers):,}",
                  _shown(_total(row.flops for row in layers), "{:,}".format),
                  _shown(_total(row.activations for row in layers), in_bytes)))
    columns = 5 if shape is not None else 3
    return table([line[:columns] for line in lines], left=2)


def checked_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one sample. Errors: ArgumentError if it is not a tuple of integers of at least 0."""
    if not isinstance(shape, tuple | list) or not all(isinstance(plain(n), int) and n >= 0 for n in shape):
        raise ArgumentError(f"summary: input_shape must be the shape of one sample, without the batch, got {shape!r}; "
                            "input_shape=(28, 28, 1)?")
    return tuple(plain(n) for n in shape)


def _total(numbers: Iterable[int | None]) -> int | None:
    """The sum; None if one of them is unknown."""
    listed = list(numbers)
    return None if None in listed else sum(number for number in listed if number is not None)


def _shown(number: int | None, form: Callable[[int], str]) -> str:
    return "?" if number is None else form(number)


def _facts(call: Call) -> dict[str, Any]:
    """What a function of `flops` or `keeps` is given."""
    given = zip(call.definition.contract.inputs, call.inputs, strict=False)  # any number of arrays of one argument
    return {**{argument.name: tensor is not None for argument, tensor in given}, **call.sizes, **call.options}


def _flops(call: Call) -> int | None:
    flops, size = call.definition.flops, call.outputs[0].size
    if callable(flops):
        return int(flops(_facts(call)) * size)
    return None if flops is None else int(flops * max(size, call.inputs[0].size))


def _activations(call: Call) -> int:
    keeps = call.definition.keeps
    elements = keeps(_facts(call)) if callable(keeps) else keeps
    if elements is None:
        elements = sum(output.size for output in call.outputs)
    return int(elements * call.outputs[0].dtype.itemsize)


def _largest(call: Call) -> int:
    """Bytes of the largest output, or of the input with the margins that a window needs."""
    return int(max(_padded(call), *(output.size for output in call.outputs)) * call.outputs[0].dtype.itemsize)


def _padded(call: Call) -> int:
    """Elements of the input of an op with a window, with the margins around it."""
    sizes, options = call.sizes, call.options
    if "padding" not in options or not call.definition.module.startswith("tinynet."):
        return 0
    axes = ["T"] if "T" in sizes else ["H", "W"]
    kernel = tuple(sizes[letter] for letter in (["K"] if "K" in sizes else ["KH", "KW"]) if letter in sizes)
    elements = sizes["N"] * call.inputs[0].shape[-1]  # all channels, where C is those of a group
    for i, axis in enumerate(axes):
        def option(name: str, value: Any, i: int = i) -> Any:
            return value if len(axes) == 1 else pair(call.op, name, value)[i]

        width = kernel[i] if kernel else option("size", options["size"])
        stride, padding = option("stride", options["stride"]), option("padding", options["padding"])
        stood = window(call.op, axis, sizes[axis], width, width if stride is None else stride, padding,
                       option("dilation", options.get("dilation", 1)))
        elements *= sizes[axis] + stood.before + stood.after
    return int(elements)


Module.summary = summary  # type: ignore[assignment, method-assign]
