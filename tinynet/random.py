"""Counter-based random numbers: the same bits on every device, and a state of two integers.

Philox-4x32-10 is a function of a counter of four 32-bit words and a key of two. It returns four words:

    words = philox(counter = (index // 4, step low, step high, 0), key = (seed, stream))

Any thread of any device can compute element `index` of an array without the others, and compute it again without a
stored state. `seed` is set by `tn.seed`. `stream` identifies the use: a layer's path, "init", "shuffle". `step` is the
number of earlier draws from this stream.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinynet.plain import whole
from tinynet.types import Array, Shape

Key = tuple[int, int]

_WORD = 0xFFFFFFFF
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85  # the increments of the key in each round
_ROUNDS = 10

_state = {"seed": 0, "draws": 0}


def seed(value: int) -> None:
    """Set the seed of all random numbers of tinynet: initial values, dropout masks, the order of batches.

    `value` is an integer, 0 <= value < 2**32. Models that are built and trained after equal seeds are equal.

    >>> import tinynet as tn
    >>> tn.seed(0); a = tn.nn.Dense(3, 2).W.numpy()
    >>> tn.seed(0); bool((tn.nn.Dense(3, 2).W.numpy() == a).all())
    True
    """
    _state.update(seed=whole("seed", "value", value, 0, _WORD, usual="tn.seed(0)"), draws=0)


def current_seed() -> int:
    """The current seed; 0 before the first call of `seed`."""
    return _state["seed"]


def seed_or_current(function: str, seed: int | None) -> int:
    """A given seed, or the current one for None. Errors: ArgumentError, in the name of the function."""
    return current_seed() if seed is None else whole(function, "seed", seed, 0, _WORD, usual="seed=0")


def next_draw() -> int:
    """The number of earlier calls since `seed`: the `step` of a stream without a counter of its own."""
    _state["draws"] += 1
    return _state["draws"] - 1


def state_dict() -> dict[str, int]:
    """The seed, and the number of calls of `next_draw` since it was set."""
    return dict(_state)


def load_state_dict(state: Mapping[str, int]) -> None:
    """Restore a `state_dict`. Raises `ArgumentError`, and changes nothing, for another dictionary."""
    same = "was it saved by tn.random.state_dict()"
    draws = whole("load_state_dict", "draws", state.get("draws"), 0, 2**63 - 1, usual=same)
    _state.update(seed=whole("load_state_dict", "seed", state.get("seed"), 0, _WORD, usual=same), draws=draws)


def stream(name: str) -> int:
    """The stream of a name, such as a layer's path: its CRC-32."""
    return zlib.crc32(name.encode())


def philox(xp: Any, counter: tuple[Array, ...], key: Key) -> tuple[Array, ...]:
    """Philox-4x32-10, elementwise: four uint32 arrays from a counter of four uint32 arrays, all of one shape."""
    c0, c1, c2, c3 = counter
    k0, k1 = map(int, key)  # sums of NumPy's integers would warn of an overflow
    for _ in range(_ROUNDS):
        p0 = c0.astype(xp.uint64) * xp.uint64(_MULTIPLIERS[0])
        p1 = c2.astype(xp.uint64) * xp.uint64(_MULTIPLIERS[1])
        high0, high1 = (p0 >> xp.uint64(32)).astype(xp.uint32), (p1 >> xp.uint64(32)).astype(xp.uint32)
        c0, c1, c2, c3 = (high1 ^ c1 ^ xp.uint32(k0), p1.astype(xp.uint32),
                          high0 ^ c3 ^ xp.uint32(k1), p0.astype(xp.uint32))
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return c0, c1, c2, c3


def words(xp: Any, size: int, key: Key, step: int | Array, first: int = 0) -> Array:
    """`size` random words of (key, step) from the number `first` on, uint32 (size). They do not depend on `size`.

    `step` is an integer or a 0-d integer array on the device, which is not read back.
    """
    start, quads = first % 4, -(-(first % 4 + size) // 4)
    step = xp.asarray(step).astype(xp.uint64)
    index = xp.arange(first // 4, first // 4 + quads, dtype=xp.uint32)
    low = xp.broadcast_to((step & xp.uint64(_WORD)).astype(xp.uint32), index.shape)
    high = xp.broadcast_to((step >> xp.uint64(32)).astype(xp.uint32), index.shape)
    every = xp.stack(philox(xp, (index, low, high, xp.zeros_like(index)), key), axis=1)  # (quads,4)
    return every.reshape(-1)[start : start + size]


def keep_mask(xp: Any, shape: Shape, p: float, key: Key, step: int | Array, first: int = 0) -> Array:
    """A boolean array of `shape`, False with probability `p`: word >= floor(p * 2**32), from the word `first` on."""
    return (words(xp, math.prod(shape), key, step, first) >= xp.uint32(int(p * 2.0**32))).reshape(shape)


def uniform(shape: Shape, key: Key, step: int) -> Array:
    """Uniform numbers in the open interval (0, 1), float64, on the host: (word + 1/2) / 2**32."""
    return ((words(np, math.prod(shape), key, step) + 0.5) / 2.0**32).reshape(shape)


def normal(shape: Shape, key: Key, step: int) -> Array:
    """Standard normal numbers, float64, on the host: two from two words by the Box-Muller transform."""
    size = math.prod(shape)
    u = uniform((-(-size // 2), 2), key, step)
    radius, angle = np.sqrt(-2 * np.log(u[:, 0])), 2 * np.pi * u[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:size].reshape(shape)


def permutation(size: int, key: Key, step: int) -> Array:
    """A random permutation of 0 ... size - 1, int64, on the host: the stable argsort of random 64-bit keys."""
    pairs = words(np, 2 * size, key, step).astype(np.uint64).reshape(size, 2)
    return np.argsort((pairs[:, 0] << np.uint64(32)) | pairs[:, 1], kind="stable")
