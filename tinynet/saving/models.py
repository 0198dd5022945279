"""A model in one file: its layers, their weights, and what is needed to use it.

The file is an archive (`archive.py`). Its header describes the layers and, where the model has them, the names of its
outputs, the scaling of its inputs and the threshold of its decision:

    {"layer": "Sequential", "input_shape": [28, 28, 1], "layers": [{"layer": "Dense", "inputs": 3, ...}, ...],
     "classes": ["cat", "dog"], "scaling": {"mean": [0.0], "scale": [255.0]}, "crc32": 1234567890}

Loading constructs layers of a closed list, those of `tinynet.nn` and those that the caller of `load` passes in, and
fills them. A file cannot name a function, a module or a path, so nothing else can run. The layers are first made
without memory, and compared with the names and shapes of the arrays: a file that claims a million units must contain
them. If the input shape is known, the layers are tried on it by shapes alone, and a model that needs absurd memory is
refused.
"""

import inspect
import json
import os
import reprlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinynet import nn
from tinynet.elsewhere import guided
from tinynet.errors import ArgumentError, ModelFileError
from tinynet.nn.module import Module
from tinynet.nn.summary import rows
from tinynet.saving import archive, familiar
from tinynet.saving.archive import Format, said
from tinynet.shown import in_bytes
from tinynet.tensor import Tensor
from tinynet.tracing import shapes_only

FORMAT = "tinynet 1"
DEPTH = 50  # of modules in modules
LARGEST = 4 << 30  # bytes of an array that a layer makes for one sample
_MODEL = Format(FORMAT, "a saved model", ModelFileError, "save", "load", "copy or save it again", sealed=False)
_DTYPES = ("float32", "float64", "int64")
_EXTRAS = ("classes", "scaling", "decision_threshold", "familiar")  # attributes of a model that are not about layers
_RESERVED = ("layer", "crc32", *_EXTRAS)  # an option of this name is written with a "_" behind it
_BRIEF = reprlib.Repr()  # shortens values of a file in messages
_BRIEF.maxlevel = 1
LAYERS: dict[str, type[Module]] = {
    layer.__name__: layer
    for layer in (nn.AvgPool1D, nn.AvgPool2D, nn.BatchNorm, nn.Bidirectional, nn.Conv1D, nn.Conv2D, nn.Dense,
                  nn.Dropout, nn.ELU, nn.Embedding, nn.Flatten, nn.GELU, nn.GRU, nn.GlobalAveragePool,
                  nn.GlobalMaxPool, nn.LSTM, nn.LayerNorm, nn.LeakyReLU, nn.MaxPool1D, nn.MaxPool2D, nn.Parallel,
                  nn.ReLU, nn.Reshape, nn.Residual, nn.Sequential, nn.SiLU, nn.Sigmoid, nn.SimpleRNN, nn.Softmax,
                  nn.Tanh, nn.TimeDistributed)}

@guided("tn.save(path, model)")
def save(path: str | os.PathLike[str], model: Module, *, classes: Iterable[str] | None = None,
         scaling: nn.Scaling | None = None) -> None:
    """Write a model, its layers and its state, into one file. The file is written whole or not at all.

    classes   the names of the outputs, in their order; by default those of the model
    scaling   what turns pixels into inputs; by default that of the model

    `load` restores both as `model.classes` and `model.scaling`, and `model.decision_threshold` as well. With them and
    the `input_shape` of a Sequential the file is complete: `python -m tinynet predict` needs nothing else.

    A module of your own is described by the name of its class and by its `config()`, the arguments that make an equal
    one: numbers, words, modules, or lists of them. By default these are the attributes named as the arguments.

    Errors: ModelFileError for a model that a file cannot describe: it has a module without such a config, or a layer in
    two places. Save its `state_dict()` with safetensors instead. Also if classes, scaling, input_shape and
    layers do not fit each other, or the file cannot be written.

    >>> import tempfile, pathlib, tinynet as tn
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> tn.save(path, tn.nn.Sequential(tn.nn.Dense(3, 2), tn.nn.ReLU()), classes=["cat", "dog"])
    >>> tn.load(path)
    Sequential(
        0: Dense(inputs=3, units=2)
        1: ReLU()
    )
    >>> tn.load(path).classes
    ('cat', 'dog')
    """
    if not isinstance(model, Module):
        order = "tn.save(path, model), the path comes first" if isinstance(path, Module) else "tn.save(path, model)"
        raise ArgumentError(f"save: model must be a Module, got {type(model).__name__}; {order}?")
    extras = _extras(model.classes if classes is None else classes, model.scaling if scaling is None else scaling,
                     model.decision_threshold, model.familiar)
    used: dict[str, type[Module]] = {}
    description = json.loads(json.dumps({**_describe(model, used), **extras}, default=_plain))
    for name, tensor in model.tensors().items():
        if str(tensor.dtype) not in _DTYPES:
            raise ModelFileError(f"save: tensors must be of {', '.join(_DTYPES)}, and {name} is of {tensor.dtype}; "
                                 'model.astype("float32") first')
    _check_can_be_made_again(model, description, {**LAYERS, **used})
    archive.write(path, _MODEL, description, {**model.state_dict(), **familiar.arrays_of(model)})


@guided("tn.load(path)")
def load(path: str | os.PathLike[str], *, modules: Iterable[type[Module]] = ()) -> Module:
    """The model of a file that `save` has written: in evaluation mode, on the CPU, with its `classes` and `scaling`.

    modules   the classes of your own that the file may name; each is called with what its `config()` returned. Nothing
              else that a file names is ever called. Lists come back as tuples

    Errors: ArgumentError for classes that are not modules, or have the name of a layer. ModelFileError if the file is
    missing, damaged or not a model of tinynet. Also if it names an unknown layer or option, holds other arrays than its
    layers have, or classes, scaling or input_shape that do not fit them.

    >>> import tinynet as tn
    >>> tn.load("nothing.safetensors")
    Traceback (most recent call last):
    tinynet.errors.ModelFileError: load: nothing.safetensors must be a saved model, but it is not there; ...
    """
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(f"load: path must be the name of a file, got {type(path).__name__}; tn.load(path)?")
    known = _known(modules)
    with archive.opened(path, _MODEL) as file:
        with shapes_only():
            model = _complete(f"load: {path}", file.header, known)
        kept = {name for name in file.kinds if model.familiar is not None and name.startswith(familiar.BEGIN)}
        _allocate(path, model, {name: kind for name, kind in file.kinds.items() if name not in kept})
        arrays = file.arrays()
        model.load_state_dict({name: array for name, array in arrays.items() if name not in kept})
        if model.familiar is not None:
            model.familiar = familiar.of_arrays(path, {name: arrays[name] for name in kept}, len(model.familiar))
    return model.eval()


def _known(modules: Iterable[type[Module]]) -> dict[str, type[Module]]:
    """The classes that a file may name, by name."""
    known = dict(LAYERS)
    for own in modules:
        if not (isinstance(own, type) and issubclass(own, Module)) or known.get(own.__name__, own) is not own:
            raise ArgumentError("load: modules must be classes of modules with names of their own, got "
                                f"{getattr(own, '__name__', own)!r}; modules=[MyBlock]?")
        known[own.__name__] = own
    return known


def _describe(module: Module, used: dict[str, type[Module]] | None = None, depth: int = 0) -> dict[str, Any]:
    """A module as JSON: the name of its class, and the arguments of its constructor. `used` receives the class."""
    kind, name, used = type(module), type(module).__name__, {} if used is None else used
    if used.setdefault(name, LAYERS.get(name, kind)) is not kind:
        raise ModelFileError(f"save: each class of modules must have a name of its own, and two are called {name}; "
                             "give yours another name")
    if depth > DEPTH:
        raise ModelFileError(f"save: model must be nested at most {DEPTH} deep; "
                             "put the layers into one tn.nn.Sequential")
    try:
        config = dict(module.config())
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelFileError(f"save: {name} must keep each argument of its constructor as an attribute of the same "
                             f"name, or define config() ({said(error)}); else save model.state_dict() with "
                             "safetensors") from error
    return {"layer": name, **{f"{key}_" if key.rstrip("_") in _RESERVED else key: _option(value, used, depth)
                             for key, value in config.items()}}


def _option(value: Any, used: dict[str, type[Module]], depth: int) -> Any:
    """An argument of a constructor, in which modules are described."""
    if isinstance(value, Module):
        return _describe(value, used, depth + 1)
    if isinstance(value, list | tuple):
        return [_option(one, used, depth) for one in value]
    if isinstance(value, dict):
        raise ModelFileError("save: options of layers must be numbers, words, modules or lists of them, got "
                             f"{value!r}; give each entry an argument of its own")
    return value


def _plain(option: Any) -> Any:
    """A NumPy number as a Python number, for JSON."""
    if isinstance(option, np.generic):
        return option.item()
    raise ModelFileError(f"save: options of layers must be numbers, words, modules or lists of them, got {option!r}; "
                         "make the layer with a plain number")


def _check_can_be_made_again(model: Module, description: dict[str, Any], known: dict[str, type[Module]]) -> None:
    """ModelFileError if the layers that a description makes have other tensors than the model."""
    with shapes_only():
        expected = _complete("save", description, known).tensors()
    tensors = model.tensors()
    differing = [name for name in {**expected, **tensors} if name not in expected or name not in tensors
                 or not _fits(expected[name], tensors[name].shape, str(tensors[name].dtype))]
    if differing:
        raise ModelFileError("save: model must have the tensors that its layers are made with, and differs in "
                             f"{', '.join(differing[:5])}; layers that share weights, or hold others than their own, "
                             "cannot be described in a file: save model.state_dict() with safetensors")


def _extras(classes: Any, scaling: nn.Scaling | None, threshold: float | None, known: Any) -> dict[str, Any]:
    """The part of a description that is not about layers."""
    found = {"classes": None if classes is None else list(classes),
             "scaling": None if scaling is None else {"mean": scaling.mean, "scale": scaling.scale},
             "decision_threshold": threshold, "familiar": None if known is None else len(known)}
    return {name: value for name, value in found.items() if value is not None}


def _complete(where: str, description: Any, known: dict[str, type[Module]]) -> Module:
    """The model of a description, with its classes and scaling. Must be called inside `shapes_only`."""
    extras = {}
    if isinstance(description, dict):
        extras = {name: description[name] for name in _EXTRAS if name in description}
        description = {name: value for name, value in description.items() if name not in extras}
    model = _make(where, description, known)
    if "classes" in extras:
        model.classes = _checked_classes(where, extras["classes"])
    if "scaling" in extras:
        model.scaling = _checked_scaling(where, extras["scaling"])
    if "decision_threshold" in extras:
        model.decision_threshold = _checked_threshold(where, extras["decision_threshold"])
    if "familiar" in extras:
        model.familiar = familiar.expected(where, extras["familiar"])
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
        raise ModelFileError(f"{where}: scaling must have a mean and a scale ({said(error)}); "
                             "use a tn.nn.Scaling") from error


def _checked_threshold(where: str, threshold: Any) -> float:
    if not isinstance(threshold, float) or not 0 < threshold < 1:
        raise ModelFileError(f"{where}: decision_threshold must be a probability between 0 and 1, got "
                             f"{_BRIEF.repr(threshold)}; 0.5?")
    return threshold


def _check_fits(where: str, model: Module, input_shape: tuple[int, ...]) -> None:
    """ModelFileError unless the layers take the input, and there is a class for each output and a scale per channel."""
    try:
        layers = rows(model, input_shape)
    except Exception as error:  # any error of an op or a layer about a shape
        raise ModelFileError(f"{where}: input_shape {_BRIEF.repr(input_shape)} must fit the layers, and does not "
                             f"({said(error)}); give the shape of one sample, without the batch") from error
    for row in layers:
        if row.largest > LARGEST:
            raise ModelFileError(f"{where}: {row.layer} {row.name} must make arrays of {in_bytes(LARGEST)} at most for "
                                 f"an input of {input_shape}, and needs {in_bytes(row.largest)}; is the file damaged?")
    outputs = layers[-1].shape if layers else input_shape
    if model.classes and outputs != (len(model.classes),):
        raise ModelFileError(f"{where}: classes must be as many as the outputs, {outputs}, got {len(model.classes)}; "
                             "name each output once")
    if model.decision_threshold is not None and outputs != (2,):
        raise ModelFileError(f"{where}: decision_threshold must be that of two classes, and the outputs are {outputs}; "
                             "None for the most probable class")
    if model.scaling and not model.scaling.fits(input_shape[-1] if input_shape else 1):
        raise ModelFileError(f"{where}: scaling must have one number, or one for each channel of {input_shape}, got "
                             f"{model.scaling}; channels come last")


def _make(where: str, description: Any, known: dict[str, type[Module]], depth: int = 0) -> Module:
    name = description.get("layer") if isinstance(description, dict) else description
    if not isinstance(description, dict) or not isinstance(name, str) or name not in known or depth > DEPTH:
        raise ModelFileError(f"{where} must be made of layers of tn.nn, nested at most {DEPTH} deep, and names "
                             f"{_BRIEF.repr(name)}; was it written by another version? "
                             "A class of your own must be passed in: tn.load(path, modules=[MyBlock])")
    layer = known[name]
    options: dict[str, Any] = {key[:-1] if key.rstrip("_") in _RESERVED else key: value
                               for key, value in description.items() if key != "layer"}
    options = {**layer.added_options, **options}
    expected = set(inspect.signature(layer).parameters)
    if name in LAYERS and options.keys() != expected:
        got = _BRIEF.repr(sorted(options)) if options else "none"
        raise ModelFileError(f"{where}: {name} must have the options {sorted(expected) or 'none'}, got {got}; the file "
                             "is damaged, or of another version")
    try:
        if layer is nn.Sequential:
            layers = [_make(where, one, known, depth + 1) for one in options.pop("layers")]
            return nn.Sequential(*layers, **{key: _made(where, value, known, depth) for key, value in options.items()})
        return layer(**{key: _made(where, value, known, depth) for key, value in options.items()})
    except ModelFileError:
        raise
    except Exception as error:  # a constructor may raise anything for arguments of a damaged file
        raise ModelFileError(f"{where}: {name} cannot be made with {_BRIEF.repr(options)} ({said(error)}); "
                             "the file is damaged, save the model again" if name in LAYERS else
                             f"{where}: {name} cannot be made with {_BRIEF.repr(options)}, its config ({said(error)}); "
                             f"does {name}(**config) make an equal one?") from error


def _made(where: str, value: Any, known: dict[str, type[Module]], depth: int) -> Any:
    """An argument of a constructor, in which descriptions are made modules."""
    if isinstance(value, dict):
        return _make(where, value, known, depth + 1)
    return tuple(_made(where, one, known, depth) for one in value) if isinstance(value, list) else value


def _allocate(path: Any, model: Module, kinds: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    """Allocate the model's tensors, after checking that the file holds arrays of their names, shapes and dtypes."""
    tensors = model.tensors()
    expected = {**tensors, **{name: Tensor(0) for name in model.counters()}}
    for name, tensor in expected.items():
        if name not in kinds:
            raise ModelFileError(f"load: {path} must hold {name}, which its layers have, and does not; "
                                 "the file is damaged, save the model again")
        dtype, shape = kinds[name]
        if not _fits(tensor, shape, dtype):
            raise ModelFileError(f"load: {name} in {path} must be {tensor.shape} of {tensor.dtype}, got "
                                 f"{_BRIEF.repr(shape)} of {dtype}; the file is damaged, save the model again")
    unexpected = sorted(kinds.keys() - expected.keys())
    if unexpected:
        raise ModelFileError(f"load: {path} must hold only what its layers have, and holds "
                             f"{_BRIEF.repr(unexpected)}; the file is damaged, save the model again")
    for name, tensor in tensors.items():
        tensor.data = np.empty(tensor.shape, kinds[name][0])


def _fits(tensor: Tensor, shape: tuple[int, ...], dtype: str) -> bool:
    """Whether an array of this shape and dtype can replace a layer's tensor: floats may be of either precision."""
    return tensor.shape == shape and dtype in _DTYPES and (dtype == "int64") == (tensor.dtype.kind == "i")
