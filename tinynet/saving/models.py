"""A model in one file: its layers, their weights, and what is needed to use it, as safetensors.

The file is a table of arrays, and a few words of JSON that say which layers they belong to, and, where the model knows
them, what its outputs are called and how pixels become its inputs:

    {"layer": "Sequential", "input_shape": [28, 28, 1], "layers": [{"layer": "Dense", "inputs": 3, ...}, ...],
     "classes": ["cat", "dog"], "scaling": {"mean": [0.0], "scale": [255.0]}, "crc32": 1234567890}

Loading makes layers of a closed list, those of `tinynet.nn`, by their constructors, and fills them. Nothing in a file
can name a function, a module or a path, so nothing in it can run. The layers are first made without memory, and their
names and shapes compared with what the file holds: a file that claims a million units must contain them. A checksum of
the arrays tells a weight that has changed on a disk from one that was trained. Where the
shape of an input is known, the layers are also tried on it, on shapes alone: what would need absurd memory is refused.
"""

import inspect
import json
import os
import reprlib
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tinynet import nn
from tinynet.atomic import write_whole
from tinynet.data.images.read import shown
from tinynet.errors import ArgumentError, ModelFileError
from tinynet.nn.module import Module
from tinynet.nn.summary import in_bytes, rows
from tinynet.tensor import Tensor
from tinynet.tracing import shapes_only

FORMAT = "tinynet 1"  # the name of the description: one entry, since several are written in no certain order
DEPTH = 50  # of modules in modules
_BRIEF = reprlib.Repr()  # of what stands in a file, which may be long
_BRIEF.maxlevel = 1
_SAID = 200  # characters of an error that is repeated in another
LARGEST = 4 << 30  # bytes of an array that a layer makes for one sample
LAYERS: dict[str, type[Module]] = {
    layer.__name__: layer
    for layer in (nn.AvgPool1D, nn.AvgPool2D, nn.BatchNorm, nn.Conv1D, nn.Conv2D, nn.Dense, nn.Dropout, nn.Flatten,
                  nn.GlobalAveragePool, nn.LSTM, nn.MaxPool1D, nn.MaxPool2D, nn.ReLU, nn.Reshape, nn.Sequential,
                  nn.Sigmoid, nn.Softmax, nn.Tanh)}
_DTYPES = {"F32": "float32", "F64": "float64", "I64": "int64"}


def save(path: str | os.PathLike[str], model: Module, *, classes: Iterable[str] | None = None,
         scaling: nn.Scaling | None = None) -> None:
    """Write a model, its layers and its state, into one file. The file is written whole or not at all.

    classes   the names of the outputs, in their order; those of the model by default
    scaling   what makes the model's inputs of pixels; that of the model by default

    `load` gives them back as `model.classes` and `model.scaling`. With them and the `input_shape` of a Sequential the
    file is complete: `python -m tinynet predict` needs nothing else.

    Errors: ModelFileError for a model that could not be made again from a file, because it has modules other than those
    of `tinynet.nn` or a layer in two places (save its `state_dict()` with safetensors instead), or whose classes,
    scaling, input_shape and layers do not fit each other, and where the file cannot be written.

    >>> import tempfile, tinynet as tn
    >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> tn.save(path, tn.nn.Sequential(tn.nn.Dense(3, 2), tn.nn.ReLU()), classes=["cat", "dog"])
    >>> tn.load(path)
    Sequential(
        0: Dense(inputs=3, units=2)
        1: ReLU()
    )
    >>> tn.load(path).classes
    ('cat', 'dog')
    """
    from safetensors.numpy import save as to_bytes

    arrays = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in model.state_dict().items()}
    about = _about(model.classes if classes is None else classes, model.scaling if scaling is None else scaling)
    description = json.loads(json.dumps({**_describe(model), **about}, default=_plain))
    _check_can_be_made_again(model, description)
    try:
        write_whole(path, to_bytes(arrays, {FORMAT: json.dumps({**description, "crc32": _crc32(arrays)})}))
    except OSError as error:
        raise ModelFileError(f"save: {path} cannot be written ({error.strerror or error}); "
                             "is there space, and may you write there?") from error


def load(path: str | os.PathLike[str]) -> Module:
    """The model that `save` has written, in evaluation mode, on the CPU, with its `classes` and `scaling`, if any.

    Errors: ModelFileError if the file is missing, damaged, not a model of tinynet's, names an unknown layer or option,
    holds other arrays than its layers have, or classes, scaling or an input_shape that do not fit them.

    >>> import tinynet as tn
    >>> tn.load("nothing.safetensors")
    Traceback (most recent call last):
    tinynet.errors.ModelFileError: load: nothing.safetensors must be a saved model, but it is not there; ...
    """
    from safetensors import SafetensorError, safe_open

    try:
        if not Path(path).is_file():
            found = "a folder" if Path(path).is_dir() else "not there"
            raise ModelFileError(f"load: {path} must be a saved model, but it is {found}; "
                                 "tn.save(path, model) writes one")
        with safe_open(path, framework="numpy") as file:
            model, crc32 = _rebuild(path, (file.metadata() or {}))
            names = file.keys()
            _allocate(path, model, {name: file.get_slice(name) for name in names})
            arrays = {name: file.get_tensor(name) for name in names}
        if crc32 is not None and crc32 != _crc32(arrays):
            raise ModelFileError(f"load: {path} must be as it was written, but its checksum does not fit, so its "
                                 "weights are damaged; copy or save it again")
        model.load_state_dict(arrays)
    except SafetensorError as error:
        raise ModelFileError(f"load: {path} must be a whole safetensors file, but it is damaged ({_said(error)}); "
                             "copy or save it again") from error
    except OSError as error:
        raise ModelFileError(f"load: {path} cannot be read ({error.strerror or error}); may you read it?") from error
    return model.eval()


def _describe(module: Module, depth: int = 0) -> dict[str, Any]:
    """A module as JSON: the name of its layer, and the arguments that make it."""
    name = type(module).__name__
    if LAYERS.get(name) is not type(module):
        raise ModelFileError(f"save: model must be made of the layers of tinynet.nn, and {name} is none of them; "
                             "build it as a tn.nn.Sequential, or save model.state_dict() with safetensors")
    if depth > DEPTH:
        raise ModelFileError(f"save: model must be nested at most {DEPTH} deep; "
                             "put the layers into one tn.nn.Sequential")
    options = {key: [_describe(one, depth + 1) for one in value] if key == "layers" else value
               for key, value in module.config().items()}
    return {"layer": name, **options}


def _plain(option: Any) -> Any:
    """A number of NumPy's as one of Python's, for JSON."""
    if isinstance(option, np.generic):
        return option.item()
    raise ModelFileError(f"save: options of layers must be numbers, words or lists of them, got {option!r}; "
                         "make the layer with a plain number")


def _check_can_be_made_again(model: Module, description: dict[str, Any]) -> None:
    """ModelFileError if the layers that a description makes have other tensors than the model."""
    with shapes_only():
        expected = _complete("save", description).tensors()
    tensors = model.tensors()
    differing = [name for name in {**expected, **tensors} if name not in expected or name not in tensors
                 or not _fits(expected[name], tensors[name].shape, str(tensors[name].dtype))]
    if differing:
        raise ModelFileError("save: model must have the tensors that its layers are made with, and differs in "
                             f"{', '.join(differing[:5])}; layers that share weights, or hold others than their own, "
                             "cannot be told from a file: save model.state_dict() with safetensors")


def _rebuild(path: Any, metadata: dict[str, str]) -> tuple[Module, Any]:
    """The model that the file's description tells of, without memory for its arrays, and their checksum, if any."""
    if FORMAT not in metadata:
        raise ModelFileError(f"load: {path} must be of format {FORMAT!r}, got {_BRIEF.repr(sorted(metadata))}; "
                             "was it written by tn.save, and by this version?")
    try:
        description = json.loads(metadata[FORMAT])
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"load: the description of the layers in {path} must be JSON, and is not "
                             f"({_said(error)}); the file is damaged, save the model again") from error
    crc32 = description.pop("crc32", None) if isinstance(description, dict) else None
    with shapes_only():
        return _complete(f"load: {path}", description), crc32


def _crc32(arrays: dict[str, Any]) -> int:
    crc = 0
    for name in sorted(arrays):
        crc = zlib.crc32(np.ascontiguousarray(arrays[name]).tobytes(), zlib.crc32(name.encode(), crc))
    return crc


def _about(classes: Any, scaling: nn.Scaling | None) -> dict[str, Any]:
    """What a description says besides the layers."""
    about = {} if classes is None else {"classes": list(classes)}
    return about if scaling is None else {**about, "scaling": {"mean": scaling.mean, "scale": scaling.scale}}


def _complete(where: str, description: Any) -> Module:
    """A model with its classes and scaling, all of which fit each other. To be called on shapes alone."""
    about = {}
    if isinstance(description, dict):
        about = {name: description[name] for name in ("classes", "scaling") if name in description}
        description = {name: value for name, value in description.items() if name not in about}
    model = _make(where, description)
    if "classes" in about:
        model.classes = _checked_classes(where, about["classes"])
    if "scaling" in about:
        model.scaling = _checked_scaling(where, about["scaling"])
    if model.input_shape is not None:
        _check_fits(where, model, model.input_shape)
    return model


def _checked_classes(where: str, classes: Any) -> tuple[str, ...]:
    if (not isinstance(classes, list) or not classes or len(set(map(str, classes))) < len(classes)
            or not all(isinstance(name, str) and name and name.isprintable() for name in classes)):
        raise ModelFileError(f"{where}: classes must be different names that can be printed, got "
                             f"{_BRIEF.repr(classes)}; one for each output")
    return tuple(classes)


def _checked_scaling(where: str, scaling: Any) -> nn.Scaling:
    try:
        if not isinstance(scaling, dict) or scaling.keys() != {"mean", "scale"}:
            raise ArgumentError(f"it is {_BRIEF.repr(scaling)}")
        return nn.Scaling(**scaling)
    except (ArgumentError, OverflowError) as error:
        raise ModelFileError(f"{where}: scaling must have a mean and a scale ({_said(error)}); "
                             "use a tn.nn.Scaling") from error


def _said(error: Exception) -> str:
    """What an error says, short and printable: it may repeat what stands in a file."""
    text = shown(str(error))
    return text if len(text) <= _SAID else f"{text[: _SAID // 2]} ... {text[-_SAID // 2 :]}"


def _check_fits(where: str, model: Module, input_shape: tuple[int, ...]) -> None:
    """ModelFileError if the layers cannot take the input, or its names and numbers are not as many as they must be."""
    try:
        layers = rows(model, input_shape)
    except Exception as error:  # whatever an op or a layer finds wrong with a shape
        raise ModelFileError(f"{where}: input_shape {_BRIEF.repr(input_shape)} must fit the layers, and does not "
                             f"({_said(error)}); give the shape of one sample, without the batch") from error
    for row in layers:
        if row.largest > LARGEST:
            raise ModelFileError(f"{where}: {row.layer} {row.name} must make arrays of {in_bytes(LARGEST)} at most for "
                                 f"an input of {input_shape}, and needs {in_bytes(row.largest)}; is the file damaged?")
    outputs = layers[-1].shape if layers else input_shape
    if model.classes and outputs != (len(model.classes),):
        raise ModelFileError(f"{where}: classes must be as many as the outputs, {outputs}, got {len(model.classes)}; "
                             "name each output once")
    if model.scaling and not model.scaling.fits(input_shape[-1] if input_shape else 1):
        raise ModelFileError(f"{where}: scaling must have one number, or one for each channel of {input_shape}, got "
                             f"{model.scaling}; channels come last")


def _make(where: str, description: Any, depth: int = 0) -> Module:
    name = description.get("layer") if isinstance(description, dict) else description
    if not isinstance(description, dict) or not isinstance(name, str) or name not in LAYERS or depth > DEPTH:
        raise ModelFileError(f"{where} must be made of {', '.join(LAYERS)}, nested at most {DEPTH} deep, and names "
                             f"{_BRIEF.repr(name)}; was it written by another version?")
    layer = LAYERS[name]
    options = {key: value for key, value in description.items() if key != "layer"}
    expected = set(inspect.signature(layer).parameters)
    if options.keys() != expected:
        got = _BRIEF.repr(sorted(options)) if options else "none"
        raise ModelFileError(f"{where}: {name} must have the options {sorted(expected) or 'none'}, got {got}; the file "
                             "is damaged, or of another version")
    try:
        if layer is nn.Sequential:
            return nn.Sequential(*[_make(where, one, depth + 1) for one in options.pop("layers")], **options)
        return layer(**{key: tuple(value) if isinstance(value, list) else value for key, value in options.items()})
    except ModelFileError:
        raise
    except Exception as error:  # whatever a constructor raises for arguments that are none
        raise ModelFileError(f"{where}: {name} cannot be made with {_BRIEF.repr(options)} ({_said(error)}); "
                             "the file is damaged, save the model again") from error


def _allocate(path: Any, model: Module, slices: dict[str, Any]) -> None:
    """Give the model's tensors memory, once the file is known to hold what goes into it."""
    tensors = model.tensors()
    expected = {**tensors, **{name: Tensor(0) for name in model.counters()}}
    for name, tensor in expected.items():
        if name not in slices:
            raise ModelFileError(f"load: {path} must hold {name}, which its layers have, and does not; "
                                 "the file is damaged, save the model again")
        shape, dtype = tuple(slices[name].get_shape()), slices[name].get_dtype()
        if not _fits(tensor, shape, _DTYPES.get(dtype, dtype)):
            raise ModelFileError(f"load: {name} in {path} must be {tensor.shape} of {tensor.dtype}, got "
                                 f"{_BRIEF.repr(shape)} of {dtype}; the file is damaged, save the model again")
    unexpected = sorted(slices.keys() - expected.keys())
    if unexpected:
        raise ModelFileError(f"load: {path} must hold only what its layers have, and holds "
                             f"{_BRIEF.repr(unexpected)}; the file is damaged, save the model again")
    for name, tensor in tensors.items():
        tensor.data = np.empty(tensor.shape, _DTYPES[slices[name].get_dtype()])


def _fits(tensor: Tensor, shape: tuple[int, ...], dtype: str) -> bool:
    """Whether an array can be what a tensor of a layer holds."""
    return tensor.shape == shape and dtype in _DTYPES.values() and (dtype == "int64") == (tensor.dtype.kind == "i")
