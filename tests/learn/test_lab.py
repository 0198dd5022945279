"""What the lab computes, beside direct calls of tinynet."""

import json
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from docs.site.palette import style_sheet
from tests.support.project import ROOT
from tinynet.learn import lab, small_widgets, trusted
from tinynet.learn.digits import STROKES, drawn

DIGITS = (255 * drawn()).astype(int)
THREE = DIGITS[3].ravel().tolist()


def test_the_file_of_the_model_is_small_and_reads_the_drawn_digits() -> None:
    assert (ROOT / "tinynet" / "learn" / "page" / "digit.npz").stat().st_size <= 500_000
    with tn.no_grad():
        scores = lab.model()(tn.Tensor(drawn()[..., None])).numpy()
    assert scores.argmax(axis=1).tolist() == list(range(10)) and len(STROKES) == 10


def test_a_pen_is_two_and_a_half_pixels_wide() -> None:
    """A pixel is black where its center is within 0.8 of the line, and white beyond 1.8."""
    seven = drawn()[7]
    np.testing.assert_allclose(seven[2:10, 12], [0, 0, 0.3, 1, 1, 0.3, 0, 0], atol=1e-6)  # the line is y = 6
    np.testing.assert_allclose(seven[5, [5, 6, 7, 8]], [0, 1.8 - np.hypot(1.5, 0.5), 1, 1], atol=1e-6)  # its left end
    assert drawn().dtype == np.float32 and drawn().min() == 0 and drawn().max() == 1


def test_the_digits_stand_where_they_stood() -> None:
    """How much ink each has, and its middle: columns and rows."""
    y, x = np.mgrid[0:28, 0:28]
    ink = drawn().sum(axis=(1, 2), dtype=float)
    np.testing.assert_allclose(ink, [123.703, 64.007, 120.266, 109.517, 108.958, 119.614, 117.486, 83.916, 145.873,
                                     108.57], atol=2e-3)
    np.testing.assert_allclose((drawn() * x).sum(axis=(1, 2)) / ink, [
        13.5, 13.9355, 13.3575, 13.7858, 13.7258, 13.3278, 12.6827, 14.6393, 13.5, 14.3063], atol=1e-3)
    np.testing.assert_allclose((drawn() * y).sum(axis=(1, 2)) / ink, [
        13.5, 12.2874, 14.1904, 13.2668, 14.0483, 12.7231, 14.9883, 10.9135, 13.3816, 11.2783], atol=1e-3)


def test_what_the_page_shows_first() -> None:
    found = lab.start()
    assert found["strokes"] is STROKES and found["version"] == tn.__version__
    assert found["parameters"] == sum(p.size for p in lab.model().parameters())
    np.testing.assert_array_equal(found["digits"], np.rint(255 * drawn()).reshape(10, 784))
    assert found["source"].startswith("def dlstm(") and found["source"] == lab.source()["source"]
    assert found["times"] == json.loads((ROOT / "tinynet" / "learn" / "page" / "times.json").read_text()) != {}
    head = lab.call_json("products", "[2, 1]")
    assert head == lab.call("products", [2, 1]) and json.loads(head[4:])["plain"] == small_widgets.products(2, 1)


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
    moved = np.abs(np.diff(np.concatenate([np.zeros((1, 128)), C]), axis=0))  # (T,H), from the state 0
    centre = (moved * np.arange(28)[:, None]).sum(axis=0) / moved.sum(axis=0)
    assert (np.diff(centre[found["order"]]) >= -1e-4).all(), "units whose state changes early come first"


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
    state = lab.gates(THREE)
    f, o = state["gates"][:, 0], state["gates"][:, 3]
    later = np.concatenate([found["carry"][1:], np.zeros((1, 128))])
    through_h = found["dh"] * o * (1 - np.tanh(state["C"]) ** 2)
    np.testing.assert_allclose(found["dC"], later + through_h, rtol=1e-3, atol=1e-6)  # (7)
    assert np.abs(found["dh"] - found["dC"]).max() > 1e-3
    np.testing.assert_allclose(found["carry"], found["dC"] * f, rtol=1e-3, atol=1e-7)  # (13)
    np.testing.assert_allclose(found["forget"][25], (f[25] * f[26] * f[27]).mean(), rtol=1e-5)
    assert found["plain"].shape == (28,) and (np.diff(found["plain"]) > 0).mean() > 0.8


def test_a_larger_forget_bias_keeps_more_of_the_gradient() -> None:
    found = lab.forget_bias(THREE)
    norms = found["norms"]
    assert norms.shape == (4, 28) and (np.diff(norms[:, 0]) > 0).all()
    assert norms[0, 0] < 1e-6 and norms[3, 0] > 1 and found["biases"] == [-1, 0, 1, 3]
    layers, layer = list(lab.model()), lab._made["LSTM"]
    sequence, b = layers[1](layers[0](tn.Tensor(lab._image(THREE)))).detach(), layer.b.numpy().copy()
    for bias, norm in zip(found["biases"], norms[:, 0], strict=True):
        b[:128] = bias
        c0 = tn.Tensor(np.zeros((1, 128), np.float32), requires_grad=True)
        with tn.using("reference"):
            tn.ops.lstm(sequence, None, c0, layer.W, tn.Tensor(b))[0][:, -1].sum().backward()
        assert norm == pytest.approx(np.linalg.norm(np.asarray(c0.grad)), rel=1e-3)


@pytest.mark.parametrize(("right", "wrong", "noticed"), [
    ("", "", []),
    ("dC = dC * f  # (13)", "dC = 0 * dC  # (13)", ["complex step", "differences", "PyTorch's tolerance"]),
    ("dhx = dz[t] @ W.T", "dhx = 1.0001 * dz[t] @ W.T", ["complex step", "differences"]),
    ("dhx = dz[t] @ W.T", "dhx = 1.005 * dz[t] @ W.T", ["complex step", "differences", "PyTorch's tolerance"]),
])
def test_each_checker_says_what_it_sees(right: str, wrong: str, noticed: list[str]) -> None:
    text = lab.source()["source"]
    assert right in text
    before = tn.ops.lstm.backward
    verdicts = lab.break_it(text.replace(right, wrong))["verdicts"]
    assert [checker for checker, found in verdicts.items() if not all(ok for ok, _ in found.values())] == noticed
    assert all([*found] == ["x", "h0", "c0", "W", "b"] for found in verdicts.values())
    right_to, error = verdicts["complex step"]["h0"]
    assert error < 1e-12 if right_to else error > 1e-6
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
    kernel = np.array([[3.0, 1.0, 0.0], [2.0, -4.0, 1.0], [0.5, 7.0, -2.0]])
    x = 1 - DIGITS[3] / 255  # white at the border
    found = lab.convolve((255 - DIGITS[3]).ravel().tolist(), kernel.ravel().tolist())
    np.testing.assert_allclose(found["taps"].sum(axis=-1), found["y"], atol=1e-12)
    np.testing.assert_allclose(found["taps"][10, 14], (x[9:12, 13:16] * kernel).ravel())
    np.testing.assert_allclose(found["taps"][0, 27], np.pad(x, 1)[0:3, 27:30].ravel() * kernel.ravel())


def test_averages_with_and_without_the_correction() -> None:
    found = np.array(lab.batch_norm(12, 5.0, 2.0)["mean"])
    batches = found[:, 0]
    np.testing.assert_allclose(found[:9, 1], np.cumsum(batches)[:9] / np.arange(1, 10), rtol=1e-5)
    assert abs(found[4, 1] - 5) < 1 and found[4, 2] < 2.5


def test_averages_of_the_variance_start_at_one_without_the_correction() -> None:
    batches, running, plain = np.array(lab.batch_norm(4, 5.0, 2.0)["var"]).T
    expected = 1.0
    for batch, found in zip(batches, plain, strict=True):
        expected = 0.9 * expected + 0.1 * batch
        assert found == pytest.approx(expected)
    np.testing.assert_allclose(running, np.cumsum(batches) / np.arange(1, 5), rtol=1e-5)
    assert batches.mean() == pytest.approx(4, rel=0.5) and len({*batches}) == 4
    assert [len(lab.batch_norm(steps, 0.0, 1.0)["mean"]) for steps in (0, 1, 60, 99)] == [1, 1, 60, 60]


def test_a_training_run_has_the_rate_and_the_steps_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 1 to 20 steps."""
    def run(lr: float, steps: int) -> dict[str, Any]:
        tn.seed(0)
        made = tn.nn.Sequential(tn.nn.Flatten(), tn.nn.Dense(784, 10))  # quick
        monkeypatch.setitem(lab._made, "training", (made, tn.optim.Adam(made.parameters()), [0]))
        return lab.training(False, lr, steps)

    shifted, asked = lab.shifted, list[int]()
    monkeypatch.setattr(lab, "shifted", lambda step: (asked.append(step), shifted(step))[1])
    few, many, other = run(0.01, 0), run(0.01, 99), run(0.02, 2)
    assert asked == [0, 10_000, *range(20), 10_000, 0, 1, 10_000], "the digits to test are no digits to train on"
    assert (few["step"], many["step"], len(other["losses"])) == (1, 20, 2)
    assert other["losses"][0] == few["losses"][0] and other["losses"][1] != many["losses"][1]
    assert many["accuracy"] > few["accuracy"] and many["accuracy"] * 50 == pytest.approx(round(many["accuracy"] * 50))
    images, labels = lab.shifted(7)
    assert images.shape == (50, 28, 28) and labels.tolist() == list(range(10)) * 5
    for image, label in zip(images, labels, strict=True):
        whole = [np.roll(drawn()[label], (y, x), axis=(0, 1)) for y in range(-3, 4) for x in range(-3, 4)]
        assert any((image == one).all() for one in whole)
    assert (lab.shifted(7)[0] == images).all() and (lab.shifted(8)[0] != images).any()


def test_a_plain_rnn_scales_gradients_by_w_and_the_slopes() -> None:
    layers = list(lab.model())
    sequence = layers[1](layers[0](tn.Tensor(lab._image(THREE)))).numpy()
    plain = lab._plain_rnn(sequence, 128)
    layer = lab._made["SimpleRNN"]
    h = layer(tn.Tensor(sequence)).numpy()[0]  # (T,H)
    d = tn.random.normal((32, 128), (0, tn.random.stream("lab")), step=0).astype("float32")
    start = np.linalg.norm(d, axis=1)
    for t in (27, 26):
        d = (d * (1 - h[t] ** 2)) @ layer.W.numpy()[:128].T
        assert plain[t] == pytest.approx((np.linalg.norm(d, axis=1) / start).mean(), rel=1e-3)


def test_a_training_run_goes_on_and_is_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that has not begun begins."""
    monkeypatch.delitem(lab._made, "training", raising=False)
    begun = lab.training(False, 0.01, 1)
    assert begun["step"] == 1 and begun["losses"] == lab.training(True, 0.01, 1)["losses"]
    assert len(lab.training(True, 0.01)["losses"]) == 5
    first = lab.training(True, 0.01, 10)
    second = lab.training(False, 0.01, 10)
    assert second["step"] == 20 and second["losses"][-1] < first["losses"][0]
    assert lab.training(True, 0.01, 10) == first


def test_layers_and_model_are_made_once_and_are_the_same_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was seeded before. The model is in evaluation."""
    def everything() -> list[Any]:
        monkeypatch.setattr(lab, "_made", {})
        with tn.using("reference"):
            return [lab.back(THREE, 3)["plain"], lab.forget_bias(THREE)["norms"], lab.gates(THREE)["reading"]]

    tn.seed(5)
    first = everything()
    assert lab._new("LSTM", lambda: None) is lab._made["LSTM"] and lab.model() is lab.model()
    assert not lab.model().training
    tn.seed(6)
    for one, other in zip(first, everything(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_colors_of_the_page_are_those_of_the_site() -> None:
    assert (ROOT / "tinynet" / "learn" / "page" / "page.css").read_text().startswith(style_sheet())


# --- the smaller widgets ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("row", "column"), [(2, 1), (3, 0)])
def test_products_are_sums_over_one_index(row: int, column: int) -> None:
    found = small_widgets.products(row, column)
    x, W, dy = (np.array(found[name]) for name in ("x", "W", "dy"))
    np.testing.assert_array_equal(found["y"], x @ W)
    np.testing.assert_array_equal(found["dx"], dy @ W.T)
    np.testing.assert_array_equal(found["dW"], x.T @ dy)
    assert found["y_terms"] == (x[row] * W[:, column]).tolist() and len({*found["y_terms"]}) > 1
    assert found["dW_terms"] == (x[:, row % 3] * dy[:, column]).tolist() and len(found["dW_terms"]) == 4


def test_p_minus_y() -> None:
    found = small_widgets.softmax([2.0, 1.0, 0.0], 1)
    p = np.exp([2.0, 1.0, 0.0]) / np.exp([2.0, 1.0, 0.0]).sum()
    np.testing.assert_allclose(found["p"], p)
    np.testing.assert_allclose(found["gradient"], p - [0, 1, 0], atol=1e-12)
    assert found["loss"] == pytest.approx(-np.log(p[1]))


@pytest.mark.parametrize(("name", "numbers"), [
    ("softmax", [[2.0, 1.0, 0.0], 1]), ("tape", [2.0, -1.0]), ("optimizers", [1.0, 2.0, 3]),
    ("comparison", [1.0, 0.0, 500, 3]), ("roc", [2.0, 1.0, 0.25])])
def test_a_slider_may_stand_on_a_whole_number(name: str, numbers: list[Any]) -> None:
    """JavaScript writes 2.0 as 2."""
    assert lab.call(name, json.loads(json.dumps(numbers).replace(".0", ""))) == lab.call(name, numbers)


def test_the_small_tape_has_the_gradients_of_tinynet() -> None:
    a, b = (tn.Tensor(np.array(value), requires_grad=True) for value in (0.8, -0.5))
    (tn.ops.tanh(a * b) + a).backward()
    found = small_widgets.tape(0.8, -0.5)
    np.testing.assert_allclose(found["gradients"][:2], [a.grad, b.grad])
    y = np.tanh(-0.4)
    np.testing.assert_allclose(found["values"], [0.8, -0.5, -0.4, y, y + 0.8])
    assert found["names"] == ["a", "b", "a b", "tanh(a b)", "tanh(a b) + a"]
    assert found["inputs"] == [[], [], [0, 1], [2], [3, 0]]
    assert found["slopes"] == [[], [], [-0.5, 0.8], [pytest.approx(1 - y * y)], [1, 1]]
    np.testing.assert_allclose(found["gradients"][2:], [1 - y * y, 1, 1])


def test_pooling_leads_a_gradient_back() -> None:
    found = small_widgets.pooling(THREE, "max pool 4 x 4")
    assert found["y"].shape == (7, 7) and found["dx"].sum() == 49
    np.testing.assert_allclose(found["y"][2, 3], DIGITS[3][8:12, 12:16].max() / 255, rtol=1e-6)


@pytest.mark.parametrize("kind", [kind for kind in small_widgets.POOLS if "dropout" not in kind])
def test_each_kind_of_pooling_is_what_it_says(kind: str) -> None:
    x = DIGITS[3] / 255
    size = 2 if "2 x 2" in kind else 4
    blocks = x.reshape(28 // size, size, 28 // size, size)
    expected = {"ReLU": np.maximum(x - 0.5, 0), "max": blocks.max(axis=(1, 3)), "average": blocks.mean(axis=(1, 3))}
    found = small_widgets.pooling(THREE, kind)
    np.testing.assert_allclose(found["y"], expected[kind.split()[0]], atol=1e-6)
    assert found["dx"].shape == (28, 28) and found["kinds"] == list(small_widgets.POOLS)
    if kind.startswith("average"):
        np.testing.assert_allclose(found["dx"], 1 / 16)


def test_dropout_of_a_half() -> None:
    with tn.using("reference"):
        found = small_widgets.pooling([255] * 784, "dropout 0.5")
    assert set(np.unique(found["y"])) == {0.0, 2.0} and (found["y"] == 0).mean() == pytest.approx(0.5, abs=0.1)


def test_three_optimizers_by_their_equations() -> None:
    """From (-4, 1): the first steps, and the losses of all."""
    found = small_widgets.optimizers(0.01, 20, steps=5)
    paths, shape = found["paths"], np.array([1.0, 20.0])
    assert paths.shape == (3, 6, 2) and (paths[:, 0] == [-4, 1]).all() and len(found["names"]) == 3
    np.testing.assert_allclose(found["losses"], (paths**2 * shape).sum(axis=-1) / 2)
    point, velocity = np.array([-4.0, 1.0]), np.zeros(2)
    for step in paths[1, 1:]:
        velocity = 0.9 * velocity + shape * point
        point = point - 0.01 * velocity
        np.testing.assert_allclose(step, point)
    np.testing.assert_allclose(paths[2, 1], [-3.9, 0.9], rtol=1e-5)  # Adam's first step is the rate, 10 times as high
    assert small_widgets.optimizers(0.01, 50)["paths"].shape == (3, 61, 2)


def test_gradient_descent_diverges_above_two_over_the_curvature() -> None:
    assert small_widgets.optimizers(0.019, 100)["losses"][0, -1] < small_widgets.optimizers(0.019, 100)["losses"][0, 0]
    far = small_widgets.optimizers(0.021, 100)
    assert far["losses"][0, -1] > 1e4
    wild = small_widgets.optimizers(0.5, 100)["paths"][0]
    outside = np.abs(wild).max(axis=1) >= 1000
    assert outside.argmax() == 2 and (wild[outside] == wild[2]).all(), "a point beyond 1000 stays there"
    steps = small_widgets.optimizers(0.01, 50)["paths"][0]
    np.testing.assert_allclose(steps[1:4], steps[:3] * (1 - 0.01 * np.array([1, 50])))


def test_few_images_do_not_decide() -> None:
    assert not small_widgets.comparison(0.98, 0.001, 500, 3)["apart"]
    assert small_widgets.comparison(0.9, 0.05, 20_000, 10)["apart"]
    verdicts = set()
    for better in np.linspace(0.001, 0.09, 12):  # about 0.03, the means are further apart than each half
        found = small_widgets.comparison(0.9, better, 500, 5)
        one, other = found["models"]
        assert found["apart"] == (abs(other["mean"] - one["mean"]) > one["half"] + other["half"])
        verdicts.add(found["apart"])
    assert verdicts == {True, False}
    perfect = small_widgets.comparison(0.99, 0.05, 500, 1)["models"][1]["accuracies"]
    assert len(perfect) == 2 and max(perfect) <= 1 and min(perfect) > 0.99
    good = small_widgets.comparison(0.99, 0.0, 100, 20)["models"][0]
    assert max(good["accuracies"]) == 1 and good["mean"] == pytest.approx(np.mean(good["accuracies"]))


def test_the_point_of_a_threshold() -> None:
    found = small_widgets.roc(2.0, 0.5, 0.25)
    assert 0.7 < found["sensitivity"] < 0.95 and 0.7 < found["specificity"] < 0.95
    assert small_widgets.roc(2.0, 0.5, 0.01)["right"] < found["right"]
    assert any(np.allclose(point, [1 - found["specificity"], found["sensitivity"]]) for point in found["curve"])


@pytest.mark.parametrize("ill", [0.1, 0.25])
def test_the_share_of_alarms_that_are_right(ill: float) -> None:
    """By Bayes' rule, of sensitivity, specificity and the share of the ill."""
    found = small_widgets.roc(1.5, 0.6, ill)
    right, wrong = found["sensitivity"] * ill, (1 - found["specificity"]) * (1 - ill)
    assert found["right"] == pytest.approx(right / (right + wrong))
    assert small_widgets.roc(1.5, 1.0, ill)["right"] is None
    assert small_widgets.roc(1.5, 0.6, 0.0)["sensitivity"] in (0.0, 1.0), "one sample at least is ill"


def test_two_models_of_the_lab_are_compared_by_their_intervals() -> None:
    """The bands are those of the deviation of a share, and a model is the better one by what was asked for."""
    found = small_widgets.comparison(0.9, 0.04, 400, 2000)["models"]
    for one, true in zip(found, (0.9, 0.94), strict=True):
        assert one["mean"] == pytest.approx(np.mean(one["accuracies"])) and one["mean"] == pytest.approx(true, abs=2e-3)
        assert one["half"] == pytest.approx(1.961 * np.std(one["accuracies"], ddof=1) / np.sqrt(2000), rel=1e-3)
        assert np.std(one["accuracies"]) == pytest.approx(np.sqrt(true * (1 - true) / 400) + 0.0005, rel=0.1)


def test_a_batch_uses_weights_again() -> None:
    one, many = (small_widgets.roofline(batch, 128, 100, 20) for batch in (1, 512))
    assert one["operations"] == 2 * 156 * 512 and one["bound"] == "memory" and many["bound"] == "computing"
    assert one["bytes"] == 4 * (156 + 156 * 512 + 512) and many["bytes"] == 4 * (512 * 156 + 156 * 512 + 512 * 512)
    assert one["seconds"] == pytest.approx(one["bytes"] / 20e9)
    assert many["seconds"] == pytest.approx(2 * 512 * 156 * 512 / 100e9)
    assert many["intensity"] == pytest.approx(many["operations"] / many["bytes"])


def test_threads_without_an_element() -> None:
    found = small_widgets.threads(20, 8)
    assert (found["blocks"], found["idle"], found["block"][-1], found["thread"][-1]) == (3, 4, 2, 3)
    assert found["y"] == [max(v, 0.0) for v in found["x"]]
    assert found["block"] == [*[0] * 8, *[1] * 8, *[2] * 4] and found["thread"] == [*range(8), *range(8), *range(4)]
    assert min(found["x"]) < 0 < max(found["x"]) and all(v == int(v) and abs(v) <= 9 for v in found["x"])
    most, least = small_widgets.threads(99, 99), small_widgets.threads(0, 0)
    assert (len(most["x"]), most["blocks"], most["idle"]) == (64, 1, 0)
    assert (len(least["x"]), least["blocks"], least["thread"]) == (1, 1, [0])


def test_a_backward_pass_is_that_of_the_library_again_after_an_error() -> None:
    before = tn.ops.lstm.backward
    text = "def dlstm(xp, dy, dh, dC, *, cache, needs):\n    return 1 / 0"
    assert trusted.break_it(text) == trusted.break_it(text) and tn.ops.lstm.backward is before
