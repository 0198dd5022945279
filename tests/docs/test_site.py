"""The documentation site: equations, verdicts, figures, and all of its pages, built and followed link by link."""

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs import lab
from docs.serving import files_of, serving
from docs.site import links
from docs.site.docstrings import to_rst
from docs.site.drawing import Drawing
from docs.site.equations import latex, mathml
from docs.site.op_text import code, lines, named, rows, text_of
from docs.site.pages import front
from docs.site.palette import COLORS, variables
from docs.site.verdicts import judge
from tests.support.browser import CHROMIUM, browser, wait
from tests.support.complete import OPS
from tests.support.op_texts import equations_in_text
from tests.support.project import ROOT
from tinynet.op import UPDATES

NAMES = [*OPS, *(name for name, update in UPDATES.items() if text_of(update).equations)]
FIGURES = sorted(path.stem for path in (ROOT / "docs" / "figures").glob("[a-z]*.py"))


# --- equations --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", NAMES)
def test_the_site_shows_every_equation_beside_its_line(name: str) -> None:
    op = named(name)
    shown = [row for part in text_of(op).equations.values() for row in part if row.number]
    assert [row.number for row in shown] == (equations_in_text(op.__doc__ or "") if name in OPS
                                             else sorted(lines(op)))
    for row in shown:
        ElementTree.fromstring(mathml(row.formula))
        assert latex(row.formula).count("{") == latex(row.formula).count("}")
        assert latex(row.formula).isascii(), latex(row.formula)
        assert all(code(line) for line in lines(op)[row.number])


@pytest.mark.parametrize(("line", "wanted"), [
    ("δz_f = δC ⊙ Cₜ₋₁", r"\delta z_{f} = \delta C \odot C_{t - 1}"),
    ("C̃ = tanh² C", r"\tilde{C} = \tanh^{2} C"),
    ("δx = δy y", r"\delta x = \delta y \, y"),
    ("s = √(σ² + ε)", r"s = \sqrt{\sigma ^{2} + \varepsilon }"),
    ("y = e^xᵢ / Σⱼ e^xⱼ", r"y = e^{x_{i}} / \sum _{j} e^{x_{j}}"),
    ("y = a where a ≥ b, else b", r"y = a \text{ where } a \ge b , \text{ else } b"),
    ("δh = δa W_hᵀ", r"\delta h = \delta a \, W_{h}^{T}"),
])
def test_latex(line: str, wanted: str) -> None:
    assert re.sub(r"\s+", " ", latex(line)) == wanted


def test_mathml_keeps_the_line_of_the_docstring() -> None:
    made = ElementTree.fromstring(mathml("x̂ₜ = σ(a) < 1"))
    assert made.attrib["alttext"] == "x̂ₜ = σ(a) < 1"
    assert "".join(made.itertext()) == "x^t=σ(a)<1"


def test_a_comment_is_told_from_an_equation() -> None:
    first, second = rows("    for all t    and n\n  (1) y = x    the value\n               again\n")
    assert (first.number, first.comment) == (0, "for all t; and n")
    assert (second.number, second.formula, second.comment) == (1, "y = x", "the value again")


@pytest.mark.parametrize("name", OPS)
def test_a_mistake_on_each_line_is_caught(name: str) -> None:
    verdict = judge(name)
    assert verdict.error <= verdict.tolerance
    assert {*verdict.equations} == {*equations_in_text(OPS[name].__doc__ or "")}
    assert all(one.caught for one in verdict.equations.values())


# --- docstrings -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("text", "wanted"), [
    ("a  b\n    c", ":a: b\n    c\n"),
    ("Text:\n    code(x)  # y", "Text:\n\n::\n\n      code(x)  # y\n"),
    ("2 * 3 and `a * b`", "2 \\* 3 and `a * b`\n"),
    (">>> 2 * 3\n6", ">>> 2 * 3\n6\n"),
    ("- one\n- two", "- one\n- two\n"),
])
def test_plain_docstrings_become_markup(text: str, wanted: str) -> None:
    assert "\n".join(to_rst(text.split("\n"))) == wanted


# --- figures ----------------------------------------------------------------------------------------------------------

def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("which", [0, 1], ids=["light", "dark"])
def test_colors_stand_out(which: int) -> None:
    paper = luminance(COLORS["paper"][which])
    for name in COLORS.keys() - {"paper", "rule", "fill"}:
        low, high = sorted([paper, luminance(COLORS[name][which])])
        assert (high + 0.05) / (low + 0.05) >= 4.5, name


def test_gates_and_models_have_different_colors() -> None:
    for names in (("f", "i", "Ctilde", "o", "C", "h"), ("lstm_cnn", "cnn_lstm", "lstm", "cnn", "deep_lstm_cnn")):
        assert all(len({COLORS[name][which] for name in names}) == len(names) for which in (0, 1))


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn(name: str) -> None:
    """It is valid SVG, stays inside of its frame, has a title, and knows its colors."""
    module = importlib.import_module(f"docs.figures.{name}")
    drawing = module.draw()
    assert isinstance(drawing, Drawing) and module.__doc__
    text = drawing.svg()
    assert len(text) < 200_000
    assert {found for found in re.findall(r"var\((--tn-\w+)\)", text)} <= {*variables()}
    figure = ElementTree.fromstring(drawing.svg(fixed=True))
    assert "var(" not in drawing.svg(fixed=True)
    for part in figure.iter("{http://www.w3.org/2000/svg}text"):
        wide = 0.62 if part.get("font-weight") else 0.57  # of its size: a letter of DejaVu Sans, a wide font
        width = wide * float(part.get("font-size", 14)) * len(part.text or "")
        start = float(part.attrib["x"]) - {"start": 0, "middle": width / 2, "end": width}[part.attrib["text-anchor"]]
        turned = "transform" in part.attrib
        assert turned or (start >= -4 and start + width <= drawing.width + 4), part.text
        assert 0 <= float(part.attrib["y"]) <= drawing.height, part.text


# --- links ------------------------------------------------------------------------------------------------------------

def test_dead_links_and_outside_requests_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<p id="x"></p><a href="b.html">b</a><a href="#x">x</a><a href="#y">y</a>'
                                     '<a href="https://example.org">out</a><img src="https://example.org/a.png">')
    assert links.faults(tmp_path) == ["a.html loads https://example.org/a.png", "a.html: b.html does not exist",
                                      "a.html: #y has no such anchor"]


# --- the whole site ---------------------------------------------------------------------------------------------------

class Text(HTMLParser):
    """The text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.all = ""
        self.feed(html)

    def handle_data(self, data: str) -> None:
        self.all += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("sphinx", "furo", "myst_parser"):
        if not importlib.util.find_spec(package):
            pytest.skip(f"{package} is missing: pip install -e '.[docs]'")
    out = tmp_path_factory.mktemp("site")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-m", "docs.site", "--out", out], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": path}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 dead links" in done.stdout
    return out / "html"


def test_the_site_is_small(site: Path) -> None:
    assert (site / "index.html").exists()
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 15 * 2**20


def test_each_op_has_a_page_with_anchors_of_its_equations(site: Path) -> None:
    pages = {path: path.read_text("utf-8") for path in (site / "ops").glob("*.html")}
    for name in OPS:
        page = next(text for text in pages.values() if f'id="op-{name}"' in text)
        assert all(f'id="{name}-{number}"' in page for number in equations_in_text(OPS[name].__doc__ or ""))
    shown = Text(pages[site / "ops" / "lstm.html"]).all
    assert "dC = dC + dh * o * (1 - tanhC * tanhC)" in shown and "planted “the carry is dropped” caught" in shown
    assert "Gradients checked by complex step" in shown


def test_each_public_name_is_in_the_reference(site: Path) -> None:
    ids = set(re.findall(r'id="(tinynet[\w.]+)"', "".join(
        path.read_text("utf-8") for path in (site / "reference").glob("*.html"))))
    for module in ("nn", "optim", "data", "callbacks", "metrics"):
        names = getattr(importlib.import_module(f"tinynet.{module}"), "__all__", []) if module != "callbacks" else []
        assert not [name for name in names if f"tinynet.{module}.{name}" not in ids], module
    assert {"tinynet.fit", "tinynet.save", "tinynet.Tensor", "tinynet.gradcheck"} <= ids


def test_pages_that_the_front_does_not_list_are_added() -> None:
    pages = ["docs/new.md", "docs/data.md", "examples/NEW.md", "docs/chapters/tape.md", "figure.svg", "LICENSE"]
    made = front(pages).split("\n")
    assert "docs/new" in made and "examples/NEW" in made
    assert made.count("docs/data") == 1 and "docs/chapters/tape" not in made and "figure.svg" not in made


# --- widgets in chapters ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("chapter", "widget"), [("backward", "carry"), ("softmax", "softmax")])
def test_a_widget_starts_in_its_chapter(site: Path, chapter: str, widget: str) -> None:
    pytest.importorskip("playwright", reason="pip install -e '.[test]' brings playwright")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt install chromium")
    try:
        lab.build(site / "lab")
    except lab.Missing as error:
        pytest.skip(str(error))
    with serving(files_of(site)) as server, browser() as chromium:
        page, errors = chromium.new_page(viewport={"width": 390, "height": 844}), list[str]()
        page.on("console", lambda line: errors.append(line.text) if line.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"http://127.0.0.1:{server.server_port}/docs/chapters/{chapter}.html")
        page.get_by_role("button", name="Try it").click()
        wait(page, "window.tinynetLab && window.tinynetLab.ready")
        assert page.locator(f"[data-widget={widget}] h2").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert not errors


def test_every_chapter_names_a_widget_of_the_lab() -> None:
    text = (ROOT / "tinynet" / "learn" / "page" / "widgets.js").read_text("utf-8")
    exported = text.partition("export const widgets = {")[2]
    for path in sorted((ROOT / "docs" / "chapters").glob("*.md")):
        for name in re.findall(r"^:widget: (\S+)$", path.read_text("utf-8"), re.M):
            assert re.search(rf'[\s"]{name}[":,\s]', exported), f"{path.name}: {name}"
