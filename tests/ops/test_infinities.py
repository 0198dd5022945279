"""Infinite, tiny and constant values: 0 times infinity, norms that overflow, and NumPy told to raise.

Also the values at which an op has no derivative, and a gradient by convention.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import ops

INF = math.inf


@pytest.fixture(params=["fast", "reference", "gpu-emulated"])
def place(request: pytest.FixtureRequest) -> Iterator[str]:
    """The device of the tensors."""
    if request.param == "gpu-emulated":
        yield request.param
    else:
        with tn.using(request.param):
            yield "cpu"


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> Any:
    return request.param


def tensor(values: Any, place: str, dtype: str) -> Any:
    return tn.Tensor(tn.Tensor(np.array(values, dtype)).to(place), requires_grad=True)


# --- where no derivative exists -------------------------------------------------------------------------------------

KINKS: dict[str, tuple[Any, Any, Any]] = {
    "relu": (ops.relu, [0.0, -0.0, 1.0, -1.0], [0, 0, 1, 0]),
    "leaky_relu": (lambda x: ops.leaky_relu(x, negative_slope=0.25), [0.0, -0.0, 1.0, -1.0], [0.25, 0.25, 1, 0.25]),
    "absolute": (ops.absolute, [0.0, -0.0, 2.0, -2.0], [0, 0, 1, -1]),
    "sign": (ops.sign, [0.0, 2.0], [0, 0]),
    "clip": (lambda x: ops.clip(x, -1, 1), [-1.0, 1.0, 0.0, 2.0, -2.0], [1, 1, 1, 0, 0]),
    "maximum": (lambda x: ops.maximum(x, x * 0 + 2), [1.0, 2.0, 3.0], [0, 1, 1]),
    "minimum": (lambda x: ops.minimum(x, x * 0 + 2), [1.0, 2.0, 3.0], [1, 1, 0]),
    "max": (lambda x: ops.max(x), [1.0, 3.0, 3.0, 2.0], [0, 1, 0, 0]),
    "min": (lambda x: ops.min(x), [1.0, 0.0, 0.0, 2.0], [0, 1, 0, 0]),
    "max_pool1d": (lambda x: ops.max_pool1d(x, size=2), [[[1.0], [1.0], [3.0], [2.0]]], [[[1], [0], [1], [0]]]),
    "mae": (lambda x: ops.mae(x, x.detach() * 0 + 2, reduction="sum"), [1.0, 2.0, 3.0], [-1, 0, 1]),
    "huber": (lambda x: ops.huber(x, x.detach() * 0, reduction="sum"), [0.0, 1.0, -1.0, 3.0], [0, 1, -1, 1])}


@pytest.mark.parametrize("name", KINKS)
def test_gradients_by_convention(name: str, place: str, dtype: str) -> None:
    f, values, wanted = KINKS[name]
    x = tensor(values, place, dtype)
    f(x).sum().backward()
    np.testing.assert_array_equal(tn.Tensor(x.grad).numpy(), np.array(wanted, dtype))


# --- division by zero -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("normalised", [lambda x, one: ops.layer_norm(x, one, one, eps=0.0),
                                        lambda x, one: ops.batch_norm(x, one, one, eps=0.0)[0]])
def test_constants_normalised_without_epsilon_are_not_a_number(normalised: Any, place: str) -> None:
    x, one = tensor([[3.0, 3.0], [3.0, 3.0]], place, "float32"), tensor([1.0, 1.0], place, "float32")
    with np.errstate(all="ignore"):
        y = normalised(x, one)
        y.sum().backward()
    assert np.isnan(y.numpy()).all() and not np.isfinite(tn.Tensor(x.grad).numpy()).any()


def test_adam_without_epsilon_and_gradient(place: str) -> None:
    model = tn.nn.Sequential(tn.nn.Dense(2, 2)).to(place)
    optimizer = tn.optim.Adam(model.parameters(), eps=0.0)
    with np.errstate(all="ignore"):
        (model(tn.Tensor(np.zeros((1, 2), "float32")).to(place)) * 0).sum().backward()
        optimizer.step()
    assert all(np.isnan(parameter.numpy()).all() for parameter in model.parameters())


# --- cross-entropy --------------------------------------------------------------------------------------------------

LOGITS, LABELS = [[1.0, 2.0, -INF], [-INF, 0.5, 0.5]], [0, 2]
LOSSES = [math.log(1 + math.e), math.log(2)]


@pytest.mark.parametrize("weight", [None, [1.0, 1.0, 1.0]])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_classes_that_are_shut_out(place: str, dtype: str, weight: Any, reduction: str) -> None:
    logits = tensor(LOGITS, place, dtype)
    w = None if weight is None else tensor(weight, place, dtype)
    loss = ops.cross_entropy(logits, tn.Tensor(LABELS).to(place), w, reduction=reduction)
    wanted = {"mean": np.mean(LOSSES), "sum": np.sum(LOSSES), "none": LOSSES}[reduction]
    np.testing.assert_allclose(loss.numpy(), wanted, rtol=1e-6)
    loss.sum().backward()
    R = 2 if reduction == "mean" else 1
    p = 1 / (1 + math.e)
    np.testing.assert_allclose(tn.Tensor(logits.grad).numpy() * R, [[p - 1, 1 - p, 0], [0, 0.5, -0.5]], atol=1e-6)
    if w is not None:
        assert np.isfinite(tn.Tensor(w.grad).numpy()).all()


def test_a_label_that_is_shut_out_costs_infinity(place: str, dtype: str) -> None:
    assert ops.cross_entropy(tensor([[0.0, -INF]], place, dtype), tn.Tensor([1]).to(place)).item() == INF
    weight = tensor([1.0, 0.0], place, dtype)  # its weight is 0, though
    assert ops.cross_entropy(tensor([[0.0, -INF]], place, dtype), tn.Tensor([1]).to(place), weight,
                             reduction="sum").item() == 0


@pytest.mark.parametrize("sample_weight", [None, [2.0, 0.0]])
def test_the_gradient_of_probabilities_of_classes_without_weight(place: str, dtype: str, sample_weight: Any) -> None:
    logits, labels = tensor([[0.0, 0.0, -INF], [-INF, 1.0, 0.0]], place, dtype), tensor(
        [[0.25, 0.75, 0.0], [0.0, 0.5, 0.5]], place, dtype)
    weights = (None if one is None else tensor(one, place, dtype) for one in ([0.0, 3.0, 0.0], sample_weight))
    ops.cross_entropy(logits, labels, *weights, reduction="sum").backward()
    wanted = np.array([[0.0, 3 * math.log(2), 0.0], [0.0, 3 * math.log1p(math.exp(-1)), 0.0]])
    if sample_weight is not None:
        wanted *= [[2.0], [0.0]]
    np.testing.assert_allclose(tn.Tensor(labels.grad).numpy(), wanted, rtol=1e-6)


def test_training_and_evaluation_with_a_class_that_is_shut_out(place: str) -> None:
    model = tn.nn.Sequential(tn.nn.Dense(2, 3)).to(place)
    mask = tn.Tensor([0.0, 0.0, -INF]).to(place)

    def loss(output: Any, labels: Any) -> Any:
        return ops.cross_entropy(output + mask, labels)

    batch = np.ones((4, 2), "float32"), np.array([0, 1, 0, 1])
    history = tn.fit(model, tn.optim.Adam(model.parameters()), [batch], epochs=2, loss=loss, show=False)
    assert all(math.isfinite(row["train_loss"]) for row in history)
    assert math.isfinite(tn.evaluate(model, [batch], loss=loss)["loss"])


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.2}, {"reduction": "sum"}, {"reduction": "none"}])
@pytest.mark.parametrize("weight", [None, [0.5, 2.0, 1.0]])
@pytest.mark.parametrize("ignored", [-100, 1])
def test_ignored_labels_count_as_absent(place: str, dtype: str, options: Any, weight: Any, ignored: int) -> None:
    rng = np.random.default_rng(0)
    values, labels = rng.normal(size=(6, 3)), np.array([0, 1, 2, 1, 0, 2])
    kept = labels != 1
    given = np.where(kept, labels, ignored)
    results = []
    for some, chosen, extra in ((values, given, {"ignore_index": ignored}), (values[kept], labels[kept], {})):
        logits = tensor(some, place, dtype)
        w = None if weight is None else tensor(weight, place, dtype)
        loss = ops.cross_entropy(logits, tn.Tensor(chosen).to(place), w, **options, **extra)
        loss.sum().backward()
        results.append((loss.numpy(), tn.Tensor(logits.grad).numpy(), None if w is None else tn.Tensor(w.grad).numpy()))
    (loss, dlogits, dweight), (loss_of_kept, dlogits_of_kept, dweight_of_kept) = results
    np.testing.assert_allclose(loss[kept] if loss.ndim else loss, loss_of_kept, rtol=1e-5)
    np.testing.assert_allclose(dlogits[kept], dlogits_of_kept, rtol=1e-5, atol=1e-7)
    assert not dlogits[~kept].any()
    assert not loss.ndim or not loss[~kept].any()
    if dweight is not None:
        np.testing.assert_allclose(dweight, dweight_of_kept, rtol=1e-4, atol=1e-6)


def test_nothing_but_ignored_labels(place: str, dtype: str) -> None:
    logits = tensor([[1.0, 2.0], [math.nan, 0.0]], place, dtype)
    loss = ops.cross_entropy(logits, tn.Tensor([-1, -1]).to(place), ignore_index=-1)
    loss.backward()
    assert loss.item() == 0
    assert not tn.Tensor(logits.grad).numpy().any()


def test_the_ignored_label_may_be_0(place: str, dtype: str) -> None:
    logits = tensor([[1.0, 2.0], [3.0, 0.5]], place, dtype)
    loss = ops.cross_entropy(logits, tn.Tensor([0, 1]).to(place), ignore_index=0)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(1 + math.exp(2.5)), rel=1e-6)
    assert not tn.Tensor(logits.grad).numpy()[0].any() and tn.Tensor(logits.grad).numpy()[1].all()


@pytest.mark.parametrize("options", [{}, {"ignore_index": -1}])
def test_nothing_but_samples_of_weight_0(place: str, dtype: str, options: Any) -> None:
    """Beside ignored labels too: the loss is 0, and so are the gradients."""
    logits, s = tensor([[1.0, 2.0], [3.0, 0.0]], place, dtype), tn.Tensor(np.array([0, len(options)], dtype)).to(place)
    loss = ops.cross_entropy(logits, tn.Tensor([0, -1 if options else 1]).to(place), sample_weight=s, **options)
    loss.backward()
    assert loss.item() == 0
    assert not tn.Tensor(logits.grad).numpy().any()


def test_a_weight_of_0_beside_an_infinite_loss(place: str, dtype: str) -> None:
    """The term counts as 0; the gradient of the weight is the loss without it."""
    z, w = tensor([[0.0, -INF, 0.0], [0.0, 1.0, -INF]], place, dtype), tensor([1.0, 0.0, 2.0], place, dtype)
    s, p = tensor([2.0, 0.5], place, dtype), math.e / (1 + math.e)
    loss = ops.cross_entropy(z, tn.Tensor([1, 0]).to(place), w, s, reduction="none")
    loss.sum().backward()
    other = -math.log(1 - p)  # the loss of the second row
    for found, wanted in ((loss, [0, other / 2]), (z.grad, [[0, 0, 0], [-p / 2, p / 2, 0]]), (s.grad, [0, other]),
                          (w.grad, [other / 2, INF, 0])):
        np.testing.assert_allclose(tn.Tensor(found).numpy(), wanted, rtol=1e-6)
    z, w = tensor([-INF, INF, -INF], place, dtype), tensor([2.0, 2.0, 0.0], place, dtype)
    loss = ops.binary_cross_entropy(z, tn.Tensor([0, 1, 1]).to(place), w, reduction="none")
    loss.sum().backward()
    assert loss.numpy().tolist() == tn.Tensor(z.grad).numpy().tolist() == [0, 0, 0]
    assert tn.Tensor(w.grad).numpy().tolist() == [0, 0, INF]


def test_other_labels_are_still_refused() -> None:
    with pytest.raises(tn.errors.ArgumentError, match=r"labels must be in \[0, K\)"):
        ops.cross_entropy(tn.Tensor([[0.0, 0.0]] * 2), np.array([-1, 2]), ignore_index=-1)
    with pytest.raises(tn.errors.ArgumentError, match=r"ignore_index must be None or an integer, got 0\.5"):
        ops.cross_entropy(tn.Tensor([[0.0, 0.0]]), np.array([1]), ignore_index=0.5)


# --- gradients that are infinite ------------------------------------------------------------------------------------

@pytest.mark.parametrize(("function", "x", "wanted"), [
    (ops.relu, [-1.0, 0.0, 2.0], [0, 0, INF]), (ops.absolute, [-1.0, 0.0, 2.0], [-INF, 0, INF]),
    (lambda x: ops.maximum(x, 1.0), [0.0, 2.0], [0, INF]), (lambda x: ops.minimum(1.0, x), [0.0, 2.0], [INF, 0]),
    (lambda x: ops.clip(x, 0, 1), [-1.0, 0.5, 2.0], [0, INF, 0]), (lambda x: x.max(), [1.0, 3.0, 3.0], [0, INF, 0]),
    (lambda x: x.min(), [1.0, 3.0, 1.0], [INF, 0, 0]),
    (lambda x: ops.max_pool1d(x.reshape(1, 4, 1), 2), [1.0, 2.0, 4.0, 3.0], [0, INF, INF, 0]),
    (lambda x: ops.max_pool2d(x.reshape(1, 2, 2, 1), 2), [1.0, 2.0, 4.0, 3.0], [0, 0, INF, 0])])
def test_infinite_gradients_do_not_become_nan(place: str, dtype: str, function: Any, x: list[float],
                                              wanted: list[float]) -> None:
    leaf = tensor(x, place, dtype)
    y = function(leaf)
    y.backward(np.full(y.shape, INF, dtype))
    assert tn.Tensor(leaf.grad).numpy().tolist() == wanted


@pytest.mark.parametrize(("function", "low"), [(ops.gelu, 0), (ops.silu, 0), (ops.elu, -1), (ops.leaky_relu, -INF)])
def test_activations_of_infinite_numbers_are_their_limits(place: str, dtype: str, function: Any, low: float) -> None:
    x = tensor([-INF, INF, math.nan, 1e30], place, dtype)
    y = function(x)
    assert np.array_equal(y.numpy(), np.array([low, INF, math.nan, 1e30], dtype), equal_nan=True)
    y.backward(np.ones(4, dtype))
    slope = 0.01 if function is ops.leaky_relu else 0
    np.testing.assert_allclose(tn.Tensor(x.grad).numpy()[[0, 1, 3]], [slope, 1, 1], rtol=1e-6)


def test_dropped_elements_have_no_gradient(place: str, dtype: str) -> None:
    x = tensor([INF, 1.0, 1.0, INF] * 8, place, dtype)
    y = ops.dropout(x, 0.5, key=(0, 0), counter=0)
    kept = ops.dropout(tensor([1.0] * 32, place, dtype), 0.5, key=(0, 0), counter=0).numpy() != 0
    assert np.array_equal(y.numpy() != 0, kept)
    y.backward(np.full(32, INF, dtype))
    assert tn.Tensor(x.grad).numpy().tolist() == [INF if one else 0 for one in kept]


@pytest.mark.parametrize(("x", "size", "padding", "wanted"), [
    ([-INF, -INF], 2, 1, [2, 1]), ([-INF, -INF, -INF], 3, 2, [3, 1, 1]), ([-INF, 1.0], 2, 1, [1, 2])])
def test_padding_gets_no_gradient(place: str, dtype: str, x: list[float], size: int, padding: int,
                                  wanted: list[float]) -> None:
    leaf = tensor(x, place, dtype)
    y = ops.max_pool1d(leaf.reshape(1, -1, 1), size, 1, padding)
    y.backward(np.ones(y.shape, dtype))
    assert tn.Tensor(leaf.grad).numpy().tolist() == wanted
    image = tensor(np.full((1, 3, 3, 2), -INF), place, dtype)
    y = ops.max_pool2d(image, 2, 1, 1)
    y.backward(np.ones(y.shape, dtype))
    assert tn.Tensor(image.grad).numpy().sum() == y.size


def test_the_deviation_of_equal_elements_has_the_gradient_0(place: str, dtype: str) -> None:
    x = tensor([[1.0, 1.0], [1.0, 3.0], [math.nan, 1.0]], place, dtype)
    y = x.std(axis=1)
    assert np.array_equal(y.numpy(), [0, 1, math.nan], equal_nan=True)
    y[:2].sum().backward()
    assert tn.Tensor(x.grad).numpy()[:2].tolist() == [[0, 0], [-0.5, 0.5]]


# --- clipping -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("gradients", "norm"), [
    ([[3e30, 4e30]], 5e30), ([[3e-30], [4e-30]], 5e-30), ([[0.0, 0.0]], 0.0), ([[3.0], [4.0]], 5.0),
    ([[3e-21, 4e-21]], 5e-21)])  # whose squares have few digits
@pytest.mark.parametrize("device", ["cpu", "gpu-emulated"])
@pytest.mark.parametrize("max_norm", [INF, 1.0, 1e31])
@pytest.mark.parametrize("kind", [tn.nn.Parameter, tn.Tensor])
def test_norms_that_overflow(gradients: Any, norm: float, device: str, max_norm: float, kind: Any) -> None:
    parameters = [kind(tn.Tensor(np.zeros_like(g, "float32")).to(device)) for g in gradients]
    for parameter, g in zip(parameters, gradients, strict=True):
        parameter.grad = tn.Tensor(np.array(g, "float32")).to(device).data
    found = tn.optim.clip_global_norm(parameters, max_norm)
    np.testing.assert_allclose(tn.Tensor(found).numpy(), norm, rtol=1e-6)
    for parameter, g in zip(parameters, gradients, strict=True):
        wanted = np.array(g) * (min(1, max_norm / norm) if norm else 1)
        np.testing.assert_allclose(tn.Tensor(parameter.grad).numpy(), wanted, rtol=1e-6)


@pytest.mark.parametrize("values", [[math.nan, 1.0], [INF, 1.0]])
@pytest.mark.parametrize("device", ["cpu", "gpu-emulated"])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_norms_of_broken_gradients_say_so(values: list[float], device: str) -> None:
    parameter = tn.nn.Parameter(tn.Tensor([0.0, 0.0]).to(device))
    parameter.grad = tn.Tensor(values).to(device).data
    assert not math.isfinite(float(tn.Tensor(tn.optim.clip_global_norm([parameter], INF)).item()))


def test_of_several_nans_in_a_window_the_first_one_gets_the_gradient(place: str, dtype: str) -> None:
    """A NaN counts as the largest element, behind larger numbers too."""
    for values, winner in (([math.nan, 1, math.nan], 0), ([9, math.nan, math.nan], 1), ([1, 9, math.nan], 2),
                           ([math.nan, math.nan, 9], 0), ([-INF, -INF, -INF], 0)):
        for pool, shape, size in ((ops.max_pool1d, (1, 3, 1), 3), (ops.max_pool2d, (1, 3, 1, 1), (3, 1)),
                                  (ops.max_pool2d, (1, 1, 3, 1), (1, 3))):
            x = tensor(np.reshape(values, shape), place, dtype)
            y = pool(x, size)
            y.sum().backward()
            np.testing.assert_array_equal(y.numpy().ravel(), [values[winner]])
            assert tn.Tensor(x.grad).numpy().ravel().tolist() == [float(i == winner) for i in range(3)], values


# --- np.seterr ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("call", [
    lambda: ops.cross_entropy(tn.Tensor(np.array([[1000.0, 0.0]])), np.array([0])),
    lambda: ops.softmax(tn.Tensor(np.array([1000.0, 0.0]))), lambda: ops.sigmoid(tn.Tensor(np.array([-800.0]))),
    lambda: tn.Tensor(np.array([1e-300])) * 1e-300,
    lambda: (tn.Tensor(np.array([1e-300]), requires_grad=True) ** 2.0).sum().backward(),
    lambda: tn.optim.clip_global_norm(_with_gradient(1e-30), 1.0), lambda: _adam_step(1e-200)])
def test_that_a_tiny_number_becomes_0_is_no_error(call: Any) -> None:
    with np.errstate(all="raise"):
        call()


def test_what_is_an_error_stays_one() -> None:
    huge = tn.Tensor(np.array([1e300]), requires_grad=True)
    with np.errstate(all="raise"):
        with pytest.raises(FloatingPointError, match="overflow"):
            huge * huge
        with pytest.raises(FloatingPointError, match="divide by zero"):
            tn.Tensor(np.array([1.0])) / 0.0
        y = (huge * 1e-300) ** 2.0
        with pytest.raises(FloatingPointError, match="overflow"):
            y.backward(np.array([1e308]) * 1.7)
        with tn.using("reference"), pytest.raises(FloatingPointError, match="overflow"):
            _adam_step(1e200)


def _with_gradient(value: float) -> list[Any]:
    parameter = tn.nn.Parameter(np.zeros(2, "float32"))
    parameter.grad = np.full(2, value, "float32")
    return [parameter]


def _adam_step(value: float) -> None:
    parameter = tn.nn.Parameter(np.zeros(2))
    parameter.grad = np.full(2, value)
    tn.optim.Adam([parameter]).step()


# --- answers yes or no, probabilities, weights of samples -----------------------------------------------------------

def test_answers_that_are_certain(place: str, dtype: str) -> None:
    """A certain answer that is right costs nothing, and one that is wrong infinity."""
    z = tensor([INF, -INF, 1e4, -1e4, INF, -INF], place, dtype)
    loss = ops.binary_cross_entropy(z, tn.Tensor([1, 0, 1, 0, 0, 1]).to(place), reduction="none")
    assert loss.numpy().tolist() == [0, 0, 0, 0, INF, INF]
    loss.sum().backward()
    assert tn.Tensor(z.grad).numpy().tolist() == [0, 0, 0, 0, 1, -1]


@pytest.mark.parametrize("soft", [False, True])
def test_a_sample_of_weight_0_counts_as_absent(place: str, soft: bool) -> None:
    """NaN and infinity among its logits reach neither the loss nor a gradient of the others."""
    rng = np.random.default_rng(0)
    z, s = rng.standard_normal((4, 3)), np.array([1.0, 0.0, 2.0, 0.0])
    labels = rng.dirichlet(np.ones(3), 4) if soft else np.array([0, 1, 2, 0])
    spoiled = z.copy()
    spoiled[1], spoiled[3] = math.nan, [-INF, INF, 0]
    losses, gradients = [], []
    for values, rows in ((z, [0, 2]), (spoiled, [0, 1, 2, 3])):
        logits = tensor(values[rows], place, "float64")
        with np.errstate(invalid="ignore"):
            loss = ops.cross_entropy(logits, tn.Tensor(labels[rows]).to(place),
                                     sample_weight=tn.Tensor(s[rows]).to(place))
            loss.backward()
        losses.append(loss.item())
        gradients.append(tn.Tensor(logits.grad).numpy())
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    np.testing.assert_allclose(gradients[1][[0, 2]], gradients[0], rtol=1e-12)
    assert not gradients[1][[1, 3]].any()


def test_a_class_that_is_shut_out_and_has_no_share(place: str, dtype: str) -> None:
    z = tensor([[0.0, -INF, 0.0]], place, dtype)
    loss = ops.cross_entropy(z, tn.Tensor(np.array([[0.5, 0.0, 0.5]], dtype)).to(place))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    np.testing.assert_allclose(tn.Tensor(z.grad).numpy(), [[0, 0, 0]], atol=1e-7)
