"""Tell nine speakers apart by two vowels: a bidirectional LSTM with a convolution, on sequences of different lengths.

    python examples/vowels_bilstm_cnn.py --cross-validate           # choose a recipe, on the training part alone
    python examples/vowels_bilstm_cnn.py                            # five seeds with the chosen recipe, then the test
    python examples/vowels_bilstm_cnn.py --data aeon-1.6.0-py3-none-any.whl
    python examples/vowels_bilstm_cnn.py --report                   # write VOWELS.md from examples/results/vowels

The Japanese Vowels data (Kudo, Toyama, Shimbo 1999; UCI archive): 270 training and 370 test utterances of two vowels
by nine men, sequences of 7 to 29 frames of 12 numbers. They are found in $TINYNET_DATA/japanese_vowels, as two files in
the format .ts. `pip download --no-deps aeon` fetches a wheel that holds them: --data takes this file, and reads it as a
zip.

Everything was chosen by cross-validation on the 270 training sequences: 5 folds and 2 seeds for each candidate below.
The test part is read after training, once for each seed. Finished runs in --out are kept, so the same command continues
an interrupted one. Written to --out: a JSON file for each run, and a model for each seed.

Exit codes: 0 done, 1 an error in the data or a file, 2 in an option or the device, 130 ended by Ctrl-C, 143 by SIGTERM.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import command
import numpy as np
from vowels_data import CHANNELS, SPEAKERS, Utterances, read_part

import tinynet as tn
from tinynet.atomic import write_whole
from tinynet.errors import DataError
from tinynet.intervals import mean_of
from tinynet.output import json_text, say

HERE = Path(__file__).resolve().parent
FOLDS, SEEDS, TRIED = 5, range(5), range(2)  # seeds of the published runs, and those of the cross-validation


# --- the choice -----------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Recipe:
    """A model and its training. `noise` is added to each number of an utterance, `offset` to all steps of a channel.

    `average` is the decay of the moving average of the weights; 0 for the weights themselves.
    """

    units: int = 64
    filters: int = 64
    dropout: float = 0.3
    norm: bool = False
    noise: float = 0.0
    offset: float = 0.0
    smoothing: float = 0.0
    epochs: int = 60
    batch_size: int = 32
    peak: float = 5e-3
    weight_decay: float = 0.01
    average: float = 0.0


CANDIDATES = {
    "plain": Recipe(),
    "norm": Recipe(norm=True),
    "noise": Recipe(noise=0.4),
    "both": Recipe(noise=0.3, offset=0.3),
    "both-norm": Recipe(noise=0.3, offset=0.3, norm=True),
    "more-norm": Recipe(noise=0.4, offset=0.4, norm=True),
    "most-norm": Recipe(noise=0.6, offset=0.6, norm=True),
    "smooth-norm": Recipe(noise=0.3, offset=0.3, norm=True, smoothing=0.1),
    "long-norm": Recipe(noise=0.4, offset=0.4, norm=True, epochs=120),
    "mean-norm": Recipe(noise=0.4, offset=0.4, norm=True, average=0.99, dropout=0.4),
}
CHOSEN = "most-norm"  # the fewest wrong, and of equal ones the lowest loss


def bilstm_cnn(recipe: Recipe) -> tn.nn.Sequential:
    """x (N,T,12) and a mask -> scores (N,9)."""
    nn = tn.nn
    return nn.Sequential(
        nn.Bidirectional(nn.LSTM(CHANNELS, recipe.units)), nn.Dropout(recipe.dropout),          # (N,T,2 units)
        nn.Conv1D(2 * recipe.units, recipe.filters, 3, padding="same"),                         # (N,T,filters)
        *([nn.BatchNorm(recipe.filters)] if recipe.norm else []), nn.ReLU(),
        nn.GlobalAveragePool(), nn.Dropout(recipe.dropout), nn.Dense(recipe.filters, SPEAKERS))  # (N,9)


@dataclass(frozen=True)
class Voice:
    """Another recording of an utterance: noise in each number, and an offset of each channel."""

    noise: float
    offset: float

    def __call__(self, inputs: tuple[np.ndarray, np.ndarray], index: np.ndarray, epoch: int, seed: int
                 ) -> tuple[np.ndarray, np.ndarray]:
        x, mask = inputs
        N, T, C = x.shape
        drawn = tn.random.normal((N, T + 1, C), (seed, tn.random.stream("voice")), (epoch << 32) + int(index[0]))
        return (x + self.noise * drawn[:, 1:] + self.offset * drawn[:, :1]).astype(x.dtype), mask


def train(recipe: Recipe, utterances: Utterances, seed: int, device: str, show: bool = False) -> tn.nn.Sequential:
    """Train a model. Its `scaling` has the means and deviations of the channels, over all real steps."""
    sequences, speakers = utterances
    tn.seed(seed)
    model = bilstm_cnn(recipe).to(device)
    frames = np.concatenate(sequences)
    model.scaling = tn.nn.Scaling(frames.mean(axis=0), frames.std(axis=0))
    model.classes = tuple(f"speaker {k + 1}" for k in range(SPEAKERS))
    voice = Voice(recipe.noise, recipe.offset) if recipe.noise or recipe.offset else None
    batches = tn.data.Loader(padded(model, sequences), speakers, batch_size=recipe.batch_size, shuffle=True,
                             augment=voice)
    optimizer = tn.optim.AdamW(model.parameters(), weight_decay=recipe.weight_decay)
    schedule = tn.optim.OneCycle(optimizer, peak=recipe.peak, steps=recipe.epochs * len(batches))
    tn.fit(model, optimizer, batches, epochs=recipe.epochs, schedule=schedule, max_norm=1.0, show=show,
           callbacks=[tn.callbacks.EMA(recipe.average)] if recipe.average else [],
           loss=partial(tn.ops.cross_entropy, label_smoothing=recipe.smoothing))
    return model


def padded(model: tn.nn.Sequential, sequences: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The input of a model, x (N,T,12) and the mask (N,T)."""
    return tn.data.pad([model.scaling(sequence) for sequence in sequences])


def score(model: tn.nn.Sequential, utterances: Utterances) -> dict[str, Any]:
    """The number of utterances, how many are wrong, and the mean cross-entropy."""
    sequences, speakers = utterances
    scores = tn.predict(model, padded(model, sequences))
    loss = tn.ops.cross_entropy(tn.Tensor(scores), speakers).item()
    return {"utterances": len(speakers), "wrong": int((scores.argmax(axis=1) != speakers).sum()), "loss": loss}


def parts(speakers: np.ndarray) -> np.ndarray:
    """The fold of each utterance (N): those of a speaker are dealt out in turn, in a random order of a fixed seed."""
    fold = np.empty(len(speakers), int)
    for k in range(SPEAKERS):
        rows = np.flatnonzero(speakers == k)
        fold[rows[tn.random.permutation(len(rows), (0, tn.random.stream("folds")), k)]] = np.arange(len(rows)) % FOLDS
    return fold


def cross_validate(options: argparse.Namespace) -> None:
    """Score each candidate on the folds of the training part that it was not trained on."""
    sequences, speakers = read_part(options.data, "TRAIN")
    fold = parts(speakers)

    def chosen(rows: np.ndarray) -> Utterances:
        return [sequences[i] for i in np.flatnonzero(rows)], speakers[rows]

    def run(recipe: Recipe, seed: int) -> dict[str, Any]:
        found = [score(train(recipe, chosen(fold != k), seed, options.device), chosen(fold == k)) for k in range(FOLDS)]
        return {"utterances": len(speakers), "wrong": sum(one["wrong"] for one in found),
                "loss": sum(one["loss"] * one["utterances"] for one in found) / len(speakers)}

    for name in [options.candidate] if options.candidate else CANDIDATES:
        for seed in TRIED if options.seed is None else [options.seed]:
            recipe = CANDIDATES[name]
            found = kept(options.out / f"cv-{name}-seed{seed}.json", recipe, seed, partial(run, recipe, seed))
            say(f"{name:12} seed {seed}  {found['wrong']:3} of {found['utterances']} wrong  loss {found['loss']:.4f}")


def evaluate(options: argparse.Namespace) -> None:
    """Train the chosen recipe on the whole training part, and read the test part after that."""
    name = options.candidate or CHOSEN
    recipe = CANDIDATES[name]

    def run(seed: int) -> dict[str, Any]:
        model = train(recipe, read_part(options.data, "TRAIN"), seed, options.device, show=True)
        tn.save(options.out / f"{name}-seed{seed}.safetensors", model)
        return score(model, read_part(options.data, "TEST"))

    for seed in SEEDS if options.seed is None else [options.seed]:
        found = kept(options.out / f"{name}-seed{seed}.json", recipe, seed, partial(run, seed))
        say(f"seed {seed}: {accuracy(found):.2f} % of {found['utterances']} test utterances are right")


def kept(path: Path, recipe: Recipe, seed: int, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of a run: of its file if there is one, else of the run, which is then written."""
    if path.is_file():
        return record(path)
    found = {**run(), "recipe": asdict(recipe), "seed": seed, "threads": tn.threads(), "versions": tn.about().versions}
    write_whole(path, json_text(found, indent=1).encode())
    return found


def record(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DataError(f"vowels: {path} must be the JSON file of a run, and cannot be read ({error}); remove it, to "
                        "make the run again") from error


def accuracy(found: dict[str, Any]) -> float:
    return 100 * (1 - found["wrong"] / found["utterances"])


# --- the report -----------------------------------------------------------------------------------------------------

PUBLISHED = [  # test accuracy in percent, method, source
    (94.1, "regions that curves of one class pass", "Kudo, Toyama, Shimbo 1999"),
    (96.2, "hidden Markov model with five states", "the same"),
    (97.8, "random Fourier signature features, SVM", "Tóth, Oberhauser, Szabó 2023, arXiv:2311.12214"),
    (98.1, "global alignment kernel, SVM", "the same"),
    (98.6, "signature kernel, SVM", "the same"),
]


def report(folder: Path) -> str:
    """The page VOWELS.md, of the records in a folder."""
    chosen = [record(path) for path in sorted(folder.glob(f"{CHOSEN}-seed*.json"))]
    tried = {name: [record(path) for path in sorted(folder.glob(f"cv-{name}-seed*.json"))] for name in CANDIDATES}
    if len(chosen) != len(SEEDS) or any(Recipe(**one["recipe"]) != CANDIDATES[CHOSEN] for one in chosen):
        raise DataError(f"vowels: {folder} must hold the runs of {len(SEEDS)} seeds with the recipe {CHOSEN}, and "
                        f"holds {len(chosen)}; python examples/vowels_bilstm_cnn.py --out {folder}")
    mean = mean_of([accuracy(one) for one in chosen])
    low, high = mean.mean - mean.half, min(mean.mean + mean.half, 100)
    ours = (f"| **{mean.mean:.2f}** ({low:.2f} to {high:.2f}) | **bidirectional LSTM and convolution** | ours, mean of "
            f"{len(chosen)} seeds and its 95 % interval |")
    lines = [f"| {value} | {method} | {source} |" for value, method, source in PUBLISHED]
    choice = [f"| {f'**{name}**' if name == CHOSEN else name} | {_options(CANDIDATES[name])} | "
              f"{sum(one['wrong'] for one in runs)} of {sum(one['utterances'] for one in runs)} | "
              f"{sum(one['loss'] for one in runs) / len(runs):.3f} |" for name, runs in tried.items() if runs]
    return PAGE.format(ours=ours, published="\n".join(lines), choice="\n".join(choice), folds=FOLDS, seeds=len(TRIED),
                       tests=chosen[0]["utterances"], each=", ".join(f"{accuracy(one):.2f}" for one in chosen))


def _options(recipe: Recipe) -> str:
    """The options of a recipe that are not the usual ones."""
    usual = asdict(Recipe())
    return ", ".join(f"{name} {value}" for name, value in asdict(recipe).items() if value != usual[name]) or "as usual"


PAGE = """\
# Speakers told apart by two vowels

Made by `python examples/vowels_bilstm_cnn.py --report` from the files in `examples/results/vowels`. The Japanese Vowels
data: utterances of two vowels by nine men, sequences of 7 to 29 frames of 12 numbers; 270 to train on, {tests} to test.
A bidirectional LSTM, a convolution and a mean over the real steps, with masks for the padding.

| test accuracy, % | method | source |
| ---: | --- | --- |
{published}
{ours}

The seeds alone: {each}. The published numbers are on the same two parts.

## How it was chosen

On the training part alone, before the test part was read: {folds} folds and {seeds} seeds for each candidate. Noise,
and an offset of each channel, are drawn anew for each utterance in each epoch. They stand for other recordings.

| candidate | options | wrong | loss |
| --- | --- | ---: | ---: |
{choice}
"""


# --- the command ----------------------------------------------------------------------------------------------------

def main(arguments: list[str] | None = None) -> int:
    options = parse_options(arguments)
    if options.report:
        return command.run(lambda _: write_whole(options.page, report(options.results).encode()), options)

    def work(options: argparse.Namespace) -> None:
        tn.backend.namespace(options.device)  # fails early for a missing device
        (cross_validate if options.cross_validate else evaluate)(options)

    return command.run(work, options)


def parse_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, metavar="SOURCE",
                        help="a folder with the two .ts files, or a wheel of aeon (default: "
                             "$TINYNET_DATA/japanese_vowels)")
    parser.add_argument("--cross-validate", action="store_true", help="score the candidates on the training part")
    parser.add_argument("--report", action="store_true", help="write the page from the records in --results")
    parser.add_argument("--candidate", choices=CANDIDATES,
                        help=f"one recipe only (default: {CHOSEN}, or all to compare)")
    parser.add_argument("--seed", type=command.seed, help="one run with this seed only (default: five of them, from 0)")
    parser.add_argument("--device", default="cpu", help="cpu, gpu, gpu:1 ..., or gpu-emulated (default: cpu)")
    parser.add_argument("--out", type=Path, default=Path("runs/vowels"), help="output folder (default: runs/vowels)")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "vowels", help=argparse.SUPPRESS)
    parser.add_argument("--page", type=Path, default=HERE / "VOWELS.md", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
