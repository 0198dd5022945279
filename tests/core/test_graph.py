"""`Tensor.graph()`: the nodes of the tape, as a table and as a picture."""

from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import tinynet as tn

SVG = "{http://www.w3.org/2000/svg}"


def loss() -> tn.Tensor:
    x, W = tn.Tensor(np.ones((2, 3), "float32")), tn.Tensor(np.ones((3, 2), "float32"), requires_grad=True)
    y = tn.ops.dense(x, W)
    return tn.ops.cross_entropy(y + tn.ops.tanh(y), np.array([0, 1]))


TABLE = """\
node   op              outputs   inputs
1      dense           (2,2)     constant (2,3), leaf (3,2)
2      tanh            (2,2)     node 1
3      add             (2,2)     node 1, node 2
4      cross_entropy   ()        node 3, constant (2)"""


def test_nodes_stand_in_the_order_of_the_forward_pass() -> None:
    assert str(loss().graph()) == TABLE


def test_a_notebook_shows_a_picture() -> None:
    picture = ElementTree.fromstring(loss().graph()._repr_html_())
    words = [part.text for part in picture.iter(f"{SVG}text") if part.text]
    assert {"1 dense", "2 tanh", "3 add", "4 cross_entropy", "leaf (3,2)", "constant (2,3)"} <= {*words}
    assert len(list(picture.iter(f"{SVG}path"))) == 7  # one for each input


def used_again() -> tn.Tensor:
    """A leaf and the output of a node that are used again after other nodes."""
    x = tn.Tensor([1.0], requires_grad=True)
    y = tn.ops.exp(x)
    return tn.ops.tanh(y) * y + x


@pytest.mark.parametrize(("make", "places", "size"), [
    (loss, [(4, 4), (4, 62), (180, 4), (356, 4), (532, 4), (532, 62), (708, 4)], (5 * 176, 2 * 58)),
    (used_again, [(4, 4), (180, 4), (356, 4), (532, 4), (708, 4)], (5 * 176, 58))])
def test_boxes_and_lines_have_their_places(make: Any, places: list[tuple[int, int]], size: tuple[int, int]) -> None:
    """A line leads from the right of a box to the left of a later one; no box covers another."""
    picture = ElementTree.fromstring(make().graph()._repr_html_())
    boxes = {(int(box.attrib["x"]), int(box.attrib["y"])) for box in picture.iter(f"{SVG}rect")}
    assert sorted(boxes) == places
    found = [tuple(int(number) for place in line.attrib["d"].removeprefix("M").split("L") for number in place.split())
             for line in picture.iter(f"{SVG}path")]
    assert all((a - 132, b - 20) in boxes and (c, d - 20) in boxes and a < c for a, b, c, d in found)
    assert (int(picture.attrib["width"]), int(picture.attrib["height"])) == size


def test_leaves_and_constants_are_dashed_and_every_word_stands_in_its_box() -> None:
    """The name of a node above its shapes, that of a leaf in the middle."""
    picture = ElementTree.fromstring(loss().graph()._repr_html_())
    boxes, texts = list(picture.iter(f"{SVG}rect")), list(picture.iter(f"{SVG}text"))
    dashed = []
    for box, name, below in zip(boxes, texts[::2], texts[1::2], strict=True):
        x, y = int(box.attrib["x"]), int(box.attrib["y"])
        assert {(int(text.attrib["x"]) - x, text.attrib["text-anchor"]) for text in (name, below)} == {(66, "middle")}
        assert (int(name.attrib["y"]) - y, int(below.attrib["y"]) - y) == ((17, 33) if below.text else (24, 33))
        dashed.append((box.attrib["stroke-dasharray"] != "", (name.text or "").split()[0] in ("leaf", "constant")))
    assert {*dashed} == {(True, True), (False, False)}


def test_an_op_of_several_outputs_shows_all_of_their_shapes() -> None:
    x, W = tn.Tensor(np.ones((2, 3, 1), "float32")), tn.Tensor(np.ones((5, 16), "float32"), requires_grad=True)
    made = tn.ops.lstm(x, None, None, W)[0].graph()
    assert str(made).splitlines()[1].split()[2:5] == ["(2,3,4)", "(2,4)", "(2,4)"]
    words = [part.text for part in ElementTree.fromstring(made._repr_html_()).iter(f"{SVG}text")]
    assert "(2,3,4) (2,4) (2,4)" in words


def test_inputs_of_one_shape_are_shown_one_by_one() -> None:
    x, y = (tn.Tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    assert str((x * x).graph()).splitlines()[1].split("   ")[-1].strip() == "leaf (2), leaf (2)"
    made = (x * y + np.ones(2, "float32")).graph()
    assert [line.partition("(2)")[2].strip() for line in str(made).splitlines()[1:]] == [
        "leaf (2), leaf (2)", "node 1, constant (2)"]
    picture = ElementTree.fromstring(made._repr_html_())
    assert len(list(picture.iter(f"{SVG}rect"))) == 5 and len(list(picture.iter(f"{SVG}path"))) == 4


def test_a_leaf_has_no_nodes() -> None:
    assert str(tn.Tensor([1.0], requires_grad=True).graph()) == "node   op   outputs   inputs"


def test_a_tape_that_is_used_up_has_no_graph() -> None:
    used = loss()
    used.backward()
    with pytest.raises(tn.errors.GradientError, match="used up by an earlier backward"):
        used.graph()
