"""What the numbers of a training mean, and where they cannot mean what they seem to."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynet.data.images.folder import ImageFolder
from tinynet.errors import counted
from tinynet.from_folder.settings import Settings

DISAGREEMENT = 0.2  # of the accuracy in training and in evaluation, above which a warning is printed
MEASURABLE = 100  # images: with fewer, no calibration error is told
WIDE = 0.5  # the width of an interval, above which a warning is printed
FEW = 5  # images of a class, below which a warning is printed


def doubts_of_training(found: dict[str, Any], history: list[dict[str, float]], predicted: np.ndarray) -> list[str]:
    """What makes a kept model doubtful: one answer for all images, or another accuracy than it had in training.

    found       the scores of the uncalibrated model on its training images, as of `score`
    history     the epochs of `fit`
    predicted   the classes (N) that the model decides on for all images
    """
    said, names = [], list(found["per_class"])
    answers = np.unique(predicted)
    if len(answers) == 1:
        said.append(f"the model must tell the classes apart, and takes all {counted(len(predicted), 'image')} for "
                    f"{names[answers[0]]!r}; train for more epochs, with another --lr, or look at the images")
    kept = min(history, key=lambda row: row["validation_loss"])
    learning, evaluating = kept["train_accuracy"], found["accuracy"]
    if abs(learning - evaluating) > DISAGREEMENT:
        said.append(f"the accuracy on the training images must not differ by more than {DISAGREEMENT} between training "
                    f"and evaluation, and is {learning:.4f} in training (epoch {kept['epoch']}) and {evaluating:.4f} "
                    "in evaluation; a smaller --batch-size gives the averages of BatchNorm more batches")
    return said


def doubts_of_numbers(found: dict[str, Any], what: str) -> list[str]:
    """Where the scores of some images cannot mean what they seem to: too few images, or no better than guessing.

    what   the images: "the test part"
    """
    said, (low, high) = [], found["interval"]
    if high - low > WIDE:
        said.append(f"accuracy {found['accuracy']:.4f} is that of {counted(found['images'], 'image')} in {what}, and "
                    f"its 95 % interval goes from {low:.2f} to {high:.2f}; take more images, or --folds 5, which tests "
                    "all")
    few = {name: row["images"] for name, row in found["per_class"].items() if row["images"] < FEW}
    if few and high - low <= WIDE:
        said.append(f"in {what} a class must have at least {FEW} images to be judged, and there are only "
                    f"{', '.join(f'{count} of {name}' for name, count in few.items())}; its precision and recall say "
                    "nothing; take more images")
    guessing = max(row["images"] for row in found["per_class"].values()) / found["images"]
    if found["accuracy"] <= guessing and found["balanced_accuracy"] < 1 and found["images"] > 1:
        said.append(f"accuracy {found['accuracy']:.4f} in {what} is no better than always naming the largest class, "
                    f"{guessing:.4f}; look at the mean recall, {found['balanced_accuracy']:.4f}")
    return said


def meaning(folder: ImageFolder, settings: Settings, sentence: str, *, by_folds: bool) -> list[str]:
    """Sentences on what the scores are about, and what they are not about."""
    said = [f"How the images were divided: {sentence}."]
    if by_folds:
        said.append("They are those of models that were not trained on the image in question, each trained on a part "
                    "of the images. The ensemble of these models was not measured itself; it is mostly better.")
    else:
        said.append("They are those of one division: another one gives other numbers. --folds 5 tests each image once.")
    if folder.groups is not None:
        said.append(f"They hold for new {folder.group_name}, if these resemble the ones here. The interval "
                    "is resampled by them.")
    else:
        said.append("They hold for new images that come from the same place in the same way. If several images show "
                    "the same subject, the numbers are too good: give --groups, a pattern of the file names.")
    said.append("They say nothing about images of another kind, another camera, or other shares of the classes.")
    return said


def decision(rule: dict[str, Any], classes: Sequence[str], settings: Settings, *, by_folds: bool,
             errors: dict[str, Any], gain: dict[str, float], images: int) -> list[str]:
    """Sentences on calibration and threshold, and the images that these were found on.

    errors   the calibration error "before" and "after", measured on a number of images; with folds, the mean of theirs
    gain     the log loss "before" and "after", its "gain" and the "error" of this
    """
    where = "on the validation part" + "s of all folds, and for these scores without the images in question" * by_folds
    said = [f"Probabilities are calibrated {where}, by a temperature of {rule['temperature']:.2f}"
            + " and biases of the classes" * any(rule["bias"])
            + (f"; the calibration error went from {errors['before']:.4f} to {errors['after']:.4f}"
               f"{', as a mean over the folds' * by_folds}, the log loss from {gain['before']:.4f} to "
               f"{gain['after']:.4f} ({_judged(gain)})."
               if images >= MEASURABLE else f"; {counted(images, 'image')}: too few to measure its error.")]
    if len(classes) == 2:
        chosen = "on the predictions of all folds, and for these scores on the other folds" if by_folds else where
        how = ("by default" if not settings.chooses_threshold else
               f"chosen {chosen} for a sensitivity of {settings.sensitivity:.0%}" if settings.sensitivity is not None
               else f"chosen {chosen} for the highest balanced accuracy" if settings.threshold == "balanced"
               else "as given")
        said.append(f"{classes[1]} is predicted if its probability is above {rule['threshold']:.4f}, {how}.")
    return said


def _judged(gain: dict[str, float]) -> str:
    """Whether a gain is beyond twice its standard error."""
    if not np.isfinite(gain["error"]):
        return "of a single group of images, so that its error is unknown"
    if not abs(gain["gain"]) > 2 * gain["error"]:
        return f"within the error of {gain['error']:.4f}: calibration changes nothing that can be measured"
    return f"a {'gain' if gain['gain'] > 0 else 'loss'} beyond its error of {gain['error']:.4f}"
