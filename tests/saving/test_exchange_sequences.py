"""Weights of recurrent layers and embeddings to and from PyTorch and the arrays of Keras, and what both compute."""

from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import nn
from tinynet.saving.exchange import from_keras, from_torch, to_keras, to_torch

torch = pytest.importorskip("torch")

N, T, D, H = 4, 6, 3, 5
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, T, D)).astype("float32")
LENGTHS = np.array([6, 4, 2, 1])
MASK = np.arange(T) < LENGTHS[:, None]
PAIRS: dict[str, tuple[Any, Any]] = {
    "GRU": (lambda: nn.Sequential(nn.GRU(D, H)), lambda: torch.nn.GRU(D, H, batch_first=True)),
    "GRU, no bias": (lambda: nn.Sequential(nn.GRU(D, H, bias=False)),
                     lambda: torch.nn.GRU(D, H, bias=False, batch_first=True)),
    "SimpleRNN, one bias": (lambda: nn.Sequential(nn.Bidirectional(nn.SimpleRNN(D, H))),
                            lambda: torch.nn.RNN(D, H, bidirectional=True, batch_first=True)),
    "LSTM, no bias": (lambda: nn.Sequential(nn.LSTM(D, H, bias=False)),
                      lambda: torch.nn.LSTM(D, H, bias=False, batch_first=True)),
    "two bidirectional LSTMs": (
        lambda: nn.Sequential(nn.Bidirectional(nn.LSTM(D, H)), nn.Bidirectional(nn.LSTM(2 * H, H))),
        lambda: torch.nn.LSTM(D, H, num_layers=2, bidirectional=True, batch_first=True)),
    "bidirectional GRU": (lambda: nn.Sequential(nn.Bidirectional(nn.GRU(D, H))),
                          lambda: torch.nn.GRU(D, H, bidirectional=True, batch_first=True))}


def packed(theirs: Any, x: Any) -> Any:
    """PyTorch's output for sequences of different lengths, 0 in the padding."""
    given = torch.nn.utils.rnn.pack_padded_sequence(x, LENGTHS, batch_first=True)
    return torch.nn.utils.rnn.pad_packed_sequence(theirs(given)[0], batch_first=True)[0]


@pytest.mark.parametrize("masked", [False, True], ids=["all real", "padded"])
@pytest.mark.parametrize("mode", ["fast", "reference"])
@pytest.mark.parametrize("name", PAIRS)
def test_outputs_and_gradients_are_those_of_pytorch(name: str, mode: str, masked: bool) -> None:
    tn.seed(0)
    torch.manual_seed(0)
    make, made = PAIRS[name]
    ours, theirs = make(), made()
    from_torch(ours, theirs.state_dict())
    x, their_x = tn.Tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    with tn.using(mode):
        y = ours(x, mask=MASK) if masked else ours(x)
        their_y = packed(theirs, their_x) if masked else theirs(their_x)[0]
        dy = RNG.standard_normal(y.shape).astype("float32")
        y.backward(dy)
    their_y.backward(torch.tensor(dy))
    np.testing.assert_allclose(y.numpy(), their_y.detach().numpy(), atol=2e-6)
    np.testing.assert_allclose(x.grad, their_x.grad.numpy(), atol=1e-5)
    gradients = make()
    gradients.load_state_dict({key: one.grad for key, one in ours.parameters().items()})
    found = to_torch(gradients, like=theirs.state_dict())
    for key, parameter in theirs.named_parameters():
        if "GRU" in name or "bias" not in key:  # the others have one bias in tinynet
            np.testing.assert_allclose(found[key], parameter.grad.numpy(), atol=2e-5, err_msg=key)


@pytest.mark.parametrize("name", PAIRS)
def test_weights_go_there_and_back(name: str) -> None:
    make, made = PAIRS[name]
    ours = make()
    theirs = to_torch(ours, like=made().state_dict())
    assert {key: tuple(one.shape) for key, one in made().state_dict().items()} == {
        key: one.shape for key, one in theirs.items()}
    for again in (from_torch(make(), theirs), from_torch(make(), to_torch(ours)), from_keras(make(), to_keras(ours))):
        assert all(map(np.array_equal, again.state_dict().values(), ours.state_dict().values()))


def test_names_of_a_bidirectional_layer() -> None:
    names = list(to_torch(nn.Sequential(nn.Bidirectional(nn.GRU(D, H)))))
    assert names == [f"0.{kind}_l0{end}" for end in ("", "_reverse")
                     for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def test_keras_has_other_orders() -> None:
    """The bias of a GRU is (2,3H), and the update gate comes first."""
    layer = nn.GRU(D, H)
    layer.b.data[...], layer.b_h.data[...] = np.arange(3 * H), -np.arange(3 * H)
    arrays = to_keras(nn.Sequential(layer))
    assert {name: one.shape for name, one in arrays.items()} == {
        "0/kernel": (D, 3 * H), "0/recurrent_kernel": (H, 3 * H), "0/bias": (2, 3 * H)}
    assert arrays["0/bias"][0].tolist() == [*range(H, 2 * H), *range(H), *range(2 * H, 3 * H)]
    np.testing.assert_array_equal(arrays["0/kernel"][:, :H], layer.W.data[H:, H : 2 * H])
    np.testing.assert_array_equal(arrays["0/recurrent_kernel"][:, H : 2 * H], layer.W.data[:H, :H])


def test_an_embedding() -> None:
    theirs = torch.nn.Embedding(6, 3)
    ours = from_torch(nn.Sequential(nn.Embedding(6, 3)), {"embed.weight": theirs.weight.detach()})
    x = RNG.integers(0, 6, (2, 4))
    assert np.array_equal(ours(tn.Tensor(x)).numpy(), theirs(torch.tensor(x)).detach().numpy())
    assert list(to_keras(ours)) == ["0/embeddings"]


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_layer_normalisation(mode: str) -> None:
    theirs = torch.nn.LayerNorm(D, eps=1e-3)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor([0.5, 2.0, -1.0]))
        theirs.bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
    ours = from_torch(nn.Sequential(nn.LayerNorm(D, eps=1e-3)), theirs.state_dict())
    x, their_x = tn.Tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    dy = RNG.standard_normal(X.shape).astype("float32")
    with tn.using(mode):
        y = ours(x)
        y.backward(dy)
    theirs(their_x).backward(torch.tensor(dy))
    np.testing.assert_allclose(y.numpy(), theirs(their_x).detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(x.grad, their_x.grad.numpy(), atol=1e-5)
    np.testing.assert_allclose(ours[0].gamma.grad, theirs.weight.grad.numpy(), rtol=1e-5)
    np.testing.assert_allclose(ours[0].beta.grad, theirs.bias.grad.numpy(), rtol=1e-5)
