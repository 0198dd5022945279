"""The processes that the benchmarks start: a peer's, seen from the benchmark, and the ranks of a job."""

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]
MPIEXEC = Path(sys.executable).with_name("mpiexec")  # that of the package mpich


def printed_by(module: str, ranks: int, *arguments: object) -> str:
    """What a module prints that is run with some arguments, as a job of some ranks or as one process."""
    launcher = [str(MPIEXEC), "-n", str(ranks)] if ranks > 1 else []
    return subprocess.run([*launcher, sys.executable, "-m", module, *map(str, arguments)], check=True,
                          stdout=subprocess.PIPE, text=True).stdout


class PeerError(Exception):
    """A request to a peer failed. The message gives the reason."""


class Worker:
    """The process of a peer. The first request starts it, and so does the next one after it died."""

    def __init__(self, peer: str, cpus: list[int], environment: dict[str, str] | None = None,
                 patience: float = 120.0) -> None:
        self.peer, self.cpus, self.patience = peer, cpus, patience
        self.environment = {**os.environ, **(environment or {})}
        self.started: float = 0.0  # the time of the start, by time.perf_counter()
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()

    def ask(self, do: str, **request: Any) -> Any:
        """Send a request and return the answer. PeerError after `patience` seconds, or if the answer is an error."""
        if self._process is None:
            self._start()
        process = self._process
        assert process is not None and process.stdin is not None
        try:
            process.stdin.write(json.dumps({"do": do, **request}).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        return self._answer()

    def ask_if_alive(self, do: str, **request: Any) -> Any:
        """As `ask`, if there is a process; else None."""
        return self.ask(do, **request) if self._process is not None else None

    def stop(self) -> None:
        """Kill the process, if there is one."""
        process, self._process, self._waiting = self._process, None, b""
        if process is not None:
            process.kill()
            process.communicate()

    def close(self) -> None:
        """Kill the process, and free all resources."""
        self.stop()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def _start(self) -> None:
        command = [sys.executable, "-m", "benchmarks.worker", self.peer, ",".join(map(str, self.cpus))]
        self.started = time.perf_counter()
        self._process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=self._errors)
        self._answer()

    def _answer(self) -> Any:
        process = self._process
        assert process is not None and process.stdout is not None
        deadline = time.monotonic() + self.patience
        while b"\n" not in self._waiting:
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                self.stop()
                raise PeerError(f"gave up after {self.patience:.0f} s")
            received = os.read(process.stdout.fileno(), 1 << 16)
            if not received:
                raise self._died()
            self._waiting += received
        line, _, self._waiting = self._waiting.partition(b"\n")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def _died(self) -> PeerError:
        """The error of a process that ended: its last line on stderr."""
        self.stop()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return PeerError(f"its process ended: {lines[-1]}" if lines else "its process ended")
