"""The processor time that the host needs for work on a GPU, with launches that return at once (cupy_on_cpu/host.py).

Bounds are ratios to CuPy's own launch, or to a loop of plain Python in the same run (about 2 µs). Before this was
measured, in the same unit: a replayed step 80, an eager step of the LSTM-CNN 340 to 400.
"""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.cuda_places import on_cupy

ROOT = Path(__file__).resolve().parents[3]
RAW, REFERENCE = "RawKernel of CuPy, 3 arguments", "reference"
BOUNDS = [("Kernels.launch, 3 arguments", RAW, 2.5), ("a replayed step of fit, lstm_cnn", REFERENCE, 80 / 3),
          ("an eager step, lstm_cnn", REFERENCE, 400 * 0.8)]


@on_cupy
def test_the_host_takes_no_longer_than_it_did() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.support.cupy_on_cpu.host"], cwd=ROOT, capture_output=True,
                          text=True, check=True)
    found = json.loads(done.stdout)
    ratios = {name: (found[name] / found[unit], most) for name, unit, most in BOUNDS}
    assert all(ratio <= most for ratio, most in ratios.values()), (ratios, found)
