"""Module: the base of layers and models, which holds parameters and calls ops.

A module is an ordinary object. Its parameters, buffers and child modules are its attributes, in the order in which they
were set; nothing is registered. The path to a tensor, `1.W` for the W of layer 1, is its name in `parameters()`, in
`state_dict()`, in the optimizer and in a saved model.
"""

import inspect
from collections import UserDict, UserList, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tinynet import backend
from tinynet.elsewhere import MODEL, WITHOUT_EFFECT, answers, check_name, guide
from tinynet.errors import DtypeError, ShapeError, StateError, name_layer
from tinynet.familiar import Familiar
from tinynet.nn.parameter import Buffer, Parameter, Parameters
from tinynet.plain import plain
from tinynet.random import current_seed, next_draw, stream
from tinynet.scaling import Scaling
from tinynet.tape import in_training
from tinynet.tensor import Tensor
from tinynet.tracing import UNOBSERVED, observers
from tinynet.types import Array, ArrayLike, DTypeLike, HasForward, Inputs, Output, Shape

if TYPE_CHECKING:
    from tinynet.nn.profiled import Profile

_SINGLE = frozenset({bool, int, float, str, type(None), Parameter, Buffer})  # types of attributes without elements
_KEYED, _SETS = (dict, UserDict, MappingProxyType), (set, frozenset)
_CONTAINERS = (list, tuple, deque, UserList, *_KEYED)


class _Call:
    """A call of an outermost module, with the paths of the modules in it once one was asked for."""

    __slots__ = ("is_observed", "paths", "root")

    def __init__(self, root: Any, is_observed: bool) -> None:
        self.root, self.is_observed = root, is_observed
        self.paths: dict[int, tuple[str, Module]] = {}  # by id; the first path of each

    def path_of(self, module: "Module") -> str:
        """The path of a module, "" for the root and for modules that are not in it."""
        if id(module) not in self.paths:
            for path, one in self.root.modules():
                self.paths.setdefault(id(one), (path, one))
        return self.paths.get(id(module), ("", module))[0]


_call: ContextVar[_Call | None] = ContextVar("call", default=None)  # the call of an outermost module that is underway


class Module:
    """The base of layers and models. A subclass sets parameters in `__init__` and writes `forward`.

    >>> import tinynet as tn
    >>> class Twice(tn.nn.Module):
    ...     def __init__(self):
    ...         self.dense = tn.nn.Dense(4, 4)
    ...     def forward(self, x):
    ...         return self.dense(self.dense(x))
    >>> Twice().parameters().names
    ('dense.W', 'dense.b')
    """

    input_shape: Shape | None = None  # of one sample, without the batch; for summary() and saved models
    classes: tuple[str, ...] | None = None  # the names of the outputs, saved with the model
    scaling: Scaling | None = None  # turns pixels into inputs; saved with the model
    familiar: tuple[Familiar, ...] | None = None  # the training images of each member; see tinynet/novelty.py
    decision_threshold: float | None = None  # of the second of two classes; None is 0.5; saved with the model
    ends_steps: ClassVar[bool] = False  # whether the output has no time steps: then a mask ends here
    added_options: ClassVar[dict[str, Any]] = {}  # that files of earlier versions lack, with the values that they mean
    # Attributes that are Python integers and belong to the state, with the value for a state that lacks them.
    host_state: ClassVar[dict[str, int]] = {}
    # Those among them that `forward` only increases by `+=` and passes to ops: in a recorded step they are 0-d arrays.
    step_counters: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        guide(cls)

    def __setattr__(self, name: str, value: object) -> None:
        check_name(self, name, WITHOUT_EFFECT)
        if value is not None and not isinstance(value, Tensor) and isinstance(vars(self).get(name), Tensor):
            raise StateError(f"{type(self).__name__}: {name} must stay a tensor, got {type(value).__name__}; "
                             f"layer.{name}.data[...] = array?")
        super().__setattr__(name, value)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output from the inputs. Each module defines it."""
        raise NotImplementedError(f"{type(self).__name__}: a module needs a forward(self, x)")

    def __call__(self: HasForward[Inputs, Output], *inputs: Inputs.args, **options: Inputs.kwargs) -> Output:
        is_outermost = _call.get() is None
        try:
            try:
                watching = observers.get()
                if is_outermost:
                    _call.set(_Call(self, watching is not UNOBSERVED))
                observer = watching.module
                if observer is None:
                    return self.forward(*inputs, **options)
                return observer(self, partial(self.forward, *inputs, **options))  # a lambda would slow down all calls
            except (ShapeError, DtypeError) as error:
                if is_outermost:
                    name_layer(error, Module.__call__.__code__, self)  # type: ignore[arg-type]  # self is a Module
                raise
            finally:
                if is_outermost:
                    _call.set(None)
        except BaseException:
            if is_outermost:
                _call.set(None)  # an interrupt may have been raised before the same line above
            raise

    @property
    def training(self) -> bool:
        """Whether a call is one of training: the mode of `train()` and `eval()`, or that of the current evaluation."""
        mode = in_training.get()
        return vars(self).get("training", True) if mode is None else mode

    @training.setter
    def training(self, mode: bool) -> None:
        vars(self)["training"] = mode

    def children(self) -> Iterator[tuple[str, "Module"]]:
        """The modules among the attributes of this one, and in containers among them, with their names."""
        if _SINGLE.issuperset(map(type, vars(self).values())):  # most layers; a quick test
            return iter(())
        return ((name, value) for name, value in self.members() if isinstance(value, Module))

    def members(self) -> Iterator[tuple[str, Any]]:
        """All attributes with their names; of a list, tuple or dictionary each element: `blocks.0`, `heads.left.1`, ...

        Errors: StateError for modules, parameters or buffers in a set, which has no order.
        """
        return _elements("", vars(self).items(), ())

    def modules(self) -> Iterator[tuple[str, "Module"]]:
        """This module and all modules below it, with their paths; a tied one with each of its paths.

        Where a module refers to one that it is part of, such as its parent, each later module has one path.
        """
        return self._modules("", {})

    def _modules(self, path: str, seen: dict[int | None, bool]) -> Iterator[tuple[str, "Module"]]:
        """`seen` holds whether a module is above the current path, by id; and None after the first cycle."""
        seen[id(self)] = True
        yield path, self
        for name, child in self.children():
            if seen.get(id(child)):
                seen[None] = True
            elif id(child) not in seen or None not in seen:
                yield from child._modules(_join(path, name), seen)
        seen[id(self)] = False

    def tensors(self) -> dict[str, Parameter | Buffer]:
        """All parameters and buffers by name, tied ones once."""
        found: dict[int, tuple[str, Parameter | Buffer]] = {}
        for path, module in self.modules():
            for name, value in module.members():
                if isinstance(value, Parameter | Buffer):
                    found.setdefault(id(value), (_join(path, name), value))
        tensors = dict(found.values())
        if len(tensors) < len(found):
            raise StateError(f"{type(self).__name__}: each tensor needs a name of its own, and {len(found)} of them "
                             f"have {len(tensors)} names; are there keys such as 1 and '1' in a dictionary?")
        return tensors

    def counters(self) -> dict[str, tuple["Module", str]]:
        """The Python integers that belong to the state, by name: each as a module and the name of its attribute."""
        return {_join(path, name): (module, name) for path, module in self.modules() for name in module.host_state}

    def parameters(self) -> Parameters:
        """All parameters in order, with their names, tied ones once."""
        return Parameters((name, value) for name, value in self.tensors().items() if isinstance(value, Parameter))

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to None."""
        self.parameters().zero_grad()

    def train(self, mode: bool = True) -> Self:
        """Switch to training: dropout is active, batch normalisation uses and averages the statistics of batches."""
        for _, module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation: no dropout, and batch normalisation uses its running averages."""
        return self.train(False)

    def to(self, device: str) -> Self:
        """Move all parameters and buffers to "cpu", "gpu", "gpu:1" or "gpu-emulated"; they stay the same objects.

        Errors: DeviceError, with the remedy, if there is no such device, or if its memory is full.
        """
        backend.namespace(backend.device_name(device))  # raises for a module without tensors too
        for tensor in self.tensors().values():
            _replace(tensor, lambda array: backend.to_device(array, device))
        return self

    def astype(self, dtype: DTypeLike) -> Self:
        """Change the precision of all parameters and buffers of floats. The tensors stay the same objects.

        Errors: DtypeError for a dtype that is not one of floats.
        """
        if np.dtype(dtype).kind not in "fc":
            raise DtypeError(f'astype: dtype must be one of floats, got {np.dtype(dtype)}; model.astype("float32")?')
        for tensor in self.tensors().values():
            if tensor.dtype.kind == "f":
                _replace(tensor, lambda array: array.astype(dtype))
        return self

    def state_dict(self) -> dict[str, Array]:
        """All that training changes, as NumPy arrays by name: copies, on the host."""
        state = {name: tensor.numpy().copy() for name, tensor in self.tensors().items()}
        like = backend.namespace("cpu")
        state.update({name: like.asarray(getattr(*counter)) for name, counter in self.counters().items()})
        return state

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> Self:
        """Copy the values of a state dictionary into the tensors, in place.

        Counters (integers) may be missing, as they are in weights of other libraries.

        Errors: StateError for missing and unexpected names, ShapeError for another shape. Nothing has changed then.
        """
        tensors, counters = self.tensors(), self.counters()
        optional = {*counters, *(name for name, tensor in tensors.items() if tensor.dtype.kind == "i")}
        missing = [name for name in tensors if name not in state and name not in optional]
        unexpected = [name for name in state if name not in tensors and name not in counters]
        if missing or unexpected:
            raise StateError(f"load_state_dict: names must be those of {type(self).__name__}.state_dict(), missing "
                             f"{missing or 'none'}, unexpected {unexpected or 'none'}; "
                             "was it saved from a model of the same layers?")
        arrays = {name: backend.as_array(value.data if isinstance(value, Tensor) else value)
                  for name, value in state.items()}
        for name, array in arrays.items():
            shape = () if name in counters else tensors[name].shape
            if array.shape != shape:
                raise ShapeError(f"load_state_dict: {name} must be {shape}, got {array.shape}; "
                                 "was it saved from a model of the same sizes?")
            kinds, wanted = ("iu", "integers") if name in optional else ("fiu", "floats")
            if array.dtype.kind not in kinds:
                raise StateError(f"load_state_dict: {name} must be {wanted}, got {array.dtype}; is the file damaged?")
        for name, tensor in tensors.items():
            if name in arrays:
                tensor.data[...] = backend.to_device(arrays[name], tensor.device)
                tensor.version += 1
        for name, (module, attribute) in counters.items():
            setattr(module, attribute, int(arrays[name]) if name in arrays
                    else module.without_counter(attribute))
        return self

    def without_counter(self, name: str) -> int:
        """The value of a counter for a state that lacks it."""
        return self.host_state[name]

    def output_mask(self, mask: Tensor) -> Tensor | None:
        """The mask (N,T') of the output of `forward(x, mask=mask)`; None if the output has no steps."""
        return None if self.ends_steps else mask

    def config(self) -> dict[str, Any]:
        """The arguments that construct an equal module. A layer keeps each as an attribute of the same name."""
        return {name: plain(getattr(self, name)) for name in inspect.signature(type(self)).parameters}

    def random_key(self, what: str = "") -> tuple[int, int]:
        """The key of the random numbers of this module: the seed, and the stream of its path in the called model."""
        call = _call.get()
        path = call.path_of(self) if call else ""
        if not path:  # called on its own: the order of first calls tells it from others of its class
            path = vars(self).setdefault("own_stream", f"{type(self).__name__}:{next_draw()}")
        return current_seed(), stream(_join(path, what))

    if TYPE_CHECKING:  # attached by nn/summary.py and nn/profile.py
        def summary(self, input_shape: Shape | None = None) -> str: ...
        def profile(self, x: ArrayLike, *, repeat: int = 5) -> "Profile": ...

    def __repr__(self) -> str:
        try:
            defaults = inspect.signature(type(self)).parameters
            shown = {name: value for name, value in self.config().items() if value != defaults[name].default}
        except (AttributeError, KeyError):  # a user's module may not keep its arguments
            shown = {}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


answers(Module, MODEL)


def checked(owner: str, what: str, layer: Any) -> Module:
    """A layer that is a part of another. Errors: StateError for what is no module."""
    if not isinstance(layer, Module):
        fix = "tn.nn.Sequential(*layers)" if isinstance(layer, list | tuple) else "tn.nn.ReLU(), with brackets"
        raise StateError(f"{owner}: {what} must be a layer, got {type(layer).__name__}; {fix}?")
    return layer


def is_outermost(module: Module) -> bool:
    """Whether this is the module that was called, and the call is not observed."""
    call = _call.get()
    return call is not None and call.root is module and not call.is_observed


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name


def _elements(before: str, named: Iterable[tuple[Any, Any]], around: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """Named values, and in place of a container its elements at any depth. A container in itself is passed over."""
    for key, value in named:
        kind: Any = type(value)
        if not _may_hold(kind):
            yield f"{before}{key}", value
        elif isinstance(value, _CONTAINERS):
            if all(value is not one for one in around):
                inner = value.items() if isinstance(value, _KEYED) else enumerate(value)
                yield from _elements(f"{before}{key}.", inner, (*around, value))
        elif isinstance(value, _SETS) and any(isinstance(one, Module | Tensor) for one in value):
            raise StateError(f"{before}{key}: layers and parameters must be in an order, and a set has none; a list?")
        elif isinstance(value, np.ndarray) and value.dtype == object:
            yield from _elements(f"{before}{key}.", enumerate(value.ravel().tolist()), around)
        else:
            yield f"{before}{key}", value


@lru_cache(1 << 8)
def _may_hold(kind: type) -> bool:
    """Whether values of a type may have elements."""
    return issubclass(kind, (*_CONTAINERS, *_SETS, np.ndarray))


def _replace(tensor: Tensor, change: Callable[[Array], Array]) -> None:
    """Replace the array of a tensor, and that of its gradient."""
    tensor.data = change(tensor.data)
    if tensor.grad is not None:
        tensor.grad = change(tensor.grad)
    if isinstance(tensor, Parameter):
        tensor.home = None  # the optimizer packs again

