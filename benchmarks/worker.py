"""The process of a peer: it reads requests from stdin, one a line, and answers each with a line.

    python -m benchmarks.worker PEER PROCESSORS        such as: torch 0,1

A request is a JSON object, {"do": name, ...}, and so is an answer. Between two requests the process sleeps in `read`,
and none of its threads runs.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def unprepared() -> None:
    """The work of a worker without a prepared case, such as one that was restarted after it died."""
    raise RuntimeError("nothing is prepared")


class Session:
    """The requests of a worker: each method is one, and returns its answer."""

    def __init__(self, peer: Any) -> None:
        self.peer = peer
        self.run: Callable[[], Any] = unprepared

    def settings(self) -> dict[str, Any]:
        """The settings of the framework."""
        return {"settings": self.peer.settings()}

    def compute(self, case: dict[str, Any], data: str, out: str) -> dict[str, Any]:
        """Write output, loss and gradients, or the weights after an update, without dropout, into a file."""
        import numpy as np

        from benchmarks.cases import Case, read_data

        plain = Case.from_json(case).without_dropout()
        x, target, weights, gradients = read_data(Path(data))
        network = self.peer.build(list(plain.layers), weights, plain.shape, plain.objective)
        if plain.work == "update":
            network.set_gradients(gradients)
            network.update()
            results = network.parameters()
        else:
            network.mode(training=False)
            results = {"output": self.peer.numpy(network.forward(self.peer.put(x)))}
        if plain.work in ("step", "backward"):
            network.mode(training=True)
            results.update(network.gradients(self.peer.put(x), self.peer.put(target)))
        np.savez(out, allow_pickle=False, **results)
        return {}

    def prepare(self, case: dict[str, Any], data: str) -> dict[str, Any]:
        """Build the network of a case, load its data, and do the work once. `calls` repeats it."""
        from benchmarks.cases import Case, read_data

        wanted = Case.from_json(case)
        x, target, weights, gradients = read_data(Path(data))
        network = self.peer.build(list(wanted.layers), weights, wanted.shape, wanted.objective)
        network.mode(training=wanted.work != "forward")
        x, target = self.peer.put(x), self.peer.put(target)
        if wanted.work == "update":
            network.set_gradients(gradients)
        self.run = {"step": lambda: network.step(x, target), "forward": lambda: network.forward(x),
                    "backward": lambda: network.backward(x, target), "update": network.update}[wanted.work]
        return self.calls(1)

    def prepare_product(self, size: int) -> dict[str, Any]:
        """Prepare the product of two matrices."""
        return self._take(self.peer.product(size))

    def prepare_chain(self, length: int) -> dict[str, Any]:
        """Prepare a tape of `length` operations."""
        return self._take(self.peer.chain(length))

    def calls(self, count: int, wake: bool = False) -> dict[str, Any]:
        """Repeat the work and time each call. With `wake`, one call before them is not timed."""
        if wake:
            self.run()
        gc.collect()
        gc.disable()
        try:
            seconds = []
            for _ in range(count):
                start = time.perf_counter()
                self.run()
                seconds.append(time.perf_counter() - start)
        finally:
            gc.enable()
        return {"seconds": seconds}

    def forget(self) -> dict[str, Any]:
        """Free the prepared work."""
        self.run = unprepared
        gc.collect()
        return {}

    def memory(self) -> dict[str, Any]:
        """The peak memory of this process, in bytes."""
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return {"bytes": 1024 * int(status.partition("VmHWM:")[2].split()[0])}

    def profile(self, case: dict[str, Any], data: str, count: int) -> dict[str, Any]:
        """tinynet only: the time of each op of a step, forward and backward."""
        from benchmarks.ours import profile

        self.prepare(case, data)
        return {"seconds": profile(self.run, count)}

    def epoch(self, case: dict[str, Any], images: int, rounds: int) -> dict[str, Any]:
        """tinynet only: epochs with the loader, and their steps alone."""
        from benchmarks.cases import Case
        from benchmarks.ours import epoch

        return {"seconds": epoch(Case.from_json(case), images, rounds)}

    def _take(self, run: Callable[[], Any] | None) -> dict[str, Any]:
        self.run = run or unprepared
        return {"seconds": None} if run is None else self.calls(1)


def main(name: str, processors: str) -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # output of a framework must not mix with the answers
    cpus = {int(number) for number in processors.split(",")}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)  # before a framework counts the processors

    from benchmarks.peers import peer

    started = peer(name)
    started.start(len(cpus))
    session = Session(started)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(session, request.pop("do"))(**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
