"""The paper's table I on MNIST: LSTM-CNN, CNN-LSTM, LSTM and CNN under equal conditions, five seeds.

    python examples/mnist_table1.py                      # 20 runs, or those still missing: over an hour on two cores
    python examples/mnist_table1.py --seed 7 --out runs/mine
    python examples/mnist_table1.py --data digits --epochs 2 --seed 0

Does the paper's claim hold that the LSTM-CNN is better than the others? All four have the same number of parameters
within 10 %, and the same optimizer, schedule, batches, epochs and augmentation, chosen on validation images. McNemar's
test compares them on the test images, which are evaluated once in each run.

After an interruption, the same command continues. Without MNIST, scikit-learn's small digits are used, and the report
says so. Written to --out: a JSON file and a model for each run, mnist_table1_error.png and .svg (training and
validation error over the epochs).

Exit codes: 0 done, 1 an error in the data or a file, 2 in an option or the device, 130 ended by Ctrl-C, 143 by SIGTERM.
"""

import argparse
import sys

import models
from paper import experiment
from paper.experiment import Job, Recipe
from paper.reporting import report

EXPERIMENT = "mnist_table1"
MODELS = ("lstm_cnn", "cnn_lstm", "lstm", "cnn")
RECIPE = Recipe(epochs=20, augment={"shift": 0.07, "rotate": 8.0, "scale": 0.08})


def main(arguments: list[str] | None = None) -> int:
    return experiment.main(experiment.parser(EXPERIMENT, __doc__, data=experiment.DIGITS), work, arguments)


def work(options: argparse.Namespace) -> None:
    data = experiment.mnist(options)
    jobs = [Job(name, getattr(models, name), seed, data, RECIPE) for seed in options.seeds for name in MODELS]
    report.show(EXPERIMENT, experiment.run_all(jobs, options), options.out)


if __name__ == "__main__":
    sys.exit(main())
