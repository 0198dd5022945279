"""What a prompt and a notebook show: short reprs, HTML, and in a real kernel progress and Ctrl-C."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import nn, optim
from tinynet.classifier import Classifier, report, score
from tinynet.data import Augment, Loader, folds, scan_folder, write_chest_xray_stand_in
from tinynet.shown import Text, brief, table

ROOT = Path(__file__).resolve().parents[1]


def model() -> Any:
    return nn.Sequential(nn.Dense(3, 2), nn.ReLU())


def adam() -> Any:
    return optim.Adam(model().parameters(), lr=0.5, betas=(0.8, 0.9))


def half_way() -> Any:
    schedule = optim.Cosine(adam(), 10)
    for _ in range(5):
        schedule.step()
    return schedule


REPRS = [
    (adam, "Adam(2 parameters, 0 steps, lr=0.5, betas=(0.8, 0.9))"),
    (lambda: optim.SGD(model().parameters(), momentum=0.9), "SGD(2 parameters, 0 steps, lr=0.01, momentum=0.9)"),
    (lambda: optim.Cosine(adam(), 10), "Cosine(lr=0.5 at step 0)"), (half_way, "Cosine(lr=0.25 at step 5)"),
    (lambda: Loader(np.ones((50, 3)), np.ones(50), batch_size=20, shuffle=True),
     "Loader(50 rows in 3 batches, batch_size=20, shuffle=True)"),
    (lambda: Augment(rotate=5.0), "Augment(shift=0.0, rotate=5.0, scale=0.0, "),
    (lambda: tn.callbacks.EarlyStopping("train_loss"), "EarlyStopping(metric='train_loss', mode='min')"),
    (lambda: Classifier(nn.Sequential(nn.Flatten(), nn.Dense(4, 2), input_shape=(2, 2, 1))),
     "Classifier(2 classes, size=(2, 2), channels=1)"),
    (lambda: tn.callbacks.Run(model(), adam(), [np.ones(9)], epochs=4), "Run(epoch 1 of 4, 0 steps)")]


@pytest.mark.parametrize(("make", "start"), REPRS, ids=[start.partition("(")[0] for _, start in REPRS])
def test_a_repr_is_short(make: Any, start: str) -> None:
    text = repr(make())
    assert text.startswith(start) and len(text) < 160 and "\n" not in text


def test_only_numbers_and_names_are_shown() -> None:
    class Thing:
        def __init__(self, data: Any = None, names: Any = (), limit: float = 1.0, **more: Any) -> None:
            self.data, self.names, self.limit, self.more = data, names, limit, more

    assert brief(Thing(np.ones(9), ("a", "b"), limit=2, x=1)) == "Thing(names=('a', 'b'), limit=2)"
    assert brief(Thing({}, tuple(range(9)))) == "Thing()"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return scan_folder(write_chest_xray_stand_in(tmp_path_factory.mktemp("x & y"), train=6, test=4, size=32, seed=0))


def test_folders_and_folds(folder: Any) -> None:
    assert repr(folds(folder)[0]).startswith("Fold(") and "array" not in repr(folds(folder))
    assert folder._repr_html_().startswith("<pre>") and "x &amp; y" in folder._repr_html_()


def test_text_is_shown_as_it_is_printed() -> None:
    assert repr(Text("a\nb")) == "a\nb" and Text("a < b")._repr_html_() == "<pre>a &lt; b</pre>"


SHOWN = {
    "summary": lambda: model().summary((3,)), "summary without shapes": lambda: model().summary(),
    "profile": lambda: model().profile(np.ones((2, 3), "float32")),
    "report": lambda: report(score([0, 1], np.array([[0.9, 0.1], [0.2, 0.8]]), ["<a>", "b"])),
    "a table": lambda: table([("<a>", "b"), ("1 & 2", "3")], left=1)}


@pytest.mark.parametrize("name", SHOWN)
def test_a_notebook_shows_the_cells_of_the_text(name: str) -> None:
    from xml.etree import ElementTree

    shown = SHOWN[name]()
    page = ElementTree.fromstring(f"<div>{shown._repr_html_()}</div>")
    rows = ["".join(row.itertext()).split() for row in page.iter("tr")]
    assert rows
    text = ["".join(line.split()) for line in str(shown).splitlines()]
    assert all("".join(row) in text for row in rows)
    assert repr(shown) == str(shown)
    assert len(page.findall(".//th")) > 1


def test_a_table_of_a_notebook_has_a_head_and_the_sides_of_the_text() -> None:
    from xml.etree import ElementTree

    page = ElementTree.fromstring(table([("a", "b", "c"), ("1", "2", "3"), ("4", "5", "6")], left=2)._repr_html_())
    parts = [[(cell.tag, cell.attrib["style"]) for cell in row] for row in page.iter("tr")]
    sides = [f"text-align: {side}" for side in ("left", "left", "right")]
    assert parts == [[(tag, side) for side in sides] for tag in ("th", "td", "td")]
    assert [len(page.findall(f"{part}/tr")) for part in ("thead", "tbody")] == [1, 2]


def test_up_to_four_numbers_are_shown() -> None:
    class Thing:
        def __init__(self, sizes: Any = ()) -> None:
            self.sizes = sizes

    assert brief(Thing((1, 2, 3, 4))) == "Thing(sizes=(1, 2, 3, 4))"
    assert brief(Thing((1, 2, 3, 4, 5))) == brief(Thing((1, ["a"]))) == "Thing()"
    assert brief(Thing(((1, 2), "a"))) == "Thing(sizes=((1, 2), 'a'))"


def test_gradcheck_has_html() -> None:
    found = tn.gradcheck(lambda x: x * x, [3.0])
    assert found._repr_html_() == f"<pre>{found}</pre>"


PREPARE = """
import numpy as np, tinynet as tn
tn.seed(0)
x, labels = np.ones((8, 3), "float32"), np.array([0, 1] * 4)
model = tn.nn.Sequential(tn.nn.Dense(3, 2), input_shape=(3,))
optimizer = tn.optim.SGD(model.parameters(), lr=0.1)
loader = tn.data.Loader(x, labels, batch_size=4)"""
CELLS = ["import sys; sys.modules['ipywidgets'] = None", f"{PREPARE}\nmodel.summary()",
         "history = tn.fit(model, optimizer, loader, epochs=2)",
         "optimizer",
         """
import os, signal
class CtrlC(tn.callbacks.Callback):
    def on_step(self, run):
        if run.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
try:
    tn.fit(model, optimizer, loader, epochs=2, callbacks=[CtrlC()], show=False)
except tn.errors.Interrupted as interrupted:
    print(interrupted, [row["epoch"] for row in interrupted.history])""",
         "tn.fit(model, optimizer, loader, epochs=2, callbacks=[CtrlC()], show=False)",
         "print(len(tn.predict(model, x)))"]

RUN = """
import json, sys
import nbformat.v4 as v4
from nbclient import NotebookClient
book = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in json.load(sys.stdin)])
NotebookClient(book, timeout=120, allow_errors=True).execute()
print(json.dumps([cell.outputs for cell in book.cells]))
"""


def shown_by_a_kernel(cells: list[str]) -> list[list[dict[str, Any]]]:
    """The outputs of the cells of a notebook."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    for name in ("nbclient", "ipykernel", "ipywidgets"):
        pytest.importorskip(name, reason=f"needs {name}: pip install 'tinynet-lstm-cnn[test]'")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", RUN], input=json.dumps(cells), capture_output=True,
                          text=True, env={**os.environ, "PYTHONPATH": path}, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_notebook() -> None:
    """In a kernel: HTML, lines of progress without a warning, and Ctrl-C, after which the kernel goes on."""
    _, summary, lines, optimizer, caught, raised, after = shown_by_a_kernel(CELLS)
    assert summary[-1]["data"]["text/html"].startswith("<table>")
    assert summary[-1]["data"]["text/plain"].splitlines()[0].split()[0] == "layer"
    said = "".join(one["text"] for one in lines if one.get("name") == "stdout")
    assert [line.partition("  ")[0] for line in said.splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert "Warning" not in str(lines)
    assert optimizer[0]["data"]["text/plain"] == "SGD(2 parameters, 4 steps, lr=0.1)"
    text = "".join(one["text"] for one in caught if one.get("name") == "stdout")
    assert "stopped by SIGINT after 3 steps, 1 of 2 epochs" in text and text.endswith("[1]\n")
    assert raised[-1]["ename"] == "Interrupted"
    assert after[0]["text"] == "8\n"


def test_a_bar_in_a_notebook() -> None:
    _, [bar, *lines] = shown_by_a_kernel([PREPARE, "history = tn.fit(model, optimizer, loader, epochs=2)"])
    assert "application/vnd.jupyter.widget-view+json" in bar["data"]
    said = "".join(one["text"] for one in lines if one.get("name") == "stdout")
    assert said.count("\n") == 2 and "epoch 2/2" in said
    assert not any(one.get("name") == "stderr" for one in lines)
