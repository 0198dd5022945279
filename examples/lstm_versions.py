"""The LSTM of one digit in five versions, from a loop to machine code: each is checked, and then timed.

    python examples/lstm_versions.py --out docs/figures/lstm_versions.json     on an idle machine: half a minute

    loops        Python, one number at a time
    product      NumPy, one product of matrices for each row: the specification in tinynet/ops/lstm.py
    numba        the loops, compiled
    packed       tinynet's kernel on one thread: packed matrices, tiles in registers, vector instructions
    threads      the same on all threads

Equations (1) to (6), 28 rows of 28 pixels, 128 units, 128 digits at a time; the loops read a single digit. A version
must agree with the specification in float64 before its time counts. The roof is what this machine can do at all: the
operations of a large product of matrices, and the bytes of a large copy, in a second. There is no --device: all
versions are for a processor.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's products on one thread, as the other versions

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import command
import numpy as np

import tinynet as tn
from tinynet.output import say

T, D, H, N = 28, 28, 128, 128
OPERATIONS = 8 * T * H * (H + D)  # of a digit: the products of (1), (2), (3) and (5)
TOLERANCE = 1e-4

Version = Callable[[np.ndarray], np.ndarray]  # x (N,T,D) -> h (N,H) of the last row


def weights() -> tuple[np.ndarray, np.ndarray]:
    tn.seed(0)
    layer = tn.nn.LSTM(D, H)
    return layer.W.numpy(), layer.b.numpy()


def drawn(*shape: int, step: int) -> np.ndarray:
    return tn.random.normal(shape, (0, tn.random.stream("lstm_versions")), step=step).astype(np.float32)


# --- the versions -----------------------------------------------------------------------------------------------------

def loops(x: np.ndarray) -> np.ndarray:
    """Lists and loops: (1) to (6), one number at a time."""
    W, b = (array.tolist() for array in weights())
    result = []
    for rows in x.tolist():
        h, C = [0.0] * H, [0.0] * H
        for row in rows:
            hx = h + row
            z = [sum(hx[k] * W[k][j] for k in range(H + D)) + b[j] for j in range(4 * H)]
            for j in range(H):
                f, i, o = (1 / (1 + math.exp(-z[j + place * H])) for place in (0, 1, 3))
                C[j] = f * C[j] + i * math.tanh(z[j + 2 * H])
                h[j] = o * math.tanh(C[j])
        result.append(h)
    return np.array(result, np.float32)


def one_product(x: np.ndarray) -> np.ndarray:
    (_, h, _), _ = tn.ops.lstm.forward(np, x, None, None, *weights())
    return h


def compiled() -> Version:
    """The loops again, compiled by Numba."""
    from numba import njit

    @njit
    def run(x: Any, W: Any, b: Any, h: Any) -> None:
        C, z = np.zeros(H, np.float32), np.empty(4 * H, np.float32)
        for n in range(x.shape[0]):
            C[:] = 0
            for t in range(x.shape[1]):
                z[:] = b
                for k in range(H + D):  # k outside: W is read in the order of memory
                    factor = h[n, k] if k < H else x[n, t, k - H]
                    for j in range(4 * H):
                        z[j] += factor * W[k, j]
                for j in range(H):
                    f, i = 1 / (1 + np.exp(-z[j])), 1 / (1 + np.exp(-z[H + j]))
                    C[j] = f * C[j] + i * np.tanh(z[2 * H + j])
                    h[n, j] = np.tanh(C[j]) / (1 + np.exp(-z[3 * H + j]))

    def version(x: np.ndarray) -> np.ndarray:
        h = np.zeros((len(x), H), np.float32)
        run(x, *weights(), h)
        return h
    return version


def kernel(threads: int) -> Version:
    W, b = map(tn.Tensor, weights())

    def version(x: np.ndarray) -> np.ndarray:
        tn.set_threads(threads)
        with tn.no_grad():
            _, h, _ = tn.ops.lstm(tn.Tensor(x), None, None, W, b)
        return h.numpy()
    return version


# --- check and time ---------------------------------------------------------------------------------------------------

def seconds(work: Callable[[], object], least: float, threads: int = 1) -> float:
    """The shortest time of a call, in calls that last `least` seconds together, after one that does not count.

    Work on one thread is timed in seconds of the processor, which other programs disturb less.
    """
    work()
    clock = time.process_time if threads == 1 else time.perf_counter
    best, start = math.inf, time.perf_counter()
    while time.perf_counter() - start < least:
        begin = clock()
        work()
        best = min(best, clock() - begin)
    return best


def roof(least: float) -> dict[str, float]:
    """Operations and bytes in a second on one thread: of a product of matrices (1024,1024), of a copy of 256 MiB."""
    tn.set_threads(1)
    a, b = (tn.Tensor(drawn(1024, 1024, step=step)) for step in (1, 2))
    source, target = np.ones(1 << 26, np.float32), np.empty(1 << 26, np.float32)  # zeros would be one page, cached
    with tn.no_grad():
        product = seconds(lambda: tn.ops.dense(a, b, None), least)
    copy = seconds(lambda: np.copyto(target, source), least)
    return {"operations": 2 * 1024**3 / product, "bytes": 2 * source.nbytes / copy}


def run(options: argparse.Namespace) -> int:
    x = drawn(N, T, D, step=0)
    threads = tn.threads()
    (_, expected, _), _ = tn.ops.lstm.forward(np, *(array.astype(np.float64) if array is not None else None
                                                    for array in (x, None, None, *weights())))
    versions: dict[str, tuple[Version, int]] = {
        "loops": (loops, 1), "product": (one_product, N), "numba": (compiled(), N), "packed": (kernel(1), N),
        "threads": (kernel(threads), N)}
    measured = {}
    for name, (version, digits) in versions.items():
        error = float(np.abs(version(x[:digits]) - expected[:digits]).max())
        if not error <= TOLERANCE:
            say(f"{name}: off by {error:.1e}, at most {TOLERANCE:.0e} allowed", error=True)
            return 1
        each = seconds(lambda version=version, digits=digits: version(x[:digits]), options.seconds,
                       threads if name == "threads" else 1) / digits
        measured[name] = {"seconds": each, "error": error, "digits": digits}
        say(f"{name:8} {1e6 * each:12.1f} us a digit, {OPERATIONS / each / 1e9:8.2f} GFLOP/s, error {error:.0e}")
    result = {"command": "python examples/lstm_versions.py", "processor": tn.about().processor,
              "threads": threads, "operations": OPERATIONS, "versions": measured, "roof": roof(options.seconds)}
    say(f"roof     {result['roof']['operations'] / 1e9:.0f} GFLOP/s, {result['roof']['bytes'] / 1e9:.1f} GB/s")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=command.positive(float), default=2.0, help="for each version (default: 2)")
    parser.add_argument("--out", type=Path, help="a JSON file for the times")
    return command.run(run, parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
