"""Names of types, for type checkers, editors and readers of signatures. Only `numpy` is imported, and nothing runs."""

from collections.abc import Callable
from types import EllipsisType, ModuleType
from typing import Any, ParamSpec, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike as ArrayLike  # what NumPy makes an array of: arrays, Tensors, numbers, nested lists
from numpy.typing import DTypeLike as DTypeLike

Namespace = ModuleType  # the module of array functions of a device: numpy, cupy, or the emulator's
Array = np.ndarray[Any, np.dtype[Any]]  # NumPy's, or that of a GPU, which has the same interface
Shape = tuple[int, ...]
DType = np.dtype[Any]
Axes = int | tuple[int, ...] | None  # one axis, several, or all
Gradients = tuple[Array | None, ...]  # one for each input of an op, None where it is not needed
Count = int | Callable[[dict[str, Any]], int] | None  # of operations or elements; None if unknown
Rate = float | Array  # a learning rate: a number, or a 0-d array on the device

Index = int | slice | EllipsisType | ArrayLike | tuple[Any, ...] | None  # what NumPy takes in brackets
Pad = str | int  # of a window: "valid", "same", "causal", or the number of elements on both sides
Pads = Pad | tuple[Pad, Pad]  # one for height and width, or one for each
Pair = int | tuple[int, int]  # likewise

Inputs = ParamSpec("Inputs")
Output = TypeVar("Output", covariant=True)


class Rows(Protocol):
    """An array, or data with the same shape and brackets, such as `tn.data.Images`."""

    @property
    def shape(self) -> Shape: ...
    def __getitem__(self, index: Any, /) -> Any: ...


class SharesMemory(Protocol):
    """An array that the DLPack protocol shares: of NumPy, CuPy, PyTorch, JAX, ..."""

    def __dlpack__(self, *, stream: None = ...) -> Any: ...
    def __dlpack_device__(self) -> tuple[Any, Any]: ...


class TorchModule(Protocol):
    """A torch.nn.Module. PyTorch need not be installed."""

    def __call__(self, *inputs: Any) -> Any: ...
    def state_dict(self) -> dict[str, Any]: ...
    def eval(self) -> Any: ...


class HasForward(Protocol[Inputs, Output]):
    """A module, for the type of its call: this takes what `forward` takes, and returns what `forward` returns."""

    def forward(self, *inputs: Inputs.args, **options: Inputs.kwargs) -> Output: ...
