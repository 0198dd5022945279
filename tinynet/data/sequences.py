"""Sequences of different lengths: padded into one array, with a mask that tells real steps from padding."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinynet.errors import ArgumentError, ShapeError
from tinynet.plain import plain, plain_array
from tinynet.types import Array, ArrayLike


def pad(sequences: Iterable[ArrayLike], *, side: str = "right", value: float = 0.0,
        length: int | None = None) -> tuple[Array, Array]:
    """Sequences (Tᵢ,...) as one array x (N,T,...), and a mask (N,T) of booleans: True at real steps.

    side     where the padding is: "right", behind the steps, or "left"
    value    what stands there; layers that are given the mask do not read it
    length   T; by default the length of the longest sequence

    Lists of Python floats become float32. Other dtypes stay; where they differ, x has the dtype that NumPy promotes to.

    Errors: ArgumentError if there is no sequence, for a sequence without a step, or for a length below the longest;
    ShapeError for sequences whose other axes differ. ArgumentError for 0.5 and other values that the dtype cannot hold.

    >>> x, mask = pad([[1.0, 2.0, 3.0], [4.0]])
    >>> x
    array([[1., 2., 3.],
           [4., 0., 0.]], dtype=float32)
    >>> mask
    array([[ True,  True,  True],
           [ True, False, False]])
    """
    if side not in ("right", "left"):
        raise ArgumentError(f'pad: side must be "right" or "left", got {side!r}; side="right"?')
    arrays = [_steps(one, i) for i, one in enumerate(sequences)]
    if not arrays:
        raise ArgumentError("pad: sequences must be at least one, got none; was everything filtered out?")
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) > 1:
        raise ShapeError(f"pad: the steps of all sequences must have one shape, got {sorted(shapes)}; "
                         "are some sequences (features, steps)? array.T?")
    lengths = np.array([len(array) for array in arrays])
    mask = length_mask(lengths, length, function="pad")
    mask = mask if side == "right" else mask[:, ::-1].copy()
    x = np.full((*mask.shape, *shapes.pop()), _held(value, np.result_type(*arrays)))
    x[mask] = np.concatenate(arrays)
    return x, mask


def _held(value: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """A number as an array of a dtype. Of integers, it must be one of them."""
    number = plain(value)
    if dtype.kind in "iub":
        least, most = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        if not (least <= number <= most and number == int(number)):
            raise ArgumentError(f"pad: value must be one that {dtype} can hold, got {value!r}; float sequences?")
    return np.asarray(number, dtype)


def _steps(sequence: Any, number: int) -> Array:
    """A sequence as an array of steps."""
    array: Array = plain_array(sequence, f"pad: sequence {number}")
    if array.ndim == 0 or not len(array):
        raise ArgumentError(f"pad: each sequence must have at least one step, got shape {array.shape} for sequence "
                            f"{number}; leave it out, with its label")
    return array if hasattr(sequence, "dtype") or array.dtype != np.float64 else array.astype(np.float32)


def length_mask(lengths: ArrayLike, length: int | None = None, *, function: str = "length_mask") -> Array:
    """The mask (N,T) of sequences of these lengths, padded on the right: True at the first `lengths[n]` steps.

    length     T; by default the largest of the lengths
    function   the name in errors

    Errors: ArgumentError for lengths that are not integers of 0 or more, or for a `length` below the largest.

    >>> length_mask([3, 1])
    array([[ True,  True,  True],
           [ True, False, False]])
    """
    array = plain_array(lengths, f"{function}: lengths")
    if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size or array.min() < 0:
        raise ArgumentError(f"{function}: lengths must be integers of 0 or more, one for each sequence, got "
                            f"{array.dtype} {array.shape}; [len(s) for s in sequences]?")
    longest, T = int(array.max()), plain(length)
    T = longest if T is None else T
    if not isinstance(T, int) or isinstance(T, bool) or longest > T:
        raise ArgumentError(f"{function}: length must be at least that of the longest sequence, {longest}, got "
                            f"{length!r}; leave it out, or cut the sequences: sequence[:length]")
    return np.arange(T) < array[:, None]
