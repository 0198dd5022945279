"""What the scripts of the paper's experiments share: options, data, and runs that are recorded and resumed.

An experiment is a list of jobs: a model, a seed, the data, and the recipe of training. `run_all` runs those that are
missing in `--out`, where each writes

    NAME.json           the record of the run, see records.py; written last, so that it marks a finished run
    NAME.safetensors    the model, for `python -m tinynet predict` and `evaluate`
    NAME.checkpoint     the state of an unfinished run, from which the same command continues

The rules: the validation images are a part of the training set, and all choices were made on them. The model is that of
the last epoch. The test images are evaluated once, after training.
"""

import argparse
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import command
import numpy as np
from command import positive

import tinynet as tn
from paper import provenance, training
from paper.reporting import records
from paper.training import Images
from paper.training import Recipe as Recipe
from tinynet.calibration import balanced_threshold
from tinynet.ensemble import ensemble
from tinynet.errors import ArgumentError, DataError
from tinynet.from_folder.settings import class_weights
from tinynet.novelty import remember
from tinynet.output import say

SEEDS = 5
SPLIT_SEED = 0  # of the split of the data, which is the same in all runs
MEMORY = 128 << 20  # bytes of a part: larger ones are read when they are needed
VALIDATION = {"mnist": 0.1, "folder": 0.2}  # of the training images
DIGITS = "auto, mnist, digits, or a folder with the files of MNIST"  # the values of --data
FOLDER = "auto, stand-in, or the folder of the images"


@dataclass(frozen=True, eq=False)
class Data:
    """Images and labels in three parts, with a description. `fold` is the name of one of several splits."""

    train: tuple[Images, np.ndarray]
    validation: tuple[Images, np.ndarray]
    test: tuple[Images, np.ndarray]
    classes: tuple[str, ...]
    name: str
    stand_in: bool
    parted: str
    fold: str = ""
    weighted: bool = False  # whether the images of rare classes weigh more in the loss

    def facts(self) -> dict[str, Any]:
        return {"name": self.name, "stand_in": self.stand_in, "parted": self.parted, "train": len(self.train[1]),
                "validation": len(self.validation[1]), "test": len(self.test[1])}


@dataclass(frozen=True, eq=False)
class Job:
    """One run. What is recorded beside the predictions:

    probabilities   those of the test images, for a committee
    threshold       the threshold of the highest balanced accuracy on the validation images, of two classes
    """

    model: str
    make: Callable[[], tn.nn.Sequential]
    seed: int
    data: Data
    recipe: Recipe
    probabilities: bool = False
    threshold: bool = False

    @property
    def name(self) -> str:
        return records.name_of(self.model, self.seed, self.data.fold)


# --- the command ----------------------------------------------------------------------------------------------------

def main(parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], None],
         arguments: list[str] | None) -> int:
    """Do the work and return the exit code, as in command.py."""
    def checked(options: argparse.Namespace) -> None:
        tn.backend.namespace(options.device)  # fails early for a missing device
        work(options)

    return command.run(checked, parse(parser, arguments))


def parser(experiment: str, text: str | None, *, data: str, seeds: int = SEEDS, counted: str = "seed"
           ) -> argparse.ArgumentParser:
    """The options of all experiments. `data` describes the values of `--data`."""
    made = argparse.ArgumentParser(prog=f"{experiment}.py", description=(text or "").partition("\n")[0])
    made.set_defaults(experiment=experiment, members=seeds)
    made.add_argument("--data", default="auto", metavar="SOURCE", help=f"{data} (default: auto)")
    made.add_argument("--device", default="cpu", help="cpu, gpu, gpu:1 ..., or gpu-emulated (default: cpu)")
    made.add_argument("--seed", type=command.seed,
                      help=f"one run with this {counted} only (default: {seeds} of them, from 0)")
    made.add_argument("--epochs", type=positive(int), help="passes over the training images (default: as published)")
    made.add_argument("--limit", type=positive(int), help="train on this number of images only")
    made.add_argument("--out", type=Path, default=Path("runs", experiment), metavar="FOLDER",
                      help=f"output folder (default: runs/{experiment})")
    made.add_argument("--begun", type=Path, metavar="FOLDER",
                      help="skip the runs whose files are in this folder, such as examples/results")
    made.add_argument("--resume", action=argparse.BooleanOptionalAction, default=True,
                      help="skip the finished runs in --out, and continue the unfinished one; "
                           "or run all again (default: --resume)")
    return made


def parse(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    options = parser.parse_args(arguments)
    options.seeds = range(options.members) if options.seed is None else [options.seed]
    options.command = words_of(parser, options)
    return options


def words_of(parser: argparse.ArgumentParser, options: argparse.Namespace) -> str:
    """The command that repeats these runs. Paths are shortened to names, since the records are published."""
    words = ["python", f"examples/{options.experiment}.py"]
    for name, value in vars(options).items():
        if name not in ("experiment", "seeds", "out", "begun", "resume", "only") and value != parser.get_default(name):
            words += [f"--{name}", Path(value).absolute().name if name == "data" else str(value)]
    return shlex.join(words)


# --- data -----------------------------------------------------------------------------------------------------------

def mnist(options: argparse.Namespace) -> Data:
    """The digits of `--data`. Validation is the same tenth of the training set in all runs."""
    dataset, sentence = tn.data.load(options.data)
    say(sentence)
    stand_in = dataset.name != "mnist"
    if stand_in:
        say("STAND-IN: these digits stand for MNIST, and the results are not results on MNIST.")
    first, second = tn.data.split(len(dataset.train_images), VALIDATION["mnist"], seed=SPLIT_SEED)
    first = limited(first, options.limit)
    images, labels = dataset.train_images[..., None], dataset.train_labels  # (N,28,28,1)
    return Data((images[first], labels[first]), (images[second], labels[second]),
                (dataset.test_images[..., None], dataset.test_labels), dataset.classes, dataset.name, stand_in,
                f"validation: {VALIDATION['mnist']:.0%} of the training set, at random, the same in all runs")


def folder(options: argparse.Namespace, name: str, size: int, generate: Callable[[Path], Path], *,
           validation: float = VALIDATION["folder"], crossed: int | None = None) -> list[Data]:
    """The images of a folder, split so that no patient is in two parts; with few patients, several splits.

    crossed   the number of folds for cross-validation by patient; None for one split of many patients

    `--data` is a folder; "auto", which is $TINYNET_DATA/NAME if it exists, else generated images; or "stand-in".
    Raises DataError unless there are two classes.
    """
    scanned = tn.data.scan_folder(source(options, name, generate))
    say(scanned.report())
    if len(scanned.classes) != 2:
        raise DataError(f"{options.experiment}: {scanned.root} must hold two classes, and holds "
                        f"{', '.join(scanned.classes)}; examples/train_folder.py takes any number")
    if scanned.stand_in:
        say("STAND-IN: these images were generated, and the results say nothing about real ones.")
    found, folds = [], tn.data.folds(scanned, validation=validation, seed=SPLIT_SEED)
    if len(folds) == 1 and crossed and scanned.groups is not None and len(np.unique(scanned.groups)) > 2:
        folds = tn.data.cross_folds(scanned, crossed, validation=validation, seed=SPLIT_SEED)
    for number, fold in enumerate(folds, 1):
        def part(indices: np.ndarray, keep: bool = True) -> tuple[Images, np.ndarray]:
            some = scanned.select(indices)
            images = some.images(size)
            return images.in_memory(MEMORY) if keep else images, some.labels

        left_out = ""
        if len(folds) > 1 and scanned.groups is not None:  # the patient of this fold, or its number
            patients = np.unique(scanned.groups[fold.test])
            left_out = str(patients[0]) if len(patients) == 1 else f"fold{number}"
        found.append(Data(part(limited(fold.train, options.limit)), part(fold.validation), part(fold.test, keep=False),
                          scanned.classes, name, scanned.stand_in, fold.sentence, left_out, weighted=bool(crossed)))
    return found


def limited(indices: np.ndarray, limit: int | None) -> np.ndarray:
    """At most `limit` of the indices, equally spaced from the first to the last, so that all classes remain."""
    if limit is None or limit >= len(indices):
        return indices
    return indices[np.linspace(0, len(indices) - 1, limit).astype(np.int64)]


def source(options: argparse.Namespace, name: str, generate: Callable[[Path], Path]) -> Path:
    """The folder of images that `--data` names, see `folder`."""
    return _found(options, name) or _generated(options.out / f"stand-in-{name}", generate)


def _found(options: argparse.Namespace, name: str) -> Path | None:
    if options.data == "stand-in":
        return None
    if options.data != "auto":
        given = Path(options.data)
        return given / name if (given / name).is_dir() else given
    root = os.environ.get("TINYNET_DATA")
    return Path(root, name) if root and Path(root, name).is_dir() else None


def _generated(place: Path, generate: Callable[[Path], Path]) -> Path:
    """A folder of generated images, made whole or not at all."""
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".stand-in.", dir=place.parent))
        try:
            generate(unfinished).rename(place)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return place


# --- runs -----------------------------------------------------------------------------------------------------------

def run_all(jobs: Sequence[Job], options: argparse.Namespace) -> list[records.Record]:
    """Run the jobs that are missing, one after the other, and return the records of all."""
    done = []
    for number, job in enumerate(jobs, 1):
        title = f"run {number} of {len(jobs)}: {job.name}"
        record = _existing(job, options)
        if record is None:
            say(f"\n{title}")
            record = run(job, options)
            say(f"{title}: test accuracy {record.accuracy:.4f} on {record.images:,} images")
        else:
            say(f"{title} is done: test accuracy {record.accuracy:.4f}")
        checkpoint = _paths(job, options)["checkpoint"]
        checkpoint.unlink(missing_ok=True)
        training.LastEpochs(checkpoint, job.recipe.average).remove()
        done.append(record)
    return done


def run(job: Job, options: argparse.Namespace) -> records.Record:
    """Train one model, evaluate it once on the test images, and write the record."""
    begun, known, paths = time.perf_counter(), beforehand(job, options), _paths(job, options)
    recipe = recipe_of(job, options)
    tn.seed(job.seed)
    model = job.make().to(options.device)
    model.classes, model.scaling = job.data.classes, tn.nn.Scaling()
    weights = class_weights(job.data.train[1], len(job.data.classes), "auto" if job.data.weighted else "off")
    if weights is not None:
        say(f"weights of the classes in the loss: {', '.join(f'{weight:.2f}' for weight in weights)}")
    history = training.fit(model, training.loader(job.data.train, recipe, model.scaling, training=True), recipe,
                           validation=training.loader(job.data.validation, recipe, model.scaling),
                           checkpoint=paths["checkpoint"], resume=options.resume, weights=weights)
    remember(model, job.data.train[0], job.data.validation[0])
    tn.save(paths["model"], model)
    probabilities = training.probabilities(model, job.data.test, recipe, model.scaling)
    if recipe.estimate_prior:
        probabilities = training.with_estimated_prior(probabilities, job.data.train[1])
    fields = {
        **known, "parameters": sum(parameter.size for parameter in model.parameters()),
        "seconds": round(sum(row["seconds"] for row in history), 3),
        "wall_seconds": round(time.perf_counter() - begun, 3),  # of the process that finished it
        "curves": {name: [round(row[name], 6) for row in history] for name in records.CURVES},
        "labels": records.digits(job.data.test[1]), "predicted": records.digits(probabilities.argmax(axis=1)),
    }
    if len(job.data.classes) == 2:
        fields["scores"] = probabilities[:, 1].round(6).tolist()
    if job.threshold:
        found = training.probabilities(model, job.data.validation, recipe, model.scaling)
        fields["threshold"] = balanced_threshold(job.data.validation[1], found[:, 1])
    if job.probabilities:
        fields["probabilities"] = records.pack(probabilities)
    records.write(paths["json"], fields)
    return records.read(paths["json"])


def save_ensemble(jobs: Sequence[Job], options: argparse.Namespace) -> None:
    """Write the ensemble of the models of finished runs, which differ in their folds: NAME-seedN.safetensors."""
    made = ensemble([tn.load(_paths(job, options)["model"]) for job in jobs])
    tn.save(options.out / f"{records.name_of(jobs[0].model, jobs[0].seed)}.safetensors", made)


def beforehand(job: Job, options: argparse.Namespace) -> dict[str, Any]:
    """The fields of a run that are known before it begins."""
    return {
        "format": records.FORMAT, **_identity(job, options), "command": options.command,
        "started": datetime.now(UTC).isoformat(timespec="seconds"), "commit": provenance.commit(),
        "hardware": provenance.hardware(options.device), "versions": tn.about().versions,
        "settings": settings(job, options), "data": job.data.facts(), "classes": list(job.data.classes)}


def _identity(job: Job, options: argparse.Namespace) -> dict[str, Any]:
    return {"experiment": options.experiment, "model": job.model, "seed": job.seed, "fold": job.data.fold}


def recipe_of(job: Job, options: argparse.Namespace) -> Recipe:
    return replace(job.recipe, epochs=options.epochs or job.recipe.epochs)


def settings(job: Job, options: argparse.Namespace) -> dict[str, Any]:
    """The settings that must be equal in runs that are compared."""
    return {**recipe_of(job, options).settings(), "limit": options.limit, "input": list(job.make().input_shape or ())}


def _paths(job: Job, options: argparse.Namespace) -> dict[str, Path]:
    return {kind: options.out / f"{job.name}.{suffix}" for kind, suffix in
            (("json", "json"), ("model", "safetensors"), ("checkpoint", "checkpoint"))}


def _existing(job: Job, options: argparse.Namespace) -> records.Record | None:
    """The record of a finished run, or None. Raises ArgumentError if its settings or data differ from the job's."""
    paths = [_paths(job, options)["json"]]
    if options.begun:
        paths.append(options.begun / records.file_of(_identity(job, options)))
    path = next(filter(Path.exists, paths), None) if options.resume else None
    if path is None:
        return None
    record = records.read(path)
    there = {**record["settings"], **record["data"], "experiment": record["experiment"]}
    here = {**settings(job, options), **job.data.facts(), "experiment": options.experiment}
    differing = [f"{name}: {there.get(name)} there, {here.get(name)} here" for name in {**here, **there}
                 if there.get(name) != here.get(name)]
    if differing:
        raise ArgumentError(f"{options.experiment}: {path} must be a run like this one, but they differ in "
                            f"{'; '.join(differing)}; give another --out, or --no-resume to repeat it")
    return record
