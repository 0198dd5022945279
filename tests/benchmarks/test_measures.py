"""What the benchmark measures: with given times, its records have the right numbers. No process is started here."""

import inspect
import io
import itertools
import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import benchmarks.bench
import benchmarks.peers
import tinynet as tn
from benchmarks import agree, layers, machine, ours, rows, timing, worker
from benchmarks.bench import DRAWS, Bench, Options
from benchmarks.cases import Case, build, case, read_data, write_data
from benchmarks.peers import OURS, peer
from benchmarks.process import PeerError
from benchmarks.worker import Session

DENSE = tn.nn.Sequential(tn.nn.Dense(4, 3), tn.nn.Dropout(0.5))


class Clock:
    """A clock that functions move on."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    monotonic = process_time = perf_counter

    def taking(self, *seconds: float) -> Any:
        """A function whose calls take these times, in turn."""
        times = itertools.cycle(seconds)

        def call(*arguments: Any, **more: Any) -> None:
            self.now += next(times)
        return call


class Process:
    """The process of a peer, which answers with times of its own and writes results for a comparison."""

    seconds: dict[str, float] = {}  # noqa: RUF012
    wrong: dict[tuple[str, int], float] = {}  # noqa: RUF012  # (peer, draw) -> by which factor its results are off

    def __init__(self, name: str, cpus: list[int], environment: Any = None, patience: float = 0.0) -> None:
        self.name, self.cpus, self.patience = name, cpus, patience
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.drawn: list[np.ndarray] = []

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        self.asked.append((do, request))
        if do == "compute":
            x, *_ = read_data(Path(request["data"]))
            self.drawn.append(x)
            np.savez(request["out"], output=x * self.wrong.get((self.name, len(self.drawn) - 1), 1.0))
        count = request.get("count", 1)
        if do == "prepare_chain" and self.name == "compile":
            return {"seconds": None}
        return {"seconds": [self.seconds[self.name]] * count}

    ask_if_alive = ask

    def close(self) -> None:
        self.asked.append(("close", {}))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(benchmarks.bench, "Worker", Process)
    monkeypatch.setattr(Process, "seconds", {OURS: 0.1, "torch": 0.4, "compile": 0.5})
    monkeypatch.setattr(Process, "wrong", {})
    with Bench(Options(["torch", "compile"], [3], seconds=1.5, patience=7.0)) as made:
        yield made


@pytest.fixture(autouse=True)
def quick_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tn.init, "orthogonal", tn.init.zeros)  # it takes seconds for large layers
    monkeypatch.setattr(worker.gc, "collect", lambda: None)  # and so does this with PyTorch loaded


def last(bench: Bench) -> dict[str, Any]:
    return bench.records[-1]["results"]


# --- a pair of sides ------------------------------------------------------------------------------------------------

def test_a_record_says_which_side_is_which(bench: Bench) -> None:
    """The ratio is ours divided by theirs, over rounds whose calls fill the seconds of the options."""
    bench.compare("ops", case("a case", "step", DENSE, 2, (4,)))
    assert last(bench).keys() == {"torch", "compile"}
    found = last(bench)["torch"]
    assert (found["ours"]["median"], found["theirs"]["median"]) == (0.1, 0.4)
    assert found["ratio"]["median"] == found["ratio"]["of_minima"] == 0.25
    assert found["ratio"]["rounds"] == 3 == len(found["ours"]["blocks"])  # 1.5 s of rounds of 0.5 s
    assert found["agreement"] == {"output": 0.0} and found["seconds_to_prepare"] >= 0
    record = bench.records[-1]
    assert (record["row"], record["case"], record["unit"]) == ("ops", "a case", "s")
    assert [process.patience for process in bench.workers.values()] == [7.0] * 3
    assert bench.workers["torch"].cpus == [3]


def test_the_time_to_prepare_is_that_of_the_peer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, ask = Clock(), Process.ask
    clock.now = 100.0

    def slow(self: Process, do: str, **request: Any) -> dict[str, Any]:
        clock.now += {"prepare": 7.0, "calls": 50.0}.get(do, 0.0) if self.name == "torch" else 900.0
        return ask(self, do, **request)

    monkeypatch.setattr(benchmarks.bench, "time", clock)
    monkeypatch.setattr(Process, "ask", slow)
    bench.compare("ops", case("a case", "step", DENSE, 2, (4,)), ["torch"])
    assert last(bench)["torch"]["seconds_to_prepare"] == 7.0


def test_calls_are_made_ready_woken_and_forgotten(bench: Bench) -> None:
    bench.compare_tapes("growth", 1000, ["torch"])
    assert last(bench).keys() == {"torch"} and bench.records[-1]["case"] == "a tape of 1,000 ops"
    asked = bench.workers["torch"].asked
    assert asked[0] == ("prepare_chain", {"length": 1000}) and asked[-1][0] == "forget"
    assert {(request["count"], request["wake"]) for do, request in asked if do == "calls"} == {(3, True), (1, False)}


def test_a_peer_without_the_work_has_a_reason_and_no_times(bench: Bench) -> None:
    bench.compare_tapes("growth", 10, ["torch", "compile"])
    assert last(bench)["compile"] == {"error": "has none"} and "ratio" in last(bench)["torch"]


def test_a_failure_of_ours_is_that_of_the_case(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(do: str, **request: Any) -> Any:
        raise PeerError("died")

    monkeypatch.setattr(bench.workers[OURS], "ask", ask)
    bench.compare_tapes("growth", 5, ["torch"])
    assert last(bench) == {OURS: {"error": "died"}}


def test_processes_and_data_end_with_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks.bench, "Worker", Process)
    with Bench(Options(["torch"], [3])) as made:
        made.place(case("a case", "step", DENSE, 2, (4,)))
        assert made.data.is_file()
    assert not made.folder.exists()
    assert [process.asked for process in made.workers.values()] == [[("close", {})]] * 2


def test_work_that_fails_is_forgotten_and_the_others_go_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute is what an answer may take five times, unless a bench is told otherwise."""
    ask = bench.workers["torch"].ask

    def failing(do: str, **request: Any) -> Any:
        if do == "calls":
            raise PeerError("died")
        return ask(do, **request)

    monkeypatch.setattr(bench.workers["torch"], "ask", failing)
    bench.compare_tapes("growth", 5, ["torch", "compile"])
    assert last(bench) == {"torch": {"error": "died"}, "compile": {"error": "has none"}}
    assert bench.workers["torch"].asked[-1] == ("forget", {}) == bench.workers[OURS].asked[-1]
    usual = Options([], [0])
    assert (usual.seconds, usual.patience, usual.quick) == (2.5, 300.0, False)


def test_lines_are_said_as_they_are_recorded() -> None:
    said: list[str] = []
    with Bench(Options([], [0], say=said.append)) as bench:
        bench.record("step", "a", "s", {}, model="b")
    assert said == ["step: a"] and bench.records[-1]["model"] == "b"


def test_agreement_is_tried_on_other_draws_once_for_each_case(bench: Bench) -> None:
    """Ours are computed once for each draw, and a peer that has agreed is not asked again."""
    Process.wrong = {("torch", 0): 1.5, ("torch", 1): 1.5, **{("compile", draw): 1.5 for draw in range(DRAWS)}}
    work = case("a case", "step", DENSE, 2, (4,))
    bench.compare("ops", work)
    found = last(bench)
    assert "ratio" in found["torch"] and found["compile"]["error"].startswith("disagrees in output by 3.3e-01")
    drawn = {name: process.drawn for name, process in bench.workers.items()}
    assert {name: len(some) for name, some in drawn.items()} == {OURS: DRAWS, "torch": 3, "compile": DRAWS}
    assert len({x.tobytes() for x in drawn[OURS]}) == DRAWS == 5, "each draw has data of its own"
    assert all((a == b).all() for a, b in zip(drawn[OURS], drawn["compile"], strict=True))
    bench.compare("ops", work.named("the same again"))
    assert len(drawn["torch"]) == 3, "what agreed is known"
    bench.compare("ops", case("more", "step", DENSE, 3, (4,)))
    assert len(drawn["torch"]) == 4
    other = tn.nn.Sequential(tn.nn.Dense(4, 3, bias=False), tn.nn.Dropout(0.5))
    for count, one in enumerate((work.doing("forward"), case("", "step", other, 2, (4,)), work), 5):
        bench.compare("ops", one)
        assert len(drawn["torch"]) == min(count, 6), "other work or layers agree for themselves"
    for do, request in bench.workers["torch"].asked:
        dropped = [options["p"] for kind, options in request.get("case", {}).get("layers", ()) if kind == "Dropout"]
        assert do not in ("compute", "prepare") or dropped == [0.0 if do == "compute" else 0.5]


@pytest.mark.parametrize(("name", "most"), [("output", 1e-5), ("loss", 1e-5), ("0.W", 5e-4), ("x", 5e-4)])
def test_outputs_agree_more_closely_than_gradients(name: str, most: float) -> None:
    assert agree.verdict({name: most, "0.b": 1e-9}) is None
    assert agree.verdict({name: 1.2 * most, "0.b": 1e-9}) == f"disagrees in {name} by {1.2 * most:.1e}"


# --- cases ----------------------------------------------------------------------------------------------------------

def test_draws_differ_in_the_data_alone(tmp_path: Path) -> None:
    for work in ("step", "backward"):
        one = case("", work, DENSE, 40, (4,))
        for draw in (0, 1):
            write_data(one, tmp_path / f"{draw}.npz", draw)
        (x, target, weights, _), (other, another, same, _) = (read_data(tmp_path / f"{draw}.npz") for draw in (0, 1))
        assert (x != other).all() and (target != another).any()
        assert all((array == same[name]).all() for name, array in weights.items())
        assert 0 <= x.min() < 0.2 and 0.8 < x.max() < 1
        if work == "step":
            assert target.dtype == np.int64 and set(target) == {0, 1, 2}
        else:
            assert target.shape == (40, 3) and target.dtype == np.float32 and target.min() < 0 < target.max()


def test_gradients_of_an_update_have_both_signs_and_are_not_small(tmp_path: Path) -> None:
    write_data(case("", "update", DENSE, 1, (4,)), tmp_path / "data.npz")
    *_, weights, gradients = read_data(tmp_path / "data.npz")
    found = np.concatenate([array.ravel() for array in gradients.values()])
    assert gradients.keys() == weights.keys() and found.size == 15
    assert np.abs(found).min() >= 0.005 and np.abs(found).max() <= 0.015 and found.min() < 0 < found.max()


def test_a_case_survives_its_way_to_a_peer() -> None:
    one = case("a", "backward", tn.nn.Sequential(tn.nn.Reshape((2, 2)), tn.nn.Dropout(0.5)), 3, (4,))
    there = Case.from_json(json.loads(json.dumps(one.as_json())))
    assert (there.name, there.work, there.shape) == (one.name, one.work, one.shape) == ("a", "backward", (3, 4))
    assert [kind for kind, _ in there.layers] == ["Reshape", "Dropout"] and there.objective == "product"
    assert {one.doing(work).objective for work in ("step", "forward", "update")} == {"cross_entropy"}
    plain = one.without_dropout()
    assert plain.layers[1] == ("Dropout", {**one.layers[1][1], "p": 0.0}) and plain.layers[0] == one.layers[0]
    assert one.layers[1][1]["p"] == 0.5


def test_a_case_is_built_as_it_was() -> None:
    nn = tn.nn
    model = nn.Sequential(nn.Conv1D(3, 4, 3, padding="same"), nn.ReLU(), nn.Dropout(0.25), nn.Flatten(),
                          nn.Dense(20, 3, bias=False))
    assert list(map(repr, build(case("", "step", model, 2, (5, 3)).layers))) == list(map(repr, model))


@pytest.mark.parametrize("layer", [
    tn.nn.Conv1D(2, 3, 3, stride=2), tn.nn.Conv1D(2, 3, 3, dilation=2), tn.nn.Conv1D(2, 3, 3, padding="causal"),
    tn.nn.LSTM(2, 3, go_backwards=True), tn.nn.LSTM(2, 3, return_state=True), tn.nn.LSTM(2, 3, dropout=0.1),
    tn.nn.LSTM(2, 3, recurrent_dropout=0.1), tn.nn.BatchNorm(2, axis=1)], ids=repr)
def test_layers_that_peers_would_compute_otherwise_are_refused(layer: Any) -> None:
    with pytest.raises(NotImplementedError, match="do not translate"):
        case("", "step", tn.nn.Sequential(layer), 1, (7, 2))


# --- the requests of a worker ---------------------------------------------------------------------------------------

class Fake:
    """A network and a peer that note what they are asked for."""

    name = "fake"

    def __init__(self) -> None:
        self.done: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **more: Any) -> Any:
            self.done.append((name, *more.values()))
            return {"0.W": np.ones(1)} if name in ("gradients", "parameters") else np.zeros(1)
        return call

    def build(self, layers: Any, weights: Any, shape: Any, objective: str) -> "Fake":
        self.done.append(("build", [options.get("p") for _, options in layers][1], shape, objective))
        return self

    def put(self, array: np.ndarray) -> np.ndarray:
        return array


PREPARED = {"step": [("mode", True), ("step",)], "forward": [("mode", False), ("forward",)],
            "backward": [("mode", True), ("backward",)], "update": [("mode", True), ("set_gradients",), ("update",)]}
COMPUTED = {"forward": [("mode", False), ("forward",), ("numpy",)],
            "step": [("mode", False), ("forward",), ("numpy",), ("mode", True), ("gradients",)],
            "update": [("set_gradients",), ("update",), ("parameters",)]}


@pytest.mark.parametrize("work", PREPARED)
def test_the_work_that_is_prepared(work: str, tmp_path: Path) -> None:
    """It is done once, in the mode of the work and with dropout; `calls` repeats it."""
    one, data, fake = case("", work, DENSE, 2, (4,)), tmp_path / "data.npz", Fake()
    write_data(one, data)
    session = Session(fake)
    assert len(session.prepare(one.as_json(), str(data))["seconds"]) == 1
    assert fake.done == [("build", 0.5, (2, 4), one.objective), *PREPARED[work]]
    fake.done.clear()
    assert len(session.calls(3)["seconds"]) == 3 and fake.done == [PREPARED[work][-1]] * 3
    assert len(session.calls(3, wake=True)["seconds"]) == 3 and len(fake.done) == 7
    session.forget()
    with pytest.raises(RuntimeError, match="nothing is prepared"):
        session.calls(1)


@pytest.mark.parametrize("work", [*COMPUTED, "backward"])
def test_the_results_that_are_compared(work: str, tmp_path: Path) -> None:
    """Without dropout: the output in evaluation, and gradients in training; for an update the new weights."""
    one, data, fake = case("", work, DENSE, 2, (4,)), tmp_path / "data.npz", Fake()
    write_data(one, data)
    Session(fake).compute(one.as_json(), str(data), str(tmp_path / "out.npz"))
    assert fake.done == [("build", 0.0, (2, 4), one.objective), *COMPUTED.get(work, COMPUTED["step"])]
    assert agree.read_results(tmp_path / "out.npz").keys() == {
        "update": {"0.W"}, "forward": {"output"}}.get(work, {"output", "0.W"})


def test_each_call_is_timed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(worker, "time", clock)
    session = Session(None)
    session.run = clock.taking(5.0, 1.0, 2.0, 4.0)
    assert session.calls(3, wake=True) == {"seconds": [1.0, 2.0, 4.0]}, "the call that wakes is not timed"
    collected: list[str] = []
    with monkeypatch.context() as changed:
        changed.setattr(worker.gc, "collect", lambda: collected.append("collected"))
        session.run = lambda: collected.append("call")
        session.calls(2, wake=True)
        session.forget()
    assert collected == ["call", "collected", "call", "call", "collected"], "garbage is no part of a call"
    collecting: list[bool] = []
    session.run = lambda: collecting.append(worker.gc.isenabled())
    session.calls(2)
    session.run = lambda: 1 / (collecting.append(worker.gc.isenabled()) or 0)
    with pytest.raises(ZeroDivisionError):
        session.calls(1)
    assert collecting == [False] * 3 and worker.gc.isenabled()
    assert session._take(None) == {"seconds": None}
    with pytest.raises(RuntimeError):
        session.run()
    assert session._take(clock.taking(3.0)) == {"seconds": [3.0]}
    status = SimpleNamespace(read_text=lambda encoding: "VmPeak:\t 9 kB\nVmHWM:\t  70000 kB\nVmRSS:\t 5 kB\n")
    monkeypatch.setattr(worker, "Path", lambda path: status)
    assert session.memory() == {"bytes": 70000 * 1024}


@pytest.mark.parametrize("name", [OURS, "torch"])
def test_products_and_tapes_of_peers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The product of two square matrices, and a tape with one op for each of its length."""
    one = peer(name)
    if one.lacks():
        pytest.skip(str(one.lacks()))
    a = np.linspace(-1, 1, 25, dtype=np.float32).reshape(5, 5)
    np.testing.assert_allclose(one.numpy(one.product(5)()), a @ a, atol=1e-5)  # type: ignore[misc]
    chain = one.chain(7)
    assert chain is not None
    made: list[Any] = []
    kinds: Any = tn.Tensor if name == OURS else sys.modules["torch"].Tensor
    multiplied = kinds.__mul__
    monkeypatch.setattr(kinds, "__mul__", lambda x, y: made.append((x, y, multiplied(x, y))) or made[-1][2])
    chain()
    assert [y for _, y, _ in made] == [1.0001] * 7
    assert all(x is before for (x, *_), (*_, before) in zip(made[1:], made, strict=False)), "each takes the one before"
    assert peer("compile").chain(7) is None and peer("compile").product(5) is None


def begun(name: str, work: str, path: Path) -> tuple[Any, Any, Any, dict[str, np.ndarray]]:
    """A network of a peer for one Dense layer, with the data of its case."""
    one = case("", work, tn.nn.Sequential(tn.nn.Dense(4, 3)), 5, (4,))
    write_data(one, path)
    x, target, weights, gradients = read_data(path)
    found = peer(name)
    network = found.build(list(one.layers), weights, one.shape, one.objective)
    return network, found.put(x), found.put(target), {"x": x, "target": target, **weights, **{
        f"gradient {key}": array for key, array in gradients.items()}}


@pytest.mark.parametrize("name", [OURS, "torch"])
def test_the_work_of_a_peer_by_hand(name: str, tmp_path: Path) -> None:
    """Forward, the loss and a step of Adam at the rate 0.001, the gradients of both objectives, an update alone."""
    if peer(name).lacks():
        pytest.skip(str(peer(name).lacks()))
    network, x, target, known = begun(name, "step", tmp_path / "data.npz")
    W, b, labels = known["0.W"], known["0.b"], known["target"]
    y = known["x"] @ W + b
    p = np.exp(y - y.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    dy = (p - np.eye(3)[labels]) / 5
    network.mode(training=False)
    np.testing.assert_allclose(peer(name).numpy(network.forward(x)), y, rtol=1e-5, atol=1e-6)
    assert not network.forward(x).requires_grad, "no data for a backward pass"
    turned = peer(name).numpy(peer(name).put(y.T))
    assert turned.flags.c_contiguous and (turned == y.T).all()
    network.mode(training=True)
    found = network.gradients(x, target)
    assert found["loss"] == pytest.approx(-np.log(p[np.arange(5), labels]).mean(), rel=1e-5)
    np.testing.assert_allclose(found["0.W"], known["x"].T @ dy, rtol=1e-4, atol=1e-6)
    assert network.step(x, target) == pytest.approx(float(found["loss"]), rel=1e-5)
    after = network.parameters()
    np.testing.assert_allclose(after["0.W"], W - 1e-3 * np.sign(found["0.W"]), atol=1e-5)
    kept = {key: array.copy() for key, array in (*found.items(), *((f"new {key}", one) for key, one in after.items()))}
    for _ in range(3):
        network.step(x, target)
    if name == OURS:
        assert all((kept[key] == array).all() for key, array in found.items()), "what was returned stays"
        assert all((kept[f"new {key}"] == array).all() for key, array in after.items())

    network, x, target, known = begun(name, "backward", tmp_path / "data.npz")
    found = network.gradients(x, target)
    np.testing.assert_allclose(found["x"], known["target"] @ known["0.W"].T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["0.b"], known["target"].sum(axis=0), rtol=1e-4, atol=1e-5)

    network, *_, known = begun(name, "update", tmp_path / "data.npz")
    network.set_gradients({key.removeprefix("gradient "): known[key] for key in known if key.startswith("gradient ")})
    network.update()
    np.testing.assert_allclose(network.parameters()["0.W"], known["0.W"] - 1e-3 * np.sign(known["gradient 0.W"]),
                               atol=1e-6)


def test_peers_have_the_threads_and_the_caches_that_they_are_given(tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    assert peer(OURS).environment(tmp_path) == {"NUMBA_CACHE_DIR": str(tmp_path)}
    assert peer("compile").environment(tmp_path) == {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    assert peer("tinygrad").environment(tmp_path) == {"CACHEDB": str(tmp_path / "tinygrad.db")}
    assert peer("torch").environment(tmp_path) == {} and peer("keras").module == "keras"
    jax = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
           "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
    assert peer("jax").environment(tmp_path) == jax
    assert peer("keras").environment(tmp_path) == {**jax, "KERAS_BACKEND": "jax"}
    torch = pytest.importorskip("torch")
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    peer("torch").start(3)
    assert asked == [3] and not peer("torch").settings()["compiled"] and peer("compile").settings()["compiled"]


def test_the_time_of_an_optimizer_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(ours, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    weight = tn.nn.Parameter(np.ones(2, np.float32))
    weight.grad = np.ones(2, np.float32)
    for optimizer in (tn.optim.Adam([weight]), tn.optim.SGD([weight])):
        with ours._watched() as spent:
            optimizer.step()
            optimizer.step()
        assert spent == {type(optimizer).__name__.lower(): 2}


def test_requests_that_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    maker: Any = SimpleNamespace(settings=lambda: {"threads": 3}, product=lambda size: asked.append(size) or (
        lambda: asked.append("multiplied")), chain=lambda length: None)
    session = Session(maker)
    assert session.settings() == {"settings": {"threads": 3}}
    assert len(session.prepare_product(7)["seconds"]) == 1 and asked == [7, "multiplied"]
    assert session.prepare_chain(9) == {"seconds": None}
    monkeypatch.setattr(ours, "epoch", lambda one, images, rounds: (one.name, images, rounds))
    one = case("a case", "step", DENSE, 2, (4,)).as_json()
    assert session.epoch(one, 60, 3) == {"seconds": ("a case", 60, 3)}
    monkeypatch.setattr(session, "prepare", lambda case, data: asked.append((case, data)))
    monkeypatch.setattr(ours, "profile", lambda run, count: {"run": run, "count": count})
    assert session.profile(one, "data.npz", 40) == {"seconds": {"run": session.run, "count": 40}}
    assert asked[-1] == (one, "data.npz")


def test_a_worker_has_its_processors_before_its_framework_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many threads as processors; a line for each request, and of a long error its beginning."""
    done: list[Any] = []
    printing: list[Any] = []
    answers = io.StringIO()

    def start(threads: int) -> None:
        done.append(threads)

    started: Any = SimpleNamespace(start=start, settings=lambda: {"threads": 2}, product=lambda size: 1 / 0,
                                   chain=lambda length: {}["x" * 999])
    monkeypatch.setattr(benchmarks.peers, "peer", lambda name: done.append(name) or started)
    changed = {"dup": lambda file: file, "dup2": lambda *files: printing.append(files),
               "fdopen": lambda file, *more, **options: printing.append(file) or answers,
               "sched_setaffinity": lambda process, cpus: done.append((process, cpus))}
    for name, value in changed.items():
        monkeypatch.setattr(worker.os, name, value, raising=False)
    monkeypatch.setattr(sys, "stdin", [json.dumps(one) for one in (
        {"do": "settings"}, {"do": "prepare_product", "size": 3}, {"do": "prepare_chain", "length": 4})])
    worker.main("torch", "3,5")
    assert done == [(0, {3, 5}), "torch", 2]
    assert printing == [1, (2, 1)], "what a framework prints is no answer"
    ready, settings, fault, long = map(json.loads, answers.getvalue().splitlines())
    assert (ready, settings) == ({"ready": True}, {"settings": {"threads": 2}})
    assert fault == {"error": "ZeroDivisionError: division by zero"} and long == {"error": f"KeyError: '{'x' * 489}"}


# --- the rows -------------------------------------------------------------------------------------------------------

def compared(row: str, quick: bool = False) -> list[tuple[Case, Any]]:
    """The cases of a row in full size, with the peers that they are for."""
    found: list[Any] = []
    options = Options(["torch", "tinygrad", "jax"], [0], quick=quick)
    bench = SimpleNamespace(options=options, compare=lambda row, one, peers=None: found.append((one, peers)),
                            compare_tapes=lambda row, length, peers: found.append((length, peers)))
    rows.ROWS[row](bench)  # type: ignore[arg-type]
    return found


def dropout(one: Case) -> float:
    return max((options["p"] for kind, options in one.layers if kind == "Dropout"), default=0.0)


def test_the_cases_of_a_step() -> None:
    """A peer that compiles for a minute is timed once for each model."""
    swift = ["torch", "jax"]
    found = [(one.shape[0], dropout(one), one.work, peers) for one, peers in compared("step")]
    assert found == [(128, 0.2, "step", None), (128, 0.0, "step", swift), (32, 0.2, "step", swift),
                     (32, 0.0, "step", swift), (512, 0.2, "step", swift), (512, 0.0, "step", swift),
                     *[(128, 0.2, "step", None)] * 4]
    assert {one.shape[0] for one, _ in compared("step", quick=True)} == {4}


def test_the_cases_of_forward_and_of_x_rays() -> None:
    assert [(one.shape[0], one.work) for one, _ in compared("forward")] == [(128, "forward"), (1, "forward")]
    assert [(one.shape, one.work) for one, _ in compared("pneumonia")] == [((16, 224, 224, 3), "step")]
    assert compared("pneumonia", quick=True)[0][0].shape[0] == 1


def test_the_cases_of_growth() -> None:
    found = compared("growth")
    assert all(peers == ["torch"] for _, peers in found)
    steps = [(one.shape[1], one.shape[0], one.layers[0][1]["units"]) for one, _ in found if isinstance(one, Case)]
    assert steps == [*((T, 128, 128) for T in (7, 28, 112, 448)), *((28, N, 128) for N in (8, 32, 512)),
                     *((28, 128, H) for H in (32, 64, 256, 512))]
    assert [one for one, _ in found if isinstance(one, int)] == [100, 1000, 10_000, 50_000]
    *small, length = [one for one, _ in compared("growth", quick=True)]
    assert length == 100 and [(one.shape, one.layers[0][1]["units"]) for one in small] == [
        ((4, 4, 28), 32), ((4, 28, 28), 32), ((4, 28, 28), 4)]


def test_the_cases_of_single_ops() -> None:
    found = compared("ops")
    assert all(peers == ["torch", "jax"] for _, peers in found)
    image, units = (16, 56, 56, 64), (32, 128, 512)
    assert [(one.layers[0][0], one.shape, one.work) for one, _ in found] == [
        *[("LSTM", (128, 28, 28), "backward")] * 3, *[("LSTM", (32, 256, 28), "backward")] * 3,
        ("Conv1D", (128, 28, 128), "backward"), ("Conv2D", image, "backward"), ("BatchNorm", image, "backward"),
        ("BatchNorm", (128, 28, 28, 1), "backward"), ("Dropout", (128, 28, 128), "backward"),
        ("Dense", (1, 1000), "update")]
    assert [one.layers[0][1]["units"] for one, _ in found[:6]] == [*units, *units]
    assert all(str(one.layers[0][1]["units"]) in one.name for one, _ in found[:6])
    assert [one.layers[0][1]["filters"] for one, _ in found[6:8]] == [64, 64] and dropout(found[-2][0]) == 0.2
    assert found[-1][0].name == "Adam, 1,001,000 parameters"
    assert {one.shape[0] for one, _ in compared("ops", quick=True)} == {1, 2}


def test_the_models_are_those_of_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else is called so; their folder is named once."""
    examples = str(rows.ROOT / "examples")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != examples])
    assert Path(rows.example_models().__file__).parent == Path(examples) and rows.example_models()
    assert sys.path[0] == examples and sys.path.count(examples) == 1


def recorded(bench: SimpleNamespace) -> dict[str, dict[str, Any]]:
    return {case: results for _, case, _, results in bench.records}


def fake_bench(answers: dict[str, Any], *, quick: bool = True) -> Any:
    records: list[Any] = []
    asked: list[Any] = []

    def ask(do: str, **request: Any) -> Any:
        asked.append((do, request))
        return answers[do]

    return SimpleNamespace(options=Options(["torch"], [0], quick=quick, patience=5.0), records=records, asked=asked,
                           workers={OURS: SimpleNamespace(ask=ask)}, place=lambda one: {"case": one.name, "data": "d"},
                           record=lambda *record, **more: records.append(record))


def test_a_ratio_of_fresh_processes_is_ours_by_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {OURS: 2.0, "torch": 8.0}
    names = ("peak memory", "import", "first step, cold caches", "first step, warm caches", "size of the installation")
    monkeypatch.setattr(rows, "_fresh_processes", lambda bench, name, place: dict.fromkeys(names, values[name]))
    bench = fake_bench({})
    rows.start(bench)
    assert [record[1:3] for record in bench.records] == [(name, "bytes" if name[0] in "ps" else "s") for name in names]
    assert all(results == {OURS: {"value": 2.0}, "torch": {"value": 8.0, "ratio": 0.25}}
               for results in recorded(bench).values())

    def failed(bench: Any, name: str, place: Any) -> dict[str, float]:
        if name == OURS:
            raise PeerError("died")
        return dict.fromkeys(names, 8.0)

    monkeypatch.setattr(rows, "_fresh_processes", failed)
    rows.start(bench)
    assert bench.records[-1][3] == {OURS: {"error": "died"}, "torch": {"value": 8.0}}
    bench.options.peers, values["torch"] = ["torch", "jax"], 4.0
    monkeypatch.setattr(rows, "_fresh_processes", lambda bench, name, place: (
        {"error": "died"} if name == "jax" else dict.fromkeys(names, values[name])))
    rows.start(bench)
    assert bench.records[-1][3] == {OURS: {"value": 2.0}, "torch": {"value": 4.0, "ratio": 0.5},
                                    "jax": {"error": "died"}}


def test_the_numbers_of_fresh_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Medians of three, after a first step with empty caches."""
    places: list[Any] = []
    imports, steps = iter([9.0, 1.0, 2.0, 3.0]), iter([(70.0, 7), (4.0, 30), (6.0, 10), (5.0, 20)])

    def first_step(bench: Any, name: str, environment: dict[str, str], place: Any) -> tuple[float, int]:
        places.append(environment["NUMBA_CACHE_DIR"])
        return next(steps)

    monkeypatch.setattr(rows, "_import_seconds", lambda module, cpus, environment: next(imports))
    monkeypatch.setattr(rows, "_first_step", first_step)
    monkeypatch.setattr(machine, "installed_bytes", lambda packages: 1000 * (OURS not in packages) + len(packages))
    monkeypatch.setattr(machine, "folder_bytes", lambda folder: 50_000 if folder.name == "tinynet" else 0)
    found = rows._fresh_processes(fake_bench({}, quick=False), OURS, {})
    assert found == {"peak memory": 20, "import": 2.5, "first step, cold caches": 70.0, "first step, warm caches": 5.0,
                     "size of the installation": 51_004}
    assert len(places) == 4 and len({*places}) == 1
    assert not Path(places[0]).exists()
    imports, steps = iter([1.0, 2.0]), iter([(70.0, 7), (4.0, 30)])
    found = rows._fresh_processes(fake_bench({}), OURS, {})
    assert (found["import"], found["peak memory"], found["first step, warm caches"]) == (1.5, 30, 4.0), "if quick"


def test_fresh_processes_train_the_lstm_cnn_of_a_compiled_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an installation compiles it; tiny work needs no such care."""
    done: list[Any] = []
    monkeypatch.setattr(rows.compileall, "compile_dir", lambda folder, quiet: done.append((folder.name, quiet)))
    monkeypatch.setattr(rows, "_fresh_processes", lambda bench, name, place: done.append((name, place["case"])) or (
        dict.fromkeys(("peak memory", "import", "first step, cold caches", "first step, warm caches",
                       "size of the installation"), 1.0)))
    for quick, name in ((False, "lstm_cnn, batch 128"), (True, "Flatten, Dense")):
        bench = fake_bench({}, quick=quick)
        told: list[Any] = []
        monkeypatch.setattr(bench, "record", lambda *record, told=told, **more: told.append((record[0], more)))
        rows.start(bench)
        assert done == [("tinynet", 2)] * (not quick) + [(OURS, name), ("torch", name)]
        assert told == [("start", {"model": name})] * 5
        done.clear()


def test_the_first_step_counts_from_the_start_of_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Started:
        started = 10.0

        def __init__(self, name: str, cpus: list[int], environment: Any, patience: float) -> None:
            asked.append((name, cpus, environment, patience))

        def __enter__(self) -> "Started":
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def ask(self, do: str, **request: Any) -> Any:
            asked.append((do, request))
            clock.now = {"prepare": 13.0, "calls": 90.0}.get(do, clock.now)
            return {"bytes": 5}

    clock = Clock()
    monkeypatch.setattr(rows, "time", clock)
    monkeypatch.setattr(rows, "Worker", Started)
    assert rows._first_step(fake_bench({}, quick=False), "torch", {"a": "b"}, {"data": "d"}) == (3.0, 5)
    assert asked == [("torch", [0], {"a": "b"}, 5.0), ("prepare", {"data": "d"}), ("calls", {"count": 20}),
                     ("memory", {})]
    rows._first_step(fake_bench({}), "torch", {}, {})
    assert asked[-2] == ("calls", {"count": 3}), "if it must be quick"


def test_the_time_of_an_import_is_that_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the processors of the peer, with its environment."""
    asked: list[Any] = []
    done = SimpleNamespace(returncode=0, stdout="hello\n0.25\n", stderr="")
    monkeypatch.setattr(rows.subprocess, "run", lambda command, **options: asked.append(
        (command[-1], options["env"], options["cwd"])) or done)
    assert rows._import_seconds("numpy", [1, 3], {"CACHE": "here"}) == 0.25
    (code, environment, folder), = asked
    timed = "start = time.perf_counter(); import numpy; print(time.perf_counter() - start)"
    assert "(0, [1, 3])" in code and code.endswith(f"; {timed}") and folder == rows.ROOT
    assert environment == {**os.environ, "CACHE": "here"}
    done.returncode, done.stderr = 1, "Traceback\nImportError: why\n"
    with pytest.raises(PeerError, match=r"^import numpy: ImportError: why$"):
        rows._import_seconds("numpy", [0], {})


def test_the_limit_is_a_share_of_the_fastest_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """The floor of a part is its operations by the peak; what is no op is between the ops."""
    monkeypatch.setattr(rows, "flops", lambda one: {"lstm": 400, "dlstm": 800})
    peaks = {OURS: 100.0, "torch": 200.0}
    monkeypatch.setattr(rows, "_peak", lambda bench, name, size, repeats: {"value": peaks[name]})
    spent = {"lstm": [3.0, 4.0, 9.0], "dlstm": [8.0] * 3, "relu": [0.5] * 3, "step": [20.0, 16.0, 15.0]}
    bench = fake_bench({"profile": {"seconds": spent}})
    rows.limit(bench)
    assert bench.records[0] == ("limit", "sgemm, 256 x 256", "flop/s", {
        name: {"value": peak} for name, peak in peaks.items()})
    found = bench.records[1][3][OURS]
    assert found == {"value": 16.0, "floor": 6.0, "of_peak": 0.375, "parts": {
        "lstm": {"seconds": 4.0, "floor": 2.0}, "dlstm": {"seconds": 8.0, "floor": 4.0},
        "relu": {"seconds": 0.5, "floor": 0.0}, "between ops": {"seconds": 3.5, "floor": 0.0}}}
    assert [record[1] for record in bench.records[1:]] == [f"a step of {name}, batch 4" for name in rows.MODELS[:2]]
    assert [request["count"] for _, request in bench.asked] == [3, 3]

    def peak(bench: Any, name: str, size: int, repeats: int) -> dict[str, float]:
        if name != OURS:
            raise PeerError("has none")
        return {"value": float(size * repeats)}

    monkeypatch.setattr(rows, "_peak", peak)
    whole = fake_bench({"profile": {"seconds": spent}}, quick=False)
    rows.limit(whole)
    assert whole.records[0] == ("limit", "sgemm, 2048 x 2048", "flop/s", {OURS: {"value": 20480.0}})
    assert [request["count"] for _, request in whole.asked] == [40, 40]


def test_a_peak_is_that_of_the_fastest_of_its_products() -> None:
    bench = Bench.__new__(Bench)
    bench.ready = lambda name, do, size: timing_of([0.5, 0.25, 1.0], do, size)  # type: ignore[assignment,method-assign]
    assert rows._peak(bench, "torch", 10, 3) == {"value": 2 * 10**3 / 0.25}


class timing_of:  # a context, as `ready` returns one
    def __init__(self, seconds: list[float], do: str, size: int) -> None:
        assert (do, size) == ("prepare_product", 10)
        self.seconds = seconds

    def __enter__(self) -> Any:
        return lambda count: self.seconds[:count]

    def __exit__(self, *error: object) -> None:
        pass


def test_epochs_are_compared_each_with_its_base() -> None:
    seconds = {"steps": [1.0, 2.0, 4.0], "loader": [2.0, 3.0, 12.0], "unguarded": [1.0, 3.0, 10.0],
               "augmented": [5.0, 6.0, 18.0]}
    bench = fake_bench({"epoch": {"seconds": seconds}}, quick=False)
    rows.epoch(bench)
    found = [record[3][OURS] for record in bench.records]
    assert [(one["value"], one["ratio"]) for one in found] == [(3.0, 2.0), (3.0, 1.2), (6.0, 2.0)]
    assert [set(one) - {"value", "ratio"} for one in found] == [
        {"loader", "steps"}, {"loader", "unguarded"}, {"augmented", "loader"}]
    (_, request), = bench.asked
    assert (request["images"], request["rounds"]) == (60_000, 3)
    assert bench.records[0][1].startswith("60,000 images, lstm_cnn, batch 128")


def test_the_four_kinds_of_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """One has no guard, one augments; the steps alone are as many as those of an epoch."""
    made: list[Any] = []
    steps: list[Any] = []
    monkeypatch.setattr(tn, "fit", lambda model, optimizer, batches, **options: made.append((batches, options)))
    monkeypatch.setattr(tn.optim.Adam, "step", lambda self: steps.append("step"))
    monkeypatch.setattr(tn.optim.Adam, "zero_grad", lambda self: steps.append("zero_grad"))
    work = case("", "step", tn.nn.Sequential(tn.nn.Flatten(), tn.nn.Dense(784, 10)), 16, (28, 28, 1))
    targets: list[Any] = []
    cross_entropy = tn.ops.cross_entropy
    monkeypatch.setattr(tn.ops, "cross_entropy", lambda y, target: targets.append(target) or cross_entropy(y, target))
    augment = tn.data.Augment.__call__
    monkeypatch.setattr(tn.data.Augment, "__call__", lambda self, *batch: made.append((len(batch[0]), {})) or (
        augment(self, *batch)))
    clock = Clock()
    monkeypatch.setattr(ours, "time", clock)
    found = ours.epoch(work, 200, 2)
    assert list(found) == ["steps", "loader", "unguarded", "augmented"]
    assert all(len(seconds) == 2 for seconds in found.values())
    (warm, _), (augmented, _), *rest = made
    assert augmented == 16, "what is slow the first time is done before the times"
    assert len({*map(id, targets)}) == 10 and targets[:12] == targets[12:] and targets[10] is targets[0]
    assert [batches.threads for batches, _ in rest[:3]] == [rest[0][0].threads] * 2 + [1]
    assert isinstance(warm, list) and len(warm) == 10 and steps == ["zero_grad", "step"] * 2 * 12, "192 of 200 images"
    assert [options["guard"] for _, options in rest] == [True, False, True] * 2
    assert [batches.augment is not None for batches, _ in rest] == [False, False, True] * 2
    assert all(vars(rest[2][0].augment)[change] for change in ("shift", "rotate", "scale", "shear", "elastic"))
    for batches, options in rest:
        assert batches.shuffle and batches.drop_last and len(batches) == 12 and options["epochs"] == 1
        x, labels = batches.transform(*(array[:4] for array in batches.arrays))
        assert x.dtype == np.float32 and 0 <= x.min() < 0.2 and 0.8 < x.max() <= 1 and labels.tolist() == [0, 1, 2, 3]


# --- layers beside PyTorch ------------------------------------------------------------------------------------------

def test_two_layers_are_timed_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """In milliseconds of the processor: medians of both, and of the ratios of the rounds, after two calls of each."""
    clock = Clock()
    monkeypatch.setattr(layers, "time", clock)
    mine, other = clock.taking(9.0, 9.0, 0.001, 0.004, 0.003), clock.taking(9.0, 9.0, 0.004, 0.008, 0.004)
    assert layers.in_turn(mine, other, 3) == pytest.approx((3.0, 4.0, 0.5))


def test_the_faster_format_of_pytorch_counts(monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    made: list[bool] = []

    def calls(row: str, torch: Any, channels_last: bool = False) -> dict[str, Any]:
        made.append(channels_last)
        return dict.fromkeys(("forward", "both"), (channels_last, None))

    monkeypatch.setattr(layers, "calls", calls)
    monkeypatch.setattr(layers, "in_turn", lambda last, other, rounds: (3.0, 6.0, 0.5) if last else (1.0, 1.25, 0.8))
    monkeypatch.setattr(tn, "set_threads", lambda count: made.append(count))
    monkeypatch.setattr(sys.modules["torch"], "set_num_threads", lambda count: made.append(-count))
    layers.main(["--rows", "depthwise", "--rounds", "1"])
    assert made == [-1, 1, False, True]
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["depthwise", name, "1.00", "1.25", "0.80"] for name in ("forward", "both")]
    rounds: list[int] = []
    monkeypatch.setattr(layers, "in_turn", lambda mine, other, count: rounds.append(count) or (1.0, 2.0, 0.5))
    for given, count in (([], 15), (["--rounds", "3"], 3)):
        monkeypatch.setattr(sys, "argv", ["layers", *given])
        layers.main()
        layers.main(given)
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines[1 : 2 * len(layers.ROWS) : 2]] == [*layers.ROWS]
        assert {*rounds} == {count}
        rounds.clear()


def test_a_forward_pass_leaves_no_tape(monkeypatch: pytest.MonkeyPatch) -> None:
    """On both sides; that of both passes does."""
    torch = pytest.importorskip("torch")
    taped: list[Any] = []
    monkeypatch.setattr(layers, "ROWS", {"LayerNorm": (2, 3, 128)})
    through = tn.nn.LayerNorm.forward
    monkeypatch.setattr(tn.nn.LayerNorm, "forward", lambda self, x: taped.append(through(self, x).requires_grad) or (
        through(self, x)))
    forward = torch.nn.LayerNorm.forward
    monkeypatch.setattr(torch.nn.LayerNorm, "forward", lambda self, x: taped.append(
        forward(self, x).requires_grad) or forward(self, x))
    calls = layers.calls("LayerNorm", torch)
    for name, wanted in (("forward", False), ("both", True)):
        taped.clear()
        for call in calls[name]:
            call()
        assert taped == [wanted, wanted]


def test_a_call_of_both_sides_has_a_backward_pass() -> None:
    pytest.importorskip("torch")
    for (mine, other), is_whole in zip(layers.calls("LayerNorm", sys.modules["torch"]).values(), (False, True),
                                       strict=True):
        held = [inspect.getclosurevars(one).nonlocals for one in (mine, other)]
        mine()
        other()
        assert (held[0]["x"].grad is not None) == is_whole == (held[1]["theirs_x"].grad is not None)
        if is_whole:  # each call begins without gradients
            weights = held[0]["ours"], held[1]["theirs"]
            first = [weights[0].gamma.grad.copy(), weights[1].weight.grad.clone().numpy()]
            of_x = held[0]["x"].grad.copy(), held[1]["theirs_x"].grad.clone().numpy()
            mine()
            other()
            np.testing.assert_array_equal(weights[0].gamma.grad, first[0])
            np.testing.assert_array_equal(weights[1].weight.grad.numpy(), first[1])
            np.testing.assert_array_equal(held[0]["x"].grad, of_x[0])
            np.testing.assert_array_equal(held[1]["theirs_x"].grad.numpy(), of_x[1])
            np.testing.assert_allclose(*first, atol=1e-3)


@pytest.mark.parametrize(("row", "last"), [("GRU", False), ("LayerNorm", False), ("depthwise", False),
                                           ("depthwise", True), ("wide", False), ("wide", True)])
def test_both_sides_of_a_layer_compute_the_same(row: str, last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs, as is tested before the times, and the gradients of inputs."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(layers, "ROWS", {"GRU": (2, 5, 28), "LayerNorm": (2, 3, 128), "depthwise": (2, 6, 5, 64),
                                         "wide": (2, 4, 3, 256)})
    with tn.using("reference"):
        mine, other = layers.calls(row, torch, last)["both"]
        mine()
        other()
    x, theirs = (inspect.getclosurevars(one).nonlocals for one in (mine, other))
    gradient = theirs["theirs_x"].grad
    gradient = gradient.permute(0, 2, 3, 1) if row in layers.GROUPS else gradient
    np.testing.assert_allclose(x["x"].grad, gradient.numpy(), atol=1e-4)
    assert theirs["theirs_x"].is_contiguous(memory_format=torch.channels_last) == last if row in layers.GROUPS else True
    monkeypatch.setattr(layers, "layers", lambda *arguments: (tn.nn.LayerNorm(128), torch.nn.Identity(), lambda y: y))
    with pytest.raises(AssertionError), tn.using("reference"):
        layers.calls("LayerNorm", torch)


def test_blocks_are_as_long_as_the_fastest_of_three_calls_lets_them() -> None:
    """A first call may compile."""
    def side(*first: float) -> Any:
        times = [*first, *[0.02] * 1000]
        return lambda count: [times.pop(0) for _ in range(count)]

    pair = timing.in_turn(side(9.0, 0.5, 0.02), side(0.02, 9.0, 9.0), 0.6)
    assert [len(block) for block in (*pair.ours, *pair.theirs)] == [5] * 6


def test_ratios_of_rounds_need_an_answer_for_each_side() -> None:
    assert timing.quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == {"median": 3.0, "low": 2.0, "high": 4.0}
    assert math.isclose(timing.Pair([[1.0]], [[3.0]]).ratios()[0], 1 / 3)
    assert timing.spread([[1.0, 2.0, 6.0], [4.0]]) == {"median": 3.0, "low": 1.75, "high": 4.5, "min": 1.0, "calls": 4,
                                                      "blocks": [2.0, 4.0]}
    assert build(case("", "step", DENSE, 1, (4,)).layers)[0].W.shape == (4, 3)
