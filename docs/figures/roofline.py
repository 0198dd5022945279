"""The LSTM of one digit in five versions: the time of each, and how far it is from what the machine can do."""

import json
from pathlib import Path
from typing import Any

from docs.site.drawing import Drawing

FILE = Path(__file__).parent / "lstm_versions.json"
NAMES = {"loops": "Python loops", "product": "NumPy, one product a row", "numba": "loops, compiled by Numba",
         "packed": "packed tiles, one thread", "threads": "packed tiles, all threads"}
COLORS = ("muted", "i", "o", "f", "Ctilde")


def measured() -> dict[str, Any]:
    """What examples/lstm_versions.py wrote."""
    content: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return content


def in_words(seconds: float) -> str:
    return f"{1e3 * seconds:.0f} ms" if seconds > 0.01 else f"{1e6 * seconds:.0f} µs"


def draw() -> Drawing:
    content = measured()
    drawing = Drawing("Five versions of the LSTM: time for a digit and operations in a second", height=302)
    axes = drawing.axes(196, 44, 300, 200, x=(0.01, 1000), y=(5, 0), log="x",
                        xticks={0.01: "0.01", 0.1: "0.1", 1.0: "1", 10.0: "10", 100.0: "100", 1000.0: "1000"},
                        xlabel="billion operations in a second; one digit takes 4.5 million")
    for row, ((name, title), color) in enumerate(zip(NAMES.items(), COLORS, strict=True)):
        seconds = content["versions"][name]["seconds"]
        rate = content["operations"] / seconds / 1e9
        x, y = axes.at(rate, row + 0.5)
        drawing.text(188, y + 5, title, color, "end", bold=True)
        drawing.rect(196, y - 11, x - 196, 22, color)
        inside = 330 < x < 440
        drawing.text(x + (-6 if inside else 6), y + 5, in_words(seconds), "paper" if inside else "ink",
                     "end" if inside else "start", bold=True)
    roof = content["roof"]["operations"] / 1e9
    x, _ = axes.at(roof, 0)
    drawing.line(x, 34, x, 244, "C", 2, "5 4")
    drawing.text(x + 8, 26, f"roof of one thread: {roof:.0f}", "C", "end", bold=True)
    return drawing
