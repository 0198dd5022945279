"""Record the kernel launches of a function once, and replay them with a single call.

Between two kernels Python checks shapes and allocates arrays. For a small net this takes longer than the kernels. A
recording repeats the launches without Python: the same kernels on the same memory, with the same bits. `Sequential`
records its evaluation, `fit` its training step. `backend.record` makes the recording on a device.

A replay runs no code of layers and reads no numbers of the host. What the function depends on falls into three parts:

    inputs       are copied into the recording's own arrays before each replay
    arrays       weights, running averages, moments: a replay reads and writes their current values
    fingerprint  everything else: attributes, settings, which arrays those are; it is compared before each replay

If the fingerprint has changed, the function runs as usual, and is recorded again later. A fingerprint covers neither
global variables nor the code of ops.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextvars import ContextVar
from math import inf
from operator import attrgetter
from threading import RLock
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref

import numpy as np

from tinynet import backend, random
from tinynet.errors import ArgumentError, DeviceError
from tinynet.scaling import Scaling
from tinynet.settings import call_with
from tinynet.tape import in_training
from tinynet.tensor import Tensor

SHAPES = 4  # shapes of inputs for which a function keeps recordings

_PLAIN = (bool, int, float, complex, str, bytes, np.generic, type(None))
_is_underway: ContextVar[bool] = ContextVar("is_underway", default=False)
_data, _requires_grad, _forward = attrgetter("data"), attrgetter("requires_grad"), attrgetter("forward")


class Watched(NamedTuple):
    """An object whose attributes a recorded function depends on, or a dictionary.

    `name` stands before an attribute's name in messages. Attributes in `free` may change.
    """

    name: str
    thing: Any
    free: Collection[str] = ()


class Fingerprint:
    """What a function depends on besides its inputs and the values in arrays, as it was at one moment.

    It holds the attributes of the watched objects, through lists, tuples and dictionaries; the class of each object,
    and the class's `forward`. Of a tensor, it holds the array and, if the tape records, `requires_grad`. It also holds
    the seed, the precision, the choice of reference code, the mode of an evaluation, and whether the tape records.
    Numbers and strings are compared by value, other objects by identity.

    It refers weakly to the arrays of tensors: it keeps no old weights alive.

    >>> import tinynet as tn
    >>> layer = tn.nn.Dropout(0.5)
    >>> fingerprint = Fingerprint([Watched("layer", layer)])
    >>> layer.p = 0.25
    >>> fingerprint.changes()
    ['layer.p']
    """

    def __init__(self, watched: Sequence[Watched]) -> None:
        self._objects = [thing for _, thing, _ in watched if not isinstance(thing, dict)]
        self._kinds = [kind for kind in dict.fromkeys(map(type, self._objects)) if hasattr(kind, "forward")]
        self._names = [name for name, _, _ in watched]
        self._live = [thing if isinstance(thing, dict) else vars(thing) for _, thing, _ in watched]
        self._kept = [{name: _ANYTHING if name in free else _kept(value) for name, value in attributes.items()}
                      for attributes, (_, _, free) in zip(self._live, watched, strict=True)]
        named = [pair for root in zip(self._names, self._live, strict=True) for pair in _tensors(*root)]
        self._tensor_names, self._tensors = [name for name, _ in named], [tensor for _, tensor in named]
        self._gone = list[Any]()  # arrays that no longer exist: others may have taken their ids
        self._arrays = [_weakly(tensor.data, self._gone.append) for tensor in self._tensors]
        self._ids = [id(tensor.data) for tensor in self._tensors]
        self._traced = self._tensors if backend.is_recording() else []  # the others need no gradient
        self._rest = self._rest_now()

    def arrays(self) -> list[Any] | None:
        """The arrays of the watched tensors; None if anything has changed. It takes microseconds.

        Keep the list during a replay: another thread may give the tensors new arrays meanwhile.
        """
        arrays = list(map(_data, self._tensors))
        is_current = (list(map(id, arrays)) == self._ids and not self._gone and self._rest == self._rest_now()
                      and _equal(self._kept, self._live))
        return arrays if is_current else None

    def is_current(self) -> bool:
        """Whether nothing has changed."""
        return self.arrays() is not None

    def changes(self) -> list[str]:
        """The names of what has changed."""
        found = [_joined(name, key) for name, then, now in zip(self._names, self._kept, self._live, strict=True)
                 for key in then | now if not _equal([then.get(key, _MISSING)], [now.get(key, _MISSING)])]
        found += [name for name, tensor, then in zip(self._tensor_names, self._tensors, self._ids, strict=True)
                  if id(tensor.data) != then]
        return found or ["a setting, a class or requires_grad"] * (not self.is_current())

    def _rest_now(self) -> list[Any]:
        """What holds now besides attributes and arrays: settings, classes and their `forward`, `requires_grad`."""
        return [random.current_seed(), backend.current_precision(), backend.is_reference(), backend.is_recording(),
                in_training.get(), *map(type, self._objects), *map(_forward, self._kinds),
                *map(_requires_grad, self._traced)]


def _kept(value: Any) -> Any:
    """An object that equals this value until it changes. It is the left operand of `==`."""
    if isinstance(value, dict):
        return {name: _kept(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return (list if isinstance(value, list) else tuple)(map(_kept, value))
    kind: Any = type(value)
    is_itself = kind.__eq__ is object.__eq__ or (isinstance(value, Tensor) and value.size > 1)  # else == is ambiguous
    return value if is_itself or isinstance(value, _PLAIN) else _Identical(value)


class _Identical:
    """Equals one object alone, whatever the object's own `==` is: that of arrays gives arrays."""

    __slots__ = ("value",)

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
    except (ValueError, TypeError, DeviceError):  # an array in the place of a number, another tensor
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


def _weakly(array: Any, on_end: Callable[[Any], None]) -> Any:
    """A weak reference that reports the array's end; a strong one to what has none, such as a number."""
    try:
        return ref(array, on_end)
    except TypeError:
        return array


class Recording:
    """A function of tensors on a device, recorded for inputs of one shape. Making it runs the function once.

    device      where all tensors live
    function    takes as many tensors as there are `inputs`, returns a tensor or a tuple of tensors
    inputs      of this call; later ones must have their shapes and dtypes
    watched     the objects that the function depends on, see `Fingerprint`
    arrays      what the function reads or writes besides its inputs and the tensors of the watched objects
    limit       bytes of the arrays that the function makes

    `outputs` are overwritten by each replay: a recording is not reentrant. `changed` names the watched attributes that
    the function itself has changed.

    Errors: DeviceError, with the reason, if the function cannot be recorded: see `backend.record`.

    >>> import tinynet as tn
    >>> dense, x = tn.nn.Dense(3, 2), tn.Tensor([[1.0, 2.0, 3.0]])
    >>> with tn.no_grad():
    ...     recording = Recording("cpu", dense.forward, [x], [Watched("", dense)])
    >>> y = recording.replay(tn.Tensor([[4.0, 5.0, 6.0]])).numpy()
    >>> bool((y == dense(tn.Tensor([[4.0, 5.0, 6.0]])).numpy()).all())
    True
    """

    def __init__(self, device: str, function: Callable[..., Tensor | tuple[Tensor, ...]], inputs: Sequence[Tensor],
                 watched: Sequence[Watched], *, arrays: Sequence[Any] = (), limit: float = inf) -> None:
        self.device, self.inputs = device, [Tensor.of(x.data.copy()) for x in inputs]
        self.fingerprint = Fingerprint(watched)
        given = [*map(_data, self.inputs), *(self.fingerprint.arrays() or ()), *arrays]
        outputs, self.graph = call_with({_is_underway: True}, backend.record, device,
                                        lambda: _each(_data, function(*self.inputs)), given, limit)
        self.outputs: Any = _each(Tensor.of, outputs)
        self.changed = self.fingerprint.changes()

    def arrays(self) -> list[Any] | None:
        """The arrays of the watched tensors if a replay would compute what the function computes now, else None."""
        backend.namespace(self.device)  # makes this GPU the current one, if there are several
        return self.fingerprint.arrays() if self.graph.is_current() else None

    def replay(self, *inputs: Tensor) -> Any:
        """The outputs for these inputs."""
        if len(inputs) != len(self.inputs):
            raise ArgumentError(f"replay: there must be as many inputs as were recorded, {len(self.inputs)}, got "
                                f"{len(inputs)}; record the function again for others")
        for own, x in zip(self.inputs, inputs):  # noqa: B905  # `strict` takes longer than the test above
            own.data[...] = x.data
        self.graph.launch()
        return self.outputs


def _each(function: Callable[[Any], Any], values: Any) -> Any:
    """Apply a function to a value, or to each value of a tuple."""
    return tuple(map(function, values)) if isinstance(values, tuple) else function(values)


def copied(tensor: Tensor) -> Tensor:
    return Tensor.of(tensor.data.copy())


class Recordings:
    """Recordings of one function without side effects, by the devices, shapes and dtypes of its inputs.

    The function is recorded at the second call with inputs of a shape, and replayed from the third call on. It runs as
    usual while the tape records, for reference code, for arrays with gaps on a GPU, and while another thread uses these
    recordings.
    """

    def __init__(self) -> None:
        self.known: dict[Any, Recording | str] = {}  # or why it cannot be recorded; "" after the first call
        self._is_free: Any = RLock()

    def __call__(self, record: Callable[[], Recording | None], *inputs: Tensor) -> Any:
        """The outputs for these inputs, in new arrays; None if the function is to run as usual.

        `record` makes a recording. It may return None, to be called again later, or raise a DeviceError for good.
        """
        key: tuple[Any, ...] = ()
        for x in inputs:
            array, device = x.data, x.device
            if device != "cpu" and not array.flags.c_contiguous:  # array functions of a GPU may add in another order
                return None
            key += device, array.shape, array.dtype
        if self._is_free._is_owned() or _is_underway.get():
            return None
        try:
            if not self._is_free.acquire(False):
                return None
            outputs = self._outputs(key, record, inputs)
            self._is_free.release()
            return outputs
        except BaseException:  # not `finally`: Python may be interrupted before the first instruction of its block
            if self._is_free._is_owned():
                self._is_free.release()
            raise

    def _outputs(self, key: tuple[Any, ...], record: Callable[[], Recording | None], inputs: tuple[Tensor, ...]) -> Any:
        """The outputs by the recording of this key, which is made at the second call; None without one."""
        try:
            found = self.known.get(key)
            if isinstance(found, Recording):
                arrays = found.arrays()  # kept alive during the replay
                if arrays is not None:
                    return _each(copied, found.replay(*inputs))
            if backend.is_recording() or backend.is_reference():  # a fingerprint covers both: recordings stay
                pass
            elif isinstance(found, Recording):
                self.known.clear()
            elif found is None:
                if len(self.known) >= SHAPES:
                    self.known.clear()
                self.known[key] = ""
            elif not found:
                made = record()
                if made is not None:
                    self.known[key] = made
                    return _each(copied, made.outputs)
        except DeviceError as error:
            self.known[key] = str(error)
        return None


# --- the evaluation of a model --------------------------------------------------------------------------------------

LIMITS = {"cpu": 1 << 23, "gpu": 1 << 27}  # bytes of the arrays of a recording; above, Python's share is small
evaluations: WeakKeyDictionary[Any, Recordings] = WeakKeyDictionary()  # by model


def evaluation(model: Any, layers: Callable[..., Any], *inputs: Any) -> Any:
    """Evaluate a model by its recording. Without one, return None: then `layers`, a function of the inputs, must run.

    For classes of tinynet only: other classes may define comparison or hashing of models differently.
    """
    if model.training:
        return None
    for x in inputs:
        if not isinstance(x, Tensor):
            return None
    known = evaluations.get(model)
    if known is None:
        known = evaluations[model] = Recordings()
    return known(lambda: _record(model, layers, inputs), *inputs)


def _record(model: Any, layers: Callable[..., Any], inputs: Sequence[Tensor]) -> Recording | None:
    """Record the evaluation; None while a layer is in training.

    Errors: DeviceError, with the reason, if it cannot be recorded, or may depend on more than a fingerprint covers.
    """
    modules, device = dict(model.modules()), inputs[0].device
    if any(module.training for module in modules.values()):
        return None
    if foreign := foreign_part(model):
        raise DeviceError(f"record: {foreign}; it runs as usual")
    for path, module in modules.items():
        for name, value in module.members():
            if isinstance(value, Tensor) and not isinstance(value.data, backend.namespace(device).ndarray):
                raise DeviceError(f"record: tensors must be arrays on {device}, got a {type(value.data).__name__} as "
                                  f"{name} of {path!r}; it runs as usual")
    watched = [Watched(path, module if path else vars(model)) for path, module in modules.items()]  # model may go
    return Recording(device, layers, inputs, watched, limit=LIMITS["cpu" if device == "cpu" else "gpu"])


def foreign_part(model: Any) -> str:
    """What in a model may depend on more than a fingerprint covers, as a rule that it breaks; or ""."""
    modules = dict(model.modules())
    plain = (*_PLAIN, Scaling, Tensor, *map(type, modules.values()))
    for path, module in modules.items():
        kind = type(module)
        if not all(str(code.__module__).startswith("tinynet.nn.") for code in (kind, kind.forward)):
            return f"layers must be tinynet's, got {kind.__name__}"
        for name, value in module.members():
            if not isinstance(value, plain):
                return (f"attributes must be numbers, strings or tensors, got a {type(value).__name__} as {name} of "
                        f"{path!r}")
    return ""
