"""The state of a run in one file, from which it continues as if it had never stopped.

The next step depends on little: weights and buffers, the optimizer's moments, and a few integers. Random numbers are a
function of (seed, stream, step), and the order of batches is one of (seed, epoch). `capture` collects this state and
`restore` puts it back; `write` and `read` move it to and from a file, an archive (`saving/archive.py`). A file that
does not fit the run is refused before anything changes.
"""

import json
import os
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tinynet import backend, random
from tinynet.distributed import Communicator
from tinynet.errors import CheckpointError, DistributedError, TinynetError
from tinynet.optim.schedule import Schedule
from tinynet.output import warn
from tinynet.saving import archive
from tinynet.saving.archive import Format
from tinynet.training.fingerprint import differences, fingerprint, surroundings
from tinynet.training.run import Run

FORMAT = "tinynet checkpoint 1"
_SHOWN = 3  # differences that an error names
_CHECKPOINT = Format(FORMAT, "a checkpoint", CheckpointError, "fit", "resume",
                     "start without resume, or from a copy of it", sealed=True)


class State(NamedTuple):
    """The state of a run: arrays on the host, and facts that JSON can represent."""

    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]


def capture(run: Run, compared: Mapping[str, Any]) -> State:
    """A copy of the state of a run. `compared` holds what a run that resumes from it is compared by, as of `identity`.

    Errors: CheckpointError for a callback whose state JSON cannot represent.
    """
    arrays = {**{f"model/{name}": array for name, array in run.model.state_dict().items()},
              **{f"optimizer/{name}": array for name, array in run.optimizer.state_dict().items()},
              **{name: backend.to_host(array).copy() for name, array in _of_callbacks(run).items()}}
    facts = {
        **compared,
        "epoch": run.epoch, "batch": run.batch, "step": run.step, "validating": run.validating,
        "history": run.history, "stopped": run.stopped,
        "sums": {name: value if name in ("images", "measure") else float(value) for name, value in run.sums.items()},
        "random": random.state_dict(),
        "streams": {path: vars(module)["own_stream"] for path, module in run.model.modules()
                    if "own_stream" in vars(module)},
        "schedule": run.schedule.state_dict() if run.schedule else {},
        "callbacks": [callback.state_dict() for callback in run.callbacks],
        "loaders": [loader.state_dict() for loader in _loaders(run)],
    }
    try:
        return State(arrays, json.loads(json.dumps(facts, default=np.generic.item)))
    except (TypeError, ValueError) as error:
        raise CheckpointError("fit: a callback's state_dict() must return what JSON can represent, and JSON says "
                              f"{error}; int(...) or float(...) of what it counts?") from error


def restore(run: Run, state: State) -> None:
    """Set a run to a captured state."""
    for part in (run.model, run.optimizer):
        prefix = "model/" if part is run.model else "optimizer/"
        part.load_state_dict({name.removeprefix(prefix): array for name, array in state.arrays.items()
                              if name.startswith(prefix)})
    for name, array in _of_callbacks(run).items():
        array[...] = backend.to_device(state.arrays[name], backend.device_of(array))
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
    kinds: dict[str, Any] = {"images": _count, "measure": str}
    sums = {"measure": "accuracy", **facts["sums"]}  # earlier versions had no other one
    run.sums = {name: kinds.get(name, float)(sums[name]) for name in run.sums}
    run.history = [dict(row) for row in facts["history"]]
    run.validating, run.stopped = bool(facts["validating"]), str(facts["stopped"])


def shared(state: State, ranks: Communicator) -> State:
    """The state of rank 0, on every rank.

    Errors: DistributedError if ranks do not train the same, with the first difference.
    """
    here = {**state.facts["settings"], **_kinds(state)}
    for rank, there in enumerate(ranks.gather(here)):
        for name in {**here, **there}.keys() - {"seed"}:
            if here.get(name) != there.get(name):
                raise DistributedError(f"fit: all ranks must train the same, but {name} is {here.get(name)} on rank "
                                       f"{ranks.rank} and {there.get(name)} on rank {rank}; does the script make "
                                       "something else on each rank?")
    facts = ranks.gather(state.facts if ranks.rank == 0 else {})[0]
    return State({name: ranks.broadcast(state.arrays[name].copy()) for name in sorted(state.arrays)}, facts)


def not_finite(state: State) -> str | None:
    """The name of the first array that holds a NaN or an infinity, if any."""
    return next((name for name, array in state.arrays.items()
                 if array.dtype.kind == "f" and not np.isfinite(array).all()), None)


def settings(run: Run, **more: Any) -> dict[str, Any]:
    """What a resumed run must share with its checkpoint: options of layers, optimizer, schedule and data."""
    found = {
        "seed": random.current_seed(),
        **{f"layer {path or '(the model)'}": _options(module, skip=(*module.host_state, "own_stream"))
           for path, module in run.model.modules()},  # the stream is state, which a resume restores
        "optimizer": _options(run.optimizer, skip=("lr", "steps", "groups")),
        "groups of the optimizer": [[len(group.parameters), *group[1:]] for group in run.optimizer.groups] or None,
        "learning rate at the start": float(run.optimizer.lr),
        "schedule": _options(run.schedule, skip=("base", "steps")),
        "callbacks": [type(callback).__name__ for callback in run.callbacks],
        "training data": _data(run.train), "validation data": _data(run.validation),
        **more,
    }
    return dict(json.loads(json.dumps(found, default=np.generic.item)))


def identity(run: Run, device: str, settings: Mapping[str, Any], **functions: Any) -> dict[str, Any]:
    """What a resumed run is compared by: `settings` and the fingerprint must agree, the surroundings should.

    functions   of the training, by name: its loss, its metrics
    """
    return {"settings": settings, "fingerprint": fingerprint(run, **functions), "surroundings": surroundings(device)}


def write(path: str | os.PathLike[str], state: State) -> None:
    """Write a state into a file, whole or not at all.

    Errors: CheckpointError if the file cannot be written; its old content is kept.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "checkpoint.safetensors"
    >>> state = State({"model/W": np.ones(2, "float32")}, {"settings": {}, "step": 3})
    >>> write(path, state)
    >>> read(path, like=state).facts["step"]
    3
    """
    archive.write(path, _CHECKPOINT, state.facts, state.arrays)


def read(path: str | os.PathLike[str], like: State) -> State:
    """The state in a file. Its settings, and the names, shapes and dtypes of its arrays, must be those of `like`.

    Errors: CheckpointError if the file is missing, damaged, not a checkpoint, or of another run, with the differences.
    """
    with archive.opened(path, _CHECKPOINT) as file:
        facts = file.header
        if not isinstance(facts, dict) or not isinstance(facts.get("settings"), dict):
            raise CheckpointError(f"resume: the header of {path} must have settings, and has none; the file is "
                                  "damaged, or of another version: start without resume")
        there = {f"array {name}": _kind(*kind) for name, kind in file.kinds.items()}
        _check_same(path, {**like.facts["settings"], **_kinds(like)}, {**facts["settings"], **there})
        return State(file.arrays(), facts)


def resume(run: Run, path: str | os.PathLike[str], like: State) -> State:
    """Set a run to the state in a file, and return that state.

    Warns once if the results will not be those of an uninterrupted run bit for bit, or if that cannot be known.

    Errors: CheckpointError as of `read`, and for other data or functions than those of the fingerprint.
    """
    state = read(path, like)
    _compare(path, like.facts, state.facts)
    try:
        restore(run, state)
    except (TinynetError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"resume: what {path} says about the run does not make sense ({error!r}); it is damaged, "
                              "or of another version: start without resume") from error
    return state


def _check_same(path: Any, here: dict[str, Any], there: dict[str, Any]) -> None:
    def shown(value: Any) -> str:
        return "none" if value is None else reprlib.repr(value) if not isinstance(value, str) else value

    _refuse(path, [f"{name}: {shown(there.get(name))} there, {shown(here.get(name))} here"
                   for name in {**here, **there} if here.get(name) != there.get(name)])


def _compare(path: Any, here: Mapping[str, Any], there: Mapping[str, Any]) -> None:
    """Compare fingerprints and surroundings, where the file has them."""
    prints, places = (there.get(name) for name in ("fingerprint", "surroundings"))
    if not isinstance(prints, dict) or not isinstance(places, dict):
        _warn(f"resume: {path} has no fingerprint of its data and loss, as earlier versions wrote it, so it cannot be "
              "told whether they are the same; make sure that they are")
        return
    _refuse(path, differences(here["fingerprint"], prints))
    if differing := differences(here["surroundings"], places):
        _warn(f"resume: from here on the run is not bit for bit the one that began {path}, since they differ in "
              f"{'; '.join(differing)}; for equal bits, go on where it began")


def _warn(message: str) -> None:
    warn(message, stacklevel=9)  # the caller of fit


def _refuse(path: Any, differing: list[str]) -> None:
    if differing:
        rest = f", and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        raise CheckpointError(f"resume: {path} must be of a run like this one, but they differ in "
                              f"{'; '.join(differing[:_SHOWN])}{rest}; give the options of that run, "
                              "or start without resume")


def _kinds(state: State) -> dict[str, str]:
    return {f"array {name}": _kind(str(array.dtype), array.shape) for name, array in state.arrays.items()}


def _kind(dtype: str, shape: Iterable[int]) -> str:
    return f"{dtype} {tuple(shape)}"


def _of_callbacks(run: Run) -> dict[str, Any]:
    """The arrays of all callbacks, by the number of the callback and their names."""
    return {f"callback {i}/{name}": array for i, callback in enumerate(run.callbacks)
            for name, array in callback.arrays(run).items()}


def _loaders(run: Run) -> list[Any]:
    return [loader for loader in (run.train, run.validation) if hasattr(loader, "load_state_dict")]


def _data(batches: Any) -> Any:
    """The options of an iterable of batches."""
    if batches is None:
        return None
    names = ("length", "batch_size", "shuffle", "drop_last", "seed")
    bucket = getattr(batches, "bucket", None)
    return {**{name: getattr(batches, name) for name in names if hasattr(batches, name)},
            **({} if bucket is None else {"bucket": bucket}),
            "augment": _options(getattr(batches, "augment", None), skip=())}


def _options(thing: Any, skip: Iterable[str]) -> Any:
    """The class of an object and its public attributes that are numbers, strings, or lists of them."""
    if thing is None:
        return None
    def plain(value: Any) -> bool:
        return (value is None or isinstance(value, bool | int | float | str)
                or (isinstance(value, tuple | list) and all(map(plain, value)))
                or (isinstance(value, dict) and all(map(plain, value.values()))))

    options = {name: _options(value, skip) if isinstance(value, Schedule) else value
               for name, value in vars(thing).items()}
    added = getattr(type(thing), "added_options", {}).items()  # where they have the values that earlier versions mean
    return [type(thing).__name__, {name: value for name, value in options.items()
                                   if plain(value) and not name.startswith("_") and name not in skip
                                   and name != "training" and (name, value) not in added}]


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError(f"{reprlib.repr(value)} is not a count")
    return value
