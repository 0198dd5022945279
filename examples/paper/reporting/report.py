"""The text and figures of each experiment, for RESULTS.md, and a short table for the end of its script."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from paper.reporting import ciresan, digits, figures, idc, xrays
from paper.reporting.figures import Figures
from paper.reporting.grouping import Runs, title
from paper.reporting.records import Record
from paper.reporting.tables import conditions, short, warning
from paper.views import MEMBERS
from tinynet.atomic import write_whole
from tinynet.output import say


@dataclass(frozen=True)
class Section:
    """The text and figures of an experiment, and the names of its models."""

    title: str
    models: tuple[str, ...]
    text: Callable[[Runs], str]
    figures: Callable[[Runs], Figures]


SECTIONS = {
    "mnist_table1": Section("MNIST, the paper's table I", ("lstm_cnn", "cnn_lstm", "lstm", "cnn"),
                            digits.table1, digits.table1_figures),
    "mnist_deep": Section("MNIST, two more LSTM-CNN layers", ("deep_lstm_cnn",),
                          digits.deep, digits.deep_figures),
    "mnist_deep_selected": Section("MNIST, two more LSTM-CNN layers, the selected recipe", ("deep_net",),
                                   partial(digits.deep, experiment="mnist_deep_selected"),
                                   partial(digits.deep_figures, experiment="mnist_deep_selected")),
    "mnist_committee": Section("MNIST, a committee of LSTM-CNN networks", ("lstm_cnn",),
                               digits.committee, digits.committee_figures),
    "mnist_ciresan": Section("MNIST, a committee that sees the digits differently",
                             tuple(member.name for member in MEMBERS), ciresan.ciresan, ciresan.ciresan_figures),
    "idc_table2": Section("IDC, the paper's table II", ("idc_lstm_cnn", "idc_lstm", "idc_cnn"),
                          idc.idc, idc.idc_figures),
    "pneumonia_cnn_lstm": Section("Chest X-rays, CNN + LSTM", ("pneumonia_cnn_lstm",),
                                  xrays.pneumonia, xrays.pneumonia_figures),
    "pneumonia_selected": Section("Chest X-rays, the selected recipe", ("xray_net",),
                                  partial(xrays.pneumonia, experiment="pneumonia_selected"),
                                  partial(xrays.pneumonia_figures, experiment="pneumonia_selected"))}


def section(experiment: str, runs: Runs) -> str:
    """The text of one experiment, without figures."""
    own = list(runs[experiment])
    return f"{warning(own)}{conditions(own)}\n\n{SECTIONS[experiment].text(runs)}"


def draw(experiment: str, runs: Runs, folder: Path) -> list[Path]:
    """Draw the figures of an experiment. Returns the paths of those that are there; none without matplotlib."""
    made = SECTIONS[experiment].figures(runs) if figures.available() else {}
    for name, one in made.items():
        one.paint(folder / f"{name}.png")
    return [path for name in made if (path := folder / f"{name}.png").exists()]


def show(experiment: str, own: Sequence[Record], folder: Path) -> None:
    """Print the test accuracy of each model. Write the text of the experiment, and draw its figures, in the folder."""
    runs, text = {experiment: own}, folder / "results.md"
    write_whole(text, f"# {SECTIONS[experiment].title}\n\n{section(experiment, runs)}\n".encode())
    if said := warning(own):
        say(f"\n{said.strip().strip('*')}")
    say(f"\n{short(own)}\n\nwritten: {text}, with intervals, comparisons and conditions")
    drawn = ", ".join(map(str, draw(experiment, runs, folder)))
    say(f"drawn: {drawn}" if drawn else
        "matplotlib is not installed, so the figures are left out: pip install matplotlib")
    say(f"The runs and their models are in {folder}. To use one: python -m tinynet predict "
        f"{folder / title(own[0])}.safetensors IMAGE...")
