"""The tensors of a module: parameters, which are trained, and buffers, which are not."""

from collections.abc import Iterable, Sequence
from typing import Any, overload

from tinynet import backend
from tinynet.errors import ShapeError
from tinynet.tensor import Tensor
from tinynet.types import Array, ArrayLike


class Parameter(Tensor):
    """A tensor that is trained. `home` is a view of an optimizer's flat array, which its gradient is copied into.

    Reading `.grad` moves the gradient out of `home`, which the next backward pass overwrites: what is read can be kept.
    `held` is the gradient without that, for code that does not keep it.

    >>> import tinynet as tn
    >>> tn.nn.Parameter([1.0, 2.0]).requires_grad
    True
    """

    __slots__ = ("home", "version")
    held: Any = vars(Tensor)["grad"]

    def __init__(self, data: ArrayLike, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)
        self.home: Any = None
        self.version = 0

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        """The parameter without its place in an optimizer's arrays: a copy belongs to no optimizer."""
        return None, {"data": self.data, "requires_grad": self.requires_grad, "grad": self.grad, "origin": self.origin,
                      "home": None, "version": 0}

    @property
    def grad(self) -> Array | None:
        """The gradient, an array of its own; None before the first `backward()`."""
        if self.held is not None and self.held is self.home:
            self.held = self.held.copy()
        return self.held

    @grad.setter
    def grad(self, gradient: Array | None) -> None:
        if gradient is not None and getattr(gradient, "shape", None) != self.shape:
            raise ShapeError(f"grad: a gradient must be an array of {self.shape}, the shape of its parameter, got "
                             f"{getattr(gradient, 'shape', type(gradient).__name__)}; None for no gradient?")
        self.held = gradient

    def place(self, dvalue: Array) -> Array:
        self.held = super().place(dvalue) if self.home is None else self.home
        return self.held

    def take(self, dvalue: Array) -> bool:
        return self.home is None and super().take(dvalue)

    def accumulate(self, dvalue: Array) -> bool:
        if self.held is not None:
            self.held = backend.add_to(self.held, dvalue)
        return self.held is not None


class Buffer(Tensor):
    """A tensor that belongs to the state of a module and is not trained: running averages, counters.

    >>> import tinynet as tn
    >>> tn.nn.Buffer([0.0]).requires_grad
    False
    """

    __slots__ = ("version",)

    def __init__(self, data: ArrayLike) -> None:
        super().__init__(data)
        self.version = 0


class Parameters(Sequence[Parameter]):
    """Parameters in order, each once, with their names.

    >>> import tinynet as tn
    >>> tn.nn.Dense(3, 2).parameters().names
    ('W', 'b')
    """

    def __init__(self, named: Iterable[tuple[str, Parameter]]) -> None:
        unique: dict[int, tuple[str, Parameter]] = {}
        for name, parameter in named:
            unique.setdefault(id(parameter), (name, parameter))
        self._items = tuple(unique.values())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self._items)

    def items(self) -> tuple[tuple[str, Parameter], ...]:
        """Pairs of name and parameter."""
        return self._items

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        for _, parameter in self._items:
            parameter.zero_grad()

    @overload
    def __getitem__(self, index: int | str) -> Parameter: ...
    @overload
    def __getitem__(self, index: slice) -> "Parameters": ...
    def __getitem__(self, index: int | str | slice) -> "Parameter | Parameters":
        if isinstance(index, slice):
            return Parameters(self._items[index])
        if isinstance(index, str):
            return dict(self._items)[index]
        return self._items[index][1]

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return "\n".join(f"{name} {parameter.shape} {parameter.dtype}" for name, parameter in self._items)
