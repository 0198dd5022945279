"""How the scripts of the examples end: exit codes, and one sentence on stderr."""

import argparse
import errno
import importlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tinynet.errors import DataError, DeviceError, Interrupted

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import command  # noqa: E402
from test_train_folder import write_images  # noqa: E402


@pytest.mark.parametrize(("raised", "code", "said"), [
    (None, 0, ""), (DeviceError("gpu needs a GPU"), 2, "gpu needs a GPU\n"), (DataError("no data"), 1, "no data\n"),
    (PermissionError(errno.EACCES, "Permission denied", "there"), 1,
     "there: Permission denied; choose another folder with --out\n"),
    (OSError(errno.ENOSPC, "No space left"), 1, "No space left; choose another folder with --out\n"),
    (Interrupted("stopped by SIGTERM", signal.SIGTERM), 143, "stopped by SIGTERM: do it again\n"),
    (Interrupted("stopped by SIGINT", signal.SIGINT), 130, "stopped by SIGINT: do it again\n"),
    (KeyboardInterrupt(), 130, "\nInterrupted. To continue: do it again.\n")], ids=str)
def test_each_end_has_its_code(raised: BaseException | None, code: int, said: str,
                               capsys: pytest.CaptureFixture[str]) -> None:
    def work(options: argparse.Namespace) -> None:
        if raised is not None:
            raise raised

    assert command.run(work, argparse.Namespace(), again="do it again") == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1), ("text", 0)])
def test_work_may_return_its_code(returned: object, code: int) -> None:
    assert command.run(lambda options: returned, argparse.Namespace()) == code


@pytest.mark.parametrize(("kind", "right", "wrong"), [
    (command.positive(int), ["1", "7"], ["0", "-1", "1.5", "x"]),
    (command.positive(float), ["1e-3", "2"], ["0", "-0.0", "-1", "inf", "nan"]),
    (command.seed, ["0", str(2**32 - 1)], ["-1", str(2**32), "0.5"])], ids=["int", "float", "seed"])
def test_numbers_of_the_command_line(kind: Any, right: list[str], wrong: list[str]) -> None:
    assert [float(kind(text)) for text in right] == [float(text) for text in right]
    for text in wrong:
        with pytest.raises((argparse.ArgumentTypeError, ValueError)):
            kind(text)


def test_lines_that_are_lost_are_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code says so although the work is done."""
    monkeypatch.setattr(command, "finish", lambda: "No space left")
    assert command.run(lambda options: 0, argparse.Namespace()) == 1
    assert capsys.readouterr().err == "The work is done, but not all lines could be written to stdout: No space left\n"


class Parsed(Exception):
    """A parser that was made, in place of its result."""


def options(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The options of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from options(command)


def with_main(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.py")) if "def main(arg" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("module", ["tinynet.__main__", *(path.stem for path in with_main(EXAMPLES)), *(
    f"benchmarks.{path.stem}" for path in with_main(EXAMPLES.parent / "benchmarks"))])
def test_the_help_says_the_default(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def parsed(parser: argparse.ArgumentParser, *arguments: Any) -> Any:
        raise Parsed(parser)

    main = importlib.import_module(module).main
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    try:
        main([])
        pytest.skip("it takes no options until the results of another script are there")
    except Parsed as caught:
        parser = caught.args[0]
    listed: Any = (list, tuple)
    for option in options(parser):
        said = re.search(r"\(default: ([\d.,e-]*\d)\b[^)]*\)$", option.help or "")
        if said and isinstance(option.default, int | float):
            assert float(said[1].replace(",", "")) == option.default, option.dest
        elif said and isinstance(option.default, listed):
            assert str(option.help).endswith(f"(default: {' '.join(map(str, option.default))})"), option.dest
        says_path = isinstance(option.default, Path) and not option.default.is_absolute()
        if (says_path and "(default: " in (option.help or "")) or (option.choices and isinstance(option.default, str)):
            assert states(option), option.dest
        if isinstance(option.default, str) and option.type is None and option.default != argparse.SUPPRESS:
            assert states(option), option.dest
        if isinstance(option.default, Path) and option.default.is_absolute() and option.help != argparse.SUPPRESS:
            place = option.default.relative_to(EXAMPLES.parent).as_posix()
            found = re.search(r"\(default: ([^)]*)\)$", str(option.help))
            assert (found and f"/{place}".endswith(f"/{found[1]}")) or option.dest == "model", option.dest
        has_none = option.default is None or option.default is False or option.default in ([], argparse.SUPPRESS)
        if not has_none and option.help != argparse.SUPPRESS:
            assert "(default: " in str(option.help), option.dest
        assert option.help or isinstance(option, argparse._SubParsersAction), option.dest
    assert parser.description
    if "." not in module and module != "train_folder":
        assert parser.description == str(sys.modules[module].__doc__).partition("\n")[0]


def states(option: argparse.Action) -> bool:
    """Whether the help of an option states its default as it is."""
    return bool(re.search(rf"\(default: {re.escape(str(option.default))}[),;. ]", (option.help or "").replace("%", "")))


@pytest.mark.parametrize("script", [path.stem for path in with_main(EXAMPLES) if path.stem != "pneumonia_selected" and (
    '"--device"' in (text := path.read_text(encoding="utf-8")) or "experiment.parser(" in text)])
def test_a_device_that_is_missing_is_told_before_the_data_are_read(script: str, tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch,
                                                                   capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    words = ["--device", "gpu", "--data", str(tmp_path / "nothing"), "--out", str(tmp_path / "out")]
    assert importlib.import_module(script).main(words) == 2
    assert "gpu needs CuPy" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_what_is_no_fault_of_the_user_is_not_hidden() -> None:
    def work(options: argparse.Namespace) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command.run(work, argparse.Namespace())


def test_no_script_ends_in_a_way_of_its_own() -> None:
    for path in EXAMPLES.glob("*.py"):
        if path.name != "command.py":
            assert not re.search(r"except .*(TinynetError|DeviceError|KeyboardInterrupt|Interrupted)",
                                 path.read_text(encoding="utf-8")), path.name


@pytest.mark.parametrize(("script", "again"), [("train_folder.py", "the same command with --resume"),
                                               ("mnist_table1.py", "the same command again")])
def test_sigterm_in_the_middle_of_training(script: str, again: str, tmp_path: Path) -> None:
    source = [str(write_images(tmp_path / "mine", 24))] if script == "train_folder.py" else ["--data", "digits"]
    running = subprocess.Popen(
        [sys.executable, "-u", str(EXAMPLES / script), *source, "--epochs", "10000", "--out", str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    assert running.stdout is not None
    next(line for line in running.stdout if line.startswith("epoch 1/"))
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate(timeout=150)
    assert running.returncode == 143
    assert "stopped by SIGTERM" in err and err.endswith(f": {again}\n") and "Traceback" not in err
