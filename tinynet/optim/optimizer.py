"""The base of optimizers: parameters, gradients and moments, each packed into one flat array.

One update of a flat array takes the place of an update for each parameter. A parameter's `data` is a view of the flat
values, and a backward pass copies its gradient into a view of the flat gradients (`Parameter.home`). If a parameter is
given another array (`model.to`, `model.astype`), the next step packs again.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from tinynet import backend
from tinynet.errors import ArgumentError, ShapeError, StateError
from tinynet.nn.parameter import Parameter, Parameters
from tinynet.tracing import observers
from tinynet.types import Array, Rate

Weights = Iterable[Parameter]  # model.parameters(), or a list


def scalar(number: Any, like: Array) -> Any:
    """A factor for the array `like`, in its dtype: a 0-d float64 array would make a float32 result float64."""
    return number.astype(like.dtype) if hasattr(number, "astype") else number


class Pack:
    """Parameters of one dtype and device, contiguous in flat arrays."""

    def __init__(self, named: list[tuple[str, Parameter]], moments: dict[str, dict[str, Array]]) -> None:
        self.parameters = [parameter for _, parameter in named]
        ends = [0, *itertools.accumulate(parameter.size for parameter in self.parameters)]
        self.slices = [slice(start, end) for start, end in itertools.pairwise(ends)]
        first = self.parameters[0]
        xp = backend.namespace(first.device)
        self.values, self.gradients = (xp.empty(ends[-1], first.dtype) for _ in range(2))
        self.moments = {moment: xp.zeros(ends[-1], first.dtype) for moment in moments}
        self.views = []
        for (name, parameter), part in zip(named, self.slices, strict=True):
            view = self.values[part].reshape(parameter.shape)
            view[...] = parameter.data
            parameter.data = view
            parameter.home = self.gradients[part].reshape(parameter.shape)
            self.views.append(view)
            for moment, by_name in moments.items():
                if name in by_name:
                    self.moments[moment][part] = backend.to_device(by_name[name], first.device).reshape(-1)

    def is_current(self) -> bool:
        """Whether the data of every parameter is still its view of the flat values."""
        return all(parameter.data is view for parameter, view in zip(self.parameters, self.views, strict=True))

    def runs(self) -> Iterator[slice]:
        """The maximal slices of parameters with a gradient; usually one. Gradients that lie elsewhere are copied in."""
        for parameter in self.parameters:
            if parameter.grad is not None and parameter.grad is not parameter.home:
                parameter.home[...] = parameter.grad
                parameter.grad = parameter.home
        pairs = zip(self.parameters, self.slices, strict=True)
        for has_gradient, run in itertools.groupby(pairs, lambda pair: pair[0].grad is not None):
            if has_gradient:
                parts = [part for _, part in run]
                yield slice(parts[0].start, parts[-1].stop)


class Optimizer:
    """The base of optimizers. A subclass names its `moments` and writes `update` for flat arrays.

    `lr`, which may be changed at any time, and `steps`, the number of steps so far, may be 0-d arrays on the device.
    A step skips parameters without a gradient. The moments exist from the start, as zeros.

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

    def __init__(self, parameters: Weights, lr: Rate) -> None:
        if not isinstance(parameters, Parameters):
            listed = list(parameters)
            if not all(isinstance(parameter, Parameter) for parameter in listed):
                raise ArgumentError(f"{type(self).__name__}: parameters must be Parameters, got "
                                    f"{[type(one).__name__ for one in listed][:3]}; model.parameters()?")
            parameters = Parameters((str(i), parameter) for i, parameter in enumerate(listed))
        if not len(parameters):
            raise ArgumentError(f"{type(self).__name__}: parameters must not be empty; was model.parameters() used up?")
        if isinstance(lr, float | int) and not (lr >= 0 and math.isfinite(lr)):
            raise ArgumentError(f"{type(self).__name__}: lr must be finite and not negative, got {lr}; lr=1e-3?")
        self.parameters = parameters
        self.lr = lr
        self.steps: int | Array = 0
        self._packs: list[Pack] = []
        self._pack({moment: {} for moment in self.moments})

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        self.parameters.zero_grad()

    def step(self) -> None:
        """Update the parameters once, from their gradients."""
        observer = observers.get().step
        observer(self, self._step) if observer else self._step()

    def _step(self) -> None:
        if not all(pack.is_current() for pack in self._packs):
            self._pack(self._moments())
        self.steps += 1
        for pack in self._packs:
            for run in pack.runs():
                self.update(pack.values[run], pack.gradients[run], *(pack.moments[name][run] for name in self.moments))

    def update(self, value: Array, gradient: Array, *moments: Array) -> None:
        """Update `value` and `moments`, flat arrays (n), in place. To be written by each optimizer."""
        raise NotImplementedError(f"{type(self).__name__}: an optimizer needs update(self, value, gradient, *moments)")

    def arrays(self) -> list[Array]:
        """The arrays that a step changes on the device: the flat values and moments."""
        return [array for pack in self._packs for array in (pack.values, *pack.moments.values())]

    def state_dict(self) -> dict[str, Array]:
        """Copies of the number of steps, `lr`, and the moments by parameter name (`1.W.m`), as NumPy arrays."""
        state = {name: backend.to_host(backend.as_array(number, dtype)).copy()
                 for name, number, dtype in (("steps", self.steps, "int64"), ("lr", self.lr, "float64"))}
        for moment, by_name in self._moments().items():
            state.update({f"{name}.{moment}": backend.to_host(array).copy() for name, array in by_name.items()})
        return state

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Restore the `state_dict` of an optimizer of the same class and parameters.

        Errors: StateError for missing or unexpected names, ShapeError for a wrong shape. Then nothing is changed.
        """
        shapes = {f"{name}.{moment}": parameter.shape
                  for name, parameter in self.parameters.items() for moment in self.moments}
        shapes.update(steps=(), lr=())
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
                    for moment in self.moments})

    def _pack(self, moments: dict[str, dict[str, Array]]) -> None:
        groups: dict[tuple[str, str], list[tuple[str, Parameter]]] = {}
        for name, parameter in self.parameters.items():
            groups.setdefault((parameter.device, str(parameter.dtype)), []).append((name, parameter))
        self._packs = [Pack(named, moments) for named in groups.values()]

    def _moments(self) -> dict[str, dict[str, Array]]:
        """The arrays of each moment, by parameter name."""
        names = {id(parameter): name for name, parameter in self.parameters.items()}
        return {moment: {names[id(parameter)]: pack.moments[moment][part].reshape(parameter.shape)
                         for pack in self._packs for parameter, part in zip(pack.parameters, pack.slices, strict=True)}
                for moment in self.moments}
