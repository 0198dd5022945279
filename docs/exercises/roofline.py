"""The check of blanks/roofline.py."""

from collections.abc import Iterator
from typing import Any

import tinynet as tn
from docs.exercises.checking import attempt, fault


def check(answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    N, D, H, peak, bandwidth = 16, 28, 128, 200e9, 20e9
    parameters = tn.nn.LSTM(D, H, bias=False).W.numpy()
    work = 2.0 * N * parameters.size
    for name, arguments, expected in (
            ("operations", (N, D, H), work), ("bytes_of_W", (D, H), parameters.nbytes),
            ("attainable", (work, parameters.nbytes, peak, bandwidth), min(peak, bandwidth * N / 2)),
            ("attainable", (100 * work, parameters.nbytes, peak, bandwidth), peak),
            ("batch_at_the_ridge", (peak, bandwidth), 20.0)):
        result, raised = attempt(answer, name, *arguments)
        yield name, raised or fault(result, expected)
