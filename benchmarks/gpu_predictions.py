"""Predicted times of an H200 for the rows of `gpu.py`, made before the first measurement to be compared with it.

    python benchmarks/gpu_predictions.py            # writes benchmarks/gpu_predictions.json

The launches of tinynet are counted. A step is recorded on the emulated GPU at full size, without running it: this gives
all launches of a real GPU, with the arrays that each reads and writes. A launch in a graph takes as long as its
slowest limit, and at least the time from the start of one node to the start of the next:

    (1)  seconds = max(NODE, bytes / BANDWIDTH, operations / RATE)
    (2)  of a persistent LSTM kernel: START + rounds of blocks x steps x cycles of a step / CLOCK

Eager launches also wait for the host, HOST for each. The model of PyTorch is rougher. It has the kernels of each layer,
the operations of the products, the host's time for an operation and an optimizer step, and cuDNN's published times for
a step of an LSTM.

All constants are estimates from data sheets and published measurements. None was fitted to a run of tinynet.
"""

import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import tinynet as tn  # noqa: E402
from benchmarks import gpu_pairs  # noqa: E402
from benchmarks.cases import Case, build, output_shapes  # noqa: E402
from benchmarks.flops import flops  # noqa: E402
from benchmarks.table import written  # noqa: E402
from tinynet import backend  # noqa: E402
from tinynet.backend.cuda.runtime import cublas, emulator, fake_cupy, graph  # noqa: E402

WRITTEN = Path(__file__).with_name("gpu_predictions.json")
DEVICE = "gpu-emulated"

CLOCK = 1.98e9  # cycles a second
MULTIPROCESSORS = 132
NODE = 1.8e-6  # seconds from the start of a small kernel in a graph to the start of the next one
BANDWIDTH = 3.5e12  # bytes a second; the L2 cache, which holds most arrays of a small net, is at least as fast
RATES = {"float32": 30e12, "tf32": 120e12}  # operations a second, in products that are not large
HOST = {"kernel": 14e-6, "product": 14e-6, "array": 9e-6}  # seconds of the host for one eager launch
emulator.MULTIPROCESSORS = MULTIPROCESSORS  # work is divided as on an H200

OP = 12e-6  # seconds of the host for an op on the tape
GRAPH = 8e-6  # seconds of the host to launch a graph
LOADING = 3.0  # seconds to load cuBLAS and all kernels; the section before compiled most of them
ALIVE = 0.6  # the share of all arrays of a step that exist at once
WORKSPACES = 2 * cublas.WORKSPACE  # more bytes of tinynet: for eager and for recorded steps
RESERVED = 30e6  # more bytes of PyTorch: for cuDNN, and for blocks rounded up

# Cycles of a step of the persistent LSTM with one sequence in a block, and with two: forward, backward.
STEP = {64: ((440, 400), (680, 640)), 128: ((1100, 1050), (1650, 1620))}
START = {64: 3e-6, 128: 5e-6}  # seconds to load all weights into the chip
STEPWISE = {"lstm_gates", "lstm_dgates", "lstm_dmask"}

# PyTorch: the kernels of a layer, forward and backward.
KERNELS = {"Dense": (1, 3), "Conv1D": (3, 5), "Conv2D": (2, 4), "BatchNorm": (2, 2), "ReLU": (1, 1), "Dropout": (1, 1),
           "MaxPool1D": (1, 1), "MaxPool2D": (1, 1), "Reshape": (0, 0), "Flatten": (0, 0), "LSTM": (2, 3)}
LOSS_AND_ADAM = (3, 5)
OPERATION = (9e-6, 11e-6)  # seconds of the host for an operation, forward and backward, with autograd
OPTIMIZER = 120e-6  # seconds of the host for zero_grad and a fused Adam
CUDNN = {128: (1.5e-6, 3e-6), 100_000: (8e-6, 12e-6)}  # seconds of a step of the LSTM, by the largest number of units


class Launch(NamedTuple):
    """One launch: its kind, and its limits."""

    kind: str  # "kernel", "product" or "array"
    name: str
    bytes: int
    operations: int = 0
    seconds: float = 0.0  # of (2), for a persistent kernel


def launches(work: Callable[[], Any]) -> tuple[list[Launch], int]:
    """The launches of a function on the emulated GPU, and the bytes of the arrays that it makes. Nothing is run."""
    _, recorded = graph.capture(DEVICE, work)
    found: list[Launch] = []
    made_bytes = 0
    product: Any = None
    for action in recorded._graph.actions:
        function, arguments = action.func, action.args
        last_product, product = product, None  # a copy of a product is no launch: cuBLAS writes it in place
        if function is fake_cupy.compute_again:
            made, function, arguments = arguments[:3]
            made_bytes += made.nbytes
            if function is fake_cupy.unwritten:
                continue
            arguments = (made, *arguments)
        name = getattr(function, "__name__", str(function))
        if name == "run":
            name, blocks, _, _, arguments = arguments
            parameters = function.__self__.signatures[name]
            numbers = {parameter.name: value for parameter, value in zip(parameters, arguments, strict=True)}
            steps = int(numbers["T"]) if name in STEPWISE else 1  # each of these launches uses one step of its arrays
            seconds = _persistent(name, blocks[0], numbers)
            found.append(Launch("kernel", name, _bytes(arguments) // steps, seconds=seconds))
        elif "matmul" in name:
            made, A, _ = arguments
            product = made
            found.append(Launch("product", "product", _bytes(arguments), 2 * made.size * A.shape[-1]))
        elif not any(argument is last_product for argument in arguments):
            found.append(Launch("array", name, _bytes(arguments)))
    return found, made_bytes


def _bytes(arguments: Any) -> int:
    return sum(argument.nbytes for argument in arguments if isinstance(argument, np.ndarray))


def _persistent(name: str, blocks: int, numbers: dict[str, Any]) -> float:
    """(2); 0 for another kernel."""
    way, _, units = name.removeprefix("lstm_").rpartition("_")
    if not units.isdecimal():
        return 0.0
    N, T, sequences = (int(numbers[name]) for name in ("N", "T", "sequences"))
    cycles = STEP[int(units)][sequences - 1][way == "backward"]
    together = max(1, math.ceil(blocks / MULTIPROCESSORS))  # blocks on one multiprocessor share its units
    rounds = math.ceil(N / (sequences * blocks))
    return START[int(units)] + rounds * T * cycles * (1 + 0.5 * (together - 1)) / CLOCK


def in_graph(found: list[Launch], precision: str) -> float:
    """(1)"""
    return sum(max(NODE, one.bytes / BANDWIDTH, one.operations / RATES[precision], one.seconds) for one in found)


def eager(found: list[Launch], precision: str) -> float:
    """The longer of the host's time for all launches and the device's time."""
    return max(sum(HOST[one.kind] for one in found), in_graph(found, precision))


def ours(work: Case) -> Callable[[], Any]:
    """A training step, or forward and backward, of tinynet on zeros."""
    model = build(work.layers).to(DEVICE)
    optimizer = tn.optim.Adam(model.parameters())
    optimizer.steps = backend.as_array(0, "int64", DEVICE)
    x = tn.Tensor(np.zeros(work.shape, "float32"), device=DEVICE, requires_grad=work.objective == "product")
    if work.objective == "product":
        target = tn.Tensor(np.zeros(output_shapes(work)[-1], "float32"), device=DEVICE)
        return lambda: model(x).backward(target)
    labels = tn.Tensor(np.zeros(work.shape[0], "int64"), device=DEVICE)

    def step() -> None:
        loss = tn.ops.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return step


def theirs(work: Case, precision: str) -> tuple[float, float]:
    """The seconds of PyTorch, eagerly and as a graph."""
    forward, backward = LOSS_AND_ADAM if work.work == "step" else (0, 0)
    recurrent = 0.0
    for (kind, options), shape in zip(work.layers, [work.shape, *output_shapes(work)], strict=False):
        forward, backward = forward + KERNELS[kind][0], backward + KERNELS[kind][1]
        if kind == "LSTM":
            recurrent += shape[1] * sum(next(times for most, times in CUDNN.items() if options["units"] <= most))
    device = max((forward + backward) * NODE + recurrent, sum(flops(work).values()) / RATES[precision])
    host = forward * OPERATION[0] + backward * OPERATION[1] + OPTIMIZER * (work.work == "step")
    return max(host, device), device


def predictions() -> Iterator[tuple[str, dict[str, float]]]:
    """For each row of `gpu.py` beside PyTorch: its name, and the values of both sides."""
    for work, precision in gpu_pairs.timed_cases():
        (found, made), (their_eager, their_graph) = launches(ours(work)), theirs(work, precision)
        one, whole = eager(found, precision), in_graph(found, precision)
        for way, mine, other in (("eager", one, their_eager), ("graph", whole, their_eager),
                                 ("graph beside graph", whole, their_graph)):
            yield f"{work.name}, {way}", {"ours": rounded(mine), "theirs": rounded(other)}
        if work.work == "step":
            yield f"{work.name}, memory", {"ours": rounded(ALIVE * made + WORKSPACES),
                                               "theirs": rounded(ALIVE * made + RESERVED)}


def alone() -> Iterator[tuple[str, dict[str, float]]]:
    """The predictions of the section `launch`."""
    for name, mine, other in (
            ("relu of 8 numbers, beside xp.maximum", OP + HOST["kernel"], HOST["array"]),
            ("product 128 x 128, beside A @ A", HOST["product"], 2 * HOST["array"]),
            ("a step of Adam on 8 numbers", OP / 2 + HOST["kernel"], 0),
            ("forward and backward of a Dense(8, 8)", 5 * OP + 8 * HOST["kernel"], 0)):
        for way in ("on the host", "until it is done"):
            yield f"{name}, {way}", {"ours": rounded(mine), **({"theirs": rounded(other)} if other else {})}
    yield "graph of 100 products, launch", {"ours": GRAPH}
    yield "graph of 100 products, each", {"ours": rounded(1.5 * NODE)}


def rounded(value: float) -> float:
    return float(f"{value:.3g}")


def main() -> int:
    found = dict(predictions()) | dict(alone())
    batch = 7 * NODE, 20 * HOST["array"]  # gather, scale and tally: the time on the device, and on the host
    epoch = math.ceil(60_000 / 128) * max(found["lstm_cnn, batch 128, graph"]["ours"] + batch[0], batch[1])
    found["the first epoch (it compiles)"] = {"ours": rounded(epoch + LOADING)}
    found["a later epoch"] = {"ours": rounded(epoch)}
    found["10 epochs of 60,000 images"] = {"ours": rounded(10 * epoch + LOADING)}
    rows = ",\n".join(f" {json.dumps(name)}: {json.dumps(row)}" for name, row in found.items())
    WRITTEN.write_text(f"{{\n{rows}\n}}\n", encoding="utf-8")
    for name, row in found.items():
        unit = "bytes" if name.endswith("memory") else "s"
        print(f"{name:60s}", *(f"{written(value, unit):>12s}" for value in row.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
