"""Write the gradient of the mean cross-entropy of a batch by its logits: p − y, and one thing more.

`p` (N,K) holds the probabilities, `labels` (N) the classes. The loss is the mean over the N samples.
"""

import numpy as np


def dlogits(p, labels):
    return ...


# --- the check
from collections.abc import Iterator
from typing import Any

import tinynet as tn
from docs.exercises.checking import attempt, fault


def check(answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for N, K in ((1, 3), (4, 3)):
        rng = np.random.default_rng(N)
        logits = tn.Tensor(rng.standard_normal((N, K)), requires_grad=True)
        labels = rng.integers(0, K, N)
        tn.ops.cross_entropy(logits, labels).backward()
        result, raised = attempt(answer, "dlogits", tn.ops.softmax(logits).numpy(), labels)
        yield f"{N} samples, {K} classes", raised or fault(result, logits.grad)
