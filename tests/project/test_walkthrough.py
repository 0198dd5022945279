"""The walk-through of docs/add_an_op.md, followed literally in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def walk_through() -> tuple[str, str, str, str]:
    """The op's file, the line for ops/__init__.py, that for references.py, and the command, as the page has them."""
    part = (ROOT / "docs" / "add_an_op.md").read_text(encoding="utf-8")
    code, reference = re.findall(r"```python\n(.*?)```", part, re.S)
    line = re.search(r"`(from tinynet\.ops\.softplus import softplus)`", part)
    command = re.search(r"```\npython -m (pytest .*?)\n```", part)
    assert line and command
    return code, line[1], reference, command[1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project to which the op was added as the page says."""
    for name in ("tinynet", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    code, line, reference, _ = walk_through()
    (tmp_path / "tinynet" / "ops" / "softplus.py").write_text(f'"""Softplus."""\n\n{code}', encoding="utf-8")
    init = tmp_path / "tinynet" / "ops" / "__init__.py"
    text = init.read_text(encoding="utf-8")
    init.write_text(text.replace("__all__ = [", f'{line}\n\n__all__ = ["softplus",'), encoding="utf-8")
    with (tmp_path / "tests" / "support" / "references.py").open("a", encoding="utf-8") as file:
        file.write(reference)
    return tmp_path


def ask(project: Path) -> tuple[int, str]:
    """What the page's command prints."""
    command = [sys.executable, "-m", *walk_through()[3].split(), "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=300, check=False,
                          env={**os.environ, "PYTHONPATH": ""})
    return done.returncode, done.stdout + done.stderr


def test_the_op_is_found_and_right(project: Path) -> None:
    code, said = ask(project)
    assert code == 0, said
    found = re.search(r"(\d+) passed", said)
    assert found and int(found[1]) >= 3, said


def test_a_mistake_in_its_backward_is_found(project: Path) -> None:
    path = project / "tinynet" / "ops" / "softplus.py"
    text = path.read_text(encoding="utf-8")
    wrong = text.replace("(1 + xp.exp(-cache))", "(1 + xp.exp(cache))")
    assert wrong != text
    path.write_text(wrong, encoding="utf-8")
    code, said = ask(project)
    assert code == 1
    assert "FAILED tests/ops/test_ops.py::test_op[softplus-0]" in said


def test_a_number_that_is_missing_in_the_code_is_found(project: Path) -> None:
    path = project / "tinynet" / "ops" / "softplus.py"
    path.write_text(path.read_text(encoding="utf-8").replace("# (2)", ""), encoding="utf-8")
    code, said = ask(project)
    assert code == 1
    assert "(2) is in the text and not in the code" in said
