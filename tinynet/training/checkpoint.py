"""A run in one file, from which it goes on as if it had never stopped.

What the next step depends on is small: the weights and buffers, the optimizer's moments, and a few integers, since
random numbers are a function of (seed, stream, step) and the order of batches one of (seed, epoch). `capture` collects
it, `restore` puts it back; `write` and `read` take it to a file, a table of arrays (safetensors) with the rest as JSON
in its one entry of metadata. Nothing in such a file can run, and a file that does not fit the run is refused before
anything is changed.
"""

import json
import os
import reprlib
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinynet import random
from tinynet.atomic import write_whole
from tinynet.errors import CheckpointError, TinynetError
from tinynet.training.run import Run

FORMAT = "tinynet checkpoint 1"
_DTYPES = {"F16": "float16", "F32": "float32", "F64": "float64", "I32": "int32", "I64": "int64"}
_SHOWN = 3  # differences that an error names


class State(NamedTuple):
    """All that a run goes on from: arrays on the host, and words and numbers as JSON knows them."""

    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]


def capture(run: Run, settings: Mapping[str, Any]) -> State:
    """The state of a run, as copies. `settings` is what a run that goes on from it must have in common with it.

    Errors: CheckpointError for a callback whose state JSON does not know.
    """
    arrays = {**{f"model/{name}": array for name, array in run.model.state_dict().items()},
              **{f"optimizer/{name}": array for name, array in run.optimizer.state_dict().items()}}
    facts = {
        "settings": settings,
        "epoch": run.epoch, "batch": run.batch, "step": run.step, "validating": run.validating,
        "history": run.history, "stopped": run.stopped,
        "sums": {name: value if name == "images" else float(value) for name, value in run.sums.items()},
        "random": random.state_dict(),
        "streams": {path: vars(module)["own_stream"] for path, module in run.model.modules()
                    if "own_stream" in vars(module)},
        "schedule": run.schedule.state_dict() if run.schedule else {},
        "callbacks": [callback.state_dict() for callback in run.callbacks],
        "loaders": [loader.state_dict() for loader in _loaders(run)],
    }
    try:
        return State(arrays, json.loads(json.dumps(facts)))
    except (TypeError, ValueError) as error:
        raise CheckpointError("fit: what a callback's state_dict() returns must be words and numbers, and JSON says "
                              f"{error}; int(...) or float(...) of what it counts?") from error


def restore(run: Run, state: State) -> None:
    """Put a run back to where its state was captured."""
    for part in (run.model, run.optimizer):
        prefix = "model/" if part is run.model else "optimizer/"
        part.load_state_dict({name.removeprefix(prefix): array for name, array in state.arrays.items()
                              if name.startswith(prefix)})
    facts = state.facts
    if run.schedule:
        run.schedule.load_state_dict(facts["schedule"])
    for things, states in ((run.callbacks, facts["callbacks"]), (_loaders(run), facts["loaders"])):
        for thing, its_state in zip(things, states, strict=True):
            thing.load_state_dict(its_state)
    modules = dict(run.model.modules())
    for path, name in facts["streams"].items():
        vars(modules[path])["own_stream"] = str(name)
    random.load_state_dict(facts["random"])
    run.epoch, run.batch, run.step = (_count(facts[name]) for name in ("epoch", "batch", "step"))
    run.sums = {name: (_count if name == "images" else float)(facts["sums"][name]) for name in run.sums}
    run.history = [dict(row) for row in facts["history"]]
    run.validating, run.stopped = bool(facts["validating"]), str(facts["stopped"])


def not_finite(state: State) -> str | None:
    """The name of the first array with a NaN or an infinity in it."""
    return next((name for name, array in state.arrays.items()
                 if array.dtype.kind == "f" and not np.isfinite(array).all()), None)


def settings(run: Run, **more: Any) -> dict[str, Any]:
    """What a run must have in common with the checkpoint from which it goes on: the same layers, optimizer, data."""
    found = {
        "seed": random.current_seed(),
        **{f"layer {path or '(the model)'}": _options(module, skip=module.host_state)
           for path, module in run.model.modules()},
        "optimizer": _options(run.optimizer, skip=("lr", "steps")),
        "learning rate at the start": float(run.optimizer.lr),
        "schedule": _options(run.schedule, skip=("base", "steps")),
        "callbacks": [type(callback).__name__ for callback in run.callbacks],
        "training data": _data(run.train), "validation data": _data(run.validation),
        **more,
    }
    return dict(json.loads(json.dumps(found)))


def write(path: str | os.PathLike[str], state: State) -> None:
    """Write a state into a file, whole or not at all: whoever opens `path` finds the old state or this one.

    Errors: CheckpointError where the file cannot be written; what was there is still there.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "checkpoint.safetensors"
    >>> state = State({"model/W": np.ones(2, "float32")}, {"settings": {}, "step": 3})
    >>> write(path, state)
    >>> read(path, like=state).facts["step"]
    3
    """
    from safetensors.numpy import save as to_bytes

    arrays = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in state.arrays.items()}
    description = json.dumps({"crc32": _crc32(state), **state.facts})
    try:
        write_whole(path, to_bytes(arrays, {FORMAT: description}))
    except OSError as error:
        kept = "the checkpoint before it is still there" if Path(path).exists() else "there is none yet"
        raise CheckpointError(f"fit: the checkpoint {path} cannot be written ({error.strerror or error}), {kept}; "
                              "is there space, and may you write there?") from error


def read(path: str | os.PathLike[str], like: State) -> State:
    """The state that `write` has put into a file, which must be of the same settings and arrays as `like`.

    Errors: CheckpointError, which says whether the file is missing, damaged, no checkpoint, or of another run, and in
    what it differs.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if not Path(path).is_file():
            raise CheckpointError(f"resume: {path} must be a checkpoint, but it is "
                                  f"{'a folder' if Path(path).is_dir() else 'not there'}; start without resume")
        with safe_open(path, framework="numpy") as file:
            facts = _facts(path, file.metadata() or {})
            names = file.keys()
            there = {f"array {name}": _kind(_DTYPES.get(part.get_dtype(), part.get_dtype()), part.get_shape())
                     for name, part in ((name, file.get_slice(name)) for name in names)}
            here = {f"array {name}": _kind(str(array.dtype), array.shape) for name, array in like.arrays.items()}
            _check_same(path, {**like.facts["settings"], **here}, {**facts["settings"], **there})
            state = State({name: file.get_tensor(name) for name in names}, facts)
    except SafetensorError as error:
        raise CheckpointError(f"resume: {path} must be a whole checkpoint, but it is damaged ({error}); "
                              "start without resume, or from a copy of it") from error
    except OSError as error:
        raise CheckpointError(f"resume: {path} cannot be read ({error.strerror or error}); may you read it?") from error
    if facts.pop("crc32", None) != _crc32(state):
        raise CheckpointError(f"resume: {path} must be as it was written, but its checksum does not fit, so it is "
                              "damaged; start without resume, or from a copy of it")
    return state


def resume(run: Run, path: str | os.PathLike[str], like: State) -> State:
    """Let a run go on from a file. Errors: CheckpointError as of `read`; the run has not begun then."""
    state = read(path, like)
    try:
        restore(run, state)
    except (TinynetError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"resume: what {path} says about the run does not make sense ({error!r}); it is damaged, "
                              "or of another version: start without resume") from error
    return state


def _facts(path: Any, metadata: dict[str, str]) -> dict[str, Any]:
    if FORMAT not in metadata:
        raise CheckpointError(f"resume: {path} must be of format {FORMAT!r}, got {reprlib.repr(sorted(metadata))}; "
                              "was it written by tn.fit, and by this version?")
    try:
        facts = json.loads(metadata[FORMAT])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"resume: the description in {path} must be JSON, and is not ({error}); the file is "
                              "damaged: start without resume, or from a copy of it") from error
    if not isinstance(facts, dict) or not isinstance(facts.get("settings"), dict):
        raise CheckpointError(f"resume: the description in {path} must have settings, and has none; the file is "
                              "damaged, or of another version: start without resume")
    return facts


def _check_same(path: Any, here: dict[str, Any], there: dict[str, Any]) -> None:
    def shown(value: Any) -> str:
        return "none" if value is None else reprlib.repr(value) if not isinstance(value, str) else value

    differing = [f"{name}: {shown(there.get(name))} there, {shown(here.get(name))} here"
                 for name in {**here, **there} if here.get(name) != there.get(name)]
    if differing:
        rest = f", and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        raise CheckpointError(f"resume: {path} must be of a run like this one, but they differ in "
                              f"{'; '.join(differing[:_SHOWN])}{rest}; give the same options as then, "
                              "or start without resume")


def _kind(dtype: str, shape: Iterable[int]) -> str:
    return f"{dtype} {tuple(shape)}"


def _crc32(state: State) -> int:
    """A checksum of everything: a bit that falls over on a disk is not noticed otherwise."""
    crc = zlib.crc32(json.dumps({name: value for name, value in state.facts.items() if name != "crc32"},
                                sort_keys=True).encode())
    for name in sorted(state.arrays):
        array = np.ascontiguousarray(state.arrays[name])
        crc = zlib.crc32(array.data, zlib.crc32(f"{name} {_kind(str(array.dtype), array.shape)}".encode(), crc))
    return crc


def _loaders(run: Run) -> list[Any]:
    return [loader for loader in (run.train, run.validation) if hasattr(loader, "load_state_dict")]


def _data(batches: Any) -> Any:
    """What is known of an iterable of batches without going through it."""
    if batches is None:
        return None
    names = ("length", "batch_size", "shuffle", "drop_last", "seed")
    return {**{name: getattr(batches, name) for name in names if hasattr(batches, name)},
            "augment": _options(getattr(batches, "augment", None), skip=())}


def _options(thing: Any, skip: Iterable[str]) -> Any:
    """The class of a thing and its attributes that are plain numbers, words, or rows of them."""
    if thing is None:
        return None
    def plain(value: Any) -> bool:
        return (value is None or isinstance(value, bool | int | float | str)
                or (isinstance(value, tuple | list) and all(map(plain, value))))

    return [type(thing).__name__, {name: value for name, value in vars(thing).items()
                                   if plain(value) and not name.startswith("_") and name not in skip
                                   and name != "training"}]


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError(f"{reprlib.repr(value)} is no count")
    return value
