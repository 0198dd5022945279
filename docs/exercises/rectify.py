"""The check of blanks/rectify.py."""

from collections.abc import Iterator
from typing import Any

import numpy as np

import tinynet as tn
from docs.exercises.checking import attempt, fault


def check(answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    rng = np.random.default_rng(0)
    x, dy = np.round(2 * rng.standard_normal(12)) / 2, rng.standard_normal(12)
    x[[0, 1, 2, 4]] = 0.0, 1.0, 1.0, -1.0
    _, cache = tn.ops.relu.forward(np, x)
    result, raised = attempt(answer, "drelu", dy, x)
    yield "drelu", raised or fault(result, tn.ops.relu.backward(np, dy, cache=cache, needs=(True,)))
    _, cache = tn.ops.max_pool1d.forward(np, x[None, :, None], 3)
    expected = tn.ops.max_pool1d.backward(np, dy[None, :4, None], cache=cache, needs=(True,))
    result, raised = attempt(answer, "dmax_pool", dy[:4], x, 3)
    yield "dmax_pool", raised or fault(result, expected[0, :, 0])
    (_, cache), key = tn.ops.dropout.forward(np, x, 0.25, key=(1, 2), counter=0), (1, 2)
    keep = tn.random.keep_mask(np, x.shape, 0.25, key, 0)
    result, raised = attempt(answer, "ddropout", dy, keep, 0.25)
    yield "ddropout", raised or fault(result, tn.ops.dropout.backward(np, dy, cache=cache, needs=(True,)))
