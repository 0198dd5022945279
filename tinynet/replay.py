"""Steps of training that a GPU makes by itself: recorded once, then launched as one.

The GPU is done with a step of a small net before the host has launched the kernels of the next one. So a step is
recorded as a CUDA graph, see `backend/cuda/graph.py`, and from then on launched as a whole. The numbers are the same,
bit for bit: they come from the same kernels. Two steps (`WARM_UP`) run before that, the second of them as it will be
recorded: then all kernels are compiled.

A recorded step cannot see numbers of the host. So the batch is copied to where that of the recorded step lay; learning
rate, count of steps and the sums of the epoch lie on the device while it runs; and what modules count on the host (the
batches that a BatchNorm has seen) is counted as in the step that was recorded. Whatever else a step depends on is
compared before each launch: where it is not what it was, the step is recorded anew. A step that changes something else
on the host, waits for the device, or copies to it, is not recorded, and runs as usual.

Batches of another shape than the first one, such as the last of an epoch, run as usual as well.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tinynet import backend, random
from tinynet.callbacks import Run
from tinynet.errors import DeviceError
from tinynet.tape import Tensor

WARM_UP = 2  # steps before one is recorded

Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # of inputs and targets: the loss and the outputs
_PLAIN = (bool, int, float, str, tuple, type(None))  # what settings are


class Replay:
    """Makes the steps of a run. `step(x, target)` is all that a step does on the device; it adds to `run.sums`, too.

    If a step cannot be recorded, `refused` says why, and all of them run as usual.
    """

    def __init__(self, run: Run, step: Step, device: str) -> None:
        self.run, self.step, self.device = run, step, device
        self.refused = ""
        self.shape: Any = None  # of the batches whose steps are recorded
        self.done = 0  # such steps that ran as usual
        self.launch: Callable[[], None] | None = None

    def __call__(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Make a step: the loss and the outputs, which the next step may write over."""
        shape = x.shape, x.dtype, target.shape, target.dtype
        if self.shape is None:
            self.shape = shape
        if self.refused or shape != self.shape:
            return self.step(x, target)
        self.done += 1
        if self.done < WARM_UP:
            result = self.step(x, target)
            self._make_room(x, target)
            return result
        self._bring(x, target)
        if self.done == WARM_UP:
            with self._on_device():
                result = self._work()
            self._count({})
            return result
        if self.launch is None or self.settings != self._settings():
            try:
                self._record()
            except DeviceError as error:
                self.refused, self.launch = str(error), None
                return self.step(x, target)
        assert self.launch is not None
        self.launch()
        self._count(self.counted)
        self.run.sums["images"] += self.images
        return self.outputs

    def _make_room(self, x: Tensor, target: Tensor) -> None:
        """What recorded steps find where it was: a batch, the optimizer's numbers, the sums of the epoch."""
        xp, optimizer, sums = backend.namespace(self.device), self.run.optimizer, self.run.sums
        self.batch = Tensor(xp.array(x.data)), Tensor(xp.array(target.data))
        precision = max((parameter.dtype for parameter in optimizer.parameters), key=lambda dtype: dtype.itemsize)
        self.numbers = {name: xp.zeros((), dtype) for name, dtype in (("steps", "int64"), ("lr", precision))
                        if isinstance(getattr(optimizer, name), int | float)}
        self.known: dict[str, Any] = {}  # the optimizer's numbers, as the device has them
        self.sums = {name: xp.zeros((), total.dtype) for name, total in sums.items() if hasattr(total, "dtype")}

    def _bring(self, x: Tensor, target: Tensor) -> None:
        """Put there what this step is to find, as far as it is not there yet."""
        sums, optimizer = self.run.sums, self.run.optimizer
        for place, given in zip(self.batch, (x, target), strict=True):
            place.data[...] = given.data
        for name, number in self.numbers.items():
            if self.known.get(name) != getattr(optimizer, name):
                number.fill(getattr(optimizer, name))
        for name, total in self.sums.items():
            if sums[name] is not total:
                total[...] = sums[name]
                sums[name] = total

    @contextmanager
    def _on_device(self) -> Iterator[None]:
        """Inside, the optimizer's numbers are those on the device."""
        kept = {name: getattr(self.run.optimizer, name) for name in self.numbers}
        vars(self.run.optimizer).update(self.numbers)
        try:
            yield
        finally:
            vars(self.run.optimizer).update(kept)

    def _work(self) -> tuple[Tensor, Tensor]:
        """The step that is recorded."""
        result = self.step(*self.batch)
        for name, total in self.sums.items():
            if self.run.sums[name] is not total:
                total[...] = self.run.sums[name]
        self.run.sums.update(self.sums)
        return result

    def _count(self, counted: dict[str, int]) -> None:
        """On the host as on the device: what the optimizer and the modules count."""
        if "steps" in self.numbers:
            self.run.optimizer.steps += 1
        for name, (module, attribute) in self.run.model.counters().items():
            setattr(module, attribute, getattr(module, attribute) + counted.get(name, 0))
        self.known = {name: getattr(self.run.optimizer, name) for name in self.numbers}

    def _record(self) -> None:
        run, counters = self.run, self.run.model.counters()
        before, images = {name: getattr(*counter) for name, counter in counters.items()}, run.sums["images"]
        self.settings = self._settings()
        with self._on_device():
            try:
                self.outputs, self.launch = backend.capture(self.device, self._work)
            finally:  # nothing was done, so nothing is to be counted
                self.counted = {name: getattr(*counter) - before[name] for name, counter in counters.items()}
                for name, (module, attribute) in counters.items():
                    setattr(module, attribute, before[name])
                self.images, run.sums["images"] = run.sums["images"] - images, images
                run.sums.update(self.sums)
        changed = self._changed()
        if changed:
            raise DeviceError(f"fit: a step that is recorded as a CUDA graph must not change numbers of the host, and "
                              f"this one changes {changed}; a Buffer is counted on the device")

    def _settings(self) -> dict[Any, Any]:
        """What a step depends on and should not change: numbers and words of the host's, and where the arrays lie."""
        model, optimizer = self.run.model, self.run.optimizer
        found: dict[Any, Any] = {
            "seed": random.current_seed(), "precision": backend.current_precision(), "code": backend.is_reference()}
        for path, module in model.modules():
            found[path, "training"] = module.training
            found.update({(path, name): value for name, value in vars(module).items()
                          if isinstance(value, _PLAIN) and name not in module.host_state})
        found.update({("the optimizer", name): value for name, value in vars(optimizer).items()
                      if isinstance(value, _PLAIN) and name not in ("steps", "lr")})
        found.update({name: (id(tensor.data), tensor.requires_grad) for name, tensor in model.tensors().items()})
        return found

    def _changed(self) -> str:
        """Settings that are not what they were, by name. Those of modules are put back."""
        modules = dict(self.run.model.modules())
        changed = [name for name, value in self._settings().items() if self.settings.get(name, value) != value]
        for name in changed:
            if isinstance(name, tuple) and name[0] in modules:
                setattr(modules[name[0]], name[1], self.settings[name])
        return ", ".join(str(name) for name in changed)
