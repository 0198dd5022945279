"""What the tests of jobs start in each rank.

    mpiexec -n 2 python -m tests.support.job exact FILE MODEL ...       30 steps with Adam; rank 0 writes the weights
    mpiexec -n 2 python -m tests.support.job run FOLDER FATE [resume]   a small training; FATE says what rank 1 does
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import tinynet as tn
from tinynet import models, nn
from tinynet.distributed import world

ARGUMENTS: dict[str, dict[str, int]] = {"pneumonia_cnn_lstm": {"size": 56}}
BATCH = {"lstm_cnn": 67, "cnn": 67}
FATAL = 11  # the step before which rank 1 meets its fate


def exact(names: list[str], threads: int | None = None) -> dict[str, Any]:
    """The weights of models after 30 steps with Adam, of batches of an odd size, and how often these were right."""
    if threads:
        tn.set_threads(threads)
    found: dict[str, Any] = {}
    for name in names:
        rng, size = np.random.default_rng(0), BATCH.get(name, 9)
        tn.seed(3)
        model = getattr(models, name)(**ARGUMENTS.get(name, {}))
        classes = model(tn.Tensor(np.zeros((2, *model.input_shape), "float32"))).shape[-1]
        tn.seed(3)
        labels = rng.integers(0, classes, 15 * size)
        typical = rng.random((classes, *model.input_shape), "float32")
        images = typical[labels] * 0.7 + rng.random((len(labels), *model.input_shape), "float32") * 0.3
        batches = tn.data.Loader(images, labels, batch_size=size, shuffle=True, seed=5)
        optimizer = tn.optim.Adam(model.parameters(), eps=1e-3)  # else it moves gradients that are rounding, too
        history = tn.fit(model, optimizer, batches, epochs=2, show=False)
        assert optimizer.steps == 30
        found |= {f"{name}/{key}": array for key, array in model.state_dict().items()}
        found[f"right/{name}"] = np.array([row["train_accuracy"] for row in history])
    return found


class Fate(tn.callbacks.Callback):
    """Note each step, slowly, and let rank 1 meet its fate."""

    def __init__(self, folder: Path, fate: str) -> None:
        self._folder, self._fate = folder, fate

    def on_step(self, run: Any) -> None:
        (self._folder / f"step{run.ranks.rank}").write_text(str(run.step))
        time.sleep(0.02 if self._fate == "signal" else 0)
        if self._fate == "killed at random" or run.ranks.rank != 1 or run.step != FATAL:
            return
        if self._fate == "raises":
            raise ValueError("the image is damaged")
        if self._fate == "exits":
            sys.exit(3)
        if self._fate == "stalls":
            time.sleep(100)
        if self._fate == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)


def run(folder: Path, fate: str, resume: bool = False, epochs: int = 4) -> tuple[Any, Any]:
    """A small training with all that a checkpoint holds, saved after each step."""
    rng = np.random.default_rng(0)
    images, labels = rng.random((80, 6, 4), "float32"), rng.integers(0, 3, 80)
    tn.seed(1)
    model = nn.Sequential(nn.BatchNorm(4), nn.LSTM(4, 5, dropout=0.1, return_sequences=False), nn.Dropout(0.2),
                          nn.Dense(5, 3))
    batches = tn.data.Loader(images, labels, batch_size=16, shuffle=True)
    optimizer = tn.optim.Adam(model.parameters(), lr=0.02)
    history = tn.fit(model, optimizer, batches, epochs=4 if fate != "signal" else 400, checkpoint=folder / "run.ckpt",
                     resume=resume, checkpoint_seconds=0.0, callbacks=[Fate(folder, fate)], max_norm=1.0,
                     validation=tn.data.Loader(images[:20], labels[:20], batch_size=8))
    return model.state_dict(), history


def main() -> None:
    command, place, *others = sys.argv[1:]
    rank = world().rank
    if command == "exact":
        found = exact(others)
        if rank == 0:
            np.savez(place, **found, threads=tn.threads())
        return
    state, history = run(Path(place), others[0], "resume" in others)
    if rank == 0:
        np.savez(Path(place) / "end.npz", **state)
        (Path(place) / "history.json").write_text(json.dumps(history))


if __name__ == "__main__":
    main()
