"""Op: two functions of arrays, with a contract of shapes, as one function of tensors.

    @op("x:(...,D) W:(D,F) b?:(F) -> y:(...,F)", cases=[{}, {"b": None}])
    def dense(xp, x, W, b=None):
        '''The equations, forward and backward.'''
        return y, cache

    @dense.gradient
    def ddense(xp, dy, *, cache, needs):
        return dx, dW, db

Both are pure functions of arrays. `xp` is the module of array functions (NumPy or CuPy), `cache` is the second result
of the forward, and `needs` tells for each input whether its gradient is needed (None may be returned if not). `dense`
is then an Op. A call on tensors checks the shapes, runs the forward, and leaves a node on the tape. `dense.forward`,
`dense.backward`, `dense.contract` and `dense.__doc__` are its parts; `cases` are what the tests try.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

import numpy as np

from tinynet import backend
from tinynet.backend import incremented as incremented
from tinynet.backend.observer import current as recorder
from tinynet.contract import Contract, Sizes
from tinynet.errors import TinynetError
from tinynet.options import wrong_option
from tinynet.plain import plain
from tinynet.tape import Node
from tinynet.tensor import Tensor, blank, constant_of, on_two_devices
from tinynet.tracing import UNOBSERVED, Call, observers
from tinynet.types import Array as Array
from tinynet.types import Count
from tinynet.types import Gradients as Gradients

if TYPE_CHECKING:
    import typing_extensions

_EXACT = 2.0**24  # float32 holds all integers up to here
_REMEMBERED = 256  # checked calls that an op keeps, by shapes, dtypes and options

REGISTRY: dict[str, "Op[Any]"] = {}  # every op by name, for the tests
UPDATES: dict[str, "Update"] = {}  # every update in place, likewise

if TYPE_CHECKING:  # the result of an op or a layer: a Tensor by default (`typing` has defaults from Python 3.13 on)
    Result = typing_extensions.TypeVar("Result", default=Tensor)
else:
    Result = TypeVar("Result")


class Op(Generic[Result]):
    """A differentiable function of tensors, made of two functions of arrays. See the top of this file."""

    def __init__(self, forward: Callable[..., Any], contract: str, cases: Sequence[dict[str, Any]],
                 sizes: Callable[..., Sizes] | None, check: Callable[..., None] | None, analytic: bool,
                 flops: Count = None, keeps: Count = None) -> None:
        self.name, self.module = forward.__name__, forward.__module__
        self.forward, self.backward = forward, _no_backward
        self.contract, self.cases, self.sizes = Contract(contract), cases, sizes
        self.check, self.analytic, self.flops, self.keeps = check, analytic, flops, keeps
        self.__name__, self.__doc__ = self.name, forward.__doc__
        whole, outputs = inspect.signature(forward), len(self.contract.outputs)
        kinds = {argument.name: Tensor | None if argument.optional else Tensor for argument in self.contract.inputs}
        self.__signature__ = whole.replace(  # as callers see it, without xp
            parameters=[p.replace(annotation=kinds.get(p.name, p.annotation)) for p in whole.parameters.values()][1:],
            return_annotation=Tensor if outputs == 1 else tuple[(Tensor,) * outputs])  # type: ignore[misc]
        self._inferred: dict[Any, Sizes] = {}  # sizes, by checked call
        self._forms: dict[Any, tuple[Callable[..., Sequence[Any]], Sequence[tuple[str, int]]]] = {}  # see `_form`
        self._names = tuple(argument.name for argument in self.contract.inputs)
        options = list(self.__signature__.parameters.values())
        taken = {} if sizes is None else inspect.signature(sizes).parameters
        any_option = any(p.kind is p.VAR_KEYWORD for p in taken.values())
        self._sizing = frozenset(p.name for p in options if p.name in taken or any_option)  # options of `sizes`
        self._pair = self.name, f"d{self.name}"
        self._positional = tuple(p.name for p in options if p.kind is not p.KEYWORD_ONLY)
        has_options = not self._names == self._positional == tuple(p.name for p in options)
        self._alone = -1 if has_options else len(options)  # arguments, where there are no options
        self._defaults = {argument.name: None for argument in self.contract.inputs if argument.optional}
        self._defaults.update({p.name: p.default for p in options if p.default is not p.empty})

    def __repr__(self) -> str:
        return f"<op {self.name}: {self.contract.text}\n  {backend.implementations(self.module, self._pair)}>"

    def gradient(self, backward: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate the function that computes the gradients."""
        self.backward = backward
        return backward

    def __call__(self, *args: Any, **kwargs: Any) -> Result:
        inputs, options = self._bind(args, kwargs)
        tensors = _as_tensors(inputs, self.contract)
        arrays = [None if tensor is None else tensor.data for tensor in tensors]
        try:
            sizes = self.infer(arrays, options)
            watching = observers.get()
            if watching is UNOBSERVED:
                return self._run(tensors, arrays, sizes, options)
            run = partial(partial(self._run, tensors) if watching.values else self.blanks, arrays, sizes, options)
            call = Call(self.name, sizes, tuple(tensors), (), options, self)
            return run() if watching.op is None else watching.op(call, run)
        except Exception as error:  # of Python, NumPy or Numba: about an option, perhaps
            wrong = not isinstance(error, TinynetError) and wrong_option(self.name, self.__signature__, options)
            if not wrong:
                raise
            raise wrong from error

    def _run(self, tensors: Sequence[Tensor | None], arrays: list[Any], sizes: Sizes, options: dict[str, Any]) -> Any:
        """Compute the outputs, and leave a node if one of the inputs needs a gradient."""
        device = backend.common_device(arrays) or on_two_devices(self.name, self._named(tensors))
        if self.check and device == "cpu":  # reading values would make a GPU wait
            backend.call(self.check, *arrays, sizes=sizes, **options)
        xp = backend.namespace(device)
        result: Any = NotImplemented
        fast = backend.find_override(self.module, self._pair, device)
        try:
            if fast:
                forward, backward = fast
                result = forward(xp, *arrays, **options)
            if result is NotImplemented:
                backward = self.backward
                if recorder.get() is None:
                    result = self.forward(xp, *arrays, **options)
                else:
                    constant = [tensor is not None and tensor.is_constant for tensor in tensors]
                    result = backend.repeat.forward(self.forward, xp, arrays, constant, options, backend.is_recording())
        except MemoryError as error:
            raise backend.out_of_memory(self.name, device, error) from error
        except FloatingPointError:  # of np.seterr(all="raise"): that a tiny number becomes 0 is no error
            if np.geterr()["under"] == "ignore":
                raise
            with np.errstate(under="ignore"):
                return self._run(tensors, arrays, sizes, options)
        made, cache = result
        outputs = made if isinstance(made, tuple) else (made,)
        results = tuple(map(Tensor.of, outputs))
        for tensor in results:
            if type(tensor.data) is not xp.ndarray:
                tensor.data = xp.asarray(tensor.data)
        for needed in tensors if backend.is_recording() else ():
            if needed is not None and needed.requires_grad:
                node = Node(self, xp, backward, cache, tensors, results)
                for index, tensor in enumerate(results):
                    tensor.origin, tensor.requires_grad = (node, index), True
                break
        return results if made is outputs else results[0]

    def blanks(self, arrays: Sequence[Any], sizes: Sizes, options: dict[str, Any]) -> Any:
        """Outputs without memory, of the shapes of the contract and the dtype of the option `dtype` or the inputs."""
        dtypes = [array.dtype for array in arrays if array is not None]
        dtype = options.get("dtype") or next((dtype for dtype in dtypes if dtype.kind in "fc"), dtypes[0])
        blanks = tuple(blank(shape, dtype) for shape in self.contract.output_shapes(sizes))
        return blanks if len(blanks) > 1 else blanks[0]

    def infer(self, arrays: Sequence[Any], options: dict[str, Any]) -> Sizes:
        """The value of every letter of the contract, from the inputs and the options. Errors as of the contract."""
        key: Any
        try:
            parts: list[Any] = [None if array is None else (array.shape, array.dtype) for array in arrays]
            for name, value in options.items():
                parts.append((name, type(value), value if name in self._sizing else None))
            key = tuple(parts)
            known = self._inferred.get(key)
        except TypeError:  # an option that cannot be a key, such as a list
            key = known = None
        if known is None:
            numbers = {name: plain(value) for name, value in options.items()}
            if any(numbers[name] is not value for name, value in options.items()):
                options.update(numbers)
                return self.infer(arrays, options)
            if key is None:
                return self._infer(arrays, options)
            if len(self._inferred) >= _REMEMBERED:
                self._inferred.clear()
            known = self._inferred[key] = self._infer(arrays, options)
        return known

    def _infer(self, arrays: Sequence[Any], options: dict[str, Any]) -> Sizes:
        contract = self.contract
        if contract.variadic:
            shapes: dict[str, Any] = {self._names[0]: [tuple(array.shape) for array in arrays]}
            dtypes = [(contract.inputs[0], array.dtype) for array in arrays]
        else:
            shapes = {name: None if array is None else tuple(array.shape)
                      for name, array in zip(self._names, arrays, strict=True)}
            contract = contract.of(None if array is None else array.dtype for array in arrays)
            if contract.is_of_floats:  # a wrong shape first: class numbers as floats are a mistake of their own
                contract.check(self.name, shapes)
            dtypes = [(argument, array.dtype)
                      for argument, array in zip(contract.inputs, arrays, strict=True) if array is not None]
        contract.check_dtypes(self.name, dtypes)
        sizes = contract.check(self.name, shapes, options)
        if self.sizes:
            sizes.update(self.sizes(sizes, **{name: options[name] for name in options if name in self._sizing}))
        return sizes

    def _named(self, tensors: Sequence[Tensor | None]) -> Sequence[tuple[str, Tensor]]:
        """The inputs that are given, with their names."""
        names = [f"{self._names[0]}[{i}]" for i in range(len(tensors))] if self.contract.variadic else self._names
        return [(name, tensor) for name, tensor in zip(names, tensors, strict=True) if tensor is not None]

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        """The inputs in the order of the contract, and the options."""
        if self.contract.variadic:
            if not kwargs.keys() <= self.__signature__.parameters.keys() - {*self._names}:
                self._refuse(args, kwargs)
            inputs = list(args[0]) if len(args) == 1 and isinstance(args[0], list | tuple) else list(args)
            return inputs, {**self._defaults, **kwargs}
        if not kwargs and len(args) == self._alone:
            return args, {}
        form = (len(args), *kwargs)
        inputs_of, options_at = self._forms.get(form) or self._form(form, args, kwargs)
        values = (*args, *kwargs.values(), *self._defaults.values())
        return inputs_of(values), {name: values[place] for name, place in options_at} if options_at else {}

    def _refuse(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise Python's TypeError for arguments that do not fit, with the signature."""
        try:
            self.__signature__.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}; call it as {self.name}{self.__signature__}") from None

    def _form(self, form: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """How to pick the inputs from the arguments, keywords and defaults of calls of this form; places of options."""
        given = (*self._positional[:len(args)], *kwargs)
        places: dict[str, int] = {}
        for place, name in enumerate((*given, *self._defaults)):
            places.setdefault(name, place)
        if places.keys() != self.__signature__.parameters.keys() or len({*given}) != len(args) + len(kwargs):
            self._refuse(args, kwargs)
        inputs_at = [places.pop(name) for name in self._names]
        several = len(inputs_at) > 1  # else an itemgetter does not return a tuple
        inputs_of = itemgetter(*inputs_at) if several else lambda values: [values[place] for place in inputs_at]
        self._forms[form] = inputs_of, list(places.items())
        return self._forms[form]


class MakesOp(Protocol):
    """The decorator `op(...)`: of a function that returns arrays and a cache, it makes an Op that returns Tensors."""

    @overload
    def __call__(self, forward: Callable[..., tuple[Array, Any]]) -> Op[Tensor]: ...
    @overload
    def __call__(self, forward: Callable[..., tuple[tuple[Array, Array], Any]]) -> Op[tuple[Tensor, Tensor]]: ...
    @overload
    def __call__(self, forward: Callable[..., tuple[tuple[Array, Array, Array], Any]]
                 ) -> Op[tuple[Tensor, Tensor, Tensor]]: ...


def op(contract: str, *, cases: Sequence[dict[str, Any]], sizes: Callable[..., Sizes] | None = None,
       check: Callable[..., None] | None = None, analytic: bool = True, flops: Count = None,
       keeps: Count = None, kind: type[Op[Any]] = Op) -> MakesOp:
    """Make an op of a forward function, and register it.

    contract   the shapes, see `contract.py`
    cases      what the tests try, one dict each: a letter of the contract gives a size, an input a domain (None leaves
               it out), and the rest are options
    sizes      sizes(known, **options) -> the letters that only the outputs have; raises for impossible options. It is
               given the options that it names
    check      check(*arrays, sizes, **options) raises for values out of range; called on the host only
    analytic   whether a complex step may differentiate it: no max, abs or comparison of values
    flops      operations of the forward by its equations, a multiply-add is two: a number for each element of the first
               input or output, whichever is larger; or f(s) for each element of the first output, where s holds the
               letters, the options, and for each optional input whether it is given. None: unknown
    keeps      f(s) or a number: elements of memory from forward to backward, if not the outputs; 0 for a view
    kind       the class of the op, for one whose calls differ from those of `Op`
    """
    def decorate(forward: Callable[..., Any]) -> Op[Any]:
        made: Op[Any] = kind(forward, contract, cases, sizes, check, analytic, flops, keeps)
        REGISTRY[made.name] = made
        return made
    return decorate


class Update:
    """Decorator of a function f(xp, *arrays, **options) that changes arrays in place, such as the step of an optimizer.

    A backend overrides it by its name, as it does an op. `specification` is the function itself.
    """

    def __init__(self, specification: Callable[..., None]) -> None:
        self.name, self.module = specification.__name__, specification.__module__
        self.specification, self.__doc__ = specification, specification.__doc__
        UPDATES[self.name] = self

    def __repr__(self) -> str:
        return f"<update {self.name}\n  {backend.implementations(self.module, (self.name,))}>"

    def __call__(self, *arrays: Any, **options: Any) -> None:
        device = backend.device_of(arrays[0])
        xp = backend.namespace(device)
        fast = backend.find_override(self.module, (self.name,), device)
        if not fast or fast[0](xp, *arrays, **options) is NotImplemented:
            with np.errstate(under="ignore"):
                backend.call(self.specification, xp, *arrays, **options)


def _as_tensors(values: Sequence[Any], contract: Contract) -> Sequence[Tensor | None]:
    """Tensors of all arguments. A number, NumPy's too, takes the dtype and the device of the floats beside it."""
    dtype, are_usual = None, True  # usual: numbers of Python, and floats on the host
    others: Any = []
    for place, value in enumerate(values):
        if isinstance(value, Tensor):
            array = value.data
            dtype = dtype or array.dtype
            if type(array) is not np.ndarray or array.dtype.kind != "f":
                are_usual = False
                if array.dtype.kind == "c":
                    return _converted(values, contract)
        elif value is not None:
            others.append(place)
            are_usual = are_usual and type(value) in (float, int) and abs(value) <= _EXACT
    if not others:
        return values
    if dtype is None or not are_usual:
        return _converted(values, contract)
    tensors = list(values)
    for place in others:
        tensors[place] = constant_of(values[place], dtype)
    return tensors


def _converted(values: Sequence[Any], contract: Contract) -> list[Tensor | None]:
    if not contract.variadic:
        values = [value.item() if argument.kind == "float" and isinstance(value, np.generic | np.ndarray)
                  and not value.ndim else value for argument, value in zip(contract.inputs, values, strict=True)]
    given = [value for value in values if isinstance(value, Tensor)]
    model = next((tensor for kind in "cf" for tensor in given if tensor.dtype.kind == kind), None)
    device = given[0].device if given else None
    tensors: list[Tensor | None] = []
    for value in values:
        if value is None or isinstance(value, Tensor):
            tensors.append(value)
        elif isinstance(value, bool | int | float):
            tensors.append(Tensor(value, dtype=model.dtype if model is not None else "float32", device=device))
        else:
            tensors.append(Tensor(value))
    if model is not None and model.dtype.kind == "c":  # a complex step: the imaginary part of a constant is 0
        return [Tensor(tensor.data, dtype="complex128") if tensor is not None and tensor.dtype == "float64" else tensor
                for tensor in tensors]
    return tensors


def _no_backward(*arrays: Any, **options: Any) -> Any:
    raise NotImplementedError("this op has no gradient; decorate the function that computes it with @name.gradient")
