"""Files that an earlier version wrote: a saved model, a checkpoint in the middle of an epoch, a state dictionary.

    python -m tests.saving.test_old_files FOLDER

writes them with the code of today. What is committed in `golden/version_0_1` was written by version 0.1.0, and stays.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn

FILES = Path(__file__).resolve().parents[1] / "golden" / "version_0_1"
NUMBERS = np.random.Generator(np.random.PCG64(7))
IMAGES, LABELS = NUMBERS.uniform(0, 1, (40, 12, 10, 1)).astype("float32"), np.arange(40) % 3
STOPPED_AT = 13  # of 3 * 5 steps: in the middle of the last epoch
ROUNDING = ("0.b", "1.running_mean")  # the gradient of a bias before BatchNorm is rounding, and AdamW steps along it


class Copy(tn.callbacks.Callback):
    """Copy the checkpoint of a step, as a kill there would leave it."""

    def __init__(self, checkpoint: Path, copy: Path | None = None) -> None:
        self.checkpoint, self.copy = checkpoint, copy

    def on_step(self, run: tn.callbacks.Run) -> None:
        if self.copy is not None and run.step == STOPPED_AT:
            shutil.copy(self.checkpoint, self.copy)


def new_model() -> Any:
    tn.seed(4)
    return tn.nn.Sequential(
        tn.nn.Conv2D(1, 4, 3, padding="same"), tn.nn.BatchNorm(4), tn.nn.ReLU(), tn.nn.MaxPool2D(2),
        tn.nn.Reshape((6, 20)), tn.nn.LSTM(20, 8, dropout=0.1, recurrent_dropout=0.1), tn.nn.Dropout(0.2),
        tn.nn.Conv1D(8, 6, 3), tn.nn.Flatten(), tn.nn.Dense(24, 3), input_shape=(12, 10, 1))


def train(checkpoint: Path, resume: bool = False, copy: Path | None = None) -> Any:
    model = new_model()
    optimizer = tn.optim.AdamW(model.parameters(), lr=0.01)
    loader = tn.data.Loader(IMAGES, LABELS, batch_size=8, shuffle=True)
    with tn.using("reference"):
        tn.fit(model, optimizer, loader, epochs=3, schedule=tn.optim.OneCycle(optimizer, peak=0.02, steps=15),
               checkpoint=checkpoint, checkpoint_seconds=0, callbacks=[Copy(checkpoint, copy)], resume=resume,
               show=False)
    return model


def predictions(model: Any) -> np.ndarray:
    return tn.predict(model, IMAGES[:8])


def close(found: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.allclose(found, expected, rtol=0, atol=1e-5 * max(1.0, float(np.abs(expected).max()))))


def test_a_saved_model_gives_what_it_gave() -> None:
    model = tn.load(FILES / "model.safetensors")
    assert model.classes == ("none", "left", "right")
    assert close(predictions(model), np.load(FILES / "predictions.npy"))


def test_a_state_dictionary_gives_what_it_gave() -> None:
    with np.load(FILES / "state.npz") as state:
        model = new_model().load_state_dict(dict(state))
    assert close(predictions(model), np.load(FILES / "predictions.npy"))


def test_a_checkpoint_in_the_middle_of_an_epoch_goes_on(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    shutil.copy(FILES / "checkpoint.safetensors", checkpoint)
    with pytest.warns(UserWarning, match="has no fingerprint of its data and loss, as earlier versions wrote it"):
        model = train(checkpoint, resume=True)
    found, expected = model.state_dict(), tn.load(FILES / "model.safetensors").state_dict()
    assert [name for name in expected if not close(found[name], expected[name]) and name not in ROUNDING] == []
    model.load_state_dict({**found, **{name: expected[name] for name in ROUNDING}})
    assert close(predictions(model), np.load(FILES / "predictions.npy"))


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    running = folder / "running.safetensors"
    model = train(running, copy=folder / "checkpoint.safetensors")
    running.unlink()
    model.classes = ("none", "left", "right")
    tn.save(folder / "model.safetensors", model)
    np.savez_compressed(folder / "state.npz", **model.state_dict())
    np.save(folder / "predictions.npy", predictions(model))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
