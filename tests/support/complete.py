"""What an op of `tinynet/ops` still lacks: the lines to write for it, and the files that they belong into.

`tests/ops/test_complete.py` reports them, in one test for each op. All other tests take ops and overrides from here, so
that an op, or an override, that lacks something fails that test alone.
"""

import ast
from collections.abc import Iterator
from functools import cache

from tests.backend import equations_cpu, equations_cuda
from tests.core import bugs
from tests.support.overrides import (
    Bug,
    Specification,
    claims,
    definitions,
    number_faults,
    reached,
    read,
    specifications,
)
from tests.support.project import ROOT
from tests.support.references import REFERENCES
from tinynet import ops
from tinynet.op import REGISTRY

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


# --- an op ----------------------------------------------------------------------------------------------------------

def lacks(name: str) -> list[str]:
    """What an op lacks, apart from its overrides."""
    stem, exports = declared()[name], "tinynet/ops/__init__.py"
    if name not in REGISTRY or getattr(ops, name, None) is not REGISTRY[name]:
        return [f"{exports}: add the line  from tinynet.ops.{stem} import {name}"]
    found = [] if name in ops.__all__ else [f'{exports}: add the line  "{name}",  to __all__']
    return found + [f"tinynet/ops/{stem}.py: {line}" for line in _lacks_itself(name)] + [
        f"tests/{file}: add  {line}" for file, line in _lacks_in_tests(name)]


def _lacks_itself(name: str) -> Iterator[str]:
    op = REGISTRY[name]
    if op.backward.__module__ == "tinynet.op":  # that of `op` itself, which raises
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
        if bug.op == name:
            try:
                proved |= bugs.equations(bug)
            except AssertionError as error:
                yield "core/bugs.py", f"the right code to the bug {str(bug)!r}: {error}"
    for number in sorted(specifications()[name].numbers - proved):
        yield "core/bugs.py", (f'Bug("{name}", "a mistake", "a piece of the line with ({number})", "the wrong piece"),'
                               "  to BUGS")


# --- its overrides --------------------------------------------------------------------------------------------------

def overrides(folder: str, name: str) -> bool:
    """Whether a file of `backend/cpu` or `backend/cuda` defines the op, forward or backward."""
    file = f"{declared()[name]}.py"
    return not {name, f"d{name}"}.isdisjoint(definitions(file, read(folder).get(file, "")))


def lacks_in(folder: str, name: str) -> list[str]:
    """What the override of an op lacks: nothing where there is no override."""
    table, stem = TABLES[folder], declared()[name]
    file, tests = f"tinynet/backend/{folder}/{stem}.py", f"tests/backend/equations_{folder}.py"
    if not overrides(folder, name):
        named = name in table.LARGE or any(
            bug.file.partition(".")[0] == stem and bug.file not in read(folder) for bug in table.BUGS)
        return [f"{file}: add the functions {name} and d{name}, which {tests} speaks of"] if named else []
    known = definitions(f"{stem}.py", read(folder)[f"{stem}.py"])
    half = [each for each in (name, f"d{name}") if each not in known]
    if half:
        return [f"{file}: add the function {half[0]}"]
    found = [f"{file}: {fault}" for fault in number_faults(read(folder), specifications()[name])]
    if name not in table.LARGE:
        found.append(f'{tests}: add  "{name}": [{{...}}],  to LARGE: cases with large sizes')
    proved: set[tuple[str, int, int]] = set()
    for bug in table.BUGS:
        if (line := place(bug)) is not None:
            proved.add((bug.file, line, bug.number))
        elif bug.file.partition(".")[0] == stem:
            found.append(f"{tests}: change the bug {str(bug)!r}: {bug.old!r} must be on one line with ({bug.number})")
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

OPS = {name: REGISTRY[name] for name in declared() if not lacks(name)}


@cache
def overridden(folder: str) -> list[str]:
    """The complete ops with a complete override in `backend/cpu` or `backend/cuda`."""
    return [name for name in OPS if overrides(folder, name) and not lacks_in(folder, name)]
