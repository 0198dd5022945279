"""Layers: parameters, and a call of an op. The math of `nn/lstm.py` is in `ops/lstm.py`, and so on."""

from typing import TYPE_CHECKING

from tinynet.elsewhere import in_modules
from tinynet.nn import profile, summary  # noqa: F401  attaches Module.profile and Module.summary
from tinynet.nn.activation import ReLU, Sigmoid, Softmax, Tanh
from tinynet.nn.batchnorm import BatchNorm
from tinynet.nn.bidirectional import Bidirectional
from tinynet.nn.branches import Parallel, Residual
from tinynet.nn.conv import Conv1D, Conv2D
from tinynet.nn.dense import Dense
from tinynet.nn.dropout import Dropout
from tinynet.nn.embedding import Embedding
from tinynet.nn.gru import GRU
from tinynet.nn.layernorm import LayerNorm
from tinynet.nn.lstm import LSTM
from tinynet.nn.module import Module
from tinynet.nn.parameter import Buffer, Parameter, Parameters
from tinynet.nn.pool import AvgPool1D, AvgPool2D, GlobalAveragePool, GlobalMaxPool, MaxPool1D, MaxPool2D
from tinynet.nn.rectifier import ELU, GELU, LeakyReLU, SiLU
from tinynet.nn.sequential import Sequential
from tinynet.nn.shape import Flatten, Reshape
from tinynet.nn.simplernn import SimpleRNN
from tinynet.nn.timedistributed import TimeDistributed
from tinynet.scaling import Scaling

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "AvgPool1D",
    "AvgPool2D",
    "BatchNorm",
    "Bidirectional",
    "Buffer",
    "Conv1D",
    "Conv2D",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "LayerNorm",
    "LeakyReLU",
    "MaxPool1D",
    "MaxPool2D",
    "Module",
    "Parallel",
    "Parameter",
    "Parameters",
    "ReLU",
    "Reshape",
    "Residual",
    "Scaling",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SimpleRNN",
    "Softmax",
    "Tanh",
    "TimeDistributed",
]

if not TYPE_CHECKING:
    __getattr__ = in_modules({"tn.nn": __all__})
