"""`tinynet export`: a model for other programs, as a file in the ONNX format or as a web page."""

import argparse
import os
from pathlib import Path
from typing import Any

from tinynet.commands.answers import add_command, show
from tinynet.errors import printable
from tinynet.export.onnx import to_onnx
from tinynet.export.web.page import write_page
from tinynet.output import json_text
from tinynet.saving.models import load
from tinynet.shown import in_bytes

_OF_ONNX, _OF_WEB = ("pixels", "probabilities", "lengths"), ("title", "runtime")
_EXAMPLES = """\
  tinynet export model.safetensors --onnx model.onnx --pixels --probabilities
  tinynet export model.safetensors --web model.html --title 'Cat or dog?'"""


def add(commands: Any) -> None:
    """Describe the command."""
    made = add_command(commands, "export", export, "a model for other programs: an ONNX file, or a web page", _EXAMPLES)
    made.set_defaults(refuse=made.error)
    files = made.add_mutually_exclusive_group(required=True)
    files.add_argument("--onnx", metavar="FILE", help="write a file in the ONNX format")
    files.add_argument("--web", metavar="FILE", help="write a web page that runs the model without a network")
    made.add_argument("--pixels", action="store_true", help="of --onnx: take images as bytes, and scale them")
    made.add_argument("--probabilities", action="store_true", help="of --onnx: end with a softmax")
    made.add_argument("--lengths", action="store_true", help="of --onnx: take sequences of different lengths")
    made.add_argument("--title", help="of --web: the title of the page (default: the name of the model's file)")
    made.add_argument("--runtime", metavar="FOLDER", help="of --web: where the files of onnxruntime-web are (default: "
                                                         "the cache folder, or npm fetches them)")


def export(options: argparse.Namespace) -> int:
    """Write a model for other programs."""
    path, others = (options.onnx, _OF_WEB) if options.onnx else (options.web, _OF_ONNX)
    misplaced = [f"--{name}" for name in others if getattr(options, name)]
    if misplaced:
        options.refuse(f"{', '.join(misplaced)} cannot be combined with {'--onnx' if options.onnx else '--web'}")
    model = load(options.model)
    if options.onnx:
        to_onnx(model, path, pixels=options.pixels, probabilities=options.probabilities,
                lengths=options.lengths)
    else:
        write_page(model, path, title=options.title or Path(options.model).stem, runtime_folder=options.runtime)
    written = os.path.getsize(path)
    show(json_text({"file": path, "bytes": written}, indent=1) if options.json else
         f"written to {printable(path)}: {in_bytes(written)}")
    return 0
