"""Maps of what a classifier looks at: against computations by hand, and on images with a known place."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tinynet as tn
from tinynet import explain
from tinynet.__main__ import main
from tinynet.ensemble import ensemble
from tinynet.errors import ArgumentError, ShapeError

nn = tn.nn
rng = np.random.default_rng(0)


def cnn(side: int = 12, channels: int = 3) -> nn.Sequential:
    made = nn.Sequential(nn.Conv2D(channels, 6, 3, padding="same"), nn.BatchNorm(6), nn.ReLU(), nn.MaxPool2D(2),
                         nn.Dropout(0.5), nn.Flatten(), nn.Dense(6 * (side // 2) ** 2, 2),
                         input_shape=(side, side, channels))
    made(tn.Tensor(rng.normal(size=(8, side, side, channels)).astype("float32")))  # running averages
    return made


def trained(steps: int = 60) -> tuple[nn.Sequential, np.ndarray, np.ndarray]:
    """A model that tells a bright square from none: the model, images with it, and where it is: (N,2)."""
    tn.seed(0)
    random = np.random.default_rng(1)
    model, x = cnn(), random.normal(0, 0.3, (256, 12, 12, 3)).astype("float32")
    corners = random.integers(0, 9, (256, 2))
    for image, (y, left) in zip(x[:128], corners, strict=False):
        image[y : y + 4, left : left + 4] += 1
    labels = (np.arange(256) < 128).astype("int64")
    loader = tn.data.Loader(x, labels, batch_size=32, shuffle=True)
    tn.fit(model, tn.optim.Adam(model.parameters(), lr=5e-3), loader, epochs=steps // 8, show=False)
    assert tn.evaluate(model, loader)["accuracy"] > 0.95
    return model, x[:128], corners[:128]


@pytest.mark.parametrize("method", [explain.gradient, explain.grad_cam, explain.occlusion])
def test_the_map_is_high_where_the_object_is(method: Any) -> None:
    model, x, corners = trained()
    maps = method(model, x[:40], 1)
    assert maps.shape == (40, 12, 12) and maps.dtype == np.float32
    found = 0
    for one, (y, left) in zip(maps, corners, strict=False):
        inside = np.zeros((12, 12), bool)
        inside[y : y + 4, left : left + 4] = True
        found += one[inside].mean() > one[~inside].mean() + one.std()
    assert found >= 30


def test_the_gradient_of_a_linear_model() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dense(8 * 6 * 2, 3))
    x = rng.normal(size=(4, 8, 6, 2)).astype("float32")
    W = model[1].W.numpy().reshape(8, 6, 2, 3)
    targets = np.array([0, 2, 1, 2])
    centred = x - x.mean(axis=(1, 2), keepdims=True)
    plain = np.stack([(centred[i] * W[..., k]).sum(axis=-1) for i, k in enumerate(targets)])
    smooth = np.empty_like(plain)
    for i in range(4):
        for a in range(8):
            for b in range(6):
                rows = np.exp(-0.5 * ((np.arange(8) - a) / 0.5) ** 2)
                columns = np.exp(-0.5 * ((np.arange(6) - b) / 0.5) ** 2)
                smooth[i, a, b] = rows @ plain[i] @ columns / rows.sum() / columns.sum()
    np.testing.assert_allclose(explain.gradient(model, x, targets), smooth, atol=1e-5)
    assert explain.gradient(nn.Sequential(nn.Flatten(), nn.Dense(48, 2)), x[..., 0]).shape == (4, 8, 6)


def test_grad_cam_by_hand() -> None:
    model = nn.Sequential(nn.Conv2D(2, 5, 3, padding="same"), nn.ReLU(), nn.GlobalAveragePool(), nn.Dense(5, 3))
    x = rng.normal(size=(4, 8, 6, 2)).astype("float32")
    features = nn.Sequential(model[0], model[1])(tn.Tensor(x)).numpy()
    weights = model[3].W.numpy()[:, 2] / (8 * 6)
    expected = np.maximum((features * weights).sum(axis=-1), 0)
    for layer in (None, "1", model[1]):
        np.testing.assert_allclose(explain.grad_cam(model, x, 2, layer=layer), expected, atol=1e-6)
    assert not np.allclose(explain.grad_cam(model, x, 2, layer="0"), expected)
    ends = nn.Sequential(model[0], model[1], nn.Flatten(), nn.Dense(8 * 6 * 5, 3))  # slopes differ from place to place
    weights = ends[3].W.numpy()[:, 2].reshape(8, 6, 5).mean(axis=(0, 1))
    np.testing.assert_allclose(explain.grad_cam(ends, x, 2), np.maximum((features * weights).sum(axis=-1), 0),
                               atol=1e-6)


@pytest.mark.parametrize("frozen", [True, False])
def test_what_the_scores_do_not_depend_on_has_a_map_of_zeros(frozen: bool) -> None:
    class Aside(nn.Module):
        def __init__(self, share: float) -> None:
            self.aside, self.dense, self.share = nn.Conv2D(2, 2, 3, padding="same"), nn.Dense(2, 3), share

        def forward(self, x: tn.Tensor) -> tn.Tensor:
            self.aside(x)
            return self.dense(x.mean((1, 2)) if self.share else tn.Tensor(np.ones((x.shape[0], 2), "float32")))

    x = rng.normal(size=(4, 8, 6, 2)).astype("float32")
    for share in (0.0, 1.0):
        model = Aside(share)
        for parameter in model.parameters():
            parameter.requires_grad = not frozen
        np.testing.assert_array_equal(explain.grad_cam(model, x, 2, layer="aside"), np.zeros((4, 8, 6)))
        assert explain.gradient(model, x, 2).any() == bool(share)


def test_of_two_uses_of_a_layer_grad_cam_takes_the_later_one() -> None:
    x = rng.normal(size=(4, 8, 6, 2)).astype("float32")
    twice = nn.Conv2D(2, 2, 3, padding="same")
    model = nn.Sequential(twice, nn.ReLU(), twice, nn.GlobalAveragePool(), nn.Dense(2, 3))
    features = nn.Sequential(*model[:3])(tn.Tensor(x)).numpy()
    expected = np.maximum((features * model[4].W.numpy()[:, 1] / 48).sum(axis=-1), 0)
    for layer in (twice, None):
        np.testing.assert_allclose(explain.grad_cam(model, x, 1, layer=layer), expected, atol=1e-6)


def test_gradients_are_smoothed_by_a_28th_of_each_side() -> None:
    point = np.zeros((1, 28, 56), np.float32)
    point[0, 12, 30] = 1
    rows, columns = np.exp(-0.5 * (np.arange(28) - 12) ** 2), np.exp(-0.5 * ((np.arange(56) - 30) / 2) ** 2)
    np.testing.assert_allclose(explain._smooth(point)[0], np.outer(rows / rows.sum(), columns / columns.sum()),
                               atol=1e-6)


def test_grad_cam_enlarges_between_centers() -> None:
    maps = np.array([[[0.0, 1.0], [2.0, 3.0]]], np.float32)
    large = explain._enlarged(maps, 4, 4)
    np.testing.assert_allclose(large[0, 0], [0, 0.25, 0.75, 1])
    np.testing.assert_allclose(large[0, :, 0], [0, 0.5, 1.5, 2])
    np.testing.assert_array_equal(explain._enlarged(maps, 2, 2), maps)
    np.testing.assert_allclose(explain._enlarged(maps, 2, 3), [[[0, 0.5, 1], [2, 2.5, 3]]])
    assert explain._enlarged(maps[:, :1, :1] + 3, 5, 7).tolist() == [[[3.0] * 7] * 5]


def test_grad_cam_of_a_model_that_reads_rows() -> None:
    model = nn.Sequential(nn.LSTM(10, 8), nn.Conv1D(8, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dense(4 * 12, 2))
    maps = explain.grad_cam(model, rng.normal(size=(3, 14, 10)).astype("float32"), 1)
    assert maps.shape == (3, 14, 10)
    np.testing.assert_array_equal(maps, np.repeat(maps[:, :, :1], 10, axis=2))
    by_hand = nn.Sequential(nn.Conv1D(10, 4, 3, padding="same"), nn.ReLU(), nn.Flatten(), nn.Dense(14 * 4, 2))
    x = rng.normal(size=(3, 14, 10)).astype("float32")
    features = nn.Sequential(*by_hand[:2])(tn.Tensor(x)).numpy()
    weights = by_hand[3].W.numpy()[:, 1].reshape(14, 4).mean(axis=0)
    expected = np.maximum((features * weights).sum(axis=-1), 0)
    np.testing.assert_allclose(explain.grad_cam(by_hand, x, 1), expected[:, :, None].repeat(10, axis=2), atol=1e-6)
    once = nn.Sequential(nn.LSTM(10, 8), nn.Conv1D(8, 4, 14), nn.ReLU(), nn.Flatten(), nn.Dense(4, 2))
    np.testing.assert_array_equal(explain.grad_cam(once, x, 1), explain.grad_cam(once, x, 1, layer="0"))
    with pytest.raises(ArgumentError, match=r"must have a layer whose output is \(N,h,w,C\)"):
        explain.grad_cam(nn.Sequential(nn.Flatten(), nn.Dense(12, 2)), np.zeros((1, 3, 4), "float32"))


def test_grad_cam_prefers_a_map_of_an_image_to_a_later_sequence() -> None:
    model = nn.Sequential(nn.Conv2D(1, 3, 3, padding="same"), nn.ReLU(), nn.Reshape((6, 15)), nn.LSTM(15, 4),
                          nn.Flatten(), nn.Dense(24, 2))
    x = rng.normal(size=(2, 6, 5, 1)).astype("float32")
    maps = explain.grad_cam(model, x, 1)
    np.testing.assert_array_equal(maps, explain.grad_cam(model, x, 1, layer="1"))
    assert not np.allclose(maps, explain.grad_cam(model, x, 1, layer="3"))


def test_a_class_for_each_image_is_of_any_integers() -> None:
    model, x = cnn(), rng.normal(size=(3, 12, 12, 3)).astype("float32")
    expected = np.concatenate([explain.gradient(model, x[[i]], k) for i, k in enumerate((1, 0, 1))])
    for target in ([1, 0, 1], np.array([1, 0, 1], np.uint8)):
        np.testing.assert_allclose(explain.gradient(model, x, target), expected, atol=1e-6)
    for target in (1, [1], np.array([1], np.int16)):
        np.testing.assert_array_equal(explain.gradient(model, x, target), explain.gradient(model, x, [1, 1, 1]))
    for target in ([1, 0], [[1], [0], [1]], []):
        with pytest.raises(ArgumentError, match="grad_cam: target must be the number of a class below 2, or one for"):
            explain.grad_cam(model, x, target)


@pytest.mark.parametrize("size", [None, 4, (2, 6), 12, (None, np.int64(4))])
def test_occlusion_by_hand(size: Any) -> None:
    tn.seed(0)
    model, x = cnn(), rng.normal(size=(2, 12, 12, 3)).astype("float32")
    found = explain.occlusion(model, x, np.array([0, 1]), size=size)
    tall, wide = {None: (2, 2), 4: (4, 4), 12: (12, 12), (None, 4): (2, 4)}.get(size, size)  # type: ignore[arg-type]

    def p(image: np.ndarray, k: int) -> float:
        return float(tn.ops.softmax(tn.Tensor(tn.predict(model, image[None]))).numpy()[0, k])

    for i in range(2):
        fall, count = np.zeros((12, 12)), np.zeros((12, 12))
        for y in range(0, 12, tall // 2):
            for left in range(0, 12, wide // 2):
                covered = x[i].copy()
                covered[y : y + tall, left : left + wide] = x[i].mean(axis=(0, 1))
                fall[y : y + tall, left : left + wide] += p(x[i], i) - p(covered, i)
                count[y : y + tall, left : left + wide] += 1
        np.testing.assert_allclose(found[i], fall / count, atol=1e-6)


def test_a_patch_of_a_wide_image_moves_by_half_of_each_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """A seventh of each side by default, at least a pixel."""
    seen: list[np.ndarray] = []

    def probability(model: Any, images: np.ndarray, target: int) -> np.ndarray:
        seen.append(images)
        return np.zeros(len(images))

    monkeypatch.setattr(explain, "_probability", probability)
    monkeypatch.setattr(explain, "_checked", lambda function, model, x, target: (x, np.zeros(len(x), int)))
    x = np.arange(8 * 28, dtype="float32").reshape(1, 8, 28, 1)
    for size, corners in ((None, [(y, left) for y in range(8) for left in range(0, 28, 2)]),
                          ((4, 14), [(y, left) for y in range(0, 8, 2) for left in range(0, 28, 7)])):
        seen.clear()
        explain.occlusion(None, x, 0, size=size)  # type: ignore[arg-type]
        covered = [np.argwhere(image[..., 0] == x.mean()) for image in np.concatenate(seen[1:])]
        assert [tuple(one[0].tolist()) for one in covered] == corners


@pytest.mark.parametrize("method", [explain.gradient, explain.grad_cam, explain.occlusion])
def test_the_model_does_not_change(method: Any) -> None:
    model, x = cnn().train(), rng.normal(size=(3, 12, 12, 3)).astype("float32")
    model.parameters()[0].grad = np.ones(model.parameters()[0].shape, "float32")
    before = model.state_dict()
    maps = method(model, x)
    assert model.training and (model.parameters()[0].grad == 1).all() and model.parameters()[1].grad is None
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all((before[name] == array).all() for name, array in model.state_dict().items())
    np.testing.assert_array_equal(method(model.eval(), x), maps)  # dropout is off in both modes
    decided = tn.predict(model, x).argmax(axis=1)
    np.testing.assert_array_equal(method(model, x, decided), maps)
    model.decision_threshold = 1e-9
    np.testing.assert_array_equal(method(model, x), method(model, x, 1))


@pytest.mark.parametrize("classes", [2, 3])
def test_a_model_that_ends_in_softmax_has_the_same_occlusion(classes: int) -> None:
    """Its gradient is that of the logarithm of a probability."""
    x = rng.normal(size=(3, 6, 6, 1)).astype("float32")
    model = nn.Sequential(nn.Flatten(), nn.Dense(36, classes))
    ends = nn.Sequential(*model, nn.Softmax())
    np.testing.assert_allclose(explain.occlusion(ends, x, 1), explain.occlusion(model, x, 1), atol=1e-6)
    W = model[1].W.numpy().T.reshape(classes, 6, 6)
    p = tn.predict(ends, x)
    slopes = W[1] - np.einsum("nk,khw->nhw", p, W)  # of log p
    slopes = slopes * (x[..., 0] - x[..., 0].mean(axis=(1, 2), keepdims=True))
    np.testing.assert_allclose(explain.gradient(ends, x, 1), explain._smooth(slopes), atol=1e-5)
    model[1].b.data[1] -= 1000
    assert not tn.predict(ends, x)[:, 1].any() and np.isfinite(explain.gradient(ends, x, 1)).all()


def test_grad_cam_looks_at_the_last_map_of_more_than_one_row_and_column() -> None:
    model = nn.Sequential(nn.Conv2D(1, 3, 3, padding="same"), nn.ReLU(), nn.Conv2D(3, 4, (6, 5)), nn.ReLU(),
                          nn.Flatten(), nn.Dense(4, 2))
    x = rng.normal(size=(2, 6, 5, 1)).astype("float32")
    np.testing.assert_array_equal(explain.grad_cam(model, x, 1), explain.grad_cam(model, x, 1, layer="1"))


@pytest.mark.parametrize("method", [explain.gradient, explain.grad_cam, explain.occlusion])
@pytest.mark.parametrize("ends", [[], [nn.Softmax()]], ids=["scores", "probabilities"])
def test_a_model_on_a_device_has_the_maps_of_the_host(method: Any, ends: list[Any]) -> None:
    """For given classes, and for those that its threshold decides on. The model stays where it is."""
    model, x = nn.Sequential(*cnn(6, 1), *ends), rng.normal(size=(3, 6, 6, 1)).astype("float32")
    model.decision_threshold = 0.3
    with tn.using("reference"):  # nothing to compile
        expected = [method(model, x, target) for target in (None, [0, 1, 1])]
        model.to("gpu-emulated")
        actual = [method(model, x, target) for target in (None, [0, 1, 1])]
    for found, maps in zip(actual, expected, strict=True):
        assert isinstance(found, np.ndarray) and found.dtype == np.float32
        np.testing.assert_allclose(found, maps, atol=1e-5)
    assert {parameter.device for parameter in model.parameters()} == {"gpu-emulated"}


@pytest.mark.parametrize(("ends", "p"), [([], 0.3), ([nn.Softmax()], 0.3)], ids=["scores", "probabilities"])
def test_the_class_that_is_explained_is_that_above_the_threshold(ends: list[Any], p: float) -> None:
    """Of two classes, and not at the threshold itself. Of three, it is the most probable one."""
    for classes in (2, 3):
        model = nn.Sequential(nn.Flatten(), nn.Dense(16, classes), *ends)
        model[1].load_state_dict({"W": np.zeros((16, classes)), "b": np.log([1 - p, p, 0.01][:classes])})
        scores = tn.predict(model, np.zeros((2, 4, 4, 1), "float32"))
        exact = float((scores if ends else tn.ops.softmax(tn.Tensor(scores)).numpy())[0, 1])
        for threshold, expected in ((None, 0), (p - 0.01, int(classes == 2)), (exact, 0), (p + 0.01, 0)):
            model.decision_threshold = threshold
            assert explain._decided(model, scores).tolist() == [expected] * 2


@pytest.mark.parametrize("method", [explain.gradient, explain.grad_cam, explain.occlusion])
def test_maps_are_the_same_without_a_tape(method: Any) -> None:
    """And no_grad lasts until its end."""
    tn.seed(0)
    model = nn.Sequential(nn.Conv2D(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Dense(96, 2))
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 1)).astype("float32")
    expected = method(model, x, 1)
    with tn.no_grad():
        np.testing.assert_array_equal(method(model, x, 1), expected)
        assert not (model.parameters()[0] * 2).requires_grad
    assert expected.any() and (model.parameters()[0] * 2).requires_grad


@pytest.mark.parametrize("method", [explain.gradient, explain.grad_cam, explain.occlusion])
def test_images_without_channels_are_those_of_one(method: Any) -> None:
    conv = nn.Sequential(nn.Conv2D(1, 3, 3), nn.Flatten(), nn.Dense(48, 2))
    grey = nn.Sequential(nn.Reshape((6, 6, 1)), *conv)
    x = rng.normal(size=(2, 6, 6)).astype("float32")
    np.testing.assert_allclose(method(grey, x, 1), method(conv, x[..., None], 1), atol=1e-6)


@pytest.mark.parametrize("method", [explain.gradient, explain.grad_cam])
def test_an_ensemble_has_the_mean_map(method: Any) -> None:
    models, x = [cnn() for _ in range(3)], rng.normal(size=(3, 12, 12, 3)).astype("float32")
    mean = np.mean([method(model, x, 1) for model in models], axis=0)
    np.testing.assert_allclose(method(ensemble(models), x, 1), mean, atol=1e-6)
    if method is explain.grad_cam:
        mean = np.mean([method(model, x, 1, layer="0") for model in models], axis=0)
        np.testing.assert_allclose(method(ensemble(models), x, 1, layer="0"), mean, atol=1e-6)
    alone = nn.Sequential(*models[0], nn.Softmax())
    assert method(alone, x, 1).std() > 0


def test_more_images_than_a_batch() -> None:
    model, x = cnn(), rng.normal(size=(explain.BATCH + 3, 12, 12, 3)).astype("float32")
    targets = np.arange(len(x)) % 2
    targets[-3:] = 1, 1, 0
    for method in (explain.gradient, explain.grad_cam):
        for target in (None, targets):
            last = target if target is None else target[-3:]
            np.testing.assert_allclose(method(model, x, target)[-3:], method(model, x[-3:], last), atol=1e-5)


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ((np.zeros((12, 12)),), ShapeError, r"x must be images.* got \(12, 12\); x\[None\] for one image"),
    ((np.zeros((0, 12, 12, 3)),), ShapeError, "x must be images"),
    ((np.zeros((1, 1, 12, 12, 3)),), ShapeError, "x must be images"),
    ((np.zeros((1, 12, 12, 3)), 2), ArgumentError, "target must be the number of a class below 2, .* got 2; None for"),
    ((np.zeros((1, 12, 12, 3)), -1), ArgumentError, "target must be"),
    ((np.zeros((1, 12, 12, 3)), 0.5), ArgumentError, "target must be")])
def test_wrong_arguments(arguments: Any, error: Any, message: str) -> None:
    for method in (explain.gradient, explain.grad_cam, explain.occlusion):
        with pytest.raises(error, match=f"{method.__name__}: {message}"):
            method(cnn(), *arguments)


def test_wrong_layers_and_sizes() -> None:
    x = np.zeros((1, 12, 12, 3), "float32")
    for layer, message in (("9", "layer must be the path of a module, such as '6', got '9'; None for the last"),
                           ("5", r"must have an output \(N,h,w,C\) or \(N,T,C\), got \(1, 216\); None for the last"),
                           (nn.ReLU(), r"must have an output \(N,h,w,C\) or \(N,T,C\), got none")):
        with pytest.raises(ArgumentError, match=message):
            explain.grad_cam(cnn(), x, layer=layer)
    for size in (0, 13, (3, 40), (40, 3), (3,), (3, 3, 3), 2.5, "3"):
        with pytest.raises(ArgumentError, match="size must be from 1 to the image's 12 x 12, got "
                           rf"{re.escape(repr(size))}; None for a 7th"):
            explain.occlusion(cnn(), x, size=size)
    with pytest.raises(ShapeError, match=r"a score for each of two or more classes, \(N,K\), got \(1, 1\); end it"):
        explain.gradient(nn.Sequential(nn.Flatten(), nn.Dense(12 * 12 * 3, 1)), x)


# --- the command ----------------------------------------------------------------------------------------------------

@pytest.fixture
def model(tmp_path: Path) -> Path:
    tn.seed(0)
    made = cnn(16)
    made.classes, made.scaling = ("cat", "<b>dog"), tn.nn.Scaling()
    tn.save(tmp_path / "model.safetensors", made)
    return tmp_path / "model.safetensors"


def photos(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(root / name)
    return root


@pytest.mark.parametrize("method", ["grad_cam", "gradient", "occlusion"])
def test_pictures_of_images(model: Path, method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = photos(tmp_path / "in", "a $x.png", "b.jpg")
    (folder / "broken.png").write_bytes(b"")
    paths = [str(folder / name) for name in ("a $x.png", "broken.png", "b.jpg")]
    assert main(["explain", str(model), *paths, "--out", str(tmp_path / "out"), "--method", method]) == 1
    told = capsys.readouterr()
    assert "broken.png is empty" in told.err and len(told.out.splitlines()) == 2
    for name in ("001-a__x.png", "002-b.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            assert min(picture.size) > 300
    assert main(["explain", "--json", str(model), paths[0], "--target", "cat", "--out", str(tmp_path / "out")]) == 0
    answer, = json.loads(capsys.readouterr().out)
    assert answer["target"] == "cat" and Path(answer["picture"]).is_file()


def test_a_page_of_mistakes(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                            monkeypatch: pytest.MonkeyPatch) -> None:
    folder = photos(tmp_path / "in", *(f"{name}/{i}.png" for name in ("cat", "<b>dog") for i in range(4)))
    assert main(["explain", str(model), str(folder), "--out", str(tmp_path / "out"), "--most", "3"]) == 0
    out = capsys.readouterr().out
    assert "pictures of 3 of 8 images; --most for more" in out and "mistakes, the surest first" in out
    page = (tmp_path / "out" / "mistakes.html").read_text()
    count = page.count("<figure>")
    assert count and f"The {count} surest of {count} mistakes" in page and "<b>" not in page
    assert len(list((tmp_path / "out" / "mistakes").glob("*.png"))) == count
    monkeypatch.setattr("tinynet.commands.explain.MISTAKES", count - 1)
    assert main(["explain", str(model), str(folder), "--out", str(tmp_path / "fewer")]) == 0
    assert f"mistakes.html: {count - 1} of {count} mistakes, the surest first" in capsys.readouterr().out
    page = (tmp_path / "fewer" / "mistakes.html").read_text()
    assert f"The {count - 1} surest of {count} mistakes" in page and page.count("<figure>") == count - 1
    plain = photos(tmp_path / "plain", "x.png", "deep/y.png")  # without classes: its images alone
    assert main(["explain", str(model), str(plain), "--out", str(tmp_path / "two")]) == 0
    assert len(list((tmp_path / "two").glob("*.png"))) == 2 and not (tmp_path / "two" / "mistakes.html").exists()


def test_good_images_are_explained_beside_bad_ones(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                                   ) -> None:
    plain = photos(tmp_path / "plain", "x.png", "y.png")
    for name in ("z.png", "photo.heic", "film.mp4"):
        (plain / name).write_bytes(b"\0")
    assert main(["explain", str(model), str(plain), str(plain / "z.png"), "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr()
    assert len(list((tmp_path / "out").glob("*.png"))) == len(told.out.splitlines()) == 2
    assert "left out 2 files not named .png, .jpg" in told.err and "the first is film.mp4" in told.err
    assert told.err.count("z.png must be a PNG") == 2
    for given in ([plain / "z.png", plain / "x.png"], [plain, plain / "x.png"], [plain / "none", plain / "x.png"]):
        assert main(["explain", str(model), *map(str, given), "--out", str(tmp_path / "three")]) == 1, "whichever fails"
    assert main(["explain", str(model), str(plain / "x.png"), "--out", str(tmp_path / "three")]) == 0
    folder = photos(tmp_path / "in", *(f"{name}/{i}.png" for name in ("cat", "<b>dog") for i in range(4)))
    (folder / "cat" / "cut.png").write_bytes(b"\0")
    assert main(["explain", str(model), str(folder), "--out", str(tmp_path / "two"), "--most", "1"]) == 0
    assert "skipped cat/cut.png: must be a PNG" in capsys.readouterr().err


def test_what_cannot_be_explained(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["explain", str(model), "x.png", "--target", "cow"]) == 1
    assert "--target must be one of cat, <b>dog, got 'cow'" in capsys.readouterr().err
    monkeypatch.setattr("tinynet.commands.explain.available", lambda: False)
    assert main(["explain", str(model), "x.png"]) == 1
    assert "pip install matplotlib" in capsys.readouterr().err
