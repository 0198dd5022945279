"""Gradient check: compare the gradients of `backward` with derivatives that are measured from values alone.

The derivative of f at x along a direction v is measured in one of two ways:

  complex step   Im f(x + ihv) / h with h = 1e-20. It takes no difference, so nothing cancels: the result is as exact as
                 f itself. f must be analytic: no max, no abs, no comparison.
  differences    "central": (f(x + hv) - f(x - hv)) / 2h. "richardson": three of these with h, h/2 and h/4, combined so
                 that the errors of order h**2 and h**4 cancel.

Source: Squire and Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Review 40, 1998;
Richardson 1911.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynet.errors import ArgumentError
from tinynet.random import normal, stream
from tinynet.shown import Text
from tinynet.tape import no_grad, nodes_behind, taped
from tinynet.tensor import Tensor
from tinynet.types import Array, ArrayLike, Shape

Function = Callable[..., Any]
Draw = Callable[[Shape], Array]  # new normal numbers of a shape at each call

_TOLERANCE = {"complex": 1e-12, "richardson": 1e-7, "central": 1e-6}
_STEP = {"complex": 1e-20, "richardson": 2e-3, "central": 1e-5}
_DIRECTIONS = 6
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Report:
    """The result of `gradcheck`. It is true if `ok`, that is, if `error` is at most `tol`.

    `error` is the largest relative error of an input, max|a - b| / max(|a|, |b|). `input` and `index` name the element
    with the largest difference; `analytic` is its value from `backward`, `numeric` the measured one.

    >>> import tinynet as tn
    >>> report = tn.gradcheck(lambda x: x * x, [3.0])
    >>> report.ok, report.mode, report.error < 1e-15
    (True, 'complex', True)
    """

    ok: bool
    error: float
    mode: str
    tol: float
    input: int
    index: tuple[int, ...]
    analytic: float
    numeric: float

    def __str__(self) -> str:
        verdict = "ok" if self.ok else "WRONG"
        text = f"gradcheck {verdict}: error {self.error:.1e}, tolerance {self.tol:.0e} ({self.mode})"
        if self.ok:
            return text
        return (f"{text}; worst at input {self.input}, index {self.index}: "
                f"analytic {self.analytic:.9g}, numeric {self.numeric:.9g}")

    def _repr_html_(self) -> str:
        return Text(self)._repr_html_()

    def __bool__(self) -> bool:
        return self.ok


def gradcheck(f: Function, *arrays: ArrayLike, mode: str = "auto", tol: float | None = None, elementwise: bool = False,
              seed: int = 0) -> Report:
    """Check the gradients of a function f of Tensors that returns a Tensor or a tuple of Tensors.

    arrays       the point x: an array for each argument of f, converted to float64
    mode         "complex", "central" or "richardson"; "auto" is complex if every op in f is analytic, else richardson
    tol          the largest relative error that passes; by default 1e-12 (complex), 1e-7 (richardson), 1e-6 (central)
    elementwise  measure each element by itself instead of six random directions for each input: slower
    seed         of the random directions, and of the random weights with which the outputs are summed

    If the check along directions fails, each element is measured, to name the worst one.

    Errors: ArgumentError for an unknown mode, arrays of integers, a complex step through an op that is not analytic, or
    an f with two results for one input, as with dropout.

    >>> import tinynet as tn
    >>> print(tn.gradcheck(tn.ops.tanh, [0.5, -1.0]).ok)
    True
    """
    if mode not in ("auto", *_STEP):
        raise ArgumentError(f"gradcheck: mode must be auto, complex, central or richardson, got {mode!r}; "
                            'mode="auto" chooses')
    points = [_point(i, array) for i, array in enumerate(arrays)]
    key, calls = (seed, stream("gradcheck")), itertools.count(1)

    def draw(shape: Shape) -> Array:
        return normal(shape, key, next(calls))

    outputs = _values(f, points)
    if any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(outputs, _values(f, points), strict=True)):
        raise ArgumentError("gradcheck: f must give the same result for the same input, got two results; is dropout "
                            "on? model.eval(), or a fixed key and counter")
    weights = [draw(output.shape) for output in outputs]
    gradients = taped(_gradients, f, points, weights)
    if mode in ("auto", "complex"):
        analytic = taped(_is_analytic, f, points)
        if mode == "complex" and not analytic:
            raise ArgumentError('gradcheck: mode "complex" needs analytic ops, and f has a max, abs, relu or the '
                                'like; mode="richardson"')
        mode = "complex" if analytic else "richardson"
    tol = _TOLERANCE[mode] if tol is None else tol
    noise = 16 * _EPS * _size(f, points, weights, outputs, draw) / (1.0 if mode == "complex" else _STEP[mode])
    floor = noise / _TOLERANCE[mode]

    def slope(i: int, direction: Array) -> float:
        return _slope(f, points, weights, i, direction, mode)

    if not elementwise:
        report = _along_directions(points, gradients, slope, floor, draw, mode, tol)
        if report.ok:
            return report
    return _element_by_element(points, gradients, slope, floor, mode, tol)


def _point(i: int, array: ArrayLike) -> Array:
    point = np.asarray(array)
    if point.dtype.kind == "f" or isinstance(array, float | int | list | tuple):
        return point.astype(np.float64)
    raise ArgumentError(f"gradcheck: input {i} must hold floats, got {point.dtype}; close over integers instead: "
                        "gradcheck(lambda x: f(x, labels), x)")


def _as_tuple(value: Any) -> tuple[Tensor, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _values(f: Function, points: list[Array]) -> list[Array]:
    with no_grad():
        return [output.data for output in _as_tuple(f(*[Tensor(point.copy()) for point in points]))]


def _size(f: Function, points: list[Array], weights: list[Array], outputs: list[Array], draw: Draw) -> float:
    """The magnitude of the numbers in f. Their rounding bounds what can be measured.

    It is that of the outputs or, if those are differences of larger numbers, their change by rounding of the inputs,
    divided by the relative rounding error.
    """
    size = sum(float(np.abs(weight * output).sum()) for weight, output in zip(weights, outputs, strict=True))
    for _ in range(_DIRECTIONS):
        moved = _values(f, [point * (1 + _EPS * draw(point.shape)) for point in points])
        change = sum(float(np.abs(weight * (after - before)).sum())
                     for weight, before, after in zip(weights, outputs, moved, strict=True))
        size = max(size, change / _EPS)
    return size


def _is_analytic(f: Function, points: list[Array]) -> bool:
    """Whether all ops in f are analytic."""
    outputs = _as_tuple(f(*[Tensor(point.copy(), requires_grad=True) for point in points]))
    return all(node.op.analytic for output in outputs for node in nodes_behind(output))


def _gradients(f: Function, points: list[Array], weights: list[Array]) -> list[Array]:
    """The gradients of sum(weights * outputs) by `backward`."""
    tensors = [Tensor(point.copy(), requires_grad=True) for point in points]
    outputs = _as_tuple(f(*tensors))
    terms = [(output * weight).sum() for output, weight in zip(outputs, weights, strict=True) if output.requires_grad]
    if terms:
        sum(terms[1:], start=terms[0]).backward()
    return [np.zeros_like(point) if tensor.grad is None else tensor.grad
            for point, tensor in zip(points, tensors, strict=True)]


def _slope(f: Function, points: list[Array], weights: list[Array], i: int, direction: Array, mode: str) -> float:
    """The measured derivative of sum(weights * outputs) along `direction` in input i."""
    def value(step: complex) -> complex:
        moved = [point + step * direction if j == i else point for j, point in enumerate(points)]
        if mode == "complex":
            moved = [point.astype(np.complex128) for point in moved]
        return complex(sum((weight * output).sum() for output, weight in zip(_values(f, moved), weights, strict=True)))

    h = _STEP[mode]
    if mode == "complex":
        return value(1j * h).imag / h
    central = [((value(step) - value(-step)) / (2 * step)).real for step in (h, h / 2, h / 4)]
    if mode == "central":
        return central[0]
    first = [(4 * central[1] - central[0]) / 3, (4 * central[2] - central[1]) / 3]  # without the error of order h**2
    return (16 * first[1] - first[0]) / 15  # and of order h**4


def _relative(analytic: Array, numeric: Array, floor: float) -> float:
    """max|a - b| / max(|a|, |b|, floor). Below `floor`, rounding hides relative errors of the tolerance."""
    difference = np.abs(analytic - numeric).max(initial=0.0)
    if not np.isfinite(difference):
        return float("inf")
    scale = max(np.abs(analytic).max(initial=0.0), np.abs(numeric).max(initial=0.0), floor)
    return float(difference / scale) if difference else 0.0


def _along_directions(points: list[Array], gradients: list[Array], slope: Callable[..., float], floor: float,
                      draw: Draw, mode: str, tol: float) -> Report:
    error = 0.0
    for i, (point, gradient) in enumerate(zip(points, gradients, strict=True)):
        directions = draw((_DIRECTIONS, *point.shape))
        analytic = np.array([(gradient * direction).sum() for direction in directions])
        numeric = np.array([slope(i, direction) for direction in directions])
        error = max(error, _relative(analytic, numeric, floor))
    return Report(error <= tol, error, mode, tol, 0, (), 0.0, 0.0)


def _element_by_element(points: list[Array], gradients: list[Array], slope: Callable[..., float],
                        floor: float, mode: str, tol: float) -> Report:
    worst = Report(True, -1.0, mode, tol, 0, (), 0.0, 0.0)
    for i, (point, gradient) in enumerate(zip(points, gradients, strict=True)):
        numeric = np.zeros_like(point)
        for index in np.ndindex(point.shape):
            unit = np.zeros_like(point)
            unit[index] = 1.0
            numeric[index] = slope(i, unit)
        error = _relative(gradient, numeric, floor)
        if point.size and error > worst.error:
            at = np.unravel_index(np.nan_to_num(np.abs(gradient - numeric), nan=np.inf).argmax(), point.shape)
            index = tuple(int(k) for k in at)
            worst = Report(error <= tol, error, mode, tol, i, index, float(gradient[index]), float(numeric[index]))
    return worst if worst.error >= 0 else Report(True, 0.0, mode, tol, 0, (), 0.0, 0.0)
