"""Whether an image is unlike the training images of a classifier: what a model remembers of them.

    remember(model, train, validation)           # images, uint8 (N,H,W,C); sets model.familiar, which tn.save keeps
    unlikeness(model, images) > 1                # which of these are unlike the training images
"""

from typing import Any

import numpy as np

from tinynet.classifier import Classifier
from tinynet.ensemble import members
from tinynet.errors import ModelFileError
from tinynet.familiar import Familiar, statistics
from tinynet.nn.dense import Dense
from tinynet.nn.module import Module
from tinynet.tape import evaluated
from tinynet.tensor import Tensor
from tinynet.tracing import observe
from tinynet.training.step import device_of
from tinynet.types import Array

AT_ONCE = 64  # images
MOST = 2000  # images of a part that are looked at, equally spaced


def remember(model: Module, train: Any, validation: Any, *, size: tuple[int, int] | None = None) -> None:
    """Keep in a classifier what its training images are like: `model.familiar`, a tuple of one.

    train, validation   uint8 (N,H,W,C): arrays, or images that are read when they are indexed
    size                the usual height and width in the files, if it is not that of the images

    Errors: ModelFileError for a model that is no classifier of images; ArgumentError without images.

    >>> import tinynet as tn
    >>> model = tn.nn.Sequential(tn.nn.Flatten(), tn.nn.Dense(64, 2), input_shape=(8, 8, 1))
    >>> from tinynet.random import uniform
    >>> images = (99 * uniform((300, 8, 8, 1), (0, 0), 0)).astype("uint8")
    >>> remember(model, images[:200], images[200:])
    >>> bool(unlikeness(model, 255 - images[:1])[0] > 1)
    True
    """
    pictures = Classifier(model)
    chosen, others = (np.linspace(0, len(part) - 1, min(MOST, len(part))).astype(np.int64) for part in
                      (train, validation))
    moments, features = np.zeros((3, pictures.channels)), []
    for start in range(0, len(chosen), AT_ONCE):
        pixels = np.asarray(train[chosen[start : start + AT_ONCE]])
        flat = pixels.reshape(-1, pictures.channels).astype(np.float64)
        moments += np.stack([np.full(pictures.channels, len(flat)), flat.sum(axis=0), (flat * flat).sum(axis=0)])
        features.append(_features(pictures, model, pixels))
    mean = moments[1] / np.maximum(moments[0], 1)
    deviation = np.sqrt(np.maximum(moments[2] / np.maximum(moments[0], 1) - mean**2, 0))
    model.familiar = (Familiar.fit(np.concatenate(features) if features else np.zeros((0, 1)),
                                   _all_features(pictures, model, validation[others]), mean=mean, deviation=deviation,
                                   size=size or pictures.size),)


def unlikeness(model: Module, images: Any) -> Array | None:
    """How unlike the training images some are: float64 (N), above 1 for unlike; None if the model does not know.

    images   uint8 (N,H,W,C)

    Of an ensemble, it is the mean over the members, each of which has its own training images.
    """
    if model.familiar is None:
        return None
    pictures, parts = Classifier(model), members(model)
    if len(parts) != len(model.familiar):
        raise ModelFileError(f"unlikeness: the model must know training images for each of its {len(parts)} members, "
                             f"and has those of {len(model.familiar)}; is the file damaged?")
    if not len(images):
        return np.zeros(0)
    return np.mean([one.score(_all_features(pictures, part, images))
                    for one, part in zip(model.familiar, parts, strict=True)], axis=0)


def _all_features(pictures: Classifier, model: Module, images: Any) -> Array:
    found = [_features(pictures, model, np.asarray(images[np.arange(start, min(start + AT_ONCE, len(images)))]))
             for start in range(0, len(images), AT_ONCE)]
    return np.concatenate(found) if found else np.zeros((0, 1))


def _features(pictures: Classifier, model: Module, pixels: Array) -> Array:
    """Statistics of the pixels, and the input of the last dense layer, or of the model without one: (N,F)."""
    dense = [module for _, module in model.modules() if isinstance(module, Dense)]
    hidden: list[Any] = []

    def look(module: Module, run: Any) -> Any:
        return run()

    x = Tensor(pictures.inputs(pixels), device=device_of(model.parameters()))
    if dense:
        last = dense[-1]
        forward = last.forward

        def kept(x: Tensor, *more: Any, **options: Any) -> Any:
            hidden.append(x.numpy())
            return forward(x, *more, **options)

        vars(last)["forward"] = kept
        try:
            with observe(module=look):  # a recording would pass the layer over
                evaluated(model, x)
        finally:
            del vars(last)["forward"]
    deep = hidden[-1].reshape(len(pixels), -1) if hidden else np.zeros((len(pixels), 0))
    return np.concatenate([statistics(pixels), deep.astype(np.float64)], axis=1)
