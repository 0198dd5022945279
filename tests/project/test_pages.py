"""README, docs and the other pages are true: their programs run, their commands parse, their links and quotes exist.

A Python block runs as it stands, in a new process and an empty folder that holds only `my/images`. What it prints is
compared with the block below it, if there is one; decimals may differ. A command is parsed by the program it calls.
"""

import argparse
import configparser
import importlib.util
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from tests.project.test_project import CORE, core_lines, paths

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", "benchmarks/README.md", "tinynet/backend/cuda/README.md",
         *sorted(path.relative_to(ROOT).as_posix() for pattern in ("*.md", "chapters/*.md")
                 for path in (ROOT / "docs").glob(pattern))]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
OWN_TEST = ["docs/add_an_op.md"]  # its blocks are parts of files: test_walkthrough.py


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


class Block(NamedTuple):
    """A fenced block of a page: the line where it starts, its language, its lines, and the block right below it."""

    line: int
    language: str
    text: str
    below: str | None


def blocks(page: str) -> list[Block]:
    pattern = r"^```([\w{}]*)[^\n`]*\n(.*?)^```\n(?=(?:```\n(.*?)^```$)?)"
    return [Block(page[: found.start()].count("\n") + 1, found[1], found[2], found[3])
            for found in re.finditer(pattern, page, re.M | re.S)]


# --- programs ---------------------------------------------------------------------------------------------------------

def programs() -> dict[str, Block]:
    return {f"{path}:{block.line}": block for path in PAGES if path not in OWN_TEST
            for block in blocks(read(path)) if block.language == "python"}


def rounded(text: str) -> str:
    """The text without what may differ from one machine to the next: decimals, and blanks in front of them."""
    return re.sub(r" *-?\d+\.\d+(e[-+]\d+)?", " #", text).strip()


def run(code: str, folder: Path) -> str:
    """What a program prints, in a new process."""
    (folder / "page.py").write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, "page.py"], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True,
                          timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder, with twenty images of cats and dogs below."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "my" / "images" / name).mkdir(parents=True)
        for i in range(10):
            pixels = rng.integers(0, 256, (24, 24, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "my" / "images" / name / f"{i}.png")
    return tmp_path


@pytest.mark.parametrize("block", programs().values(), ids=programs())
def test_a_program_runs_as_it_stands(block: Block, folder: Path) -> None:
    for package in ("torch", "onnxruntime"):
        if f"import {package}" in block.text:
            pytest.importorskip(package)
    printed = run(block.text, folder)
    if block.below is not None:
        assert rounded(printed) == rounded(block.below)


def test_a_wrong_program_is_found(tmp_path: Path) -> None:
    page = "One\n\n```python\nprint(1.25)\n```\n```\n1.75\n```\n\n```python\nprint(x)\n```\n\n```\ntext\n```\n"
    first, _, second, _ = blocks(page)
    assert (first.line, first.below) == (3, "1.75\n") and second.below is None
    assert rounded(run(first.text, tmp_path)) == rounded("1.75") != rounded("2")
    with pytest.raises(AssertionError, match="NameError"):
        run(second.text, tmp_path)


# --- commands ---------------------------------------------------------------------------------------------------------

class Parsed(Exception):
    """The options of a command were parsed: it need not run."""


def commands(page: str) -> Iterator[str]:
    """The command lines of a page: in blocks without a language or in sh, and in `back quotes`."""
    shell = [line for block in blocks(page) if block.language in ("", "sh") for line in block.text.split("\n")]
    for line in [*shell, *re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", page, flags=re.S))]:
        command = re.sub(r"\s+#.*", "", line.strip().removeprefix("$ "))
        command = re.sub(r"^mpiexec (-\w+ \S+ )+", "", command)
        program = command.partition(" ")[0].rpartition("/")[2]
        if re.fullmatch(r"python[\d.]*|pip|make|tinynet|pytest", program) and " " in command:
            yield command


def parse(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program of a command parse its options, and no more. AssertionError, or its exit, if it does not."""
    program, *words = shlex.split(command)
    program = program.rpartition("/")[2]
    if program.startswith("python") and words[:2] in (["-m", "pip"], ["-m", "pytest"]):
        program, words = words[1], words[2:]
    if program == "make":
        parse_make(words, monkeypatch)
    elif program == "pip":
        parse_pip(words)
    elif program == "pytest":
        assert all((ROOT / word.partition("::")[0]).exists() for word in words if word.startswith("tests"))
    elif program == "tinynet":
        parse_python(["-m", "tinynet", *words], monkeypatch)
    elif words[0] == "-m" and (len(words) == 2 or ".test_" in words[1]):  # a program without options
        assert importlib.util.find_spec(words[1])
    elif words[:2] != ["-m", "venv"]:
        parse_python(words, monkeypatch)


def parse_pip(words: list[str]) -> None:
    """An extra or a requirement of setup.cfg, or PyTorch. Never a distribution called tinynet, except to remove it."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    required = re.findall(r"^([\w-]+) >= ", "\n".join(config["options.extras_require"].values()), re.M)
    for word in words[1:]:
        if words[0] == "uninstall":
            assert word in ("tinynet", config["metadata"]["name"]), word
        elif word.startswith("."):
            extras = re.findall(r"[\w-]+", word)
            assert all(extra in config["options.extras_require"] for extra in extras), word
        else:
            assert word.startswith("-") or word in ("torch==2.13.0", *required), word


def parse_make(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that exists; its ARGS are those of the program that it runs."""
    makefile = read("Makefile")
    for word in words:
        if match := re.fullmatch("ARGS=(.*)", word):
            target = next(word for word in words if "=" not in word)
            rule = re.search(rf"^{target}:.*\n(?:\t.*\n)*?\t\$\(IN_VENV\) (.*) \$\(ARGS\)", makefile, re.M)
            assert rule, f"make {target} takes no ARGS"
            parse(f"python {rule[1]} {match[1]}", monkeypatch)
        elif "=" not in word:
            assert re.search(rf"^{word}:", makefile, re.M), f"make {word} does not exist"


def parse_python(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A script or module up to the end of its parse_args."""
    original = argparse.ArgumentParser.parse_args

    def parse_args(*arguments: object, **options: object) -> None:
        original(*arguments, **options)  # type: ignore[call-overload]
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    module = words[0] == "-m"
    name, *rest = words[1:] if module else words
    with monkeypatch.context() as context:
        context.setattr(sys, "argv", [name, *rest])
        context.chdir(ROOT)
        context.syspath_prepend(str(ROOT / name.rpartition("/")[0]))
        try:
            if module:
                for one in (name, f"{name}.__main__"):  # else runpy warns of a module that a test has imported
                    if not hasattr(sys.modules.get(one), "__path__"):
                        context.delitem(sys.modules, one, raising=False)
                runpy.run_module(name, run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(str(ROOT / name), run_name="__main__")
        except Parsed:
            return
        finally:
            monkeypatch.setattr(argparse.ArgumentParser, "parse_args", original)
    raise AssertionError(f"{name} parses no options")


ALL_COMMANDS = {command: path for path in reversed(PAGES) for command in commands(read(path))}


@pytest.mark.parametrize("command", ALL_COMMANDS, ids=lambda command: f"{ALL_COMMANDS[command]}: {command}")
def test_a_command_is_parsed_by_its_program(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if command not in ("python page.py", "python one.py"):  # a file that the page has the reader write
        parse(command, monkeypatch)


@pytest.mark.parametrize("command", [
    "make coffee", "make lint ARGS=x", 'make demo ARGS="--coffee"', "python examples/train_folder.py here --coffee",
    "python examples/coffee.py", "pip install '.[demo,coffee]'", "pip install tinynet", "python -m tests.fuzz --coffee",
    "python -m pytest tests/test_coffee.py", "tinynet brew", "python -m tinynet predict",
])
def test_a_wrong_command_is_found(command: str, monkeypatch: pytest.MonkeyPatch,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises((AssertionError, SystemExit, OSError)) as raised:
        parse(command, monkeypatch)
    assert getattr(raised.value, "code", 1) not in (0, None)


def test_the_job_for_slurm_starts_one_rank_for_each_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mpiexec = tmp_path / ".venv" / "bin" / "mpiexec"
    mpiexec.parent.mkdir(parents=True)
    mpiexec.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    mpiexec.chmod(0o700)
    script = str(ROOT / "examples" / "slurm.sh")
    started = subprocess.run(["sh", script, "--epochs", "10"], cwd=tmp_path, check=True, text=True,
                             capture_output=True, env={**os.environ, "SLURM_NTASKS": "4"}).stdout.splitlines()
    assert started[:3] == ["-n", "4", ".venv/bin/python"] and started[-2:] == ["--epochs", "10"]
    parse(shlex.join(started[2:]), monkeypatch)


# --- links, quotes, numbers -------------------------------------------------------------------------------------------

def anchors(page: str) -> set[str]:
    """The anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page, flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def link_faults(path: str, page: str) -> list[str]:
    """The links of a page to files and headings that do not exist."""
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", page, flags=re.S)):
        name, _, anchor = link.partition("#")
        target = (ROOT / path).parent / name
        if link.startswith("http"):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8") if name else page)):
            lost.append(f"{path}: {link}")
    return lost


@pytest.mark.parametrize("path", [*PAGES, "CHANGELOG.md"])
def test_links_lead_somewhere(path: str) -> None:
    assert not link_faults(path, read(path))


def test_a_lost_link_is_found() -> None:
    page = "# tinynet\n[a](#tinynet) [b](#two) [c](docs/index.md) [d](docs/no.md) [e](docs/index.md#no) [f](https://x.y)"
    assert link_faults("README.md", page) == ["README.md: #two", "README.md: docs/no.md", "README.md: docs/index.md#no"]


def test_every_page_is_in_the_index() -> None:
    for folder in ("docs", "docs/chapters"):
        pages = {path.name for path in (ROOT / folder).glob("*.md")} - {"index.md"}
        assert pages <= {*re.findall(r"\]\(([\w.]+)\)", read(f"{folder}/index.md"))}


def test_the_readme_is_short_and_its_picture_small() -> None:
    readme = read("README.md")
    assert readme.count("\n") <= 160
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", readme)
    assert len(pictures) == 1
    assert (ROOT / pictures[0]).stat().st_size < 200_000


def test_the_readme_quotes_what_is_written_elsewhere() -> None:
    readme, squeezed = read("README.md"), re.sub(r"\s+", " ", read("tinynet/ops/lstm.py"))
    equation = next(block.text for block in blocks(readme) if block.text.startswith("(7)"))
    for line in equation.strip().split("\n"):
        assert re.sub(r"\s+", " ", line.strip()) in squeezed
    measured, results = read("benchmarks/RESULTS.md"), read("examples/RESULTS.md")
    for row in re.findall(r"^\| .*\| +([\d.]+ \w+) \| ([\d.]+ \w+) \|$", readme, re.M):
        assert re.search(rf"{row[0]} +{re.escape(row[1])} \(", measured), row
    quoted = re.findall(r"([\d.]+) \(([\d.]+ to [\d.]+)\)", readme)
    assert len(quoted) == 5
    for mean, interval in quoted:
        assert re.search(rf"\| {mean} ± [\d.]+ \| {interval} \|", results), mean


def test_the_readme_says_how_large_the_core_is() -> None:
    """The README names the parts of the core that test_project.py counts, and its size within 8 %."""
    claim = re.search(r"The core is about ([\d,]+) lines.*?of `tinynet/`", read("README.md"), re.S)
    assert claim
    lines = core_lines({path: read(f"tinynet/{path}") for path in paths("tinynet")})
    assert abs(int(claim[1].replace(",", "")) - lines) <= 0.08 * lines, f"the core has {lines} lines"
    files = [f"{name}.py" if (ROOT / "tinynet" / f"{name}.py").exists() else f"{name}/a.py"
             for name in re.findall(r"`(\w+)`", claim[0])]
    assert len(files) == 12 and all(re.match(CORE, file) for file in files)


def test_the_minutes_of_the_reading_order_are_right() -> None:
    rows = re.findall(r"^\| (\d+) \| (`.*`) \|", read("README.md"), re.M)
    assert len(rows) > 4
    for minutes, names in rows:
        lines = sum(read(f"tinynet/{name}").count("\n") for name in re.findall("`(.*?)`", names))
        assert abs(int(minutes) - lines / 20) <= max(1.5, 0.2 * lines / 20), f"{names} has {lines} lines"


def test_the_planted_mistake_of_the_readme_is_what_the_example_prints(tmp_path: Path) -> None:
    command = next(command for command in commands(read("README.md")) if "--break" in command)
    small = ["--data", "digits", "--units", "4", "--out", tmp_path]
    done = subprocess.run([sys.executable, *shlex.split(command)[1:], *small], cwd=ROOT, env=ENVIRONMENT,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1
    quote = next(block.text for block in blocks(read("README.md")) if block.text.startswith("(13)"))
    assert all(line in done.stdout for line in quote.strip().split("\n"))
