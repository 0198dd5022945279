"""examples/lstm_by_hand.py finds all equations of the LSTM right, and each planted mistake in its own equation."""

import importlib.util
import re
import runpy
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import tinynet as tn

PAGE = Path(__file__).resolve().parents[2] / "examples" / "lstm_by_hand.py"
sys.path.insert(0, str(PAGE.parent))  # as for a script


def load_page(path=PAGE):
    spec = importlib.util.spec_from_file_location("lstm_by_hand", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


page = load_page()


@pytest.fixture
def folder(tmp_path):
    """A folder with two images for training and three for testing, in the format of MNIST."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 2), ("t10k", 3)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", np.arange(count, dtype=np.uint8))):
            header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (tmp_path / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())
    return tmp_path


def arguments(folder, *more):
    return ["--data", str(folder), "--out", str(folder / "out"), "--units", "3", *more]


@pytest.fixture
def without_picture(monkeypatch):
    monkeypatch.setattr(page, "draw", lambda *arguments: None)


def failed(text):
    """The numbers of the equations in the summary."""
    line = re.search(r"^FAILED: (.*)$", text, re.M)
    return [int(number) for number in re.findall(r"(?:^|; )\((\d+)\)", line[1])] if line else []


def test_every_equation_holds_and_the_picture_is_drawn(folder, capsys):
    assert page.main(arguments(folder, "--index", "2")) == 0
    text, complaints = capsys.readouterr()
    assert not complaints
    assert "(7) dC" in text and "\nTest image 2, a 2, through an untrained LSTM of 3 units.\n" in text
    verdicts = re.findall(r"^ *\((\d+)\) \S+ +(\S+) (\w+) +(\S+) (\w+)  ", text, re.M)
    assert [int(number) for number, *_ in verdicts] == [*range(7, 15), 14, 16, 17]
    assert all(float(alone) <= 1e-12 >= float(chain) for _, alone, _, chain, _ in verdicts)
    assert {word for _, _, own, _, accumulated in verdicts for word in (own, accumulated)} == {"ok"}
    assert "All 10 equations hold." in text
    assert re.search(r"^ {15}alone +in the chain$", text, re.M) and "mistake" not in text
    assert len(re.findall(r"^ ?\d+ .{28}(?: +-?\d\.\d\d){12}$", text, re.M)) == 28
    assert "Columns: over the units, the mean, and ext." in text and "What to look at: " in text
    assert len(re.findall(r"^on (?:arrays|Tensors) (?: +\de[-+]\d\d){9}  ok$", text, re.M)) == 2
    assert max(len(line) for line in text.splitlines() if str(folder) not in line) <= 100
    assert text.isascii()
    assert [path.name for path in (folder / "out").iterdir()] == ["lstm_by_hand.png"]
    picture = (folder / "out" / "lstm_by_hand.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000


@pytest.mark.usefixtures("without_picture")
@pytest.mark.parametrize(("mistake", "equations", "name"), [
    ("carry", [13], "(13) gives only zeros: a dropped carry or other term."),
    ("swap", [8, 9], "(8) gives the values of (9): swapped gates; (9) gives the values of (8): swapped gates."),
    ("scale", [12], "(12) is right but for a factor of 1.0001: a wrong scale."),
])
def test_a_classic_mistake_is_found_in_its_equation_and_named(folder, capsys, mistake, equations, name):
    assert page.main(arguments(folder, "--break", mistake)) == 1
    text = capsys.readouterr().out
    assert failed(text) == equations
    assert f"\nFAILED: {name}\n" in text
    assert f"through an untrained LSTM of 3 units, with a mistake: {mistake}" in text
    assert "All 10 equations hold" not in text
    assert len(re.findall(r"^on (?:arrays|Tensors) .* WRONG$", text, re.M)) == 2


def test_a_trained_model_is_read_and_says_what_it_thinks_after_each_row(folder, capsys):
    tn.seed(1)
    model = tn.nn.Sequential(tn.nn.LSTM(28, 3, return_sequences=False), tn.nn.Dense(3, 10), input_shape=(28, 28))
    model[1].W.data *= 50  # so that small differences of the input show
    tn.save(folder / "model.safetensors", model)
    command = ["--data", str(folder), "--out", str(folder / "out"), "--model", str(folder / "model.safetensors"),
               "--index", "2"]
    assert page.main(command) == 0
    text = capsys.readouterr().out
    assert "Test image 2, a 2, through a trained LSTM of 3 units" in text
    image = np.fromfile(folder / "t10k-images-idx3-ubyte", "uint8")[16:].reshape(3, 28, 28)[2:] / 255
    p = tn.ops.softmax(tn.Tensor(tn.predict(model, image.astype("float32")))).numpy()[0]
    guesses = re.search(r"^   ((?:\d ){28}) ", text, re.M)[1].split()
    assert int(guesses[-1]) == p.argmax() and f"2 has the probability {p[2]:.3f})" in text
    assert f"a Dense layer of h_28, is {-np.log(p[2]):.4f}." in text


def test_the_trained_model_of_the_repository_has_the_right_layers():
    net = page.trained(page.MODEL, 28, 10)
    assert net.W.shape == (44, 64) and not net.h0.any() and (net.m == 1).all()


def test_the_usual_model_is_that_of_the_repository(folder, monkeypatch):
    seen = []

    def trained(*given):
        seen.append(given)
        raise tn.errors.ArgumentError("enough")

    monkeypatch.setattr(page, "trained", trained)
    assert page.main(["--data", str(folder), "--out", str(folder / "out")]) == 1
    assert seen == [(PAGE.parent / "trained" / "lstm_16.safetensors", 28, 10)]


def test_another_model_is_refused(folder, capsys):
    model = tn.nn.Sequential(tn.nn.LSTM(28, 3), tn.nn.Flatten(), tn.nn.Dense(84, 10), input_shape=(28, 28))
    tn.save(folder / "model.safetensors", model)
    assert page.main(["--data", str(folder), "--model", str(folder / "model.safetensors")]) == 1
    assert "--model must be an LSTM of 28 inputs, then a Dense layer" in capsys.readouterr().err


@pytest.mark.parametrize("mistake", [None, "swap"])
def test_the_axes_of_the_picture(mistake, tmp_path, monkeypatch, capsys):
    """Time runs downwards: the last row of the digit is at the bottom. A mistake has panels and words of its own."""
    figures = []

    def kept(figure, path, **options):
        figures.append(figure)
        path.write_bytes(b"")

    monkeypatch.setattr(Figure, "savefig", kept)
    net, x, label = small_case(page)
    _, steps = page.forward(net, x, label)
    chain = page.go_back(net, label, steps, mistake)
    page.draw(tmp_path / "a.png", "a title", x, steps, chain, page.measure(net, x, label, chain), mistake)
    [figure] = figures
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert figure.get_suptitle() == "a title" and len(panels) == (12 if mistake else 9)
    assert [text.get_text() for text in figure.texts][-1] == page.LOOK + (f"\n{page.DIFFERENCE}" if mistake else "")
    assert [axes.get_xlabel() for axes in panels] == ["pixel"] + ["unit"] * (len(panels) - 1)
    assert {axes.get_ylabel() for axes in panels} == {"row of the digit, t"}
    assert {axes.get_ylim() for axes in panels} == {(4.5, 0.5)}
    assert [axes.get_xlim()[1] for axes in panels[:2]] == [2.5, 3.5]
    assert panels[5].images[0].get_array().tolist() == [step.C.ravel().tolist() for step in steps]
    assert [axes.get_title().partition(",")[0] for axes in panels[:9]] == [
        "the digit", "f: what to forget (0) or keep (1)", "i: what to take in", "C~: what there is to take in",
        "o: what to show", "C: the state", "h: the output", "|dC|", "|dh|"]
    assert {panels[k].images[0].get_clim() for k in (1, 2, 4)} == {(0, 1)}
    assert {sum(panels[k].images[0].get_clim()) for k in (3, 5, 6)} == {0}, "0 is the middle"
    assert [panels[k].images[0].get_cmap().name for k in (0, 1, 3)] == ["gray_r", "viridis", "RdBu_r"]
    explained = page.LOOK + f"\n{page.DIFFERENCE}" * bool(mistake)
    assert figure.texts[-1].get_text() == explained
    assert capsys.readouterr().out == f"\nThe picture is {tmp_path / 'a.png'}.\n{explained}\n"


@pytest.mark.parametrize("mistake", ["carry", "swap", "scale"])
def test_a_mistake_is_drawn_where_it_begins(mistake):
    """In the last row the gradients before the mistake are right; then the errors spread to the rows above."""
    net, x, label = small_case(page)
    _, steps = page.forward(net, x, label)
    chain = page.go_back(net, label, steps, mistake)
    truth = page.measure(net, x, label, chain)
    (_, dC), (_, dz), (_, dh) = page.differences(chain, truth, len(x))
    assert dC[-1].max() < 1e-12 and dC[0].max() > 1e-6
    assert (dz[-1].max() > 1e-6) == (mistake == "swap")
    assert (dh[-1].max() > 1e-6) == (mistake in ("swap", "scale"))


def small_case(page):
    """Sizes that all differ, nothing zero: N = 1, T = 4, D = 2, H = 3."""
    def draw(step, *shape):
        return tn.random.normal(shape, key=(0, 1), step=step)
    net = page.Network(draw(0, 5, 12), draw(1, 1, 12), draw(2, 1, 3), draw(3, 1, 3), draw(4, 1, 3), draw(5, 3, 10),
                       draw(7, 1, 10))
    return net, draw(6, 4, 2), 7


def prove(page):
    net, x, label = small_case(page)
    _, steps = page.forward(net, x, label)
    chain = page.go_back(net, label, steps, None)
    truth = page.measure(net, x, label, chain)
    return page.show_proof(page.go_back(net, label, steps, None, truth), chain, truth)


def test_the_equations_hold_for_other_sizes():
    assert prove(page)


@pytest.mark.parametrize(("number", "right", "wrong"), [
    (7, "(1 - np.tanh(C) ** 2)", "(1 - C**2)"),
    (7, "dC + dh * o", "dh * o"),
    (8, "dC * C_before * f", "dC * C * f"),
    (9, "i * (1 - i)", "i"),
    (10, "(1 - Ctilde**2)", "Ctilde * (1 - Ctilde)"),
    (11, "dh * np.tanh(C)", "dC * np.tanh(C)"),
    (12, "dz @ net.W.T", "(dz @ net.W.T)[:, ::-1]"),
    (13, "dC * f)", "dC)"),
    (14, "dW + hx.T @ dz", "hx.T @ dz"),
    (14, "db = db + dz", "db = db + 1.000001 * dz"),
    (16, "net.m * dhx[:, :H]", "dhx[:, :H]"),
    (17, "dm + h_before", "dm + C_before"),
])
def test_a_mistake_in_any_equation_is_found_in_that_equation(tmp_path, capsys, number, right, wrong):
    source = PAGE.read_text(encoding="utf-8")
    line = re.search(rf"^.*{re.escape(right)}.*  # \({number}\)$", source, re.M)[0]
    planted = tmp_path / "planted.py"
    planted.write_text(source.replace(line, line.replace(right, wrong)), encoding="utf-8")
    assert not prove(load_page(planted))
    assert failed(capsys.readouterr().out) == [number]


def test_a_mistake_that_is_not_classic():
    """Some zeros are not only zeros, and values of an equation of another quantity are not swapped gates."""
    rng = np.random.default_rng(0)
    truth = {(name, t): rng.normal(size=(1, size)) for name, size in (("z", 12), ("C", 3)) for t in (1, 2)}
    given = {key: value.copy() for key, value in truth.items()}
    given["C", 1][0, 0] = 0
    assert page.diagnose(page.EQUATIONS[0], given, truth) == "is wrong, but not by a classic mistake"
    given["C", 1], given["C", 2] = truth["z", 1][:, :3], truth["z", 2][:, :3]
    assert page.diagnose(page.EQUATIONS[0], given, truth) == "is wrong, but not by a classic mistake"


@pytest.mark.usefixtures("without_picture")
@pytest.mark.parametrize("name", ["show_proof", "show_library"])
def test_each_of_the_two_checks_can_fail_the_page(folder, name, monkeypatch):
    monkeypatch.setattr(page, name, lambda *arguments: False)
    assert page.main(arguments(folder)) == 1


def test_a_difference_from_the_library_is_found(capsys):
    net, x, label = small_case(page)
    _, steps = page.forward(net, x, label)
    chain = page.go_back(net, label, steps, None)
    assert page.show_library(net, x, label, steps, chain)
    chain["b", 0] = chain["b", 0] * (1 + 1e-9)
    assert not page.show_library(net, x, label, steps, chain)
    assert capsys.readouterr().out.count("WRONG") == 2


@pytest.mark.usefixtures("without_picture")
@pytest.mark.parametrize(("more", "word"), [
    (["--index", "3"], "--index"), (["--index", "-1"], "--index"), (["--units", "0"], "--units"),
    (["--seed", "-1"], "seed"), (["--data", "there/is/nothing"], "there/is/nothing"),
    (["--out", str(PAGE)], "lstm_by_hand.py"),
])
def test_bad_use_ends_with_one_sentence(folder, capsys, more, word):
    assert page.main(arguments(folder, *more)) == 1
    text, complaint = capsys.readouterr()
    assert not text
    assert word in complaint
    assert complaint.count("\n") == 1


def test_a_damaged_file_ends_with_one_sentence(folder, capsys):
    path = folder / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    assert page.main(arguments(folder)) == 1
    assert path.name in capsys.readouterr().err


def test_without_matplotlib_one_sentence_says_so(folder, capsys, monkeypatch):
    for name in ("matplotlib", "matplotlib.colors", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    assert page.main(arguments(folder)) == 0
    assert "matplotlib is not installed, so the picture is left out" in capsys.readouterr().out
    assert not list((folder / "out").iterdir())


def test_as_a_script_the_exit_code_is_mains(folder, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(PAGE), *arguments(folder, "--index", "99")])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(PAGE), run_name="__main__")
    assert end.value.code == 1


def test_the_seed_decides_all_of_the_network():
    first, again, other = (page.untrained(28, 3, 10, seed) for seed in (1, 1, 2))
    for name, a, b, c in zip(page.Network._fields, first, again, other, strict=True):
        assert (a == b).all(), name
        assert name in ("b", "c") or (a != c).any(), name  # forget bias 1, else 0
        assert a.dtype == np.float64, name
