"""The right call for a wrong one: names that things have in PyTorch, Keras and NumPy, and missing arguments."""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial, wraps
from typing import Any, NoReturn, ParamSpec, TypeVar

from tinynet.errors import CallError

P = ParamSpec("P")
R = TypeVar("R")

# Functions of NumPy that have the same name in tn.ops.
SHARED = (
    "absolute", "add", "argmax", "argmin", "astype", "clip", "concatenate", "divide", "exp", "expand_dims", "expm1",
    "flip", "float_power", "log", "log1p", "matmul", "max", "maximum", "mean", "min", "minimum", "multiply",
    "negative", "pad", "power", "reshape", "sign", "sqrt", "squeeze", "stack", "std", "subtract", "sum",
    "take_along_axis", "tanh", "transpose", "var", "where")
_LAYERS = {
    "linear": "tn.nn.Dense", "batchnorm1d": "tn.nn.BatchNorm", "batchnorm2d": "tn.nn.BatchNorm",
    "batchnormalization": "tn.nn.BatchNorm", "maxpooling1d": "tn.nn.MaxPool1D", "maxpooling2d": "tn.nn.MaxPool2D",
    "averagepooling1d": "tn.nn.AvgPool1D", "averagepooling2d": "tn.nn.AvgPool2D", "averagepool1d": "tn.nn.AvgPool1D",
    "averagepool2d": "tn.nn.AvgPool2D", "globalavgpool": "tn.nn.GlobalAveragePool",
    "globalaveragepooling1d": "tn.nn.GlobalAveragePool", "globalaveragepooling2d": "tn.nn.GlobalAveragePool",
    "adaptiveavgpool1d": "tn.nn.GlobalAveragePool", "adaptiveavgpool2d": "tn.nn.GlobalAveragePool",
    "dropout1d": "tn.nn.Dropout", "dropout2d": "tn.nn.Dropout", "spatialdropout2d": "tn.nn.Dropout",
    "model": "tn.nn.Module", "layer": "tn.nn.Module", "modulelist": "a list of layers as an attribute",
    "functional": "tn.ops", "crossentropyloss": "tn.ops.cross_entropy", "mseloss": "tn.ops.mse",
    "bceloss": "tn.ops.binary_cross_entropy", "bcewithlogitsloss": "tn.ops.binary_cross_entropy",
    "l1loss": "tn.ops.mae", "huberloss": "tn.ops.huber", "smoothl1loss": "tn.ops.huber",
    "activation": "tn.nn.ReLU, Sigmoid, Softmax or Tanh", "swish": "tn.nn.SiLU",
    "rnn": "tn.nn.SimpleRNN", "depthwiseconv2d": "tn.nn.Conv2D(..., groups=inputs)",
    "logsoftmax": "tn.ops.log_softmax", "nllloss": "tn.ops.cross_entropy", "globalmaxpooling1d": "tn.nn.GlobalMaxPool",
    "globalmaxpooling2d": "tn.nn.GlobalMaxPool", "adaptivemaxpool1d": "tn.nn.GlobalMaxPool",
    "adaptivemaxpool2d": "tn.nn.GlobalMaxPool", "lstmcell": "tn.nn.LSTM", "grucell": "tn.nn.GRU",
    "rnncell": "tn.nn.SimpleRNN", "concatenate": "tn.nn.Parallel", "add": "tn.nn.Residual",
    "identity": "tn.nn.Sequential()", "zeropadding1d": "tn.ops.pad", "zeropadding2d": "tn.ops.pad",
    "zeropad2d": "tn.ops.pad", "init": "tn.init", "initializers": "tn.init", "utils": "tn.optim.clip_global_norm",
    "layernormalization": "tn.nn.LayerNorm", "input": "Sequential(..., input_shape=(28, 28, 1))",
    "inputlayer": "Sequential(..., input_shape=(28, 28, 1))", "dataloader": "tn.data.Loader"}
_OPS = {
    "crossentropyloss": "tn.ops.cross_entropy", "softmax_cross_entropy": "tn.ops.cross_entropy",
    "nll_loss": "tn.ops.cross_entropy", "cross_entropy_loss": "tn.ops.cross_entropy", "mse_loss": "tn.ops.mse",
    "mean_squared_error": "tn.ops.mse", "linear": "tn.ops.dense", "mm": "tn.ops.matmul", "bmm": "tn.ops.matmul",
    "dot": "tn.ops.matmul", "cat": "tn.ops.concatenate", "concat": "tn.ops.concatenate", "abs": "tn.ops.absolute",
    "gather": "tn.ops.take_along_axis", "bceloss": "tn.ops.binary_cross_entropy",
    "bcewithlogitsloss": "tn.ops.binary_cross_entropy", "binary_crossentropy": "tn.ops.binary_cross_entropy",
    "binary_cross_entropy_with_logits": "tn.ops.binary_cross_entropy", "l1_loss": "tn.ops.mae",
    "huber_loss": "tn.ops.huber", "smooth_l1_loss": "tn.ops.huber", "bce_loss": "tn.ops.binary_cross_entropy",
    "mean_absolute_error": "tn.ops.mae", "categorical_crossentropy": "tn.ops.cross_entropy",
    "sparse_categorical_crossentropy": "tn.ops.cross_entropy", "amax": "tn.ops.max", "amin": "tn.ops.min",
    "norm": "(x * x).sum() ** 0.5",
    "pow": "tn.ops.power", "mul": "tn.ops.multiply", "sub": "tn.ops.subtract", "div": "tn.ops.divide",
    "neg": "tn.ops.negative", "permute": "tn.ops.transpose", "view": "tn.ops.reshape", "square": "x * x",
    "unsqueeze": "tn.ops.expand_dims", "clamp": "tn.ops.clip", "zeros": "tn.init.zeros", "ones": "tn.init.ones"}
_OPTIMIZERS = {
    "momentum": "tn.optim.SGD(..., momentum=0.9)", "lr_scheduler": "tn.optim.StepDecay, Cosine or OneCycle",
    "steplr": "tn.optim.StepDecay", "exponentiallr": "tn.optim.StepDecay", "cosineannealinglr": "tn.optim.Cosine",
    "cosinedecay": "tn.optim.Cosine", "onecyclelr": "tn.optim.OneCycle", "linearlr": "tn.optim.Warmup",
    "averagedmodel": "tn.callbacks.EMA", "exponentialmovingaverage": "tn.callbacks.EMA",
    "swa_utils": "tn.callbacks.EMA", "clip_grad_norm_": "tn.optim.clip_global_norm",
    "clip_grad_value_": "tn.optim.clip_global_norm",
    **dict.fromkeys(("rmsprop", "adagrad", "adadelta", "adamax", "nadam", "radam"), "tn.optim.Adam")}
_CALLBACKS = {
    "modelcheckpoint": "tn.callbacks.BestModel(path), or tn.fit(..., checkpoint=path)",
    "backupandrestore": "tn.fit(..., checkpoint=path)", "csvlogger": "tn.callbacks.Log",
    "learningratescheduler": "tn.optim.StepDecay, Cosine or OneCycle", "lambdacallback": "tn.callbacks.Callback",
    "exponentialmovingaverage": "tn.callbacks.EMA", "swapemaweights": "tn.callbacks.EMA"}
_METRICS = {
    "accuracy_score": "tn.metrics.accuracy", "balanced_accuracy_score": "tn.metrics.balanced_accuracy",
    "f1_score": "tn.metrics.f1", "precision_score": "tn.metrics.precision", "recall_score": "tn.metrics.recall",
    "roc_auc_score": "tn.metrics.roc_auc", "auc": "tn.metrics.roc_auc", "r2_score": "tn.metrics.r2",
    "average_precision_score": "tn.metrics.average_precision", "mse": "tn.metrics.mean_squared_error",
    "mae": "tn.metrics.mean_absolute_error", "rmse": "tn.metrics.root_mean_squared_error",
    "log_loss": "tn.ops.cross_entropy"}
_DATA = {
    "dataloader": "tn.data.Loader", "tensordataset": "tn.data.Loader", "random_split": "tn.data.split",
    "train_test_split": "tn.data.split", "kfold": "tn.data.cross_folds", "stratifiedkfold": "tn.data.cross_folds",
    "groupkfold": "tn.data.cross_folds", "mnist": "tn.data.load",
    "image_dataset_from_directory": "tn.data.scan_folder", "imagedatagenerator": "tn.data.Augment",
    "transforms": "tn.data.Augment", "compose": "tn.data.Augment", "pad_sequence": "tn.data.pad",
    "pad_sequences": "tn.data.pad"}
_INIT = {
    "xavier_uniform": "tn.init.glorot_uniform", "xavier_normal": "tn.init.glorot_normal",
    "kaiming_uniform": "tn.init.he_uniform", "kaiming_normal": "tn.init.he_normal"}
MODEL = {
    "fit": "tn.fit(model, optimizer, loader, epochs=10)", "compile": "tn.fit(model, optimizer, loader, epochs=10)",
    "train_on_batch": "tn.fit(model, optimizer, loader, epochs=10)", "evaluate": "tn.evaluate(model, loader)",
    "predict": "tn.predict(model, x)", "save": "tn.save(path, model)", "save_weights": "tn.save(path, model)",
    "load_weights": "tn.load(path)", "cuda": 'model.to("gpu")', "cpu": 'model.to("cpu")',
    "float": 'model.astype("float32")', "double": 'model.astype("float64")', "half": 'model.astype("float16")',
    **dict.fromkeys(("trainable", "freeze", "requires_grad_"),
                    "parameter.requires_grad = False, for each of model.parameters()"),
    "trainable_weights": "model.parameters()", "trainable_variables": "model.parameters()",
    "weights": "model.parameters()", "count_params": "sum(one.size for one in model.parameters())",
    "named_children": "model.children()", "get_layer": "model[0]", "copy": "copy.deepcopy(model)",
    "clone": "copy.deepcopy(model)", "apply": "model.modules()", "register_buffer": "tn.nn.Buffer(array), an attribute",
    "register_parameter": "tn.nn.Parameter(array), an attribute", "add": "tn.nn.Sequential(*model, layer)",
    "append": "tn.nn.Sequential(*model, layer)",
    "get_weights": "model.state_dict()", "set_weights": "model.load_state_dict(state)",
    "named_parameters": "model.parameters().items()", "named_modules": "model.modules()",
    "weight": "layer.W", "bias": "layer.b", "kernel": "layer.W"}
_TENSOR = {
    "cpu": 'x.to("cpu")', "cuda": 'x.to("gpu")', "view": "x.reshape", "permute": "x.transpose", "clone": "x + 0",
    "copy": "x + 0", "float": 'x.astype("float32")', "double": 'x.astype("float64")', "half": 'x.astype("float16")',
    "long": 'x.astype("int64")', "int": 'x.astype("int64")', "unsqueeze": "tn.ops.expand_dims(x, axis)",
    "tolist": "x.numpy().tolist()", "dim": "x.ndim", "numel": "x.size", "norm": "(x * x).sum() ** 0.5",
    "requires_grad_": "tn.Tensor(x, requires_grad=True)", "dot": "x @ y", "mm": "x @ y", "grad_fn": "x.origin",
    "swapaxes": "x.transpose", "ravel": "x.reshape(-1)", "masked_fill": "tn.ops.where(mask, value, x)",
    "nelement": "x.size", "sort": "np.sort(x.numpy())", "any": "x.numpy().any()", "all": "x.numpy().all()",
    "round": "x.numpy().round()", "nonzero": "x.numpy().nonzero()"}
OPTIMIZER = {
    "learning_rate": "optimizer.lr", "param_groups": "optimizer.lr, or optimizer.groups",
    "apply_gradients": "optimizer.step()", "minimize": "loss.backward(), then optimizer.step()"}
TENSOR = {**_OPS, **{name: f"tn.ops.{name}" for name in (*SHARED, "relu", "sigmoid", "softmax", "log_softmax")},
          **_TENSOR}
_TOP = {
    "from_numpy": "tn.Tensor", "array": "tn.Tensor", "asarray": "tn.Tensor",
    "manual_seed": "tn.seed", "set_seed": "tn.seed",
    "randn": "tn.Tensor(np.random.default_rng(0).standard_normal(shape))", "set_num_threads": "tn.set_threads",
    "dataloader": "tn.data.Loader", "layers": "tn.nn", "optimizers": "tn.optim", "losses": "tn.ops", "train": "tn.fit",
    "cuda": "tn.devices", "device": "tn.devices", "load_model": "tn.load", "save_model": "tn.save", "math": "tn.ops",
    "concat": "tn.ops.concatenate", "cat": "tn.ops.concatenate", "autocast": "tn.precision",
    "summary": "model.summary((28, 28, 1))", "rand": "tn.Tensor(np.random.default_rng(0).random(shape))",
    "arange": "tn.Tensor(np.arange(n))", "inference_mode": "tn.no_grad", "set_grad_enabled": "tn.no_grad",
    "variable": "tn.Tensor", "initializers": "tn.init", "onnx": "tn.to_onnx", "save_onnx": "tn.to_onnx",
    "num_threads": "tn.threads", "get_num_threads": "tn.threads", "is_available": "tn.devices",
    "to_categorical": "tn.ops.one_hot", "datasets": "tn.data", "utils": "tn.data", "state_dict": "model.state_dict()",
    "load_state_dict": "model.load_state_dict(state)",
    **{name: f'"{name}"' for name in ("float32", "float64", "int64")}}
_ELSEWHERE = {"tn": _TOP, "tn.nn": _LAYERS, "tn.ops": _OPS, "tn.optim": _OPTIMIZERS, "tn.callbacks": _CALLBACKS,
              "tn.metrics": _METRICS, "tn.data": _DATA, "tn.init": _INIT}

# Options of layers and optimizers.
_OPTIONS = {
    "activation": "a layer after this one, such as tn.nn.ReLU()", "hidden_size": "units", "out_features": "units",
    "input_size": "inputs", "in_features": "inputs", "in_channels": "inputs", "input_dim": "inputs",
    "out_channels": "filters", "kernel_size": "width of Conv1D, size of Conv2D", "pool_size": "size",
    "strides": "stride", "dilation_rate": "dilation", "use_bias": "bias", "rate": "p", "num_features": "features",
    "epsilon": "eps", "num_embeddings": "vocabulary", "embedding_dim": "features", "output_dim": "features",
    "num_layers": "one layer after the other", "bidirectional": "tn.nn.Bidirectional(layer)",
    "batch_first": "no such option; sequences are (N,T,D)", "data_format": "no such option; channels come last",
    "input_shape": "Sequential(..., input_shape=(28, 28, 1))", "learning_rate": "lr", "beta_1": "betas=(0.9, 0.999)",
    "beta_2": "betas=(0.9, 0.999)", "clipnorm": "tn.fit(..., max_norm=1.0)", "num_workers": "threads"}
# Names of a layer that would have no effect when they are set.
WITHOUT_EFFECT = {**_OPTIONS, **{name: MODEL[name] for name in ("kernel", "trainable", "weight", "weights")},
                  "requires_grad": MODEL["trainable"]}


def in_modules(names: Mapping[str, Iterable[str]]) -> Callable[[str], Any]:
    """The `__getattr__` of a module: an AttributeError that names what has this name elsewhere, or in another case.

    names   what the module has, by the module's own name, such as "tn.nn"; after it, other modules to look in

    >>> in_modules({"tn.nn": ["Dense"]})("Linear")
    Traceback (most recent call last):
    AttributeError: tn.nn has no attribute 'Linear'; tn.nn.Dense?
    """
    known: dict[str, str] = {}
    for place, own in reversed([*names.items()]):
        known.update({**_ELSEWHERE.get(place, {}), **{name.lower(): f"{place}.{name}" for name in own}})
    place = next(iter(names))

    def missing(name: str) -> NoReturn:
        right = known.get(name.lower()) or known.get(name.lower().rstrip("_"))
        raise AttributeError(f"{place} has no attribute {name!r}; "
                             + (f"{right}?" if right else f"dir({place}) lists them"), name=name)
    return missing


class _Missing:
    """The name of an attribute that a class does not have. Its lookup is an AttributeError with the right call.

    A `__getattr__` would do the same, and would slow down each lookup of every other attribute.
    """

    def __init__(self, name: str, right: str) -> None:
        self.name, self.right = name, right

    def __get__(self, one: object, kind: type) -> NoReturn:
        raise _missing(one, kind, self.name, self.right)


def _missing(one: object, kind: type, name: str, right: str) -> AttributeError:
    return AttributeError(f"{kind.__name__!r} object has no attribute {name!r}; {right}?", name=name, obj=one)


def answers(kind: type, known: Mapping[str, str]) -> None:
    """Let a class answer names that PyTorch, Keras and NumPy have with the right call, if it lacks them.

    Subclasses and instances may have attributes of these names. `dir` does not list them.

    >>> class Dense: pass
    >>> answers(Dense, {"weight": "layer.W"})
    >>> Dense().weight
    Traceback (most recent call last):
    AttributeError: 'Dense' object has no attribute 'weight'; layer.W?
    """
    for name, right in known.items():
        if not hasattr(kind, name):
            setattr(kind, name, _Missing(name, right))

    def __dir__(self: object) -> list[str]:
        return [name for name in object.__dir__(self) if name not in known or hasattr(self, name)]
    kind.__dir__ = __dir__  # type: ignore[method-assign, assignment]


def check_name(one: object, name: str, known: Mapping[str, str]) -> None:
    """AttributeError if a name that an object of tinynet lacks is set on it, where the value would have no effect.

    >>> class Dense: __module__ = "tinynet.nn.dense"
    >>> check_name(Dense(), "weight", {"weight": "layer.W"})
    Traceback (most recent call last):
    AttributeError: 'Dense' object has no attribute 'weight'; layer.W?
    """
    if name in known and is_ours(type(one).__module__) and not hasattr(one, name):
        raise _missing(one, type(one), name, known[name])


def is_ours(module: str) -> bool:
    """Whether a module, by its name, is one of tinynet's."""
    return module.partition(".")[0] == "tinynet"


def guided(right: str | Callable[[str], str]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: a call with other arguments than the function has is a CallError that ends with the right call.

    right   the right call, or a function that makes it of Python's message

    >>> @guided("double(1)")
    ... def double(x): return 2 * x
    >>> double(1, 2)
    Traceback (most recent call last):
    tinynet.errors.CallError: double() takes 1 positional argument but 2 were given; double(1)?
    """
    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*arguments: P.args, **options: P.kwargs) -> R:
            try:
                return function(*arguments, **options)
            except TypeError as error:
                if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                    raise  # from inside of the function
                text = str(error)
            raise CallError(f"{text}; {right if isinstance(right, str) else right(text)}?")
        return call
    return decorate


def guide(kind: type) -> None:
    """Let the constructor of a class of tinynet answer options that it has under another name, and missing arguments.

    >>> class Dense:
    ...     __module__ = "tinynet.nn.dense"
    ...     def __init__(self, inputs, units, *, bias=True): pass
    >>> guide(Dense)
    >>> Dense(1, hidden_size=2)
    Traceback (most recent call last):
    tinynet.errors.CallError: Dense.__init__() got an unexpected keyword argument 'hidden_size'; units?
    >>> Dense(1)
    Traceback (most recent call last):
    tinynet.errors.CallError: ...missing 1 required positional argument: 'units'; Dense(inputs, units, bias=True)?
    """
    if is_ours(kind.__module__) and "__init__" in vars(kind):
        kind.__init__ = guided(partial(_right_option, kind))(vars(kind)["__init__"])  # type: ignore[misc]


def _right_option(kind: type, text: str) -> str:
    """What an option of another name is called here; for other messages the arguments of the constructor."""
    option = re.search(r"unexpected keyword argument '(\w+)'", text)
    if option and option[1] in _OPTIONS:
        return _OPTIONS[option[1]]
    shown = [name if one.default is one.empty else f"{name}={one.default!r}"
             for name, one in inspect.signature(kind).parameters.items()]
    return f"{kind.__name__}({', '.join(shown)})"
