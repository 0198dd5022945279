"""`tinynet train`: a model of a folder of images."""

import argparse
from pathlib import Path
from typing import Any

from tinynet.commands.answers import add_command, positive, seed
from tinynet.from_folder.run import run
from tinynet.from_folder.settings import LARGEST, Settings

_EXAMPLES = """\
  tinynet train my/images
  tinynet train my/images --augment --folds 5 --out runs/mine
  tinynet train my/images --threshold balanced
  tinynet train my/images --out runs/mine --resume          # continue an interrupted run

FOLDER holds a folder of images for each class, or train/CLASS and test/CLASS, or one of the layouts of
tn.data.scan_folder. Unusable files are listed and left out. The images are resized to one size, and split into
training, validation and test parts. If the file names identify patients, no patient is in two parts. Training stops
early when the validation no longer improves; the best model is kept, and evaluated on the test part once. With --folds,
each image is in the test part of one model, and the result is the ensemble of these models."""


def add(commands: Any) -> None:
    """Describe the command."""
    usual = Settings(Path())
    made = add_command(commands, "train", train, "train a model on a folder of images, and evaluate it", _EXAMPLES,
                       model=False, json=False)
    made.set_defaults(refuse=made.error)
    made.add_argument("folder", type=Path, metavar="FOLDER", help="a folder of images, with a folder for each class")
    made.add_argument("--size", type=positive(int), help=f"image side in pixels (default: usual side, <= {LARGEST})")
    made.add_argument("--epochs", type=positive(int), default=usual.epochs,
                      help=f"most passes over the images (default: {usual.epochs})")
    made.add_argument("--patience", type=positive(int), default=usual.patience, metavar="N",
                      help=f"stop after N epochs without improvement (default: {usual.patience})")
    made.add_argument("--batch-size", type=positive(int), default=usual.batch_size,
                      help=f"images in a step (default: {usual.batch_size})")
    made.add_argument("--lr", type=positive(float), default=usual.lr,
                      help=f"the highest learning rate (default: {usual.lr})")
    made.add_argument("--augment", action="store_true", help="shift, rotate, scale, shear, and brighten at random")
    made.add_argument("--flip", choices=("horizontal", "vertical", "both"), help="also mirror them at random")
    made.add_argument("--class-weights", choices=("auto", "on", "off"), default=usual.class_weights,
                      help="weigh images of rare classes more (default: auto, if the smallest class has less than half "
                           "of the images of the largest one)")
    made.add_argument("--folds", type=positive(int), metavar="K",
                      help="train K models, each tested on the images that it was not trained on, and make an ensemble")
    decisions = made.add_mutually_exclusive_group()
    decisions.add_argument("--threshold", type=threshold, default=usual.threshold, metavar="P|balanced",
                           help="the probability above which the second of two classes is predicted; balanced: that of "
                                "the highest balanced accuracy (default: 0.5)")
    decisions.add_argument("--sensitivity", type=share, metavar="SHARE",
                           help="choose the threshold at which this share of the second of two classes is found")
    made.add_argument("--positive", metavar="CLASS", help="the class that counts as the second of two")
    made.add_argument("--groups", default=usual.groups, metavar="auto|none|PATTERN",
                      help=r"which images must not be divided: a pattern of the file names, such as 'patient(\d+)' "
                           "(default: auto, the patients or numbers of known forms of names)")
    made.add_argument("--max-skipped", type=share, default=usual.max_skipped, metavar="SHARE",
                      help=f"the share of the files that may be unusable (default: {usual.max_skipped})")
    made.add_argument("--device", default=usual.device, help="cpu, gpu, gpu:1 ..., or gpu-emulated (default: cpu)")
    made.add_argument("--seed", type=seed, default=usual.seed, help="seed of all random numbers (default: 0)")
    made.add_argument("--out", type=Path, default=usual.out, help=f"output folder (default: {usual.out})")
    made.add_argument("--resume", action="store_true", help="continue from the checkpoint in --out")


def train(options: argparse.Namespace) -> int:
    """Train a model on a folder of images."""
    if options.size is not None and not 8 <= options.size <= 1024:
        options.refuse("--size must be in [8, 1024]")
    if options.folds is not None and options.folds < 2:
        options.refuse("--folds must be at least 2")
    given = {name: getattr(options, name) for name in Settings.__dataclass_fields__}
    run(Settings(**{**given, "groups": None if options.groups == "none" else options.groups}))
    return 0


def share(text: str) -> float:
    """The argparse type of a number above 0 and at most 1."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1, got {text}")
    return value


def threshold(text: str) -> float | str:
    """The argparse type of a threshold: a number between 0 and 1, or "balanced"."""
    if text == "balanced":
        return text
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be between 0 and 1, or balanced, got {text}")
    return value
