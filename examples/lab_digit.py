"""Train the digit reader of `tinynet learn`: the LSTM-CNN on MNIST, as a file of weights alone.

    python examples/lab_digit.py --out tinynet/learn/page/digit.npz

The images are shifted, rotated and scaled at random, so that digits drawn by hand are read too. Equal settings, seed,
number of threads and processor give equal weights. The accuracy on the test images is printed.
There is no --device: a few minutes on a processor are enough.
"""

import argparse
import io
import sys
from pathlib import Path

import command
import models
import numpy as np
from command import positive

import tinynet as tn
from tinynet.atomic import write_whole
from tinynet.output import say


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="mnist", metavar="SOURCE", help="mnist, digits, or a folder (default: mnist)")
    parser.add_argument("--epochs", type=positive(int), default=6, help="passes over the images (default: 6)")
    parser.add_argument("--limit", type=positive(int), help="train on the first LIMIT images only")
    parser.add_argument("--seed", type=command.seed, default=1, help="seed of all random numbers (default: 1)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file of the weights")
    return command.run(train, parser.parse_args(arguments))


def train(options: argparse.Namespace) -> None:
    dataset, sentence = tn.data.load(options.data)
    say(sentence)
    tn.seed(options.seed)
    images, labels = dataset.train_images[: options.limit], dataset.train_labels[: options.limit]
    augment = tn.data.Augment(shift=0.08, rotate=10, scale=0.1)
    model = models.lstm_cnn()
    optimizer = tn.optim.Adam(model.parameters())
    batches = tn.data.Loader(images[..., None], labels, batch_size=128, shuffle=True, transform=scaled, augment=augment)
    schedule = tn.optim.OneCycle(optimizer, peak=3e-3, steps=options.epochs * len(batches))
    tn.fit(model, optimizer, batches, epochs=options.epochs, schedule=schedule)
    test = tn.data.Loader(dataset.test_images[..., None], dataset.test_labels, batch_size=512, transform=scaled)
    say(f"test accuracy {tn.evaluate(model, test)['accuracy']:.4f} on {len(dataset.test_labels):,} images")
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **model.state_dict())
    write_whole(options.out, content.getvalue())
    say(f"written to {options.out}: {len(content.getvalue()):,} bytes")


def scaled(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return images.astype("float32") / 255, labels


if __name__ == "__main__":
    sys.exit(main())
