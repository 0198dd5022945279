"""What an op's docstring says, part by part and equation by equation, and the lines of code behind each equation."""

import re
import sys
import textwrap
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.op_texts import Line, functions, functions_of
from tinynet.op import REGISTRY, UPDATES, Op, Update


class Equation(NamedTuple):
    """A numbered line of a docstring. Number 0: a line between the equations, which holds a comment alone."""

    number: int
    formula: str
    comment: str


class Text(NamedTuple):
    """An op's docstring: what stands before the parts, the parts by name, and the example."""

    head: str
    parts: dict[str, str]
    example: str

    @property
    def equations(self) -> dict[str, list[Equation]]:
        """The rows of each part that has numbered equations, in their order."""
        return {name: rows(part) for name, part in self.parts.items() if re.search(r"^ *\(\d+\)", part, re.M)}


_EXTRA = r"Forward|Backward|Dropout|Masked|Because|Source"  # parts, and groups of equations inside them


@cache
def text_of(op: Op | Update) -> Text:
    """The docstring of an op, or of an update in place, taken apart."""
    text = textwrap.dedent("    " + (op.__doc__ or ""))
    before, mark, example = text.partition(">>>")
    split = re.split(rf"^ *(Shapes|Cache|{_EXTRA})(?= {{2}})", before, flags=re.M)
    parts = dict(zip(split[1::2], split[2::2], strict=True))
    head = split[0]
    if isinstance(op, Update):  # its equations have no heading
        paragraphs = re.split(r"\n\s*\n", split[0].rstrip())
        numbered = [paragraph for paragraph in paragraphs if re.match(r"\s*\(1?\d\)", paragraph)]
        parts = {"Update": "\n".join(numbered), **parts}
        head = "\n\n".join(paragraph for paragraph in paragraphs if paragraph not in numbered)
    return Text(head.strip("\n"), parts, textwrap.dedent(mark + example).rstrip())


def rows(part: str) -> list[Equation]:
    """The equations of a part, each with its comment. A line without a number continues the comment above it."""
    found = list[Equation]()
    for line in part.strip("\n").split("\n"):
        numbered = re.match(r"\s*\((\d+)\)\s+(.*)$", line)
        if numbered:
            formula, _, comment = re.sub(r"\s{4,}", "\0", numbered[2].strip()).partition("\0")
            found.append(Equation(int(numbered[1]), formula.rstrip(","), comment.replace("\0", "; ")))
        elif line.strip():
            comment = re.sub(r"\s{2,}", "; ", line.strip())
            if found:
                comment, last = f"{found[-1].comment} {comment}".strip(), found.pop()
                found.append(last._replace(comment=comment))
            else:
                found.append(Equation(0, "", comment))
    return found


def named(name: str) -> Op | Update:
    """The op or the update in place of this name."""
    found: Any = REGISTRY.get(name) or UPDATES.get(name)
    if not found:
        raise ValueError(f"no op or update is called {name!r}")
    return found


@cache
def lines(op: Op | Update) -> dict[int, list[Line]]:
    """The lines of code that carry an equation's number, by number."""
    bodies = functions_of(op) if isinstance(op, Op) else {op.name: functions(file_of(op))[op.name]}
    found = dict[int, list[Line]]()
    for function in bodies.values():
        for line in function.body:
            for number in line.equations:
                found.setdefault(number, []).append(line)
    return found


def code(line: Line) -> str:
    """A line of code without its comment."""
    return re.sub(r"\s+# .*", "", line.text).strip()


def file_of(op: Op | Update) -> Path:
    return Path(str(sys.modules[op.module].__file__))
