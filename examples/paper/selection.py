"""The choice of a recipe on validation images: candidates are trained on the same folds with the same seeds.

    search = Search("xray_selection", out, trials_of, parts)    # trials_of(candidate, part): some trials
    found = search.halved(candidates, gaining)  # all on the first part, those that gain on it on the other parts
    best = combined(candidates, found)          # the changes that gain, in one candidate
    search.halved([best, ...], highest)
    chosen(found)                               # the best

Each trial that is missing is made, and writes CANDIDATE-FOLD-seedS.json. `report` writes selection.json, what was
measured, and selection.md, the table. `restore` goes on from a selection.json, so that another machine can continue.

A trial measures the weights after the last epoch and the mean of the last epochs, each for the images alone and in
random views: `VARIANTS`. No test image is read. The score of a candidate is its accuracy, over folds and seeds.

With two classes, the parts of a fold may have other shares of them than the whole training part. So probabilities are
first corrected to equal classes. The score is then the mean of balanced accuracy at a threshold of 0.5 and of the area
under the ROC curve.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

import tinynet as tn
from paper import provenance, training
from paper.reporting import records
from paper.reporting.selections import (
    AVERAGE,
    BASE,
    VARIANTS,
    VIEWS,
    by_candidate,
    gains_of,
    markdown,
    mean_and_error,
    score,
)
from paper.reporting.tables import listed
from paper.training import Images, Recipe
from tinynet import metrics
from tinynet.atomic import write_whole
from tinynet.errors import DataError
from tinynet.output import say

FORMAT = "tinynet selection 1"


@dataclass(frozen=True)
class Candidate:
    """A recipe and a network, `make(**net)`; `change` says in a few words how it differs from the first one."""

    name: str
    change: str
    recipe: Recipe
    net: Mapping[str, Any] = field(default_factory=dict)

    def changed(self, name: str, change: str, *, augment: Mapping[str, Any] | None = None,
                net: Mapping[str, Any] | None = None, **recipe: Any) -> "Candidate":
        """The same with some changes."""
        return Candidate(name, change, replace(self.recipe, **{"augment": {**self.recipe.augment, **(augment or {})},
                                                               **recipe}), {**self.net, **(net or {})})


@dataclass(frozen=True, eq=False)
class Fold:
    """Images and labels to train on and to validate on."""

    train: tuple[Images, np.ndarray]
    validation: tuple[Images, np.ndarray]


@dataclass(frozen=True, eq=False)
class Trial:
    """One training of a candidate; `fold` reads the images."""

    candidate: Candidate
    make: Callable[..., tn.nn.Sequential]
    fold: Callable[[], Fold]
    fold_name: str
    seed: int

    @property
    def name(self) -> str:
        return records.name_of(self.candidate.name, self.seed, self.fold_name)

    def settings(self) -> dict[str, Any]:
        recipe = asdict(self.candidate.recipe)
        del recipe["estimate_prior"]  # which is decided by the trials
        return {**recipe, **self.candidate.net}


@dataclass(frozen=True, eq=False)
class Search:
    """Successive halving (Jamieson and Talwalkar, 2016): all candidates on the first part, those that are kept on all.

    trials_of   the trials of a candidate on a part
    parts       seeds, or numbers of folds
    """

    experiment: str
    out: Path
    trials_of: Callable[[Candidate, int], list[Trial]]
    parts: Sequence[int]

    def halved(self, candidates: Sequence[Candidate], kept: Callable[..., list[Candidate]]) -> list[dict[str, Any]]:
        """Make the trials, and return all that was measured; `kept(candidates, trials)` chooses after the first."""
        found = self._run(candidates, self.parts[:1])
        return self._run(kept(candidates, found), self.parts[1:])

    def _run(self, candidates: Sequence[Candidate], parts: Sequence[int]) -> list[dict[str, Any]]:
        run_all([trial for part in parts for one in candidates for trial in self.trials_of(one, part)],
                self.experiment, self.out)
        report(self.experiment, self.out)
        measured: list[dict[str, Any]] = read(self.out / "selection.json")["trials"]
        return measured


def gaining(candidates: Sequence[Candidate], trials: Iterable[Mapping[str, Any]]) -> list[Candidate]:
    """BASE, and the candidates of a higher mean score on the folds and seeds of both; without BASE, all."""
    of = by_candidate(trials)
    return [one for one in candidates if BASE not in of or one.name == BASE
            or np.mean(gains_of(of[one.name], of[BASE])) > 0]


def highest(candidates: Sequence[Candidate], trials: Iterable[Mapping[str, Any]]) -> list[Candidate]:
    """The candidate of the highest mean gain over BASE."""
    of = by_candidate(trials)
    return [max(candidates, key=lambda one: float(np.mean(gains_of(of[one.name], of[BASE]))))]


def run_all(trials: Sequence[Trial], experiment: str, out: Path) -> None:
    """Make the trials that are missing, one after the other, and the report after each."""
    for number, trial in enumerate(trials, 1):
        path = out / f"{trial.name}.json"
        if path.exists():
            if read(path)["settings"] != trial.settings():
                raise DataError(f"selection: {path} must be of this candidate, and has other settings; remove it, or "
                                "give the candidate another name")
            continue
        say(f"trial {number} of {len(trials)}: {trial.name}")
        found = run(trial, out)
        write_whole(path, (json.dumps(found) + "\n").encode())
        say(", ".join(f"{variant}: {score(one):.4f}" for variant, one in found["measured"].items())
            + f" ({found['seconds']:.0f} s of the processor)")
        report(experiment, out)


def restore(source: Path, out: Path) -> None:
    """Write the files of the trials in a selection.json to `out`, without scores, where they are missing there."""
    for trial in read(source)["trials"]:
        path = out / f"{records.name_of(trial['candidate'], trial['seed'], trial['fold'])}.json"
        if not path.exists():
            write_whole(path, (json.dumps({"format": FORMAT, **trial}) + "\n").encode())


def run(trial: Trial, out: Path) -> dict[str, Any]:
    """Train one candidate on one fold, and measure it."""
    begun, fold, recipe = time.process_time(), trial.fold(), trial.candidate.recipe
    tn.seed(trial.seed)
    model, scaling = trial.make(**trial.candidate.net), tn.nn.Scaling()
    last = training.LastEpochs(out / trial.name, min(AVERAGE, recipe.epochs))
    history = training.fit(model, training.loader(fold.train, recipe, scaling, training=True), recipe,
                           callbacks=[last], show=False)
    measured, scores = {}, {}
    final, mean = model.state_dict(), last.averaged()
    for variant, (averages, views) in VARIANTS.items():
        model.load_state_dict(mean if averages else final)
        shown = Recipe(recipe.epochs, augment=recipe.augment, views=VIEWS * views)
        found = training.probabilities(model, fold.validation, shown, scaling)
        measured[variant] = measures(fold, found)
        scores[variant] = found[:, 1].round(5).tolist() if found.shape[1] == 2 else records.pack(found)
    last.remove()
    return {"format": FORMAT, "candidate": trial.candidate.name, "change": trial.candidate.change,
            "fold": trial.fold_name, "seed": trial.seed, "settings": trial.settings(), "commit": provenance.commit(),
            "hardware": provenance.hardware("cpu"), "parameters": sum(one.size for one in model.parameters()),
            "train": len(fold.train[1]), "seconds": round(time.process_time() - begun, 1),
            "train_accuracy": round(history[-1]["train_accuracy"], 6), "measured": measured,
            "labels": records.digits(fold.validation[1]), "scores": scores}


def combined(candidates: Sequence[Candidate], trials: Iterable[Mapping[str, Any]]) -> Candidate | None:
    """All changes of the first candidate, BASE, that gain more than their standard error; None without such changes.

    Where two of them change the same, that of the higher gain counts.
    """
    of, base = by_candidate(trials), candidates[0]
    gains = {one.name: mean_and_error(some) for one in candidates[1:]
             if one.name in of and (some := gains_of(of[one.name], of[BASE]))}
    winners = sorted((one for one in candidates if one.name in gains and gains[one.name][0] > gains[one.name][1]),
                     key=lambda one: gains[one.name][0])
    if not winners:
        return None
    recipe, augment, net = asdict(base.recipe), dict(base.recipe.augment), dict(base.net)
    for one in winners:
        recipe |= {name: value for name, value in asdict(one.recipe).items() if value != getattr(base.recipe, name)}
        augment |= {name: value for name, value in one.recipe.augment.items() if value != base.recipe.augment.get(name)}
        net |= {name: value for name, value in one.net.items() if value != base.net.get(name)}
    return Candidate("combined", listed([one.name for one in winners]), Recipe(**{**recipe, "augment": augment}), net)


def chosen(trials: Iterable[Mapping[str, Any]]) -> Candidate:
    """The candidate of the highest score among those with as many trials as BASE, with the means that gain for it.

    The estimated prior is used if it gives a higher balanced accuracy. Errors: DataError without trials of BASE.
    """
    of = by_candidate(trials)
    if BASE not in of:
        raise DataError(f"selection: there must be trials of the candidate {BASE}, got 0; run it first")

    def mean(name: str, variant: str, of_one: Callable[[Mapping[str, float]], float] = score) -> float:
        return float(np.mean([of_one(trial["measured"][variant]) for trial in of[name].values()]))

    best = max((name for name, some in of.items() if len(some) == len(of[BASE])), key=lambda name: mean(name, "last"))
    variant = max(VARIANTS, key=lambda variant: mean(best, variant))
    averages, views = VARIANTS[variant]
    first = next(iter(of[best].values()))
    prior = "estimated balanced accuracy" in first["measured"][variant] and mean(
        best, variant, lambda one: one["estimated balanced accuracy"] - one["balanced accuracy"]) > 0
    names = {one.name for one in fields(Recipe)}
    recipe = Recipe(**{name: value for name, value in first["settings"].items() if name in names})
    return Candidate(best, first["change"], replace(recipe, average=AVERAGE * averages, views=VIEWS * views,
                                                    estimate_prior=prior),
                     {name: value for name, value in first["settings"].items() if name not in names})


# --- measures -------------------------------------------------------------------------------------------------------

def measures(fold: Fold, probabilities: np.ndarray) -> dict[str, float]:
    """What is measured of the probabilities (N, K) of the validation images."""
    labels = fold.validation[1]
    found = two_classes(labels, probabilities[:, 1], float(fold.train[1].mean())) if probabilities.shape[1] == 2 else {
        "accuracy": metrics.accuracy(labels, probabilities.argmax(axis=1)),
        "loss": -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-7)).mean()}
    return {name: round(float(value), 6) for name, value in found.items()}


def two_classes(labels: np.ndarray, scores: np.ndarray, prior: float) -> dict[str, float]:
    """The measures of scores of class 1 (N), with three priors, the names of RULES. `prior`: its share in training."""
    even = training.corrected(scores, prior, 0.5)
    found = {"sensitivity": metrics.sensitivity(labels, even > 0.5),
             "specificity": metrics.specificity(labels, even > 0.5),
             "AUC": metrics.roc_auc(labels, scores), "calibration error": metrics.calibration_error(labels, even)}
    for name, one in {"": even, "trained ": scores,
                      "estimated ": training.corrected(scores, prior, training.estimated_prior(scores, prior))}.items():
        found[f"{name}accuracy"] = metrics.accuracy(labels, one > 0.5)
        found[f"{name}balanced accuracy"] = metrics.balanced_accuracy(labels, one > 0.5)
    return found


# --- the report -----------------------------------------------------------------------------------------------------

def read(path: Path) -> dict[str, Any]:
    """The file of a trial, or selection.json. Errors: DataError for another file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise DataError(f"selection: {path} must be the file of a trial, and cannot be read ({fault}); remove it"
                        ) from fault
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DataError(f"selection: {path} must be the file of a trial, and is not; remove it")
    return found


def published(path: Path, experiment: str) -> list[dict[str, Any]]:
    """The trials of a selection.json that results.py took over. Errors: DataError if some or all are missing."""
    found = read(path) if path.exists() else {}
    if not found.get("finished"):
        raise DataError(f"selection: {path} must hold all trials of {experiment}.py, and "
                        f"{'is not finished' if found else 'is not there'}; finish them, and "
                        f'make results ARGS="--add runs/{experiment}"')
    trials: list[dict[str, Any]] = found["trials"]
    return trials


def report(experiment: str, out: Path, *, finished: bool = False) -> str:
    """Write selection.json, all that was measured without scores and labels, and selection.md, and return its text.

    finished   whether all trials of the rule are made, as the script makes them without options
    """
    kept = ("candidate", "change", "fold", "seed", "settings", "commit", "parameters", "train", "seconds", "measured")
    trials = [{name: found[name] for name in kept} for path in sorted(out.glob("*-seed*.json"))
              if (found := read(path))]
    write(out / "selection.json", {"format": FORMAT, "experiment": experiment, "finished": finished, "trials": trials})
    text = markdown(trials)
    write_whole(out / "selection.md", text.encode())
    return text


def write(path: Path, found: Mapping[str, Any]) -> None:
    """Write what was measured, a trial a line."""
    lines = ",\n".join(f"  {json.dumps(trial)}" for trial in found["trials"])
    head = ", ".join(f"{json.dumps(name)}: {json.dumps(found[name])}" for name in ("format", "experiment", "finished"))
    write_whole(path, f'{{{head}, "trials": [\n{lines}\n]}}\n'.encode())
