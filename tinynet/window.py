"""Sliding windows, for convolution and pooling.

A window has `width` elements, `dilation` apart. It moves in steps of `stride` over an axis of `size` elements that is
padded by (before, after). For output t, element k of the window is at position  t stride + k dilation − before.
"""

from collections.abc import Iterator
from functools import lru_cache
from numbers import Integral
from typing import Any, NamedTuple

from tinynet.errors import ArgumentError, ShapeError
from tinynet.plain import plain, whole
from tinynet.types import Array, Pad, Pads, Pair


class Window(NamedTuple):
    """A window along one axis."""

    width: int
    stride: int
    dilation: int
    before: int  # padding in front
    after: int
    outputs: int  # the number of positions of the window

    def tap(self, k: int) -> slice:
        """The slice of the padded axis that element k of the window reads, one element for each output."""
        start = k * self.dilation
        return slice(start, start + (self.outputs - 1) * self.stride + 1, self.stride)


ONE_ROW = Window(width=1, stride=1, dilation=1, before=0, after=0, outputs=1)  # for a sequence as an image of height 1


def window(op: str, axis: str, size: int, width: int, stride: int, padding: Pad, dilation: int = 1) -> Window:
    """The window along an axis of `size` elements.

    padding   "valid": no padding. "same": ceil(size / stride) outputs, padded as in TensorFlow, the odd element at the
              end. "causal": all in front, so that no output reads a later element. An int: its number on both sides.

    Errors: ArgumentError for an invalid width, stride, dilation or padding; ShapeError if the window does not fit.
    """
    return _remembered(_window, op, axis, size, width, stride, padding, dilation)


def _remembered(function: Any, *arguments: Any) -> Window:
    try:
        found: Window = function(*arguments)
    except TypeError:  # a list cannot be remembered
        found = function.__wrapped__(*arguments)
    return found


def check_window(op: str, width: Any, stride: Any, padding: Any, dilation: Any = 1, *, name: str = "width") -> None:
    """Check the options of a window. Errors: ArgumentError for an invalid width, stride, dilation or padding.

    `name` is that of the option which gives the width.

    >>> check_window("conv1d", 3, 1, "same")
    """
    for option, value, usual in ((name, width, 3), ("stride", stride, 1), ("dilation", dilation, 1)):
        whole(op, option, value, 1, usual=f"{option}={usual}")
    is_number = isinstance(padding, Integral) and not isinstance(padding, bool) and int(padding) >= 0
    if not is_number and not (isinstance(padding, str) and padding in ("valid", "same", "causal")):
        raise ArgumentError(f'{op}: padding must be "valid", "same", "causal" or an integer >= 0, got {padding!r}; '
                            'padding="same" keeps the size')


@lru_cache(1 << 10, typed=True)
def _window(op: str, axis: str, size: int, width: int, stride: int, padding: Pad, dilation: int) -> Window:
    check_window(op, width, stride, padding, dilation)
    span = (width - 1) * dilation + 1
    if padding == "valid":
        before = after = 0
    elif padding == "same":
        total = max(0, (-(-size // stride) - 1) * stride + span - size)
        before, after = total // 2, total - total // 2
    elif padding == "causal":
        before, after = span - 1, 0
    else:
        before = after = int(padding)
    if size + before + after < span or size == 0:
        least = max(1, span - before - after)
        raise ShapeError(f"{op}: {axis} must be at least {least} for a window of width {width}, "
                         f'dilation {dilation}, padding {padding!r}, got {size}; padding="same", or a smaller window')
    outputs = (size + before + after - span) // stride + 1
    return Window(*map(int, (width, stride, dilation, before, after, outputs)))  # NumPy integers become ints


def pair(op: str, name: str, value: Any) -> tuple[Any, Any]:
    """An option for height and width, given as one value for both or as a pair."""
    value = plain(value)
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise ArgumentError(f"{op}: {name} must be one value or a pair (height, width), got {value!r}; "
                                f"{name}=({value[0] if value else 1}, {value[0] if value else 1})?")
        return value[0], value[1]
    return value, value


def _along(op: str, **options: Any) -> Iterator[tuple[Any, ...]]:
    """The options along the height, and those along the width."""
    return zip(*(pair(op, name, value) for name, value in options.items()), strict=True)


def check_windows(op: str, size: Any, stride: Any, padding: Any, dilation: Any = 1) -> None:
    """Check the options of a window along height and width, one value for both or a pair each."""
    for options in _along(op, size=size, stride=stride, padding=padding, dilation=dilation):
        check_window(op, *options, name="size")


def windows(op: str, image: tuple[int, int], width: tuple[int, int], stride: Pair, padding: Pads,
            dilation: Pair) -> tuple[Window, Window]:
    """The windows along height and width of an image. Each option is one value for both, or a pair."""
    height_options, width_options = _along(op, width=width, stride=stride, padding=padding, dilation=dilation)
    return window(op, "H", image[0], *height_options), window(op, "W", image[1], *width_options)


def pool_window(op: str, axis: str, elements: int, size: int, stride: int | None, padding: Pad) -> Window:
    """The window of a pooling op along an axis. Padding of a whole window or more is an ArgumentError."""
    return _remembered(_pool_window, op, axis, elements, size, stride, padding)


@lru_cache(1 << 10, typed=True)
def _pool_window(op: str, axis: str, elements: int, size: int, stride: int | None, padding: Pad) -> Window:
    check_pool(op, size, stride, padding)
    return window(op, axis, elements, size, size if stride is None else stride, padding)


def check_pools(op: str, size: Any, stride: Any, padding: Any) -> None:
    """Check the options of a pooling op along height and width, one value for both or a pair each."""
    for options in _along(op, size=size, stride=stride, padding=padding):
        check_pool(op, *options)


def check_pool(op: str, size: Any, stride: Any, padding: Any) -> None:
    """Check the options of a pooling op along one axis."""
    is_whole = isinstance(padding, Integral) and isinstance(size, Integral) and int(padding) >= max(int(size), 1)
    if is_whole or (isinstance(padding, str) and padding == "causal"):
        raise ArgumentError(f'{op}: padding must be "valid", "same" or an integer below size = {size}, got '
                            f"{padding!r}; a window in the padding alone has no element")
    check_window(op, size, 1 if stride is None else stride, padding, name="size")


def pool_windows(op: str, image: tuple[int, int], size: Pair, stride: Pair | None,
                 padding: Pads) -> tuple[Window, Window]:
    """The windows of a pooling op along height and width of an image."""
    height_options, width_options = _along(op, size=size, stride=stride, padding=padding)
    return pool_window(op, "H", image[0], *height_options), pool_window(op, "W", image[1], *width_options)


def taps(rows: Window, columns: Window) -> Iterator[tuple[int, int, tuple[slice, slice, slice]]]:
    """Each element (i, j) of a two-dimensional window, with the index of what it reads in a padded (N,H,W,C) array."""
    for i in range(rows.width):
        for j in range(columns.width):
            yield i, j, (slice(None), rows.tap(i), columns.tap(j))


def padded(xp: Any, x: Array, rows: Window, columns: Window, value: float = 0.0) -> Array:
    """x (N,H,W,C) with its padding; x itself if the padding is zero."""
    margin = (rows.before, rows.after, columns.before, columns.after)
    if not any(margin):
        return x
    return xp.pad(x, ((0, 0), margin[:2], margin[2:], (0, 0)), constant_values=value)


def unpadded(dx: Array, rows: Window, columns: Window) -> Array:
    """dx (N,H,W,C) without the padding."""
    return dx[:, rows.before : dx.shape[1] - rows.after, columns.before : dx.shape[2] - columns.after]
