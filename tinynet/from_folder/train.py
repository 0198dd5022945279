"""One model on one split of a folder, and the rule of its decisions."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinynet import nn, ops
from tinynet.calibration import balanced_threshold, sensitive_threshold
from tinynet.classifier import Classifier
from tinynet.data.images.splits import Fold
from tinynet.data.loader import Loader
from tinynet.from_folder.settings import Samples, Settings, choose, class_weights
from tinynet.nn.module import Module
from tinynet.novelty import remember
from tinynet.optim import Adam, OneCycle
from tinynet.output import say
from tinynet.random import seed as set_seed
from tinynet.saving.models import load
from tinynet.tensor import Tensor
from tinynet.training import callbacks
from tinynet.training.fit import fit


class Trained(NamedTuple):
    """The result of a training on one split.

    model      the best one, not calibrated
    history    of `fit`
    weights    of the classes (K), or None
    logp       logarithms of its probabilities (N,K) for the images of each part, "train", "validation", "test"
    """

    model: Module
    history: list[dict[str, float]]
    weights: np.ndarray | None
    logp: dict[str, np.ndarray]


def train_on(samples: Samples, fold: Fold, settings: Settings, out: Path, seed: int) -> Trained:
    """Train on the first part of a fold, and keep the model of the lowest loss on the second.

    Written to `out`: best.safetensors, log.csv, checkpoint.safetensors.
    """
    set_seed(seed)
    labels, classes = samples.folder.labels, samples.folder.classes
    model = made(samples, settings)
    train, validation = loaders(samples, fold, model, settings)
    weights = class_weights(labels[fold.train], len(classes), settings.class_weights)
    loss: Callable[..., Tensor] = ops.cross_entropy
    if weights is not None:
        loss = partial(ops.cross_entropy, weight=Tensor(weights.astype(np.float32), device=settings.device))
        listed = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(classes, weights, strict=True))
        say(f"the classes have different numbers of images, so that their images weigh in the loss: {listed} "
            "(--class-weights off to weigh them equally)")
    optimizer = Adam(model.parameters())
    schedule = OneCycle(optimizer, peak=settings.lr, steps=max(2, settings.epochs * len(train)))
    saved = out / "best.safetensors"
    history = fit(model, optimizer, train, epochs=settings.epochs, validation=validation, loss=loss, schedule=schedule,
                  callbacks=[callbacks.BestModel(saved), callbacks.EarlyStopping(patience=settings.patience),
                             callbacks.Log(out / "log.csv")],
                  checkpoint=out / "checkpoint.safetensors", resume=settings.resume)
    best = load(saved).to(settings.device)
    parts = {"train": fold.train, "validation": fold.validation, "test": fold.test}
    p = {name: Classifier(best).probabilities(samples.part(part)) for name, part in parts.items()}
    remember(best, samples.part(fold.train), samples.part(fold.validation), size=samples.usual)
    return Trained(best, history, weights,
                   {name: np.log(np.maximum(one, np.finfo(np.float64).tiny)) for name, one in p.items()})


def made(samples: Samples, settings: Settings) -> nn.Sequential:
    """An untrained model for the images."""
    size, _, channels = samples.shape
    model = choose(size, channels, len(samples.folder.classes)).to(settings.device)
    model.classes, model.scaling = samples.folder.classes, nn.Scaling()
    return model


def loaders(samples: Samples, fold: Fold, model: Module, settings: Settings) -> tuple[Loader, Loader]:
    """The training and validation batches."""
    scaling, labels = model.scaling or nn.Scaling(), samples.folder.labels

    def scaled(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return scaling(images), labels

    return (Loader(samples.part(fold.train), labels[fold.train], batch_size=settings.batch_size, shuffle=True,
                   transform=scaled, augment=settings.augmentation(), threads=1),
            Loader(samples.part(fold.validation), labels[fold.validation], batch_size=128, transform=scaled, threads=1))


def threshold_of(labels: np.ndarray, probabilities: np.ndarray, settings: Settings) -> float | None:
    """The threshold of the settings, chosen on images (N) that were not trained on, with their probabilities (N,K).

    None stands for the most probable class, which of two is the one above 0.5.
    """
    if settings.sensitivity is not None:
        return sensitive_threshold(labels, probabilities[:, 1], settings.sensitivity)
    if settings.threshold == "balanced":
        return balanced_threshold(labels, probabilities[:, 1])
    return float(settings.threshold) if settings.chooses_threshold else None


def decided(probabilities: np.ndarray, threshold: float | None) -> np.ndarray:
    """The predicted classes (N) of probabilities (N,K)."""
    if threshold is None:
        return probabilities.argmax(axis=1)
    return (probabilities[:, 1] > threshold).astype(np.int64)
