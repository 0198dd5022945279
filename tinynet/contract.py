"""Contracts: one line per op that states the shapes of its inputs and outputs, and is executed.

    "x:(N,T,D) h0?:(N,H) c0?:(N,H) W:(H+D,4H) b:(4H) -> y:(N,T,H) h:(N,H) c:(N,H)"

The line documents an op, checks the inputs of each call, gives the shapes of the outputs before they are computed, and
generates shapes for the tests.

    name:(...)         an array of floats; all float arguments of an op share one dtype
    name?:(...)        may be None
    name:int(...)      an array of integers
    name:any(...)      an array of any dtype
    name:int(...)|(...,K)    an array of integers, or one of floats with the second shape
    *names:(...)       any number of arrays, of any shape
    N  T'  4H  H+D     a size: a letter (with primes), a multiple, a sum; a letter has one value in the whole line
    groups*C           a multiple by the value of an option, an integer of at least 1
    ...   ...S         a run of zero or more axes; runs with the same name are equal

An op computes the letters that occur in its outputs alone from its options: see `sizes` in `op.py`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tinynet.errors import DtypeError, ShapeError
from tinynet.plain import whole
from tinynet.types import Shape

Sizes = dict[str, Any]  # letter -> int; run of axes ("...", "...S") -> tuple of int; "*names" -> list of shapes

_ARGUMENT = re.compile(r"(\*?)(\w+)(\??):(int|any|)\(([^()]*)\)")
_OF_FLOATS = re.compile(r"(\w+)(\??):int\([^()]*\)\|")  # the first form of an argument that may hold floats too
_TERM = re.compile(r"(\d*|[a-z]+\*)([A-Za-z]\w*'*)?")


@dataclass(frozen=True)
class Size:
    """The size of one axis: a sum of multiples of letters plus a constant. `4H` is (("H", 4),) and 0.

    A factor is a number, or the name of an option, whose value is among the sizes; 1 if it is not.
    """

    text: str
    terms: tuple[tuple[str, int | str], ...]
    constant: int

    def known(self, sizes: Sizes) -> int:
        """The sum of the terms whose letters are known, and of the constant."""
        return self.constant + sum(_factor(factor, sizes) * sizes[letter] for letter, factor in self.terms
                                   if letter in sizes)

    def unknown(self, sizes: Sizes) -> list[tuple[str, int]]:
        return [(letter, _factor(factor, sizes)) for letter, factor in self.terms if letter not in sizes]

    def value(self, sizes: Sizes) -> int | None:
        if self.unknown(sizes):
            return None
        return self.known(sizes)


def _factor(factor: int | str, sizes: Sizes) -> int:
    return int(sizes.get(factor, 1)) if isinstance(factor, str) else factor


@dataclass(frozen=True)
class Run:
    """A run of zero or more axes: `...` or `...S`."""

    text: str


@dataclass(frozen=True)
class Argument:
    name: str
    axes: tuple[Size | Run, ...]
    kind: str  # "float", "int" or "any"
    optional: bool
    variadic: bool

    def __str__(self) -> str:
        return "(" + ",".join(axis.text for axis in self.axes) + ")"

    def match(self, shape: Shape) -> list[tuple[Size | Run, Any]] | None:
        """Pairs of an axis of the contract and its size, or run of sizes, in `shape`; None if the rank does not fit."""
        runs = [i for i, axis in enumerate(self.axes) if isinstance(axis, Run)]
        if not runs:
            return list(zip(self.axes, shape, strict=True)) if len(shape) == len(self.axes) else None
        extra, at = len(shape) - len(self.axes) + 1, runs[0]
        if extra < 0:
            return None
        parts = [*shape[:at], shape[at : at + extra], *shape[at + extra :]]
        return list(zip(self.axes, parts, strict=True))

    def bind(self, shape: Shape, sizes: Sizes) -> bool:
        """Add the letters of `shape` to `sizes`. False if it contradicts them."""
        pairs = self.match(shape)
        if pairs is None:
            return False
        waiting = [(axis, size) for axis, size in pairs if not _bind_axis(axis, size, sizes)]
        return all(_bind_axis(axis, size, sizes) for axis, size in waiting)

    def shape(self, sizes: Sizes) -> Shape | None:
        """The shape for these sizes; None if a letter is unknown."""
        result: list[int] = []
        for axis in self.axes:
            value: Any = sizes.get(axis.text) if isinstance(axis, Run) else axis.value(sizes)
            if value is None:
                return None
            result.extend(value if isinstance(axis, Run) else (value,))
        return tuple(result)


def _bind_axis(axis: Size | Run, size: Any, sizes: Sizes) -> bool:
    """Set `axis` equal to `size`, and solve for its letter if one is unknown. False if that has no solution."""
    if isinstance(axis, Run):
        return bool(sizes.setdefault(axis.text, size) == size)
    unknown = axis.unknown(sizes)
    if not unknown:
        return axis.value(sizes) == size
    if len(unknown) > 1:
        return False
    letter, factor = unknown[0]
    rest = size - axis.known(sizes)
    if rest < 0 or rest % factor:
        return False
    sizes[letter] = rest // factor
    return True


class Contract:
    """A parsed contract: `inputs` and `outputs` are Arguments, `letters` all letters and runs of axes.

    `with_floats` is the contract in which an argument of two forms holds floats; None without such an argument.

    >>> c = Contract("x:(N,D) W:(D,F) b?:(F) -> y:(N,F)")
    >>> c.check("dense", {"x": (8, 3), "W": (3, 5), "b": None})
    {'D': 3, 'F': 5, 'N': 8}
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.with_floats: Contract | None = None
        self.is_of_floats = False  # whether it is the `with_floats` of another one
        self.two_forms = tuple(name for name, _ in _OF_FLOATS.findall(text))
        if self.two_forms:
            self.with_floats = Contract(_OF_FLOATS.sub(r"\1\2:", text))
            self.with_floats.two_forms, self.with_floats.is_of_floats = self.two_forms, True
            text = re.sub(r"\|\([^()]*\)", "", text)
        head, arrow, tail = text.partition("->")
        if not arrow:
            raise ShapeError(f"contract: {text!r} has no '->'; write inputs -> outputs")
        self.inputs = _parse(head, text)
        self.outputs = _parse(tail, text)
        self.variadic = any(argument.variadic for argument in self.inputs)
        self.counts = {factor for a in self.inputs for axis in a.axes if isinstance(axis, Size)
                       for _, factor in axis.terms if isinstance(factor, str)}  # options that multiply sizes
        self.letters = tuple(dict.fromkeys(letter for a in self.inputs + self.outputs for letter in _letters(a)))

    def of(self, dtypes: Iterable[Any]) -> "Contract":
        """The form of this contract for inputs of these dtypes (None: omitted)."""
        if self.with_floats and any(dtype is not None and dtype.kind in "fc" and argument.name in self.two_forms
                                    for argument, dtype in zip(self.inputs, dtypes, strict=True)):
            return self.with_floats
        return self

    def check(self, op: str, shapes: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> Sizes:
        """The value of every letter, from the shapes of the inputs (None: omitted). ShapeError if they disagree.

        `options` has those that multiply sizes; ArgumentError unless they are integers of at least 1. The last
        arguments, the weights, bind first. So the error names the data, which are wrong more often; or an optional
        argument, if the others agree without it.
        """
        given = options or {}
        counts = {name: whole(op, name, given.get(name, 1), 1, usual=f"{name}=1") for name in self.counts}
        sizes: Sizes = {**counts}
        for argument in reversed(self.inputs):
            shape = shapes[argument.name]
            if argument.variadic:
                sizes["*" + argument.name] = shape
            elif shape is None:
                if not argument.optional:
                    optional = ", ".join(a.name for a in self.inputs if a.optional)
                    raise ShapeError(f"{op}: {argument.name} must be {argument}, got None; "
                                     f"{f'only {optional}' if optional else 'nothing'} may be left out")
            elif not argument.bind(shape, sizes):
                wrong = next((one for one in self.inputs if one.optional and one is not argument
                              and self.fits({**shapes, one.name: None}, counts)), argument)
                raise ShapeError(self._message(op, wrong, shapes, counts))
        return {letter: size for letter, size in sorted(sizes.items()) if letter not in counts}

    def check_dtypes(self, op: str, dtypes: Iterable[tuple[Argument, Any]]) -> None:
        """DtypeError unless all float arguments have one float dtype and all int arguments an integer dtype."""
        first: tuple[str, Any] | None = None
        for argument, dtype in dtypes:
            if argument.kind == "int" and dtype.kind not in "iu":
                raise DtypeError(f"{op}: {argument.name} must hold integers, got {dtype}; "
                                 f'{argument.name}.astype("int64")? (one-hot rows: {argument.name}.argmax(-1))')
            if argument.kind != "float":
                continue
            if dtype.kind not in "fc":
                images = " (images of 0 ... 255: tn.nn.Scaling()(x))" if dtype == "uint8" else ""
                raise DtypeError(f"{op}: {argument.name} must hold floats, got {dtype}; "
                                 f'{argument.name}.astype("float32")?{images}')
            if first is None:
                first = argument.name, dtype
            elif dtype != first[1]:
                raise DtypeError(f"{op}: {first[0]} is {first[1]}, {argument.name} {dtype}; all float arguments share "
                                 f'one dtype: {first[0]}.astype("{dtype}"), or model.astype("{first[1]}")?')

    def output_shapes(self, sizes: Sizes) -> tuple[Shape, ...]:
        """The shapes of the outputs. Every letter must be known."""
        shapes = [argument.shape(sizes) for argument in self.outputs]
        return tuple(shape for shape in shapes if shape is not None)

    def fits(self, shapes: Mapping[str, Any], counts: Mapping[str, int]) -> bool:
        """Whether inputs of these shapes agree. `counts` are the options that multiply sizes."""
        sizes: Sizes = {**counts}
        return all(shapes[one.name] is None or one.bind(shapes[one.name], sizes) for one in reversed(self.inputs))

    def _message(self, op: str, argument: Argument, shapes: Mapping[str, Any], counts: Mapping[str, int]) -> str:
        """The message for an argument of the wrong shape: the shape that all other arguments imply, and a fix."""
        if self.is_of_floats or (self.with_floats and self.with_floats.fits(shapes, counts)):
            name, first = self.two_forms[0], self.inputs[0].name
            form = next(one for one in self.inputs if one.name == name)
            kind, fix = ("floats", f'integers, {name}.astype("int64")?') if self.is_of_floats else (
                "integers", f'{name}.argmax(-1), or {name}.astype("float32")?')
            return (f"{op}: {name} that are {kind} must be {form}, got {_show(shapes[name])} for {first} of "
                    f"{_show(shapes[first])}; {fix}")
        sizes: Sizes = {**counts}
        origin: dict[str, str] = {}
        for other in reversed(self.inputs):
            if other is not argument and not other.variadic and shapes[other.name] is not None:
                known = dict(sizes)
                if not other.bind(shapes[other.name], sizes):
                    sizes = known
                origin.update({letter: other.name for letter in sizes if letter not in known})
        wanted, got = argument.shape(sizes), shapes[argument.name]
        if wanted is not None:
            rule = f" = {_show(wanted)}"
        else:
            used = [letter for letter in _letters(argument) if letter in sizes]
            rule = "".join(f"{', ' if i else ' with '}{letter} = {_show(sizes[letter])} (from {origin[letter]})"
                           for i, letter in enumerate(used))
        text = str(argument)
        for name, count in counts.items():
            text = text.replace(f"{name}*", str(count) if count > 1 else "")
        return (f"{op}: {argument.name} must be {text}{rule}, got {_show(got)}; "
                f"{self._fix_of_another(argument, shapes, counts) or _fix(argument, got, sizes)}")

    def _fix_of_another(self, wrong: Argument, shapes: Mapping[str, Any], counts: Mapping[str, int]) -> str:
        """The fix where another argument, such as labels (N,1), has an axis of size 1 too many, or lacks one; or ""."""
        for other in self.inputs:
            shape = shapes[other.name]
            if other is wrong or not shape or not other.axes or not isinstance(other.axes[0], Run):
                continue
            for fixed, change in [*[(shape[:-1], "[..., 0]")] * (shape[-1] == 1),
                                  *[(shape[::-1], ".T")] * (len(shape) == 2), ((*shape, 1), "[..., None]")]:
                if self.fits({**shapes, other.name: fixed}, counts):
                    return f"{other.name}{change}?"
        return ""


def _parse(text: str, whole: str) -> tuple[Argument, ...]:
    arguments = []
    for word in text.split():
        match = _ARGUMENT.fullmatch(word)
        if not match:
            raise ShapeError(f"contract: cannot read {word!r} in {whole!r}; write name:(N,T,D) without blanks")
        star, name, optional, kind, axes = match.groups()
        parsed = tuple(_parse_axis(axis, whole) for axis in axes.split(",") if axis)
        arguments.append(Argument(name, parsed, kind or "float", bool(optional), bool(star)))
    return tuple(arguments)


def _parse_axis(text: str, whole: str) -> Size | Run:
    if text.startswith("..."):
        return Run(text)
    terms: list[tuple[str, int | str]] = []
    constant = 0
    for term in text.split("+"):
        match = _TERM.fullmatch(term)
        if not match or not term:
            raise ShapeError(f"contract: cannot read the size {text!r} in {whole!r}; write N, 4H, H+D or a number")
        factor, letter = match.groups()
        if letter:
            terms.append((letter, factor[:-1] if factor.endswith("*") else int(factor or 1)))
        else:
            constant += int(factor)
    return Size(text, tuple(terms), constant)


def _letters(argument: Argument) -> list[str]:
    return [letter for axis in argument.axes
            for letter in ([axis.text] if isinstance(axis, Run) else [name for name, _ in axis.terms])]


def _show(value: Any) -> str:
    return "(" + ",".join(map(str, value)) + ")" if isinstance(value, tuple) else str(value)


def _fix(argument: Argument, shape: Shape, sizes: Sizes) -> str:
    """The likely fix of a wrong shape."""
    name, rank = argument.name, len(argument.axes)
    last = (*shape[:1], *shape[2:], *shape[1:2])
    if len(shape) > 2 and argument.bind(last, dict(sizes)):
        axes = ",".join(map(str, (0, *range(2, len(shape)), 1)))
        return f"channels come last here, {name}.transpose({axes})?"
    if len(shape) == 2 and argument.bind(shape[::-1], dict(sizes)):
        return f"the other way round, {name}.T?"
    if len(shape) == rank - 1 and argument.bind((1, *shape), dict(sizes)):
        return f"the batch axis is missing, {name}[None]?"
    if len(shape) == rank - 1 and argument.bind((*shape, 1), dict(sizes)):
        return f"the channel axis is missing, {name}[..., None]?"
    return f"reshape {name}, or make the layer for this size"
