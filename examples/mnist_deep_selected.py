"""The deep LSTM-CNN on MNIST by the recipe that `mnist_selection.py` chose; five seeds.

    python examples/mnist_deep_selected.py
    python examples/mnist_deep_selected.py --data digits --epochs 2 --seed 0

The recipe is read from the published trials, `examples/results/selection/mnist_selection.json`, by the rule in
`mnist_selection.py`, which was fixed before the first of these runs. The rest is as in `mnist_deep.py`. After an
interruption, the same command continues. Written to --out: a JSON file and a model for each run,
mnist_deep_selected_error.png and .svg.

Exit codes: 0 done, 1 an error in the data or a file, 2 in an option or the device, 130 ended by Ctrl-C, 143 by SIGTERM.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from paper import experiment, selection
from paper.experiment import Job
from paper.nets import deep_net
from paper.reporting import report

EXPERIMENT = "mnist_deep_selected"
TRIALS = Path(__file__).resolve().parent / "results" / "selection" / "mnist_selection.json"


def main(arguments: list[str] | None = None) -> int:
    return experiment.main(experiment.parser(EXPERIMENT, __doc__, data=experiment.DIGITS), work, arguments)


def work(options: argparse.Namespace) -> None:
    best, data = selection.chosen(selection.published(TRIALS, "mnist_selection")), experiment.mnist(options)
    jobs = [Job("deep_net", partial(deep_net, **best.net), seed, data, best.recipe, probabilities=True)
            for seed in options.seeds]
    report.show(EXPERIMENT, experiment.run_all(jobs, options), options.out)


if __name__ == "__main__":
    sys.exit(main())
