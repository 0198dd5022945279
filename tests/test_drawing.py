"""Figures: what stands where, and in which order."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from tinynet import drawing


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are not saved."""
    made = list[Any]()
    monkeypatch.setattr(drawing, "save", lambda figure, path: made.append(figure))
    return made


def test_a_confusion_matrix_has_a_row_for_each_true_class(drawn: list[Any]) -> None:
    table = np.array([[8, 2, 0], [1, 1000, 5], [0, 0, 0]])
    drawing.heat_map("there.png", table, ["cat", "dog", "$emu"], title="of the test part")
    axes = drawn[0].axes[0]
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("of the test part", "predicted", "true")
    assert {(round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in axes.texts} == {
        (i, j): f"{count:,}" for (i, j), count in np.ndenumerate(table)}
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.8, 0.2, 0], [1 / 1006, 1000 / 1006, 5 / 1006], [0] * 3])
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text().strip("\\") for label in labels][:2] == ["cat", "dog"]


def test_each_picture_has_its_caption(drawn: list[Any]) -> None:
    pictures = [np.full((4, 5, 1), value, np.uint8) for value in (0, 128, 255)]
    drawing.sheet("there.png", pictures, ["black", "grey", "white"], title="three")
    assert [(axes.get_title(), int(axes.images[0].get_array()[0, 0])) for axes in drawn[0].axes] == [
        ("black", 0), ("grey", 128), ("white", 255)]
    drawing.sheet("there.png", [], [], title="none")
    assert drawn[1].texts[-1].get_text() == "none"
