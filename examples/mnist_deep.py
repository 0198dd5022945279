"""The paper's full run on MNIST: the LSTM-CNN with two more LSTM-CNN layers, with augmentation, five seeds.

    python examples/mnist_deep.py
    python examples/mnist_deep.py --seed 7 --out runs/mine
    python examples/mnist_deep.py --data digits --epochs 2 --seed 0

Training images are shifted, rotated, scaled, sheared and bent at random. After an interruption, the same command
continues. Without MNIST, scikit-learn's small digits are used, and the report says so. Written to --out: a JSON file
and a model for each run, mnist_deep_error.png and .svg (training and validation error over the epochs).

Exit codes: 0 done, 1 an error in the data or a file, 2 in an option or the device, 130 ended by Ctrl-C, 143 by SIGTERM.
"""

import argparse
import sys

import models
from paper import experiment
from paper.experiment import Job, Recipe
from paper.reporting import report

EXPERIMENT = "mnist_deep"
AUGMENT = {"shift": 0.08, "rotate": 12.0, "scale": 0.12, "shear": 8.0, "elastic": 0.03}
RECIPE = Recipe(epochs=40, peak=2e-3, augment=AUGMENT)


def main(arguments: list[str] | None = None) -> int:
    return experiment.main(experiment.parser(EXPERIMENT, __doc__, data=experiment.DIGITS), work, arguments)


def work(options: argparse.Namespace) -> None:
    data = experiment.mnist(options)
    jobs = [Job("deep_lstm_cnn", models.deep_lstm_cnn, seed, data, RECIPE, probabilities=True)
            for seed in options.seeds]
    report.show(EXPERIMENT, experiment.run_all(jobs, options), options.out)


if __name__ == "__main__":
    sys.exit(main())
