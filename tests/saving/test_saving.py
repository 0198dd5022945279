"""Saved models: loading gives the model that was saved, no file can do harm, and each fault is a ModelFileError."""

import errno
import inspect
import json
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save as to_bytes

import tinynet as tn
from tinynet import atomic, nn
from tinynet.errors import ArgumentError, ModelFileError
from tinynet.nn.summary import rows
from tinynet.saving import archive, models
from tinynet.saving.models import FORMAT, LAYERS

# Values of constructor arguments by name, for those without a useful default.
VALUES = {"inputs": 3, "units": 2, "features": 3, "filters": 3, "width": 2, "size": (2, 1), "p": 0.25, "shape": (3, -1),
          "bias": False, "stride": 2, "padding": "same", "dilation": 2, "axis": 1, "momentum": 0.5, "eps": 1e-3,
          "return_sequences": False, "return_state": True, "go_backwards": True, "dropout": 0.5,
          "recurrent_dropout": 0.25, "layer": nn.LSTM(3, 2), "vocabulary": 5,
          "padding_index": 1, "module": nn.Tanh(), "branches": [nn.Tanh(), nn.ReLU()], "merge_mode": "sum",
          "negative_slope": 0.25, "alpha": 0.5, "groups": 3}


def examples() -> list[Any]:
    """Every layer, with its defaults and with other options."""
    found = []
    for layer in LAYERS.values():
        if layer is nn.Sequential:
            continue
        parameters = inspect.signature(layer).parameters.values()
        values = VALUES | ({"size": 2} if layer.__name__.endswith("1D") else {})
        found.append(layer(**{p.name: values[p.name] for p in parameters if p.default is p.empty}))
        found.append(layer(**{p.name: values[p.name] for p in parameters}))
    return found


EXAMPLES = examples()


def lstm_cnn() -> Any:
    return nn.Sequential(nn.BatchNorm(1), nn.Reshape((6, 4)), nn.LSTM(4, 5, dropout=0.1), nn.Dropout(0.2),
                         nn.Conv1D(5, 3, 3), nn.ReLU(), nn.Sequential(nn.Dropout(0.2), nn.Flatten()), nn.Dense(12, 4),
                         input_shape=(6, 4, 1))


IMAGES = np.random.default_rng(0).uniform(0, 1, (3, 6, 4, 1)).astype("float32")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


@pytest.fixture
def content(path: Path) -> bytes:
    """A saved model of a layer with an odd or even number of bytes."""
    tn.save(path, nn.Sequential(nn.Dense(3, 2), nn.Dropout(0.5), nn.BatchNorm(2)))
    return path.read_bytes()


def refused(path: Path, *words: str) -> str:
    """Assert that loading fails, with these words. Returns the message."""
    with pytest.raises(ModelFileError) as caught:
        tn.load(path)
    message = str(caught.value)
    assert path.name in message
    for word in words:
        assert word in message, message
    assert message.count(";") >= 1, "the third part of a message is the likely fix"
    return message


def file_with(path: Path, architecture: Any, arrays: dict[str, np.ndarray] | None = None, form: str = FORMAT) -> Path:
    """A file of the format with this description, which may be text other than JSON."""
    text = architecture if isinstance(architecture, str) else json.dumps(architecture)
    path.write_bytes(to_bytes(arrays or {}, {form: text}))
    return path


# --- what comes back ------------------------------------------------------------------------------------------------

def test_the_closed_list_holds_every_layer() -> None:
    public = [getattr(nn, name) for name in nn.__all__ if issubclass(getattr(nn, name), nn.Module)]
    assert set(LAYERS.values()) == set(public) - {nn.Module}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", EXAMPLES, ids=repr)
def test_every_layer_comes_back(layer: Any, dtype: str, path: Path) -> None:
    model = nn.Sequential(layer).astype(dtype)
    for tensor in model.tensors().values():
        tensor.data[...] += 1
    tn.save(path, model)
    again = tn.load(path)
    assert type(again[0]) is type(layer)
    assert repr(again) == repr(model)
    assert repr(again[0].config()) == repr(layer.config())
    before, after = model.state_dict(), again.state_dict()
    assert list(before) == list(after)
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)
        assert after[name].dtype == array.dtype
    assert not again.training


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_computes_the_same_afterwards(dtype: str, path: Path) -> None:
    model = lstm_cnn().astype(dtype)
    x = tn.Tensor(IMAGES.astype(dtype))
    optimizer = tn.optim.Adam(model.parameters())
    for _ in range(2):
        tn.ops.cross_entropy(model(x), np.array([0, 1, 2])).backward()
        optimizer.step()
    tn.save(path, model)
    again = tn.load(path)
    assert again.input_shape == (6, 4, 1)
    np.testing.assert_array_equal(again(x).numpy(), model.eval()(x).numpy())
    assert again.parameters().names == model.parameters().names
    np.testing.assert_array_equal(again.train()(x).numpy(), model.train()(x).numpy())  # the same masks, too


def test_a_loaded_model_can_be_trained(path: Path) -> None:
    tn.save(path, lstm_cnn())
    model = tn.load(path).train()
    before = model.state_dict()
    optimizer = tn.optim.SGD(model.parameters(), lr=0.1)
    tn.ops.cross_entropy(model(tn.Tensor(IMAGES)), np.array([0, 1, 2])).backward()
    optimizer.step()
    assert all((model.state_dict()[name] != before[name]).any() for name in model.parameters().names)


def test_a_single_layer_and_an_empty_model(path: Path) -> None:
    for model in (nn.Dense(3, 2), nn.Sequential(), nn.Sequential(nn.Sequential(nn.Sequential()))):
        tn.save(path, model)
        assert repr(tn.load(path)) == repr(model)


def test_precision_may_differ_between_layers(path: Path) -> None:
    model = nn.Sequential(nn.Dense(3, 2), nn.Dense(2, 2).astype("float64"))
    tn.save(path, model)
    assert [p.dtype for p in tn.load(path).parameters()] == ["float32", "float32", "float64", "float64"]


def test_options_may_be_numbers_of_numpy(path: Path) -> None:
    """np.prod of a shape is a NumPy number."""
    tn.save(path, nn.Sequential(nn.Dense(np.int64(3), 2), nn.Reshape((np.int64(2),)), nn.Softmax(axis=np.int32(-1)),
                                nn.Dropout(np.float32(0.25)), nn.BatchNorm(2, eps=np.float64(0.1))))
    assert repr(tn.load(path)) == repr(nn.Sequential(nn.Dense(3, 2), nn.Reshape((2,)), nn.Softmax(), nn.Dropout(0.25),
                                                     nn.BatchNorm(2, eps=0.1)))


def test_the_same_model_makes_the_same_bytes(path: Path) -> None:
    tn.seed(0)
    model = lstm_cnn()
    tn.save(path, model)
    first = path.read_bytes()
    tn.seed(0)
    tn.save(path, lstm_cnn())
    assert path.read_bytes() == first


def test_other_readers_can_read_the_arrays(path: Path) -> None:
    from safetensors.numpy import load_file

    model = lstm_cnn()
    tn.save(str(path), model)
    arrays = load_file(path)
    assert arrays.keys() == model.state_dict().keys()
    np.testing.assert_array_equal(arrays["2.W"], model[2].W.numpy())


def test_odd_names_of_files(tmp_path: Path) -> None:
    for name in ("größe σ.safetensors", "with blank", ".hidden", "a" * 150, "new/folder/model"):
        tn.save(tmp_path / name, nn.Dense(1, 1))
        assert repr(tn.load(tmp_path / name)) == "Dense(inputs=1, units=1)"


# --- what is needed to use a model -----------------------------------------------------------------------------------

def complete(**changes: Any) -> Any:
    """A complete description of lstm_cnn with changes; None removes an entry."""
    about = {"classes": ["a", "b", "c", "d"], "scaling": {"mean": [1.0], "scale": [2.0]}, **changes}
    description = {**models._describe(lstm_cnn()), **about}
    return {name: value for name, value in description.items() if value is not None or name == "input_shape"}


def test_classes_and_scaling_come_back(path: Path) -> None:
    model = lstm_cnn()
    tn.save(path, model, classes=["größe", "a b", "c", "d"], scaling=nn.Scaling(mean=0.5, scale=(0.1,)))
    assert (model.classes, model.scaling) == (None, None), "saving changes nothing"
    again = tn.load(path)
    assert again.classes == ("größe", "a b", "c", "d")
    assert again.scaling == nn.Scaling(mean=(0.5,), scale=(0.1,))
    assert again.input_shape == (6, 4, 1)
    first = path.read_bytes()
    tn.save(path, again)  # classes and scaling of the model are saved again
    assert path.read_bytes() == first
    tn.save(path, again, classes="wxyz", scaling=nn.Scaling(mean=0.25))  # before those of the model
    assert tn.load(path).classes == ("w", "x", "y", "z")
    assert tn.load(path).scaling == nn.Scaling(mean=0.25) and again.scaling == nn.Scaling(mean=0.5, scale=(0.1,))


def test_without_them_nothing_is_assumed(path: Path) -> None:
    tn.save(path, lstm_cnn())
    assert (tn.load(path).classes, tn.load(path).scaling) == (None, None)


def test_classes_of_a_model_whose_input_is_not_known(path: Path) -> None:
    tn.save(path, nn.Dense(3, 2), classes=["a", "b", "c"])  # the number of outputs is unknown without an input_shape
    assert tn.load(path).classes == ("a", "b", "c")


def test_files_written_before_there_were_classes_are_read(path: Path) -> None:
    """Also without a checksum."""
    arrays = lstm_cnn().state_dict()
    model = tn.load(file_with(path, models._describe(lstm_cnn()), arrays))
    np.testing.assert_array_equal(model[2].W.numpy(), arrays["2.W"])
    assert tn.load(file_with(path, complete(), arrays)).classes == ("a", "b", "c", "d")


@pytest.mark.parametrize(("changes", "words"), [
    ({"classes": []}, "classes must be different names that can be printed, got []"),
    ({"classes": "abcd"}, "classes must be different names that can be printed, got 'abcd'"),
    ({"classes": ["a", "b", "c", 4]}, "classes must be"), ({"classes": ["a", "b", "a", "d"]}, "classes must be"),
    ({"classes": ["a", "b", "c", ""]}, "classes must be"),
    ({"classes": ["a", "b", "c", "x\x1b[2J"]}, "classes must be"),
    ({"classes": ["a", "b", "c", ["d"]]}, "classes must be"), ({"classes": {"a": 1}}, "classes must be"),
    ({"classes": ["x" * 10**6] * 2}, "classes must be"), ({"classes": ["a", "b", "c", "\ud800"]}, "classes must be"),
    ({"classes": ["a", "b", "c", "d"], "layers": [models._describe(nn.Dense(1, 4))]},
     "classes must be as many as the outputs, (6, 4, 4), got 4"),
    ({"decision_threshold": 0.5}, "decision_threshold must be that of two classes, and the outputs are (4,)"),
    ({"classes": None, "decision_threshold": 0.5, "layers": [models._describe(nn.Dense(1, 2))]},
     "decision_threshold must be that of two classes, and the outputs are (6, 4, 2)"),
    *(({"decision_threshold": one}, "decision_threshold must be a probability between") for one in (0.0, 1.0, 1, "a")),
    ({"classes": ["a", "b"]}, "classes must be as many as the outputs, (4,), got 2"),
    ({"scaling": 255}, "scaling must have a mean and a scale"), ({"scaling": {"mean": [0.0]}}, "scaling must have"),
    ({"scaling": {"mean": [0.0], "scale": [1.0], "more": 1}}, "scaling must have"),
    ({"scaling": {"mean": [0.0], "scale": [0.0]}}, "scale must be positive"),
    ({"scaling": {"mean": [0.0], "scale": [-1.0]}}, "scale must be positive"),
    ({"scaling": {"mean": [float("nan")], "scale": [1.0]}}, "mean must be finite"),
    ({"scaling": {"mean": [0.0], "scale": [float("inf")]}}, "scale must be positive"),
    ({"scaling": {"mean": "0", "scale": [1.0]}}, "mean must be finite"),
    ({"scaling": {"mean": [True], "scale": [1.0]}}, "mean must be finite"),
    ({"scaling": {"mean": [], "scale": [1.0]}}, "mean must be finite"),
    ({"scaling": {"mean": [10**400], "scale": [1.0]}}, "mean must be finite"),
    ({"scaling": {"mean": [0.0, 0.0], "scale": [1.0]}}, "one for each channel of (6, 4, 1)"),
    ({"input_shape": [6, 5, 1]},
     "input_shape (6, 5, 1) must fit the layers, and does not (layer 1 (Reshape): reshape: "),
    ({"input_shape": [6, 4]}, "must fit the layers"), ({"input_shape": []}, "must fit the layers"),
    ({"input_shape": [-6, -4, 1]}, "input_shape must be an integer of at least 1, got -6"),
    ({"input_shape": ["6", 4, 1]}, "input_shape must be an integer of at least 1, got '6'"),
    ({"input_shape": [10**30, 4, 1]}, "must fit the layers"),
    ({"input_shape": [6.5, 4, 1]}, "input_shape must be an integer of at least 1, got 6.5"),
    ({"crc32": 1}, "checksum does not fit"), ({"crc32": "x"}, "checksum does not fit"),
    ({"license": "MIT"}, "Sequential must have the options")], ids=str)
def test_what_does_not_fit_the_layers(changes: Any, words: str, path: Path) -> None:
    message = refused(file_with(path, complete(**changes), lstm_cnn().state_dict()), words)
    assert len(message) < 1000
    assert message.isprintable()


def test_what_could_not_be_loaded_is_not_saved_either(path: Path) -> None:
    for options, words in (({"classes": ["a"]}, "save: classes must be as many as the outputs, (4,), got 1"),
                           ({"classes": ["a", "b", "c", "c"]}, "save: classes must be different names"),
                           ({"classes": ["a", "b", "c", 7]}, "save: classes must be different names"),
                           ({"scaling": nn.Scaling(mean=(0, 0))}, "save: scaling must have one number, or one for")):
        with pytest.raises(ModelFileError) as caught:
            tn.save(path, lstm_cnn(), **options)
        assert words in str(caught.value)
    model = lstm_cnn()
    model.input_shape = (28, 28, 1)
    with pytest.raises(ModelFileError, match=r"save: input_shape \(28, 28, 1\) must fit the layers, and does not"):
        tn.save(path, model)
    assert not path.exists()


@pytest.mark.parametrize("layers", [
    [nn.Conv2D(1, 1, 1, padding=10**6)], [nn.Conv1D(1, 1, 1, padding=10**12), nn.Reshape((-1,))],
    [nn.Conv2D(1, 1, 3, padding="same", dilation=10**5)], [nn.Conv2D(1, 1, 1, padding=10**6, stride=10**6)],
    [nn.MaxPool2D(10**6, padding="same")], [nn.AvgPool1D(10**11, 1, padding="same")]], ids=repr)
def test_layers_that_would_fill_the_memory(layers: Any, path: Path) -> None:
    """Their weights are small, their outputs for one sample are not."""
    rank = 2 if "1D" in repr(layers[0]) else 3
    model = nn.Sequential(*layers)
    description = {**models._describe(model), "input_shape": [9] * (rank - 1) + [1]}
    tracemalloc.start()
    try:
        refused(file_with(path, description, model.state_dict()), "must make arrays of 4.3 GB at most", "and needs ")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6


def test_limits_that_are_met_exactly(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The depth of modules, and the size of an array."""
    model = nn.Sequential(nn.Dense(3, 2))
    for _ in range(models.DEPTH - 1):
        model = nn.Sequential(model)
    tn.save(path, model)
    assert repr(tn.load(path)) == repr(model)
    model = nn.Sequential(nn.Conv1D(1, 3, 1, padding=2), input_shape=(5, 1))
    largest = max(row.largest for row in rows(model, (5, 1)))
    monkeypatch.setattr(models, "LARGEST", largest)
    tn.save(path, model)
    assert repr(tn.load(path)) == repr(model)
    monkeypatch.setattr(models, "LARGEST", largest - 1)
    refused(path, "must make arrays of")


def test_a_weight_that_changed_on_the_disk_is_found(path: Path, content: bytes) -> None:
    header = 8 + struct.unpack("<Q", content[:8])[0]
    for place in range(header, len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        refused(path, "must be as it was written, but its checksum does not fit")


# --- what cannot be saved -------------------------------------------------------------------------------------------

class Custom(nn.Module):
    def __init__(self, units: int = 2) -> None:
        self.dense = nn.Dense(2, units)

    def forward(self, x: Any) -> Any:
        return self.dense(x)


class Block(nn.Module):
    """A user's module whose arguments are attributes, modules among them."""

    def __init__(self, inner: nn.Module, sizes: tuple[int, ...], layer: str, *, classes: int = 3) -> None:
        self.inner, self.sizes, self.layer, self.classes_ = inner, sizes, layer, classes
        self.out = nn.Dense(sizes[0], classes)

    def config(self) -> dict[str, Any]:
        return {"inner": self.inner, "sizes": self.sizes, "layer": self.layer, "classes": np.int64(self.classes_)}

    def forward(self, x: Any) -> Any:
        return self.out(self.inner(x))


class Named(nn.Module):
    """A user's module whose arguments have the names of entries of the header, also with an underscore behind."""

    def __init__(self, layer: str, layer_: str, classes: int, familiar_: float) -> None:
        self.layer, self.layer_, self.classes_, self.familiar_ = layer, layer_, classes, familiar_

    def config(self) -> dict[str, Any]:
        return {"layer": self.layer, "layer_": self.layer_, "classes": self.classes_,
                "familiar_": np.float32(self.familiar_)}

    def forward(self, x: Any) -> Any:
        return x * self.classes_ + self.familiar_


class Plain(nn.Module):
    """A user's module with the default config."""

    def __init__(self, inputs: int, units: int) -> None:
        self.inputs, self.units = inputs, units
        self.W = nn.Parameter(np.ones((inputs, units), "float32"))

    def forward(self, x: Any) -> Any:
        return x @ self.W


def branches() -> Any:
    return nn.Sequential(
        nn.Residual(nn.Sequential(nn.Dense(4, 6), nn.ReLU(), nn.Dense(6, 4))),
        nn.Parallel([nn.Dense(4, 2), nn.Sequential(nn.Dense(4, 3), nn.Tanh()), nn.Residual(nn.Sigmoid())]),
        nn.Parallel([nn.Dense(9, 2), nn.Dense(9, 2)], merge_mode="ave"), input_shape=(4,))


@pytest.mark.parametrize(("make", "modules"), [
    (branches, []), (lambda: Plain(4, 2), [Plain]),
    (lambda: nn.Sequential(nn.Dense(4, 3), Plain(3, 2)), [Plain, Block]),
    (lambda: nn.Sequential(Block(Plain(4, 5), (5, 6), "x", classes=2), nn.ReLU()), [Block, Plain]),
    (lambda: Block(nn.Sequential(nn.Dense(4, 5)), (5,), "layer"), [Block]),
    (lambda: nn.Sequential(Named("a", "b", 2, 0.5)), [Named])])
def test_branches_and_modules_of_a_user_come_back(make: Any, modules: Any, path: Path) -> None:
    model = make()
    for parameter in model.parameters():
        parameter.data[...] += np.float32(0.5)
    x = tn.Tensor(np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4))
    tn.save(path, model)
    again = tn.load(path, modules=modules)
    assert again.config().keys() == model.config().keys()
    if isinstance(model, nn.Sequential):
        assert repr([one.config() for one in again]) == repr([one.config() for one in model])
    assert np.array_equal(again(x).numpy(), model(x).numpy())
    if modules:
        refused(path, "names '", "tn.load(path, modules=[MyBlock])")


def test_a_file_calls_nothing_but_what_is_passed_in(path: Path) -> None:
    called = []

    class Spy(nn.Module):
        def __init__(self, command: str) -> None:
            called.append(command)
            self.command = command

    tn.save(path, Spy("one"))
    called.clear()
    refused(path, "names 'Spy'")
    assert not called
    tn.load(path, modules=[Spy])
    assert called == ["one"]


@pytest.mark.parametrize("modules", [[int], [Custom, 3], [type("Dense", (nn.Module,), {})], [Custom(2)]])
def test_other_classes_are_refused(modules: Any, path: Path) -> None:
    tn.save(path, nn.ReLU())
    with pytest.raises(tn.errors.ArgumentError, match="load: modules must be classes of modules with names of their"):
        tn.load(path, modules=modules)


class Dense(nn.Dense):
    """A user's layer with the name of a layer of tinynet."""


def with_foreign_weights() -> Any:
    layer = nn.Dense(3, 2)
    layer.W = nn.Parameter(np.zeros((4, 2), "float32"))
    return layer


def with_config(config: Any) -> Any:
    class Own(nn.Module):
        def config(self) -> Any:
            return config

    return Own()


def with_units(units: Any) -> Any:
    model = Plain(2, 3)
    model.units = units
    return model


def deep() -> Any:
    model = nn.Sequential()
    for _ in range(51):
        model = nn.Sequential(model)
    return model


def tied() -> Any:
    layer = nn.Dense(3, 3)
    return nn.Sequential(layer, nn.ReLU(), layer)


@pytest.mark.parametrize(("make", "message"), [
    (Custom, "save: Custom must keep each argument of its constructor as an attribute of the same name, or define "
     "config() ('Custom' object has no attribute 'units'); else save "),
    (lambda: nn.Sequential(nn.ReLU(), Custom()), "save: Custom must keep each argument"),
    *((lambda config=config: with_config(config), "save: Own must keep each argument of its constructor as")
      for config in (None, 5, "abc")),
    (lambda: Dense(2, 2), "save: each class of modules must have a name of its own, and two are called Dense; "),
    (lambda: with_units({"units": 2}), "save: options of layers must be numbers, words, modules or lists of them"),
    (lambda: with_units(2j), "save: options of layers must be numbers"),
    (tied, "save: model must have the tensors that its layers are made with, and differs in 2.W, 2.b; layers that "
     "share weights, or hold others than their own, cannot be described in a file: save model.state_dict() with "
     "safetensors"),
    (deep, "save: model must be nested at most 50 deep; put the layers into one tn.nn.Sequential"),
    (with_foreign_weights, "and differs in W; "),
    (lambda: nn.Dense(3, 2).astype("float16"), "must be of float32, float64, int64, and W is of float16; ")])
def test_what_could_not_be_loaded_is_not_saved(make: Callable[[], Any], message: str, path: Path) -> None:
    path.write_bytes(b"old")
    with pytest.raises(ModelFileError) as caught:
        tn.save(path, make())
    assert message in str(caught.value)
    assert path.read_bytes() == b"old"


# --- written whole or not at all ------------------------------------------------------------------------------------

def full_disk(*args: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("failing", ["fsync", "replace", "interrupted"])
def test_a_failing_write_leaves_the_old_file(existing: bool, failing: str, path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    if existing:
        path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        if failing == "fsync":
            patch.setattr(os, "fsync", full_disk)
        elif failing == "replace":
            patch.setattr(Path, "replace", full_disk)
        else:
            patch.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt if failing == "interrupted" else ModelFileError) as caught:
            tn.save(path, lstm_cnn())
    if failing != "interrupted":
        kept = "the old file is unchanged" if existing else "no file was written"
        assert str(caught.value) == (f"save: {path} cannot be written (No space left on device), {kept}; "
                                     "is there enough space, and permission to write?")
    assert [file.name for file in path.parent.iterdir()] == ([path.name] if existing else [])
    assert not existing or path.read_bytes() == b"old"


def test_a_disk_that_is_full_half_way(path: Path) -> None:
    """Simulated: files may not be larger than 10 kB."""
    resource = pytest.importorskip("resource")
    tn.save(path, nn.Dense(2, 2))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(ModelFileError, match=r"save: .* cannot be written \(File too large\)"):
            tn.save(path, nn.Dense(300, 300))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert repr(tn.load(path)) == "Dense(inputs=2, units=2)"


def test_a_reader_never_sees_half_a_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tn.save(path, nn.Dense(1, 1))
    replace = Path.replace

    def look_first(self: Path, target: Path) -> Path:
        assert repr(tn.load(path)) == "Dense(inputs=1, units=1)", "the old one, until the new one is complete"
        assert repr(tn.load(self)) == "Dense(inputs=2, units=2)", "the new one is complete before it gets its name"
        assert self.parent == path.parent
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", look_first)
    tn.save(path, nn.Dense(2, 2))
    assert repr(tn.load(path)) == "Dense(inputs=2, units=2)"


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelFileError, match=r"save: .*model cannot be written \(Is a directory\)"):
        tn.save(tmp_path / "model", nn.Dense(1, 1))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ModelFileError, match=r"save: .*model cannot be written \((Not a directory|File exists)\)"):
        tn.save(tmp_path / "file" / "model", nn.Dense(1, 1))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "model"]


def test_files_keep_their_permissions(path: Path) -> None:
    """The umask decides, as for any other file."""
    umask = os.umask(0o022)
    try:
        atomic.write_whole(path, b"x")
    finally:
        os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o644


# --- what is no model -----------------------------------------------------------------------------------------------

def test_no_file(path: Path) -> None:
    assert refused(path) == (f"load: {path} must be a saved model, but it is not there; "
                             "tn.save writes one")


def test_a_folder(tmp_path: Path) -> None:
    refused(tmp_path, "load: ", "is a folder")


@pytest.mark.parametrize("name", ["a" * 300, "a\0b"])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelFileError, match="load: "):
        tn.load(tmp_path / name)


def test_a_file_that_may_not_be_read(path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read everything
        import safetensors

        def denied(*args: Any, **kwargs: Any) -> Any:
            raise PermissionError(errno.EACCES, "Permission denied")
        monkeypatch.setattr(safetensors, "safe_open", denied)
    refused(path, "cannot be read (Permission denied); is there permission to read it?")


@pytest.mark.parametrize("junk", [b"", b"x", b"\0" * 8, b"\0" * 100, b"\x80\x04\x95", b"PK\x03\x04" + b"\0" * 60,
                                  b"\xff" * 64, b"{}" * 40, struct.pack("<Q", 2**63) + b"{}",
                                  struct.pack("<Q", 2) + b"{}", struct.pack("<Q", 2) + b"[]",
                                  struct.pack("<Q", 4) + b"null"])
def test_not_safetensors(junk: bytes, path: Path) -> None:
    path.write_bytes(junk)
    refused(path)


def test_another_safetensors_file(path: Path) -> None:
    path.write_bytes(to_bytes({"W": np.zeros((2, 2), "float32")}))
    refused(path, "must be of format 'tinynet 1', got []; was it written by tn.save")


@pytest.mark.parametrize("form", ["tinynet 2", "tinynet", "", "pt", "tinynet 1 "])
def test_another_version(form: str, path: Path) -> None:
    refused(file_with(path, {"layer": "ReLU"}, form=form), f"must be of format 'tinynet 1', got [{form!r}]")


# --- damaged files --------------------------------------------------------------------------------------------------

def test_truncated_at_every_length(path: Path, content: bytes) -> None:
    header = 8 + struct.unpack("<Q", content[:8])[0]
    for length in [*range(20), *range(20, header, 7), *range(header, len(content))]:
        path.write_bytes(content[:length])
        refused(path)


def test_longer_than_it_should_be(path: Path, content: bytes) -> None:
    for more in (b"\0", content):
        path.write_bytes(content + more)
        refused(path)


def loads_or_is_refused(path: Path) -> bool:
    """Whether a file can be loaded. If so, the model can be used; if not, the error is a ModelFileError."""
    try:
        model = tn.load(path)
    except ModelFileError as error:
        assert path.name in str(error)
        return False
    repr(model)
    model.state_dict()
    return True


@given(data=st.data())
def test_changed_bytes(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Damage anywhere, also in several places, raises ModelFileError only."""
    path = tmp_path_factory.getbasetemp() / "changed.safetensors"
    tn.seed(0)
    tn.save(path, nn.Sequential(nn.LSTM(1, 1, dropout=0.5), nn.Dropout(0.5), nn.Conv1D(1, 1, 2), nn.BatchNorm(1)))
    content = bytearray(path.read_bytes())
    header = struct.unpack("<Q", content[:8])[0]
    places = st.one_of(st.integers(0, 7), st.integers(8, 7 + header), st.integers(0, len(content) - 1))
    values = st.one_of(st.integers(0, 255), st.sampled_from(list(b'0123456789-+.eE"{}[],:\\ ntfu')))
    for place, value in data.draw(st.lists(st.tuples(places, values), min_size=1, max_size=4)):
        content[place] = value
    path.write_bytes(content)
    loads_or_is_refused(path)


def test_every_byte_of_the_header_changed(path: Path, content: bytes) -> None:
    header = 8 + struct.unpack("<Q", content[:8])[0]
    loaded = 0
    for place in range(header):
        for value in (content[place] ^ 1, ord("9")):
            changed = bytearray(content)
            changed[place] = value
            path.write_bytes(changed)
            loaded += loads_or_is_refused(path) and value != content[place]
    assert loaded < 0.1 * header, "a file with a changed header is mostly refused"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 5) | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["same", "valid", "causal", "Dense", 10**9, 2**63, 10**400, float("nan")]),
    lambda inner: (st.lists(inner, max_size=3)
                   | st.dictionaries(st.text(max_size=3) | st.just("layer"), inner, max_size=3)), max_leaves=5)


@given(data=st.data())
def test_options_of_any_kind(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every layer with any JSON for any option, and with arrays that fit or do not fit."""
    path = tmp_path_factory.getbasetemp() / "options.safetensors"
    layer = data.draw(st.sampled_from([nn.Sequential(), *EXAMPLES]), label="layer")
    description = models._describe(nn.Sequential(layer))
    options = description["layers"][0]
    for name in data.draw(st.sets(st.sampled_from(sorted(options)), min_size=1)):
        options[name] = data.draw(json_values, label=name)
    wrapped = data.draw(st.booleans())
    arrays = nn.Sequential(layer).state_dict() if wrapped else layer.state_dict()
    if data.draw(st.booleans()):
        arrays = {name: np.resize(array, (1,) * array.ndim) for name, array in arrays.items()}
    loads_or_is_refused(file_with(path, description if wrapped else options, arrays))


# --- what a description may say -------------------------------------------------------------------------------------

DENSE = {"layer": "Dense", "inputs": 3, "units": 2, "bias": True}
ARRAYS = {"W": np.zeros((3, 2), "float32"), "b": np.zeros(2, "float32")}


def test_the_description_that_the_others_spoil_is_good(path: Path) -> None:
    assert repr(tn.load(file_with(path, DENSE, ARRAYS))) == "Dense(inputs=3, units=2)"


@pytest.mark.parametrize(("description", "words"), [
    ("", ["the header of", "must be JSON"]), ("{", ["must be JSON"]), ("nonsense", ["must be JSON"]),
    ('{"layer": "Dense", "inputs": ' + "9" * 5000 + "}", ["must be JSON"]),
    ("null", ["names None"]), ("5", ["names 5"]), ("[]", ["names []"]), ({}, ["names None"]),
    ({"layer": ["Dense"]}, ["names"]), ({"layer": {}}, ["names"]), ({"layer": 1}, ["names 1"]),
    ({**DENSE, "layer": "Evil"}, ["must be made of layers of tn.nn, nested ", "names 'Evil'; was it written"]),
    ({**DENSE, "layer": "Module"}, ["names 'Module'"]), ({**DENSE, "layer": "os.system"}, ["names 'os.system'"]),
    ({**DENSE, "layer": "x" * 10**5}, ["names 'xxxxxxxxxxxx...xxxxxxxxxxxxx'"]),
    ({**DENSE, "layer": "\ud800σ"}, ["names"]),
    ({**DENSE, "more": 1}, ["model.safetensors: Dense must have the options ['bias', 'inputs', 'units'], got ['bias',",
                            "'more'"]),
    ({"layer": "Dense", "inputs": 3, "units": 2}, ["must have the options", "got ['inputs', 'units']"]),
    ({**DENSE, "inputs": -3}, ["model.safetensors: Dense cannot be made with"]),
    ({**DENSE, "inputs": 0}, ["cannot be made with"]),
    ({**DENSE, "inputs": "3"}, ["cannot be made with"]), ({**DENSE, "inputs": None}, ["cannot be made with"]),
    ({**DENSE, "inputs": 3.5}, ["cannot be made with"]), ({**DENSE, "inputs": [3]}, ["cannot be made with"]),
    ({**DENSE, "inputs": 10**40}, ["cannot be made with"]),
    ({**DENSE, "inputs": float("inf")}, ["cannot be made with"]),
    ({"layer": "Dropout", "p": 2}, ["cannot be made with", "p must be in [0, 1)"]),
    ({"layer": "Dropout", "p": float("nan")}, ["cannot be made with"]),
    ({"layer": "Reshape", "shape": 5}, ["cannot be made with"]),
    ({"layer": "Sequential", "layers": 5, "input_shape": None}, ["cannot be made with"]),
    ({"layer": "Sequential", "layers": [5], "input_shape": None}, ["names 5"]),
    ({"layer": "Sequential", "layers": {"a": 1}, "input_shape": None}, ["names 'a'"]),
    ({"layer": "Sequential", "layers": [], "input_shape": 5}, ["cannot be made with"]),
], ids=lambda value: str(value)[:40] if not isinstance(value, list) else "")
def test_descriptions(description: Any, words: list[str], path: Path) -> None:
    refused(file_with(path, description, ARRAYS), *words)


@pytest.mark.parametrize("depth", [10, 100, 900, 10_000, 100_000])
def test_deep_nesting(depth: int, path: Path) -> None:
    """Descriptions nested deeper than the limit, or than Python's stack, are refused, layers or not."""
    head, tail = '{"layer": "Sequential", "input_shape": null, "layers": [', "]}"
    file_with(path, head * depth + tail * depth)
    assert loads_or_is_refused(path) == (depth == 10)
    for text in ("[" * depth + "]" * depth, '{"layer": ' * depth + "0" + "}" * depth,
                 '{"layer": "Dense", "units": 1, "bias": true, "inputs": ' + "[" * depth + "]" * depth + "}"):
        refused(file_with(path, text))


@pytest.mark.parametrize(("change", "words"), [
    (lambda a: a.pop("b"), ["must hold b, which its layers have, and does not"]),
    (lambda a: a.update(x=a["b"]), ["must hold only what its layers have, and holds ['x']"]),
    (lambda a: a.update(W=a["W"].T.copy()), ["W in", "must be (3, 2) of float32, got (2, 3) of float32"]),
    (lambda a: a.update(W=a["W"].ravel()), ["W in", "must be (3, 2) of float32, got (6,) of float32"]),
    (lambda a: a.update(W=a["W"].astype("int64")), ["W in", "must be (3, 2) of float32, got (3, 2) of int64"]),
    (lambda a: a.update(W=a["W"].astype("float16")), ["W in", "got (3, 2) of float16"]),
    (lambda a: a.update(W=a["W"].astype(bool)), ["W in", "got (3, 2) of BOOL"]),
    (lambda a: a.update({"b\nσ": a.pop("b")}), ["must hold b"])])
def test_other_arrays_than_the_layers_have(change: Any, words: list[str], path: Path) -> None:
    arrays = dict(ARRAYS)
    change(arrays)
    refused(file_with(path, DENSE, arrays), *words)


@pytest.mark.parametrize(("counter", "words"), [
    (np.array(1.5, "float32"), ["batches_seen"]), (np.array(np.nan), ["batches_seen"]),
    (np.zeros(2, "int64"), ["batches_seen"]), (np.array(True), ["batches_seen"])])
def test_counters_are_integers(counter: np.ndarray, words: list[str], path: Path) -> None:
    layer = nn.BatchNorm(2)
    refused(file_with(path, models._describe(layer), {**layer.state_dict(), "batches_seen": counter}), *words)


@pytest.mark.parametrize("description", [
    {**DENSE, "inputs": 10**9, "units": 10**9}, {**DENSE, "inputs": 10**5, "units": 10**5},
    {**DENSE, "inputs": 2**40, "units": 2**40},
    {**models._describe(nn.LSTM(1, 1)), "inputs": 10**9, "units": 10**9},
    {**models._describe(nn.Conv2D(1, 1, 1)), "inputs": 10**5, "filters": 10**5, "size": 10**4},
    {**models._describe(nn.BatchNorm(1)), "features": 10**12},
    {"layer": "Sequential", "input_shape": None, "layers": [{**DENSE, "inputs": 10**9, "units": 10**9}] * 1000}])
def test_claims_take_no_memory(description: Any, path: Path) -> None:
    file_with(path, description, ARRAYS)
    tracemalloc.start()
    try:
        refused(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6


def test_a_header_that_claims_more_than_the_file_holds(path: Path) -> None:
    header = {"__metadata__": {FORMAT: json.dumps({**DENSE, "inputs": 10**6, "units": 10**6})},
              "W": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]},
              "b": {"dtype": "F32", "shape": [10**6], "data_offsets": [4 * 10**12, 4 * 10**12 + 4 * 10**6]}}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 1000)
    refused(path, "damaged")


def test_nothing_that_was_refused_stays_open(path: Path, content: bytes) -> None:
    """The file is closed: an open one would be a warning, which is an error here, and could not be replaced."""
    path.write_bytes(content[:-1])
    refused(path)
    path.write_bytes(content)
    tn.load(path)
    path.unlink()


@pytest.mark.parametrize("dtype", ["float16", "complex128"])
def test_a_precision_that_a_file_does_not_hold_is_named(path: Path, dtype: str) -> None:
    model = nn.Sequential(nn.Dense(3, 2)) if dtype == "float16" else nn.Sequential(nn.ReLU(), nn.Dense(3, 2))
    for parameter in model.parameters():
        parameter.data = parameter.data.astype(dtype)
    with pytest.raises(ModelFileError, match=rf"must be of float32, float64, int64, and \d.W is of {dtype}; model"):
        tn.save(path, model)
    assert not path.exists()


def test_path_and_model_in_the_wrong_order(tmp_path):
    model = nn.Sequential(nn.Dense(2, 2))
    with pytest.raises(ArgumentError, match=r"^save: model must be a Module, .*, the path comes"):
        tn.save(model, tmp_path / "m")
    with pytest.raises(ArgumentError, match=r"^save: model must be a Module, got str; "):
        tn.save(tmp_path / "m", "model")
    assert not list(tmp_path.iterdir())


def test_a_long_message_is_shortened() -> None:
    assert archive.said(ValueError("x" * 200)) == "x" * 200
    assert archive.said(ValueError("x" * 100 + "y" * 101)) == "x" * 100 + " ... " + "y" * 100


def test_the_checksum_covers_what_the_bytes_mean() -> None:
    """The header, names, dtypes and shapes: six numbers of zero are all these."""
    form, zeros = models._MODEL._replace(sealed=True), np.zeros(6, "float32")
    others = [({"a": 1}, {"W": zeros}), ({"a": 2}, {"W": zeros}), ({"a": 1}, {"V": zeros}),
              ({"a": 1}, {"W": zeros.reshape(2, 3)}), ({"a": 1}, {"W": zeros.reshape(3, 2)}),
              ({"a": 1}, {"W": zeros.view("int32")}), ({"a": 1}, {"W": zeros, "V": zeros})]
    assert len({archive._checksum(form, *other) for other in others}) == len(others)
    assert archive._checksum(form, {"a": 1, "b": 2}, {"W": zeros, "V": zeros + 1}) == archive._checksum(
        form, {"b": 2, "a": 1}, {"V": zeros + 1, "W": zeros})


@pytest.mark.parametrize(("content", "message"), [
    (b"PK\x03\x04" + bytes(40), r"begins as a ZIP archive, .* or of Keras; tn.exchange.from_torch or from_keras\?"),
    (b"\x89HDF\r\n\x1a\n" + bytes(40), r"begins as an HDF5 file, .*; tn.exchange.from_keras\?"),
    (b"\x80\x02}q\x00." + bytes(40), r"begins as a pickle, .*; tn.exchange.from_torch\?"),
    (b"\x93NUMPY\x01\x00" + bytes(40), r"begins as an array of NumPy; np.load, and model.load_state_dict\?"),
    (b"P", "a whole safetensors file, but it is damaged")])
def test_a_file_of_another_program_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=rf"^load: .*model must be .*{message}"):
        tn.load(path)
