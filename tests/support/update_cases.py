"""Arguments for every update in place, and the comparison of what it does with its specification.

An update that is added to tinynet needs a function here, in `CASES` under its name: it draws (arrays, options) to try.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinynet import backend
from tinynet.data.augment import BORDERS, _splines

Case = tuple[list[np.ndarray], dict[str, Any]]
CASES: dict[str, Callable[[], Iterator[Case]]] = {}
EXACT = {"gather", "warp", "tally"}  # their results are the same bits in the dtype of the arrays
TOLERANCE = 1e-6  # of the others, in float32, against float64


def cases(draw: Callable[[], Iterator[Case]]) -> Callable[[], Iterator[Case]]:
    CASES[draw.__name__] = draw
    return draw


@cases
def adam() -> Iterator[Case]:
    for i, options in enumerate([{}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled": True},
                                 {"betas": (0.0, 0.99), "eps": 1e-3}]):
        arrays = np.random.default_rng(i).standard_normal((4, 1003)).astype("float32")
        arrays[3] = abs(arrays[3])
        yield list(arrays), {"lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "decoupled": False,
                             "step": 1 + 2 * i, **options}


@cases
def sgd() -> Iterator[Case]:
    for i, (momentum, nesterov, decay) in enumerate([(0.0, False, 0.0), (0.9, False, 0.1), (0.9, True, 0.1)]):
        arrays = np.random.default_rng(i).standard_normal((3, 1003)).astype("float32")
        yield list(arrays), {"lr": 0.1, "momentum": momentum, "nesterov": nesterov, "weight_decay": decay}


@cases
def average() -> Iterator[Case]:
    for shape, decay in (((5, 3), 0.9), ((), 0.999), ((1003,), 0.0)):
        mean, value = np.random.default_rng(0).standard_normal((2, *shape)).astype("float32")
        yield [np.asarray(mean), np.asarray(value)], {"decay": decay}


@cases
def running_averages() -> Iterator[Case]:
    for C, seen in ((1, 0), (3, 1), (300, 8), (3, 9), (5, 1000), (4, np.array(3)), (4, np.array(50))):
        arrays = list(np.random.default_rng(C).standard_normal((4, C)).astype("float32"))
        yield arrays, {"momentum": 0.9, "seen": seen}
        for real, positions in ((1, 2), (2, 1)):
            mask = (np.arange(6).reshape(2, 3) < real).astype("uint8")
            yield [*arrays, mask], {"momentum": 0.9, "seen": seen, "positions": positions}


@cases
def tally() -> Iterator[Case]:
    """Of equal scores the first counts, and a NaN before all. Where a sample has several labels, right is a float."""
    for N, M, K in ((1, 1, 1), (37, 1, 3), (150, 1, 70), (6, 4, 3)):
        rng = np.random.default_rng(N)
        scores, labels = rng.integers(-1, 2, (N, M, K)).astype("float32"), rng.integers(0, K, (N, M))
        scores[: N // 3] = -np.inf
        scores[N // 2 :: 5, :, K // 2 :] = np.nan
        right = np.array(3) if M == 1 else np.array(3.0)
        if M == 1:
            scores, labels = scores[:, 0], labels[:, 0]
        yield [np.array(0.5, "float32"), right, np.array(1.25, "float32"), scores, labels], {}


@cases
def tally_labels() -> Iterator[Case]:
    """A score of 0 counts as a no."""
    for N, shape, dtype in ((37, (3,), "float32"), (5, (), "int64"), (4, (2, 3), "uint8")):
        rng = np.random.default_rng(N)
        logits, targets = rng.integers(-1, 2, (N, *shape)).astype("float32"), rng.integers(0, 2, (N, *shape))
        logits[::3] = np.where(targets[::3] > 0, 1, -1)
        yield [np.array(0.5, "float32"), np.array(3.0 if shape else 3), np.array(1.25, "float32"), logits,
               targets.astype(dtype)], {}


@cases
def tally_errors() -> Iterator[Case]:
    for N, shape in ((37, (3,)), (5, ()), (4, (2, 3))):
        a, b = np.random.default_rng(N).standard_normal((2, N, *shape)).astype("float32")
        yield [np.array(0.5, "float32"), np.array(3.0), np.array(1.25, "float32"), a, b], {}


BYTES = np.random.default_rng(2).integers(0, 100, (50, 8)).astype("uint8")


@cases
def gather() -> Iterator[Case]:
    for dtype, shape in (("float32", (5, 7)), ("float32", ()), ("uint8", (3,)), ("int64", (4, 2)), ("float64", (3,))):
        rows = np.random.default_rng(0).integers(0, 100, (50, *shape)).astype(dtype)
        yield [np.zeros((33, *shape), dtype), rows, np.random.default_rng(1).permutation(50)[:33]], {}
    index = np.array([3, 0, 49], "int32")
    yield [np.zeros((3, 8), "uint8"), BYTES, index], {}
    yield [np.zeros((3, 8), "float32"), BYTES, index.astype("int16")], {}  # of two dtypes
    yield [np.zeros((3, 8), "uint8"), np.asfortranarray(BYTES), index[:, None].repeat(2, axis=1)[:, 0]], {}


@cases
def warp() -> Iterator[Case]:
    N, H, W, C = 3, 9, 11, 2
    for border in range(len(BORDERS)):
        rng = np.random.default_rng(border)
        images = rng.integers(0, 256, (N, H, W, C)).astype("uint8")
        matrices = (np.array([1, 0, 0, 1, 0, 0]) + 0.3 * rng.standard_normal((N, 6))).astype("float32")
        levels = np.stack([rng.uniform(0.5, 1.5, N), rng.uniform(-20, 20, N)], axis=1).astype("float32")
        for points in (0, 7):
            bends = (0.1 * rng.standard_normal((N, points, points, 2))).astype("float32")
            yield [np.zeros_like(images), images, matrices, levels, bends, *_splines(H), *_splines(W)], {
                "border": border}


def faults(name: str, specification: Callable[..., Any], update: Callable[..., Any], device: str) -> list[str]:
    """Where arrays on a device, after an update, are not what its specification makes of them."""
    found = []
    for number, (arrays, options) in enumerate(CASES[name]()):
        moved = [backend.to_device(array.copy(), device) for array in arrays]
        exact = [array.astype("float64") if array.dtype == "float32" and name not in EXACT else array.copy()
                 for array in arrays]
        there = {name: backend.to_device(value, device) if isinstance(value, np.ndarray) else value
                 for name, value in options.items()}
        for _ in range(2):
            update(*moved, **there)
            specification(np, *exact, **options)
        for i, (array, wanted) in enumerate(zip(moved, exact, strict=True)):
            result = backend.to_host(array)
            if name in EXACT:
                same = np.array_equal(result, wanted, equal_nan=result.dtype.kind == "f")
            else:
                same = abs(result - wanted).max() <= TOLERANCE * max(1.0, abs(wanted).max())
            if not same or result.dtype != arrays[i].dtype:
                found.append(f"{name}, case {number}, array {i} on {device}")
    return found
