"""The interface of all peers. An adapter is written once for each framework, independently of the measurements."""

import importlib.util
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

Layer = tuple[str, dict[str, Any]]  # the name of a layer of tinynet.nn, and its arguments
Arrays = dict[str, np.ndarray]

LEARNING_RATE = 1e-3  # of Adam; its betas are 0.9 and 0.999, its epsilon 1e-8


class Network(ABC):
    """A model made of a framework's own layers, with Adam.

    For the objective "cross_entropy", the mean over the batch, `target` is labels (N). For "product", `target` is an
    array of the shape of the output y, and the objective is the sum of y * target. Backward then starts with the
    gradient `target`, and also computes the gradient of x. Each method returns when its work is finished.
    """

    def mode(self, training: bool) -> None:  # noqa: B027  # only for frameworks whose models have this state
        """Switch to training, or to evaluation before `forward`."""

    @abstractmethod
    def forward(self, x: Any) -> Any:
        """The output in evaluation, without data for a backward pass."""

    @abstractmethod
    def step(self, x: Any, target: Any) -> float:
        """Do one training step. Returns the loss before it."""

    @abstractmethod
    def backward(self, x: Any, target: Any) -> Any:
        """Forward and backward without an update. Returns an object that holds loss and gradients."""

    @abstractmethod
    def gradients(self, x: Any, target: Any) -> Arrays:
        """The gradients of `backward` with the names and layouts of tinynet, and "loss" or the gradient of "x"."""

    @abstractmethod
    def set_gradients(self, gradients: Arrays) -> None:
        """Set the gradients for `update`."""

    @abstractmethod
    def update(self) -> None:
        """Do one step of Adam with the gradients of `set_gradients`."""

    @abstractmethod
    def parameters(self) -> Arrays:
        """The parameters with the names and layouts of tinynet."""


class Peer(ABC):
    """A framework, which is not imported before `start`."""

    name: ClassVar[str]
    title: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]  # the packages to install; the first one is imported
    programs: ClassVar[tuple[str, ...]] = ()  # programs that must be on the PATH

    @property
    def module(self) -> str:
        """The module that a user imports."""
        return self.packages[0]

    @classmethod
    def lacks(cls) -> str | None:
        """The reason why this peer cannot run here, or None."""
        missing = [package for package in cls.packages if importlib.util.find_spec(package) is None]
        if missing:
            return f"{', '.join(missing)} not installed"
        missing = [program for program in cls.programs if shutil.which(program) is None]
        return f"needs {', '.join(missing)} on the PATH" if missing else None

    @classmethod
    def environment(cls, cache: Path) -> dict[str, str]:
        """Environment variables that place its cache of compiled code in the folder `cache`."""
        return {}

    @abstractmethod
    def start(self, threads: int) -> None:
        """Import it and set it up for `threads` threads. The process is already bound to as many processors."""

    @abstractmethod
    def build(self, layers: list[Layer], weights: Arrays, shape: tuple[int, ...], objective: str) -> Network:
        """A network of these layers with these weights (`"2.W"`, `"0.running_mean"`), for an x of this shape."""

    @abstractmethod
    def put(self, array: np.ndarray) -> Any:
        """The array in the framework's best form, made once before timing."""

    def numpy(self, array: Any) -> np.ndarray:
        """A result of the framework as a NumPy array."""
        return np.asarray(array)

    def settings(self) -> dict[str, Any]:
        """Its settings, for the file of results."""
        return {}

    def product(self, size: int) -> Callable[[], Any] | None:
        """A function that multiplies two float32 matrices of `size` x `size`."""
        a = self.put(np.linspace(-1, 1, size * size, dtype=np.float32).reshape(size, size))
        return lambda: a @ a

    def chain(self, length: int) -> Callable[[], Any] | None:
        """A function that records `length` operations on a tape and runs backward; None without a tape."""
        return None


def swapped(columns: np.ndarray) -> np.ndarray:
    """Column blocks f, i, C̃, o of an LSTM as i, f, C̃, o, the order of PyTorch and Keras; and back."""
    f, i, C, o = np.split(columns, 4, axis=-1)
    return np.concatenate([i, f, C, o], axis=-1)
