"""Text and figures of the experiments on MNIST: table I, the deep LSTM-CNN, the committee."""

from collections.abc import Mapping, Sequence
from functools import partial

from paper.reporting import figures
from paper.reporting.committees import SUBSETS, Committee, committees
from paper.reporting.curves import error_curves
from paper.reporting.figures import Drawing, Figures
from paper.reporting.goals import CIRESAN, COMMITTEE_AIM
from paper.reporting.grouping import Runs
from paper.reporting.records import Record
from paper.reporting.tables import accuracies, comparisons, interval, listed, percent, reached, spread, subject, table
from tinynet.intervals import mean_of, wilson


def table1(runs: Runs) -> str:
    own = runs["mnist_table1"]
    return f"{accuracies('mnist_table1', own)}\n\n{comparisons('mnist_table1', own)}"


def table1_figures(runs: Runs) -> Figures:
    return {"mnist_table1_error": error_curves(runs["mnist_table1"], title="MNIST")}


def deep(runs: Runs, experiment: str = "mnist_deep") -> str:
    return accuracies(experiment, runs[experiment])


def deep_figures(runs: Runs, experiment: str = "mnist_deep") -> Figures:
    return {f"{experiment}_error": error_curves(runs[experiment], title="MNIST, deep LSTM-CNN")}


def committee(runs: Runs) -> str:
    found = committees(runs)
    sizes = max(len(one.mean) for one in found.values())
    against = [[str(size), *(percent(float(one.mean[size - 1])) if size <= len(one.mean) else ""
                             for one in found.values())] for size in range(1, sizes + 1)]
    return "\n\n".join([
        f"{CHOICE} {members_alone(runs['mnist_committee'])} {peers()}", all_together(found, COMMITTEE_AIM),
        f"Mean test accuracy of committees by size, over all choices of members, or {SUBSETS} random ones:",
        table(["size", *found], against)])


CHOICE = ("A committee chooses the class with the highest mean of its members' probabilities. It consists of all "
          "networks that were trained; this was fixed before the test images were evaluated.")


def peers() -> str:
    return f"Ciresan: {', '.join(f'{value:g} % ({name})' for name, value in CIRESAN.items())}."


def all_together(found: Mapping[str, Committee], aim: float) -> str:
    """A table of committees with all of their members."""
    rows = []
    for name, one in found.items():
        right, n = int((one.predicted == one.labels).sum()), len(one.labels)
        rows.append([name, str(len(one.mean)), percent(float(one.mean[0])), percent(right / n),
                     interval(wilson(right, n)), f"{n - right:,}", reached(100 * right / n, aim)])
    return table(["members", "number", "one network, mean", "all together", "95 % interval (Wilson)", "wrong", "aim"],
                 rows)


def members_alone(runs: Sequence[Record]) -> str:
    mean, ends = spread(mean_of(run.accuracy for run in runs), len(runs))
    return f"Each alone, the LSTM-CNN networks reach {mean} % ({ends})."


def committee_figures(runs: Runs) -> Figures:
    title = f"{subject(runs['mnist_committee'], 'MNIST')}: committees of LSTM-CNN networks"
    return {"mnist_committee_size": against_size(committees(runs), title)}


def against_size(found: Mapping[str, Committee], title: str) -> Drawing:
    """The figure of accuracy against size."""
    kinds = {name: (one.mean, one.low, one.high) for name, one in found.items()}
    gains = [f"{percent(float(one.mean[0]))} % with one network to {percent(float(one.mean[-1]))} % with "
             f"{len(one.mean)} ({name})" for name, one in found.items()]
    caption = ("Lines are means over committees of one size, in bands from the lowest to the highest; the largest "
               f"committee is the only one of its size. What to see: accuracy goes from {listed(gains)}.")
    return Drawing(partial(figures.against_size, kinds=kinds, title=title), caption)
