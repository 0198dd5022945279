"""Comparison with what PyTorch computed once, written down in golden/torch.safetensors by golden/make.py."""

from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.support import comparison
from tests.support.comparison import CASES, RUNS, TRAJECTORIES, Results, assert_equal

PATH = Path(__file__).resolve().parents[1] / "golden" / "torch.safetensors"
GOLDEN = load_file(PATH)


def golden(name: str) -> Results:
    return {key.removeprefix(f"{name}/"): array for key, array in GOLDEN.items() if key.startswith(f"{name}/")}


def test_the_file_holds_all_cases_and_is_small() -> None:
    names = [*CASES, "begin", "model", *(f"run {name}" for name in RUNS)]
    assert {key.partition("/")[0] for key in GOLDEN} == set(names), "run golden/make.py again"
    assert PATH.stat().st_size < 230_000


@pytest.mark.parametrize("name", CASES)
def test_ops(name: str) -> None:
    found = golden(name)
    inputs = {key.removeprefix("input "): found.pop(key) for key in list(found) if key.startswith("input ")}
    assert_equal(comparison.ours(CASES[name].op, inputs, CASES[name].options, CASES[name].constant), found)


def test_loss_and_all_gradients_of_the_lstm_cnn() -> None:
    assert_equal(comparison.our_gradients(golden("begin")), golden("model"))


@pytest.mark.parametrize("name", RUNS)
def test_ten_steps_of_training(name: str) -> None:
    assert_equal(comparison.our_run(RUNS[name], golden("begin")), golden(f"run {name}"), values=TRAJECTORIES)
