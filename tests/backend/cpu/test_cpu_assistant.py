"""The assistant: it compiles what a training step launches, starts only where it helps, and ends with its process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
import pytest

import tinynet as tn
from tests.support.kernels import wait_for
from tinynet.backend.cpu.runtime import assistant, threads
from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.launcher import make_launcher
from tinynet.training.first_step import first_step

ROOT = Path(tn.__file__).parents[1]


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setattr(assistant, "_collected", [])
    return assistant._collected


def test_the_launches_of_the_step_are_those_of_a_usual_one(collected: list[Any], monkeypatch: pytest.MonkeyPatch
                                                           ) -> None:
    usual, call = list[Any](), threads._call

    def watched(launcher: Any, shards: int, turns: int, *arguments: Any) -> Any:
        usual.append((launcher, tuple(map(launcher.typeof_pyval, (0, shards, turns, arguments)))))
        return call(launcher, shards, turns, *arguments)

    monkeypatch.setattr(threads, "_call", watched)
    tn.seed(0)
    first_step()
    monkeypatch.setattr(threads, "_call", assistant.collect)
    first_step()
    assert collected == usual and len(usual) > 20


def test_the_assistant_ends_when_its_work_is_done_and_waits_for_no_other_process() -> None:
    program = "from tinynet.backend.cpu.runtime import assistant; assistant.begin(); print(assistant.is_assistant())"
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:  # the standard input stays open meanwhile
        assert process.wait(60) == 0
    finally:
        process.kill()
        printed, _ = process.communicate()
    assert printed == b"True\n"


def test_what_was_collected_needs_no_compiling_any_more(collected: list[Any]) -> None:
    @njit
    def double(shard: Any, shards: Any, x: Any) -> None:
        for i in range(shard, x.size, shards):
            x[i] *= 2

    launcher, x = make_launcher(double, 2), np.ones(5, np.float32)
    assistant.collect(launcher, 2, 1, x)
    assert not launcher.signatures and x.tolist() == [1] * 5
    assistant.compile_collected()
    [compiled] = launcher.signatures
    threads.launch(double, x)
    assert launcher.signatures == [compiled] and x.tolist() == [2] * 5


class Started:
    """In the place of a process."""

    stdin = None

    def wait(self, seconds: float) -> int:
        return 0


@pytest.mark.parametrize("why", ["", "one processor", "no folder", "another program", "a rank", "itself"])
def test_it_starts_where_it_helps(why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder))
    monkeypatch.setattr(assistant, "processors", lambda: 1 if why == "one processor" else 2)
    monkeypatch.setattr(assistant, "is_first_rank", lambda: why != "a rank")
    monkeypatch.setattr(assistant, "_is_assistant", why == "itself")
    monkeypatch.setattr(assistant.sys, "executable", f"/bin/{'blender' if why == 'another program' else 'python3'}")
    asked, at_exit = list[Any](), list[Any]()
    monkeypatch.setattr(assistant.subprocess, "Popen", lambda *given, **options: asked.append((given, options))
                        or Started())
    monkeypatch.setattr(assistant.atexit, "register", lambda *given: at_exit.append(given))
    if why == "no folder":
        folder.write_text("")
    process = assistant.start()
    assert isinstance(process, Started) is (why == "") and len(asked) == (why == "")
    for [command], options in asked:
        assert command[0] == "/bin/python3" and json.loads(command[-1]) == sys.path
        assert (options["stdin"], options["stdout"], options["stderr"]) == (subprocess.PIPE, *[subprocess.DEVNULL] * 2)
        assert at_exit == [(assistant._end, process)]


@pytest.mark.parametrize(("program", "frozen", "is_python"), [
    ("/usr/bin/python3.11", False, True), ("/Library/Python.framework/Python", False, True), ("", False, False),
    (None, False, False), ("/opt/python/blender", False, False), ("/opt/python", True, False)])
def test_what_is_python(program: str | None, frozen: bool, is_python: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assistant.sys, "frozen", frozen, raising=False)
    assert assistant._is_python(program) is is_python


@pytest.mark.parametrize("hangs", [False, True])
def test_at_the_end_of_its_process_the_pipe_is_closed(hangs: bool) -> None:
    did = list[Any]()

    def wait(seconds: float) -> None:
        did.append(seconds)
        if hangs:
            raise subprocess.TimeoutExpired("python", seconds)

    assistant._end(SimpleNamespace(stdin=SimpleNamespace(close=lambda: did.append("closed")), wait=wait))  # type: ignore
    assert did == ["closed", 5]


def test_it_ends_when_the_pipe_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(assistant, "processors", lambda: 2)
    process = assistant.start()
    assert process is not None and process.stdin and process.poll() is None
    process.stdin.close()
    assert process.wait(120) == 0


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
def test_it_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    code = ("import time; from tinynet.backend.cpu.runtime import assistant; assistant.processors = lambda: 2\n"
            "print(assistant.start().pid, flush=True); time.sleep(600)")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT,
                          env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}) as process:
        assert process.stdout
        number = int(process.stdout.readline())
        process.kill()

    def is_gone() -> bool:
        try:
            return Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    wait_for(is_gone)
