"""Layers: parameters, and a call of an op. The math of `nn/lstm.py` is in `ops/lstm.py`, and so on."""

from tinynet.nn import profile, summary  # noqa: F401  attaches Module.profile and Module.summary
from tinynet.nn.activation import ReLU, Sigmoid, Softmax, Tanh
from tinynet.nn.batchnorm import BatchNorm
from tinynet.nn.conv import Conv1D, Conv2D
from tinynet.nn.dense import Dense
from tinynet.nn.dropout import Dropout
from tinynet.nn.lstm import LSTM
from tinynet.nn.module import Module
from tinynet.nn.parameter import Buffer, Parameter, Parameters
from tinynet.nn.pool import AvgPool1D, AvgPool2D, GlobalAveragePool, MaxPool1D, MaxPool2D
from tinynet.nn.sequential import Sequential
from tinynet.nn.shape import Flatten, Reshape
from tinynet.scaling import Scaling

_ELSEWHERE = {"linear": "Dense", "batchnorm1d": "BatchNorm", "batchnorm2d": "BatchNorm", "maxpooling1d": "MaxPool1D",
              "batchnormalization": "BatchNorm", "maxpooling2d": "MaxPool2D", "averagepooling1d": "AvgPool1D",
              "averagepooling2d": "AvgPool2D", "globalaveragepooling2d": "GlobalAveragePool",
              "adaptiveavgpool2d": "GlobalAveragePool", "model": "Module"}  # names of PyTorch and Keras, in lower case


def __getattr__(name: str) -> object:
    """Raise an AttributeError that names the layer which has this name in PyTorch or Keras, or in another case."""
    ours = {**{one.lower(): one for one in __all__}, **_ELSEWHERE}.get(name.lower())
    raise AttributeError(f"tn.nn: {name} must be one of its layers, and is not"
                         + (f"; tn.nn.{ours}?" if ours else f"; dir(tn.nn) lists {len(__all__)} names"))


__all__ = [
           "LSTM",
           "AvgPool1D",
           "AvgPool2D",
           "BatchNorm",
           "Buffer",
           "Conv1D",
           "Conv2D",
           "Dense",
           "Dropout",
           "Flatten",
           "GlobalAveragePool",
           "MaxPool1D",
           "MaxPool2D",
           "Module",
           "Parameter",
           "Parameters",
           "ReLU",
           "Reshape",
           "Scaling",
           "Sequential",
           "Sigmoid",
           "Softmax",
           "Tanh",
]
