"""examples/reliability.py: the published report is what the records say, and its measures are right."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import tinynet as tn
from tinynet.novelty import remember

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import reliability  # noqa: E402


def test_the_published_report_is_what_the_records_say() -> None:
    records = [json.loads(path.read_text()) for path in sorted((EXAMPLES / "reliability").glob("*.json"))]
    assert records and (EXAMPLES / "RELIABILITY.md").read_text() == reliability.report(records)


def test_covering_what_matters_lowers_the_probability() -> None:
    model = tn.nn.Sequential(tn.nn.Flatten(), tn.nn.Dense(100, 2), input_shape=(10, 10, 1))
    weights = np.zeros((10, 10, 2), "float32")
    weights[2:4, 3:8, 1] = 1
    model[1].load_state_dict({"W": weights.reshape(100, 2), "b": np.zeros(2, "float32")})
    x = np.zeros((5, 10, 10, 1), "float32")
    x[:, 2:4, 3:8] = 1
    maps = np.repeat(weights[None, :, :, 1], 5, axis=0)
    assert reliability.falls(model, x, maps).all()
    assert not reliability.falls(model, x, -maps).any()


def test_a_tenth_of_the_pixels_is_covered_at_ten_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the map is largest by its mean, and the same shape elsewhere."""
    x = np.random.default_rng(0).uniform(size=(3, 12, 15, 2)).astype("float32")
    maps = np.random.default_rng(1).uniform(size=(3, 12, 15))
    seen: list[np.ndarray] = []
    monkeypatch.setattr(tn, "predict", lambda model, images, batch_size: seen.append(images) or np.zeros((3, 2)))
    assert not reliability.falls(tn.nn.Flatten(), x, maps).any(), "equal is no fall"
    covered = [(images != x).all(axis=3) for images in seen]
    assert len(covered) == 11 and all((one.sum(axis=(1, 2)) == 18).all() for one in covered)
    assert [maps[k][covered[-1][k]].min() > maps[k][~covered[-1][k]].max() for k in range(3)] == [True] * 3
    assert len({one.tobytes() for one in covered}) == 11
    np.testing.assert_allclose(seen[-1][1][covered[-1][1]], np.tile(x[1].mean(axis=(0, 1)), (18, 1)), rtol=1e-6)


def test_the_calibration_error_by_chance(tmp_path: Path) -> None:
    rows = [f"{number}.png,{1 + number % 2},a,b,{1 - p},{p}" for number, p in enumerate([0.9] * 30 + [0.2] * 30)]
    (tmp_path / "predictions.csv").write_text("\n".join(["image,fold,class,predicted,p(a),p(b)", *rows]) + "\n")
    rng, found = np.random.default_rng(0), []
    for _ in range(2000):  # the two folds have 15 images of each probability
        right = rng.binomial(15, [[0.9, 0.8], [0.9, 0.8]]) / 15
        found.append(np.abs(right - [0.9, 0.8]).mean())
    assert reliability.by_chance(tmp_path / "predictions.csv") == pytest.approx(np.mean(found), abs=0.01)


def test_kinds_of_images() -> None:
    pages = [reliability.page(number) for number in range(4)]
    assert all(page.ndim == 2 and page.dtype == np.uint8 and page.std() > 5 for page in pages)
    np.testing.assert_array_equal(reliability.page(3), pages[3])
    images = reliability.resized(pages, (20, 30))
    assert images.shape == (4, 20, 30, 3)
    model = tn.nn.Sequential(tn.nn.Flatten(), tn.nn.Dense(1800, 2), input_shape=(20, 30, 3))
    dark = np.random.default_rng(0).integers(0, 30, (200, 20, 30, 3), dtype=np.uint8)
    remember(model, dark[:100], dark[100:])
    assert reliability.share_unlike(model, images) == 1.0


def test_without_data(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINYNET_DATA", raising=False)
    assert reliability.main(["--records", str(tmp_path / "reliability")]) == 1
    assert "--data must name the folder" in capsys.readouterr().err
    assert reliability.main(["--report", "--records", str(tmp_path / "reliability")]) == 0
    assert not (tmp_path / "RELIABILITY.md").exists()
