"""The tape: what backward() reaches, in which order, what it adds up, what it lets go of, and what it refuses."""

import copy
import gc
import importlib
import operator
import pickle
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.errors import DtypeError, GradientError, ShapeError
from tinynet.op import REGISTRY, op
from tinynet.tape import evaluated

Array = np.ndarray


def leaf(*values: float, dtype: str = "float64") -> tn.Tensor:
    return tn.Tensor(np.array(values, dtype), requires_grad=True)


def is_linear(run: Callable[[Any], None], prepare: Callable[[int], Any]) -> bool:
    """Whether the processor time of ten times as many elements is about ten times as long, at best of three."""
    def seconds(length: int) -> float:
        made = prepare(length)
        start = time.process_time()
        run(made)
        return time.process_time() - start

    return any(seconds(LONG) < 40 * seconds(LONG // 10) for _ in range(3))


@pytest.fixture
def registry() -> Iterator[dict[str, Any]]:
    """Ops that a test makes are gone afterwards."""
    before = dict(REGISTRY)
    yield REGISTRY
    REGISTRY.clear()
    REGISTRY.update(before)


# --- accumulation ---------------------------------------------------------------------------------------------------

def test_gradients_add_up() -> None:
    x = leaf(1, 2)
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3, 3]
    (x * x).sum().backward()
    assert x.grad.tolist() == [5, 7]
    x.zero_grad()
    assert x.grad is None


def test_a_tensor_used_many_times() -> None:
    x = leaf(2, 3)
    (x * x * x + x + x).sum().backward()
    assert x.grad.tolist() == [3 * 4 + 2, 3 * 9 + 2]


def test_diamond() -> None:
    """Both ways from x to the loss count, and the middle is visited once, when its gradient is complete."""
    x = leaf(0.5)
    middle = tn.ops.exp(x)
    left, right = middle * 2, middle * middle
    ((left + right) * middle).sum().backward()
    e = np.exp(0.5)
    assert x.grad[0] == pytest.approx(4 * e**2 + 3 * e**3, rel=1e-14)


def test_doubling_sixty_times_is_linear_work() -> None:
    """2**60 ways lead back, over 60 nodes."""
    x = leaf(1)
    y = x
    for _ in range(60):
        y = y + y
    y.sum().backward()
    assert x.grad.tolist() == [2.0**60]


def test_a_shared_gradient_is_never_added_to_in_place() -> None:
    """add hands the same array to both its inputs; adding to one of them must not change the other."""
    a, b = leaf(1, 1), leaf(2, 2)
    left, right = a * 1, b * 1
    total = left + right
    (total.sum() + (left * 10).sum() + (left * 100).sum()).backward()
    assert a.grad.tolist() == [111, 111]
    assert b.grad.tolist() == [1, 1]


def test_a_gradient_that_was_added_up_is_handed_on_as_shared() -> None:
    """The gradient of total is a sum that the tape made; add hands that one array to left and to right."""
    a, b = leaf(1, 1), leaf(2, 2)
    left, right = a * 1, b * 1
    more = left * 10
    total = left + right
    ((total * 2).sum() + (total * 3).sum() + more.sum()).backward()
    assert a.grad.tolist() == [15, 15]
    assert b.grad.tolist() == [5, 5]


def test_scalars_that_are_used_often() -> None:
    """Gradients without axes are NumPy's immutable scalars, for which adding in place makes another object."""
    for count in range(2, 8):
        x, others = leaf(2), [leaf(k) for k in range(20)]
        scalar = (x * 1).sum()
        total = sum((scalar * other.sum() for other in others[1:]), start=scalar * others[0].sum())
        for _ in range(count):
            total = total + scalar
        total.backward()
        assert x.grad.tolist() == [sum(range(20)) + count]
        assert [other.grad.tolist() for other in others] == [[2]] * 20


def test_what_was_given_to_backward_is_not_changed() -> None:
    x = leaf(1, 2)
    dy = np.ones(2)
    y = x + x
    y.backward(dy)
    assert dy.tolist() == [1, 1]
    assert x.grad.tolist() == [2, 2]
    z = leaf(3)
    z.backward(np.array([5.0]))
    z.backward()
    assert z.grad.tolist() == [6]


# --- .grad ----------------------------------------------------------------------------------------------------------

def test_grad_shares_no_memory_with_the_graph() -> None:
    a, b, dy = leaf(1, 2), leaf(3, 4), np.array([5.0, 6.0])
    y = a + b
    y.backward(dy)
    arrays = [a.grad, b.grad, dy, a.data, b.data, y.data]
    assert not any(np.shares_memory(one, other) for i, one in enumerate(arrays) for other in arrays[:i])
    a.grad += 1
    assert b.grad.tolist() == [5, 6]


def test_grad_of_a_sum_can_be_written_to() -> None:
    """Inside, it is one number that is shown many times."""
    x = leaf(1, 2, 3)
    x.sum().backward()
    x.grad[0] = 7
    assert x.grad.tolist() == [7, 1, 1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_grad_has_shape_and_dtype_of_its_tensor(dtype: str) -> None:
    scalar, matrix = (tn.Tensor(np.ones(shape, dtype), requires_grad=True) for shape in ((), (2, 3)))
    y = (matrix * scalar + 1.5) / 3
    y.mean().backward()
    for tensor in (scalar, matrix):
        assert isinstance(tensor.grad, Array)
        assert tensor.grad.shape == tensor.shape
        assert tensor.grad.dtype == dtype
    scalar.backward()
    assert scalar.grad.dtype == dtype
    y = matrix.astype("float64" if dtype == "float32" else "float32")
    y.sum().backward()
    assert matrix.grad.dtype == dtype


def test_only_leaves_that_ask_for_it_get_a_grad() -> None:
    x, constant = leaf(1, 2), tn.Tensor(np.ones(2))
    middle = x * constant
    middle.sum().backward()
    assert constant.grad is None
    assert middle.grad is None
    assert not (constant * 2).requires_grad
    assert leaf(1).grad is None


def test_detach() -> None:
    x = leaf(3)
    y = (x * x).detach()
    assert not y.requires_grad
    assert x.detach().data is x.data
    (x * y).sum().backward()
    assert x.grad.tolist() == [9]


# --- outputs --------------------------------------------------------------------------------------------------------

def test_unused_outputs_count_as_zero() -> None:
    rng = np.random.default_rng(0)
    x, gamma, beta = (tn.Tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((4, 2), 2, 2))
    _, mean, _ = tn.ops.batch_norm(x, gamma, beta)
    mean.sum().backward()
    np.testing.assert_allclose(x.grad, np.full((4, 2), 0.25), rtol=1e-14)
    assert not gamma.grad.any()


@pytest.mark.parametrize("which", ["fast", "reference"])
def test_overrides_are_told_which_outputs_were_not_used(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = list[Any]()
    place, name = ((tn.ops.batch_norm, "backward") if which == "reference" else
                   (importlib.import_module("tinynet.backend.cpu.batchnorm"), "dbatch_norm"))
    backward = getattr(place, name)

    def noting(xp: Any, *arrays: Any, **options: Any) -> Any:
        given.append([None if array is None else float(abs(array).sum()) for array in arrays])
        return backward(xp, *arrays, **options)

    monkeypatch.setattr(place, name, noting)
    monkeypatch.setattr(tn.backend.overrides, "_overrides", {})
    x, one, zero = (tn.Tensor(np.full(shape, value, "float32"), requires_grad=True)
                    for shape, value in (((4, 2), 3), (2, 1), (2, 0)))
    with tn.using(which):
        _, mean, _ = tn.ops.batch_norm(x, one, zero)
        mean.backward(np.ones(2, "float32"))
    assert given == [[None, 2.0, None] if which == "fast" else [0.0, 2.0, 0.0]]
    np.testing.assert_allclose(x.grad, np.full((4, 2), 0.25))


def test_a_batch_of_two_losses() -> None:
    """Two outputs of one op, each in a loss of its own, in one sum."""
    x = leaf(1, 2, 3)
    y, mean, var = tn.ops.batch_norm(x.reshape(3, 1), tn.Tensor(np.ones(1)), tn.Tensor(np.zeros(1)))
    (mean.sum() * 3 + (y * 0).sum() + var.sum() * 0).backward()
    np.testing.assert_allclose(x.grad, [1, 1, 1], rtol=1e-14)


# --- what is refused ------------------------------------------------------------------------------------------------

def test_backward_twice() -> None:
    x = leaf(1, 2)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(GradientError) as error:
        y.backward()
    assert str(error.value) == ("backward: the tape behind sum was used up by an earlier backward(), each forward goes "
                                "with one; compute the loss again, or add the losses first")
    assert x.grad.tolist() == [2, 4]


def test_backward_through_a_part_that_was_used_up() -> None:
    """Nothing is added to any gradient before this is found."""
    x, w = leaf(1, 2), leaf(1, 1)
    shared = x * x
    shared.sum().backward()
    with pytest.raises(GradientError, match="the tape behind multiply was used up by an earlier"):
        (shared * w).sum().backward()
    assert x.grad.tolist() == [2, 4]
    assert w.grad is None


def test_backward_from_a_non_scalar() -> None:
    y = leaf(1, 2) * 2
    with pytest.raises(GradientError) as error:
        y.backward()
    assert str(error.value) == ("backward: starts at a tensor of one element, got (2,); take a loss such as .mean() "
                                "first, or pass the gradient: y.backward(dy)")
    y.backward([3.0, 4.0])  # and the tape is still there
    with pytest.raises(GradientError, match=r"starts at a tensor of one element, got \(0,\)"):
        (leaf() * 2).backward()


def test_gradient_of_another_shape() -> None:
    y = leaf(1, 2) * 2
    for wrong in (np.ones(3), np.ones((1, 2)), 1.0):
        with pytest.raises(ShapeError, match=r"backward: gradient must have the shape of the tensor, \(2,\), got"):
            y.backward(wrong)


def test_gradient_may_be_a_tensor_or_a_list() -> None:
    """Of any dtype: the gradients have that of the tensors."""
    for dtype in ("float64", "float32"):
        for dy in (tn.Tensor(np.array([3.0, 4.0])), tn.Tensor([3.0, 4.0]), tn.Tensor([3, 4]), [3.0, 4.0],
                   np.array([3.0, 4.0]), np.array([3, 4])):
            x, leaf_alone = leaf(1, 2, dtype=dtype), leaf(1, 2, dtype=dtype)
            (x * 2).backward(dy)
            leaf_alone.backward(dy)
            assert (x.grad.tolist(), leaf_alone.grad.tolist()) == ([6, 8], [3, 4])
            assert x.grad.dtype == leaf_alone.grad.dtype == dtype


def test_backward_without_a_tape() -> None:
    with tn.no_grad():
        y = leaf(1, 2).sum()
    for tensor in (y, tn.Tensor([1.0]), leaf(1).detach()):
        with pytest.raises(GradientError) as error:
            tensor.backward()
        assert str(error.value) == ("backward: nothing that this tensor was made of has requires_grad; make it outside "
                                    "of tn.no_grad(), from tensors with requires_grad=True or from a model's "
                                    "parameters")


def test_no_grad_nests_and_ends() -> None:
    x = leaf(1)
    with tn.no_grad(), tn.no_grad():
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad
    with pytest.raises(KeyError), tn.no_grad():
        raise KeyError
    assert (x * 2).requires_grad


def test_what_is_evaluated_leaves_no_tape_and_no_mode_behind() -> None:
    """Also if it fails; modules are in evaluation meanwhile, and nothing else has changed afterwards."""
    model = tn.nn.Sequential(tn.nn.Dense(2, 3), tn.nn.Dropout(0.5))
    x = tn.Tensor(np.ones((4, 2), "float32"))
    y = evaluated(model, x)
    assert not y.requires_grad and y.numpy().tolist() == model[0](x).numpy().tolist()
    with pytest.raises(KeyError):
        evaluated({}.__getitem__, "a")
    assert model.training and model[1].training and model(x).requires_grad


def test_integers_have_no_gradient() -> None:
    with pytest.raises(DtypeError, match="Tensor: requires_grad needs floats, got int64; Tensor"):
        tn.Tensor(np.array([1, 2]), requires_grad=True)
    with pytest.raises(DtypeError, match="Tensor: requires_grad needs floats, got bool; Tensor"):
        tn.Tensor(np.array([True]), requires_grad=True)
    with pytest.raises(DtypeError, match="Tensor: data must be numbers, got an array of <U1; np"):
        tn.Tensor(["a"])


def test_to_another_device_and_back() -> None:
    x = leaf(1)
    assert x.to("cpu") is x
    with pytest.raises(GradientError) as error:
        (x * 2).to("gpu")
    assert str(error.value) == ("to: a tensor made by multiply cannot change its device, since its gradient would be "
                                "lost; move the inputs before computing, or call .detach() first")


def test_a_tensor_of_a_tensor_shares_its_values() -> None:
    x = leaf(1, 2)
    y = tn.Tensor(x)
    assert y.data is x.data
    assert not y.requires_grad


def test_how_a_tensor_is_shown() -> None:
    assert repr(leaf(1, 2)) == "Tensor([1. 2.], dtype=float64, requires_grad=True)"
    assert repr(tn.Tensor([[1.0], [2.0]])) == "Tensor([[1.]\n        [2.]], dtype=float32)"
    for kind in (tn.Tensor, tn.nn.Parameter, tn.nn.Buffer):
        first, second = repr(kind([[1.0], [2.0]])).splitlines()
        assert first == f"{kind.__name__}([[1.]" and second.index("[2.]") == first.index("[1.]")


# --- ops that others write ------------------------------------------------------------------------------------------

def test_an_op_of_ones_own(registry: dict[str, Any]) -> None:
    @op("x:(N,D) w:(D) -> y:(N) norm:(N)", cases=[{}])
    def project(xp: Any, x: Any, w: Any, *, scale: float = 1.0) -> Any:
        """Two outputs, and an option."""
        return (scale * (x @ w), (x * x).sum(axis=1)), (x, w, scale)

    @project.gradient
    def dproject(xp: Any, dy: Any, dnorm: Any, *, cache: Any, needs: Any) -> Any:
        x, w, scale = cache
        return scale * dy[:, None] * w + 2 * x * dnorm[:, None], scale * (x.T @ dy) if needs[1] else None

    assert "project" in registry
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((3, 2)), rng.standard_normal(2)
    report = tn.gradcheck(lambda x, w: project(x, w, scale=0.3), x, w)
    assert report.ok, report
    assert report.mode == "complex"
    with pytest.raises(ShapeError, match=r"project: w must be \(D\)|project: x must be \(N,D\) with D = 3"):
        project(x, np.ones(3))


def test_an_op_of_ones_own_with_the_name_of_another(registry: dict[str, Any]) -> None:
    """A changed copy of an op runs as written, not by the fast code of the op that was copied."""
    theirs = tn.ops.lstm
    arrays = [np.full(shape, 0.5) for shape in ((2, 3, 2), (2, 2), (2, 2), (4, 8), (8,))]
    theirs(*arrays)  # so that its fast code has been looked up

    @op(theirs.contract.text, cases=theirs.cases)
    def lstm(xp: Any, x: Any, h0: Any, c0: Any, W: Any, b: Any, recurrent_mask: Any = None,
             mask: Any = None) -> Any:
        (y, h, c), cache = theirs.forward(xp, x, h0, c0, W, b, recurrent_mask, mask)
        return (-y, h, c), cache

    lstm.gradient(lambda xp, dy, dh, dc, *, cache, needs: theirs.backward(xp, -dy, dh, dc, cache=cache, needs=needs))
    assert (lstm(*arrays)[0].numpy() < 0).all()
    assert tn.gradcheck(lstm, *arrays)


def test_ops_of_tests_are_gone() -> None:
    assert not {"project", "wrong"} & REGISTRY.keys()
    assert REGISTRY["lstm"] is tn.ops.lstm


@pytest.mark.parametrize(("result", "error", "message"), [
    (lambda dy: dy[:1], ShapeError, r"wrong: backward returned a gradient of shape \(1,\) for an input of shape \(2,\);"
     " return one gradient per input, in the order of the contract"),
    (lambda dy: dy.reshape(1, 2), ShapeError, r"wrong: backward returned a gradient of shape \(1, 2\) for an input of"),
    (lambda dy: None, ShapeError, r"wrong: backward returned a gradient of shape None for an input of shape \(2,\)"),
    (lambda dy: (dy, dy), GradientError, "wrong: backward returned 2 gradients for 1 inputs; return one for each, None "
     "where needs is False"),
])
def test_an_op_whose_backward_is_wrong(registry: dict[str, Any], result: Callable[..., Any], error: type[Exception],
                                       message: str) -> None:
    @op("x:(N) -> y:(N)", cases=[{}])
    def wrong(xp: Any, x: Any) -> Any:
        return 2 * x, None

    wrong.gradient(lambda xp, dy, *, cache, needs: result(dy))
    for x in (leaf(1, 2), leaf(1, 2) * 1):
        with pytest.raises(error, match=message):
            wrong(x).sum().backward()


def test_an_op_without_a_backward(registry: dict[str, Any]) -> None:
    @op("x:(N) -> y:(N)", cases=[{}])
    def wrong(xp: Any, x: Any) -> Any:
        return 2 * x, None

    with pytest.raises(NotImplementedError, match="this op has no gradient"):
        wrong(leaf(1, 2)).sum().backward()
    with tn.no_grad():
        assert wrong(leaf(1, 2)).numpy().tolist() == [2, 4]


# --- long chains, memory --------------------------------------------------------------------------------------------

LONG = 50_000


def chain(length: int) -> tuple[tn.Tensor, tn.Tensor]:
    x = leaf(1)
    y = x
    for _ in range(length):
        y = y + 1
    return x, y


def test_backward_takes_time_in_proportion_to_the_length_of_a_chain() -> None:
    def backward(made: tuple[tn.Tensor, tn.Tensor]) -> None:
        x, y = made
        y.backward()
        assert x.grad.tolist() == [1]

    assert is_linear(backward, chain)


def test_a_long_chain_is_destroyed_without_recursion() -> None:
    """A tape that is dropped without backward() is as long as one that is used."""
    assert is_linear(list.clear, lambda length: [chain(length)])


def test_a_wide_graph() -> None:
    x = leaf(*range(100))
    y = x * 1
    tn.ops.concatenate([y * k for k in range(2000)]).sum().backward()
    assert x.grad.tolist() == [sum(range(2000))] * 100


def test_two_forwards_do_not_share_their_caches() -> None:
    """Two passes before the first backward, as when gradients are accumulated or compared."""
    rng = np.random.default_rng(2)
    x1, x2 = rng.standard_normal((2, 3, 4, 3)).astype(np.float32)
    W, b = rng.standard_normal((5, 8)).astype(np.float32), np.zeros(8, np.float32)
    K = rng.standard_normal((2, 3, 4)).astype(np.float32)
    one, zero = np.ones(3, np.float32), np.zeros(3, np.float32)
    ops: dict[str, tuple[Callable[..., Any], list[Array]]] = {
        "lstm": (lambda x, W, b: tn.ops.lstm(x, None, None, W, b)[0], [W, b]),
        "conv1d": (tn.ops.conv1d, [K]),
        "dropout": (lambda x: tn.ops.dropout(x, 0.5, key=(1, 2), counter=int(abs(x.numpy()[0, 0, 0]) * 100)), []),
        "max_pool1d": (lambda x: tn.ops.max_pool1d(x, 2), []),
        "batch_norm": (lambda x, g, b: tn.ops.batch_norm(x, g, b)[0], [one, zero]),
    }

    def gradients(tensors: list[tn.Tensor]) -> list[Array]:
        return [tensor.grad for tensor in tensors]

    for name, (f, weights) in ops.items():
        alone, together = [], []
        for x in (x1, x2):
            tensors = [tn.Tensor(array, requires_grad=True) for array in (x, *weights)]
            y = f(*tensors)
            (y * y).sum().backward()
            alone.append(gradients(tensors))
        pairs = [[tn.Tensor(array, requires_grad=True) for array in (x, *weights)] for x in (x1, x2)]
        losses = [(y * y).sum() for y in [f(*tensors) for tensors in pairs]]
        for loss, tensors in zip(losses, pairs, strict=True):
            loss.backward()
            together.append(gradients(tensors))
        for expected, gradient in zip(alone, together, strict=True):
            assert all(map(np.array_equal, expected, gradient)), name


def test_memory_is_released_by_backward() -> None:
    """While the loss and the leaves are still held: what lies between them is gone, caches and all."""
    x = leaf(1, 2)
    gc.disable()
    try:
        middle = tn.ops.exp(x)
        array, tensor = weakref.ref(middle.data), weakref.ref(middle)
        loss = (middle * middle).sum()
        del middle
        assert tensor() is None  # the tape keeps what it needs, not the tensor
        assert array() is not None
        loss.backward()
        assert array() is None
    finally:
        gc.enable()
    assert x.grad is not None


def test_memory_is_released_without_backward() -> None:
    """A loss that is dropped takes its tape along, without waiting for the garbage collector."""
    gc.disable()
    try:
        y, _, _ = tn.ops.lstm(tn.Tensor(np.ones((2, 3, 2))), None, None, leaf_of(np.ones((5, 12))),
                              tn.Tensor(np.zeros(12)))
        array = weakref.ref(y.origin[0].cache[0]) if y.origin else None
        assert array is not None
        assert array() is not None
        del y, _
        assert array() is None
    finally:
        gc.enable()


def leaf_of(array: Array) -> tn.Tensor:
    return tn.Tensor(array, requires_grad=True)


# --- functions of NumPy ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("call", [
    np.exp, np.sin, np.maximum.reduce, lambda x: np.add(x, x), lambda x: np.exp(x, out=x.data),
    lambda x: np.maximum(np.ones(2), x), lambda x: np.add.outer(np.ones(2), x)])
def test_functions_of_numpy_are_refused_with_the_right_call(call: Any) -> None:
    with pytest.raises(DtypeError, match=r"^np.\w+: a tensor must be given to a function of tn.ops, .*x.numpy\("):
        call(tn.Tensor([1.0, 2.0]))
    for function, right in ((np.exp, "tn.ops.exp"), (np.sin, "functions of tn.ops")):
        with pytest.raises(DtypeError, match=f"no gradient; {right}, or np.{function.__name__}"):
            function(tn.Tensor([1.0, 2.0]))


def test_functions_of_numpy_take_values_where_no_gradient_is_lost() -> None:
    """Tensors by position, by name, and in lists and tuples."""
    x, w = tn.Tensor([3.0, 1.0, 2.0]), tn.Tensor([3.0, 1.0, 2.0], requires_grad=True)
    assert np.sum(a=x) == np.median(x) * 3 == 6
    for given in ((x, x), [x, x], (x, [3.0, 1.0, 2.0])):
        assert np.concatenate(given).tolist() == np.concatenate(arrays_of(given)).tolist() == [3, 1, 2] * 2
    assert np.argsort(w).tolist() == np.argsort(a=w).tolist() == [1, 2, 0]
    for call, name in ((lambda: np.median(w), "median"), (lambda: np.sum(a=w), "sum"), (lambda: np.fft.fft(w), "fft"),
                       (lambda: np.concatenate((x, w)), "concatenate"), (lambda: np.stack([x, w]), "stack")):
        with pytest.raises(DtypeError, match=f"^np.{name}: a tensor must be given to a function of tn.ops"):
            call()


def arrays_of(given: Any) -> list[Array]:
    return [np.asarray(one) for one in given]


def test_an_array_beside_a_tensor_gives_a_tensor_and_a_gradient() -> None:
    array = np.array([2.0, 4.0], "float32")
    for compute in (operator.add, operator.sub, operator.mul, operator.truediv, operator.lt, operator.ge, operator.eq,
                    operator.ne, operator.le, operator.gt, operator.matmul):
        for value in (array, array[0], array[:, None]):
            if compute is operator.matmul and value is not array:
                continue
            x = tn.Tensor([1.0, 4.0], requires_grad=True)
            found = compute(value, x)
            assert isinstance(found, tn.Tensor)
            np.testing.assert_array_equal(found.numpy(), compute(value, x.numpy()))
    (array * x).sum().backward()
    np.testing.assert_array_equal(x.grad, array)
    assert x.__array_ufunc__ is None  # by which CuPy calls Tensor.__radd__


@pytest.mark.parametrize("rows", [[[1, 2], [3]], [[1.0], []], ([1, 2], 3)])
def test_rows_of_unequal_length_are_one_sentence(rows: Any) -> None:
    with pytest.raises(ShapeError, match=r"^Tensor: data must have rows of one length, .*; pad the shorter"):
        tn.Tensor(rows)


# --- inputs that change between forward and backward ----------------------------------------------------------------

REFUSED = r"must keep its values from forward to backward.*compute the loss again"
LARGE = (64, 300)  # more than is compared as a whole


def change_by_step(layer: Any, x: tn.Tensor) -> None:
    layer(x).sum().backward()
    tn.optim.SGD(layer.parameters(), lr=0.5).step()


CHANGES: dict[str, Callable[[Any, tn.Tensor], object]] = {
    "a step": change_by_step,
    "load_state_dict": lambda layer, x: layer.load_state_dict({name: 2 * a for name, a in layer.state_dict().items()}),
    "weights": lambda layer, x: layer.W.data.__imul__(2),
    "one weight": lambda layer, x: layer.W.data.__setitem__((0, 0), 7),
    "an input": lambda layer, x: x.data.__setitem__(slice(None), 0)}


@pytest.mark.parametrize(("change", "device"), [*((change, "cpu") for change in CHANGES), ("a step", "gpu-emulated"),
                                                ("load_state_dict", "gpu-emulated")])
def test_a_changed_input_is_refused(change: str, device: str) -> None:
    """Then no gradient has changed, and a new forward pass goes. On a device only tinynet's changes are noticed."""
    layer = tn.nn.Dense(3, 2).to(device)
    x = tn.Tensor(np.ones((4, 3), "float32"), requires_grad=True, device=device)
    loss = layer(x).sum()
    CHANGES[change](layer, tn.Tensor(np.ones((4, 3), "float32"), device=device) if change == "a step" else x)
    layer.zero_grad()
    with pytest.raises(GradientError, match=f"dense: {'x' if change == 'an input' else 'W'} .*" + REFUSED):
        loss.backward()
    assert x.grad is None and layer.W.grad is None
    layer(x).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("layout", [lambda a: a, lambda a: a.T, lambda a: a[::2, ::3]])
def test_a_large_input_that_gets_new_values_is_refused(layout: Callable[[Array], Array]) -> None:
    values = layout(np.ones(LARGE, "float32"))
    w = tn.Tensor(np.ones(values.shape, "float32"), requires_grad=True)
    loss = (w * tn.Tensor(values)).sum()
    values[len(values) // 2 :] = np.random.default_rng(0).standard_normal(values[len(values) // 2 :].shape)
    with pytest.raises(GradientError, match="multiply: b.*" + REFUSED):
        loss.backward()


@pytest.mark.parametrize("place", [0, 1, 511, 1023])
def test_each_element_of_an_array_of_four_kibibytes_is_compared(place: int) -> None:
    values, w = np.ones(1024, "float32"), tn.Tensor(np.ones(1024, "float32"), requires_grad=True)
    loss = (w * tn.Tensor(values)).sum()
    values[place] = 7
    with pytest.raises(GradientError, match="multiply: b.*" + REFUSED):
        loss.backward()


@pytest.mark.parametrize("cache", [lambda x: {"x": x}, lambda x: [(1, x)], lambda x: x[1:], lambda x: x.reshape(2, 2)])
def test_what_a_cache_of_any_kind_reads_must_not_change(cache: Callable[[Any], Any], registry: dict[str, Any]) -> None:
    @op("x:(N) -> y:(N)", cases=[{}])
    def kept(xp: Any, x: Any) -> Any:
        """An op whose cache refers to its input in some way."""
        return x * 1, cache(x)

    @kept.gradient
    def dkept(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
        return dy

    x = leaf(1, 2, 3, 4)
    loss = kept(x).sum()
    x.data[3] = 7
    with pytest.raises(GradientError, match="kept: x.*" + REFUSED):
        loss.backward()


def test_one_of_any_number_of_inputs_must_not_change_either(registry: dict[str, Any]) -> None:
    @op("*xs:(...) -> y:(N)", sizes=lambda known: {"N": 2}, cases=[{"*xs": [(2,), (2,)]}])
    def product(xp: Any, *xs: Any) -> Any:
        return xs[0] * xs[1], xs

    @product.gradient
    def dproduct(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
        return dy * cache[1], dy * cache[0]

    x, other = leaf(1, 2), leaf(3, 4)
    loss = product(x, other).sum()
    other.data[0] = 7
    with pytest.raises(GradientError, match=r"product: xs \(2,\) " + REFUSED):
        loss.backward()


def test_a_change_that_backward_does_not_read_is_no_error() -> None:
    """The gradient of a bias, of a sum and of an exponential is right whatever the input is now."""
    x, b = (tn.Tensor(np.ones((4, 2), "float32"), requires_grad=True) for _ in range(2))
    loss = (tn.ops.exp(x) + b).sum()
    x.data += 1
    b.data += 1
    loss.backward()
    np.testing.assert_allclose(x.grad, np.full((4, 2), np.e), rtol=1e-6)
    np.testing.assert_array_equal(b.grad, np.ones((4, 2)))


@pytest.mark.parametrize("call", [
    lambda x: x[..., 0], lambda x: x[None, 1:, 0], lambda x: x[1], lambda x: x.astype("float32"), lambda x: x.T,
    lambda x: x.reshape(-1), lambda x: tn.ops.pad(x, 1, value=2.0), lambda x: tn.ops.concatenate([x, x], axis=1),
    lambda x: x.sum(axis=0), lambda x: x.mean(), lambda x: tn.ops.flip(x, 0), lambda x: tn.ops.dropout(
        x, 0.5, key=(1, 2), counter=3), lambda x: x.max(axis=1), lambda x: tn.ops.clip(x, 0, 1), tn.ops.sign])
def test_sizes_options_and_masks_in_a_cache_are_no_values_of_an_input(call: Callable[[Any], Any]) -> None:
    found = []
    for change in (0, 7):
        x = tn.Tensor(np.array([[0.5, -1.0], [3.0, 2.0]]), requires_grad=True)
        loss = call(x).sum()
        x.data += change
        loss.backward()
        found.append(x.grad.tolist())
    assert found[0] == found[1]


def test_a_new_array_leaves_the_gradient_of_the_old_one() -> None:
    w = tn.Tensor([3.0], requires_grad=True)
    loss = (w * w).sum()
    w.data = w.data * 2
    loss.backward()
    np.testing.assert_array_equal(w.grad, [6.0])


def test_values_that_are_not_numbers_have_not_changed() -> None:
    w = tn.Tensor([np.nan, 1.0], requires_grad=True)
    (w * w).sum().backward()
    assert w.grad is not None and w.grad[1] == 2


def test_running_averages_that_moved_on_are_refused() -> None:
    layer, x = tn.nn.BatchNorm(2), tn.Tensor(np.array([[1.0, 2.0], [3.0, 5.0]], "float32"), requires_grad=True)
    layer(x)
    loss = (layer.eval()(x) ** 2).sum()
    layer.train()(x)
    with pytest.raises(GradientError, match="batch_norm: .*" + REFUSED):
        loss.backward()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_number_that_is_used_several_times(dtype: str) -> None:
    """Gradients of numbers are NumPy scalars here and there; they add up as arrays do."""
    x = tn.Tensor(2.0, dtype=dtype, requires_grad=True)
    y = x * 1.0
    (y * y + y * y * y + y).backward()
    assert x.grad == 2 * 2 + 3 * 4 + 1 and x.grad.dtype == dtype


@pytest.mark.parametrize("copied", [copy.deepcopy, pickle.dumps])
def test_a_result_is_copied_without_its_tape_alone(copied: Any) -> None:
    leaf = tn.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(GradientError, match=r"^copy: a tensor must be a leaf .* made by multiply, .*detach\(\)\?"):
        copied(leaf * 2)
    copied((leaf * 2).detach())
    np.testing.assert_array_equal(copy.deepcopy(leaf).numpy(), [1.0, 2.0])


@pytest.mark.parametrize("make", [
    lambda x: tn.Tensor([x, x]), lambda x: tn.Tensor((tn.Tensor(1.0), x.sum())), lambda x: tn.ops.relu([[1.0, 2.0], x]),
    lambda x: tn.Tensor([[x], [x * 2]])])
def test_a_list_of_tensors_loses_no_gradient_in_silence(make: Any) -> None:
    x = tn.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(DtypeError, match=r"^Tensor: data must not be a list of .*; tn.ops.stack\(tensors\)\?$"):
        make(x)
    assert make(x.detach()).numpy().dtype == np.float32
    assert tn.Tensor([tn.Tensor([1.0]), [2.0]]).numpy().tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize("gradient", [np.ones(3, "float32"), np.ones((2, 1), "float32"), np.float32(1), 2.0, [1.0]])
def test_a_gradient_that_is_set_has_the_shape_of_its_parameter(gradient: Any) -> None:
    """A smaller one would be broadcast by the optimizer."""
    parameter = tn.nn.Parameter(np.ones((2, 3), "float32"))
    kept = parameter.grad = np.zeros((2, 3), "float32")
    with pytest.raises(ShapeError, match=r"^grad: a gradient must be an array of \(2, 3\), the shape of its .*, got "):
        parameter.grad = gradient
    assert parameter.grad is kept
    parameter.grad = None
    assert parameter.grad is None


def test_a_reduction_is_named_in_errors() -> None:
    with pytest.raises(TypeError, match=r"^mean\(\) got an unexpected keyword argument 'dim'$"):
        tn.Tensor([1.0]).mean(dim=0)  # type: ignore[call-arg]
