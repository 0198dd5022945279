"""The right call for a wrong one: names that things have in PyTorch, Keras and NumPy, and missing arguments."""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
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
    "averagepooling1d": "tn.nn.AvgPool1D", "averagepooling2d": "tn.nn.AvgPool2D",
    "globalaveragepooling1d": "tn.nn.GlobalAveragePool", "globalaveragepooling2d": "tn.nn.GlobalAveragePool",
    "adaptiveavgpool1d": "tn.nn.GlobalAveragePool", "adaptiveavgpool2d": "tn.nn.GlobalAveragePool",
    "dropout1d": "tn.nn.Dropout", "dropout2d": "tn.nn.Dropout", "spatialdropout2d": "tn.nn.Dropout",
    "model": "tn.nn.Module", "layer": "tn.nn.Module", "modulelist": "a list of layers as an attribute",
    "functional": "tn.ops", "crossentropyloss": "tn.ops.cross_entropy", "mseloss": "tn.ops.mse",
    "bceloss": "tn.ops.binary_cross_entropy", "bcewithlogitsloss": "tn.ops.binary_cross_entropy",
    "l1loss": "tn.ops.mae", "huberloss": "tn.ops.huber", "smoothl1loss": "tn.ops.huber",
    "activation": "tn.nn.ReLU, Sigmoid, Softmax or Tanh", "swish": "tn.nn.SiLU",
    "rnn": "tn.nn.SimpleRNN", "depthwiseconv2d": "tn.nn.Conv2D(..., groups=inputs)",
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
    "huber_loss": "tn.ops.huber", "smooth_l1_loss": "tn.ops.huber",
    "pow": "tn.ops.power", "mul": "tn.ops.multiply", "sub": "tn.ops.subtract", "div": "tn.ops.divide",
    "neg": "tn.ops.negative", "permute": "tn.ops.transpose", "view": "tn.ops.reshape", "square": "x * x",
    "unsqueeze": "tn.ops.expand_dims", "clamp": "tn.ops.clip", "zeros": "tn.init.zeros", "ones": "tn.init.ones"}
_OPTIMIZERS = {
    "momentum": "tn.optim.SGD(..., momentum=0.9)", "lr_scheduler": "tn.optim.StepDecay, Cosine or OneCycle",
    "steplr": "tn.optim.StepDecay", "exponentiallr": "tn.optim.StepDecay", "cosineannealinglr": "tn.optim.Cosine",
    "cosinedecay": "tn.optim.Cosine", "onecyclelr": "tn.optim.OneCycle", "linearlr": "tn.optim.Warmup",
    "averagedmodel": "tn.callbacks.EMA", "clip_grad_norm_": "tn.optim.clip_global_norm"}
MODEL = {
    "fit": "tn.fit(model, optimizer, loader, epochs=10)", "compile": "tn.fit(model, optimizer, loader, epochs=10)",
    "train_on_batch": "tn.fit(model, optimizer, loader, epochs=10)", "evaluate": "tn.evaluate(model, loader)",
    "predict": "tn.predict(model, x)", "save": "tn.save(path, model)", "save_weights": "tn.save(path, model)",
    "load_weights": "tn.load(path)", "cuda": 'model.to("gpu")', "cpu": 'model.to("cpu")',
    "float": 'model.astype("float32")', "double": 'model.astype("float64")', "half": 'model.astype("float16")',
    "get_weights": "model.state_dict()", "set_weights": "model.load_state_dict(state)",
    "named_parameters": "model.parameters().items()", "named_modules": "model.modules()",
    "weight": "layer.W", "bias": "layer.b", "kernel": "layer.W"}
_TENSOR = {
    "cpu": 'x.to("cpu")', "cuda": 'x.to("gpu")', "view": "x.reshape", "permute": "x.transpose", "clone": "x + 0",
    "copy": "x + 0", "float": 'x.astype("float32")', "double": 'x.astype("float64")', "half": 'x.astype("float16")',
    "long": 'x.astype("int64")', "int": 'x.astype("int64")', "unsqueeze": "tn.ops.expand_dims(x, axis)",
    "tolist": "x.numpy().tolist()", "dim": "x.ndim", "numel": "x.size", "norm": "(x * x).sum() ** 0.5",
    "requires_grad_": "tn.Tensor(x, requires_grad=True)", "dot": "x @ y", "mm": "x @ y", "grad_fn": "x.origin",
    "swapaxes": "x.transpose", "ravel": "x.reshape(-1)"}
TENSOR = {**_OPS, **{name: f"tn.ops.{name}" for name in (*SHARED, "relu", "sigmoid", "softmax", "log_softmax")},
          **_TENSOR}
_TOP = {
    "from_numpy": "tn.Tensor", "array": "tn.Tensor", "asarray": "tn.Tensor",
    "manual_seed": "tn.seed", "set_seed": "tn.seed",
    "randn": "tn.Tensor(np.random.default_rng(0).standard_normal(shape))", "set_num_threads": "tn.set_threads",
    "dataloader": "tn.data.Loader", "layers": "tn.nn", "optimizers": "tn.optim", "losses": "tn.ops", "train": "tn.fit",
    "cuda": "tn.devices", "device": "tn.devices", "load_model": "tn.load", "save_model": "tn.save", "math": "tn.ops",
    "concat": "tn.ops.concatenate", "cat": "tn.ops.concatenate", "autocast": "tn.precision"}


_ELSEWHERE = {"tn": _TOP, "tn.nn": _LAYERS, "tn.ops": _OPS, "tn.optim": _OPTIMIZERS}


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
        right = known.get(name.lower())
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
        raise AttributeError(f"{kind.__name__!r} object has no attribute {self.name!r}; {self.right}?",
                             name=self.name, obj=one)


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


def guided(right: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: a call with other arguments than the function has is a CallError that ends with the right call.

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
            raise CallError(f"{text}; {right}?")
        return call
    return decorate
