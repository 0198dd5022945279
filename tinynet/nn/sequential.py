"""Modules one after the other."""

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from tinynet import backend
from tinynet.errors import DeviceError, StateError
from tinynet.nn.module import Module, is_outermost
from tinynet.nn.scaling import Scaling
from tinynet.recording import Recording, Recordings, Watched
from tinynet.tensor import Tensor


class Sequential(Module):
    """Modules one after the other.

    The evaluation of a Sequential of tinynet's own layers inside of `no_grad()` is recorded: from the third call with
    inputs of a shape on, it is one launch, which takes less time and gives the same bits. See `tinynet/recording.py`.

    >>> import tinynet as tn
    >>> model = tn.nn.Sequential(tn.nn.Dense(3, 2), tn.nn.ReLU())
    >>> model(tn.Tensor([[1.0, 2.0, 3.0]])).shape
    (1, 2)
    """

    def __init__(self, *layers: Module, input_shape: tuple[int, ...] | None = None) -> None:
        for i, layer in enumerate(layers):
            if not isinstance(layer, Module):
                raise StateError(f"Sequential: layers must be modules, layer {i} is a {type(layer).__name__}; "
                                 "write tn.nn.ReLU(), with brackets?")
        self.layers = list(layers)
        self.input_shape = None if input_shape is None else tuple(input_shape)

    def forward(self, x: Any) -> Any:
        y = _launched(self, x)
        return self.through(x) if y is None else y

    def through(self, x: Any) -> Any:
        """The layers' output, without a recording."""
        for layer in self.layers:
            x = layer(x)
        return x

    def children(self) -> Iterator[tuple[str, Module]]:
        return ((str(i), layer) for i, layer in enumerate(self.layers))

    def config(self) -> dict[str, Any]:
        return {"layers": self.layers, "input_shape": self.input_shape}

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def __getitem__(self, index: int) -> Module:
        return self.layers[index]

    def __repr__(self) -> str:
        return "Sequential(\n" + "".join(f"    {i}: {layer!r}\n" for i, layer in enumerate(self.layers)) + ")"


recordings: WeakKeyDictionary[Sequential, Recordings] = WeakKeyDictionary()  # of the evaluation of each model


LIMITS = {"cpu": 1 << 23, "gpu": 1 << 27}  # bytes of the arrays of a recording; above, Python's share is small
PLAIN = (bool, int, float, complex, str, bytes, type(None), Module, Scaling)  # attributes that can be compared


def _launched(model: Sequential, x: Any) -> Any:
    """The output of an evaluation from its recording; None if the layers are to be called."""
    if model.training or not (isinstance(x, Tensor) and is_outermost(model) and _is_ours(model)):
        return None
    if x.device != "cpu" and not x.data.flags.c_contiguous:  # array functions of a GPU may add in another order then
        return None
    known = recordings.get(model)
    if known is None:
        known = recordings[model] = Recordings()
    return known(lambda: _record(model, x), x)


def _record(model: Sequential, x: Tensor) -> Recording | None:
    """Record the evaluation; None while a layer is in training.

    Errors: DeviceError, with the reason, if it cannot be recorded, or may depend on more than a fingerprint covers.
    """
    modules, xp = dict(model.modules()), backend.namespace(x.device)
    if any(module.training for module in modules.values()):
        return None
    for path, module in modules.items():
        if not _is_ours(module):
            raise DeviceError(f"record: layers must be tinynet's, got {type(module).__name__} at {path!r}; it runs as "
                              "usual")
        for name, value in module.members():
            if not (isinstance(value.data, xp.ndarray) if isinstance(value, Tensor) else isinstance(value, PLAIN)):
                raise DeviceError(f"record: attributes must be numbers, strings or tensors on {x.device}, got a "
                                  f"{type(value).__name__} as {name} of {path!r}; it runs as usual")
    watched = [Watched(path, module) for path, module in modules.items()]
    return Recording(x.device, model.through, [x], watched, limit=LIMITS["cpu" if x.device == "cpu" else "gpu"])


def _is_ours(module: Module) -> bool:
    """Whether a module runs code of tinynet's own layers."""
    kind = type(module)
    return all(str(code.__module__).startswith("tinynet.nn.") for code in (kind, kind.forward))
