"""Missing, closed, full and narrow streams: a training goes on, and a command ends with a sentence at most."""

import io
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.test_cli import ROOT
from tinynet.output import finish, is_first_rank, is_terminal, json_text, say, warn

CODE = """
import numpy as np, tinynet as tn
model = tn.nn.Sequential(tn.nn.Dense(3, 2))
batch = np.ones((4, 3), "float32"), np.array([0, 1, 1, 1])
tn.fit(model, tn.optim.SGD(model.parameters()), [batch], epochs=3, checkpoint={path!r})
open({path!r} + ".done", "w").close()
"""
NARROW = {"PYTHONIOENCODING": "cp1252"}


def shell(command: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, timeout=120, check=False,
                          env={**os.environ, "PYTHON": sys.executable, **more})


class Broken(io.StringIO):
    def __init__(self, error: Exception, isatty: bool = False) -> None:
        super().__init__()
        self.error, self._isatty = error, isatty

    def write(self, text: str) -> int:
        raise self.error

    def isatty(self) -> bool:
        return self._isatty


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS: dict[str, Any] = {
    "missing": lambda: None, "closed": closed, "no reader": lambda: Broken(BrokenPipeError(32, "Broken pipe")),
    "full": lambda: Broken(OSError(28, "No space left on device")),
    "closed terminal": lambda: Broken(OSError(5, "Input/output error"), isatty=True),
    "closed below": lambda: Broken(ValueError("I/O operation on closed file"), isatty=True),
    "cp1252": lambda: io.TextIOWrapper(io.BytesIO(), "cp1252"),
    "ascii": lambda: io.TextIOWrapper(io.BytesIO(), "ascii"),
}


@pytest.mark.parametrize("name", ["stdout", "stderr"])
@pytest.mark.parametrize("stream", STREAMS)
def test_a_training_goes_on(stream: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tn.nn.Sequential(tn.nn.Dense(2, 2))
    batch = tn.init.ones((4, 2)), tn.Tensor([0, 1, 0, 1]).numpy()
    with monkeypatch.context() as patch:
        patch.setattr(sys, name, STREAMS[stream]())
        say("日本 é")
        say("日本 é", error=True)
        history = tn.fit(model, tn.optim.SGD(model.parameters()), [batch], epochs=2)
        finish()
    assert len(history) == 2


def test_letters_that_an_encoding_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "cp1252"))
    say("é 日")
    assert written.getvalue().rstrip() == b"\xe9 \\u65e5"


def test_a_stream_needs_no_more_than_to_write_and_to_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of some editors and services."""
    class Bare:
        def __init__(self) -> None:
            self.written = list[str]()

        def write(self, text: str) -> None:
            self.written.append(text)

        def flush(self) -> None:
            self.written.append("flushed")

    for name in ("stdout", "stderr"):
        stream = Bare()
        with monkeypatch.context() as patch:
            patch.setattr(sys, name, stream)
            say(5, error=name == "stderr")
        assert stream.written == ["5\n", "flushed"]


def test_what_was_lost_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", STREAMS["full"]())
        say("lost")
        assert finish() == "No space left on device"
        assert finish() == ""
        with pytest.raises(OSError, match="No space"):
            say("lost", strict=True)
        finish()
        patch.setattr(sys, "stdout", STREAMS["no reader"]())
        say("not read")
        assert finish() == ""


def test_a_lost_line_of_stderr_is_no_lost_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", STREAMS["full"]())
        say("lost", error=True)
    assert finish() == ""


@pytest.mark.parametrize(("error", "why"), [(OSError(28, "No space left on device"), "No space left on device"),
                                            (BrokenPipeError(32, "Broken pipe"), ""), (ValueError("closed"), "")])
def test_what_stdout_still_holds_is_written_at_the_end(error: Exception, why: str,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(io.StringIO):
        """A stream whose buffer cannot be written. The first reason is told."""

        def flush(self) -> None:
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Late())
        assert finish() == why
        patch.setattr(sys, "stdout", Broken(OSError(5, "Input/output error")))
        say("lost")
        patch.setattr(sys, "stdout", Late())
        assert finish() == "Input/output error"


@pytest.mark.parametrize(("variables", "first"), [
    ({}, True), ({"PMI_RANK": "0"}, True), ({"PMI_RANK": "10"}, False), ({"OMPI_COMM_WORLD_RANK": "1"}, False),
    ({"PMI_RANK": "0", "OMPI_COMM_WORLD_RANK": "2"}, False), ({"PMI_RANK": ""}, True)])
def test_rank_0_alone_writes_to_stdout(variables: dict[str, str], first: bool, monkeypatch: pytest.MonkeyPatch,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    """Each rank writes to stderr."""
    for name in ("PMI_RANK", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    say("a line")
    say("a fault", error=True)
    assert is_first_rank() == first and capsys.readouterr() == ("a line\n" * first, "a fault\n")


def test_a_warning_is_given_also_where_stderr_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is that of the caller; another ValueError is not hidden."""
    with pytest.warns(UserWarning, match="slow") as caught:
        warn("slow", 2)
    assert caught[0].filename == __file__

    def show(*arguments: Any, **options: Any) -> None:
        raise ValueError("I/O operation on closed file")

    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("always")
        patch.setattr(warnings, "showwarning", show)
        with pytest.raises(ValueError, match="I/O"):
            warn("lost", 2)
        patch.setattr(sys, "stderr", closed())
        warn("lost", 2)


def test_is_terminal() -> None:
    class Gone(io.StringIO):
        def isatty(self) -> bool:
            raise OSError(5, "Input/output error")

    assert [is_terminal(one) for one in (None, closed(), Gone(), io.StringIO(), Broken(OSError(), True))] == [
        False, False, False, False, True]


@pytest.mark.parametrize(("value", "text"), [
    ({"a": [float("nan"), 1.5]}, '{"a": [null, 1.5]}'), ([float("inf"), np.float32("-inf"), np.int64(2)],
                                                         "[null, null, 2]"),
    ((1, {"a": (float("nan"), np.ones(1))}), '[1, {"a": [null, [1.0]]}]'),
    (tn.init.ones((2,)), "[1.0, 1.0]"), ((1, None, "x"),
                                                                                          '[1, null, "x"]')])
def test_json(value: Any, text: str) -> None:
    assert json_text(value) == text


@pytest.mark.parametrize("where", ["| head -c 1", ">/dev/full", ">&- 2>&-", "| true", "2>/dev/full"])
def test_a_script_trains_to_its_end(tmp_path: Path, where: str) -> None:
    path = str(tmp_path / "c")
    (tmp_path / "code.py").write_text(CODE.format(path=path))
    done = shell(f'"$PYTHON" -u {tmp_path / "code.py"} {where}', PYTHONPATH=str(ROOT))
    assert os.path.exists(f"{path}.done"), done.stderr
    assert "Traceback" not in done.stderr


def test_the_command(tmp_path: Path) -> None:
    """`head` ends it quietly, a full disk with a sentence, a narrow console not at all."""
    path = tmp_path / "model.safetensors"
    model = tn.nn.Sequential(tn.nn.Flatten(), tn.nn.Dense(12, 2))
    model.classes, model.input_shape = ("é", "日"), (2, 2, 3)
    tn.save(path, model)
    for where, code, said in (("| true", 0, ""), (">/dev/full", 1, "tinynet: the answer cannot be written (No space"),
                              (">&-", 0, ""), (">/dev/null", 0, "")):
        done = shell(f'"$PYTHON" -m tinynet summary {path} {where}; exit ${{PIPESTATUS[0]}}', **NARROW)
        assert (done.returncode, done.stderr[:len(said) or None]) == (code, said)
