"""The training step, recorded and replayed: see `tinynet/recording.py`.

A GPU finishes the step of a small net before the host has launched the kernels of the next one; on a CPU, Python takes
a tenth of a step with a small batch. Steps run as usual until a batch has the shape of an earlier one. From there on,
steps with batches of this shape are

    rehearsed   computed as usual, but with the learning rate and the step count in device scalars; afterwards all
                kernels are compiled and all arrays exist
    recorded    the next one
    replayed    all later ones

Where a `Loader` keeps its data on the device, the step begins with the gather of its batch and the loader's transform:
a replay gets only the indices of the rows. If such a step cannot be recorded, the step without them is tried.

Other batches, such as the last one of an epoch, run as usual. Before a replay the host writes the learning rate to its
device scalar, a 0-d array. From the recording on, the batches that a BatchNorm has seen are in device scalars too.
After a replay, the host adds to its own counters what the recorded step added. If the model or the optimizer has
changed, a step is rehearsed and recorded again.

With several ranks on a CPU, a recorded step contains their messages.

A recording cannot see all that Python does: a step may draw a random number or read a global variable. So the first
replayed step, and the first one of each epoch, is computed twice from one state: as usual, and replayed. If any bit
differs, the usual result stays, and a step is recorded again; if the very first replay differs, steps run as usual from
then on. So does a step that waits for the device, copies to it, or changes an attribute: `reason` says why.
"""

from collections.abc import Callable, Collection, Sequence
from operator import is_
from typing import Any

from tinynet import backend
from tinynet.errors import DeviceError
from tinynet.nn.parameter import Parameter
from tinynet.parts import part
from tinynet.recording import Fingerprint, Recording, Watched, copied
from tinynet.tensor import Tensor
from tinynet.tracing import is_observed
from tinynet.training.run import Run

Place = tuple[Any, str]  # an object and the name of its attribute
Step = Callable[..., tuple[Tensor, Tensor]]  # of inputs and targets: the loss and the outputs


class RecordedStep:
    """Makes the steps of a run. `step(*inputs, target)` is all that a step computes; it adds to `run.sums`, too.

    `arrays()` lists what it reads and writes besides the model, the optimizer, the sums and its arguments.
    If steps cannot be recorded, `reason` says why, and all of them run as usual.
    """

    def __init__(self, run: Run, step: Step, device: str, arrays: Callable[[], Sequence[Any]] = list) -> None:
        self.run, self.step, self.device, self.arrays = run, step, device, arrays
        self.reason = ""
        self.also: Sequence[Watched] = ()  # what the step depends on besides the model and the optimizer
        self.seen = set[Any]()  # shapes and dtypes of batches
        self.shape: Any = None  # those of the recorded batch
        self.scalars: dict[Place, Any] = {}  # device scalars for numbers of the host, by their places
        self.written: dict[Place, Any] = {}  # the numbers that these hold
        self.added: dict[Place, int] = {}  # what a step adds to each
        self.sums: dict[str, Any] = {}  # device scalars for the sums of an epoch
        self.trained: Any = None  # the model and the optimizer of the rehearsed step
        self.rehearsed: Fingerprint | None = None  # what it depended on
        self.recording: Recording | None = None
        self.is_proven = False  # whether a replay has given the same bits as a usual step

    def __call__(self, *arrays: Tensor) -> tuple[Tensor, Tensor]:
        """Make a step. Returns the loss and the outputs, which the next step may overwrite."""
        if self.reason or is_observed() or not self._is_for(arrays):
            return self._as_usual(*arrays)
        if not self._is_current():
            self._choose_scalars()
            self._write_scalars()
            return self._rehearse(*arrays)
        self._write_scalars()
        if self.recording is None:
            return self._record(*arrays)
        if self.run.batch == 0 or not self.is_proven:
            return self._prove(self.recording, *arrays)
        outputs: tuple[Tensor, Tensor] = self.recording.replay(*arrays)
        self._count()
        for parameter, gradient in self.gradients:
            parameter.held = gradient
        for module, attribute, count in self.counts:
            setattr(module, attribute, getattr(module, attribute) + count)
        self.run.sums["images"] += self.images
        return outputs

    def _is_for(self, arrays: Sequence[Tensor]) -> bool:
        """Whether a batch has the shape, and is the part of a whole, that is recorded: those that first come twice."""
        shape = *(one for array in arrays for one in (array.shape, array.dtype)), part()
        if self.shape is None and shape in self.seen:
            self.shape = shape
        self.seen.add(shape)
        return bool(shape == self.shape)

    def _as_usual(self, *arrays: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self.step(*arrays)
        xp = backend.namespace(self.device)
        self.sums = self.sums or {name: xp.zeros((), total.dtype) for name, total in self.run.sums.items()
                                  if isinstance(total, xp.ndarray)}
        return outputs

    # --- numbers of the host, on the device --------------------------------------------------------------------------

    def _choose_scalars(self) -> None:
        """Make device scalars for the step count, the learning rate and the batches seen.

        On a CPU the rate has the dtype of a Python number, and so it has with groups, like the products of the rate
        with their factors on the host. Else it has the widest among the parameters, with the same bits.
        """
        xp, optimizer = backend.namespace(self.device), self.run.optimizer
        widest = max((parameter.dtype for parameter in optimizer.parameters), key=lambda dtype: dtype.itemsize)
        rate = "float64" if optimizer.groups or self.device == "cpu" else widest
        self.scalars = {place: xp.zeros((), rate if place == (optimizer, "lr") else "int64")
                        for place in self._host_numbers()}
        self.written = {}

    def _host_numbers(self) -> list[Place]:
        """Which numbers of the optimizer and of layers are on the host; a user may have put one on the device."""
        xp, optimizer = backend.namespace(self.device), self.run.optimizer
        places = [(optimizer, "steps"), (optimizer, "lr"),
                  *((module, name) for _, module in self.run.model.modules() for name in module.step_counters)]
        return [place for place in places if not isinstance(getattr(*place), xp.ndarray)]

    def _write_scalars(self) -> None:
        """Write what has changed on the host to the device: rate, counts, sums."""
        for place, scalar in self.scalars.items():
            if self.written.get(place) != getattr(*place):
                scalar.fill(getattr(*place))
        for name, total in self.sums.items():
            if self.run.sums[name] is not total:
                total[...] = self.run.sums[name]
                self.run.sums[name] = total

    def _count(self) -> None:
        """Count the step on the host, as the optimizer and the layers have done on the device."""
        for (owner, name), count in self.added.items():
            setattr(owner, name, getattr(owner, name) + count)
        self.written = {place: getattr(*place) for place in self.scalars}

    # --- the three kinds of steps ------------------------------------------------------------------------------------

    def _work(self, *arrays: Tensor, host: Collection[Place] = ()) -> tuple[Tensor, Tensor]:
        """The step as it is recorded: the numbers of the host are the device scalars, except for those in `host`."""
        kept = {place: getattr(*place) for place in self.scalars if place not in host}
        for owner, name in kept:
            setattr(owner, name, self.scalars[owner, name])
        try:
            return self.step(*arrays)
        finally:
            for (owner, name), number in kept.items():
                setattr(owner, name, number)

    def _rehearse(self, *arrays: Tensor) -> tuple[Tensor, Tensor]:
        optimizer = self.run.optimizer
        before = {place: getattr(*place) for place in self.scalars if place[0] is not optimizer}
        outputs = self._work(*arrays, host=before)  # counts on the host what the layers count
        self.added = {place: getattr(*place) - count for place, count in before.items()}
        for (owner, name), count in before.items():
            setattr(owner, name, count)
        if (optimizer, "steps") in self.scalars:
            self.added[optimizer, "steps"] = 1
        self._count()
        self.written = {place: number for place, number in self.written.items() if place not in before}
        self.trained = self.run.model, self.run.optimizer
        self.rehearsed, self.recording = Fingerprint(self._watched()), None
        return outputs

    def _record(self, *arrays: Tensor) -> tuple[Tensor, Tensor]:
        """Record a step and launch it once. Python runs its code while it is recorded, and counts as usual."""
        run, counters = self.run, list(self.run.model.counters().values())
        before = [getattr(*counter) for counter in counters]
        host = [run.sums, vars(run.optimizer), *(vars(module) for _, module in run.model.modules())]
        kept = [dict(names) for names in host]
        images = run.sums["images"]
        made = list[tuple[Tensor, Tensor]]()

        def work(*inputs: Tensor) -> tuple[Tensor, Tensor]:
            made.append(self._work(*inputs))
            return made[0]

        try:
            recording = Recording(self.device, work, arrays, self._watched(),
                                  arrays=[*self._places(), *run.optimizer.gradients(), *self.arrays()])
        except BaseException as error:
            if self.device != "cpu":  # the GPU has done nothing: neither has Python
                for names, values in zip(host, kept, strict=True):
                    names.clear()
                    names.update(values)
            if not isinstance(error, DeviceError):
                raise
            self.reason = str(error)
            if self.device != "cpu":
                return self._as_usual(*arrays)
            self._count()  # the step was made while it was recorded
            return made[0]
        self.gradients = [(parameter, parameter.home) for parameter in run.optimizer.parameters
                          if parameter.held is parameter.home]
        self.counts = [(*counter, getattr(*counter) - count) for counter, count in zip(counters, before, strict=True)]
        self.images = run.sums["images"] - images
        self._count()
        if recording.changed:
            self.reason = ("fit: a step that is recorded must not change numbers of the host, and this "
                           f"one changes {', '.join(recording.changed)}; a Buffer is counted on the device")
        else:
            self.recording, self.is_proven = recording, False
        return made[0]

    def _prove(self, recording: Recording, *arrays: Tensor) -> tuple[Tensor, Tensor]:
        """Compute this step twice from the same state: as usual, and replayed. The usual result stays.

        With several ranks, only the usual step sends messages. So each rank may prove a recording when it likes.
        """
        places = [*self._places(), *self.run.optimizer.gradients()]
        try:
            before, usual = ([place.copy() for place in places] for _ in range(2))
        except MemoryError as error:
            self.reason = f"fit: there is no room to compare a replayed step with a usual one ({error})"
            return self._rehearse(*arrays)
        with self.run.ranks.noted() as notes:
            loss, outputs = map(copied, recording.graph.beside(lambda: self._work(*arrays)))
        for place, old, new in zip(places, before, usual, strict=True):
            new[...] = place
            place[...] = old
        with self.run.ranks.repeated(notes):
            recording.replay(*arrays)
        is_same = not notes and same_bits(backend.namespace(self.device), places, usual)
        for place, new in zip(places, usual, strict=True):
            place[...] = new
        self._count()
        if is_same:
            self.is_proven = True
        elif self.is_proven:
            self.recording = None
        else:
            self.reason = ("fit: a step that is recorded must give what it gives as usual, bit for "
                           "bit, and this one does not; does it draw or count numbers on the host (a Buffer is counted "
                           "on the device), or has cuBLAS chosen another algorithm for the stream of the recording?")
        return loss, outputs

    # --- what a step depends on, and what it changes -----------------------------------------------------------------

    def _watched(self) -> list[Watched]:
        model, optimizer = self.run.model, self.run.optimizer
        return [*(Watched(path, module, module.host_state) for path, module in model.modules()),
                Watched("the optimizer", optimizer, [name for owner, name in self.scalars if owner is optimizer]),
                Watched("the optimizer.parameters", dict(optimizer.parameters.items())), *self.also]

    def _is_current(self) -> bool:
        """Whether the next step would be computed as the rehearsed one was."""
        run, array = self.run, backend.namespace(self.device).ndarray
        return (self.rehearsed is not None and all(map(is_, self.trained, (run.model, run.optimizer)))
                and not any([isinstance(getattr(*place), array) for place in self.scalars])
                and self.rehearsed.is_current()
                and (self.recording is None or bool(self.recording.graph.is_current())))

    def _places(self) -> list[Any]:
        """The arrays that a step changes: weights, moments, buffers and other arrays of modules, device scalars."""
        xp = backend.namespace(self.device)
        members = [value for _, module in self.run.model.modules() for _, value in module.members()]
        buffers = [value.data for value in members if isinstance(value, Tensor) and not isinstance(value, Parameter)]
        return [*self.run.optimizer.arrays(), *buffers, *(value for value in members if isinstance(value, xp.ndarray)),
                *self.scalars.values(), *self.sums.values()]


def same_bits(xp: Any, first: list[Any], second: list[Any]) -> bool:
    """Whether two lists of arrays are equal, NaN included. This waits for the device."""
    flat = [[array.reshape(-1).view("uint8") for array in arrays] for arrays in (first, second)]
    return bool(xp.stack([(a == b).all() for a, b in zip(*flat, strict=True)]).all())
