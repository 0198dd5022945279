"""Batches, in an order that depends only on the seed and the epoch."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tinynet import backend
from tinynet.data.buckets import by_length, checked_lengths, cut, span
from tinynet.data.gather import gather
from tinynet.data.prefetch import prefetch
from tinynet.distributed import Communicator
from tinynet.elsewhere import guided
from tinynet.errors import ArgumentError
from tinynet.parts import Part
from tinynet.plain import plain_rows, whole
from tinynet.random import current_seed, permutation, seed_or_current, stream
from tinynet.shown import brief
from tinynet.types import Array, ArrayLike, Rows

MOST_THREADS = 64


class Loader:
    """Arrays of equal length in batches along their first axis. One `for` loop over it is one epoch.

    Yields tuples with `array[index]` for each array, or the result of `transform(*batch)`. If `batch_size` does not
    divide the length, the last batch is smaller; `drop_last` leaves it out. With `shuffle` the order is

        permutation(length, key=(seed, stream("shuffle")), step=epoch)

    where `seed` None stands for the seed last set by `tn.seed`. `epoch` counts the passes that have *begun*, including
    loops that were left early. To continue another run before its fourth pass, set `loader.epoch = 3`; in the middle of
    a pass, use `load_state_dict` with the `state_dict` of the other loader.

    A tuple of arrays, such as `(x, mask)`, is one part of a batch: `Loader((x, mask), labels)` yields
    `((x, mask), labels)`. `lengths`, the steps of each row, with `bucket=K` makes batches of similar length. Of the
    order above, each K batches are sorted by length and cut into batches again; with `shuffle`, the full batches then
    change places, by the stream "buckets". A tuple whose last array is a mask (N,T) of the others is cut to the steps
    that are real in a row of the batch.

    An array may be any object with a shape that can be indexed by an array of integers, such as `Images`, which reads
    files. `augment(first, index, epoch, seed)`, such as an `Augment`, changes the rows of the first array before
    `transform`. With `threads`, at most threads + 1 batches are made in the background. Order and content do not depend
    on the number of threads, and an error is raised in place of its batch.

    With `device` the arrays are copied to the device once, and batches are made there: gathered, then changed by
    `transform`, which may use only operations of the device's arrays (`images.astype("float32") / 255`). `augment` is
    not available then, since it works on the host, and `threads` has no effect.

    Raises `ArgumentError` if arrays are empty or of different lengths, if there would be no batch, or for options that
    do not work with a device. Raises `DeviceError` for a device that is missing or has too little memory.

    >>> x, labels = np.arange(10.0).reshape(5, 2), np.arange(5)
    >>> [(a.shape, b.tolist()) for a, b in Loader(x, labels, batch_size=2)]
    [((2, 2), [0, 1]), ((2, 2), [2, 3]), ((1, 2), [4])]
    >>> loader = Loader(labels, batch_size=5, shuffle=True, seed=0)
    >>> first, second = [batch.tolist() for epoch in range(2) for batch, in loader]
    >>> loader.epoch = 1
    >>> [batch.tolist() for batch, in loader] == [second]
    True
    """

    @guided("tn.data.Loader(images, labels, batch_size=128)")
    def __init__(
        self,
        *arrays: Rows | tuple[Rows, ...],
        batch_size: int,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int | None = None,
        transform: Callable[..., Any] | None = None,
        augment: Callable[[Any, np.ndarray, int, int], Any] | None = None,
        threads: int = 0,
        device: str = "cpu",
        lengths: ArrayLike | None = None,
        bucket: int | None = None,
    ) -> None:
        self._parts = [len(array) if isinstance(array, tuple) else None for array in arrays]  # arrays of each tuple
        every = [one for array in arrays for one in (array if isinstance(array, tuple) else (array,))]
        arrays = tuple(plain_rows(array, f"Loader: array {position}") for position, array in enumerate(every))
        self.length = _common_length(arrays)
        self.batch_size = whole("Loader", "batch_size", batch_size, 1, usual="batch_size=128")
        if drop_last and batch_size > self.length:
            raise ArgumentError(f"Loader: with drop_last, batch_size must be at most the length of the arrays, "
                                f"{self.length}, got {batch_size}; no batch would be left: make it smaller")
        self.threads = whole("Loader", "threads", threads, 0, MOST_THREADS, usual="threads=1 is usually enough")
        self.bucket, self.lengths = checked_lengths(lengths, bucket, self.length)
        self._spans = [None if number is None or self.bucket is None else span(arrays[end - number : end])
                       for number, end in zip(self._parts, self._ends(), strict=True)]
        self.device = backend.device_name(device)
        if self.device != "cpu":
            arrays = _copied(arrays, self.device, augment)
        self.arrays = arrays
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = None if seed is None else seed_or_current("Loader", seed)
        self.transform = transform
        self.augment = augment
        self.epoch = 0
        self._position: tuple[int, int] | None = None  # the pass in progress and its next batch
        self._start = 0  # the first batch of the next pass

    def __repr__(self) -> str:
        return brief(self, f"{self.length:,} rows in {len(self):,} batches")

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        full, rest = divmod(self.length, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        return (batch for _, batch in self._batches(Communicator(), *self._begin()))

    def parts(self, ranks: Communicator) -> Iterator[tuple[Part, Any]]:
        """As a loop over the loader, but of each batch only the rows of one rank are read, augmented and transformed.

        >>> third = Communicator()
        >>> third.rank, third.size = 2, 3
        >>> [batch.tolist() for _, (batch,) in Loader(np.arange(6), batch_size=4).parts(third)]
        [[2, 3], [4, 5]]
        """
        return self._batches(ranks, *self._begin())

    def has_indices(self) -> bool:
        """Whether `indices` can be used: on a device, for batches that depend on the indices of their rows alone."""
        return type(self) is Loader and self.device != "cpu" and self.bucket is None

    def indices(self) -> Iterator[Any]:
        """As a loop over the loader, but yields the indices of the rows of each batch, int64 (B) on the device.

        `batch(index)` makes the batch. `fit` records that with the step: see `tinynet/training/recorded.py`.
        """
        order, _, epoch, start = self._begin()
        on_device = backend.to_device(order, self.device)
        for number in range(start, len(self)):
            self._position = epoch, number + 1
            yield on_device[number * self.batch_size : (number + 1) * self.batch_size]
        self._position = None

    def batch(self, index: Array) -> tuple[Any, ...]:
        """The batch of the rows of an index of `indices`."""
        batch = self._gathered(index, index)
        return batch if self.transform is None else self.transform(*batch)

    def _begin(self) -> tuple[Any, int, int, int]:
        """Begin a pass: the order of its rows, the seed, its number and its first batch."""
        seed = current_seed() if self.seed is None else self.seed
        order, epoch, start = self._order(seed), self.epoch, self._start
        self.epoch, self._start, self._position = epoch + 1, 0, (epoch, start)
        return order, seed, epoch, start

    def state_dict(self) -> dict[str, int]:
        """The position: the pass in progress (or the next one), from 0, and the number of batches that it has yielded.

        >>> loader = Loader(np.arange(6), batch_size=2)
        >>> batches = iter(loader)
        >>> first = next(batches)
        >>> loader.state_dict()
        {'epoch': 0, 'batch': 1}
        """
        position = self._position
        epoch, batch = position if position and position[0] == self.epoch - 1 else (self.epoch, self._start)
        return {"epoch": epoch, "batch": batch}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next `for` loop continue at the position that `state_dict` returned.

        Raises `ArgumentError`, and changes nothing, for a position that this loader does not have.

        >>> loader = Loader(np.arange(6), batch_size=2)
        >>> loader.load_state_dict({"epoch": 0, "batch": 1})
        >>> [batch.tolist() for batch, in loader]
        [[2, 3], [4, 5]]
        """
        same = "was it saved for the same data and batch size"
        batch = whole("load_state_dict", "batch", state.get("batch"), 0, len(self), usual=same)
        epoch = whole("load_state_dict", "epoch", state.get("epoch"), 0, 2**63 - 1, usual=same)
        self.epoch, self._start, self._position = epoch, batch, None

    def _order(self, seed: int) -> np.ndarray:
        order = np.arange(self.length)
        if self.shuffle:
            order = permutation(self.length, key=(seed, stream("shuffle")), step=self.epoch)
        if self.bucket is None:
            return order

        def moved(batches: int) -> Any:
            key = seed, stream("buckets")
            return permutation(batches, key=key, step=self.epoch) if self.shuffle else np.arange(batches)
        return by_length(order, self.lengths, self.batch_size, self.bucket, moved)

    def _ends(self) -> list[int]:
        """The number of arrays up to each input of a batch."""
        return list(itertools.accumulate(number or 1 for number in self._parts))

    def _batches(self, ranks: Communicator, order: Any, seed: int, epoch: int, start: int
                 ) -> Iterator[tuple[Part, Any]]:
        on_device = backend.to_device(order, self.device)

        def make(number: int) -> tuple[Part, Any]:
            whole = slice(number * self.batch_size, (number + 1) * self.batch_size)
            part = Part.of(ranks, len(order[whole]))
            index = on_device[whole][part.rows]
            batch = self._gathered(index, order[whole])  # all ranks cut the steps of a batch alike
            if self.augment is not None:
                batch = self.augment(batch[0], index, epoch, seed), *batch[1:]
            return part, batch if self.transform is None else self.transform(*batch)

        numbers = range(start, len(self))
        threads = self.threads if self.device == "cpu" else 0  # a device works asynchronously without threads
        for number, made in zip(numbers, prefetch(make, numbers, threads), strict=True):
            self._position = epoch, number + 1
            yield made
        self._position = None

    def _gathered(self, index: Any, rows: Any) -> tuple[Any, ...]:
        """The inputs of the rows of an index on the device. `rows` is that of the batch on the host, for a bucket."""
        arrays = [self._rows(array, index) for array in self.arrays]
        return tuple(arrays[end - 1] if number is None else cut(tuple(arrays[end - number : end]), spans, rows)
                     for number, spans, end in zip(self._parts, self._spans, self._ends(), strict=True))

    def _rows(self, array: Any, index: Any) -> Any:
        if self.device == "cpu":
            return array[index]
        rows = backend.namespace(self.device).empty((len(index), *array.shape[1:]), array.dtype)
        gather(rows, array, index)
        return rows


def _copied(arrays: tuple[Any, ...], device: str, augment: Any) -> tuple[Any, ...]:
    """The arrays on a device."""
    if augment is not None:
        raise ArgumentError(f"Loader: device must be cpu with augment, got {device}; augment changes images on the "
                            "host, and fit copies them to the device: leave out device")
    for position, array in enumerate(arrays):
        if not hasattr(array, "dtype") or not hasattr(array, "flags"):
            raise ArgumentError(f"Loader: array {position} must be an array in memory to be on {device}, got "
                                f"{type(array).__name__}; leave out device, or np.asarray(...) if it fits into memory")
    return tuple(backend.to_device(array, device) for array in arrays)


def split(n: int, fraction: float, seed: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Split 0 ... n - 1 at random into indices to train on and round(n * fraction) indices to validate on.

    Both are sorted, int64, and have at least one element; together they hold every index once. `seed` None stands for
    the seed last set by `tn.seed`. Raises `ArgumentError` if one part would be empty.

    >>> train, validation = split(10, 0.2, seed=0)
    >>> len(train), len(validation), sorted([*train.tolist(), *validation.tolist()]) == list(range(10))
    (8, 2, True)
    """
    n = whole("split", "n", n, 0, usual="len(images)")
    if not 0 < fraction < 1:
        raise ArgumentError(f"split: fraction must lie between 0 and 1, got {fraction!r}; try 0.1")
    size = round(n * fraction)
    if not 0 < size < n:
        raise ArgumentError(f"split: both parts must have at least 1 element, but fraction {fraction} of n = {n} gives "
                            f"{n - size} and {size}; change fraction, or take more data")
    seed = seed_or_current("split", seed)
    order = permutation(n, key=(seed, stream("split")), step=0)
    return np.sort(order[size:]), np.sort(order[:size])


def _common_length(arrays: tuple[Any, ...]) -> int:
    if not arrays:
        raise ArgumentError("Loader: arrays must be at least 1, got 0; try Loader(images, labels, batch_size=128)")
    for position, array in enumerate(arrays):
        if not getattr(array, "shape", ()):
            are_words = isinstance(array, list) and any(isinstance(one, str) for one in array)
            got = "a list of words" if are_words else type(array).__name__
            fix = ("np.unique(labels, return_inverse=True)[1] numbers them" if are_words else
                   "np.asarray, or Loader(x, y, batch_size=32) for a pair?")
            raise ArgumentError(f"Loader: array {position} must be an array with at least one axis, got {got}; {fix}")
    lengths = [array.shape[0] for array in arrays]
    if len(set(lengths)) > 1:
        raise ArgumentError(f"Loader: arrays must have the same length, got {', '.join(map(str, lengths))}; "
                            "does each image have one label?")
    if lengths[0] == 0:
        raise ArgumentError("Loader: arrays must have at least 1 element, got 0; was everything filtered out?")
    return int(lengths[0])
