"""The math: each op with its equations, their derivation, and two functions, forward and backward.

δq means ∂loss/∂q, an array of the shape of q; in code, `dq`. The backward pass computes δx from δy by the chain rule,

    δxᵢ = Σⱼ δyⱼ ∂yⱼ/∂xᵢ        over all elements j of the outputs

so a derivation (the part "Because" of an op's text) says what ∂y/∂x is.

An op has `.forward(xp, *arrays, **options) -> outputs, cache`, `.backward(xp, *doutputs, cache=..., needs=...) ->
gradients`, `.contract`, and its text in `.__doc__`. The functions of composed.py call ops and have no such parts.
"""

from typing import TYPE_CHECKING

from tinynet.elsewhere import in_modules
from tinynet.ops.activation import log_softmax, relu, sigmoid, softmax, tanh
from tinynet.ops.batchnorm import batch_norm
from tinynet.ops.composed import argmax, argmin, expand_dims, flatten, flip, one_hot, squeeze, stack, std
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
from tinynet.ops.gru import gru
from tinynet.ops.indexing import concatenate, getitem, pad, take_along_axis
from tinynet.ops.layernorm import layer_norm
from tinynet.ops.loss import binary_cross_entropy, cross_entropy, huber, mae, mse
from tinynet.ops.lstm import lstm
from tinynet.ops.masking import mask_steps
from tinynet.ops.matmul import matmul
from tinynet.ops.operators import attach_operators
from tinynet.ops.pool import avg_pool1d, avg_pool2d, max_pool1d, max_pool2d
from tinynet.ops.rectifier import elu, gelu, leaky_relu, silu
from tinynet.ops.reduce import logsumexp, max, mean, min, sum, var
from tinynet.ops.shape import astype, reshape, transpose
from tinynet.ops.simplernn import simple_rnn
from tinynet.ops.special import erf, expm1, float_power, log1p, sign

__all__ = [
    "absolute",
    "add",
    "argmax",
    "argmin",
    "astype",
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "clip",
    "concatenate",
    "conv1d",
    "conv2d",
    "cross_entropy",
    "dense",
    "divide",
    "dropout",
    "elu",
    "erf",
    "exp",
    "expand_dims",
    "expm1",
    "flatten",
    "flip",
    "float_power",
    "gelu",
    "getitem",
    "gru",
    "huber",
    "layer_norm",
    "leaky_relu",
    "log",
    "log1p",
    "log_softmax",
    "logsumexp",
    "lstm",
    "mae",
    "mask_steps",
    "matmul",
    "max",
    "max_pool1d",
    "max_pool2d",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mse",
    "multiply",
    "negative",
    "one_hot",
    "pad",
    "power",
    "relu",
    "reshape",
    "sigmoid",
    "sign",
    "silu",
    "simple_rnn",
    "softmax",
    "sqrt",
    "squeeze",
    "stack",
    "std",
    "subtract",
    "sum",
    "take_along_axis",
    "tanh",
    "transpose",
    "var",
    "where",
]

if not TYPE_CHECKING:
    __getattr__ = in_modules({"tn.ops": __all__})

attach_operators()
