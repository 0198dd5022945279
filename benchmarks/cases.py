"""A case: a model, the shape of its input, and the work to be timed; with weights and data that all peers share."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.base import Arrays, Layer

# Arguments of layers that the adapters do not translate: they must have these values.
PLAIN = {"stride": (1, None), "dilation": (1,), "axis": (-1,), "go_backwards": (False,), "return_state": (False,),
         "dropout": (0.0,), "recurrent_dropout": (0.0,)}


@dataclass(frozen=True)
class Case:
    """The measurement of one line of a table.

    work   "step" (a training step), "forward", "backward" (forward and backward), or "update" (Adam alone)
    """

    name: str
    work: str
    layers: tuple[Layer, ...]
    shape: tuple[int, ...]  # of x, batch first

    @property
    def objective(self) -> str:
        """The objective of `Network`: a loss of a classifier, or else the product with a given output gradient."""
        return "product" if self.work == "backward" else "cross_entropy"

    def without_dropout(self) -> "Case":
        layers = tuple((kind, {**options, "p": 0.0}) if kind == "Dropout" else (kind, options)
                       for kind, options in self.layers)
        return replace(self, layers=layers)

    def named(self, name: str) -> "Case":
        return replace(self, name=name)

    def doing(self, work: str) -> "Case":
        return replace(self, work=work)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(fields: dict[str, Any]) -> "Case":
        return Case(fields["name"], fields["work"], tuple((kind, options) for kind, options in fields["layers"]),
                    tuple(fields["shape"]))


def case(name: str, work: str, model: Any, batch: int, input_shape: tuple[int, ...] | None = None) -> Case:
    """The case of a model of tinynet, a Sequential of layers."""
    layers = []
    for layer in model:
        options = layer.config()
        strange = [f"{key}={options[key]}" for key, values in PLAIN.items()
                   if key in options and options[key] not in values]
        if strange or options.get("padding") not in (None, "valid", "same"):
            raise NotImplementedError(f"the peers do not translate {layer!r}")
        layers.append((type(layer).__name__, options))
    return Case(name, work, tuple(layers), (batch, *(input_shape or model.input_shape)))


def build(layers: tuple[Layer, ...]) -> Any:
    """The model of tinynet."""
    import tinynet as tn

    return tn.nn.Sequential(*(getattr(tn.nn, kind)(**options) for kind, options in layers))


def output_shapes(case: Case) -> list[tuple[int, ...]]:
    """The shape of the output of each layer."""
    import tinynet as tn
    from tinynet.tensor import blank
    from tinynet.tracing import shapes_only

    shapes, x = [], blank(case.shape)
    with tn.no_grad(), shapes_only():
        for layer in build(case.layers).eval():
            x = layer(x)
            shapes.append(x.shape)
    return shapes


def write_data(case: Case, path: Path, draw: int = 0) -> None:
    """Write weights from seed 0, and x and target of a draw, for `read_data`.

    Running averages are 0.25 and 0.5, so that a swap shows. The biases before a ReLU are 1 and -1 in turn. With zeros,
    as in a new model, some of a million sums are within a rounding of 0. Their side of the kink would be random, and
    would move gradients by a percent. With these biases, each channel is clearly on one side, half of them on each.
    """
    import tinynet as tn

    tn.seed(0)
    output = output_shapes(case)[-1]
    state = {name: array for name, array in build(case.layers).state_dict().items() if array.dtype.kind == "f"}
    state.update({name: np.full_like(array, 0.25 if "mean" in name else 0.5)
                  for name, array in state.items() if "running" in name})
    kinds = [kind for kind, _ in case.layers]
    state.update({f"{i}.b": np.resize(np.array([1, -1], np.float32), state[f"{i}.b"].shape)
                  for i, following in enumerate(kinds[1:]) if following == "ReLU"})
    key = (draw, tn.random.stream("benchmarks"))
    x = tn.random.uniform(case.shape, key, 0).astype(np.float32)
    if case.objective == "product":
        target = tn.random.normal(output, key, 1).astype(np.float32)
    else:
        target = (tn.random.uniform(output[:1], key, 1) * output[-1]).astype(np.int64)
    gradients = {}
    if case.work == "update":
        gradients = {f"gradient {name}": _away_from_zero(tn.random.uniform(array.shape, key, 2))
                     for name, array in state.items()}
    arrays = {"x": x, "target": target, **{f"weight {name}": array for name, array in state.items()}, **gradients}
    np.savez(path, allow_pickle=False, **arrays)


def _away_from_zero(uniform: np.ndarray) -> np.ndarray:
    """Numbers from 0.005 to 0.015 with both signs.

    For gradients near Adam's epsilon libraries differ: some add it to √v̂, others to √v.
    """
    return (np.where(uniform < 0.5, -1, 1) * (uniform + 0.5) * 1e-2).astype(np.float32)


def read_data(path: Path) -> tuple[np.ndarray, np.ndarray, Arrays, Arrays]:
    """x, target, weights and, for an update, gradients."""
    with np.load(path, allow_pickle=False) as data:
        parts = {kind: {name.removeprefix(kind): data[name] for name in data.files if name.startswith(kind)}
                 for kind in ("weight ", "gradient ")}
        return data["x"], data["target"], parts["weight "], parts["gradient "]

