"""Write keras.safetensors: what Keras computes with masks, for machines where it is not installed.

    pip install keras==3.15.1 torch==2.13.0
    KERAS_BACKEND=torch PYTHONPATH=.:tests python tests/golden/make_keras.py

For each pair of `tests/support/keras_sequences.py`: the weights, `NAME/weights/NUMBER/PATH` in Keras's order, and the
outputs for each mask, `NAME/outputs/MASK`.
"""

from pathlib import Path

import keras
import numpy as np
from safetensors.numpy import save_file

from tests.support import keras_sequences

PATH = Path(__file__).with_name("keras.safetensors")


def main() -> None:
    arrays: dict[str, np.ndarray] = {}
    for name in keras_sequences.PAIRS:
        weights, outputs = keras_sequences.their_outputs(keras, name)
        arrays.update({f"{name}/weights/{i:02}/{path}": array for i, (path, array) in enumerate(weights.items())})
        arrays.update({f"{name}/outputs/{mask}": array for mask, array in outputs.items()})
    save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, PATH,
              {"made by": f"Keras {keras.__version__}"})
    print(f"{PATH}: {len(arrays)} arrays, {PATH.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
