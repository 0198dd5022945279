"""Every op of the registry, found by itself; then the LSTM at length, the conventions, and Tensor beside NumPy."""

import itertools
import math
import operator
from collections.abc import Callable
from contextlib import nullcontext
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest

import tinynet as tn
import tinynet.op as op_module
import tinynet.tensor as tensor_module
from tests.support.complete import OPS
from tests.support.op_cases import check_op, difference, draw
from tests.support.references import philox
from tinynet import backend
from tinynet.errors import ArgumentError, DtypeError, ShapeError
from tinynet.op import Op
from tinynet.tracing import shapes_only

Array = np.ndarray

CASES = [pytest.param(op, case, id=f"{name}-{i}") for name, op in OPS.items() for i, case in enumerate(op.cases)]


# --- all of them ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("op", "case"), CASES)
def test_op(op: Op, case: dict[str, Any]) -> None:
    check_op(op, case, np.random.default_rng(0))


def integers_too() -> list[Any]:
    """The cases with float32, and of an op that takes any dtype also with booleans and integers."""
    return [pytest.param(op, case, dtype, id=f"{name}-{i}-{dtype}") for name, op in OPS.items()
            for i, case in enumerate(op.cases) for dtype in ("float32", "bool", "uint8", "int32")
            if dtype == "float32" or op.contract.inputs[0].kind == op.contract.outputs[0].kind == "any"]


@pytest.mark.parametrize(("op", "case", "dtype"), integers_too())
def test_shapes_alone_have_the_shapes_and_dtypes_of_the_values(op: Op, case: dict[str, Any], dtype: str) -> None:
    arrays, options = draw(op, case, np.random.default_rng(0), "float32")
    inputs: Any = [None if array is None else tn.Tensor(array) for array in arrays]
    for i, one in enumerate(inputs):
        if dtype != "float32" and (i == 0 or op.contract.variadic):
            inputs[i] = one.astype(dtype)
    kinds = []
    for run in (nullcontext, shapes_only):
        with tn.no_grad(), run():
            made = op(inputs, **options) if op.contract.variadic else op(*inputs, **options)
        kinds.append([(one.shape, one.dtype) for one in (made if isinstance(made, tuple) else (made,))])
    assert kinds[0] == kinds[1]


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_op_on_the_tape(op: Op) -> None:
    """The same through Tensors: what Op and tape add to the two functions."""
    arrays, options = draw(op, op.cases[0], np.random.default_rng(1))
    floats = [i for i, array in enumerate(arrays) if array is not None and array.dtype.kind == "f"]

    def f(*tensors: tn.Tensor) -> Any:
        given = dict(zip(floats, tensors, strict=True))
        return op(*[given.get(i, array) for i, array in enumerate(arrays)], **options)

    report = tn.gradcheck(f, *[arrays[i] for i in floats])
    assert report.ok, report


def test_every_override_passes_the_same_check() -> None:
    for op in OPS.values():
        pair = backend.find_override(op.module, (op.name, f"d{op.name}"), "cpu")
        if pair and pair[1]:
            for case in op.cases:
                check_op(op, case, np.random.default_rng(0), pair)


def test_an_override_is_compared_with_the_specification() -> None:
    op, rng = tn.ops.tanh, np.random.default_rng(0)
    check_op(op, {}, rng, (op.forward, op.backward))
    check_op(op, {}, rng, (lambda *arrays, **options: NotImplemented, op.backward))
    with pytest.raises(AssertionError, match="forward, y against the reference"):
        check_op(op, {}, rng, (lambda xp, x: (xp.tanh(x) * (1 + 1e-9), xp.tanh(x)), op.backward))
    with pytest.raises(AssertionError, match="gradient of input 0"):
        check_op(op, {}, rng, (op.forward, lambda xp, dy, *, cache, needs: dy * (1 - cache)))


@pytest.mark.parametrize(("counter", "key", "words"), [  # the known answers that come with the paper's own code
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
])
def test_philox_known_answers(counter: Any, key: Any, words: Any) -> None:
    assert philox(counter, key) == words
    arrays = tn.random.philox(np, tuple(np.array([word], np.uint32) for word in counter), key)
    assert tuple(int(word[0]) for word in arrays) == words


# --- the LSTM -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("T", "N", "D", "H"), [(T, N, D, H) for T, N in itertools.product((1, 2, 7), (1, 3))
                                                for D, H in ((3, 2), (2, 4))])
def test_lstm_grid(T: int, N: int, D: int, H: int, masked: bool) -> None:
    """Each of y, h and c is also used alone; h0 and c0 are not zero."""
    case = {"T": T, "N": N, "D": D, "H": H, "recurrent_mask": "normal" if masked else None}
    check_op(tn.ops.lstm, case, np.random.default_rng(T + 10 * N))


@pytest.mark.parametrize("used", [0, 1, 2])
def test_lstm_of_which_only_one_output_is_used(used: int) -> None:
    arrays = draw(tn.ops.lstm, {"T": 3, "N": 2, "D": 3, "H": 2}, np.random.default_rng(2))[0][:6]
    report = tn.gradcheck(lambda *tensors: tn.ops.lstm(*tensors)[used], *arrays)
    assert report.ok, report
    assert report.mode == "complex"


def composed_lstm(x: Any, h: Any, C: Any, W: Any, b: Any, m: Any) -> tuple[Any, Any, Any]:
    """The same cell, made of small ops on the tape."""
    H, ys = h.shape[1], []
    for t in range(x.shape[1]):
        z = tn.ops.concatenate([h * m, x[:, t]], axis=1) @ W + b
        f, i, Ctilde, o = (z[:, k * H : (k + 1) * H] for k in range(4))
        C = tn.ops.sigmoid(f) * C + tn.ops.sigmoid(i) * tn.ops.tanh(Ctilde)
        h = tn.ops.sigmoid(o) * tn.ops.tanh(C)
        ys.append(h)
    return tn.ops.stack(ys, axis=1), h, C


@pytest.mark.parametrize("mode", ["reference", "fast"])
def test_lstm_fused_equals_composed(mode: str) -> None:
    rng = np.random.default_rng(3)
    arrays = draw(tn.ops.lstm, {"T": 6, "N": 3, "D": 4, "H": 5}, rng)[0][:6]
    weights = [rng.standard_normal(shape) for shape in ((3, 6, 5), (3, 5), (3, 5))]
    results = []
    with tn.using(mode):
        for lstm in (tn.ops.lstm, composed_lstm):
            tensors = [tn.Tensor(array, requires_grad=True) for array in arrays]
            outputs = lstm(*tensors)
            terms = [(output * weight).sum() for output, weight in zip(outputs, weights, strict=True)]
            (terms[0] + terms[1] + terms[2]).backward()
            results.append([output.numpy() for output in outputs] + [tensor.grad for tensor in tensors])
    for fused, composed in zip(*results, strict=True):
        assert difference(fused, composed) <= 1e-12


def lstm_weights(D: int, H: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(4)
    return rng.standard_normal((H + D, 4 * H)), rng.standard_normal(4 * H)


def test_lstm_of_no_steps_hands_its_state_on() -> None:
    W, b = (tn.Tensor(array, requires_grad=True) for array in lstm_weights(3, 2))
    h0, c0 = (tn.Tensor(np.full((4, 2), value), requires_grad=True) for value in (1.5, -2.5))
    y, h, c = tn.ops.lstm(tn.Tensor(np.zeros((4, 0, 3))), h0, c0, W, b)
    assert y.shape == (4, 0, 2)
    assert (h.numpy() == 1.5).all()
    assert (c.numpy() == -2.5).all()
    (h.sum() + 3 * c.sum()).backward()
    assert (h0.grad == 1).all()
    assert (c0.grad == 3).all()
    assert not W.grad.any()
    assert not b.grad.any()


def test_empty_batches() -> None:
    """Layers give empty results and zero gradients; a mean of nothing is refused."""
    W, b = (tn.Tensor(array, requires_grad=True) for array in lstm_weights(3, 2))
    y, h, c = tn.ops.lstm(tn.Tensor(np.zeros((0, 5, 3))), None, None, W, b)
    assert (y.shape, h.shape, c.shape) == ((0, 5, 2), (0, 2), (0, 2))
    y.sum().backward()
    assert W.grad.shape == (5, 8)
    assert not W.grad.any()
    V = tn.Tensor(np.ones((2, 3, 4)), requires_grad=True)
    tn.ops.conv1d(tn.Tensor(np.zeros((0, 5, 3))), V).sum().backward()
    assert not V.grad.any()
    assert tn.ops.max_pool2d(tn.Tensor(np.zeros((0, 4, 4, 2))), 2).shape == (0, 2, 2, 2)
    assert tn.ops.softmax(tn.Tensor(np.zeros((0, 3)))).shape == (0, 3)
    one = tn.Tensor(np.ones(3))
    empty = tn.Tensor(np.zeros((0, 3)))
    for call in (lambda: tn.ops.batch_norm(empty, one, one), empty.mean, empty.max, empty.var,
                 lambda: tn.ops.mse(empty, empty), lambda: tn.ops.cross_entropy(empty, np.zeros(0, int))):
        with pytest.raises(ShapeError, match="skip empty batches"):
            call()
    assert empty.sum().item() == 0
    no_labels = np.zeros(0, int)
    assert tn.ops.cross_entropy(empty, no_labels, reduction="sum").item() == 0
    assert tn.ops.cross_entropy(empty, no_labels, reduction="none", ignore_index=1).shape == (0,)
    assert tn.ops.one_hot(no_labels, 3).shape == (0, 3)
    for reduce in (tn.ops.max, tn.ops.min, tn.ops.sum, tn.ops.mean, tn.ops.var, tn.ops.std, tn.ops.logsumexp):
        x = tn.Tensor(np.zeros((2, 0, 3)), requires_grad=True)
        y = reduce(x, axis=(0, 2))
        y.sum().backward()
        assert (y.shape, x.grad.shape) == ((0,), (2, 0, 3))
    assert tn.ops.take_along_axis(one, no_labels).shape == (0,)


@pytest.mark.parametrize(("shape", "axis"), [((2, 0, 3), -1), ((0, 2, 3), -1), ((3, 2, 0), 0), ((0, 2, 0), 1)])
def test_statistics_of_no_elements_are_refused(shape: tuple[int, ...], axis: int) -> None:
    """Whichever axis is empty."""
    x, one = tn.Tensor(np.ones(shape)), tn.Tensor(np.ones(shape[axis]))
    with pytest.raises(ShapeError, match="batch_norm: x must have at least one element for each channel"):
        tn.ops.batch_norm(x, one, one, axis=axis)


def test_a_remembered_call_tells_the_kinds_of_options_apart() -> None:
    """True == 1 == 1.0, but an op may take only one of them."""
    x = tn.Tensor([1.0, 2.0])
    assert tn.ops.power(x, 1).numpy().tolist() == tn.ops.power(x, 1.0).numpy().tolist() == [1, 2]
    with pytest.raises(ArgumentError, match=r"power: exponent must be a number, .* got True"):
        tn.ops.power(x, True)


@pytest.mark.parametrize(("op", "right", "wrong"), [
    (tn.ops.dense, ["float32", "float32"], [["int64", "float32"], ["float32", "float64"], ["float64", "float32"]]),
    (tn.ops.relu, ["float32"], [["int64"], ["bool"]]), (tn.ops.mse, ["float32"] * 2, [["float32", "float64"]]),
    (tn.ops.take_along_axis, ["float32", "int64"], [["float32", "bool"], ["float32", "float32"]])])
def test_a_remembered_call_tells_dtypes_apart(op: Op, right: list[str], wrong: list[list[str]]) -> None:
    """Shapes that were right once do not make floats of integers, or one precision of two."""
    for dtypes in (right, *wrong, right):
        with nullcontext() if dtypes is right else pytest.raises(DtypeError, match=f"^{op.name}: "):
            op(*[np.ones((2, 2), dtype) for dtype in dtypes])


@pytest.mark.parametrize("dtype", ["float32", "float64", ">f4"])
def test_numbers_beside_a_tensor_keep_value_sign_and_dtype(dtype: str) -> None:
    """They are remembered: 1 and 1.0 are one number, 0.0 and -0.0 are not, whichever comes first."""
    x = tn.Tensor(np.array([2.0], dtype), requires_grad=True)
    for number in (0.0, -0.0, 0.0, -0.0, 1, 1.0, True, -1.5, 0.1, 2**24, math.nan, math.inf):
        for _ in range(2):
            y, wanted = x * number, x.data * x.dtype.type(number)
            np.testing.assert_array_equal(y.numpy(), wanted)
            assert np.signbit(y.numpy()) == np.signbit(wanted) and y.dtype == wanted.dtype
            x.grad = None
            y.sum().backward()
            np.testing.assert_array_equal(x.grad, np.array([number], dtype))


def test_a_limited_number_of_numbers_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_module, "_constants", {})
    monkeypatch.setattr(tensor_module, "_REMEMBERED", 3)
    x = tn.Tensor([2.0])
    for number in range(1, 10):
        assert (x * number).item() == 2 * number and len(tensor_module._constants) <= 3
    assert tensor_module._constants
    assert not any(one.data.flags.writeable for one in tensor_module._constants.values())


def test_an_op_remembers_a_limited_number_of_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(op_module, "_REMEMBERED", 4)
    tn.ops.relu._inferred.clear()
    for size in range(1, 12):
        assert tn.ops.relu(tn.Tensor(np.full(size, -1.0))).shape == (size,)
        assert 0 < len(tn.ops.relu._inferred) <= 4


def test_convolution_of_a_sequence_that_is_too_short() -> None:
    x, W = tn.Tensor(np.zeros((2, 2, 3))), tn.Tensor(np.zeros((3, 3, 4)))
    with pytest.raises(ShapeError, match="conv1d: T must be at least 3 for a window of width 3"):
        tn.ops.conv1d(x, W)
    with pytest.raises(ShapeError, match="conv1d: T must be at least 1"):
        tn.ops.conv1d(x[:, :0], W, padding="same")
    with pytest.raises(ShapeError, match=r"conv1d: T must be at least 1 for a window .*, padding 2, got 0"):
        tn.ops.conv1d(x[:, :0], W, padding=2)
    with pytest.raises(ShapeError, match="conv1d: T must be at least 3 for a window of width 3, dilation 2, padding 1,"
                                         r" got 2; padding=.same., or a smaller window"):
        tn.ops.conv1d(x, W, padding=1, dilation=2)


# --- conventions ----------------------------------------------------------------------------------------------------

def gradient_of(f: Callable[..., tn.Tensor], *arrays: Any) -> list[list[float]]:
    tensors = [tn.Tensor(np.array(array, float), requires_grad=True) for array in arrays]
    f(*tensors).sum().backward()
    return [tensor.grad.ravel().tolist() for tensor in tensors]


def test_at_kinks_and_ties() -> None:
    ops = tn.ops
    assert gradient_of(ops.relu, [-1, 0, 2]) == [[0, 0, 1]]
    assert gradient_of(abs, [-1, 0, 2]) == [[-1, 0, 1]]
    assert gradient_of(lambda x: ops.clip(x, 0, 1), [-1, 0, 0.5, 1, 2]) == [[0, 1, 1, 1, 0]]
    assert gradient_of(lambda x: x.max(), [1, 3, 3, 2]) == [[0, 1, 0, 0]]
    assert gradient_of(lambda x: x.min(axis=1), [[1, 3, 1], [2, 2, 2]]) == [[1, 0, 0, 1, 0, 0]]
    assert gradient_of(lambda x: x.max(axis=(0, 2)), np.zeros((2, 2, 2))) == [[1, 0, 1, 0, 0, 0, 0, 0]]
    assert gradient_of(ops.maximum, [1, 1], [1, 2]) == [[1, 0], [0, 1]]
    assert gradient_of(ops.minimum, [1, 1], [1, 2]) == [[1, 1], [0, 0]]
    assert gradient_of(lambda x: ops.max_pool1d(x, 2), [[[5], [5], [1], [3]]]) == [[1, 0, 0, 1]]
    assert gradient_of(lambda x: ops.max_pool2d(x, 2), np.zeros((1, 2, 2, 1))) == [[1, 0, 0, 0]]
    assert gradient_of(lambda x: ops.max_pool1d(x, 3, 1, "same"), np.zeros((1, 3, 1))) == [[2, 1, 0]]
    assert [gradient_of(lambda x, p=p: x**p, [0, 2]) for p in (0, 1, 2)] == [[[0, 0]], [[1, 1]], [[0, 4]]]
    assert tn.Tensor([2.0, 7.0, 7.0]).argmax().item() == 1
    assert tn.Tensor([2.0, 2.0, 7.0]).argmin().item() == 0


@pytest.mark.parametrize("width", [-1, True, (1, -1), ((1, 2), (0, -1)), ((1, 2), (0, 1.5)), ((1, 2), (0,)), 1.5])
def test_widths_of_padding_are_whole_numbers_from_0(width: Any) -> None:
    """Each of them."""
    with pytest.raises((ArgumentError, ShapeError), match="pad"):
        tn.ops.pad(tn.Tensor(np.ones((2, 3))), width)


SEVERAL = [case for case in CASES if len(case.values[0].contract.outputs) > 1]  # type: ignore[union-attr]


@pytest.mark.parametrize(("mode", "device"), [("reference", "cpu"), ("fast", "cpu"), ("fast", "gpu-emulated")])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("op", "case"), SEVERAL)
def test_the_gradient_of_one_of_several_outputs(op: Op, case: dict[str, Any], dtype: str, mode: str,
                                                device: str) -> None:
    """The others were not used: their gradients are zeros for a specification, None for an override."""
    arrays, options = draw(op, case, np.random.default_rng(0))
    outputs, cache = op.forward(np, *arrays, **options)
    needs = tuple(array is not None and array.dtype.kind == "f" for array in arrays)
    for i in range(len(outputs)):
        dys = [np.ones_like(one) * (j == i) for j, one in enumerate(outputs)]
        wanted = op.backward(np, *dys, cache=cache, needs=needs)
        there = [None if array is None else backend.to_device(array.astype(dtype) if need else array, device)
                 for array, need in zip(arrays, needs, strict=True)]
        inputs = [None if array is None else tn.Tensor(array, need) for array, need in zip(there, needs, strict=True)]
        with tn.using(mode):
            op(*inputs, **options)[i].sum().backward()
        for one, dx in zip(inputs, wanted, strict=True):
            if one is not None and one.requires_grad and dx is not None:
                found = np.zeros(one.shape) if one.grad is None else backend.to_host(one.grad)
                assert difference(found, dx, 1e-2) < (1e-4 if dtype == "float32" else 1e-9), (i, one)


def test_padding_is_not_counted_nor_largest() -> None:
    x = tn.Tensor(-np.arange(1.0, 6.0).reshape(1, 5, 1))
    assert tn.ops.avg_pool1d(x, 2, padding="same").numpy().ravel().tolist() == [-1.5, -3.5, -5]
    assert tn.ops.avg_pool1d(x, 3, 1, padding=1).numpy().ravel().tolist() == [-1.5, -2, -3, -4, -4.5]
    assert tn.ops.max_pool1d(x, 3, 1, padding=1).numpy().ravel().tolist() == [-1, -1, -2, -3, -4]
    assert gradient_of(lambda x: tn.ops.avg_pool1d(x, 2, padding="same"), [[[1], [2], [3]]]) == [[0.5, 0.5, 1]]


@pytest.mark.parametrize(("mode", "device"), [("reference", "cpu"), ("fast", "cpu"), ("fast", "gpu-emulated")])
@pytest.mark.parametrize("size", [127, 128, 254, 255, 256, 257, 300])
def test_windows_of_any_number_of_elements(mode: str, device: str, size: int) -> None:
    """The number of the largest one needs more than a byte, and finds its gradient."""
    x = tn.Tensor(np.arange(size, dtype="float32").reshape(1, size, 1), True).to(device)
    with tn.using(mode):
        for pool, image, window in ((tn.ops.max_pool1d, x, size), (tn.ops.max_pool2d, x[:, None], (1, size)),
                                    (tn.ops.max_pool2d, x[:, :, None], (size, 1))):
            x.grad = None
            y = pool(image, window)
            y.sum().backward()
            assert y.item() == size - 1
            assert backend.to_host(x.grad).ravel().tolist() == [0] * (size - 1) + [1]


def test_same_pads_the_odd_element_at_the_end() -> None:
    """The outputs that tf.nn.conv1d gives: with stride 2, 6 steps and a kernel of 3 all the padding is behind."""
    x, W = tn.Tensor(np.arange(1.0, 7.0).reshape(1, 6, 1)), tn.Tensor(np.array([1.0, 10, 100]).reshape(3, 1, 1))
    conv = tn.ops.conv1d
    assert conv(x, W, stride=2, padding="same").numpy().ravel().tolist() == [321, 543, 65]
    assert conv(x[:, :5], W, stride=2, padding="same").numpy().ravel().tolist() == [210, 432, 54]
    assert conv(x, W[:2], padding="same").numpy().ravel().tolist() == [21, 32, 43, 54, 65, 6]
    assert conv(x[:, :3], W, padding="causal").numpy().ravel().tolist() == [100, 210, 321]
    image = tn.ops.conv2d(x.reshape(1, 2, 3, 1), tn.Tensor(np.array([1.0, 10, 100, 1000]).reshape(2, 2, 1, 1)),
                          padding="same")
    assert image.numpy().ravel().tolist() == [5421, 6532, 603, 54, 65, 6]


def test_pools_refuse_windows_of_padding_alone() -> None:
    x = tn.Tensor(np.zeros((1, 4, 2)))
    for padding in (2, "causal"):
        with pytest.raises(ArgumentError, match="a window in the padding alone has no element"):
            tn.ops.max_pool1d(x, 2, padding=padding)


def exact_cross_entropy(logits: list[float], label: int) -> tuple[float, list[float]]:
    """The loss and its gradient with 60 digits."""
    with localcontext() as context:
        context.prec = 60
        powers = [Decimal(value).exp() for value in logits]
        total = sum(powers)
        loss = total.ln() - Decimal(logits[label])
        return float(loss), [float(power / total - (k == label)) for k, power in enumerate(powers)]


def test_cross_entropy_is_finite_and_exact_for_large_logits() -> None:
    """In float32, up to 1e4, one position at a time. A loss as small as 1e-29 still has five right digits."""
    rng = np.random.default_rng(5)
    logits = [scale * rng.standard_normal(5) for scale in (1, 5, 30, 1e3, 4e3) for _ in range(8)]
    logits += [[1e4, -1e4, 0, 1, 2], [1e4] * 5, [-1e4] * 5, [0, 0, 0, 0, 20], [1e4, 9999, 9998, -1e4, 0]]
    z = np.clip(np.stack(logits), -1e4, 1e4).astype(np.float32)
    for label in range(5):
        labels = np.full(len(z), label)
        tensor = tn.Tensor(z, requires_grad=True)
        losses = tn.ops.cross_entropy(tensor, labels, reduction="none")
        losses.sum().backward()
        exact, gradients = map(np.array, zip(*[exact_cross_entropy(row.tolist(), label) for row in z], strict=True))
        large = exact > 1e-3
        assert losses.dtype == np.float32
        np.testing.assert_allclose(losses.numpy()[large], exact[large], rtol=5e-7)
        np.testing.assert_allclose(losses.numpy(), exact, rtol=1e-5, atol=1e-37)
        np.testing.assert_allclose(tensor.grad, gradients, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_overflows(dtype: str) -> None:
    """Neither forward nor backward, and not in a complex step either: warnings are errors here."""
    x = np.array([-1e4, -100, 0, 100, 1e4], dtype)
    sigmoid, tanh, softmax, log_softmax = (tn.ops.sigmoid, tn.ops.tanh, tn.ops.softmax, tn.ops.log_softmax)
    np.testing.assert_allclose(sigmoid(tn.Tensor(x)).numpy(), [0, np.exp(x[1]), 0.5, 1, 1], rtol=1e-6)
    assert tanh(tn.Tensor(x)).numpy().tolist() == [-1, -1, 0, 1, 1]
    assert softmax(tn.Tensor(x)).numpy().tolist() == [0, 0, 0, 0, 1]
    assert log_softmax(tn.Tensor(x)).numpy().tolist() == [-2e4, -10100, -1e4, -9900, 0]
    W, b = np.ones((3, 8), dtype), np.repeat(np.array([1e4, -1e4, 1e4, 1e4], dtype), 2)

    def lstm(x: tn.Tensor) -> Any:
        return tn.ops.lstm(x.reshape(1, 5, 1), None, None, tn.Tensor(W, dtype=x.dtype), tn.Tensor(b, dtype=x.dtype))
    for f in (sigmoid, tanh, softmax, log_softmax, lstm):
        tensor = tn.Tensor(x, requires_grad=True)
        outputs = f(tensor)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        assert all(np.isfinite(output.numpy()).all() for output in outputs)
        outputs[0].sum().backward()
        assert np.isfinite(tensor.grad).all()
        assert tn.gradcheck(f, x)


def test_dropout_is_a_function_of_key_and_counter() -> None:
    x = tn.Tensor(np.ones(1000))
    y, again, later = (tn.ops.dropout(x, 0.25, key=(7, 1), counter=n).numpy() for n in (0, 0, 1))
    assert (y == again).all()
    assert (y != later).any()
    assert set(np.unique(y)) == {0, 1 / 0.75}
    assert abs((y == 0).mean() - 0.25) < 0.05
    start = tn.ops.dropout(tn.Tensor(np.ones(10)), 0.25, key=(7, 1), counter=0).numpy()
    assert (start == y[:10]).all()
    for p in (1, -0.1, float("nan")):
        with pytest.raises(ArgumentError, match=r"dropout: p must be in \[0, 1\)"):
            tn.ops.dropout(x, p, key=(7, 1), counter=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cuts", [(0, 13, 14, 50), (0, 0, 37, 50)])
def test_parts_of_an_array_are_dropped_as_the_whole_is(dtype: str, cuts: tuple[int, ...]) -> None:
    """Also where a part begins inside of the words of a counter, or of the elements that a kernel takes at a time."""
    x = np.ones((50, 7), dtype)
    whole = tn.ops.dropout(tn.Tensor(x), 0.4, key=(7, 1), counter=2).numpy()
    parts = [tn.ops.dropout(tn.Tensor(x[start:end]), 0.4, key=(7, 1), counter=2, first=7 * start).numpy()
             for start, end in itertools.pairwise(cuts)]
    assert np.array_equal(np.concatenate(parts), whole)
    with pytest.raises(ArgumentError, match=r"dropout: first must be .*, at least 0, got -1; first=0\?"):
        tn.ops.dropout(tn.Tensor(x), 0.4, key=(7, 1), counter=2, first=-1)


# --- Tensor beside NumPy --------------------------------------------------------------------------------------------

X = np.random.default_rng(7).permutation(24).reshape(2, 3, 4) * 0.25 - 2.875
V = np.array([0.75, -1.25, 2.0, -0.5])
MASK = X > 0
SAME: dict[str, Callable[[Any, Any], Any]] = {  # what reads alike in NumPy and here: m is np or tn.ops
    "add": lambda m, x: x + 1.5,
    "radd": lambda m, x: 1.5 + x,
    "array on the left": lambda m, x: V + x,
    "array on the right": lambda m, x: x * V,
    "array - x": lambda m, x: V - x,
    "array / x": lambda m, x: V / x,
    "array @ x": lambda m, x: np.ones((2, 4)) @ x[0].T,
    "sub": lambda m, x: x - 2,
    "rsub": lambda m, x: 2 - x,
    "mul": lambda m, x: x * 3,
    "rmul": lambda m, x: 3 * x,
    "truediv": lambda m, x: x / 4,
    "rtruediv": lambda m, x: 4 / x,
    "pow": lambda m, x: x**3,
    "pow -1": lambda m, x: x**-1.0,
    "pow 0": lambda m, x: x**0,
    "neg": lambda m, x: -x,
    "abs": lambda m, x: abs(x),
    "broadcast with itself": lambda m, x: x[:, :1] * x - x[0],
    "matmul": lambda m, x: x[0] @ x[1].T,
    "matmul of stacks": lambda m, x: x @ x[0].T,
    "matrix @ vector": lambda m, x: x @ V,
    "vector @ matrix": lambda m, x: V @ x[0].T,
    "vector @ stack": lambda m, x: x[0, 0, :3] @ x,
    "vector @ vector": lambda m, x: x[0, 0] @ x[1, 2],
    "sum": lambda m, x: x.sum(),
    "sum of an axis": lambda m, x: x.sum(axis=1),
    "sum by position": lambda m, x: x.sum(-1),
    "sum keepdims": lambda m, x: x.sum(axis=(0, 2), keepdims=True),
    "mean": lambda m, x: x.mean(),
    "mean of an axis": lambda m, x: x.mean(axis=-2),
    "var": lambda m, x: x.var(axis=0),
    "std": lambda m, x: x.std(axis=(0, 1)),
    "std of all": lambda m, x: x.std(),
    "std keepdims": lambda m, x: x.std(axis=1, keepdims=True),
    "max": lambda m, x: x.max(),
    "max of an axis": lambda m, x: x.max(axis=2),
    "max keepdims": lambda m, x: x.max(axis=(0, 1), keepdims=True),
    "min": lambda m, x: x.min(),
    "min of an axis": lambda m, x: x.min(axis=0),
    "reshape": lambda m, x: x.reshape(4, 6),
    "reshape to a tuple": lambda m, x: x.reshape((-1, 2)),
    "reshape -1": lambda m, x: x.reshape(-1),
    "transpose": lambda m, x: x.transpose(),
    "transpose of axes": lambda m, x: x.transpose(1, 2, 0),
    "transpose of a tuple": lambda m, x: x.transpose((0, 2, 1)),
    "T": lambda m, x: x.T,
    "flatten": lambda m, x: x.flatten(),
    "squeeze": lambda m, x: x[:1, :, 2:3].squeeze(),
    "squeeze an axis": lambda m, x: x[:1, :, 2:3].squeeze(axis=0),
    "squeeze two": lambda m, x: x[:1, :, 2:3].squeeze(axis=(0, -1)),
    "astype": lambda m, x: x.astype("float64"),
    "[1]": lambda m, x: x[1],
    "[-1, 2]": lambda m, x: x[-1, 2],
    "[1:, ::-2]": lambda m, x: x[1:, ::-2],
    "[..., 1]": lambda m, x: x[..., 1],
    "[None, 0, None]": lambda m, x: x[None, 0, None],
    "a list, with repeats": lambda m, x: x[:, [0, 2, 2, 0]],
    "an array, with repeats": lambda m, x: x[np.array([1, 1, 0, 1])],
    "pairs, with repeats": lambda m, x: x[[0, 1, 0], [2, 0, 2]],
    "a mask": lambda m, x: x[MASK],
    "an element": lambda m, x: x[1, 2, 3],
    "NumPy's integer": lambda m, x: x[np.int64(1), :, np.int64(0)],
    "nothing": lambda m, x: x[:, 2:2],
    "concatenate": lambda m, x: m.concatenate([x, x[:, :1]], axis=1),
    "concatenate last": lambda m, x: m.concatenate([x, 2 * x[..., 1:]], axis=-1),
    "concatenate the axis before": lambda m, x: m.concatenate([x[:, 1:], x], axis=-2),
    "stack": lambda m, x: m.stack([x, -x]),
    "stack last": lambda m, x: m.stack([x, -x, x], axis=-1),
    "pad": lambda m, x: m.pad(x, ((0, 0), (1, 2), (3, 0))),
    "pad all": lambda m, x: m.pad(x, 1),
    "flip": lambda m, x: m.flip(x, 1),
    "flip last": lambda m, x: m.flip(x, -1),
    "expand_dims": lambda m, x: m.expand_dims(x, 1),
    "expand_dims last": lambda m, x: m.expand_dims(x, -1),
    "m.squeeze": lambda m, x: m.squeeze(x[:, :1], 1),
    "where": lambda m, x: m.where(MASK, x, 0.5 * x),
    "where with numbers": lambda m, x: m.where(x > 0, x, 0.25),
    "maximum": lambda m, x: m.maximum(x, 0.3),
    "minimum": lambda m, x: m.minimum(x, V + 0.05),
    "clip": lambda m, x: m.clip(x, -1.05, 0.55),
    "exp": lambda m, x: m.exp(x),
    "log": lambda m, x: m.log(x * x),
    "sqrt": lambda m, x: m.sqrt(x * x + 1),
    "tanh": lambda m, x: m.tanh(x),
    "absolute": lambda m, x: m.absolute(x),
    "chain": lambda m, x: ((x - x.mean(axis=0)) / (x.std(axis=0) + 1e-3)).sum(axis=-1)[::-1].T,
}


@pytest.mark.parametrize("name", SAME)
def test_tensor_as_numpy(name: str) -> None:
    f = SAME[name]
    result, expected = f(tn.ops, tn.Tensor(X)), f(np, X)
    assert isinstance(result, tn.Tensor)
    assert result.dtype == np.float64
    assert difference(result.numpy(), expected) <= 1e-14


@pytest.mark.parametrize("name", SAME)
def test_gradient_of_tensor_methods(name: str) -> None:
    report = tn.gradcheck(lambda x: SAME[name](tn.ops, x), X)
    assert report.ok, report


FLOAT64 = {"array", "vector", "minimum", "astype"}  # they have float64 arrays beside x


@pytest.mark.parametrize("name", [name for name in SAME if not FLOAT64 & {*name.split()}])
def test_float32_stays_float32(name: str) -> None:
    x = tn.Tensor(X.astype(np.float32), requires_grad=True)
    y = SAME[name](tn.ops, x)
    assert y.dtype == np.float32
    y.sum().backward()
    assert x.grad.dtype == np.float32


def test_weak_scalars() -> None:
    x = tn.Tensor(np.ones(3, np.float32))
    for value in (2, 2.5, True, np.float64(0.1), float("inf")):
        for y in (x + value, value + x, x - value, value - x, x * value, value * x, x / value, value / x):
            assert y.dtype == np.float32, value
    with pytest.raises(DtypeError, match='all float arguments share one dtype'):
        x + np.ones(3)
    with pytest.raises(DtypeError, match='all float arguments share one dtype'):
        np.ones(3) * x
    assert (tn.Tensor([1.0, 2.0]) * 3).dtype == np.float32


@pytest.mark.parametrize(("a", "b"), [(1.0, 0.25), (1, 0), (True, 0.5), (1, 2.0**40)])
def test_where_of_two_numbers(a: float, b: float) -> None:
    y = tn.ops.where(tn.Tensor(X) > 0, a, b)
    assert y.dtype == np.float32
    assert (y.numpy() == np.where(X > 0, float(a), b)).all()


@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("float64", "float32")])
def test_a_gradient_has_the_dtype_of_its_input(dtypes: tuple[str, str]) -> None:
    z, t = (tn.Tensor(np.array(values, dtype), requires_grad=True)
            for values, dtype in zip(([0.5, -1.0], [0.25, 1.0]), dtypes, strict=True))
    tn.ops.binary_cross_entropy(z, t).backward()
    assert (str(z.grad.dtype), str(t.grad.dtype)) == dtypes
    np.testing.assert_allclose(t.grad, -z.numpy() / 2, rtol=1e-6)


@pytest.mark.parametrize("device", ["cpu", "gpu-emulated"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint32"])
def test_labels_of_any_integer_dtype(dtype: str, device: str) -> None:
    """Also as views with steps: they count like int64."""
    scores, numbers = np.random.default_rng(0).normal(size=(6, 4)).astype("float32"), np.array([3, 0, 1, 2, 3, 1])
    found = []
    for labels in (numbers, numbers.astype(dtype), np.repeat(numbers, 2).astype(dtype)[::2]):
        logits = tn.Tensor(scores, requires_grad=True, device=device)
        loss = tn.ops.cross_entropy(logits, tn.Tensor(labels, device=device))
        loss.backward()
        tested = tn.evaluate(tn.nn.Sequential().to(device), [(scores, labels)])
        found.append((loss.item(), backend.to_host(logits.grad).tolist(), tested["loss"], tested["accuracy"]))
    assert found[0] == found[1] == found[2]
    if device == "cpu":
        assert tn.ops.cross_entropy(tn.Tensor(scores), numbers.tolist()).item() == found[0][0]


def test_comparisons() -> None:
    x, v, plain, w = tn.Tensor(X), tn.Tensor(V), X, V
    for result, expected in [(x < 0.125, plain < 0.125), (x <= w, plain <= w), (x > v, plain > w), (x >= v, plain >= w),
                             (x == x[0], plain == plain[0]), (x != v, plain != w), (w < x, w < plain),
                             (operator.gt(0.125, x), plain < 0.125)]:
        assert isinstance(result, tn.Tensor)
        assert result.dtype == bool
        assert not result.requires_grad
        assert (result.numpy() == expected).all()
    assert len({x, v, x}) == 2
    a, b = np.array([1.0, 2.0, 3.0, -0.0]), np.array([2.0, 2.0, 2.0, 0.0])
    for compare, name in ((operator.lt, "less"), (operator.le, "less_equal"), (operator.gt, "greater"),
                          (operator.ge, "greater_equal"), (operator.eq, "equal"), (operator.ne, "not_equal")):
        with pytest.raises(ShapeError, match=f"^{name}: shapes must be equal or 1"):
            compare(tn.Tensor(a), b[:3])
        for left, right in ((a, b), (a, 2.0), (2.0, a)):
            tensors = [tn.Tensor(one) if isinstance(one, np.ndarray) else one for one in (left, right)]
            assert (compare(*tensors).numpy() == compare(left, right)).all(), compare
        floats = [1.5, 2.0, 2.5]
        assert (compare(tn.Tensor([1, 2, 3]), floats).numpy() == compare(a[:3], floats)).all(), compare


def test_arg_extrema() -> None:
    x = tn.Tensor(X)
    for axis in (None, 0, 1, -1):
        assert (x.argmax(axis=axis).numpy() == X.argmax(axis=axis)).all()
        assert (x.argmin(axis=axis).numpy() == X.argmin(axis=axis)).all()


def test_an_index_that_is_a_tensor() -> None:
    x = tn.Tensor(X, requires_grad=True)
    picked = x[tn.Tensor(np.array([1, 1, 0]))]
    assert (picked.numpy() == X[[1, 1, 0]]).all()
    picked.sum().backward()
    assert (x.grad == np.array([1.0, 2.0]).reshape(2, 1, 1)).all()
    assert (x[x > 0].numpy() == X[X > 0]).all()
    assert (x[:, tn.Tensor(np.array([2, 0]))].numpy() == X[:, [2, 0]]).all()


def test_python_protocols() -> None:
    x = tn.Tensor(X)
    assert len(x) == 2
    assert [row.shape for row in x] == [(3, 4), (3, 4)]
    assert (np.asarray(x) == X).all()
    assert np.asarray(x, dtype=np.float32).dtype == np.float32
    assert float(x[0, 0, 0]) == X[0, 0, 0]
    assert (int(tn.Tensor([3.7])), bool(tn.Tensor(-1.0)), bool(tn.Tensor([[0.0]]))) == (3, True, False)
    assert (x.shape, x.ndim, x.size, x.device) == ((2, 3, 4), 3, 24, "cpu")
    assert bool(tn.Tensor([1.0]) > 0)
    assert not x.numpy().flags.writeable
    assert all(np.shares_memory(np.asarray(x, dtype=dtype), x.data) for dtype in (None, x.dtype))
    assert np.shares_memory(np.array(x, copy=False), x.data)
    copy = np.array(x)
    copy[0] = 0
    assert (x.numpy() == X).all()


def test_mistakes_with_axes_and_shapes() -> None:
    x = tn.Tensor(X)
    mistakes: list[tuple[type[Exception], str, Callable[[], Any]]] = [
        (ShapeError, r"add: shapes must be equal or 1 on every axis, counted from the last, got \(2,3,4\) and \(3\); "
         "reshape one, or index it with None", lambda: x + np.ones(3)),
        (ShapeError, r"reshape: shape must have as many elements as x, 24 in \(2, 3, 4\), got \(5, -1\); -1 at "
         "most once, for the remaining size", lambda: x.reshape(5, -1)),
        (ArgumentError, r"transpose: axes must name each of the 3 axes of x once, got \(0, 0, 1\); x.T reverses",
         lambda: x.transpose(0, 0, 1)),
        (ArgumentError, r"sum: axis must be None or in \[-3, 3\) for an array of 3 axes, got 3; axis=-1 is the last",
         lambda: x.sum(axis=3)),
        (ArgumentError, "squeeze: axis must name axes of size 1, got 1 for shape .*; index one", lambda: x.squeeze(1)),
        (ShapeError, "concatenate: xs must have equal shapes except on axis 0, got .*; reshape or slice",
         lambda: tn.ops.concatenate([x, x[:, :2]])),
        (ArgumentError, "concatenate: axis must be an axis of the arrays, got axis = 3 .*; tn.ops.stack makes a new",
         lambda: tn.ops.concatenate([x, x], axis=3)),
        (DtypeError, "Tensor: data must be numbers, got an array of <U1", lambda: x ** np.array(["a"])),
        (ArgumentError, r"take_along_axis: indices must be in \[-3, 3\) for 3 elements along axis 1, got values",
         lambda: tn.ops.take_along_axis(x, np.full((2, 3, 4), np.arange(4)), axis=1)),
        (ShapeError, r"take_along_axis: indices must have as many axes as x, got \(1,\) for x of \(2, 3, 4\)",
         lambda: tn.ops.take_along_axis(x, [0])),
        (ShapeError, r"take_along_axis: shapes must be equal or 1",
         lambda: tn.ops.take_along_axis(x, np.zeros((2, 2, 1), int))),
        (ArgumentError, r"one_hot: labels must be in \[0, classes\) = \[0, 3\), got values from 0 to 3",
         lambda: tn.ops.one_hot([0, 3], 3)),
        (DtypeError, r"one_hot: labels must hold integers, got float32", lambda: tn.ops.one_hot([0.0], 3)),
        (ArgumentError, r"one_hot: classes must be an integer of at least 1, got 0", lambda: tn.ops.one_hot([0], 0)),
        (ShapeError, r"logsumexp: x must have elements to reduce",
         lambda: tn.ops.logsumexp(tn.Tensor(np.zeros((0, 2))))),
        (ArgumentError, "clip: low must be at most high, got low = 1, high = 0; the other way round",
         lambda: tn.ops.clip(x, 1, 0)),
        (ArgumentError, "pad: width must be a number, a pair.* got .*; .0, 0. leaves an axis as it is",
         lambda: tn.ops.pad(x, ((1, 1), (0, 0)))),
        (ArgumentError, r"softmax: axis must be an axis of x that is not empty, x has shape \(2, 3, 4\), got axis = 5; "
         "axis=-1 is the last one", lambda: tn.ops.softmax(x, axis=5)),
        (ArgumentError, 'conv1d: padding must be "valid", "same", "causal" or an integer >= 0, got -1; padding="same"',
         lambda: tn.ops.conv1d(x, np.ones((1, 4, 2)), padding=-1)),
        (ShapeError, r"conv1d: x must be \(N,T,2C\) with C = 2 \(from W\), got .*; ",
         lambda: tn.ops.conv1d(np.ones((2, 5, 3)), np.ones((1, 2, 4)), groups=2)),
        (ShapeError, "conv1d: W must have a multiple of groups = 2 columns, got F = 3; F = 4",
         lambda: tn.ops.conv1d(np.ones((2, 5, 4)), np.ones((1, 2, 3)), groups=2)),
        (ArgumentError, "conv1d: groups must be an integer of at least 1, got 0; groups=1",
         lambda: tn.ops.conv1d(x, np.ones((1, 2, 4)), groups=0)),
        (ArgumentError, "Conv1D: groups must divide inputs and filters, got groups = 3 for 4 and 6; groups=2",
         lambda: tn.nn.Conv1D(4, 6, 3, groups=3)),
        (ArgumentError, "conv1d: stride must be an integer of at least 1, got 0; stride=1",
         lambda: tn.ops.conv1d(x, np.ones((1, 4, 2)), stride=0)),
        (ArgumentError, r"conv2d: stride must be one value or a pair \(height, width\), got \(1, 2, 3\); stride=\(1, 1",
         lambda: tn.ops.conv2d(x[None], np.ones((1, 1, 4, 2)), stride=(1, 2, 3))),
        (ArgumentError, "batch_norm: axis must be in .*, got 3; axis=-1 is the last axis",
         lambda: tn.ops.batch_norm(x, V, V, axis=3)),
        (ArgumentError, "batch_norm: mean and var must be given both or neither, got mean alone; leave both out",
         lambda: tn.ops.batch_norm(x, V, V, mean=V)),
        (ArgumentError, "mse: reduction must be .*, got 'average'", lambda: tn.ops.mse(x, x, reduction="average")),
        (ArgumentError, "cross_entropy: label_smoothing must be in .*, got 2; 0.1 is usual",
         lambda: tn.ops.cross_entropy(x, np.zeros((2, 3), int), label_smoothing=2)),
        (ArgumentError, "dropout: key must be two integers in .*, got .*; key=.seed, stream.",
         lambda: tn.ops.dropout(x, 0.5, key=(1, -2), counter=0)),
    ]
    for error, message, call in mistakes:
        with pytest.raises(error, match=message):
            call()


def test_places_that_do_not_exist() -> None:
    x = tn.Tensor(X)
    for call in (lambda: tn.ops.flip(x, 3), lambda: tn.ops.expand_dims(x, 4), lambda: tn.ops.expand_dims(x, -5),
                 lambda: tn.ops.stack([x, x], axis=5), lambda: tn.ops.squeeze(x[:1], 4), lambda: x[2]):
        with pytest.raises((ArgumentError, IndexError)):
            call()


def test_inputs_by_name() -> None:
    """Those that may be None may also be left out."""
    W, b = lstm_weights(4, 2)
    y, h, c = tn.ops.lstm(tn.Tensor(X), None, None, W, b)
    for result in (tn.ops.lstm(tn.Tensor(X), W=W, b=b), tn.ops.lstm(b=b, W=W, c0=None, x=X)):
        assert all((one.numpy() == other.numpy()).all() for one, other in zip(result, (y, h, c), strict=True))


def test_arrays_in_a_list_or_one_by_one() -> None:
    x, expected = tn.Tensor(X), np.concatenate([X, X, X], axis=1)
    for given in ([[x, x, x]], [(x, X, x)], [x, x, X]):
        assert (tn.ops.concatenate(*given, axis=1).numpy() == expected).all()
    assert (tn.ops.concatenate(x).numpy() == X).all()


def test_arguments_that_do_not_exist() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'axes'"):
        tn.ops.softmax(tn.Tensor(X), axes=1)
    with pytest.raises(TypeError, match="missing a required argument: 'W'"):
        tn.ops.dense(tn.Tensor(X))
    with pytest.raises(TypeError, match="too many positional arguments"):
        tn.ops.relu(tn.Tensor(X), 1)
    with pytest.raises(TypeError, match="dense: multiple values for argument 'W'; call it as dense"):
        tn.ops.dense(tn.Tensor(X), V, W=V)
    for name in ("axes", "xs"):
        with pytest.raises(TypeError, match=f"concatenate: got an unexpected .* '{name}'; call it as concatenate"):
            tn.ops.concatenate(tn.Tensor(X), **{name: 1})
    for call in (lambda: tn.ops.softmax(tn.Tensor(X), 1), lambda: tn.ops.mse(tn.Tensor(X), X, "sum"),
                 lambda: tn.ops.sum(tn.Tensor(X), 1, True)):  # options, which are named
        with pytest.raises(TypeError, match=r": too many positional arguments; call it as \w+\("):
            call()


def test_the_mean_of_booleans_and_integers() -> None:
    """The accuracy, as one writes it."""
    logits, labels = tn.Tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), tn.Tensor([1, 1, 1])
    assert (logits.argmax(-1) == labels).mean().item() == pytest.approx(2 / 3)
    assert labels.sum().item() == 3 and labels.max().item() == 1


def test_numbers_of_numpy_are_numbers() -> None:
    x = tn.Tensor(np.ones((2, 6, 3)))
    assert x.sum(axis=np.int64(1)).shape == (2, 3)
    assert tn.ops.max_pool1d(x, np.int64(2)).shape == (2, 3, 3)


# --- powers, logarithms of sums, choices along an axis --------------------------------------------------------------

PLACES = ["cpu", "gpu-emulated"]

@pytest.mark.parametrize("place", PLACES)
def test_powers_of_tensors_at_0_and_below(place: str) -> None:
    """As PyTorch's: the gradients at x = 0 and p = 0 are finite where the function is smooth from one side."""
    x = tn.Tensor([0.0, 0.0, 2.0, -2.0, 0.0], requires_grad=True, device=place)
    p = tn.Tensor([2.0, 0.0, 0.0, 3.0, 0.5], requires_grad=True, device=place)
    with np.errstate(all="ignore"):
        y = x**p
        y.sum().backward()
    assert y.numpy().tolist() == [0, 1, 1, -8, 0]
    assert tn.Tensor(x.grad).numpy().tolist() == [0, 0, 0, 12, math.inf]
    np.testing.assert_allclose(tn.Tensor(p.grad).numpy(), [0, 0, math.log(2), math.nan, 0])


def test_operators_for_powers() -> None:
    x = tn.Tensor([1.0, 3.0])
    assert (2**x).numpy().tolist() == [2, 8]
    assert (x ** np.array([2.0, 1.0], "float32")).numpy().tolist() == [1, 3]
    assert tn.ops.power(x, tn.Tensor([2.0, 1.0])).numpy().tolist() == [1, 3]
    assert tn.ops.power(x, exponent=tn.Tensor(2.0)).numpy().tolist() == (x**2).numpy().tolist() == [1, 9]
    assert tn.ops.power(x, np.float32(2)).numpy().tolist() == [1, 9]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_logarithm_of_a_sum_with_infinities(place: str, dtype: str) -> None:
    inf = math.inf
    x = tn.Tensor(np.array([[-inf, -inf], [0, -inf], [1e4, 1e4], [inf, 0], [-1e4, -inf]], dtype), requires_grad=True,
                  device=place)
    y = tn.ops.logsumexp(x, axis=1)
    np.testing.assert_allclose(y.numpy(), [-inf, 0, 1e4 + math.log(2), inf, -1e4], rtol=1e-7)
    with np.errstate(invalid="ignore"):  # the softmax of infinity
        y.sum().backward()
    gradient, rtol = tn.Tensor(x.grad).numpy(), 1e-3 if dtype == "float32" else 1e-7
    np.testing.assert_allclose(gradient, [[0, 0], [1, 0], [0.5, 0.5], [math.nan, 0], [1, 0]], rtol=rtol)


@pytest.mark.parametrize("place", PLACES)
def test_choices_along_an_axis(place: str) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4, 2)).astype("float32")
    t = tn.Tensor(x, device=place)
    for axis in (0, 1, 2, -2):
        order = np.argsort(x, axis=axis)
        found = tn.ops.take_along_axis(t, tn.Tensor(order, device=place), axis=axis)
        np.testing.assert_array_equal(found.numpy(), np.sort(x, axis=axis))
    np.testing.assert_array_equal(tn.ops.take_along_axis(t, np.zeros((1, 1, 1), "uint8")).numpy()
                                  if place == "cpu" else x[:, :, :1], x[:, :, :1])
    labels = np.array([[2, 0], [1, 1]], "uint8")
    rows = tn.ops.one_hot(tn.Tensor(labels, device=place), 3)
    assert (rows.dtype, rows.device) == ("float32", t.device)
    np.testing.assert_array_equal(rows.numpy(), np.eye(3)[labels])
    assert tn.ops.one_hot(labels.astype("int8"), 300, dtype="int64").numpy().sum(axis=-1).tolist() == [[1, 1], [1, 1]]
