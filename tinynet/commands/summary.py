"""`tinynet summary`: the layers of a model. `tinynet about`: versions, processor and devices."""

import argparse
import dataclasses
from typing import Any

from tinynet.about import about as tell
from tinynet.commands.answers import add_command, csv_line, show
from tinynet.nn.module import Module
from tinynet.nn.summary import rows
from tinynet.output import json_text
from tinynet.saving.models import load

_COLUMNS = ("name", "layer", "shape", "parameters", "flops", "activations")


def add(commands: Any) -> None:
    """Describe the command `summary`."""
    add_command(commands, "summary", summary, "layers, shapes, parameters, operations and memory of a model",
                "  tinynet summary model.safetensors\n  tinynet summary model.safetensors --json", csv=True)


def add_about(commands: Any) -> None:
    """Describe the command `about`."""
    add_command(commands, "about", about, "versions, processor, threads and devices, for a bug report",
                "  tinynet about\n  tinynet about --json", model=False)


def summary(options: argparse.Namespace) -> int:
    """Print the layers of a model, its input shape, classes and scaling."""
    model = load(options.model)
    layers = [dataclasses.asdict(row) for row in rows(model, model.input_shape)]
    if options.json:
        scaling = None if model.scaling is None else dataclasses.asdict(model.scaling)
        show(json_text({"input_shape": model.input_shape, "classes": model.classes, "scaling": scaling,
                        "decision_threshold": model.decision_threshold,
                        "parameters": sum(p.size for p in model.parameters()), "layers": layers}, indent=1))
    elif options.csv:
        show(csv_line(_COLUMNS))
        for layer in layers:
            shape = layer["shape"] and " x ".join(map(str, layer["shape"]))
            show(csv_line(shape if column == "shape" else layer[column] for column in _COLUMNS))
    else:
        show(f"{model.summary()}\n\n{_uses(model)}")
    return 0


def _uses(model: Module) -> str:
    return "\n".join([f"input     {model.input_shape or 'not said'}",
                      f"classes   {', '.join(model.classes) if model.classes else 'not said'}",
                      f"scaling   {model.scaling or 'not said: pixels / 255'}",
                      *([f"threshold {model.decision_threshold:.4f}"] if model.decision_threshold is not None else [])])


def about(options: argparse.Namespace) -> int:
    """Print versions, processor, threads and devices."""
    found = tell()
    show(json_text(found.as_dict(), indent=1) if options.json else found)
    return 0
