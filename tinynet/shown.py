"""How results and objects are shown: by `print`, at a prompt, and in a notebook.

A notebook asks an object for `_repr_html_`, and shows its `repr` otherwise.
"""

import inspect
from collections.abc import Sequence
from html import escape
from typing import Any


class Text(str):
    """Lines of text that a prompt and a notebook show as `print` does.

    html   what a notebook shows; by default the text itself, in a typewriter face

    >>> Text("two\\nlines")
    two
    lines
    """

    html = ""

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return self.html or f"<pre>{escape(self)}</pre>"


def table(lines: Sequence[tuple[str, ...]], left: int) -> Text:
    """A table: the first `left` columns are aligned to the left, the others to the right. The first line is its head.

    >>> print(table([("class", "images"), ("cat", "2")], left=1))
    class   images
    cat          2
    """
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = Text("\n".join("   ".join(cell.ljust(width) if i < left else cell.rjust(width)
                                     for i, (cell, width) in enumerate(zip(line, widths, strict=True)))
                          for line in lines))
    rows = ["".join(f'<{kind} style="text-align: {"left" if i < left else "right"}">{escape(cell)}</{kind}>'
                    for i, cell in enumerate(line))
            for kind, line in zip(["th", *["td"] * len(lines)], lines, strict=False)]
    text.html = f"<table><thead><tr>{rows[0]}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows[1:])}" \
                "</tbody></table>"
    return text


def brief(thing: Any, *parts: str, **values: Any) -> str:
    """A short `repr`: the class, the parts, the values, and the numbers and names among its options.

    Options are arguments of the class that are attributes, too. Those equal to their defaults are left out.

    >>> class Decay:
    ...     def __init__(self, every, factor=0.1):
    ...         self.every, self.factor = every, factor
    >>> brief(Decay(10), "a decay", step=3)
    'Decay(a decay, step=3, every=10)'
    """
    shown = dict(values)
    for name, parameter in inspect.signature(type(thing)).parameters.items():
        value = getattr(thing, name, parameter.default)
        if name not in shown and _is_short(value) and value != parameter.default:
            shown[name] = value
    return f"{type(thing).__name__}({', '.join([*parts, *(f'{name}={value!r}' for name, value in shown.items())])})"


def _is_short(value: Any) -> bool:
    if isinstance(value, tuple):
        return len(value) < 5 and all(map(_is_short, value))
    return isinstance(value, bool | int | float | str)


def in_bytes(number: int) -> str:
    """A number of bytes in a suitable unit.

    >>> in_bytes(999), in_bytes(125_440), in_bytes(3_211_264)
    ('999 B', '125.4 kB', '3.2 MB')
    """
    if number > 10**15:  # a forged file may name a number beyond any float
        return "more than 1,000,000 GB"
    value, units = float(number), ["B", "kB", "MB", "GB"]
    while value >= 999.95 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} B" if units[0] == "B" else f"{value:,.1f} {units[0]}"
