"""Training by a recipe, and the probabilities that a trained model gives to images.

A recipe may ask for two means. `average` is the number of last epochs whose weights are averaged. `views` is the number
of random changes, those of training, in which each image is shown to the model beside the image itself; its probability
is the mean over all of them. With `estimate_prior`, the probabilities of two classes are corrected to the share of the
classes that is estimated on the images themselves, without their labels.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import tinynet as tn
from paper.appearance import augmentation
from tinynet.atomic import write_whole
from tinynet.errors import NonFiniteError

EVALUATED = 256  # batch size of validation and test
VIEWS_SEED = 1  # of the changes in which images are shown to a trained model

Images = Any  # uint8 (N,H,W,C), or a tn.data.Images of this shape


@dataclass(frozen=True)
class Recipe:
    """How models are trained: AdamW, one cycle of the rate up to `peak`; the rest as in `fit` and `augmentation`."""

    epochs: int
    batch_size: int = 128
    peak: float = 3e-3
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    max_norm: float | None = None
    augment: dict[str, Any] = field(default_factory=dict)
    average: int = 0
    views: int = 0
    estimate_prior: bool = False

    def settings(self) -> dict[str, Any]:
        """The fields by name, without the means that are not asked for, which older records do not have."""
        later = ("average", "views", "estimate_prior")
        return {name: value for name, value in asdict(self).items() if value or name not in later}


class LastEpochs(tn.callbacks.Callback):
    """Saves the model after each of the last epochs, for `averaged`. A resumed run replaces the files that it repeats.

    model   its architecture is not saved, so that it may have layers of its own
    """

    def __init__(self, path: Path, count: int) -> None:
        self.path, self.count = path.absolute(), count

    def on_epoch(self, run: tn.callbacks.Run) -> None:
        if run.epoch > run.epochs - self.count:
            content = io.BytesIO()
            np.savez(content, **run.model.state_dict())
            write_whole(self._path(run.epochs - run.epoch), content.getvalue())

    def averaged(self) -> dict[str, np.ndarray]:
        """The mean of the saved states; a counter is that of the last epoch."""
        states = []
        for place in range(self.count):
            with np.load(self._path(place)) as arrays:  # which refuses pickles
                states.append(dict(arrays))
        return {name: np.mean([state[name] for state in states], axis=0, dtype=np.float64).astype(value.dtype)
                if value.dtype.kind == "f" else value for name, value in states[0].items()}

    def remove(self) -> None:
        """Remove the files."""
        for place in range(self.count):
            self._path(place).unlink(missing_ok=True)

    def _path(self, place: int) -> Path:
        """The file of the last epoch (0), of the one before it (1), ..."""
        return self.path.with_name(f"{self.path.name}.{place}.npz")


def fit(model: tn.nn.Module, train: tn.data.Loader, recipe: Recipe, *, checkpoint: Path | None = None,
        callbacks: Sequence[tn.callbacks.Callback] = (), weights: np.ndarray | None = None, **options: Any
        ) -> list[dict[str, float]]:
    """Train a model by a recipe, as `tn.fit` with these options. With `average`, a checkpoint must be named.

    weights   of the classes in the loss (K), or None
    """
    optimizer = tn.optim.AdamW(model.parameters(), weight_decay=recipe.weight_decay)
    schedule = tn.optim.OneCycle(optimizer, peak=recipe.peak, steps=max(2, recipe.epochs * len(train)))

    weight = None if weights is None else tn.Tensor(weights.astype("float32"), device=model.parameters()[0].device)

    def loss(scores: tn.Tensor, labels: tn.Tensor) -> tn.Tensor:
        return tn.ops.cross_entropy(scores, labels, weight, label_smoothing=recipe.label_smoothing)

    last = LastEpochs(checkpoint, min(recipe.average, recipe.epochs)) if recipe.average and checkpoint else None
    history = tn.fit(model, optimizer, train, epochs=recipe.epochs, loss=loss, schedule=schedule,
                     max_norm=recipe.max_norm, checkpoint=checkpoint,
                     callbacks=[*callbacks, *filter(None, [last])], **options)
    if last:
        model.load_state_dict(last.averaged())
    return history


def loader(part: tuple[Images, np.ndarray], recipe: Recipe, scaling: Callable[[Any], Any], *, training: bool = False,
           view: int | None = None) -> tn.data.Loader:
    """The batches of some images and labels: to train on; or to evaluate on, as they are or in a random view."""
    def scaled(images: Any, labels: Any) -> tuple[Any, Any]:
        return scaling(images), labels

    if training:
        return tn.data.Loader(*part, batch_size=recipe.batch_size, shuffle=True, transform=scaled, threads=1,
                              augment=augmentation(recipe.augment))
    batches = tn.data.Loader(*part, batch_size=EVALUATED, transform=scaled, threads=1, seed=VIEWS_SEED,
                             augment=None if view is None else augmentation(recipe.augment))
    batches.epoch = view or 0
    return batches


def probabilities(model: tn.nn.Module, part: tuple[Images, np.ndarray], recipe: Recipe,
                  scaling: Callable[[Any], Any]) -> np.ndarray:
    """The probabilities of the classes, float64 (N, K): of the images, or the mean over them and their views."""
    found = [softmax(tn.predict(model, loader(part, recipe, scaling, view=view)))
             for view in (None, *range(recipe.views))]
    return found[0] if len(found) == 1 else np.mean(found, axis=0)


def corrected(scores: np.ndarray, before: float, after: float) -> np.ndarray:
    """Probabilities of class 1 for another share of this class: `after` instead of `before`.

    >>> corrected(np.array([0.5]), 0.5, 0.8)
    array([0.8])
    """
    odds = np.clip(scores, 1e-7, 1 - 1e-7)
    odds = odds / (1 - odds) * (after / (1 - after)) / (before / (1 - before))
    return np.asarray(odds / (1 + odds))


def estimated_prior(scores: np.ndarray, prior: float) -> float:
    """The share of class 1 among images without labels, by expectation maximisation (Saerens and others, 2002)."""
    found = prior
    for _ in range(100):
        found = float(np.clip(corrected(scores, prior, found).mean(), 0.01, 0.99))
    return found


def with_estimated_prior(probabilities: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Probabilities (N, 2) corrected from the share of class 1 among the labels `trained` to that of the images."""
    prior = float(trained.mean())
    scores = corrected(probabilities[:, 1], prior, estimated_prior(probabilities[:, 1], prior))
    return np.stack([1 - scores, scores], axis=1)


def softmax(scores: Any) -> np.ndarray:
    """The softmax of scores (N, K), in float64. Errors: NonFiniteError for scores that are NaN or infinite."""
    scores = scores.astype(np.float64)
    if not np.isfinite(scores).all():
        raise NonFiniteError("test: the scores of the model must be finite, and are not for some test images; "
                             "has the training diverged? a smaller peak of the learning rate")
    return np.asarray(tn.ops.softmax.forward(np, scores)[0])
