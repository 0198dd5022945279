"""The text of an op, taken apart, and the code of an op, line by line.

Pages of the documentation show the same parts and lines that the tests compare.
"""

import ast
import re
import sys
from pathlib import Path
from typing import NamedTuple

from tinynet.op import REGISTRY, Op

PARTS = ["Shapes", "Forward", "Backward", "Because", "Cache"]


def pieces(text: str) -> list[tuple[str, str]]:
    """The parts of an op's text: each begins with its name at the left margin, and goes on to the next one."""
    split = re.split(rf"^ *({'|'.join([*PARTS, 'Source'])})(?= {{2}})", text.partition(">>>")[0], flags=re.M)
    return list(zip(split[1::2], split[2::2], strict=True))


def parts(text: str) -> dict[str, str]:
    return dict(pieces(text))


def equations_in_text(text: str) -> list[int]:
    """The numbers of the equations in Forward and Backward: what stands first on a line, or behind the part's name."""
    found = parts(text)
    both = "\n".join(found.get(name, "").strip("\n") for name in ("Forward", "Backward"))
    return [int(number) for number in re.findall(r"^ *\((\d+)\)", both, re.M)]


def equations_in_code(source: str) -> set[int]:
    """The numbers in comments such as `# (2)` and `# (3) (4) (N,T)`."""
    return {int(number) for run in re.findall(r"#((?: \(\d+\))+)", source) for number in re.findall(r"\d+", run)}


class Line(NamedTuple):
    """A line of code: its file, its number, its text."""

    path: Path
    number: int
    text: str

    @property
    def equations(self) -> list[int]:
        return sorted(equations_in_code(self.text))


class Function(NamedTuple):
    """A function of a file: its lines, without its text, and the names that it uses."""

    first: int  # the line of its `def`
    body: list[Line]
    names: set[str]


def functions(path: Path) -> dict[str, Function]:
    """The functions of a file, by name."""
    source = path.read_text(encoding="utf-8")
    lines, result = source.split("\n"), {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            numbers = range(body[0].lineno, (node.end_lineno or 0) + 1)
            result[node.name] = Function(node.lineno, [Line(path, n, lines[n - 1]) for n in numbers],
                                         {n.id for n in ast.walk(node) if isinstance(n, ast.Name)})
    return result


def functions_of(op: Op) -> dict[str, Function]:
    """The functions of an op: forward, backward, and the helpers that they call, in its file, ops/ and window.py."""
    own = Path(str(sys.modules[op.module].__file__))
    files = {path.stem: functions(path) for path in [*own.parent.glob("*.py"), own.parent.parent / "window.py"]}
    helpers = {name: function for stem in [*files, own.stem] for name, function in files[stem].items()
               if name not in REGISTRY and name[1:] not in REGISTRY}
    waiting, found = [op.name, op.backward.__name__], dict[str, Function]()
    while waiting:
        name = waiting.pop(0)
        found[name] = files[own.stem].get(name) or helpers[name]
        waiting += sorted(found[name].names & helpers.keys() - {*found, *waiting})
    return found


def code_of(op: Op) -> str:
    """The source of an op's functions, without their texts."""
    return "\n".join(line.text for function in functions_of(op).values() for line in function.body)
