"""A committee of LSTM-CNN networks on MNIST, as the paper proposes for hard problems: ten seeds, one vote.

    python examples/mnist_committee.py
    python examples/mnist_committee.py --members 35
    python examples/mnist_committee.py --data digits --epochs 2 --members 3

The members differ only in their seed: initial weights, order of the images, and random augmentation. The committee
chooses the class with the highest mean probability. It consists of all members that were trained, without a selection.
--seed S trains only the member with that seed. After an interruption, the same command continues. Without MNIST,
scikit-learn's small digits are used, and the report says so.

Written to --out: a JSON file and a model for each member, mnist_committee_size.png and .svg (accuracy against size),
disagreement.png (the test images that the members disagree about most).

Exit codes: 0 done, 1 an error in the data or a file, 2 in an option or the device, 130 ended by Ctrl-C, 143 by SIGTERM.
"""

import argparse
import sys
from collections.abc import Sequence

import models
import numpy as np
from command import positive
from mnist_deep import AUGMENT
from paper import experiment
from paper.experiment import Data, Job, Recipe
from paper.reporting import figures, report
from paper.reporting.committees import committee_of
from paper.reporting.records import Record
from paper.reporting.tables import subject

from tinynet.output import say

EXPERIMENT = "mnist_committee"
MEMBERS = 10
RECIPE = Recipe(epochs=40, augment=AUGMENT)
SHOWN = 25  # images in disagreement.png


def main(arguments: list[str] | None = None) -> int:
    parser = experiment.parser(EXPERIMENT, __doc__, data=experiment.DIGITS, seeds=MEMBERS, counted="member's seed")
    parser.add_argument("--members", type=positive(int), help=f"number of networks (default: {MEMBERS})")
    return experiment.main(parser, work, arguments)


def work(options: argparse.Namespace) -> None:
    data = experiment.mnist(options)
    jobs = [Job("lstm_cnn", models.lstm_cnn, seed, data, RECIPE, probabilities=True) for seed in options.seeds]
    members = experiment.run_all(jobs, options)
    report.show(EXPERIMENT, members, options.out)
    if len(members) > 1:
        draw_disagreement(members, data, options)


def draw_disagreement(members: Sequence[Record], data: Data, options: argparse.Namespace) -> None:
    """Draw the test images that the members disagree about most, with their votes."""
    votes = votes_of(members)
    right = (committee_of(members).predicted == data.test[1]).mean()
    say(f"the {len(members)} members together: test accuracy {100 * right:.2f} %")
    order = most_disputed(votes)[:SHOWN]
    together = committee_of(members).predicted
    lines = []
    for index in order:
        said = ", ".join(f"{data.classes[k]} ({votes[index, k]})" for k in np.argsort(-votes[index], kind="stable")
                         if votes[index, k])
        lines.append(f"image {index}, true {data.classes[data.test[1][index]]}\n{said}\n"
                     f"together: {data.classes[together[index]]}")
    disputed = int((votes.max(axis=1) < len(members)).sum())
    say(f"the {len(members)} members disagree about {disputed:,} of {len(votes):,} test images")
    if figures.available():
        figures.images(options.out / "disagreement.png", [data.test[0][index] for index in order], lines,
                       title=f"{subject(members, 'MNIST')}: what {len(members)} LSTM-CNN networks disagree about most\n"
                             f"({disputed:,} of {len(votes):,} test images; in brackets, the number of votes)")
        say(f"drawn: {options.out / 'disagreement.png'}")


def votes_of(members: Sequence[Record]) -> np.ndarray:
    """int64 (N, K): the number of members that predict class k for image n."""
    said = np.stack([member.predicted for member in members])  # (M, N)
    return np.stack([(said == k).sum(axis=0) for k in range(len(members[0]["classes"]))], axis=1)


def most_disputed(votes: np.ndarray) -> np.ndarray:
    """The images without a unanimous vote, sorted by the number of votes for the first choice, fewest first."""
    order = np.argsort(votes.max(axis=1), kind="stable")
    return order[votes.max(axis=1)[order] < votes[0].sum()]


if __name__ == "__main__":
    sys.exit(main())
