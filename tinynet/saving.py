"""A model in one file: its layers and their weights, as safetensors.

The file is a table of arrays, and a few words of JSON that say which layers they belong to. The model in it reads

    {"layer": "Sequential", "layers": [{"layer": "Dense", "inputs": 3, "units": 2, "bias": true}], "input_shape": null}

Loading makes layers of a closed list, those of `tinynet.nn`, by their constructors, and fills them. Nothing in a file
can name a function, a module or a path, so nothing in it can run. The layers are first made without memory, and their
names and shapes compared with what the file holds: a file that claims a million units must contain them.
"""

import inspect
import json
import os
import reprlib
from pathlib import Path
from typing import Any

import numpy as np

from tinynet import nn
from tinynet.errors import ModelFileError
from tinynet.files import write_whole
from tinynet.nn.module import Module
from tinynet.op import shapes_only
from tinynet.tape import Tensor

FORMAT = "tinynet 1"  # the name of the description: one entry, since several are written in no certain order
DEPTH = 50  # of modules in modules
LAYERS: dict[str, type[Module]] = {
    layer.__name__: layer
    for layer in (nn.AvgPool1D, nn.AvgPool2D, nn.BatchNorm, nn.Conv1D, nn.Conv2D, nn.Dense, nn.Dropout, nn.Flatten,
                  nn.GlobalAveragePool, nn.LSTM, nn.MaxPool1D, nn.MaxPool2D, nn.ReLU, nn.Reshape, nn.Sequential,
                  nn.Sigmoid, nn.Softmax, nn.Tanh)}
_DTYPES = {"F32": "float32", "F64": "float64", "I64": "int64"}


def save(path: str | os.PathLike[str], model: Module) -> None:
    """Write a model, its layers and its state, into one file. The file is written whole or not at all.

    Errors: ModelFileError for a model that could not be made again from a file, because it has modules other than those
    of `tinynet.nn` or a layer in two places (save its `state_dict()` with safetensors instead), and where the file
    cannot be written.

    >>> import tempfile, tinynet as tn
    >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> tn.save(path, tn.nn.Sequential(tn.nn.Dense(3, 2), tn.nn.ReLU()))
    >>> tn.load(path)
    Sequential(
        0: Dense(inputs=3, units=2)
        1: ReLU()
    )
    """
    from safetensors.numpy import save as to_bytes

    description = json.dumps(_describe(model), default=_plain)
    _check_can_be_made_again(model, description)
    arrays = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in model.state_dict().items()}
    try:
        write_whole(path, to_bytes(arrays, {FORMAT: description}))
    except OSError as error:
        raise ModelFileError(f"save: {path} cannot be written ({error.strerror or error}); "
                             "is there space, and may you write there?") from error


def load(path: str | os.PathLike[str]) -> Module:
    """The model that `save` has written, in evaluation mode, on the CPU.

    Errors: ModelFileError if the file is missing, damaged, not a model of tinynet's, names an unknown layer or option,
    or holds other arrays than its layers have.

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
            model = _rebuild(path, (file.metadata() or {}))
            names = file.keys()
            _allocate(path, model, {name: file.get_slice(name) for name in names})
            model.load_state_dict({name: file.get_tensor(name) for name in names})
    except SafetensorError as error:
        raise ModelFileError(f"load: {path} must be a whole safetensors file, but it is damaged ({error}); "
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


def _check_can_be_made_again(model: Module, description: str) -> None:
    """ModelFileError if the layers that a description makes have other tensors than the model."""
    with shapes_only():
        expected = _make("save", json.loads(description)).tensors()
    tensors = model.tensors()
    differing = [name for name in {**expected, **tensors} if name not in expected or name not in tensors
                 or not _fits(expected[name], tensors[name].shape, str(tensors[name].dtype))]
    if differing:
        raise ModelFileError("save: model must have the tensors that its layers are made with, and differs in "
                             f"{', '.join(differing[:5])}; layers that share weights, or hold others than their own, "
                             "cannot be told from a file: save model.state_dict() with safetensors")


def _rebuild(path: Any, metadata: dict[str, str]) -> Module:
    """The model that the file's description tells of, without memory for its arrays."""
    if FORMAT not in metadata:
        raise ModelFileError(f"load: {path} must be of format {FORMAT!r}, got {reprlib.repr(sorted(metadata))}; "
                             "was it written by tn.save, and by this version?")
    try:
        description = json.loads(metadata[FORMAT])
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"load: the description of the layers in {path} must be JSON, and is not ({error}); "
                             "the file is damaged, save the model again") from error
    with shapes_only():
        return _make(f"load: {path}", description)


def _make(where: str, description: Any, depth: int = 0) -> Module:
    name = description.get("layer") if isinstance(description, dict) else description
    if not isinstance(description, dict) or not isinstance(name, str) or name not in LAYERS or depth > DEPTH:
        raise ModelFileError(f"{where} must be made of {', '.join(LAYERS)}, nested at most {DEPTH} deep, and names "
                             f"{reprlib.repr(name)}; was it written by another version?")
    layer = LAYERS[name]
    options = {key: value for key, value in description.items() if key != "layer"}
    expected = set(inspect.signature(layer).parameters)
    if options.keys() != expected:
        raise ModelFileError(f"{where}: {name} must have the options {sorted(expected) or 'none'}, got "
                             f"{sorted(options) or 'none'}; the file is damaged, or of another version")
    try:
        if layer is nn.Sequential:
            return nn.Sequential(*[_make(where, one, depth + 1) for one in options.pop("layers")], **options)
        return layer(**{key: tuple(value) if isinstance(value, list) else value for key, value in options.items()})
    except ModelFileError:
        raise
    except Exception as error:  # whatever a constructor raises for arguments that are none
        raise ModelFileError(f"{where}: {name} cannot be made with {reprlib.repr(options)} ({error}); "
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
            raise ModelFileError(f"load: {name} in {path} must be {tensor.shape} of {tensor.dtype}, got {shape} of "
                                 f"{dtype}; the file is damaged, save the model again")
    unexpected = sorted(slices.keys() - expected.keys())
    if unexpected:
        raise ModelFileError(f"load: {path} must hold only what its layers have, and holds {unexpected[:5]}; "
                             "the file is damaged, save the model again")
    for name, tensor in tensors.items():
        tensor.data = np.empty(tensor.shape, _DTYPES[slices[name].get_dtype()])


def _fits(tensor: Tensor, shape: tuple[int, ...], dtype: str) -> bool:
    """Whether an array can be what a tensor of a layer holds."""
    return tensor.shape == shape and dtype in _DTYPES.values() and (dtype == "int64") == (tensor.dtype.kind == "i")
