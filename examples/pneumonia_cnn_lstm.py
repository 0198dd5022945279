"""CNN + LSTM on chest X-rays: NORMAL or PNEUMONIA? 224 x 224 x 3, 20 epochs, 20 % validation, five seeds.

    python examples/pneumonia_cnn_lstm.py --data XRAY_FOLDER
    python examples/pneumonia_cnn_lstm.py --data XRAY_FOLDER --size 96 --seed 0 --out runs/quick
    python examples/pneumonia_cnn_lstm.py --data stand-in --size 48 --epochs 2 --seed 0

XRAY_FOLDER holds train/CLASS/*.jpeg and test/CLASS/*.jpeg, as on Kaggle ("paultimothymooney/chest-xray-pneumonia").
Validation is a fifth of the training part, by the patients' numbers in the file names. The test part is used as it is,
and is evaluated once in each run. An image counts as PNEUMONIA if its probability is above 0.5; this rule was fixed
beforehand.
Without data ($TINYNET_DATA/chest_xray), images in the same layout are generated, and the report says so.

After an interruption, the same command continues. Written to --out: a JSON file and a model for each run, and figures:
errors over the epochs, the confusion matrix as a heat map, ROC curves, and the worst mistakes of the first seed.

Not a diagnostic tool. Exit codes: 0 done, 1 an error in the data or a file, 2 in an option or the device, 130 ended by
Ctrl-C, 143 by SIGTERM.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import models
import numpy as np
from command import positive
from paper import experiment
from paper.experiment import Data, Job, Recipe
from paper.reporting import figures, report
from paper.reporting.records import Record
from paper.reporting.tables import subject

import tinynet as tn
from tinynet.output import say

EXPERIMENT = "pneumonia_cnn_lstm"
RECIPE = Recipe(epochs=20, batch_size=32, peak=1e-3, max_norm=1.0,
                augment={"shift": 0.08, "rotate": 10.0, "scale": 0.12, "shear": 5.0, "contrast": 0.3,
                         "brightness": 0.1})
SIDE, SMALLEST, LARGEST = 224, 32, 512  # pixels
SHOWN = 25  # images in mistakes.png


@dataclass(frozen=True)
class Setup:
    """An experiment on chest X-rays: its name, that of its model, the recipe.

    make         make(size=) returns the model for images of `size` pixels
    side         of the images by default
    validation   the share of the training part that is validated on
    """

    experiment: str
    model: str
    make: Callable[..., tn.nn.Sequential]
    recipe: Recipe
    side: int = SIDE
    validation: float = experiment.VALIDATION["folder"]


PROJECT = Setup(EXPERIMENT, "pneumonia_cnn_lstm", models.pneumonia_cnn_lstm, RECIPE)


def main(arguments: list[str] | None = None, setup: Setup = PROJECT, text: str | None = __doc__) -> int:
    parser = experiment.parser(setup.experiment, text, data=experiment.FOLDER)
    parser.add_argument("--size", type=side, default=setup.side, help=f"image side in pixels (default: {setup.side})")
    return experiment.main(parser, partial(work, setup), arguments)


def side(text: str) -> int:
    size: int = positive(int)(text)
    if not SMALLEST <= size <= LARGEST:
        raise argparse.ArgumentTypeError(f"must be in [{SMALLEST}, {LARGEST}], got {size}")
    return size


def work(setup: Setup, options: argparse.Namespace) -> None:
    def generate(place: Path) -> Path:
        return tn.data.write_chest_xray_stand_in(place, size=options.size, seed=0)

    data = experiment.folder(options, "chest_xray", options.size, generate, validation=setup.validation)[0]
    make = partial(setup.make, size=options.size)
    jobs = [Job(setup.model, make, seed, data, setup.recipe) for seed in options.seeds]
    runs = experiment.run_all(jobs, options)
    report.show(setup.experiment, runs, options.out)
    draw_mistakes(runs[0], data, options)


def draw_mistakes(run: Record, data: Data, options: argparse.Namespace) -> None:
    """Draw the wrong predictions of the highest probability, with their test images."""
    order, wrong = worst(run)[:SHOWN], int((run.labels != run.predicted).sum())
    if figures.available():
        titles = [f"{data.classes[run.labels[index]]}, taken for\n{data.classes[run.predicted[index]]} "
                  f"({abs(run.scores[index] - 1 + run.predicted[index]):.1%})" for index in order]
        figures.images(options.out / "mistakes.png", [data.test[0][int(index)] for index in order], titles,
                       title=f"CNN + LSTM on {subject([run], 'chest X-rays')}, seed {run['seed']}: the surest of its "
                             f"{wrong:,} mistakes on {run.images:,} test images.\nNot a diagnostic tool.")
        say(f"drawn: {options.out / 'mistakes.png'}")


def worst(run: Record) -> np.ndarray:
    """The indices of the wrongly predicted test images, the highest probability first."""
    wrong = np.flatnonzero(run.predicted != run.labels)
    return wrong[np.argsort(-np.abs(run.scores[wrong] - 0.5), kind="stable")]


if __name__ == "__main__":
    sys.exit(main())
