"""A second process that compiles kernels at the first start, from the end of a training step.

Compiling takes ten seconds on one processor. This process compiles what it needs, from the first op of the forward pass
on. The assistant runs the LSTM-CNN's step without its kernels, which gives their argument types, and compiles them
from the last one on. Both keep the code in the cache folder, and neither compiles what is there or what the other one
is compiling, so they meet in the middle. `python -m benchmarks.commits COMMIT --rows first-step` measures the gain.

It starts where the first of all functions is missing in the cache, if there are two processors and a folder to write
to. It ends with this process, whatever ends that: its standard input is a pipe, which the system closes.

It is Python with a program of its own, not a copy of this process: a fork would have copied locks and threads, and
`multiprocessing` would have imported the user's script.
"""

import atexit
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from tinynet.backend.cpu.runtime.kernel_cache import kernel_folder
from tinynet.output import is_first_rank
from tinynet.processors import processors

PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from tinynet.backend.cpu.runtime import assistant
assistant.begin()
from tinynet.backend.cpu.runtime import threads
from tinynet.training.first_step import first_step
threads._call = assistant.collect
first_step()
assistant.compile_collected()
"""

_NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # of Windows
_collected: list[tuple[Any, Any]] = []  # launchers and the types of their arguments, in the order of the step
_is_assistant = False


def is_assistant() -> bool:
    """Whether this process is the assistant: it compiles kernels, and runs none."""
    return _is_assistant


def start() -> "subprocess.Popen[bytes] | None":
    """Start the assistant; None where it would not help."""
    if _is_assistant or processors() < 2 or not is_first_rank() or not _is_python(sys.executable):
        return None
    with suppress(OSError):
        if os.access(kernel_folder(), os.W_OK):
            command = [sys.executable, "-c", PROGRAM, json.dumps(list(map(str, sys.path)))]
            assistant = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL, creationflags=_NO_WINDOW)
            atexit.register(_end, assistant)
            return assistant
    return None


def _is_python(program: str | None) -> bool:
    """Whether a program is Python. Within another program, `sys.executable` may be that program."""
    return Path(program or "").name.lower().startswith("python") and not getattr(sys, "frozen", False)


def _end(assistant: "subprocess.Popen[bytes]") -> None:
    with suppress(OSError, subprocess.TimeoutExpired):
        if assistant.stdin:
            assistant.stdin.close()
        assistant.wait(5)


# --- in the assistant -----------------------------------------------------------------------------------------------

def begin() -> None:
    """Make this process the assistant, before the modules are imported that compile at once."""
    global _is_assistant
    _is_assistant = True
    Thread(target=_end_with_the_other, daemon=True).start()


def _end_with_the_other() -> None:
    os.read(0, 1)  # returns when the pipe closes
    os._exit(0)


def collect(launcher: Any, shards: int, turns: int, *arguments: Any) -> int:
    """In the place of a launch: note the types of the arguments, which Numba takes as one tuple."""
    _collected.append((launcher, tuple(map(launcher.typeof_pyval, (0, shards, turns, arguments)))))
    return 0


def compile_collected() -> None:
    """Compile what was noted, the last launch first. What the cache has is not compiled."""
    for launcher, types in reversed(_collected):
        launcher.compile(types)
