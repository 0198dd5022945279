"""The line of shapes: what it can say, what it works out, and what it says when it is broken."""

from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.support.complete import OPS
from tests.support.cuda_places import CUPY, EMULATED
from tinynet.contract import Contract, Run, Size
from tinynet.errors import ArgumentError, DeviceError, DtypeError, ShapeError
from tinynet.tensor import blank
from tinynet.tracing import shapes_only

Array = np.ndarray


def zeros(*shape: int, dtype: str = "float64") -> Array:
    return np.zeros(shape, dtype)


# --- reading --------------------------------------------------------------------------------------------------------

def test_parts_of_a_contract() -> None:
    contract = Contract("x:(N,T,D) h0?:(N,H) labels:int(...S) p:any(...,2) *xs:(...) W:(H+D,4H) -> y:(N,T',H) h:(1)")
    x, _, labels, p, _, W = contract.inputs
    assert [argument.name for argument in contract.inputs] == ["x", "h0", "labels", "p", "xs", "W"]
    assert [argument.kind for argument in contract.inputs] == ["float", "float", "int", "any", "float", "float"]
    assert [argument.optional for argument in contract.inputs] == [False, True, False, False, False, False]
    assert [argument.variadic for argument in contract.inputs] == [False, False, False, False, True, False]
    assert [argument.name for argument in contract.outputs] == ["y", "h"]
    assert W.axes == (Size("H+D", (("H", 1), ("D", 1)), 0), Size("4H", (("H", 4),), 0))
    assert p.axes == (Run("..."), Size("2", (), 2))
    assert labels.axes == (Run("...S"),)
    assert str(x) == "(N,T,D)"
    assert str(W) == "(H+D,4H)"
    assert contract.letters == ("N", "T", "D", "H", "...S", "...", "T'")


@pytest.mark.parametrize("name", OPS)
def test_contracts_of_the_registry_can_be_read_back(name: str) -> None:
    """Written out from its parts, a contract is the line that it was read from."""
    contract = OPS[name].contract
    second = {a.name: f"|{a}" for a in contract.with_floats.inputs} if contract.with_floats else {}
    words = [f"{'*' * a.variadic}{a.name}{'?' * a.optional}:{'' if a.kind == 'float' else a.kind}{a}"
             f"{second[a.name] if a.name in contract.two_forms else ''}" for a in (*contract.inputs, *contract.outputs)]
    assert words == [word for word in contract.text.split() if word != "->"]


@pytest.mark.parametrize(("text", "message"), [
    ("x:(N)", "contract: 'x:(N)' has no '->'; write inputs -> outputs"),
    ("x:(N, T) -> y:(N)", "contract: cannot read 'x:(N,' in 'x:(N, T) -> y:(N)'; write name:(N,T,D) without blanks"),
    ("x(N) -> y:(N)", "contract: cannot read 'x(N)' in 'x(N) -> y:(N)'; write name:(N,T,D) without blanks"),
    ("x:(N) -> :(N)", "contract: cannot read ':(N)' in 'x:(N) -> :(N)'; write name:(N,T,D) without blanks"),
    ("x:float(N) -> y:(N)", "contract: cannot read 'x:float(N)' in 'x:float(N) -> y:(N)'; write name:(N,T,D) without "
                            "blanks"),
    ("x:(N*T) -> y:(N)", "contract: cannot read the size 'N*T' in 'x:(N*T) -> y:(N)'; write N, 4H, H+D or a number"),
    ("x:(N+) -> y:(N)", "contract: cannot read the size 'N+' in 'x:(N+) -> y:(N)'; write N, 4H, H+D or a number"),
    ("x:(-1) -> y:(N)", "contract: cannot read the size '-1' in 'x:(-1) -> y:(N)'; write N, 4H, H+D or a number"),
])
def test_what_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(ShapeError) as error:
        Contract(text)
    assert str(error.value) == message


# --- solving --------------------------------------------------------------------------------------------------------

LSTM = Contract("x:(N,T,D) h0?:(N,H) W:(H+D,4H) b:(4H) -> y:(N,T,H)")


def test_letters_are_solved_from_sums_and_multiples() -> None:
    shapes = {"x": (3, 7, 2), "h0": None, "W": (6, 16), "b": (16,)}
    assert LSTM.check("lstm", shapes) == {"D": 2, "H": 4, "N": 3, "T": 7}
    assert LSTM.output_shapes(LSTM.check("lstm", shapes)) == ((3, 7, 4),)


def test_a_sum_waits_for_its_letters() -> None:
    """H+D comes before the axis that tells H; constants and several multiples are counted."""
    contract = Contract("W:(H+D,4H) -> y:(D)")
    assert contract.check("f", {"W": (7, 8)}) == {"D": 5, "H": 2}
    contract = Contract("a:(2K+3) b:(K+1,2) -> y:(K)")
    assert contract.check("f", {"a": (11,), "b": (5, 2)}) == {"K": 4}
    for a, b in [((10,), (5, 2)), ((11,), (6, 2)), ((11,), (5, 3)), ((1,), (0, 2))]:
        with pytest.raises(ShapeError):
            contract.check("f", {"a": a, "b": b})


def test_runs_of_axes() -> None:
    contract = Contract("x:(...,C) labels:int(...) -> y:(N)")
    assert contract.check("f", {"x": (2, 3, 5), "labels": (2, 3)}) == {"...": (2, 3), "C": 5}
    assert contract.check("f", {"x": (5,), "labels": ()}) == {"...": (), "C": 5}
    assert contract.with_floats is None
    two = Contract("x:(...,C) labels:int(...)|(...,C) w?:(C) -> y:(N)")
    assert str(two.inputs[1]) == "(...)" and two.inputs[1].kind == "int"
    floats = two.of([np.dtype("float32"), np.dtype("float64"), None])
    assert floats is two.with_floats and str(floats.inputs[1]) == "(...,C)" and floats.inputs[1].kind == "float"
    assert two.of([np.dtype("float32"), np.dtype("int8"), None]) is two
    for x, labels in [((2, 3, 5), (3, 2)), ((2, 3, 5), (2, 3, 5)), ((), ()), ((5,), (5,))]:
        with pytest.raises(ShapeError):
            contract.check("f", {"x": x, "labels": labels})
    middle = Contract("x:(N,...S,C) -> y:(...S)")
    sizes = middle.check("f", {"x": (2, 3, 4, 5)})
    assert sizes == {"...S": (3, 4), "C": 5, "N": 2}
    assert middle.output_shapes(sizes) == ((3, 4),)
    assert middle.check("f", {"x": (2, 5)}) == {"...S": (), "C": 5, "N": 2}


def test_two_runs_are_two() -> None:
    contract = Contract("a:(...A) b:(...B) -> y:(...A)")
    assert contract.check("f", {"a": (2,), "b": (3, 4)}) == {"...A": (2,), "...B": (3, 4)}


def test_one_letter_has_one_value() -> None:
    contract = Contract("a:(N,N) -> y:(N)")
    assert contract.check("f", {"a": (3, 3)}) == {"N": 3}
    with pytest.raises(ShapeError):
        contract.check("f", {"a": (3, 4)})


def test_many_arrays() -> None:
    contract = Contract("*xs:(...) -> y:(...Y)")
    assert contract.variadic
    assert contract.check("concatenate", {"xs": [(2,), (3,)]}) == {"*xs": [(2,), (3,)]}


def test_shapes_without_values() -> None:
    with shapes_only():
        y, h, c = tn.ops.lstm(blank((32, 28, 28)), None, None, blank((156, 512)), blank((512,)))
        assert (y.shape, h.shape, c.shape) == ((32, 28, 128), (32, 128), (32, 128))
        assert tn.ops.conv2d(blank((8, 224, 224, 3)), blank((3, 3, 3, 64)), stride=2).shape == (8, 111, 111, 64)
        assert tn.ops.conv1d(blank((8, 28, 3), "float64"), blank((3, 3, 4), "float64")).dtype == "float64"
        assert y.data.strides == (0, 0, 0)  # nothing was computed
        with pytest.raises(ShapeError, match="dense: x must be"):
            tn.ops.dense(blank((8, 3)), blank((4, 5)))
    assert tn.ops.relu(blank((2, 3))).data.strides == (12, 4)
    assert blank((1000, 1000, 1000)).data.strides == (0, 0, 0)


@pytest.mark.parametrize(("a", "b"), [
    ((0, 3), (1, 3)), ((1, 3), (0, 3)), ((0,), ()), ((4, 1, 0), (3, 1)), ((2, 3), (3,)), ((2, 1), (1, 5)), ((), ()),
    ((1,), (0, 1))])
def test_shapes_broadcast_as_those_of_numpy(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with shapes_only():
        assert (blank(a) + blank(b)).shape == np.broadcast_shapes(a, b)
        assert tn.ops.where(np.ones(a, bool), blank(b), 0.0).shape == np.broadcast_shapes(a, b)


# --- messages: op and argument; the rule with its numbers; the likely fix -------------------------------------------

def conv2d(x: Array, **options: Any) -> Any:
    return tn.ops.conv2d(x, zeros(3, 3, 3, 8), **options)


MESSAGES: list[tuple[str, Any, type[Exception], str]] = [
    ("channels first, an image", lambda: conv2d(zeros(8, 3, 32, 32)), ShapeError,
     "conv2d: x must be (N,H,W,C) with C = 3 (from W), got (8,3,32,32); channels come last here, "
     "x.transpose(0,2,3,1)?"),
    ("channels first, a sequence", lambda: tn.ops.conv1d(zeros(8, 5, 28), zeros(3, 5, 4)), ShapeError,
     "conv1d: x must be (N,T,C) with C = 5 (from W), got (8,5,28); channels come last here, x.transpose(0,2,1)?"),
    ("channels first, batch_norm", lambda: tn.ops.batch_norm(zeros(8, 3, 5, 6), zeros(3), zeros(3)), ShapeError,
     "batch_norm: x must have C = 3 (from beta) on axis -1, got 6 in (8, 3, 5, 6); channels come last here, "
     "x.transpose(0,2,3,1)?"),
    ("no batch axis, an image", lambda: conv2d(zeros(32, 32, 3)), ShapeError,
     "conv2d: x must be (N,H,W,C) with C = 3 (from W), got (32,32,3); the batch axis is missing, x[None]?"),
    ("no batch axis, a sequence", lambda: tn.ops.lstm(zeros(28, 2), None, None, zeros(6, 16), zeros(16)), ShapeError,
     "lstm: x must be (N,T,D) with D = 2 (from W), got (28,2); the batch axis is missing, x[None]?"),
    ("no channel axis", lambda: tn.ops.conv2d(zeros(8, 28, 28), zeros(3, 3, 1, 8)), ShapeError,
     "conv2d: x must be (N,H,W,C) with C = 1 (from W), got (8,28,28); the channel axis is missing, x[..., None]?"),
    ("labels with an axis too many", lambda: tn.ops.cross_entropy(zeros(8, 2), np.zeros((8, 1), int)), ShapeError,
     "cross_entropy: logits must be (...,K) with ... = (8,1) (from labels), got (8,2); labels[..., 0]?"),
    ("a target that lacks an axis", lambda: tn.ops.mse(zeros(8, 1), zeros(8)), ShapeError,
     "mse: prediction must be (...) = (8), got (8,1); target[..., None]?"),
    ("a target with an axis too many", lambda: tn.ops.mse(zeros(8), zeros(8, 1)), ShapeError,
     "mse: prediction must be (...) = (8,1), got (8); target[..., 0]?"),
    ("another number of targets", lambda: tn.ops.mse(zeros(8), zeros(8, 2)), ShapeError,
     "mse: prediction must be (...) = (8,2), got (8); reshape prediction, or make the layer for this size"),
    ("wrong size", lambda: tn.ops.dense(zeros(4, 7), zeros(3, 5)), ShapeError,
     "dense: x must be (...,D) with D = 3 (from W), got (4,7); reshape x, or make the layer for this size"),
    ("wrong rank", lambda: tn.ops.dense(zeros(4, 3), zeros(5)), ShapeError,
     "dense: W must be (D,F) with D = 3 (from x), got (5); reshape W, or make the layer for this size"),
    ("transposed weights", lambda: tn.ops.dense(zeros(4, 3), zeros(5, 3), zeros(5)), ShapeError,
     "dense: W must be (D,F) = (3,5), got (5,3); the other way round, W.T?"),
    ("the LSTM's W", lambda: tn.ops.lstm(zeros(2, 5, 28), zeros(2, 128), zeros(2, 128), zeros(156, 384), zeros(512)),
     ShapeError, "lstm: W must be (H+D,4H) = (156,512), got (156,384); reshape W, or make the layer for this size"),
    ("the LSTM's state", lambda: tn.ops.lstm(zeros(2, 5, 3), zeros(3, 4), zeros(2, 4), zeros(7, 16), zeros(16)),
     ShapeError, "lstm: h0 must be (N,H) = (2,4), got (3,4); reshape h0, or make the layer for this size"),
    ("two letters of the LSTM's input", lambda: tn.ops.lstm(zeros(3, 5, 7), zeros(2, 4), zeros(2, 4), zeros(7, 16)),
     ShapeError, "lstm: x must be (N,T,D) with N = 2 (from c0), D = 3 (from W), got (3,5,7); reshape x, or make the "
     "layer for this size"),
    ("None beside several that may be left out", lambda: tn.ops.gru(zeros(2, 5, 3), zeros(2, 4), None), ShapeError,
     "gru: W must be (H+D,3H), got None; only h0, b, b_h, mask may be left out"),
    ("no axis is missing", lambda: tn.ops.dense(zeros(4, 7), zeros(1, 5)), ShapeError,
     "dense: x must be (...,D) with D = 1 (from W), got (4,7); reshape x, or make the layer for this size"),
    ("a vector for a matrix", lambda: tn.ops.matmul(zeros(3), zeros(3, 5)), ShapeError,
     "matmul: a must be (...A,M,K) with K = 3 (from b), got (3); reshape a, or make the layer for this size"),
    ("the bias", lambda: tn.ops.dense(zeros(4, 3), zeros(3, 5), zeros(4)), ShapeError,
     "dense: b must be (F) = (5), got (4); reshape b, or make the layer for this size"),
    ("the mask", lambda: tn.ops.lstm(zeros(2, 5, 3), W=zeros(7, 16), mask=zeros(5, 2)), ShapeError,
     "lstm: mask must be (N,T) = (2,5), got (5,2); the other way round, mask.T?"),
    ("one of two states", lambda: tn.ops.lstm(zeros(2, 5, 3), zeros(2, 4), zeros(3, 4), zeros(7, 16)), ShapeError,
     "lstm: c0 must be (N,H) = (2,4), got (3,4); reshape c0, or make the layer for this size"),
    ("the batch of two states", lambda: tn.ops.lstm(zeros(2, 5, 3), zeros(3, 4), zeros(3, 4), zeros(7, 16)), ShapeError,
     "lstm: x must be (N,T,D) with N = 3 (from c0), D = 3 (from W), got (2,5,3); reshape x, or make the layer for this "
     "size"),
    ("a matrix the other way round", lambda: tn.ops.matmul(zeros(2, 3), zeros(2, 3)), ShapeError,
     "matmul: a must be (...A,M,K) with K = 2 (from b), got (2,3); b.T?"),
    ("None", lambda: tn.ops.dense(zeros(4, 3), None), ShapeError,
     "dense: W must be (D,F), got None; only b may be left out"),
    ("None where nothing may be", lambda: tn.ops.matmul(None, zeros(3, 5)), ShapeError,
     "matmul: a must be (...A,M,K), got None; nothing may be left out"),
    ("labels of another batch", lambda: tn.ops.cross_entropy(zeros(4, 3), np.zeros(5, int)), ShapeError,
     "cross_entropy: logits must be (...,K) with ... = (5) (from labels), got (4,3); reshape logits, or make the layer "
     "for this size"),
    ("mixed precision", lambda: tn.ops.dense(zeros(4, 3), zeros(3, 5, dtype="float32")), DtypeError,
     "dense: x is float64, W float32; all float arguments share one dtype: x.astype(\"float32\"), or "
     "model.astype(\"float64\")?"),
    ("integers that are no bytes of images", lambda: tn.ops.dense(np.zeros((4, 3), np.uint16), zeros(3, 5)), DtypeError,
     'dense: x must hold floats, got uint16; x.astype("float32")?'),
    ("integers for floats", lambda: tn.ops.dense(np.zeros((4, 3), np.uint8), zeros(3, 5)), DtypeError,
     'dense: x must hold floats, got uint8; x.astype("float32")? (images of 0 ... 255: tn.nn.Scaling()(x))'),
    ("floats for labels", lambda: tn.ops.cross_entropy(zeros(4, 3), zeros(4)), ShapeError,
     "cross_entropy: labels that are floats must be (...,K), got (4) for logits of (4,3); integers, "
     'labels.astype("int64")?'),
    ("probabilities of another batch", lambda: tn.ops.cross_entropy(zeros(4, 3), zeros(5, 3)), ShapeError,
     "cross_entropy: labels that are floats must be (...,K), got (5,3) for logits of (4,3); integers, "
     'labels.astype("int64")?'),
    ("one-hot rows of integers", lambda: tn.ops.cross_entropy(zeros(4, 3), np.eye(4, 3, dtype=int)), ShapeError,
     "cross_entropy: labels that are integers must be (...), got (4,3) for logits of (4,3); labels.argmax(-1), or "
     'labels.astype("float32")?'),
    ("booleans for labels", lambda: tn.ops.cross_entropy(zeros(4, 3), np.zeros(4, bool)), DtypeError,
     'cross_entropy: labels must hold integers, got bool; labels.astype("int64")? '
     "(one-hot rows: labels.argmax(-1))"),
    ("booleans for floats", lambda: tn.ops.relu(np.zeros(4, bool)), DtypeError,
     'relu: x must hold floats, got bool; x.astype("float32")?'),
    ("labels too large", lambda: tn.ops.cross_entropy(zeros(2, 10), np.array([1, 10])), ArgumentError,
     "cross_entropy: labels must be in [0, K) = [0, 10), got values from 1 to 10; do labels count from 1, or are there "
     "more classes than logits?"),
    ("labels below zero", lambda: tn.ops.cross_entropy(zeros(2, 10), np.array([-1, 3])), ArgumentError,
     "cross_entropy: labels must be in [0, K) = [0, 10), got values from -1 to 3; do labels count from 1, or are there "
     "more classes than logits?"),
]


@pytest.mark.parametrize(("call", "kind", "message"), [message[1:] for message in MESSAGES],
                         ids=[message[0] for message in MESSAGES])
def test_message(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as error:
        call()
    assert str(error.value) == message
    assert isinstance(error.value, tn.errors.TinynetError)


def test_complex_numbers_count_as_floats() -> None:
    z = np.ones((2, 3), complex)
    assert tn.ops.dense(z, np.ones((3, 4), complex)).dtype == complex


@pytest.mark.parametrize("device", [EMULATED, *(pytest.param(device, marks=CUPY) for device in ("gpu", "gpu:1"))])
def test_arrays_on_two_devices(device: str) -> None:
    W = tn.Tensor(np.ones((3, 5))).to(device)
    assert W.device == device
    with pytest.raises(DeviceError) as error:
        tn.ops.dense(zeros(4, 3), W)
    assert str(error.value) == f'dense: x is on cpu, W on {device}; call x.to("{device}") or model.to("cpu")'
    with pytest.raises(DeviceError, match=f"concatenate: xs.0. is on cpu, xs.1. on {device}; call"):
        tn.ops.concatenate([zeros(4, 5), W])


@pytest.mark.parametrize("device", ["gpu:", "tpu", "gpu:x", "cuda"])
def test_devices_that_do_not_exist(device: str) -> None:
    with pytest.raises(DeviceError) as error:
        tn.Tensor([1.0]).to(device)
    assert str(error.value) == (f'device: must be "cpu", "gpu", "gpu:1" or "gpu-emulated", got {device!r}; '
                                'model.to("cpu")? tn.devices() says what there is')


def test_using_something_else() -> None:
    with pytest.raises(ArgumentError) as error, tn.using("slow"):
        pass
    assert str(error.value) == ('using: which must be "reference" or "fast", got \'slow\'; with tn.using("reference"):')
