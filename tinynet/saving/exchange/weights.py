"""Convert weights to and from PyTorch and Keras, as dictionaries of arrays. Neither library needs to be installed.

    state = tn.exchange.to_torch(model, like=theirs.state_dict())     theirs.load_state_dict({k: torch.tensor(v) ...})
    tn.exchange.from_torch(model, theirs.state_dict())
    arrays = tn.exchange.to_keras(model)                              theirs.set_weights(list(arrays.values()))
    tn.exchange.from_keras(model, {w.path: w.numpy() for w in theirs.weights})

Both models must have the same layers in the same order; layers without weights do not matter. Names are free: arrays
of one layer share a prefix (`features.0.weight`, `conv1d/kernel`), and the order of the prefixes is that of the layers.

           tinynet                       PyTorch                                Keras
Dense      W (D,F)                       weight (F,D) = Wᵀ                      kernel = W
           b (F)                         bias                                   bias
Conv1D     W (K,C,F), C of a group       weight (F,C,K)                         kernel = W
Conv2D     W (KH,KW,C,F), likewise       weight (F,C,KH,KW)                     kernel = W
LSTM       W (H+D,4H)                    weight_hh_l0 (4H,H) = W[:H]ᵀ           recurrent_kernel (H,4H) = W[:H]
                                         weight_ih_l0 (4H,D) = W[H:]ᵀ           kernel (D,4H) = W[H:]
           b (4H)                        bias_hh_l0 + bias_ih_l0                bias
           columns f, i, C̃, o           i, f, g = C̃, o                         i, f, c = C̃, o
GRU        W (H+D,3H)                    as of the LSTM                         as of the LSTM, with reset_after
           b, b_h (3H)                   bias_ih_l0, bias_hh_l0                 bias (2,3H)
           columns r, z, n               r, z, n                                z, r, h = n
SimpleRNN  W (H+D,H), b (H)              as of the LSTM                         as of the LSTM
LayerNorm  gamma, beta                   weight, bias                           gamma, beta
Embedding  W (V,F)                       weight                                 embeddings
BatchNorm  gamma, beta                   weight, bias                           gamma, beta
           running_mean, running_var     the same                               moving_mean, moving_variance

A PyTorch LSTM with num_layers=2 corresponds to two LSTM layers of tinynet. Options that are not in the arrays must be
set by hand:

BatchNorm   eps is 1e-5 in tinynet and PyTorch, 1e-3 in Keras
            momentum 0.9 in tinynet is 0.1 in PyTorch and 0.9 in Keras, where 0.99 is the default
strides     padding "same" with a stride pads as in Keras, not as in PyTorch
dropout     all its rates

Order of features. tinynet and Keras have channels last, and Flatten keeps that order. PyTorch has channels first: after
a convolution or pooling layer, its Flatten gives (C,H,W), and that of tinynet (H,W,C). So the rows of the next Dense
are permuted, which needs the model's input_shape. channels_last=True is for a PyTorch model that flattens channels
last. Branches are merged on the axis of the channels. A Reshape is assumed to act on channels last in both.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tinynet import nn
from tinynet.errors import ArgumentError, ShapeError, StateError
from tinynet.nn.module import Module
from tinynet.nn.recurrent import Recurrent
from tinynet.saving.exchange.orders import PER_FEATURE, Order, orders

Arrays = dict[str, Any]


class _Library(NamedTuple):
    """The names and axes of a library's arrays. The LSTM needs code of its own, in `theirs_of` and `ours_of`."""

    name: str
    separator: str  # between the prefix of a layer and the name of an array
    names: dict[type[Module], dict[str, str]]
    axes: dict[type[Module], tuple[int, ...]]  # how W is transposed
    kernels: tuple[str, str, tuple[str, ...]]  # the LSTM's arrays for x and for h, and its biases
    weights: str  # how the library gives them, for errors


_WEIGHTS = {"W": "weight", "b": "bias"}
_KERNEL = {"W": "kernel", "b": "bias"}
TORCH = _Library("torch", ".", {
    nn.Dense: _WEIGHTS, nn.Conv1D: _WEIGHTS, nn.Conv2D: _WEIGHTS,
    nn.BatchNorm: {"gamma": "weight", "beta": "bias", "running_mean": "running_mean", "running_var": "running_var",
                   "batches_seen": "num_batches_tracked"},
    nn.Embedding: {"W": "weight"}, nn.LayerNorm: {"gamma": "weight", "beta": "bias"},
}, {nn.Dense: (1, 0), nn.Conv1D: (2, 1, 0), nn.Conv2D: (3, 2, 0, 1)},
    ("weight_ih_l0", "weight_hh_l0", ("bias_ih_l0", "bias_hh_l0")), "theirs.state_dict()")
KERAS = _Library("keras", "/", {
    nn.Dense: _KERNEL, nn.Conv1D: _KERNEL, nn.Conv2D: _KERNEL,
    nn.BatchNorm: {"gamma": "gamma", "beta": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"},
    nn.Embedding: {"W": "embeddings"}, nn.LayerNorm: {"gamma": "gamma", "beta": "beta"},
}, {}, ("kernel", "recurrent_kernel", ("bias",)), "{w.path: w.numpy() for w in theirs.weights}")
_ASSUMED = {"bias": 0, "bias_ih_l0": 0, "bias_hh_l0": 0, "num_batches_tracked": 0}  # for missing arrays


def to_torch(model: Module, *, like: Iterable[str] | None = None, channels_last: bool = False) -> Arrays:
    """The weights of a model as arrays for PyTorch, under the names of `like`, or else of this model.

    like            the names in a PyTorch model, in order: its state_dict()
    channels_last   whether that model flattens channels last

    Errors: StateError if the names do not belong to the same layers. ShapeError if the model's input_shape is needed
    and missing.

    >>> import tinynet as tn
    >>> model = tn.nn.Sequential(tn.nn.LSTM(3, 5), tn.nn.Dense(5, 2))
    >>> {name: array.shape for name, array in to_torch(model).items()}
    {'0.weight_ih_l0': (20, 3), '0.weight_hh_l0': (20, 5), '0.bias_ih_l0': (20,), '0.bias_hh_l0': (20,),
     '1.weight': (2, 5), '1.bias': (2,)}
    """
    return _to(TORCH, model, like, {} if channels_last else orders("to_torch", model))


def from_torch(model: Module, state: Mapping[str, Any], *, channels_last: bool = False) -> Module:
    """Load the weights of a PyTorch model: its state_dict(), or arrays under the same names. Returns the model.

    Two biases are added, and a missing one is zero. If `num_batches_tracked` is missing or 0, `batches_seen` is that of
    averages from elsewhere: see `tn.nn.BatchNorm`.

    Errors: StateError if the weights do not belong to the same layers. ShapeError if one has another shape, or the
    model's input_shape is needed and missing. Nothing is changed then.

    >>> import tinynet as tn
    >>> one, other = (tn.nn.Sequential(tn.nn.LSTM(3, 5), tn.nn.Dense(5, 2)) for _ in range(2))
    >>> bool((from_torch(other, to_torch(one))[0].W.numpy() == one[0].W.numpy()).all())
    True
    """
    return _from(TORCH, model, state, {} if channels_last else orders("from_torch", model))


def to_keras(model: Module, *, like: Iterable[str] | None = None) -> Arrays:
    """The weights of a model as arrays for Keras, under the paths in `like`, or else the names of this model.

    Their order is that of Keras's `get_weights()`. Errors: StateError as of `to_torch`.

    >>> import tinynet as tn
    >>> model = tn.nn.Sequential(tn.nn.LSTM(3, 5), tn.nn.Dense(5, 2))
    >>> {name: array.shape for name, array in to_keras(model).items()}
    {'0/kernel': (3, 20), '0/recurrent_kernel': (5, 20), '0/bias': (20,), '1/kernel': (5, 2), '1/bias': (2,)}
    """
    return _to(KERAS, model, like, {})


def from_keras(model: Module, weights: Mapping[str, Any]) -> Module:
    """Load the weights of a Keras model by their paths: {w.path: w.numpy() for w in theirs.weights}.

    A missing bias is zero; the seeds of dropout are ignored. Returns the model. Errors as of `from_torch`.

    >>> import tinynet as tn
    >>> one, other = (tn.nn.Sequential(tn.nn.LSTM(3, 5), tn.nn.Dense(5, 2)) for _ in range(2))
    >>> bool((from_keras(other, to_keras(one))[0].W.numpy() == one[0].W.numpy()).all())
    True
    """
    return _from(KERAS, model, weights, {})


# --- one layer ------------------------------------------------------------------------------------------------------

def theirs_of(library: _Library, layer: Module, order: Order) -> Arrays:
    """The arrays of a layer with the names and axes of the library."""
    ours = layer.state_dict()
    if isinstance(layer, Recurrent):
        x, h, _ = library.kernels
        blocks = [_turned(library, _swapped(library, layer, part)) for part in np.split(ours["W"], [layer.units])]
        return {x: blocks[1], h: blocks[0], **_their_biases(library, layer, ours)}
    if order is not None:
        ours = {name: array[order] if name in PER_FEATURE[type(layer)] else array for name, array in ours.items()}
    if type(layer) in library.axes:
        ours["W"] = ours["W"].transpose(library.axes[type(layer)])
    names = library.names[type(layer)]
    return {names[name]: array for name, array in ours.items() if name in names}


def ours_of(library: _Library, layer: Module, theirs: Arrays, order: Order) -> Arrays:
    """The inverse of `theirs_of`."""
    if isinstance(layer, Recurrent):
        x, h, _ = library.kernels
        return {"W": np.concatenate([_swapped(library, layer, _turned(library, theirs[name])) for name in (h, x)]),
                **_our_biases(library, layer, theirs)}
    ours = {name: theirs[their] for name, their in library.names[type(layer)].items() if their in theirs}
    if "batches_seen" in ours and ours["batches_seen"] < 1:  # averages of an unknown number of batches
        del ours["batches_seen"]
    if type(layer) in library.axes:
        ours["W"] = ours["W"].transpose(np.argsort(library.axes[type(layer)]))
    if order is not None:
        back = np.argsort(order)
        ours = {name: array[back] if name in PER_FEATURE[type(layer)] else array for name, array in ours.items()}
    return ours


def _their_biases(library: _Library, layer: Recurrent, ours: Arrays) -> Arrays:
    """The biases of a recurrent layer, none for a layer without. The second one is zero but for a GRU."""
    if layer.b is None:
        return {}
    names = library.kernels[2]
    first = _swapped(library, layer, ours["b"])
    second = _swapped(library, layer, ours["b_h"]) if isinstance(layer, nn.GRU) else np.zeros_like(first)
    if len(names) == 1:  # Keras has a GRU's two as the rows of one array
        return {names[0]: np.stack([first, second]) if isinstance(layer, nn.GRU) else first}
    return dict(zip(names, (first, second), strict=True))


def _our_biases(library: _Library, layer: Recurrent, theirs: Arrays) -> Arrays:
    """The inverse of `_their_biases`. But for a GRU, two are added."""
    if layer.b is None:
        return {}
    names = library.kernels[2]
    both = theirs[names[0]] if isinstance(layer, nn.GRU) and len(names) == 1 else [theirs[name] for name in names]
    swapped = [_swapped(library, layer, one) for one in both]
    return dict(zip(("b", "b_h"), swapped, strict=True)) if isinstance(layer, nn.GRU) else {"b": sum(swapped)}


def _swapped(library: _Library, layer: Module, columns: Any) -> Any:
    """Columns in the other library's order of gates, and vice versa: i, f, C, o for f, i, C, o; Keras has z, r, n."""
    if isinstance(layer, nn.SimpleRNN) or (isinstance(layer, nn.GRU) and library is TORCH):
        return columns
    first, second, *rest = np.split(columns, 3 if isinstance(layer, nn.GRU) else 4, axis=-1)
    return np.concatenate([second, first, *rest], axis=-1)


def _turned(library: _Library, matrix: Any) -> Any:
    return matrix.T if library is TORCH else matrix


# --- a whole model --------------------------------------------------------------------------------------------------

def _to(library: _Library, model: Module, like: Iterable[str] | None, orders: dict[int, Order]) -> Arrays:
    function, layers = f"to_{library.name}", _layers(f"to_{library.name}", model)
    if like is None:
        places = _places(library, model)
        return {_join(library.separator, places.get(path, (path, ""))[0], name + places.get(path, ("", ""))[1]):
                np.ascontiguousarray(array).reshape(array.shape)
                for path, layer in layers for name, array in theirs_of(library, layer, orders.get(id(layer))).items()}
    result: Arrays = {}
    for (path, layer), group in zip(layers, _groups(function, library, like, layers), strict=True):
        arrays = theirs_of(library, layer, orders.get(id(layer)))
        _check_names(function, path, layer, group, arrays, optional=("num_batches_tracked",))
        result.update({key: np.ascontiguousarray(arrays[name]).reshape(arrays[name].shape)
                       for name, key in group.items()})
    return result


def _from(library: _Library, model: Module, given: Mapping[str, Any], orders: dict[int, Order]) -> Module:
    function, layers = f"from_{library.name}", _layers(f"from_{library.name}", model)
    if not isinstance(given, Mapping):
        raise ArgumentError(f"{function}: weights must be a dictionary, got {type(given).__name__}; {library.weights}?")
    names = [name for name in given if "seed_generator" not in name]
    state: Arrays = {}
    for (path, layer), group in zip(layers, _groups(function, library, names, layers), strict=True):
        order = orders.get(id(layer))
        expected = theirs_of(library, layer, order)
        _check_names(function, path, layer, group, expected, optional=_ASSUMED)
        arrays = {name: _array(function, group[name], given[group[name]], array.shape) if name in group
                  else np.full(array.shape, _ASSUMED[name]) for name, array in expected.items()}
        state.update({_join(".", path, name): array for name, array in ours_of(library, layer, arrays, order).items()})
    return model.load_state_dict(state)


def _layers(function: str, model: Module) -> list[tuple[str, Module]]:
    """The layers with weights, each once, in the order of the attributes."""
    found: dict[int, tuple[str, Module]] = {}
    for path, module in model.modules():
        if any(isinstance(one, nn.Parameter) for _, one in module.members()):
            if type(module) not in (nn.LSTM, nn.GRU, nn.SimpleRNN, *TORCH.names):
                raise StateError(f"{function}: weights must be those of Dense, Conv1D, Conv2D, LSTM, GRU, SimpleRNN, "
                                 f"Embedding, LayerNorm and BatchNorm, and {path or 'the model'} is a "
                                 f"{type(module).__name__}; exchange its parts")
            found.setdefault(id(module), (path, module))
    return list(found.values())


def _places(library: _Library, model: Module) -> dict[str, tuple[str, str]]:
    """For PyTorch, where the two layers of a Bidirectional are one: its path, and what ends the names of arrays."""
    found = {}
    for path, module in model.modules():
        if isinstance(module, nn.Bidirectional) and library is TORCH:
            found[_join(".", path, "layer")], found[_join(".", path, "backwards")] = (path, ""), (path, "_reverse")
    return found


def _groups(function: str, library: _Library, keys: Iterable[str],
            layers: list[tuple[str, Module]]) -> list[dict[str, str]]:
    """For each layer its keys, by the name after the prefix."""
    groups: dict[str, dict[str, str]] = {}
    for key in keys:
        prefix, _, name = key.rpartition(library.separator)
        name = name.removesuffix(":0")  # TensorFlow appends it
        numbered = re.fullmatch(r"(\w+_[ih]h_l)(\d+)(_reverse)?", name) if library is TORCH else None
        if numbered:  # each layer and direction of a stacked LSTM is an LSTM of tinynet
            prefix, name = f"{prefix} layer {numbered[2]}{numbered[3] or ''}", f"{numbered[1]}0"
        groups.setdefault(prefix, {})[name] = key
    if len(groups) != len(layers):
        ours = ", ".join(f"{path} {type(layer).__name__}".strip() for path, layer in layers)
        raise StateError(f"{function}: there must be weights of {len(layers)} layers ({ours}), got those of "
                         f"{len(groups)} ({', '.join(groups)}); are these the same layers in the same order?")
    return list(groups.values())


def _check_names(function: str, path: str, layer: Module, group: Iterable[str], expected: Iterable[str],
                 optional: Iterable[str]) -> None:
    missing = [name for name in expected if name not in group and name not in optional]
    unexpected = [name for name in group if name not in expected]
    if missing or unexpected:
        raise StateError(f"{function}: {type(layer).__name__} {path} must have {', '.join(expected)}, missing "
                         f"{missing or 'none'}, unexpected {unexpected or 'none'}; are these the same layers in the "
                         "same order, with a bias or without?")


def _array(function: str, key: str, value: Any, shape: tuple[int, ...]) -> Any:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise StateError(f"{function}: {key} must be an array, and NumPy says {error}; .detach().cpu().float()?"
                         ) from error
    if array.shape != shape:
        raise ShapeError(f"{function}: {key} must be {shape}, got {array.shape}; are the layers of the same sizes?")
    return array


def _join(separator: str, path: str, name: str) -> str:
    return f"{path}{separator}{name}" if path else name
