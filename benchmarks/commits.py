"""Time two commits of tinynet in turn, in one run: the ratio of their medians tells whether a change costs time.

    python -m benchmarks.commits COMMIT [--rows step-128 forward-1] [--alternations 11] [--out FILE]
    python -m benchmarks.commits COMMIT --out benchmarks/results/NAME.json       # to be shown in RESULTS.md

COMMIT          a commit, or a folder with a checkout of one; it is compared with the working tree
--rows          step-32, step-128, step-512, deep-128, forward-128, forward-1, first-step; all by default
--alternations  how often old and new are timed in turn

A row's time is the median over the alternations. In each, a process of either commit calls the row's function for about
half a second and reports the median time of a call. `first-step` is the first training step in a new process with an
empty cache of compiled kernels, in seconds; it is timed five times. Run it on an idle machine.
"""

import argparse
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
ROWS = ("step-32", "step-128", "step-512", "deep-128", "forward-128", "forward-1", "first-step")
FIRST_STEPS = 5
SECONDS = 0.5


def work(row: str) -> Callable[[], Any]:
    """The function that a row times, with the tinynet that this process imports."""
    import models

    import tinynet as tn

    kind, _, number = row.partition("-")
    batch = 128 if row == "first-step" else int(number)
    tn.seed(0)
    model = models.deep_lstm_cnn() if kind == "deep" else models.lstm_cnn()
    x = tn.Tensor((np.arange(batch * 28 * 28) % 97 / 97).reshape(batch, 28, 28, 1).astype("float32"))
    labels = tn.Tensor(np.arange(batch) % 10)
    optimizer = tn.optim.Adam(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        tn.ops.cross_entropy(model(x), labels).backward()
        optimizer.step()

    def forward() -> None:
        with tn.no_grad():
            model(x)

    if kind != "forward":
        return step
    step()  # batch normalisation has seen a batch
    model.eval()
    return forward


def median_seconds(function: Callable[[], Any]) -> float:
    """The median time of a call, over about half a second of calls."""
    for _ in range(3):
        function()
    times, end = list[float](), time.perf_counter() + SECONDS
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def serve() -> None:
    """Time the rows that are named on the standard input, a line each."""
    known: dict[str, Callable[[], Any]] = {}
    for line in sys.stdin:
        row = line.strip()
        if row == "first-step":
            start = time.perf_counter()
            work(row)()
            print(time.perf_counter() - start, flush=True)
        else:
            known[row] = known.get(row) or work(row)
            print(median_seconds(known[row]), flush=True)


class Worker:
    """A process that imports the tinynet of one tree."""

    def __init__(self, tree: Path, **environment: str) -> None:
        path = os.pathsep.join([str(tree), str(tree / "examples")])
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).resolve()), "--serve"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "PYTHONPATH": path, **environment})

    def seconds(self, row: str) -> float:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(row + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def end(self) -> None:
        self.process.communicate()


def first_step(tree: Path) -> float:
    with tempfile.TemporaryDirectory() as cache:
        worker = Worker(tree, NUMBA_CACHE_DIR=cache)
        seconds = worker.seconds("first-step")
        worker.end()
    return seconds


def compare(trees: tuple[Path, Path], rows: list[str], alternations: int) -> dict[str, tuple[float, float]]:
    """The median seconds of the old and the new tree, by row."""
    times: dict[str, tuple[list[float], list[float]]] = {row: ([], []) for row in rows}
    steady = [row for row in rows if row != "first-step"]
    workers = [Worker(tree) for tree in trees] if steady else []
    for turn in range(alternations):
        for row in steady:
            for which in (0, 1) if turn % 2 == 0 else (1, 0):
                times[row][which].append(workers[which].seconds(row))
    for worker in workers:
        worker.end()
    for turn in range(FIRST_STEPS if "first-step" in rows else 0):
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            times["first-step"][which].append(first_step(trees[which]))
    return {row: (statistics.median(old), statistics.median(new)) for row, (old, new) in times.items()}


def published(commit: str, found: dict[str, tuple[float, float]], begin: dict[str, Any]) -> dict[str, Any]:
    """The content of a file of results, as the benchmark beside other frameworks writes it."""
    from benchmarks import machine
    from benchmarks.peers import OURS

    records = [{"row": "commits", "case": row, "unit": "s",
                "results": {OURS: {"value": new}, "before": {"value": old, "ratio": new / old}}}
               for row, (old, new) in found.items()]
    return {**begin, "threads": len(machine.cores()), "titles": {OURS: "tinynet", "before": f"at {commit[:12]}"},
            "versions": machine.versions(["numpy", "numba"]), "records": records}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time a commit and the working tree in turn.")
    parser.add_argument("commit", nargs="?", help="the older commit")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="only these (default: all)")
    parser.add_argument("--alternations", type=int, default=11, help="turns of both sides (default: 11)")
    parser.add_argument("--out", type=Path, help="file for the results (default: none)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve()
        return 0
    if options.commit is None:
        parser.error("COMMIT is missing")
    from benchmarks import machine
    from tests.same_bits import checkout

    begin = {"machine": machine.describe(), **machine.commit(), "date": time.strftime("%Y-%m-%d"),
             "command": shlex.join(["python", "-m", "benchmarks.commits", *sys.argv[1:]])}
    with tempfile.TemporaryDirectory() as folder:
        found = compare((checkout(options.commit, Path(folder)), ROOT), options.rows, options.alternations)
    for row, (old, new) in found.items():
        print(f"{row:12} {old * 1e3:10.3f} ms  {new * 1e3:10.3f} ms  ratio {new / old:.3f}")
    steady = [new / old for row, (old, new) in found.items() if row != "first-step"]
    if steady:
        print(f"geometric mean without the first step {math.prod(steady) ** (1 / len(steady)):.3f}")
    if options.out:
        content = published(options.commit, found, begin)
        options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
