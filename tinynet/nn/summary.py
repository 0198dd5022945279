"""What a model costs: shapes, parameters, operations and memory, layer by layer, from the contracts of the ops alone.

Nothing is computed: the model is called once in evaluation on a tensor without memory (`tracing.shapes_only`), which
gives a list of the ops with the sizes of their letters. Two small tables say what each op costs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tinynet.nn.module import Module
from tinynet.nn.parameter import Parameter
from tinynet.tape import no_grad
from tinynet.tensor import blank
from tinynet.tracing import Call, observe, shapes_only
from tinynet.window import pair, window

# Operations of an op, from the letters of its contract and its options: a multiply-add is two, an added bias, a
# function value and an element of a window one. What stands not here takes one for each element.
_OPERATIONS: dict[str, Callable[[dict[str, Any]], int]] = {
    "dense": lambda s: math.prod(s["..."]) * (2 * s["D"] + 1) * s["F"],
    "matmul": lambda s: math.prod(s["...Y"]) * 2 * s["M"] * s["K"] * s["P"],
    "conv1d": lambda s: s["N"] * s["T'"] * (2 * s["K"] * s["C"] + 1) * s["F"],
    "conv2d": lambda s: s["N"] * s["H'"] * s["W'"] * (2 * s["KH"] * s["KW"] * s["C"] + 1) * s["F"],
    "lstm": lambda s: s["N"] * s["T"] * (8 * s["H"] * (s["H"] + s["D"]) + 13 * s["H"]),  # 8 for gates, 5 for (4), (6)
    **{f"{kind}_pool1d": lambda s: s["N"] * s["T'"] * s["C"] * s["size"] for kind in ("max", "avg")},
    **{f"{kind}_pool2d": lambda s: s["N"] * s["H'"] * s["W'"] * s["C"] * math.prod(pair("pool2d", "size", s["size"]))
       for kind in ("max", "avg")},
}
_VIEWS = {"reshape", "transpose", "getitem"}  # another look at the same memory
_NO_ARITHMETIC = {*_VIEWS, "concatenate", "pad", "astype"}


@dataclass(frozen=True)
class Row:
    """One layer, for a batch of one sample.

    shape         shape of the output without the batch; None if it is unknown
    flops         operations of the forward pass in evaluation
    activations   bytes of the outputs of its ops, and of what they keep for the backward pass
    largest       bytes of the largest array that one of them makes
    """

    name: str
    layer: str
    shape: tuple[int, ...] | None
    parameters: int
    flops: int
    activations: int
    largest: int


def rows(model: Module, input_shape: tuple[int, ...] | None) -> list[Row]:
    """A row for each layer in the order of the calls; without a shape, in the order of the attributes.

    Modules that only call others have no row. A shared parameter counts for the first layer that has it.
    """
    paths = {id(module): path for path, module in reversed(list(model.modules()))}
    found: list[Row] = []
    counted: set[int] = set()

    def add(module: Module, shape: tuple[int, ...] | None, calls: list[Call]) -> None:
        own = {id(one): one.size for _, one in module.members() if isinstance(one, Parameter)}
        parameters = sum(size for key, size in own.items() if key not in counted)
        counted.update(own)
        flops = sum(map(_flops, calls))
        if parameters or flops or not list(module.children()):
            found.append(Row(paths[id(module)], type(module).__name__, shape, parameters, flops,
                             sum(map(_activations, calls)), max(map(_largest, calls), default=0)))

    if input_shape is not None:
        trace(model, input_shape, add)
    else:
        for _, module in model.modules():
            add(module, None, [])
    return found


def trace(model: Module, input_shape: tuple[int, ...],
          visit: Callable[[Module, tuple[int, ...], list[Call]], None]) -> None:
    """Call a model in evaluation on the shape of one sample, and `visit` each module after its forward pass.

    visit(module, shape of its output without the batch, calls of ops that it made itself)
    """
    def look(module: Module, run: Callable[[], Any]) -> Any:
        begun = len(calls)
        output = run()
        own = calls[begun:]
        del calls[begun:]  # the rest are the caller's
        visit(module, (output[0] if isinstance(output, tuple) else output).shape[1:], own)
        return output

    modes = [(module, module.training) for _, module in model.modules()]
    dtype = next((parameter.dtype for parameter in model.parameters()), "float32")
    try:
        with no_grad(), shapes_only() as calls, observe(module=look):
            model.eval()(blank((1, *input_shape), dtype))
    finally:
        for module, mode in modes:
            module.training = mode


def summary(model: Module, input_shape: tuple[int, ...] | None = None) -> str:
    """A table of the layers, for printing: shape of the output, parameters, operations, memory.

    `input_shape` is the shape of one sample, without the batch; `model.input_shape` by default. The shapes come from
    the contracts of the ops: nothing is computed. Without a shape only the parameters are shown. For one sample:

    FLOPs        operations of the forward pass: a multiply-add counts as two; a bias, a function value and an element
                 of a window as one. Forward and backward together take about three times as many.
    activations  bytes of the outputs of the layers, and of what an LSTM keeps of every step for its backward pass.
                 In training, dropout adds the size of its input; `profile` measures what is really kept.

    >>> import tinynet as tn
    >>> print(tn.nn.Sequential(tn.nn.Dense(3, 2), tn.nn.ReLU()).summary((3,)))
    layer   output shape   parameters   FLOPs   activations
    Dense   (N, 2)                  8      14           8 B
    ReLU    (N, 2)                  0       2           8 B
    total                           8      16          16 B
    """
    shape = input_shape or model.input_shape
    layers = rows(model, shape)
    lines = [("layer", "output shape", "parameters", "FLOPs", "activations")]
    lines += [(row.layer, "" if row.shape is None else f"({', '.join(['N', *map(str, row.shape)])})",
               f"{row.parameters:,}", f"{row.flops:,}", in_bytes(row.activations)) for row in layers]
    lines.append(("total", "", f"{sum(row.parameters for row in layers):,}", f"{sum(row.flops for row in layers):,}",
                  in_bytes(sum(row.activations for row in layers))))
    columns = 5 if shape is not None else 3
    return aligned([line[:columns] for line in lines], left=2)


def aligned(lines: Sequence[tuple[str, ...]], left: int) -> str:
    """A table as text: the first `left` columns are aligned to the left, the others to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("   ".join(cell.ljust(width) if i < left else cell.rjust(width)
                                for i, (cell, width) in enumerate(zip(line, widths, strict=True)))
                     for line in lines)


def in_bytes(number: int) -> str:
    """A number of bytes in a suitable unit.

    >>> in_bytes(999), in_bytes(125_440), in_bytes(3_211_264)
    ('999 B', '125.4 kB', '3.2 MB')
    """
    if number > 10**15:  # a forged file may name a number beyond any float
        return "more than 1,000,000 GB"
    value, units = float(number), ["B", "kB", "MB", "GB"]
    while value >= 999.95 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} B" if units[0] == "B" else f"{value:,.1f} {units[0]}"


def _flops(call: Call) -> int:
    if call.op in _OPERATIONS:
        return _OPERATIONS[call.op]({**call.sizes, **call.options})
    if call.op in _NO_ARITHMETIC:
        return 0
    return max(call.outputs[0].size, math.prod(call.sizes.get("...", ())))  # a sum reads more than it gives


def _activations(call: Call) -> int:
    """Bytes: of the outputs, and for the LSTM of what its backward needs besides, [h, x] and the gates and C."""
    if call.op in _VIEWS:
        return 0
    elements = call.outputs[0].size
    if call.op == "lstm":
        elements = call.sizes["N"] * call.sizes["T"] * (7 * call.sizes["H"] + call.sizes["D"])
    return int(elements * call.outputs[0].dtype.itemsize)


def _largest(call: Call) -> int:
    """Bytes of the largest output, or of the input with the margins that a window needs."""
    return int(max(_padded(call), *(output.size for output in call.outputs)) * call.outputs[0].dtype.itemsize)


def _padded(call: Call) -> int:
    """Elements of the input of an op with a window, with the margins around it."""
    sizes, options = call.sizes, call.options
    if "padding" not in options:
        return 0
    axes = ["T"] if "T" in sizes else ["H", "W"]
    kernel = tuple(sizes[letter] for letter in (["K"] if "K" in sizes else ["KH", "KW"]) if letter in sizes)
    elements = sizes["N"] * sizes["C"]
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
