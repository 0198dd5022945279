"""Writes exchange.safetensors: models of PyTorch's and what they compute, for machines where it is not installed.

    pip install torch==2.13.0
    PYTHONPATH=.:tests python tests/golden/make_exchange.py

For each model of `tests/exchange_models.py` its state_dict, `NAME/KEY` with the order of the keys in the metadata, and
its outputs, `NAME outputs`, for `exchange_models.inputs`; all in float64.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from tests.support import exchange_models, exchange_torch

PATH = Path(__file__).with_name("exchange.safetensors")


def main() -> None:
    torch.set_num_threads(1)
    arrays, orders = {}, {}
    for name, ours in exchange_models.MODELS.items():
        theirs = exchange_torch.make(name)
        state = {key: np.ascontiguousarray(value.numpy()) for key, value in theirs.state_dict().items()}
        orders[name] = list(state)
        arrays.update({f"{name}/{key}": array.reshape(theirs.state_dict()[key].shape) for key, array in state.items()})
        arrays[f"{name} outputs"] = exchange_torch.outputs(theirs, exchange_models.inputs(ours()))
    made = f"PyTorch {torch.__version__.partition('+')[0]}"
    save_file(arrays, PATH, {"description": json.dumps({"made by": made, "orders": orders})})
    print(f"{PATH}: {len(arrays)} arrays, {PATH.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
