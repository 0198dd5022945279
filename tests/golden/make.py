"""Writes torch.safetensors: what PyTorch computes, for machines where it is not installed.

    pip install torch==2.13.0
    PYTHONPATH=.:tests python tests/golden/make.py

The file holds, in float64, for each case of `tests/comparison.py` the inputs, the outputs and the gradients by
PyTorch, `NAME/input x`, `NAME/output 0`, `NAME/gradient x`; and for the small LSTM-CNN its parameters to begin with,
the loss and all gradients on one batch, and for each way to train the losses and the parameters after ten steps.
`test_golden.py` compares tinynet with it. To be run again when a case is added: cases that were there before keep their
numbers, but for the last bits where PyTorch or the processor is another one.
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
