"""Train every model of `examples/models.py` with another commit and with the working tree, and compare the bits.

    python -m tests.same_bits COMMIT [--models lstm_cnn cnn] [--settings cpu-1 reference]

COMMIT      a commit, or a folder with a checkout of one
--models    names of functions of `examples/models.py`; all by default
--settings  cpu-1 and cpu-2 (threads), reference, gpu-emulated; all by default

Each model makes 20 steps of `fit` on batches of 4 random images (the X-ray model at 56 x 56), and then predicts.
Weights, optimizer state, losses and predictions must be equal bit for bit. Nothing is stored: bits depend on the
processor and on the versions of NumPy and Numba. The exit code is 0 if everything is equal.
"""

import argparse
import importlib.util
import inspect
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = ("cpu-1", "cpu-2", "reference", "gpu-emulated")
EPOCHS, BATCHES, BATCH_SIZE = 2, 10, 4


def models() -> dict[str, tuple[Any, dict[str, int]]]:
    """The functions of `examples/models.py`, with the arguments that keep the images small."""
    import models as room

    own = {name: function for name, function in vars(room).items() if inspect.isfunction(function)}
    arguments = {"pneumonia_cnn_lstm": {"size": 56}, "image_cnn_lstm": {"height": 20, "width": 24, "channels": 3,
                                                                        "classes": 5}}
    return {name: (function, arguments.get(name, {})) for name, function in own.items() if not name.startswith("_")}


def set_threads(count: int) -> None:
    """Choose the number of threads, in commits from before `tn.set_threads` too."""
    import tinynet as tn

    if hasattr(tn, "set_threads"):
        tn.set_threads(count)
        return
    room = "tinynet.backend.cpu" + (".runtime" if importlib.util.find_spec("tinynet.backend.cpu.runtime") else "")
    importlib.import_module(f"{room}.threads").set_threads(count)


def train(setting: str, chosen: list[str]) -> dict[str, np.ndarray]:
    """The outcome of the training of each model, by name."""
    import tinynet as tn

    device, _, threads = setting.partition("-") if setting.startswith("cpu") else (setting, "", "2")
    set_threads(int(threads or 2))
    found: dict[str, np.ndarray] = {}
    for name in chosen:
        function, arguments = models()[name]
        tn.seed(11)
        numbers = np.random.default_rng(5)
        with tn.using("reference" if setting == "reference" else "fast"):
            model = function(**arguments).to("cpu" if setting == "reference" else device)
            classes = int(arguments.get("classes", 2))
            batches = [(numbers.random((BATCH_SIZE, *model.input_shape), "float32"),
                        numbers.integers(0, classes, BATCH_SIZE)) for _ in range(BATCHES)]
            optimizer = tn.optim.AdamW(model.parameters(), lr=1e-3)
            schedule = tn.optim.OneCycle(optimizer, peak=3e-3, steps=EPOCHS * BATCHES)
            history = tn.fit(model, optimizer, batches, epochs=EPOCHS, schedule=schedule, max_norm=1.0, show=False)
            found.update({f"{name}/{key}": value for key, value in model.state_dict().items()})
            found.update({f"{name}/optimizer/{key}": np.asarray(value)
                          for key, value in optimizer.state_dict().items()})
            found[f"{name}/loss"] = np.array([row["train_loss"] for row in history])
            found[f"{name}/predictions"] = tn.predict(model, batches[0][0])
            single = [tn.predict(model, batches[0][0][:1]) for _ in range(3)]  # the third one is launched as recorded
            found[f"{name}/single"] = np.stack(single)
    return found


def outcome(tree: Path, setting: str, chosen: list[str]) -> dict[str, np.ndarray]:
    """What `train` finds in a process of its own, with the code of a checkout."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "outcome.npz"
        code = os.pathsep.join([str(tree), str(tree / "examples")])
        subprocess.run([sys.executable, str(Path(__file__)), "--train", str(file), "--settings", setting,
                        "--models", *chosen], cwd=folder, env={**os.environ, "PYTHONPATH": code}, check=True)
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)


def checkout(commit: str, folder: Path) -> Path:
    """A folder with the code of a commit."""
    if Path(commit).is_dir():
        return Path(commit).resolve()
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder


def differences(old: dict[str, np.ndarray], new: dict[str, np.ndarray]) -> list[str]:
    """The names under which the two hold other bits, and those that one of them lacks."""
    return [name for name in sorted(old.keys() | new.keys())
            if name not in old or name not in new or old[name].dtype != new[name].dtype
            or old[name].shape != new[name].shape or old[name].tobytes() != new[name].tobytes()]


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the bits of a commit with those of the working tree.")
    parser.add_argument("commit", nargs="?")
    parser.add_argument("--models", nargs="+")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=SETTINGS)
    parser.add_argument("--train", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        np.savez(options.train, **train(options.settings[0], options.models))
        return 0
    if options.commit is None:
        parser.error("COMMIT is missing")
    sys.path.insert(0, str(ROOT / "examples"))
    sys.path.insert(0, str(ROOT))
    chosen, failed = options.models or list(models()), False
    with tempfile.TemporaryDirectory() as folder:
        tree = checkout(options.commit, Path(folder))
        for setting in options.settings:
            old, new = (outcome(path, setting, chosen) for path in (tree, ROOT))
            wrong = differences(old, new)
            failed = failed or bool(wrong) or not old
            print(f"{setting}: {len(old)} arrays of {len(chosen)} models, "
                  + (f"{len(wrong)} differ: {', '.join(wrong)}" if wrong else "all equal"), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
