"""Batches, in an order that depends on the seed and the epoch alone."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinynet.errors import ArgumentError
from tinynet.random import current_seed, permutation, stream


class Loader:
    """Arrays of equal length, cut along their first axis into batches: each `for` over it is one epoch.

    It yields tuples with `array[index]` for each array, or what `transform(*batch)` returns. The last batch is
    smaller where `batch_size` does not divide the length, or left out with `drop_last`. With `shuffle` the order is

        permutation(length, key=(seed, stream("shuffle")), step=epoch)

    where `seed` None stands for the one last set by `tn.seed`. `epoch` counts the passes that were *begun*: a loop left
    early counts, too. Set it to go on where another run has stopped: `loader.epoch = 3` comes before the fourth pass.

    Raises `ArgumentError` where arrays are empty or of different lengths, or where no batch would come out.

    >>> x, labels = np.arange(10.0).reshape(5, 2), np.arange(5)
    >>> [(a.shape, b.tolist()) for a, b in Loader(x, labels, batch_size=2)]
    [((2, 2), [0, 1]), ((2, 2), [2, 3]), ((1, 2), [4])]
    >>> loader = Loader(labels, batch_size=5, shuffle=True, seed=0)
    >>> first, second = [batch.tolist() for epoch in range(2) for batch, in loader]
    >>> loader.epoch = 1
    >>> [batch.tolist() for batch, in loader] == [second]
    True
    """

    def __init__(
        self,
        *arrays: Any,
        batch_size: int,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int | None = None,
        transform: Callable[..., Any] | None = None,
    ) -> None:
        self.length = _common_length(arrays)
        if not _is_integer(batch_size) or batch_size < 1:
            raise ArgumentError(f"Loader: batch_size must be an integer of at least 1, got {batch_size!r}; try 128")
        if drop_last and batch_size > self.length:
            raise ArgumentError(f"Loader: with drop_last, batch_size must be at most the length of the arrays, "
                                f"{self.length}, got {batch_size}; no batch would be left: make it smaller")
        self.arrays = arrays
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = None if seed is None else _checked_seed("Loader", seed)
        self.transform = transform
        self.epoch = 0

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        full, rest = divmod(self.length, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        order = self._order()
        self.epoch += 1
        return self._batches(order)

    def _order(self) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.length)
        seed = current_seed() if self.seed is None else self.seed
        return permutation(self.length, key=(seed, stream("shuffle")), step=self.epoch)

    def _batches(self, order: np.ndarray) -> Iterator[Any]:
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            index = order[start : start + self.batch_size]
            batch = tuple(array[index] for array in self.arrays)
            yield batch if self.transform is None else self.transform(*batch)


def split(n: int, fraction: float, seed: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Part 0 ... n - 1 at random into indices to train on and round(n * fraction) indices to validate on.

    Both are sorted, int64, and have at least one element; together they hold every index once. `seed` None stands for
    the one last set by `tn.seed`. Raises `ArgumentError` where one part would be empty.

    >>> train, validation = split(10, 0.2, seed=0)
    >>> len(train), len(validation), sorted([*train.tolist(), *validation.tolist()]) == list(range(10))
    (8, 2, True)
    """
    if not 0 < fraction < 1:
        raise ArgumentError(f"split: fraction must lie between 0 and 1, got {fraction!r}; try 0.1")
    size = round(n * fraction)
    if not 0 < size < n:
        raise ArgumentError(f"split: both parts must have at least 1 element, but fraction {fraction} of n = {n} gives "
                            f"{n - size} and {size}; change fraction, or take more data")
    seed = current_seed() if seed is None else _checked_seed("split", seed)
    order = permutation(n, key=(seed, stream("split")), step=0)
    return np.sort(order[size:]), np.sort(order[:size])


def _common_length(arrays: tuple[Any, ...]) -> int:
    if not arrays:
        raise ArgumentError("Loader: arrays must be at least 1, got 0; try Loader(images, labels, batch_size=128)")
    for position, array in enumerate(arrays):
        if not getattr(array, "shape", ()):
            raise ArgumentError(f"Loader: array {position} must be an array with at least one axis, got "
                                f"{type(array).__name__}; try np.asarray")
    lengths = [array.shape[0] for array in arrays]
    if len(set(lengths)) > 1:
        raise ArgumentError(f"Loader: arrays must have the same length, got {', '.join(map(str, lengths))}; "
                            "does each image have one label?")
    if lengths[0] == 0:
        raise ArgumentError("Loader: arrays must have at least 1 element, got 0; was everything filtered out?")
    return int(lengths[0])


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _checked_seed(function: str, seed: int) -> int:
    if not _is_integer(seed) or not 0 <= seed < 2**32:
        raise ArgumentError(f"{function}: seed must be an integer in [0, 2**32), got {seed!r}; try seed=0")
    return int(seed)
