"""The comparison with PyTorch: its cases, and what tinynet computes in them.

`torch_side.py` computes the same with PyTorch, from the same inputs in the same layout. `test_torch.py` compares both
where PyTorch is installed, `test_golden.py` compares with what `golden/make.py` has written down. A result is a
dictionary of arrays: the outputs, and the gradients of their sum with the weights of `weighting`.
"""

import zlib
from typing import Any, NamedTuple

import numpy as np

import tinynet as tn

Array = np.ndarray
Results = dict[str, Array]

VALUES, GRADIENTS, TRAJECTORIES = 1e-12, 1e-10, 1e-9  # the largest relative errors that pass


def relative_error(a: Array, b: Array) -> float:
    """max|a - b| / max(|a|, |b|), over the whole array."""
    assert a.shape == b.shape, f"shapes {a.shape} and {b.shape}"
    scale = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0))
    return float(np.abs(a - b).max(initial=0.0) / scale) if scale else 0.0


def assert_equal(ours: Results, theirs: Results, values: float = VALUES, gradients: float = GRADIENTS) -> None:
    """Both have the same results, and they agree."""
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert np.isfinite(array).all(), name
        error, tolerance = relative_error(array, theirs[name]), gradients if name.startswith("gradient") else values
        assert error <= tolerance, f"{name}: relative error {error:.1e}, allowed {tolerance:.0e}"


# --- ops ------------------------------------------------------------------------------------------------------------

class Case(NamedTuple):
    op: str
    inputs: dict[str, Array]
    options: dict[str, Any]
    constant: tuple[str, ...]  # inputs that PyTorch has no gradient for


def case(op: str, *, constant: tuple[str, ...] = (), distinct: bool = False, classes: int = 0, scale: float = 1.0,
         shapes: dict[str, tuple[int, ...]], **options: Any) -> Case:
    """A case with inputs of these shapes: normal numbers, or distinct ones (no ties).

    `labels` are below `classes`, or probabilities; `indices` are below `classes`, `targets` between 0 and 1. `var`,
    `weight`, `pos_weight` and the base of a power are positive. A `mask` is of sequences that are padded on the right.
    """
    rng = np.random.default_rng(zlib.crc32(repr((op, shapes, options)).encode()))

    def draw(name: str, shape: tuple[int, ...]) -> Array:
        if name == "labels":
            return rng.integers(0, classes, shape) if classes else rng.dirichlet(np.ones(shape[-1]), shape[:-1])
        if name == "indices":
            return rng.integers(0, classes, shape)
        if name == "mask":
            return np.arange(shape[1]) < (shape[1] - np.arange(shape[0]) % shape[1])[:, None]
        if name == "targets":
            return rng.uniform(0.0, 1.0, shape)
        if name in ("var", "weight", "pos_weight"):
            return rng.uniform(0.5, 2.0, shape)
        if name == "x" and op == "float_power":
            return rng.uniform(0.5, 2.0, shape)
        if distinct:
            return rng.permutation(int(np.prod(shape))).reshape(shape) / 10 - 1.0
        return scale * rng.standard_normal(shape)

    return Case(op, {name: draw(name, shape) for name, shape in shapes.items()}, options, constant)


def _lstm(N: int, T: int, D: int, H: int, *, states: bool = True, masked: bool = False) -> Case:
    start = {"h0": (N, H), "c0": (N, H)} if states else {}
    return case("lstm", shapes={"x": (N, T, D), **start, "W": (H + D, 4 * H), "b": (4 * H,),
                                **({"mask": (N, T)} if masked else {})})


def _gru(N: int, T: int, D: int, H: int, *, bias: bool = True, masked: bool = False) -> Case:
    biases = {"b": (3 * H,), "b_h": (3 * H,)} if bias else {}
    return case("gru", shapes={"x": (N, T, D), "h0": (N, H), "W": (H + D, 3 * H), **biases,
                               **({"mask": (N, T)} if masked else {})})


def _conv1d(T: int, K: int, *, bias: bool = True, **options: Any) -> Case:
    return case("conv1d", shapes={"x": (2, T, 3), "W": (K, 3, 4), **({"b": (4,)} if bias else {})}, **options)


def _conv2d(H: int, W: int, KH: int, KW: int, *, bias: bool = True, **options: Any) -> Case:
    return case("conv2d", shapes={"x": (2, H, W, 2), "W": (KH, KW, 2, 3), **({"b": (3,)} if bias else {})}, **options)


def _pool(op: str, *size: int, **options: Any) -> Case:
    return case(op, shapes={"x": (2, *size, 3)}, distinct=op.startswith("max"), **options)


def _batch_norm(*shape: int, axis: int = -1, given: bool = False, eps: float = 1e-5) -> Case:
    C = shape[axis]
    statistics = {"mean": (C,), "var": (C,)} if given else {}
    return case("batch_norm", shapes={"x": shape, "gamma": (C,), "beta": (C,), **statistics},
                constant=tuple(statistics), axis=axis, eps=eps)


def _cross_entropy(*positions: int, K: int = 5, weight: bool = False, scale: float = 1.0, **options: Any) -> Case:
    weights = {"weight": (K,)} if weight else {}
    return case("cross_entropy", classes=K, scale=scale, constant=tuple(weights),
                shapes={"logits": (*positions, K), "labels": positions, **weights}, **options)


CASES = {
    "lstm, one step": _lstm(3, 1, 2, 4),
    "lstm, two steps": _lstm(2, 2, 3, 2),
    "lstm, from nothing": _lstm(2, 5, 4, 3, states=False),
    "lstm, seven steps": _lstm(3, 7, 2, 3),
    "lstm, an image's 28": _lstm(2, 28, 2, 3),
    "lstm, lengths": _lstm(4, 3, 2, 3, masked=True),
    "gru": _gru(3, 4, 2, 3),
    "gru, no bias": _gru(2, 3, 3, 2, bias=False),
    "gru, lengths": _gru(4, 3, 2, 3, masked=True),
    "layer_norm": case("layer_norm", shapes={"x": (3, 4), "gamma": (4,), "beta": (4,)}),
    "layer_norm, sequence": case("layer_norm", shapes={"x": (2, 3, 5), "gamma": (5,), "beta": (5,)}, eps=1e-2),
    "embedding": case("getitem", shapes={"x": (5, 3)}, index=[[0, 4, 4], [2, 0, 4]]),
    "erf": case("erf", shapes={"x": (4, 5)}, scale=2.0),
    "logsumexp": case("logsumexp", shapes={"x": (2, 3, 2)}, axis=(0, 2)),
    "logsumexp, large": case("logsumexp", shapes={"x": (4, 3)}, scale=1e4, axis=1, keepdims=True),
    "take_along_axis": case("take_along_axis", classes=4, shapes={"x": (3, 4, 2), "indices": (3, 5, 2)}, axis=1),
    "float_power": case("float_power", shapes={"x": (3, 1), "exponent": (3, 4)}, distinct=True),
    "conv1d": _conv1d(7, 3),
    "conv1d, no bias": _conv1d(6, 2, bias=False),
    "conv1d, stride": _conv1d(8, 3, stride=2),
    "conv1d, padding": _conv1d(5, 3, padding=2),
    "conv1d, same, odd": _conv1d(6, 3, padding="same"),
    "conv1d, same, even": _conv1d(6, 4, padding="same"),
    "conv1d, same, stride": _conv1d(8, 3, padding="same", stride=2),
    "conv1d, same, stride, even": _conv1d(7, 4, padding="same", stride=3),
    "conv1d, causal, dilation": _conv1d(7, 3, padding="causal", dilation=2),
    "conv1d, dilation, stride": _conv1d(9, 2, dilation=3, stride=2),
    "conv2d": _conv2d(5, 4, 3, 2),
    "conv2d, no bias": _conv2d(4, 4, 2, 2, bias=False),
    "conv2d, stride": _conv2d(6, 5, 2, 3, stride=2),
    "conv2d, padding": _conv2d(4, 3, 3, 3, padding=1),
    "conv2d, same": _conv2d(4, 5, 3, 2, padding="same"),
    "conv2d, same, stride": _conv2d(7, 6, 3, 3, padding="same", stride=2),
    "conv2d, pairs": _conv2d(6, 7, 2, 3, stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
    "max_pool1d": _pool("max_pool1d", 6, size=2),
    "max_pool1d, overlapping": _pool("max_pool1d", 7, size=3, stride=2),
    "max_pool1d, padding": _pool("max_pool1d", 7, size=3, stride=1, padding=1),
    "max_pool1d, same": _pool("max_pool1d", 5, size=2, padding="same"),
    "max_pool2d": _pool("max_pool2d", 4, 6, size=2),
    "max_pool2d, overlapping": _pool("max_pool2d", 5, 7, size=3, stride=2),
    "max_pool2d, pairs": _pool("max_pool2d", 5, 4, size=(2, 3), stride=(1, 2), padding=(1, 0)),
    "max_pool2d, same": _pool("max_pool2d", 5, 5, size=3, stride=2, padding="same"),
    "avg_pool1d": _pool("avg_pool1d", 6, size=2),
    "avg_pool1d, overlapping": _pool("avg_pool1d", 7, size=3, stride=2),
    "avg_pool1d, padding": _pool("avg_pool1d", 7, size=3, stride=1, padding=1),
    "avg_pool1d, same": _pool("avg_pool1d", 5, size=2, padding="same"),
    "avg_pool2d": _pool("avg_pool2d", 4, 6, size=2),
    "avg_pool2d, pairs": _pool("avg_pool2d", 5, 4, size=(2, 3), stride=(1, 2), padding=(1, 1)),
    "avg_pool2d, same": _pool("avg_pool2d", 5, 4, size=3, stride=2, padding="same"),
    "batch_norm": _batch_norm(6, 3),
    "batch_norm, sequence": _batch_norm(3, 4, 2),
    "batch_norm, image": _batch_norm(2, 3, 3, 2, eps=1e-3),
    "batch_norm, axis 1": _batch_norm(3, 2, 4, axis=1),
    "batch_norm, given": _batch_norm(4, 3, given=True),
    "batch_norm, given, image": _batch_norm(2, 3, 2, 2, given=True, eps=1e-2),
    "cross_entropy": _cross_entropy(4),
    "cross_entropy, sum": _cross_entropy(4, reduction="sum"),
    "cross_entropy, none": _cross_entropy(4, reduction="none"),
    "cross_entropy, weight": _cross_entropy(6, weight=True),
    "cross_entropy, weight, sum": _cross_entropy(5, weight=True, reduction="sum"),
    "cross_entropy, weight, none": _cross_entropy(5, weight=True, reduction="none"),
    "cross_entropy, smoothing": _cross_entropy(4, label_smoothing=0.1),
    "cross_entropy, smoothing, weight": _cross_entropy(6, weight=True, label_smoothing=0.3),
    "cross_entropy, smoothing, weight, none": _cross_entropy(3, weight=True, label_smoothing=0.3, reduction="none"),
    "cross_entropy, sequence": _cross_entropy(2, 3, K=4, weight=True, label_smoothing=0.1),
    "cross_entropy, large": _cross_entropy(8, scale=1e4),
    "cross_entropy, large, smoothing": _cross_entropy(8, scale=1e4, label_smoothing=0.1),
    **{f"cross_entropy, probabilities, {reduction}{', weight' * weight}": case(
        "cross_entropy", shapes={"logits": (4, 3), "labels": (4, 3), **({"weight": (3,)} if weight else {})},
        constant=("weight",) * weight, label_smoothing=smoothing, reduction=reduction)
       for reduction, weight, smoothing in (("mean", False, 0.0), ("mean", True, 0.0), ("none", True, 0.2))},
    "binary_cross_entropy": case("binary_cross_entropy", shapes={"logits": (4, 3), "targets": (4, 3)}),
    "binary_cross_entropy, weight": case("binary_cross_entropy", shapes={
        "logits": (4, 3), "targets": (4, 3), "pos_weight": (3,)}, constant=("pos_weight",)),
    "binary_cross_entropy, weight, none": case("binary_cross_entropy", shapes={
        "logits": (5,), "targets": (5,), "pos_weight": ()}, constant=("pos_weight",), reduction="none"),
    "binary_cross_entropy, large": case("binary_cross_entropy", shapes={"logits": (4, 3), "targets": (4, 3)},
                                        scale=1e4, reduction="sum"),
    **{f"{op}, {reduction}": case(op, shapes={"prediction": (4, 3), "target": (4, 3)}, reduction=reduction)
       for op in ("mae", "huber") for reduction in ("mean", "sum", "none")},
    "huber, delta": case("huber", shapes={"prediction": (4, 3), "target": (4, 3)}, delta=0.3),
    "softmax": case("softmax", shapes={"x": (3, 4)}),
    "softmax, axis 1": case("softmax", shapes={"x": (2, 3, 2)}, axis=1),
    "softmax, large": case("softmax", shapes={"x": (4, 3)}, scale=1e4),
    "log_softmax": case("log_softmax", shapes={"x": (3, 4)}),
    "log_softmax, axis 0": case("log_softmax", shapes={"x": (3, 4)}, axis=0),
    "log_softmax, large": case("log_softmax", shapes={"x": (4, 3)}, scale=1e4),
    "sigmoid": case("sigmoid", shapes={"x": (3, 4)}, scale=3.0),
    "sigmoid, large": case("sigmoid", shapes={"x": (3, 4)}, scale=300.0),
    "tanh": case("tanh", shapes={"x": (3, 4)}, scale=2.0),
    "relu": case("relu", shapes={"x": (3, 4)}),
    "dense": case("dense", shapes={"x": (3, 4), "W": (4, 2), "b": (2,)}),
    "dense, sequence, no bias": case("dense", shapes={"x": (2, 3, 4), "W": (4, 2)}),
    "mse": case("mse", shapes={"prediction": (3, 2), "target": (3, 2)}),
    "mse, sum": case("mse", shapes={"prediction": (3, 2), "target": (3, 2)}, reduction="sum"),
    "mse, none": case("mse", shapes={"prediction": (3, 2), "target": (3, 2)}, reduction="none"),
}


def weighting(output: int, shape: tuple[int, ...]) -> Array:
    """What the elements of an output are multiplied with before they are summed: no two alike."""
    return np.cos(1.0 + output + np.arange(np.prod(shape, dtype=int)).reshape(shape))


def as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def ours(op: str, inputs: dict[str, Array], options: dict[str, Any], constant: tuple[str, ...] = ()) -> Results:
    """The outputs of an op and the gradients of its inputs, by tinynet."""
    tensors: dict[str, Any] = {name: tn.Tensor(array, array.dtype.kind == "f" and name not in constant)
                               for name, array in inputs.items()}
    left_out = {"h0": None, "c0": None} if op == "lstm" and "h0" not in tensors else {}
    outputs = as_tuple(getattr(tn.ops, op)(**tensors, **left_out, **options))
    terms = [(output * weighting(i, output.shape).astype(output.dtype)).sum() for i, output in enumerate(outputs)]
    sum(terms[1:], start=terms[0]).backward()
    results = {f"output {i}": output.numpy() for i, output in enumerate(outputs)}
    return results | {f"gradient {name}": tensor.grad for name, tensor in tensors.items() if tensor.requires_grad}


# --- a whole model --------------------------------------------------------------------------------------------------

STEPS, BATCHES = 10, 4
ROWS, COLUMNS, UNITS, FILTERS, CLASSES = 6, 4, 5, 3, 4


def lstm_cnn() -> Any:
    """The paper's LSTM-CNN, small, in float64, without dropout."""
    nn = tn.nn
    return nn.Sequential(
        nn.BatchNorm(1), nn.Reshape((ROWS, COLUMNS)), nn.LSTM(COLUMNS, UNITS), nn.Dropout(0.0),
        nn.Conv1D(UNITS, FILTERS, 3), nn.ReLU(), nn.Dropout(0.0), nn.Flatten(),
        nn.Dense((ROWS - 2) * FILTERS, CLASSES)).astype("float64")


def start() -> Results:
    """Parameters to begin with, and batches of images and labels."""
    tn.seed(0)
    rng = np.random.default_rng(0)
    return {**{name: parameter.numpy().copy() for name, parameter in lstm_cnn().parameters().items()},
            "images": rng.uniform(0, 1, (BATCHES, 6, ROWS, COLUMNS, 1)),
            "labels": rng.integers(0, CLASSES, (BATCHES, 6))}


class Run(NamedTuple):
    """A way to train. Names and options of optimizers are the same in both libraries, those of schedules are not."""

    optimizer: str
    options: dict[str, Any]
    schedule: tuple[str, dict[str, Any]] | None = None
    their_schedule: tuple[str, dict[str, Any]] | None = None
    max_norm: float | None = None


RUNS = {
    "SGD": Run("SGD", {"lr": 0.1}),
    "SGD, momentum": Run("SGD", {"lr": 0.05, "momentum": 0.9}),
    "SGD, Nesterov": Run("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "SGD, weight decay": Run("SGD", {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.1}),
    "SGD, clipped": Run("SGD", {"lr": 0.5}, max_norm=0.2),
    "Adam": Run("Adam", {"lr": 0.01}),
    "Adam, weight decay": Run("Adam", {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.1}),
    "AdamW": Run("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    "Adam, one cycle": Run("Adam", {"lr": 0.01}, ("OneCycle", {"peak": 0.02, "steps": STEPS, "warmup": 0.4}),
                           ("OneCycleLR", {"max_lr": 0.02, "total_steps": STEPS, "pct_start": 0.4,
                                           "cycle_momentum": False})),
    "SGD, cosine": Run("SGD", {"lr": 0.1}, ("Cosine", {"steps": STEPS, "final": 0.01}),
                       ("CosineAnnealingLR", {"T_max": STEPS, "eta_min": 0.01})),
    "AdamW, steps, clipped": Run("AdamW", {"lr": 0.02}, ("StepDecay", {"every": 3, "factor": 0.5}),
                                 ("StepLR", {"step_size": 3, "gamma": 0.5}), max_norm=0.3),
}


def our_model(begin: Results) -> Any:
    """The model with these parameters, and with averages that are given: without a count of batches."""
    model = lstm_cnn()
    buffers = {name: tensor.numpy() for name, tensor in model.tensors().items() if name not in begin}
    return model.load_state_dict({**buffers, **{name: begin[name] for name in model.parameters().names}})


def our_gradients(begin: Results) -> Results:
    """Loss and gradients of the model on the first batch."""
    model = our_model(begin)
    loss = tn.ops.cross_entropy(model(tn.Tensor(begin["images"][0])), begin["labels"][0])
    loss.backward()
    return {"loss": loss.numpy(), **{f"gradient {name}": p.grad for name, p in model.parameters().items()}}


def our_run(run: Run, begin: Results) -> Results:
    """Losses, rates and norms of ten steps, and the parameters and running averages after them."""
    model = our_model(begin)
    optimizer = getattr(tn.optim, run.optimizer)(model.parameters(), **run.options)
    schedule = run.schedule and getattr(tn.optim, run.schedule[0])(optimizer, **run.schedule[1])
    losses, rates, norms = [], [], []
    for step in range(STEPS):
        images, labels = begin["images"][step % BATCHES], begin["labels"][step % BATCHES]
        loss = tn.ops.cross_entropy(model(tn.Tensor(images)), labels)
        optimizer.zero_grad()
        loss.backward()
        if run.max_norm is not None:
            norms.append(float(tn.optim.clip_global_norm(model.parameters(), run.max_norm)))
        optimizer.step()
        losses.append(loss.item())
        rates.append(optimizer.lr)
        if schedule:
            schedule.step()
    state = {name: tensor.numpy() for name, tensor in model.tensors().items() if tensor.dtype.kind == "f"}
    return {"losses": np.array(losses), "rates": np.array(rates), "norms": np.array(norms), **state}
