"""What a call gets wrong: options of other types, inputs that are no tensors, and arguments that are nearly right.

An op either takes a value or raises an error of tinynet's, never one of Python's or NumPy's about its inside.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.support.complete import OPS
from tests.support.op_cases import draw
from tinynet.errors import TinynetError
from tinynet.op import Op

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


def test_an_op_may_have_no_input() -> None:
    def up_to(xp: Any, *, n: int) -> Any:
        return xp.arange(float(n)), None

    made: Op[Any] = Op(up_to, "-> y:(N)", [], lambda known, n: {"N": n}, None, True)
    assert made(n=3).numpy().tolist() == made(n=3).numpy().tolist() == [0, 1, 2]


def test_an_error_inside_an_op_that_is_no_options_fault_stays() -> None:
    def fails(xp: Any, x: Any, scale: float = 1.0) -> Any:
        raise TypeError("of its own")

    made: Op[tn.Tensor] = Op(fails, "x:(N) -> y:(N)", [], None, None, True)
    with pytest.raises(TypeError, match="of its own"):
        made(wide(2), scale=2)
