"""Steps of training that a GPU makes by itself: recorded once, then launched as one.

The GPU is done with a step of a small net before the host has launched the kernels of the next one. So after some steps
that run as usual (`WARM_UP`, in which kernels are compiled), a step is recorded as a CUDA graph, see
`backend/cuda/graph.py`, and from then on launched as a whole. The numbers are the same, bit for bit: they come from the
same kernels.

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

WARM_UP = 2  # steps as usual, before one is recorded

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
        if self.done < WARM_UP:
            self.done += 1
            return self._as_usual(x, target)
        if self.launch is None or self.settings != self._settings():
            try:
                self._record(x, target)
            except DeviceError as error:
                self.refused, self.launch = str(error), None
                return self.step(x, target)
        return self._replayed(x, target)

    def _as_usual(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        result = self.step(x, target)
        self.dtypes = {name: total.dtype for name, total in self.run.sums.items() if hasattr(total, "dtype")}
        return result

    def _record(self, x: Tensor, target: Tensor) -> None:
        xp, run = backend.namespace(self.device), self.run
        self.batch = Tensor(xp.array(x.data)), Tensor(xp.array(target.data))
        self.sums = {name: xp.zeros((), dtype) for name, dtype in self.dtypes.items()}
        self.numbers = {name: xp.zeros((), dtype) for name, dtype in (("steps", "int64"), ("lr", "float64"))
                        if isinstance(getattr(run.optimizer, name), int | float)}
        self.known: dict[str, Any] = {}  # numbers of the host's, as the device has them

        def work() -> tuple[Tensor, Tensor]:
            outputs = self.step(*self.batch)
            for name, total in self.sums.items():
                total[...] = run.sums[name]
            return outputs

        counters = run.model.counters()
        before = {name: getattr(*counter) for name, counter in counters.items()}
        self.settings = self._settings()
        with self._swapped():
            try:
                self.outputs, self.launch = backend.capture(self.device, work)
            finally:  # nothing was done, so nothing is to be counted
                after = {name: getattr(*counter) for name, counter in counters.items()}
                self.images = run.sums["images"]
                for name, (module, attribute) in counters.items():
                    setattr(module, attribute, before[name])
        self.images -= run.sums["images"]
        self.counted = {name: after[name] - before[name] for name in counters}
        changed = self._changed()
        if changed:
            raise DeviceError(f"fit: a step that is recorded as a CUDA graph must not change numbers of the host, and "
                              f"this one changes {changed}; a Buffer is counted on the device")

    @contextmanager
    def _swapped(self) -> Iterator[None]:
        """Inside, the optimizer's numbers and the sums are those on the device."""
        optimizer, sums = self.run.optimizer, self.run.sums
        numbers, totals = {name: getattr(optimizer, name) for name in self.numbers}, dict(sums)
        vars(optimizer).update(self.numbers)
        sums.update(self.sums)
        try:
            yield
        finally:
            vars(optimizer).update(numbers)
            sums.update(totals)

    def _replayed(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        run, optimizer = self.run, self.run.optimizer
        for place, given in zip(self.batch, (x, target), strict=True):
            place.data[...] = given.data
        for name, number in self.numbers.items():
            if self.known.get(name) != getattr(optimizer, name):
                number.fill(getattr(optimizer, name))
        for name, total in self.sums.items():
            if run.sums[name] is not total:
                total[...] = run.sums[name]
                run.sums[name] = total
        assert self.launch is not None
        self.launch()
        run.sums["images"] += self.images
        if "steps" in self.numbers:
            optimizer.steps += 1  # so did the device
        for name, (module, attribute) in run.model.counters().items():
            setattr(module, attribute, getattr(module, attribute) + self.counted[name])
        self.known = {name: getattr(optimizer, name) for name in self.numbers}
        return self.outputs

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
