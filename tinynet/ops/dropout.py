"""Dropout. Its mask is a function of a key and a counter."""

from typing import Any

from tinynet.errors import ArgumentError
from tinynet.op import Array, op
from tinynet.random import keep_mask


def _check_p(known: dict[str, Any], p: float, key: Any, first: int = 0) -> dict[str, Any]:
    if not 0 <= p < 1:
        raise ArgumentError(f"dropout: p must be in [0, 1), the share that is dropped, got {p}; p=0.5 drops half")
    if len(key) != 2 or not all(0 <= part < 2**32 for part in key):
        raise ArgumentError(f"dropout: key must be two integers in [0, 2**32), got {key}; key=(seed, stream)")
    if first < 0:
        raise ArgumentError(f"dropout: first must be the number of an element, at least 0, got {first}; first=0?")
    return {}


def _masked(xp: Any, x: Array, m: Array, factor: float) -> Array:
    """x m / (1 − p). A dropped ∞ is 0; NaN passes."""
    return xp.where(m | (x != x), x * factor, xp.zeros((), x.dtype))


@op("x:(...) -> y:(...)", sizes=_check_p, flops=2,
    cases=[{"...": (3, 5), "p": 0.5, "key": (1, 2), "counter": 0}, {"...": (7,), "p": 0.2, "key": (0, 9), "counter": 3},
           {"...": (2, 3, 2), "p": 0.0, "key": (1, 2), "counter": 0},
           {"...": (5, 3), "p": 0.5, "key": (1, 2), "counter": 0, "first": 6}])
def dropout(xp: Any, x: Array, p: float, *, key: tuple[int, int], counter: int | Array, first: int = 0
            ) -> tuple[Array, Any]:
    """Dropout: each element is set to 0 with probability p; the others are divided by 1 − p.

    An element is dropped if its 32-bit word of Philox-4x32-10 is below floor(p 2³²). `key` is (seed, stream); `counter`
    is the number of the draw, an integer or a 0-d integer array on the device, which may be incremented afterwards.
    Equal arguments give equal masks on every device. Where x is a part of a larger array, `first` is the number of its
    first element there: the parts get the masks of the whole.

    Shapes    x (...)  →  y (...)
    Forward   (1)  y = x m / (1 − p)        m = 1 where word ≥ floor(p 2³²), else 0
    Backward  (2)  δx = δy m / (1 − p)
    Because   m does not depend on x, so ∂y/∂x = m / (1 − p). The factor keeps the mean: E[m] = 1 − p, so E[y] = x
    Cache     m, 1 byte an element, and 1 / (1 − p)
    Source    Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014; Philox: tinynet/random.py

    >>> import tinynet as tn
    >>> tn.ops.dropout(tn.Tensor([1.0, 1.0, 1.0, 1.0]), 0.5, key=(0, 0), counter=0).numpy()
    array([0., 2., 2., 2.], dtype=float32)
    """
    m = keep_mask(xp, x.shape, p, key, counter, first)
    factor = 1 / (1 - p)
    return _masked(xp, x, m, factor), (m, factor)  # (1)


@dropout.gradient
def ddropout(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    m, factor = cache
    return _masked(xp, dy, m, factor)  # (2)
