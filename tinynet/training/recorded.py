"""The training step on a GPU, recorded as a CUDA graph and replayed: see `tinynet/recording.py`.

A GPU finishes the step of a small net before the host has launched the kernels of the next one. Steps run as usual
until a batch has the shape of an earlier one. From there on, steps with batches of this shape are

    rehearsed   computed as usual, but with the learning rate and the step count in device scalars; afterwards all
                kernels are compiled and all arrays exist
    recorded    the next one
    replayed    all later ones

Where a `Loader` keeps its data on the device, the step begins with the gather of its batch and the loader's transform:
a replay gets only the indices of the rows. If such a step cannot be recorded, the step without them is tried.

Other batches, such as the last one of an epoch, run as usual. Before a replay the host writes the learning rate to its
device scalar. From the recording on, the batches that a BatchNorm has seen are in device scalars too. After a replay,
the host adds to its own counters what the recorded step added. If the model or the optimizer has changed, a step is
rehearsed and recorded again.

A recording cannot see all that Python does: a step may draw a random number or read a global variable. So the first
replayed step, and the first one of each epoch, is computed twice from one state: replayed, and as usual. If any bit
differs, the usual result stays, and a step is recorded again; if the very first replay differs, steps run as usual from
then on. So does a step that waits for the device, copies to it, or changes an attribute: `reason` says why.
"""

from collections.abc import Callable, Collection, Sequence
from operator import is_
from typing import Any

from tinynet import backend
from tinynet.errors import DeviceError
from tinynet.nn.parameter import Parameter
from tinynet.recording import Fingerprint, Recording, Watched
from tinynet.tensor import Tensor
from tinynet.tracing import is_observed
from tinynet.training.run import Run

Place = tuple[Any, str]  # an object and the name of its attribute
Step = Callable[..., tuple[Tensor, Tensor]]  # of inputs and targets: the loss and the outputs


class RecordedStep:
    """Makes the steps of a run on a GPU. `step(*inputs, target)` is all that a step computes; it adds to
    `run.sums`, too.

    If steps cannot be recorded, `reason` says why, and all of them run as usual.
    """

    def __init__(self, run: Run, step: Step, device: str) -> None:
        self.run, self.step, self.device = run, step, device
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

    def __call__(self, *arrays: Tensor) -> None:
        """Make a step."""
        if self.reason or is_observed() or not self._is_for(arrays):
            self._as_usual(*arrays)
        elif not self._is_current():
            self._choose_scalars()
            self._write_scalars()
            self._rehearse(*arrays)
        elif self.recording is None:
            self._write_scalars()
            self._record(*arrays)
        elif self.run.batch == 0 or not self.is_proven:
            self._write_scalars()
            self._prove(self.recording, *arrays)
        else:
            self._write_scalars()
            self.recording.replay(*arrays)
            self._count()
            for module, attribute, count in self.counts:
                setattr(module, attribute, getattr(module, attribute) + count)
            self.run.sums["images"] += len(arrays[-1])

    def _is_for(self, arrays: Sequence[Tensor]) -> bool:
        """Whether a batch has the shape that is recorded: the first one to come twice."""
        shape = tuple(part for array in arrays for part in (array.shape, array.dtype))
        if self.shape is None and shape in self.seen:
            self.shape = shape
        self.seen.add(shape)
        return bool(shape == self.shape)

    def _as_usual(self, *arrays: Tensor) -> None:
        self.step(*arrays)
        xp = backend.namespace(self.device)
        self.sums = self.sums or {name: xp.zeros((), total.dtype) for name, total in self.run.sums.items()
                                  if isinstance(total, xp.ndarray)}

    # --- numbers of the host, on the device --------------------------------------------------------------------------

    def _choose_scalars(self) -> None:
        """Make device scalars for the step count, the learning rate and the batches seen.

        The rate has the widest dtype among the parameters: a Python number gives the same bits. With groups it is
        float64, like the products of the rate with their factors on the host.
        """
        xp, optimizer = backend.namespace(self.device), self.run.optimizer
        widest = max((parameter.dtype for parameter in optimizer.parameters), key=lambda dtype: dtype.itemsize)
        rate = "float64" if optimizer.groups else widest
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

    def _rehearse(self, *arrays: Tensor) -> None:
        optimizer = self.run.optimizer
        before = {place: getattr(*place) for place in self.scalars if place[0] is not optimizer}
        self._work(*arrays, host=before)  # counts on the host what the layers count
        self.added = {place: getattr(*place) - count for place, count in before.items()}
        for (owner, name), count in before.items():
            setattr(owner, name, count)
        if (optimizer, "steps") in self.scalars:
            self.added[optimizer, "steps"] = 1
        self._count()
        self.written = {place: number for place, number in self.written.items() if place not in before}
        self.trained = self.run.model, self.run.optimizer
        self.rehearsed, self.recording = Fingerprint(self._watched()), None

    def _record(self, *arrays: Tensor) -> None:
        """Record a step and launch it once. Python runs its code while it is recorded, and counts as usual."""
        run, counters = self.run, list(self.run.model.counters().values())
        before = [getattr(*counter) for counter in counters]
        host = [run.sums, vars(run.optimizer), *(vars(module) for _, module in run.model.modules())]
        kept = [dict(names) for names in host]
        try:
            recording = Recording(self.device, self._work, arrays, self._watched(), arrays=self._places())
        except BaseException as error:  # the GPU has done nothing: neither has Python
            for names, values in zip(host, kept, strict=True):
                names.clear()
                names.update(values)
            if not isinstance(error, DeviceError):
                raise
            self.reason = str(error)
            self._as_usual(*arrays)
            return
        self.counts = [(*counter, getattr(*counter) - count) for counter, count in zip(counters, before, strict=True)]
        self._count()
        if recording.changed:
            self.reason = ("fit: a step that is recorded as a CUDA graph must not change numbers of the host, and this "
                           f"one changes {', '.join(recording.changed)}; a Buffer is counted on the device")
        else:
            self.recording, self.is_proven = recording, False

    def _prove(self, recording: Recording, *arrays: Tensor) -> None:
        """Compute this step twice from the same state: replayed, and as usual. The usual result stays."""
        places = self._places()
        try:
            before, replayed = ([place.copy() for place in places] for _ in range(2))
        except MemoryError as error:
            self.reason = f"fit: there is no room to compare a replayed step with a usual one ({error})"
            self._rehearse(*arrays)
            return
        recording.replay(*arrays)
        for place, old, new in zip(places, before, replayed, strict=True):
            new[...] = place
            place[...] = old
        self._work(*arrays)
        self._count()
        if same_bits(backend.namespace(self.device), places, replayed):
            self.is_proven = True
        elif self.is_proven:
            self.recording = None
        else:
            self.reason = ("fit: a step that is recorded as a CUDA graph must give what it gives as usual, bit for "
                           "bit, and this one does not; does it draw or count numbers on the host (a Buffer is counted "
                           "on the device), or has cuBLAS chosen another algorithm for the stream of the recording?")

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
