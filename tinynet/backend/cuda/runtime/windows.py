"""How a kernel is told where a window stands: see window.h."""

from tinynet.window import Window


def numbers(window: Window, size: int) -> tuple[int, ...]:
    """A window along an axis of this size, as kernels take it."""
    return window.width, window.stride, window.dilation, window.before, size, window.outputs
