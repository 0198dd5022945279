"""Damaged and forged model files, and a check of each.

    originals()                        valid files, as bytes
    changed(rng, originals)            one of them with random damage or a forged description; or random bytes
    check(content, path)               load it: a usable model, or a ModelFileError that names the file
    fuzz(count, seed, path)            all of this, `count` times; the number of files that were loaded
"""

import copy
import json
import struct
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import tinynet as tn
from tinynet import nn
from tinynet.errors import ModelFileError
from tinynet.saving.models import FORMAT

LONGEST = 600  # characters of a message, the file's name included

_BYTES = b'0123456789-+.eE"{}[],:\\ ntfu\0\xff'
_VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 7, 10**6, 10**9, 2**31, 2**63, 10**30, 10**400, 0.5, -0.0, 1e308, 1e400,
    float("nan"), "", "same", "valid", "causal", "x", "os.system", "Dense", "LSTM", "\x1b[2J", "\ud800", [], [[]], {},
    [1, 2], [3, -1], {"layer": "Dense"}, {"layer": "Sequential", "layers": [], "input_shape": None}]


def originals() -> list[bytes]:
    """Files of small models with every layer, with and without classes, scaling and input_shape."""
    tn.seed(0)
    models: list[tuple[Any, dict[str, Any]]] = [
        (nn.Sequential(nn.BatchNorm(1), nn.Reshape((4, 3)), nn.LSTM(3, 2, dropout=0.1), nn.Dropout(0.2),
                       nn.Conv1D(2, 2, 3), nn.ReLU(), nn.Flatten(), nn.Dense(4, 2), input_shape=(4, 3, 1)),
         {"classes": ["cat", "dog"], "scaling": nn.Scaling()}),
        (nn.Sequential(nn.Conv2D(1, 2, 3, padding="same"), nn.BatchNorm(2), nn.Tanh(), nn.MaxPool2D(2), nn.AvgPool2D(1),
                       nn.Sequential(nn.GlobalAveragePool(), nn.Sigmoid()), nn.Dense(2, 3, bias=False), nn.Softmax(),
                       input_shape=(4, 4, 1)), {"classes": ["a", "b", "c"]}),
        (nn.Sequential(nn.MaxPool1D(2), nn.AvgPool1D(1, padding="same"), nn.LSTM(2, 1, return_sequences=False)), {}),
        (nn.Dense(3, 2), {}),
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        found = []
        for model, options in models:
            tn.save(path, model, **options)
            found.append(path.read_bytes())
    return found


def changed(rng: Random, files: list[bytes]) -> bytes:
    """A file that is most likely invalid."""
    content = rng.choice(files)
    kind = rng.random()
    if kind < 0.05:
        return rng.randbytes(rng.choice([0, 1, 7, 8, 9, 50, 300]))
    if kind < 0.15:
        return content[: rng.randrange(len(content))] + rng.randbytes(rng.choice([0, 0, 1, 20]))
    if kind < 0.45:
        return _other_bytes(rng, content)
    if kind < 0.65:
        return _forged(rng, content, in_header=True)
    return _forged(rng, content, in_header=False)


def check(content: bytes, path: Path) -> bool:
    """Whether a file can be loaded. If so, the model can be used; if not, one printable line names the file and why."""
    path.write_bytes(content)
    try:
        model = tn.load(path)
    except ModelFileError as error:
        assert str(error).startswith("load: ") and path.name in str(error) and "; " in str(error), str(error)
        assert len(str(error)) < LONGEST and str(error).isprintable(), str(error)
        return False
    assert repr(model) and len(model.summary()) > 10
    assert all(array.nbytes <= len(content) for array in model.state_dict().values())
    assert not model.training
    return True


def fuzz(count: int, seed: int, path: Path) -> int:
    """Check `count` files. Returns the number of them that were loaded. A failure leaves its file at `path`."""
    rng, files = Random(seed), originals()
    return sum(check(changed(rng, files), path) for _ in range(count))


def _other_bytes(rng: Random, content: bytes) -> bytes:
    """Change, remove or insert some bytes, mostly in the header."""
    result = bytearray(content)
    header = 8 + struct.unpack("<Q", content[:8])[0]
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        place = rng.randrange(rng.choice([8, header, header, len(result)]) if len(result) > header else len(result))
        match rng.randrange(4):
            case 0:
                result[place] = rng.choice(_BYTES)
            case 1:
                result[place] ^= 1 << rng.randrange(8)
            case 2:
                del result[place : place + rng.choice([1, 2, 10])]
            case 3:
                result[place:place] = rng.randbytes(rng.choice([1, 8]))
        if not result:
            break
    return bytes(result)


def _forged(rng: Random, content: bytes, in_header: bool) -> bytes:
    """A valid file of the format with a change in its table of arrays, or in its description of the layers."""
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    if in_header:
        header = _other_value(rng, header)
    else:
        description = json.loads(header["__metadata__"][FORMAT])
        if rng.random() < 0.7:
            description.pop("crc32", None)
        for _ in range(rng.choice([1, 1, 2, 3])):
            description = _other_value(rng, description)
        header["__metadata__"] = {FORMAT: json.dumps(description)}
    text = json.dumps(header).encode(errors="surrogatepass")
    return struct.pack("<Q", len(text)) + text + data


def _other_value(rng: Random, whole: Any) -> Any:
    """JSON with one value, name or element changed, duplicated or removed."""
    whole = copy.deepcopy(whole)
    places: list[tuple[Any, Any]] = []
    waiting = [whole]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict | list) and one:
            keys = list(one) if isinstance(one, dict) else range(len(one))
            places += [(one, key) for key in keys]
            waiting += [one[key] for key in keys]
    if not places:
        return rng.choice(_VALUES)
    parent, key = rng.choice(places)
    match rng.randrange(6):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[rng.choice(["x", "", "W", "layer", "layers", "classes"])] = parent.pop(key)
        case 1 | 2 if isinstance(parent, list):
            parent.insert(key, copy.deepcopy(rng.choice(parent)))
        case 3:
            other, place = rng.choice(places)
            parent[key] = copy.deepcopy(other[place])
        case 4 if isinstance(parent[key], int):
            parent[key] += rng.choice([-1, 1, 1000])
        case _:
            parent[key] = rng.choice(_VALUES)
    return whole
