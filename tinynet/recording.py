"""Recordings: the kernel launches of a function, recorded once and then made by a single call.

Between two kernels Python checks shapes and makes arrays. For a small net this takes longer than the kernels. So a
function of tensors is recorded by `backend.record`, and each later call launches its kernels alone: the same kernels on
the same memory, with the same bits. `Sequential` records its evaluation, `fit` its training step on a GPU.

A launch sees neither Python code nor numbers on the host. What the function depends on falls into three parts:

    inputs       are copied into the recording's own arrays before each launch
    arrays       weights, running averages, moments: a launch reads and writes their current values
    fingerprint  everything else: attributes, settings, which arrays those are; it is compared before each launch

After a change of the fingerprint the function runs as usual, and is recorded again later. A fingerprint covers neither
global variables nor the code of ops.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextvars import ContextVar
from math import inf
from operator import attrgetter
from threading import Lock
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref

import numpy as np

from tinynet import backend, random
from tinynet.errors import DeviceError
from tinynet.tensor import Tensor

SHAPES = 4  # shapes of inputs for which a function keeps recordings

_PLAIN = (bool, int, float, complex, str, bytes, np.generic, type(None))
_underway: ContextVar[bool] = ContextVar("underway", default=False)
_data, _requires_grad = attrgetter("data"), attrgetter("requires_grad")


class Watched(NamedTuple):
    """An object whose attributes a recorded function depends on, or a dictionary.

    `name` stands before an attribute's name in messages. Attributes in `free` may change.
    """

    name: str
    thing: Any
    free: Collection[str] = ()


class Fingerprint:
    """What a function depends on besides its inputs and the values in arrays, as it was at one moment.

    These are: the attributes of the watched objects, through lists, tuples and dictionaries; which array each tensor
    among them holds, and its `requires_grad`; the class of each object and the class's `forward`; the seed, the
    precision, the choice of reference code, and whether the tape records. Numbers and strings are compared by value,
    other objects by identity.

    It refers weakly to the watched objects and to the arrays of tensors: it keeps no model and no old weights alive.

    >>> import tinynet as tn
    >>> layer = tn.nn.Dropout(0.5)
    >>> fingerprint = Fingerprint([Watched("layer", layer)])
    >>> layer.p = 0.25
    >>> fingerprint.changes()
    ['layer.p']
    """

    def __init__(self, watched: Sequence[Watched]) -> None:
        self._objects = [ref(thing) for _, thing, _ in watched if not isinstance(thing, dict)]
        self._names = [name for name, _, _ in watched]
        self._live = [thing if isinstance(thing, dict) else vars(thing) for _, thing, _ in watched]
        self._kept = [{name: _ANYTHING if name in free else _kept(value) for name, value in attributes.items()}
                      for attributes, (_, _, free) in zip(self._live, watched, strict=True)]
        named = [pair for root in zip(self._names, self._live, strict=True) for pair in _tensors(*root)]
        self._tensor_names, self._tensors = [name for name, _ in named], [tensor for _, tensor in named]
        self._arrays = [_weakly(tensor.data) for tensor in self._tensors]
        self._settings = self._settings_now()

    def arrays(self) -> list[Any] | None:
        """The arrays of the watched tensors; None if anything has changed. It takes microseconds.

        Keep the list during a launch: meanwhile another thread may give the tensors new arrays.
        """
        arrays = list(map(_data, self._tensors))
        is_current = (self._settings == self._settings_now() and _equal(self._kept, self._live)
                      and all([then() is now is not None for then, now in zip(self._arrays, arrays, strict=True)]))
        return arrays if is_current else None

    def is_current(self) -> bool:
        """Whether nothing has changed."""
        return self.arrays() is not None

    def changes(self) -> list[str]:
        """The names of what has changed."""
        found = [_joined(name, key) for name, then, now in zip(self._names, self._kept, self._live, strict=True)
                 for key in then | now if not _equal([then.get(key, _MISSING)], [now.get(key, _MISSING)])]
        found += [name for name, tensor, then in zip(self._tensor_names, self._tensors, self._arrays, strict=True)
                  if not then() is tensor.data is not None]
        return found or ["a setting, a class or requires_grad"] * (self._settings != self._settings_now())

    def _settings_now(self) -> tuple[Any, ...]:
        classes = [type(one()) for one in self._objects]
        return (random.current_seed(), backend.current_precision(), backend.is_reference(), backend.is_recording(),
                classes, [getattr(one, "forward", None) for one in classes],
                list(map(_requires_grad, self._tensors)))


def _kept(value: Any) -> Any:
    """What equals this value until it changes. It stands on the left of `==`."""
    if isinstance(value, dict):
        return {name: _kept(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return (list if isinstance(value, list) else tuple)(map(_kept, value))
    kind: Any = type(value)
    return value if isinstance(value, _PLAIN) or kind.__eq__ is object.__eq__ else _Identical(value)


class _Identical:
    """Equals one object alone, whatever the object's own `==` is: that of arrays gives arrays."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return other is self.value


class _Anything:
    """Equals every object."""

    def __eq__(self, other: object) -> bool:
        return True


_ANYTHING, _MISSING = _Anything(), object()


def _equal(then: Any, now: Any) -> bool:
    try:
        return bool(then == now)
    except (ValueError, DeviceError):  # an array in the place of a number
        return False


def _tensors(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors among the parts of a value, with their names."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, dict | list | tuple):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _tensors(_joined(name, key), one)


def _joined(name: str, key: Any) -> str:
    return f"{name}.{key}" if name else str(key)


def _weakly(array: Any) -> Callable[[], Any]:
    """A weak reference; a strong one to what has none, such as a number."""
    try:
        return ref(array)
    except TypeError:
        return lambda: array


class Recording:
    """A function of tensors on a device, recorded for inputs of one shape. Making it runs the function once.

    device      where all tensors live
    function    takes as many tensors as there are `inputs`, and returns a tensor or a tuple of tensors
    inputs      of this call; later ones must have their shapes and dtypes
    watched     the objects that the function depends on, see `Fingerprint`
    arrays      those that the function reads or writes besides its inputs and the tensors of the watched objects
    limit       bytes of the arrays that the function makes

    Attributes: `outputs`, which each launch writes to, and `changed`, the names of what the function itself has changed
    of what it depends on. Not reentrant.

    Errors: DeviceError, with the reason, if the function cannot be recorded: see `backend.record`.

    >>> import tinynet as tn
    >>> dense, x = tn.nn.Dense(3, 2), tn.Tensor([[1.0, 2.0, 3.0]])
    >>> with tn.no_grad():
    ...     recording = Recording("cpu", dense.forward, [x], [Watched("", dense)])
    >>> y = recording.launch(tn.Tensor([[4.0, 5.0, 6.0]])).numpy()
    >>> bool((y == dense(tn.Tensor([[4.0, 5.0, 6.0]])).numpy()).all())
    True
    """

    def __init__(self, device: str, function: Callable[..., Tensor | tuple[Tensor, ...]], inputs: Sequence[Tensor],
                 watched: Sequence[Watched], *, arrays: Sequence[Any] = (), limit: float = inf) -> None:
        self.device, self.inputs = device, [Tensor.of(x.data.copy()) for x in inputs]
        self.fingerprint = Fingerprint(watched)
        token = _underway.set(True)
        try:
            outputs, self.graph = backend.record(
                device, lambda: _each(_data, function(*self.inputs)),
                [*map(_data, self.inputs), *(self.fingerprint.arrays() or ()), *arrays], limit)
        finally:
            _underway.reset(token)
        self.outputs: Any = _each(Tensor.of, outputs)
        self.changed = self.fingerprint.changes()

    def arrays(self) -> list[Any] | None:
        """The arrays of the watched tensors if a launch would compute what the function computes now, else None."""
        backend.namespace(self.device)  # of several GPUs, it makes this one the current one
        return self.fingerprint.arrays() if self.graph.is_current() else None

    def launch(self, *inputs: Tensor) -> Any:
        """The outputs for these inputs. The next launch overwrites them."""
        for own, x in zip(self.inputs, inputs, strict=True):
            own.data[...] = x.data
        self.graph.launch()
        return self.outputs


def _each(function: Callable[[Any], Any], values: Any) -> Any:
    """The function of a value, or of each in a tuple."""
    return tuple(map(function, values)) if isinstance(values, tuple) else function(values)


def _copy(tensor: Tensor) -> Tensor:
    return Tensor.of(tensor.data.copy())


class Recordings:
    """Recordings of one function without side effects, by the shapes and dtypes of its inputs.

    The function is recorded at the second call with inputs of a shape, and launched from the third call on. It runs as
    usual while the tape records, for reference code, and while another thread uses these recordings.
    """

    def __init__(self) -> None:
        self.known: dict[Any, Recording | str] = {}  # or the reason why there is none; "" after the first call
        self._is_free = Lock()

    def __call__(self, record: Callable[[], Recording | None], *inputs: Tensor) -> Any:
        """The outputs for these inputs, in new arrays; None if the function is to run as usual.

        `record` makes a recording. It may return None, for later, or raise a DeviceError, for never.
        """
        if backend.is_recording() or backend.is_reference() or _underway.get():
            return None
        if not self._is_free.acquire(blocking=False):
            return None
        try:
            return self._outputs(record, inputs)
        finally:
            self._is_free.release()

    def _outputs(self, record: Callable[[], Recording | None], inputs: Sequence[Tensor]) -> Any:
        key = tuple((x.device, x.data.shape, x.data.dtype) for x in inputs)
        found = self.known.get(key)
        if isinstance(found, Recording):
            arrays = found.arrays()  # kept alive during the launch
            if arrays is not None:
                return _each(_copy, found.launch(*inputs))
            self.known.clear()
        elif found is None:
            if len(self.known) >= SHAPES:
                self.known.clear()
            self.known[key] = ""
        elif not found:
            try:
                made = record()
            except DeviceError as error:
                self.known[key] = str(error)
            else:
                if made is not None:
                    self.known[key] = made
                    return _each(_copy, made.outputs)
        return None


# --- the evaluation of a model --------------------------------------------------------------------------------------

LIMITS = {"cpu": 1 << 23, "gpu": 1 << 27}  # bytes of the arrays of a recording; above, Python's share is small
evaluations: WeakKeyDictionary[Any, Recordings] = WeakKeyDictionary()  # by model


def evaluation(model: Any, layers: Callable[[Tensor], Tensor], x: Any, plain: tuple[type, ...]) -> Any:
    """The output of the evaluation of a module from its recording; None if `layers` are to be called.

    plain  classes that its attributes may have besides numbers, strings and tensors
    """
    if model.training or not (isinstance(x, Tensor) and _is_ours(model)):
        return None
    if x.device != "cpu" and not x.data.flags.c_contiguous:  # array functions of a GPU may add in another order then
        return None
    known = evaluations.get(model)
    if known is None:
        known = evaluations[model] = Recordings()
    return known(lambda: _record(model, layers, x, plain), x)


def _record(model: Any, layers: Callable[[Tensor], Tensor], x: Tensor, plain: tuple[type, ...]) -> Recording | None:
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
            if not (isinstance(value.data, xp.ndarray) if isinstance(value, Tensor)
                    else isinstance(value, (bool, int, float, complex, str, bytes, type(None), *plain))):
                raise DeviceError(f"record: attributes must be numbers, strings or tensors on {x.device}, got a "
                                  f"{type(value).__name__} as {name} of {path!r}; it runs as usual")
    watched = [Watched(path, module) for path, module in modules.items()]
    return Recording(x.device, layers, [x], watched, limit=LIMITS["cpu" if x.device == "cpu" else "gpu"])


def _is_ours(module: Any) -> bool:
    """Whether a module runs code of tinynet's own layers."""
    kind = type(module)
    return all(str(code.__module__).startswith("tinynet.nn.") for code in (kind, kind.forward))
