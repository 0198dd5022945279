"""RESULTS.md: the tables of all files in results/."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import table

FOLDER = Path(__file__).parent
PLACE, RESULTS = FOLDER / "RESULTS.md", FOLDER / "results"
HEAD = """# Results

Made by `python -m benchmarks --report` from the files in `benchmarks/results`; no number here is typed by hand.
[README.md](README.md) describes the measurement. The number in brackets after the time of another framework is
tinynet's time divided by it, the median over alternating rounds: below 1, tinynet is faster or smaller.

| table | what it shows |
| --- | --- |
| A training step | forward pass, backward pass and Adam for one batch of a model |
| Forward pass | a model in evaluation |
| Single ops | one op, forward and backward; "LSTM 28 -> 128, T 28" has 28 inputs, 128 units and 28 steps |
| Fresh processes | memory and waiting times of a new process, and the size of the installation |
| Growth | the time of an LSTM for T steps, N sequences and H units, and that of a tape by its number of ops |
| The limit | the share of the peak of matrix products that a training step reaches, and the time of each op |
| An epoch with the loader | reading, shuffling and augmenting the data beside the training steps alone |
| Beside an older commit of tinynet | both in turn; `first-step` is that of a new process without compiled kernels |"""


def text(folder: Path = RESULTS) -> str:
    """The content of RESULTS.md: for each machine the tables of all its files, in the order of `table.TITLES`."""
    machines: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.json")):
        results = json.loads(path.read_text(encoding="utf-8"))
        if "titles" in results:  # results of gpu.py have no titles
            machines.setdefault(machine_of(results), []).append(results)
    return "\n\n".join([HEAD, *(_section(name, files) for name, files in machines.items())]) + "\n"


def machine_of(results: dict[str, Any]) -> tuple[str, ...]:
    """The identity of a machine: processor, vectors, threads, family, model, Python."""
    machine = results["machine"]
    return (f"{machine['cpu']}, {vectors(machine['features'])}, {results['threads']} threads",
            f"family {machine['family']}, model {machine['model']}", machine["python"])


def vectors(features: Iterable[str]) -> str:
    """The widest vector extension among these features."""
    return next((name for feature, name in (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("asimd", "NEON"))
                 if feature in features), "plain")


def _section(name: tuple[str, ...], files: list[dict[str, Any]]) -> str:
    title, kind, python = name
    rows = list(table.TITLES)
    files = sorted(files, key=lambda file: min(rows.index(record["row"]) for record in file["records"]))
    versions = {package: number for file in files for package, number in file["versions"].items()}
    return "\n\n".join([
        f"## {title}", f"{kind.capitalize()}; Python {python}, "
        + ", ".join(f"{package} {number}" for package, number in sorted(versions.items())) + ".",
        *(f"```\n{table.tables(file['records'], file['titles'])}\n```\n\n{_origin(file)}" for file in files)])


def _origin(file: dict[str, Any]) -> str:
    return f"`{file['command']}`, {commit_of(file)}."


def commit_of(results: dict[str, Any]) -> str:
    """The measured commit, and the date."""
    changed = " and changes" if results["changed"] else ""
    return f"commit {(results['commit'] or 'unknown')[:12]}{changed}, {results['date']}"
