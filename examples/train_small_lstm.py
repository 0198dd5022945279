"""Train the small LSTMs that the chapters (32 units) and examples/lstm_by_hand.py (16 units) look into.

    python examples/train_small_lstm.py                    writes examples/trained/lstm_32.safetensors
    python examples/train_small_lstm.py --units 16         writes examples/trained/lstm_16.safetensors
    python examples/train_small_lstm.py --data digits --epochs 1 --out runs/lstm_32.safetensors

It reads the 28 rows of a digit, and a Dense layer of its last state names the digit: the smallest model of this library
in which all of the LSTM is used. It learns from MNIST and from scikit-learn's small digits, so that the chapters can be
computed without MNIST. The files hold weights only, 34 and 14 kB. There is no --device: a minute on a processor is
enough.
"""

import argparse
import sys
from pathlib import Path

import command
import numpy as np

import tinynet as tn
from tinynet.output import say

OUT = Path(__file__).parent / "trained"


def run(options: argparse.Namespace) -> int:
    tn.seed(options.seed)
    sets = []
    for name in options.data:
        data, sentence = tn.data.load(name)
        say(sentence)
        sets.append(data)
    largest = max(len(data.train_labels) for data in sets)
    images, labels = [], []
    for data in sets:
        times = max(1, largest // len(data.train_labels) // 2)  # a small set counts half as much as the largest one
        images += [scaled(data.train_images)] * times
        labels += [data.train_labels] * times
    size = images[0].shape[1:]
    model = tn.nn.Sequential(tn.nn.LSTM(size[1], options.units, return_sequences=False), tn.nn.Dense(options.units, 10),
                             input_shape=size)
    train = tn.data.Loader(np.concatenate(images), np.concatenate(labels), batch_size=64, shuffle=True)
    optimizer = tn.optim.Adam(model.parameters())
    schedule = tn.optim.OneCycle(optimizer, peak=5e-3, steps=options.epochs * len(train))
    tn.fit(model, optimizer, train, epochs=options.epochs, schedule=schedule)
    for name, data in zip(options.data, sets, strict=True):
        right = (tn.predict(model, scaled(data.test_images)).argmax(axis=1) == data.test_labels).mean()
        say(f"{name}: {right:.4f} of the test images are right")
    out = options.out or OUT / f"lstm_{options.units}.safetensors"
    tn.save(out, model)
    say(f"written to {out}")
    return 0


def scaled(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) / 255


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", nargs="+", default=["mnist", "digits"],
                        help="mnist, digits or folders with the files of MNIST (default: mnist digits)")
    parser.add_argument("--epochs", type=command.positive(int), default=8,
                        help="passes over the training images (default: 8)")
    parser.add_argument("--seed", type=command.seed, default=0, help="of all random numbers (default: 0)")
    parser.add_argument("--units", type=command.positive(int), default=32, help="units of the LSTM (default: 32)")
    parser.add_argument("--out", type=Path, help="the file to write (default: in examples/trained)")
    return command.run(run, parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
