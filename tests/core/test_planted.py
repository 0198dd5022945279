"""The bugs of `bugs.py`, planted one at a time: the ordinary check of every op has to catch each of them.

The edited file is run as a module of its own, with a registry of its own, and `check_op` is asked about the op in it,
over the op's own cases. That each equation has a bug is a part of `tests/ops/test_complete.py`.
"""

from collections.abc import Iterator

import pytest

from tests.core.bugs import BUGS, Bug, file_of, flaw
from tests.support.complete import OPS
from tests.support.planted_ops import complaint, plant, run_module
from tinynet.op import REGISTRY, UPDATES


@pytest.fixture(autouse=True)
def real_registry() -> Iterator[None]:
    """Nothing that is planted may touch the ops that others use."""
    before = dict(REGISTRY), dict(UPDATES)
    yield
    assert before == (REGISTRY, UPDATES)
    assert all(op.module.startswith("tinynet.ops.") for op in REGISTRY.values())


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug.op in OPS and not flaw(bug)], ids=str)
def test_bug_is_caught(bug: Bug) -> None:
    assert complaint(plant(bug)), f"not caught: {bug}"


@pytest.mark.parametrize("name", OPS)
def test_source_without_a_bug_passes(name: str) -> None:
    """The control: what catches the bugs is not the planting."""
    planted = run_module(file_of(name).read_text(encoding="utf-8"), file_of(name))[1][name]
    assert planted is not REGISTRY[name]
    assert complaint(planted) is None


def test_helpers_without_a_bug_pass() -> None:
    for op, helper in {(bug.op, bug.file) for bug in BUGS if bug.file}:
        first_line = file_of(op, helper).read_text(encoding="utf-8").split("\n")[0]
        assert complaint(plant(Bug(op, "none", first_line, first_line, helper))) is None


def test_there_are_many_bugs() -> None:
    assert len(BUGS) >= 60


def test_bugs_are_different() -> None:
    assert len({str(bug) for bug in BUGS}) == len(BUGS)
    assert len({(bug.op, bug.old, bug.new) for bug in BUGS}) == len(BUGS)
    assert all(bug.old != bug.new for bug in BUGS)
