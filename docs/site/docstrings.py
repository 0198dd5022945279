"""Plain docstrings as reStructuredText, for Sphinx.

The docstrings of tinynet are plain text: columns, indented blocks, equations. To Sphinx, a column is part of a
paragraph and an indented block is a quotation, and it does not warn. Here columns become field lists, and indented
blocks become literal blocks.

>>> to_rst(["Options:", "", "tol     the tolerance", "mode    one of three"])
['Options:', '', ':tol: the tolerance', ':mode: one of three', '']
"""

import re
from collections.abc import Sequence
from itertools import groupby

_COLUMNS = re.compile(r"^(\S(?:.{0,44}?\S)?)\s{2,}(\S.*)$")


def to_rst(lines: Sequence[str]) -> list[str]:
    """The lines of a docstring as lines of reStructuredText."""
    made = list[str]()
    for blank, group in groupby(lines, key=lambda line: not line.strip()):
        if not blank:
            made += [*_block(list(group)), ""]
    return made


def _block(lines: list[str]) -> list[str]:
    """One paragraph, list or example: lines between two blank ones."""
    if any(line.lstrip().startswith(">>>") for line in lines):
        return lines
    if _is_table(lines):
        return _fields(lines)
    indented = next((k for k, line in enumerate(lines) if line.startswith("  ")), len(lines))
    if indented == len(lines):
        return _list(lines) if lines[0].startswith("- ") else [_plain(line) for line in lines]
    before = [_plain(line) for line in lines[:indented]]
    if lines[0].startswith("- "):
        return _list(lines)
    return [*before, *[""] * bool(before), "::", "", *(f"  {line}" for line in lines[indented:])]


def _is_table(lines: list[str]) -> bool:
    """Whether each line has two columns, or continues the second one."""
    return bool(_COLUMNS.match(lines[0])) and all(_COLUMNS.match(line) or line.startswith("  ") for line in lines)


def _fields(lines: list[str]) -> list[str]:
    made = list[str]()
    for line in lines:
        found = _COLUMNS.match(line)
        made.append(f":{_plain(found[1]).replace(':', chr(92) + ':')}: {_plain(found[2])}" if found
                    else f"    {_plain(line.strip())}")
    return made


def _list(lines: list[str]) -> list[str]:
    return [_plain(line) for line in lines]


def _plain(line: str) -> str:
    """A line in which only back quotes are markup."""
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(part if part.startswith("`") else re.sub(r"([*|\\]|_(?=\W|$))", r"\\\1", part) for part in parts)
