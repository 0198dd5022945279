"""Write a model as a file in the ONNX format, which other programs run without tinynet: onnxruntime, a browser.

The file holds nodes and weights: opset 17, format version 8. The size of the batch is free; other sizes, such as the
number of time steps, are those of `model.input_shape`.
"""

import json
import os
from typing import Any

import numpy as np

from tinynet.about import __version__
from tinynet.atomic import write_whole
from tinynet.elsewhere import guided
from tinynet.ensemble import gives_probabilities
from tinynet.errors import ArgumentError, DtypeError, ExportError, printable
from tinynet.export import elementwise, layers, shapes  # noqa: F401  # their rules register themselves
from tinynet.export.graph import Graph, difference
from tinynet.export.masks import RIGHT
from tinynet.export.rules import apply
from tinynet.export.trace import Trace, address, trace
from tinynet.nn.module import Module
from tinynet.scaling import Scaling
from tinynet.types import Array, Shape

OPSET, FORMAT = 17, 8
BATCHES = 61, 64  # two sizes of the batch to trace with; one is odd
LARGEST = 2**31 - 2**20  # bytes of the weights: the limit of the file format, less the nodes


@guided("tn.to_onnx(model, path)")
def to_onnx(model: Module, path: str | os.PathLike[str], *, pixels: bool = False, probabilities: bool = False,
            lengths: bool = False) -> None:
    """Write a model in the ONNX format. The file is written whole or not at all.

    pixels          take images as they are read: the input is `pixels`, uint8 (N,H,W,C), and the graph scales them by
                    `model.scaling`, or by 1/255. Else it is `input`, float32 (N, *model.input_shape); int64 for a model
                    that takes no floats
    probabilities   end with a softmax, unless the model does: the first output is `probabilities`. Else it is `scores`

    lengths         take sequences of different lengths, padded on the right: the second input is `lengths`, int32 (N),
                    the number of real steps of each, at least 1. The model is called as model(x, mask=mask)

    Further outputs, as of an LSTM with `return_state`, are `output_1`, `output_2`. The metadata of the file are JSON:
    `tinynet.version`, `tinynet.input_shape`, and where the model has them `tinynet.classes`, `tinynet.scaling` and
    `tinynet.decision_threshold`.
    Needs onnx: pip install onnx.

    Errors: ExportError for a model that ONNX cannot express, with the name of the op, and for a file that cannot be
    written; ArgumentError for a model without input_shape.

    >>> import tinynet as tn
    >>> class Half(tn.nn.Module):
    ...     def forward(self, x):
    ...         return tn.ops.dropout(x, 0.5, key=(0, 0), counter=0)
    >>> model = tn.nn.Sequential(tn.nn.ReLU(), Half(), input_shape=(3,))
    >>> tn.to_onnx(model, "half.onnx")
    Traceback (most recent call last):
    tinynet.errors.ExportError: to_onnx: op dropout in layer 1 draws random numbers, which an exported ...
    """
    content = onnx_bytes(model, pixels=pixels, probabilities=probabilities, lengths=lengths)
    write_file("to_onnx", path, content)


def write_file(function: str, path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file whole or not at all. ExportError if that is not possible."""
    try:
        write_whole(path, content)
    except OSError as error:
        raise ExportError(f"{function}: {printable(path)} must be a file that can be written, and the system says "
                          f"{error.strerror or error}; choose another folder, or is the disk full?") from error


def onnx_bytes(model: Module, *, pixels: bool = False, probabilities: bool = False, lengths: bool = False) -> bytes:
    """The content of the file that `to_onnx` writes. Errors as of `to_onnx`."""
    if not isinstance(model, Module):
        order = "to_onnx(model, path), the model comes first" if isinstance(model, str | os.PathLike) else \
            "a tn.nn.Sequential?"
        raise ArgumentError(f"to_onnx: model must be a Module, got {type(model).__name__}; {order}")
    shape = model.input_shape
    if shape is None:
        raise ArgumentError("to_onnx: the model must have an input_shape, that of one sample, and it is None; "
                            "model.input_shape = (28, 28, 1)?")
    if pixels and (len(shape) not in (2, 3) or shape[2:] not in ((), (1,), (3,))):
        raise ExportError(f"to_onnx: pixels are for a model of images, (height, width, 1 or 3), and this one takes "
                          f"{shape}; leave pixels out")
    for name, tensor in model.tensors().items():
        if tensor.dtype.kind == "f" and tensor.dtype != np.float32:
            raise ExportError(f'to_onnx: {name} must be float32, got {tensor.dtype}; model.astype("float32") first')
    traces = _traces(model, tuple(shape), lengths)
    return _serialized(_graph(model, traces, pixels, probabilities), model, traces[0], pixels, probabilities)


def _traces(model: Module, shape: Shape, masked: bool) -> list[Trace]:
    """The model traced for both sizes of the batch: on floats, or on integers if it does not take floats."""
    try:
        return [trace(model, shape, batch, masked=masked) for batch in BATCHES]
    except DtypeError as error:
        try:
            return [trace(model, shape, batch, masked=masked, dtype="int64") for batch in BATCHES]
        except DtypeError:
            raise error from None


def _graph(model: Module, traces: list[Trace], pixels: bool, probabilities: bool) -> Graph:
    """The graph of a model, the same for both sizes of the batch."""
    ops = [[step.op for step in one.steps] for one in traces]
    if ops[0] != ops[1]:
        raise ExportError("to_onnx: the model must call the same ops for every size of the batch, and calls "
                          f"{len(ops[0])} for {BATCHES[0]} samples, {len(ops[1])} for {BATCHES[1]}; leave out what "
                          "depends on x.shape[0], or on values")
    ends_in_probabilities = gives_probabilities(model) or ops[0][-1:] == ["softmax"]
    made = []
    for one, other in (traces, traces[::-1]):
        graph = Graph(one, other)
        graph.set(one.input, _scaled(graph, model, one) if pixels else "input")
        if one.mask is not None:
            graph.set(one.mask, _mask(graph, one.mask))
            graph.padding[address(one.mask)] = RIGHT
        for step in one.steps:
            apply(graph, step)
        graph.step = None
        for i, array in enumerate(one.outputs):
            name = graph.value(array)
            if i == 0 and probabilities and not ends_in_probabilities:
                name = graph.emit("Softmax", name, axis=-1)
            graph.nodes.append(_named(graph, name, i, probabilities))
        made.append(graph)
    differing = difference(*made)
    if differing is not None:
        raise ExportError(f"to_onnx: {differing} must not depend on the size of the batch or on values, and its "
                          "options or constants differ between two sizes; leave an initial state of zeros out, and "
                          "slice other axes than the first")
    made[0].prune(node.outputs[0] for node in made[0].nodes[-len(traces[0].outputs) :])
    return made[0]


def _scaled(graph: Graph, model: Module, one: Trace) -> str:
    """The input of the model, computed from pixels (N,H,W,C) as `tn.nn.Scaling` does."""
    scaling = model.scaling or Scaling()
    mean, scale = np.array(scaling.mean, "float32"), np.array(scaling.scale, "float32")
    name = graph.emit("Cast", "pixels", to=elementwise.DTYPES["float32"])
    name = graph.emit("Div", graph.emit("Sub", name, mean) if mean.any() else name, scale)
    return name if one.input.ndim == 4 else graph.reshape(name, graph.sizes(one.input))


def _mask(graph: Graph, mask: Array) -> str:
    """The mask (N,T), computed from the lengths: step t is real if t < length."""
    length = graph.emit("Unsqueeze", graph.emit("Cast", "lengths", to=elementwise.DTYPES["int64"]), np.array([1]))
    made: str = graph.emit("Less", np.arange(mask.shape[1])[None], length)
    return made


def _named(graph: Graph, name: str, i: int, probabilities: bool) -> Any:
    graph.emit("Identity", name)
    first = "probabilities" if probabilities else "scores"
    return graph.nodes.pop()._replace(outputs=(f"output_{i}" if i else first,))


def metadata(model: Module) -> dict[str, str]:
    """What a program needs to know of a model, as JSON texts by name."""
    found: dict[str, Any] = {"version": __version__, "input_shape": model.input_shape}
    if model.classes:
        found["classes"] = model.classes
    if model.scaling:
        found["scaling"] = {"mean": model.scaling.mean, "scale": model.scaling.scale}
    if model.decision_threshold is not None:
        found["decision_threshold"] = model.decision_threshold
    return {f"tinynet.{name}": json.dumps(value) for name, value in found.items()}


def _serialized(graph: Graph, model: Module, one: Trace, pixels: bool, probabilities: bool) -> bytes:
    """The file's content, which onnx's own checker has accepted."""
    try:
        import onnx
        from onnx import checker, helper, numpy_helper
    except ImportError as error:
        raise ExportError(f"to_onnx: files are made and checked by the package onnx, which cannot be imported "
                          f"({printable(str(error))}); pip install onnx") from error
    size = sum(array.nbytes for array in graph.constants.values())
    if size > LARGEST:
        raise ExportError(f"to_onnx: weights must have at most {LARGEST:,} bytes, the limit of the format, got "
                          f"{size:,}; export a part of the model")
    shape = model.input_shape or ()
    kinds = [("pixels", "uint8", [*shape, 1][:3]) if pixels else ("input", one.input.dtype.name, [*shape]),
             *([] if one.mask is None else [("lengths", "int32", [])])]
    inputs = [helper.make_tensor_value_info(name, elementwise.DTYPES[dtype], ["N", *sizes])
              for name, dtype, sizes in kinds]
    outputs = [helper.make_tensor_value_info(node.outputs[0], elementwise.DTYPES[array.dtype.name], graph.axes(array))
               for node, array in zip(graph.nodes[-len(one.outputs) :], one.outputs, strict=True)]
    nodes = [helper.make_node(node.kind, node.inputs, node.outputs, name=f"{node.kind}_{i}", **node.attributes)
             for i, node in enumerate(graph.nodes)]
    weights = [numpy_helper.from_array(array, name) for name, array in graph.constants.items()]
    made = helper.make_model(helper.make_graph(nodes, "tinynet", inputs, outputs, weights), ir_version=FORMAT,
                             opset_imports=[helper.make_opsetid("", OPSET)], producer_name="tinynet",
                             producer_version=__version__)
    helper.set_model_props(made, metadata(model))
    try:
        checker.check_model(made, full_check=True)
    except (checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"to_onnx: the checker of onnx {onnx.__version__} must accept the graph, and says "
                          f"{printable(str(error).strip())}; this is a fault of tinynet") from error
    content: bytes = made.SerializeToString()
    return content
