"""Make RESULTS.md and its figures from the files of the runs, so that no number in them is typed by hand.

    python examples/results.py                                # of the files in examples/results
    python examples/results.py --add runs/mnist_table1        # take over the finished runs of a folder first

Only runs on real data, on all of it, are taken over. Runs that stand beside each other in a table must have been made
under equal conditions, and be of the same test images; else it is an error that names what differs. The exit code is 0,
or 1 if a file is at fault.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import command
import records
from grouping import Runs, title
from intervals import wilson
from records import Record
from sections import SECTIONS, draw, section
from tables import minutes, percent, table

from tinynet.errors import DataError
from tinynet.files import write_whole

HERE = Path(__file__).resolve().parent


def load(folder: Path) -> dict[str, list[Record]]:
    """The runs in a folder, by experiment. Raises DataError for a file that is none."""
    found: dict[str, list[Record]] = {}
    for path in sorted(folder.glob("*.json")):
        record = records.read(path)
        found.setdefault(record["experiment"], []).append(record)
    return found


def add(source: Path, folder: Path) -> int:
    """Take over the runs of a folder, and return their number. Raises DataError if one is not for publication."""
    paths = sorted(source.glob("*.json"))
    if not paths:
        raise DataError(f"results: {source} must hold the JSON files of runs, and holds none; runs/mnist_table1?")
    for path in paths:
        record = records.read(path)
        if record["data"]["stand_in"] or record["settings"].get("limit") is not None:
            raise DataError(f"results: {path} must be a run on real data, and on all of it, and is of "
                            f"{'a stand-in' if record['data']['stand_in'] else 'a part of it'}; leave it out")
        records.write(folder / f"{record['experiment']}-{path.name}", record.fields)
    return len(paths)


INTRODUCTION = """\
Made by `python examples/results.py` from the files in `examples/results`, one for each run; no number here is typed by
hand. Accuracies are in percent. The test images were looked at once in each run, after all choices were made on the
validation images, which are a part of the training set. What the paper calls validation is not said there: its numbers
stand beside ours, and are not the same thing. Intervals are of the mean over the seeds (Student's t) if nothing else is
said; p-values are of McNemar's exact test, not corrected for their number. Times are those of the runs, whatever else
their machine did meanwhile."""


def markdown(runs: Runs) -> str:
    """RESULTS.md."""
    parts = [f"# Results\n\n{INTRODUCTION}"]
    for experiment, one in SECTIONS.items():
        made = experiment in runs
        text = section(experiment, runs) if made else f"No runs yet: `python examples/{experiment}.py`."
        pictures = "".join(f"\n\n![{Path(name).stem}](figures/{name})" for name in one.figures(runs)) if made else ""
        parts.append(f"## {one.title}\n\n{text}{pictures}")
    everything = [run for experiment in SECTIONS for run in runs.get(experiment, ())]
    if everything:
        parts.append(f"## All runs\n\n{all_runs(everything)}")
    return "\n\n".join(parts) + "\n"


def all_runs(runs: Sequence[Record]) -> str:
    rows = []
    for run in runs:
        right = int((run.labels == run.predicted).sum())
        rows.append([run["experiment"], title(run), percent(run.accuracy),
                     " to ".join(map(percent, wilson(right, run.images))), minutes(run["seconds"]),
                     run["started"][:10], run["commit"][:10] + "+" * run["commit"].endswith("+")])
    return (f"{len(runs)} runs, {math.fsum(run['seconds'] for run in runs) / 3600:.1f} hours of training.\n\n"
            + table(["experiment", "run", "test", "95 % interval (Wilson)", "training", "begun", "commit"], rows))


def make(folder: Path, out: Path) -> list[Path]:
    """Write RESULTS.md and the figures of the runs in a folder. Returns what was written."""
    runs = load(folder)
    text = markdown(runs)  # before anything is written
    written = [out / "RESULTS.md"]
    write_whole(written[0], text.encode())
    for experiment in SECTIONS:
        if experiment in runs:
            written += draw(experiment, runs, out / "figures")
    return written


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--add", type=Path, nargs="+", default=[], metavar="FOLDER",
                        help="take over the finished runs of these folders, such as runs/mnist_table1")
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="FOLDER",
                        help="the files of the runs (default: examples/results)")
    parser.add_argument("--out", type=Path, default=HERE, metavar="FOLDER",
                        help="for RESULTS.md and figures (default: examples)")
    return command.run(work, parser.parse_args(arguments))


def work(options: argparse.Namespace) -> None:
    for source in options.add:
        print(f"{add(source, options.results)} runs of {source} are in {options.results}")
    for path in make(options.results, options.out):
        print(f"written: {path}")


if __name__ == "__main__":
    sys.exit(main())
