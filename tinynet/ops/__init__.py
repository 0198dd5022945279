"""The math: one file per op, each with its equations, its derivation and its two functions.

Every name here that is an `Op` has `.forward(xp, *arrays, **options) -> outputs, cache`,
`.backward(xp, *doutputs, cache=..., needs=...) -> gradients`, `.contract` and its text in `.__doc__`.
"""

from tinynet.ops.activation import log_softmax, relu, sigmoid, softmax, tanh
from tinynet.ops.batchnorm import batch_norm
from tinynet.ops.conv import conv1d, conv2d
from tinynet.ops.dense import dense
from tinynet.ops.dropout import dropout
from tinynet.ops.elementwise import (
    absolute,
    add,
    clip,
    divide,
    exp,
    log,
    maximum,
    minimum,
    multiply,
    negative,
    power,
    sqrt,
    subtract,
    where,
)
from tinynet.ops.loss import cross_entropy, mse
from tinynet.ops.lstm import lstm
from tinynet.ops.matmul import matmul
from tinynet.ops.operators import argmax, argmin, expand_dims, flatten, flip, squeeze, stack, std
from tinynet.ops.pool import avg_pool1d, avg_pool2d, max_pool1d, max_pool2d
from tinynet.ops.reduce import max, mean, min, sum, var
from tinynet.ops.shape import astype, concatenate, getitem, pad, reshape, transpose

__all__ = [
    "absolute", "add", "argmax", "argmin", "astype", "avg_pool1d", "avg_pool2d", "batch_norm", "clip", "concatenate",
    "conv1d", "conv2d", "cross_entropy", "dense", "divide", "dropout", "exp", "expand_dims", "flatten", "flip",
    "getitem", "log", "log_softmax", "lstm", "matmul", "max", "max_pool1d", "max_pool2d", "maximum", "mean", "min",
    "minimum", "mse", "multiply", "negative", "pad", "power", "relu", "reshape", "sigmoid", "softmax", "sqrt",
    "squeeze", "stack", "std", "subtract", "sum", "tanh", "transpose", "var", "where",
]
