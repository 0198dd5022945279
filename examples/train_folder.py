"""Train a model on a folder of your own images, and evaluate it.

    python examples/train_folder.py FOLDER
    python examples/train_folder.py FOLDER --size 96 --epochs 60 --augment --out runs/mine
    python examples/train_folder.py FOLDER --out runs/mine --resume          # continue an interrupted run

FOLDER holds a folder of PNG or JPEG files for each class, or train/CLASS and test/CLASS, or one of the layouts of
`tn.data.scan_folder`. Unusable files are listed and left out. The images are resized to one size, and split into
training, validation and test parts. If the file names identify patients, no patient is in two parts. Training stops
early when the validation no longer improves; the best model is kept, and evaluated on the test part once.

Written to --out: model.safetensors (for `python -m tinynet predict`), results.json, log.csv, checkpoint.safetensors
(for --resume), and with matplotlib curves.png, confusion.png, mistakes.png.

Exit codes: 0 done, 1 an error in the folder or a file, 2 in an option or the device, 130 ended by Ctrl-C, 143 by
SIGTERM.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import command
import models
import numpy as np
from command import positive
from paper.reporting import figures

import tinynet as tn
from tinynet.atomic import write_whole
from tinynet.classifier import Classifier, report, score
from tinynet.output import json_text, say

LARGEST = 128  # pixels a side, without --size
AUGMENT = {"shift": 0.1, "rotate": 10.0, "scale": 0.1, "shear": 5.0, "contrast": 0.1, "brightness": 0.05}
SHOWN = 25  # images in mistakes.png
DISAGREEMENT = 0.2  # of the accuracy in training and in evaluation, above which a warning is printed


def main(arguments: list[str] | None = None) -> int:
    return command.run(train, parse(arguments), again="the same command with --resume")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a folder of images, with a folder for each class")
    parser.add_argument("--size", type=positive(int), help=f"image side in pixels (default: usual side, <= {LARGEST})")
    parser.add_argument("--epochs", type=positive(int), default=40, help="most passes over the images (default: 40)")
    parser.add_argument("--patience", type=positive(int), default=12, metavar="N",
                        help="stop after N epochs without improvement (default: 12)")
    parser.add_argument("--batch-size", type=positive(int), default=32, help="images in a step (default: 32)")
    parser.add_argument("--lr", type=positive(float), default=2e-3, help="the highest learning rate (default: 0.002)")
    parser.add_argument("--augment", action="store_true", help="shift, rotate, scale, shear, and brighten at random")
    parser.add_argument("--flip", choices=("horizontal", "vertical", "both"), help="also mirror them at random")
    parser.add_argument("--device", default="cpu", help="cpu, gpu, gpu:1 ..., or gpu-emulated (default: cpu)")
    parser.add_argument("--seed", type=command.seed, default=0, help="seed of all random numbers (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("runs/folder"),
                        help="output folder (default: runs/folder)")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in --out")
    options = parser.parse_args(arguments)
    if options.size is not None and not 8 <= options.size <= 1024:
        parser.error("--size must be in [8, 1024]")
    return options


def train(options: argparse.Namespace) -> None:
    tn.backend.namespace(options.device)  # fails early for a missing device
    start = time.perf_counter()
    folder = tn.data.scan_folder(options.folder)
    say(folder.report())
    tn.seed(options.seed)
    fold, *others = tn.data.folds(folder)
    say(f"{fold.sentence}{f' (the first of {1 + len(others)} folds)' if others else ''}")
    size, channels = options.size or usual_size(folder), usual_channels(folder)

    model = choose(size, channels, len(folder.classes))
    model.classes, model.scaling = folder.classes, tn.nn.Scaling()
    say(f"images are resized to {size} x {size} x {channels}\n{model.to(options.device).summary()}")
    parts = {name: folder.select(getattr(fold, name)) for name in ("train", "validation", "test")}
    train_part, validation_part = loaders(parts, model, options)
    optimizer = tn.optim.Adam(model.parameters())
    schedule = tn.optim.OneCycle(optimizer, peak=options.lr, steps=max(2, options.epochs * len(train_part)))
    saved = options.out / "model.safetensors"
    history = tn.fit(
        model, optimizer, train_part, epochs=options.epochs, validation=validation_part, schedule=schedule,
        callbacks=[tn.callbacks.BestModel(saved), tn.callbacks.EarlyStopping(patience=options.patience),
                   tn.callbacks.Log(options.out / "log.csv")],
        checkpoint=options.out / "checkpoint.safetensors", resume=options.resume)

    pictures = Classifier(tn.load(saved).to(options.device))
    probabilities = {name: pictures.probabilities(part.images(size, channels)) for name, part in parts.items()}
    found = {name: score(part.labels, probabilities[name], pictures.classes) for name, part in parts.items()}
    say(f"\nThe best model on the test part:\n\n{report(found['test'])}\n")
    for warning in doubts(found, history, np.concatenate(list(probabilities.values()))):
        say(f"warning: {warning}", error=True)
    write(options, {
        "test": found["test"], "train": found["train"], "epochs": history,
        "classes": folder.classes, "layout": folder.layout, "parted": fold.sentence,
        "images": {name: len(part) for name, part in parts.items()}, "skipped": [list(one) for one in folder.skipped],
        "input_shape": model.input_shape, "parameters": sum(p.size for p in model.parameters()),
        "seconds": time.perf_counter() - start, "versions": tn.about().versions,
        "settings": {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()},
    }, parts["test"], probabilities["test"])


def doubts(found: dict[str, Any], history: list[dict[str, Any]], probabilities: np.ndarray) -> list[str]:
    """What makes the kept model doubtful: one answer for all images, or another accuracy than it had in training.

    `found` holds the scores by part, `history` the epochs of `fit`, `probabilities` (N,K) those of all images.
    """
    said = []
    answers = np.unique(probabilities.argmax(axis=1))
    if len(answers) == 1:
        name = list(found["train"]["per_class"])[answers[0]]
        said.append(f"the model must tell the classes apart, and takes all {len(probabilities):,} images for {name!r}; "
                    "train for more epochs, with another --lr, or look at the images")
    kept = min(history, key=lambda row: row["validation_loss"])
    learning, evaluating = kept["train_accuracy"], found["train"]["accuracy"]
    if abs(learning - evaluating) > DISAGREEMENT:
        said.append(f"the accuracy on the training images must not differ by more than {DISAGREEMENT} between training "
                    f"and evaluation, and is {learning:.4f} in training (epoch {kept['epoch']}) and {evaluating:.4f} "
                    "in evaluation; a smaller --batch-size gives the averages of BatchNorm more batches")
    return said


def usual_size(folder: tn.data.ImageFolder) -> int:
    """The median of the images' shorter sides, rounded down to a multiple of 4 and limited to 16 ... LARGEST."""
    sides = np.median(folder.sizes[:, :2].min(axis=1))
    return int(np.clip(sides // 4 * 4, 16, LARGEST))


def usual_channels(folder: tn.data.ImageFolder) -> int:
    """1 if all images are grey, else 3."""
    return 1 if (folder.sizes[:, 2] == 1).all() else 3


def choose(size: int, channels: int, classes: int) -> tn.nn.Sequential:
    """The paper's LSTM-CNN for images of the size of MNIST, a CNN + LSTM for all others."""
    if (size, channels) == (28, 1):
        return models.lstm_cnn(classes)
    return models.image_cnn_lstm(size, size, channels, classes)


def loaders(parts: dict[str, tn.data.ImageFolder], model: tn.nn.Sequential,
            options: argparse.Namespace) -> tuple[tn.data.Loader, tn.data.Loader]:
    """The training and validation batches. Images that do not fit into memory are read when they are needed."""
    def scaled(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return model.scaling(images), labels

    height, width, channels = model.input_shape
    changes = {**(AUGMENT if options.augment else {}), **({"flip": options.flip} if options.flip else {})}
    augment = tn.data.Augment(**changes, border="edge") if changes else None
    images = {name: part.images((height, width), channels).in_memory() for name, part in parts.items()
              if name != "test"}
    return (
        tn.data.Loader(images["train"], parts["train"].labels, batch_size=options.batch_size, shuffle=True,
                       transform=scaled, augment=augment, threads=1),
        tn.data.Loader(images["validation"], parts["validation"].labels, batch_size=128, transform=scaled, threads=1),
    )


def write(options: argparse.Namespace, results: dict[str, Any], test: tn.data.ImageFolder,
          probabilities: np.ndarray) -> None:
    write_whole(options.out / "results.json", json_text(results, indent=1).encode())
    written = ["model.safetensors", "results.json", "log.csv"]
    if figures.available():
        draw_curves(options.out / "curves.png", results)
        figures.heat_map(options.out / "confusion.png", np.array(results["test"]["confusion_matrix"]),
                         results["classes"], title="the best model on the test part")
        draw_mistakes(options.out / "mistakes.png", results, test, probabilities)
        written += ["curves.png", "confusion.png", "mistakes.png"]
    else:
        say("matplotlib is not installed, so the figures are left out: pip install matplotlib")
    say(f"written to {options.out}: {', '.join(written)}")
    say(f"try it: python -m tinynet predict {options.out / 'model.safetensors'} IMAGE...")


def draw_curves(path: Path, results: dict[str, Any]) -> None:
    """Draw loss and accuracy over the epochs."""
    epochs = [row["epoch"] for row in results["epochs"]]
    figure, both = figures.new(10, 4, columns=2)
    for axes, what, factor in zip(both, ("loss", "accuracy"), (1, 100), strict=True):
        for part, label in (("train", "training, while learning"), ("validation", "validation")):
            axes.plot(epochs, [factor * row[f"{part}_{what}"] for row in results["epochs"]], label=label)
        axes.set(xlabel="epoch", ylabel=what + " (%)" * (what == "accuracy"))
        axes.xaxis.get_major_locator().set_params(integer=True)
    both[1].axhline(100 * results["test"]["accuracy"], color="grey", linestyle=":", label="test, the best model")
    both[1].legend()
    figures.save(figure, path)


def draw_mistakes(path: Path, results: dict[str, Any], test: tn.data.ImageFolder, probabilities: np.ndarray) -> None:
    """Draw the wrong predictions of the highest probability, with their test images."""
    predicted, names = probabilities.argmax(axis=1), results["classes"]
    wrong = np.flatnonzero(predicted != test.labels)
    order = wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")][:SHOWN]
    height, width, channels = results["input_shape"]
    images = test.images((height, width), channels)
    captions = [f"{names[test.labels[index]]}, taken for\n{names[predicted[index]]} "
                f"({probabilities[index].max():.0%})" for index in order]
    figures.images(path, [images[int(index)] for index in order], captions,
                   title=f"the surest of {len(wrong):,} mistakes on the {len(test):,} images of the test part")


if __name__ == "__main__":
    sys.exit(main())
