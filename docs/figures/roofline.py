"""The LSTM of one digit in five versions: the time of each, and how far it is from what the machine can do."""

import json
from pathlib import Path
from typing import Any

from docs.site.drawing import Drawing

FILE = Path(__file__).parent / "lstm_versions.json"
NAMES = {"loops": "Python loops", "product": "NumPy products", "numba": "compiled loops",
         "packed": "tiles, one thread", "threads": "tiles, {} threads"}
COLORS = ("muted", "i", "o", "f", "Ctilde")


def measured() -> dict[str, Any]:
    """What examples/lstm_versions.py wrote."""
    content: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return content


def in_words(seconds: float) -> str:
    return f"{1e3 * seconds:.0f} ms" if seconds > 0.01 else f"{1e6 * seconds:.0f} µs"


def in_text() -> dict[str, str]:
    """The time of each version, what the steps from one to the next gain, and how far the rates are from the roof."""
    content = measured()
    seconds = {name: content["versions"][name]["seconds"] for name in NAMES}
    rate = {name: content["operations"] / each / 1e9 for name, each in seconds.items()}
    roof = content["roof"]["operations"] / 1e9

    def gain(slow: str, fast: str) -> str:
        """How many times as fast, in two digits."""
        return f"{float(f'{seconds[slow] / seconds[fast]:.2g}'):,g}"

    return {"loops": in_words(seconds["loops"]), "threads": in_words(seconds["threads"]),
            "product gain": gain("loops", "product"), "numba gain": gain("loops", "numba"),
            "packed gain": gain("product", "packed"), "threads gain": gain("packed", "threads"),
            "all gain": gain("loops", "threads"), "numba share": f"{seconds['product'] / seconds['numba']:.0%}",
            "packed share": f"{rate['packed'] / roof:.0%}", "product share": f"{rate['product'] / roof:.0%}",
            "multiply-adds": f"{content['operations'] / 2e6:.1f}",
            "a multiply-add": f"{2e9 * seconds['loops'] / content['operations']:.0f}",
            "processor": content["processor"], "threads used": str(content["threads"])}


def draw() -> Drawing:
    content = measured()
    drawing = Drawing("Five versions of the LSTM: time for a digit and operations in a second", height=302)
    axes = drawing.axes(158, 44, 322, 200, x=(0.01, 1000), y=(5, 0), log="x",
                        xticks={0.01: "0.01", 0.1: "0.1", 1.0: "1", 10.0: "10", 100.0: "100", 1000.0: "1000"},
                        xlabel="billion operations in a second; one digit takes 4.5 million")
    roof = content["roof"]["operations"] / 1e9
    roof_x, _ = axes.at(roof, 0)
    for row, ((name, title), color) in enumerate(zip(NAMES.items(), COLORS, strict=True)):
        seconds = content["versions"][name]["seconds"]
        rate = content["operations"] / seconds / 1e9
        x, y = axes.at(rate, row + 0.5)
        drawing.text(150, y + 5, title.format(content["threads"]), color, "end", bold=True)
        drawing.rect(158, y - 11, x - 158, 22, color)
        inside = 300 < x < roof_x  # beyond, the line of the roof would cross the text
        drawing.text(x + (-6 if inside else 6), y + 5, in_words(seconds), "paper" if inside else "ink",
                     "end" if inside else "start", bold=True)
    drawing.line(roof_x, 34, roof_x, 244, "C", 2, "5 4")
    drawing.text(roof_x + 8, 26, f"roof of one thread: {roof:.0f}", "C", "end", bold=True)
    return drawing
