"""Make RESULTS.md and its figures from the records of the runs. No number in them is typed by hand.

    python examples/results.py                                # from examples/results
    python examples/results.py --add runs/mnist_table1        # add the finished runs of a folder first
    python examples/results.py --add runs/xray_selection      # or the trials of a selection

Only runs on complete real data, with the default options of their scripts, are added. Runs in one table must have equal
conditions and the same test images. Otherwise the error names the difference, and nothing is written. Exit codes: 0
done, 1 an error in a file, 2 in an option, 130 ended by Ctrl-C.
"""

import argparse
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import command
from paper import selection
from paper.reporting import records
from paper.reporting.goals import TRIED
from paper.reporting.grouping import Runs, title
from paper.reporting.records import Record
from paper.reporting.report import SECTIONS, draw, section
from paper.reporting.summary import summary
from paper.reporting.tables import NOT_REACHED, interval, listed, minutes, percent, table

from tinynet.atomic import write_whole
from tinynet.errors import DataError
from tinynet.intervals import wilson
from tinynet.output import say

SELECTIONS = {"xray_selection": "The choice of the recipe for chest X-rays",
              "mnist_selection": "The choice of the recipe of the deep LSTM-CNN"}
HERE = Path(__file__).resolve().parent


def load(folder: Path) -> dict[str, list[Record]]:
    """The runs in a folder, by experiment. Raises DataError for a file that is not a publishable run."""
    return by_experiment(_published(path) for path in folder.glob("*.json"))


def by_experiment(records: Iterable[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for run in sorted(records, key=lambda run: (run["experiment"], run["model"], run["fold"], run["seed"])):
        found.setdefault(run["experiment"], []).append(run)
    return found


def taken(sources: Iterable[Path]) -> dict[str, Record]:
    """The runs in some folders, by the names of their files in examples/results. Raises DataError as `load` does."""
    found: dict[str, Record] = {}
    for source in sources:
        paths = sorted(source.glob("*.json"))
        if not paths:
            raise DataError(f"results: {source} must hold the JSON files of runs, and holds none; runs/mnist_table1?")
        for path in paths:
            run = _published(path)
            name = records.file_of(run.fields)
            if name in found:
                raise DataError(f"results: {path} must be the only file of {title(run)}, and there is another one; "
                                "leave one out")
            found[name] = run
    return found


def _published(path: Path) -> Record:
    """Read a publishable run: of one of the experiments, as its script makes it, on complete real data."""
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
by hand. Accuracies are in percent. The test images were evaluated once in each run, after all choices were made on the
validation images, which are a part of the training set. The paper does not define its validation set, so its numbers
cannot be compared directly with ours. Our training accuracies were measured during the last epoch, with augmentation
and dropout, so they can be lower than the others. Without another note, intervals are those of the mean over the seeds
(Student's t): they hold for other seeds on the same test images, not for other images. Other programs may have run on
the machine during the measured times."""


def selections(folder: Path) -> dict[str, Any]:
    """What was measured in selections, by experiment. Raises DataError for another file."""
    return {path.stem: selection.read(path) for path in sorted(folder.glob("selection/*.json"))}


def markdown(runs: Runs, selected: Mapping[str, Any] | None = None) -> str:
    """The content of RESULTS.md."""
    parts = ["# Results", *filter(None, [summary(runs)]), f"## How they were made\n\n{INTRODUCTION}"]
    for experiment, one in SECTIONS.items():
        made = experiment in runs
        text = section(experiment, runs) if made else f"No runs yet: `python examples/{experiment}.py`."
        if NOT_REACHED in text:
            text += f"\n\nTo reach more: {TRIED.get(experiment, 'what was tried is not documented.')}"
        pictures = [f"![{name}](figures/{name}.png)\n\n*{drawing.caption}* ([SVG](figures/{name}.svg))"
                    for name, drawing in one.figures(runs).items()] if made else []
        parts += [f"## {one.title}", text, *pictures]
    for experiment, found in (selected or {}).items():
        unfinished = "" if found["finished"] else " **It is not finished, and has chosen nothing yet.**"
        parts.append(f"## {SELECTIONS.get(experiment, experiment)}\n\nMade by `python examples/{experiment}.py`, which "
                     f"says the rule of the choice.{unfinished}\n\n{selection.markdown(found['trials']).strip()}")
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
            + table(["experiment", "run", "test", "95 % interval (Wilson)", "training", "started", "commit"], rows))


def make(runs: Runs, selected: Mapping[str, Any], out: Path) -> list[Path]:
    """Write RESULTS.md and the figures of some runs. Returns the paths written."""
    written = [out / "RESULTS.md"]
    write_whole(written[0], markdown(runs, selected).encode())
    for experiment in SECTIONS:
        if experiment in runs:
            written += draw(experiment, runs, out / "figures")
    return written


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--add", type=Path, nargs="+", default=[], metavar="FOLDER",
                        help="add the finished runs of these folders, such as runs/mnist_table1")
    parser.add_argument("--results", type=Path, default=HERE / "results", metavar="FOLDER",
                        help="the files of the runs (default: examples/results)")
    parser.add_argument("--out", type=Path, default=HERE, metavar="FOLDER",
                        help="output folder of RESULTS.md and the figures (default: examples)")
    return command.run(work, parser.parse_args(arguments))


def work(options: argparse.Namespace) -> None:
    there = {path.name: _published(path) for path in options.results.glob("*.json")}
    chosen = [folder for folder in options.add if (folder / "selection.json").exists()]
    added = taken(folder for folder in options.add if folder not in chosen)
    selected = selections(options.results)
    for folder in chosen:
        found = selection.read(folder / "selection.json")
        if found.get("experiment") not in SELECTIONS or not isinstance(found.get("trials"), list):
            raise DataError(f"results: {folder / 'selection.json'} must hold the trials of one of "
                            f"{listed(list(SELECTIONS))}, and does not; leave it out")
        selected[found["experiment"]] = found
    runs = by_experiment({**there, **added}.values())
    if not runs:
        raise DataError(f"results: {options.results} must hold the JSON files of runs, and holds none; "
                        "--add runs/mnist_table1?")
    markdown(runs, selected)  # fails before anything is written
    for experiment, found in selected.items():
        selection.write(options.results / "selection" / f"{experiment}.json", found)
    for name, run in added.items():
        records.write(options.results / name, run.fields)
    if added:
        replaced = [name for name, run in added.items() if name in there and there[name].fields != run.fields]
        say(f"{len(added)} runs are in {options.results} now, {len(replaced)} of them replaced others")
    written = make(runs, dict(sorted(selected.items())), options.out)
    for path in written:
        say(f"written: {path}")
    if len(written) == 1:
        say("matplotlib is not installed, so the figures were not updated: pip install matplotlib")


if __name__ == "__main__":
    sys.exit(main())
