"""Tables with a line for each case and a column for each peer."""

import statistics
from typing import Any

from benchmarks.peers import OURS

TITLES = {
    "step": "A training step", "forward": "Forward pass", "pneumonia": "A training step, X-rays 224 x 224 x 3",
    "ops": "Single ops, forward and backward", "start": "Fresh processes", "growth": "Growth", "limit": "The limit",
    "epoch": "An epoch with the loader", "commits": "Beside an older commit of tinynet",
}
SCALES = {  # by unit: values from the first number on are divided by it, and get this suffix
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "bytes": ((2**20, "MiB"), (2**10, "KiB"), (1, "B")),
    "flop/s": ((1e9, "GFLOP/s"), (1, "FLOP/s")),
}


def tables(records: list[dict[str, Any]], titles: dict[str, str]) -> str:
    """All records as text. In brackets after the value of a peer: tinynet's value divided by it.

    `titles` holds the names of the peers in the order of the columns.
    """
    parts = []
    for row in dict.fromkeys(record["row"] for record in records):
        chosen = [record for record in records if record["row"] == row]
        names = [name for name in titles if name == OURS or any(name in record["results"] for record in chosen)]
        lines = [["", *(titles[name] for name in names)]]
        lines += [[record["case"], *(cell(record, name) for name in names)] for record in chosen]
        parts.append(f"{TITLES[row]}\n{aligned(lines)}")
        parts += [breakdown(record) for record in chosen if "parts" in record["results"].get(OURS, {})]
    notes = sorted({f"{titles[name]}, {record['case']}: {result['error']}" for record in records
                    for name, result in record["results"].items() if "error" in result})
    return "\n\n".join([*parts, *(["Not timed\n" + "\n".join(f"  {note}" for note in notes)] if notes else [])])


def cell(record: dict[str, Any], name: str) -> str:
    """The cell of one peer in one case."""
    results, unit = record["results"], record["unit"]
    beside = [result["ours"]["median"] for result in results.values() if "ours" in result]
    if name == OURS and beside:
        return written(statistics.median(beside), unit)
    if name not in results:
        return ""
    result = results[name]
    if "error" in result:
        return "-"
    if "theirs" in result:
        return f"{written(result['theirs']['median'], unit)} ({short(result['ratio']['median'])})"
    notes = {"ratio": short, "of_peak": lambda share: f"{share:.0%} of the peak"}
    noted = "".join(f" ({note(result[key])})" for key, note in notes.items() if key in result)
    return written(result["value"], unit) + noted


def breakdown(record: dict[str, Any]) -> str:
    """A table of the parts of a step, the slowest first."""
    result = record["results"][OURS]
    lines = [["", "time", "of the step", "its products at the peak"]]
    for name, part in sorted(result["parts"].items(), key=lambda item: -item[1]["seconds"]):
        floor = written(part["floor"], "s") if part["floor"] else ""
        lines.append([name, written(part["seconds"], "s"), f"{part['seconds'] / result['value']:.0%}", floor])
    return f"{record['case']}, op by op\n{aligned(lines)}"


def short(ratio: float) -> str:
    """A ratio with two decimals, or one significant digit below 0.1."""
    return f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.1g}"


def written(value: float, unit: str) -> str:
    """A value with about three digits and a suitable unit."""
    scale, name = next(((scale, name) for scale, name in SCALES[unit] if abs(value) >= scale), SCALES[unit][-1])
    scaled = value / scale
    digits = 0 if abs(scaled) >= 100 else 1 if abs(scaled) >= 10 else 2
    return f"{scaled:,.{digits}f} {name}"


def aligned(lines: list[list[str]]) -> str:
    """Aligned columns: the first to the left, the others to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join([line[0].ljust(widths[0]), *(text.rjust(width) for text, width in
                                zip(line[1:], widths[1:], strict=True))]).rstrip() for line in lines)
