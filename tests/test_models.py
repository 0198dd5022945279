"""The models of the paper: their layers, and the numbers of parameters that their texts say."""

import re
from typing import Any

import pytest

import tinynet as tn

BLOCK = "LSTM Dropout Conv1D ReLU Dropout"
POOL = "Conv2D ReLU MaxPool2D"
LAYERS = {
    "lstm_cnn": f"BatchNorm Reshape {BLOCK} Flatten Dense",
    "cnn_lstm": f"BatchNorm {POOL} Dropout Reshape LSTM Dropout Dense",
    "lstm": "BatchNorm Reshape LSTM Dropout Flatten Dense",
    "cnn": f"BatchNorm {POOL} {POOL} Dropout Flatten Dense ReLU Dropout Dense",
    "deep_lstm_cnn": f"BatchNorm Reshape {BLOCK} {BLOCK} {BLOCK} Flatten Dense",
    "idc_lstm_cnn": f"BatchNorm Reshape {BLOCK} Flatten Dense",
    "idc_lstm": "BatchNorm Reshape LSTM Dropout Flatten Dense",
    "idc_cnn": f"BatchNorm {POOL} {POOL} {POOL} Dropout Flatten Dense ReLU Dropout Dense",
    "pneumonia_cnn_lstm": f"{POOL} {POOL} {POOL} {POOL} Reshape Dropout LSTM Dropout Dense",
}


def parameters(model: tn.nn.Module) -> int:
    return sum(parameter.size for parameter in model.parameters())


@pytest.mark.parametrize("name", LAYERS)
def test_layers_and_parameters_are_those_of_the_text(name: str) -> None:
    make: Any = getattr(tn.models, name)
    model = make()
    assert " ".join(type(layer).__name__ for layer in model) == LAYERS[name]
    assert f"{parameters(model):,}" == re.search(r"([\d,]+) parameters", make.__doc__)[1]  # type: ignore[index]
    assert {layer.p for layer in model if isinstance(layer, tn.nn.Dropout)} == {0.2}
    assert {str(layer.size) for layer in model if isinstance(layer, tn.nn.MaxPool2D)} <= {"2", "(2, 2)"}
    kernels = {layer.W.shape[:-2] for layer in model if isinstance(layer, tn.nn.Conv1D | tn.nn.Conv2D)}
    assert kernels <= {(3,), (3, 3)}


@pytest.mark.parametrize("name", LAYERS)
def test_each_takes_its_images_and_gives_the_classes_asked_for(name: str) -> None:
    assert "(N, 7)" in getattr(tn.models, name)(classes=7).summary().splitlines()[-2]


@pytest.mark.parametrize(("shape", "filters", "features"), [
    ((28, 28, 1), [16], 14 * 16),
    ((16, 200, 3), [16, 32, 64, 64], 12 * 64),  # 200, 100, 50, 25, 12 columns
    ((1024, 900, 3), [16, 32, 64, 64, 64, 64], 14 * 64),  # no more than six poolings
])
def test_the_model_for_any_size_counts_what_its_layers_have(shape: tuple[int, int, int], filters: list[int],
                                                           features: int) -> None:
    model: Any = tn.models.image_cnn_lstm(*shape, 5)
    inputs = [shape[2], *filters]
    convolutions = sum(9 * C * F + F + 2 * F for C, F in zip(inputs, filters, strict=False))  # with gamma and beta
    assert parameters(model) == convolutions + 4 * 64 * (features + 64 + 1) + 64 * 5 + 5
    assert [layer.p for layer in model if isinstance(layer, tn.nn.Dropout)] == [0.2, 0.2]
    assert model.input_shape == shape
