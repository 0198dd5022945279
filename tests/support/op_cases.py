"""Inputs for an op, drawn from its contract, and `check_op`: what every op has to pass in every one of its cases.

An op declares its cases beside its contract: `{"N": 3, "...A": (2, 1), "b": None, "x": "distinct", "stride": 2}`. A
case gives the size of a letter, the sizes of a run of axes, an input left out, or an input's domain; everything else is
an option of the op. An optional input of any dtype, such as a mask, is left out unless the case gives its domain.
Gradients are checked by a complex step if the op is analytic, else by Richardson's differences, on the op's two
functions, without a tape. `check_op` takes another pair of functions to check an override of a backend in the same way.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tests.support.references import KINKS, REFERENCES
from tinynet.contract import Argument, Contract, Run
from tinynet.op import Op

Array = np.ndarray
Pair = tuple[Callable[..., Any], Callable[..., Any]]

EPS = np.finfo(np.float64).eps
VALUES = 1e-12  # forward against the reference
SAME = 1e-13  # the same numbers, added up in another order
GRADIENTS = {True: 1e-12, False: 1e-7}  # analytic ops by a complex step, the others by differences
FLOAT32 = 2e-5
COMPLEX_STEP, DIFFERENCE_STEP = 1e-20, 2e-3
DIRECTIONS = 3
GRID = 0.25  # distance of "distinct" values; those of "distinct between" lie in the gaps


# --- drawing --------------------------------------------------------------------------------------------------------

def sizes_of(contract: Contract, case: dict[str, Any]) -> dict[str, Any]:
    """A size for every letter of the inputs: that of the case, or the next small number that no other letter has."""
    letters = [letter for argument in contract.inputs for axis in argument.axes
               for letter in ([axis.text] if isinstance(axis, Run) else [name for name, _ in axis.terms])]
    sizes = {letter: case[letter] for letter in letters if isinstance(case.get(letter), int | tuple)}
    spare = (number for number in itertools.count(2) if number not in sizes.values())
    for letter in letters:
        if letter not in sizes:
            sizes[letter] = (next(spare), next(spare)) if letter.startswith("...") else next(spare)
    return sizes


def values(domain: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Numbers of a domain, in float64 (but for booleans)."""
    size = math.prod(shape)
    if domain == "normal":
        drawn = rng.standard_normal(size)
    elif domain == "small":
        drawn = rng.standard_normal(size) / 8
    elif domain == "positive":
        drawn = rng.uniform(0.5, 2.0, size)
    elif domain == "distinct":  # ..., -0.375, -0.125, 0.125, 0.375, ...
        drawn = (rng.permutation(size) - size // 2) * GRID + GRID / 2
    elif domain == "distinct between":
        drawn = (rng.permutation(size) - size // 2) * GRID + GRID / 6
    elif domain == "share":
        drawn = rng.uniform(0.1, 0.9, size)
    elif domain == "boolean":
        drawn = rng.permutation(np.arange(size) % 2 == 0)
    else:
        raise ValueError(f"no domain is called {domain!r}")
    return np.asarray(drawn.reshape(shape))


def draw(op: Op, case: dict[str, Any], rng: np.random.Generator,
         dtype: str = "float64") -> tuple[list[Array | None], dict[str, Any]]:
    """Inputs in the order of the contract (None where the case leaves one out), and the options."""
    contract, sizes, arrays = op.contract, sizes_of(op.contract, case), list[Array | None]()
    if contract.with_floats and contract.two_forms[0] in case:  # a domain of floats
        contract = contract.with_floats
    names = {argument.name for argument in contract.inputs}
    for argument in contract.inputs:
        domain = case.get(argument.name, None if argument.optional and argument.kind == "any" else "normal")
        if argument.variadic:
            arrays += [values("normal", shape, rng).astype(dtype) for shape in case["*" + argument.name]]
        elif domain is None:
            arrays.append(None)
        elif isinstance(domain, list):  # the numbers themselves
            arrays.append(np.array(domain))
        elif argument.kind == "int":  # class numbers
            arrays.append(rng.integers(0, sizes["K"], argument.shape(sizes)))
        else:
            shape = argument.shape({**case, **sizes}) or ()  # a case may hold an option that multiplies a size
            array = values(domain if isinstance(domain, str) else "normal", shape, rng)
            arrays.append(array if array.dtype == bool else array.astype(dtype))
    options = {name: value for name, value in case.items()
               if name not in sizes and name not in names and name[0] != "*"}
    return arrays, options


# --- running --------------------------------------------------------------------------------------------------------

class Trial(NamedTuple):
    """An op (or an override of it) at one point."""

    op: Op
    pair: Pair
    arrays: list[Array | None]
    options: dict[str, Any]

    @property
    def floats(self) -> list[int]:
        """The inputs that have a gradient."""
        return [i for i, array in enumerate(self.arrays) if array is not None and array.dtype.kind == "f"]

    def needs(self, *only: int) -> tuple[bool, ...]:
        return tuple(i in (only or self.floats) for i in range(len(self.arrays)))

    def forward(self, arrays: Sequence[Array | None] | None = None) -> tuple[tuple[Array, ...], Any]:
        outputs, cache = self.pair[0](np, *(self.arrays if arrays is None else arrays), **self.options)
        return as_tuple(outputs), cache

    def backward(self, doutputs: Sequence[Array], cache: Any, needs: tuple[bool, ...] | None = None) -> tuple[Any, ...]:
        return as_tuple(self.pair[1](np, *doutputs, cache=cache, needs=needs or self.needs()))

    def gradients(self, doutputs: Sequence[Array]) -> tuple[Any, ...]:
        return self.backward(doutputs, self.forward()[1])

    def at(self, arrays: list[Array | None]) -> "Trial":
        return self._replace(arrays=arrays)


def as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def falling_back(pair: Pair, op: Op) -> Pair:
    """An override that may return NotImplemented: the specification stands in, forward and backward."""
    def forward(xp: Any, *arrays: Any, **options: Any) -> Any:
        result = pair[0](xp, *arrays, **options)
        if result is NotImplemented:
            outputs, cache = op.forward(xp, *arrays, **options)
            return outputs, (op.backward, cache)
        outputs, cache = result
        return outputs, (pair[1], cache)

    def backward(xp: Any, *doutputs: Any, cache: Any, needs: Any) -> Any:
        function, own = cache
        return function(xp, *doutputs, cache=own, needs=needs)
    return forward, backward


def arrays_in(value: Any) -> Iterator[Array]:
    """The arrays in a cache."""
    if isinstance(value, Array):
        yield value
    elif isinstance(value, dict):
        yield from arrays_in(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for part in value:
            yield from arrays_in(part)


def difference(a: Any, b: Any, floor: float = 0.0) -> float:
    """max|a - b| / max(|a|, |b|, floor) over the whole arrays; NaN equals NaN, and two empty arrays are equal."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
        return math.inf
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    distance = float(np.abs(a - b).max(initial=0.0))
    return distance / max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0), floor) if distance else 0.0


def largest(arrays: Iterable[Any]) -> float:
    return max(float(np.abs(array).max(initial=0.0)) for array in arrays)


def assert_close(what: str, got: Any, wanted: Any, tol: float, floor: float = 0.0) -> None:
    error = difference(got, wanted, floor)
    assert error <= tol, f"{what}: error {error:.1e}, at most {tol:.0e} allowed"


# --- the check ------------------------------------------------------------------------------------------------------

def check_op(op: Op, case: dict[str, Any], rng: np.random.Generator, pair: Pair | None = None) -> None:
    """What has to hold for one op in one of its cases; AssertionError, with the reason, if it does not.

    `pair` (forward and backward) is checked instead of the op's own, against the op's specification: an override.
    """
    arrays, options = draw(op, case, rng)
    before = [None if array is None else array.copy() for array in arrays]
    trial = Trial(op, falling_back(pair, op) if pair else (op.forward, op.backward), arrays, options)
    with np.errstate(all="ignore"):
        weights = [rng.standard_normal(np.shape(output)) for output in trial.forward()[0]]
        check_purity(trial, weights, before)
        check_values(trial)
        check_shapes(trial, weights)
        check_gradients(trial, weights, rng)
        check_needs(trial, weights)
        check_layouts(trial, weights)
        check_float32(trial, weights)
        check_nan(trial, rng)
        check_kinks(trial, rng)
        check_masked(trial, weights)


def reference_values(trial: Trial) -> tuple[Any, ...]:
    return as_tuple(REFERENCES[trial.op.name](*trial.arrays, **trial.options))


def check_values(trial: Trial) -> None:
    """The forward computes what a naive program computes."""
    outputs, expected = trial.forward()[0], reference_values(trial)
    floor = largest(trial.arrays[i] for i in trial.floats)  # sums may cancel
    assert len(outputs) == len(expected)
    for argument, output, value in zip(trial.op.contract.outputs, outputs, expected, strict=True):
        assert_close(f"forward, {argument.name} against the reference", output, value, VALUES, floor)


def check_shapes(trial: Trial, weights: list[Array]) -> None:
    """The contract foretells the outputs; there is a gradient for each input, of its shape and dtype."""
    op, (outputs, _) = trial.op, trial.forward()
    sizes = op.infer(trial.arrays, trial.options)
    if op.check:
        op.check(*trial.arrays, sizes=sizes, **trial.options)
    assert tuple(np.shape(output) for output in outputs) == op.contract.output_shapes(sizes), "shapes of the outputs"
    gradients = trial.gradients(weights)
    assert len(gradients) == len(trial.arrays), "one gradient for each input"
    for i in trial.floats:
        assert np.shape(gradients[i]) == trial.arrays[i].shape, f"shape of gradient {i}"
        assert gradients[i].dtype == trial.arrays[i].dtype, f"dtype of gradient {i}"


def check_purity(trial: Trial, weights: list[Array], before: list[Array | None]) -> None:
    """Nothing that goes into forward or backward is changed by them, and equal arguments give equal bits."""
    outputs, cache = trial.forward()
    kept = [array.copy() for array in arrays_in((outputs, cache))]
    given = [weight.copy() for weight in weights]
    first, second = trial.backward(given, cache), trial.backward(given, cache)
    for array, copy in zip(trial.arrays, before, strict=True):
        assert array is None or np.array_equal(array, copy), "an input was changed"
    assert all(map(np.array_equal, given, weights)), "a gradient of an output was changed by backward"
    assert all(np.array_equal(array, copy, equal_nan=array.dtype.kind == "f") for array, copy in
               zip(arrays_in((outputs, cache)), kept, strict=True)), "an output or the cache was changed by backward"
    assert all(np.array_equal(first[i], second[i]) for i in trial.floats), "backward, run twice, gives two results"
    assert all(map(np.array_equal, outputs, trial.forward()[0])), "forward, run twice, gives two results"


def slopes(trial: Trial, i: int, direction: Array) -> list[Array]:
    """The derivative of every output along `direction` in input i, measured on the specification's forward."""
    op, h = trial.op, DIFFERENCE_STEP

    def outputs(step: complex) -> list[Array]:
        moved = [array + step * direction if j == i else array for j, array in enumerate(trial.arrays)]
        if op.analytic:
            moved = [array.astype(np.complex128) if j in trial.floats else array for j, array in enumerate(moved)]
        return [np.asarray(output) for output in as_tuple(op.forward(np, *moved, **trial.options)[0])]

    if op.analytic:
        return [output.imag / COMPLEX_STEP for output in outputs(1j * COMPLEX_STEP)]
    coarse, middle, fine = ([(ahead - behind) / (2 * step) for ahead, behind in
                             zip(outputs(step), outputs(-step), strict=True)] for step in (h, h / 2, h / 4))
    return [(64 * c - 20 * b + a) / 45 for a, b, c in zip(coarse, middle, fine, strict=True)]  # no h**2, no h**4


def gradient_errors(trial: Trial, weights: list[Array], rng: np.random.Generator) -> Iterator[tuple[int, float]]:
    """Each input with the relative error of its gradient, for all outputs weighted at random, and each output alone."""
    outputs, analytic = trial.forward()[0], trial.op.analytic
    uses = [weights]
    if len(weights) > 1:
        uses += [[weight * (j == k) for j, weight in enumerate(weights)] for k in range(len(weights))]
    gradients = [trial.gradients(use) for use in uses]
    for i in trial.floats:
        directions = rng.uniform(-1, 1, (DIRECTIONS, *trial.arrays[i].shape))
        measured = [slopes(trial, i, direction) for direction in directions]
        for use, gradient in zip(uses, gradients, strict=True):
            total = sum(float(np.abs(weight * output).sum()) for weight, output in zip(use, outputs, strict=True))
            step = 1 if analytic else DIFFERENCE_STEP
            floor = 16 * EPS * total / step / GRADIENTS[analytic]  # what slopes can be measured to
            numeric = [sum((weight * slope).sum() for weight, slope in zip(use, each, strict=True))
                       for each in measured]
            yield i, difference([(gradient[i] * direction).sum() for direction in directions], numeric, floor)


def check_gradients(trial: Trial, weights: list[Array], rng: np.random.Generator) -> None:
    """Backward agrees with slopes that are measured."""
    tol = GRADIENTS[trial.op.analytic]
    for i, error in gradient_errors(trial, weights, rng):
        assert error <= tol, f"gradient of input {i}: error {error:.1e}, at most {tol:.0e} allowed"


def check_needs(trial: Trial, weights: list[Array]) -> None:
    """A gradient asked for alone is the one asked for together with the others."""
    together = trial.gradients(weights)
    for i in trial.floats:
        alone = trial.backward(weights, trial.forward()[1], trial.needs(i))
        assert len(alone) == len(together), "one gradient for each input, None where it is not needed"
        assert alone[i] is not None, f"gradient of input {i} is asked for alone"
        assert_close(f"gradient of input {i} asked for alone", alone[i], together[i], SAME, largest(weights))


def scattered(array: Array) -> Array:
    """An equal array that is not contiguous: every second element of a larger one, its axes in another order."""
    if array.ndim == 0:
        return array.copy()
    wide = np.full([2 * size for size in reversed(array.shape)], 99, array.dtype)
    view = wide[(slice(None, None, 2),) * array.ndim].T
    view[...] = array
    return view


def check_layouts(trial: Trial, weights: list[Array]) -> None:
    """It does not matter how inputs and gradients lie in memory, or that they may not be written to."""
    strided = trial.at([None if array is None else scattered(array) for array in trial.arrays])
    for array in strided.arrays:
        if array is not None:
            array.flags.writeable = False
    floats = [trial.arrays[i] for i in trial.floats]
    for output, same in zip(trial.forward()[0], strided.forward()[0], strict=True):
        assert_close("forward of inputs that are not contiguous", same, output, SAME, largest([output, *floats]))
    gradients, others = trial.gradients(weights), strided.gradients([scattered(weight) for weight in weights])
    for i in trial.floats:
        assert_close(f"gradient of input {i}, not contiguous", others[i], gradients[i], SAME, largest(weights))
    constant = [np.broadcast_to(np.float64(0.5), weight.shape) for weight in weights]  # as the sum's gradient is
    gradients, others = trial.gradients([weight.copy() for weight in constant]), trial.gradients(constant)
    for i in trial.floats:
        assert_close(f"gradient of input {i} from a read-only one", others[i], gradients[i], SAME, largest(weights))


def check_float32(trial: Trial, weights: list[Array]) -> None:
    """float32 in gives float32 out, forward and backward, and the values of float64 up to rounding."""
    narrow = trial.at([array.astype(np.float32) if i in trial.floats else array
                       for i, array in enumerate(trial.arrays)])
    wide = trial.at([array.astype(np.float64) if i in trial.floats else array for i, array in enumerate(narrow.arrays)])
    outputs, expected = narrow.forward()[0], wide.forward()[0]
    dtype, floor = np.dtype(trial.options.get("dtype", np.float32)), largest(wide.arrays[i] for i in wide.floats)
    for output, value in zip(outputs, expected, strict=True):
        assert output.dtype == dtype, f"float32 in, {output.dtype} out"
        assert_close("forward in float32", output, value, FLOAT32, floor)
    rounded = [np.asarray(weight, dtype) for weight in weights]
    gradients, expected = narrow.gradients(rounded), wide.gradients([np.asarray(d, np.float64) for d in rounded])
    floor = largest([*rounded, *(expected[i] for i in wide.floats)])
    for i in trial.floats:
        assert gradients[i].dtype == np.float32, f"float32 in, a gradient of {gradients[i].dtype} back"
        assert_close(f"gradient of input {i} in float32", gradients[i], expected[i], FLOAT32, floor)


def check_nan(trial: Trial, rng: np.random.Generator) -> None:
    """NaN is not swallowed: where the reference gives NaN, so does the op."""
    floor = largest(trial.arrays[i] for i in trial.floats)
    for i in trial.floats:
        spoiled = trial.arrays[i].copy()
        if spoiled.size:
            spoiled.flat[rng.integers(spoiled.size)] = np.nan
        there = trial.at([spoiled if j == i else array for j, array in enumerate(trial.arrays)])
        for output, value in zip(there.forward()[0], reference_values(there), strict=True):
            assert_close(f"forward with a NaN in input {i}", output, value, VALUES, floor)


def check_kinks(trial: Trial, rng: np.random.Generator) -> None:
    """Where there is no derivative (a tie, a corner), the gradient is what the conventions say."""
    if trial.op.name not in KINKS:
        return
    special = [-1.0, 0.0, 1.0, *(value for value in trial.options.values() if isinstance(value, float))]
    there = trial.at([rng.choice(special, array.shape) if i in trial.floats else array
                      for i, array in enumerate(trial.arrays)])
    dy = rng.standard_normal(np.shape(there.forward()[0][0]))
    expected = KINKS[trial.op.name](*there.arrays, **there.options, dy=dy)
    gradients = there.gradients([dy])
    for i in there.floats:
        assert_close(f"gradient of input {i} at a kink", gradients[i], expected[i], VALUES)


def check_masked(trial: Trial, weights: list[Array]) -> None:
    """What stands in the masked steps of inputs and output gradients, NaN too, changes no output and no gradient."""
    inputs, outputs = trial.op.contract.inputs, trial.op.contract.outputs
    masks = [array for argument, array in zip(inputs, trial.arrays, strict=False) if argument.name == "mask"]
    if not masks or masks[0] is None:
        return
    mask = masks[0]

    def spoiled(argument: Argument, array: Array) -> Array:
        array = array.copy()
        if argument.name in ("x", "y"):
            array[mask == 0] = np.resize([np.nan, np.inf, -np.inf], array[mask == 0].shape)
        return array

    there = trial.at([spoiled(inputs[i], array) if i in trial.floats else array
                      for i, array in enumerate(trial.arrays)])
    for output, same in zip(trial.forward()[0], there.forward()[0], strict=True):
        assert np.array_equal(output, same), "masked steps change an output"
    gradients, others = trial.gradients(weights), there.gradients(list(map(spoiled, outputs, weights)))
    for i in trial.floats:
        assert np.array_equal(gradients[i], others[i]), f"masked steps change the gradient of input {i}"
