"""The step whose kernels are compiled ahead, see `backend/cpu/runtime/assistant.py`."""

import warnings

import numpy as np

from tinynet.models import lstm_cnn
from tinynet.ops import cross_entropy
from tinynet.optim import Adam
from tinynet.tensor import Tensor


def first_step() -> None:
    """Make a training step of the LSTM-CNN with a batch of 128. Its values are not used, and may be arbitrary."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        model = lstm_cnn()
        optimizer = Adam(model.parameters())
        x, labels = np.zeros((128, 28, 28, 1), "float32"), np.zeros(128, "int64")
        cross_entropy(model(Tensor(x)), Tensor(labels)).backward()
        optimizer.step()
