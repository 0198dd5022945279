"""Runs as text in Markdown: how they were made, how good each model is, and which is better than which."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from goals import NAMES, PAPER, TARGETS
from grouping import Pooled, by_model, pooled
from intervals import LEVEL, Mean, mean_of, wilson
from pairs import Comparison, compare
from records import Record


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; all columns but the first are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(share: float) -> str:
    return f"{100 * share:.2f}"


def spread(found: Mean, runs: int, factor: float = 100, digits: int = 2) -> tuple[str, str]:
    """Mean and standard deviation, and the interval of the mean, as two cells."""
    mean, deviation, half = (factor * value for value in found)
    if runs < 2:
        return f"{mean:.{digits}f}", "one run"
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}", f"{mean - half:.{digits}f} to {mean + half:.{digits}f}"


def reached(value: float, target: float | None) -> str:
    """Whether a target was reached, all in percent."""
    if target is None:
        return ""
    return f">= {target:g}: {'reached' if value >= target else 'not reached'}"


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"


def conditions(runs: Sequence[Record]) -> str:
    """How the runs of a table were made, all of them alike."""
    settings, data = runs[0]["settings"], {run["fold"]: run["data"] for run in runs}
    augment = ", ".join(f"{name} {value}" for name, value in settings.get("augment", {}).items())
    clip = f", gradients clipped to {settings['max_norm']:g}" if settings.get("max_norm") else ""
    lines = [
        f"Conditions, equal in all runs: AdamW (weight decay {settings.get('weight_decay')}), one cycle of the "
        f"learning rate up to {settings.get('peak')}, batches of {settings.get('batch_size')}, "
        f"{settings.get('epochs')} epochs, label smoothing {settings.get('label_smoothing')}{clip}; training images "
        f"{f'changed at random ({augment})' if augment else 'as they are'}; the model after the last epoch.",
        *dict.fromkeys(f"Trained on {facts['train']:,} images, validated on {facts['validation']:,}, tested on "
                       f"{facts['test']:,}; {facts['parted']}." for facts in data.values())]
    seeds = ", ".join(map(str, sorted({run["seed"] for run in runs})))
    made = "; ".join(sorted({f"{run['hardware'].get('processor')} (device: {run['hardware'].get('device')})"
                             for run in runs}))
    commands = ", ".join(sorted({f"`{run['command']}`" for run in runs}))
    lines.append(f"Seeds {seeds}. Made on {made}, by {commands}.")
    return "\n".join(lines)


def warning(runs: Sequence[Record]) -> str:
    """What must be said before all else."""
    if any(run["data"]["stand_in"] for run in runs):
        return "**These are results on a STAND-IN for the data: they mean nothing.**\n\n"
    limit = runs[0]["settings"].get("limit")
    return f"**Trained on {limit:,} images only.**\n\n" if limit is not None else ""


def accuracies(experiment: str, runs: Sequence[Record]) -> str:
    """A row for each model: the paper's numbers and ours."""
    rows = []
    for model, some in by_model(runs).items():
        found = pooled(some)
        paper = PAPER.get((experiment, model))
        ours = mean_of(one.accuracy for one in found.values())
        last = [statistics.fmean(run["curves"][name][-1] for run in some)
                for name in ("train_accuracy", "validation_accuracy")]
        rows.append([NAMES.get(model, model), f"{some[0]['parameters']:,}",
                     *(f"{value:g}" for value in paper or ()), *([""] * (0 if paper else 2)), *map(percent, last),
                     *(spread(ours, len(found)) if len(found) > 1 else (percent(ours.mean), _wilson(found))),
                     reached(100 * ours.mean, TARGETS.get((experiment, model))),
                     minutes(statistics.fmean(run["seconds"] for run in some))])
    return table(["model", "parameters", "paper: training", "paper: validation", "training", "validation",
                  "test: mean ± sd", "95 % interval", "target", "time of a run"], rows)


def _wilson(found: Mapping[int, Pooled]) -> str:
    one = next(iter(found.values()))
    return " to ".join(map(percent, wilson(one.right, len(one.labels)))) + " (one run)"


def comparisons(runs: Sequence[Record]) -> str:
    """Each model against each other, and what that says about the paper's claim."""
    models = {model: pooled(some) for model, some in by_model(runs).items()}
    if len(models) < 2:
        return ""
    found = {pair: compare(models[pair[0]], models[pair[1]]) for pair in combinations(models, 2)}
    rows = []
    for (a, b), one in found.items():
        wins = [sum(test.p < 1 - LEVEL and sign * (test.only_first - test.only_second) > 0 for test in one.tests)
                for sign in (1, -1)]
        mean, half = 100 * one.difference.mean, 100 * one.difference.half
        only = [sum(counts) for counts in zip(*(test[:2] for test in one.tests), strict=True)]
        rows.append([f"{NAMES.get(a, a)} - {NAMES.get(b, b)}",
                     f"{mean:+.2f}" + (f" ± {half:.2f}" if len(one.tests) > 1 else ""), f"{only[0]:,} : {only[1]:,}",
                     ", ".join(f"{test.p:.2g}" for test in one.tests), f"{wins[0]} : {wins[1]} of {len(one.tests)}"])
    head = ["pair", "difference, points (95 %)", "only the first right : only the second",
            "McNemar's p, for each seed", "seeds with p < 0.05 for the first : the second"]
    first = next(iter(models))
    return "\n\n".join([table(head, rows), claim(first, {b: one for (a, b), one in found.items() if a == first})])


def claim(first: str, against: Mapping[str, Comparison]) -> str:
    """Whether the paper's claim holds, that its model is better than each of the others."""
    words = {1: "better than", 0: "not shown to be better or worse than", -1: "worse than"}
    said = []
    for verdict, phrase in words.items():
        names = [NAMES.get(name, name) for name, one in against.items() if one.verdict == verdict]
        if names:
            said.append(f"{phrase} {' and '.join(names)}")
    holds = all(one.verdict == 1 for one in against.values())
    return (f"Does the paper's claim hold, that the {NAMES.get(first, first)} is better than each of the others? "
            f"Under these equal conditions it {'does' if holds else 'does not'}: it is {', '.join(said)}.")
