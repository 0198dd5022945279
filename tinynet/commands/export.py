"""`tinynet export`: a model for other programs."""

import argparse
import os
from typing import Any

from tinynet.commands.answers import add_command, show
from tinynet.errors import printable
from tinynet.export.onnx import to_onnx
from tinynet.nn.summary import in_bytes
from tinynet.output import json_text
from tinynet.saving.models import load

_EXAMPLES = """\
  tinynet export model.safetensors --onnx model.onnx --pixels --probabilities"""


def add(commands: Any) -> None:
    """Describe the command."""
    made = add_command(commands, "export", export, "a model for other programs, in the ONNX format", _EXAMPLES)
    made.add_argument("--onnx", metavar="FILE", required=True, help="the file to write, in the ONNX format")
    made.add_argument("--pixels", action="store_true", help="take images as bytes: the scaling is in the file")
    made.add_argument("--probabilities", action="store_true", help="end with a softmax")


def export(options: argparse.Namespace) -> int:
    """Write a model for other programs."""
    to_onnx(load(options.model), options.onnx, pixels=options.pixels, probabilities=options.probabilities)
    written = os.path.getsize(options.onnx)
    show(json_text({"file": options.onnx, "bytes": written}, indent=1) if options.json else
         f"written to {printable(options.onnx)}: {in_bytes(written)}")
    return 0
