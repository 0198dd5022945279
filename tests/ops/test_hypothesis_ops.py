"""`check_op` in thousands of random cases: whatever the sizes and options, what is right raises no alarm.

The cases are the same in every run. Sizes are small and odd, options are combined freely; what an op refuses (a window
that never fits) is not a case. New ones, and fifty times as many: pytest tests/ops/test_hypothesis_ops.py
--hypothesis-profile=long
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import tinynet as tn
from tests.support.complete import OPS
from tests.support.op_cases import check_op, values
from tinynet.errors import ArgumentError, ShapeError
from tinynet.op import REGISTRY, Op

Draw = Any

SEEDS = st.integers(0, 2**32 - 1)
SMALL = st.integers(1, 5)
SHAPES = st.lists(st.integers(1, 4), max_size=3).map(tuple)
QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much]


def cases(number: int) -> settings:
    """`number` examples in an ordinary run; more in proportion with another profile of Hypothesis."""
    return settings(max_examples=number * settings.default.max_examples // 100, suppress_health_check=QUIET)


def check(op: Op, case: dict[str, Any], seed: int) -> None:
    check_op(op, case, np.random.default_rng(seed))


@st.composite
def windows(draw: Draw, sizes: tuple[str, ...], dilated: bool) -> dict[str, Any]:
    """Options of a convolution or a pooling: for two axes one value, or a pair."""
    def option(values: Any) -> Any:
        return draw(values) if len(sizes) == 1 or draw(st.booleans()) else (draw(values), draw(values))
    paddings: list[Any] = ["valid", "same", 0, 1, 2]
    case = {name: draw(st.integers(1, 7)) for name in sizes}
    case |= {"N": draw(st.integers(1, 3)), "C": draw(st.integers(1, 3))}
    case |= {"stride": option(st.integers(1, 3)), "padding": option(st.sampled_from([*paddings, "causal"] if dilated
                                                                                    else paddings))}
    return case | {"dilation": option(st.integers(1, 3))} if dilated else case


def fits(op: Op, case: dict[str, Any], *letters: str) -> bool:
    """Whether the windows of a case stand anywhere."""
    options = {name: case[name] for name in ("size", "stride", "padding", "dilation") if name in case}
    try:
        assert op.sizes
        op.sizes({letter: case[letter] for letter in letters}, **options)
    except (ArgumentError, ShapeError):
        return False
    return True


@cases(250)
@given(st.data(), SEEDS)
def test_lstm(data: st.DataObject, seed: int) -> None:
    draw = data.draw
    case = {"N": draw(st.integers(1, 4)), "T": draw(st.integers(1, 6)), "D": draw(SMALL), "H": draw(SMALL)}
    case |= {name: None for name in ("h0", "c0", "recurrent_mask") if draw(st.booleans())}
    case |= {"mask": "boolean"} if draw(st.booleans()) else {}
    check(tn.ops.lstm, case, seed)


@cases(300)
@given(windows(("T",), True), st.integers(1, 4), SMALL, st.integers(1, 3), st.booleans(), SEEDS)
def test_conv1d(case: dict[str, Any], K: int, F: int, groups: int, biased: bool, seed: int) -> None:
    case |= {"K": K, "F": F * groups, "groups": groups} | ({} if biased else {"b": None})
    assume(fits(tn.ops.conv1d, case, "T", "K", "F"))
    check(tn.ops.conv1d, case, seed)


@cases(250)
@given(windows(("H", "W"), True), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.booleans(), SEEDS)
def test_conv2d(case: dict[str, Any], KH: int, KW: int, groups: int, biased: bool, seed: int) -> None:
    case |= {"KH": KH, "KW": KW, "F": 2, "groups": groups} | ({} if biased else {"b": None})
    assume(fits(tn.ops.conv2d, case, "H", "W", "KH", "KW", "F"))
    check(tn.ops.conv2d, case, seed)


@cases(200)
@given(windows(("T",), False), st.integers(1, 4), st.booleans(), st.booleans(), SEEDS)
def test_pooling_of_sequences(case: dict[str, Any], size: int, own: bool, largest: bool, seed: int) -> None:
    op = tn.ops.max_pool1d if largest else tn.ops.avg_pool1d
    case |= {"size": size} | ({"x": "distinct"} if largest else {}) | ({} if own else {"stride": None})
    assume(fits(op, case, "T"))
    check(op, case, seed)


@cases(200)
@given(windows(("H", "W"), False), st.tuples(st.integers(1, 3), st.integers(1, 3)), st.booleans(), st.booleans(), SEEDS)
def test_pooling_of_images(case: dict[str, Any], size: tuple[int, int], own: bool, largest: bool, seed: int) -> None:
    op = tn.ops.max_pool2d if largest else tn.ops.avg_pool2d
    case |= {"size": size} | ({"x": "distinct"} if largest else {}) | ({} if own else {"stride": None})
    assume(fits(op, case, "H", "W"))
    check(op, case, seed)


@cases(300)
@given(st.data(), st.booleans(), SEEDS)
def test_batch_norm(data: st.DataObject, given_statistics: bool, seed: int) -> None:
    shape = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    case = {"...": shape, "C": shape[axis], "axis": axis, "eps": data.draw(st.sampled_from([1e-5, 1e-3, 0.1]))}
    # Of one or two elements, x̂ is almost a sign: its slope is what is left of numbers that cancel.
    assume(given_statistics or np.prod(shape) > 2 * shape[axis])
    check(tn.ops.batch_norm, case | ({"var": "positive"} if given_statistics else {"mean": None, "var": None}), seed)


@cases(300)
@given(SHAPES, st.integers(1, 6), st.sampled_from([None, "positive"]), st.booleans(), st.booleans(),
       st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from(["mean", "sum", "none"]), SEEDS)
def test_cross_entropy(shape: tuple[int, ...], K: int, weight: str | None, of_samples: bool, soft: bool,
                       smoothing: float, reduction: str, seed: int) -> None:
    of_samples &= np.prod(shape) > 1  # the weight of a single sample cancels
    check(tn.ops.cross_entropy, {"...": shape, "K": K, "weight": weight, "label_smoothing": smoothing,
                                 "sample_weight": "positive" if of_samples else None, "reduction": reduction,
                                 **({"labels": "share"} if soft else {})}, seed)


@cases(100)
@given(SHAPES, st.sampled_from([None, "positive"]), st.booleans(), st.sampled_from(["mean", "sum", "none"]), SEEDS)
def test_binary_cross_entropy(shape: tuple[int, ...], weight: str | None, one: bool, reduction: str,
                              seed: int) -> None:
    check(tn.ops.binary_cross_entropy, {"...": shape, "...P": () if one else shape[-1:], "targets": "share",
                                        "pos_weight": weight, "reduction": reduction}, seed)


@st.composite
def broadcast_pairs(draw: Draw) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that broadcast: of one shape, each with axes made 1 or left out in front."""
    shape = draw(SHAPES)
    shapes = [tuple(1 if draw(st.booleans()) else size for size in shape)[draw(st.integers(0, len(shape))) :]
              for _ in range(2)]
    return shapes[0], shapes[1]


APART = {"a": "distinct", "b": "distinct between"}
DOMAINS = {"divide": {"b": "positive"}, "maximum": APART, "minimum": APART}


@cases(300)
@given(st.sampled_from(["add", "subtract", "multiply", "divide", "maximum", "minimum"]), broadcast_pairs(), SEEDS)
def test_arithmetic(name: str, shapes: tuple[Any, Any], seed: int) -> None:
    check(REGISTRY[name], {"...A": shapes[0], "...B": shapes[1], **DOMAINS.get(name, {})}, seed)


@cases(100)
@given(broadcast_pairs(), SHAPES, SEEDS)
def test_where(shapes: tuple[Any, Any], condition: tuple[int, ...], seed: int) -> None:
    try:
        np.broadcast_shapes(*shapes, condition)
    except ValueError:
        assume(False)
    check(tn.ops.where, {"...P": condition, "...A": shapes[0], "...B": shapes[1], "condition": "boolean"}, seed)


@cases(100)
@given(broadcast_pairs(), st.tuples(SMALL, SMALL, SMALL), SEEDS)
def test_matmul(stacks: tuple[Any, Any], sizes: tuple[int, int, int], seed: int) -> None:
    case = {"...A": stacks[0], "...B": stacks[1], **dict(zip("MKP", sizes, strict=True))}
    check(tn.ops.matmul, case, seed)


@cases(100)
@given(SHAPES, SMALL, SMALL, st.booleans(), SEEDS)
def test_dense(shape: tuple[int, ...], D: int, F: int, biased: bool, seed: int) -> None:
    check(tn.ops.dense, {"...": shape, "D": D, "F": F} | ({} if biased else {"b": None}), seed)


@cases(300)
@given(st.sampled_from(["sum", "mean", "var", "max", "min"]), st.data(), st.booleans(), SEEDS)
def test_reductions(name: str, data: st.DataObject, keepdims: bool, seed: int) -> None:
    shape = data.draw(SHAPES)
    axes = st.integers(-len(shape), len(shape) - 1) if shape else st.none()
    some = st.lists(axes, unique_by=lambda axis: axis % len(shape), min_size=1).map(tuple) if shape else st.none()
    case = {"...": shape, "axis": data.draw(st.one_of(st.none(), axes, some)), "keepdims": keepdims}
    check(REGISTRY[name], case | ({"x": "distinct"} if name in ("max", "min") else {}), seed)


@st.composite
def indices(draw: Draw, shape: tuple[int, ...]) -> Any:
    """Indices as NumPy takes them: numbers, slices, ..., None, and either one list of numbers or a mask."""
    parts: list[Any] = []
    fancy = draw(st.sampled_from(["none", "list", "mask"]))
    if fancy == "mask":
        return np.array(draw(st.lists(st.booleans(), min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))),
                        bool).reshape(shape)
    for size in shape[: draw(st.integers(0, len(shape)))]:
        number = st.integers(-size, size - 1)
        if fancy == "list" and draw(st.booleans()):
            parts.append(draw(st.lists(number, min_size=1, max_size=5)))
            fancy = "none"
        else:
            parts.append(draw(st.one_of(number, st.slices(size))))
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), None)
    if draw(st.booleans()):
        parts.append(Ellipsis)
    return parts[0] if len(parts) == 1 and draw(st.booleans()) else tuple(parts)


@cases(300)
@given(st.data(), SEEDS)
def test_getitem(data: st.DataObject, seed: int) -> None:
    shape = data.draw(SHAPES)
    check(tn.ops.getitem, {"...": shape, "index": data.draw(indices(shape))}, seed)


@cases(200)
@given(st.sampled_from(["softmax", "log_softmax"]), st.data(), SEEDS)
def test_softmax(name: str, data: st.DataObject, seed: int) -> None:
    shape = data.draw(st.lists(SMALL, min_size=1, max_size=3).map(tuple))
    check(REGISTRY[name], {"...": shape, "axis": data.draw(st.integers(-len(shape), len(shape) - 1))}, seed)


@cases(200)
@given(st.data(), SEEDS)
def test_ops_that_move_elements(data: st.DataObject, seed: int) -> None:
    draw, shape = data.draw, data.draw(st.lists(SMALL, min_size=1, max_size=3).map(tuple))
    margin = st.tuples(st.integers(0, 2), st.integers(0, 2))
    name = draw(st.sampled_from(["transpose", "pad", "concatenate", "reshape"]))
    if name == "transpose":
        case: dict[str, Any] = {"axes": tuple(draw(st.permutations(range(len(shape)))))}
    elif name == "pad":
        case = {"width": draw(st.one_of(st.integers(0, 2), margin, st.tuples(*[margin] * len(shape)))),
                "value": draw(st.sampled_from([0.0, 1.5]))}
    elif name == "concatenate":
        axis = draw(st.integers(-len(shape), len(shape) - 1))
        place = axis % len(shape)
        sizes = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
        case = {"*xs": [(*shape[:place], size, *shape[place + 1 :]) for size in sizes], "axis": axis}
    else:
        case = {"shape": draw(st.sampled_from([(-1,), shape[::-1], (*shape, 1), (1, -1), (shape[0], -1)]))}
    check(REGISTRY[name], case if name == "concatenate" else {"...": shape, **case}, seed)


@cases(100)
@given(SHAPES, st.sampled_from([0.0, 0.1, 0.5, 0.9]), st.tuples(SEEDS, SEEDS), st.integers(0, 2**40),
       st.integers(0, 2**32), SEEDS)
def test_dropout(shape: tuple[int, ...], p: float, key: tuple[int, int], counter: int, first: int, seed: int) -> None:
    check(tn.ops.dropout, {"...": shape, "p": p, "key": key, "counter": counter, "first": first}, seed)


@cases(200)
@given(st.sampled_from([op for op in OPS.values() if op.contract.text == "x:(...) -> y:(...)"]), st.data(), SEEDS)
def test_functions_of_one_array(op: Op, data: st.DataObject, seed: int) -> None:
    """Every op that has such a contract, in one of its own cases, but of other sizes."""
    case = data.draw(st.sampled_from(op.cases))
    rank = len(case.get("...", (3, 4)))
    check(op, {**case, "...": data.draw(st.lists(SMALL, min_size=rank, max_size=rank).map(tuple))}, seed)


@given(SHAPES, SEEDS)
def test_domains_keep_their_promises(shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = values("distinct", shape, rng).ravel(), values("distinct between", shape, rng).ravel()
    both = np.sort(np.concatenate([a, b]))
    assert np.diff(both).min() > 0.04
    assert np.abs(both).min() > 0.04
    assert (values("positive", shape, rng) > 0).all()
    with pytest.raises(ValueError, match="no domain is called 'other'"):
        values("other", shape, rng)
