"""Figures: what stands where, and in which order."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib")

from tests.support.figures import saved_as_they_are
from tinynet import drawing


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The figures that are not saved."""
    made = list[Any]()
    with saved_as_they_are() as note:
        monkeypatch.setattr(drawing, "save", lambda figure, path: made.append(figure) or note(figure))
        yield made


def test_a_confusion_matrix_has_a_row_for_each_true_class(drawn: list[Any]) -> None:
    table = np.array([[8, 2, 0], [1, 1000, 5], [0, 0, 0]])
    drawing.heat_map("there.png", table, ["cat", "dog", "$emu"], title="of the test part")
    axes = drawn[0].axes[0]
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("of the test part", "predicted", "true")
    assert {(round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in axes.texts} == {
        (i, j): f"{count:,}" for (i, j), count in np.ndenumerate(table)}
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.8, 0.2, 0], [1 / 1006, 1000 / 1006, 5 / 1006], [0] * 3])
    assert {(text.get_ha(), text.get_va()) for text in axes.texts} == {("center", "center")}
    assert axes.images[0].get_clim() == (0, 1) and drawn[0].axes[1].get_ylabel() == drawing.SHARES
    assert {text.get_text() for text in axes.texts if text.get_color() == "white"} == {"8", "1,000"}
    np.testing.assert_allclose(drawn[0].get_size_inches(), (3 + 0.6 * 3 + 1.5, 3 + 0.6 * 3))
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["cat", "dog", "\\$emu"]


def test_each_picture_has_its_caption(drawn: list[Any]) -> None:
    pictures = [np.full((4, 5, 1), value, np.uint8) for value in (0, 128, 255)]
    drawing.sheet("there.png", pictures, ["black", "grey", "white"], title="three")
    assert [(axes.get_title(), int(axes.images[0].get_array()[0, 0])) for axes in drawn[0].axes] == [
        ("black", 0), ("grey", 128), ("white", 255)]
    assert {(axes.images[0].get_cmap().name, axes.axison) for axes in drawn[0].axes} == {("gray", False)}
    assert drawn[0]._suptitle.get_text() == "three"
    drawing.sheet("there.png", pictures[:1], ["a $x$"], title="one")
    assert drawn.pop().axes[0].get_title() == "a \\$x\\$"
    drawing.sheet("there.png", [], [], title="none")
    assert drawn[1].texts[-1].get_text() == "none"


@pytest.mark.parametrize(("signed", "least", "colours"), [(True, -4.0, "PuOr_r"), (False, 0.0, "inferno")])
def test_a_map_lies_over_its_image(signed: bool, least: float, colours: str, drawn: list[Any]) -> None:
    """On the right, over the image in grey; the scale reaches the largest value, and a signed one both ways."""
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[0] = 30, 60, 90
    heat = np.array([[-4.0, 1.0], [0.0, 3.0]])
    drawing.map_over("there.png", picture, heat, title="$dog", label="a map", signed=signed)
    figure, = drawn
    left, right, bar = figure.axes
    assert (left.images[0].get_array() == picture).all()
    grey, shade = right.images
    assert grey.get_clim() == left.images[0].get_clim() == (0, 255)
    assert grey.get_cmap().name == left.images[0].get_cmap().name == "gray" and not (left.axison or right.axison)
    assert grey.get_array().tolist() == [[60, 60], [0, 0]] and (shade.get_array() == heat).all()
    assert shade.get_clim() == (least, 4.0) and shade.get_cmap().name == colours and 0 < shade.get_alpha() < 1
    assert bar.get_ylabel() == "a map" and figure._suptitle.get_text() == "\\$dog"
    drawing.map_over("there.png", picture, 0 * heat, title="", label="", signed=signed)
    assert drawn[1].axes[1].images[1].get_clim()[1] == 1.0


@pytest.mark.parametrize("shape", [(1, 6, 1), (1, 6, 3), (6, 1, 1), (6, 1, 3), (1, 1, 1), (1, 1, 3), (2, 6, 3)])
def test_pictures_of_a_single_row_or_column_are_drawn(shape: tuple[int, int, int], drawn: list[Any]) -> None:
    picture = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    drawing.sheet("there.png", [picture], ["one"], title="one")
    drawing.map_over("there.png", picture, np.ones(shape[:2]), title="one", label="map", signed=True)
    for axes in (drawn[0].axes[0], drawn[1].axes[0]):
        np.testing.assert_array_equal(axes.images[0].get_array(), picture[..., 0] if shape[2] == 1 else picture)


def test_a_sheet_has_three_to_five_columns(drawn: list[Any]) -> None:
    for count, columns, rows in ((1, 3, 1), (3, 3, 1), (4, 4, 1), (5, 5, 1), (6, 5, 2)):
        drawing.sheet("there.png", [np.zeros((2, 2, 1), np.uint8)] * count, "abcdef"[:count], title="some")
        grid = drawn[-1].axes[0].get_subplotspec().get_gridspec()
        assert (grid.ncols, grid.nrows) == (columns, rows)
        np.testing.assert_allclose(drawn[-1].get_size_inches(), (2.4 * columns, 0.5 + 2.8 * rows))
    drawn.clear()
    drawing.sheet("there.png", [np.zeros((2, 2, 1), np.uint8)] * 7, list("abcdefg"), title="seven")
    places = [(one.get_subplotspec().rowspan.start, one.get_subplotspec().colspan.start) for one in drawn[0].axes]
    assert places == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 0), (1, 1)]
    assert {axes.images[0].get_clim() for axes in drawn[0].axes} == {(0, 255)}


@pytest.mark.parametrize(("longest", "turned", "upright"), [(15, 0, 90), (16, 45, 0)])
def test_long_names_of_classes_are_turned(longest: int, turned: int, upright: int, drawn: list[Any]) -> None:
    """Beyond 30 letters together; a share of just one half has a black number."""
    drawing.heat_map("there.png", np.ones((2, 2), int), ["a" * 15, "b" * longest], title="two")
    axes = drawn[0].axes[0]
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {turned}
    assert {label.get_rotation() for label in axes.get_yticklabels()} == {upright}
    assert {text.get_color() for text in axes.texts} == {"black"}


def test_figures_are_drawn_without_a_screen_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = sys.modules["matplotlib"]
    matplotlib.use("svg")
    assert drawing.available() and matplotlib.get_backend().lower() == "agg"
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert not drawing.available()


def test_a_figure_that_cannot_be_drawn_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """Nor does one that cannot be written leave half a file."""
    class Broken:
        def savefig(self, file: Any, **options: Any) -> None:
            if hasattr(file, "write"):
                file.write(b"half")
            else:
                Path(file).write_bytes(b"half")
            raise ValueError("no glyph")

    (tmp_path / "there.png").write_bytes(b"whole")
    with pytest.raises(ValueError, match="no glyph"):
        drawing.save(Broken(), tmp_path / "there.png")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"there.png": b"whole"}


def test_a_file_has_a_size_and_no_name_of_a_program(tmp_path: Path) -> None:
    """So equal figures are equal bytes, whatever version drew them."""
    figure = drawing.new_figure(2, 1)
    assert type(figure.get_layout_engine()).__name__ == "ConstrainedLayoutEngine", "texts do not overlap"
    drawing.save(figure, tmp_path / "there.png")
    with Image.open(tmp_path / "there.png") as image:
        assert image.format == "PNG" and image.size == (220, 110) and "Software" not in image.info
