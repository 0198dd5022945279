"""Runs as Markdown: conditions, accuracies, and comparisons of models."""

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from paper.reporting.goals import CLAIMED, NAMES, PAPER, TARGETS
from paper.reporting.grouping import by_model, incomplete, pooled, title
from paper.reporting.pairs import Comparison, compare
from paper.reporting.records import Record
from tinynet.intervals import LEVEL, Mean, mean_of, wilson
from tinynet.shown import table as aligned

NOT_REACHED = "not reached"
WORDS = {1: "better than", 0: "not shown to be better or worse than", -1: "worse than"}  # by a verdict of pairs.py
WIDEST = ("avx512f", "sve", "avx2", "avx", "sse4_2", "asimd")  # the widest first

# --- pieces ---------------------------------------------------------------------------------------------------------

def table(head: Sequence[str], rows: Iterable[Sequence[str]], words: Collection[int] = (0,)) -> str:
    """A table in Markdown. The columns `words` begin at the left, the others are numbers."""
    lines = [head, ["---" + ":" * (column not in words) for column in range(len(head))], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(share: float) -> str:
    return f"{100 * share:.2f}"


def interval(ends: tuple[float, float], factor: float = 100, digits: int = 2) -> str:
    return " to ".join(f"{factor * end:.{digits}f}" for end in ends)


def spread(found: Mean, runs: int, factor: float = 100, digits: int = 2) -> tuple[str, str]:
    """Two cells: the mean and standard deviation of some shares, and the interval of the mean."""
    mean = f"{factor * found.mean:.{digits}f}"
    if runs < 2:
        return mean, "one run"
    ends = max(0.0, found.mean - found.half), min(1.0, found.mean + found.half)
    return f"{mean} ± {factor * found.deviation:.{digits}f}", interval(ends, factor, digits)


def reached(value: float, target: float | None) -> str:
    """Whether a target was reached. The value is rounded, so that the last bit of a sum does not decide.

    >>> reached(100 * 0.57, 57.0), reached(98.999, 99), reached(1, None)
    ('>= 57: reached', '>= 99: not reached', '')
    """
    if target is None:
        return ""
    return f">= {target:g}: {'reached' if round(value, 9) >= target else NOT_REACHED}"


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"


def listed(names: Sequence[str]) -> str:
    """
    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join([*filter(None, [", ".join(names[:-1])]), *names[-1:]])


def subject(runs: Sequence[Record], name: str) -> str:
    """The data in the title of a figure, with a note if it is a stand-in."""
    return f"STAND-IN for {name}" if any(run["data"]["stand_in"] for run in runs) else name


def instances(verdicts: Mapping[str, int], verdict: int) -> str:
    """The names of the models with this verdict."""
    return listed([NAMES.get(model, model) for model, one in verdicts.items() if one == verdict])


# --- conditions ---------------------------------------------------------------------------------------------

def warning(runs: Sequence[Record]) -> str:
    """A warning about stand-ins or limited training, or ""."""
    if any(run["data"]["stand_in"] for run in runs):
        return "**These are results on a STAND-IN for the data: they mean nothing.**\n\n"
    limit = runs[0]["settings"]["limit"]
    return f"**Trained on {limit:,} images only.**\n\n" if limit is not None else ""


def conditions(runs: Sequence[Record]) -> str:
    """The conditions of the runs of a table, which are equal for all of them."""
    settings, data = runs[0]["settings"], {run["fold"]: run["data"] for run in runs}
    augment = ", ".join(f"{name} {value}" for name, value in settings["augment"].items())
    clip = f", gradients clipped to {settings['max_norm']:g}" if settings["max_norm"] else ""
    lines = [
        f"Conditions, equal in all runs: AdamW (weight decay {settings['weight_decay']}), one cycle of the "
        f"learning rate up to {settings['peak']}, batches of {settings['batch_size']}, "
        f"{settings['epochs']} epochs, label smoothing {settings['label_smoothing']}{clip}. Training images are "
        f"{f'augmented ({augment})' if augment else 'not augmented'}. {_means(settings)}",
        *dict.fromkeys(f"Trained on {facts['train']:,} images, validated on {facts['validation']:,}, tested on "
                       f"{facts['test']:,}. {facts['parted'][:1].upper()}{facts['parted'][1:]}."
                       for facts in data.values())]
    seeds = ", ".join(map(str, sorted({run["seed"] for run in runs})))
    made = "; ".join(sorted({f"{run['hardware'].get('processor')} (device: {run['hardware'].get('device')}; "
                             f"instruction set: {instruction_set(run)})" for run in runs}))
    commands = ", ".join(sorted({f"`{run['command']}`" for run in runs}))
    lines.append(f"Seeds {seeds}. Made on {made}, by {commands}.")
    if missing := incomplete(runs):
        lines.append(f"Left out of tables and figures, because other folds are missing: "
                     f"{listed([title(run) for run in missing])}.")
    return "\n".join(lines)


def _means(settings: Mapping[str, Any]) -> str:
    """What the model and its probabilities are: those of the last epoch, or means."""
    average, views = (settings.get(name) for name in ("average", "views"))
    model = f"The weights are the mean of those of the last {average} epochs." if average else \
        "The model is that of the last epoch."
    seen = f" Its probabilities are means over an image and {views} random views of it, changed as in training."
    prior = (" Probabilities are corrected to the share of the classes that is estimated on all test images, without "
             "their labels.")
    return model + seen * bool(views) + prior * bool(settings.get("estimate_prior"))


def instruction_set(run: Record) -> str:
    """The widest vector instructions of the processor of a run; kernels that use others give other last bits."""
    known = str(run["hardware"].get("instructions", "")).split()
    return next((name for name in WIDEST if name in known), "not recorded")


# --- accuracies ----------------------------------------------------------------------------------------------

def accuracies(experiment: str, runs: Sequence[Record]) -> str:
    """A table with a row for each model: the paper's numbers and ours."""
    rows = []
    for model, some in by_model(runs).items():
        found = pooled(some)
        ours, one = mean_of(each.accuracy for each in found.values()), next(iter(found.values()))
        mean, ends = spread(ours, len(found))
        last = [statistics.fmean(run["curves"][name][-1] for run in some)
                for name in ("train_accuracy", "validation_accuracy")]
        rows.append([NAMES.get(model, model), f"{some[0]['parameters']:,}",
                     *([f"{value:g}" for value in PAPER.get((experiment, model), ())] or ["", ""]),
                     *map(percent, last), str(len(found)), mean,
                     ends if len(found) > 1 else f"{interval(wilson(one.right, len(one.labels)))} (one run)",
                     reached(100 * ours.mean, TARGETS.get((experiment, model))),
                     minutes(statistics.fmean(run["seconds"] for run in some))])
    return table(["model", "parameters", "paper: training", "paper: validation", "training", "validation", "seeds",
                  "test: mean ± sd", "95 % interval", "target", "time of a run"], rows)


def short(runs: Sequence[Record]) -> str:
    """The test accuracy of each model, as a table of plain text."""
    lines = [("model", "seeds", "test accuracy, %", "95 % interval")]
    for model, some in by_model(runs).items():
        found = pooled(some)
        lines.append((NAMES.get(model, model), str(len(found)),
                      *spread(mean_of(each.accuracy for each in found.values()), len(found))))
    return aligned(lines, left=1)


def comparisons(experiment: str, runs: Sequence[Record]) -> str:
    """A table of all pairs of models, its explanation, and the answer about the paper's claim."""
    models = {model: pooled(some) for model, some in by_model(runs).items()}
    if len(models) < 2:
        return ""
    found = compare(models)
    rows = []
    for (a, b), one in found.items():
        first, second = NAMES.get(a, a), NAMES.get(b, b)
        mean, half = (round(100 * value, 2) + 0 for value in (one.difference.mean, one.difference.half))  # no -0.00
        only = [sum(counts) for counts in zip(*(test[:2] for test in one.tests), strict=True)]
        rows.append([f"{first} - {second}", f"{mean:+.2f}" + f" ± {half:.2f}" * (len(one.tests) > 1),
                     f"{only[0]:,} : {only[1]:,}", ", ".join(f"{test.p:.2g}" for test in one.tests),
                     f"{one.wins[0]} : {one.wins[1]} of {len(one.tests)}",
                     {1: f"{first} is better", 0: "not shown", -1: f"{second} is better"}[one.verdict]])
    head = ["pair", "difference, points", "only the first right : only the second", "McNemar's p, for each seed",
            "significant for the first : the second", "which is better"]
    parts = [table(head, rows), _explained(list(found.values()))]
    if experiment in CLAIMED:
        parts.append(claim(experiment, found))
    return "\n\n".join(parts)


def _explained(found: Sequence[Comparison]) -> str:
    """The meaning of the columns of `comparisons`."""
    pairs, tests, limit = len(found), sum(len(one.tests) for one in found), f"{1 - LEVEL:.2g}"
    rules = {True: "With several seeds, one is called better if the interval of the difference is on one side of 0: "
                   f"Student's t over the seeds, {100 * LEVEL:g} % for all {pairs} pairs together by Bonferroni. This "
                   "is a statement about other seeds on these test images.",
             False: f"With one seed, one is called better if McNemar's corrected p is below {limit}. This is a "
                    "statement about two networks."}
    kinds = sorted({len(one.tests) > 1 for one in found}, reverse=True)
    return ("Two models are compared with the seeds that both have. "
            f"{' '.join(rules[kind] for kind in kinds)} A seed is significant if McNemar's p, corrected for all "
            f"{tests} tests of the table (Holm), is below {limit}; the column of p-values is not corrected.")


def claim(experiment: str, found: Mapping[tuple[str, str], Comparison]) -> str:
    """Whether the paper's claim holds that its model is better than each of the others of its table."""
    ours = CLAIMED[experiment]
    others = [model for table, model in PAPER if table == experiment and model != ours]
    verdicts = {b if a == ours else a: one.verdict if a == ours else -one.verdict for (a, b), one in found.items()
                if ours in (a, b)}
    absent = [NAMES[model] for model in others if model not in verdicts]
    said = [f"{phrase} {instances(verdicts, verdict)}" for verdict, phrase in WORDS.items()
            if verdict in verdicts.values()]
    if absent and all(verdict == 1 for verdict in verdicts.values()):
        answer = "it cannot be said yet"
    else:
        answer = f"it {'does' if all(verdict == 1 for verdict in verdicts.values()) else 'does not'}"
    return (f"Does the paper's claim hold that the {NAMES[ours]} is better than "
            f"{listed([NAMES[model] for model in others])}? Under these equal conditions {answer}"
            + f": it is {', '.join(said)}" * bool(said)
            + f". Not compared: {listed(absent)}" * bool(absent) + ".")
