"""The base of optimizers: parameters, gradients and moments, each packed into one flat array.

One update of a flat array takes the place of an update for each parameter. A parameter's `data` is a view of the flat
values. Its gradient is written into a view of the flat gradients (`Parameter.home`). If a parameter is given another
array (`model.to`, `model.astype`) or another home, the next step packs again. A copy of an optimizer packs anew.
"""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, Required, TypedDict

import numpy as np

from tinynet import backend
from tinynet.elsewhere import OPTIMIZER, answers, check_name, guide
from tinynet.errors import ArgumentError, ShapeError, StateError
from tinynet.nn.parameter import Parameter, Parameters
from tinynet.optim.rules import Rule, learning_rate
from tinynet.plain import plain
from tinynet.shown import brief
from tinynet.tensor import Tensor
from tinynet.tracing import observers
from tinynet.types import Array, Rate


class GroupOptions(TypedDict, total=False):
    """Parameters with a rate or a weight decay of their own, as they are given to an optimizer."""

    parameters: Required[Iterable[Parameter]]
    lr: float
    weight_decay: float


Weights = Iterable[Parameter] | Iterable[GroupOptions]  # model.parameters(), a list of parameters, or of groups


class Group(NamedTuple):
    """Parameters whose rate is `factor` times that of the optimizer; a weight decay of None is the optimizer's."""

    parameters: Parameters
    factor: float
    weight_decay: float | None


def scalar(number: Any, like: Array) -> Any:
    """A factor for the array `like`, in its dtype: a 0-d float64 array would make a float32 result float64."""
    return number.astype(like.dtype) if hasattr(number, "astype") else number


class Pack:
    """Parameters of one dtype and device, contiguous in flat arrays."""

    def __init__(self, named: list[tuple[str, Parameter]], moments: dict[str, dict[str, Array]], steps: int,
                 counts: Mapping[str, int], group: Group | None) -> None:
        self.group = group
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
        self.found: list[tuple[tuple[Array, ...], int]] = []  # of `runs`, while the same parameters have a gradient
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

    def runs(self, steps: Any) -> list[tuple[tuple[Array, ...], int]]:
        """The maximal runs of parameters with a gradient and equal missed steps; usually one.

        Each is the parts of the flat arrays (values, gradients, moments), and the number of missed steps. `steps`
        counts the present step. Gradients that lie elsewhere are copied in.
        """
        has_gradient = []
        for parameter in self.parameters:
            held = parameter.held
            has_gradient.append(held is not None)
            if held is None:
                continue
            parameter.version += 1
            if held is not parameter.home:
                backend.copy_all([parameter.home], [held])
                parameter.held = parameter.home
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

    def _find(self) -> list[tuple[tuple[Array, ...], int]]:
        found, numbered = [], zip(self.slices, self.has_gradient, self.missed, strict=True)
        for (is_updated, missed), some in itertools.groupby(numbered, lambda one: one[1:]):
            if is_updated:
                parts = [part for part, _, _ in some]
                run = slice(parts[0].start, parts[-1].stop)
                arrays = self.values, self.gradients, *self.moments.values()
                found.append((tuple(array[run] for array in arrays), missed))
        self.found = found
        return found

    def counts(self, steps: int) -> list[int]:
        """For each parameter the number of its steps, after `steps` steps of the optimizer."""
        return [(steps if has else since) - missed
                for has, since, missed in zip(self.has_gradient, self.since, self.missed, strict=True)]


class Optimizer:
    """The base of optimizers. A subclass names its `moments` and writes `update` for flat arrays.

    `lr` and `steps`, the number of steps so far, may be 0-d arrays on the device. Options may be changed at any time.
    A step skips parameters without a gradient. The moments exist from the start, as zeros. With `counts_steps`, steps
    are counted for each parameter: `update` gets parameters with an equal count, which is `self.count`.

    Parameters may come in groups, dictionaries with `parameters` and the options in `own_options` that a group has of
    its own. The `lr` of a group is its rate while that of the optimizer is the `lr` given here. When a schedule, or the
    user, sets `optimizer.lr`, the rates of groups change in proportion. During `update`, `self.lr` and
    `self.weight_decay` are those of the group. `groups` lists them, with the factor of each rate.

    >>> import tinynet as tn
    >>> class SignDescent(tn.optim.Optimizer):
    ...     def update(self, value, gradient):
    ...         value -= self.lr * (gradient > 0) - self.lr * (gradient < 0)
    >>> w = tn.nn.Parameter([1.0])
    >>> optimizer = SignDescent([w], lr=0.5)
    >>> (w * w).sum().backward(); optimizer.step(); w.item()
    0.5
    >>> model = tn.nn.Sequential(tn.nn.LSTM(3, 4), tn.nn.Dense(4, 2))
    >>> optimizer = tn.optim.Adam([{"parameters": model[0].parameters(), "lr": 1e-4},
    ...                            {"parameters": model[1].parameters(), "weight_decay": 0.01}], lr=1e-3)
    >>> [round(group.factor, 3) for group in optimizer.groups]
    [0.1, 1.0]
    """

    moments: ClassVar[tuple[str, ...]] = ()
    counts_steps: ClassVar[bool] = False
    own_options: ClassVar[tuple[str, ...]] = ("lr",)  # that a group may have; each has a rule
    rules: ClassVar[Mapping[str, Rule]] = {"lr": learning_rate}  # of options, which may be changed at any time
    _missed = 0  # steps that the parameters of the present update have missed

    def __init__(self, parameters: Weights, lr: Rate) -> None:
        self.lr = lr
        is_whole = isinstance(parameters, Parameters | Tensor) or not isinstance(parameters, Iterable)
        listed: Any = parameters if is_whole else [*parameters]
        is_grouped = isinstance(listed, list) and any(isinstance(one, Mapping) for one in listed)
        self.groups = [*map(self._group, listed)] if is_grouped else []
        self.parameters = _joined(self.groups) if is_grouped else self._named(listed)
        if len(self.parameters) < sum(len(group.parameters) for group in self.groups):
            raise ArgumentError(f"{type(self).__name__}: a parameter must be in one group, and some are in two; "
                                "[p for name, p in model.parameters().items() if not name.endswith('.b')]?")
        self.steps: int | Array = 0
        self._packs: list[Pack] = []
        self._pack({moment: {} for moment in self.moments}, {})

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        guide(cls)

    def __setattr__(self, name: str, value: object) -> None:
        check_name(self, name, OPTIMIZER)
        rule = self.rules.get(name)
        super().__setattr__(name, value if rule is None else rule(type(self).__name__, value))

    def _named(self, parameters: Any) -> Parameters:
        """Parameters with their names; those of a list are numbered."""
        if isinstance(parameters, Tensor):  # which may have axes to iterate over
            raise ArgumentError(f"{type(self).__name__}: parameters must be a list, got one {type(parameters).__name__}"
                                "; [parameter]?")
        if not isinstance(parameters, Parameters):
            listed = list(parameters) if isinstance(parameters, Iterable) else [parameters]
            if not all(isinstance(parameter, Parameter) for parameter in listed):
                raise ArgumentError(f"{type(self).__name__}: parameters must be Parameters, got "
                                    f"{[type(one).__name__ for one in listed][:3]}; model.parameters()?")
            parameters = Parameters((str(i), parameter) for i, parameter in enumerate(listed))
        if not len(parameters):
            raise ArgumentError(f"{type(self).__name__}: parameters must not be empty; was model.parameters() used up?")
        return parameters

    def _group(self, options: Any) -> Group:
        name = type(self).__name__
        if not isinstance(options, Mapping) or "parameters" not in options or (
                options.keys() - {"parameters", *self.own_options}):
            got = list(options) if isinstance(options, Mapping) else type(options).__name__
            raise ArgumentError(f"{name}: a group must be a dictionary with parameters, and may have "
                                f'{" and ".join(self.own_options)}, got {got}; {{"parameters": layer.parameters(), '
                                '"lr": 1e-4}?')
        own = {option: float(self.rules[option](name, options[option])) for option in self.own_options
               if options.get(option) is not None}
        base = float(self.lr)
        rate = own.get("lr", base)
        if rate != base and not base:
            raise ArgumentError(f"{name}: lr must be above 0 for a group to have a rate of its own, got 0 and {rate}: "
                                "the rates keep their ratio; lr=1e-3?")
        return Group(self._named(options["parameters"]), 1.0 if rate == base else rate / base, own.get("weight_decay"))

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
        self.steps = backend.incremented(self.steps)
        for pack in self._packs:
            for arrays, missed in pack.runs(self.steps):
                self._missed = missed if self.counts_steps else 0
                self.update(*arrays) if pack.group is None else self._update_group(pack.group, *arrays)

    def _update_group(self, group: Group, *arrays: Array) -> None:
        """Update with the rate and the weight decay of a group in place of the optimizer's."""
        own: dict[str, Any] = {"lr": self.lr if group.factor == 1 else _times(self.lr, group.factor)}
        if group.weight_decay is not None:
            own["weight_decay"] = group.weight_decay
        kept = {name: getattr(self, name) for name in own}
        try:
            vars(self).update(own)
            self.update(*arrays)
        finally:
            vars(self).update(kept)

    def update(self, value: Array, gradient: Array, *moments: Array) -> None:
        """Update `value` and `moments`, flat arrays (n), in place. To be written by each optimizer."""
        raise NotImplementedError(f"{type(self).__name__}: an optimizer needs update(self, value, gradient, *moments)")

    def arrays(self) -> list[Array]:
        """The arrays that a step changes on the device: the flat values and moments."""
        return [array for pack in self._packs for array in (pack.values, *pack.moments.values())]

    def gradients(self) -> list[Array]:
        """The flat gradients, which a backward pass writes."""
        return [pack.gradients for pack in self._packs]

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
        self.lr, self.steps = float(state["lr"]), int(state["steps"])
        self._pack({moment: {name: state[f"{name}.{moment}"] for name in self.parameters.names}
                    for moment in self.moments}, {name: int(state[key]) for name, key in counted.items()})

    def _pack(self, moments: dict[str, dict[str, Array]], counts: dict[str, int]) -> None:
        number_of = {id(parameter): i for i, group in enumerate(self.groups) for parameter in group.parameters}
        alike: dict[tuple[str, str, int], list[tuple[str, Parameter]]] = {}
        for name, parameter in self.parameters.items():
            key = parameter.device, str(parameter.dtype), number_of.get(id(parameter), -1)
            alike.setdefault(key, []).append((name, parameter))
        self._packs = [Pack(named, moments, int(self.steps), counts, self.groups[i] if self.groups else None)
                       for (_, _, i), named in alike.items()]

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


answers(Optimizer, OPTIMIZER)


def _joined(groups: list[Group]) -> Parameters:
    """The parameters of all groups, with the number of the group before each name."""
    return Parameters((f"{i}.{name}", parameter) for i, group in enumerate(groups)
                      for name, parameter in group.parameters.items())


def _times(lr: Rate, factor: float) -> Rate:
    """A rate times a factor. Of an array of the host this may be recorded."""
    if not isinstance(lr, np.ndarray):
        return plain(lr) * factor
    product = backend.empty((), "float64", "cpu")
    backend.call(np.multiply, lr, factor, product, dtype="float64")
    return product
