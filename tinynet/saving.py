"""A model in one file: its layers and their weights, as safetensors.

The file is a table of arrays, and a few words of JSON that say which layers they belong to:

    {"layer": "Sequential", "layers": [{"layer": "Dense", "inputs": 3, "units": 2, "bias": true}], "input_shape": null}

Loading makes layers of a closed list, those of `tinynet.nn`, by their constructors, and fills them. Nothing in a file
can name a function, a module or a path, so nothing in it can run. The layers are first made without memory, and their
names and shapes compared with what the file holds: a file that claims a million units must contain them.
"""

import inspect
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from tinynet import nn
from tinynet.errors import ModelFileError, TinynetError
from tinynet.files import write_whole
from tinynet.nn.module import Module
from tinynet.op import shapes_only

FORMAT = "tinynet 1"
LAYERS: dict[str, type[Module]] = {
    layer.__name__: layer
    for layer in (nn.AvgPool1D, nn.AvgPool2D, nn.BatchNorm, nn.Conv1D, nn.Conv2D, nn.Dense, nn.Dropout, nn.Flatten,
                  nn.GlobalAveragePool, nn.LSTM, nn.MaxPool1D, nn.MaxPool2D, nn.ReLU, nn.Reshape, nn.Sequential,
                  nn.Sigmoid, nn.Softmax, nn.Tanh)}
_DTYPES = {"F32": "float32", "F64": "float64", "I64": "int64"}


def save(path: str | os.PathLike[str], model: Module) -> None:
    """Write a model, its layers and its state, into one file. The file is written whole or not at all.

    Errors: ModelFileError for a model that has modules other than those of `tinynet.nn` (save its `state_dict()` with
    safetensors instead), and where the file cannot be written.

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

    metadata = {"format": FORMAT, "architecture": json.dumps(_describe(model))}
    arrays = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in model.state_dict().items()}
    try:
        write_whole(path, to_bytes(arrays, metadata))
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

    if not Path(path).is_file():
        raise ModelFileError(f"load: {path} must be a saved model, but it is not there; "
                             "tn.save(path, model) writes one")
    try:
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


def _describe(module: Module) -> dict[str, Any]:
    """A module as JSON: the name of its layer, and the arguments that make it."""
    name = type(module).__name__
    if LAYERS.get(name) is not type(module):
        raise ModelFileError(f"save: model must be made of the layers of tinynet.nn, and {name} is none of them; "
                             "build it as a tn.nn.Sequential, or save model.state_dict() with safetensors")
    options = {key: [_describe(one) for one in value] if key == "layers" else value
               for key, value in module.config().items()}
    return {"layer": name, **options}


def _rebuild(path: Any, metadata: dict[str, str]) -> Module:
    """The model that the file's description tells of, without memory for its arrays."""
    if metadata.get("format") != FORMAT:
        raise ModelFileError(f"load: {path} must be of format {FORMAT!r}, got {metadata.get('format')!r}; "
                             "was it written by tn.save, and by this version?")
    try:
        description = json.loads(metadata.get("architecture", ""))
        with shapes_only():
            return _make(path, description)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ModelFileError(f"load: the architecture in {path} must be JSON, and is not ({error}); "
                             "the file is damaged, save the model again") from error


def _make(path: Any, description: Any) -> Module:
    if not isinstance(description, dict) or description.get("layer") not in LAYERS:
        name = description.get("layer") if isinstance(description, dict) else description
        raise ModelFileError(f"load: {path} must be made of {', '.join(LAYERS)}, and names {str(name)[:50]!r}; "
                             "was it written by another version?")
    layer = LAYERS[description["layer"]]
    options = {key: value for key, value in description.items() if key != "layer"}
    expected = set(inspect.signature(layer).parameters)
    if options.keys() != expected:
        raise ModelFileError(f"load: {layer.__name__} in {path} must have the options "
                             f"{sorted(expected) or 'none'}, got {sorted(options) or 'none'}; "
                             "the file is damaged, or of another version")
    try:
        if layer is nn.Sequential:
            return nn.Sequential(*[_make(path, one) for one in options.pop("layers")], **options)
        return layer(**{key: tuple(value) if isinstance(value, list) else value for key, value in options.items()})
    except ModelFileError:
        raise
    except (TinynetError, TypeError, ValueError, OverflowError, MemoryError) as error:
        raise ModelFileError(f"load: {layer.__name__} in {path} cannot be made with {str(options)[:100]} ({error}); "
                             "the file is damaged, save the model again") from error


def _allocate(path: Any, model: Module, slices: dict[str, Any]) -> None:
    """Give the model's tensors memory, once the file is known to hold what goes into it."""
    tensors = model.tensors()
    for name, tensor in tensors.items():
        if name not in slices:
            raise ModelFileError(f"load: {path} must hold {name}, which its layers have, and does not; "
                                 "the file is damaged, save the model again")
        shape, dtype = tuple(slices[name].get_shape()), _DTYPES.get(slices[name].get_dtype())
        if shape != tensor.shape or dtype is None or (dtype == "int64") != (tensor.dtype.kind == "i"):
            raise ModelFileError(f"load: {name} in {path} must be {tensor.shape} of {tensor.dtype}, got {shape} of "
                                 f"{slices[name].get_dtype()}; the file is damaged, save the model again")
        tensor.data = np.empty(shape, dtype)
    counters = {name for name in model.state_dict() if name not in tensors}
    unexpected = sorted(slices.keys() - tensors.keys() - counters)
    if unexpected:
        raise ModelFileError(f"load: {path} must hold only what its layers have, and holds {unexpected[:5]}; "
                             "the file is damaged, save the model again")
