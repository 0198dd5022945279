"""Models in the ONNX format: what onnxruntime computes from the file is what tinynet computes.

Every layer and option, modules that a user may write, and every op in each of its own cases.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.export.models import OWN, Case, Own, layer_cases, saved_classifier, trained
from tests.support.complete import OPS
from tests.support.op_cases import draw
from tinynet import models as example_models
from tinynet import nn, ops
from tinynet.classifier import Classifier
from tinynet.ensemble import ensemble
from tinynet.errors import ArgumentError, CallError, DtypeError, ExportError
from tinynet.export.onnx import OPSET, onnx_bytes
from tinynet.export.rules import INEXPRESSIBLE, RULES
from tinynet.op import Op, op
from tinynet.tensor import Tensor

onnx = pytest.importorskip("onnx", reason="pip install -e '.[test]' brings onnx")
ort = pytest.importorskip("onnxruntime", reason="pip install -e '.[test]' brings onnxruntime")

CLOSE = 2e-6  # of the output's scale, or of 1
DEEP = 1e-5
MODELS = ["lstm_cnn", "cnn_lstm", "lstm", "cnn", "deep_lstm_cnn", "idc_lstm_cnn", "idc_lstm", "idc_cnn",
          "pneumonia_cnn_lstm"]


def session(content: bytes) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 0  # a warning in a browser is an error on its console
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def error(ours: Any, theirs: Any) -> float:
    """The largest difference, in units of the scale of our output."""
    ours = np.asarray(ours)
    assert theirs.shape == ours.shape
    assert theirs.dtype == ours.dtype
    return float(np.abs(ours.astype("float64") - theirs).max(initial=0) / max(1, np.abs(ours).max(initial=0)))


def outputs(model: nn.Module, x: Any) -> tuple[Any, ...]:
    with tn.no_grad():
        result = model.eval()(Tensor(x))
    return tuple(one.numpy() for one in (result if isinstance(result, tuple) else (result,)))


def check(model: nn.Module, tolerance: float = CLOSE, batches: tuple[int, ...] = (1, 3, 32)) -> Any:
    """Compare the exported model with the model. Returns the ONNX graph."""
    content = onnx_bytes(model)
    running = session(content)
    for batch in batches:
        x = np.random.default_rng(batch).normal(size=(batch, *(model.input_shape or ()))).astype("float32")
        ours, theirs = outputs(model, x), running.run(None, {"input": x})
        assert len(ours) == len(theirs)
        for mine, their in zip(ours, theirs, strict=True):
            assert error(mine, their) <= tolerance
    return onnx.load_from_string(content).graph


# --- layers, models, modules ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("case", list(layer_cases()), ids=lambda case: case.name)
def test_every_layer_and_option(case: Case) -> None:
    check(trained(case.make(), case.shape))


def test_the_layers_are_complete() -> None:
    from tinynet.saving.models import LAYERS
    tried = {type(module) for case in layer_cases() for _, module in case.make().modules()}
    assert not {*LAYERS.values()} - tried


@pytest.mark.parametrize("case", OWN, ids=lambda case: case.name)
def test_a_module_made_of_ops(case: Case) -> None:
    check(trained(case.make(), case.shape), batches=(1, 3))


@pytest.mark.parametrize("name", MODELS)
def test_models_of_the_paper(name: str) -> None:
    model = trained(getattr(example_models, name)(**({"size": 48} if name.startswith("pneumonia") else {})))
    check(model, DEEP, batches=(1, 5))


@pytest.mark.long
def test_the_model_of_x_rays_at_its_size() -> None:
    check(trained(example_models.pneumonia_cnn_lstm()), DEEP, batches=(1, 4))


# --- ops --------------------------------------------------------------------------------------------------------------

def test_reasons_are_for_ops_without_a_rule() -> None:
    assert not INEXPRESSIBLE.keys() & RULES.keys()
    assert not {*INEXPRESSIBLE} - {*OPS}


CONSTANT = {"lstm": (3, 4), "gru": (2, 3, 4), "simple_rnn": (2, 3)}  # inputs that a rule wants to be constant
IMPOSSIBLE = {"lstm": lambda case: "recurrent_mask" not in case or "mask" in case,
              "batch_norm": lambda case: "mask" in case, "gru": lambda case: "mask" in case,
              "simple_rnn": lambda case: "mask" in case}  # cases that are an error
OPTIONS: dict[str, list[dict[str, Any]]] = {"getitem": [{"...": (4, 3), "index": ([0, 1, 0], [2, 2, 2])}],
                                            "astype": [{"dtype": "float64"}]}  # more of these


def op_cases() -> list[Any]:
    return [pytest.param(one, case, id=f"{name} {i}") for name, one in OPS.items() if name in RULES
            for i, case in enumerate(one.cases)
            if case not in OPTIONS.get(name, []) and not IMPOSSIBLE.get(name, lambda case: False)(case)]


@pytest.mark.parametrize("traced", ["all inputs", "the first input", "all inputs, stored in another order"])
@pytest.mark.parametrize(("one", "case"), op_cases())
def test_every_op_in_its_own_cases(one: Op, case: dict[str, Any], traced: str) -> None:
    """The inputs of an op are cut out of one input of the model. A transposed one is stored as it was before."""
    arrays, options = draw(one, case, np.random.default_rng(0), "float32")
    places = [i for i, array in enumerate(arrays) if array is not None and array.dtype.kind == "f"
              and i not in CONSTANT.get(one.name, ())][: 1 if traced == "the first input" else None]
    turns = int("order" in traced)  # by one axis: of three axes, this is not its own inverse
    pieces = {i: np.transpose(arrays[i], np.roll(range(arrays[i].ndim), turns)) for i in places}
    x = np.concatenate([array.ravel() for array in pieces.values()])[None]

    def forward(own: Any, x: Tensor) -> Any:
        inputs: list[Any] = [None if array is None else Tensor(array) for array in arrays]
        start = 0
        for i, array in pieces.items():
            inputs[i] = x[0, start : start + array.size].reshape(array.shape)
            if turns and array.ndim > 1:
                inputs[i] = ops.transpose(inputs[i], tuple(np.roll(range(array.ndim), -turns).tolist()))
            start += array.size
        return one(inputs, **options) if one.contract.variadic else one(*inputs, **options)

    model = Own(forward)
    model.input_shape = x.shape[1:]
    ours, theirs = outputs(model, x), session(onnx_bytes(model)).run(None, {"input": x})
    for mine, their in zip(ours, theirs, strict=True):
        assert error(mine, their) <= CLOSE


# --- input, output, metadata ------------------------------------------------------------------------------------------

def images(shape: tuple[int, ...], count: int = 4) -> Any:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(8, 9, 3), (8, 9, 1)])
def test_pixels_and_probabilities(shape: tuple[int, int, int], tmp_path: Path) -> None:
    model = saved_classifier(tmp_path / "model", shape)
    tn.to_onnx(model, tmp_path / "model.onnx", pixels=True, probabilities=True)
    running = session((tmp_path / "model.onnx").read_bytes())
    pixels = images(shape)
    found, = running.run(["probabilities"], {"pixels": pixels})
    np.testing.assert_allclose(found, Classifier(model).probabilities(pixels), atol=1e-6)
    stored = running.get_modelmeta().custom_metadata_map
    assert {name: json.loads(text) for name, text in stored.items()} == {
        "tinynet.version": tn.about().versions["tinynet"], "tinynet.input_shape": list(shape),
        "tinynet.classes": ["class 0", "class 1", "class 2"],
        "tinynet.scaling": {"mean": list(model.scaling.mean), "scale": [50.0]}}  # type: ignore[union-attr]


@pytest.mark.parametrize(("mean", "scale"), [
    (0.0, 255.0), ((0.0, 20.0, 30.0), 50.0), ((0.0, 0.0, 5.0), (100.0, 120.0, 300.0)), (7.0, (4.0, 5.0, 6.0))])
def test_pixels_are_scaled_as_the_model_does(mean: Any, scale: Any, tmp_path: Path) -> None:
    model, pixels = saved_classifier(tmp_path / "model"), images((8, 9, 3))
    model.scaling = nn.Scaling(mean=mean, scale=scale)
    found, = session(onnx_bytes(model, pixels=True, probabilities=True)).run(None, {"pixels": pixels})
    np.testing.assert_allclose(found, Classifier(model).probabilities(pixels), atol=1e-5)


def test_an_ensemble_gives_its_probabilities_and_the_threshold_is_told(tmp_path: Path) -> None:
    model = ensemble([saved_classifier(tmp_path / "model", classes=2) for _ in range(3)])
    model.decision_threshold = 0.3
    tn.to_onnx(model, tmp_path / "model.onnx", pixels=True, probabilities=True)
    running = session((tmp_path / "model.onnx").read_bytes())
    pixels = images((8, 9, 3))
    found, = running.run(["probabilities"], {"pixels": pixels})
    np.testing.assert_allclose(found, Classifier(model).probabilities(pixels), atol=1e-6)
    assert json.loads(running.get_modelmeta().custom_metadata_map["tinynet.decision_threshold"]) == 0.3


@pytest.mark.parametrize("at_the_end", [True, False])
def test_a_softmax_is_added_where_none_is_at_the_end(at_the_end: bool) -> None:
    """One in the middle, as of an attention, does not make probabilities of the scores behind it."""
    def forward(own: Any, x: Tensor) -> Any:
        weighted = ops.softmax(x) * 5
        return ops.softmax(weighted) if at_the_end else weighted

    model = Own(forward, input_shape=(3,)).eval()
    x = np.array([[1.0, 2.0, 4.0]], np.float32)
    found, = session(onnx_bytes(model, probabilities=True)).run(["probabilities"], {"input": x})
    scores = outputs(model, x)[0]
    np.testing.assert_allclose(found, scores if at_the_end else ops.softmax(Tensor(scores)).numpy(), rtol=1e-5)


def test_constants_have_the_dtype_of_their_array() -> None:
    """An array that the model has cast keeps its dtype up to the next cast. (onnxruntime lacks Erf for float64.)"""
    for op_of in (ops.log1p, ops.expm1, ops.leaky_relu, lambda x: ops.clip(x, 0.1, 2), lambda x: x**3, lambda x: 1 - x,
                  ops.silu, ops.softmax, lambda x: x.mean(axis=-1), lambda x: ops.where(x > 0.5, x, 0)):
        check(Own(lambda own, x, op_of=op_of: op_of((x * x).astype("float64")).astype("float32"), input_shape=(3, 4)),
              batches=(2,))


@pytest.mark.parametrize(("compare", "wanted"), [
    (lambda x: x > 0.1, [0, 0, 1]), (lambda x: x >= 0.1, [0, 1, 1]), (lambda x: x < 0.1, [1, 0, 0]),
    (lambda x: x <= 0.1, [1, 1, 0]), (lambda x: x == 0.1, [0, 1, 0]), (lambda x: x != 0.1, [1, 0, 1])])
def test_a_number_is_compared_in_the_dtype_of_its_array(compare: Any, wanted: list[int]) -> None:
    """The nearest float32 to 0.1, and its neighbours."""
    tenth = np.float32(0.1)
    x = np.array([[np.nextafter(tenth, -1, dtype="float32"), tenth, np.nextafter(tenth, 1, dtype="float32")]])
    model = Own(lambda own, x: ops.where(compare(x), x * 0 + 1, x * 0), input_shape=(3,))
    found, = session(onnx_bytes(model)).run(None, {"input": x})
    assert found.tolist() == [wanted] and outputs(model, x)[0].tolist() == [wanted]


def test_equal_constants_are_stored_once_and_equal_bytes_of_two_shapes_twice() -> None:
    numbers = np.array([1.0, 2.0, 4.0], np.float32)
    row, column = tn.Tensor(numbers), tn.Tensor(numbers.reshape(3, 1))
    model = Own(lambda own, x: (x * row + column) * row, input_shape=(3, 3))
    check(model, batches=(2,))
    stored = onnx.load_from_string(onnx_bytes(model)).graph.initializer
    assert sorted(tuple(one.dims) for one in stored) == [(3,), (3, 1)]


def test_the_file_names_its_producer() -> None:
    made = onnx.load_from_string(onnx_bytes(nn.Sequential(nn.Dense(3, 2), input_shape=(3,))))
    assert (made.producer_name, made.producer_version) == ("tinynet", tn.about().versions["tinynet"])
    assert [(one.domain, one.version) for one in made.opset_import] == [("", OPSET)]


def test_pixels_of_grey_images_without_channels() -> None:
    model = trained(nn.Sequential(nn.LSTM(9, 4), nn.Flatten(), nn.Dense(32, 2)), (8, 9))
    pixels = images((8, 9, 1))
    found, = session(onnx_bytes(model, pixels=True)).run(["scores"], {"pixels": pixels})
    assert error(outputs(model, (pixels[..., 0] / 255).astype("float32"))[0], found) <= CLOSE


def test_a_model_that_ends_in_a_softmax_gets_no_second_one() -> None:
    model = trained(nn.Sequential(nn.Dense(3, 2), nn.Softmax()), (3,))
    graph = onnx.load_from_string(onnx_bytes(model, probabilities=True)).graph
    assert [node.op_type for node in graph.node].count("Softmax") == 1
    assert [one.name for one in graph.output] == ["probabilities"]


def test_the_first_of_several_outputs_alone_is_a_probability() -> None:
    model = trained(nn.Sequential(nn.LSTM(3, 4, return_sequences=False, return_state=True)), (6, 3))
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")
    scores, *states = outputs(model, x)
    found = session(onnx_bytes(model, probabilities=True)).run(None, {"input": x})
    for mine, their in zip((ops.softmax(Tensor(scores)).numpy(), *states), found, strict=True):
        assert error(mine, their) <= CLOSE


def _looked_up(own: Any, x: Tensor) -> Tensor:
    if x.dtype.kind != "i":
        raise DtypeError(f"lookup: x must be integers, got {x.dtype}; x.astype(int)?")
    return own.dense(own.W[x])


def test_a_model_of_integers() -> None:
    table = nn.Parameter(np.arange(12, dtype="float32").reshape(4, 3) / 7)
    model = trained(Own(_looked_up, W=table, dense=nn.Dense(3, 2)), (5,))
    symbols = np.random.default_rng(0).integers(0, 4, (6, 5))
    found, = session(onnx_bytes(model)).run(None, {"input": symbols})
    assert error(model(Tensor(symbols)).numpy(), found) <= CLOSE
    layers = nn.Embedding(4, 3, padding_index=0), nn.Bidirectional(nn.LSTM(3, 2)), nn.Flatten()
    model = trained(nn.Sequential(*layers), (5,))
    found, = session(onnx_bytes(model)).run(None, {"input": symbols})
    assert error(model(Tensor(symbols)).numpy(), found) <= CLOSE
    model = Own(lambda own, x: ops.dense(x.astype("float64"), own.dense.W), dense=nn.Dense(5, 2))
    model.input_shape = (5,)
    with pytest.raises(DtypeError, match="dense: x is float64, W float32"):
        onnx_bytes(model)


def test_the_axis_of_the_batch_may_be_another_one() -> None:
    model = Own(lambda own, x: (x, x.T))
    model.input_shape = (3,)
    graph = onnx.load_from_string(onnx_bytes(model)).graph
    shapes = [[d.dim_param or d.dim_value for d in one.type.tensor_type.shape.dim] for one in graph.output]
    assert shapes == [["N", 3], [3, "N1"]]


def test_weights_of_just_the_limit_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Dense(3, 2), input_shape=(3,))
    monkeypatch.setattr("tinynet.export.onnx.LARGEST", 4 * (3 * 2 + 2))
    onnx_bytes(model)
    monkeypatch.setattr("tinynet.export.onnx.LARGEST", 31)
    with pytest.raises(ExportError, match="weights must have at most 31 bytes, the limit of the format, got 32"):
        onnx_bytes(model)


def test_what_the_checker_refuses_is_a_fault_of_tinynet(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_model(made: Any, full_check: bool) -> None:
        assert full_check
        raise onnx.checker.ValidationError("no such \x1b node\n")

    monkeypatch.setattr(onnx.checker, "check_model", check_model)
    with pytest.raises(ExportError, match=r"must accept the graph, and says no such \\x1b node; this is a fault"):
        onnx_bytes(nn.Sequential(nn.Dense(3, 2), input_shape=(3,)))


def test_format_and_names() -> None:
    model = trained(nn.Sequential(nn.LSTM(3, 4, return_state=True)), (6, 3))
    made = onnx.load_from_string(onnx_bytes(model))
    assert (made.ir_version, made.opset_import[0].version) == (8, 17)
    assert [one.name for one in made.graph.input] == ["input"]
    assert [one.name for one in made.graph.output] == ["scores", "output_1", "output_2"]
    assert [d.dim_param or d.dim_value for d in made.graph.output[0].type.tensor_type.shape.dim] == ["N", 6, 4]


def test_a_value_is_transposed_only_where_its_order_changes() -> None:
    kinds = [node.op_type for node in check(trained(example_models.lstm_cnn())).node]
    assert kinds.count("Transpose") == 3
    assert [node.op_type for node in check(trained(example_models.cnn())).node].count("Transpose") == 1
    pooled = nn.Sequential(nn.Conv2D(2, 3, 2), nn.GlobalAveragePool(), input_shape=(4, 5, 2))
    added = nn.Sequential(nn.Conv2D(2, 3, 2), nn.Residual(nn.Conv2D(3, 3, 3, padding="same")), nn.GlobalAveragePool(),
                          input_shape=(4, 5, 2))
    for model in (pooled, added):
        assert [node.op_type for node in check(trained(model)).node].count("Transpose") == 1, "of the images"


def test_averages_of_batch_normalisation_are_constants() -> None:
    images = check(trained(nn.Sequential(nn.Conv2D(2, 3, 2), nn.BatchNorm(3), input_shape=(4, 5, 2))))
    assert [node.op_type for node in images.node].count("BatchNormalization") == 1
    rows = check(trained(nn.Sequential(nn.BatchNorm(3), nn.Dense(3, 4), input_shape=(3,))))
    assert [node.op_type for node in rows.node][:2] == ["Mul", "Add"]


def test_nothing_is_in_the_file_that_is_not_used() -> None:
    model = trained(Own(lambda own, x: (own.rnn(x)[0], x.sum())[0], rnn=nn.LSTM(3, 4, return_state=True)), (6, 3))
    graph = check(model, batches=(2,))
    used = {name for node in graph.node for name in node.input}
    assert {one.name for one in graph.initializer} <= used
    assert [list(node.output) for node in graph.node if node.op_type == "LSTM"] == [["lstm_1"]]


def test_export_leaves_the_model_as_it_is() -> None:
    model = trained(nn.Sequential(nn.Dense(3, 2), nn.Dropout(0.5), nn.BatchNorm(2)), (3,))
    model[1].eval()
    before = model.state_dict()
    first = onnx_bytes(model)
    assert [module.training for _, module in model.modules()] == [True, True, False, True]
    assert all((before[name] == array).all() for name, array in model.state_dict().items())
    assert onnx_bytes(model) == first


# --- lengths ----------------------------------------------------------------------------------------------------------

class Masked(nn.Module):
    """A module of two inputs, whose forward is a function of it, x and a mask."""

    def __init__(self, function: Any) -> None:
        self.function, self.rnn, self.more = function, nn.LSTM(3, 4), nn.LSTM(4, 2)
        self.input_shape = (6, 3)

    def forward(self, x: Tensor, mask: Tensor) -> Any:
        return self.function(self, x, mask)


def lstm(layer: nn.LSTM[Any], x: Tensor, mask: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    return ops.lstm(x, h, None, layer.W, layer.b, mask=mask)


@pytest.mark.parametrize("function", [
    lambda own, x, mask: lstm(own.rnn, x, mask),
    lambda own, x, mask: lstm(own.more, lstm(own.rnn, x, mask)[0], mask),
    lambda own, x, mask: lstm(own.rnn, x, mask, lstm(own.rnn, x, mask)[1]),
    lambda own, x, mask: lstm(own.rnn, x, mask[:, ::-1], lstm(own.rnn, x, mask)[2]),
    lambda own, x, mask: ops.where(mask[:, :, None], x, -7.0).max(axis=1),
], ids=["states", "stacked", "from a state", "backwards from a state", "selected"])
def test_lengths(function: Any) -> None:
    model, lengths = trained(Masked(function)), np.array([6, 1, 3, 4], "int32")
    x = np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32")
    mask = np.arange(6) < lengths[:, None]
    ours = model(Tensor(x), mask=Tensor(mask))
    found = session(onnx_bytes(model, lengths=True)).run(None, {"input": x, "lengths": lengths})
    for mine, their in zip(ours if isinstance(ours, tuple) else (ours,), found, strict=True):
        assert error(mine.numpy(), their) <= CLOSE


MASKED: list[Any] = [
    lambda: [nn.BatchNorm(3), nn.LSTM(3, 4), nn.LSTM(4, 4), nn.Dropout(0.5), nn.Conv1D(4, 5, 3), nn.ReLU(),
             nn.MaxPool1D(2, 1), nn.GlobalMaxPool(), nn.Dense(5, 2)],
    lambda: [nn.Dense(3, 4), nn.Tanh(), nn.Conv1D(4, 5, 3, padding="same"), nn.AvgPool1D(2), nn.Softmax(axis=1),
             nn.GlobalAveragePool()],
    lambda: [nn.Bidirectional(nn.GRU(3, 4)), nn.GRU(8, 3, return_sequences=False)],
    lambda: [nn.Bidirectional(nn.SimpleRNN(3, 4)), nn.SimpleRNN(8, 3, return_sequences=False)],
    lambda: [nn.Conv1D(3, 4, 2, padding="causal"), nn.BatchNorm(4), nn.LSTM(4, 3, return_sequences=False)],
    lambda: [nn.Sequential(nn.Conv1D(3, 4, 3, stride=2, padding="same"), nn.Sigmoid()), nn.Flatten(), nn.Dense(12, 2)],
    lambda: [nn.Conv1D(3, 4, 2), nn.ReLU(), nn.LSTM(4, 3), nn.Conv1D(3, 4, 2, padding=0),
             nn.LSTM(4, 2, go_backwards=True), nn.LSTM(2, 3), nn.GlobalMaxPool()],
    lambda: [nn.MaxPool1D(2, padding="same"), nn.LSTM(3, 4, go_backwards=True), nn.LSTM(4, 2, go_backwards=True),
             nn.LSTM(2, 3, go_backwards=True, return_sequences=False)],
    lambda: [nn.Bidirectional(nn.LSTM(3, 4)), nn.Conv1D(8, 4, 3, padding="same"),
             nn.Bidirectional(nn.LSTM(4, 2), "sum"), nn.Bidirectional(nn.LSTM(2, 2, return_sequences=False))],
    lambda: [nn.TimeDistributed(nn.Sequential(nn.Dense(3, 4), nn.ReLU())), nn.LSTM(4, 2), nn.GlobalAveragePool()],
]


@pytest.mark.parametrize("layers", MASKED)
def test_layers_with_lengths(layers: Any) -> None:
    model, lengths = trained(nn.Sequential(*layers()), (6, 3)), np.array([6, 3, 5, 4], "int32")
    x = np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32")
    mask = np.arange(6) < lengths[:, None]
    x[~mask] = 1e9
    with tn.no_grad():
        ours = model.eval()(Tensor(x), mask=mask).numpy()
    found = session(onnx_bytes(model, lengths=True)).run(None, {"input": x, "lengths": lengths})
    assert error(ours, found[0]) < CLOSE


def test_a_mask_that_is_not_one_of_lengths_is_an_error() -> None:
    for function in (lambda own, x, mask: lstm(own.rnn, x, mask[:, [0, 2, 1, 3, 4, 5]]),
                     lambda own, x, mask: lstm(own.rnn, x, mask[:, [[0, 2, 1, 3, 4, 5]]][:, 0]),
                     lambda own, x, mask: lstm(own.rnn, x, mask == 0),
                     lambda own, x, mask: lstm(own.rnn, x, mask.astype("float32") * mask[:, ::-1].astype("float32")),
                     lambda own, x, mask: lstm(own.rnn, x, mask.astype("float32") != 1.0)):
        with pytest.raises(ExportError, match="op lstm must have a mask with all padding on one side"):
            onnx_bytes(trained(Masked(function)), lengths=True)
    model = trained(Own(lambda own, x: lstm(own.rnn, x, x[:, :, 0] > 0), rnn=nn.LSTM(3, 4)), (6, 3))
    with pytest.raises(ExportError, match="op lstm must have a mask with all padding on one side"):
        onnx_bytes(model)


# --- errors -----------------------------------------------------------------------------------------------------------

@op("x:(...) -> y:(...)", cases=[])
def unheard_of(xp: Any, x: Any) -> tuple[Any, Any]:
    """An op without a rule."""
    return x, None


del tn.op.REGISTRY["unheard_of"]  # it is not an op of tinynet
UNTRAINED = nn.BatchNorm(3)
ERRORS: list[tuple[Any, str]] = [
    (lambda own, x: unheard_of(x), "op unheard_of has no rule for ONNX"),
    (lambda own, x: nn.Sequential(nn.Dense(3, 3), Own(lambda own, x: unheard_of(x)))(x), "op unheard_of"),
    (lambda own, x: ops.cross_entropy(x, Tensor([1] * x.shape[0])), "op cross_entropy is a loss"),
    (lambda own, x: ops.dropout(x, 0.5, key=(0, 0), counter=0), "op dropout draws random numbers"),
    (lambda own, x: x + Tensor(np.ones((x.shape[0], 3), "float32")), "op add must not depend on the size of the batch"),
    (lambda own, x: x[: x.shape[0] // 2], "op getitem must not depend on the size of the batch"),
    (lambda own, x: x * float(x.data.shape[0]), "op multiply must not depend on the size of the batch"),
    (lambda own, x: ops.matmul(x, x.T).reshape(1, x.shape[0], -1), "op reshape must have one axis"),
    (lambda own, x: x[x > 0], "op getitem must have at most one array"),
    (lambda own, x: x[[0, 1], [1, 2]], "op getitem must have at most one array"),
    (lambda own, x: x * x.numpy(), "uses values of arrays"),
    (lambda own, x: x * x.sum().item(), "uses item of arrays"),
    (lambda own, x: x * 2 if x.sum() > 0 else x, "uses item of arrays"),
    (lambda own, x: x * x.argmax().item(), "uses item of arrays"),
    (lambda own, x: x[:, : int(x.argmax()) + 1], "uses item of arrays"),
    (lambda own, x: x * np.exp(x.data), "uses np.exp"),
    (lambda own, x: Tensor(np.asarray(x) * 2) + x, "uses values"),
    (lambda own, x: x + Tensor((x.mean() > 0.5).numpy() * np.float32(2)), "uses values of arrays"),
    (lambda own, x: x.data, "must give a tensor"),
    (lambda own, x: Tensor([1.0]), "must give a tensor"),
    (lambda own, x: None, "must give a tensor, or a tuple of tensors, that depend on its input, got NoneType"),
    (lambda own, x: x if x.shape[0] % 2 else x * 2, "must call the same ops"),
    *((lambda own, x, look=look: x * 2 if look(x).data.view(np.ndarray)[0, 0] else x, "must call the same ops")
      for look in (lambda x: x > 0, lambda x: x > 0.4)),
    (lambda own, x: ops.lstm(x.reshape(-1, 1, 3), None, None, Tensor(np.ones((4, 4), "f")) * x.sum(),
                             Tensor(np.ones(4, "f"))), "op lstm must have a constant W"),
    (lambda own, x: ops.mean(x > 0), "op mean must have floats"),
    (lambda own, x: x.astype("complex128"), "op astype must make one of"),
]


@pytest.mark.parametrize(("function", "message"), ERRORS)
def test_what_cannot_be_expressed_is_an_error(function: Any, message: str, tmp_path: Path) -> None:
    model = Own(function)
    model.input_shape = (3,)
    with pytest.raises(ExportError, match=r"^to_onnx: ") as caught:
        tn.to_onnx(model, tmp_path / "model.onnx")
    assert message in str(caught.value)
    assert not os.listdir(tmp_path)


def test_an_error_names_the_layer() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Sequential(Own(lambda own, x: unheard_of(x))), input_shape=(3,))
    with pytest.raises(ExportError, match=r"op unheard_of in layer 1\.0 has no rule"):
        onnx_bytes(model)


@pytest.mark.parametrize(("model", "options", "kind", "message"), [
    (nn.Dense(3, 2), {}, ArgumentError, "input_shape"),
    ("model.onnx", {}, ArgumentError, "the model comes first"),
    (nn.ReLU(), {"opset": 17}, CallError, r"unexpected keyword argument 'opset'; tn.to_onnx\(model, path\)\?"),
    *((nn.Sequential(nn.ReLU(), input_shape=shape), {"pixels": True}, ExportError, "are for a model of images")
      for shape in ((3,), (8, 9, 2), (4, 8, 9, 3))),
    (3, {}, ArgumentError, "model must be a Module, got int; a tn.nn.Sequential"),
    (nn.Sequential(nn.Dense(3, 2), input_shape=(3,)).astype("float64"), {}, ExportError, "0.W must be float32"),
    (trained(nn.Sequential(nn.ReLU(), nn.BatchNorm(3).astype("float64")), (3,)), {}, ExportError,
     "1.gamma must be float32"),
    (nn.Sequential(nn.BatchNorm(3), input_shape=(3,)), {}, tn.errors.StateError, "running averages"),
    (nn.Sequential(nn.Dense(3, 2), input_shape=(4,)), {}, tn.errors.ShapeError, "dense"),
])
def test_arguments(model: Any, options: dict[str, Any], kind: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(kind, match=message):
        tn.to_onnx(model, tmp_path / "model.onnx", **options)
    assert not os.listdir(tmp_path)


def test_without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ExportError, match="pip install onnx"):
        onnx_bytes(nn.Sequential(nn.Dense(3, 2), input_shape=(3,)))


# --- an old onnxruntime -----------------------------------------------------------------------------------------------

OLD = """
import sys, numpy as np, onnxruntime as ort
assert ort.__version__.startswith("1.15."), ort.__version__
for path in sys.argv[1:]:
    arrays = np.load(path + ".npz")
    running = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    for i, theirs in enumerate(running.run(None, {"input": arrays["input"]})):
        ours = arrays["output_%d" % i]
        print(path, np.abs(ours - theirs).max() / max(1, np.abs(ours).max()))
"""


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("python3.11"), reason="onnxruntime 1.15 needs Python 3.11")
def test_in_onnxruntime_1_15(tmp_path: Path) -> None:
    """In an environment of its own, since this version needs NumPy 1."""
    python = tmp_path / "old" / "bin" / "python"
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(["python3.11", "-m", "venv", tmp_path / "old"], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "onnxruntime==1.15.1", "numpy<2"], check=True,
                   env=alone)
    cases = [*layer_cases(), *OWN, *(Case(name, getattr(example_models, name), ()) for name in MODELS)]
    paths = []
    for i, case in enumerate(cases):
        model = trained(case.make(), case.shape)
        path = tmp_path / f"{i}.onnx"
        tn.to_onnx(model, path)
        x = np.random.default_rng(i).normal(size=(3, *(model.input_shape or ()))).astype("float32")
        np.savez(f"{path}.npz", input=x, **{f"output_{n}": one for n, one in enumerate(outputs(model, x))})
        paths.append(str(path))
    done = subprocess.run([python, "-c", OLD, *paths], capture_output=True, text=True, env=alone)
    assert done.returncode == 0, done.stderr
    errors = [float(line.split()[-1]) for line in done.stdout.splitlines()]
    assert len(errors) >= len(cases)
    assert max(errors) <= DEEP
