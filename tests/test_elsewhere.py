"""A wrong call is answered by the right one, in one sentence."""

import copy
import inspect
import operator
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import elsewhere, nn, ops, optim
from tinynet.errors import ArgumentError, CallError, DtypeError, ShapeError, StateError
from tinynet.plain import plain_rows

NAMES = [
    (nn, "CrossEntropyLoss", "tn.ops.cross_entropy"), (nn, "Dropout2d", "tn.nn.Dropout"), (nn, "functional", "tn.ops"),
    (ops, "cat", "tn.ops.concatenate"), (ops, "ReLU", "tn.ops.relu"), (ops, "nll_loss", "tn.ops.cross_entropy"),
    (optim, "StepLR", "tn.optim.StepDecay"), (optim, "adamw", "tn.optim.AdamW"), (tn, "manual_seed", "tn.seed"),
    (tn, "Dense", "tn.nn.Dense"), (tn, "Linear", "tn.nn.Dense"), (tn, "DataLoader", "tn.data.Loader"),
    (tn, "from_numpy", "tn.Tensor"), (nn, "Transformer", r"dir\(tn.nn\) lists them"),
    (nn.Sequential(), "fit", r"tn.fit\(model, optimizer, loader, epochs=10\)"),
    (nn.Dense(2, 2), "weight", "layer.W"), (nn.Dense(2, 2), "predict", r"tn.predict\(model, x\)"),
    (tn.Tensor([1.0]), "exp", "tn.ops.exp"), (tn.Tensor([1.0]), "view", "x.reshape"),
    (tn.Tensor([1.0]), "cuda", r'x.to\("gpu"\)'), (tn.Tensor([1.0]), "masked_fill", r"tn.ops.where\(mask, value, x\)"),
    (tn.data, "DataLoader", "tn.data.Loader"), (tn.data, "loader_", "tn.data.Loader"),
    (tn.callbacks, "CSVLogger", "tn.callbacks.Log"), (tn.callbacks, "ema", "tn.callbacks.EMA"),
    (tn.metrics, "roc_auc_score", "tn.metrics.roc_auc"), (tn.init, "xavier_uniform_", "tn.init.glorot_uniform"),
    (tn.init, "Orthogonal", "tn.init.orthogonal"), (tn, "float32", '"float32"'), (optim, "RMSprop", "tn.optim.Adam"),
    (nn.Sequential(), "add", r"tn.nn.Sequential\(\*model, layer\)"),
    (optim.SGD([nn.Parameter([1.0])]), "param_groups", "optimizer.lr, or optimizer.groups")]


@pytest.mark.parametrize(("place", "name", "right"), NAMES, ids=[name for _, name, _ in NAMES])
def test_a_missing_name_is_answered_by_ours(place: Any, name: str, right: str) -> None:
    with pytest.raises(AttributeError, match=rf"{name}.*; {right}\??$") as caught:
        getattr(place, name)
    assert caught.value.name == name
    assert "\n" not in str(caught.value)
    assert not hasattr(place, name)


def test_what_a_module_has_itself_comes_before_what_others_have() -> None:
    missing = elsewhere.in_modules({"tn.nn": ["Loader", "Linear"], "tn.data": ["Loader", "Other"]})
    for name, right in (("loader", "tn.nn.Loader"), ("LINEAR", "tn.nn.Linear"), ("other", "tn.data.Other")):
        with pytest.raises(AttributeError, match=rf"tn.nn has no attribute '{name}'; {right}\?$"):
            missing(name)


def test_an_error_holds_the_object_that_lacks_the_name() -> None:
    layer = nn.Dense(2, 2)
    with pytest.raises(AttributeError) as caught:
        layer.weight  # noqa: B018
    assert caught.value.obj is layer


@pytest.mark.parametrize("place", [tn, nn, ops, optim, tn.data, tn.init, tn.metrics, tn.callbacks, nn.Dense(2, 2),
                                   tn.Tensor([1.0])], ids=str)
def test_an_unknown_name_is_missing(place: Any) -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = place.nonsense
    assert getattr(place, "nonsense", 5) == 5


@pytest.mark.parametrize("one", [nn.Sequential(), tn.Tensor([1.0])], ids=["model", "tensor"])
def test_names_of_hints_are_not_listed(one: Any) -> None:
    assert all(hasattr(one, name) for name in dir(one))
    assert ("fit" if isinstance(one, nn.Module) else "cuda") not in dir(one)


def test_a_subclass_and_an_instance_may_have_such_a_name() -> None:
    class Model(nn.Module):
        def fit(self) -> int:
            return 1

    model = Model()
    assert model.fit() == 1 and "fit" in dir(model)
    model.weight = 5
    assert model.weight == 5 and "weight" in dir(model)  # type: ignore[attr-defined]


def test_hints_name_what_there_is() -> None:
    """Each name of a table is one that is missing here, and its hint can be looked up."""
    for place, table in elsewhere._ELSEWHERE.items():
        own: Any = tn if place == "tn" else getattr(tn, place.removeprefix("tn."))
        for name, right in table.items():
            assert name not in {ours.lower() for ours in getattr(own, "__all__", dir(own))}
            parts = right.partition("(")[0].partition(",")[0].split(".")
            if parts[0] == "tn":
                found: Any = tn
                for part in parts[1:]:
                    found = getattr(found, part)
    assert not any(hasattr(nn.Module, name) for name in elsewhere.MODEL)
    assert not any(hasattr(tn.Tensor, name) for name in elsewhere._TENSOR)
    assert not any(hasattr(optim.Optimizer, name) for name in elsewhere.OPTIMIZER)
    assert set(elsewhere.SHARED) <= {name for name in ops.__all__ if hasattr(np, name)}


@pytest.mark.parametrize(("name", "compute"), [
    ("mul", operator.mul), ("sub", operator.sub), ("div", operator.truediv), ("pow", lambda a, b: a**3),
    ("mm", operator.matmul), ("dot", operator.matmul), ("neg", lambda a, b: -a), ("abs", lambda a, b: abs(a - b)),
    ("permute", lambda a, b: a.transpose((1, 0))), ("clamp", lambda a, b: a.clip(1, 2)),
    ("cat", lambda a, b: np.concatenate([a, b])), ("mse_loss", lambda a, b: ((a - b) ** 2).mean()),
    ("l1_loss", lambda a, b: abs(a - b).mean()), ("concat", lambda a, b: np.concatenate([a, b])),
    ("huber_loss", lambda a, b: np.where(abs(a - b) < 1, (a - b) ** 2 / 2, abs(a - b) - 0.5).mean()),
    ("view", lambda a, b: a.reshape(4)), ("unsqueeze", lambda a, b: a[:, None]),
    ("gather", lambda a, b: np.array([[5.0, 1.0], [2.0, 2.0]])), ("bmm", operator.matmul)])
def test_a_hint_computes_what_the_other_name_does(name: str, compute: Any) -> None:
    a, b = np.array([[1.0, 5.0], [2.0, 0.5]]), np.array([[3.0, 1.5], [4.0, 2.0]])
    given = {"pow": (a, 3), "neg": (a,), "abs": (a - b,), "permute": (a, (1, 0)), "clamp": (a, 1, 2),
             "cat": ([a, b],), "concat": ([a, b],), "view": (a, (4,)), "unsqueeze": (a, 1),
             "gather": (a, np.array([[1, 0], [0, 0]]))}.get(name, (a, b))
    function = getattr(ops, elsewhere._OPS[name].removeprefix("tn.ops."))
    np.testing.assert_allclose(function(*given).numpy(), compute(a, b))


@pytest.mark.parametrize(("name", "right"), [
    *((name, elsewhere.MODEL[name]) for name in ("kernel", "trainable", "weight", "weights")),
    ("requires_grad", "parameter.requires_grad = False, for each"), ("rate", "p?"), ("activation", "a layer after"),
    ("kernel_size", "width of")])
def test_a_name_without_effect_is_not_set(name: str, right: str) -> None:
    for layer in (nn.Dense(2, 2), nn.Sequential(), nn.Dropout(0.5)):
        with pytest.raises(AttributeError, match=rf"^'\w+' object has no .* '{name}'; {re.escape(right[:9])}"):
            setattr(layer, name, False)
        assert name not in vars(layer)

    class Own(nn.Dense):
        pass

    own: Any = Own(2, 2)
    setattr(own, name, 5)
    assert getattr(own, name) == 5


def test_a_rate_of_another_name_is_not_set() -> None:
    optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.5)
    with pytest.raises(AttributeError, match=r"^'SGD' object has no attribute 'learning_rate'; optimizer.lr\?$"):
        optimizer.learning_rate = 0.1  # type: ignore[attr-defined]

    class Own(optim.SGD):
        pass

    mine = Own([nn.Parameter([1.0])])
    mine.learning_rate = 0.1  # type: ignore[attr-defined]
    assert mine.learning_rate == 0.1  # type: ignore[attr-defined]


@pytest.mark.parametrize(("call", "right"), [
    (lambda: nn.Dense(3, 2, activation="relu"), r"'activation'; a layer after this one, such as tn.nn.ReLU\(\)"),
    (lambda: nn.LSTM(3, hidden_size=2), "'hidden_size'; units"),
    (lambda: nn.Conv2D(3, 4, 3, strides=2), "'strides'; stride"),
    (lambda: nn.Dense(3, 2, dtype="float64"), r"'dtype'; Dense\(inputs, units, bias=True\)"),
    (lambda: nn.Dense(3), r"missing 1 .*'units'; Dense\(inputs, units, bias=True\)"),
    (lambda: nn.MaxPool2D(pool_size=2), "'pool_size'; size"), (lambda: nn.Dropout(rate=0.5), "'rate'; p"),
    (lambda: optim.Adam([nn.Parameter([1.0])], learning_rate=0.1), "'learning_rate'; lr"),
    (lambda: nn.BatchNorm(2, epsilon=0.1), "'epsilon'; eps")])
def test_an_option_of_another_name(call: Any, right: str) -> None:
    with pytest.raises(CallError, match=rf"^\w+.__init__\(\) .*{right}\?$"):
        call()


def test_each_option_of_another_name_is_none_of_ours() -> None:
    layers = [kind for place in (nn, optim) for name in place.__all__ if isinstance(kind := getattr(place, name), type)]
    own = {name for kind in layers for name in inspect.signature(kind).parameters}
    assert own & {*elsewhere._OPTIONS} <= {"input_shape"}  # of Sequential


def test_missing_arguments_are_answered_by_all_of_them() -> None:
    with pytest.raises(CallError, match=r"; Conv1D\(inputs, filters, width, stride=1, padding='valid', "):
        nn.Conv1D()  # type: ignore[call-arg]


def test_the_constructor_of_a_users_class_is_left_as_it_is() -> None:
    class Model(nn.Module):
        def __init__(self, width: int) -> None:
            self.trainable = nn.Dense(width, 1)

    with pytest.raises(TypeError) as caught:
        Model(rate=2)  # type: ignore[call-arg]
    assert type(caught.value) is TypeError
    assert Model(2).trainable(np.ones((1, 2), "float32")).shape == (1, 1)


def test_a_loss_has_one_hint_under_each_of_its_names() -> None:
    ops_by_name = {name.replace("_", ""): right for name, right in elsewhere._OPS.items()}
    both = {name for name in elsewhere._LAYERS if name in ops_by_name and name != "linear"}
    assert {"l1loss", "mseloss", "huberloss", "smoothl1loss", "bceloss", "crossentropyloss"} <= both
    assert all(elsewhere._LAYERS[name] == ops_by_name[name] for name in both)


SAME = {
    "tn.ops.cross_entropy": "crossentropyloss softmax_cross_entropy nll_loss nllloss cross_entropy_loss log_loss "
                            "categorical_crossentropy sparse_categorical_crossentropy",
    "tn.ops.binary_cross_entropy": "bceloss bce_loss bcewithlogitsloss binary_crossentropy "
                                   "binary_cross_entropy_with_logits",
    "tn.ops.mse": "mseloss mse_loss mean_squared_error", "tn.ops.mae": "l1loss l1_loss mean_absolute_error",
    "tn.ops.huber": "huberloss huber_loss smoothl1loss smooth_l1_loss", "tn.nn.MaxPool1D": "maxpooling1d",
    "tn.nn.MaxPool2D": "maxpooling2d", "tn.nn.AvgPool1D": "averagepooling1d averagepool1d",
    "tn.nn.AvgPool2D": "averagepooling2d averagepool2d",
    "tn.nn.GlobalAveragePool": "globalavgpool globalaveragepooling1d globalaveragepooling2d adaptiveavgpool1d "
                               "adaptiveavgpool2d",
    "tn.nn.BatchNorm": "batchnorm1d batchnorm2d batchnormalization", "tn.nn.LayerNorm": "layernormalization",
    "tn.nn.Dropout": "dropout1d dropout2d spatialdropout2d", "tn.nn.SiLU": "swish", "tn.nn.SimpleRNN": "rnn rnncell",
    "tn.nn.Module": "model layer", "tn.optim.StepDecay": "steplr exponentiallr",
    "tn.optim.Cosine": "cosineannealinglr cosinedecay", "tn.optim.OneCycle": "onecyclelr",
    "tn.optim.Warmup": "linearlr", "tn.optim.clip_global_norm": "clip_grad_norm_ clip_grad_value_",
    "tn.callbacks.EMA": "averagedmodel exponentialmovingaverage swa_utils swapemaweights",
    "tn.Tensor": "from_numpy array asarray variable", "tn.seed": "manual_seed set_seed",
    "tn.set_threads": "set_num_threads", "tn.devices": "device is_available", "tn.load": "load_model",
    "tn.save": "save_model", "tn.fit": "train", "tn.optim": "optimizers", "tn.precision": "autocast", "tn.nn": "layers",
    "tn.init.zeros": "zeros", "tn.init.ones": "ones", "tn.ops.max": "amax", "tn.ops.min": "amin",
    "tn.nn.LSTM": "lstmcell", "tn.nn.GRU": "grucell",
    "tn.nn.GlobalMaxPool": "globalmaxpooling1d globalmaxpooling2d adaptivemaxpool1d adaptivemaxpool2d",
    "tn.ops.log_softmax": "logsoftmax", "tn.ops.pad": "zeropadding1d zeropadding2d zeropad2d",
    "tn.init": "initializers", "tn.optim.Adam": "rmsprop adagrad adadelta adamax nadam radam",
    "tn.callbacks.Callback": "lambdacallback",
    "tn.optim.StepDecay, Cosine or OneCycle": "lr_scheduler learningratescheduler", "tn.callbacks.Log": "csvlogger",
    "tn.metrics.accuracy": "accuracy_score", "tn.metrics.balanced_accuracy": "balanced_accuracy_score",
    "tn.metrics.f1": "f1_score", "tn.metrics.precision": "precision_score", "tn.metrics.recall": "recall_score",
    "tn.metrics.roc_auc": "roc_auc_score auc", "tn.metrics.r2": "r2_score", "tn.metrics.mean_squared_error": "mse",
    "tn.metrics.average_precision": "average_precision_score", "tn.metrics.mean_absolute_error": "mae",
    "tn.metrics.root_mean_squared_error": "rmse", "tn.data.Loader": "dataloader tensordataset",
    "tn.data.split": "random_split train_test_split", "tn.data.cross_folds": "kfold stratifiedkfold groupkfold",
    "tn.data.load": "mnist", "tn.data.scan_folder": "image_dataset_from_directory", "tn.data": "datasets",
    "tn.data.Augment": "imagedatagenerator transforms compose", "tn.data.pad": "pad_sequence pad_sequences",
    "tn.init.glorot_uniform": "xavier_uniform", "tn.init.glorot_normal": "xavier_normal",
    "tn.init.he_uniform": "kaiming_uniform", "tn.init.he_normal": "kaiming_normal", "tn.ops": "functional losses math",
    "tn.no_grad": "inference_mode set_grad_enabled", "tn.to_onnx": "onnx save_onnx", "tn.ops.one_hot": "to_categorical",
    "tn.threads": "num_threads get_num_threads"}


@pytest.mark.parametrize("right", SAME)
def test_names_of_one_thing_have_its_hint(right: str) -> None:
    for name in SAME[right].split():
        assert {table[name] for table in elsewhere._ELSEWHERE.values() if name in table} == {right}


@pytest.mark.parametrize(("name", "expected"), [
    ("cpu", [[1.0, 4.0], [2.0, 0.5]]), ("clone", [[1.0, 4.0], [2.0, 0.5]]), ("copy", [[1.0, 4.0], [2.0, 0.5]]),
    ("float", "float32"), ("double", "float64"), ("half", "float16"), ("long", "int64"), ("int", "int64"),
    ("unsqueeze", [[[1.0, 4.0]], [[2.0, 0.5]]]), ("tolist", [[1.0, 4.0], [2.0, 0.5]]), ("dim", 2), ("numel", 6),
    ("norm", 21.25**0.5), ("dot", [[9.0, 6.0], [3.0, 8.25]]), ("mm", [[9.0, 6.0], [3.0, 8.25]]), ("grad_fn", None),
    ("ravel", [1.0, 4.0, 2.0, 0.5]), ("nelement", 4), ("sort", [[1.0, 4.0], [0.5, 2.0]]),
    ("round", [[1.0, 4.0], [2.0, 0.0]]), ("any", True), ("all", True)])
def test_what_a_hint_for_a_tensor_gives(name: str, expected: Any) -> None:
    x = tn.Tensor(np.array([[1.0, 4.0], [2.0, 0.5]]))
    given = tn.Tensor(np.ones((2, 3))) if name == "numel" else x
    found = eval(elsewhere.TENSOR[name], {"tn": tn, "np": np, "x": given, "y": x, "axis": 1})
    if isinstance(expected, str):
        assert found.dtype == expected
    elif isinstance(found, tn.Tensor | np.ndarray):
        np.testing.assert_allclose(np.asarray(found), expected)
    else:
        assert found == expected


@pytest.mark.parametrize(("name", "check"), [
    ("float", lambda made, model: made.parameters()[0].dtype == "float32"),
    ("double", lambda made, model: made.parameters()[0].dtype == "float64"),
    ("half", lambda made, model: made.parameters()[0].dtype == "float16"),
    ("get_weights", lambda made, model: [*made] == ["0.W", "0.b"]), ("set_weights", lambda made, model: made is model),
    ("named_parameters", lambda made, model: [name for name, _ in made] == ["0.W", "0.b"]),
    ("named_modules", lambda made, model: [name for name, _ in made] == ["", "0"]),
    ("weight", lambda made, model: made is model[0].W), ("bias", lambda made, model: made is model[0].b),
    ("kernel", lambda made, model: made is model[0].W), ("cpu", lambda made, model: made is model),
    ("predict", lambda made, model: made.shape == (1, 3)), ("evaluate", lambda made, model: made["images"] == 1),
    ("count_params", lambda made, model: made == 9), ("get_layer", lambda made, model: made is model[0]),
    ("named_children", lambda made, model: [one for _, one in made] == [model[0]]),
    ("trainable_weights", lambda made, model: [*made] == [model[0].W, model[0].b]),
    ("trainable_variables", lambda made, model: [*made] == [model[0].W, model[0].b]),
    ("weights", lambda made, model: [*made] == [model[0].W, model[0].b]),
    ("apply", lambda made, model: [one for _, one in made] == [model, model[0]]),
    *((name, lambda made, model: [*made] == [model[0], model[0]]) for name in ("add", "append")),
    *((name, lambda made, model: made is not model and repr(made) == repr(model)) for name in ("clone", "copy")),
    *((name, lambda made, model: repr(tn.load("there")) == repr(model)) for name in ("save", "save_weights")),
    *((name, lambda made, model: len(made) == 10) for name in ("fit", "compile", "train_on_batch"))])
def test_what_a_hint_for_a_model_gives(name: str, check: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model, x = nn.Sequential(nn.Dense(2, 3)), np.ones((1, 2), "float32")
    names = {"tn": tn, "copy": copy, "model": model, "layer": model[0], "state": model.state_dict(), "x": x,
             "path": "there", "loader": [(x, np.array([0]))], "optimizer": optim.SGD(model.parameters())}
    assert check(eval(elsewhere.MODEL[name], names), model)


@pytest.mark.parametrize(("right", "names"), [
    ("inputs", "input_size in_features in_channels input_dim"), ("units", "hidden_size out_features"),
    ("filters", "out_channels"), ("features", "num_features embedding_dim output_dim"), ("stride", "strides"),
    ("dilation", "dilation_rate"), ("bias", "use_bias"), ("p", "rate"), ("size", "pool_size"), ("eps", "epsilon"),
    ("vocabulary", "num_embeddings"), ("lr", "learning_rate"), ("threads", "num_workers"),
    ("betas=(0.9, 0.999)", "beta_1 beta_2"), ("tn.fit(..., max_norm=1.0)", "clipnorm"),
    ("tn.nn.Bidirectional(layer)", "bidirectional")])
def test_an_option_has_one_hint_under_each_of_its_names(right: str, names: str) -> None:
    assert {elsewhere._OPTIONS[name] for name in names.split()} == {right}


def test_another_number_of_arguments(tmp_path: Any) -> None:
    for wrong, right in ((lambda: tn.save(tmp_path), r"tn.save\(path, model\)"), (lambda: tn.load(1, 2), "tn.load")):
        with pytest.raises(CallError, match=rf"; {right}") as caught:
            wrong()
        assert isinstance(caught.value, TypeError) and caught.value.__cause__ is None
        assert not isinstance(caught.value.__context__, TypeError)  # Python's own message is not shown before it
    with pytest.raises(ArgumentError, match=r"load: path must be the name of a file, got Dense"):
        tn.load(nn.Dense(2, 2))


def test_a_type_error_inside_of_a_function_stays() -> None:
    @elsewhere.guided("inside()")
    def inside() -> Any:
        return len(5)  # type: ignore[arg-type]

    with pytest.raises(TypeError, match=r"^object of type 'int' has no len\(\)$"):
        inside()


X = tn.Tensor([1.0, 3.0], requires_grad=True)


@pytest.mark.parametrize(("call", "name"), [
    (lambda: np.sum(X), "sum"), (lambda: np.mean(X, axis=0), "mean"), (lambda: np.concatenate([X, X]), "concatenate"),
    (lambda: np.stack((X, X)), "stack"), (lambda: np.where(np.ones(2, bool), X, 0), "where"),
    (lambda: np.exp(X), "exp"), (lambda: np.clip(X, 0, 1), "clip"), (lambda: np.sum(a=X), "sum"),
    (lambda: np.concatenate([np.ones(1), [X][0]]), "concatenate"), (lambda: np.add.reduce(X), "add"),
    (lambda: np.add(X, np.ones(2), out=np.ones(2)), "add")])
def test_numpy_loses_no_gradient_in_silence(call: Any, name: str) -> None:
    with pytest.raises(DtypeError, match=rf"^np.{name}: a tensor must be .*; tn.ops.{name}, or np.{name}\(x"):
        call()


def test_numpy_computes_where_there_is_no_gradient() -> None:
    assert np.argmax(X) == 1 and np.allclose(X, [1, 3]) and np.shape(X) == (2,)
    plain = X.detach()
    assert np.sum(plain) == 4 and np.concatenate([plain, plain]).tolist() == [1, 3, 1, 3]
    assert type(np.stack([plain, plain], axis=1)) is np.ndarray
    with pytest.raises(DtypeError, match=r"np.dot: .*; functions of tn.ops, or np.dot\("):
        np.dot(X, X)


@pytest.mark.parametrize(("rows", "dtype", "shape"), [
    ([[1.0, 2.0], [3.0, 4.0]], "float32", (2, 2)), ([0, 1, 1], "int64", (3,)), ([np.float64(1.0)], "float64", (1,))])
def test_lists_of_numbers_are_rows(rows: Any, dtype: str, shape: tuple[int, ...]) -> None:
    found = plain_rows(rows, "x")
    assert (found.dtype, found.shape) == (dtype, shape)


def test_rows_of_unequal_length() -> None:
    with pytest.raises(ShapeError, match=r"^Loader: array 1 must have rows of one length, got a list of unequal rows;"):
        tn.data.Loader(np.zeros(2), [[1], [2, 3]], batch_size=1)


def test_other_lists_stay_lists() -> None:
    for rows in ([np.ones(2), np.ones(2)], [], [[np.ones(2)]], [(1, 2)]):
        assert plain_rows(rows, "x") is rows


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: optim.Adam(nn.Dense(2, 2)), ArgumentError, r"got \['Dense'\]; model.parameters\(\)\?"),
    (lambda: optim.SGD(0.1), ArgumentError, r"parameters must be Parameters, got \['float'\]"),
    (lambda: optim.SGD(nn.Dense(2, 2).parameters(), lr="0.1"), ArgumentError, r"lr must be finite .*, got '0.1'"),
    (lambda: nn.Sequential([nn.ReLU()]), StateError, r"must be a layer, got list; tn.nn.Sequential\(\*layers\)\?"),
    (lambda: nn.Sequential(nn.ReLU), StateError, r"layer 0 must be a layer, got type; tn.nn.ReLU\(\), with brackets\?"),
    (lambda: nn.Dense(3, 2).summary((None, 3)), ArgumentError, r"summary: input_shape must be .*, got \(None, 3\)"),
    (lambda: nn.Dense(3, 2).summary(3), ArgumentError, r"summary: input_shape must be .*, got 3; input_shape=\(28")])
def test_arguments_of_another_kind(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
