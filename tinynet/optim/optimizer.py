"""The base of optimizers: parameters, gradients and moments, each packed into one flat array.

One update of a flat array takes the place of an update for each parameter. A parameter's `data` is a view of the flat
values. Its gradient is written into a view of the flat gradients (`Parameter.home`). If a parameter is given another
array (`model.to`, `model.astype`) or another home, the next step packs again. A copy of an optimizer packs anew.
"""

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from tinynet import backend
from tinynet.errors import ArgumentError, ShapeError, StateError
from tinynet.nn.parameter import Parameter, Parameters
from tinynet.plain import plain
from tinynet.shown import brief
from tinynet.tracing import observers
from tinynet.types import Array, Rate

Weights = Iterable[Parameter]  # model.parameters(), or a list


def scalar(number: Any, like: Array) -> Any:
    """A factor for the array `like`, in its dtype: a 0-d float64 array would make a float32 result float64."""
    return number.astype(like.dtype) if hasattr(number, "astype") else number


class Pack:
    """Parameters of one dtype and device, contiguous in flat arrays."""

    def __init__(self, named: list[tuple[str, Parameter]], moments: dict[str, dict[str, Array]], steps: int,
                 counts: Mapping[str, int]) -> None:
        self.parameters = [parameter for _, parameter in named]
        ends = [0, *itertools.accumulate(parameter.size for parameter in self.parameters)]
        self.slices = [slice(start, end) for start, end in itertools.pairwise(ends)]
        first = self.parameters[0]
        xp = backend.namespace(first.device)
        self.values, self.gradients = (xp.empty(ends[-1], first.dtype) for _ in range(2))
        self.moments = {moment: xp.zeros(ends[-1], first.dtype) for moment in moments}
        # A parameter misses steps while it has no gradient. `since` is the last step before it began to.
        self.has_gradient, self.since = [True] * len(named), [steps] * len(named)
        self.missed = [steps - counts.get(name, steps) for name, _ in named]
        self.found: list[tuple[slice, int]] = []  # the result of `runs`, while the same parameters have a gradient
        self.views = []
        for (name, parameter), part in zip(named, self.slices, strict=True):
            view = self.values[part].reshape(parameter.shape)
            view[...] = parameter.data
            parameter.data = view
            parameter.home = self.gradients[part].reshape(parameter.shape)
            self.views.append((view, parameter.home))
            for moment, by_name in moments.items():
                if name in by_name:
                    self.moments[moment][part] = backend.to_device(by_name[name], first.device).reshape(-1)

    def is_current(self) -> bool:
        """Whether the data and the home of every parameter are still its views of the flat arrays."""
        return all([parameter.data is view and parameter.home is home
                    for parameter, (view, home) in zip(self.parameters, self.views, strict=True)])

    def runs(self, steps: Any) -> list[tuple[slice, int]]:
        """The maximal slices of parameters with a gradient and equal missed steps, with these; usually one.

        `steps` counts the present step. Gradients that lie elsewhere are copied in.
        """
        for parameter in self.parameters:
            parameter.version += parameter.held is not None
            if parameter.held is not None and parameter.held is not parameter.home:
                parameter.home[...] = parameter.held
                parameter.held = parameter.home
        has_gradient = [parameter.held is not None for parameter in self.parameters]
        if has_gradient != self.has_gradient:
            self._note(has_gradient, int(steps) - 1)
        return self.found or self._find()

    def _note(self, has_gradient: list[bool], before: int) -> None:
        """Note which parameters have a gradient after the step number `before`."""
        for i, (had, has) in enumerate(zip(self.has_gradient, has_gradient, strict=True)):
            if has and not had:
                self.missed[i] += before - self.since[i]
            elif had and not has:
                self.since[i] = before
        self.has_gradient, self.found = has_gradient, []

    def _find(self) -> list[tuple[slice, int]]:
        numbered = zip(self.slices, self.has_gradient, self.missed, strict=True)
        for (is_updated, missed), run in itertools.groupby(numbered, lambda one: one[1:]):
            if is_updated:
                parts = [part for part, _, _ in run]
                self.found.append((slice(parts[0].start, parts[-1].stop), missed))
        return self.found

    def counts(self, steps: int) -> list[int]:
        """For each parameter the number of its steps, after `steps` steps of the optimizer."""
        return [(steps if has else since) - missed
                for has, since, missed in zip(self.has_gradient, self.since, self.missed, strict=True)]


class Optimizer:
    """The base of optimizers. A subclass names its `moments` and writes `update` for flat arrays.

    `lr`, which may be changed at any time, and `steps`, the number of steps so far, may be 0-d arrays on the device.
    A step skips parameters without a gradient. The moments exist from the start, as zeros. With `counts_steps`, steps
    are counted for each parameter: `update` gets parameters with an equal count, which is `self.count`.

    >>> import tinynet as tn
    >>> class SignDescent(tn.optim.Optimizer):
    ...     def update(self, value, gradient):
    ...         value -= self.lr * (gradient > 0) - self.lr * (gradient < 0)
    >>> w = tn.nn.Parameter([1.0])
    >>> optimizer = SignDescent([w], lr=0.5)
    >>> (w * w).sum().backward(); optimizer.step(); w.item()
    0.5
    """

    moments: ClassVar[tuple[str, ...]] = ()
    counts_steps: ClassVar[bool] = False
    _missed = 0  # steps that the parameters of the present update have missed

    def __init__(self, parameters: Weights, lr: Rate) -> None:
        lr = plain(lr)
        if not isinstance(parameters, Parameters):
            listed = list(parameters) if isinstance(parameters, Iterable) else [parameters]
            if not all(isinstance(parameter, Parameter) for parameter in listed):
                raise ArgumentError(f"{type(self).__name__}: parameters must be Parameters, got "
                                    f"{[type(one).__name__ for one in listed][:3]}; model.parameters()?")
            parameters = Parameters((str(i), parameter) for i, parameter in enumerate(listed))
        if not len(parameters):
            raise ArgumentError(f"{type(self).__name__}: parameters must not be empty; was model.parameters() used up?")
        if not hasattr(lr, "dtype") and not (isinstance(lr, float | int) and lr >= 0 and math.isfinite(lr)):
            raise ArgumentError(f"{type(self).__name__}: lr must be finite and not negative, got {lr!r}; lr=1e-3?")
        self.parameters = parameters
        self.lr = lr
        self.steps: int | Array = 0
        self._packs: list[Pack] = []
        self._pack({moment: {} for moment in self.moments}, {})

    def __repr__(self) -> str:
        return brief(self, f"{len(self.parameters)} parameters", f"{int(self.steps)} steps", lr=float(self.lr))

    @property
    def count(self) -> int | Array:
        """The number of steps of the parameters that are being updated."""
        return self.steps - self._missed if self._missed else self.steps

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_packs": (self._moments(), self._counts())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._pack(*state["_packs"])

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        self.parameters.zero_grad()

    def step(self) -> None:
        """Update the parameters once, from their gradients."""
        observer = observers.get().step
        observer(self, self._step) if observer else self._step()

    def _step(self) -> None:
        if not all(pack.is_current() for pack in self._packs):
            self._pack(self._moments(), self._counts())
        self.steps += 1
        for pack in self._packs:
            for run, missed in pack.runs(self.steps):
                self._missed = missed if self.counts_steps else 0
                self.update(pack.values[run], pack.gradients[run], *(pack.moments[name][run] for name in self.moments))

    def update(self, value: Array, gradient: Array, *moments: Array) -> None:
        """Update `value` and `moments`, flat arrays (n), in place. To be written by each optimizer."""
        raise NotImplementedError(f"{type(self).__name__}: an optimizer needs update(self, value, gradient, *moments)")

    def arrays(self) -> list[Array]:
        """The arrays that a step changes on the device: the flat values and moments."""
        return [array for pack in self._packs for array in (pack.values, *pack.moments.values())]

    def state_dict(self) -> dict[str, Array]:
        """Copies of the number of steps, `lr`, and the moments by parameter name (`1.W.m`), as NumPy arrays.

        With `counts_steps` also the number of steps of each parameter that has missed some (`1.W.steps`).
        """
        state = {name: backend.to_host(backend.as_array(number, dtype)).copy()
                 for name, number, dtype in (("steps", self.steps, "int64"), ("lr", self.lr, "float64"))}
        for moment, by_name in self._moments().items():
            state.update({f"{name}.{moment}": backend.to_host(array).copy() for name, array in by_name.items()})
        if self.counts_steps:
            state.update({f"{name}.steps": backend.as_array(count, "int64") for name, count in self._counts().items()
                          if count != int(self.steps)})
        return state

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Restore the `state_dict` of an optimizer of the same class and parameters.

        Errors: StateError for missing or unexpected names, ShapeError for a wrong shape. Then nothing is changed.
        """
        shapes = {f"{name}.{moment}": parameter.shape
                  for name, parameter in self.parameters.items() for moment in self.moments}
        counted = {name: f"{name}.steps" for name in self.parameters.names
                   if self.counts_steps and f"{name}.steps" in state}
        shapes.update(steps=(), lr=(), **dict.fromkeys(counted.values(), ()))
        if state.keys() != shapes.keys():
            raise StateError(f"load_state_dict: names must be those of {type(self).__name__}.state_dict(), missing "
                             f"{sorted(shapes.keys() - state.keys()) or 'none'}, unexpected "
                             f"{sorted(state.keys() - shapes.keys()) or 'none'}; "
                             "was it saved by the same optimizer for the same model?")
        for name, shape in shapes.items():
            if tuple(state[name].shape) != shape:
                raise ShapeError(f"load_state_dict: {name} must be {shape}, got {tuple(state[name].shape)}; "
                                 "was it saved for a model of the same sizes?")
        self.steps, self.lr = int(state["steps"]), float(state["lr"])
        self._pack({moment: {name: state[f"{name}.{moment}"] for name in self.parameters.names}
                    for moment in self.moments}, {name: int(state[key]) for name, key in counted.items()})

    def _pack(self, moments: dict[str, dict[str, Array]], counts: dict[str, int]) -> None:
        groups: dict[tuple[str, str], list[tuple[str, Parameter]]] = {}
        for name, parameter in self.parameters.items():
            groups.setdefault((parameter.device, str(parameter.dtype)), []).append((name, parameter))
        self._packs = [Pack(named, moments, int(self.steps), counts) for named in groups.values()]

    def _counts(self) -> dict[str, int]:
        """The number of steps of each parameter, by name."""
        names = {id(parameter): name for name, parameter in self.parameters.items()}
        return {names[id(parameter)]: count for pack in self._packs
                for parameter, count in zip(pack.parameters, pack.counts(int(self.steps)), strict=True)}

    def _moments(self) -> dict[str, dict[str, Array]]:
        """The arrays of each moment, by parameter name."""
        names = {id(parameter): name for name, parameter in self.parameters.items()}
        return {moment: {names[id(parameter)]: pack.moments[moment][part].reshape(parameter.shape)
                         for pack in self._packs for parameter, part in zip(pack.parameters, pack.slices, strict=True)}
                for moment in self.moments}
