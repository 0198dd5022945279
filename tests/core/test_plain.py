"""What users give becomes plain arrays and plain numbers: tables of pandas, np.matrix, masked arrays, NumPy scalars."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import ops
from tinynet.errors import ArgumentError, DtypeError, ShapeError
from tinynet.plain import kind_of, number, plain, plain_array, plain_rows, whole

X = np.arange(12, dtype="float32").reshape(6, 2)


def matrix(values: np.ndarray) -> Any:
    return np.asarray(values).view(np.matrix)


def test_subclasses_of_arrays_become_plain() -> None:
    for made in (matrix(X), np.ma.array(X), X.view(np.recarray), X):
        assert type(plain_array(made)) is np.ndarray
        assert type(tn.Tensor(made).data) is np.ndarray
    assert np.shares_memory(tn.Tensor(matrix(X)).data, X)


@pytest.mark.parametrize("device", ["cpu", "gpu-emulated"])
@pytest.mark.parametrize(("order", "dtype"), [(">", "float32"), (">", "int64"), ("<", "float64"), (">", "float64")])
def test_an_array_of_any_byte_order_keeps_its_values(order: str, dtype: str, device: str) -> None:
    """As read from a file of another machine."""
    foreign = np.array([[1, 2], [-3, 400]], dtype).astype(np.dtype(dtype).newbyteorder(order))
    for wanted in (None, "float32"):
        made = tn.backend.as_array(foreign, wanted, device)
        assert made.dtype == (wanted or dtype) and made.dtype.isnative
        assert tn.backend.to_host(made).tolist() == [[1, 2], [-3, 400]]


def test_a_product_of_a_matrix_is_that_of_its_elements() -> None:
    np.testing.assert_array_equal((tn.Tensor(matrix(X)) * matrix(X)).numpy(), X * X)
    np.testing.assert_array_equal((matrix(X) * tn.Tensor(X)).numpy(), X * X)
    model = tn.nn.Sequential(tn.nn.Dense(2, 3))
    assert type(tn.predict(model, matrix(X))) is np.ndarray
    np.testing.assert_array_equal(tn.predict(model, matrix(X)), tn.predict(model, X))


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "matmul", "less", "less_equal", "greater",
                                  "greater_equal", "equal", "not_equal"])
def test_a_function_of_numpy_with_an_array_and_a_tensor_is_the_tensors_own(name: str) -> None:
    function, a, b = getattr(np, name), np.array([[1.0, 5.0], [2.0, 7.0]]), np.array([[3.0, 5.0], [1.0, 2.0]])
    x = tn.Tensor(b, requires_grad=True)
    found = function(a, x)
    assert isinstance(found, tn.Tensor)
    np.testing.assert_allclose(found.numpy(), function(a, b))
    with pytest.raises(DtypeError, match=f"np.{name}: a tensor must be given to a function of tn.ops"):
        function(x, a)


def test_masked_elements_are_refused() -> None:
    hidden = np.ma.array(X, mask=X > 9)
    for call, said in ((lambda: tn.Tensor(hidden), "Tensor: data must not have masked elements, got 2 of 12"),
                       (lambda: tn.data.Loader([0] * 6, hidden, batch_size=2), "Loader: array 1 must .* 2 of 12"),
                       (lambda: tn.predict(tn.nn.ReLU(), hidden), "must not have masked elements, got 2 of 12"),
                       (lambda: tn.metrics.accuracy(hidden[:, 0], [0] * 6), "got 1 of 6")):
        with pytest.raises(DtypeError, match=said + r"; data.filled\(0\)"):
            call()
    shown = np.ma.array(X, mask=False)
    np.testing.assert_array_equal(tn.Tensor(shown).numpy(), X)


def test_a_loader_takes_matrices_row_by_row() -> None:
    (first, labels), *_ = tn.data.Loader(matrix(X), np.ma.array(np.arange(6)), batch_size=np.int64(4))
    assert type(first) is type(labels) is np.ndarray
    assert first.shape == (4, 2)


def test_what_reads_its_rows_on_demand_stays_as_it_is() -> None:
    class Lazy:
        shape, dtype = (6, 2), X.dtype

        def __array__(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("the whole of it was read")

        def __getitem__(self, index: Any) -> Any:
            return X[index]

    lazy = Lazy()
    assert plain_rows(lazy, "") is lazy
    assert len(list(tn.data.Loader(lazy, batch_size=3))) == 2


# --- pandas ---------------------------------------------------------------------------------------------------------

def shuffled() -> tuple[Any, Any]:
    """A table and its labels in another order than their index."""
    pandas = pytest.importorskip("pandas")
    order = np.random.default_rng(0).permutation(6)
    return pandas.DataFrame(X).iloc[order], pandas.Series(np.arange(6)).iloc[order]


def test_rows_of_a_table_are_counted_and_not_looked_up() -> None:
    table, labels = shuffled()
    for shuffle in (False, True):
        for x, y in tn.data.Loader(table, labels, batch_size=4, shuffle=shuffle, seed=0):
            np.testing.assert_array_equal(x[:, 0], 2 * y)
    np.testing.assert_array_equal(tn.predict(tn.nn.ReLU(), table, batch_size=4), table.to_numpy())
    assert tn.metrics.accuracy(labels, labels.to_numpy()) == 1
    assert tn.metrics.roc_auc(labels > 2, labels) == 1
    assert tn.Tensor(labels).numpy().tolist() == labels.tolist()


def test_a_table_keeps_its_precision() -> None:
    pandas = pytest.importorskip("pandas")
    assert tn.Tensor(pandas.DataFrame({"a": [0.5]})).dtype == tn.Tensor(pandas.Series([0.5])).dtype == "float64"
    assert tn.Tensor(pandas.Series([1, 2])).dtype == "int64"
    with pytest.raises(DtypeError, match="data must be numbers"):
        tn.Tensor(pandas.Series(["cat", "dog"]))


def test_fit_and_evaluate_take_batches_of_tables() -> None:
    table, labels = shuffled()
    model = tn.nn.Sequential(tn.nn.Dense(2, 6))
    history = tn.fit(model, tn.optim.SGD(model.parameters()), [(table, labels)], epochs=1, show=False)
    assert np.isfinite(history[0]["train_loss"])
    found = tn.evaluate(model, [(table, labels)])
    assert found == tn.evaluate(model, [(table.to_numpy(), labels.to_numpy())])


# --- numbers --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("scalar", [np.int64(2), np.float32(2), np.float64(2), np.uint8(2), np.bool_(True),
                                    np.array(2), np.array(2.0)], ids=lambda value: f"{value.dtype} {value.shape}")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_scalar_of_numpy_is_a_number_beside_a_tensor(scalar: Any, dtype: str) -> None:
    x, value = tn.Tensor(np.array([6.0, 3.0], dtype)), scalar.item()
    for work in (lambda x, s: x * s, lambda x, s: s * x, lambda x, s: x / s, lambda x, s: s - x, lambda x, s: x + s,
                 ops.maximum, lambda x, s: ops.where(x > s, x, s)):
        found, wanted = work(x, scalar), work(x, value)
        assert found.dtype == wanted.dtype == dtype
        np.testing.assert_array_equal(found.numpy(), wanted.numpy())
    assert (x > scalar).numpy().tolist() == (x > value).numpy().tolist()


def test_integers_stay_integers_where_an_op_wants_them() -> None:
    loss = ops.cross_entropy(tn.Tensor([1.0, 2.0]), np.int64(1))
    assert loss.item() == pytest.approx(np.log1p(np.exp(-1)))


@pytest.mark.parametrize(("with_numpy", "with_python"), [
    (lambda x: ops.pad(x, np.int64(1)), lambda x: ops.pad(x, 1)),
    (lambda x: ops.pad(x, (np.int8(0), np.int64(2)), value=np.float32(7)), lambda x: ops.pad(x, (0, 2), value=7.0)),
    (lambda x: x ** np.int64(2), lambda x: x ** 2), (lambda x: x ** np.float32(2), lambda x: x ** 2.0),
    (lambda x: x.sum(axis=np.int64(1)), lambda x: x.sum(axis=1)), (lambda x: x.sum(axis=[0]), lambda x: x.sum(axis=0)),
    (lambda x: ops.softmax(x, axis=np.int64(0)), lambda x: ops.softmax(x, axis=0)),
    (lambda x: x.argmax(axis=np.int64(0)), lambda x: x.argmax(axis=0)),
    (lambda x: ops.clip(x, np.float64(1), np.int64(5)), lambda x: ops.clip(x, 1.0, 5)),
    (lambda x: ops.max_pool1d(x[None], np.int64(2), np.int64(1), np.int64(1)),
     lambda x: ops.max_pool1d(x[None], 2, 1, 1)),
    (lambda x: ops.dropout(x, np.float64(0.5), key=(np.int64(1), 2), counter=np.int64(3)),
     lambda x: ops.dropout(x, 0.5, key=(1, 2), counter=3)),
    (lambda x: x.reshape(np.int64(3), -1), lambda x: x.reshape(3, -1)), (lambda x: x[np.int64(1)], lambda x: x[1])])
@pytest.mark.parametrize("which", ["fast", "reference"])
def test_options_may_be_numpys_numbers(with_numpy: Callable[[Any], Any], with_python: Callable[[Any], Any],
                                       which: str) -> None:
    for _ in range(2):  # the second call is one that the op remembers
        with tn.using(which):
            np.testing.assert_array_equal(with_numpy(tn.Tensor(X)).numpy(), with_python(tn.Tensor(X)).numpy())


def test_options_of_optimizers_and_layers_become_plain() -> None:
    w = [tn.nn.Parameter([1.0])]
    adam = tn.optim.Adam(w, lr=np.float32(0.5), betas=np.array([0.5, 0.9]).tolist(), eps=np.float64(1e-3))
    assert type(adam.lr) is float
    assert adam.betas == (0.5, 0.9)
    assert type(tn.optim.SGD(w, momentum=np.float32(0.5)).momentum) is float
    assert tn.optim.SGD(w, nesterov=np.bool_(True)).nesterov is True
    assert type(tn.nn.BatchNorm(2, momentum=np.float32(0.5)).momentum) is float
    assert type(tn.nn.Dropout(np.float32(0.5)).p) is float


def test_numbers_and_their_limits() -> None:
    assert plain((np.int64(1), [np.bool_(True)], None, "x")) == (1, [True], None, "x")
    same = (1, [2, "x"])
    assert plain(same) is same
    assert number("f", "x", np.array(3), 0, usual="1") == 3
    assert (kind_of("int8"), kind_of(float), kind_of("banana")) == ("i", "f", "")
    for wrong in (-0.1, 1.0, np.nan, np.inf, True, "1", None, np.array([0.5])):
        with pytest.raises(ArgumentError, match=r"f: x must be in \[0, 1\), got .*; x=0.5 is usual"):
            number("f", "x", wrong, 0, 1, below=True, usual="0.5")
    with pytest.raises(ArgumentError, match="f: x must be finite and at least 0, got inf"):
        number("f", "x", np.inf, 0, usual="1")
    assert [number("f", "x", edge, 0, 1, usual="0.5") for edge in (0, 1)] == [0, 1]
    assert [whole("f", "n", edge, 1, 4, usual="n=2") for edge in (np.array(1), np.int8(4))] == [1, 4]
    for wrong in (0, 5, 2.0, True, np.bool_(True), "2", None, np.array([2])):
        with pytest.raises(ArgumentError, match=r"^f: n must be an integer from 1 to 4, got .*; n=2\?$"):
            whole("f", "n", wrong, 1, 4, usual="n=2")
    with pytest.raises(ArgumentError, match="f: n must be an integer of at least 1, got 0; n=2"):
        whole("f", "n", 0, 1, usual="n=2")
    with pytest.raises(ArgumentError, match=r"f: x must be in \[0, 1\], got 2"):
        number("f", "x", 2, 0, 1, usual="0.5")


@pytest.mark.parametrize("call", [
    *[lambda w, name=name: tn.data.Loader(np.zeros(8), **{"batch_size": 2, "shuffle": True, name: True})
      for name in ("batch_size", "threads", "seed")],
    lambda w: tn.data.Loader(np.zeros(8), batch_size=2, lengths=np.ones(8, int), bucket=True),
    lambda w: tn.fit(tn.nn.ReLU(), tn.optim.SGD(w), [], epochs=True),
    lambda w: tn.fit(tn.nn.ReLU(), tn.optim.SGD(w), [], epochs=1, max_norm=True),
    lambda w: tn.predict(tn.nn.ReLU(), np.zeros((2, 2)), batch_size=True),
    lambda w: tn.set_threads(True), lambda w: tn.seed(True),
    *[lambda w, name=name: tn.optim.SGD(w, **{name: True}) for name in ("lr", "momentum", "weight_decay")],
    *[lambda w, name=name: tn.optim.Adam(w, **{name: True}) for name in ("lr", "eps", "weight_decay")],
    lambda w: tn.optim.Adam(w, betas=(True, 0.9)), lambda w: tn.optim.StepDecay(tn.optim.SGD(w), every=True),
    lambda w: tn.optim.StepDecay(tn.optim.SGD(w), every=2, factor=True),
    lambda w: tn.optim.Cosine(tn.optim.SGD(w), steps=True), lambda w: tn.optim.Warmup(tn.optim.SGD(w), steps=True),
    *[lambda w, name=name: tn.callbacks.EarlyStopping(**{name: True}) for name in ("patience", "min_delta")],
    lambda w: tn.callbacks.EMA(decay=True), lambda w: tn.nn.Dense(True, 2), lambda w: tn.nn.LSTM(3, True),
    lambda w: tn.nn.Conv1D(3, 2, True), lambda w: tn.nn.Dropout(True), lambda w: tn.nn.LeakyReLU(True),
    *[lambda w, name=name: tn.nn.BatchNorm(2, **{name: True}) for name in ("momentum", "eps")],
    lambda w: tn.data.Augment(rotate=True), lambda w: tn.nn.Scaling(True), lambda w: tn.ops.one_hot([0], True),
    lambda w: tn.ops.cross_entropy(tn.Tensor([[0.0, 1.0]]), [1], ignore_index=True),
    lambda w: tn.ops.sum(w[0], axis=True), lambda w: tn.ops.clip(w[0], True, 2), lambda w: tn.ops.power(w[0], True),
    lambda w: tn.data.split_groups(np.zeros(8, int), np.arange(8), True)])
def test_a_boolean_is_no_number(call: Callable[[Any], Any]) -> None:
    with pytest.raises(ArgumentError, match=r"must be|must lie|must get"):
        call([tn.nn.Parameter([1.0])])


@pytest.mark.parametrize("call", [
    lambda w: tn.optim.Adam(w, eps=-1.0), lambda w: tn.optim.Adam(w, eps=np.nan),
    lambda w: tn.optim.Adam(w, betas=(0.9,)), lambda w: tn.optim.Adam(w, betas=0.9),
    lambda w: tn.optim.Adam(w, betas=(0.9, 0.9, 0.9)), lambda w: tn.optim.AdamW(w, weight_decay=-1.0),
    lambda w: tn.optim.SGD(w, momentum=-3.0), lambda w: tn.optim.SGD(w, momentum=1.0),
    lambda w: tn.optim.SGD(w, weight_decay=np.nan), lambda w: tn.optim.SGD(w, lr=np.float32(-1)),
    lambda w: tn.optim.SGD(w, weight_decay=-1.0), lambda w: tn.optim.OneCycle(tn.optim.SGD(w), peak=-1.0, steps=5),
    lambda w: tn.nn.LayerNorm(2, eps=-1.0), lambda w: tn.nn.LeakyReLU(-1.0), lambda w: tn.nn.ELU(-1.0),
    lambda w: tn.nn.BatchNorm(2, momentum=-3.0), lambda w: tn.nn.BatchNorm(2, momentum=10.0),
    lambda w: tn.nn.BatchNorm(2, eps=-1.0), lambda w: tn.nn.BatchNorm(2, eps=np.inf),
    lambda w: tn.nn.Dropout(np.float32(1.5)), lambda w: tn.optim.StepDecay(tn.optim.SGD(w), 2, factor=-1),
    lambda w: tn.optim.OneCycle(tn.optim.SGD(w), peak=np.nan, steps=5),
    lambda w: tn.optim.Cosine(tn.optim.SGD(w), steps=5, final=-1.0),
    *[lambda w, seconds=seconds: tn.fit(tn.nn.ReLU(), tn.optim.SGD(w), [], epochs=1, checkpoint_seconds=seconds)
      for seconds in (-1, np.nan, "9")]])
def test_options_out_of_range(call: Callable[[Any], Any]) -> None:
    with pytest.raises(ArgumentError, match=r"must be .*, got .*; "):
        call([tn.nn.Parameter([1.0])])


# --- clumsy calls ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("call", "kind", "message"), [
    (lambda x: ops.pad(x, 1.5), ArgumentError, "pad: width must be a number"),
    (lambda x: ops.pad(x, (1, 2, 3)), ArgumentError, "pad: width must be a number"),
    (lambda x: ops.pad(x, ((1, 2),)), ArgumentError, "pad: width must be a number"),
    (lambda x: ops.softmax(x, axis=(0, 1)), ArgumentError, "softmax: axis must be one integer in"),
    (lambda x: ops.log_softmax(x, axis=1.0), ArgumentError, "log_softmax: axis must be"),
    (lambda x: ops.softmax(x, axes=1), TypeError, r"softmax: got an unexpected .* 'axes'; call it as softmax\(x: "),
    (lambda x: ops.softmax(x, axis=None), ArgumentError, "softmax: axis must be one integer in"),
    (lambda x: x.argmax(axis=5), ArgumentError, r"argmax: axis must be None or in \[-2, 2\)"),
    (lambda x: x.argmin(axis=(0, 1)), ArgumentError, "argmin: axis must be one integer"),
    (lambda x: ops.expand_dims(x, (0, 1)), ArgumentError, r"expand_dims: axis must be one integer in \[-3, 3\), got"),
    (lambda x: ops.stack([x, x], axis=None), ArgumentError, "expand_dims: axis must be one integer"),
    (lambda x: x[:0].argmax(), ShapeError, "argmax: x must have elements to compare"),
    (lambda x: x[:0].argmax(axis=0), ShapeError, "argmax: x must have elements to compare"),
    (lambda x: x > np.ones(3), ShapeError, "greater: shapes must be equal or 1 on every axis"),
    (lambda x: x == tn.Tensor([1.0, 2.0, 3.0]), ShapeError, "equal: shapes must be equal"),
    (lambda x: x <= [1, 2, 3], ShapeError, "less_equal: shapes must be equal"),
    (lambda x: x.item(), ShapeError, "item: a tensor must have one element"),
    (lambda x: f"{x:.2f}", ShapeError, "item: a tensor must have one element"),
    (lambda x: bool(x > 0), ShapeError, "item: a tensor must have one element"),
    (lambda x: x.astype("banana"), DtypeError, "astype: dtype must be one of numbers"),
    (lambda x: x.astype("U3"), DtypeError, "astype: dtype must be one of numbers"),
    (lambda x: x.sum(axis=(0, 0)), ArgumentError, "sum: axis must name each axis once"),
    (lambda x: x.mean(axis=[1, -1]), ArgumentError, "mean: axis must name each axis once"),
    (lambda x: x.max(axis=True), ArgumentError, "max: axis must be None or in"),
    (lambda x: ops.clip(x, None, None), ArgumentError, "clip: low and high must be numbers, one of them may be None"),
    (lambda x: ops.clip(x, X, 1), ArgumentError, "clip: low and high must be numbers"),
    (lambda x: ops.clip(x, 2), None, ""), (lambda x: ops.clip(x, None, 2), None, ""),
    (lambda x: tn.Tensor([[1.0], [1.0, 2.0]]), ShapeError, "Tensor: data must have rows of one length"),
    (lambda x: tn.metrics.accuracy([[0], [0, 1]], [0, 1]), ShapeError, "accuracy: labels must have rows of one"),
    (lambda x: tn.metrics.confusion_matrix([0, 1], [[0], [0, 1]]), ShapeError, "confusion_matrix: predicted must have"),
    (lambda x: tn.metrics.roc_curve(1, 0.5), ShapeError, r"roc_curve: labels must be \(N,\)"),
    (lambda x: tn.metrics.roc_auc(1, 0.5), ShapeError, r"roc_auc: labels must be \(N,\)"),
    (lambda x: tn.metrics.average_precision(1, [0.5]), ShapeError, r"average_precision: labels must be \(N,\)"),
    (lambda x: tn.save(tn.nn.ReLU(), "m.safetensors"), ArgumentError, r"save: model must be a Module, got str; tn.sa"
     r"ve\(path, model\), the path comes first\?")])
def test_clumsy_calls(call: Callable[[Any], Any], kind: Any, message: str) -> None:
    if kind is None:
        call(tn.Tensor(X))
        return
    with pytest.raises(kind, match=message):
        call(tn.Tensor(X))


def all_of(i: Any, f: Any) -> Any:
    """A model made with integers i(...) and numbers f(...)."""
    nn = tn.nn
    return nn.Sequential(
        nn.BatchNorm(i(1), momentum=f(0.5), eps=f(0.25)),
        nn.Conv2D(i(1), i(2), i(3), stride=(i(1), i(1)), padding=i(1)),
        nn.MaxPool2D(i(2), i(2), i(0)), nn.Reshape((i(4), i(8))), nn.LSTM(i(8), i(4), dropout=f(0.5)),
        nn.Conv1D(i(4), i(3), i(3), padding=i(1)), nn.Dropout(f(0.5)), nn.Flatten(), nn.Dense(i(12), i(2)),
        input_shape=(i(8), i(8), i(1)))


@pytest.mark.parametrize(("i", "f"), [(np.uint8, np.float32), (np.uint16, np.float16), (np.int64, np.float64)])
def test_a_model_made_with_numpys_numbers(tmp_path: Any, i: Any, f: Any) -> None:
    made = all_of(i, f)
    assert repr(made) == repr(all_of(int, float))
    tn.save(tmp_path / "model", made)
    assert repr(tn.load(tmp_path / "model")) == repr(made)
    x, y = np.random.default_rng(0).uniform(size=(4, 8, 8, 1)).astype("float32"), np.array([0, 1, 1, 0])
    histories = []
    for count, share, flag in ((i, f, np.bool_), (int, float, bool)):
        tn.seed(count(3))
        model = all_of(int, float)
        optimizer = tn.optim.SGD(model.parameters(), lr=share(0.25), momentum=share(0.5))
        histories.append(tn.fit(
            model, optimizer, tn.data.Loader(x, y, batch_size=count(2), shuffle=flag(True)), epochs=count(2),
            max_norm=share(0.5), show=flag(False), checkpoint=tmp_path / f"{count.__name__} {share.__name__}",
            schedule=tn.optim.StepDecay(optimizer, every=count(2), factor=share(0.5)),
            callbacks=[tn.callbacks.EarlyStopping("train_loss", patience=count(5))]))
    assert histories[0][1]["train_loss"] == histories[1][1]["train_loss"]
    assert tn.data.Augment(rotate=i(3), shift=f(0.5)) == tn.data.Augment(rotate=3, shift=0.5)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: tn.nn.Dense(3, 2.5), "Dense: units must be an integer of at least 0, got 2.5; units=32?"),
    (lambda: tn.nn.LSTM("3", 2), "LSTM: inputs must be an integer of at least 0, got '3'"),
    (lambda: tn.nn.GRU(3, True), "GRU: units must be an integer of at least 0, got True"),
    (lambda: tn.nn.SimpleRNN(3.0, 2), "SimpleRNN: inputs must be an integer of at least 0, got 3.0"),
    (lambda: tn.nn.LayerNorm("3"), "LayerNorm: features must be an integer of at least 0, got '3'"),
    (lambda: tn.nn.Embedding(4.0, 2), "Embedding: vocabulary must be an integer of at least 0, got 4.0"),
    (lambda: tn.nn.Conv1D(1, None, 3), "Conv1D: filters must be an integer"),
    (lambda: tn.nn.Conv2D(-1, 2, 3), "Conv2D: inputs must be an integer of at least 0, got -1"),
    (lambda: tn.nn.BatchNorm(True), "BatchNorm: features must be an integer"),
    (lambda: tn.nn.Reshape((2.5, 2)), "Reshape: shape must be an integer of at least -1, got 2.5"),
    (lambda: tn.nn.Reshape(4), "Reshape: shape must be a tuple of integers, got 4; shape=(28, 28)?"),
    (lambda: tn.nn.Sequential(input_shape="4"), "Sequential: input_shape must be a tuple of integers, got '4'"),
    (lambda: tn.nn.Sequential(input_shape=(0, 2)), "Sequential: input_shape must be an integer of at least 1, got 0")])
def test_sizes_of_layers(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("layer", [tn.nn.LSTM, tn.nn.GRU, tn.nn.SimpleRNN])
def test_the_gates_of_a_layer_are_not_counted_in_a_byte(layer: Any) -> None:
    made, usual = layer(np.uint8(2), np.uint8(100)), layer(2, 100)
    assert made.W.shape == usual.W.shape and repr(made) == repr(usual)


def test_a_table_beside_a_tensor() -> None:
    pandas = pytest.importorskip("pandas")
    table, x = pandas.DataFrame(X), tn.Tensor(X)
    for result in (table * x, x * table, table[0] * x[:, 0], x[:, 0] * table[0]):
        assert isinstance(result, tn.Tensor)
    np.testing.assert_array_equal((table - x).numpy(), X - X)


def test_the_array_of_a_tensor_cannot_be_written_to() -> None:
    """A change would be unseen by recordings and by the backward pass."""
    x = tn.Tensor([1.0, 2.0])
    with pytest.raises(ValueError, match="read-only"):
        x.numpy()[0] = 5.0
    assert x.numpy().tolist() == [1.0, 2.0]


def test_a_tensor_of_one_element_is_formatted_as_a_number() -> None:
    loss = tn.Tensor([[1.25]])
    assert f"{loss:.3f} {loss:8.1e}" == "1.250  1.2e+00"
    assert f"{loss}" == str(loss)
