"""The sections of `gpu.py`. Each is a generator of rows; a row is written down as soon as it is known.

A row is {"name", "unit", "ours", "theirs", "note"}: times in seconds, medians; "error" where something went wrong.
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
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import tinynet as tn
from benchmarks import agree, timing
from benchmarks.cases import Case, build, case, read_data, write_data
from benchmarks.peers.base import LEARNING_RATE, Arrays
from benchmarks.rows import _models
from tinynet import backend

ROOT = Path(__file__).resolve().parents[1]
Row = dict[str, Any]

CPU_ACCURACY = 0.9962  # of ten epochs in the section mnist, measured there: --device cpu
ROUNDING = {"float32": 1.0, "tf32": 300.0}  # how many times as far as in float32 two sides may be apart
MODELS = {"lstm_cnn": 128, "deep_lstm_cnn": 128, "cnn_lstm": 128, "lstm": 128, "cnn": 128, "idc_lstm_cnn": 128,
          "idc_lstm": 128, "idc_cnn": 128, "pneumonia_cnn_lstm": 16}


def run(section: str, device: str, quick: bool, seconds: float) -> None:
    """Print the rows of a section, each as a line of JSON."""
    deadline = time.monotonic() + seconds
    for row in SECTIONS[section](device, quick, deadline):
        print(json.dumps(row), flush=True)


def described(device: str) -> Any:
    """The line of `tn.devices()` for a device. DeviceError if it is not there."""
    backend.namespace(backend.device_name(device))
    return next(one for one in tn.devices() if one.name == backend.device_name(device))


def driver(device: str) -> dict[str, Any]:
    """Versions of the driver and of CUDA."""
    if not is_gpu(device):
        return {}
    runtime = backend.namespace(backend.device_name(device)).cuda.runtime
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        version = subprocess.run(asked, capture_output=True, text=True, timeout=30).stdout.split("\n")[0].strip()
    except (OSError, subprocess.TimeoutExpired):
        version = ""
    return {"driver": version or None, "driver_cuda": runtime.driverGetVersion(), "cuda": runtime.runtimeGetVersion()}


def is_gpu(device: str) -> bool:
    return device.partition(":")[0] == "gpu"


def wait(device: str) -> None:
    """Until the device has done all that it was asked for."""
    if is_gpu(device):
        backend.namespace(backend.device_name(device)).cuda.get_current_stream().synchronize()


# --- tests ----------------------------------------------------------------------------------------------------------

def tests(device: str, quick: bool, deadline: float) -> Iterator[Row]:
    """By pytest on a GPU, if it is installed; else one case after the other. On other devices, some of the cases."""
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
    """The files with tests for a GPU: to import all the others would take a while."""
    return [str(path) for path in sorted((ROOT / "tests").rglob("test_*.py"))
            if re.search(r"mark\.gpu|support.cuda_places import", path.read_text(encoding="utf-8"))]


def by_pytest(seconds: float) -> Row | None:
    """What pytest says of the tests that are marked `gpu`; None if it cannot run them."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-v", "-p", "no:cacheprovider", "-W", "default",
               "--tb=line", "--color=no", *marked_files()]
    with tempfile.TemporaryFile("w+") as output:
        code: int | None = None
        with suppress(subprocess.TimeoutExpired):
            code = subprocess.run(command, cwd=ROOT, stdout=output, stderr=output, timeout=seconds,
                                  env={**os.environ, "COLUMNS": "300", "PYTHONUNBUFFERED": "1"}).returncode
        output.seek(0)
        lines = [line for line in output.read().splitlines() if line.strip()]
    if code not in (0, 1, None):  # it did not come to run a test: something that the tests need is missing
        return None
    row = {"name": "pytest -m gpu", "unit": "s", "note": lines[-1] if lines else ""}
    if code == 1:
        row["error"] = "; ".join(line for line in lines if line.startswith(("FAILED", "ERROR")))[:3000]
    elif code is None:  # no summary: a line for each test that came to its end, and one for that which did not
        failed = [f"{found[2]} {found[1]}" for line in lines if (found := re.match(r"(.*::.*) (FAILED|ERROR)\b", line))]
        row["error"] = "; ".join([f"no end after {seconds:.0f} s, at {row['note']}", *failed])[:3000]
    return row


# --- a job of the size of MNIST -------------------------------------------------------------------------------------

class UntilTime(tn.callbacks.Callback):
    """Ends the training when the time is up."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline

    def on_step(self, run: Any) -> None:
        if time.monotonic() > self.deadline:
            run.stop("the time is up")


def images(count: int, draw: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (count, 28, 28) of ten shapes, moved about and faint in noise, bytes; and their labels."""
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
    """Ten epochs of the LSTM-CNN at batch 128, through the loader; then the accuracy on 10,000 other images."""
    epochs, sizes = (2, (256, 128)) if quick else (10, (60_000, 10_000))

    def scaled(batch: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return batch[..., None].astype(np.float32) / 255, labels

    (train, labels), test = images(sizes[0], 0), images(sizes[1], 1)
    tn.seed(0)
    model = (small_model() if quick else _models().lstm_cnn()).to(device)
    loader = tn.data.Loader(train, labels, batch_size=128, shuffle=True, transform=scaled, device=device)
    optimizer = tn.optim.Adam(model.parameters())
    schedule = tn.optim.OneCycle(optimizer, peak=3e-3, steps=epochs * len(loader))
    history = tn.fit(model, optimizer, loader, epochs=epochs, schedule=schedule, show=False,
                     callbacks=[UntilTime(deadline - 5)])
    seconds = [row["seconds"] for row in history]
    tested = tn.evaluate(model, tn.data.Loader(*test, batch_size=512, transform=scaled, device=device))
    row: Row = {"name": f"{len(history)} epochs of {len(train):,} images", "unit": "s", "ours": sum(seconds),
                "note": f"test accuracy {tested['accuracy']:.4f}{'' if quick else f', on a CPU {CPU_ACCURACY}'}, "
                        f"{history[-1]['images_per_second']:,.0f} images/s"}
    if len(loader) * epochs > optimizer.steps:
        row["error"] = f"the time was up after {int(optimizer.steps)} of {len(loader) * epochs} steps"
    yield row
    yield {"name": "the first epoch (it compiles)", "unit": "s", "ours": seconds[0]}
    yield {"name": "a later epoch", "unit": "s", "ours": statistics.median(seconds[1:] or seconds)}


def small_model() -> Any:
    """A model for `quick`: an emulated kernel takes its time."""
    nn = tn.nn
    return nn.Sequential(nn.Reshape((28, 28)), nn.LSTM(28, 8, return_sequences=False), nn.Dense(8, 10),
                         input_shape=(28, 28, 1))


# --- what a launch costs --------------------------------------------------------------------------------------------

def launch(device: str, quick: bool, deadline: float) -> Iterator[Row]:
    """On the host: how long until a call returns; and the whole, until its result is there, of many calls in a row."""
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
    """The median of five rounds."""
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
        parameter.accumulate(parameter.data)
    return optimizer.step


def small_step(device: str) -> Callable[[], Any]:
    model, x = tn.nn.Dense(8, 8).to(device), tn.Tensor(np.ones((4, 8), np.float32), device=device)

    def step() -> None:
        model.zero_grad()
        model(x).sum().backward()
    return step


def in_a_graph(device: str, work: Callable[[], Any], count: int) -> Iterator[Row]:
    """The same call many times over in a CUDA graph: what the graph's launch costs, and each of them there."""
    work()  # compiled, and with a handle of cuBLAS
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


# --- beside PyTorch -------------------------------------------------------------------------------------------------

class Ours:
    """A case on our device."""

    def __init__(self, work: Case, data: Path, device: str) -> None:
        x, target, weights, _ = read_data(data)
        self.device, self.objective = device, work.objective
        self.model = build(work.layers)
        self.model.load_state_dict(weights)
        self.model.to(device)
        self.parameters = self.model.parameters()
        self.optimizer = tn.optim.Adam(self.parameters, lr=LEARNING_RATE)
        self.x = tn.Tensor(x, device=device, requires_grad=self.objective == "product")
        self.target = tn.Tensor(target, device=device)

    def backward(self) -> Any:
        self.parameters.zero_grad()
        self.x.zero_grad()
        y = self.model(self.x)
        if self.objective == "product":
            y.backward(self.target)
            return y
        loss = tn.ops.cross_entropy(y, self.target)
        loss.backward()
        return loss

    def step(self) -> None:
        self.backward()
        self.optimizer.step()

    def graphed(self, work: Callable[[], Any]) -> Callable[[], Any]:
        """The same as a CUDA graph. As in `fit`, the optimizer's count of steps lies on the device then."""
        self.optimizer.steps = backend.as_array(int(self.optimizer.steps), "int64", self.device)
        for _ in range(2):
            work()
        _, graph = backend.record(self.device, work)
        return graph.launch  # type: ignore[no-any-return]

    def gradients(self) -> Arrays:
        result = self.backward().numpy()
        first = {"x": self.x.grad} if self.objective == "product" else {}
        found = {**first, **{name: parameter.grad for name, parameter in self.parameters.items()}}
        return {"output": result, **{name: backend.to_host(array) for name, array in found.items()}}

    def wait(self) -> None:
        wait(self.device)


class Theirs:
    """The same by PyTorch."""

    def __init__(self, work: Case, data: Path, device: str) -> None:
        import torch

        from benchmarks.peers.torch import TorchNetwork

        x, target, weights, _ = read_data(data)
        self.torch, self.device, self.objective = torch, device, work.objective
        self.network = TorchNetwork(list(work.layers), weights, work.objective, compiled=False)
        if device == "cpu":
            torch.set_num_threads(1)  # what is tiny only waits for the other threads
        self.network.model.to(device)
        self.x, self.target = (torch.tensor(array, device=device) for array in (x, target))
        self.x.requires_grad_(self.objective == "product")

    def backward(self) -> Any:
        return self.network.backward(self.x, self.target)

    def step(self) -> None:
        self.backward()
        self.network.optimizer.step()

    def gradients(self) -> Arrays:
        result = self.backward().detach().cpu().numpy()
        first = {"x": self.x.grad.cpu().numpy()} if self.objective == "product" else {}
        return {"output": result, **first, **self.network._arrays(lambda parameter: parameter.grad.cpu())}

    def wait(self) -> None:
        if self.device != "cpu":
            self.torch.cuda.synchronize()

    def graphed(self, work: Callable[[], Any]) -> Callable[[], Any]:
        """The same as a CUDA graph."""
        torch, network = self.torch, self.network
        if network.optimizer is not None:
            network.optimizer = torch.optim.Adam(list(network.model.parameters()), lr=LEARNING_RATE, fused=True,
                                                 capturable=True)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return graph.replay  # type: ignore[no-any-return]


def torch_device(device: str) -> str | None:
    """PyTorch's name for a device; None if it is not installed, or cannot compute there."""
    try:
        import torch
    except (ImportError, OSError):  # it is not there, or lacks a library
        return None
    if device == "cpu":
        return "cpu"
    _, _, index = device.partition(":")
    return f"cuda:{index or 0}" if is_gpu(device) and torch.cuda.is_available() else None


def timed_cases(section: str = "", quick: bool = False) -> Iterator[tuple[Case, str]]:
    """What is timed beside PyTorch, and in which precision: of one section, or of both."""
    if section in ("", "lstm"):  # 28 steps of 28 inputs, as in MNIST, for many units and batches
        batches, units = ((2,), (8,)) if quick else ((64, 256, 1024), (64, 128, 256, 512))
        for H in units:
            for N in batches:
                for precision in ("float32", "tf32"):
                    layer = tn.nn.Sequential(tn.nn.LSTM(28, H))
                    yield case(f"LSTM 28 -> {H}, batch {N}, {precision}", "backward", layer, N, (28, 28)), precision
    if section in ("", "steps"):  # at equal precision, without TF32
        for name, batch in ({"small": 2} if quick else MODELS).items():
            model = small_model() if quick else getattr(_models(), name)()
            yield case(f"{name}, batch {batch}", "step", model, batch), "float32"


def lstm(device: str, quick: bool, deadline: float) -> Iterator[Row]:
    """An LSTM, forward and backward."""
    yield from all_beside("lstm", device, quick, deadline)


def steps(device: str, quick: bool, deadline: float) -> Iterator[Row]:
    """A step of training of each model of the examples."""
    yield from all_beside("steps", device, quick, deadline)


def all_beside(section: str, device: str, quick: bool, deadline: float) -> Iterator[Row]:
    cases = list(timed_cases(section, quick))
    for number, (work, precision) in enumerate(cases):
        yield from beside(work, device, precision, remaining(deadline, len(cases) - number))


def remaining(deadline: float, shares: int) -> float:
    return max(0.2, 0.6 * (deadline - time.monotonic()) / shares)


def beside(work: Case, device: str, precision: str, seconds: float) -> Iterator[Row]:
    """Our times, and beside them PyTorch's, if it computes the same."""
    row: Row = {"name": work.name, "unit": "s"}
    try:
        with tempfile.TemporaryDirectory() as folder, tn.precision(precision):
            yield from _beside(work, device, precision, seconds, Path(folder, "data.npz"))
    except Exception as error:  # the other rows are still wanted
        yield {**row, "error": f"{type(error).__name__}: {str(error)[:500]}"}


def _beside(work: Case, device: str, precision: str, seconds: float, data: Path) -> Iterator[Row]:
    write_data(work.without_dropout(), data)
    ours, theirs_device = Ours(work.without_dropout(), data, device), torch_device(device)
    found = ours.gradients()
    name, kind = work.name, work.work
    if theirs_device is None:
        ours = Ours(work, data, device)
        for way, call in ways(ours, kind, device):
            yield {"name": f"{name}, {way}", "unit": "s", "ours": statistics.median(block(ours, call)(3)),
                   "note": "no PyTorch for this device"}
        return
    use_tf32(precision == "tf32")
    errors = agree.errors(found, Theirs(work.without_dropout(), data, theirs_device).gradients())
    wrong = {key: error for key, error in errors.items() if error > ROUNDING[precision] * agree.GRADIENTS}
    if wrong:
        yield {"name": name, "unit": "s", "error": f"disagrees with PyTorch: {wrong}"}
        return
    ours, theirs = Ours(work, data, device), Theirs(work, data, theirs_device)
    note = f"agree to {max(errors.values()):.0e}"
    if kind == "step" and theirs_device != "cpu":
        yield {"name": f"{name}, memory", "unit": "bytes", **peaks(ours, theirs, device)}
    call_theirs = getattr(theirs, kind)
    for way, call in ways(ours, kind, device):
        pair = timing.in_turn(block(ours, call), block(theirs, call_theirs), seconds / 3)
        yield {"name": f"{name}, {way}", "unit": "s", **medians(pair), "note": f"PyTorch eager; {note}"}
    if theirs_device != "cpu":
        pair = timing.in_turn(block(ours, call), block(theirs, theirs.graphed(call_theirs)), seconds / 3)
        yield {"name": f"{name}, graph beside graph", "unit": "s", **medians(pair), "note": note}


def ways(ours: Ours, kind: str, device: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """How we do it: as usual, and where there are graphs, as one."""
    call = getattr(ours, kind)
    yield "eager", call
    if device != "cpu":
        yield "graph", ours.graphed(call)


def use_tf32(yes: bool) -> None:
    """PyTorch's products and cuDNN in TF32, or not."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = yes


def block(side: Ours | Theirs, call: Callable[[], Any]) -> timing.Block:
    """So many calls, and the wait for the device at their end, shared between them."""
    def calls(count: int) -> list[float]:
        side.wait()
        start = time.perf_counter()
        for _ in range(count):
            call()
        side.wait()
        return [(time.perf_counter() - start) / count] * count
    return calls


def medians(pair: timing.Pair) -> dict[str, float]:
    return {name: statistics.median(block[0] for block in blocks)
            for name, blocks in (("ours", pair.ours), ("theirs", pair.theirs))}


def peaks(ours: Ours, theirs: Theirs, device: str) -> dict[str, float]:
    """What each has taken of the GPU's memory for steps of training."""
    pool = backend.namespace(backend.device_name(device)).get_default_memory_pool()
    pool.free_all_blocks()
    theirs.torch.cuda.empty_cache()
    theirs.torch.cuda.reset_peak_memory_stats()
    for side in (ours, theirs):
        for _ in range(2):
            side.step()  # type: ignore[attr-defined]
        side.wait()  # type: ignore[attr-defined]
    return {"ours": pool.total_bytes(), "theirs": theirs.torch.cuda.max_memory_reserved()}


SECTIONS: dict[str, Callable[[str, bool, float], Iterator[Row]]] = {
    "tests": tests, "mnist": mnist, "launch": launch, "lstm": lstm, "steps": steps}
