"""Augmentation: the right pixels, equal for equal seeds in all implementations and threads, within the given limits."""

import numpy as np
import pytest

import tinynet as tn
from tinynet.data import Augment, Loader
from tinynet.data.augment import BORDERS
from tinynet.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (9, 12, 16, 3), dtype=np.uint8)
EVERYTHING = {"shift": 0.2, "rotate": 40, "scale": 0.3, "shear": 20, "flip": "both", "elastic": 0.1, "contrast": 0.3,
              "brightness": 0.1}


def apply(images=IMAGES, epoch=0, seed=0, index=None, **options):
    return Augment(**options)(images, np.arange(len(images)) if index is None else index, epoch, seed)


# --- the pixels -----------------------------------------------------------------------------------------------------

def test_nothing_asked_for_changes_nothing():
    for border in BORDERS:
        np.testing.assert_array_equal(apply(border=border), IMAGES, strict=True)


@pytest.mark.parametrize(("flip", "ways"), [
    ("horizontal", [(1, 1), (1, -1)]), ("vertical", [(1, 1), (-1, 1)]),
    ("both", [(1, 1), (1, -1), (-1, 1), (-1, -1)]),
])
def test_flips_are_exact_and_equally_frequent(flip, ways):
    images = RNG.integers(0, 256, (400, 5, 6), dtype=np.uint8)
    flipped, counts = apply(images, flip=flip), np.zeros(len(ways))
    for image, result in zip(images, flipped, strict=True):
        found = [way for way, (down, across) in enumerate(ways) if (image[::down, ::across] == result).all()]
        assert len(found) == 1
        counts[found[0]] += 1
    assert abs(counts / 400 - 1 / len(ways)).max() < 0.08


def ramp(height, width):
    """Pixels that hold their position: channel 0 four times the row, channel 1 four times the column."""
    y, x = np.mgrid[:height, :width] * 4
    return np.stack([y, x], axis=-1).astype(np.uint8)


def affine_of(result):
    """The fitted map from output pixels to positions in a ramp: [[dy/dy, dy/dx], [dx/dy, dx/dx]], and the centre."""
    height, width = result.shape[:2]
    y, x = np.mgrid[:height, :width]
    inside = slice(height // 3, -(height // 3)), slice(width // 3, -(width // 3))
    design = np.stack([y[inside].ravel() - (height - 1) / 2, x[inside].ravel() - (width - 1) / 2,
                       np.ones(y[inside].size)], axis=1)
    fitted, rest, _, _ = np.linalg.lstsq(design, result[inside].reshape(-1, 2) / 4.0, rcond=None)
    assert (rest / len(design) < 0.05).all()
    return fitted[:2].T, fitted[2] - [(height - 1) / 2, (width - 1) / 2]


MAPS = {name: [affine_of(image) for image in apply(np.repeat(ramp(40, 60)[None], 60, axis=0), border="edge", **options)]
        for name, options in {"rotate": {"rotate": 20}, "scale": {"scale": 0.25}, "shear": {"shear": 20},
                              "shift": {"shift": 0.1}}.items()}


def spread_over(values, limit):
    """Whether values fill [-limit, limit] like uniform random numbers."""
    return abs(values).max() <= limit * 1.02 and values.max() > 0.8 * limit and values.min() < -0.8 * limit


def test_rotations_are_rotations():
    for matrix, centre in MAPS["rotate"]:
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(2), atol=0.02)
        assert abs(centre).max() < 0.1
    assert spread_over(np.degrees([np.arctan2(matrix[0, 1], matrix[0, 0]) for matrix, _ in MAPS["rotate"]]), 20)


def test_scales_are_scales():
    for matrix, centre in MAPS["scale"]:
        np.testing.assert_allclose(matrix, matrix[0, 0] * np.eye(2), atol=0.01)
        assert abs(centre).max() < 0.1
    assert spread_over(np.log([matrix[0, 0] for matrix, _ in MAPS["scale"]]), np.log(1.25))


def test_shears_keep_columns_and_area():
    for matrix, _ in MAPS["shear"]:
        np.testing.assert_allclose(matrix[1], [0, 1], atol=0.01)
        assert abs(np.linalg.det(matrix) - 1) < 0.02
    assert spread_over(np.array([matrix[0, 1] for matrix, _ in MAPS["shear"]]), np.tan(np.radians(20)))


def test_shifts_are_shares_of_each_side():
    for matrix, _ in MAPS["shift"]:
        np.testing.assert_allclose(matrix, np.eye(2), atol=0.01)
    down, right = np.array([centre for _, centre in MAPS["shift"]]).T
    assert spread_over(down, 4) and spread_over(right, 6)


def test_elastic_bends_smoothly_and_within_its_limit():
    place = apply(np.repeat(ramp(60, 60)[None], 20, axis=0), elastic=0.05, border="edge") / 4.0
    moved = (place - ramp(60, 60) / 4.0)[:, 6:-6, 6:-6]
    assert 1 < abs(moved).max() <= 3.2 and abs(np.diff(moved, axis=1)).max() < 0.8
    assert moved.std(axis=(1, 2)).min() > 0.2  # each is bent, not shifted
    assert np.corrcoef(moved[0].ravel(), moved[1].ravel())[0, 1] < 0.9


def test_contrast_and_brightness():
    images = np.stack([np.full((8, 8), value, np.uint8) for value in (28, 128, 228)] * 100)
    results = apply(images, contrast=0.25)[:, 0, 0].reshape(100, 3).astype(float)
    assert (results[:, 1] == 128).all()
    assert spread_over(np.log((results[:, 2] - 128) / 100), np.log(1.25) + 0.01)
    results = apply(images, brightness=0.2)[:, 0, 0].reshape(100, 3).astype(float)
    assert spread_over(results[:, 1] - 128, 51)
    assert results[:, 2].max() == 255 and results[:, 0].min() == 0  # clipped, not wrapped around


@pytest.mark.parametrize(("border", "expected"), [("zero", 0), ("edge", 90), ("reflect", 90)])
def test_beyond_the_border(border, expected):
    images = np.full((30, 10, 10, 1), 90, np.uint8)
    result = apply(images, shift=1.0, border=border)
    assert {*np.unique(result)} <= ({90, *range(91)} if border == "zero" else {90})
    assert (result[:, [0, 0, -1, -1], [0, -1, 0, -1]] == expected).mean() > 0.6


def test_reflection_is_a_mirror():
    images = np.repeat(np.arange(0, 80, 10, dtype=np.uint8)[None, None], 30, axis=0).repeat(8, axis=1)  # (30,8,8)
    shifts = Augment(shift=1.0, border="reflect")._affine(np.stack([np.full(30, 0.5)] * 6 + [np.zeros(30)] * 6, axis=1))
    assert (shifts[:, 4:] == 0).all()
    moved = apply(images, shift=1.0, border="reflect")[:, 4].astype(int)
    assert (abs(np.diff(moved, axis=1)) <= 11).all() and moved.max() <= 70  # no jumps


# --- the same bits --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("shape", [(5, 28, 28, 1), (3, 9, 31, 3), (2, 1, 1, 1), (2, 1, 7, 4), (3, 2, 2, 2), (2, 13, 8)])
@pytest.mark.parametrize("options", [EVERYTHING, {"rotate": 180, "scale": 9.0, "shift": 1}, {"elastic": 1.0}])
def test_fast_kernel_equals_specification_bit_for_bit(shape, border, options):
    images = RNG.integers(0, 256, shape, dtype=np.uint8)
    fast = apply(images, border=border, epoch=2, seed=5, **options)
    with tn.using("reference"):
        np.testing.assert_array_equal(fast, apply(images, border=border, epoch=2, seed=5, **options), strict=True)


def test_each_image_depends_on_seed_epoch_and_index_alone():
    first = apply(**EVERYTHING)
    np.testing.assert_array_equal(apply(IMAGES[[4, 2]], index=np.array([4, 2]), **EVERYTHING), first[[4, 2]])
    for change in ({"epoch": 1}, {"seed": 1}, {"index": np.arange(9) + 1}):
        other = apply(**EVERYTHING, **change)
        assert not (other == first).all(axis=(1, 2, 3)).any()
    same = np.repeat(IMAGES[:1], 9, axis=0)
    assert len(np.unique(apply(same, **EVERYTHING), axis=0)) == 9


def test_indices_and_images_may_be_of_any_form():
    """A list, integers of any width; images that are not contiguous. Neither is changed."""
    index, before = [4, 2, 7, 0, 1, 2, 3, 8, 6], IMAGES.copy()
    expected = apply(index=np.array(index), **EVERYTHING)
    for given in (index, np.array(index, np.uint8), np.array(index, np.int32)):
        np.testing.assert_array_equal(apply(index=given, **EVERYTHING), expected)
    turned = IMAGES[:, ::-1, :, ::-1]
    np.testing.assert_array_equal(apply(turned, **EVERYTHING), apply(turned.copy(), **EVERYTHING))
    flat = np.moveaxis(IMAGES, -1, 0)[0]
    np.testing.assert_array_equal(apply(flat, **EVERYTHING), apply(flat.copy()[..., None], **EVERYTHING)[..., 0])
    np.testing.assert_array_equal(IMAGES, before)


def test_one_option_leaves_what_others_draw():
    shifted, both = Augment(shift=0.2), Augment(shift=0.2, elastic=0.1, flip="horizontal")
    draws = tn.data.augment._draws(np.arange(5), 0, 0, 12), tn.data.augment._draws(np.arange(5), 0, 0, 110)
    np.testing.assert_array_equal(draws[0], draws[1][:, :12])
    np.testing.assert_array_equal(shifted._affine(draws[0])[:, 4:], both._affine(draws[1])[:, 4:])


def test_the_bits_are_fixed():
    """A newer version must repeat the runs of an older one."""
    image = (np.arange(64, dtype=np.uint8) * 3).reshape(1, 8, 8)
    assert apply(image, seed=1, epoch=2, index=np.array([3]), border="edge", **EVERYTHING)[0, 3].tolist() == FIXED


FIXED = [40, 37, 38, 45, 53, 58, 64, 68]


@pytest.mark.parametrize("threads", [0, 1, 2, 5])
def test_in_a_loader_threads_change_nothing(threads):
    labels = np.arange(9)

    def batches(threads):
        loader = Loader(IMAGES, labels, batch_size=2, shuffle=True, seed=3, augment=Augment(**EVERYTHING),
                        threads=threads, transform=lambda a, b: (a.astype(np.float32) / 255, b))
        return [[(a, b) for a, b in loader] for _ in range(2)]

    for epoch, (expected, found) in enumerate(zip(batches(0), batches(threads), strict=True)):
        for (a, b), (c, d) in zip(expected, found, strict=True):
            np.testing.assert_array_equal(a, c, strict=True)
            np.testing.assert_array_equal(b, d, strict=True)
            direct = Augment(**EVERYTHING)(IMAGES[b], b, epoch, 3).astype(np.float32) / 255
            np.testing.assert_array_equal(a, direct)


def test_in_a_loader_resumed_in_the_middle_of_an_epoch():
    def loader():
        return Loader(IMAGES, batch_size=2, shuffle=True, seed=3, augment=Augment(**EVERYTHING), threads=2)

    whole = loader()
    expected = [batch for _ in range(2) for batch, in whole]
    first, rest = loader(), loader()
    passes = iter(first), iter(first)
    next(passes[1])
    rest.load_state_dict(first.state_dict())
    for batch, wanted in zip([batch for batch, in rest], expected[6:], strict=True):
        np.testing.assert_array_equal(batch, wanted)
    for each in passes:
        each.close()


def test_in_a_loader_the_seed_is_that_of_the_pass():
    loader = Loader(IMAGES, batch_size=9, augment=Augment(shift=0.3), threads=1)
    tn.seed(8)
    (batch,), = loader
    np.testing.assert_array_equal(batch, apply(shift=0.3, seed=8))


# --- arguments ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("options", "message"), [
    ({"shift": -0.1}, r"shift must be a number between 0 and 1, got -0.1; shift=0.1\?"),
    ({"rotate": 181}, r"rotate must be a number between 0 and 180, got 181; rotate=10\?"),
    ({"scale": float("nan")}, "scale must be a number between 0 and 9, got nan"),
    ({"shear": "a"}, "shear must be a number"), ({"elastic": True}, "elastic must be a number"),
    ({"flip": "left"}, r"flip must be one of '', 'horizontal', 'vertical', 'both', got 'left'; flip='horizontal'\?"),
    ({"border": ""}, "border must be one of 'zero', 'edge', 'reflect', got ''"),
    ({"flip": None}, "flip must be one of '', 'horizontal', 'vertical', 'both', got None"),
    ({"border": "wrap"}, r"border must be one of 'zero', 'edge', 'reflect', got 'wrap'; border='edge'\?"),
])
def test_options(options, message):
    with pytest.raises(ArgumentError, match=f"Augment: {message}"):
        Augment(**options)


@pytest.mark.parametrize(("name", "limit", "usual"), [
    ("shift", 1, 0.1), ("rotate", 180, 10), ("scale", 9, 0.1), ("shear", 80, 10), ("elastic", 1, 0.1),
    ("contrast", 9, 0.1), ("brightness", 1, 0.1)])
def test_the_limits_of_the_options(name, limit, usual):
    assert getattr(Augment(**{name: limit}), name) == limit
    message = rf"{name} must be a number between 0 and {limit}, got .*; {name}={usual}\?$"
    with pytest.raises(ArgumentError, match=message):
        Augment(**{name: 1.01 * limit})


@pytest.mark.parametrize(("name", "value"), [("seed", -1), ("seed", 2**32), ("epoch", -1), ("epoch", 1.5)])
def test_the_seed_and_the_epoch(name, value):
    with pytest.raises(ArgumentError, match=f"Augment: {name} must be an integer from 0 to {2**32 - 1}, got {value}"):
        Augment()(IMAGES, np.arange(len(IMAGES)), **{"epoch": 0, "seed": 0, name: value})


def test_arrays():
    with pytest.raises(ArgumentError, match="Augment: images must be uint8, got float32; scale them afterwards"):
        apply(IMAGES.astype(np.float32))
    for images, index in ((IMAGES[0, 0], None), (IMAGES, np.arange(8))):
        with pytest.raises(ShapeError, match=r"Augment: images must be \(n,H,W\) or \(n,H,W,C\) and index \(n\)"):
            apply(images, index=index)


def test_arrays_that_are_not_contiguous_and_inputs_unmodified():
    images = IMAGES.copy()
    np.testing.assert_array_equal(apply(images[:, ::2, ::-1], **EVERYTHING),
                                  apply(images[:, ::2, ::-1].copy(), **EVERYTHING))
    np.testing.assert_array_equal(images, IMAGES)
    assert apply(images[:0], **EVERYTHING).shape == (0, 12, 16, 3)
