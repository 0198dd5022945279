"""CNN + LSTM on chest X-rays by the recipe that `xray_selection.py` chose; five seeds.

    python examples/pneumonia_selected.py --data XRAY_FOLDER
    python examples/pneumonia_selected.py --data stand-in --size 48 --epochs 2 --seed 0

The recipe is read from the published trials, `examples/results/selection/xray_selection.json`, by the rule that was
fixed before them. Validation is a twentieth of the training part, since nothing is chosen on it. The rest is as in
`pneumonia_cnn_lstm.py`: the test part is evaluated once in each run, and an image counts as PNEUMONIA if its
probability is above 0.5. `paper/nets.py` holds the network; `tn.load(path, modules=[Standardise])` reads its file.

After an interruption, the same command continues. Written to --out: a JSON file and a model for each run, and figures:
errors over the epochs, confusion matrices as heat maps, ROC curves, and the worst mistakes of the first seed.

Not a diagnostic tool. Exit codes: 0 done, 1 an error in the data or a file, 2 in an option or the device, 130 ended by
Ctrl-C, 143 by SIGTERM.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import pneumonia_cnn_lstm
import xray_selection
from paper import experiment, selection
from paper.nets import xray_net
from pneumonia_cnn_lstm import Setup

EXPERIMENT = "pneumonia_selected"
TRIALS = Path(__file__).resolve().parent / "results" / "selection" / "xray_selection.json"
VALIDATION = 0.05  # of the training part


def main(arguments: list[str] | None = None) -> int:
    parser = experiment.parser(EXPERIMENT, __doc__, data=experiment.FOLDER)
    parser.add_argument("--size", type=pneumonia_cnn_lstm.side,
                        help="image side in pixels (default: that of the recipe)")
    return experiment.main(parser, work, arguments)


def work(options: argparse.Namespace) -> None:
    made = setup(TRIALS)
    options.size = options.size or made.side
    pneumonia_cnn_lstm.work(made, options)


def setup(trials: Path) -> Setup:
    """The experiment with the recipe that was chosen. Errors: DataError without the trials."""
    best = selection.chosen(selection.published(trials, xray_selection.EXPERIMENT))
    net = dict(best.net)
    side = net.pop("size")
    return Setup(EXPERIMENT, "xray_net", partial(xray_net, **net), best.recipe, side, VALIDATION)


if __name__ == "__main__":
    sys.exit(main())
