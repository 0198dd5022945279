"""Chapters: each has its parts, and its exercise tells right answers from wrong ones."""

import importlib
import re
from pathlib import Path

import pytest

from docs.exercises.__main__ import NAMES, main
from tests.docs.answers import ANSWERS
from tests.support.project import ROOT
from tinynet.learn.exercises import EXERCISES

FOLDER = ROOT / "docs" / "chapters"
CHAPTERS = sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "index")


def directives(text: str, name: str) -> list[str]:
    return re.findall(rf"^```{{{name}}} ?(.*?)^```", text, re.M | re.S)


def code_lines(text: str) -> int:
    """Lines of the library's code that a chapter includes, at least: from `:from:` to `:to:`, or a whole function."""
    total = 0
    for block in directives(text, "code"):
        path, lines = ROOT / block.split("\n")[0], 0
        source = path.read_text("utf-8").split("\n")
        options = dict(re.findall(r"^:(\w+): (.*)$", block, re.M))
        if "function" in options:
            head = rf"\s*(def|class) {options['function']}\b"
            first = next(n for n, line in enumerate(source) if re.match(head, line))
            body = source[first + 1 :]
            indent = len(source[first]) - len(source[first].lstrip())
            lines = next((n for n, line in enumerate(body) if line.strip() and len(line) - len(line.lstrip()) <= indent
                          and not line.startswith(")")), len(body))
        else:
            first = next(n for n, line in enumerate(source) if options["from"] in line)
            lines = next(n for n, line in enumerate(source[first:]) if options["to"] in line) + 1
        total += lines
    return total


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_has_its_parts(name: str) -> None:
    text = (FOLDER / f"{name}.md").read_text("utf-8")
    assert re.match(r"# \d+\. .+\n\n\*[^*]+\?\*\n", text), "title, and the question in one sentence"
    assert any(":widget:" in block for block in directives(text, "drawing")), "a figure with a place for a widget"
    assert directives(text, "equations") or directives(text, "formula")
    assert code_lines(text) >= 10
    assert directives(text, "exercise")
    assert "**Remember.**" in text
    words = len(re.sub(r"^```.*?^```", "", text, flags=re.M | re.S).split())
    assert 800 <= words <= 1500, words


def test_numbers_of_chapters_are_computed_and_each_is_used() -> None:
    pages = [(FOLDER / f"{name}.md").read_text("utf-8") for name in CHAPTERS]
    used = {found for text in pages for found in re.findall(r"{number}`(\w+) ([^`]+)`", text)}
    known = set[tuple[str, str]]()
    for path in sorted((ROOT / "docs" / "figures").glob("[a-z]*.py")):
        module = importlib.import_module(f"docs.figures.{path.stem}")
        known |= {(path.stem, key) for key in getattr(module, "in_text", dict)()}
    assert used == known


def test_each_exercise_stands_in_a_chapter() -> None:
    used = [block.strip() for name in CHAPTERS for block in
            directives((FOLDER / f"{name}.md").read_text("utf-8"), "exercise")]
    assert len(used) == len({*used})
    assert {*used} <= {*NAMES, *EXERCISES}
    assert sorted({*used} - {*EXERCISES}) == NAMES == sorted(ANSWERS)


def blank(name: str) -> str:
    """The lines of an exercise that a learner completes."""
    return (ROOT / "docs" / "exercises" / "blanks" / f"{name}.py").read_text("utf-8")


def answered(name: str, edits: list[tuple[str, str]]) -> str:
    text = blank(name)
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize("name", NAMES)
def test_the_blank_is_not_right(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.py").write_text(blank(name), "utf-8")
    assert main([name, str(tmp_path / "a.py")]) == 1
    assert ": " in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_a_right_answer_is_right_and_wrong_ones_are_named(name: str, tmp_path: Path,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    right, *wrong = ANSWERS[name]
    file = tmp_path / "a.py"
    file.write_text(answered(name, right), "utf-8")
    assert main([name, str(file)]) == 0, capsys.readouterr().out
    capsys.readouterr()
    assert len(wrong) >= 2
    for edits, said in wrong:
        changed = {old: new for old, new in right}
        changed.update(edits)
        file.write_text(answered(name, [*changed.items()]), "utf-8")
        assert main([name, str(file)]) == 1, edits
        assert said in capsys.readouterr().out, edits
