"""Plain English in docstrings, comments, messages and pages: words that are out, and at most 35 words a sentence.

    python -m tests.project.test_english [FILE or FOLDER ...]      prints file:line: fault

The words are looked for in all of them; the length is that of sentences in docstrings and pages. Code, equations,
tables, examples and what stands in `back quotes` have no sentences. The rules themselves: CONTRIBUTING.md.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.project import project_files

ROOT = Path(__file__).resolve().parents[2]

LONGEST = 35  # words of a sentence
OUT = {
    r"(who|no|some|any|every)(body|one(?! of))('s)?|who(m)?ever": "name the thread, the caller, the file, ...",
    r"(?<!people )(?<!users )(?<!readers )who": "the subject is a part of the program",
    r"(is|are|was|were) (?-i:none)": "say invalid, missing, not a number",
    r"so many": "say how many",
}
ABBREVIATIONS = ("e.g.", "i.e.", "et al.", "cf.", "vs.", "Fig.", "no.", "etc.")

Line = tuple[int, str]
Block = list[Line]  # lines that belong together: a paragraph, an item of a list


# --- what is said in a file ------------------------------------------------------------------------------------------

def python_text(source: str, messages: bool = True) -> Iterator[tuple[str, Block]]:
    """The docstrings, comments and messages of a Python file, as ("docstring", lines) and so on."""
    lines = source.split("\n")
    docstrings = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings.add(id(node.value))
            assert node.end_lineno
            block = list(enumerate(lines[node.lineno - 1 : node.end_lineno], node.lineno))
            yield "docstring", [(number, re.sub('^( *)r?"""|"""$', r"\1", line)) for number, line in block]
    for node in ast.walk(ast.parse(source)):
        if messages and isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield "message", [(node.lineno, line) for line in node.value.split("\n")]
    block = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if not (block and token.line.lstrip().startswith("#") and token.start[0] == block[-1][0] + 1):
                yield "comment", block
                block = []
            block.append((token.start[0], token.string.lstrip("#! ")))
    yield "comment", block


def c_text(source: str) -> Iterator[tuple[str, Block]]:
    """The comments of CUDA and C code."""
    block: Block = []
    for number, line in enumerate(source.split("\n"), 1):
        found = re.search(r"//+(.*)|/\*(.*)|^ \*(.*)", line)
        if not (found and block and block[-1][0] == number - 1):
            yield "comment", block
            block = []
        if found:
            block.append((number, (found[1] or found[2] or found[3] or "").removesuffix("*/")))
    yield "comment", block


def other_text(source: str) -> Iterator[tuple[str, Block]]:
    """The comments of the Makefile, of setup.cfg, and of shell scripts."""
    for number, line in enumerate(source.split("\n"), 1):
        yield "comment", [(number, line[1:])] if line.startswith("#") else []


def page_text(path: str, source: str) -> Iterator[tuple[str, Block]]:
    """A page in Markdown. Of the CHANGELOG only what is not released yet."""
    if path.endswith("CHANGELOG.md"):
        source = "\n## [".join(source.split("\n## [")[:2])
    fenced, block = False, []
    for number, line in enumerate(source.split("\n"), 1):
        fence = line.lstrip().startswith("```")
        fenced ^= fence
        block.append((number, "" if fenced or fence else line))
    yield "page", block


def text(path: str, source: str) -> Iterator[tuple[str, Block]]:
    """What a file says: pairs of a kind and numbered lines."""
    if path.endswith(".py"):
        return python_text(source, messages=not path.startswith("tests/"))  # a test holds what is wrong on purpose
    if path.endswith(".md"):
        return page_text(path, source)
    return c_text(source) if path.endswith((".cu", ".h")) else other_text(source)


# --- sentences -------------------------------------------------------------------------------------------------------

def paragraphs(lines: Block) -> Iterator[Block]:
    """The parts of a docstring or page that hold sentences; without examples, code, equations and tables."""
    block: Block = []
    base = min((len(line) - len(line.lstrip()) for _, line in lines if line.strip()), default=0)
    example, heading, last = False, False, 0
    for number, line in [*lines, (0, "")]:
        indent, words = len(line) - len(line.lstrip()), line.strip()
        example = bool(words) and (example or words.startswith(">>>"))
        item = re.match(r"([-*+]|\d+\.|\(\d+\)|#+|>)\s", words)
        if not words or example or item or "  " in words or words[:1] == "|" or heading or indent < last:
            yield block
            block, last = [], 0
        if words and not example:
            # Columns: what stands in the last one may go on in the next line, further to the right.
            columns = re.split(r"\s{2,}|\s\|\s", words.strip("|"))
            for column in columns[:-1]:
                yield [(number, column)]
            if not (indent >= base + 4 and is_code(words)):
                block.append((number, columns[-1]))
            last = indent
        heading = words.startswith("#")
    yield block


def is_code(line: str) -> bool:
    """Whether an indented line is code or an equation: it has more signs than words have."""
    return bool(re.search(r"[=←→⊙(){}\[\]@:]$|^(def|for|if|from|import|return|with|@)\b.*|\w\(.*\)| [=←] ", line))


def sentences(block: Block) -> Iterator[tuple[int, int]]:
    """The first line of each sentence of a paragraph, and the number of its words."""
    first, count = 0, 0
    for number, line in block:
        plain = re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "code", line))
        for token in plain.split():
            if re.search(r"[^\W\d_]{2}|\d", token) or token in ("a", "A", "I"):
                first, count = first or number, count + 1
            if re.search(r"[.!?][\"'”’)\]*_]*$", token) and not token.lstrip("(").endswith(ABBREVIATIONS):
                yield first, count
                first, count = 0, 0
    yield first, count


# --- faults ----------------------------------------------------------------------------------------------------------

def word_faults(lines: Block) -> Iterator[Line]:
    """The words that are out, also where a line breaks between two of them. Code in `back quotes` may hold them."""
    whole, places = "", []
    for number, line in lines:
        whole += line.strip() + " "
        places += [number] * (len(whole) - len(places))
    whole = re.sub(r"``?[^`]+``?", lambda code: " " * len(code[0]), whole)
    for word, why in OUT.items():
        for found in re.finditer(rf"(?<![\w.])(?i:{word})(?!\w)", whole):
            yield places[found.start()], f'"{found[0]}": {why}'


def faults(path: str, source: str) -> list[str]:
    """What is wrong with the English of a file: lines of the form file:line: fault."""
    found: list[Line] = []
    for kind, lines in text(path, source):
        found += word_faults(lines)
        if kind in ("docstring", "page"):
            found += [(line, f"{words} words in a sentence, which has {LONGEST} at most")
                      for block in paragraphs(lines) for line, words in sentences(block) if words > LONGEST]
    return [f"{path}:{line}: {fault}" for line, fault in sorted(found)]


def files(*places: str) -> list[str]:
    """The files with English in them, in the folders or of the names that are given; all of the project by default."""
    return [path for path in project_files()
            if (path.endswith((".py", ".md", ".cu", ".h", ".cfg", ".toml")) or path in ("Makefile", ".ci/run"))
            and (not places or any(path == place or path.startswith(f"{place}/") or place == "." for place in places))]


def check(path: str) -> list[str]:
    """The faults of a file of the project."""
    return faults(path, (ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", files())
def test_english(path: str) -> None:
    assert not check(path)


# --- what is wrong is found, what is right is not --------------------------------------------------------------------

LONG = "one two three four five six seven eight nine ten" + " one two three four five six seven eight nine ten" * 2


@pytest.mark.parametrize(("path", "source", "fault"), [
    ("tinynet/a.py", '"""Runs what nobody\nelse runs."""', 'tinynet/a.py:1: "nobody"'),
    ("tinynet/a.py", "x = 1  # whoever comes first", 'tinynet/a.py:1: "whoever"'),
    ("tinynet/a.py", "\n# Waits so\n# many times.", 'tinynet/a.py:2: "so many"'),
    ("tinynet/a.py", "def f():\n    raise ValueError(f'{x} is none of them')", 'tinynet/a.py:2: "is none"'),
    ("tinynet/a.py", "# Who waits sleeps.", '"Who"'),
    ("tinynet/a.py", "# Anybody's guess.", "\"Anybody's\""),
    ("tests/a.py", "# for somebody", '"somebody"'),
    ("tinynet/a.cu", "int x;  // everybody's", "\"everybody's\""),
    ("tinynet/a.h", "/* one\n * anybody\n */", 'tinynet/a.h:2: "anybody"'),
    ("Makefile", "all:\n# nobody", 'Makefile:2: "nobody"'),
    ("README.md", "One\n\n- someone", 'README.md:3: "someone"'),
    ("tinynet/a.py", f'def f():\n    """Short.\n\n    {LONG}\n    {LONG}."""', "tinynet/a.py:4: 60 words"),
    ("tinynet/a.py", f'"""Short.\n\n    name    {LONG},\n            {LONG}.\n"""', "tinynet/a.py:3: 60 words"),
    ("README.md", f"Two sentences. {LONG}\n{LONG}. And a third.", "README.md:1: 60 words"),
    ("README.md", f"- item\n- {LONG}\n  {LONG}\n- item", "README.md:2: 60 words"),
    ("README.md", f"| a | {LONG} {LONG} |", "README.md:1: 60 words"),
    ("CHANGELOG.md", f"# Changes\n## [Unreleased]\n{LONG} {LONG}\n", "CHANGELOG.md:3: 60 words"),
])
def test_a_fault_is_found(path: str, source: str, fault: str) -> None:
    assert fault in "\n".join(faults(path, source))


@pytest.mark.parametrize(("path", "source"), [
    ("tinynet/a.py", '"""Return x, or None if y is None; no one of them; people who teach."""'),
    ("tinynet/a.py", "whoever = 1\nself.nobody(who)\n'''`nobody` is a name.'''"),
    ("tests/a.py", "x = 'nobody'"),
    ("tinynet/a.cu", "int nobody;"),
    ("README.md", f"{LONG}. {LONG}.\n\n{LONG}\n\n{LONG}"),
    ("README.md", f"- {LONG}\n- {LONG}\n\n# {LONG}\n{LONG}"),
    ("README.md", f"| {LONG} | {LONG} |\n| {LONG} | {LONG} |"),
    ("README.md", f"```\n{LONG} {LONG}\n```\n`{LONG} {LONG}`"),
    ("CHANGELOG.md", f"# Changes\n## [Unreleased]\nNew.\n\n## [0.1]\n{LONG} {LONG}, said nobody"),
    ("tinynet/a.py", f'"""Add.\n\n    x    {LONG}\n    y    {LONG}\n\n    >>> f()\n    {LONG}\n    {LONG}\n    """'),
    ("tinynet/a.py", f'"""Equations.\n\n  (1)  h = o {LONG}\n  (2)  C = f {LONG}\n"""'),
])
def test_what_is_right_is_no_fault(path: str, source: str) -> None:
    assert not faults(path, source)


def test_the_files_of_a_folder_are_found() -> None:
    assert "tinynet/ops/lstm.py" in files("tinynet") and "README.md" in files()
    assert files("tinynet/ops/lstm.py", "README.md") == ["README.md", "tinynet/ops/lstm.py"]


if __name__ == "__main__":
    places = [Path(place).resolve().relative_to(ROOT).as_posix() for place in sys.argv[1:]]
    wrong = [fault for path in files(*places) for fault in check(path)]
    print(*wrong, sep="\n", end="\n" * bool(wrong))
    sys.exit(bool(wrong))
