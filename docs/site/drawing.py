"""Figures as SVG: lines, text, heat maps and axes, in the colors of `palette.py`.

A Drawing is 520 units wide, so that its text can be read on a telephone and on a large screen. Colors are names of the
palette. In a page they are variables, which follow the theme; in a file for slides they are fixed.

>>> drawing = Drawing("a line", height=40)
>>> drawing.line(0, 20, 520, 20, "f")
>>> "var(--tn-f)" in drawing.svg(), "#0060a8" in drawing.svg(fixed=True)
(True, True)
"""

import math
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np

from docs.site.palette import DIVERGING, variables

WIDTH, SIZE = 520, 14  # of a drawing; of its text


def number(x: float) -> str:
    return f"{x:.2f}".rstrip("0").rstrip(".")


class Drawing:
    """A figure: parts are added from the back to the front."""

    def __init__(self, title: str, height: float, width: float = WIDTH) -> None:
        self.title, self.width, self.height = title, width, height
        self._parts: list[str] = []

    def svg(self, fixed: bool = False) -> str:
        """The figure as SVG; with `fixed`, a file that stands by itself, in the colors for a light background."""
        size = f'width="{number(self.width)}" height="{number(self.height)}" ' if fixed else ""
        font = 'font-family="system-ui, sans-serif" ' if fixed else ""
        text = (f'<svg xmlns="http://www.w3.org/2000/svg" {size}viewBox="0 0 {number(self.width)} '
                f'{number(self.height)}" role="img" aria-label="{escape(self.title)}" {font}font-size="{SIZE}">'
                f"<title>{escape(self.title)}</title>{''.join(self._parts)}</svg>")
        if not fixed:
            return text
        colors = variables()
        return re.sub(r"var\((--tn-\w+)\)", lambda found: colors[found[1]][0], text)

    def text(self, x: float, y: float, text: str, color: str = "ink", anchor: str = "start", size: float = SIZE,
             bold: bool = False, mono: bool = False, turn: float = 0) -> None:
        more = (' font-weight="600"' if bold else "") + (' font-family="monospace"' if mono else "")
        more += f' font-size="{number(size)}"' if size != SIZE else ""
        more += f' transform="rotate({number(turn)} {number(x)} {number(y)})"' if turn else ""
        self._parts.append(f'<text x="{number(x)}" y="{number(y)}" fill="{_color(color)}" text-anchor="{anchor}"{more} '
                           f'xml:space="preserve">{escape(text)}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float, color: str = "rule", width: float = 1,
             dash: str = "") -> None:
        self.path([(x1, y1), (x2, y2)], color, width, dash)

    def path(self, points: Sequence[tuple[float, float]], color: str = "ink", width: float = 2,
             dash: str = "") -> None:
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        moves = "L".join(f"{number(x)} {number(y)}" for x, y in points)
        self._parts.append(f'<path d="M{moves}" fill="none" stroke="{_color(color)}" stroke-width="{number(width)}" '
                           f'stroke-linejoin="round" stroke-linecap="round"{dashed}/>')

    def arrow(self, x1: float, y1: float, x2: float, y2: float, color: str = "muted", width: float = 1.5,
              dash: str = "") -> None:
        """A line with a head at its end."""
        self.line(x1, y1, x2, y2, color, width, dash)
        angle = math.atan2(y2 - y1, x2 - x1)
        left, right = ((x2 - 8 * math.cos(angle + side), y2 - 8 * math.sin(angle + side)) for side in (0.45, -0.45))
        self.path([left, (x2, y2), right], color, width)

    def rect(self, x: float, y: float, width: float, height: float, fill: str = "fill", stroke: str = "",
             rounded: float = 0, opacity: float = 1) -> None:
        more = f' stroke="{_color(stroke)}"' if stroke else ""
        more += f' rx="{number(rounded)}"' if rounded else ""
        more += f' fill-opacity="{number(opacity)}"' if opacity != 1 else ""
        self._parts.append(f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}" '
                           f'fill="{_color(fill)}"{more}/>')

    def circle(self, x: float, y: float, radius: float = 3, fill: str = "ink", stroke: str = "") -> None:
        more = f' stroke="{_color(stroke)}" stroke-width="1.5"' if stroke else ""
        self._parts.append(f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(radius)}" fill="{_color(fill)}"'
                           f"{more}/>")

    def heat(self, x: float, y: float, width: float, height: float, values: Any, limit: float | None = None,
             diverging: bool = False) -> None:
        """A matrix as cells, row 0 on top: 0 ... limit, or -limit ... limit if `diverging`, in nine steps."""
        values = np.asarray(values, float)
        limit = limit or float(np.abs(values).max()) or 1.0
        share = np.clip((values / limit + 1) / 2 if diverging else values / limit, 0, 1)
        steps = np.minimum((share * len(DIVERGING)).astype(int), len(DIVERGING) - 1)
        kind = "d" if diverging else "s"
        self.rect(x, y, width, height, "d4" if diverging else "s0")
        for step in range(len(DIVERGING)):
            if step == (4 if diverging else 0):
                continue
            cells = "".join(f"M{start} {row}h{end - start}v1h{start - end}z" for row, line in enumerate(steps == step)
                            for start, end in _runs(line))
            if cells:
                w, h = width / values.shape[1], height / values.shape[0]
                scale = f"translate({number(x)} {number(y)}) scale({w:.4f} {h:.4f})"
                self._parts.append(f'<path d="{cells}" fill="{_color(f"{kind}{step}")}" transform="{scale}" '
                                   'shape-rendering="crispEdges"/>')
        self.rect(x, y, width, height, "none", "rule")

    def axes(self, left: float, top: float, width: float, height: float, **options: Any) -> "Axes":
        return Axes(self, left, top, width, height, **options)


def _runs(line: Any) -> list[tuple[int, int]]:
    """Where the runs of True begin and end."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], line, [0]])))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _color(name: str) -> str:
    return name if name == "none" else f"var(--tn-{name})"


Ticks = Sequence[float] | dict[float, str]


class Axes:
    """A frame with two scales. `x` and `y` are (from, to); `log` names those that are logarithmic: "", "x", "xy"."""

    def __init__(self, drawing: Drawing, left: float, top: float, width: float, height: float, *,
                 x: tuple[float, float], y: tuple[float, float], log: str = "", xticks: Ticks = (), yticks: Ticks = (),
                 xlabel: str = "", ylabel: str = "", title: str = "") -> None:
        self.drawing, self.left, self.top, self.width, self.height = drawing, left, top, width, height
        self._x = _scale(x, left, left + width, "x" in log)
        self._y = _scale(y, top + height, top, "y" in log)
        for at, name in _ticks(yticks):
            drawing.line(left, self._y(at), left + width, self._y(at))
            drawing.text(left - 6, self._y(at) + 4.5, name, "muted", "end", 12)
        for at, name in _ticks(xticks):
            drawing.line(self._x(at), top + height, self._x(at), top + height + 4, "muted")
            drawing.text(self._x(at), top + height + 18, name, "muted", "middle", 12)
        drawing.line(left, top + height, left + width, top + height, "muted")
        if title:
            drawing.text(left, top - 9, title, bold=True)
        if ylabel:
            drawing.text(left, top - 9, ylabel, "muted", size=12)
        if xlabel:
            drawing.text(left + width, top + height + 36, xlabel, "muted", "end", 12)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of a point in the drawing."""
        return self._x(x), self._y(y)

    def curve(self, xs: Any, ys: Any, color: str, width: float = 2.2, dash: str = "") -> None:
        self.drawing.path([self.at(float(a), float(b)) for a, b in zip(xs, ys, strict=True)], color, width, dash)

    def points(self, xs: Any, ys: Any, color: str, radius: float = 3) -> None:
        for a, b in zip(xs, ys, strict=True):
            self.drawing.circle(*self.at(float(a), float(b)), radius, color)

    def bar(self, x: float, y: float, color: str, width: float, base: float = 0.0) -> None:
        """A bar around x, from the base up or down to y."""
        place, (top, bottom) = self._x(x), sorted((self._y(y), self._y(base)))
        self.drawing.rect(place - width / 2, top, width, bottom - top, color)

    def label(self, x: float, y: float, text: str, color: str = "ink", anchor: str = "start", dx: float = 6,
              dy: float = 4.5, **options: Any) -> None:
        """Text beside a point."""
        a, b = self.at(x, y)
        self.drawing.text(a + dx, b + dy, text, color, anchor, **options)


def _scale(limits: tuple[float, float], start: float, end: float, log: bool) -> Callable[[float], float]:
    low, high = (math.log10(limit) for limit in limits) if log else limits

    def place(value: float) -> float:
        at = math.log10(max(value, 1e-300)) if log else value
        return start + (min(max(at, min(low, high)), max(low, high)) - low) / (high - low) * (end - start)
    return place


def _ticks(ticks: Ticks) -> list[tuple[float, str]]:
    named = ticks if isinstance(ticks, dict) else {value: f"{value:g}".replace("-", "−") for value in ticks}
    return list(named.items())


_ABOVE = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def powers(*exponents: int) -> dict[float, str]:
    """Ticks at powers of ten.

    >>> powers(-2, 0)
    {0.01: '10⁻²', 1.0: '1'}
    """
    return {10.0**e: "10" + str(e).translate(_ABOVE) if e else "1" for e in exponents}


def in_powers(x: float) -> str:
    r"""A number in two digits, small ones with a power of ten, which no line break divides.

    >>> in_powers(0.22), in_powers(1.7e-10)
    ('0.22', '1.7\xa0·\xa010⁻¹⁰')
    """
    if x >= 0.01:
        return f"{x:.2g}"
    digits, exponent = f"{x:.1e}".split("e")
    return f"{digits}\xa0·\xa010{str(int(exponent)).translate(_ABOVE)}"
