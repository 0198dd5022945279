"""Time two sides in turn, A B A B ..., and summarise the times."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

BLOCK = 0.1  # the most seconds of calls of one side before the other's turn
MOST_CALLS = 100  # in a block
LEAST_ROUNDS, MOST_ROUNDS = 3, 25

Block = Callable[[int], list[float]]  # makes this number of calls, and returns the seconds of each


@dataclass
class Pair:
    """The times of two sides: for each round the seconds of every call of each side."""

    ours: list[list[float]] = field(default_factory=list)
    theirs: list[list[float]] = field(default_factory=list)

    def ratios(self) -> list[float]:
        """Ours divided by theirs, for each round the ratio of two medians."""
        return [statistics.median(a) / statistics.median(b) for a, b in zip(self.ours, self.theirs, strict=True)]

    def summary(self) -> dict[str, Any]:
        """The summary for the file of results, with times in seconds."""
        fastest = min(map(min, self.ours)) / min(map(min, self.theirs))
        return {"ours": spread(self.ours), "theirs": spread(self.theirs),
                "ratio": {**quartiles(self.ratios()), "of_minima": fastest, "rounds": len(self.ours)}}


def in_turn(ours: Block, theirs: Block, seconds: float) -> Pair:
    """Time two sides in turn for about `seconds` seconds, at least three rounds."""
    estimates = [min(side(3)) for side in (ours, theirs)]  # also the warm-up
    counts = [calls_in_block(estimate, min(BLOCK, seconds / (2 * LEAST_ROUNDS))) for estimate in estimates]
    one_round = sum(estimate * count for estimate, count in zip(estimates, counts, strict=True))
    pair = Pair()
    for _ in range(min(MOST_ROUNDS, max(LEAST_ROUNDS, round(seconds / one_round)))):
        pair.ours.append(ours(counts[0]))
        pair.theirs.append(theirs(counts[1]))
    return pair


def calls_in_block(call: float, block: float = BLOCK) -> int:
    """The number of calls in a block, if one call takes `call` seconds."""
    return max(1, min(MOST_CALLS, round(block / call)))


def quartiles(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {"median": middle, "low": low, "high": high}


def spread(blocks: list[list[float]]) -> dict[str, Any]:
    """Median, quartiles, minimum and number of all calls, and the median of each block."""
    values = [value for block in blocks for value in block]
    return {**quartiles(values), "min": min(values), "calls": len(values),
            "blocks": [statistics.median(block) for block in blocks]}
