"""What `model.profile(x)` returns: the times and the memory of each layer, which print as a table."""

from dataclasses import dataclass

from tinynet.shown import Text, in_bytes, table


@dataclass
class LayerProfile:
    """One layer: `forward` and `backward` in seconds, `kept` the bytes that it keeps for its backward pass.

    A module that calls others has a row if it calls ops itself; the row does not include the others.
    """

    name: str
    layer: str
    forward: float
    backward: float
    kept: int


@dataclass(repr=False)
class Profile:
    """The layers in the order of their calls, and `forward` and `backward` of the whole model in seconds.

    It prints as a table.
    """

    rows: list[LayerProfile]
    forward: float
    backward: float
    batch: int

    @property
    def kept(self) -> int:
        """The bytes that all layers keep for the backward pass, without parameters and the input."""
        return sum(row.kept for row in self.rows)

    def __repr__(self) -> str:
        return self._table()

    def _repr_html_(self) -> str:
        return self._table()._repr_html_()

    def _table(self) -> Text:
        layers = sum(row.forward + row.backward for row in self.rows)
        lines = [("layer", "name", "forward", "backward", "share", "kept")]
        lines += [(row.layer, row.name, _ms(row.forward), _ms(row.backward),
                   f"{(row.forward + row.backward) / layers:.0%}", in_bytes(row.kept)) for row in self.rows]
        lines.append((f"batch of {self.batch}", "", _ms(self.forward), _ms(self.backward), "", in_bytes(self.kept)))
        return table(lines, left=2)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.2f} ms"
