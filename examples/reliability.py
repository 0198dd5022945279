"""How far results on a folder can be relied on: calibration, thresholds, maps, and images unlike the training set.

    python examples/reliability.py --data DATA                     # all of it; after an interruption, the same again
    python examples/reliability.py --data DATA --only xray --seed 0
    python examples/reliability.py --report                        # RELIABILITY.md from examples/reliability/*.json

DATA holds the folders chest_xray, idc and mnist (default: $TINYNET_DATA). For the X-rays and IDC, and for each of five
seeds, `tinynet train --folds 5 --threshold balanced` runs with the options below. Everything was chosen on the training
part; the test part of the X-rays is read at the end of each run. Then:

    maps      In the correctly classified PNEUMONIA images of the test part, a tenth of the pixels is covered by the
              mean of the image. These are the pixels that a map marks most, or the same shape at ten random places.
    unlike    Noise, digits, patches of tissue and pages of text are given to the X-ray model. Inverted and plain test
              digits are given to a model of MNIST.

There is no --device: one table holds runs of one kind of device.

Written to --out: a folder for each run. Written to examples/reliability: a JSON file for each run, and RELIABILITY.md
beside this file. Not for medical use. Exit codes: 0 done, 1 an error in the data or a file, 2 in an option.
"""

import argparse
import csv
import json
import os
import shlex
import statistics
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import command
import numpy as np
from paper import provenance

import tinynet as tn
from tinynet import explain
from tinynet.__main__ import main as tinynet
from tinynet.atomic import write_whole
from tinynet.classifier import Classifier
from tinynet.errors import DataError
from tinynet.intervals import mean_of
from tinynet.metrics import calibration_error
from tinynet.novelty import remember, unlikeness
from tinynet.output import json_text, say
from tinynet.random import normal, stream, uniform

HERE = Path(__file__).resolve().parent
SEEDS = 5
TRAINED = {"xray": ("chest_xray", "--size 64 --epochs 15 --augment --folds 5 --threshold balanced"),
           "idc": ("idc", "--epochs 30 --augment --flip both --folds 5 --threshold balanced")}
MNIST_EPOCHS = 2
COVERED = 0.1  # of the pixels
PLACES = 10
DRAWS = 100  # of classes
STRANGE = 300  # images of each kind
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "five", "wizards", "judge"]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("TINYNET_DATA"), metavar="DATA",
                        help="the folder of chest_xray, idc and mnist (default: $TINYNET_DATA)")
    parser.add_argument("--only", choices=(*TRAINED, "mnist"), help="only these runs")
    parser.add_argument("--seed", type=command.seed, help=f"only this seed (default: {SEEDS} of them, from 0)")
    parser.add_argument("--out", type=Path, default=Path("runs/reliability"),
                        help="output folder (default: runs/reliability)")
    parser.add_argument("--records", type=Path, default=HERE / "reliability",
                        help="the folder of the JSON files (default: examples/reliability)")
    parser.add_argument("--report", action="store_true", help="only write RELIABILITY.md")
    return command.run(work, parser.parse_args(arguments))


def work(options: argparse.Namespace) -> None:
    if not options.report:
        if options.data is None:
            raise DataError("reliability: --data must name the folder of chest_xray, idc and mnist, and is missing; "
                            "--data data, or set TINYNET_DATA")
        seeds = range(SEEDS) if options.seed is None else [options.seed]
        jobs = [(name, seed) for name in (*TRAINED, "mnist") if options.only in (None, name)
                for seed in (seeds if name != "mnist" else [0])]
        for name, seed in jobs:
            path = options.records / f"{name}-seed{seed}.json"
            if path.exists():
                say(f"{path} is there")
                continue
            made = mnist(options, seed) if name == "mnist" else trained(name, seed, options)
            write_whole(path, (json_text({"data": name, "seed": seed, "commit": provenance.commit(),
                                          "versions": tn.about().versions, **made}, indent=1) + "\n").encode())
            say(f"written: {path}")
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(options.records.glob("*.json"))]
    if records:
        write_whole(options.records.parent / "RELIABILITY.md", report(records).encode())
        say(f"written: {options.records.parent / 'RELIABILITY.md'}")


# --- runs -----------------------------------------------------------------------------------------------------------

def trained(name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train on a folder, and measure what the model can be relied on for."""
    folder, words = TRAINED[name]
    out, data = options.out / f"{name}-seed{seed}", options.data / folder
    line = ["train", str(data), *shlex.split(words), "--seed", str(seed), "--out", str(out), "--resume"]
    if tinynet(line) != 0:
        raise DataError(f"reliability: the training of {name} with seed {seed} must succeed, and did not; see above")
    found = json.loads((out / "results.json").read_text(encoding="utf-8"))
    made = {"command": f"tinynet train {folder} {words} --seed {seed}", "seconds": found["seconds"],
            "calibration_error": {**found["calibration_error"], "by_chance": by_chance(out / "predictions.csv")},
            "log_loss": found["log_loss"],
            "threshold": found["rule"]["threshold"], "temperature": found["rule"]["temperature"],
            **{name: rates({**found[name], "calibration_error": found["calibration_error"]["after"]})
               for name in ("out_of_fold", "out_of_fold_at_half")}}
    if found["test"] is not None:
        made |= {"test": rates(found["test"]), "test_at_half": rates(found["test"]["at_half"])}
    if name == "xray":
        model = tn.load(out / "model.safetensors")
        made |= {"maps": maps_that_mark(model, data), "unlike": unlike_xrays(model, data, options.data)}
    return made


def rates(found: dict[str, Any]) -> dict[str, Any]:
    """The figures of two classes, of which the second is positive."""
    first, second = found["per_class"].values()
    return {"images": found["images"], "sensitivity": second["recall"], "specificity": first["recall"],
            "balanced_accuracy": found["balanced_accuracy"], "calibration_error": found["calibration_error"],
            "roc_auc": found["roc_auc"]}


def by_chance(path: Path) -> float:
    """The mean calibration error of the predictions in a file, if the images had classes drawn by the probabilities.

    It is that of calibrated models of two classes, above 0 as a bin has few images.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    fold, positive = np.array([row[1] for row in rows]), np.array([float(row[-1]) for row in rows])
    p = np.stack([1 - positive, positive], axis=1)
    drawn = uniform((DRAWS, len(p)), (0, stream("labels")), 0) < positive
    return statistics.fmean(calibration_error(labels, p, models=fold) for labels in drawn.astype(np.int64))


# --- maps -----------------------------------------------------------------------------------------------------------

def maps_that_mark(model: tn.nn.Module, data: Path) -> dict[str, Any]:
    """The share of images whose probability falls more where a map marks most than at random places, by method."""
    pictures, folder = Classifier(model), tn.data.scan_folder(data)
    positive = folder.select((folder.part_of == "test") & (folder.labels == 1))
    pixels = positive.images(pictures.size, pictures.channels)[:]
    x = pictures.inputs(pixels[pictures.decided(pictures.probabilities(pixels)) == 1])
    made: dict[str, Any] = {"images": len(x)}
    for method in (explain.gradient, explain.grad_cam):
        made[method.__name__] = float(falls(model, x, method(model, x, 1)).mean())
    return made


def falls(model: tn.nn.Module, x: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Whether covering what a map marks lowers the probability of class 1 more than random places: bool (N)."""
    count, height, width = maps.shape
    most = np.argsort(-maps.reshape(count, -1), axis=1, kind="stable")[:, : round(COVERED * height * width)]
    marked = np.zeros((count, height * width), bool)
    np.put_along_axis(marked, most, True, axis=1)
    marked = marked.reshape(count, height, width)
    mean = x.mean(axis=(1, 2), keepdims=True)
    shifts = (uniform((PLACES, count, 2), (0, stream("places")), 0) * (height, width)).astype(np.int64)

    def left(covered: np.ndarray) -> np.ndarray:
        images = np.where(covered[..., None], mean, x).astype("float32")
        return np.asarray(tn.predict(model, images, batch_size=64)[:, 1])

    random = [left(np.stack([np.roll(one, shift, axis=(0, 1)) for one, shift in zip(marked, some, strict=True)]))
              for some in shifts]
    return left(marked) < np.mean(random, axis=0)


# --- images unlike the training set ---------------------------------------------------------------------------------

def share_unlike(model: tn.nn.Module, pixels: Any) -> float:
    found = unlikeness(model, pixels)
    assert found is not None
    return float((found > 1).mean())


def unlike_xrays(model: tn.nn.Module, data: Path, root: Path) -> dict[str, float]:
    """The shares of images that the X-ray model takes for unlike its training images, by kind."""
    size = Classifier(model).size
    key = (0, stream("strange"))
    noise = (256 * uniform((STRANGE // 2, 224, 224, 3), key, 0)).astype(np.uint8)
    grey = np.clip(122 + 55 * normal((STRANGE // 2, 224, 224), key, 1), 0, 255).astype(np.uint8)
    digits = tn.data.load(str(root / "mnist"))[0].test_images[:STRANGE]
    folder = tn.data.scan_folder(data)
    return {"noise": share_unlike(model, resized([*noise, *grey], size)),
            "MNIST digits": share_unlike(model, resized(digits, size)),
            "IDC patches": share_unlike(model, tn.data.scan_folder(root / "idc").images(size)),
            "pages of text": share_unlike(model, resized([page(number) for number in range(STRANGE)], size)),
            "test X-rays": share_unlike(model, folder.select(folder.part_of == "test").images(size))}


def resized(images: Any, size: tuple[int, int]) -> np.ndarray:
    """Images of bytes, grey or in colour, as (N, height, width, 3)."""
    from PIL import Image

    return np.stack([np.asarray(Image.fromarray(one).convert("RGB").resize(size[::-1], Image.Resampling.BILINEAR))
                     for one in images])


def page(number: int) -> np.ndarray:
    """A page of text as a grey image, most of them dark on light."""
    from PIL import Image, ImageDraw, ImageFont

    drawn = uniform((2000,), (number, stream("page")), 0)
    width, height, letters = (int(low + share * (high - low)) for share, low, high in
                              zip(drawn, (300, 400, 10), (900, 1200, 28), strict=False))
    paper, ink = (20, 230) if drawn[3] < 0.2 else (int(225 + 31 * drawn[4]), int(60 * drawn[5]))
    words = iter([WORDS[int(share * len(WORDS))] for share in drawn[6:]])
    image = Image.new("L", (width, height), paper)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(letters)
    for y in range(30, height - 40, round(1.4 * letters)):
        draw.text((30, y), " ".join(islice(words, max(2, round(width / letters / 3.2)))), fill=ink, font=font)
    return np.asarray(image)


def mnist(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train the LSTM-CNN on MNIST for a few epochs; the shares of inverted and plain test digits taken for unlike."""
    data = tn.data.load(str(options.data / "mnist"))[0]
    tn.seed(seed)
    model = tn.models.lstm_cnn()
    model.classes, model.scaling = data.classes, tn.nn.Scaling()
    first, second = tn.data.split(len(data.train_images), 0.1)
    images = data.train_images[..., None]
    loader = tn.data.Loader(images[first], data.train_labels[first], batch_size=128, shuffle=True,
                            transform=lambda x, y: (tn.nn.Scaling()(x), y))
    tn.fit(model, tn.optim.Adam(model.parameters(), lr=2e-3), loader, epochs=MNIST_EPOCHS)
    remember(model, images[first], images[second])
    test = data.test_images[..., None]
    right = Classifier(model).probabilities(test).argmax(axis=1) == data.test_labels
    return {"command": f"tn.models.lstm_cnn, {MNIST_EPOCHS} epochs", "accuracy": float(right.mean()),
            "unlike": {"inverted digits": share_unlike(model, 255 - test), "test digits": share_unlike(model, test)}}


# --- the report -----------------------------------------------------------------------------------------------------

NAMES = {"xray": "Chest X-rays", "idc": "IDC"}
INTRODUCTION = """\
# How far results on a folder can be relied on

Made by `python examples/reliability.py` from the files in `examples/reliability`; no number is typed by hand. All
numbers are means over the seeds, with half of the 95 % interval of the mean (Student's t). **Not a diagnostic tool.**

The strength of the prior of the temperature, the smoothing of its targets, and the images that it is found on were
chosen while out-of-fold predictions of IDC and of X-rays had been seen. Their calibration errors are not independent of
these choices. Networks that are calibrated already, as those of the X-rays, leave nothing to gain.

Each seed is a run of `tinynet train` with the options below. Out-of-fold numbers are those of images that the model was
not trained on, nor calibrated, nor its threshold chosen. The part `test` of the X-rays comes from another mixture than
the training part; it was read once in each run, by the ensemble, and is reported as it is. The IDC patches are of two
patients only, each predicted by a model of the other: a smoke test.
"""
GAINS = """\
The calibration error of a calibrated model is not 0 but that *by chance*. The log loss has no such floor: the better
the probabilities, the lower it is. Its standard error is by patient where these are known, and says little of two
patients. Runs from before it was recorded are left out."""


def report(records: list[dict[str, Any]]) -> str:
    """The content of RELIABILITY.md."""
    parts = [INTRODUCTION.strip()]
    for name, title in NAMES.items():
        runs = [one for one in records if one["data"] == name]
        if runs:
            parts += [f"## {title}", f"`{runs[0]['command'].rpartition(' --seed')[0]}`, {len(runs)} seeds",
                      rates_table(runs), calibration_table(runs)]
    if any("log_loss" in one for one in records):
        parts += ["## What calibration gains", GAINS, gains_table(records)]
    xrays = [one for one in records if "maps" in one]
    if xrays:
        shares = {method: [one["maps"][method] for one in xrays] for method in ("gradient", "grad_cam")}
        rows = [[method, mean(some, 100, 1), f"{100 * min(some):.1f}", "70, aim 80"] for method, some in shares.items()]
        parts += ["## Maps", "The tenth of the pixels that a map marks most is covered. The share of images on which "
                  f"this lowers the probability more than {PLACES} random places of the same shape do on average. The "
                  "images are those of the test part that are PNEUMONIA and classified correctly.",
                  table(["map", "share (%)", "lowest of the seeds (%)", "wanted (%)"], rows)]
    unlike = [one for one in records if "unlike" in one]
    if unlike:
        wanted = {"test X-rays": "at most 10, aim 5", "test digits": "at most 2"}
        rows = []
        for kind, model in (("xray", "X-rays"), ("mnist", "MNIST")):
            some = [one["unlike"] for one in unlike if one["data"] == kind]
            rows += [[model, what, mean([one[what] for one in some], 100, 1), wanted.get(what, "at least 95")]
                     for what in (some[0] if some else {})]
        parts += ["## Images unlike the training set", "The share in percent that a model takes for unlike its "
                  "training images:", table(["model of", "images", "share (%)", "wanted (%)"], rows)]
    return "\n\n".join(parts) + "\n"


def rates_table(runs: list[dict[str, Any]]) -> str:
    rows = []
    for key, what in (("out_of_fold_at_half", "out of fold, at 0.5"), ("out_of_fold", "out of fold, chosen threshold"),
                      ("test_at_half", "test, at 0.5"), ("test", "test, chosen threshold")):
        some = [one[key] for one in runs if key in one]
        if some:
            rows.append([what, f"{some[0]['images']:,}", *(mean([one[name] for one in some], 100, 1) for name in
                                                           ("sensitivity", "specificity", "balanced_accuracy")),
                         mean([one["calibration_error"] for one in some], 1, 3)])
    return table(["images", "number", "sensitivity (%)", "specificity (%)", "balanced accuracy (%)",
                  "calibration error"], rows)


def calibration_table(runs: list[dict[str, Any]]) -> str:
    rows, columns = [], []
    for one in runs:
        error = one["calibration_error"]
        columns.append([error["before"], error["after"], error["by_chance"], *error["pooled"].values()])
        rows.append([str(one["seed"]), *(f"{value:.4f}" for value in columns[-1]),
                     f"{one['temperature']:.2f}", f"{one['threshold']:.3f}"])
    changes = [after - before for before, after, *_ in columns]
    return ("Expected calibration error with 15 bins, out of fold. *By chance* is that of calibrated models: of images "
            "whose classes are drawn by the probabilities.\n\n"
            + table(["seed", "before calibration", "after it", "by chance", "pooled, before", "pooled, after",
                     "temperature", "chosen threshold"], rows)
            + f"\n\nIt falls in {sum(change < 0 for change in changes)} of {len(runs)} seeds; the mean change is "
            f"{mean(changes, 1, 4)}.")


def gains_table(records: list[dict[str, Any]]) -> str:
    """The log loss out of fold, and how much lower calibration makes it."""
    rows = [[NAMES[one["data"]], str(one["seed"]), *(f"{found[key]:.4f}" for key in ("before", "after")),
             f"{found['gain']:.4f} ± {found['error']:.4f}"]
            for name in NAMES for one in records if one["data"] == name and (found := one.get("log_loss"))]
    return table(["images", "seed", "log loss before calibration", "after it", "gain ± standard error"], rows)


def mean(values: list[float], factor: float, digits: int) -> str:
    """The mean and half of its interval; the interval is left out for one value."""
    found = mean_of([factor * value for value in values])
    return f"{found.mean:.{digits}f}" + f" ± {found.half:.{digits}f}" * (len(values) > 1)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    sys.exit(main())
