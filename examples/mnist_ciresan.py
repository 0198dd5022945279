"""A committee of 35 networks on MNIST that see the digits differently, as Ciresan built it in 2012.

    python examples/mnist_ciresan.py                              # 35 runs, or those still missing: some hours
    python examples/mnist_ciresan.py --only cnn_lstm_w10          # only this member
    python examples/mnist_ciresan.py --data digits --epochs 1 --limit 64

Seven widths (the digits' own, and 10 to 20 pixels), and five members for each: an LSTM-CNN, a CNN-LSTM, an LSTM-CNN
that reads columns, and the first two again on digits that are sheared upright. The members and their seeds were fixed
before the first run, and none is left out. The committee chooses the class with the highest mean probability. A saved
member takes images as its view shows them: `paper/views.py`.

After an interruption, the same command continues. Without MNIST, scikit-learn's small digits are used, and the report
says so. Written to --out: a JSON file and a model for each member, figures: accuracy against size, and the test images
that all members get wrong.

Exit codes: 0 done, 1 an error in the data or a file, 2 in an option or the device, 130 ended by Ctrl-C, 143 by SIGTERM.
"""

import argparse
import sys
from dataclasses import replace

from mnist_deep import AUGMENT
from paper import experiment
from paper.experiment import Data, Job, Recipe
from paper.reporting import report
from paper.views import MEMBERS, View

EXPERIMENT = "mnist_ciresan"
RECIPE = Recipe(epochs=40, augment=AUGMENT)
SEEDS = 5  # of one committee


def main(arguments: list[str] | None = None) -> int:
    parser = experiment.parser(EXPERIMENT, __doc__, data=experiment.DIGITS, seeds=1, counted="committee's seed")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[one.name for one in MEMBERS],
                        default=[one.name for one in MEMBERS], help="only these members (default: all 35)")
    return experiment.main(parser, work, arguments)


def work(options: argparse.Namespace) -> None:
    data, done = experiment.mnist(options), []
    chosen = [one for one in MEMBERS if one.name in options.only]
    for view in dict.fromkeys(one.view for one in chosen):
        shown = seen(data, view)
        done += experiment.run_all([Job(one.name, one.make, SEEDS * options.seeds[0] + one.seed, shown, RECIPE,
                                        probabilities=True) for one in chosen if one.view == view], options)
    report.show(EXPERIMENT, done, options.out)


def seen(data: Data, view: View) -> Data:
    """The data in a view."""
    return replace(data, **{part: (view(images), labels) for part in ("train", "validation", "test")
                            for images, labels in [getattr(data, part)]})


if __name__ == "__main__":
    sys.exit(main())
