"""Choose the recipe of the deep LSTM-CNN on validation parts of MNIST's training set. No test image is used.

    python examples/mnist_selection.py
    python examples/mnist_selection.py --begun examples/results/selection/mnist_selection.json
    python examples/mnist_selection.py --candidates base norm --folds 1
    python examples/mnist_selection.py --data digits --epochs 1 --candidates base --folds 1

Each fold validates on another random tenth of the training set; the first is that of the other experiments.

The rule: the score of a candidate is its accuracy over the folds. All candidates are trained on the first fold. Those
that gain on the base there are trained on all folds, except `wide` and `long`. If several changes then gain more than
their standard error, their combination is tried, too. The best of all is kept. The mean over epochs and views are used
if they gain.

The rule was fixed before the first trial. The exception was made during the first fold, before any run on test images:
`wide` and `long` take twice the time of the others, and gained less than `smooth`.

There is no --device: a choice is made on one kind of device.

After an interruption, the same command continues; on another machine, with --begun, from the published trials. Written
to --out: a JSON file for each trial, selection.json and selection.md, the table.

Exit codes: 0 done, 1 an error in the data or a file, 2 in an option, 130 ended by Ctrl-C, 143 by SIGTERM.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import command
import mnist_deep
from command import positive
from paper import experiment, selection
from paper.nets import deep_net
from paper.selection import Candidate, Fold, Trial

import tinynet as tn
from tinynet.output import say

EXPERIMENT = "mnist_selection"
FOLDS = 3
BASE = Candidate(selection.BASE, "the recipe of mnist_deep.py", mnist_deep.RECIPE)
changed = BASE.changed
CANDIDATES = (
    BASE,
    changed("norm", "batch normalisation", net={"norm": True}),
    changed("smooth", "label smoothing 0.1", label_smoothing=0.1),
    changed("strong", "stronger augmentation", augment={"shift": 0.1, "rotate": 15.0, "scale": 0.2, "elastic": 0.05}),
    changed("wide", "one and a half times the units and filters", net={"units": 192, "filters": 96}),
    changed("dropout", "dropout 0.3", net={"dropout": 0.3}),
    changed("long", "twice the epochs", epochs=80),
)

LONGER = ("wide", "long")  # twice the time: on the first fold alone


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="auto", metavar="SOURCE", help=f"{experiment.DIGITS} (default: auto)")
    parser.add_argument("--candidates", nargs="+", metavar="NAME", choices=[one.name for one in CANDIDATES],
                        default=[one.name for one in CANDIDATES], help="only these (default: all)")
    parser.add_argument("--folds", type=positive(int), default=FOLDS, help=f"folds (default: {FOLDS})")
    parser.add_argument("--epochs", type=positive(int), help="passes over the images (default: those of the candidate)")
    parser.add_argument("--begun", type=Path, metavar="FILE", help="a selection.json, to go on from its trials")
    parser.add_argument("--out", type=Path, default=Path("runs/mnist_selection"), metavar="FOLDER",
                        help="output folder (default: runs/mnist_selection)")
    return command.run(work, parser.parse_args(arguments))


def work(options: argparse.Namespace) -> None:
    dataset, sentence = tn.data.load(options.data)
    say(sentence)
    chosen = [one.changed(one.name, one.change, epochs=options.epochs or one.recipe.epochs) for one in CANDIDATES
              if one.name in options.candidates]
    if options.begun:
        selection.restore(options.begun, options.out)

    def trials_of(one: Candidate, number: int) -> list[Trial]:
        return [Trial(one, deep_net, partial(fold, dataset, number), f"part{number}", seed=0)]

    search = selection.Search(EXPERIMENT, options.out, trials_of, range(options.folds))
    found = search.halved(chosen, lambda some, trials: ordinary(selection.gaining(some, trials)))
    complete = len(chosen) == len(CANDIDATES) and options.folds > 1
    best = selection.combined(ordinary(chosen), found) if complete else None
    if best and not any((best.recipe, best.net) == (one.recipe, one.net) for one in chosen):
        say(f"combined: {best.change}")
        search.halved([best], selection.gaining)
    finished = complete and (options.epochs, options.folds) == (None, FOLDS)
    say(f"{selection.report(EXPERIMENT, options.out, finished=finished)}\nwritten: {options.out / 'selection.md'}")


def ordinary(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that take the time of the base."""
    return [one for one in candidates if one.name not in LONGER]


def fold(dataset: tn.data.Dataset, number: int) -> Fold:
    """Validate on a random tenth of the training set."""
    images, labels = dataset.train_images[..., None], dataset.train_labels
    parts = tn.data.split(len(labels), experiment.VALIDATION["mnist"], seed=experiment.SPLIT_SEED + number)
    train, validation = ((images[part], labels[part]) for part in parts)
    return Fold(train, validation)


if __name__ == "__main__":
    sys.exit(main())
