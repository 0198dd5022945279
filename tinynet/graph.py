"""The nodes of the tape behind a tensor, as a table and as a picture: `Tensor.graph()`."""

from html import escape

from tinynet.shown import Text, table
from tinynet.tape import Edge, Node, Traced, nodes_behind

WIDTH, HEIGHT, ACROSS, DOWN = 132, 40, 176, 58  # of a box, and from one box to the next


def graph(tensor: Traced) -> Text:
    """The nodes behind a tensor, the oldest first, each with its output shapes and the origins of its inputs.

    A notebook shows the same as a picture. Inputs that need no gradient and were made by an op do not count: the tape
    does not know where they come from.
    """
    nodes = list(reversed(nodes_behind(tensor)))
    numbers = {node: number for number, node in enumerate(nodes, 1)}
    rows = [("node", "op", "outputs", "inputs")]
    for node, number in numbers.items():
        inputs = [name for _, name in _inputs(node, numbers)]
        shapes = " ".join(_shape(shape) for shape, _ in node.outputs)
        rows.append((str(number), node.op.name, shapes, ", ".join(inputs)))
    text = table(rows, left=4)
    made = Text("\n".join(line.rstrip() for line in text.split("\n")))
    made.html = _svg(nodes, numbers) if nodes else ""
    return made


def _shape(shape: tuple[int, ...]) -> str:
    return "(" + ",".join(map(str, shape)) + ")"


def _inputs(node: Node, numbers: dict[Node, int]) -> list[tuple[Edge, str]]:
    """Where the inputs of a node come from: a node, a leaf that needs a gradient, or a constant."""
    constants = {place: tensor for place, tensor, *_ in (*node.given, *node.constants)}
    found: list[tuple[Edge, str]] = []
    for place, edge in enumerate(node.edges or ()):
        if isinstance(edge, tuple):
            found.append((edge, f"node {numbers[edge[0]]}"))
        elif edge is not None:
            found.append((edge, f"leaf {_shape(edge.shape)}"))
        elif place in constants:
            found.append((constants[place], f"constant {_shape(constants[place].shape)}"))
    return found


def _svg(nodes: list[Node], numbers: dict[Node, int]) -> str:
    """Boxes from left to right: leaves and constants, then each node to the right of its inputs."""
    column: dict[object, int] = {}
    sources: dict[int, tuple[str, int]] = {}  # leaves and constants by id: name, column
    links: list[tuple[object, object]] = []
    for node in nodes:
        inputs = _inputs(node, numbers)
        column[node] = 1 + max([column[edge[0]] for edge, _ in inputs if isinstance(edge, tuple)], default=0)
        for edge, name in inputs:
            if isinstance(edge, tuple):
                links.append((edge[0], node))
            else:
                sources.setdefault(id(edge), (name, column[node] - 1))
                links.append((id(edge), node))
    column.update({key: place for key, (_, place) in sources.items()})
    rows: dict[int, int] = {}
    places: dict[object, tuple[int, int]] = {}
    for key in sorted(column, key=lambda key: column[key]):
        row = rows.get(column[key], 0)
        rows[column[key]] = row + 1
        places[key] = (column[key] * ACROSS + 4, row * DOWN + 4)
    lines = [f'<path d="M{places[a][0] + WIDTH} {places[a][1] + HEIGHT // 2}L{places[b][0]} '
             f'{places[b][1] + HEIGHT // 2}" stroke="currentColor" opacity=".5"/>' for a, b in links]
    boxes = [_box(*places[key], name, "", "4 3") for key, (name, _) in sources.items()]
    boxes += [_box(*places[node], f"{numbers[node]} {node.op.name}",
                   " ".join(_shape(shape) for shape, _ in node.outputs), "") for node in nodes]
    width, height = ACROSS * (max(column.values()) + 1), DOWN * max(rows.values())
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
            f'font-size="12">{"".join(lines + boxes)}</svg>')


def _box(x: int, y: int, name: str, below: str, dash: str) -> str:
    middle, high = x + WIDTH // 2, y + (17 if below else 24)
    return (f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5" fill="none" stroke="currentColor" '
            f'stroke-dasharray="{dash}"/><text x="{middle}" y="{high}" text-anchor="middle" fill="currentColor">'
            f'{escape(name)}</text><text x="{middle}" y="{y + 33}" text-anchor="middle" fill="currentColor" '
            f'opacity=".7">{escape(below)}</text>')
