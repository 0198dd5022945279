"""The lab in headless Chromium, by its server and by Python in the browser: each widget shows what tinynet computes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from docs.lab import Missing, build
from docs.serving import files_of, serving
from tests.support.axe import axe_source, serious_faults
from tests.support.browser import CHROMIUM, browser, wait
from tinynet.learn import lab
from tinynet.learn.server import Server

LAB = "window.tinynetLab"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    pytest.importorskip("playwright", reason="pip install -e '.[test]' brings playwright")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt install chromium")
    with browser() as made:
        yield made


@pytest.fixture(scope="module", params=["server", "browser"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the lab: with Python on this machine, or in the browser."""
    if request.param == "server":
        with serving(Server()) as server:
            yield server.address
        return
    folder = tmp_path_factory.mktemp("lab")
    try:
        build(folder)
    except Missing as error:
        pytest.skip(str(error))
    with serving(files_of(folder)) as files:
        yield f"http://127.0.0.1:{files.server_port}/index.html"


@contextmanager
def visited(chromium: Any, address: str, width: int = 1200, dark: bool = False) -> Iterator[Any]:
    """The page, ready. Without errors on the console and requests to other addresses when it closes."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light")
    page, outside, errors = context.new_page(), list[str](), list[str]()
    page.on("request", lambda request: None if request.url.startswith((address.rpartition("/")[0], "data:"))
            else outside.append(request.url))
    page.on("console", lambda line: errors.append(line.text) if line.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    wait(page, f"{LAB} && {LAB}.ready")
    try:
        yield page
    finally:
        context.close()
    assert not outside and not errors


def pixels(page: Any) -> list[int]:
    found: list[int] = page.evaluate(f"{LAB}.digit")
    return found


def array(page: Any, name: str, key: str) -> np.ndarray:
    shape, data = page.evaluate(f"[{LAB}.results.{name}.{key}.shape, [...{LAB}.results.{name}.{key}.data]]")
    return np.array(data, np.float32).reshape(shape)


def use(page: Any, name: str, action: Callable[[], Any]) -> None:
    """Do something, and wait for a new answer of a function: each is an object of its own."""
    page.evaluate(f"void (window.before = {LAB}.results.{name})")
    action()
    wait(page, f"{LAB}.results.{name} !== window.before")


def test_drawing_reading_and_back(chromium: Any, address: str) -> None:
    with visited(chromium, address) as page:
        use(page, "back", lambda: page.get_by_role("button", name="draw a 7").click())
        box = page.locator("canvas.pad").bounding_box()

        def draw() -> None:
            page.mouse.move(box["x"] + 80, box["y"] + 130)
            page.mouse.down()
            page.mouse.move(box["x"] + 170, box["y"] + 130, steps=4)
            page.mouse.up()

        use(page, "back", draw)
        for name in ("gates", "back"):
            wait(page, f"{LAB}.results.{name}.asked[0] === {LAB}.digit")
        with tn.using("reference"):
            mine, back = lab.gates(pixels(page)), lab.back(pixels(page), 3)
        for key in ("gates", "C", "h", "reading"):
            np.testing.assert_allclose(array(page, "gates", key), mine[key], atol=1e-6)
        best = int(mine["reading"][-1].argmax())
        assert f"It reads a {best}" in page.text_content("[data-widget=gates] .said")
        for key in ("dC", "dh", "carry", "forget"):
            np.testing.assert_allclose(array(page, "back", key), back[key], rtol=1e-5, atol=1e-7)
        use(page, "back", lambda: page.locator("[data-widget=carry] select").select_option("8"))
        assert page.evaluate(f"{LAB}.results.back.loss") == pytest.approx(lab.back(pixels(page), 8)["loss"], rel=1e-4)
        page.locator("[data-widget=carry] input[type=range]").fill("20")
        assert "From row 28 to row 20" in page.text_content("[data-widget=carry] .said")
        page.locator("[data-widget=gates] input[type=range]").fill("64")
        assert "unit 64" in page.locator("[data-widget=gates] svg").get_attribute("aria-label")


def test_breaking_a_line(chromium: Any, address: str) -> None:
    with visited(chromium, address) as page:
        section = page.locator("[data-widget=break-it]")
        use(page, "break_it", lambda: section.get_by_role("button", name="Is it still right?").click())
        assert section.locator("td.wrong").count() == 0 and section.locator("td.right").count() == 15
        use(page, "break_it", lambda: section.get_by_role("button", name="1.0001").click())
        wrong = section.locator("tr", has=page.locator("td.wrong")).locator("th").all_text_contents()
        assert wrong == ["complex step", "differences"]
        section.locator("textarea").fill("def dlstm(:")
        use(page, "break_it", lambda: section.get_by_role("button", name="Is it still right?").click())
        assert "It does not run: line 1: invalid syntax" in section.locator(".said").text_content()


def test_kernel_averages_bias_and_training(chromium: Any, address: str) -> None:
    with visited(chromium, address) as page:
        section = page.locator("[data-widget=convolution]")
        use(page, "convolve", lambda: section.get_by_role("button", name="vertical").click())
        wait(page, f"{LAB}.results.forget_bias.asked[0] === {LAB}.digit")
        mine = lab.convolve(pixels(page), [1, 0, -1, 1, 0, -1, 1, 0, -1])
        np.testing.assert_allclose(array(page, "convolve", "y"), mine["y"], atol=1e-6)
        assert [float(v) for v in section.locator(".nine span").all_text_contents()] == pytest.approx(
            mine["taps"][9, 13].tolist(), abs=0.006)
        use(page, "batch_norm", lambda: page.locator("[data-widget=batchnorm] input").first.fill("30"))
        with tn.using("reference"):
            assert page.evaluate(f"{LAB}.results.batch_norm.mean") == lab.batch_norm(30, 5, 2)["mean"]
        np.testing.assert_allclose(array(page, "forget_bias", "norms"), lab.forget_bias(pixels(page))["norms"],
                                   rtol=1e-3, atol=1e-6)
        assert page.locator("[data-widget=bias] polyline").count() == 4
        assert page.locator("[data-widget=v-curve] polyline").count() == 3
        section = page.locator("[data-widget=training]")
        use(page, "training", lambda: section.get_by_role("button", name="start").click())
        section.get_by_role("button", name="stop").click()
        assert "loss" in section.locator(".said").text_content()


def test_the_smaller_widgets(chromium: Any, address: str) -> None:
    """Each is moved once, and shows what the lab then answers."""
    with visited(chromium, address) as page:
        def move(widget: str, name: str, which: int, value: str, asked: str = "") -> Any:
            use(page, name, lambda: page.locator(f"[data-widget={widget}] input").nth(which).fill(value))
            wait(page, f"{LAB}.results.{name}.asked.flat().map(Number).includes({asked or value})")
            return page.locator(f"[data-widget={widget}]")

        section = move("products", "products", 0, "3", asked="2")
        assert section.locator("td.chosen").count() == 3 + 3 + 1
        section = move("softmax", "softmax", 0, "-2")
        shown = [float(text) for text in section.locator("td:last-child").all_text_contents()]
        assert shown == pytest.approx(lab.CALLS["softmax"]([-2, 1, 0, -1], 1)["gradient"], abs=1e-4)
        section = move("tape", "tape", 0, "1.5")
        da = lab.CALLS["tape"](1.5, -0.5)["gradients"][0]
        assert f"da = {da:.4f}" in section.locator(".said").text_content()
        section.locator("input").nth(2).fill("1")
        assert section.locator("tr.visited").count() == 1
        use(page, "pooling", lambda: page.locator("[data-widget=pooling] select").select_option("average pool 4 x 4"))
        np.testing.assert_allclose(array(page, "pooling", "dx"), np.full((28, 28), 1 / 16), atol=1e-6)
        section = move("optimizers", "optimizers", 0, "0.03")
        np.testing.assert_allclose(array(page, "optimizers", "losses"), lab.CALLS["optimizers"](0.03, 100)["losses"],
                                   rtol=1e-5)
        assert section.locator("polyline").count() == 3
        assert "do not decide" in move("comparison", "comparison", 1, "200").locator(".said").text_content()
        found = lab.CALLS["roc"](2.0, 0.7, 0.1)
        assert f"{100 * found['sensitivity']:.0f} % of the ill" in move("roc", "roc", 0, "0.7").locator(
            ".said").text_content()
        assert "limited by computing" in move("roofline", "roofline", 0, "512").locator(".said").text_content()
        assert "5 blocks of 8 threads; 3 threads" in move("threads", "threads", 0, "37").locator(".said").text_content()


@pytest.mark.parametrize(("width", "dark"), [(390, True), (768, False), (1440, False)])
def test_layout_and_access(chromium: Any, address: str, width: int, dark: bool) -> None:
    axe = axe_source()
    with visited(chromium, address, width, dark) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        outside = page.evaluate("""[...document.querySelectorAll("button, input, select, textarea, canvas, svg")]
            .filter(one => one.getBoundingClientRect().right > innerWidth + 1).length""")
        assert outside == 0
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(19, 20, 22)" if dark else "rgb(255, 255, 255)")
        if axe is not None:
            assert serious_faults(page, axe) == []


def test_a_wrong_token_is_told(chromium: Any) -> None:
    with serving(Server()) as server:
        context = chromium.new_context()
        page = context.new_page()
        page.goto(server.address[:-3] + "xyz")
        wait(page, "document.getElementById('standing').textContent.includes('could not start')")
        assert "a wrong token" in page.text_content("#standing")
        context.close()
