"""What fused passes could gain in a step of the LSTM-CNN: upper bounds, from the time of each pass.

    python -m benchmarks.fusion [--batch 128] [--repeats 200]

ReLU and dropout after the LSTM and the Conv1D are passes of their own. In the kernel before them they would cost their
arithmetic alone. That is about what they take on arrays that stay in a core's cache: so each pass is timed on the
step's array, and on 8 images in turn, with one thread. The difference bounds the gain from above. Times are minima.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tinynet as tn

IMAGES = 8  # whose arrays stay in a core's second-level cache
SHAPES = {"dropout after the LSTM": (28, 128), "ReLU after the Conv1D": (26, 64), "dropout after the Conv1D": (26, 64)}
LINE = "{:34}{:>12}{:>12}{:>14}"


def passes(name: str, images: int, shape: tuple[int, ...]) -> Callable[[], Any]:
    """The forward and backward pass of one op on some images."""
    x = tn.Tensor(tn.random.normal((images, *shape), (0, 0), 0).astype("float32"), requires_grad=True)
    dy = np.ones(x.shape, np.float32)

    def run() -> None:
        x.zero_grad()
        y = tn.ops.relu(x) if name.startswith("ReLU") else tn.ops.dropout(x, p=0.2, key=(0, 1), counter=3)
        y.backward(dy)
    return run


def seconds(run: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Bound the gain of fused ReLU and dropout.")
    parser.add_argument("--batch", type=int, default=128, help="images of a batch (default: 128)")
    parser.add_argument("--repeats", type=int, default=200, help="calls of a pass (default: 200)")
    options = parser.parse_args(arguments)
    tn.set_threads(1)
    print(LINE.format("one thread, at most, µs", "its passes", "in cache", "fusing gains"))
    for name, shape in SHAPES.items():
        whole = seconds(passes(name, options.batch, shape), options.repeats)
        none = seconds(passes(name, 0, shape), options.repeats)  # Python and the launches
        few = seconds(passes(name, IMAGES, shape), 10 * options.repeats)
        cached = none + (few - none) * options.batch / IMAGES
        print(LINE.format(name, *(round(one * 1e6) for one in (whole, cached, whole - cached))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
