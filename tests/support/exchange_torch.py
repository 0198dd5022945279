"""The models of `exchange_models.py` in PyTorch, in its own layout: channels first."""

from typing import Any

import numpy as np
import torch
from torch import nn

from tests.support.exchange_models import CLASSES, COLUMNS, ROWS


class LSTMCNN(nn.Module):
    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.lstm = nn.LSTM(COLUMNS * channels, 7, batch_first=True)
        self.features = nn.Sequential(nn.Dropout(0.2), nn.Conv1d(7, 3, 3), nn.ReLU(), nn.Dropout(0.2), nn.Flatten())
        self.classes = nn.Linear(6 * 3, CLASSES)

    def forward(self, x: Any) -> Any:  # (N,C,H,W)
        x = self.norm(x).permute(0, 2, 3, 1).flatten(2)
        y, _ = self.lstm(x)
        return self.classes(self.features(y.transpose(1, 2)))


class CNN(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 4, (3, 2), padding="same"), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(4, 5, 2, bias=False), nn.ReLU(), nn.Flatten(), nn.BatchNorm1d(3 * 2 * 5),
            nn.Linear(3 * 2 * 5, 6), nn.ReLU(), nn.Linear(6, CLASSES))


class CNNLSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(1, 4, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2))
        self.rnn = nn.LSTM(12, 5, num_layers=2, batch_first=True)
        self.out = nn.Linear(5, CLASSES)

    def forward(self, x: Any) -> Any:
        x = self.block(x).permute(0, 2, 3, 1).flatten(2)  # (N,H',W' C)
        return self.out(self.rnn(x)[0][:, -1])


class LSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(COLUMNS, 7, batch_first=True)
        self.out = nn.Linear(ROWS * 7, CLASSES)

    def forward(self, x: Any) -> Any:
        return self.out(self.lstm(x)[0].flatten(1))


THEIRS: dict[str, Any] = {"lstm_cnn": LSTMCNN, "cnn": CNN, "cnn_lstm": CNNLSTM, "lstm": LSTM}


def make(name: str, seed: int = 0) -> Any:
    """A model with other numbers than those of a new one, in evaluation mode and float64."""
    torch.manual_seed(seed)
    model = THEIRS[name]().double().eval()
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            value.normal_(0, 0.5)
            if "running_var" in key:
                value.abs_().add_(0.5)
        else:
            value.fill_(3)  # num_batches_tracked
    return model


def outputs(model: Any, x: np.ndarray) -> np.ndarray:
    """The outputs of a model for inputs in the layout of tinynet."""
    given = torch.tensor(x)
    with torch.no_grad():
        return model(given.movedim(-1, 1) if given.ndim == 4 else given).numpy()
