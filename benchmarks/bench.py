"""The run: a worker for each peer, a comparison of results before timing, and the records."""

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

DRAWS = 5  # of the data; a peer must agree with tinynet on one of them


@dataclass
class Options:
    peers: list[str]  # the peers beside tinynet, all able to run here
    cpus: list[int]
    seconds: float = 2.5  # for each pair of sides
    patience: float = 300.0  # seconds to wait for one answer
    quick: bool = False
    say: Callable[[str], None] = field(default=lambda line: None)


class Bench:
    """The workers, one for each peer, and their records.

    A record is {"row", "case", "unit", "results": {peer: ...}}. The result of a peer is {"error": reason}, or a summary
    of times (`timing.Pair.summary`) with the errors of its agreement. In rows without alternating runs it has "value"
    and, if it can be compared with tinynet's, "ratio".
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.records: list[Record] = []
        self.agreed: dict[tuple[str, str], dict[str, float] | str] = {}  # (peer, what) -> errors, or the fault
        self.ours: dict[tuple[str, int], Arrays] = {}  # (what, draw) -> results of tinynet for the current case
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
        """Keep a record, and report its row and case."""
        record = {"row": row, "case": case, "unit": unit, "results": results, **more}
        self.records.append(record)
        self.options.say(f"{row}: {case}")

    def compare(self, row: str, case: Case, peers: list[str] | None = None) -> None:
        """Time a case of tinynet and of each peer (or some) in turn, if their results agree."""
        place = self.place(case)
        self.ours.clear()
        self._in_turn(row, case.name, peers, "prepare", place, lambda name: {"agreement": self._agreement(name, case)})

    def compare_tapes(self, row: str, length: int, peers: list[str]) -> None:
        """Time a tape of `length` operations of tinynet and of some peers in turn."""
        self._in_turn(row, f"a tape of {length:,} ops", peers, "prepare_chain", {"length": length}, lambda name: {})

    def place(self, case: Case) -> dict[str, Any]:
        """Write the data of a case. Returns the arguments of a request for it."""
        write_data(case, self.data)
        return {"case": case.as_json(), "data": str(self.data)}

    @contextmanager
    def ready(self, name: str, do: str, **request: Any) -> Iterator[timing.Block]:
        """Prepare a peer, and yield a function that times calls. Afterwards the peer frees its data."""
        worker = self.workers[name]
        if worker.ask(do, **request)["seconds"] is None:
            raise PeerError("has none")
        try:
            yield lambda count: worker.ask("calls", count=count, wake=count > 1)["seconds"]
        finally:
            worker.ask_if_alive("forget")

    def _in_turn(self, row: str, case: str, peers: list[str] | None, do: str, request: dict[str, Any],
                 first: Callable[[str], dict[str, Any]]) -> None:
        """Time tinynet and one peer after the other in turn. The result of `first(peer)` is recorded, too."""
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
        """The relative errors of a peer's results. PeerError if they are too large in every draw of the data.

        In one draw, two numbers of a window may be almost equal, and max pooling may choose either.
        """
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
    """The names of peers in tables."""
    return {name: peer(name).title for name in names}
