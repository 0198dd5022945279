"""What a call gets wrong: options of other types, inputs that are no tensors, and arguments that are nearly right.

An op either takes a value or raises an error of tinynet's, never one of Python's or NumPy's about its inside.
"""

import copy
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.support.complete import OPS
from tests.support.cuda_places import EMULATED
from tests.support.op_cases import draw
from tinynet.errors import ArgumentError, DeviceError, TinynetError
from tinynet.op import Op
from tinynet.options import fits, wrong_option

ODD = [None, True, 1.5, -1, 0, 5, 10**30, np.int64(1), np.float64(1.0), float("nan"), float("inf"), "a", "", [], (),
       [1], (1.5,), (0, 0), [0, None], {}, {0}, np.array([1, 2]), np.array(1), b"x", 1j, (1, 2, 3, 4, 5), slice(None),
       ..., [[1, 2], [3]], object(), len]
# "counter" and "across" are internal: an array, and a function. NumPy's IndexError is right for an index, and ends a
# loop over a tensor.
OPTIONS = [(op, name) for op in OPS.values() for name in list(inspect.signature(op.forward).parameters)[1:]
           if name not in {argument.name for argument in op.contract.inputs} | {"xs", "counter", "across", "index"}]


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::DeprecationWarning",
                            "ignore::numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("mode", ["fast", "reference"])
@pytest.mark.parametrize(("op", "name"), OPTIONS, ids=lambda value: getattr(value, "name", value))
def test_an_option_is_taken_or_refused(op: Op[Any], name: str, mode: Any) -> None:
    arrays, options = draw(op, op.cases[0], np.random.default_rng(0), "float32")
    refused = 0
    for value in ODD:
        try:
            with tn.using(mode):
                op(*arrays, **{**options, name: value})
        except TinynetError as error:
            refused += 1
            assert str(error).removeprefix("float_").startswith(f"{op.name}: "), error  # power of an array: float_power
    assert refused > 0 or name == "keepdims"


def wide(*shape: int) -> tn.Tensor:
    return tn.Tensor(np.arange(np.prod(shape), dtype="float32").reshape(shape))


REFUSED: dict[str, Callable[[], Any]] = {
    "pad: width": lambda: tn.ops.pad(wide(2), 1.5),
    "pad: width must": lambda: tn.ops.pad(tn.Tensor(1.0), 1),
    "softmax: axis": lambda: tn.ops.softmax(wide(2, 3), axis=(0, 1)),
    "softmax: axis must": lambda: tn.ops.softmax(wide(2, 3), axis=1.0),
    "log_softmax: axis": lambda: tn.ops.log_softmax(wide(2, 3), axis=7),
    "concatenate: axis": lambda: tn.ops.concatenate([wide(2), wide(2)], axis=1.5),
    "batch_norm: axis": lambda: tn.ops.batch_norm(wide(2, 3), wide(3), wide(3), axis=None),
    "batch_norm: eps": lambda: tn.ops.batch_norm(wide(2, 3), wide(3), wide(3), eps=-1.0),
    "reshape: shape": lambda: wide(2, 3).reshape(1.5, 4),
    "reshape: shape must": lambda: wide(2, 3).reshape(None),
    "transpose: axes": lambda: wide(2, 3).transpose("a", 0),
    "astype: dtype": lambda: wide(2).astype("banana"),
    "argmax: axis": lambda: wide(2).argmax(axis=5),
    "argmax: x": lambda: tn.ops.argmax([]),
    "greater: shapes": lambda: wide(2) > wide(3),
    "item": lambda: wide(2).item(),
    "item: a tensor must have one element": lambda: wide(0).item(),
    "item: a tensor must have one element to be a number, got shape (2,)": lambda: bool(wide(2)),
    "item: a tensor must have one element to be a number, got shape (3,)": lambda: float(wide(3)),
    "item: a tensor must have one element to be a number, got shape (4,)": lambda: int(wide(4)),
    "sum: axis": lambda: wide(2, 3).sum(axis=(0, 0)),
    "max: axis": lambda: wide(2, 3).max(axis=(1, -1)),
    "max_pool1d: stride": lambda: tn.ops.max_pool1d(wide(1, 4, 2), 2, stride=10**30),
    "clip": lambda: tn.ops.clip(wide(2), None, None),
    "accuracy": lambda: tn.metrics.accuracy([[0], [0, 1]], [0, 1]),
    "roc_curve": lambda: tn.metrics.roc_curve(1, 0.5),
    "save": lambda: tn.save(tn.nn.ReLU(), "m.safetensors"),
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_clumsy_call_gets_one_sentence(message: str) -> None:
    with pytest.raises(TinynetError) as caught:
        REFUSED[message]()
    assert str(caught.value).startswith(message)


class Numbered(tn.nn.Module):
    """A dictionary of parameters with the keys that it is given."""

    def __init__(self, *keys: Any) -> None:
        self.held = {key: tn.nn.Parameter([1.0]) for key in keys}


def holding(value: Any) -> tn.nn.Module:
    module = tn.nn.Module()
    module.held = value
    return module


def stale(x: tn.Tensor) -> None:
    loss = (x * x).sum()
    x.data[0] = 7
    loss.backward()


def sgd() -> tn.optim.SGD:
    return tn.optim.SGD([tn.nn.Parameter([1.0])])


def twice(context: Any) -> None:
    with context, context:
        pass


X, V = wide(2, 3, 4), wide(4)
MESSAGES: list[tuple[Callable[[], Any], str]] = [
    (lambda: tn.ops.batch_norm(X, V, V, axis=3), "batch_norm: axis must be in [-3, 3) for x of shape (2, 3, 4), got 3; "
     "axis=-1 is the last axis"),
    (lambda: tn.ops.batch_norm(X, V, V, axis=-4), "batch_norm: axis must be in [-3, 3) for x of shape (2, 3, 4), got "
     "-4; axis=-1 is the last axis"),
    (lambda: tn.ops.batch_norm(X, wide(2), wide(2), axis=1), "batch_norm: x must have C = 2 (from beta) on axis 1, got "
     "3 in (2, 3, 4); make gamma and beta for this axis"),
    (lambda: tn.ops.batch_norm(X, V, V, mask=wide(2, 4)), "batch_norm: mask must have the first axes of x, got (2, 4) "
     "for x of shape (2, 3, 4); (N,T) for x (N,T,C)?"),
    (lambda: tn.ops.batch_norm(X, V, V, var=V), "batch_norm: mean and var must be given both or neither, got var "
     "alone; leave both out to use those of the batch"),
    (lambda: tn.ops.batch_norm(X[:0], V, V), "batch_norm: x must have at least one element for each channel, got "
     "(0, 3, 4); skip empty batches"),
    (lambda: tn.ops.dropout(X, 0.5, key=(2**32, 2), counter=0), "dropout: key must be two integers in [0, 2**32), got "
     "(4294967296, 2); key=(seed, stream)"),
    (lambda: tn.ops.dropout(X, 0.5, key=(1, 2, 3), counter=0), "dropout: key must be two integers in [0, 2**32), got "
     "(1, 2, 3); key=(seed, stream)"),
    (lambda: tn.ops.pad(X, ((1, 1), (0, 0))), "pad: width must be a number, a pair, or a pair (before, after) for each "
     "of the 3 axes, at least 0, got ((1, 1), (0, 0)); (0, 0) leaves an axis as it is"),
    (lambda: tn.ops.concatenate([X, X, X], axis=-4), "concatenate: axis must be an axis of the arrays, got axis = -4 "
     "for 3 arrays, the first of shape (2, 3, 4); tn.ops.stack makes a new axis"),
    (lambda: tn.ops.concatenate([X, X[:, :2]], axis=-1), "concatenate: xs must have equal shapes except on axis -1, "
     "got [(2, 3, 4), (2, 2, 4)]; reshape or slice them first"),
    (lambda: tn.ops.max_pool1d(X, 2, padding=3), 'max_pool1d: padding must be "valid", "same" or an integer below size '
     "= 2, got 3; a window in the padding alone has no element"),
    (lambda: tn.ops.binary_cross_entropy(wide(3, 4), wide(3, 4), wide(2, 3, 4)), "binary_cross_entropy: pos_weight "
     "must be one number, or one for each label, got (2, 3, 4) for logits of (3, 4); pos_weight of shape (4,)?"),
    (lambda: tn.ops.mse(X[:, :0], X[:, :0]), "mse: a mean needs at least one element, got shape (2, 0, 4); skip empty "
     "batches"),
    (lambda: tn.ops.huber(X, X, delta=0), "huber: delta must be above 0, got 0; 1.0 is usual"),
    (lambda: tn.ops.cross_entropy(X, np.zeros((2, 3), int), ignore_index=0.5), "cross_entropy: ignore_index must be "
     "None or an integer, got 0.5; -100 is usual"),
    (lambda: tn.ops.cross_entropy(X, np.zeros((2, 3), int), label_smoothing=-0.5), "cross_entropy: label_smoothing "
     "must be in [0, 1], got -0.5; 0.1 is usual"),
    (lambda: tn.ops.cross_entropy(X, X, ignore_index=1), "cross_entropy: ignore_index needs labels that are class "
     "numbers, got float32; a sample_weight of 0 leaves a position out"),
    (lambda: X[:, :0].max(axis=(0, -2)), "max: x must have elements to reduce, got shape (2, 0, 4) over axes (0, 1); "
     "skip empty batches"),
    (lambda: X[:, :0].argmin(axis=1), "argmin: x must have elements to compare, got shape (2, 0, 4) over axis 1; skip "
     "empty batches"),
    (lambda: tn.ops.expand_dims(X, 4), "expand_dims: axis must be None or in [-4, 4) for an array of 4 axes, got 4; "
     "axis=-1 is the last one"),
    (lambda: tn.ops.take_along_axis(X, np.full((2, 3, 4), [-4, 0, 1, 2]), axis=1), "take_along_axis: indices must be "
     "in [-3, 3) for 3 elements along axis 1, got values from -4 to 2; is it another axis?"),
    (lambda: X.reshape(-1, -1), "reshape: shape must have as many elements as x, 24 in (2, 3, 4), got (-1, -1); -1 at "
     "most once, for the remaining size"),
    (lambda: X[:0].reshape(0, -1), "reshape: shape must have as many elements as x, 0 in (0, 3, 4), got (0, -1); -1 at "
     "most once, for the remaining size"),
    (lambda: X.transpose(3, 1, 2), "transpose: axes must name each of the 3 axes of x once, got (3, 1, 2); x.T "
     "reverses all axes"),
    (lambda: tn.ops.softmax(X[:, :0], axis=1), "softmax: axis must be an axis of x that is not empty, x has shape "
     "(2, 0, 4), got axis = 1; axis=-1 is the last one"),
    (lambda: X.sum(axis=(2, 0, -1)), "sum: axis must name each axis once, got (2, 0, -1) for an array of 3 axes; "
     "axis=(0, 2)?"),
    (lambda: tn.nn.MaxPool2D(2)(X[None], mask=wide(2, 4)), "MaxPool2D: a mask needs sequences (N,T,C), got x of shape "
     "(1, 2, 3, 4); one Conv2D or pool for each image, without a mask?"),
    (lambda: tn.nn.GlobalMaxPool()(X[0]), "GlobalMaxPool: x must be (N,...,C) with an axis to pool over, got (3, 4); "
     "leave the layer out?"),
    (lambda: tn.nn.Parallel([tn.nn.Flatten(), tn.nn.Reshape((2, 6))])(X), "Parallel: parts must have equal shapes, but "
     'for the last axis, got (2, 12) and (2, 2, 6); padding="same", or other sizes?'),
    (lambda: tn.optim.clip_global_norm([], -1.5), "clip_global_norm: max_norm must be positive, got -1.5; 1.0 is "
     "usual"),
    (lambda: tn.optim.Adam([tn.nn.Parameter([1.0])], betas=(0.9, 1.0)), "Adam: betas must be in [0, 1), two numbers, "
     "got (0.9, 1.0); (0.9, 0.999) is usual"),
    (lambda: copy.deepcopy(tn.Tensor([1.0], requires_grad=True) * 2), "copy: a tensor must be a leaf to be pickled "
     "or copied in depth, and this one was made by multiply, with a tape behind it; tensor.detach()?"),
    (lambda: tn.Tensor(["a"]), 'Tensor: data must be numbers, got an array of <U1; np.asarray(data, "float32")? '
     "(rows of unequal length make an array of objects)"),
    (lambda: tn.Tensor([1, 2], requires_grad=True), "Tensor: requires_grad needs floats, got int64; Tensor(data, "
     'requires_grad=True, dtype="float32")?'),
    (lambda: X.__array__("float64", copy=False), "__array__: copy=False cannot make an array of float64 of one of "
     "float32; np.asarray(tensor, dtype) copies"),
    (lambda: tn.Tensor([1.0, 2.0], requires_grad=True).backward([1.0]), "backward: gradient must have the shape of "
     "the tensor, (2,), got (1,); pass one number for each element"),
    (lambda: tn.ops.conv1d(X, wide(2, 4, 5), padding="full"), 'conv1d: padding must be "valid", "same", "causal" or '
     "an integer >= 0, got 'full'; padding=\"same\" keeps the size"),
    (lambda: tn.ops.conv1d(X, wide(5, 4, 5), dilation=2, padding=1), "conv1d: T must be at least 7 for a window of "
     'width 5, dilation 2, padding 1, got 3; padding="same", or a smaller window'),
    (lambda: tn.ops.max_pool2d(X[None], ()), "max_pool2d: size must be one value or a pair (height, width), got (); "
     "size=(1, 1)?"),
    (lambda: tn.ops.max_pool2d(X[None], (3, 2, 1)), "max_pool2d: size must be one value or a pair (height, width), "
     "got (3, 2, 1); size=(3, 3)?"),
    (lambda: tn.init.he_normal((3,)), "init: shape must have at least two axes, none empty, inputs before outputs, "
     "got (3,); tn.init.zeros is for biases"),
    (lambda: tn.init.he_normal((0, 3)), "init: shape must have at least two axes, none empty, inputs before "
     "outputs, got (0, 3); tn.init.zeros is for biases"),
    (lambda: tn.init.zeros((2, -1)), "init: shape must be integers of at least 0, got (2, -1); are the sizes of the "
     "layer integers, such as 64?"),
    (lambda: tn.init.ones((2.5,)), "init: shape must be integers of at least 0, got (2.5,); are the sizes of the "
     "layer integers, such as 64?"),
    (lambda: tn.Tensor(np.ma.array([[1.0, 2.0, 3.0]] * 2, mask=[[0, 1, 1], [0, 0, 0]])), "Tensor: data must not have "
     "masked elements, got 2 of 6; data.filled(0), or leave these rows out?"),
    (lambda: tn.Tensor([[1.0], [1.0, 2.0]]), "Tensor: data must have rows of one length, got a list of unequal "
     "rows; pad the shorter ones, or give one array for each?"),
    (lambda: tn.ops.argmax(X, axis=(0, 1)), "argmax: axis must be one integer in [-3, 3), got (0, 1); axis=-1 is "
     "the last one, x.reshape joins axes"),
    (lambda: X + wide(2, 4), "add: shapes must be equal or 1 on every axis, counted from the last, got (2,3,4) and "
     "(2,4); reshape one, or index it with None where an axis is missing"),
    (lambda: X.squeeze(axis=1), "squeeze: axis must name axes of size 1, got 1 for shape (2, 3, 4); index one "
     "element instead, x[0]?"),
    (lambda: tn.ops.one_hot([1, 2, 3], 3), "one_hot: labels must be in [0, classes) = [0, 3), got values from 1 to "
     "3; do labels count from 1?"),
    (lambda: tn.ops.one_hot([1.0], 3), 'one_hot: labels must hold integers, got float32; labels.astype("int64")?'),
    (lambda: tn.ops.dropout(X, 1.0, key=(1, 2), counter=0), "dropout: p must be in [0, 1), the share that is "
     "dropped, got 1.0; p=0.5 drops half"),
    (lambda: tn.ops.dropout(X, 0.5, key=(1, 2), counter=0, first=-1), "dropout: first must be the number of an "
     "element, at least 0, got -1; first=0?"),
    (lambda: tn.ops.power(X, "2"), "power: exponent must be a number, a tensor or an array, got '2'; x**2?"),
    (lambda: tn.ops.clip(X, None), "clip: low and high must be numbers, one of them may be None, got low = None, "
     "high = None; for tensors, maximum(minimum(x, high), low)"),
    (lambda: tn.ops.clip(X, True, 2.0), "clip: low and high must be numbers, one of them may be None, got low = "
     "True, high = 2.0; for tensors, maximum(minimum(x, high), low)"),
    (lambda: tn.ops.clip(X, 2, 1), "clip: low must be at most high, got low = 2, high = 1; the other way round?"),
    (lambda: tn.ops.take_along_axis(X, np.zeros((2, 3), int)), "take_along_axis: indices must have as many axes as "
     "x, got (2, 3) for x of (2, 3, 4); tn.ops.expand_dims(indices, axis)?"),
    (lambda: tn.ops.mse(X, X, reduction="average"), 'mse: reduction must be "mean", "sum" or "none", got '
     "'average'; reduction=\"mean\"?"),
    (lambda: X.astype("str"), "astype: dtype must be one of numbers, such as \"float32\" or \"int64\", got 'str'; "
     'x.astype("float32")?'),
    (lambda: tn.nn.BatchNorm(4).eval()(X), "BatchNorm: evaluation needs running averages, and no batch was seen in "
     "training; call model.train() and run a batch, or load_state_dict first"),
    (lambda: tn.nn.Bidirectional(tn.nn.LSTM(2, 3, go_backwards=True)), "Bidirectional: layer must be a recurrent "
     "one that reads forwards, got LSTM(inputs=2, units=3, go_backwards=True); "
     "tn.nn.Bidirectional(tn.nn.LSTM(inputs, units))?"),
    (lambda: tn.nn.Bidirectional(tn.nn.Dense(2, 3)), "Bidirectional: layer must be a recurrent one that reads "
     "forwards, got Dense(inputs=2, units=3); tn.nn.Bidirectional(tn.nn.LSTM(inputs, units))?"),
    (lambda: tn.nn.Residual(tn.nn.Dense(4, 2))(X), "Residual: parts must have equal shapes, got (2, 3, 4) and (2, "
     '3, 2); padding="same", or other sizes?'),
    (lambda: tn.nn.Parallel([tn.nn.ReLU()], "add"), "Parallel: merge_mode must be one of concat, sum, mul, ave, got "
     "'add'; merge_mode=\"concat\"?"),
    (lambda: tn.nn.Parallel(tn.nn.ReLU()), "Parallel: branches must be a list of layers, got ReLU(); Parallel([a, "
     "b])?"),
    (lambda: tn.nn.Dropout(1), "Dropout: p must be in [0, 1), the share that is dropped, got 1; 0.5 drops half"),
    (lambda: tn.nn.LSTM(2, 3, recurrent_dropout=-0.5), "LSTM: recurrent_dropout must be in [0, 1), the share that "
     "is dropped, got -0.5; 0.5 drops half"),
    (lambda: tn.nn.Embedding(5, 2)(tn.Tensor([0, 7, 5])), "Embedding: x must be in [0, vocabulary) = [0, 5), got "
     "values from 0 to 7; does the vocabulary lack a symbol?"),
    (lambda: tn.nn.Embedding(5, 2)(tn.Tensor([-1, 3])), "Embedding: x must be in [0, vocabulary) = [0, 5), got "
     "values from -1 to 3; does the vocabulary lack a symbol?"),
    (lambda: tn.nn.Embedding(5, 2)(V), 'Embedding: x must hold integers, got float32; x.astype("int64")?'),
    (lambda: tn.nn.Embedding(5, 2, padding_index=5), "Embedding: padding_index must be an integer from 0 to 4, got "
     "5; padding_index=0?"),
    (lambda: tn.nn.ReLU()((X, X)), "x must be one tensor, got a tuple of 2; return_state=False, or take one of them?"),
    (lambda: tn.nn.Dense(2, 3).astype("int32"), "astype: dtype must be one of floats, got int32; "
     'model.astype("float32")?'),
    (lambda: tn.nn.Dense(4, 2).summary((2.5,)), "summary: input_shape must be the shape of one sample, without the "
     "batch, got (2.5,); input_shape=(28, 28, 1)?"),
    (lambda: setattr(tn.nn.Dense(2, 3).W, "grad", V.data), "grad: a gradient must be an array of (2, 3), the shape "
     "of its parameter, got (4,); None for no gradient?"),
    (lambda: tn.optim.SGD([{"parameters": [tn.nn.Parameter([1.0])]}] * 2), "SGD: a parameter must be in one group, "
     "and some are in two; [p for name, p in model.parameters().items() if not name.endswith('.b')]?"),
    (lambda: tn.optim.SGD([{"parameters": [tn.nn.Parameter([1.0])], "rate": 0.1}]), "SGD: a group must be a "
     "dictionary with parameters, and may have lr and weight_decay, got ['parameters', 'rate']; {\"parameters\": "
     'layer.parameters(), "lr": 1e-4}?'),
    (lambda: tn.optim.SGD([{"parameters": [tn.nn.Parameter([1.0])], "lr": 0.25}], lr=0),
     "SGD: lr must be above 0 for a group to have a rate of its own, got 0 and 0.25: the rates keep their ratio; "
     "lr=1e-3?"),
    (lambda: tn.optim.OneCycle(tn.optim.SGD([tn.nn.Parameter([1.0])]), 1.0, 10, warmup=0),
     "OneCycle: warmup must be in (0, 1), got 0; warmup=0.3 is usual"),
    (lambda: tn.optim.Warmup(3, 10), "Warmup: then must be an optimizer or a schedule, got int; "
     "Warmup(Cosine(optimizer, steps=900), steps=100)?"),
    (lambda: tn.optim.Adam([tn.nn.Parameter([1.0])], betas=(0.9, 0.99, 0.999)), "Adam: betas must be in [0, 1), two "
     "numbers, got (0.9, 0.99, 0.999); (0.9, 0.999) is usual"),
    (lambda: tn.nn.Conv2D(6, 4, 3, groups=4), "Conv2D: groups must divide inputs and filters, got groups = 4 for 6 "
     "and 4; groups=2?"),
    (lambda: tn.ops.conv1d(X, wide(1, 2, 3), groups=2), "conv1d: W must have a multiple of groups = 2 columns, got "
     "F = 3; F = 4?"),
    (lambda: tn.nn.Reshape(5), "Reshape: shape must be a tuple of integers, got 5; shape=(28, 28)?"),
    (lambda: tn.nn.Reshape((-2, 3)), "Reshape: shape must be an integer of at least -1, got -2; shape=(28, 28)?"),
    (lambda: tn.nn.Sequential(input_shape=(0, 3)), "Sequential: input_shape must be an integer of at least 1, got "
     "0; input_shape=(28, 28)?"),
    (lambda: tn.seed(-1), "seed: value must be an integer from 0 to 4294967295, got -1; tn.seed(0)?"),
    (lambda: tn.seed(2**32), "seed: value must be an integer from 0 to 4294967295, got 4294967296; tn.seed(0)?"),
    (lambda: tn.ops.leaky_relu(X, negative_slope=-1.0), "leaky_relu: negative_slope must be finite and at least 0, "
     "got -1.0; negative_slope=0.01 is usual"),
    (lambda: tn.ops.elu(X, alpha=float("nan")), "elu: alpha must be finite and at least 0, got nan; alpha=1.0 is "
     "usual"),
    (lambda: tn.optim.SGD(tn.nn.Parameter([1.0])), "SGD: parameters must be a list, got one Parameter; [parameter]?"),
    (lambda: tn.optim.SGD(tn.nn.Parameter(1.0)), "SGD: parameters must be a list, got one Parameter; [parameter]?"),
    (lambda: tn.optim.SGD([{"parameters": tn.Tensor(1.0)}]), "SGD: parameters must be a list, got one Tensor; "
     "[parameter]?"),
    (lambda: X.item(), "item: a tensor must have one element to be a number, got shape (2, 3, 4); take .sum(), .mean() "
     "or an element first"),
    (lambda: tn.ops.one_hot([0], 0), "one_hot: classes must be an integer of at least 1, got 0; classes=10?"),
    (lambda: tn.optim.StepDecay(sgd(), 0), "StepDecay: every must be an integer of at least 1, got 0; "
     "every=len(loader), one epoch?"),
    (lambda: tn.optim.Cosine(sgd(), 0), "Cosine: steps must be an integer of at least 1, got 0; "
     "steps=epochs * len(loader)?"),
    (lambda: tn.optim.OneCycle(sgd(), 1.0, 1), "OneCycle: steps must be an integer of at least 2, got 1; "
     "steps=epochs * len(loader)?"),
    (lambda: tn.optim.Warmup(sgd(), 0), "Warmup: steps must be an integer of at least 1, got 0; "
     "steps=len(loader), one epoch?"),
    (lambda: stale(tn.Tensor([1.0, 2.0], requires_grad=True)), "multiply: a (2,) must keep its values from forward to "
     "backward, and was changed in between; call backward() before optimizer.step() and before new values, or compute "
     "the loss again"),
    (lambda: np.arctan(X), "np.arctan: a tensor must be given to a function of tn.ops, since NumPy leaves no gradient; "
     "functions of tn.ops, or np.arctan(x.numpy()) if it needs none?"),
    (lambda: holding({tn.nn.ReLU()}).tensors(), "held: layers and parameters must be in an order, and a set has none; "
     "a list?"),
    (lambda: Numbered("1", 1).tensors(), "Numbered: each tensor needs a name of its own, and 2 of them have 1 names; "
     "are there keys such as 1 and '1' in a dictionary?"),
    (lambda: twice(tn.no_grad()), "with: a context must end before it begins again, and this one still holds; make "
     "another one, such as tn.no_grad()"),
]


@pytest.mark.parametrize(("call", "message"), MESSAGES, ids=[message.partition(":")[0] for _, message in MESSAGES])
def test_a_message_has_the_numbers_of_the_call(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TinynetError) as caught:
        call()
    assert str(caught.value) == message


ON_A_DEVICE: list[tuple[Callable[[Any], Any], str]] = [
    (lambda device: tn.Tensor([1.0]).to(device).__array__(), "__array__: a tensor on {device} does not become a "
     'NumPy array by itself, since that waits for the device and copies; call .numpy(), or .to("cpu") first'),
    (lambda device: tn.Tensor([1.0]).to(device).__dlpack__(), "__dlpack__: other libraries cannot share memory on "
     '{device}, only on the CPU or a GPU; call .to("cpu") first'),
    (lambda device: V.to(device)[(V > 1).to(device)], "getitem: index must not be a mask on a device, got booleans of "
     "shape (4,): the shape of the result is the number of true elements, and reading it would synchronise; "
     "tn.ops.where(mask, x, 0) keeps the shape, or give the indices of the elements"),
]


@pytest.mark.parametrize("device", [EMULATED])
@pytest.mark.parametrize(("call", "message"), ON_A_DEVICE, ids=[one.partition(":")[0] for _, one in ON_A_DEVICE])
def test_a_message_about_a_device_has_its_name(call: Callable[[Any], Any], message: str, device: Any) -> None:
    with pytest.raises(DeviceError) as caught:
        call(device)
    assert str(caught.value) == message.format(device=device)


TAKEN: dict[str, tuple[Callable[[], Any], Any]] = {
    "pad by a number of NumPy": (lambda: tn.ops.pad(wide(2), np.int64(1)), [0, 0, 1, 0]),
    "padding by a number of NumPy": (lambda: tn.ops.max_pool1d(wide(1, 2, 1), np.int8(2), np.int16(1), np.int64(1)),
                                     [[[0], [1], [1]]]),
    "a power of NumPy's number": (lambda: wide(3) ** np.int64(2), [0, 1, 4]),
    "a product with NumPy's number": (lambda: np.int64(2) * wide(3) * np.int64(2), [0, 4, 8]),
    "a list of axes": (lambda: wide(2, 3).sum(axis=[0]), [3, 5, 7]),
    "no axes": (lambda: wide(2, 1).sum(axis=()), [[0], [1]]),
    "clip below": (lambda: tn.ops.clip(wide(3), 1, None), [1, 1, 2]),
    "clip above": (lambda: tn.ops.clip(wide(3), None, 1), [0, 1, 1]),
    "clip to one number": (lambda: tn.ops.clip(wide(3), 1, 1), [1, 1, 1]),
    "the probability of the only class": (
        lambda: tn.ops.cross_entropy(tn.Tensor([[2.0]]), tn.Tensor([[1.0]])), 0),
    "argmax of a list": (lambda: tn.ops.argmax([1.0, 3.0, 2.0]), 1),
    "argmin of an array": (lambda: tn.ops.argmin(np.array([2.0, 1.0])), 1),
    "flip of an array": (lambda: tn.ops.flip(np.array([2.0, 1.0]), 0), [1, 2]),
    "a new axis of a list": (lambda: tn.ops.expand_dims([1.0, 2.0], 0), [[1, 2]]),
    "squeeze of a list": (lambda: tn.ops.squeeze([[1.0, 2.0]]), [1, 2]),
}


@pytest.mark.parametrize("call", TAKEN)
def test_a_clumsy_call_is_taken(call: str) -> None:
    function, expected = TAKEN[call]
    assert function().numpy().tolist() == expected


def test_a_tensor_in_a_text() -> None:
    """With a format it is a number, without one it is shown as a whole."""
    assert f"{tn.Tensor([1.25]):.1f} {tn.Tensor(3):>2}" == "1.2  3"
    assert f"{tn.Tensor([1.0, 2.0])}" == "Tensor([1. 2.], dtype=float32)"


def test_an_op_may_have_no_input() -> None:
    def up_to(xp: Any, *, n: int) -> Any:
        return xp.arange(float(n)), None

    made: Op[Any] = Op(up_to, "-> y:(N)", [], lambda known, n: {"N": n}, None, True)
    assert made(n=3).numpy().tolist() == made(n=3).numpy().tolist() == [0, 1, 2]


@pytest.mark.parametrize(("annotation", "right", "wrong"), [
    (int, [3, -3, True, np.int8(3), np.array(3), 2**63 - 1, 1 - 2**63], [1.5, "3", None, 2**63, -(2**63), [3]]),
    (float, [1.5, 2, np.float64(1.0), np.int64(2)], ["1", None, 1j, 2**63]),
    (bool, [True, False], [1, None, "x"]), (str, ["", "x"], [b"x", 1]), (int | None, [None, 3], [1.5]),
    (None, [None], [0]), (tuple[int, int], [(1, 2), [1, 2]], [(1,), (1, 2, 3), (1, 0.5), 1, "ab"]),
    (tuple[int, ...], [(), (1,), [1, 2, 3]], [(1, None), 3]),
    (int | tuple[int, str], [5, (5, "x")], [("x", 5), (5, 5)]),
    (np.ndarray, [object(), None], [])], ids=str)
def test_the_values_that_an_annotation_allows(annotation: Any, right: list[Any], wrong: list[Any]) -> None:
    assert all(fits(value, annotation) for value in right) and not any(fits(value, annotation) for value in wrong)


def test_the_first_wrong_option_is_named_with_its_default() -> None:
    def f(x, free=1, size: int = 3, rate: float | None = None, kind: str = "a") -> None:  # type: ignore[no-untyped-def]
        pass

    signature = inspect.signature(f)
    assert wrong_option("f", signature, {"free": "x", "size": 2, "rate": 2, "kind": "b"}) is None
    assert str(wrong_option("f", signature, {"size": 2, "rate": "x", "kind": 5})) == (
        "f: rate must be float | None, got 'x'; rate=None?")
    assert str(wrong_option("f", signature, {"kind": 5, "size": 0.5})) == "f: kind must be str, got 5; kind='a'?"


def test_an_error_inside_an_op_that_is_no_options_fault_stays() -> None:
    def fails(xp: Any, x: Any, scale: float = 1.0) -> Any:
        raise TypeError("of its own")

    made: Op[tn.Tensor] = Op(fails, "x:(N) -> y:(N)", [], None, None, True)
    with pytest.raises(TypeError, match="of its own"):
        made(wide(2), scale=2)
    with pytest.raises(ArgumentError, match=r"^fails: scale must be float, got 'x'; scale=1.0\?$") as caught:
        made(wide(2), scale="x")
    assert isinstance(caught.value.__cause__, TypeError)  # what it looked like inside
