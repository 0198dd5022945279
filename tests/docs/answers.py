"""For each exercise of docs/exercises: a right answer, as edits of its blank lines, and wrong ones.

Beside a wrong one stands what the check says of it. A wrong answer differs from the right one in the given edits.
"""

from typing import Any

ANSWERS: dict[str, list[Any]] = {
    "complex_step": [
        [("return ...", "return f(x + 1j * h).imag / h")],
        ({"return ...": "return (f(x + h) - f(x - h)) / (2 * h)"}, "is zero everywhere"),
        ({"return ...": "return f(x + 1j * h).imag"}, "off by the factor 1e-20"),
        ({"return ...": "return f(x + 1j * h) / h"}, "must be"),
    ],
}
