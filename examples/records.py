"""What a run leaves behind, in one JSON file: how it was made, its curves, and its predictions on the test set.

    record = read(path)                  # checked: nothing in a file is believed
    labels, predicted = record.labels, record.predicted
    write(path, record.fields)

All numbers that are published about a run can be computed again from its file. To be short, classes stand there as a
string of digits, "7210...", one for each test image; the probabilities of networks that are to form a committee in
units of 1/255, as bytes, deflated, in base64.
"""

import base64
import binascii
import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinynet.errors import DataError
from tinynet.files import write_whole

FORMAT = "tinynet run 1"
CURVES = ("train_accuracy", "train_loss", "validation_accuracy", "validation_loss", "seconds")
LARGEST = 64 << 20  # bytes of a file that is read

_FIELDS: dict[str, type] = {
    "format": str, "experiment": str, "model": str, "seed": int, "fold": str, "command": str, "started": str,
    "commit": str, "hardware": dict, "versions": dict, "settings": dict, "data": dict, "parameters": int,
    "seconds": float, "curves": dict, "classes": list, "labels": str, "predicted": str}


@dataclass(frozen=True, eq=False)
class Record:
    """One run. `fields` is what stands in its file; the rest is made of it.

    labels, predicted   int64 (N), the true and the predicted classes of the test images
    scores              float64 (N), the probability of class 1, or None if there are more than two classes
    probabilities       float64 (N, K), in units of 1/255, or None where nobody needs them
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
        """The share of the test images that are right."""
        return float((self.labels == self.predicted).mean())

    @property
    def images(self) -> int:
        """The number of test images."""
        return len(self.labels)


def name_of(model: str, seed: int, fold: str = "") -> str:
    """What the files of a run are called: "lstm_cnn-seed3"."""
    return "-".join([model, *([fold] if fold else []), f"seed{seed}"])


def digits(classes: np.ndarray) -> str:
    """Classes from 0 to 9 as a string."""
    return "".join(map(str, classes.tolist()))


def pack(probabilities: np.ndarray) -> str:
    """Probabilities (N, K) as text, for `unpack`."""
    steps = np.rint(255 * probabilities).astype(np.uint8)
    return base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode()


def unpack(text: str, shape: tuple[int, int]) -> np.ndarray:
    """Probabilities from text. Raises ValueError if it is damaged or of another shape; takes no more memory than that.

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
    """Write a run as JSON, a field in each line, whole or not at all."""
    lines = [f" {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    write_whole(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def read(path: Path) -> Record:
    """Read a run. Raises DataError, which names the file, for anything that `write` does not write."""
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
    """A run as it stands in a file. Raises ValueError, which says what is wrong."""
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise ValueError(f"its format must be {FORMAT!r}")
    for name, kind in _FIELDS.items():
        value = fields.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{name} must be of type {kind.__name__}, is {type(value).__name__}")
    if not all(isinstance(fields["data"].get(name), kind) for name, kind in
               {"name": str, "stand_in": bool, "parted": str, "train": int, "validation": int}.items()):
        raise ValueError("data must have a name, stand_in, parted, and the numbers of images")
    if not all(_is_number(fields[name]) for name in ("seconds", "parameters", "seed")):
        raise ValueError("seconds, parameters and seed must be finite numbers of 0 or more")
    _check_curves(fields["curves"])
    count = len(fields["classes"])
    if not 2 <= count <= 10 or not all(isinstance(name, str) for name in fields["classes"]):
        raise ValueError("classes must be the names of 2 to 10 classes")
    labels, predicted = (_classes(name, fields[name], count) for name in ("labels", "predicted"))
    if len(labels) != len(predicted):
        raise ValueError(f"labels and predicted must be as many, are {len(labels)} and {len(predicted)}")
    scores, packed = fields.get("scores"), fields.get("probabilities")
    if scores is not None and not (isinstance(scores, list) and len(scores) == len(labels) and count == 2
                                   and all(_is_number(score) and score <= 1 for score in scores)):
        raise ValueError(f"scores must be {len(labels)} probabilities, of the second of two classes")
    if packed is not None and not isinstance(packed, str):
        raise ValueError("probabilities must be text")
    return Record(fields, labels, predicted, None if scores is None else np.array(scores, np.float64),
                  None if packed is None else unpack(packed, (len(labels), count)))


def _check_curves(curves: dict[str, Any]) -> None:
    lengths = set()
    for name in CURVES:
        values = curves.get(name)
        if not isinstance(values, list) or not values or not all(map(_is_number, values)):
            raise ValueError(f"curves must have {name}, a row of finite numbers")
        lengths.add(len(values))
    if len(lengths) > 1:
        raise ValueError(f"curves must be of one length, are of {sorted(lengths)}")


def _classes(name: str, text: str, count: int) -> np.ndarray:
    if not text or not text.isascii() or not text.isdecimal() or int(max(text)) >= count:
        raise ValueError(f"{name} must be a row of digits below {count}")
    return np.frombuffer(text.encode(), np.uint8).astype(np.int64) - ord("0")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and math.isfinite(value)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")
