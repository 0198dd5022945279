"""Train the paper's LSTM-CNN on handwritten digits, and evaluate it.

    python examples/mnist_lstm_cnn.py
    python examples/mnist_lstm_cnn.py --epochs 3 --limit 10000 --seed 1 --out runs/quick
    python examples/mnist_lstm_cnn.py --resume

MNIST is used if it is found (in TINYNET_DATA or the user's cache) or can be downloaded, else the 1,797 small digits of
scikit-learn. A tenth of the training images is held out for validation; the test images are evaluated once, at the end.
The learning rate rises to --lr and falls again (one cycle). Written to --out: results.json, model.safetensors, and with
matplotlib curves.png.

After each epoch and every minute, the state of training is written to checkpoint.safetensors. After any interruption,
the same command with --resume continues from there, to the same weights. Ctrl-C stops training after a step, with a
checkpoint; a second Ctrl-C stops it at once.

Exit codes: 0 done, 1 an error in the data or a file, 2 in an option or the device, 130 ended by Ctrl-C, 143 by SIGTERM.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import command
import models
import numpy as np
from command import positive
from paper.reporting import figures

import tinynet as tn
from tinynet.atomic import write_whole
from tinynet.novelty import remember
from tinynet.output import json_text, say

EPOCHS = {"mnist": 10, "digits": 30}  # a small set needs more passes
VALIDATION = 0.1


def main(arguments: list[str] | None = None) -> int:
    return command.run(train, parse(arguments), again="the same command with --resume")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cpu", help="cpu, gpu, gpu:1 ..., or gpu-emulated (default: cpu)")
    parser.add_argument("--data", default="auto", metavar="SOURCE",
                        help="auto, mnist, digits, or a folder with the files of MNIST (default: auto)")
    parser.add_argument("--epochs", type=positive(int), help="passes over the images (default: 10; 30 for the digits)")
    parser.add_argument("--batch-size", type=positive(int), default=128, help="images in a step (default: 128)")
    parser.add_argument("--lr", type=positive(float), default=3e-3, help="the highest learning rate (default: 0.003)")
    parser.add_argument("--seed", type=command.seed, default=0, help="seed of all random numbers (default: 0)")
    parser.add_argument("--limit", type=positive(int), help="train on the first LIMIT images only")
    parser.add_argument("--out", type=Path, default=Path("runs/mnist_lstm_cnn"),
                        help="output folder (default: runs/mnist_lstm_cnn)")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in the folder --out")
    return parser.parse_args(arguments)


def train(options: argparse.Namespace) -> None:
    tn.backend.namespace(options.device)  # fails early for a missing device
    dataset, sentence = tn.data.load(options.data)
    say(sentence)
    epochs = options.epochs or EPOCHS[dataset.name]
    tn.seed(options.seed)
    train_part, validation_part, test_part = loaders(dataset, options)

    model = models.lstm_cnn().to(options.device)
    model.classes, model.scaling = dataset.classes, tn.nn.Scaling()  # saved with it, for python -m tinynet
    optimizer = tn.optim.Adam(model.parameters())
    schedule = tn.optim.OneCycle(optimizer, peak=options.lr, steps=max(2, epochs * len(train_part)))
    say(model.summary())

    history = tn.fit(model, optimizer, train_part, epochs=epochs, validation=validation_part, schedule=schedule,
                     checkpoint=options.out / "checkpoint.safetensors", resume=options.resume)
    images = dataset.train_images[: options.limit, :, :, None]
    first, second = tn.data.split(len(images), VALIDATION)
    remember(model, images[first], images[second])  # so that predict can say what is unlike the digits
    test = tn.evaluate(model, test_part)
    say(f"test accuracy {test['accuracy']:.4f} on {test['images']:,} images")

    settings = {**vars(options), "out": str(options.out), "epochs": epochs}
    del settings["resume"]  # the result does not depend on it
    results = {
        "test_accuracy": test["accuracy"], "test_loss": test["loss"], "test_images": test["images"],
        "epochs": history, "seconds": sum(row["seconds"] for row in history), "data": dataset.name,
        "train_images": train_part.length, "validation_images": validation_part.length,
        "parameters": sum(p.size for p in model.parameters()),
        "images_per_second": sum(row["images_per_second"] for row in history) / len(history),
        "settings": settings, "seed": options.seed, "versions": tn.about().versions,
    }
    write(options.out, results, model)


def loaders(dataset: tn.data.Dataset, options: argparse.Namespace) -> tuple[tn.data.Loader, ...]:
    """The training, validation and test batches."""
    def scaled(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return images[..., None].astype("float32") / 255, labels  # (N,28,28,1), 0 ... 1

    images, labels = dataset.train_images[: options.limit], dataset.train_labels[: options.limit]
    first, second = tn.data.split(len(images), VALIDATION)
    return (
        tn.data.Loader(images[first], labels[first], batch_size=options.batch_size, shuffle=True, transform=scaled,
                       device=options.device),
        tn.data.Loader(images[second], labels[second], batch_size=512, transform=scaled, device=options.device),
        tn.data.Loader(dataset.test_images, dataset.test_labels, batch_size=512, transform=scaled,
                       device=options.device),
    )


def write(folder: Path, results: dict[str, Any], model: tn.nn.Module) -> None:
    tn.save(folder / "model.safetensors", model)
    write_whole(folder / "results.json", json_text(results, indent=1).encode())
    written = ["results.json", "model.safetensors"]
    if draw(folder / "curves.png", results):
        written.append("curves.png")
    say(f"written to {folder}: {', '.join(written)}")


def draw(path: Path, results: dict[str, Any]) -> bool:
    """Draw training and validation error over the epochs."""
    if not figures.available():
        say("matplotlib is not installed, so curves.png is left out: pip install matplotlib")
        return False
    panels = [figures.Panel(title, {"LSTM-CNN": [[row[f"{part}_accuracy"] for row in results["epochs"]]]},
                            results[f"{part}_images"])
              for part, title in (("train", "training, while learning"), ("validation", "validation"))]
    figures.curves(path, [panels], vector=False, title=f"{results['data']}, seed {results['seed']}: test accuracy "
                                                       f"{100 * results['test_accuracy']:.2f} % at the end")
    return True


if __name__ == "__main__":
    sys.exit(main())
