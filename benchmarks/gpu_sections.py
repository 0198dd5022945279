"""The sections of `gpu.py`. Each is a generator of rows; each row is printed as soon as it is measured.

A row is {"name", "unit", "ours", "theirs", "note"}, with times as medians in seconds. A failed one has "error".
"""

import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import tinynet as tn
from benchmarks.gpu_device import Row, is_gpu, wait
from benchmarks.gpu_pairs import Ours, Theirs, lstm, small_model, steps, torch_device
from benchmarks.rows import example_models
from tinynet import backend

ROOT = Path(__file__).resolve().parents[1]

SKIPPED = 3  # tests that a GPU may lack something for, such as a second library
CPU_ACCURACY = 0.9962  # after ten epochs of the section mnist, measured with --device cpu


def run(section: str, device: str, quick: bool, seconds: float) -> None:
    """Print the rows of a section, each as a line of JSON."""
    deadline = time.monotonic() + seconds
    for row in SECTIONS[section](device, quick, deadline):
        print(json.dumps(row), flush=True)


# --- tests ----------------------------------------------------------------------------------------------------------

def tests(device: str, quick: bool, deadline: float) -> Iterator[Row]:
    """Run the tests by pytest on a GPU, if it is installed, else case by case. With `quick`, every twelfth case."""
    if is_gpu(device) and importlib.util.find_spec("pytest"):
        row = by_pytest(deadline - time.monotonic())
        if row is not None:
            yield row
            return
    from tests.support import gpu_cases

    names = list(gpu_cases.CASES)[:: 12 if quick else 1]
    passed, wrong = 0, {}
    for name in names:
        if time.monotonic() > deadline:
            wrong["the rest"] = f"no time was left for {len(names) - passed - len(wrong)} of {len(names)} cases"
            break
        failed = gpu_cases.failures(device, [name])
        wrong.update(failed)
        passed += not failed
    yield {"name": "cases", "unit": "s", "note": f"{passed} passed, {len(wrong)} failed"}
    yield from ({"name": name, "unit": "s", "error": error} for name, error in wrong.items())


def marked_files() -> list[str]:
    """The files with tests for a GPU. Importing all test files would be slow."""
    return [str(path) for path in sorted((ROOT / "tests").rglob("test_*.py"))
            if re.search(r"mark\.gpu|support.cuda_places import", path.read_text(encoding="utf-8"))]


def few_skipped(summary: str) -> bool:
    """Whether the closing line of pytest counts passed tests, and at most `SKIPPED` skipped ones."""
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|skipped)", summary)}
    return counts.get("passed", 0) > 0 and counts.get("skipped", 0) <= SKIPPED


def by_pytest(seconds: float) -> Row | None:
    """The result of pytest on the tests marked `gpu`; None if pytest cannot run them."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-v", "-p", "no:cacheprovider", "-W", "default",
               "--tb=line", "--color=no", *marked_files()]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        code: int | None = None
        with suppress(subprocess.TimeoutExpired):
            code = subprocess.run(command, cwd=ROOT, stdout=output, stderr=output, timeout=seconds,
                                  env={**os.environ, "COLUMNS": "300", "PYTHONUNBUFFERED": "1"}).returncode
        output.seek(0)
        lines = [line for line in output.read().splitlines() if line.strip()]
    if code not in (0, 1, None):  # no test ran: a requirement of the tests is missing
        return None
    row = {"name": "pytest -m gpu", "unit": "s", "note": lines[-1] if lines else ""}
    if code == 1:
        row["error"] = "; ".join(line for line in lines if line.startswith(("FAILED", "ERROR")))[:3000]
    elif code == 0 and not few_skipped(row["note"]):
        row["error"] = "on a GPU, tests must run and not be skipped"
    elif code is None:  # timed out without a summary: a line for each finished test, and one for the running one
        failed = [f"{found[2]} {found[1]}" for line in lines if (found := re.match(r"(.*::.*) (FAILED|ERROR)\b", line))]
        row["error"] = "; ".join([f"no end after {seconds:.0f} s, at {row['note']}", *failed])[:3000]
    return row


# --- a job of the size of MNIST -------------------------------------------------------------------------------------

class UntilTime(tn.callbacks.Callback):
    """Stops training at a deadline."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline

    def on_step(self, run: Any) -> None:
        if time.monotonic() > self.deadline:
            run.stop("the time is up")


def images(count: int, draw: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images (count, 28, 28) of ten shapes, shifted and faint in noise, and their labels."""
    key = (0, tn.random.stream("gpu"))
    shapes = np.kron(tn.random.normal((10, 7, 7), key, 0) > 0.3, np.ones((4, 4)))
    noise = tn.random.uniform((997, 28, 28), key, 1) * 110
    labels = (tn.random.uniform((count,), key, 2 + draw) * 10).astype(np.int64)
    moves = (tn.random.uniform((count,), key, 102 + draw) * 49).astype(np.int64)
    found = noise[np.arange(count) % len(noise)]
    for shape in range(10):
        for move in range(49):
            moved = np.roll(shapes[shape], (move // 7 - 3, move % 7 - 3), (0, 1))
            found[(labels == shape) & (moves == move)] += 16 * moved
    return found.astype(np.uint8), labels


def mnist(device: str, quick: bool, deadline: float) -> Iterator[Row]:
    """Ten epochs of the LSTM-CNN at batch 128 with the loader, then the accuracy on 10,000 other images."""
    epochs, sizes = (2, (256, 128)) if quick else (10, (60_000, 10_000))

    def scaled(batch: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return batch[..., None].astype(np.float32) / 255, labels

    (train, labels), test = images(sizes[0], 0), images(sizes[1], 1)
    tn.seed(0)
    model = (small_model() if quick else example_models().lstm_cnn()).to(device)
    loader = tn.data.Loader(train, labels, batch_size=128, shuffle=True, transform=scaled, device=device)
    optimizer = tn.optim.Adam(model.parameters())
    schedule = tn.optim.OneCycle(optimizer, peak=3e-3, steps=epochs * len(loader))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        history = tn.fit(model, optimizer, loader, epochs=epochs, schedule=schedule, show=False,
                         callbacks=[UntilTime(deadline - 5)])
    seconds = [row["seconds"] for row in history]
    tested = tn.evaluate(model, tn.data.Loader(*test, batch_size=512, transform=scaled, device=device))
    row: Row = {"name": f"{len(history)} epochs of {len(train):,} images", "unit": "s", "ours": sum(seconds),
                "note": f"test accuracy {tested['accuracy']:.4f}{'' if quick else f', on a CPU {CPU_ACCURACY}'}, "
                        f"{history[-1]['images_per_second']:,.0f} images/s"}
    if len(loader) * epochs > optimizer.steps:
        row["error"] = f"the time was up after {int(optimizer.steps)} of {len(loader) * epochs} steps"
    if any("graph_refused" in one for one in history):
        row["error"] = "; ".join([str(row.get("error", "")), *(str(one.message) for one in said)])[:1000].strip("; ")
    yield row
    yield {"name": "the first epoch (it compiles)", "unit": "s", "ours": seconds[0]}
    yield {"name": "a later epoch", "unit": "s", "ours": statistics.median(seconds[1:] or seconds)}


# --- the cost of a launch --------------------------------------------------------------------------------------------

def launch(device: str, quick: bool, deadline: float) -> Iterator[Row]:
    """Small calls: the time on the host until a call returns, and the time until its result is ready."""
    from tinynet.backend.cuda.runtime.gemm import matmul

    count, size, xp = 3 if quick else 300, 16 if quick else 128, backend.namespace(device)
    x, A = tn.Tensor(np.ones(8, np.float32), device=device), backend.to_device(np.eye(size, dtype=np.float32), device)
    out = xp.empty_like(A)

    def op() -> Any:
        with tn.no_grad():
            return tn.ops.relu(x)

    calls: dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]] = {
        "relu of 8 numbers, beside xp.maximum": (op, lambda: xp.maximum(x.data, 0)),
        f"product {size} x {size}, beside A @ A": (lambda: matmul(A, A, out=out), lambda: A @ A),
        "a step of Adam on 8 numbers": (adam_step(device), None),
        "forward and backward of a Dense(8, 8)": (small_step(device), None),
    }
    for name, (ours, theirs) in calls.items():
        for title, until_done in (("on the host", False), ("until it is done", True)):
            yield {"name": f"{name}, {title}", "unit": "s", "ours": per_call(ours, device, count, until_done),
                   "theirs": per_call(theirs, device, count, until_done) if theirs else None}
    if device != "cpu":
        yield from in_a_graph(device, lambda: matmul(A, A, out=out), 3 if quick else 100)


def per_call(call: Callable[[], Any], device: str, count: int, until_done: bool) -> float:
    """The seconds of one call: the median of five rounds of `count` calls."""
    call()
    times = []
    for _ in range(5):
        wait(device)
        start = time.perf_counter()
        for _ in range(count):
            call()
        if until_done:
            wait(device)
        times.append((time.perf_counter() - start) / count)
    return statistics.median(times)


def adam_step(device: str) -> Callable[[], Any]:
    model = tn.nn.Dense(7, 1).to(device)
    optimizer = tn.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = parameter.data.copy()
    return optimizer.step


def small_step(device: str) -> Callable[[], Any]:
    model, x = tn.nn.Dense(8, 8).to(device), tn.Tensor(np.ones((4, 8), np.float32), device=device)

    def step() -> None:
        model.zero_grad()
        model(x).sum().backward()
    return step


def in_a_graph(device: str, work: Callable[[], Any], count: int) -> Iterator[Row]:
    """A call `count` times in a CUDA graph: the seconds to launch the graph, and those of each call in it."""
    work()  # compiles, and creates the handle of cuBLAS
    _, graph = backend.record(device, lambda: [work() for _ in range(count)])
    times = []
    for _ in range(6):
        wait(device)
        start = time.perf_counter()
        graph.launch()
        returned = time.perf_counter()
        wait(device)
        times.append((returned - start, time.perf_counter() - start))
    yield {"name": f"graph of {count} products, launch", "unit": "s",
           "ours": statistics.median(host for host, _ in times[1:])}
    yield {"name": f"graph of {count} products, each", "unit": "s",
           "ours": statistics.median(whole for _, whole in times[1:]) / count}


# --- first of all ----------------------------------------------------------------------------------------------------

def warm(device: str, quick: bool, deadline: float) -> Iterator[Row]:
    """Load what the other sections load: PyTorch, cuBLAS, cuDNN, our kernels. From a cold disk that takes long."""
    start = time.perf_counter()
    Ours.once(device)
    yield {"name": "an LSTM and a product, the first time", "unit": "s", "ours": time.perf_counter() - start}
    theirs = torch_device(device)
    if theirs is not None:
        start = time.perf_counter()
        Theirs.once(theirs)
        yield {"name": "PyTorch, the first time", "unit": "s", "theirs": time.perf_counter() - start}


SECTIONS: dict[str, Callable[[str, bool, float], Iterator[Row]]] = {
    "warm": warm, "tests": tests, "mnist": mnist, "launch": launch, "lstm": lstm, "steps": steps}
