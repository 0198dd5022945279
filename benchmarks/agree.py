"""Compare outputs, loss and gradients of two peers, before they are timed."""

from pathlib import Path

import numpy as np

from benchmarks.peers.base import Arrays

# The largest relative error that passes, max|a - b| / max(|a|, |b|) over an array, in float32. Each peer adds the terms
# over a batch and its pixels in another order, so gradients differ by more than one rounding. In a pooling window, the
# largest of two numbers that differ by a rounding is random. On X-rays this moves the gradients of each peer, compared
# with float64, by 1e-6 to 1e-3 from draw to draw. A sum that cancels is small, and its own size is no scale: arrays
# below SMALL times the largest gradient are compared on that scale.
OUTPUTS, GRADIENTS, SMALL = 1e-5, 5e-4, 1e-2
FORWARD = ("output", "loss")  # all other names are gradients


def read_results(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as data:
        return {name: data[name] for name in data.files}


def relative_error(a: np.ndarray, b: np.ndarray, least: float = 0.0) -> float:
    """max|a - b| / max(|a|, |b|, least) over the whole array; infinite for different shapes or non-finite values."""
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    scale = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0), least)
    return float(np.abs(a - b).max(initial=0.0) / scale) if scale else 0.0


def errors(ours: Arrays, theirs: Arrays) -> dict[str, float]:
    """The relative errors by name; infinite for a name that only one side has."""
    nothing = np.array(np.nan)
    least = SMALL * max((float(np.abs(array).max()) for name, array in ours.items() if name not in FORWARD), default=0)
    return {name: relative_error(np.asarray(ours.get(name, nothing), np.float64),
                                 np.asarray(theirs.get(name, nothing), np.float64), 0 if name in FORWARD else least)
            for name in {**ours, **theirs}}


def verdict(found: dict[str, float]) -> str | None:
    """A sentence about the arrays that disagree; None if all agree."""
    wrong = [f"{name} by {error:.1e}" for name, error in found.items()
             if error > (OUTPUTS if name in FORWARD else GRADIENTS)]
    return f"disagrees in {', '.join(wrong)}" if wrong else None
