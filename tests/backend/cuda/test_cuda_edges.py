"""Unusual arguments of CUDA kernels: NumPy numbers, empty arrays, odd addresses, words equal to a threshold."""

from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.support.cuda_places import DEVICES
from tinynet import backend, random
from tinynet.backend.cuda.runtime import emulator
from tinynet.backend.cuda.runtime.launch import Kernels
from tinynet.data.gather import gather

pytestmark = pytest.mark.parametrize("device", DEVICES)


@pytest.fixture(autouse=True)
def checked() -> Any:
    with emulator.checked():
        yield


def both(device: str, use: Any, *arrays: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """The result of `use` and the gradients of the arrays, each on the device and on the CPU."""
    found = []
    for place in (device, "cpu"):
        inputs = [tn.Tensor(array, True).to(place) for array in arrays]
        y = use(*inputs)
        y.backward(tn.Tensor(np.cos(np.arange(y.size, dtype="float32")).reshape(y.shape), device=place))
        found.append([y.numpy(), *(backend.to_host(x.grad) for x in inputs)])
    return list(zip(*found, strict=True))


def draw(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype("float32") for shape in shapes]


two, half = np.int64(2), np.float64(0.5)
WITH_NUMBERS_OF_NUMPY: dict[str, tuple[Any, list[np.ndarray]]] = {
    "conv1d": (lambda x, W: tn.ops.conv1d(x, W, stride=two, dilation=np.int32(1)), draw((2, 9, 3), (3, 3, 4))),
    "conv2d": (lambda x, W: tn.ops.conv2d(x, W, stride=two, dilation=two), draw((2, 9, 8, 3), (3, 2, 3, 4))),
    "max_pool1d": (lambda x: tn.ops.max_pool1d(x, two, stride=np.uint8(3)), draw((2, 9, 3))),
    "avg_pool2d": (lambda x: tn.ops.avg_pool2d(x, (two, two)), draw((2, 9, 8, 3))),
    "batch_norm": (lambda x, g, b: tn.ops.batch_norm(x, g, b, eps=half)[0], draw((5, 3), (3,), (3,))),
    "dropout": (lambda x: tn.ops.dropout(x, half, key=(np.uint32(1), np.uint32(2)), counter=two), draw((5, 3))),
    "cross_entropy": (lambda x: tn.ops.cross_entropy(x, tn.Tensor([1, 0], device=x.device), label_smoothing=half),
                      draw((2, 3))),
}


@pytest.mark.parametrize("name", WITH_NUMBERS_OF_NUMPY)
def test_options_that_are_numbers_of_numpy(device: str, name: str) -> None:
    use, arrays = WITH_NUMBERS_OF_NUMPY[name]
    for found, wanted in both(device, use, *arrays):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_adam_with_numbers_of_numpy(device: str) -> None:
    after = []
    for place in (device, "cpu"):
        w = tn.nn.Parameter(np.ones(5, "float32"))
        w.data, w.grad = backend.to_device(w.data, place), backend.to_device(np.arange(5, dtype="float32"), place)
        tn.optim.AdamW([w], lr=np.float64(0.1), betas=(half, np.float64(0.9)), eps=half, weight_decay=half).step()
        after.append(w.numpy())
        assert w.dtype == "float32"
    np.testing.assert_allclose(after[0], after[1], rtol=1e-6)


def test_statistics_with_a_mask_of_single_elements_and_a_mean_alone(device: str) -> None:
    """Kernels take a mask of whole positions, and both statistics or neither."""
    mask = np.arange(15).reshape(5, 3) % 4 > 0

    def use(x: Any, gamma: Any, beta: Any) -> Any:
        return tn.ops.batch_norm(x, gamma, beta, mask=tn.Tensor(mask, device=x.device))[0]

    x, *more = draw((5, 3), (3,), (3,))
    for found, wanted in both(device, use, x, *more):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    for place in (device, "cpu"):
        tensors = [tn.Tensor(array, device=place) for array in (x, *more)]
        with pytest.raises(tn.errors.ArgumentError, match="given both or neither, got mean alone"):
            tn.ops.batch_norm(*tensors, tensors[1])


WITHOUT_ELEMENTS: dict[str, tuple[Any, list[np.ndarray]]] = {
    "conv1d, no channel": (lambda x, W: tn.ops.conv1d(x, W), draw((2, 5, 0), (3, 0, 4))),
    "conv2d, no channel": (lambda x, W, b: tn.ops.conv2d(x, W, b), draw((2, 5, 5, 0), (3, 3, 0, 4), (4,))),
    "conv1d, no sequence": (lambda x, W, b: tn.ops.conv1d(x, W, b), draw((0, 5, 2), (3, 2, 4), (4,))),
    "conv2d, no image": (lambda x, W, b: tn.ops.conv2d(x, W, b), draw((0, 5, 5, 2), (3, 3, 2, 4), (4,))),
    "dense, no row": (lambda x, W, b: tn.ops.dense(x, W, b), draw((0, 3), (3, 4), (4,))),
    "dense, no feature": (lambda x, W, b: tn.ops.dense(x, W, b), draw((2, 0), (0, 4), (4,))),
    "dense, no output": (lambda x, W: tn.ops.dense(x, W), draw((2, 3), (3, 0))),
    "matmul, no row": (lambda a, b: a @ b, draw((0, 3), (3, 4))),
    "matmul, nothing to add": (lambda a, b: a @ b, draw((2, 0), (0, 4))),
    "lstm, no sequence": (lambda x, W, b: tn.ops.lstm(x, None, None, W, b)[0], draw((0, 5, 2), (6, 16), (16,))),
    "max_pool2d, no image": (lambda x: tn.ops.max_pool2d(x, 2), draw((0, 4, 4, 2))),
    "avg_pool1d, no channel": (lambda x: tn.ops.avg_pool1d(x, 2), draw((2, 4, 0))),
    "relu, nothing": (lambda x: tn.ops.relu(x), draw((0, 4))),
    "dropout, nothing": (lambda x: tn.ops.dropout(x, 0.5, key=(1, 2), counter=0), draw((0, 4))),
}


@pytest.mark.parametrize("name", WITHOUT_ELEMENTS)
def test_weights_without_elements(device: str, name: str) -> None:
    use, arrays = WITHOUT_ELEMENTS[name]
    for found, wanted in both(device, use, *arrays):
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


MANY = 2**16 + 5  # rows: a grid has at most 65,535 blocks along y
OF_MANY_ROWS: dict[str, tuple[Any, list[np.ndarray]]] = {
    "dense": (lambda x, W, b: tn.ops.dense(x, W, b), draw((MANY, 1), (1, 2), (2,))),
    "batch_norm": (lambda x, g, b: tn.ops.batch_norm(x, g, b)[0], draw((MANY, 2), (2,), (2,))),
    "relu": (lambda x: tn.ops.relu(x), draw((MANY, 2))),
    "max_pool1d": (lambda x: tn.ops.max_pool1d(x, 2), draw((MANY, 2, 1))),
    "conv1d": (lambda x, W, b: tn.ops.conv1d(x, W, b), draw((MANY, 2, 1), (2, 1, 1), (1,))),
    "dropout": (lambda x: tn.ops.dropout(x, 0.5, key=(1, 2), counter=0), draw((MANY, 1))),
}


@pytest.mark.parametrize("name", OF_MANY_ROWS)
def test_more_rows_than_a_grid_has_blocks(device: str, name: str) -> None:
    use, arrays = OF_MANY_ROWS[name]
    for found, wanted in both(device, use, *arrays):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * max(1.0, abs(wanted).max()))


@pytest.mark.parametrize("shift", range(5))
@pytest.mark.parametrize("shifted", ["rows", "batch"])
def test_rows_at_an_odd_address_are_gathered_by_bytes(device: str, shifted: str, shift: int,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU reads four bytes at once only at addresses that are multiples of four."""
    launched: list[str] = []
    launch = Kernels.launch
    monkeypatch.setattr(Kernels, "launch", lambda self, name, *rest: (launched.append(name), launch(self, name, *rest)))
    values, index = np.arange(160, dtype="uint8").reshape(20, 8), np.array([3, 0, 19])
    xp = backend.namespace(device)

    def moved(array: np.ndarray, by: int) -> Any:
        larger = xp.zeros(array.size + 8, "uint8")
        larger[by : by + array.size] = backend.to_device(array.reshape(-1), device)
        return larger[by : by + array.size].reshape(array.shape)

    rows = moved(values, shift if shifted == "rows" else 0)
    batch = moved(np.zeros((3, 8), "uint8"), shift if shifted == "batch" else 0)
    gather(batch, rows, backend.to_device(index, device))
    assert np.array_equal(batch.get(), values[index])
    assert launched == ["gather_bytes" if shift % 4 else "gather_words"]


def test_a_word_on_the_threshold_of_dropout_is_kept(device: str) -> None:
    """The smallest word that is kept is floor(p 2³²), for each of the four words that a thread draws."""
    key, step = (5, 7), 3
    words = random.words(np, 12, key, step)
    for i in range(12):
        p = float(words[i]) / 2**32
        assert int(p * 2**32) == words[i]
        for place, which in ((device, "fast"), ("cpu", "fast"), ("cpu", "reference")):
            with tn.using(which):
                y = tn.ops.dropout(tn.Tensor(np.ones(12, "float32"), device=place), p, key=key, counter=step).numpy()
            np.testing.assert_array_equal(y != 0, words >= words[i])
