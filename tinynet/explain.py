"""What a classifier of images looks at: maps of an image, higher where its content speaks for a class.

    maps = tn.explain.grad_cam(model, x)          # x (N,H,W,C), as the model takes it -> float32 (N,H,W)

    gradient    from the gradient of the score: fast, fine, noisy
    grad_cam    from the last feature map: fast, coarse
    occlusion   from the fall of the probability where a part is covered: slow, coarse, about the model as it is

Each function takes a model whose inputs are images (N,H,W) or (N,H,W,C), scaled as it was trained on, and whose outputs
are scores or probabilities of classes. `target` is the class to explain: a number, or one for each image (N); None
stands for the class that the model predicts, by its `decision_threshold`. The model does not change: neither its mode
nor its gradients. The map of an ensemble is the mean of the maps of its members. Inside `tn.no_grad()` maps are the
same.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinynet import ops
from tinynet.ensemble import gives_probabilities, members
from tinynet.errors import ArgumentError, ShapeError
from tinynet.nn.module import Module
from tinynet.plain import plain, plain_array
from tinynet.tape import evaluated, taped
from tinynet.tensor import Tensor
from tinynet.tracing import observe
from tinynet.training.evaluate import predict
from tinynet.training.step import device_of
from tinynet.types import Array, ArrayLike

__all__ = ["grad_cam", "gradient", "occlusion"]

BATCH = 32  # images at once
COVERS = 7  # of an occluding patch, along the image
WIDTH = 1 / 28  # of the smoothing of `gradient`, as a share of the image's side

Target = int | ArrayLike | None


def gradient(model: Module, x: ArrayLike, target: Target = None) -> Array:
    """The gradient of the class score, times how far each pixel is from the mean of its image: float32 (N,H,W).

    To first order, this is what the score loses if the pixel is covered by the mean color. It is summed over the
    channels, and smoothed by a Gaussian with a deviation of a 28th of the image's side. Values are positive where the
    content speaks for the class, and negative where it speaks against it.

    Source: Simonyan, Vedaldi, Zisserman 2014; times the input: Shrikumar et al. 2016.

    >>> import tinynet as tn
    >>> model = tn.nn.Sequential(tn.nn.Flatten(), tn.nn.Dense(64, 2))
    >>> gradient(model, np.zeros((3, 8, 8, 1), "float32")).shape
    (3, 8, 8)
    """
    images, targets = _checked("gradient", model, x, target)

    def of_member(member: Module, images: Array, targets: Array, _: dict[int, Any]) -> Array:
        inputs = Tensor(images, requires_grad=True, device=device_of(member.parameters()))
        slope = _slope(_score(member, inputs, targets), inputs)
        means = images.mean(axis=(1, 2), keepdims=True)
        return _smooth(_over_channels(slope * (images - means)))

    return _mean_over_members(model, images, targets, of_member)


def grad_cam(model: Module, x: ArrayLike, target: Target = None, layer: str | Module | None = None) -> Array:
    """Grad-CAM: the feature maps of a layer, weighed by the mean gradient of the score: float32 (N,H,W), at least 0.

    layer   a module of the model, or its path, such as "6". By default, it is the last one whose output has the axes of
            an image, (N,h,w,C); without one, the last whose output is a sequence (N,T,C) over the rows of the image

    The map is enlarged to the size of the image.

    Errors: ArgumentError if the model has no such layer.

    Source: Selvaraju et al. 2017.

    >>> import tinynet as tn
    >>> model = tn.nn.Sequential(tn.nn.Conv2D(1, 4, 3), tn.nn.ReLU(), tn.nn.Flatten(), tn.nn.Dense(144, 2))
    >>> grad_cam(model, np.zeros((3, 8, 8, 1), "float32")).shape
    (3, 8, 8)
    """
    images, targets = _checked("grad_cam", model, x, target)

    def of_member(member: Module, images: Array, targets: Array, copies: dict[int, Any]) -> Array:
        chosen = _layer(member, images, copies.get(id(layer), layer))
        features, slopes = _at_layer(member, chosen, images, targets)
        axes = tuple(range(1, features.ndim - 1))
        weights = slopes.mean(axis=axes, keepdims=True)  # (N,1,1,C), or (N,1,C)
        found = np.maximum((features * weights).sum(axis=-1), 0)  # (N,h,w), or (N,T)
        if found.ndim == 2:
            found = np.repeat(found[:, :, None], images.shape[2], axis=2)
        return _enlarged(found, images.shape[1], images.shape[2])

    return _mean_over_members(model, images, targets, of_member)


def occlusion(model: Module, x: ArrayLike, target: Target = None, size: int | tuple[int, int] | None = None) -> Array:
    """The fall of the class probability where a patch covers the image, a mean over patches: float32 (N,H,W).

    size   height and width of the patch, or one number for both; by default a seventh of the image. It moves by half of
           its size, and has the mean color of the image

    Source: Zeiler, Fergus 2014.

    >>> import tinynet as tn
    >>> model = tn.nn.Sequential(tn.nn.Flatten(), tn.nn.Dense(64, 2))
    >>> occlusion(model, np.zeros((3, 8, 8, 1), "float32"), size=4).shape
    (3, 8, 8)
    """
    images, targets = _checked("occlusion", model, x, target)
    sides: Sequence[int] = images.shape[1:3]
    given = size if isinstance(size, tuple | list) else (size, size)
    patch = [max(1, round(side / COVERS)) if one is None else plain(one)
             for one, side in zip(given, sides, strict=False)]
    if len(given) != 2 or not all(isinstance(one, int) and 1 <= one <= side
                                  for one, side in zip(patch, sides, strict=True)):
        raise ArgumentError(f"occlusion: size must be from 1 to the image's {sides[0]} x {sides[1]}, got {size!r}; "
                            f"None for a {COVERS}th")
    return np.stack([_occluded(model, image, int(number), patch)
                     for image, number in zip(images, targets, strict=True)])


# --- the parts ------------------------------------------------------------------------------------------------------

def _checked(function: str, model: Module, x: ArrayLike, target: Target) -> tuple[Array, Array]:
    """Images of float32 (N,H,W) or (N,H,W,C), and the number of a class for each."""
    images = plain_array(x, f"{function}: x")
    if images.ndim not in (3, 4) or not images.size:
        raise ShapeError(f"{function}: x must be images, (N,H,W) or (N,H,W,C), got {images.shape}; x[None] for "
                         "one image")
    images = images.astype(np.float32, copy=False)
    scores = predict(model, images, batch_size=BATCH)
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ShapeError(f"{function}: the model must give a score for each of two or more classes, (N,K), got "
                         f"{scores.shape}; end it with a Dense")
    if target is None:
        return images, _decided(model, scores)
    targets = plain_array(target, f"{function}: target")
    if (targets.dtype.kind not in "iu" or targets.shape not in ((), (1,), (len(images),)) or targets.min() < 0
            or targets.max() >= scores.shape[1]):
        raise ArgumentError(f"{function}: target must be the number of a class below {scores.shape[1]}, or one for "
                            f"each image, got {target!r}; None for the predicted class")
    return images, np.broadcast_to(targets, len(images))


def _decided(model: Module, scores: Array) -> Array:
    """The predicted class (N) for scores or probabilities (N,K)."""
    if model.decision_threshold is None or scores.shape[1] != 2:
        return scores.argmax(axis=1)
    p = scores if gives_probabilities(model) else Tensor(ops.softmax(Tensor(scores))).numpy()
    return (p[:, 1] > model.decision_threshold).astype(np.int64)


def _mean_over_members(model: Module, images: Array, targets: Array,
                       of_member: Callable[[Module, Array, Array, dict[int, Any]], Array]) -> Array:
    """The mean of the maps of all members of an ensemble.

    of_member(a copy of the member that takes no gradients, images, targets, the copies of its parts by id) -> maps
    """
    total = np.zeros(images.shape[:3], np.float32)
    parts = members(model)
    for member in parts:
        copies: dict[int, Any] = {}
        alone = copy.deepcopy(member, copies)
        for parameter in alone.parameters():
            parameter.requires_grad = False
            parameter.grad = None
        for start in range(0, len(images), BATCH):
            some = slice(start, start + BATCH)
            maps = evaluated(taped, of_member, alone, images[some], targets[some], copies)
            total[some] += maps / len(parts)
    return total


def _score(model: Module, x: Tensor, targets: Array) -> Tensor:
    """The sum of the scores of the targets; of a model that gives probabilities, of their logarithms."""
    scores: Tensor = model(x)
    if gives_probabilities(model):
        scores = ops.log(scores + 1e-30)
    chosen = np.zeros(scores.shape, np.float32)
    chosen[np.arange(len(targets)), targets] = 1
    return (scores * Tensor(chosen, device=scores.device)).sum()


def _slope(score: Tensor, leaf: Tensor) -> Array:
    """The gradient of a score with respect to a leaf: zeros if it does not depend on it."""
    if score.requires_grad:
        score.backward()
    return np.zeros(leaf.shape, np.float32) if leaf.grad is None else Tensor(leaf.grad).numpy()


def _over_channels(values: Array) -> Array:
    return values.sum(axis=-1) if values.ndim == 4 else values


def _smooth(maps: Array) -> Array:
    """Maps (N,H,W), smoothed by a Gaussian whose deviation is the share WIDTH of each side."""
    for axis in (1, 2):
        side = maps.shape[axis]
        places = np.arange(side)
        kernel = np.exp(-0.5 * ((places[:, None] - places) / max(WIDTH * side, 0.5)) ** 2)
        kernel /= kernel.sum(axis=1, keepdims=True)
        maps = np.moveaxis(np.moveaxis(maps, axis, -1) @ kernel.T, -1, axis)
    return maps.astype(np.float32)


def _layer(model: Module, images: Array, given: str | Module | None) -> Module:
    """The module whose output Grad-CAM weighs."""
    shapes: dict[int, tuple[Module, tuple[int, ...]]] = {}

    def look(module: Module, run: Callable[[], Any]) -> Any:
        output = run()
        if isinstance(output, Tensor):
            shapes.pop(id(module), None)  # of several uses of a module, the last one counts
            shapes[id(module)] = (module, output.shape)
        return output

    named = {path: module for path, module in model.modules()}
    if given is not None and not isinstance(given, Module):
        if given not in named:
            raise ArgumentError(f"grad_cam: layer must be the path of a module, such as {list(named)[-1]!r}, got "
                                f"{given!r}; None for the last feature map")
        given = named[given]
    with observe(module=look):
        model(Tensor(images[:1], device=device_of(model.parameters())))
    if given is not None:
        shape = shapes.get(id(given), (given, ()))[1]
        if len(shape) not in (3, 4):
            raise ArgumentError(f"grad_cam: layer must have an output (N,h,w,C) or (N,T,C), got {shape or 'none'}; "
                                "None for the last feature map")
        return given
    images_like = [module for module, shape in shapes.values() if len(shape) == 4 and min(shape[1:3]) > 1]
    sequences = [module for module, shape in shapes.values() if len(shape) == 3 and shape[1] > 1]
    if not images_like and not sequences:
        raise ArgumentError("grad_cam: the model must have a layer whose output is (N,h,w,C) or (N,T,C), and has none; "
                            "tn.explain.gradient or occlusion")
    return (images_like or sequences)[-1]


def _at_layer(model: Module, layer: Module, images: Array, targets: Array) -> tuple[Array, Array]:
    """The output of a layer, and the gradient of the scores with respect to it."""
    leaves: list[Tensor] = []

    def look(module: Module, run: Callable[[], Any]) -> Any:
        output = run()
        if module is layer:
            leaves.append(Tensor(output.data, requires_grad=True))
            return leaves[-1]
        return output

    with observe(module=look):
        score = _score(model, Tensor(images, device=device_of(model.parameters())), targets)
    return leaves[-1].numpy(), _slope(score, leaves[-1])


def _enlarged(maps: Array, height: int, width: int) -> Array:
    """Maps (N,h,w) at another size, by linear interpolation between the centers of their elements."""
    for axis, side in ((1, height), (2, width)):
        size = maps.shape[axis]
        place = np.clip((np.arange(side) + 0.5) * size / side - 0.5, 0, size - 1)
        low = place.astype(np.int64)
        share = (place - low).reshape([-1 if other == axis else 1 for other in range(3)])
        maps = (1 - share) * maps.take(low, axis) + share * maps.take(np.minimum(low + 1, size - 1), axis)
    return maps.astype(np.float32)


def _occluded(model: Module, image: Array, target: int, size: Sequence[int]) -> Array:
    (height, width), (tall, wide) = image.shape[:2], size
    corners = [(y, x) for y in range(0, height, max(1, tall // 2)) for x in range(0, width, max(1, wide // 2))]
    cover, fall, covers = image.mean(axis=(0, 1)), np.zeros((height, width)), np.zeros((height, width))
    whole = _probability(model, image[None], target)[0]
    for start in range(0, len(corners), BATCH):
        some = corners[start : start + BATCH]
        batch = np.repeat(image[None], len(some), axis=0)
        for row, (y, x) in enumerate(some):
            batch[row, y : y + tall, x : x + wide] = cover
        for (y, x), p in zip(some, _probability(model, batch, target), strict=True):
            fall[y : y + tall, x : x + wide] += whole - p
            covers[y : y + tall, x : x + wide] += 1
    return (fall / covers).astype(np.float32)


def _probability(model: Module, images: Array, target: int) -> Array:
    scores = predict(model, images, batch_size=BATCH)
    p = scores if gives_probabilities(model) else ops.softmax(Tensor(scores)).numpy()
    return p[:, target]
