"""What an op of `tinynet/ops` still lacks: the lines to write for it, and the files that they belong in.

`tests/ops/test_complete.py` reports them, in one test for each op. All other tests take ops and overrides from here,
and leave out those that lack what they need, so that a missing line fails that test alone.
"""

import ast
from collections.abc import Iterator
from functools import cache
from typing import Any

from tests.backend import equations_cpu, equations_cuda
from tests.core import bugs
from tests.support.overrides import Bug, Specification, claims, definitions, reached, read, specifications
from tests.support.project import ROOT
from tests.support.references import REFERENCES
from tinynet import ops
from tinynet.export.rules import INEXPRESSIBLE, RULES
from tinynet.op import REGISTRY, Op

TABLES = {"cpu": equations_cpu, "cuda": equations_cuda}


@cache
def declared() -> dict[str, str]:
    """The ops in the files of `tinynet/ops`: functions with the decorator `op(...)`; and the files, without .py."""
    found = {}
    for path in sorted((ROOT / "tinynet" / "ops").glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and any(
                    isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == "op"
                    for call in node.decorator_list):
                found[node.name] = path.stem
    return found


def has_gradient(op: Op[Any]) -> bool:
    return op.backward.__module__ != "tinynet.op"  # the backward of a new Op, which raises


# --- an op ----------------------------------------------------------------------------------------------------------

def lacks(name: str) -> list[str]:
    """What an op lacks, apart from its overrides."""
    stem, exports = declared()[name], "tinynet/ops/__init__.py"
    if name not in REGISTRY or getattr(ops, name, None) is not REGISTRY[name]:
        return [f"{exports}: add the line  from tinynet.ops.{stem} import {name}"]
    found = [] if name in ops.__all__ else [f'{exports}: add the line  "{name}",  to __all__']
    return found + [f"tinynet/ops/{stem}.py: {line}" for line in _lacks_itself(name)] + [
        f"tests/{file}: add  {line}" for file, line in _lacks_in_tests(name)] + _lacks_in_export(name)


def _lacks_itself(name: str) -> Iterator[str]:
    op = REGISTRY[name]
    if not has_gradient(op):
        yield f"add a function d{name} below @{name}.gradient: it computes the gradients"
    if not op.cases:
        yield "add  cases=[{}]  to @op(...): the sizes and options for the tests"
    if op.flops is None:
        yield "add  flops=1  to @op(...): the operations for each element, see the text of `op` in tinynet/op.py"
    if not op.__doc__:
        yield "add a text to the function, with its equations"


def _lacks_in_tests(name: str) -> Iterator[tuple[str, str]]:
    if name not in REFERENCES:
        inputs = ", ".join(argument.name for argument in REGISTRY[name].contract.inputs)
        yield "support/references.py", f'REFERENCES["{name}"] = lambda {inputs}: ...  in terms of single numbers'
    proved = set()
    for bug in bugs.BUGS:
        if bug.op == name and not bugs.flaw(bug):
            proved |= bugs.equations(bug)
        elif bug.op == name:
            yield "core/bugs.py", f"another text to the bug {str(bug)!r}: {bugs.flaw(bug)}"
    for number in sorted(specifications()[name].numbers - proved):
        yield "core/bugs.py", (f'Bug("{name}", "a mistake", "a piece of the line with ({number})", "the wrong piece"),'
                               "  to BUGS")


def _lacks_in_export(name: str) -> list[str]:
    """The line about ONNX, if an op has neither a rule nor a reason why ONNX cannot express it."""
    return [] if name in {**RULES, **INEXPRESSIBLE} else [
        f'tinynet/export/elementwise.py: add  "{name}": "its node of ONNX",  to _UNARY; for another form a function '
        f'with @rule("{name}") to layers.py; if ONNX has no node, the reason to INEXPRESSIBLE of rules.py']


# --- its overrides --------------------------------------------------------------------------------------------------

def defined(folder: str, name: str) -> set[str]:
    """The functions that an override of an op may define, forward and backward: those that its file defines."""
    file = f"{declared()[name]}.py"
    return {name, f"d{name}"} & definitions(file, read(folder).get(file, "")).keys()


def lacks_in(folder: str, name: str) -> list[str]:
    """What the override of an op lacks: nothing where there is no override."""
    table, stem = TABLES[folder], declared()[name]
    file, tests = f"tinynet/backend/{folder}/{stem}.py", f"tests/backend/equations_{folder}.py"
    there = defined(folder, name)
    if not there:
        named = name in table.LARGE or any(
            bug.file.partition(".")[0] == stem and bug.file not in read(folder) for bug in table.BUGS)
        return [f"{file}: add the functions {name} and d{name}, which {tests} names"] if named else []
    if len(there) == 1:
        return [f"{file}: add the function {({name, f'd{name}'} - there).pop()}"]
    found = [] if name in table.LARGE else [f'{tests}: add  "{name}": [{{...}}],  to LARGE: cases with large sizes']
    proved: set[tuple[str, int, int]] = set()
    for bug in table.BUGS:
        if (line := place(bug)) is not None:
            proved.add((bug.file, line, bug.number))
        elif bug.file.partition(".")[0] == stem:
            found.append(f"{tests}: change the bug {str(bug)!r}: {bug.old!r} must be on one line with ({bug.number})")
    page = f"tinynet/backend/{folder}/README.md"
    if f"{stem}.cu" in read(folder) and f"| `{stem}.cu` |" not in (ROOT / page).read_text(encoding="utf-8"):
        found.append(f"{page}: add  | `{stem}.cu` | `ops/{stem}.py` | one element |  to the table of files: what a "
                     "thread computes")
    return found + [f'{tests}: add  ("{part}", {number}, "a piece of line {line}", "the wrong piece"),  to BUGS'
                    for part, line, number in sorted(claimed(folder, specifications()[name]) - proved)]


def place(bug: Bug) -> int | None:
    """The line that a bug is planted into; None if its file or its text is not there."""
    try:
        return bug.line
    except (AssertionError, KeyError):
        return None


def claimed(folder: str, specification: Specification) -> set[tuple[str, int, int]]:
    """The lines that an override reaches and that carry equation numbers: (file, line, number)."""
    files = read(folder)
    return {(part.file, line, number) for part in reached(files, specification)
            for line, numbers in claims(part.file, files[part.file]).items() if part.first <= line <= part.last
            for number in numbers}


# --- what is complete -----------------------------------------------------------------------------------------------

def is_testable(name: str) -> bool:
    """Whether an op can be called and compared with a reference, forward and backward."""
    if name not in REGISTRY or name not in REFERENCES or any(len(defined(folder, name)) == 1 for folder in TABLES):
        return False
    op = REGISTRY[name]
    return bool(op.cases and op.__doc__) and has_gradient(op)


OPS = {name: REGISTRY[name] for name in declared() if is_testable(name)}


@cache
def overridden(folder: str) -> list[str]:
    """The ops with an override in `backend/cpu` or `backend/cuda`, forward and backward, and cases to test it."""
    return [name for name in OPS if name in TABLES[folder].LARGE and {name, f"d{name}"} <= defined(folder, name)]
