"""Measurements of tinynet alone: the time of each op in a step, and an epoch beside its steps."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.cases import Case, build
from benchmarks.peers.base import LEARNING_RATE


def profile(step: Callable[[], Any], count: int) -> dict[str, list[float]]:
    """The seconds of each op in a step: forward ("lstm"), backward ("dlstm"), the optimizer ("adam"), and all ("step").

    Each is a list with one number per step.
    """
    rows: dict[str, list[float]] = defaultdict(list)
    for _ in range(count):
        with _watched() as spent:
            start = time.perf_counter()
            step()
            spent["step"] = time.perf_counter() - start
        for name, seconds in spent.items():
            rows[name].append(seconds)
    return dict(rows)


@contextmanager
def _watched() -> Iterator[dict[str, float]]:
    """Sum the time of ops, their gradients and the optimizer by name."""
    from tinynet.tracing import observe

    spent: dict[str, float] = defaultdict(float)

    def timed(name: Callable[[Any], str]) -> Callable[[Any, Callable[[], Any]], Any]:
        def observer(part: Any, run: Callable[[], Any]) -> Any:
            start = time.perf_counter()
            try:
                return run()
            finally:
                spent[name(part)] += time.perf_counter() - start
        return observer

    with observe(op=timed(lambda call: call.op), backward=timed(lambda node: f"d{node.op.name}"),
                 step=timed(lambda optimizer: type(optimizer).__name__.lower())):
        yield spent


def epoch(case: Case, images: int, rounds: int) -> dict[str, list[float]]:
    """The seconds of epochs over `images` images, `rounds` times in turn.

    loader      `tn.fit` with a shuffling `tn.data.Loader`, which scales bytes as examples/mnist_lstm_cnn.py does
    unguarded   the same without the guard
    augmented   the same with augmentation in the background
    steps       the same number of steps alone, on batches made before
    """
    import tinynet as tn

    batch, *size = case.shape
    values = (np.arange(images * 28 * 28, dtype=np.uint32) * np.uint32(2654435761) >> np.uint32(24)).astype(np.uint8)
    data, labels = values.reshape(images, *size), np.arange(images) % 10

    def scaled(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return images.astype(np.float32) / 255, labels

    model = build(case.layers)
    optimizer = tn.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    augment = tn.data.Augment(shift=0.1, rotate=10, scale=0.1, shear=10, elastic=0.05)
    loader, augmented = (tn.data.Loader(data, labels, batch_size=batch, shuffle=True, drop_last=True, transform=scaled,
                                        **options) for options in ({}, {"augment": augment, "threads": 1}))
    ready = [tuple(tn.Tensor(array) for array in scaled(data[at : at + batch], labels[at : at + batch]))
             for at in range(0, min(10 * batch, images), batch)]

    def fit(batches: Any, guard: bool = True) -> Callable[[], Any]:
        return lambda: tn.fit(model, optimizer, batches, epochs=1, guard=guard, show=False)

    def steps_alone() -> None:
        for i in range(len(loader)):
            x, target = ready[i % len(ready)]
            loss = tn.ops.cross_entropy(model(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    fit(ready)()  # warm-up
    augment(data[:batch], np.arange(batch), 0, 0)
    runs = {"steps": steps_alone, "loader": fit(loader), "unguarded": fit(loader, guard=False),
            "augmented": fit(augmented)}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds
