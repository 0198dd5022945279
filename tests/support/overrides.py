"""What an override owes to its specification, read from the sources: equation numbers, signatures, the order of a file.

A folder is a dictionary from file names to texts, all those of `backend/cpu` or of `backend/cuda`, so that a test can
also ask about a folder with a fault in it. A number is claimed by a line of code whose comment begins with it:

    C[j] = f * C_before[j] + i * Ctilde     # (4)                `//` in .cu and .h; `# (14) (15)` claims two

A comment that begins with a word is no claim: `# lstm.h: (1) to (6)` tells where the lines are that compute these.
"""

import ast
import inspect
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import tinynet
from tinynet.op import REGISTRY, UPDATES

BACKEND = Path(tinynet.__file__).parent / "backend"
NUMBERED = re.compile(r"^ *(?:[A-Z]\w+ +)?\((\d+)\) ", re.M)
SECTIONS = ("Layout", "Equations", "Schedule", "Entry")
Folder = dict[str, str]


class Specification(NamedTuple):
    """An op, or an update in place: its module and functions, and the text that numbers its equations."""

    name: str
    module: str
    functions: tuple[Callable[..., Any], ...]
    text: str

    @property
    def stem(self) -> str:
        """What the files of its overrides are called."""
        return self.module.rpartition(".")[2]

    @property
    def names(self) -> tuple[str, ...]:
        """What the functions are called, in the specification and in an override."""
        return tuple(function.__name__ for function in self.functions)

    @property
    def numbers(self) -> set[int]:
        return {int(number) for number in NUMBERED.findall(self.text)}


def specifications() -> dict[str, Specification]:
    """Every op and every update in place of tinynet, by name. An update may be described at the top of its file."""
    found = {op.name: Specification(op.name, op.module, (op.forward, op.backward), op.__doc__ or "")
             for op in REGISTRY.values() if op.module.startswith("tinynet.")}
    for each in UPDATES.values():
        own, top = each.__doc__ or "", sys.modules[each.module].__doc__ or ""
        found[each.name] = Specification(each.name, each.module, (each.specification,),
                                         own if NUMBERED.search(own) else top)
    return found


def read(device: str) -> Folder:
    """The files of a device's overrides."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((BACKEND / device).iterdir())
            if path.suffix in (".py", ".cu", ".h")}


# --- definitions: what a file defines, and which of it an override reaches ------------------------------------------

class Definition(NamedTuple):
    """A function, class, macro or constant of a file: its lines, and the words that may name others."""

    file: str
    first: int
    last: int
    words: frozenset[str]


def headers(text: str) -> list[str]:
    """The headers of ours that a file of kernels includes."""
    return re.findall(r'^#include "(\w+\.h)"', text, re.M)


def visible(folder: Folder, stem: str) -> list[str]:
    """The files that `stem`.py can reach: it, its kernels, their headers, the modules of this folder it imports."""
    found: list[str] = []
    waiting = [f"{stem}.py"]
    while waiting:
        name = waiting.pop()
        if name in folder and name not in found:
            found.append(name)
            waiting += headers(folder[name])
            waiting += [f"{kernels}.cu" for kernels in re.findall(r'Kernels\("(\w+)"', folder[name])]
            waiting += [f"{module}.py" for module in re.findall(r"backend\.\w+\.(\w+) import", folder[name])]
            waiting += [f"{module}.py" for names in re.findall(r"backend\.\w+ import ([\w, ]+)", folder[name])
                        for module in names.split(", ")]
    return found


@cache
def definitions(name: str, text: str) -> dict[str, list[Definition]]:
    """The definitions of a file, by name."""
    found: dict[str, list[Definition]] = {}
    for own, first, last, words in (_python if name.endswith(".py") else _c)(text):
        found.setdefault(own, []).append(Definition(name, first, last, frozenset(words)))
    return found


def _python(text: str) -> Iterator[tuple[str, int, int, set[str]]]:
    for node in ast.parse(text).body:
        names: list[str] = []
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names = [name]
            case ast.Assign(targets=targets):
                names = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                names = [name]
        inside = list(ast.walk(node))
        docstrings = {part.value for part in inside if isinstance(part, ast.Expr)}
        words = {part.id for part in inside if isinstance(part, ast.Name)}
        words |= {part.attr for part in inside if isinstance(part, ast.Attribute)}
        for part in inside:
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and part not in docstrings:
                words |= {*re.findall(r"\w+", part.value)}
        first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
        yield from ((name, first, node.end_lineno or first, words) for name in names)


def _c(text: str) -> Iterator[tuple[str, int, int, set[str]]]:
    lines = [re.sub(r"//.*", "", line).rstrip() for line in text.split("\n")]
    first, taken = 0, ""
    for number, line in enumerate(lines, start=1):
        if not taken:
            if not line or (line.startswith("#") and not line.startswith("#define")):
                continue
            first = number
        taken += line + "\n"
        is_whole = not line.endswith("\\") if taken.startswith("#define") else \
            taken.count("{") == taken.count("}") and line.endswith(("}", ";"))
        if is_whole:
            head = re.sub(r'extern "C"|template <.*?>|__launch_bounds__\s*\(.*?\)', "", taken)
            name = re.match(r"\s*(?:#define|struct)\s+(\w+)", head) or re.search(r"(\w+)\s*[(=]", head)
            assert name, f"line {first} defines nothing that has a name: {taken}"
            yield name[1], first, number, {*re.findall(r"\w+", taken)}
            taken = ""
    assert not taken, f"line {first}: no end of {taken[:50]}"


def reached(folder: Folder, specification: Specification) -> list[Definition]:
    """The definitions that the override of a specification uses, its own functions first. Empty without an override."""
    known: dict[str, list[Definition]] = {}
    for file in visible(folder, specification.stem):
        for name, places in definitions(file, folder[file]).items():
            known.setdefault(name, []).extend(places)
    own = definitions(f"{specification.stem}.py", folder.get(f"{specification.stem}.py", ""))
    if not all(name in own for name in specification.names):
        return []
    found: list[Definition] = []
    waiting, seen = list(specification.names), {*specification.names}
    while waiting:
        for definition in known.get(waiting.pop(0), []):
            found.append(definition)
            more = sorted(definition.words - seen)
            waiting += more
            seen |= {*more}
    return found


# --- claims ---------------------------------------------------------------------------------------------------------

def comments(name: str, text: str) -> Iterator[tuple[int, str]]:
    """The comments that stand behind code, without their marks, and the numbers of their lines."""
    if name.endswith(".py"):
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT and token.line[: token.start[1]].strip():
                yield token.start[0], token.string.lstrip("# ")
    else:
        for number, line in enumerate(text.split("\n"), start=1):
            code, mark, comment = line.partition("//")
            if mark and code.strip():
                yield number, comment.strip()


@cache
def claims(name: str, text: str) -> dict[int, list[int]]:
    """The equation numbers that each line of a file claims."""
    found = {}
    for line, comment in comments(name, text):
        if run := re.match(r"(?:\(\d+\)\s*)+", comment):
            found[line] = [int(number) for number in re.findall(r"\d+", run[0])]
    return found


def left(text: str, specification: Specification) -> set[int]:
    """The numbers that an override leaves: `Left to the specification: (7) of cross_entropy.` in its docstring."""
    docstring = ast.get_docstring(ast.parse(text)) or ""
    return {int(number) for line in re.findall(r"Left to the specification: (.*)", docstring)
            for numbers, name in re.findall(r"((?:\(\d+\)[ ,]*)+)(?:of (\w+))?", line)
            if name in ("", specification.name) for number in re.findall(r"\d+", numbers)}


# --- planted bugs ---------------------------------------------------------------------------------------------------

class Bug(NamedTuple):
    """In a file of a folder, `old` becomes `new` on the only line that claims `number` and has `old`."""

    folder: str
    file: str
    number: int
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.folder}/{self.file} ({self.number}): {self.new}"

    @property
    def line(self) -> int:
        """The number of the line that it is planted into."""
        text = read(self.folder)[self.file]
        lines = text.split("\n")
        found = [line for line, numbers in claims(self.file, text).items()
                 if self.number in numbers and self.old in lines[line - 1]]
        assert len(found) == 1, f"{self}: {self.old!r} is on lines {found} of those that claim ({self.number})"
        return found[0]

    @property
    def text(self) -> str:
        """The file with the bug in it."""
        lines = read(self.folder)[self.file].split("\n")
        lines[self.line - 1] = lines[self.line - 1].replace(self.old, self.new, 1)
        return "\n".join(lines)

    @property
    def specifications(self) -> list[Specification]:
        """Those whose override comes to the line."""
        folder = read(self.folder)
        return [each for each in specifications().values()
                if any(part.file == self.file and part.first <= self.line <= part.last
                       for part in reached(folder, each))]


# --- what may be wrong ----------------------------------------------------------------------------------------------

def number_faults(folder: Folder, specification: Specification) -> list[str]:
    """Equation numbers that the override of a specification lacks, or has too many."""
    lines = reached(folder, specification)
    if not lines:
        return []
    claimed: dict[int, str] = {}
    for part in lines:
        for line, numbers in claims(part.file, folder[part.file]).items():
            if part.first <= line <= part.last:
                claimed.update({number: f"{part.file}:{line}" for number in numbers})
    name, owed = specification.name, specification.numbers
    given_up = left(folder[f"{specification.stem}.py"], specification)
    return [*(f"{name}: ({number}) stands on no line that computes it" for number in owed - given_up - claimed.keys()),
            *(f"{claimed[number]}: ({number}) is no equation of {name}" for number in claimed.keys() - owed),
            *(f"{name}: ({number}) is left to the specification, and {claimed[number]} computes it"
              for number in given_up & claimed.keys()),
            *(f"{name}: ({number}) cannot be left, it is no equation" for number in given_up - owed)]


def line_faults(folder: Folder, known: dict[str, Specification]) -> list[str]:
    """Numbers on lines that no override reaches, and comments that number lines in another way than claims do."""
    used = {(part.file, line) for each in known.values() for part in reached(folder, each)
            for line in range(part.first, part.last + 1)}
    faults = []
    for name, text in folder.items():
        faults += [f"{name}:{line}: no override comes here, and it claims {numbers}"
                   for line, numbers in claims(name, text).items() if (name, line) not in used]
        for line, comment in comments(name, text):
            run = re.match(r"(?:\(\d+\)\s*)+", comment)
            if run and re.search(r"\(\d+\)", comment[run.end():]):
                faults.append(f"{name}:{line}: write the numbers one after the other, or a word first: {comment}")
    return faults


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    """Names, kinds and defaults of what a function takes."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


def signature_faults(specification: Specification, functions: tuple[Callable[..., Any], ...]) -> list[str]:
    """Differences between what the functions of an override take and those of its specification."""
    return [f"{specification.name}: {name} must take {own}, takes {other}"
            for name, wanted, found in zip(specification.names, specification.functions, functions, strict=True)
            if (own := parameters(wanted)) != (other := parameters(found))]


def section_faults(name: str, folder: Folder) -> list[str]:
    """A file of overrides whose parts are not Layout (in the docstring), Equations, Schedule, Entry, in this order.

    A file of kernels, its headers in place, has Equations and Schedule; its Python has the other parts.
    """
    text, wanted, found = folder[name], SECTIONS, list[str]()
    if name.endswith(".py"):
        found = re.findall(r"^(Layout)\b", ast.get_docstring(ast.parse(text)) or "", re.M)
    else:
        wanted = SECTIONS[1:3]
        text = re.sub(r'^#include "(\w+\.h)"', lambda header: folder[header[1]], text, flags=re.M)
    found += re.findall(r"^(?:#|//) --- (\w+) -+$", text, re.M)
    return [] if found == list(wanted) else [f"{name}: its parts must be {', '.join(wanted)}, they are {found}"]
