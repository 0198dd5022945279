"""The registry of rules: how each op is written as nodes of a graph.

    @rule("relu")
    def relu(graph, step):
        graph.set(step.outputs[0], graph.emit("Relu", graph.value(step.inputs[0])))

An op without a rule stands in `INEXPRESSIBLE`, with the reason. A test demands one of the two for every op.
"""

from collections.abc import Callable

from tinynet.export import masks
from tinynet.export.graph import Graph
from tinynet.export.trace import Step

Rule = Callable[[Graph, Step], None]

RULES: dict[str, Rule] = {}

# The end of an error that begins with the op.
INEXPRESSIBLE: dict[str, str] = {
    "binary_cross_entropy": "is a loss of labels, which an exported model does not take; export what it is computed "
                            "from",
    "cross_entropy": "is a loss of labels, which an exported model does not take; export what it is computed from",
    "dropout": "draws random numbers, which an exported model must not; call it only while self.training",
}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a function as the rule of ops."""
    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function
    return register


def apply(graph: Graph, step: Step) -> None:
    """Write a step as nodes. ExportError if its op cannot be expressed."""
    graph.step = step
    if step.op not in RULES:
        graph.fail(INEXPRESSIBLE.get(step.op, "has no rule for ONNX; write what it computes with ops of tn.ops, or "
                                     "register a rule with tinynet.export.rules.rule"))
    RULES[step.op](graph, step)
    masks.note(graph, step)
