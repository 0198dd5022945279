"""Observe a computation while it runs (`observe`), or run it on shapes alone and list its calls (`shapes_only`).

The guard of `fit`, `Module.profile`, `Module.summary` and the benchmark use these two.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from tinynet.settings import Setting

Observer = Callable[[Any, Callable[[], Any]], Any]


class Observers(NamedTuple):
    """The observers that are in force, and whether ops compute values or shapes alone."""

    module: Observer | None = None
    op: Observer | None = None
    backward: Observer | None = None
    step: Observer | None = None
    values: bool = True


UNOBSERVED = Observers()
observers = Setting("observers", UNOBSERVED)


class Call(NamedTuple):
    """One call of an op: its name, the sizes of the letters of its contract, its tensors, its options, and the Op.

    `inputs` are in the order of the contract, None for those left out. `outputs` are empty before the op has run.
    """

    op: str
    sizes: dict[str, Any]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    options: dict[str, Any]
    definition: Any


def observe(*, module: Observer | None = None, op: Observer | None = None, backward: Observer | None = None,
            step: Observer | None = None, values: bool = True) -> AbstractContextManager[None]:
    """Call observers around the parts of a computation. Without `values`, ops compute shapes alone.

    module    f(module, run)     the forward pass of a module; run() returns its output
    op        f(call, run)       an op; run() returns its output, or a tuple of outputs
    backward  f(node, run)       the backward pass of an op; run() returns a tuple of gradients, one for each input
    step      f(optimizer, run)  `Optimizer.step`

    Each returns the result of run(). In nested contexts the outer observer is called around the inner one.

    >>> import tinynet as tn
    >>> names = []
    >>> with observe(op=lambda call, run: (names.append(call.op), run())[1]):
    ...     y = tn.Tensor([1.0]) * 2 + 1
    >>> names
    ['multiply', 'add']
    """
    outer = observers.get()
    return observers.changed(Observers(_nested(outer.module, module), _nested(outer.op, op),
                                       _nested(outer.backward, backward), _nested(outer.step, step),
                                       outer.values and values))


def shapes_only(calls: list[Call] | None = None) -> AbstractContextManager[None]:
    """Run ops on their contracts alone: outputs have shape and dtype, but neither memory nor values.

    calls   a list to which each call of an op is appended

    >>> import tinynet as tn
    >>> from tinynet.tensor import blank
    >>> calls = []
    >>> with shapes_only(calls):
    ...     tn.ops.dense(blank((32, 784)), blank((784, 10))).shape
    (32, 10)
    >>> calls[0].op, calls[0].sizes
    ('dense', {'...': (32,), 'D': 784, 'F': 10})
    """
    def note(call: Call, run: Callable[[], Any]) -> Any:
        outputs = run()
        if calls is not None:
            calls.append(call._replace(outputs=outputs if isinstance(outputs, tuple) else (outputs,)))
        return outputs

    return observe(op=note, values=False)


def is_observed() -> bool:
    """Whether an observer is in force, or ops run on their contracts alone. A recording would pass them over."""
    return observers.get() is not UNOBSERVED


def is_shapes_only() -> bool:
    """Whether ops run on their contracts alone."""
    return not observers.get().values


def _nested(outer: Observer | None, inner: Observer | None) -> Observer | None:
    if outer is None or inner is None:
        return inner or outer
    return lambda part, run: outer(part, lambda: inner(part, run))
