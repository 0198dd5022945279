"""For each equation number on a line of `backend/cuda`, a bug in that line; and the cases in which ops are compared."""

from typing import Any

from tests.support.planting import Bug

CASES: dict[str, list[dict[str, Any]]] = {
    "relu": [{"...": (2, 5), "x": "distinct"}],
}

BUGS = [Bug("cuda", file, number, old, new) for file, number, old, new in [
    ("activation.cu", 1, "x[at] < 0.0f", "x[at] < 0.5f"),
]]
