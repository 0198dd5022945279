"""A training on a folder from the scan to the files: one split, or several folds and their ensemble.

Written to the output folder: model.safetensors, results.json, predictions.csv, and with matplotlib curves.png,
confusion.png, mistakes.png. best.safetensors, the model before its calibration, log.csv and checkpoint.safetensors
belong to one model; with folds, they are in a folder for each: fold1, fold2, ...
"""

import time
from typing import Any

import numpy as np

from tinynet.about import versions
from tinynet.atomic import write_whole
from tinynet.calibration import Calibration, absorb, calibrate, cross_fitted, gained, log_losses
from tinynet.classifier import Classifier, report, score
from tinynet.data.images.folder import ImageFolder, scan_folder
from tinynet.data.images.splits import Fold, cross_folds, folds
from tinynet.drawing import available
from tinynet.ensemble import ensemble
from tinynet.errors import ArgumentError, counted, printable
from tinynet.from_folder import words
from tinynet.from_folder.figures import draw
from tinynet.from_folder.settings import Samples, Settings, usual_channels, usual_size, with_positive
from tinynet.from_folder.train import Trained, decided, made, threshold_of, train_on
from tinynet.metrics import calibration_error
from tinynet.nn.module import Module
from tinynet.output import csv_text, json_text, say
from tinynet.random import seed as set_seed
from tinynet.saving.models import save
from tinynet.tensor import Tensor


def run(settings: Settings) -> None:
    """Train, evaluate, and write the results. Errors: DataError for the folder, ArgumentError for the settings."""
    Tensor(0.0).to(settings.device)  # fails early for a missing device
    start = time.perf_counter()
    folder = scan_folder(settings.folder, groups=settings.groups, max_skipped=settings.max_skipped)
    say(folder.report())
    folder = with_positive(folder, settings.positive)
    if settings.chooses_threshold and len(folder.classes) != 2:
        raise ArgumentError("train: --threshold and --sensitivity are for two classes, got "
                            f"{len(folder.classes)}; leave them out, and the most probable class is predicted")
    set_seed(settings.seed)
    parts = cross_folds(folder, settings.folds) if settings.folds else folds(folder)
    size, channels = settings.size or usual_size(folder), usual_channels(folder)
    say(f"images are resized to {size} x {size} x {channels}")
    samples = Samples(folder, size, channels)
    say(made(samples, settings).summary())
    results = (_folded if settings.folds else _single)(samples, parts, settings)
    results.update(
        classes=folder.classes, layout=folder.layout, skipped=[list(one) for one in folder.skipped],
        input_shape=samples.shape, seconds=time.perf_counter() - start, settings=settings.facts(),
        versions=versions())
    write_whole(settings.out / "results.json", json_text(results, indent=1).encode())
    say(f"written to {printable(settings.out)}: model.safetensors, results.json, predictions.csv"
        f"{''.join(f', {name}' for name in results['figures'])}")
    model = printable(settings.out / "model.safetensors")
    say(f"try it: python -m tinynet predict {model} IMAGE...\n        python -m tinynet explain {model} IMAGE...")


def _single(samples: Samples, parts: list[Fold], settings: Settings) -> dict[str, Any]:
    """Train one model on the first split, and evaluate it on the test part."""
    fold, folder = parts[0], samples.folder
    sentence = fold.sentence + (f" (the first of {len(parts)} folds)" if len(parts) > 1 else "")
    say(sentence)
    trained = train_on(samples, fold, settings, settings.out, settings.seed)
    calibration = calibrate(trained.logp["validation"], folder.labels[fold.validation],
                            bias=trained.weights is not None)
    absorb(trained.model, calibration)
    p = {name: calibration(logp) for name, logp in trained.logp.items()}
    threshold = threshold_of(folder.labels[fold.validation], p["validation"], settings)
    trained.model.decision_threshold = threshold
    save(settings.out / "model.safetensors", trained.model)
    indices = {"train": fold.train, "validation": fold.validation, "test": fold.test}
    found = {name: _scored(folder, some, p[name], decided(p[name], threshold), threshold)
             for name, some in indices.items()}
    say(f"\nThe best model on the test part:\n\n{report(found['test'])}\n")
    raw = np.exp(trained.logp["test"])
    errors = {"before": calibration_error(folder.labels[fold.test], raw), "after": found["test"]["calibration_error"]}
    gain = _gain(folder, fold.test, raw, p["test"])
    rule = _rule(calibration, threshold)
    said = [*words.meaning(folder, settings, sentence, by_folds=False),
            *words.decision(rule, folder.classes, settings, by_folds=False, errors=errors, gain=gain,
                             images=len(fold.test))]
    _say_all(said, [*_doubts_of_model(trained, fold, folder, calibration, threshold),
                    *words.doubts_of_numbers(found["test"], "the test part")])
    judged = decided(p["test"], threshold)
    return {**found, "calibration_error": errors, "log_loss": gain, "rule": rule, "meaning": said,
            **_facts(trained, fold),
            "parameters": sum(parameter.size for parameter in trained.model.parameters()),
            "figures": _written(samples, settings, [trained.history], found["test"], fold.test, p["test"], judged,
                                np.ones(len(judged), int), "the test part")}


def _folded(samples: Samples, parts: list[Fold], settings: Settings) -> dict[str, Any]:
    """Train one model for each fold, evaluate each on its test part, and make an ensemble of all."""
    folder, every = samples.folder, list[Trained]()
    for number, fold in enumerate(parts, 1):
        say(f"\n{fold.sentence}: {counted(len(fold.train), 'image')} to train on, "
            f"{len(fold.validation):,} to validate, {len(fold.test):,} to test")
        every.append(train_on(samples, fold, settings, settings.out / f"fold{number}", settings.seed + number - 1))
    judged = np.concatenate([fold.test for fold in parts])
    labels, of_fold = folder.labels[judged], np.repeat(np.arange(len(parts)), [len(fold.test) for fold in parts])
    raw = np.exp(np.concatenate([one.logp["test"] for one in every]))
    p, calibration = _calibrated(every, parts, folder.labels)
    threshold = threshold_of(labels, p, settings)
    predicted = cross_fitted(of_fold, lambda some: threshold_of(labels[some], p[some], settings),
                             lambda other, own: decided(p[own], other))
    for trained in every:
        absorb(trained.model, calibration)
    both = ensemble([trained.model for trained in every])
    both.decision_threshold = threshold
    save(settings.out / "model.safetensors", both)
    found = _scored(folder, judged, p, predicted, threshold)
    say(f"\nEach image judged by a model that was not trained on it, {len(parts)} folds:\n\n{report(found)}\n")
    errors = {"before": calibration_error(labels, raw, models=of_fold),
              "after": calibration_error(labels, p, models=of_fold),
              "pooled": {"before": calibration_error(labels, raw), "after": found["calibration_error"]}}
    gain = _gain(folder, judged, raw, p)
    rule, how = _rule(calibration, threshold), parts[0].sentence.partition(", ")[2]
    said = [*words.meaning(folder, settings, how, by_folds=True),
            *words.decision(rule, folder.classes, settings, by_folds=True, errors=errors, gain=gain,
                             images=len(judged))]
    doubts = [f"fold {number}: {doubt}" for number, (trained, fold) in enumerate(zip(every, parts, strict=True), 1)
              for doubt in _doubts_of_model(trained, fold, folder, calibration, threshold)]
    _say_all(said, [*doubts, *words.doubts_of_numbers(found, "all folds")])
    return {"out_of_fold": found, "out_of_fold_at_half": _scored(folder, judged, p, p.argmax(axis=1), None),
            "test": _tested(both, samples),
            "calibration_error": errors, "log_loss": gain, "rule": rule, "meaning": said,
            "folds": [_facts(trained, fold) for trained, fold in zip(every, parts, strict=True)], "parted": how,
            "images": {"out_of_fold": len(judged)},
            "parameters": sum(parameter.size for parameter in both.parameters()),
            "figures": _written(samples, settings, [trained.history for trained in every], found, judged, p, predicted,
                                of_fold + 1, f"each image by one of {len(parts)} models")}


def _calibrated(every: list[Trained], parts: list[Fold], labels: np.ndarray) -> tuple[np.ndarray, Calibration]:
    """The calibrated probabilities (N,K) of the test images of all folds, and the calibration of their ensemble.

    The models of all folds are trained in the same way, and get one calibration: on the validation images of all folds,
    each predicted by the model of its fold. For the test images of a fold it is found without these.
    """
    validation, logp = (np.concatenate(some) for some in
                        ([fold.validation for fold in parts], [one.logp["validation"] for one in every]))
    bias = any(one.weights is not None for one in every)

    def found(some: np.ndarray) -> Calibration:
        return calibrate(logp[some], labels[validation[some]], bias=bias)

    p = [found(~np.isin(validation, fold.test))(one.logp["test"]) for one, fold in zip(every, parts, strict=True)]
    return np.concatenate(p), found(np.ones(len(validation), bool))


def _tested(model: Module, samples: Samples) -> dict[str, Any] | None:
    """The scores of the ensemble on the part `test` of the folder, if it has one."""
    folder, inside = samples.folder, samples.folder.part_of == "test"
    test = np.flatnonzero(inside)
    if not len(test):
        return None
    pictures = Classifier(model)
    p = pictures.probabilities(samples.part(test))
    found = _scored(folder, test, p, pictures.decided(p), model.decision_threshold)
    say(f"The ensemble on the folder's part `test`:\n\n{report(found)}\n")
    doubts = words.doubts_of_numbers(found, "the part `test`")
    if folder.copies is not None and (known := int(np.isin(folder.copies[test], folder.copies[~inside]).sum())):
        doubts.append(f"images of the folds, on which models were trained, must not be in the part `test`, and "
                      f"{counted(known, 'image')} of it can be found there; remove them from one of both")
    for doubt in doubts:
        say(f"warning: {doubt}", error=True)
    return {**found, "at_half": _scored(folder, test, p, p.argmax(axis=1), None)}


def _scored(folder: ImageFolder, indices: np.ndarray, p: np.ndarray, predicted: np.ndarray, threshold: float | None
            ) -> dict[str, Any]:
    """The scores of some images, given their probabilities and predicted classes."""
    groups = None if folder.groups is None else folder.groups[indices]
    return score(folder.labels[indices], p, folder.classes, predicted=predicted, threshold=threshold, groups=groups)


def _gain(folder: ImageFolder, indices: np.ndarray, before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """What calibration gains on some images, by the log loss: its standard error is by patient where they are known."""
    labels, groups = folder.labels[indices], None if folder.groups is None else folder.groups[indices]
    gain, error = gained(labels, before, after, groups)
    loss = float(log_losses(labels, before).mean())
    return {"before": loss, "after": loss - gain, "gain": gain, "error": error}


def _rule(calibration: Calibration, threshold: float | None) -> dict[str, Any]:
    """How scores become decisions, as JSON can represent it."""
    return {"temperature": calibration.temperature, "bias": list(calibration.bias),
            "threshold": 0.5 if threshold is None else threshold}


def _facts(trained: Trained, fold: Fold) -> dict[str, Any]:
    return {"parted": fold.sentence, "epochs": trained.history,
            "class_weights": None if trained.weights is None else trained.weights.tolist(),
            "images": {"train": len(fold.train), "validation": len(fold.validation), "test": len(fold.test)}}


def _doubts_of_model(trained: Trained, fold: Fold, folder: ImageFolder, calibration: Calibration,
                     threshold: float | None) -> list[str]:
    raw = score(folder.labels[fold.train], np.exp(trained.logp["train"]), folder.classes)
    everything = np.concatenate([*trained.logp.values()])
    return words.doubts_of_training(raw, trained.history, decided(calibration(everything), threshold))


def _say_all(sentences: list[str], doubts: list[str]) -> None:
    say("What these numbers are about:\n" + "".join(f"- {sentence}\n" for sentence in sentences))
    for doubt in doubts:
        say(f"warning: {doubt}", error=True)


def _written(samples: Samples, settings: Settings, histories: list[list[dict[str, float]]], found: dict[str, Any],
             judged: np.ndarray, p: np.ndarray, predicted: np.ndarray, of_fold: np.ndarray, what: str) -> list[str]:
    """Write predictions.csv and the figures. Returns the names of the figures."""
    folder = samples.folder
    lines: list[list[Any]] = [["image", "fold", "class", "predicted", *(f"p({name})" for name in folder.classes)]]
    for place in np.argsort(judged):
        index = judged[place]
        lines.append([folder.names[index], int(of_fold[place]), folder.classes[folder.labels[index]],
                      folder.classes[predicted[place]], *p[place].round(6).tolist()])
    write_whole(settings.out / "predictions.csv", csv_text(lines).encode())
    if not available():
        say("matplotlib is not installed, so the figures are left out: pip install matplotlib")
        return []
    return draw(settings.out, histories, found, samples, judged, p, predicted, what)
