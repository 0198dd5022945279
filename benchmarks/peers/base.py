"""What every peer offers. An adapter is written once for each framework, and knows nothing of what is measured."""

import importlib.util
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

Layer = tuple[str, dict[str, Any]]  # the name of a layer of tinynet.nn, and its arguments
Arrays = dict[str, np.ndarray]

LEARNING_RATE = 1e-3  # Adam's other numbers are the usual ones: betas 0.9 and 0.999, epsilon 1e-8


class Network(ABC):
    """A model built of a framework's own layers, with Adam behind it.

    `target` is labels (N) where the objective is "cross_entropy", the mean over the batch; where it is "product", an
    array of the shape of the output, y, and what is differentiated is the sum of y * target: backward then starts
    with the gradient `target`, and the gradient of x is wanted, too. Every method returns when its work is done.
    """

    def mode(self, training: bool) -> None:  # noqa: B027  # only for frameworks whose models keep it as a state
        """From now on either `forward` alone is called, or everything but `forward`."""

    @abstractmethod
    def forward(self, x: Any) -> Any:
        """The output in evaluation, with nothing kept for a backward pass."""

    @abstractmethod
    def step(self, x: Any, target: Any) -> float:
        """One step of training: the loss before it."""

    @abstractmethod
    def backward(self, x: Any, target: Any) -> Any:
        """Forward and backward, the parameters left as they are: something that holds loss and gradients."""

    @abstractmethod
    def gradients(self, x: Any, target: Any) -> Arrays:
        """The gradients of `backward`, under the names and in the layouts of tinynet, and "loss" or that of "x"."""

    @abstractmethod
    def set_gradients(self, gradients: Arrays) -> None:
        """The gradients that `update` is to use."""

    @abstractmethod
    def update(self) -> None:
        """One step of Adam with the gradients that were set."""

    @abstractmethod
    def parameters(self) -> Arrays:
        """The parameters, under the names and in the layouts of tinynet."""


class Peer(ABC):
    """A framework. Nothing of it is imported before `start`."""

    name: ClassVar[str]
    title: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]  # what a user installs; the first one is the one that is imported
    programs: ClassVar[tuple[str, ...]] = ()  # what it must find on the PATH

    @property
    def module(self) -> str:
        """What a user imports."""
        return self.packages[0]

    @classmethod
    def lacks(cls) -> str | None:
        """What keeps this peer from running here; None if nothing does."""
        missing = [package for package in cls.packages if importlib.util.find_spec(package) is None]
        if missing:
            return f"{', '.join(missing)} not installed"
        missing = [program for program in cls.programs if shutil.which(program) is None]
        return f"needs {', '.join(missing)} on the PATH" if missing else None

    @classmethod
    def environment(cls, cache: Path) -> dict[str, str]:
        """Environment variables that have it keep what it compiles in the folder `cache`, between processes."""
        return {}

    @abstractmethod
    def start(self, threads: int) -> None:
        """Import it and set it up for so many threads. The process is bound to as many processors already."""

    @abstractmethod
    def build(self, layers: list[Layer], weights: Arrays, shape: tuple[int, ...], objective: str) -> Network:
        """A network of these layers with these weights (`"2.W"`, `"0.running_mean"`), for an x of this shape."""

    @abstractmethod
    def put(self, array: np.ndarray) -> Any:
        """The array as the framework likes it best, made once, before anything is timed."""

    def numpy(self, array: Any) -> np.ndarray:
        """A NumPy array of what the framework computed."""
        return np.asarray(array)

    def settings(self) -> dict[str, Any]:
        """How it was set up, for the record."""
        return {}

    def product(self, size: int) -> Callable[[], Any] | None:
        """A function that multiplies two float32 matrices of `size` x `size`."""
        a = self.put(np.linspace(-1, 1, size * size, dtype=np.float32).reshape(size, size))
        return lambda: a @ a

    def chain(self, length: int) -> Callable[[], Any] | None:
        """A function that tapes so many operations on a few numbers and goes back through them; None without a tape."""
        return None
