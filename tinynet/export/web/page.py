"""Write a web page that runs a model: one file with the model, the runtime, and all that the page needs.

It works by a double click, without a server and without a network. A policy in its head forbids the browser to load or
send anything.
"""

import base64
import gzip
import html
import json
import os
import re
from pathlib import Path

from tinynet.about import __version__
from tinynet.classifier import Classifier
from tinynet.export.onnx import onnx_bytes, write_file
from tinynet.export.web import runtime
from tinynet.nn.module import Module
from tinynet.types import Shape

_HERE = Path(__file__).parent
_LISTED = 12  # names of classes in the sentence below the title


def write_page(model: Module, path: str | os.PathLike[str], *, title: str = "Image classifier",
               runtime_folder: str | os.PathLike[str] | None = None) -> None:
    """Write the page of a classifier of images, as `tinynet.classifier.Classifier` takes it.

    runtime_folder   where the files of onnxruntime-web are; see `runtime.runtime_files`

    Errors: ModelFileError for a model of other inputs or outputs; ExportError as of `tn.to_onnx`, if the runtime cannot
    be had, and if the file cannot be written.
    """
    pictures = Classifier(model)
    content = onnx_bytes(model, pixels=True, probabilities=True)
    size = (*pictures.size, pictures.channels)
    write_file("export", path, page(content, pictures.classes, size, title,
                                    runtime.runtime_files(runtime_folder), model.decision_threshold).encode())


def page(model: bytes, classes: tuple[str, ...], size: Shape, title: str, files: dict[str, bytes],
         threshold: float | None = None) -> str:
    """The text of the page, for a model of images of a size (height, width, channels)."""
    height, width, channels = size
    config = {"classes": classes, "height": height, "width": width, "channels": channels, "pad": size == (28, 28, 1),
              "threshold": threshold}
    library = files[runtime.LIBRARY].decode()
    parts = {
        "title": html.escape(title), "about": html.escape(_sentence(classes)), "version": __version__,
        "runtime": runtime.VERSION, "css": _text("page.css"), "js": _text("page.js"),
        "config": json.dumps(config).replace("<", "\\u003c"),  # a name must not end the script
        "library": re.sub(r"</(script)", r"<\\/\1", library, flags=re.IGNORECASE), "model": _packed(model),
        "glue": _packed(files[runtime.GLUE]), "wasm": _packed(gzip.compress(files[runtime.WASM], 9, mtime=0)),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _text("page.html"))


def _sentence(classes: tuple[str, ...]) -> str:
    """The names of the classes."""
    more = f" and {len(classes) - _LISTED} more" if len(classes) > _LISTED else ""
    return f"Tells {len(classes)} classes apart: {', '.join(classes[:_LISTED])}{more}."


def _packed(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
