"""Batches of sequences of similar length, for `Loader(..., lengths=, bucket=)`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinynet.errors import ArgumentError
from tinynet.plain import plain, plain_array
from tinynet.types import Array


def checked_lengths(lengths: Any, bucket: Any, rows: int) -> tuple[int | None, Any]:
    """The options `bucket` and `lengths` of a Loader. Errors: ArgumentError for other values, or for one alone."""
    if lengths is None and bucket is None:
        return None, None
    bucket, array = plain(bucket), None if lengths is None else plain_array(lengths, "Loader: lengths")
    if not isinstance(bucket, int) or isinstance(bucket, bool) or bucket < 1 or array is None:
        raise ArgumentError("Loader: bucket must be an integer of at least 1, a number of batches, and come with "
                            f"lengths, got {bucket!r}; lengths=mask.sum(axis=1), bucket=50?")
    if array.shape != (rows,) or array.dtype.kind not in "iu":
        raise ArgumentError(f"Loader: lengths must be {rows} integers, one for each row, got {array.dtype} "
                            f"{array.shape}; mask.sum(axis=1)?")
    return bucket, array


def by_length(order: Array, lengths: Array, size: int, bucket: int, moved: Callable[[int], Array]) -> Array:
    """An order of rows in which each batch of `size` has rows of similar length.

    Each `bucket` batches of the order are sorted by length. The full batches then go to the places `moved(number)`.

    >>> by_length(np.arange(6), np.array([3, 1, 2, 1, 3, 2]), 2, 3, np.arange)
    array([1, 3, 2, 5, 0, 4])
    """
    parts = [order[start : start + bucket * size] for start in range(0, len(order), bucket * size)]
    order = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in parts])
    full = len(order) // size
    batches = order[: full * size].reshape(full, size)[moved(full)]
    return np.concatenate([batches.reshape(-1), order[full * size :]])


def span(arrays: Sequence[Any]) -> Array | None:
    """The first real step of each row and the step behind the last, (N,2), if the last array is a mask of the others.

    >>> span([np.zeros((2, 3)), np.array([[True, True, False], [False, False, True]])]).tolist()
    [[0, 2], [2, 3]]
    """
    *others, mask = arrays
    if len(mask.shape) != 2 or not others or any(array.shape[:2] != mask.shape for array in others):
        return None
    real, T = np.asarray(mask) != 0, mask.shape[1]
    first, behind = real.argmax(axis=1), T - real[:, ::-1].argmax(axis=1)
    return np.where(real.any(axis=1)[:, None], np.stack([first, behind], axis=1), [T, 0])


def cut(arrays: tuple[Any, ...], spans: Array | None, rows: Array) -> tuple[Any, ...]:
    """Arrays (B,T,...) cut to the steps from the first to the last that is real in one of the rows."""
    if spans is None:
        return arrays
    first, behind = int(spans[rows, 0].min()), int(spans[rows, 1].max())
    return tuple(array[:, first:behind] for array in arrays) if first < behind else arrays
