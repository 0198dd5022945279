"""`tinynet evaluate`: accuracy, precision and recall of a model on labelled images."""

import argparse
from typing import Any

from tinynet.classifier import Classifier, report, score
from tinynet.commands.answers import add_command, add_device, csv_line, show
from tinynet.data import load as load_data
from tinynet.data import scan_folder
from tinynet.data.digits.mnist import find_below
from tinynet.errors import DataError, counted, printable
from tinynet.novelty import unlikeness
from tinynet.output import json_text, say
from tinynet.saving.models import load

_EXAMPLES = """\
  tinynet evaluate model.safetensors my/images
  tinynet evaluate model.safetensors my/images --part val --json
  tinynet evaluate model.safetensors mnist"""


def add(commands: Any) -> None:
    """Describe the command."""
    made = add_command(commands, "evaluate", evaluate, "accuracy, precision and recall of a model on labelled images",
                       _EXAMPLES, csv=True)
    made.add_argument("data", metavar="DATA", help="mnist, digits, or a folder with a folder of images for each class")
    made.add_argument("--part", choices=("all", "train", "val", "test"),
                      help="of a folder that has parts (default: test if it has one, else all)")
    add_device(made)


def evaluate(options: argparse.Namespace) -> int:
    """Print accuracy, precision and recall of each class, and the confusion matrix."""
    pictures = Classifier(load(options.model).to(options.device))
    images, labels, groups, sentence, skipped = _labelled(pictures, options)
    probabilities = pictures.probabilities(images, batch_size=options.batch_size)
    predicted, threshold = pictures.decided(probabilities), pictures.model.decision_threshold
    unlike = unlikeness(pictures.model, images)
    found = score(labels, probabilities, pictures.classes, predicted=predicted, threshold=threshold, groups=groups)
    if unlike is not None:
        found["unlike_training"] = int((unlike > 1).sum())
    if options.json:
        show(json_text({"data": sentence, **found, "skipped": skipped}, indent=1))
    elif options.csv:
        columns = ["precision", "recall", "f1", "images"]
        show(csv_line(["class", *columns]))
        for name, figures in found["per_class"].items():
            show(csv_line([name, *(figures[column] for column in columns)]))
        for name, reason in skipped.items():
            say(f"skipped {printable(name)}: {reason}", error=True)
    else:
        show(sentence)
        for name, reason in skipped.items():
            show(f"  skipped {printable(name)}: {reason}")
        show(f"\n{report(found)}")
        if unlike is not None:
            show(f"\nUnlike the training images: {found['unlike_training']:,} of {counted(len(labels), 'image')}.")
        if folder_groups := found["groups"]:
            show(f"\nThe interval is resampled by {counted(folder_groups, 'group')} of images, as the file names tell "
                 "them.")
    return 0


def _labelled(pictures: Classifier, options: argparse.Namespace) -> tuple[Any, Any, Any, str, dict[str, str]]:
    """Images (N,H,W,C), labels (N) of the model's classes, groups or None, a sentence, reasons for skipped files."""
    if options.data in ("auto", "mnist", "digits") or find_below(options.data) is not None:
        data, sentence = load_data(options.data)
        size = (*data.test_images.shape[1:], 1)
        if size != (*pictures.size, pictures.channels):
            raise DataError(f"evaluate: {data.name} has images of {size}, and the model takes "
                            f"{(*pictures.size, pictures.channels)}; give a folder of images, which are resized")
        return (data.test_images[..., None], pictures.labels_of(data.test_labels, data.classes), None,
                f"{sentence} The test part.", {})
    folder = scan_folder(options.data, min_classes=1)
    part = options.part or ("test" if "test" in folder.parts else "all")
    if part != "all":
        folder = folder.select(folder.part_of == part)
        if not len(folder):
            raise DataError(f"evaluate: {printable(options.data)} must have images in its part {part!r}, and has none; "
                            "choose another --part")
    sentence = (f"{printable(options.data)}: {counted(len(folder), 'image')}, {folder.layout}"
                f"{f', the part {part!r}' if folder.parts else ''}.")
    labels = pictures.labels_of(folder.labels, folder.classes)
    skipped = {one.name: one.reason for one in folder.skipped}
    return folder.images(pictures.size, pictures.channels), labels, folder.groups, sentence, skipped
