"""Compare ranks with threads on one machine: the time of a training step, and the weights after some steps.

    python -m benchmarks.ranks time [--model lstm_cnn] [--batches 128 512] [--ranks 2] [--rounds 7] [--out FILE]
    python -m benchmarks.ranks weights [--models lstm_cnn cnn] [--ranks 2 3 4] [--data FOLDER]

time      In turn, a process with as many threads as there are ranks trains, and the ranks with one thread each. `fit`
          makes the steps, of random images. A time is the median over rounds, and in each over epochs. Run it on an
          idle machine with as many processors
weights   How far the weights of ranks, and of a process with two threads, are from those of a process with one thread.
          They are compared after 30 steps with Adam on MNIST. Printed are the three arrays that differ most, by their
          largest difference, relative to the largest weight of the array. The X-ray model gets the digits at twice
          their size, in three channels

Both start the mpiexec that is installed beside Python: pip install mpi4py mpich.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import tinynet as tn
from benchmarks.process import printed_by
from tinynet import models
from tinynet.distributed import world
from tinynet.output import json_text, say

EPOCHS, WARM_UP = 6, 2
XRAY = "pneumonia_cnn_lstm"


def timed(model: str, batch: int, threads: int) -> list[float]:
    """The milliseconds of a step, one for each epoch but the first ones."""
    tn.set_threads(threads)
    tn.seed(0)
    made = getattr(models, model)()
    steps = max(8, 5120 // batch)
    images = tn.random.uniform((steps * batch, *made.input_shape), (0, 0), 0).astype("float32")
    labels = (tn.random.uniform((steps * batch,), (0, 0), 1) * 10).astype("int64")
    history = tn.fit(made, tn.optim.Adam(made.parameters()), tn.data.Loader(images, labels, batch_size=batch),
                     epochs=EPOCHS, show=False)
    return [1000 * row["seconds"] / steps for row in history[WARM_UP:]]


def weights(model: str, data: str, threads: int) -> dict[str, Any]:
    """The weights after 30 steps on digits, in batches of an odd size."""
    if threads:
        tn.set_threads(threads)
    batch = 67 if model in ("lstm_cnn", "cnn", "lstm") else 19
    digits = tn.data.load_mnist(data) if data else tn.data.load("mnist")[0]
    images, labels = digits.train_images[: 15 * batch, :, :, None], digits.train_labels[: 15 * batch]
    if model == XRAY:
        images, labels = images.repeat(2, 1).repeat(2, 2).repeat(3, 3), (labels > 4).astype(labels.dtype)
    tn.seed(3)
    made = getattr(models, model)(**({"size": 56} if model == XRAY else {}))
    batches = tn.data.Loader(images.astype("float32") / 255, labels, batch_size=batch, shuffle=True, seed=5)
    tn.fit(made, tn.optim.Adam(made.parameters()), batches, epochs=2, show=False)
    return made.state_dict()


def started(ranks: int, *arguments: object) -> str:
    """What a worker prints, with some ranks or as one process."""
    return printed_by("benchmarks.ranks", ranks, *arguments)


def compare_times(options: argparse.Namespace) -> None:
    found: dict[str, Any] = {"about": str(tn.about()), "ranks": options.ranks, "rows": []}
    for batch in options.batches:
        sides: list[list[float]] = [[], []]
        for _ in range(options.rounds):
            for side, (ranks, threads) in zip(sides, ((1, options.ranks), (options.ranks, 1)), strict=True):
                printed = json.loads(started(ranks, "_time", options.model, batch, threads))
                side.append(statistics.median(printed))
        one, several = map(statistics.median, sides)
        found["rows"].append({"model": options.model, "batch": batch, "threads": sides[0], "ranks": sides[1]})
        say(f"{options.model}, batch {batch}: 1 process x {options.ranks} threads {one:.2f} ms, {options.ranks} ranks "
            f"x 1 thread {several:.2f} ms, ratio {several / one:.2f}")
    if options.out:
        Path(options.out).write_text(json_text(found, indent=1) + "\n", encoding="utf-8")


def compare_weights(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for model in options.models:
            found = {}
            for name, ranks, threads in (("1 thread", 1, 1), ("2 threads", 1, 2),
                                         *((f"{ranks} ranks", ranks, 0) for ranks in options.ranks)):
                file = Path(folder) / f"{model} {name}.npz"
                started(ranks, "_weights", model, options.data or "", threads, file)
                found[name] = dict(np.load(file))
            one = found.pop("1 thread")
            for name, other in found.items():
                away = {key: float(np.abs(other[key] - one[key]).max() / np.abs(one[key]).max()) for key in one}
                worst = sorted(away, key=lambda key: -away[key])[:3]
                say(f"{model}, {name}: {', '.join(f'{key} {away[key]:.1e}' for key in worst)}")


def main(arguments: list[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["_time"]:
        times = timed(given[1], int(given[2]), int(given[3]))
        say(json.dumps(times))
        return 0
    if given[:1] == ["_weights"]:
        found = weights(given[1], given[2], int(given[3]))
        if world().rank == 0:
            np.savez(given[4], **found)
        return 0
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    time = commands.add_parser("time")
    time.add_argument("--model", default="lstm_cnn", help="a model of examples/models.py (default: lstm_cnn)")
    time.add_argument("--batches", type=int, nargs="+", default=[128, 512], help="images of a batch (default: 128 512)")
    time.add_argument("--ranks", type=int, default=2, help="processes (default: 2)")
    time.add_argument("--rounds", type=int, default=7, help="turns of both sides (default: 7)")
    time.add_argument("--out", help="file for the results (default: none)")
    time.set_defaults(work=compare_times)
    same = commands.add_parser("weights")
    same.add_argument("--models", nargs="+", default=["lstm_cnn", "cnn", "deep_lstm_cnn", XRAY],
                      help=f"models (default: lstm_cnn cnn deep_lstm_cnn {XRAY})")
    same.add_argument("--ranks", type=int, nargs="+", default=[2, 3, 4], help="numbers of processes (default: 2 3 4)")
    same.add_argument("--data", help="the folder of MNIST; by default where tinynet looks for it")
    same.set_defaults(work=compare_weights)
    options = parser.parse_args(given)
    options.work(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
