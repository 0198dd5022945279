"""The check of blanks/threshold.py."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from docs.exercises.checking import attempt, fault
from tinynet import metrics


def check(answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1, 1], 20)
    scores = np.round(np.clip(0.35 + 0.3 * labels + 0.2 * rng.standard_normal(60), 0, 1), 2)
    for threshold in (0.4, float(scores[labels == 1].max())):
        alarm = (scores >= threshold).astype(int)
        for name in ("sensitivity", "specificity"):
            result, raised = attempt(answer, name, labels, scores, threshold)
            yield f"{name} at {threshold:g}", raised or fault(result, getattr(metrics, name)(labels, alarm))
    for found in (0.8, 1.0):
        expected = max(score for score in scores if (scores[labels == 1] >= score).mean() >= found)
        result, raised = attempt(answer, "choose", labels, scores, found)
        yield f"choose, {found:.0%} found", raised or fault(result, expected)
