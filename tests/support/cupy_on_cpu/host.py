"""The time that the host needs for the GPU, without the GPU: launches, copies and products return at once.

    python -m tests.support.cupy_on_cpu.host

Prints JSON: processor time of this thread in microseconds, and `reference`, a loop of plain Python in the same run.
A ratio to it says more than microseconds do: they depend on the machine and on what else runs there.
"""

import json
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from tests.support import cupy_on_cpu


def microseconds(call: Callable[[], Any], count: int = 1000, rounds: int = 7) -> float:
    """Processor time of a call: the least mean of some rounds."""
    for _ in range(20):
        call()
    times = []
    for _ in range(rounds):
        start = time.thread_time()
        for _ in range(count):
            call()
        times.append((time.thread_time() - start) / count)
    return min(times) * 1e6


def reference() -> int:
    """Plain Python: attributes, dictionaries, tuples, calls."""
    table: dict[tuple[str, int], int] = {}
    for i in range(20):
        key = "reference", i
        table[key] = table.get(("reference", i - 1), 0) + len(key)
    return sum(table.values())


def calls(cupy: Any) -> dict[str, float]:
    """Single calls."""
    import tinynet as tn
    from tinynet.backend.cuda.runtime.gemm import matmul
    from tinynet.backend.cuda.runtime.launch import Kernels, one_each

    x = tn.Tensor(np.ones((8, 8), "float32"), device="gpu")
    A, out, kernels = x.data, cupy.empty((8, 8), "float32"), Kernels("activation")
    kernels.launch("relu", one_each(64), A, out, 64)
    raw, size = kernels._functions["relu", type(A)], np.int32(64)
    found = {
        "RawKernel of CuPy, 3 arguments": lambda: raw((1, 1, 1), (256, 1, 1), (A, out, size)),
        "Kernels.launch, 3 arguments": lambda: kernels.launch("relu", one_each(64), A, out, 64),
        "a product": lambda: matmul(A, A, out=out),
        "cupy.empty": lambda: cupy.empty((8, 8), "float32"),
        "relu with a tape": lambda: tn.ops.relu(x),
    }
    return {name: microseconds(call) for name, call in found.items()}


def step(name: str) -> Callable[[], Any]:
    """An eager training step of a model of `tinynet.models`."""
    import tinynet as tn
    from tinynet import models
    tn.seed(0)
    model = getattr(models, name)().to("gpu")
    optimizer = tn.optim.Adam(model.parameters())
    x = tn.Tensor(np.ones((128, *model.input_shape), "float32"), device="gpu")
    labels = tn.Tensor(np.zeros(128, "int64"), device="gpu")

    def run() -> None:
        loss = tn.ops.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return run


def replayed(with_schedule: bool = True) -> float:
    """A step of `fit` that is launched as a graph: the quickest epoch after the first, of a job like MNIST."""
    import tinynet as tn
    from tinynet import models
    from tinynet.training import recorded

    def scaled(batch: Any, labels: Any) -> Any:
        return batch[..., None].astype("float32") / 255, labels

    tn.seed(0)
    images, labels = np.zeros((25600, 28, 28), "uint8"), np.zeros(25600, "int64")
    model = models.lstm_cnn().to("gpu")
    loader = tn.data.Loader(images, labels, batch_size=128, shuffle=True, transform=scaled, device="gpu")
    optimizer = tn.optim.Adam(model.parameters())
    schedule = tn.optim.OneCycle(optimizer, peak=3e-3, steps=5 * len(loader)) if with_schedule else None
    recorded.same_bits = lambda *arrays: True  # there are no numbers to compare
    ends: list[float] = []

    class Clock(tn.callbacks.Callback):
        def on_epoch(self, run: Any) -> None:
            ends.append(time.thread_time())

    tn.fit(model, optimizer, loader, epochs=5, schedule=schedule, show=False, guard=False, callbacks=[Clock()])
    return min(after - before for before, after in pairwise(ends)) / len(loader) * 1e6


def main() -> None:
    cupy = cupy_on_cpu.install(is_fast=True)
    found = {"reference": microseconds(reference), **calls(cupy), "a replayed step of fit, lstm_cnn": replayed(),
             "a replayed step of fit, lstm_cnn, constant rate": replayed(with_schedule=False)}
    for name in ("lstm_cnn", "cnn"):
        found[f"an eager step, {name}"] = microseconds(step(name), count=2, rounds=200)
    found["reference"] = min(found["reference"], microseconds(reference))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
