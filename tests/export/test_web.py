"""The web page of a model, in headless Chromium and without a network: its probabilities are those of tinynet.

Needs Chromium, the package playwright, and the files of onnxruntime-web (or npm, which fetches them once).
"""

import base64
import gzip
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tinynet as tn
from tests.export.models import saved_classifier
from tests.support.browser import CHROMIUM, browser, classified, opened, wait
from tinynet.__main__ import main
from tinynet.classifier import Classifier
from tinynet.data import read_image
from tinynet.errors import ExportError, ModelFileError
from tinynet.export.web import runtime
from tinynet.export.web.page import page as page_text
from tinynet.export.web.page import write_page
from tinynet.export.web.runtime import runtime_files

pytest.importorskip("onnx", reason="pip install -e '.[test]' brings onnx")

SIZES = {"colour": (24, 20, 3), "grey": (28, 28, 1)}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    pytest.importorskip("playwright", reason="pip install -e '.[test]' brings playwright")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt install chromium")
    try:
        runtime_files()
    except ExportError as error:
        pytest.skip(str(error))
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def models(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """For each kind of image a saved model, its page beside it, and its classifier."""
    folder, found = tmp_path_factory.mktemp("pages"), {}
    for name, size in SIZES.items():
        model = saved_classifier(folder / name, size)
        assert main(["export", str(folder / name), "--web", str(folder / f"{name}.html")]) == 0
        found[name] = folder / f"{name}.html", Classifier(model)
    return found


def scene(height: int, width: int, seed: int = 0) -> Any:
    """An image (height, width, 3) with coarse and fine structure."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(rng.uniform(3, 40) * x + rng.uniform(3, 40) * y + k) for k in range(3)]
    noise = rng.normal(0, 12, (height, width, 3))
    return np.clip(128 + 100 * np.stack(waves, axis=-1) + noise, 0, 255).astype(np.uint8)


def written(path: Path, pixels: Any, mode: str = "RGB", **options: Any) -> Path:
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels).convert(mode)).save(path, **options)
    return path


def ours(pictures: Classifier, path: Path) -> Any:
    return pictures.probabilities(read_image(path, size=pictures.size, channels=pictures.channels)[None])[0]


# --- in the browser ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", SIZES)
def test_probabilities_of_png_files(name: str, models: dict[str, Any], chromium: Any, tmp_path: Path) -> None:
    page, pictures = models[name]
    height, width = pictures.size
    same = [written(tmp_path / f"{mode}.png", scene(height, width), mode) for mode in ("RGB", "L", "P", "1")]
    other = [written(tmp_path / f"{h}x{w}.png", scene(h, w, h)) for h, w in ((48, 40), (301, 203), (9, 70), (1, 1))]
    clear = scene(90, 60)
    clear = np.concatenate([clear, scene(90, 60, 5)[..., :1]], axis=-1)  # with an alpha channel
    other += [written(tmp_path / "alpha.png", Image.fromarray(clear)),
              written(tmp_path / "grey.png", scene(77, 66), "L")]
    with opened(chromium, page) as (browsed, outside, errors):
        found = classified(browsed, [*same, *other])[::-1]
        assert (outside, errors) == ([], [])
        assert browsed.locator("#results > li").count() == len(found)
    for path, result in zip([*same, *other], found, strict=True):
        assert result["name"] == path.name
        difference = np.abs(ours(pictures, path) - result["probabilities"]).max()
        assert difference <= (1e-4 if path in same else 2e-3), path.name


def test_a_threshold_decides(chromium: Any, tmp_path: Path) -> None:
    model = saved_classifier(tmp_path / "model", classes=2)
    model.decision_threshold = 0.999
    tn.save(tmp_path / "model", model)
    assert main(["export", str(tmp_path / "model"), "--web", str(tmp_path / "page.html")]) == 0
    path = written(tmp_path / "a.png", scene(40, 50))
    with opened(chromium, tmp_path / "page.html") as (browsed, outside, errors):
        classified(browsed, [path])
        name = Classifier(model).classes[Classifier(model).decided(ours(Classifier(model), path)[None])[0]]
        assert f"Predicted: {name}. class 1 is predicted above 99.9 %" in browsed.inner_text("#results")
        assert name in browsed.inner_text("#status") and (outside, errors) == ([], [])


def test_jpeg_files_get_the_same_class(models: dict[str, Any], chromium: Any, tmp_path: Path) -> None:
    page, pictures = models["colour"]
    sizes = [(40, 30), (24, 20), (100, 81), (200, 300), (640, 480)]
    paths = [written(tmp_path / f"{i}.jpg", scene(*sizes[i % 5], i), quality=70 + i, progressive=i % 3 == 0,
                     exif=_turned(1 + i % 8)) for i in range(20)]
    with opened(chromium, page) as (browsed, outside, errors):
        found = classified(browsed, paths)[::-1]
        assert (outside, errors) == ([], [])
    for path, result in zip(paths, found, strict=True):
        expected = ours(pictures, path)
        assert np.argmax(result["probabilities"]) == expected.argmax()
        assert np.abs(expected - result["probabilities"]).max() <= 0.03


def _turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_an_occlusion_map(models: dict[str, Any], chromium: Any, tmp_path: Path) -> None:
    page, pictures = models["colour"]
    path = written(tmp_path / "a.png", scene(*pictures.size))
    with opened(chromium, page) as (browsed, outside, errors):
        result, = classified(browsed, [path])
        browsed.get_by_role("button", name="Explain").click()
        wait(browsed, "window.tinynet.results[0].map")
        found = np.reshape(browsed.evaluate("window.tinynet.results[0].map"), pictures.size)
        assert (outside, errors) == ([], [])
        assert "Red: covering this part lowers" in browsed.locator("#results .hint").text_content()
    pixels = read_image(path, size=pictures.size)
    target, (height, width) = int(np.argmax(result["probabilities"])), pictures.size
    tall, wide = round(height / 7), round(width / 7)
    fall, covers = np.zeros(pictures.size), np.zeros(pictures.size)
    for y in range(0, height, round(tall / 2 + 0.01)):
        for x in range(0, width, round(wide / 2 + 0.01)):
            covered = pixels.copy()
            covered[y : y + tall, x : x + wide] = np.floor(pixels.mean(axis=(0, 1)) + 0.5)
            part = result["probabilities"][target] - pictures.probabilities(covered[None])[0, target]
            fall[y : y + tall, x : x + wide] += part
            covers[y : y + tall, x : x + wide] += 1
    assert np.abs(found).max() > 0.01
    np.testing.assert_allclose(found, fall / covers, atol=1e-4)


def test_drawing_with_the_mouse_and_the_keyboard(models: dict[str, Any], chromium: Any) -> None:
    page, pictures = models["grey"]
    with opened(chromium, page) as (browsed, outside, errors):
        box = browsed.locator("#pad").bounding_box()
        browsed.mouse.move(box["x"] + 80, box["y"] + 70)
        browsed.mouse.down()
        for x, y in ((200, 70), (130, 220)):
            browsed.mouse.move(box["x"] + x, box["y"] + y, steps=6)
        browsed.mouse.up()
        wait(browsed, "document.getElementById('answer').textContent")
        browsed.wait_for_timeout(100)
        drawn = browsed.evaluate("window.tinynet.results")
        browsed.get_by_role("button", name="Clear the pad").click()
        browsed.locator("#pad").focus()
        for key in (" ", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowUp", " "):
            browsed.keyboard.press(key)
        wait(browsed, "window.tinynet.results.length === 2")
        typed = browsed.evaluate("window.tinynet.results")
        assert (outside, errors) == ([], [])
    assert len(drawn) == 1 and [one["name"] for one in typed] == ["drawing"] * 2
    for result in typed:
        values = result["input"].values() if isinstance(result["input"], dict) else result["input"]
        pixels = np.array(list(values), np.uint8).reshape(1, 28, 28, 1)
        ink = pixels[0, ..., 0].astype(float)
        centre = [(ink.sum(axis=axis) * (np.arange(28) + 0.5)).sum() / ink.sum() for axis in (0, 1)]
        np.testing.assert_allclose(centre, 14, atol=0.6)
        assert (ink[:3] == 0).all() and ink.max() > 200
        np.testing.assert_allclose(pictures.probabilities(pixels)[0], result["probabilities"], atol=1e-4)
    assert not models["colour"][0].read_text().count('"pad": true')


def test_what_is_no_image_is_told(models: dict[str, Any], chromium: Any, tmp_path: Path) -> None:
    page, _ = models["colour"]
    bad = tmp_path / "bad <b>.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with opened(chromium, page) as (browsed, _, _):
        browsed.set_input_files("#files", [str(bad)])
        wait(browsed, "document.querySelector('[role=alert]')")
        assert "bad <b>.png cannot be read: " in browsed.get_by_role("alert").text_content()
        classified(browsed, [written(tmp_path / "good.png", scene(30, 30))])
        browsed.get_by_role("button", name="Remove all").click()
        assert browsed.locator("#results > li, [role=alert]").count() == 0


@pytest.mark.parametrize(("width", "height", "dark"), [(390, 844, True), (390, 844, False), (1280, 800, True)])
def test_layout(width: int, height: int, dark: bool, models: dict[str, Any], chromium: Any, tmp_path: Path) -> None:
    with opened(chromium, models["grey"][0], width=width, height=height, dark=dark) as (page, outside, errors):
        classified(page, [written(tmp_path / f"{'a long name ' * 9}.png", scene(300, 40))])
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        light = sum(map(int, page.evaluate("getComputedStyle(document.body).backgroundColor")[4:-1].split(", ")))
        assert (light < 200) is dark
        inputs, results = (page.locator(name).bounding_box() for name in (".inputs", ".outputs"))
        assert (results["y"] > inputs["y"] + inputs["height"]) is (width < 768)
        names = [page.locator(":focus").get_attribute("id") for _ in range(4) if page.keyboard.press("Tab") is None]
        assert names[:3] == ["files", "pad", "clear-pad"]  # in this order with the keyboard
        assert page.get_by_label("Choose images").count() == page.get_by_label("Pad to draw on").count() == 1
        assert "access to" in page.locator(".private").text_content()
        assert (outside, errors) == ([], [])


def test_the_page_cannot_send_anything(models: dict[str, Any], chromium: Any) -> None:
    with opened(chromium, models["grey"][0]) as (page, _, errors):
        refused = page.evaluate("fetch('http://127.0.0.1:9/').then(() => '', error => String(error))")
        assert "TypeError" in refused and any("Content Security Policy" in error for error in errors)


# --- without a browser ------------------------------------------------------------------------------------------------

FILES = {name: f"{name} </script> </SCRIPT>".encode() for name in runtime.CHECKSUMS}


@pytest.fixture
def small_runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with three short files that pass for the runtime, and an empty cache."""
    import hashlib

    monkeypatch.setattr(runtime, "CHECKSUMS", {name: hashlib.sha256(text).hexdigest() for name, text in FILES.items()})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "runtime" / "dist").mkdir(parents=True)
    for name, content in FILES.items():
        (tmp_path / "runtime" / "dist" / name).write_bytes(content)
    return tmp_path / "runtime"


def test_names_cannot_leave_their_place(small_runtime: Path, tmp_path: Path) -> None:
    model = saved_classifier(tmp_path / "model")
    model.classes = ("</script><script>alert(1)</script>", "<b>", "{{js}}")
    write_page(model, tmp_path / "page.html", title="<i>&", runtime_folder=small_runtime)
    text = (tmp_path / "page.html").read_text()
    assert text.lower().count("</script") == text.count("<script") == 6
    assert "<b>" not in text and "<i>" not in text and text.count('"use strict"') == 1
    config = text.partition('<script id="config" type="application/json">')[2].partition("</script>")[0]
    assert json.loads(config)["classes"] == list(model.classes)
    again = tmp_path / "again.html"
    write_page(model, again, title="<i>&", runtime_folder=small_runtime / "dist")
    assert again.read_text() == text


@pytest.mark.parametrize("size", [(28, 28, 1), (28, 28, 3), (28, 27, 1), (20, 28, 1)], ids=str)
def test_a_pad_is_for_grey_images_of_28_by_28(small_runtime: Path, size: tuple[int, int, int]) -> None:
    text = page_text(b"model", ("a", "b"), size, "title", FILES)
    config = json.loads(text.partition('<script id="config" type="application/json">')[2].partition("</script>")[0])
    assert [config[name] for name in ("height", "width", "channels")] == list(size)
    assert config["pad"] == (size == (28, 28, 1)) and config["classes"] == ["a", "b"]


def test_the_runtime_is_verified(small_runtime: Path, tmp_path: Path) -> None:
    assert runtime_files(small_runtime) == FILES
    (small_runtime / "dist" / runtime.GLUE).write_text("changed")
    with pytest.raises(ExportError, match=r"must be that of onnxruntime-web .* with SHA-256"):
        runtime_files(small_runtime)
    (small_runtime / "dist" / runtime.GLUE).unlink()
    with pytest.raises(ExportError, match=r"must hold ort\.wasm\.min\.js"):
        runtime_files(small_runtime)


def test_npm_fetches_the_runtime_once(small_runtime: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = []

    def pack(command: list[str], cwd: str, **options: Any) -> None:
        calls.append(command[1:])
        with tarfile.open(Path(cwd, "made.tgz"), "w:gz") as archive:
            for name, content in FILES.items():
                entry = tarfile.TarInfo(f"package/dist/{name}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))

    monkeypatch.setattr(runtime.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(runtime.subprocess, "run", pack)
    assert runtime_files() == runtime_files() == FILES
    assert calls == [["pack", "--silent", f"onnxruntime-web@{runtime.VERSION}"]]
    kept = tmp_path / "cache" / "tinynet" / f"onnxruntime-web-{runtime.VERSION}"
    assert kept.stat().st_mode & 0o777 == 0o700
    (kept / runtime.WASM).write_text("changed")
    with pytest.raises(ExportError, match="delete it, and fetch it again"):
        runtime_files()


def test_an_archive_with_folders_in_the_place_of_files_is_told(small_runtime: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    def pack(command: list[str], cwd: str, **options: Any) -> None:
        with tarfile.open(Path(cwd, "made.tgz"), "w:gz") as archive:
            for name in FILES:
                entry = tarfile.TarInfo(f"package/dist/{name}")
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)

    monkeypatch.setattr(runtime.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(runtime.subprocess, "run", pack)
    with pytest.raises(ExportError, match=r"npm must fetch .* and does not \(KeyError\)"):
        runtime_files()


@pytest.mark.parametrize(("npm", "fault", "message"), [
    (None, None, "npm, which would fetch it, is not installed"),
    ("/bin/npm", subprocess.CalledProcessError(1, "npm"), "npm must fetch"),
    ("/bin/npm", subprocess.TimeoutExpired("npm", 1), "npm must fetch"), ("/bin/npm", None, "npm must fetch")])
def test_without_the_runtime_one_sentence_says_what_to_do(
        npm: str | None, fault: Exception | None, message: str, small_runtime: Path, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def pack(*arguments: Any, **options: Any) -> None:
        if fault:
            raise fault

    monkeypatch.setattr(runtime.shutil, "which", lambda name: npm)
    monkeypatch.setattr(runtime.subprocess, "run", pack)
    saved_classifier(tmp_path / "model")
    assert main(["export", str(tmp_path / "model"), "--web", str(tmp_path / "page.html")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and message in said and "--runtime" in said and runtime.VERSION in said
    assert not (tmp_path / "page.html").exists()


def test_a_model_that_is_no_classifier(small_runtime: Path, tmp_path: Path) -> None:
    model = tn.nn.Sequential(tn.nn.Dense(3, 2), input_shape=(3,))
    with pytest.raises(ModelFileError, match="must take images"):
        write_page(model, tmp_path / "page.html", runtime_folder=small_runtime)


def test_the_command(small_runtime: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved_classifier(tmp_path / "cats")
    page = tmp_path / "page.html"
    assert main(["export", str(tmp_path / "cats"), "--web", str(page), "--runtime", str(small_runtime), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(page), "bytes": page.stat().st_size}
    assert "<title>cats</title>" in page.read_text()


@pytest.mark.parametrize(("count", "said"), [(2, "Tells 2 classes apart: name 0, name 1."), (
    15, "Tells 15 classes apart: " + ", ".join(f"name {k}" for k in range(12)) + " and 3 more.")])
def test_what_the_page_knows_of_its_model(count: int, said: str) -> None:
    """Its classes, the size of its images, its threshold, and the model itself."""
    files = {name: name.encode() for name in (runtime.LIBRARY, runtime.GLUE, runtime.WASM)}
    names = tuple(f"name {k}" for k in range(count))
    text = page_text(b"the model", names, (20, 30, 3), "Cat & dog", files, 0.25)
    assert said in text and "<title>Cat &amp; dog</title>" in text
    config = json.loads(re.search(r"\{\"classes\".*\}", text)[0])  # type: ignore[index]
    assert config == {"classes": list(names), "height": 20, "width": 30, "channels": 3, "pad": False, "threshold": 0.25}
    assert base64.b64encode(b"the model").decode() in text and base64.b64encode(runtime.GLUE.encode()).decode() in text
    packed = re.findall(r"[A-Za-z0-9+/]{20,}=*", text)
    assert runtime.WASM.encode() in [gzip.decompress(base64.b64decode(one)) for one in packed if one.startswith("H4sI")]
