"""The record of a run in one JSON file: how it was made, its curves, and its predictions on the test set.

    record = read(path)                  # all fields are checked
    labels, predicted = record.labels, record.predicted
    write(path, record.fields)

All published numbers about a run can be computed from its file. To be short, classes are a string of digits,
"7210...", one for each test image. The probabilities of the members of a committee are in units of 1/255, as bytes,
deflated, in base64.
"""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from typing import Any

import numpy as np

from tinynet.atomic import write_whole
from tinynet.errors import DataError

FORMAT = "tinynet run 1"
CURVES = ("train_accuracy", "train_loss", "validation_accuracy", "validation_loss", "seconds")
LARGEST = 64 << 20  # the most bytes of a file
LARGEST_NUMBER = 2**53  # of images, parameters or seconds
ROUNDED = 1e-6  # the precision of scores, which have six digits

_FIELDS: dict[str, type] = {
    "format": str, "experiment": str, "model": str, "seed": int, "fold": str, "command": str, "started": str,
    "commit": str, "hardware": dict, "versions": dict, "settings": dict, "data": dict, "parameters": int,
    "seconds": float, "curves": dict, "classes": list, "labels": str, "predicted": str}
_NAME, _FOLD = re.compile(r"[A-Za-z0-9_]+"), re.compile(r"[A-Za-z0-9_-]*")  # they become parts of file names


@dataclass(frozen=True, eq=False)
class Record:
    """One run. `fields` is the content of its file; the other attributes are computed from it.

    labels, predicted   int64 (N), the true and the predicted classes of the test images
    scores              float64 (N), the probability of class 1, or None if there are more than two classes
    probabilities       float64 (N, K), in multiples of 1/255, or None if not recorded
    """

    fields: dict[str, Any]
    labels: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray | None
    probabilities: np.ndarray | None

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    @property
    def accuracy(self) -> float:
        """The share of correct predictions on the test images."""
        return float((self.labels == self.predicted).mean())

    @property
    def images(self) -> int:
        """The number of test images."""
        return len(self.labels)


def name_of(model: str, seed: int, fold: str = "") -> str:
    """The name of the files of a run: "lstm_cnn-seed3"."""
    return "-".join([model, *([fold] if fold else []), f"seed{seed}"])


def file_of(fields: Mapping[str, Any]) -> str:
    """The name of the file of a run among those of all experiments; words of the experiment are not repeated.

    >>> file_of({"experiment": "idc_table2", "model": "idc_cnn", "seed": 3, "fold": "14082"})
    'idc_table2-cnn-14082-seed3.json'
    >>> file_of({"experiment": "mnist_deep", "model": "deep_lstm_cnn", "seed": 0, "fold": ""})
    'mnist_deep-lstm_cnn-seed0.json'
    """
    said = fields["experiment"].split("_")
    words = [*dropwhile(said.__contains__, fields["model"].split("_"))]
    return "-".join(filter(None, [fields["experiment"], "_".join(words), fields["fold"], f"seed{fields['seed']}.json"]))


def digits(classes: np.ndarray) -> str:
    """Classes from 0 to 9 as a string."""
    return "".join(map(str, classes.tolist()))


def pack(probabilities: np.ndarray) -> str:
    """Probabilities (N, K) as text, for `unpack`."""
    steps = np.rint(255 * probabilities).astype(np.uint8)
    return base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode()


def unpack(text: str, shape: tuple[int, int]) -> np.ndarray:
    """Probabilities from text. Raises ValueError for damaged text or another shape, without more memory than needed.

    >>> unpack(pack(np.array([[1.0, 0.0]])), (1, 2))
    array([[1., 0.]])
    """
    unzip, size = zlib.decompressobj(), shape[0] * shape[1]
    try:
        content = unzip.decompress(base64.b64decode(text, validate=True), size + 1)
    except (binascii.Error, zlib.error) as fault:
        raise ValueError(f"probabilities are damaged: {fault}") from fault
    if len(content) != size or not unzip.eof:
        raise ValueError(f"probabilities must be {shape[0]} x {shape[1]}, and are not")
    return np.frombuffer(content, np.uint8).reshape(shape) / 255


def write(path: Path, fields: dict[str, Any]) -> None:
    """Write a run as JSON, one field a line, whole or not at all."""
    lines = [f" {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    write_whole(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def read(path: Path) -> Record:
    """Read a run. Raises DataError, which names the file, if `write` cannot have written it."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST:,} bytes")
        fields = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
        return checked(fields)
    except OSError as fault:
        raise DataError(f"results: {path} cannot be read ({fault.strerror}); is it there?") from fault
    except (ValueError, RecursionError) as fault:
        raise DataError(f"results: {path} must be the file of a run, and is not: {fault}; remove it, and the same "
                        "command makes the run again") from fault


def checked(fields: Any) -> Record:
    """The record of the content of a file. Raises ValueError that names the fault."""
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise ValueError(f"its format must be {FORMAT!r}")
    for name, kind in _FIELDS.items():
        value = fields.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{name} must be of type {kind.__name__}, is {type(value).__name__}")
    names = {"experiment": _NAME, "model": _NAME, "fold": _FOLD}
    if not all(pattern.fullmatch(fields[name]) for name, pattern in names.items()):
        raise ValueError("experiment, model and fold must be names, of letters, digits, - and _")
    if not all(_is_number(fields[name]) for name in ("seconds", "parameters", "seed")) or fields["seed"] >= 2**32:
        raise ValueError("seconds, parameters and seed must be finite numbers of 0 or more, the seed below 2**32")
    _check_curves(fields["curves"])
    _check_settings(fields["settings"], epochs=len(fields["curves"]["seconds"]))
    count = len(fields["classes"])
    if not 2 <= count <= 10 or not all(isinstance(name, str) for name in fields["classes"]):
        raise ValueError("classes must be the names of 2 to 10 classes")
    labels, predicted = (_classes(name, fields[name], count) for name in ("labels", "predicted"))
    if len(labels) != len(predicted):
        raise ValueError(f"labels and predicted must have the same length, have {len(labels)} and {len(predicted)}")
    _check_data(fields["data"], images=len(labels))
    scores, packed = fields.get("scores"), fields.get("probabilities")
    if (scores is not None) != (count == 2):
        raise ValueError("scores must be present for two classes, and only then")
    if scores is not None and not (isinstance(scores, list) and len(scores) == len(labels)
                                   and all(map(_is_share, scores))):
        raise ValueError(f"scores must be {len(labels)} probabilities, of the second class")
    if scores is not None and any(abs(score - 0.5) > ROUNDED and (score > 0.5) != bool(found)
                                  for score, found in zip(scores, predicted, strict=True)):
        raise ValueError("predicted must be the second class where its score is above 0.5, and the first elsewhere")
    threshold = fields.get("threshold", 0.5)
    if not _is_share(threshold):
        raise ValueError("threshold must be a probability")
    if packed is not None and not isinstance(packed, str):
        raise ValueError("probabilities must be text")
    return Record(fields, labels, predicted, None if scores is None else np.array(scores, np.float64),
                  None if packed is None else unpack(packed, (len(labels), count)))


def _check_curves(curves: dict[str, Any]) -> None:
    lengths = set()
    for name in CURVES:
        values, fits = curves.get(name), _is_share if name.endswith("accuracy") else _is_number
        if not isinstance(values, list) or not values or not all(map(fits, values)):
            raise ValueError(f"curves must have {name}, a list of finite numbers; accuracies are at most 1")
        lengths.add(len(values))
    if len(lengths) > 1:
        raise ValueError(f"curves must be of one length, are of {sorted(lengths)}")


def _check_settings(settings: dict[str, Any], epochs: int) -> None:
    numbers, optional = ("epochs", "batch_size", "peak", "weight_decay", "label_smoothing"), ("limit", "max_norm")
    if not all(_is_number(settings.get(name)) for name in numbers) or not all(
            name in settings and (settings[name] is None or _is_number(settings[name])) for name in optional):
        raise ValueError(f"settings must have {', '.join(numbers + optional)}, finite numbers of 0 or more")
    if not isinstance(settings.get("augment"), dict) or not isinstance(settings.get("input"), list):
        raise ValueError("settings must have augment, by name, and input, a list")
    if settings["epochs"] != epochs:
        raise ValueError(f"settings say {settings['epochs']} epochs, and curves have {epochs}")


def _check_data(data: dict[str, Any], images: int) -> None:
    kinds = {"name": str, "stand_in": bool, "parted": str}
    if not all(isinstance(data.get(name), kind) for name, kind in kinds.items()) or not all(
            _is_number(data.get(name)) for name in ("train", "validation", "test")):
        raise ValueError("data must have a name, stand_in, parted, and the numbers of images")
    if data["test"] != images:
        raise ValueError(f"data say {data['test']} test images, and there are {images} labels")


def _classes(name: str, text: str, count: int) -> np.ndarray:
    if not text or not text.isascii() or not text.isdecimal() or int(max(text)) >= count:
        raise ValueError(f"{name} must be a string of digits below {count}")
    return np.frombuffer(text.encode(), np.uint8).astype(np.int64) - ord("0")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LARGEST_NUMBER


def _is_share(value: Any) -> bool:
    return _is_number(value) and value <= 1


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")
