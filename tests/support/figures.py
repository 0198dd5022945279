"""Figures that a test looks at instead of saving them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def saved_as_they_are() -> Iterator[Callable[[Any], None]]:
    """Note figures when they would be saved. At the end, none may have changed: the file would lack it."""
    noted: list[tuple[Any, list[Any]]] = []
    yield lambda figure: noted.append((figure, _parts(figure)))
    assert all(_parts(figure) == parts for figure, parts in noted), "changed after it was saved"


def _parts(figure: Any) -> list[Any]:
    """What a figure of matplotlib shows."""
    of_axes = [([len(kind) for kind in (axes.lines, axes.images, axes.texts, axes.patches, axes.collections)],
                axes.axison, axes.get_title(), axes.get_xlabel(), axes.get_ylabel(), axes.get_legend() is None,
                axes.get_xscale(), axes.get_yscale()) for axes in figure.axes]
    return [*of_axes, [text.get_text() for text in figure.texts], figure.get_suptitle(), *figure.get_size_inches()]
