"""The checker is checked: planted mistakes are caught in every mode and named, and what is right raises no alarm."""

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.support.complete import OPS
from tinynet.errors import ArgumentError
from tinynet.op import Op

Array = np.ndarray
Change = Callable[..., Any]

MODES = ["auto", "complex", "richardson", "central"]
RNG = np.random.default_rng(0)
A, B = RNG.uniform(0.5, 2, (2, 3, 4))


@pytest.fixture(autouse=True)
def specification() -> Iterator[None]:
    """The ops' own functions run, since those are the ones that are changed here."""
    with tn.using("reference"):
        yield


def planted(op: Op, change: Change) -> Op:
    """The op with the same forward and a backward whose gradients are changed."""
    wrong = copy.copy(op)

    def backward(xp: Any, *doutputs: Any, cache: Any, needs: Any) -> Any:
        gradients = op.backward(xp, *doutputs, cache=cache, needs=needs)
        return change(*(gradients if isinstance(gradients, tuple) else (gradients,)))
    wrong.backward = backward
    return wrong


def at(array: Array, index: Any, value: Any) -> Array:
    changed = array.copy()
    changed[index] = value
    return changed


MISTAKES: dict[str, Change] = {
    "0.01 % too large": lambda da, db: (da * 1.0001, db),
    "0.01 % too small": lambda da, db: (da, db * 0.9999),
    "zero": lambda da, db: (da, 0 * db),
    "both zero": lambda da, db: (0 * da, 0 * db),
    "swapped": lambda da, db: (db, da),
    "sign": lambda da, db: (-da, db),
    "NaN": lambda da, db: (da, db * np.nan),
    "one NaN": lambda da, db: (at(da, (1, 2), np.nan), db),
    "infinite": lambda da, db: (at(da, (0, 0), np.inf), db),
    "one row missing": lambda da, db: (at(da, 0, 0), db),
    "transposed within": lambda da, db: (da[::-1], db),
    "a constant more": lambda da, db: (da, db + 1e-3),
}


@pytest.mark.parametrize("elementwise", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_caught(mistake: str, mode: str, elementwise: bool) -> None:
    divide = planted(tn.ops.divide, MISTAKES[mistake])
    report = tn.gradcheck(divide, A, B, mode=mode, elementwise=elementwise)
    assert not report.ok
    assert not report
    assert report.error > report.tol
    assert "WRONG" in str(report)


@pytest.mark.parametrize("elementwise", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_what_is_right_passes(mode: str, elementwise: bool) -> None:
    report = tn.gradcheck(tn.ops.divide, A, B, mode=mode, elementwise=elementwise)
    assert report.ok, report
    assert report
    assert "ok" in str(report)
    assert 0 <= report.error <= report.tol


@pytest.mark.parametrize("mode", MODES)
def test_a_missing_term_is_caught(mode: str) -> None:
    """The second way from x to y: y = x tanh x has the gradient tanh x + x (1 - tanh² x)."""
    def without_second(x: tn.Tensor) -> tn.Tensor:
        return x * tn.ops.tanh(x.detach())
    if mode in ("auto", "complex"):
        tanh = planted(tn.ops.tanh, lambda dx: 0 * dx)
        assert not tn.gradcheck(lambda x: x * tanh(x), A, mode=mode)
    else:
        assert not tn.gradcheck(without_second, A, mode=mode)


def test_a_mistake_in_any_output_is_caught() -> None:
    x = RNG.standard_normal((5, 3))
    for output in range(3):
        wrong = copy.copy(tn.ops.batch_norm)
        wrong.backward = lambda xp, *dys, cache, needs, k=output: tn.ops.batch_norm.backward(
            xp, *[dy * (1 + 1e-4 * (j == k)) for j, dy in enumerate(dys)], cache=cache, needs=needs)
        report = tn.gradcheck(wrong, x, A[0, :3], B[0, :3])
        assert not report.ok, output
    assert tn.gradcheck(tn.ops.batch_norm, x, A[0, :3], B[0, :3])


@pytest.mark.parametrize("mode", MODES)
def test_one_wrong_element_among_many_is_caught_and_named(mode: str) -> None:
    x = RNG.standard_normal((20, 50))
    tanh = planted(tn.ops.tanh, lambda dx: at(dx, (13, 37), dx[13, 37] * 1.05))
    report = tn.gradcheck(tanh, x, mode=mode)
    assert not report.ok
    assert report.input == 0
    assert report.index == (13, 37)
    assert report.analytic == pytest.approx(1.05 * report.numeric, rel=1e-5)


def test_a_report_names_input_index_and_values() -> None:
    multiply = planted(tn.ops.multiply, lambda da, db: (da, at(db, (2, 1), -7.5)))
    report = tn.gradcheck(multiply, A, B)
    assert (report.input, report.index, report.analytic) == (1, (2, 1), -7.5)
    twice = tn.gradcheck(planted(tn.ops.multiply, lambda da, db: (da, at(db, (2, 1), 2 * db[2, 1]))), A, B)
    assert report.numeric == twice.numeric == pytest.approx(twice.analytic / 2, rel=1e-12)
    text = str(report)
    assert text.startswith("gradcheck WRONG: error ")
    assert text.endswith(f"tolerance 1e-12 (complex); worst at input 1, index (2, 1): analytic -7.5, "
                         f"numeric {report.numeric:.9g}")


def test_a_report_without_axes() -> None:
    report = tn.gradcheck(planted(tn.ops.exp, lambda dx: 2 * dx), np.array(0.5))
    assert (report.ok, report.input, report.index) == (False, 0, ())
    assert report.analytic == pytest.approx(2 * report.numeric)


def test_auto_takes_a_complex_step_where_it_can() -> None:
    assert tn.gradcheck(tn.ops.tanh, A).mode == "complex"
    assert tn.gradcheck(lambda x: tn.ops.softmax(x @ x.T).sum(), A).mode == "complex"
    for f in (tn.ops.relu, lambda x: tn.ops.tanh(tn.ops.relu(x)), lambda x: abs(tn.ops.exp(x)), lambda x: x.max(),
              lambda x: (tn.ops.exp(x), tn.ops.relu(x))):
        report = tn.gradcheck(f, A)
        assert report.ok, report
        assert report.mode == "richardson"
    report = tn.gradcheck(tn.ops.tanh, A, mode="central")
    assert (report.mode, report.tol) == ("central", 1e-6)


def test_a_complex_step_is_refused_for_ops_that_compare_their_values_alone() -> None:
    """Differences are less exact: an op that a complex step may differentiate must not be among these."""
    assert {name for name, op in OPS.items() if not op.analytic} == {
        "absolute", "astype", "clip", "huber", "mae", "max", "max_pool1d", "max_pool2d", "maximum", "min", "minimum",
        "relu", "sign"}


def test_complex_is_far_more_exact_than_differences() -> None:
    errors = {mode: tn.gradcheck(tn.ops.tanh, A, mode=mode).error for mode in MODES[1:]}
    assert errors["complex"] < 1e-14
    assert errors["complex"] < errors["richardson"] < 1e-9
    assert errors["richardson"] < errors["central"] < 1e-8


def test_the_tolerance_is_that_which_was_asked_for() -> None:
    slightly = planted(tn.ops.exp, lambda dx: dx * (1 + 1e-5))
    assert not tn.gradcheck(slightly, A)
    assert tn.gradcheck(slightly, A, tol=1e-4)
    assert not tn.gradcheck(slightly, A, tol=1e-6)
    assert not tn.gradcheck(slightly, A, mode="central")
    for mode, error in (("complex", 1e-13), ("richardson", 1e-8), ("central", 1e-7)):
        hardly = planted(tn.ops.exp, lambda dx, factor=1 + error: dx * factor)
        assert tn.gradcheck(hardly, A, mode=mode)
        assert not tn.gradcheck(hardly, A, mode=mode, tol=error / 5), "stricter than usual"
    assert tn.gradcheck(slightly, A, tol=1e-4, elementwise=True)
    assert not tn.gradcheck(slightly, A, tol=1e-6, elementwise=True)
    for elementwise in (False, True):
        assert tn.gradcheck(lambda x: x * 0, A, tol=0.0, elementwise=elementwise)


ZERO: dict[str, Callable[..., Any]] = {
    "times zero": lambda x: x * 0,
    "minus itself": lambda x: x - x,
    "the sum of a softmax": lambda x: tn.ops.softmax(x).sum(axis=-1),
    "the mean of what has mean zero": lambda x: (x - x.mean()).sum(),
    "a power of zero": lambda x: x**0,
    "a maximum that is far away": lambda x: tn.ops.maximum(x, 100.0),
    "of no use": lambda x: tn.Tensor(np.ones(3)),
    "one is used, one is not": lambda x: (x * 2, tn.Tensor(np.ones(3))),
    "standardized": lambda x: tn.ops.batch_norm(x, tn.Tensor(np.ones(4)), tn.Tensor(np.ones(4)))[0].sum(),
    "a loss that is nothing": lambda x: tn.ops.mse(x, x),
}


@pytest.mark.parametrize("elementwise", [False, True])
@pytest.mark.parametrize("mode", ["auto", "richardson", "central"])
@pytest.mark.parametrize("name", ZERO)
def test_gradients_that_are_zero_raise_no_alarm(name: str, mode: str, elementwise: bool) -> None:
    """Nor of large numbers, whose differences round to more."""
    for seed in range(5):
        report = tn.gradcheck(ZERO[name], A, mode=mode, elementwise=elementwise, seed=seed)
        assert report.ok, report
    report = tn.gradcheck(ZERO[name], 1e6 * A, mode=mode, elementwise=elementwise)
    assert report.ok, report


def test_a_zero_gradient_that_should_not_be_is_caught() -> None:
    assert not tn.gradcheck(lambda x: (x * 1e-3).detach(), A, mode="richardson")
    assert not tn.gradcheck(lambda x, y: x * y.detach(), A, B, mode="central")


@pytest.mark.parametrize("mode", ["auto", "richardson", "central"])
@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e6])
def test_the_size_of_the_numbers_does_not_matter(scale: float, mode: str) -> None:
    assert tn.gradcheck(lambda x: x * x * scale, A, mode=mode)
    wrong = planted(tn.ops.exp, lambda dx: dx * 1.0001)
    assert not tn.gradcheck(lambda x: wrong(x) * scale, A, mode=mode)


def test_a_mistake_beside_a_large_constant_is_caught() -> None:
    """Its size is measured up to rounding, whatever the tolerance is."""
    wrong = planted(tn.ops.exp, lambda dx: dx * 1.0001)
    reports = [tn.gradcheck(lambda x: wrong(x) + 1e6, A, mode="richardson", tol=tol) for tol in (None, 1e-5, 1e-9)]
    assert [report.ok for report in reports] == [False, True, False]
    assert reports[0].error == reports[2].error == pytest.approx(7e-6, rel=0.5)


def test_a_function_of_many_inputs_and_outputs() -> None:
    def f(x: Any, y: Any, z: Any) -> Any:
        return x * y, (tn.ops.tanh(z) @ x.T).sum(), y[0] / z[1]
    for arrays in itertools.permutations((A, B, A + B)):
        assert tn.gradcheck(f, *arrays)


def test_inputs_may_be_lists_numbers_and_float32_and_are_not_changed() -> None:
    narrow = A.astype(np.float32)
    before = narrow.copy()
    assert tn.gradcheck(lambda x, y, z: x * y * z, [0.5, 1.0, 2.0, 3.0], 2.0, narrow)
    assert tn.gradcheck(lambda x, y: x * y, [1, 2], 2)
    assert (narrow == before).all()
    frozen = A.copy()
    frozen.flags.writeable = False
    assert tn.gradcheck(tn.ops.tanh, frozen)


def test_constants_beside_the_inputs() -> None:
    """Functions close over arrays, tensors and parameters, which are not moved by the check."""
    target, W = tn.Tensor(B), tn.Tensor(B.T.copy(), requires_grad=True)
    for f in (lambda x: tn.ops.mse(x, target), lambda x: tn.ops.mse(x, B), lambda x: tn.ops.tanh(x @ W),
              lambda x: B - x):
        report = tn.gradcheck(f, A)
        assert report.ok, report
        assert not tn.gradcheck(lambda x, f=f: f(planted(tn.ops.exp, lambda dx: dx * 1.0001)(x)), A)


def test_a_constant_output_before_others() -> None:
    """Of another shape, and of the same one."""
    wrong = planted(tn.ops.exp, lambda dx: dx * 1.0001)
    for constant in (np.zeros(7), A):
        assert tn.gradcheck(lambda x, constant=constant: (tn.Tensor(constant), tn.ops.exp(x), 3 * x), A)
        assert not tn.gradcheck(lambda x, constant=constant: (tn.Tensor(constant), 3 * x, wrong(x)), A)


def test_inside_no_grad() -> None:
    with tn.no_grad():
        for f in (tn.ops.exp, tn.ops.relu):
            assert tn.gradcheck(f, A) and not tn.gradcheck(planted(f, lambda dx: dx * 1.0001), A)


def test_empty_inputs() -> None:
    assert tn.gradcheck(lambda x: (x * 2).sum(), np.zeros((0, 3)))


def test_equal_seeds_give_equal_reports() -> None:
    assert tn.gradcheck(tn.ops.exp, A, seed=3) == tn.gradcheck(tn.ops.exp, A, seed=3)


def test_another_seed_is_another_check() -> None:
    """Other weights of the outputs, so other slopes."""
    wrong = planted(tn.ops.exp, lambda dx: 2 * dx)
    assert len({tn.gradcheck(wrong, A, seed=seed).numeric for seed in range(3)}) == 3


def test_each_element_is_measured_where_that_was_asked_for() -> None:
    """The report of directions names no element."""
    assert tn.gradcheck(tn.ops.exp, A).index == ()
    report = tn.gradcheck(tn.ops.exp, A, elementwise=True)
    assert report.ok and len(report.index) == 2 and report.analytic == pytest.approx(report.numeric, rel=1e-12) != 0


@pytest.mark.parametrize(("call", "message"), [
    (lambda: tn.gradcheck(tn.ops.exp, A, mode="forward"), "gradcheck: mode must be auto, complex, central or "
     "richardson, got 'forward'; mode=\"auto\" chooses"),
    (lambda: tn.gradcheck(tn.ops.relu, A, mode="complex"), 'gradcheck: mode "complex" needs analytic ops, and f has a '
     'max, abs, relu or the like; mode="richardson"'),
    (lambda: tn.gradcheck(tn.ops.exp, np.arange(3)), "gradcheck: input 0 must hold floats, got int64; close over "
     "integers instead: gradcheck(lambda x: f(x, labels), x)"),
    (lambda: tn.gradcheck(tn.ops.multiply, A, A > 1), "gradcheck: input 1 must hold floats, got bool; close over "
     "integers instead: gradcheck(lambda x: f(x, labels), x)"),
    (lambda: tn.gradcheck(noisy(), A), "gradcheck: f must give the same result for the same input, got two results; is "
     "dropout on? model.eval(), or a fixed key and counter"),
])
def test_what_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError) as error:
        call()
    assert str(error.value) == message


def noisy() -> Callable[[tn.Tensor], tn.Tensor]:
    draws = itertools.count()
    return lambda x: tn.ops.dropout(x, 0.5, key=(1, 2), counter=next(draws))


def test_dropout_with_a_fixed_counter() -> None:
    assert tn.gradcheck(lambda x: tn.ops.dropout(x, 0.5, key=(1, 2), counter=3), A)


def test_an_output_that_is_nan_is_a_wrong_gradient_and_not_another_result() -> None:
    report = tn.gradcheck(lambda x: x * np.array([1.0, np.nan]), [1.0, 2.0])
    assert not report.ok and report.error == np.inf
