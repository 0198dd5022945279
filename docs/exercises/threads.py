"""The check of blanks/threads.py."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from docs.exercises.checking import attempt, fault


def check(answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for size, threads in ((20, 8), (24, 8), (1, 256)):
        count = len(range(0, size, threads))
        result, raised = attempt(answer, "blocks", size, threads)
        yield f"blocks({size}, {threads})", raised or fault(result, count)
        result, raised = attempt(answer, "idle", size, threads)
        yield f"idle({size}, {threads})", raised or fault(result, count * threads - size)
    result, raised = attempt(answer, "element", 2, 3, 8)
    yield "element(2, 3, 8)", raised or fault(result, np.arange(24).reshape(3, 8)[2, 3])
    result, raised = attempt(answer, "row_and_column", 17, 5)
    yield "row_and_column(17, 5)", raised or fault(result, np.argwhere(np.arange(20).reshape(4, 5) == 17)[0])
