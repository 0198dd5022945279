"""Whether two peers compute the same: outputs, loss and gradients, before anything is timed."""

from pathlib import Path

import numpy as np

from benchmarks.peers.base import Arrays

# The largest relative error that passes, max|a - b| / max(|a|, |b|) over an array, in float32. Sums over a batch and
# its pixels are added in another order by each peer, so their gradients differ by more than one rounding. And which of
# two numbers in a pooling window is the largest is chance where they are a rounding apart: on X-rays that moves the
# gradients of anybody, beside those in float64, by 1e-6 to 1e-3 from draw to draw. Where such a sum cancels, its own
# size is no measure: below SMALL of the largest gradient, that share of the largest is.
OUTPUTS, GRADIENTS, SMALL = 1e-5, 5e-4, 1e-2
FORWARD = ("output", "loss")  # everything else is a gradient


def read_results(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as data:
        return {name: data[name] for name in data.files}


def relative_error(a: np.ndarray, b: np.ndarray, least: float = 0.0) -> float:
    """max|a - b| / max(|a|, |b|, least), over the whole array; infinite where shapes differ or something is not
    finite."""
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    scale = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0), least)
    return float(np.abs(a - b).max(initial=0.0) / scale) if scale else 0.0


def errors(ours: Arrays, theirs: Arrays) -> dict[str, float]:
    """The relative error of everything that either has computed; infinite for what only one has."""
    nothing = np.array(np.nan)
    least = SMALL * max((float(np.abs(array).max()) for name, array in ours.items() if name not in FORWARD), default=0)
    return {name: relative_error(np.asarray(ours.get(name, nothing), np.float64),
                                 np.asarray(theirs.get(name, nothing), np.float64), 0 if name in FORWARD else least)
            for name in {**ours, **theirs}}


def verdict(found: dict[str, float]) -> str | None:
    """What disagrees; None if nothing does."""
    wrong = [f"{name} by {error:.1e}" for name, error in found.items()
             if error > (OUTPUTS if name in FORWARD else GRADIENTS)]
    return f"disagrees in {', '.join(wrong)}" if wrong else None
