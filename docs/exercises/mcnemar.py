"""The check of blanks/mcnemar.py."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from docs.exercises.checking import attempt, fault
from tinynet.metrics import mcnemar


def check(answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for seed, (one, other) in enumerate([(0.9, 0.8), (0.85, 0.85), (0.97, 0.5)]):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 2, 60)
        first, second = (np.where(rng.random(60) < share, labels, 1 - labels) for share in (one, other))
        result, raised = attempt(answer, "mcnemar", labels, first, second)
        for k, (name, value) in enumerate(zip(("only the first", "only the second", "p"),
                                              mcnemar(labels, first, second), strict=True)):
            yield f"data {seed + 1}, {name}", raised or fault(result[k], value)
