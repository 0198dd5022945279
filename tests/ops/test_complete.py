"""What is missing for an op: one test for each, which names the file and the line to add. See docs/add_an_op.md."""

import pytest

from tests.core import bugs
from tests.support.complete import OPS, TABLES, declared, lacks, lacks_in, overridden
from tests.support.references import KINKS, REFERENCES
from tinynet.export.rules import RULES
from tinynet.op import REGISTRY, Op


@pytest.mark.parametrize("name", declared())
def test_nothing_is_missing(name: str) -> None:
    missing = lacks(name) or [line for folder in TABLES for line in lacks_in(folder, name)]
    if missing:
        pytest.fail("\n".join(missing), pytrace=False)


def test_all_ops_are_tested() -> None:
    assert len(OPS) > 40
    assert len(overridden("cpu")) >= 12
    assert len(overridden("cuda")) >= 15


def test_no_table_names_an_op_that_does_not_exist() -> None:
    named = {*REFERENCES, *KINKS, *(bug.op for bug in bugs.BUGS)}.union(*(table.LARGE for table in TABLES.values()))
    assert not named - declared().keys()
    assert not {name for name, op in REGISTRY.items() if op.module.startswith("tinynet.")} - declared().keys()


# --- what is missing is found ---------------------------------------------------------------------------------------

def test_a_missing_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    relu = REGISTRY["relu"]
    monkeypatch.delitem(REFERENCES, "relu")
    assert lacks("relu") == ['tests/support/references.py: add  REFERENCES["relu"] = lambda x: ...  in terms of single '
                             "numbers"]
    monkeypatch.setattr(relu, "flops", None)
    monkeypatch.setattr(relu, "backward", Op(lambda xp, x: None, "x:(N) -> y:(N)", [], None, None, True).backward)
    assert [line.partition(" ")[0] for line in lacks("relu")] == ["tinynet/ops/activation.py:"] * 2 + [
        "tests/support/references.py:"]
    monkeypatch.delitem(RULES, "relu")
    assert lacks("relu")[-1].startswith('tinynet/export/elementwise.py: add  "relu": "its node of ONNX",  to _UNARY')
    monkeypatch.delitem(REGISTRY, "relu")
    assert lacks("relu") == ["tinynet/ops/__init__.py: add the line  from tinynet.ops.activation import relu"]


def test_a_missing_bug_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bugs, "BUGS", [bug for bug in bugs.BUGS if "(13)" not in bug.title])
    assert lacks("lstm") == ['tests/core/bugs.py: add  Bug("lstm", "a mistake", "a piece of the line with (13)", "the '
                             'wrong piece"),  to BUGS']
    for folder, file in (("cpu", "lstm_rows.py"), ("cuda", "lstm.h")):
        table = TABLES[folder]
        monkeypatch.setattr(table, "BUGS", [bug for bug in table.BUGS if (bug.file, bug.number) != (file, 13)])
        line, = lacks_in(folder, "lstm")
        assert line.startswith(f'tests/backend/equations_{folder}.py: add  ("{file}", 13, "a piece of line ')


def test_a_missing_case_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(TABLES["cpu"].LARGE, "dense")
    assert lacks_in("cpu", "dense") == ['tests/backend/equations_cpu.py: add  "dense": [{...}],  to LARGE: cases with '
                                        "large sizes"]
    monkeypatch.setitem(TABLES["cpu"].LARGE, "sigmoid", [{}])
    assert lacks_in("cpu", "sigmoid") == ["tinynet/backend/cpu/activation.py: add the functions sigmoid and dsigmoid, "
                                          "which tests/backend/equations_cpu.py names"]
