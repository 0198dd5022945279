"""Choose the recipe for chest X-rays on four folds whose parts differ in kind. No test image is read.

    python examples/xray_selection.py --data XRAY_FOLDER
    python examples/xray_selection.py --begun examples/results/selection/xray_selection.json
    python examples/xray_selection.py --candidates base gamma --seeds 1      # without the combination
    python examples/xray_selection.py --data stand-in --epochs 1 --side 32 --candidates base --seeds 1

The test part of this data set comes from another mixture than the training part, which a random validation part cannot
show. So each fold trains on one kind of each class and validates on the other kinds. The kinds are in the names of the
files: NORMAL is IM- or NORMAL2-IM-, PNEUMONIA is bacteria or virus. All four combinations are folds. Numbers that occur
in both parts are left out of the validation part.

The rule, fixed before the first trial: the score of a candidate is the mean of AUC and balanced accuracy over folds and
seeds. Balanced accuracy is that at a threshold of 0.5, after a correction to equal classes. All candidates are trained
with seed 0. Those that do not gain on the base with this seed are given up, the others are trained with all seeds.
Changes that then gain more than their standard error are combined. The combination is trained with seed 0 on images of
three sides, and the best of the three with all seeds. The best of all is kept. The mean over epochs and views are used
if they gain, an estimated prior if it gains balanced accuracy. The threshold is 0.5.

There is no --device: a choice is made on one kind of device.

After an interruption, the same command continues; on another machine, with --begun, from the published trials. Written
to --out: a JSON file for each trial, selection.json and selection.md, the table.

Exit codes: 0 done, 1 an error in the data or a file, 2 in an option, 130 ended by Ctrl-C, 143 by SIGTERM.
"""

import argparse
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import command
import numpy as np
import pneumonia_cnn_lstm
from command import positive
from paper import experiment, selection
from paper.nets import xray_net
from paper.selection import Candidate, Fold, Trial

import tinynet as tn
from tinynet.errors import DataError
from tinynet.output import say

EXPERIMENT = "xray_selection"
SIDE, SEEDS = 112, 3
LARGER = (160, 224)  # sides for the combination
KINDS = {"NORMAL": ("IM", "NORMAL2"), "PNEUMONIA": ("bacteria", "virus")}
BASE = Candidate(selection.BASE, "the recipe of pneumonia_cnn_lstm.py", pneumonia_cnn_lstm.RECIPE)
changed = BASE.changed
CANDIDATES = (
    BASE,
    changed("norm", "batch normalisation", net={"norm": True}),
    changed("gamma", "gamma", augment={"gamma": 1.0}),
    changed("contrast", "twice the contrast and brightness", augment={"contrast": 0.7, "brightness": 0.2}),
    changed("equalise", "equalisation", augment={"equalise": 1.0}),
    changed("cut", "a square cut out", augment={"cut": 0.4}),
    changed("blur", "blur", augment={"blur": 1.0}),
    changed("flip", "mirrored at random", augment={"flip": "horizontal"}),
    changed("affine", "larger shifts, angles and scales",
            augment={"shift": 0.12, "rotate": 15.0, "scale": 0.25, "shear": 8.0}),
    changed("elastic", "elastic", augment={"elastic": 0.04}),
    changed("standard", "each image of mean 0 and variance 1", net={"standard": True}),
    changed("narrow", "half the filters", net={"width": 0.5}),
    changed("wide", "one and a half times the filters", net={"width": 1.5}),
    changed("dropout", "dropout 0.5", net={"dropout": 0.5}),
    changed("smooth", "label smoothing 0.1", label_smoothing=0.1),
    changed("decay", "weight decay 0.1", weight_decay=0.1),
    changed("rate", "twice the learning rate", peak=2e-3),
    changed("long", "twice the epochs", epochs=40),
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="auto", metavar="SOURCE", help=f"{experiment.FOLDER} (default: auto)")
    parser.add_argument("--candidates", nargs="+", metavar="NAME", choices=[one.name for one in CANDIDATES],
                        default=[one.name for one in CANDIDATES], help="only these (default: all)")
    parser.add_argument("--seeds", type=positive(int), default=SEEDS, help=f"seeds, from 0 (default: {SEEDS})")
    parser.add_argument("--side", type=pneumonia_cnn_lstm.side, default=SIDE,
                        help=f"side of an image in pixels (default: {SIDE})")
    parser.add_argument("--epochs", type=positive(int), help="passes over the images (default: those of the candidate)")
    parser.add_argument("--begun", type=Path, metavar="FILE", help="a selection.json, to go on from its trials")
    parser.add_argument("--out", type=Path, default=Path("runs/xray_selection"), metavar="FOLDER",
                        help="output folder (default: runs/xray_selection)")
    return command.run(work, parser.parse_args(arguments))


def work(options: argparse.Namespace) -> None:
    def generate(place: Path) -> Path:
        return tn.data.write_chest_xray_stand_in(place, size=options.side, seed=0)

    root = experiment.source(options, "chest_xray", generate)
    scanned = tn.data.scan_folder(root / "train" if (root / "train").is_dir() else root)  # leaves the test part alone
    say(scanned.report())
    kinds = np.array([kind_of(name) for name in scanned.names])
    names = [(normal, sick) for normal in KINDS["NORMAL"] for sick in KINDS["PNEUMONIA"]]
    read = lru_cache(maxsize=1)(lambda side: scanned.images(side).in_memory())
    chosen = [one.changed(one.name, one.change, net={"size": options.side}, epochs=options.epochs or one.recipe.epochs)
              for one in CANDIDATES if one.name in options.candidates]
    if options.begun:
        selection.restore(options.begun, options.out)

    def trials_of(one: Candidate, seed: int) -> list[Trial]:
        return [Trial(one, xray_net, partial(fold, scanned, read, kinds, *kind, side=one.net["size"]), "_".join(kind),
                      seed) for kind in names]

    search = selection.Search(EXPERIMENT, options.out, trials_of, range(options.seeds))
    found = search.halved(chosen, selection.gaining)
    complete = len(chosen) == len(CANDIDATES)
    best = selection.combined(chosen, found) if complete else None
    if best:
        say(f"combined: {best.change}")
        larger = [best.changed(f"{best.name}_{side}", f"{best.change}; {side} pixels", net={"size": side})
                  for side in LARGER]
        search.halved([best, *larger], selection.highest)
    finished = complete and (options.epochs, options.side, options.seeds) == (None, SIDE, SEEDS)
    say(f"{selection.report(EXPERIMENT, options.out, finished=finished)}\nwritten: {options.out / 'selection.md'}")


def kind_of(name: str) -> str:
    """The kind of an image by the name of its file. Errors: DataError for a name without one.

    >>> kind_of("NORMAL/NORMAL2-IM-0383-0001.jpeg"), kind_of("PNEUMONIA/person1003_virus_1685.jpeg")
    ('NORMAL2', 'virus')
    """
    file = name.rpartition("/")[2]
    for kind in KINDS["PNEUMONIA"]:
        if f"_{kind}_" in file:
            return kind
    if file.startswith(("NORMAL2-IM-", "IM-")):
        return file.partition("-")[0]
    raise DataError(f"xray_selection: {name} must name its kind, as IM-..., NORMAL2-IM-..., person1_bacteria_... or "
                    "person1_virus_... do; is this Kaggle's chest-xray-pneumonia?")


def fold(scanned: tn.data.ImageFolder, read: Callable[[int], np.ndarray], kinds: np.ndarray, normal: str, sick: str, *,
         side: int) -> Fold:
    """Train on two kinds, validate on the others without the numbers of the training part. `read(side)`: all images."""
    assert scanned.groups is not None
    training = np.isin(kinds, (normal, sick))
    validation = ~training & ~np.isin(scanned.groups, scanned.groups[training])
    for part, name in ((training, "to train on"), (validation, "to validate on")):
        if len(np.unique(scanned.labels[part])) < 2:
            raise DataError(f"xray_selection: {scanned.root} must hold images of both classes {name} for {normal} and "
                            f"{sick}, and holds none; a larger part of the set?")
    images = read(side)
    return Fold(*((images[part], scanned.labels[part]) for part in (training, validation)))


if __name__ == "__main__":
    sys.exit(main())
