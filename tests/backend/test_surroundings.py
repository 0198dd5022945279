"""A training where kernels cannot be compiled or kept: no Numba, NUMBA_DISABLE_JIT, no home and a read-only install."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tinynet as tn

WORK = """
import numpy as np, tinynet as tn
x, y = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 1), dtype=np.uint8), np.arange(12) % 2
model = tn.nn.Sequential(tn.nn.BatchNorm(1), tn.nn.Reshape((8, 8)), tn.nn.LSTM(8, 4), tn.nn.Conv1D(4, 3, 3),
                         tn.nn.ReLU(), tn.nn.MaxPool1D(2), tn.nn.Dropout(0.2), tn.nn.Flatten(), tn.nn.Dense(9, 2))
batches = tn.data.Loader(x, y, batch_size=4, augment=tn.data.Augment(shift=0.1, rotate=5.0, elastic=1.0), threads=1,
                         transform=lambda x, y: (x.astype("float32") / 255, y))
history = tn.fit(model, tn.optim.Adam(model.parameters()), batches, epochs=2, validation=batches, show=False,
                 checkpoint=CHECKPOINT)
assert len(history) == 2 and tn.predict(model, x[:3].astype("float32")).shape == (3, 2)
print(tn.about().kernels)
"""


@pytest.mark.parametrize(("setup", "variables", "kernels"), [
    ("import sys; sys.modules['numba'] = None\n", {}, "there are no kernels: "),
    ("", {"NUMBA_DISABLE_JIT": "1"}, "there are no kernels: NUMBA_DISABLE_JIT is set"),
    ("", {"NUMBA_NUM_THREADS": "0"}, "there are no kernels: Numba cannot be imported (ValueError: Number of threads"),
    ("import os\ndef refuse(*a, **k): raise PermissionError('read-only')\nos.mkdir = refuse\n",
     {"HOME": "/nonexistent"}, "compiled again in each process: "),
])
def test_a_training(tmp_path: Path, setup: str, variables: dict[str, str], kernels: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("XDG_CACHE_HOME",
                                                                                     "NUMBA_CACHE_DIR")}
    code = setup + WORK.replace("CHECKPOINT", repr(str(tmp_path / "c")))
    if "HOME" in variables:  # compiling all kernels anew takes a minute, one op does as well
        code = setup + "import tinynet as tn\ntn.ops.relu(tn.Tensor([1.0]))\nprint(tn.about().kernels)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False,
                          env={**environment, "PYTHONPATH": str(Path(tn.__file__).parents[1]), **variables})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(kernels)
    assert len(set(done.stderr.splitlines())) == len(done.stderr.splitlines()), "each is said once"
    assert not [line for line in done.stderr.splitlines()
                if not line.startswith(("tinynet: compiling kernels for this", "tinynet: there are no kernels, and"))]
