"""Models with a counterpart in PyTorch or Keras, written in the usual way of that framework."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet import nn

ROWS, COLUMNS, CLASSES, BATCH = 8, 6, 4, 5


def lstm_cnn(channels: int = 1) -> nn.Sequential:
    """A small LSTM-CNN: an LSTM over rows, and a convolution over its outputs."""
    return nn.Sequential(
        nn.BatchNorm(channels), nn.Reshape((ROWS, COLUMNS * channels)), nn.LSTM(COLUMNS * channels, 7), nn.Dropout(0.2),
        nn.Conv1D(7, 3, 3), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Dense(6 * 3, CLASSES),
        input_shape=(ROWS, COLUMNS, channels))


def cnn() -> nn.Sequential:
    """Two convolutions with batch normalisation, a Flatten of channels, one more normalisation after it."""
    return nn.Sequential(
        nn.Conv2D(3, 4, (3, 2), padding="same"), nn.BatchNorm(4), nn.ReLU(), nn.MaxPool2D(2),
        nn.Conv2D(4, 5, 2, bias=False), nn.ReLU(), nn.Flatten(), nn.BatchNorm(3 * 2 * 5), nn.Dense(3 * 2 * 5, 6),
        nn.ReLU(), nn.Dense(6, CLASSES), input_shape=(ROWS, COLUMNS, 3))


def cnn_lstm() -> nn.Sequential:
    """A convolution, and two LSTMs that read its rows."""
    return nn.Sequential(
        nn.Conv2D(1, 4, 3, padding="same"), nn.ReLU(), nn.MaxPool2D(2), nn.Reshape((4, 3 * 4)), nn.LSTM(12, 5),
        nn.LSTM(5, 5, return_sequences=False), nn.Dense(5, CLASSES), input_shape=(ROWS, COLUMNS, 1))


def lstm() -> nn.Sequential:
    """An LSTM, and the classes from all its outputs."""
    return nn.Sequential(nn.LSTM(COLUMNS, 7), nn.Flatten(), nn.Dense(ROWS * 7, CLASSES), input_shape=(ROWS, COLUMNS))


MODELS: dict[str, Callable[[], nn.Sequential]] = {"lstm_cnn": lstm_cnn, "cnn": cnn, "cnn_lstm": cnn_lstm, "lstm": lstm}


def spread(model: Any, seed: int = 1) -> Any:
    """Set other numbers than those of a new model: no bias is 0, no average 0 or 1."""
    rng = np.random.default_rng(seed)
    state = {name: rng.normal(0, 0.5, array.shape).astype(array.dtype) if array.dtype.kind == "f" else array
             for name, array in model.state_dict().items()}
    state.update({name: abs(array) + 0.5 for name, array in state.items() if name.endswith("running_var")})
    state.update({name: array + 1 for name, array in state.items() if name.endswith("batches_seen")})
    return model.load_state_dict(state).eval()


def inputs(model: Any) -> np.ndarray:
    return np.random.default_rng(2).normal(0, 1, (BATCH, *model.input_shape))
