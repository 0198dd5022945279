"""Text and figures of the committee whose members see the digits differently."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

import tinynet as tn
from paper.reporting import figures
from paper.reporting.committees import SUBSETS, Committee, committee_of
from paper.reporting.digits import CHOICE, against_size, all_together, peers
from paper.reporting.figures import Drawing, Figures
from paper.reporting.goals import CIRESAN_AIM, NAMES
from paper.reporting.grouping import Runs, by_model
from paper.reporting.records import Record
from paper.reporting.tables import percent, subject, table
from paper.views import MEMBERS

SHOWN = 25  # images in the figure
SIZES = (1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 35)  # in the table
KINDS = {"LSTM-CNN": "lstm_cnn", "CNN-LSTM": "cnn_lstm"}


def members(runs: Runs) -> list[Record]:
    """All members, in the order of their names."""
    return [run for some in by_model(runs["mnist_ciresan"]).values() for run in some]


def found(runs: Runs) -> dict[str, Committee]:
    """The committees of the members of each architecture, and of all."""
    own = members(runs)
    parts = {name: [run for run in own if run["model"].startswith(f"{start}_")] for name, start in KINDS.items()}
    made = {name: committee_of(some) for name, some in parts.items() if 0 < len(some) < len(own)}
    return {**made, "all": committee_of(own)}


def ciresan(runs: Runs) -> str:
    own, committees = members(runs), found(runs)
    every = committees["all"]
    sizes = [[str(size), *(percent(float(ends[size - 1])) for ends in (every.mean, every.low, every.high))]
             for size in SIZES if size <= len(own)]
    wrong = all_wrong(own)
    hard = [[str(index), own[0]["classes"][own[0].labels[index]],
             ", ".join(f"{own[0]['classes'][k]} ({count})" for k, count in votes(own, index).items())]
            for index in wrong]
    return "\n\n".join([
        f"{unfinished(own)}{CHOICE} {peers()}", all_together(committees, CIRESAN_AIM),
        "Test accuracy of each member, by the width of the digits that it sees, in pixels, and its kind:",
        by_view(own),
        f"Test accuracy of committees by size: mean, lowest and highest, over {SUBSETS} random choices of members:",
        table(["size", "mean", "lowest", "highest"], sizes),
        f"{len(wrong):,} of {own[0].images:,} test images {are(wrong)} wrong for all members:" if len(wrong) else
        "No test image is wrong for all members.",
        *([table(["test image", "true", "said by (members)"], hard)] if len(wrong) else [])])


def unfinished(own: Sequence[Record]) -> str:
    """A warning if members are missing, or ""."""
    missing = len(MEMBERS) - len(own)
    return f"**Unfinished: {missing} of {len(MEMBERS)} members are still missing.** " if missing else ""


def by_view(own: Sequence[Record]) -> str:
    """The accuracies of the members, a row for each width and a column for each kind."""
    alone, rows = {run["model"]: percent(run.accuracy) for run in own}, dict[str, dict[str, str]]()
    for member in MEMBERS:
        view = member.view
        kind = NAMES[member.architecture] + ", deskewed" * view.deskewed + ", by columns" * view.by_columns
        if member.name in alone:
            rows.setdefault(f"{view.width} px" if view.width else "own", {})[kind] = alone[member.name]
    kinds = sorted({kind for row in rows.values() for kind in row})
    return table(["width", *kinds], [[width, *(row.get(kind, "") for kind in kinds)] for width, row in rows.items()])


def all_wrong(own: Sequence[Record]) -> np.ndarray:
    """The indices of the test images that all members get wrong."""
    return np.flatnonzero(np.all([run.predicted != run.labels for run in own], axis=0))


def are(wrong: np.ndarray) -> str:
    """The verb for a number of images."""
    return "is" if len(wrong) == 1 else "are"


def votes(own: Sequence[Record], index: int) -> Mapping[int, int]:
    """The number of members that choose each class for an image, the most first."""
    counts = np.bincount([run.predicted[index] for run in own])
    return {int(k): int(counts[k]) for k in np.argsort(-counts, kind="stable") if counts[k]}


def ciresan_figures(runs: Runs) -> Figures:
    own, what = members(runs), subject(runs["mnist_ciresan"], "MNIST")
    wrong = all_wrong(own)
    title = (f"{what}: test images that all {len(own)} members get wrong" if len(wrong) else
             f"{what}: no test image is wrong for all {len(own)} members")
    return {
        "mnist_ciresan_size": against_size(found(runs), f"{what}: networks that see the digits differently"),
        "mnist_ciresan_wrong": Drawing(
            partial(draw_wrong, own=own, title=title),
            "Above each image, its true class, and what the members say, with their number. What to see: "
            f"{len(wrong):,} of {own[0].images:,} images {are(wrong)} wrong for all members"
            + f"; the first {SHOWN} are shown" * (len(wrong) > SHOWN) + ".")}


def draw_wrong(path: Path, own: Sequence[Record], title: str) -> None:
    """Draw the images that all members get wrong. Without the data of the runs, an older figure stays."""
    images = test_images(own[0])
    if images is not None:
        wrong, classes = all_wrong(own)[:SHOWN], own[0]["classes"]
        said = [f"image {index}, true {classes[own[0].labels[index]]}\n" + ", ".join(
            f"{classes[k]} ({count})" for k, count in votes(own, index).items()) for index in wrong]
        figures.images(path, [images[index] for index in wrong], said, title=title, vector=True)


def test_images(run: Record) -> np.ndarray | None:
    """The test images of a run, uint8 (N, H, W), if they are on this machine."""
    folder = tn.data.find_mnist()
    if run["data"]["stand_in"]:
        data = tn.data.load_digits()
    elif folder is not None:
        data = tn.data.load_mnist(folder)
    else:
        return None
    return data.test_images if np.array_equal(data.test_labels, run.labels) else None
