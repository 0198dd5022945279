"""Write torch.safetensors: what PyTorch computes, for machines where it is not installed.

    pip install torch==2.13.0
    PYTHONPATH=.:tests python tests/golden/make.py

The file holds float64 arrays. For each case of `tests/support/comparison.py`: the inputs, outputs and gradients of
PyTorch, `NAME/input x`, `NAME/output 0`, `NAME/gradient x`. For the small LSTM-CNN: initial parameters, the loss and
all gradients on one batch, and for each way to train the losses and the parameters after ten steps. `test_golden.py`
compares tinynet with it. Run this again when a case is added. Old cases keep their numbers, except for the last bits
with another PyTorch or processor.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from tests.support import comparison, torch_side

PATH = Path(__file__).with_name("torch.safetensors")


def main() -> None:
    torch.set_num_threads(1)
    arrays: comparison.Results = {}

    def keep(name: str, results: comparison.Results) -> None:
        arrays.update({f"{name}/{key}": np.ascontiguousarray(array).reshape(array.shape)
                       for key, array in results.items()})

    for name, case in comparison.CASES.items():
        keep(name, {f"input {key}": array for key, array in case.inputs.items()})
        keep(name, torch_side.theirs(*case))
    begin = comparison.start()
    keep("begin", begin)
    keep("model", torch_side.their_gradients(begin))
    for name, run in comparison.RUNS.items():
        keep(f"run {name}", torch_side.their_run(run, begin))
    save_file(arrays, PATH, {"made by": f"PyTorch {torch.__version__.partition('+')[0]}"})
    print(f"{PATH}: {len(arrays)} arrays, {PATH.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
