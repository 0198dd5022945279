"""The Japanese Vowels data, of two files in the format .ts, in a folder or in a zip file. They are not trusted."""

import os
import zipfile
from pathlib import Path

import numpy as np

from tinynet.errors import DataError

CHANNELS, SPEAKERS = 12, 9
MOST_BYTES, MOST_STEPS = 16 * 2**20, 1000  # of a file, and of a sequence

Utterances = tuple[list[np.ndarray], np.ndarray]  # sequences (T,12), and speakers (N)


def read_part(source: Path | None, part: str) -> Utterances:
    """The training ("TRAIN") or test ("TEST") part, of a folder or of a zip file; of $TINYNET_DATA for None."""
    if source is None:
        root = os.environ.get("TINYNET_DATA")
        source = Path(root, "japanese_vowels") if root else Path("japanese_vowels")
    name = f"JapaneseVowels_{part}.ts"
    try:
        if source.is_file():
            content = _from_zip(source, name)
        else:
            with open(source / name, "rb") as file:
                content = file.read(MOST_BYTES + 1)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"vowels: {source} must be a folder with {name}, or a zip file that holds it ({error}); "
                        "pip download --no-deps aeon, then --data and the name of the wheel") from error
    if len(content) > MOST_BYTES:
        raise DataError(f"vowels: {name} must have at most {MOST_BYTES:,} bytes; is it the right file?")
    return parse(content.decode("utf-8", errors="replace"), name)


def _from_zip(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        found = next((one for one in archive.infolist() if one.filename.rpartition("/")[2] == name), None)
        if found is None:
            raise FileNotFoundError(f"it holds no {name}")
        with archive.open(found) as file:
            return file.read(MOST_BYTES + 1)


def parse(text: str, name: str) -> Utterances:
    """The sequences (T,12) and speakers, from 0, of a file in the format .ts: channels and the label with : between."""
    _, is_there, rows = text.partition("@data")
    lines = [line for line in rows.splitlines() if line.strip()]
    if not is_there or not lines:
        raise DataError(f"vowels: {name} must have lines behind @data, and has none; fetch it again")
    sequences, speakers = [], []
    for number, line in enumerate(lines, 1):
        *channels, label = line.strip().split(":")
        try:
            values = np.array([[float(value) for value in channel.split(",")] for channel in channels], "float32").T
            speakers.append(int(label) - 1)
        except ValueError:
            raise DataError(f"vowels: utterance {number} of {name} must be numbers of equally many steps for each "
                            "channel, and a label; fetch the file again") from None
        if (values.ndim != 2 or values.shape[1] != CHANNELS or not 0 < len(values) <= MOST_STEPS
                or not np.isfinite(values).all() or not 0 <= speakers[-1] < SPEAKERS):
            raise DataError(f"vowels: utterance {number} of {name} must have 1 to {MOST_STEPS} steps of {CHANNELS} "
                            f"finite numbers and a speaker from 1 to {SPEAKERS}, got {values.shape} and {label}; is it "
                            "the right file?")
        sequences.append(values)
    return sequences, np.array(speakers)
