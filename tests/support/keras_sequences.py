"""Recurrent layers, embeddings and layer norms with a counterpart in Keras, with masks: ours, and theirs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinynet import nn

N, T, D, H = 4, 6, 3, 5
SYMBOLS = 7
RIGHT = np.arange(T) < np.array([6, 4, 2, 1])[:, None]
GAPS = np.array([[1, 1, 0, 1, 0, 1], [0, 1, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1], [1, 0, 0, 0, 0, 1]], bool)
MASKS = {"all real": None, "right": RIGHT, "gaps": GAPS}


class Pair(NamedTuple):
    """Our model; Keras's layers, made from `keras.layers`; and whether each step has an output of its own."""

    ours: Callable[[], nn.Sequential]
    theirs: Callable[[Any], list[Any]]
    steps: bool = True


def _both(mode: str, of: str, **options: Any) -> Pair:
    return Pair(lambda: nn.Sequential(nn.Bidirectional(getattr(nn, of)(D, H, **options), mode)),
                lambda layers: [layers.Bidirectional(getattr(layers, of)(H, **{"return_sequences": True, **options}),
                                                     merge_mode=mode)], options.get("return_sequences", True))


PAIRS = {
    "GRU": Pair(lambda: nn.Sequential(nn.GRU(D, H)), lambda layers: [layers.GRU(H, return_sequences=True)]),
    "GRU, last state": Pair(lambda: nn.Sequential(nn.GRU(D, H, return_sequences=False)),
                            lambda layers: [layers.GRU(H)], False),
    "LSTM": Pair(lambda: nn.Sequential(nn.LSTM(D, H)), lambda layers: [layers.LSTM(H, return_sequences=True)]),
    "LSTM, last state": Pair(lambda: nn.Sequential(nn.LSTM(D, H, return_sequences=False)),
                             lambda layers: [layers.LSTM(H)], False),
    "SimpleRNN": Pair(lambda: nn.Sequential(nn.SimpleRNN(D, H)),
                      lambda layers: [layers.SimpleRNN(H, return_sequences=True)]),
    "Bidirectional concat": _both("concat", "LSTM"), "Bidirectional sum": _both("sum", "GRU"),
    "Bidirectional mul": _both("mul", "LSTM"), "Bidirectional ave": _both("ave", "GRU"),
    "Bidirectional, last states": _both("concat", "GRU", return_sequences=False),
    "LayerNorm": Pair(lambda: nn.Sequential(nn.LayerNorm(D, eps=1e-3), nn.GRU(D, H), nn.LayerNorm(H, eps=1e-3)),
                      lambda layers: [layers.LayerNormalization(), layers.GRU(H, return_sequences=True),
                                      layers.LayerNormalization()]),
    "Embedding": Pair(lambda: nn.Sequential(nn.Embedding(SYMBOLS, D), nn.GRU(D, H), nn.LSTM(H, H)),
                      lambda layers: [layers.Embedding(SYMBOLS, D), layers.GRU(H, return_sequences=True),
                                      layers.LSTM(H, return_sequences=True)]),
}


def inputs(name: str) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.integers(0, SYMBOLS, (N, T)) if name == "Embedding" else rng.standard_normal((N, T, D)).astype("float32")


def their_outputs(keras: Any, name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The weights by path, in Keras's order, and the outputs for each mask. Weights are normal numbers."""
    layers, x = PAIRS[name].theirs(keras.layers), inputs(name)
    found, rng = {}, np.random.default_rng(5)

    def run(mask: np.ndarray | None) -> np.ndarray:
        y: Any = x
        for layer in layers:
            takes_mask = mask is not None and not isinstance(layer, keras.layers.LayerNormalization
                                                             | keras.layers.Embedding)
            y = layer(y, mask=keras.ops.convert_to_tensor(mask)) if takes_mask else layer(y)
        return np.asarray(keras.ops.convert_to_numpy(y))

    run(None)  # makes the weights
    for number, layer in enumerate(layers):
        layer.set_weights([rng.normal(0, 0.5, one.shape).astype("float32") for one in layer.get_weights()])
        found.update({f"{number}.{one.path}": np.asarray(keras.ops.convert_to_numpy(one)) for one in layer.weights})
    return found, {kind: run(mask) for kind, mask in MASKS.items()}
