"""Recurrent layers with masks against Keras: what golden/make_keras.py has written down, and Keras itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import tinynet as tn
from tests.support.keras_sequences import MASKS, PAIRS, inputs, their_outputs
from tinynet.saving.exchange import from_keras

PATH = Path(__file__).resolve().parents[1] / "golden" / "keras.safetensors"
GOLDEN = load_file(PATH)
Arrays = dict[str, Any]


def golden(name: str, kind: str) -> Arrays:
    """The weights or the outputs of a pair, in the order of their keys."""
    start = f"{name}/{kind}/"
    return {key.removeprefix(start): array for key, array in sorted(GOLDEN.items()) if key.startswith(start)}


def compare(name: str, weights: Arrays, outputs: Arrays, mode: Any) -> None:
    """Outputs at real steps; where all steps have one output, all of it."""
    model = from_keras(PAIRS[name].ours(), weights).eval()
    for kind, mask in MASKS.items():
        with tn.using(mode):
            y = tn.predict(model, inputs(name) if mask is None else (inputs(name), mask))
        wanted = outputs[kind]
        assert y.shape == wanted.shape
        if PAIRS[name].steps and mask is not None:
            assert not y[~mask].any() or "LayerNorm" in name
            y, wanted = y[mask], wanted[mask]
        np.testing.assert_allclose(y, wanted, atol=3e-6, err_msg=kind)


def test_the_file_holds_all_pairs_and_is_small() -> None:
    assert {key.partition("/")[0] for key in GOLDEN} == set(PAIRS), "run golden/make_keras.py again"
    assert PATH.stat().st_size < 60_000


@pytest.mark.parametrize("mode", ["fast", "reference"])
@pytest.mark.parametrize("name", PAIRS)
def test_outputs_with_masks_are_those_of_keras(name: str, mode: str) -> None:
    weights = {key.partition("/")[2].partition(".")[2]: array for key, array in golden(name, "weights").items()}
    assert len(weights) == len(golden(name, "weights"))
    compare(name, weights, golden(name, "outputs"), mode)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of Keras, with PyTorch
@pytest.mark.parametrize("name", PAIRS)
def test_live_keras_with_masks(name: str) -> None:
    keras = pytest.importorskip("keras")
    weights, outputs = their_outputs(keras, name)
    compare(name, {path.partition(".")[2]: array for path, array in weights.items()}, outputs, "fast")


def test_the_comparison_can_fail() -> None:
    weights = {key.partition("/")[2].partition(".")[2]: array for key, array in golden("GRU", "weights").items()}
    outputs = golden("GRU", "outputs")
    with pytest.raises(AssertionError, match="gaps"):
        compare("GRU", weights, {**outputs, "gaps": outputs["gaps"] + 1e-4}, "fast")
