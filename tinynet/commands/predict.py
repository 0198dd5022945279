"""`tinynet predict`: the classes of images, with their probabilities."""

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from tinynet.classifier import Classifier
from tinynet.commands.answers import add_command, add_device, complain, csv_line, images_below, one_line, show
from tinynet.data import read_image
from tinynet.errors import DataError, printable
from tinynet.novelty import unlikeness
from tinynet.output import json_text
from tinynet.saving.models import load

STDIN = "-"
SHOWN = 5  # classes of an image

_EXAMPLES = """\
  tinynet predict model.safetensors one.jpg two.png
  tinynet predict model.safetensors folder/ --csv > answers.csv
  curl -s localhost/camera.jpg | tinynet predict model.safetensors - --json"""


def add(commands: Any) -> None:
    """Describe the command."""
    made = add_command(commands, "predict", predict, "the classes of images of any size", _EXAMPLES,
                       csv=True)
    made.add_argument("images", metavar="IMAGE", nargs="+",
                      help="an image file; a folder, for all images below it; or - for one image from stdin")
    add_device(made)


def predict(options: argparse.Namespace) -> int:
    """Print the classes of images with their probabilities, the most probable first."""
    pictures = Classifier(load(options.model).to(options.device))
    answers: list[dict[str, Any]] = []  # in the order of the images, those that cannot be read included
    failed = 0
    if options.csv:
        show(csv_line(["image", "class", "probability", *(f"p({name})" for name in pictures.classes),
                       *(["unlike_training"] if pictures.model.familiar else []), "error"]))
    for batch in _batches(options.images, options.batch_size):
        first, read = len(answers), []
        for name, error in batch:
            answers.append({"image": name})
            try:
                if error is not None:
                    raise error
                pixels = read_image(_source(name), size=pictures.size, channels=pictures.channels)
                read.append((answers[-1], pixels))
            except DataError as fault:
                failed = complain(fault, 1)
                answers[-1]["error"] = one_line(fault)
        _complete(pictures, read, options.batch_size)
        if not options.json:
            for answer in answers[first:]:
                _print(answer, pictures, options.csv)
    if options.json:
        show(json_text(answers, indent=1))
    return failed


def _source(name: str) -> str | BinaryIO:
    """What `read_image` reads for an argument of the command."""
    if name != STDIN:
        return name
    if sys.stdin is None:
        raise DataError("predict: stdin must be open for - to be read, and is not; name a file")
    return sys.stdin.buffer


def _batches(images: list[str], size: int) -> Iterator[list[tuple[str, DataError | None]]]:
    """The names of images, those of folders included, `size` at a time, each with an error that is known already."""
    found: list[tuple[str, DataError | None]] = []
    for image in images:
        if image == STDIN or not os.path.isdir(image):
            found.append((image, None))
        else:
            try:
                found += [(path, None) for path in images_below(image)]
            except DataError as error:
                found.append((image, error))
    for start in range(0, len(found), size):
        yield found[start : start + size]


def _complete(pictures: Classifier, read: list[tuple[dict[str, Any], Any]], batch_size: int) -> None:
    """Add class and probabilities to the answers, which are given with their pixels."""
    if not read:
        return
    images = np.stack([pixels for _, pixels in read])
    probabilities = pictures.probabilities(images, batch_size=batch_size)
    unlike = unlikeness(pictures.model, images)
    for place, ((answer, _), row, number) in enumerate(
            zip(read, probabilities.tolist(), pictures.decided(probabilities), strict=True)):
        ranked = dict(sorted(zip(pictures.classes, row, strict=True), key=lambda pair: -pair[1]))
        answer.update({"class": pictures.classes[number], "probability": row[number], "probabilities": ranked})
        if unlike is not None:
            answer.update({"unlikeness": float(unlike[place]), "unlike_training": bool(unlike[place] > 1)})


def _print(answer: dict[str, Any], pictures: Classifier, as_csv: bool) -> None:
    shares = answer.get("probabilities", {})
    if as_csv:
        show(csv_line([answer["image"], answer.get("class"), answer.get("probability"),
                       *(shares.get(name) for name in pictures.classes),
                       *([answer.get("unlike_training")] if pictures.model.familiar else []), answer.get("error")]))
    elif shares:
        ranked = sorted(shares.items(), key=lambda pair: pair[0] != answer["class"])[:SHOWN]  # the predicted one first
        note = ""
        if pictures.model.decision_threshold is not None:
            note += f" ({pictures.classes[1]} is predicted above {pictures.threshold:.1%})"
        if answer.get("unlike_training"):
            note += "; unlike the training images"
        show(f"{printable(answer['image'])}: {', '.join(f'{name} {share:.1%}' for name, share in ranked)}{note}")
