"""The run: a worker for each peer, agreement before timing, records of what was found."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks import agree, timing
from benchmarks.cases import Case, write_data
from benchmarks.peers import OURS, peer
from benchmarks.peers.base import Arrays
from benchmarks.process import PeerError, Worker

Record = dict[str, Any]

DRAWS = 5  # of data, on one of which a peer must agree with us


@dataclass
class Options:
    peers: list[str]  # those beside ours, all of them able to run here
    cpus: list[int]
    seconds: float = 2.5  # for a pair of sides
    patience: float = 300.0  # for one answer
    quick: bool = False
    say: Callable[[str], None] = field(default=lambda line: None)


class Bench:
    """Workers, one for each peer, and the records that they make.

    A record is {"row", "case", "unit", "results": {peer: ...}}. The result of a peer is {"error": why} or a summary of
    times (`timing.Pair.summary`) with the errors of its agreement; that of a peer in rows that measure no time in turn
    has "value" and, where ours can be compared with it, "ratio".
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.records: list[Record] = []
        self.agreed: dict[tuple[str, str], dict[str, float] | str] = {}  # (peer, what) -> errors, or what is wrong
        self.ours: dict[tuple[str, int], Arrays] = {}  # (what, draw) -> what we computed, of the case at hand
        self._folder = tempfile.TemporaryDirectory(prefix="benchmarks-")
        self.folder = Path(self._folder.name)
        self.data = self.folder / "data.npz"
        self.workers = {name: Worker(name, options.cpus, patience=options.patience) for name in (OURS, *options.peers)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        for worker in self.workers.values():
            worker.close()
        self._folder.cleanup()

    def record(self, row: str, case: str, unit: str, results: dict[str, Any], **more: Any) -> None:
        """Keep what was found, and say that it was."""
        record = {"row": row, "case": case, "unit": unit, "results": results, **more}
        self.records.append(record)
        self.options.say(f"{row}: {case}")

    def compare(self, row: str, case: Case, peers: list[str] | None = None) -> None:
        """Time a case of ours beside each peer (or some), in turn: those that agree with us."""
        place = self.place(case)
        self.ours.clear()
        self._in_turn(row, case.name, peers, "prepare", place, lambda name: {"agreement": self._agreement(name, case)})

    def compare_tapes(self, row: str, length: int, peers: list[str]) -> None:
        """Time a tape of so many operations beside those of some peers, in turn."""
        self._in_turn(row, f"a tape of {length:,} ops", peers, "prepare_chain", {"length": length}, lambda name: {})

    def place(self, case: Case) -> dict[str, Any]:
        """Write the data of a case; what a worker has to be told to find it."""
        write_data(case, self.data)
        return {"case": case.as_json(), "data": str(self.data)}

    @contextmanager
    def ready(self, name: str, do: str, **request: Any) -> Iterator[timing.Block]:
        """A peer that was told to get ready, as something that can be timed. Afterwards it lets go of what it held."""
        worker = self.workers[name]
        if worker.ask(do, **request)["seconds"] is None:
            raise PeerError("has none")
        try:
            yield lambda count: worker.ask("calls", count=count, wake=count > 1)["seconds"]
        finally:
            worker.ask_if_alive("forget")

    def _in_turn(self, row: str, case: str, peers: list[str] | None, do: str, request: dict[str, Any],
                 first: Callable[[str], dict[str, Any]]) -> None:
        """Get ours ready, and beside it one peer after the other, of which `first` finds out something to record."""
        results: dict[str, Any] = {}
        try:
            with self.ready(OURS, do, **request) as ours:
                for name in self.options.peers:
                    if peers is None or name in peers:
                        results[name] = self._beside(ours, name, do, request, first)
                if not results:
                    results[OURS] = {"ours": timing.spread([ours(3) for _ in range(timing.LEAST_ROUNDS)])}
        except PeerError as error:
            results[OURS] = {"error": str(error)}
        self.record(row, case, "s", results)

    def _beside(self, ours: timing.Block, name: str, do: str, request: dict[str, Any],
                first: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        try:
            found = first(name)
            start = time.perf_counter()
            with self.ready(name, do, **request) as theirs:
                prepared = time.perf_counter() - start
                pair = timing.in_turn(ours, theirs, self.options.seconds)
                return {**pair.summary(), **found, "seconds_to_prepare": prepared}
        except PeerError as error:
            return {"error": str(error)}

    def _agreement(self, name: str, case: Case) -> dict[str, float]:
        """The relative errors between a peer's results and ours; PeerError if they are too large in every draw of the
        data. In one of them two numbers of a window may be as good as equal, and maximum pooling may choose either."""
        plain = case.without_dropout()
        what = f"{plain.objective} {plain.work} {plain.shape} {plain.layers}"
        if (name, what) not in self.agreed:
            for draw in range(DRAWS):
                if (what, draw) not in self.ours:
                    self.ours[what, draw] = self._computed(OURS, plain, draw)
                found = agree.errors(self.ours[what, draw], self._computed(name, plain, draw))
                self.agreed[name, what] = agree.verdict(found) or found
                if self.agreed[name, what] is found:
                    break
        result = self.agreed[name, what]
        if isinstance(result, str):
            raise PeerError(result)
        return result

    def _computed(self, name: str, plain: Case, draw: int) -> Arrays:
        data, out = self.folder / "draw.npz", self.folder / "computed.npz"
        write_data(plain, data, draw)
        self.workers[name].ask("compute", case=plain.as_json(), data=str(data), out=str(out))
        return agree.read_results(out)


def titles(names: list[str]) -> dict[str, str]:
    """How peers are called in tables."""
    return {name: peer(name).title for name in names}
