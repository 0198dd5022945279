"""The time of a training step with many ranks, by a model made of parts that are measured on one machine.

    python -m benchmarks.scale measure [--models lstm_cnn deep_lstm_cnn] [--seconds 1] [--out FILE]
    python -m benchmarks.scale page

measure   writes the file of measurements: on an idle machine with two processors or more, in about two minutes
page      writes the tables of docs/scale.md, from that file

With R ranks and a batch of B rows, a step takes

    t(R, B) = E[max over R ranks of c(B/R)] + Σ a(R, F)               Σ over the messages of a step, of F floats   (1)

c(n)      the time of a rank that computes n rows: a sample of measured steps. The mean of the largest of R draws from
          it also contains the wait for late ranks
a(R, F)   the time to add up F floats over R ranks, from that over two, a(2, F). With d the delay of each message and
          l = ⌈log₂ R⌉, it is the smaller one of

              l (a(2, F) + d)                                          recursive doubling           (2)
              2 l (a(2, 1) + d) + 2 (R-1)/R (a(2, F) - a(2, 1))        Rabenseifner's algorithm     (3)

What (1) leaves out: messages that collide in a network, ranks that wait for each other more than once in a step, and
processors that differ.

Source of (2) and (3): Thakur, Rabenseifner and Gropp, Optimization of collective communication operations in MPICH,
2005.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinynet as tn
from benchmarks.machine import commit, describe
from benchmarks.process import printed_by
from tinynet import models
from tinynet.distributed import MPI, Communicator
from tinynet.output import json_text, say
from tinynet.training import fit

RESULTS = Path(__file__).with_name("scale.json")
PAGE = RESULTS.parents[1] / "docs" / "scale.md"
ROWS = [2**power for power in range(10)]  # that one rank computes
BATCHES, GROWING = (128, 512), 128  # rows of the batch; rows of each rank of a batch that grows with the ranks
DELAYS = [0.0, 0.1, 1.0, 10.0]  # milliseconds before each sum
FLOATS = [1, 100, 1000, 10_000, 100_000, 300_000, 1_000_000]
RANKS = [2**power for power in range(11)]
NOISE_SCALES = [1000, 10_000]
WARM_UP, LEAST, MOST = 5, 10, 300  # steps: that do not count, and that do
BUSY = 0.25  # load for each core, before the measurement
NOTHING = 1.1  # twice the ranks must be faster by this factor

Found = dict[str, Any]


# --- the model --------------------------------------------------------------------------------------------------------

def slowest(sample: list[float], ranks: int) -> float:
    """The mean of the largest of some draws from a sample.

    >>> slowest([1.0, 3.0], 1), slowest([1.0, 3.0], 2)
    (2.0, 2.5)
    """
    below = (np.arange(len(sample) + 1) / len(sample)) ** ranks
    return float(np.diff(below) @ np.sort(sample))


def compute(found: Found, rows: float, ranks: int = 1) -> float:
    """The milliseconds until the last rank has computed its rows."""
    measured = {int(count): slowest(sample, ranks) for count, sample in found["compute"].items()}
    return float(np.interp(rows, list(measured), list(measured.values())))


def add_up(sums: dict[str, float], floats: float, ranks: int, delay: float = 0.0) -> float:
    """The milliseconds of a sum, equations (2) and (3)."""
    if ranks == 1:
        return 0.0
    two = float(np.interp(floats, [int(count) for count in sums], list(sums.values())))
    first, rounds = sums["1"], (ranks - 1).bit_length()
    return min(rounds * (two + delay), 2 * rounds * (first + delay) + 2 * (ranks - 1) / ranks * (two - first))


def step(found: Found, model: str, ranks: int, batch: float, delay: float = 0.0) -> float:
    """The milliseconds of a step, equation (1)."""
    one = found["models"][model]
    return compute(one, batch / ranks, ranks) + sum(
        add_up(found["sums"], floats, ranks, delay) for floats in one["messages"])


def useful(times: list[float]) -> int:
    """The place of the last time that is shorter by a tenth than the one before it, without a longer one in between.

    >>> useful([8, 4, 3.9, 1])
    1
    """
    faster = [before >= NOTHING * after for before, after in itertools.pairwise(times)]
    return faster.index(False) if False in faster else len(faster)


# --- measuring --------------------------------------------------------------------------------------------------------

class Silent(Communicator):
    """One rank of two, that gets no answer: it computes its rows, and notes the floats of each message."""

    def __init__(self) -> None:
        self.size, self.messages = 2, list[int]()

    def sum(self, array: Any) -> Any:
        self.messages.append(array.nbytes // 4)
        return array

    def gather(self, value: Any) -> list[Any]:
        return [value, value]


class Delayed(MPI):
    """Ranks that sleep before each sum, and note how long."""

    delay = 0.0

    def sum(self, array: Any) -> Any:
        if self.delay:
            start = time.perf_counter()
            time.sleep(self.delay / 1000)
            self.slept.append(1000 * (time.perf_counter() - start))
        return super().sum(array)

    def reset(self, delay: float) -> None:
        self.delay, self.slept = delay, list[float]()


class Times(tn.callbacks.Callback):
    """The milliseconds of each step, until enough are known."""

    def __init__(self, seconds: float, noted: Callable[[], None] = lambda: None) -> None:
        self.seconds, self.noted, self.steps = seconds, noted, list[float]()

    def on_step(self, run: Any) -> None:
        now = time.perf_counter()
        if run.step > WARM_UP:
            self.steps.append(round(1000 * (now - self.last), 4))
        else:
            self.first = now
        if len(self.steps) >= LEAST and now - self.first > self.seconds:
            run.stop("enough")
        self.noted()
        self.last = time.perf_counter()


def steps_of(model: str, batch: int, ranks: Communicator, seconds: float,
             noted: Callable[[], None] = lambda: None) -> list[float]:
    """The milliseconds of the steps of `fit` on random images, with one thread."""
    tn.set_threads(1)
    tn.seed(0)
    made = getattr(models, model)()
    images = tn.random.uniform((batch, *made.input_shape), (0, 0), 0).astype("float32")
    labels = np.arange(batch) % 10
    fit.ranks = lambda: ranks
    times = Times(seconds, noted)
    tn.fit(made, tn.optim.Adam(made.parameters()), [(images, labels)] * (WARM_UP + MOST), epochs=1, callbacks=[times],
           show=False)
    return times.steps


def alone(model: str, seconds: float) -> Found:
    """Of a process: the steps of a rank for each number of rows, its messages, and steps without ranks."""
    ranks, compute, messages = Silent(), {}, list[int]()

    def noted() -> None:
        messages[:] = ranks.messages
        ranks.messages.clear()

    for rows in ROWS:
        compute[rows] = steps_of(model, 2 * rows, ranks, seconds, noted)
    single = {batch: statistics.mean(steps_of(model, batch, Communicator(), seconds)) for batch in BATCHES}
    return {"compute": compute, "messages": messages, "single": single}


def together(names: list[str], seconds: float) -> Found:
    """Of two ranks: the time of sums, and of steps with each delay."""
    ranks = Delayed()
    sums, pairs = {}, {name: list[Found]() for name in names}
    ranks.reset(0.0)
    for floats in FLOATS:
        array, times = np.zeros(floats, "float32"), []
        for _ in range(60):
            start = time.perf_counter()
            ranks.sum(array)
            times.append(1000 * (time.perf_counter() - start))
        sums[floats] = round(statistics.median(times[10:]), 4)
    for name, batch, delay in itertools.product(names, BATCHES, DELAYS):
        ranks.reset(delay)
        steps = steps_of(name, batch, ranks, seconds)
        pairs[name].append({"batch": batch, "delay": delay, "step": statistics.mean(steps),
                            "slept": statistics.mean(ranks.slept) if delay else 0.0})
    return {"sums": sums, "pairs": pairs}


def started(ranks: int, *arguments: object) -> Any:
    """What a worker prints, with some ranks or as one process."""
    return json.loads(printed_by("benchmarks.scale", ranks, *arguments))


def measure(names: list[str], seconds: float) -> Found:
    """All measurements, as the file holds them."""
    found = {"machine": describe(), **commit(), "models": {}}  # its load is that before
    several = started(2, "_together", seconds, *names)
    found["sums"] = several["sums"]
    for name in names:
        found["models"][name] = {**started(1, "_alone", seconds, name), "pairs": several["pairs"][name]}
    return found


# --- the tables -------------------------------------------------------------------------------------------------------

def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def checks(found: Found) -> str:
    """Measured steps of 1 and 2 ranks, beside those of the model."""
    rows = []
    for name, one in found["models"].items():
        for batch in BATCHES:
            measured, expected = one["single"][str(batch)], step(found, name, 1, batch)
            rows.append([f"`{name}`", str(batch), "1", "", f"{measured:.1f}", f"{expected:.1f}",
                         f"{expected / measured:.2f}"])
            for pair in (pair for pair in one["pairs"] if pair["batch"] == batch):
                expected = step(found, name, 2, batch, pair["slept"])
                rows.append([f"`{name}`", str(batch), "2", f"{pair['delay']:g}", f"{pair['step']:.1f}",
                             f"{expected:.1f}", f"{expected / pair['step']:.2f}"])
    return table(["model", "batch", "ranks", "delay, ms", "measured, ms", "by (1), ms", "ratio"], rows)


def parts(found: Found) -> str:
    """The parts of a step: rows, floats, and what late ranks add."""
    rows = []
    for name, one in found["models"].items():
        floats = one["messages"]
        rows.append([f"`{name}`", *(f"{compute(one, count):.1f}" for count in (1, 8, 64, 512)),
                     f"{len(floats)}", f"{sum(floats):,}", f"{sum(add_up(found['sums'], f, 2) for f in floats):.2f}",
                     *(f"{compute(one, 8, ranks) - compute(one, 8):.1f}" for ranks in (16, 1024))])
    return table(["model", "1 row, ms", "8 rows", "64 rows", "512 rows", "messages", "floats", "sums of 2 ranks, ms",
                  "late, 16 ranks", "late, 1,024 ranks"], rows)


def speedups(found: Found, name: str) -> str:
    """How many times as fast as one rank, for batches of fixed size, and the images per second of one that grows."""
    rows = []
    cases = [(batch, delay) for batch in (*BATCHES, None) for delay in DELAYS[:3]]
    for ranks in RANKS:
        row = [f"{ranks:,}"]
        for batch, delay in cases:
            if batch and ranks > batch:
                row.append("")
                continue
            gain = (step(found, name, 1, batch) / step(found, name, ranks, batch, delay) if batch else
                    ranks * step(found, name, 1, GROWING) / step(found, name, ranks, GROWING * ranks, delay))
            row.append(f"{gain:.1f}" if gain < 10 else f"{gain:.0f}")
        rows.append(row)
    return table(["ranks", *(f"{batch or f'{GROWING} each'}, {delay:g} ms" for batch, delay in cases)], rows)


def limits(found: Found) -> str:
    """The last doubling of ranks that makes a step shorter by a tenth, and the speed-up there."""
    rows = []
    for name, batch in itertools.product(found["models"], BATCHES):
        row = [f"`{name}`", str(batch)]
        for delay in DELAYS:
            times = [step(found, name, ranks, batch, delay) for ranks in RANKS if ranks <= batch]
            last = useful(times)
            row.append(f"{RANKS[last]} ({times[0] / times[last]:.1f})")
        rows.append(row)
    return table(["model", "batch", *(f"{delay:g} ms" for delay in DELAYS)], rows)


def whole_runs(found: Found, delay: float = 0.1) -> str:
    """How many times as fast as one rank a whole run is, if the batch grows with the ranks."""
    rows = []
    for ranks in RANKS:
        row = [f"{ranks:,}", f"{GROWING * ranks:,}"]
        for name, noise in itertools.product(found["models"], NOISE_SCALES):
            one, many = ((1 + noise / (GROWING * r)) * step(found, name, r, GROWING * r, d)
                         for r, d in ((1, 0.0), (ranks, delay)))
            row.append(f"{one / many:.1f}")
        rows.append(row)
    return table(["ranks", "batch", *(f"`{name}`, {noise:,}" for name, noise in
                                      itertools.product(found["models"], NOISE_SCALES))], rows)


def tables(found: Found) -> dict[str, str]:
    """The tables of docs/scale.md by their names, and the machine."""
    machine, state = found["machine"], found["commit"] or "unknown"
    about = (f"Measured on {machine['cpu']}, {machine['cores']} cores, load {machine['load'][0]:g}, commit "
             f"{state[:7]}.")
    if machine["load"][0] > BUSY * machine["cores"]:
        about += " **The machine was busy with other work: these numbers are preliminary.**"
    return {"machine": about, "parts": parts(found), "checks": checks(found), "limits": limits(found),
            "whole runs": whole_runs(found), **{name: speedups(found, name) for name in found["models"]}}


def with_tables(page: str, found: Found) -> str:
    """The page with these tables, each between two comments of its name."""
    for name, text in tables(found).items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        if not rest:
            raise ValueError(f"docs/scale.md has no place for {name}: {begin!r}")
        page = f"{before}{begin}\n{text}\n\n{end}{rest.partition(end)[2]}"
    return page


def main(arguments: list[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["_alone"]:
        say(json.dumps(alone(given[2], float(given[1]))))
        return 0
    if given[:1] == ["_together"]:
        say(json.dumps(together(given[2:], float(given[1]))))  # of rank 0 alone
        return 0
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("work", choices=["measure", "page"], help="measure the parts of a step, or write the page")
    parser.add_argument("--models", nargs="+", default=["lstm_cnn", "deep_lstm_cnn"],
                        help="models (default: lstm_cnn deep_lstm_cnn)")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each number of rows (default: 1)")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"file of the parts (default: {RESULTS.name})")
    options = parser.parse_args(given)
    if options.work == "measure":
        options.out.write_text(json_text(measure(options.models, options.seconds)) + "\n", encoding="utf-8")
    else:
        page = with_tables(PAGE.read_text("utf-8"), json.loads(options.out.read_text("utf-8")))
        PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
