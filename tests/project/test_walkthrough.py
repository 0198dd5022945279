"""The walk-through of docs/add_an_op.md, followed literally in a copy of the project.

With all steps, all tests pass. With one step left out, one test fails, and names the file.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.project import ROOT, project_files

pytest.importorskip("numba")

PAGE = ROOT / "docs" / "add_an_op.md"


class Edit(NamedTuple):
    """A block of code of the page: the file that it belongs in, and the line above it.

    `anchor` is None for a whole file, and "" for the end of a file.
    """

    step: int
    file: str
    anchor: str | None
    code: str


def edits() -> list[Edit]:
    """The edits of the page, in order."""
    found = []
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.M)[1:]:
        title = re.match(r"(\d)\. `(.*)`\n", section)
        if title:
            for said, code in re.findall(r"((?:(?!```)[\s\S])*?)\n\n```python\n([\s\S]*?)```\n", section):
                last = said.rstrip().rpartition("\n")[2]
                anchor = re.search(r"Below the line `(.*)`, add", last)
                assert anchor or last.endswith(("Write the file:", "At the end, add:")), last
                place = anchor[1] if anchor else None if last.endswith("Write the file:") else ""
                found.append(Edit(int(title[1]), title[2], place, code))
    return found


def commands() -> list[list[str]]:
    """The two commands of the page: without and with an override."""
    lines = re.findall(r"^python -m (pytest .* -k softplus)$", PAGE.read_text(encoding="utf-8"), re.M)
    return [line.split() for line in lines]


def follow(folder: Path, chosen: list[Edit]) -> None:
    for edit in chosen:
        path = folder / edit.file
        if edit.anchor is None:
            assert not path.exists()
            path.write_text(edit.code, encoding="utf-8")
            continue
        lines = path.read_text(encoding="utf-8").split("\n")
        assert edit.anchor == "" or lines.count(edit.anchor) == 1, f"{edit.anchor!r} is not one line of {edit.file}"
        at = lines.index(edit.anchor) + 1 if edit.anchor else len(lines) - 1
        path.write_text("\n".join([*lines[:at], *edit.code.rstrip("\n").split("\n"), *lines[at:]]), encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project."""
    for path in project_files():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    return tmp_path


def run(folder: Path, command: list[str]) -> tuple[list[str], str]:
    """The tests that fail in a command of pytest, and what it prints."""
    done = subprocess.run([sys.executable, "-m", *command, "-q", "-p", "no:cacheprovider"], cwd=folder, text=True,
                          capture_output=True, timeout=600, env={**os.environ, "PYTHONPATH": str(folder)}, check=False)
    said = done.stdout + done.stderr
    assert re.search(r"\d+ (passed|failed)", said), said
    return re.findall(r"^(?:FAILED|ERROR) (\S+)", said, re.M), said


def test_the_page_lists_its_files() -> None:
    listed = re.findall(r"^\| (\d) \| `(.*?)` \|", PAGE.read_text(encoding="utf-8"), re.M)
    assert dict(listed) == {str(edit.step): edit.file for edit in edits()}
    assert len(listed) <= 7
    assert [edit.step for edit in edits()] == [1, 2, 2, 3, 4, 5, 6, 7, 7]


WITHOUT_OVERRIDE = [edit for edit in edits() if edit.step <= 5]
FEW = ["tests/ops/test_complete.py", "tests/ops/test_ops.py", "tests/core/test_planted.py",
       "tests/project/test_docs.py"]
ALL = [*FEW, "tests/core/test_contract.py", "tests/backend/test_backend.py", "tests/backend/test_overrides.py",
       "tests/backend/cpu/test_cpu_kernels.py", "tests/backend/cpu/test_cpu_graph.py"]


def test_every_step(project: Path) -> None:
    """With the commands of the page: first without an override, then with one."""
    follow(project, WITHOUT_OVERRIDE)
    failed, said = run(project, commands()[0])
    passed = re.search(r"(\d+) passed", said)
    assert not failed and passed and int(passed[1]) >= 8, said
    failed, said = run(project, ["pytest", "tests/project/test_project.py", "-k", "budget"])
    assert not failed, said
    follow(project, edits()[len(WITHOUT_OVERRIDE) :])
    failed, said = run(project, commands()[1])
    passed = re.search(r"(\d+) passed", said)
    assert not failed and passed and int(passed[1]) >= 30, said


def test_large_numbers(project: Path) -> None:
    """Value and gradient in float32, by the math and by the override."""
    follow(project, edits())
    program = """
import numpy as np, tinynet as tn
for which in ("reference", "fast"):
    with tn.using(which):
        x = tn.Tensor(np.array([-100, 0, 100], "float32"), requires_grad=True)
        y = tn.ops.softplus(x)
        y.sum().backward()
        np.testing.assert_allclose(y.numpy(), [np.exp(-100), np.log(2), 100], rtol=2e-2)  # few bits below 1e-38
        np.testing.assert_allclose(y.numpy()[1:], [np.log(2), 100], rtol=1e-6)
        np.testing.assert_allclose(x.grad, [np.exp(-100), 0.5, 1], rtol=2e-2)
        np.testing.assert_allclose(x.grad[1:], [0.5, 1], rtol=1e-6)
"""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=project, env={**os.environ, "PYTHONPATH": str(project)}, capture_output=True,
                          text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("left_out", "steps", "tests"), [
    *((edit, WITHOUT_OVERRIDE, FEW) for edit in WITHOUT_OVERRIDE[1:]),
    *((edit, edits(), ALL) for edit in edits()[1:])],
    ids=lambda value: f"{value.step}-{value.anchor or value.file}" if isinstance(value, Edit) else str(len(value)))
def test_a_step_left_out_is_named(left_out: Edit, steps: list[Edit], tests: list[str], project: Path) -> None:
    follow(project, [edit for edit in steps if edit != left_out])
    failed, said = run(project, ["pytest", *tests, "-k", "softplus"])
    assert failed == ["tests/ops/test_complete.py::test_nothing_is_missing[softplus]"], said
    named = re.findall(r"^(t\S+\.py): add  ?(.*)", said, re.M)
    assert named and {file for file, _ in named} == {left_out.file}, said
    assert all("softplus" in line for _, line in named), said


@pytest.mark.parametrize(("file", "old", "new", "fault"), [
    ("tinynet/ops/softplus.py", "dy * logistic(xp, x)", "dy * logistic(xp, x) * 2", "gradient of input 0"),
    ("tinynet/ops/softplus.py", "  # (2)", "", "(2) is in the text and not in the code"),
])
def test_a_mistake_is_named(file: str, old: str, new: str, fault: str, project: Path) -> None:
    follow(project, WITHOUT_OVERRIDE)
    text = (project / file).read_text(encoding="utf-8")
    assert text.count(old) == 1
    (project / file).write_text(text.replace(old, new), encoding="utf-8")
    failed, said = run(project, ["pytest", *FEW, "-k", "softplus"])
    assert failed and fault in said, said


def test_an_override_without_a_backward_is_refused(project: Path) -> None:
    follow(project, edits())
    path = project / "tinynet" / "backend" / "cpu" / "softplus.py"
    path.write_text(path.read_text(encoding="utf-8").replace("def dsoftplus", "def other"), encoding="utf-8")
    failed, said = run(project, ["pytest", *ALL, "-k", "softplus"])
    assert failed == ["tests/ops/test_complete.py::test_nothing_is_missing[softplus]"], said
    assert "tinynet/backend/cpu/softplus.py: add the function dsoftplus" in said
