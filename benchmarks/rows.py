"""The measurements: each row is a function that has the bench measure its cases."""

import compileall
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.bench import Bench
from benchmarks.cases import Case, case
from benchmarks.flops import flops
from benchmarks.peers import OURS, peer
from benchmarks.process import ROOT, PeerError, Worker

MODELS = ("lstm_cnn", "deep_lstm_cnn", "cnn_lstm", "lstm", "cnn")
SLOW_TO_COMPILE = ("tinygrad",)  # a minute for a model, so each model is measured once
IMAGES = 60_000  # of MNIST, to train on


def step(bench: Bench) -> None:
    """A training step: LSTM-CNN at batch 32, 128, 512, with and without dropout; the other models at batch 128."""
    swift = [name for name in bench.options.peers if name not in SLOW_TO_COMPILE]
    for batch in _sizes(bench, 128, 32, 512):
        training = _step("lstm_cnn", batch)
        bench.compare("step", training, None if batch == 128 else swift)
        bench.compare("step", training.without_dropout().named(f"{training.name}, no dropout"), swift)
    for name in MODELS[1:]:
        bench.compare("step", _step(name, _size(bench, 128)))


def forward(bench: Bench) -> None:
    """The forward pass in evaluation, of the LSTM-CNN at batch 128 and 1."""
    for batch in _sizes(bench, 128, 1):
        bench.compare("forward", _step("lstm_cnn", batch).doing("forward"))


def pneumonia(bench: Bench) -> None:
    """A training step of the pneumonia model, 224 x 224 x 3 at batch 16."""
    bench.compare("pneumonia", _step("pneumonia_cnn_lstm", 1 if bench.options.quick else 16))


def ops(bench: Bench) -> None:
    """Single ops, forward and backward; Adam on a million parameters."""
    from tinynet import nn

    quick = bench.options.quick
    batch, image, wide = (2, 8, 100) if quick else (128, 56, 1000)
    for T, N in ((28, batch), (256, max(2, batch // 4)))[: 1 if quick else 2]:
        for H in (32,) if quick else (32, 128, 512):
            _op(bench, f"LSTM 28 -> {H}, T {T}, batch {N}", nn.LSTM(28, H), N, (T, 28))
    _op(bench, f"Conv1D 128 -> 64, width 3, T 28, batch {batch}", nn.Conv1D(128, 64, 3), batch, (28, 128))
    few = max(2, batch // 8)
    size = (image, image, 64)
    _op(bench, f"Conv2D 3x3, {image}x{image}x64 -> 64, batch {few}", nn.Conv2D(64, 64, 3, padding="same"), few, size)
    _op(bench, f"BatchNorm, {image}x{image}x64, batch {few}", nn.BatchNorm(64), few, size)
    _op(bench, f"BatchNorm, 28x28x1, batch {batch}", nn.BatchNorm(1), batch, (28, 28, 1))
    _op(bench, f"Dropout, 28x128, batch {batch}", nn.Dropout(0.2), batch, (28, 128))
    dense = case(f"Adam, {wide * (wide + 1):,} parameters", "update", nn.Sequential(nn.Dense(wide, wide)), 1, (wide,))
    bench.compare("ops", dense, ["torch", "jax"])


def start(bench: Bench) -> None:
    """Fresh processes: peak memory of training, import, time to the first step, size of the installation."""
    from tinynet import nn

    names = [OURS, *bench.options.peers]
    training = _step("lstm_cnn", 128)
    if bench.options.quick:  # quick to compile
        training = case("Flatten, Dense", "step", nn.Sequential(nn.Flatten(), nn.Dense(784, 10)), 4, (28, 28, 1))
    else:
        compileall.compile_dir(ROOT / OURS, quiet=2)  # as pip does with a package that it installs
    place = bench.place(training)
    found = {name: _tried(_fresh_processes, bench, name, place) for name in names}
    measures = {"peak memory": "bytes", "import": "s", "first step, cold caches": "s", "first step, warm caches": "s",
                "size of the installation": "bytes"}
    for measure, unit in measures.items():
        results = {name: {"value": values[measure]} if measure in values else values for name, values in found.items()}
        ours = results[OURS].get("value")
        for name, result in results.items():
            if ours and name != OURS and "value" in result:
                result["ratio"] = ours / result["value"]
        bench.record("start", measure, unit, results, model=training.name)


def growth(bench: Bench) -> None:
    """A step of LSTM -> Dense for growing T, N and H, around T = 28, N = 128, H = 128, and tapes of growing length."""
    from tinynet import nn

    def grown(T: int = 28, N: int = _size(bench, 128), H: int = 32 if bench.options.quick else 128) -> None:
        model = nn.Sequential(nn.LSTM(28, H, return_sequences=False), nn.Dense(H, 10))
        bench.compare("growth", case(f"T {T}, N {N}, H {H}", "step", model, N, (T, 28)), ["torch"])

    for T in _sizes(bench, 7, 28, 112, 448):
        grown(T=T)
    for N in _sizes(bench, 8, 32, 512):
        grown(N=N)
    for H in _sizes(bench, 32, 64, 256, 512):
        grown(H=H)
    for length in (100,) if bench.options.quick else (100, 1000, 10_000, 50_000):
        bench.compare_tapes("growth", length, ["torch"])


def limit(bench: Bench) -> None:
    """The share of the machine's peak in a step: its speed beside the fastest sgemm measured here, op by op.

    tinynet only.
    """
    size, repeats = (256, 3) if bench.options.quick else (2048, 10)
    peaks = {name: _tried(_peak, bench, name, size, repeats) for name in (OURS, *bench.options.peers)}
    peaks = {name: result for name, result in peaks.items() if "value" in result}
    bench.record("limit", f"sgemm, {size} x {size}", "flop/s", peaks)
    peak = max(result["value"] for result in peaks.values())
    for name in MODELS[:2]:
        training = _step(name, _size(bench, 128))
        spent = bench.workers[OURS].ask("profile", **bench.place(training), count=3 if bench.options.quick else 40)
        seconds = {part: statistics.median(times) for part, times in spent["seconds"].items()}
        floors = {part: count / peak for part, count in flops(training).items()}
        whole = seconds.pop("step")
        seconds["between ops"] = whole - sum(seconds.values())
        parts = {part: {"seconds": value, "floor": floors.get(part, 0.0)} for part, value in seconds.items()}
        floor = sum(floors.values())
        bench.record("limit", f"a step of {training.name}", "s",
                     {OURS: {"value": whole, "floor": floor, "of_peak": floor / whole, "parts": parts}})


def _peak(bench: Bench, name: str, size: int, repeats: int) -> dict[str, float]:
    with bench.ready(name, "prepare_product", size=size) as product:
        return {"value": 2 * size**3 / min(product(repeats))}


def epoch(bench: Bench) -> None:
    """An epoch of MNIST-sized data by `tn.data.Loader` and `tn.fit` beside its steps, with guard and augmentation.

    tinynet only.
    """
    training = _step("lstm_cnn", _size(bench, 128))
    images, rounds = (64, 1) if bench.options.quick else (IMAGES, 3)
    answer = bench.workers[OURS].ask("epoch", case=training.as_json(), images=images, rounds=rounds)["seconds"]
    for title, name, base in ((f"{images:,} images, {training.name}, beside its steps alone", "loader", "steps"),
                              ("the same, beside it without the guard", "loader", "unguarded"),
                              ("the same augmented, beside it plain", "augmented", "loader")):
        ratios = [value / other for value, other in zip(answer[name], answer[base], strict=True)]
        bench.record("epoch", title, "s", {OURS: {"value": statistics.median(answer[name]),
                                                 "ratio": statistics.median(ratios),
                                                 name: answer[name], base: answer[base]}})


ROWS: dict[str, Callable[[Bench], None]] = {
    function.__name__: function for function in (step, forward, pneumonia, ops, start, growth, limit, epoch)}


def _size(bench: Bench, size: int) -> int:
    return min(size, 4) if bench.options.quick else size


def _sizes(bench: Bench, *sizes: int) -> tuple[int, ...]:
    """All sizes, or one small size with --quick."""
    return (_size(bench, sizes[0]),) if bench.options.quick else sizes


def _step(name: str, batch: int) -> Case:
    """A training step of a model of examples/models.py."""
    return case(f"{name}, batch {batch}", "step", getattr(example_models(), name)(), batch)


def example_models() -> Any:
    if str(ROOT / "examples") not in sys.path:
        sys.path.insert(0, str(ROOT / "examples"))
    import models

    return models


def _op(bench: Bench, name: str, layer: Any, batch: int, shape: tuple[int, ...]) -> None:
    from tinynet import nn

    bench.compare("ops", case(name, "backward", nn.Sequential(layer), batch, shape), ["torch", "jax"])


def _tried(do: Callable[..., dict[str, Any]], *arguments: Any, **options: Any) -> dict[str, Any]:
    """The result of do(...), or the error of the peer."""
    try:
        return do(*arguments, **options)
    except PeerError as error:
        return {"error": str(error)}


def _fresh_processes(bench: Bench, name: str, place: dict[str, Any]) -> dict[str, float]:
    """Bytes and seconds of fresh processes of a peer, medians over some."""
    repeats = 1 if bench.options.quick else 3
    with tempfile.TemporaryDirectory(prefix="benchmarks-cache-") as cache:
        environment = peer(name).environment(Path(cache))
        imports = [_import_seconds(peer(name).module, bench.options.cpus, environment) for _ in range(repeats + 1)]
        cold, _ = _first_step(bench, name, environment, place)
        warm = [_first_step(bench, name, environment, place) for _ in range(repeats)]
    packages = tuple(package for package in peer(name).packages if package != OURS)
    return {
        "peak memory": statistics.median(most for _, most in warm),
        "import": statistics.median(imports),
        "first step, cold caches": cold,
        "first step, warm caches": statistics.median(seconds for seconds, _ in warm),
        "size of the installation": machine.installed_bytes(packages)
        + (machine.folder_bytes(ROOT / OURS) if name == OURS else 0),
    }


def _first_step(bench: Bench, name: str, environment: dict[str, str], place: dict[str, Any]) -> tuple[float, float]:
    """The seconds from the start of a fresh process to the end of its first step, and its peak memory after some more.
    """
    with Worker(name, bench.options.cpus, environment, bench.options.patience) as worker:
        worker.ask("prepare", **place)
        seconds = time.perf_counter() - worker.started
        worker.ask("calls", count=3 if bench.options.quick else 20)
        return seconds, worker.ask("memory")["bytes"]


def _import_seconds(module: str, cpus: list[int], environment: dict[str, str]) -> float:
    code = (f"import os, time; hasattr(os, 'sched_setaffinity') and os.sched_setaffinity(0, {cpus}); "
            f"start = time.perf_counter(); import {module}; print(time.perf_counter() - start)")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **environment},
                          capture_output=True, text=True)
    if done.returncode:
        raise PeerError(f"import {module}: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.split()[-1])
