"""Steps of training that a GPU makes by itself: recorded once, then launched as one.

The GPU is done with a step of a small net before the host has launched the kernels of the next one. So a step is
recorded as a CUDA graph, see `backend/cuda/graph.py`, and from then on launched as a whole. The numbers are the same,
bit for bit: they come from the same kernels. Before that a step is rehearsed, made as it will be recorded: then all
kernels are compiled, and all arrays are where they will be.

A recorded step cannot see numbers of the host. So the batch is copied to where that of the recorded step lay; learning
rate, count of steps and the sums of the epoch lie on the device while it runs; and what modules count on the host (the
batches that a BatchNorm has seen) is counted as in the step that was recorded. What else a step depends on is compared
before each launch, as far as it can be seen: the attributes of modules and of the optimizer. Where something is not
what it was, a step is rehearsed and recorded anew. A step that waits for the device, copies to it, or changes such an
attribute is not recorded, and runs as usual.

Nobody sees all that Python does: it may draw a number, or look at a global variable. So the step after the recorded
one, and the first of each epoch, is made twice from the same state, launched and as usual. If the bits differ, the
usual step counts, and the next one is recorded anew; if launched steps were never right, there are none from then on.

Batches of another shape, such as the last of an epoch, run as usual as well. The shape that is recorded is the first
one to come twice.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinynet import backend, random
from tinynet.errors import DeviceError
from tinynet.nn.parameter import Parameter
from tinynet.tensor import Tensor
from tinynet.training.run import Run

Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # of inputs and targets: the loss and the outputs
_PLAIN = (bool, int, float, complex, str, bytes, np.generic, type(None))


class Replay:
    """Makes the steps of a run. `step(x, target)` is all that a step does on the device; it adds to `run.sums`, too.

    If steps cannot be recorded, `refused` says why, and all of them run as usual.
    """

    def __init__(self, run: Run, step: Step, device: str) -> None:
        self.run, self.step, self.device = run, step, device
        self.refused = ""
        self.seen = set[Any]()  # shapes of batches
        self.shape: Any = None  # of those whose steps are recorded
        self.sums: dict[str, Any] = {}  # of the epoch, where recorded steps add to them
        self.numbers: dict[str, Any] = {}  # of the optimizer, where recorded steps find them
        self.known: dict[str, Any] = {}  # what these are
        self.settings: Any = None  # what the step depended on that was rehearsed
        self.launch: Callable[[], None] | None = None  # makes a step that was recorded after that
        self.is_proven = False  # whether that gave what a usual one gives

    def __call__(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Make a step: the loss and the outputs, which the next step may write over."""
        if self.refused or not self._has_room(x, target):
            return self._as_usual(x, target)
        is_known = self.settings == self._settings()
        if not is_known:
            self._choose_numbers()
        self._bring(x, target)
        if not is_known:
            return self._rehearse()
        if self.launch is None:
            try:
                return self._record()
            except DeviceError as error:
                self.refused = str(error)
                return self._as_usual(x, target)
        if self.run.batch == 0 or not self.is_proven:
            return self._prove(self.launch)
        self.launch()
        self._count()
        for module, attribute, count in self.counted:  # as Python would
            setattr(module, attribute, getattr(module, attribute) + count)
        self.run.sums["images"] += self.images
        return self.outputs

    def _as_usual(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        result = self.step(x, target)
        xp = backend.namespace(self.device)
        self.sums = self.sums or {name: xp.zeros((), total.dtype) for name, total in self.run.sums.items()
                                  if isinstance(total, xp.ndarray)}
        return result

    def _has_room(self, x: Tensor, target: Tensor) -> bool:
        """Whether there is a place for a batch of this shape, where recorded steps find it."""
        shape = x.shape, x.dtype, target.shape, target.dtype
        if self.shape is None and shape in self.seen:
            xp = backend.namespace(self.device)
            self.shape, self.batch = shape, (Tensor(xp.array(x.data)), Tensor(xp.array(target.data)))
        self.seen.add(shape)
        return bool(shape == self.shape)

    def _choose_numbers(self) -> None:
        """Places for the optimizer's numbers, those of the host. In the precision of the parameters, a rate gives there
        what a number of Python's does."""
        xp, optimizer = backend.namespace(self.device), self.run.optimizer
        widest = max((parameter.dtype for parameter in optimizer.parameters), key=lambda dtype: dtype.itemsize)
        self.numbers = {name: xp.zeros((), dtype) for name, dtype in (("steps", "int64"), ("lr", widest))
                        if not isinstance(getattr(optimizer, name), xp.ndarray)}
        self.known = {}

    def _bring(self, x: Tensor, target: Tensor) -> None:
        """Put there what this step is to find, as far as it is not there yet."""
        for place, given in zip(self.batch, (x, target), strict=True):
            place.data[...] = given.data
        for name, number in self.numbers.items():
            if self.known.get(name) != getattr(self.run.optimizer, name):
                number.fill(getattr(self.run.optimizer, name))
        for name, total in self.sums.items():
            if self.run.sums[name] is not total:
                total[...] = self.run.sums[name]
                self.run.sums[name] = total

    def _work(self) -> tuple[Tensor, Tensor]:
        """The step as it is recorded."""
        with self._on_device():
            result = self.step(*self.batch)
            for name, total in self.sums.items():
                if self.run.sums[name] is not total:
                    total[...] = self.run.sums[name]
            self.run.sums.update(self.sums)
        return result

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        """Inside, the optimizer's numbers are those on the device."""
        kept = {name: getattr(self.run.optimizer, name) for name in self.numbers}
        vars(self.run.optimizer).update(self.numbers)
        try:
            yield
        finally:
            vars(self.run.optimizer).update(kept)

    def _count(self) -> None:
        """On the host, what the optimizer has counted on the device."""
        if "steps" in self.numbers:
            self.run.optimizer.steps += 1
        self.known = {name: getattr(self.run.optimizer, name) for name in self.numbers}

    def _rehearse(self) -> tuple[Tensor, Tensor]:
        result = self._work()
        self._count()
        self.settings, self.launch = self._settings(), None
        return result

    def _record(self) -> tuple[Tensor, Tensor]:
        """Record a step, and launch it, once: what Python has to do for it is done by recording it."""
        run, counters = self.run, list(self.run.model.counters().values())
        before, images = [getattr(*counter) for counter in counters], run.sums["images"]
        attributes = [vars(thing) for thing in (run.optimizer, *(module for _, module in run.model.modules()))]
        kept = [dict(names) for names in attributes]
        try:
            self.outputs, graph = backend.record(self.device, self._work)
        except BaseException:  # nothing was done
            for names, values in zip(attributes, kept, strict=True):
                names.clear()
                names.update(values)
            run.sums.update(self.sums, images=images)
            raise
        self.counted = [(*counter, getattr(*counter) - count) for counter, count in zip(counters, before, strict=True)]
        self.images = run.sums["images"] - images
        self._count()
        now = self._settings()
        changed = [name for name, value in now.items() if self.settings.get(name, value) != value]
        if changed:
            what = ", ".join(".".join(filter(None, name)) for name in changed)
            self.refused = ("fit: a step that is recorded as a CUDA graph must not change numbers of the host, and "
                            f"this one changes {what}; a Buffer is counted on the device")
        else:
            self.launch, self.is_proven = graph.launch, False
        return self.outputs

    def _prove(self, launch: Callable[[], None]) -> tuple[Tensor, Tensor]:
        """Make this step twice from the same state, launched and as usual. The latter stays."""
        places = self._places()
        try:
            before, launched = ([place.copy() for place in places] for _ in range(2))
        except MemoryError as error:
            self.refused = f"fit: there is no room to compare a step that is launched with a usual one ({error})"
            return self._rehearse()
        launch()
        for place, old, new in zip(places, before, launched, strict=True):
            new[...] = place
            place[...] = old
        result = self._work()
        self._count()
        if _same_bits(backend.namespace(self.device), places, launched):
            self.is_proven = True
        elif self.is_proven:
            self.launch = None
        else:
            self.refused = ("fit: a step that is recorded as a CUDA graph must give what it gives as usual, bit for "
                            "bit, and this one does not; does it draw or count numbers on the host? a Buffer is "
                            "counted on the device")
        return result

    def _places(self) -> list[Any]:
        """What a step changes on the device: weights, moments, buffers and other arrays of modules, numbers, sums."""
        xp = backend.namespace(self.device)
        members = [value for _, module in self.run.model.modules() for _, value in module.members()]
        buffers = [value.data for value in members if isinstance(value, Tensor) and not isinstance(value, Parameter)]
        return [*self.run.optimizer.arrays(), *buffers, *(value for value in members if isinstance(value, xp.ndarray)),
                *self.numbers.values(), *self.sums.values()]

    def _settings(self) -> dict[tuple[str, ...], Any]:
        """What a step depends on and should not change, by name: attributes of the model and the optimizer."""
        model, optimizer = self.run.model, self.run.optimizer
        found: dict[tuple[str, ...], Any] = {
            ("seed",): random.current_seed(), ("precision",): backend.current_precision(),
            ("code",): backend.is_reference()}
        for path, module in model.modules():
            found[path, "training"] = module.training
            found.update({(path, name): _kept(value) for name, value in vars(module).items()
                          if name not in module.host_state})
        xp = backend.namespace(self.device)
        found.update({("the optimizer", name): isinstance(value, xp.ndarray) if name in self.numbers else _kept(value)
                      for name, value in vars(optimizer).items()})
        found.update({("the optimizer", "parameters", name): _kept(parameter)
                      for name, parameter in optimizer.parameters.items()})
        return found


class _Itself:
    """A thing that equals nothing else; kept, so that nothing else can get its memory."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and self.thing is other.thing

    __hash__ = None  # type: ignore[assignment]


def _kept(value: Any) -> Any:
    """A value as it is now, to be compared with what it is later. Arrays are compared by where they are."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Tensor):
        return _Itself(value.data), value.requires_grad
    if isinstance(value, list | tuple):
        return tuple(map(_kept, value))
    if isinstance(value, dict):
        return {key: _kept(one) for key, one in value.items()}
    return _Itself(value)


def _same_bits(xp: Any, first: list[Any], second: list[Any]) -> bool:
    """Whether two lists of arrays are equal, also where they are NaN. This waits for the device."""
    flat = [[array.reshape(-1).view("uint8") for array in arrays] for arrays in (first, second)]
    return bool(xp.stack([(a == b).all() for a, b in zip(*flat, strict=True)]).all())
