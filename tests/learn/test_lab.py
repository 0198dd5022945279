"""What the lab computes, beside direct calls of tinynet."""

import numpy as np
import pytest

import tinynet as tn
from docs.site.palette import style_sheet
from tests.support.project import ROOT
from tinynet.learn import lab
from tinynet.learn.digits import STROKES, drawn

DIGITS = (255 * drawn()).astype(int)
THREE = DIGITS[3].ravel().tolist()


def test_the_file_of_the_model_is_small_and_reads_the_drawn_digits() -> None:
    assert (ROOT / "tinynet" / "learn" / "page" / "digit.npz").stat().st_size <= 500_000
    with tn.no_grad():
        scores = lab.model()(tn.Tensor(drawn()[..., None])).numpy()
    assert scores.argmax(axis=1).tolist() == list(range(10)) and len(STROKES) == 10


def test_gates_are_those_of_the_equations() -> None:
    found = lab.gates(THREE)
    f, i, Ctilde, o = found["gates"].transpose(1, 0, 2)  # (T,H)
    C, h = found["C"], found["h"]
    np.testing.assert_allclose(C[1:], f[1:] * C[:-1] + i[1:] * Ctilde[1:], atol=1e-5)  # (4)
    np.testing.assert_allclose(h, o * np.tanh(C), atol=1e-6)  # (6)
    layers = list(lab.model())
    sequence = layers[1](layers[0](tn.Tensor(lab._image(THREE))))
    np.testing.assert_allclose(h, layers[2](sequence).numpy()[0], atol=1e-5)
    assert sorted(found["order"].tolist()) == list(range(128))


def test_the_reading_ends_with_the_prediction_and_starts_with_a_blank() -> None:
    found = lab.gates(THREE)["reading"]
    x = lab._image(THREE)
    blank = np.zeros_like(x)
    blank[0, :8] = x[0, :8]
    for row, image in ((27, x), (7, blank)):
        expected = tn.ops.softmax(lab.model()(tn.Tensor(image))).numpy()[0]
        np.testing.assert_allclose(found[row], expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


def test_gradients_on_their_way_back_are_those_of_the_whole_sequence() -> None:
    found = lab.back(THREE, 8)
    layers = list(lab.model())
    sequence = layers[1](layers[0](tn.Tensor(lab._image(THREE))))
    zero = np.zeros((1, 128), np.float32)
    h0, c0 = (tn.Tensor(zero.copy(), requires_grad=True) for _ in range(2))
    y, _, _ = tn.ops.lstm(sequence, h0, c0, layers[2].W, layers[2].b)
    for layer in layers[3:]:
        y = layer(y)
    loss = tn.ops.cross_entropy(y, tn.Tensor(np.array([8])))
    loss.backward()
    assert found["loss"] == pytest.approx(loss.item(), rel=1e-5)
    np.testing.assert_allclose(found["carry"][0], np.asarray(c0.grad)[0], rtol=1e-3, atol=1e-7)
    f = lab.gates(THREE)["gates"][:, 0]
    np.testing.assert_allclose(found["carry"], found["dC"] * f, rtol=1e-3, atol=1e-7)  # (13)
    np.testing.assert_allclose(found["forget"][25], (f[25] * f[26] * f[27]).mean(), rtol=1e-5)
    assert found["plain"].shape == (28,) and (np.diff(found["plain"]) > 0).mean() > 0.8


def test_a_larger_forget_bias_keeps_more_of_the_gradient() -> None:
    norms = lab.forget_bias(THREE)["norms"]
    assert norms.shape == (4, 28) and (np.diff(norms[:, 0]) > 0).all()
    assert norms[0, 0] < 1e-6 and norms[3, 0] > 1


@pytest.mark.parametrize(("right", "wrong", "noticed"), [
    ("", "", []),
    ("dC = dC * f  # (13)", "dC = 0 * dC  # (13)", ["complex step", "differences", "PyTorch's tolerance"]),
    ("dhx = dz[t] @ W.T", "dhx = 1.0001 * dz[t] @ W.T", ["complex step", "differences"]),
])
def test_each_checker_says_what_it_sees(right: str, wrong: str, noticed: list[str]) -> None:
    text = lab.source()["source"]
    assert right in text
    before = tn.ops.lstm.backward
    verdicts = lab.break_it(text.replace(right, wrong))["verdicts"]
    assert [checker for checker, found in verdicts.items() if not all(ok for ok, _ in found.values())] == noticed
    assert tn.ops.lstm.backward is before


@pytest.mark.parametrize(("text", "error"), [
    ("def dlstm(", "line 1: '(' was never closed"), ("x = 1", "KeyError: 'dlstm'"),
    ("def dlstm(xp, dy, dh, dC, *, cache, needs):\n    return 1 / 0", "ZeroDivisionError: division by zero"),
])
def test_a_text_that_does_not_run(text: str, error: str) -> None:
    assert lab.break_it(text)["error"] == error


def test_the_complex_step_needs_no_good_step() -> None:
    rows = np.array(lab.v_curve()["rows"])
    assert rows[0, 0] == -20 and rows[0, 3] < 1e-14 and rows[0, 1] == rows[0, 2] == 1
    assert 1e-12 < rows[:, 2].min() < 1e-9 and 1e-9 < rows[:, 1].min() < 1e-6


def test_nine_products_add_up() -> None:
    found = lab.convolve(THREE, [0, 1, 0, 1, -4, 1, 0, 1, 0])
    np.testing.assert_allclose(found["taps"].sum(axis=-1), found["y"], atol=1e-12)
    x = DIGITS[3] / 255
    assert found["y"][10, 14] == pytest.approx(x[9, 14] + x[11, 14] + x[10, 13] + x[10, 15] - 4 * x[10, 14])


def test_averages_with_and_without_the_correction() -> None:
    found = np.array(lab.batch_norm(12, 5.0, 2.0)["mean"])
    batches = found[:, 0]
    np.testing.assert_allclose(found[:9, 1], np.cumsum(batches)[:9] / np.arange(1, 10), rtol=1e-5)
    assert abs(found[4, 1] - 5) < 1 and found[4, 2] < 2.5


def test_a_training_run_goes_on_and_is_the_same_again() -> None:
    first = lab.training(True, 0.01, 10)
    second = lab.training(False, 0.01, 10)
    assert second["step"] == 20 and second["losses"][-1] < first["losses"][0]
    assert lab.training(True, 0.01, 10) == first


def test_the_colors_of_the_page_are_those_of_the_site() -> None:
    assert (ROOT / "tinynet" / "learn" / "page" / "lab.css").read_text().startswith(style_sheet())
