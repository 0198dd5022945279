"""The tables of a selection: what was measured of candidates on the same folds with the same seeds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from paper.reporting.tables import percent, table
from tinynet.intervals import mean_of

AVERAGE, VIEWS = 5, 4  # epochs and views of the variants
VARIANTS = {"last": (False, False), "views": (False, True), "average": (True, False), "average, views": (True, True)}
BASE = "base"  # the name of the candidate that the others are compared with
MEASURES = ("accuracy", "balanced accuracy", "sensitivity", "specificity", "AUC", "calibration error", "loss")
RULES = {"equal classes": "", "the share in training": "trained ",
         "the share that is estimated on the images": "estimated "}  # the prior, and how its measures are called


def score(measured: Mapping[str, float]) -> float:
    return (measured["balanced accuracy"] + measured["AUC"]) / 2 if "AUC" in measured else measured["accuracy"]


def by_candidate(trials: Iterable[Mapping[str, Any]]) -> dict[str, dict[tuple[str, int], Mapping[str, Any]]]:
    """The trials of each candidate, by fold and seed."""
    of: dict[str, dict[tuple[str, int], Mapping[str, Any]]] = {}
    for trial in trials:
        of.setdefault(trial["candidate"], {})[trial["fold"], trial["seed"]] = trial
    return of


def gains_of(some: Mapping[tuple[str, int], Any], base: Mapping[tuple[str, int], Any]) -> list[float]:
    """The differences of scores on the folds and seeds that both have."""
    return [score(trial["measured"]["last"]) - score(base[key]["measured"]["last"]) for key, trial in some.items()
            if key in base]


def markdown(trials: Iterable[Mapping[str, Any]]) -> str:
    """The tables of some trials: candidates against BASE, variants, and priors."""
    of, rows = by_candidate(trials), []
    known = [name for name in MEASURES if all(name in trial["measured"]["last"] for some in of.values()
                                              for trial in some.values())]
    for name, some in of.items():
        measured = [trial["measured"]["last"] for trial in some.values()]
        means = [float(np.mean([one[measure] for one in measured])) for measure in known]
        first = next(iter(some.values()))
        rows.append((float(np.mean([score(one) for one in measured])), [
            name, first["change"], f"{first['parameters']:,}", str(len(some)), *map(percent, means),
            percent(float(np.mean([score(one) for one in measured]))), _difference(gains_of(some, of.get(BASE, {})))]))
    ordered = [row for _, row in sorted(rows, key=lambda row: -row[0])]
    everything = [trial["measured"] for some in of.values() for trial in some.values()]
    variants = [[variant, _difference([score(one[variant]) - score(one["last"]) for one in everything])]
                for variant in VARIANTS]
    has_priors = "AUC" in known
    rules = [[rule, *(percent(float(np.mean([one["last"][f"{key}{measure}"] for one in everything])))
                      for measure in MEASURES[:2])] for rule, key in RULES.items() if has_priors]
    meaning = ("after a correction to equal classes. The score is the mean of balanced accuracy at 0.5 and AUC" if
               has_priors else "the loss times 100. The score is the accuracy")
    parts = [
        f"In percent, means over folds and seeds, {meaning}. The gain is the difference of scores to `{BASE}` on the "
        "same folds and seeds, ± its standard error.",
        table(["candidate", "change", "parameters", "trials", *known, "score", "gain"], ordered, words=(0, 1)),
        "Of all candidates, the gain of two means over the weights after the last epoch: of the weights of the last "
        f"{AVERAGE} epochs, and of {VIEWS} random views.",
        table(["variant", "gain"], variants)]
    if has_priors:
        parts += ["Of all candidates, by the prior that the probabilities are corrected to:",
                  table(["prior", *MEASURES[:2]], rules)]
    return "\n\n".join(parts) + "\n"


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """The mean of some values, and its standard error; 0 for one value."""
    found = mean_of(values)
    return found.mean, found.deviation / len(values) ** 0.5


def _difference(values: Sequence[float]) -> str:
    """A mean in points, ± its standard error."""
    if not values:
        return ""
    mean, error = mean_and_error(values)
    return f"{100 * mean:+.2f}" + f" ± {100 * error:.2f}" * (len(values) > 1)
