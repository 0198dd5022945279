"""`Tensor.graph()`: the nodes of the tape, as a table and as a picture."""

from xml.etree import ElementTree

import numpy as np
import pytest

import tinynet as tn


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
    words = [part.text for part in picture.iter("{http://www.w3.org/2000/svg}text") if part.text]
    assert {"1 dense", "2 tanh", "3 add", "4 cross_entropy", "leaf (3,2)", "constant (2,3)"} <= {*words}
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}path"))) == 7  # one for each input


def test_a_leaf_has_no_nodes() -> None:
    assert str(tn.Tensor([1.0], requires_grad=True).graph()) == "node   op   outputs   inputs"


def test_a_tape_that_is_used_up_has_no_graph() -> None:
    used = loss()
    used.backward()
    with pytest.raises(tn.errors.GradientError, match="used up by an earlier backward"):
        used.graph()
