"""The files of the exercises: the library's source without the lines to fill in, and the solution with them.

Both are made from the functions themselves, so that neither can differ from the library.
"""

import ast
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tinynet import atomic
from tinynet.errors import ArgumentError, printable
from tinynet.learn.exercises import EXERCISES
from tinynet.op import Op


def solution(name: str) -> str:
    """The text of an exercise with the library's own lines."""
    exercise = EXERCISES[name]
    parts = [_code(one) for one in exercise.source]
    needed = _imports(exercise.source, parts)
    return "\n".join([_heading(name), *needed, *[""] * bool(needed), f'EXERCISE = "{name}"', "", "",
                      "\n\n\n".join(parts), ""])


def blank(name: str) -> str:
    """The text of an exercise with `...` in place of what is to be found."""
    lines = solution(name).split("\n")
    for marked in statements("\n".join(lines), EXERCISES[name].hints):
        node = marked.node
        value = node.value
        first, last = node.lineno - 1, value.end_lineno - 1
        assert first == last, "a line to fill in is one line"
        line = lines[first].encode()  # offsets of `ast` count bytes
        before = line[: value.col_offset].decode().rstrip("(")
        lines[first] = f"{before}...  {lines[first][lines[first].index('# ('):]}"
    return "\n".join(lines)


def write(folder: str) -> list[str]:
    """Write the files of all exercises to a folder. Returns their paths.

    Errors: ArgumentError if one of them is there already; then none is written. `OSError` where they cannot be written.
    """
    where = Path(folder)
    files = {where / f"{number}_{name}.py": blank(name) for number, name in enumerate(EXERCISES, start=1)}
    there = [path for path in files if path.exists()]
    if there:
        raise ArgumentError(f"learn: {printable(folder)} must not hold an answer already, holds {there[0].name}; give "
                            "another folder, or move the file")
    where.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        atomic.write_whole(path, text.encode())
    return [str(path) for path in files]


class Marked(NamedTuple):
    """A statement with the number of an equation in its comment."""

    function: str
    number: int
    target: str  # what it assigns to, as in the source; "return" for what a function returns
    node: Any


def statements(text: str, wanted: Mapping[tuple[str, int], str]) -> list[Marked]:
    """The assignments and returns of a text that carry the number of a wanted equation, `# (7)`."""
    numbers: dict[int, list[int]] = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            numbers[token.start[0]] = [int(number) for number in re.findall(r"\((\d+)\)", token.string)]
    found: list[Marked] = []

    def visit(node: ast.AST, function: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = child.name if isinstance(child, ast.FunctionDef) else function
            visit(child, inner)
            if isinstance(child, ast.Assign | ast.AugAssign | ast.Return) and child.value is not None:
                here = {number for line in range(child.lineno, (child.end_lineno or child.lineno) + 1)
                        for number in numbers.get(line, ())}
                target = ("return" if isinstance(child, ast.Return) else
                          ast.unparse(child.targets[0] if isinstance(child, ast.Assign) else child.target))
                found.extend(Marked(function, number, target, child)
                             for number in sorted(here) if (function, number) in wanted)

    visit(ast.parse(text), "")
    return sorted(found, key=lambda marked: marked.node.lineno)


def _heading(name: str) -> str:
    exercise, place = EXERCISES[name], [*EXERCISES].index(name) + 1
    wrapped = [f"Exercise {place} of {len(EXERCISES)}: {exercise.title}.", "", *textwrap.wrap(exercise.task, 110), ""]
    if exercise.shown is not None:
        wrapped += [*_forward_equations(exercise.shown), ""]
    keep = ("Replace each `...`. Keep the name before it and the `# (n)` behind it, which tell the check what the line "
            "computes. Add lines of your own where you like. Then run")
    return "\n".join(['"""' + wrapped[0], *wrapped[1:], *textwrap.wrap(keep, 110), "",
                      f"    tinynet learn --check {place}_{name}.py", '"""', ""])


def _forward_equations(op: Op[Any]) -> list[str]:
    """The shapes and the forward equations of an op, from its docstring."""
    lines = textwrap.dedent("    " + (op.__doc__ or "")).split("\n")
    start = next(place for place, line in enumerate(lines) if line.startswith("Shapes"))
    end = next(place for place, line in enumerate(lines) if line.startswith("Backward"))
    return lines[start:end]


def _code(one: Any) -> str:
    """The source of a function or class, without decorators, docstrings and annotations."""
    source = textwrap.dedent(inspect.getsource(one))
    tree = ast.parse(source)
    lines = [line.encode() for line in source.split("\n")]  # offsets of `ast` count bytes
    drop = set(range(1, tree.body[0].lineno))  # decorators
    spans: list[tuple[int, int, int]] = []  # line, first and last byte of an annotation

    def cut(line: int, start: int, annotation: ast.expr) -> None:
        spans.append((line - 1, start, annotation.end_col_offset or 0))

    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and len(node.body) > 1:
                drop |= set(range(first.lineno, (first.end_lineno or 0) + 1))
        if isinstance(node, ast.FunctionDef) and node.returns is not None:
            line = node.returns.lineno
            cut(line, lines[line - 1].rindex(b" ->", 0, node.returns.col_offset), node.returns)
        elif isinstance(node, ast.arg) and node.annotation is not None:
            cut(node.lineno, node.col_offset + len(node.arg.encode()), node.annotation)
        elif isinstance(node, ast.AnnAssign):
            cut(node.lineno, node.target.end_col_offset or 0, node.annotation)
    for line, start, end in sorted(spans, reverse=True):
        lines[line] = lines[line][:start] + lines[line][end:]
    kept = [line.decode() for number, line in enumerate(lines, start=1) if number not in drop]
    return re.sub(r"(:\n)\n+", r"\1", "\n".join(kept)).strip("\n")


def _imports(source: Sequence[Any], parts: Sequence[str]) -> list[str]:
    """The imports that the code needs: of modules, and of what the library has beside the code."""
    made, modules, names = {one.__name__ for one in source}, set[str](), dict[str, set[str]]()
    for one, part in zip(source, parts, strict=True):
        beside = vars(inspect.getmodule(one))
        for name in {node.id for node in ast.walk(ast.parse(part)) if isinstance(node, ast.Name)} & {*beside} - made:
            value = beside[name]
            if inspect.ismodule(value):
                modules.add(f"import {value.__name__}")
            else:
                names.setdefault(value.__module__, set()).add(name)
    return sorted(modules) + [f"from {module} import {', '.join(sorted(names[module]))}" for module in sorted(names)]
