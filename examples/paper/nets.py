"""Networks that are candidates of a selection: variations of `tinynet.models`."""

from typing import Any

import tinynet as tn
from tinynet import nn, ops


class Standardise(nn.Module):
    """Each image minus its mean, divided by its standard deviation. Shapes: x (N, ...) -> the same."""

    def forward(self, x: tn.Tensor) -> tn.Tensor:
        flat = x.reshape(x.shape[0], -1)
        ones = tn.Tensor(tn.init.ones((flat.shape[1],)))
        return ops.layer_norm(flat, ones, ones * 0.0).reshape(*x.shape)


def xray_net(*, size: int, width: float = 1.0, norm: bool = False, dropout: float = 0.2, standard: bool = False
             ) -> nn.Sequential:
    """The CNN + LSTM for X-rays of `size` pixels with other widths; without options, `pneumonia_cnn_lstm`.

    width      times the filters of each convolution
    norm       batch normalisation after each convolution
    dropout    before and after the LSTM
    standard   each image is standardised first
    """
    layers: list[Any] = [Standardise()] if standard else []
    features, rows = 3, size // 16
    for filters in (round(width * one) for one in (16, 32, 64, 64)):
        layers += [nn.Conv2D(features, filters, 3, padding="same"), *([nn.BatchNorm(filters)] if norm else []),
                   nn.ReLU(), nn.MaxPool2D(2)]
        features = filters
    return nn.Sequential(
        *layers, nn.Reshape((rows, rows * features)), nn.Dropout(dropout),
        nn.LSTM(rows * features, 64, return_sequences=False), nn.Dropout(dropout), nn.Dense(64, 2),
        input_shape=(size, size, 3))


def deep_net(*, blocks: int = 3, units: int = 128, filters: int = 64, dropout: float = 0.2, norm: bool = False
             ) -> nn.Sequential:
    """LSTM-CNN blocks for MNIST; without options, `deep_lstm_cnn`.

    norm   batch normalisation after each convolution
    """
    layers: list[Any] = []
    for features in (28, *[filters] * (blocks - 1)):
        layers += [nn.LSTM(features, units), nn.Dropout(dropout), nn.Conv1D(units, filters, 3, padding="same"),
                   *([nn.BatchNorm(filters)] if norm else []), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(nn.BatchNorm(1), nn.Reshape((28, 28)), *layers, nn.Flatten(), nn.Dense(28 * filters, 10),
                         input_shape=(28, 28, 1))
