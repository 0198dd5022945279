"""Ops with a bug of `tests/core/bugs.py` in their source, and what the ordinary check says about them."""

import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

import numpy as np

import tinynet.op
from tests.core.bugs import Bug, edit, file_of, helper_module
from tests.support.op_cases import check_op
from tinynet.op import Op


def run_module(source: str, path: Path,
               others: dict[str, ModuleType] | None = None) -> tuple[ModuleType, dict[str, Op]]:
    """Run a source as a module of its own; its ops come back, and do not enter the real registry."""
    module, registry = ModuleType(f"planted.{path.stem}"), dict[str, Op]()
    module.__file__ = str(path)
    with (mock.patch.object(tinynet.op, "REGISTRY", registry), mock.patch.object(tinynet.op, "UPDATES", {}),
          mock.patch.dict(sys.modules, others or {})):
        exec(compile(source, str(path), "exec"), module.__dict__)
    return module, registry


def plant(bug: Bug) -> Op:
    source, own = edit(bug)[0], file_of(bug.op)
    if not bug.file:
        return run_module(source, own)[1][bug.op]
    helper = {helper_module(bug.file): run_module(source, file_of(bug.op, bug.file))[0]}
    return run_module(own.read_text(encoding="utf-8"), own, helper)[1][bug.op]


def complaint(op: Op) -> str | None:
    """What the ordinary check says about an op, None if nothing. That arrays do not fit is found by NumPy itself."""
    for case in op.cases:
        try:
            check_op(op, case, np.random.default_rng(0))
        except (AssertionError, ValueError) as error:
            return str(error) or type(error).__name__
    return None
