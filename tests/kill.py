"""Kill a training at random points, resume it, and compare with one that was never stopped.

    python -m tests.kill --points 50 --saves 300

--points   the number of runs to kill (SIGKILL) at a random moment, half of them a second time after a resume, and to
           resume until their end. Weights, the best model, both logs and the history must be those of an uninterrupted
           run, bit for bit; only the times may differ.
--saves    the number of processes to kill at random moments while they write checkpoints in a loop. One more is killed
           at each line of the function that writes. Each time the file must be there, whole, and not older than the
           last one known to be written.

`--reference` runs on NumPy alone, which starts faster. The exit code is 0 if all were equal.
"""

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import tinynet as tn
from tinynet import atomic
from tinynet.training import checkpoint

ROOT = Path(__file__).resolve().parents[1]
EPOCHS, BATCHES = 3, 8
STEPS = EPOCHS * BATCHES
TIMES = ("seconds", "images_per_second")


class Say(tn.callbacks.Callback):
    """Print a line for each step, which tells the parent where the run is; or kill the process after a given step."""

    def __init__(self, kill_at: int | None) -> None:
        self._kill_at = kill_at

    def on_step(self, run: tn.callbacks.Run) -> None:
        if run.step == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        print("step", run.step, flush=True)


def train(folder: Path, resume: bool, seconds: float = 0.02, kill_at: int | None = None) -> None:
    """A small training that uses everything with state in a checkpoint."""
    tn.seed(3)
    numbers = np.random.default_rng(0)
    images, labels = numbers.uniform(0, 1, (100, 6, 4, 1)).astype("float32"), numbers.integers(0, 3, 100)
    model = tn.nn.Sequential(
        tn.nn.BatchNorm(1), tn.nn.Reshape((6, 4)), tn.nn.LSTM(4, 16, dropout=0.1, recurrent_dropout=0.1),
        tn.nn.Dropout(0.2), tn.nn.Conv1D(16, 8, 3), tn.nn.BatchNorm(8), tn.nn.ReLU(), tn.nn.Dropout(0.2),
        tn.nn.Flatten(), tn.nn.Dense(32, 3))
    optimizer = tn.optim.AdamW(model.parameters())
    tn.fit(model, optimizer, tn.data.Loader(images[:60], labels[:60], batch_size=8, shuffle=True), epochs=EPOCHS,
           validation=tn.data.Loader(images[60:], labels[60:], batch_size=7, shuffle=True),
           schedule=tn.optim.OneCycle(optimizer, peak=0.02, steps=STEPS), max_norm=1.0, show=False,
           callbacks=[tn.callbacks.EarlyStopping(patience=2), tn.callbacks.Log(folder / "log.csv"),
                      tn.callbacks.Log(folder / "log.jsonl"),
                      tn.callbacks.BestModel(folder / "best.safetensors"), Say(kill_at)],
           checkpoint=folder / "checkpoint.safetensors", resume=resume, checkpoint_seconds=seconds)
    tn.save(folder / "model.safetensors", model)


def start(folder: Path, *more: str, resume: bool = False, **options: Any) -> subprocess.Popen[str]:
    """The training in a process of its own."""
    command = [sys.executable, "-m", "tests.kill", "--train", str(folder), *["--resume"] * resume, *more]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, **options)


def outcome(folder: Path) -> dict[str, Any]:
    """The results of a training, without the times."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    with (folder / "log.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    with_checkpoint = checkpoint_arrays(folder / "checkpoint.safetensors")
    return {**{name: (folder / name).read_bytes() for name in ("model.safetensors", "best.safetensors")},
            "checkpoint": {name: array.tobytes() for name, array in with_checkpoint.items()},
            "log.jsonl": [{name: value for name, value in row.items() if name not in TIMES} for row in rows],
            "log.csv": [{name: value for name, value in row.items() if name not in TIMES} for row in table]}


def checkpoint_arrays(path: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(path)


def kill_runs(points: int, dice: random.Random, folder: Path, *more: str) -> bool:
    """Kill and resume, `points` times."""
    expected = folder / "uninterrupted"
    expected.mkdir()
    assert start(expected, *more).wait() == 0
    reference, kills, equal = outcome(expected), 0, 0
    for point in range(points):
        here = folder / f"point{point}"
        here.mkdir()
        begun, resume = 0, False
        for _ in range(dice.randint(1, 2)):
            process = start(here, *more, resume=resume)
            assert process.stdout is not None
            stop = dice.randint(begun, STEPS)  # a step, and a moment after it: in a step, a validation, a save
            while (line := process.stdout.readline()) and int(line.split()[1]) < stop:
                pass
            time.sleep(dice.uniform(0, 0.03))
            process.kill()
            process.stdout.close()
            kills += process.wait() == -signal.SIGKILL
            begun, resume = stop, True
        last = start(here, *more, resume=True)
        last.communicate()
        same = last.returncode == 0 and outcome(here) == reference
        equal += same
        if not same:
            print(f"point {point}: differs (exit code {last.returncode}), in {here}", flush=True)
    print(f"{equal} of {points} runs, killed {kills} times at random points, ended like the uninterrupted one")
    return equal == points


def numbered(step: int) -> checkpoint.State:
    """A state whose numbers all tell the step in which it was written."""
    return checkpoint.State({f"model/{i}": np.full(40_000, step, "float32") for i in range(5)},
                            {"settings": {}, "step": step})


def written(path: Path) -> int:
    """The number of the state in a file. Raises CheckpointError if the file is not whole."""
    state = checkpoint.read(path, like=numbered(0))
    step = state.facts["step"]
    assert all((array == step).all() for array in state.arrays.values())
    return int(step)


def killed(work: Callable[[], None], after: float | None = None) -> None:
    """Run `work` in a child process, which is killed after some seconds or kills itself."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def kill_saves(count: int, dice: random.Random, folder: Path) -> bool:
    """Kill processes that write checkpoints, and read the file each time."""
    path = folder / "checkpoint.safetensors"
    known = folder / "known"  # the number of the last state that is known to be written
    checkpoint.write(path, numbered(1))
    known.write_text("1")

    def save_on() -> None:
        step = written(path)
        while True:
            step += 1
            checkpoint.write(path, numbered(step))
            with known.open("r+") as file:
                file.write(str(step))

    def die_at_line(line: int) -> Callable[[], None]:
        def work() -> None:
            left = line

            def trace(frame: FrameType, event: str, _: Any) -> Any:
                nonlocal left
                if frame.f_code is not atomic._write.__code__:
                    return None
                left -= event == "line"
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return trace
            sys.settrace(trace)
            checkpoint.write(path, numbered(written(path) + 1))
        return work

    saved, parts, lines = set(), 0, 30
    for number in range(count + lines):
        if number < count:
            killed(save_on, after=dice.uniform(0, 0.03))
        else:
            killed(die_at_line(number - count))
        step = written(path)
        assert step >= int(known.read_text()), f"checkpoint {step} is older than one that was written"
        saved.add(step)
        parts += len(list(folder.glob("*.part")) + list(folder.glob(".*.part")))
        atomic.remove_parts(path)
    print(f"{count} kills at random moments and {lines} at lines of write_whole left a whole checkpoint each time; "
          f"{max(saved)} were written, {parts} were cut off half-way")
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--points", type=int, default=0, help="runs to be killed and resumed")
    parser.add_argument("--saves", type=int, default=0, help="processes to be killed while they write checkpoints")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills (default: 0)")
    parser.add_argument("--reference", action="store_true", help="run on NumPy alone")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--resume", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--kill-at", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tn.using("reference" if options.reference else "fast"):
        if options.train:
            train(options.train, options.resume, kill_at=options.kill_at)
            return 0
    with tempfile.TemporaryDirectory() as name:
        folder, dice = Path(name), random.Random(options.seed)
        good = [kill_saves(options.saves, dice, folder)] if options.saves else []
        if options.points:
            good.append(kill_runs(options.points, dice, folder, *["--reference"] * options.reference))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
