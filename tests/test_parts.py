"""Layers whose batch is divided among ranks compute what they compute of the whole batch."""

from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.support import ranks
from tests.support.cuda_places import EMULATED
from tinynet import backend, nn
from tinynet.parts import Part, part, within

ROWS = 7
MODES = ["fast", "reference"]


def computed(layer: Any, x: Any, dy: Any, mode: Any, mask: Any = None) -> dict[str, Any]:
    """Output, gradients and buffers of a layer in training."""
    with tn.using(mode):
        tensor = tn.Tensor(x, requires_grad=True)
        y = layer.train()(tensor) if mask is None else layer.train()(tensor, mask=mask)
        (y * tn.Tensor(dy)).sum().backward()
    return {"y": y.numpy(), "dx": tensor.grad, **{f"d{name}": one.grad for name, one in layer.parameters().items()},
            **{name: one.numpy() for name, one in layer.tensors().items() if isinstance(one, nn.parameter.Buffer)}}


def compared(make: Any, shape: tuple[int, ...], size: int, mode: str, mask: Any = None) -> None:
    """Compare a layer over a batch with the same layer on some ranks: rows joined, gradients of parameters summed."""
    rng = np.random.default_rng(0)
    x = rng.normal(1, 3, (ROWS, *shape)).astype("float32")

    def layer() -> Any:
        tn.seed(5)
        return nn.Sequential(make())  # the masks of a layer in a model are those of its path

    dy = rng.normal(size=layer()(tn.Tensor(x)).shape).astype("float32")
    whole, layers = computed(layer(), x, dy, mode, mask), [layer() for _ in range(size)]

    def work(own: ranks.Threads) -> Any:
        rows = own.rows(ROWS)
        with within(Part.of(own, ROWS)):
            return computed(layers[own.rank], x[rows], dy[rows], mode, None if mask is None else mask[rows])

    parts = ranks.run(size, work)
    for name, expected in whole.items():
        every = [one[name] for one in parts]
        if name in ("y", "dx"):
            every = [np.concatenate(every)]
        elif name.startswith("d"):
            every = [sum(every)]
        for found in every:
            assert ranks.difference(found, expected) < 1e-5, name


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [2, 3])
def test_dropout_and_the_masks_of_an_lstm(size: int, mode: str) -> None:
    compared(lambda: nn.Dropout(0.4), (3, 5), size, mode)
    compared(lambda: nn.LSTM(5, 3, dropout=0.4, recurrent_dropout=0.3), (4, 5), size, mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [2, 3])
def test_batch_norm_takes_the_statistics_of_the_whole_batch(size: int, mode: str) -> None:
    compared(lambda: nn.BatchNorm(5), (3, 5), size, mode)
    compared(lambda: nn.BatchNorm(3, axis=1), (3, 5), size, mode)


@pytest.mark.parametrize("mode", MODES)
def test_batch_norm_counts_the_real_steps_of_all_ranks(mode: str) -> None:
    """Also where a rank has none."""
    mask = np.random.default_rng(1).random((ROWS, 4)) < 0.5
    mask[:3] = False
    compared(lambda: nn.BatchNorm(5), (4, 5), 2, mode, mask)
    mask[:] = False
    mask[[0, -1], 1] = True  # one of each rank: together they have a variance
    compared(lambda: nn.BatchNorm(5, eps=1.0), (4, 5), 2, mode, mask)


@pytest.mark.parametrize("device", ["cpu", EMULATED])
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_of_returned_statistics_are_those_of_all_ranks(masked: bool, device: str) -> None:
    x = np.random.default_rng(0).normal(1, 3, (ROWS, 5)).astype("float32")
    mask = np.arange(ROWS) % 3 > 0
    one, zero = (np.full(5, value, "float32") for value in (1, 0))

    def dx(rows: Any, across: Any, share: float, place: str = device) -> Any:
        tensor, *more = (tn.Tensor(array, device=place) for array in (x[rows], one, zero))
        tensor.requires_grad = True
        real = tn.Tensor(mask[rows], device=place) if masked else None
        _, mean, var = tn.ops.batch_norm(tensor, *more, mask=real, across=across)
        ((mean * mean).sum() * share + (var * var).sum() * share).backward()
        return backend.to_host(tensor.grad)

    parts = ranks.run(2, lambda own: dx(own.rows(ROWS), Part.of(own, ROWS).across, 0.5))
    assert ranks.difference(np.concatenate(parts), dx(slice(None), part().across, 1.0, "cpu")) < 1e-5


def test_one_row_on_each_rank_has_a_variance() -> None:
    """The running averages are updated if the whole batch has one."""
    def work(own: ranks.Threads) -> int:
        layer = nn.BatchNorm(2).train()
        with within(Part.of(own, 2)):
            layer(tn.Tensor(np.full((1, 2), own.rank, "float32")))
        return layer.batches_seen

    assert ranks.run(2, work) == [1, 1]


def test_a_batch_with_fewer_rows_than_ranks_counts_once() -> None:
    def work(own: ranks.Threads) -> Any:
        with within(Part.of(own, 2)):
            y, mean, _ = tn.ops.batch_norm(tn.Tensor([[1.0], [3.0]]), tn.Tensor([1.0]), tn.Tensor([0.0]), eps=0.0,
                                           across=part().across)
        return y.numpy().tolist(), mean.item()

    assert ranks.run(3, work) == [([[-1.0], [1.0]], 2.0)] * 3


def test_a_message_holds_several_sums() -> None:
    def work(own: ranks.Threads) -> Any:
        sums = Part.of(own, 4).across(np, np.full((2, 3), own.rank, "float32"), 5, np.ones(2))
        return sums[0].dtype, sums[0].tolist(), sums[1], sums[2].tolist(), own.sums

    assert ranks.run(2, work) == [(np.float32, [[1.0] * 3] * 2, 10.0, [2.0, 2.0], 1)] * 2


def test_after_the_context_a_batch_is_whole() -> None:
    with within(Part(ranks.Threads(1, 2, {}), 3, 3, 6)):
        assert (part().first(12), part().whole(12)) == (12, 24)
    assert (part().first(12), part().whole(12)) == (0, 12)
