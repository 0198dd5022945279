"""Optimizers: the flat packing under them, their state, schedules and clipping. Their math is compared with PyTorch's
in test_torch.py and test_golden.py."""

import copy
import inspect
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import nn, optim
from tinynet.errors import ArgumentError, GradientError, ShapeError, StateError

OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "Nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.01),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01)}
WITH_GROUPS = OPTIMIZERS | {
    "groups": lambda p: optim.AdamW([{"parameters": p[:1], "lr": 0.002}, {"parameters": p[1:], "weight_decay": 0.1}],
                                    lr=0.01)}
EACH = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
EACH_AND_GROUPS = pytest.mark.parametrize("make", WITH_GROUPS.values(), ids=WITH_GROUPS)

rng = np.random.default_rng(0)
X = rng.standard_normal((6, 3))
LABELS = rng.integers(0, 4, 6)


def network(dtype: str = "float64") -> Any:
    tn.seed(0)
    return nn.Sequential(nn.Dense(3, 5), nn.Tanh(), nn.Dense(5, 4)).astype(dtype)


def backward(model: Any, x: np.ndarray = X, labels: np.ndarray = LABELS) -> None:
    tn.ops.cross_entropy(model(tn.Tensor(x.astype(model.parameters()[0].dtype))), labels).backward()


def train(model: Any, optimizer: Any, steps: int = 1) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        backward(model)
        optimizer.step()


def weights(model: Any) -> dict[str, np.ndarray]:
    return {name: parameter.numpy().copy() for name, parameter in model.parameters().items()}


def assert_equal(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """The same names, the same bits."""
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)
        assert np.asarray(array).dtype == np.asarray(theirs[name]).dtype, name


# --- packing --------------------------------------------------------------------------------------------------------

@EACH
def test_parameters_are_views_of_flat_arrays(make: Any) -> None:
    model = network()
    before, parameters = weights(model), list(model.parameters())
    optimizer = make(model.parameters())
    assert_equal(weights(model), before)
    assert all(p is q for p, q in zip(parameters, model.parameters(), strict=True))
    (pack,) = optimizer._packs
    assert pack.values.shape == pack.gradients.shape == (3 * 5 + 5 + 5 * 4 + 4,)
    train(model, optimizer)
    start = 0
    for parameter in parameters:
        assert np.shares_memory(parameter.data, pack.values)
        assert np.shares_memory(parameter.held, pack.gradients), "gradients are written where they are used"
        np.testing.assert_array_equal(pack.values[start:start + parameter.size], parameter.numpy().ravel())
        start += parameter.size


WHERE = pytest.mark.parametrize("device", ["cpu", pytest.param("gpu-emulated", marks=pytest.mark.skipif(
    not tn.devices()[-1].is_available, reason="there is no C++ compiler for the emulator"))])


@WHERE
def test_backward_puts_gradients_into_the_flat_array(device: str) -> None:
    """The first ones by a copy, later ones by addition."""
    model = nn.Sequential(nn.Conv2D(1, 2, 2), nn.Reshape((6, 4)), nn.LSTM(4, 5), nn.Conv1D(5, 3, 2), nn.Flatten(),
                          nn.Dense(15, 2)).to(device)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    found = []
    for _ in range(2):
        model(tn.Tensor(np.ones((3, 4, 5, 1), "float32"), device=device)).sum().backward()
        assert all(parameter.held is parameter.home for parameter in optimizer.parameters)
        found.append([tn.backend.to_host(parameter.held).copy() for parameter in optimizer.parameters])
    for once, twice in zip(*found, strict=True):
        assert abs(once).max() > 0
        np.testing.assert_array_equal(2 * once, twice)


@WHERE
def test_a_parameter_that_is_used_several_times(device: str) -> None:
    """Also twice by one op, and in two losses: its gradients are added up, wherever they are written."""
    x, values = rng.standard_normal((2, 4, 4)).astype("float32")

    def gradient(packed: bool) -> np.ndarray:
        w = nn.Parameter(values.copy())
        w.data = tn.backend.to_device(w.data, device)
        optimizer = optim.SGD([w], lr=0.1) if packed else None
        for _ in range(2):
            y = tn.ops.dense(tn.ops.dense(tn.Tensor(x, device=device), w), w)
            (y.sum() + tn.ops.dense(w, w).sum()).backward()
        assert not optimizer or w.held is w.home
        return tn.backend.to_host(w.grad)

    ones, wide, w = np.ones((4, 4)), x.astype("float64"), values.astype("float64")
    expected = (wide @ w).T @ ones + wide.T @ ones @ w.T + w.T @ ones + ones @ w.T
    np.testing.assert_allclose(gradient(packed=True), 2 * expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(gradient(packed=True), gradient(packed=False))


@EACH
def test_a_step_over_flat_arrays_is_a_step_over_each(make: Any) -> None:
    together, alone = network(), network()
    optimizer = make(together.parameters())
    several = [make([parameter]) for parameter in alone.parameters()]
    for _ in range(3):
        train(together, optimizer)
        alone.zero_grad()
        backward(alone)
        for each in several:
            each.step()
    assert_equal(weights(together), weights(alone))


@EACH
def test_a_parameter_without_a_gradient_is_left_alone(make: Any) -> None:
    """In the middle, at the beginning and at the end of the flat array; its moments, too."""
    for kept in ({1}, {0}, {3}, {0, 2}, {1, 2, 3}, {0, 1, 2, 3}):
        model = network()
        optimizer = make(model.parameters())
        train(model, optimizer, 2)
        before, moments = weights(model), optimizer.state_dict()
        backward(model)
        for i in kept:
            model.parameters()[i].grad = None
        optimizer.step()
        for i, (name, parameter) in enumerate(model.parameters().items()):
            assert (parameter.numpy() == before[name]).all() == (i in kept)
            for moment in optimizer.moments:
                key = f"{name}.{moment}"
                assert (optimizer.state_dict()[key] == moments[key]).all() == (i in kept)


@EACH_AND_GROUPS
def test_frozen_parameters_stay(make: Any) -> None:
    model = network()
    optimizer = make(model.parameters())
    model[0].W.requires_grad = False
    before = weights(model)
    train(model, optimizer, 3)
    after = weights(model)
    assert (after["0.W"] == before["0.W"]).all()
    assert all((after[name] != before[name]).any() for name in before if name != "0.W")
    model[0].W.requires_grad = True
    train(model, optimizer)
    assert (weights(model)["0.W"] != before["0.W"]).any()


@EACH
def test_some_of_the_parameters(make: Any) -> None:
    model = network()
    before = weights(model)
    train(model, make(model[2].parameters()))
    assert [(weights(model)[name] == array).all() for name, array in before.items()] == [True, True, False, False]


@EACH
def test_two_optimizers_take_turns(make: Any) -> None:
    """Over the same model: each packs it anew, and what the other did is not lost."""
    model, alone = network(), network()
    first, second = make(model.parameters()), make(model.parameters())
    moments = [make(alone.parameters()).state_dict() for _ in range(2)]
    for step in range(6):
        train(model, (first, second)[step % 2])
        fresh = make(alone.parameters())  # what one of them would do, from its own moments
        fresh.load_state_dict(moments[step % 2])
        train(alone, fresh)
        moments[step % 2] = fresh.state_dict()
    assert_equal(weights(model), weights(alone))
    assert_equal(first.state_dict(), moments[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", [optim.Adam, optim.AdamW])
def test_adam_counts_the_steps_of_each_parameter(make: Any, dtype: str) -> None:
    """Parameters that begin late or pause end as with optimizers of their own, which see only their steps."""
    rng = np.random.default_rng(0)
    when = [lambda step: True, lambda step: step >= 5, lambda step: step % 3 != 1, lambda step: False]
    first = [rng.normal(size=2).astype(dtype) for _ in when]
    together, alone = ([nn.Parameter(array.copy()) for array in first] for _ in range(2))
    optimizer, own = make(together, lr=0.1), [make([parameter], lr=0.1) for parameter in alone]
    for step in range(12):
        for parameter, other, one, has_gradient in zip(together, alone, own, when, strict=True):
            parameter.grad = other.grad = None
            if has_gradient(step):
                gradient = rng.normal(size=2).astype(dtype)
                parameter.grad = gradient.copy()
                other.grad = gradient
                one.step()
        optimizer.step()
        if step == 7:  # the counts are part of the state
            state = optimizer.state_dict()
            assert {name: int(array) for name, array in state.items() if name.endswith("steps")} == {
                "steps": 8, "1.steps": 3, "2.steps": 5, "3.steps": 0}
            optimizer = make(together, lr=1.0)
            optimizer.load_state_dict(state)
        if step == 9:  # packed anew
            together[0].data = together[0].data.copy()
        if step == 10:
            together, optimizer = copy.deepcopy((together, optimizer))
    for parameter, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(parameter.numpy(), other.numpy())


def test_a_constant_gradient_gives_equal_steps_from_the_first_one_on() -> None:
    """Also after 300 steps without a gradient."""
    early, late = nn.Parameter([1.0]), nn.Parameter([1.0])
    optimizer = optim.Adam([early, late], lr=0.5)
    for step in range(303):
        before = late.item()
        optimizer.zero_grad()
        (early if step < 300 else late).grad = np.ones(1, "float32")
        optimizer.step()
    assert before - late.item() == pytest.approx(0.5, rel=1e-4)


def test_counts_that_do_not_differ_are_not_in_the_state() -> None:
    parameters = [nn.Parameter([1.0]), nn.Parameter([2.0])]
    for optimizer in (optim.Adam(parameters), optim.SGD(parameters)):
        for parameter in parameters:
            parameter.grad = np.ones(1, "float32")
        optimizer.step()
        optimizer.zero_grad()
        assert not [name for name in optimizer.state_dict() if name.endswith(".steps")]
    optimizer.step()
    assert not [name for name in optimizer.state_dict() if name.endswith(".steps")]  # SGD does not ask


def test_a_tied_parameter_is_updated_once() -> None:
    shared = nn.Dense(3, 3).astype("float64")
    model = nn.Sequential(shared, nn.Tanh(), shared)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    assert optimizer.parameters.names == ("0.W", "0.b")
    model(tn.Tensor(X)).sum().backward()
    expected = shared.W.numpy() - 0.1 * shared.W.grad
    optimizer.step()
    np.testing.assert_allclose(shared.W.numpy(), expected, rtol=1e-14)


# --- a model that changes under its optimizer -----------------------------------------------------------------------

@EACH_AND_GROUPS
def test_a_model_may_change_its_precision_between_steps(make: Any) -> None:
    model, wide = network("float32"), network("float32").astype("float64")
    optimizer, reference = make(model.parameters()), make(wide.parameters())
    train(model, optimizer, 2)
    wide.load_state_dict(model.state_dict())
    state = {name: array.astype("float64") if array.shape else array for name, array in optimizer.state_dict().items()}
    reference.load_state_dict(state)
    model.astype("float64")
    train(model, optimizer, 2)
    train(wide, reference, 2)
    assert_equal(weights(model), weights(wide))
    assert all(p.dtype == p.grad.dtype == "float64" for p in model.parameters())


@EACH_AND_GROUPS
@pytest.mark.parametrize("when", ["before zero_grad", "after backward"])
def test_a_model_may_be_loaded_between_steps(make: Any, when: str) -> None:
    """In place: views stay views, and the moments remain."""
    model, other = network(), network()
    for parameter in other.parameters():
        parameter.data += 0.5
    optimizer, expected = make(model.parameters()), make(other.parameters())
    train(model, optimizer, 2)
    expected.load_state_dict(optimizer.state_dict())
    loaded = other.state_dict()
    if when == "before zero_grad":
        model.load_state_dict(loaded)
        train(model, optimizer)
    else:
        optimizer.zero_grad()
        model.load_state_dict(loaded)
        backward(model)
        optimizer.step()
    train(other, expected)
    assert_equal(weights(model), weights(other))


@EACH
def test_moving_to_where_it_is_keeps_the_packing(make: Any) -> None:
    model = network()
    optimizer = make(model.parameters())
    pack = optimizer._packs[0]
    train(model.to("cpu").astype("float64"), optimizer)
    expected = network()
    train(expected, make(expected.parameters()))
    assert_equal(weights(model), weights(expected))
    assert pack.values.shape == optimizer._packs[0].values.shape


@EACH_AND_GROUPS
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_of_model_and_optimizer_trains_like_the_original(make: Any, copied: Callable[[Any], Any]) -> None:
    """The moments are copied, too, and the original stays as it was."""
    model = network()
    optimizer = make(model.parameters())
    train(model, optimizer, 2)
    before = weights(model)
    other, other_optimizer = copied((model, optimizer))
    train(other, other_optimizer, 2)
    assert_equal(weights(model), before)
    train(model, optimizer, 2)
    assert_equal(weights(other), weights(model))
    assert_equal(other_optimizer.state_dict(), optimizer.state_dict())


@EACH
def test_a_shallow_copy_of_an_optimizer_trains_the_same_model(make: Any) -> None:
    model = network()
    optimizer = make(model.parameters())
    train(model, optimizer)
    other = copy.copy(optimizer)
    before = [weights(model)]
    for one in (other, optimizer):
        train(model, one)
        before.append(weights(model))
    assert all((first != second).any() for first, second in zip(*map(dict.values, before[:2]), strict=True))
    assert all((first != second).any() for first, second in zip(*map(dict.values, before[1:]), strict=True))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_of_a_parameter_belongs_to_no_optimizer(copied: Callable[[Any], Any]) -> None:
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    backward(model)
    one = copied(model[0].W)
    assert one.home is None
    one.grad[...] = 0
    assert (model[0].W.grad != 0).any()
    one.zero_grad()
    (one * 2).sum().backward()
    assert (one.grad == 2).all()
    before = weights(model)
    optimizer.step()
    assert (weights(model)["0.W"] != before["0.W"]).any()


def test_a_gradient_can_be_kept() -> None:
    """A gradient that was read stays as it was, after another backward pass, a step and clipping."""
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    kept = []
    for scale in (1.0, 2.0, 3.0):
        optimizer.zero_grad()
        backward(model, X * scale)
        kept.append((model[0].W.grad, model[0].W.grad.copy(), model[2].b.grad[:2], model[2].b.grad[:2].copy()))
        optimizer.step()
    for whole, whole_then, part, part_then in kept:
        np.testing.assert_array_equal(whole, whole_then)
        np.testing.assert_array_equal(part, part_then)


def test_a_gradient_that_was_read_may_be_changed_in_place() -> None:
    model, expected = network(), network()
    optimizer, reference = (optim.SGD(one.parameters(), lr=0.1) for one in (model, expected))
    backward(model)
    assert model[0].W.grad is model[0].W.grad
    model[0].W.grad[...] *= 2
    backward(expected)
    expected[0].W.grad = 2 * expected[0].W.grad
    optimizer.step()
    reference.step()
    assert_equal(weights(model), weights(expected))


@EACH
def test_an_array_that_the_user_puts_in_is_used(make: Any) -> None:
    model, expected = network(), network()
    optimizer, reference = make(model.parameters()), make(expected.parameters())
    train(model, optimizer)
    train(expected, reference)
    model[2].b.data = model[2].b.numpy() + 1.0
    expected[2].b.data += 1.0
    train(model, optimizer)
    train(expected, reference)
    assert_equal(weights(model), weights(expected))


@EACH
@pytest.mark.parametrize("float32", [False, True])
def test_a_gradient_that_the_user_assigns_is_used(make: Any, float32: bool) -> None:
    model, expected = network(), network()
    optimizer, reference = make(model.parameters()), make(expected.parameters())
    train(model, optimizer)
    train(expected, reference)
    gradient = np.full((5, 4), 0.25, "float32" if float32 else "float64")
    for one in (model, expected):
        one.zero_grad()
        backward(one)
    model[2].W.grad = gradient
    expected[2].W.grad[...] = 0.25
    optimizer.step()
    reference.step()
    assert_equal(weights(model), weights(expected))
    assert (gradient == 0.25).all()
    backward(model)
    assert (gradient == 0.25).all(), "the user's array is the user's"


def test_mixed_precision_is_packed_apart() -> None:
    model = network("float32")
    model[2].astype("float64")
    optimizer = optim.Adam(model.parameters())
    assert [pack.values.dtype for pack in optimizer._packs] == ["float32", "float64"]
    for parameter in model.parameters():
        parameter.grad = np.ones(parameter.shape, parameter.dtype)
    before = weights(model)
    optimizer.step()
    for name, array in weights(model).items():
        assert array.dtype == before[name].dtype
        np.testing.assert_allclose(before[name] - array, 1e-3, rtol=1e-3)
    assert list(optimizer.state_dict()) == ["steps", "lr", "0.W.m", "0.b.m", "2.W.m", "2.b.m", "0.W.v", "0.b.v",
                                            "2.W.v", "2.b.v"]


@pytest.mark.skipif(not tn.devices()[-1].is_available, reason="there is no C++ compiler for the emulator")
def test_parameters_of_two_devices_are_packed_apart() -> None:
    model = network("float32")
    model[2].to("gpu-emulated")
    before = weights(model)
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    for parameter in model.parameters():
        parameter.grad = tn.Tensor(np.ones(parameter.shape, "float32"), device=parameter.device).data
    optimizer.step()
    assert [p.device for p in model.parameters()] == ["cpu", "cpu", "gpu-emulated", "gpu-emulated"]
    for name, array in weights(model).items():
        np.testing.assert_array_equal(array, before[name] - np.float32(0.5))


# --- gradients ------------------------------------------------------------------------------------------------------

@EACH
def test_gradients_of_two_backwards_add_up(make: Any) -> None:
    model = network()
    optimizer = make(model.parameters())
    gradients = []
    for part in (slice(0, 2), slice(2, 6)):
        optimizer.zero_grad()
        backward(model, X[part], LABELS[part])
        gradients.append([p.grad.copy() for p in model.parameters()])
    optimizer.zero_grad()
    for part in (slice(0, 2), slice(2, 6)):
        backward(model, X[part], LABELS[part])
    for parameter, *parts in zip(model.parameters(), *gradients, strict=True):
        np.testing.assert_allclose(parameter.grad, sum(parts), rtol=1e-13, atol=1e-16)
    optimizer.step()


def test_zero_grad_forgets() -> None:
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    backward(model)
    first = [p.grad.copy() for p in model.parameters()]
    optimizer.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    before = weights(model)
    optimizer.step()
    assert_equal(weights(model), before)
    backward(model)
    for parameter, gradient in zip(model.parameters(), first, strict=True):
        np.testing.assert_array_equal(parameter.grad, gradient)


@EACH_AND_GROUPS
def test_float32_stays_float32(make: Any) -> None:
    model = network("float32")
    optimizer = make(model.parameters())
    train(model, optimizer, 2)
    assert all(p.dtype == p.grad.dtype == "float32" for p in model.parameters())
    assert {array.dtype.name for name, array in optimizer.state_dict().items() if "." in name} == {"float32"}


@EACH_AND_GROUPS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("number", [np.array, np.float64, np.float32], ids=["0-d array", "float64", "float32"])
def test_rate_and_steps_may_be_arrays_of_no_axes(make: Any, dtype: str, number: Any) -> None:
    """The same bits as Python's numbers give (of the same value), and no widening."""
    model, expected = network(dtype), network(dtype)
    optimizer, reference = make(model.parameters()), make(expected.parameters())
    optimizer.lr, reference.lr = number(0.3), float(number(0.3))
    optimizer.steps = np.array(0)
    counter = optimizer.steps
    train(model, optimizer, 3)
    train(expected, reference, 3)
    assert_equal(weights(model), weights(expected))
    assert counter is optimizer.steps, "the counter counts in place, as a captured graph needs"
    assert int(counter) == 3
    assert_equal(optimizer.state_dict(), reference.state_dict())


# --- state ----------------------------------------------------------------------------------------------------------

@EACH_AND_GROUPS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_state_continues_bit_for_bit(make: Any, dtype: str) -> None:
    model = network(dtype)
    optimizer = make(model.parameters())
    train(model, optimizer, 3)
    weights_then, state = model.state_dict(), optimizer.state_dict()
    assert all(type(array) is np.ndarray for array in state.values())
    copies = {name: array.copy() for name, array in state.items()}
    train(model, optimizer, 3)
    assert_equal(state, copies)
    again = network(dtype).load_state_dict(weights_then)
    other = make(again.parameters())
    other.lr = 123.0
    other.load_state_dict(state)
    assert (other.steps, other.lr) == (3, optimizer.lr)
    train(again, other, 3)
    assert_equal(weights(again), weights(model))
    assert_equal(other.state_dict(), optimizer.state_dict())
    assert_equal(state, copies)


@EACH
def test_a_state_is_a_copy(make: Any) -> None:
    """Also of numbers that the user keeps in arrays."""
    w = nn.Parameter(np.array([1.0, 2.0]))
    optimizer = make([w])
    optimizer.lr, optimizer.steps = np.array(0.1), np.array(0)

    def step() -> None:
        (w * w).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    state = optimizer.state_dict()
    kept = {name: array.copy() for name, array in state.items()}
    assert all(array.flags.owndata or array.ndim == 0 for array in state.values())
    optimizer.lr[...] = 0.7
    optimizer.steps[...] = 5
    step()
    assert all(np.array_equal(array, kept[name]) for name, array in state.items())
    for array in state.values():
        array[...] = -1
    assert float(optimizer.lr) == 0.7 and all((array != -1).all() for array in optimizer.arrays())


def test_every_step_counts_as_a_change_of_the_weights() -> None:
    """A backward pass through weights is refused if a step has changed one of many, the first step or a later one."""
    w = nn.Parameter(np.ones(10**5, "float32"))
    optimizer = optim.SGD([w], lr=0.1)
    for place in (0, 1, 777, 50_001, 99_998):
        early, late = (w[place] * w[place]).sum(), (w * w).sum()
        early.backward()
        optimizer.step()
        optimizer.zero_grad()
        with pytest.raises(GradientError):
            late.backward()


@EACH
def test_a_state_is_complete_before_the_first_step(make: Any) -> None:
    optimizer = make(network().parameters())
    state = optimizer.state_dict()
    names = {f"{name}.{moment}" for name in ("0.W", "0.b", "2.W", "2.b") for moment in optimizer.moments}
    assert state.keys() == names | {"steps", "lr"}
    assert not any(state[name].any() for name in names)
    optimizer.load_state_dict(state)


@pytest.mark.parametrize(("change", "error", "message"), [
    (lambda s: s.pop("2.b.m"), StateError, "load_state_dict: names must be those of Adam.state_dict(), missing "
     "['2.b.m'], unexpected none; was it saved by the same optimizer for the same model?"),
    (lambda s: s.update(x=np.zeros(1)), StateError, "load_state_dict: names must be those of Adam.state_dict(), "
     "missing none, unexpected ['x']; was it saved by the same optimizer for the same model?"),
    (lambda s: s.update({"2.b.m": np.zeros((4, 1))}), ShapeError,
     "load_state_dict: 2.b.m must be (4,), got (4, 1); was it saved for a model of the same sizes?"),
    (lambda s: s.update({"steps": np.zeros(1)}), ShapeError,
     "load_state_dict: steps must be (), got (1,); was it saved for a model of the same sizes?")])
def test_loading_is_all_or_nothing(change: Any, error: type[Exception], message: str) -> None:
    model = network()
    optimizer = optim.Adam(model.parameters())
    train(model, optimizer)
    before, state = optimizer.state_dict(), {name: array + 1 for name, array in optimizer.state_dict().items()}
    change(state)
    with pytest.raises(error) as caught:
        optimizer.load_state_dict(state)
    assert str(caught.value) == message
    assert_equal(optimizer.state_dict(), before)


def test_the_state_of_another_optimizer_is_refused() -> None:
    model = network()
    with pytest.raises(StateError, match=r"names must be those of SGD.state_dict\(\), missing \['0.W.velocity'"):
        optim.SGD(model.parameters()).load_state_dict(optim.Adam(model.parameters()).state_dict())


# --- bad use --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW])
@pytest.mark.parametrize(("arguments", "message"), [
    (([],), r"\w+: parameters must not be empty; was model.parameters\(\) used up\?"),
    (([tn.Tensor([1.0]), "W", 1, None],), r"\w+: parameters must be Parameters, got \['Tensor', 'str', 'int'\]; mo"),
    ((["W"],), r"\w+: parameters must be Parameters, got \['str'\]"),
    (([nn.Parameter([1.0])], -1.0), r"\w+: lr must be finite and not negative, got -1.0; lr=1e-3\?"),
    (([nn.Parameter([1.0])], math.nan), r"\w+: lr must be finite and not negative, got nan"),
    (([nn.Parameter([1.0])], math.inf), r"\w+: lr must be finite and not negative, got inf")])
def test_bad_arguments(make: Any, arguments: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make(*arguments)


@pytest.mark.parametrize("lr", ["0.1", -1.0, None, [0.1], True, math.nan, math.inf, np.float32(-1)])
def test_a_rate_that_is_set_is_a_number_of_at_least_0(lr: Any) -> None:
    optimizer = optim.Adam([nn.Parameter([1.0])], lr=0.5)
    with pytest.raises(ArgumentError, match=r"Adam: lr must be finite and not negative, got .*; lr=1e-3\?"):
        optimizer.lr = lr
    assert optimizer.lr == 0.5
    state = optimizer.state_dict() | {"steps": np.array(7), "lr": np.array(-1.0)}
    with pytest.raises(ArgumentError, match=r"got -1\.0"):
        optimizer.load_state_dict(state)
    assert (optimizer.steps, optimizer.lr) == (0, 0.5)


@pytest.mark.parametrize("betas", [(1.0, 0.9), (0.9, -0.1), (0.9, 1.5)])
def test_betas_are_shares(betas: Any) -> None:
    with pytest.raises(ArgumentError, match=r"Adam: betas must be in \[0, 1\), two numbers, got .*; \(0.9, 0.999\) is"):
        optim.Adam([nn.Parameter([1.0])], betas=betas)


@pytest.mark.parametrize(("make", "name", "value", "kept"), [
    (optim.SGD, "momentum", 1.0, 0.5), (optim.SGD, "weight_decay", math.nan, 2), (optim.Adam, "eps", -1e-8, 0),
    (optim.Adam, "weight_decay", math.inf, np.float64(0.25)), (optim.AdamW, "betas", (0.9, 1.0), [0, np.float32(0.5)])])
def test_an_option_that_is_set_later_is_checked(make: Any, name: str, value: Any, kept: Any) -> None:
    optimizer = make([nn.Parameter([1.0])])
    before = getattr(optimizer, name)
    with pytest.raises(ArgumentError, match=f"{make.__name__}: {name} must be "):
        setattr(optimizer, name, value)
    assert getattr(optimizer, name) == before
    setattr(optimizer, name, kept)
    found = getattr(optimizer, name)
    assert found == tuple(kept) if name == "betas" else found == kept
    assert {type(one) for one in (found if name == "betas" else [found])} == {float}


def test_parameters_may_come_as_a_list_or_a_generator() -> None:
    one, other = nn.Parameter([1.0]), nn.Parameter([2.0])
    assert optim.SGD([one, other, one]).parameters.names == ("0", "1")
    assert optim.SGD(p for p in (one, other)).parameters.names == ("0", "1")
    groups: Any = [{"parameters": [one], "lr": 0.5}, {"parameters": [other]}]
    for given in (tuple(groups), (group for group in groups)):
        assert [group.factor for group in optim.SGD(given, lr=1.0).groups] == [0.5, 1.0]


@pytest.mark.parametrize(("make", "update", "options", "fixed"), [
    (optim.SGD, optim.sgd.sgd, {"momentum": 0.5, "nesterov": True, "weight_decay": 0.25}, {}),
    (optim.Adam, optim.adam.adam, {"betas": (0.0, 0.75), "eps": 0.5, "weight_decay": 0.25}, {"decoupled": False}),
    (optim.AdamW, optim.adam.adam, {"betas": (0.75, 0.0), "eps": 0.5, "weight_decay": 0.25}, {"decoupled": True})])
def test_an_optimizer_passes_all_its_options_on(make: Any, update: Any, options: Any, fixed: Any) -> None:
    """Two steps are those of the update with these options, and without one of them something else."""
    first, *gradients = np.random.default_rng(0).standard_normal((3, 7))
    value, *moments = first.copy(), *(np.zeros(7) for _ in make.moments)
    for step, gradient in enumerate(gradients, 1):
        update(value, gradient.copy(), *moments, lr=0.5, **options, **fixed, **({"step": step} if fixed else {}))
    for left_out in (None, *options):
        parameter = nn.Parameter(first.copy())
        optimizer = make([parameter], 0.5, **{name: one for name, one in options.items() if name != left_out})
        for gradient in gradients:
            parameter.grad = gradient.copy()
            optimizer.step()
        assert np.allclose(parameter.numpy(), value, rtol=1e-12) == (left_out is None), left_out


def test_an_optimizer_of_ones_own() -> None:
    class Signs(optim.Optimizer):
        moments = ("last",)

        def update(self, value: Any, gradient: Any, *moments: Any) -> None:
            moments[0][...] = np.sign(gradient)
            value -= self.lr * moments[0]

    parameter = nn.Parameter([1.0, 2.0])
    optimizer = Signs([parameter], lr=0.5)
    parameter.grad = np.array([3.0, -4.0], "float32")
    optimizer.step()
    assert parameter.numpy().tolist() == [0.5, 2.5]
    assert optimizer.state_dict()["0.last"].tolist() == [1, -1]
    parameter.grad = np.ones(2, "float32")
    with pytest.raises(NotImplementedError, match="Optimizer: an optimizer needs update"):
        optim.Optimizer([parameter], lr=1.0).step()


# --- groups ---------------------------------------------------------------------------------------------------------

KINDS: dict[str, Callable[..., Any]] = {
    "Adam": optim.Adam, "AdamW": optim.AdamW,
    "SGD": lambda p, lr=0.5, **options: optim.SGD(p, lr=lr, momentum=0.9, **options)}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_groups_are_optimizers_of_their_own(kind: str, dtype: str) -> None:
    """Bit for bit, with a schedule too: the rates keep their ratio. Ratios here are exact in binary."""
    make, (one, other) = KINDS[kind], (network(dtype), network(dtype))
    first, second = other[0].parameters(), other[2].parameters()
    apart = make(first, lr=0.125, weight_decay=0.25), make(second, lr=0.5)
    grouped = make([{"parameters": one[0].parameters(), "lr": 0.125, "weight_decay": 0.25},
                    {"parameters": [*one[2].parameters()]}], lr=0.5)
    schedules = [optim.StepDecay(optimizer, every=2, factor=0.5) for optimizer in (*apart, grouped)]
    for _ in range(5):
        train(one, grouped)
        for optimizer in apart:
            optimizer.zero_grad()
        backward(other)
        for optimizer in apart:
            optimizer.step()
        for schedule in schedules:
            schedule.step()
    assert_equal(weights(one), weights(other))
    state, parts = grouped.state_dict(), [optimizer.state_dict() for optimizer in apart]
    assert state["lr"] == 0.125
    moment = grouped.moments[0]
    np.testing.assert_array_equal(state[f"0.W.{moment}"], parts[0][f"W.{moment}"])
    np.testing.assert_array_equal(state[f"1.1.{moment}"], parts[1][f"b.{moment}"])
    assert [(len(group.parameters), *group[1:]) for group in grouped.groups] == [(2, 0.25, 0.25), (2, 1.0, None)]
    assert (grouped.lr, getattr(grouped, "weight_decay", None)) == (0.125, apart[1].weight_decay)


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_may_have_no_weight_decay_beside_an_optimizer_that_has_one(kind: str) -> None:
    """A decay of 0 is one of its own: biases, for example."""
    one, other = nn.Parameter([1.0]), nn.Parameter([1.0])
    groups: Any = [{"parameters": [one], "weight_decay": 0}, {"parameters": [other]}]
    optimizer = KINDS[kind](groups, lr=0.5, weight_decay=0.5)
    one.grad, other.grad = (np.zeros(1, "float32") for _ in range(2))
    optimizer.step()
    assert one.item() == 1 and other.item() < 1
    assert [group.weight_decay for group in optimizer.groups] == [0, None]


def test_an_optimizer_of_ones_own_with_groups() -> None:
    class Descent(optim.Optimizer):
        def update(self, value: Any, gradient: Any, *moments: Any) -> None:
            value -= self.lr * gradient

    one, other = nn.Parameter([1.0]), nn.Parameter([1.0])
    optimizer = Descent([{"parameters": [one]}, {"parameters": [other], "lr": 0.25}], lr=0.5)
    (one + other).sum().backward()
    optimizer.step()
    assert (one.item(), other.item(), optimizer.lr) == (0.5, 0.75, 0.5)
    with pytest.raises(ArgumentError, match=r"Descent: a group must be .* may have lr, got .* 'weight_decay'"):
        Descent([{"parameters": [one], "weight_decay": 0.5}], lr=0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_may_have_the_rate_0(kind: str) -> None:
    """Its parameters stay, whatever the optimizer's rate is."""
    one, other = nn.Parameter([1.0]), nn.Parameter([1.0])
    optimizer = KINDS[kind]([{"parameters": [one], "lr": 0.0}, {"parameters": [other]}], lr=0.5)
    for optimizer.lr in (0.5, 0.25):
        one.grad, other.grad = (np.ones(1, "float32") for _ in range(2))
        optimizer.step()
    assert one.item() == 1 and other.item() < 1
    assert [group.factor for group in optimizer.groups] == [0, 1]
    optimizer = KINDS[kind]([{"parameters": [one], "lr": 0.0}, {"parameters": [other]}], lr=0.0)
    assert [group.factor for group in optimizer.groups] == [1, 1], "a rate that all have is no rate of one's own"


def test_an_update_that_fails_leaves_the_rate_and_the_weight_decay_of_the_optimizer() -> None:
    """Those of a group hold during its update alone: an interrupt may come in it."""
    class Fails(optim.SGD):
        def update(self, value: Any, gradient: Any, *moments: Any) -> None:
            raise KeyError((self.lr, self.weight_decay))

    parameter = nn.Parameter([1.0])
    optimizer = Fails([{"parameters": [parameter], "lr": 0.25, "weight_decay": 0.125}], lr=0.5, weight_decay=0.0625)
    parameter.grad = np.ones(1, "float32")
    with pytest.raises(KeyError, match=r"0.25, 0.125"):
        optimizer.step()
    assert (optimizer.lr, optimizer.weight_decay) == (0.5, 0.0625)


@pytest.mark.parametrize(("groups", "options", "message"), [
    ([{"params": [nn.Parameter([1.0])]}], {}, r"a group must be a dictionary with .* got \['params'\]"),
    ([{"parameters": [nn.Parameter([1.0])], "eps": 1}], {}, r"a group .* may have lr and weight_decay, got .* 'eps'"),
    ([{"parameters": [nn.Parameter([1.0])]}, nn.Parameter([1.0])], {}, r"a group must be .* got Parameter"),
    ([{"parameters": []}], {}, r"parameters must not be empty"),
    ([{"parameters": [nn.Parameter([1.0])], "lr": -1.0}], {}, r"lr must be .*, got -1.0"),
    ([{"parameters": [nn.Parameter([1.0])], "weight_decay": -1.0}], {}, r"weight_decay must be .*, got -1.0"),
    ([{"parameters": [nn.Parameter([1.0])], "lr": 1.0}], {"lr": 0.0}, r"lr must be above 0 .*, got 0 and 1.0"),
    ([{"parameters": [W]} for W in [nn.Parameter([1.0])] * 2], {}, r"a parameter must be in one group"),
    ([{"parameters": [W, nn.Parameter([2.0])]} for W in [nn.Parameter([1.0])] * 2], {}, r"a parameter must be in one"),
])
def test_bad_groups(groups: Any, options: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=rf"Adam: {message}"):
        optim.Adam(groups, **options)


def test_an_option_of_a_group_that_is_none_is_that_of_the_optimizer() -> None:
    one, other = nn.Parameter([1.0]), nn.Parameter([1.0])
    groups: Any = [{"parameters": [one], "lr": None, "weight_decay": None}, {"parameters": [other], "lr": 0.25}]
    assert [group[1:] for group in optim.SGD(groups, lr=0.5, weight_decay=0.125).groups] == [(1.0, None), (0.5, None)]


def test_a_group_is_checked_by_the_rules_of_its_optimizer() -> None:
    for kind, usual in ((optim.SGD, "1e-4"), (optim.AdamW, "0.01")):
        with pytest.raises(ArgumentError, match=f"^{kind.__name__}: weight_decay .*; weight_decay={usual} is usual"):
            kind([{"parameters": [nn.Parameter([1.0])], "weight_decay": -1.0}])


# --- schedules and clipping -----------------------------------------------------------------------------------------

def sgd(lr: Any = 1.0) -> Any:
    return optim.SGD([nn.Parameter([1.0])], lr=lr)


SCHEDULES: dict[str, Callable[[Any], Any]] = {
    "StepDecay": lambda o: optim.StepDecay(o, every=2, factor=0.5),
    "Cosine": lambda o: optim.Cosine(o, steps=8, final=0.1),
    "OneCycle": lambda o: optim.OneCycle(o, peak=2.0, steps=8),
    "Warmup": lambda o: optim.Warmup(o, steps=4),
    "Warmup, Cosine": lambda o: optim.Warmup(optim.Cosine(o, steps=5), steps=2),
    "Warmup, Warmup": lambda o: optim.Warmup(optim.Warmup(o, steps=3), steps=2),
    "Warmup, Warmup, Cosine": lambda o: optim.Warmup(optim.Warmup(optim.Cosine(o, steps=5), steps=3), steps=2)}


def test_rates() -> None:
    def rates(schedule: Any, steps: int) -> list[float]:
        found = []
        for _ in range(steps):
            found.append(schedule.optimizer.lr)
            schedule.step()
        return found

    assert rates(optim.StepDecay(sgd(), every=2, factor=0.5), 6) == [1, 1, 0.5, 0.5, 0.25, 0.25]
    cosine = rates(optim.Cosine(sgd(), steps=4, final=0.2), 7)
    np.testing.assert_allclose(cosine, [1, 0.2 + 0.4 * (1 + math.sqrt(0.5)), 0.6, 0.2 + 0.4 * (1 - math.sqrt(0.5)),
                                        0.2, 0.2, 0.2])
    cycle = rates(optim.OneCycle(sgd(), peak=5.0, steps=11, warmup=4 / 11), 13)
    np.testing.assert_allclose([cycle[0], cycle[3], cycle[10], cycle[12]], [0.2, 5.0, 2e-5, 2e-5])
    np.testing.assert_allclose(rates(optim.OneCycle(sgd(), peak=5.0, steps=2, warmup=0.5), 3), [5, 2e-5, 2e-5])
    np.testing.assert_allclose(rates(optim.Warmup(sgd(), steps=4), 6), [0.25, 0.5, 0.75, 1, 1, 1])
    warm = optim.Warmup(optim.StepDecay(sgd(2.0), every=1, factor=0.5), steps=2)
    np.testing.assert_allclose(rates(warm, 5), [1, 2, 2, 1, 0.5])
    assert cycle[:4] == sorted(cycle[:4])
    assert cycle[3:] == sorted(cycle[3:], reverse=True)


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("optimizer_first", [True, False])
def test_a_schedule_goes_on_where_it_was(make: Any, optimizer_first: bool) -> None:
    """In whichever order optimizer and schedule are loaded, and whatever rate the optimizer was made with."""
    schedule = make(sgd(3.0))
    for _ in range(3):
        schedule.step()
    states = schedule.optimizer.state_dict(), schedule.state_dict()
    fresh = sgd(3.0)
    if optimizer_first:
        fresh.load_state_dict(states[0])
    again = make(fresh)
    again.load_state_dict(states[1])
    if not optimizer_first:
        fresh.load_state_dict(states[0])
    for _ in range(3):
        assert fresh.lr == schedule.optimizer.lr
        schedule.step()
        again.step()


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
def test_a_rate_on_a_device_stays_there(make: Any) -> None:
    """The optimizer's rate may be a 0-d array, and is not read back."""
    schedule, expected = make(sgd(np.array(3.0))), make(sgd(3.0))
    for _ in range(10):
        assert float(schedule.optimizer.lr) == expected.optimizer.lr
        assert schedule.state_dict() == expected.state_dict() and type(schedule.state_dict()["base"]) is float
        schedule.step()
        expected.step()


@pytest.mark.parametrize(("make", "message"), [
    (lambda: optim.StepDecay(sgd(), every=0), r"every must be an integer of at least 1, got 0; every=len\(loader\)"),
    (lambda: optim.Cosine(sgd(), steps=0), r"Cosine: steps must be an integer .*, got 0; steps=epochs \* len\("),
    (lambda: optim.OneCycle(sgd(), peak=1.0, steps=1), r"OneCycle: steps must be an integer of at least 2, got 1"),
    (lambda: optim.StepDecay(sgd(), every=2.5), r"StepDecay: every must be an integer of at least 1, got 2.5"),
    (lambda: optim.Cosine(sgd(), steps="9"), r"Cosine: steps must be an integer of at least 1, got '9'"),
    (lambda: optim.OneCycle(sgd(), peak=1.0, steps=True), r"steps must be an integer of at least 2, got True"),
    (lambda: optim.Warmup(sgd(), steps=0), r"Warmup: steps must be an integer of at least 1, got 0"),
    (lambda: optim.Warmup([0.1], steps=3), r"Warmup: then must be an optimizer or a schedule, got list"),
    (lambda: optim.OneCycle(sgd(), peak=-1.0, steps=9), r"OneCycle: peak must be .*, got -1.0; peak=1e-2 is usual"),
    (lambda: optim.StepDecay(sgd(), 2, factor=-0.5), r"StepDecay: factor must be .*, got -0.5; factor=0.1 is usual"),
    (lambda: optim.Cosine(sgd(), 5, final=-1.0), r"Cosine: final must be .*, got -1.0; final=0.0 is usual"),
    (lambda: optim.OneCycle(sgd(), peak=1.0, steps=9, warmup=0), r"OneCycle: warmup must be in \(0, 1\), got 0"),
    (lambda: optim.OneCycle(sgd(), peak=1.0, steps=9, warmup=1.0), r"OneCycle: warmup must be in \[0, 1\), got 1.0")])
def test_bad_schedules(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize("way", ["state", "copy", "device"])
def test_a_parameter_that_is_frozen_keeps_its_number_of_steps(way: str) -> None:
    """Adam's bias correction of its next step shows it."""
    x = tn.Tensor(np.linspace(-1, 1, 6, dtype="float32").reshape(2, 3))

    def step(model: Any, optimizer: Any, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            (model(x) ** 2).sum().backward()
            optimizer.step()

    tn.seed(0)
    model = nn.Sequential(nn.Dense(3, 2))
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    step(model, optimizer, 3)
    model[0].b.requires_grad = False
    step(model, optimizer, 2)
    other, copied = copy.deepcopy((model, optimizer))
    if way == "state":
        copied = optim.Adam(other.parameters(), lr=0.1)
        copied.load_state_dict(optimizer.state_dict())
    elif way == "device":
        other.to("gpu-emulated").to("cpu")
    for one, its in ((model, optimizer), (other, copied)):
        one[0].b.requires_grad = True
        step(one, its, 2)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("missing", ["steps", "base"])
def test_a_state_that_lacks_a_number(missing: str) -> None:
    schedule = optim.Cosine(sgd(), steps=4)
    with pytest.raises(ArgumentError, match=f"load_state_dict: {missing} must be .*, got None"):
        schedule.load_state_dict({name: value for name, value in schedule.state_dict().items() if name != missing})


def test_a_schedule_without_a_rate() -> None:
    with pytest.raises(NotImplementedError, match=r"Schedule: a schedule needs a rate\(self, step\)"):
        optim.Schedule(sgd())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_clipping(dtype: str) -> None:
    a, b, c = (nn.Parameter(np.zeros(shape, dtype)) for shape in ((2,), (1, 2), (3,)))
    a.grad, b.grad = np.array([3.0, 0.0], dtype), np.array([[0.0, 4.0]], dtype)
    arrays = a.grad, b.grad
    norm = optim.clip_global_norm([a, b, c], 10.0)
    assert (float(norm), norm.dtype, a.grad.tolist()) == (5.0, dtype, [3.0, 0.0])
    assert float(optim.clip_global_norm([a, b, c], 2.5)) == 5.0
    assert (a.grad.tolist(), b.grad.tolist(), c.grad) == ([1.5, 0.0], [[0.0, 2.0]], None)
    assert (a.grad is arrays[0], b.grad is arrays[1], a.grad.dtype) == (True, True, dtype), "in place"
    assert float(optim.clip_global_norm([c], 1.0)) == 0.0
    c.grad = np.zeros(3, dtype)
    assert float(optim.clip_global_norm([c], 1.0)) == 0.0
    assert c.grad.tolist() == [0, 0, 0]
    for bad in (0.0, -1.0, math.nan):
        with pytest.raises(ArgumentError, match=r"clip_global_norm: max_norm must be positive, got .*; 1.0 is usual"):
            optim.clip_global_norm([a], bad)


def test_clipping_of_gradients_of_two_dtypes_and_of_no_elements() -> None:
    """The norm has the wider dtype, in whichever order they come; one that scales gradients, too."""
    for dtypes in (("float32", "float64"), ("float64", "float32")):
        for scale in (1.0, 1e-25):  # squares of the second are 0 in float32
            a, b = (nn.Parameter(np.zeros(1, dtype)) for dtype in dtypes)
            empty = nn.Parameter(np.zeros((0, 2), "float32"))
            a.grad, b.grad = np.array([3 * scale], dtypes[0]), np.array([4 * scale], dtypes[1])
            empty.grad = np.zeros((0, 2), "float32")
            norm = optim.clip_global_norm([empty, a, b], 2.5 * scale)
            assert norm.dtype == "float64" and float(norm) == pytest.approx(5 * scale, rel=1e-6)
            assert [a.grad.item(), b.grad.item()] == pytest.approx([1.5 * scale, 2 * scale], rel=1e-6)


def test_clipping_of_tensors_that_are_no_parameters_and_without_a_limit() -> None:
    x, w = tn.Tensor([3.0], requires_grad=True), nn.Parameter([4.0])
    x.grad, w.grad = np.array([3.0], "float32"), np.array([4.0], "float32")
    assert float(optim.clip_global_norm((one for one in (x, w)), math.inf)) == 5.0
    assert (x.grad.item(), w.grad.item()) == (3.0, 4.0)
    assert float(optim.clip_global_norm((one for one in (x, w)), 2.5)) == 5.0
    assert (x.grad.item(), w.grad.item()) == (1.5, 2.0)


def test_clipping_shows_what_is_not_finite() -> None:
    parameter = nn.Parameter([0.0])
    parameter.grad = np.array([np.nan], "float32")
    assert math.isnan(optim.clip_global_norm([parameter], 1.0))
    assert math.isnan(parameter.grad[0])


@pytest.mark.parametrize(("made", "defaults"), [
    (optim.SGD, {"lr": 1e-2, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}),
    (optim.Adam, {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}),
    (optim.AdamW, {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}),
    (optim.StepDecay, {"factor": 0.1}), (optim.Cosine, {"final": 0.0}), (optim.OneCycle, {"warmup": 0.3}),
    (tn.callbacks.EMA, {"decay": 0.999}), (tn.callbacks.BestModel, {"metric": "validation_loss", "mode": None}),
    (tn.callbacks.EarlyStopping, {"metric": "validation_loss", "patience": 5, "min_delta": 0.0, "mode": None})])
def test_what_is_not_given_is_as_usual(made: Any, defaults: dict[str, Any]) -> None:
    parameters = inspect.signature(made).parameters
    assert {name: parameters[name].default for name in defaults} == defaults


def test_an_update_that_fails_leaves_rate_and_weight_decay_of_the_optimizer() -> None:
    class Failing(optim.AdamW):
        def update(self, value: Any, gradient: Any, *moments: Any) -> None:
            assert (self.lr, self.weight_decay) == (0.25, 0.5)
            raise MemoryError

    w = nn.Parameter([1.0])
    optimizer = Failing([{"parameters": [w], "lr": 0.25, "weight_decay": 0.5}], lr=1.0, weight_decay=0.125)
    (w * w).sum().backward()
    with pytest.raises(MemoryError):
        optimizer.step()
    assert (optimizer.lr, optimizer.weight_decay) == (1.0, 0.125)
