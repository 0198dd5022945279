"""Where a sliding window stands: what convolutions and pooling have in common.

A window of `width` elements, `dilation` apart, moves over `size` elements, padded by (before, after), in steps of
`stride`. Output t takes element k of its window from position  t stride + k dilation − before.
"""

from collections.abc import Iterator
from numbers import Integral
from typing import Any, NamedTuple

from tinynet.errors import ArgumentError, ShapeError

Padding = str | int | tuple[int, int]


class Window(NamedTuple):
    """A window along one axis."""

    width: int
    stride: int
    dilation: int
    before: int  # padding in front
    after: int
    outputs: int  # how many places it stands in

    def tap(self, k: int) -> slice:
        """The padded elements that element k of the window meets, one for each output."""
        start = k * self.dilation
        return slice(start, start + (self.outputs - 1) * self.stride + 1, self.stride)


ONE_ROW = Window(width=1, stride=1, dilation=1, before=0, after=0, outputs=1)  # makes a sequence an image of height 1


def window(op: str, axis: str, size: int, width: int, stride: int, padding: str | int, dilation: int = 1) -> Window:
    """The window along an axis of `size` elements.

    padding   "valid": none. "same": as many outputs as ceil(size / stride), padded as TensorFlow does, the odd element
              at the end. "causal": all in front, so that no output sees a later element. An int: so many on both sides.

    Errors: ArgumentError for a width, stride, dilation or padding that is none; ShapeError if the window never fits.
    """
    for name, value in (("width", width), ("stride", stride), ("dilation", dilation)):
        if not isinstance(value, Integral) or int(value) < 1:
            raise ArgumentError(f"{op}: {name} must be an integer of at least 1, got {value!r}; {name}=1?")
    span = (width - 1) * dilation + 1
    if padding == "valid":
        before = after = 0
    elif padding == "same":
        total = max(0, (-(-size // stride) - 1) * stride + span - size)
        before, after = total // 2, total - total // 2
    elif padding == "causal":
        before, after = span - 1, 0
    elif isinstance(padding, int) and not isinstance(padding, bool) and padding >= 0:
        before = after = padding
    else:
        raise ArgumentError(f'{op}: padding must be "valid", "same", "causal" or an integer >= 0, got {padding!r}; '
                            'padding="same" keeps the size')
    if size + before + after < span or size == 0:
        least = max(1, span - before - after)
        raise ShapeError(f"{op}: {axis} must be at least {least} for a window of width {width}, "
                         f'dilation {dilation}, padding {padding!r}, got {size}; padding="same", or a smaller window')
    outputs = (size + before + after - span) // stride + 1
    return Window(*map(int, (width, stride, dilation, before, after, outputs)))  # of NumPy's numbers Python's


def pair(op: str, name: str, value: Any) -> tuple[Any, Any]:
    """An option for the two axes of an image: one value for both, or a pair."""
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise ArgumentError(f"{op}: {name} must be one value or a pair (height, width), got {value!r}; "
                                f"{name}=({value[0] if value else 1}, {value[0] if value else 1})?")
        return value[0], value[1]
    return value, value


def windows(op: str, image: tuple[int, int], width: tuple[int, int], stride: Any, padding: Any, dilation: Any
            ) -> tuple[Window, Window]:
    """The windows along height and width of an image; each option is one value for both, or a pair."""
    stride, padding, dilation = (pair(op, name, value) for name, value in
                                 (("stride", stride), ("padding", padding), ("dilation", dilation)))
    return (window(op, "H", image[0], width[0], stride[0], padding[0], dilation[0]),
            window(op, "W", image[1], width[1], stride[1], padding[1], dilation[1]))


def pool_window(op: str, axis: str, elements: int, size: int, stride: int | None, padding: Any) -> Window:
    """The window of a pooling op along an axis: none of its places lies in the padding alone."""
    if padding == "causal" or (isinstance(padding, int) and isinstance(size, int) and padding >= max(size, 1)):
        raise ArgumentError(f'{op}: padding must be "valid", "same" or an integer below size = {size}, got '
                            f"{padding!r}; a window that lies in the padding alone has nothing to pool")
    return window(op, axis, elements, size, size if stride is None else stride, padding)


def pool_windows(op: str, image: tuple[int, int], size: Any, stride: Any, padding: Any) -> tuple[Window, Window]:
    """The same along height and width of an image."""
    size, stride, padding = (pair(op, name, value) for name, value in
                             (("size", size), ("stride", stride), ("padding", padding)))
    return (pool_window(op, "H", image[0], size[0], stride[0], padding[0]),
            pool_window(op, "W", image[1], size[1], stride[1], padding[1]))


def taps(rows: Window, columns: Window) -> Iterator[tuple[int, int, tuple[slice, slice, slice]]]:
    """Each element (i, j) of a two-dimensional window, and the index of what it meets in a padded (N,H,W,C) array."""
    for i in range(rows.width):
        for j in range(columns.width):
            yield i, j, (slice(None), rows.tap(i), columns.tap(j))


def padded(xp: Any, x: Any, rows: Window, columns: Window, value: float = 0.0) -> Any:
    """x (N,H,W,C) with its margins; x itself where there are none."""
    margins = (rows.before, rows.after, columns.before, columns.after)
    if not any(margins):
        return x
    return xp.pad(x, ((0, 0), margins[:2], margins[2:], (0, 0)), constant_values=value)


def unpadded(dx: Any, rows: Window, columns: Window) -> Any:
    """dx without the margins."""
    return dx[:, rows.before : dx.shape[1] - rows.after, columns.before : dx.shape[2] - columns.after]
