"""Make RESULTS.md and its figures from the files of the runs, so that no number in them is typed by hand.

    python examples/results.py                                # of the files in examples/results
    python examples/results.py --add runs/mnist_table1        # take over the finished runs of a folder first

Only runs on real data, on all of it, and as their scripts make them are taken over. Runs that stand beside each other
in a table must have been made under equal conditions, and be of the same test images; else it is an error that names
what differs, and nothing is written. Exit codes: 0 done, 1 a file is at fault, 2 an option, 130 ended by Ctrl-C.
"""

import argparse
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import command
from paper.reporting import records
from paper.reporting.goals import TRIED
from paper.reporting.grouping import Runs, title
from paper.reporting.intervals import wilson
from paper.reporting.records import Record
from paper.reporting.report import SECTIONS, draw, section
from paper.reporting.tables import NOT_REACHED, interval, listed, minutes, percent, table

from tinynet.atomic import write_whole
from tinynet.errors import DataError

HERE = Path(__file__).resolve().parent


def load(folder: Path) -> dict[str, list[Record]]:
    """The runs in a folder, by experiment. Raises DataError for a file that is none, or is not for publication."""
    return by_experiment(_published(path) for path in folder.glob("*.json"))


def by_experiment(records: Iterable[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for run in sorted(records, key=lambda run: (run["experiment"], run["model"], run["fold"], run["seed"])):
        found.setdefault(run["experiment"], []).append(run)
    return found


def taken(sources: Iterable[Path]) -> dict[str, Record]:
    """The runs in some folders, by the name of their file in examples/results. Raises DataError as `load`."""
    found: dict[str, Record] = {}
    for source in sources:
        paths = sorted(source.glob("*.json"))
        if not paths:
            raise DataError(f"results: {source} must hold the JSON files of runs, and holds none; runs/mnist_table1?")
        for path in paths:
            run = _published(path)
            name = f"{run['experiment']}-{title(run)}.json"
            if name in found:
                raise DataError(f"results: {path} must be the only file of {title(run)}, and there is another one; "
                                "leave one out")
            found[name] = run
    return found


def _published(path: Path) -> Record:
    """A run that is for publication: of one of our experiments, as its script makes it, and on real data."""
    run, words = records.read(path), {"--epochs", "--limit", "--size"}
    experiment = SECTIONS.get(run["experiment"])
    faults = {"of a stand-in": run["data"]["stand_in"], "of a part of it": run["settings"]["limit"] is not None,
              f"made by `{run['command']}`": words & {*run["command"].split()},
              f"of {run['model']} in {run['experiment']}": experiment is None or run["model"] not in experiment.models}
    for fault, found in faults.items():
        if found:
            raise DataError(f"results: {path} must be a run on real data, and on all of it, as its script makes it "
                            f"without {listed(sorted(words))}, and is {fault}; leave it out")
    return run


INTRODUCTION = """\
Made by `python examples/results.py` from the files in `examples/results`, one for each run; no number of ours is typed
by hand. Accuracies are in percent. The test images were looked at once in each run, after all choices were made on the
validation images, which are a part of the training set. What the paper calls validation is not said there: its numbers
stand beside ours, and are not the same thing. Our training accuracies are those of the last epoch while it is
learning, on images that are changed at random and with dropout, so that they can be lower than those on other images.
Intervals are of the mean over the seeds (Student's t) if nothing else is said: they are about other seeds on the same
test images, not about other images. Times are those of the runs, whatever else their machine did meanwhile."""


def markdown(runs: Runs) -> str:
    """RESULTS.md."""
    parts = [f"# Results\n\n{INTRODUCTION}"]
    for experiment, one in SECTIONS.items():
        made = experiment in runs
        text = section(experiment, runs) if made else f"No runs yet: `python examples/{experiment}.py`."
        if NOT_REACHED in text:
            text += f"\n\nTo reach more: {TRIED.get(experiment, 'what was tried has not been written down.')}"
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
                     interval(wilson(right, run.images)), minutes(run["seconds"]),
                     run["started"][:10], run["commit"][:10] + "+" * run["commit"].endswith("+")])
    return (f"{len(runs)} runs, {math.fsum(run['seconds'] for run in runs) / 3600:.1f} hours of training.\n\n"
            + table(["experiment", "run", "test", "95 % interval (Wilson)", "training", "begun", "commit"], rows))


def make(runs: Runs, out: Path) -> list[Path]:
    """Write RESULTS.md and the figures of some runs. Returns what was written."""
    written = [out / "RESULTS.md"]
    write_whole(written[0], markdown(runs).encode())
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
    there = {path.name: _published(path) for path in options.results.glob("*.json")}
    added = taken(options.add)
    runs = by_experiment({**there, **added}.values())
    if not runs:
        raise DataError(f"results: {options.results} must hold the JSON files of runs, and holds none; "
                        "--add runs/mnist_table1?")
    markdown(runs)  # before anything is written
    for name, run in added.items():
        records.write(options.results / name, run.fields)
    if added:
        replaced = [name for name, run in added.items() if name in there and there[name].fields != run.fields]
        print(f"{len(added)} runs are in {options.results} now, {len(replaced)} of them instead of others")
    written = make(runs, options.out)
    for path in written:
        print(f"written: {path}")
    if len(written) == 1:
        print("matplotlib is not installed, so the figures are as they were: pip install matplotlib")


if __name__ == "__main__":
    sys.exit(main())
