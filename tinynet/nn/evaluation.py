"""Evaluations of a model that a CPU makes by itself: recorded once, then launched as one.

For a single image Python takes longer, between the kernels, than these take themselves. So a Sequential of tinynet's
own layers that is called for the second time with inputs of a shape, in evaluation and inside of `no_grad()`, is
recorded, see `backend/cpu/graph.py`, and from then on launched. The numbers are the same, bit for bit: they come from
the same kernels and the same arrays of weights, which may change in place.

What else a forward depends on is compared before each launch: the layers, their attributes, and which arrays their
tensors hold. Where something is not what it was, the forward runs as usual, and is recorded anew later. A forward that
NumPy has a part in, or that needs so much memory that Python hardly counts, always runs as usual; so does one with
attributes that are not plain, such as a method of your own in the place of `forward`. What nobody compares are the ops:
replace one, and what was recorded of it goes on as it was.
"""

from collections.abc import Callable
from operator import attrgetter
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np

from tinynet import backend
from tinynet.errors import DeviceError
from tinynet.nn.module import Module, is_outermost
from tinynet.nn.scaling import Scaling
from tinynet.tensor import Tensor

_MOST = 1 << 23  # bytes that a recorded forward may keep
_SHAPES = 4  # of inputs, for which a model keeps its forwards

_PLAIN = (bool, int, float, complex, str, bytes, type(None), Tensor, Module, Scaling)

_data, _forward = attrgetter("data"), attrgetter("__class__.forward")


class Evaluation:
    """A forward of a model for inputs of one shape, recorded."""

    def __init__(self, model: Module, forward: Callable[[Tensor], Tensor], x: Any) -> None:
        modules = [module for _, module in model.modules()]
        members = [value for module in modules for _, value in module.members()]
        self.x, self.layers = x.copy(), modules[1:]
        self.tensors = [value for value in members if isinstance(value, Tensor)]
        arrays = list(map(_data, self.tensors))
        strange = [value for value in members if not isinstance(value, _PLAIN)]
        strange += [array for array in arrays if not isinstance(array, np.ndarray)]
        strange += [module for module in modules if not (_is_ours(type(module)) and _is_ours(_forward(module)))]
        if strange:
            raise DeviceError("evaluate: layers must be tinynet's, and their attributes plain, got "
                              f"{[type(one).__name__ for one in strange]}; the forward runs as usual")
        self.y, self.graph = backend.record("cpu", lambda: _array(forward(Tensor.of(self.x))), [self.x, *arrays], _MOST)
        self.arrays = list(map(ref, arrays))  # which may go, when the model gets others
        self.forwards = list(map(_forward, self.layers))
        self.attributes: list[Any] = list(map(vars, modules))
        self.attributes += [value for names in self.attributes for value in names.values() if isinstance(value, list)]
        self.kept = [value.copy() for value in self.attributes]
        self.is_free = Lock()

    def is_current(self, arrays: list[Any]) -> bool:
        """Whether a forward would do now what it did when it was recorded, the tensors having these arrays."""
        try:
            return (self.attributes == self.kept and list(map(_forward, self.layers)) == self.forwards
                    and all(array() is now is not None for array, now in zip(self.arrays, arrays, strict=True))
                    and bool(self.graph.is_current()))
        except ValueError:  # there are arrays among the attributes
            return False

    def __call__(self, x: Any) -> Tensor | None:
        """The output for these inputs; None if another thread is just about to get one."""
        if not self.is_free.acquire(blocking=False):
            return None
        try:
            self.x[...] = x
            self.graph.launch()
            return Tensor.of(self.y.copy())
        finally:
            self.is_free.release()


_evaluations: WeakKeyDictionary[Module, dict[Any, Evaluation | bool]] = WeakKeyDictionary()  # or whether to make one


def evaluate(model: Module, forward: Callable[[Tensor], Tensor], x: Any) -> Tensor | None:
    """What `forward` gives for x, by what was recorded before; None if that is not there, or not what it would do."""
    if model.training or backend.is_recording() or backend.is_reference() \
            or not (isinstance(x, Tensor) and x.device == "cpu" and is_outermost(model) and _is_ours(type(model))):
        return None
    known = _evaluations.get(model)
    if known is None:
        known = _evaluations[model] = {}
    key = x.data.shape, x.data.dtype
    found = known.get(key)
    if isinstance(found, Evaluation):
        arrays = list(map(_data, found.tensors))  # which stay while kernels look at them
        if found.is_current(arrays):
            return found(x.data)
        known.clear()
    elif found is None:
        if len(known) >= _SHAPES:
            known.clear()
        known[key] = True
    elif found and not any(module.training for _, module in model.modules()):
        try:
            known[key] = Evaluation(model, forward, x.data)
        except DeviceError:
            known[key] = False
    return None


def _is_ours(code: Any) -> bool:
    """Whether a class or a function is one of tinynet's layers."""
    return str(code.__module__).startswith("tinynet.nn.")


def _array(y: Any) -> Any:
    if not isinstance(y, Tensor):
        raise DeviceError(f"evaluate: a forward must give one tensor, got {type(y).__name__}; it runs as usual")
    return y.data
