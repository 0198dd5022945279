"""The benchmark with tiny sizes: it runs, measures what it reports, and times only peers whose results agree.

No test asserts a time. Peers that are not installed are skipped; those that are slow to compile are marked `long`.
"""

import itertools
import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import benchmarks.__main__ as command_line
import tinynet as tn
from benchmarks import agree, layers, machine, ours, report, rows, table, timing
from benchmarks.bench import Bench, Options
from benchmarks.cases import build, case, output_shapes, read_data, write_data
from benchmarks.flops import flops
from benchmarks.peers import OURS, names, peer
from benchmarks.peers.base import Peer
from benchmarks.process import PeerError, Worker
from tinynet.backend.threads import threads
from tinynet.tracing import UNOBSERVED, observers

CPUS = machine.cores()[:1]  # one thread, which does not wait for others on a busy machine
MODELS = (*rows.MODELS, "pneumonia_cnn_lstm")


def quick(*peers: str) -> Options:
    return Options(list(peers), CPUS, seconds=0.02, quick=True)


def results(bench: Bench) -> dict[str, Any]:
    """The results of the last record, by peer."""
    found: dict[str, Any] = bench.records[-1]["results"]
    return found


# --- peers ----------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module", params=[pytest.param(name, marks=[] if name == "torch" else pytest.mark.long)
                                        for name in names()[1:]])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A bench of tinynet and one peer."""
    lack = peer(request.param).lacks()
    if lack:
        pytest.skip(f"{request.param}: {lack}")
    with Bench(quick(request.param)) as bench:
        yield bench


@pytest.mark.parametrize("model", MODELS)
def test_a_step_is_the_same_for_a_peer_and_is_timed(bench: Bench, model: str) -> None:
    training = rows._step(model, 2)
    bench.compare("step", training)
    (result,) = results(bench).values()
    assert "error" not in result, result
    parameters = build(training.layers).parameters().names
    assert result["agreement"].keys() == {"output", "loss", *parameters}
    assert timing.LEAST_ROUNDS <= result["ratio"]["rounds"] <= timing.MOST_ROUNDS
    assert min(result["ours"]["min"], result["theirs"]["min"], result["ratio"]["median"]) > 0


@pytest.mark.parametrize(("layer", "shape"), [
    (lambda: tn.nn.LSTM(5, 32), (6, 5)), (lambda: tn.nn.Conv1D(6, 4, 3), (7, 6)), (lambda: tn.nn.Dropout(0.5), (4, 3)),
    (lambda: tn.nn.Conv2D(3, 4, 3, padding="same"), (5, 6, 3)), (lambda: tn.nn.BatchNorm(3), (4, 5, 3)),
], ids=["lstm", "conv1d", "dropout", "conv2d", "batch_norm"])
def test_an_op_is_the_same_for_a_peer_and_is_timed(bench: Bench, layer: Any, shape: tuple[int, ...]) -> None:
    bench.compare("ops", case("an op", "backward", tn.nn.Sequential(layer()), 3, shape))
    (result,) = results(bench).values()
    assert "error" not in result, result
    assert {"output", "x"} <= result["agreement"].keys()


def test_an_update_is_the_same_for_a_peer_and_is_timed(bench: Bench) -> None:
    bench.compare("ops", case("Adam", "update", tn.nn.Sequential(tn.nn.Dense(20, 30)), 1, (20,)))
    (result,) = results(bench).values()
    assert result["agreement"].keys() == {"0.W", "0.b"}


def test_layers_of_pytorch_have_the_options_of_ours() -> None:
    """Also those that one step does not show."""
    torch = pytest.importorskip("torch")
    from benchmarks.peers.torch import TorchNetwork

    nn = tn.nn
    model = nn.Sequential(nn.Conv2D(2, 3, 3, padding="same"), nn.BatchNorm(3, momentum=0.75, eps=0.1), nn.Dropout(0.3),
                          nn.Flatten(), nn.Dense(60, 2))
    work = case("a step", "step", model, 2, (4, 5, 2))
    state = {name: array for name, array in build(work.layers).state_dict().items() if array.dtype.kind == "f"}
    found = list(TorchNetwork(list(work.layers), state, work.objective, False).model.modules())
    (norm,), (dropout,) = ([one for one in found if isinstance(one, kind)] for kind in (
        torch.nn.BatchNorm2d, torch.nn.Dropout))
    assert (norm.momentum, norm.eps, dropout.p) == (0.25, 0.1, 0.3)
    network = TorchNetwork(list(work.layers), state, work.objective, False)
    assert network.optimizer.defaults["betas"] == (0.9, 0.999) and network.optimizer.defaults["eps"] == 1e-8
    assert network.optimizer.defaults["fused"] and network.forward(torch.zeros(2, 4, 5, 2)).is_inference()
    for last in (True, False):
        network = TorchNetwork(list(work.layers), state, work.objective, False, last)
        assert network.layers[0].inner.weight.is_contiguous(memory_format=torch.channels_last) == last
        seen: list[Any] = []
        for layer in network.layers[:2]:
            layer.inner.register_forward_pre_hook(lambda inner, x, seen=seen: seen.append(x[0]))
        network.forward(torch.zeros(2, 4, 5, 2))
        order = torch.channels_last if last else torch.contiguous_format
        assert [image.is_contiguous(memory_format=order) for image in seen] == [True, True]


@pytest.mark.parametrize("objective", ["cross_entropy", "product"])
def test_pytorch_compiles_the_loss_with_the_model(objective: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fixed sizes, and as a new program of each network; in evaluation the model alone."""
    torch = pytest.importorskip("torch")
    from benchmarks.peers.torch import TorchNetwork

    done: list[Any] = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: done.append("reset"))
    monkeypatch.setattr(torch, "compile", lambda function, **options: done.append(options) or (
        lambda *x: done.append(len(x)) or function(*x)))
    layers: Any = [("Dense", {"inputs": 2, "units": 2, "bias": False})]
    weights, x = {"0.W": np.eye(2, dtype=np.float32)}, torch.ones(3, 2)
    TorchNetwork(layers, weights, objective, False)
    assert done == []
    network = TorchNetwork(layers, weights, objective, True)
    assert done == ["reset", {"dynamic": False}, {"dynamic": False}]
    assert network.forward(x).tolist() == x.tolist() and network.layers[0].inner.bias is None
    network.backward(x, torch.ones(3, 2) if objective == "product" else torch.zeros(3, dtype=torch.int64))
    assert done[3:] == [1, 1 if objective == "product" else 2]
    said = {"threads": torch.get_num_threads(), "capability": torch.backends.cpu.get_cpu_capability(),
            "optimizer": "Adam, fused", "memory": "channels_last", "forward": "inference_mode"}
    assert peer("compile").settings() == {**said, "compiled": True} and peer("torch").settings() == {
        **said, "compiled": False}


def test_peers_are_named_in_the_order_of_the_columns() -> None:
    assert names() == [OURS, "torch", "compile", "jax", "keras", "tinygrad"]
    assert [peer(name).title for name in names()] == ["tinynet", "PyTorch", "torch.compile", "JAX", "Keras (JAX)",
                                                      "tinygrad"]
    assert [(peer(name).name, peer(name).module) for name in names()] == [
        (name, "torch" if name == "compile" else name) for name in names()]
    needed = {"compile": ("g++",), "tinygrad": ("clang",)}
    assert all(peer(name).programs == needed.get(name, ()) for name in names())
    assert peer("keras").packages == ("keras", *peer("jax").packages) == ("keras", "jax", "jaxlib")


def test_a_peer_that_disagrees_is_not_timed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agree, "OUTPUTS", 0.0)
    bench.compare("step", rows._step("lstm_cnn", 3))  # a new batch size, so that the peers are compared again
    (result,) = results(bench).values()
    assert result.keys() == {"error"}
    assert result["error"].startswith("disagrees in output by ")


# --- agreement ------------------------------------------------------------------------------------------------------

def computed() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"output": rng.normal(size=(4, 3)), "loss": np.array(1.5), "0.W": rng.normal(size=(5, 8)),
            "0.b": rng.normal(size=8)}


def test_equal_results_agree() -> None:
    noise = {name: array * (1 + 1e-7) for name, array in computed().items()}
    assert agree.verdict(agree.errors(computed(), noise)) is None


@pytest.mark.parametrize(("name", "spoil"), [
    ("0.W", lambda W: np.concatenate([W[:, 2:4], W[:, :2], W[:, 4:]], axis=1)),  # two gates swapped
    ("0.b", lambda b: b * 1.001), ("output", lambda y: y + 1e-3), ("loss", lambda loss: loss * 2),
    ("output", lambda y: y.T), ("0.W", lambda W: W * np.nan), ("0.W", lambda W: W * np.inf),
])
def test_a_planted_difference_is_found(name: str, spoil: Any) -> None:
    theirs = computed()
    theirs[name] = spoil(theirs[name])
    verdict = agree.verdict(agree.errors(computed(), theirs))
    assert verdict is not None
    assert re.match(rf"disagrees in {name} by [^,]*$", verdict)
    assert name in (agree.verdict(agree.errors(theirs, computed())) or ""), "from either side"


def test_a_missing_gradient_is_found() -> None:
    """On either side."""
    theirs = computed()
    del theirs["0.b"]
    for sides in ((computed(), theirs), (theirs, computed())):
        assert agree.errors(*sides)["0.b"] == math.inf
        assert "0.b" in (agree.verdict(agree.errors(*sides)) or "")


def test_an_error_is_the_same_from_both_sides() -> None:
    a, b = np.array([1.0, -3.0]), np.array([2.0, -6.0])
    assert agree.relative_error(a, b) == agree.relative_error(b, a) == 0.5
    assert agree.relative_error(a, -a) == 2 and agree.relative_error(a, b, least=30.0) == 0.1
    assert agree.relative_error(0 * a, 0 * a) == 0 and agree.relative_error(0 * a, a) == 1
    assert agree.relative_error(a[:0], a[:0]) == 0 and agree.relative_error(a, a[:1]) == math.inf
    assert agree.errors({"output": a}, {"output": b}) == {"output": 0.5}, "without gradients"
    assert agree.verdict({"output": 1.0, "0.W": 1e-9, "x": 2.0}) == "disagrees in output by 1.0e+00, x by 2.0e+00"


def test_a_gradient_that_cancels_is_judged_beside_the_largest() -> None:
    """Outputs are of another kind: they are no scale for it."""
    mine, theirs = ({"output": np.array([1e6]), "0.W": np.array([-1.0, 0.5]), "0.gamma": np.array([value])}
                    for value in (1e-6, 1.5e-6))
    assert agree.errors(mine, theirs)["0.gamma"] == pytest.approx(0.5e-6 / agree.SMALL)
    mine, theirs = ({"output": np.array([value]), "loss": np.array(value), "0.W": np.array([1.0])}
                    for value in (1e-6, 1.5e-6))
    assert agree.errors(mine, theirs) == pytest.approx({"output": 1 / 3, "loss": 1 / 3, "0.W": 0})


@pytest.mark.parametrize(("name", "limit"), [("output", 1e-5), ("loss", 1e-5), ("0.W", 5e-4), ("x", 5e-4)])
def test_outputs_have_a_narrower_limit_than_gradients(name: str, limit: float) -> None:
    assert agree.verdict({name: limit}) is None
    assert agree.verdict({name: 1.01 * limit}) == f"disagrees in {name} by {1.01 * limit:.1e}"


@pytest.mark.parametrize(("packages", "programs", "lack"), [
    (("numpy",), ("python3",), None), (("numpy", "no_such_package"), (), "no_such_package not installed"),
    (("numpy",), ("python3", "no-such-program"), "needs no-such-program on the PATH")])
def test_what_a_peer_lacks(packages: tuple[str, ...], programs: tuple[str, ...], lack: str | None) -> None:
    assert type("One", (Peer,), {"packages": packages, "programs": programs}).lacks() == lack


@pytest.mark.parametrize(("asked", "timed"), [(None, {"torch"}), (["torch", "jax"], {"torch"}), (["jax"], {OURS})])
def test_tinynet_is_timed_alone_where_no_peer_is(monkeypatch: pytest.MonkeyPatch, asked: Any, timed: set[str]) -> None:
    @contextmanager
    def ready(bench: Bench, name: str, do: str, **request: Any) -> Iterator[timing.Block]:
        yield lambda count: [0.5] * count

    monkeypatch.setattr(Bench, "ready", ready)
    with Bench(quick("torch")) as bench:
        bench.compare_tapes("growth", 5, asked)
        assert results(bench).keys() == timed
        assert results(bench)[min(timed)]["ours"]["median"] == 0.5


# --- timing ---------------------------------------------------------------------------------------------------------

def test_sides_are_timed_in_turn() -> None:
    asked = []

    def side(name: str, seconds: float) -> Any:
        def block(count: int) -> list[float]:
            asked.append((name, count))
            return [seconds] * count
        return block

    pair = timing.in_turn(side("a", 0.01), side("b", 0.05), seconds=2.0)
    assert asked[:2] == [("a", 3), ("b", 3)]  # the warm-up
    assert asked[2:] == [("a", 10), ("b", 2)] * 10
    assert pair.summary()["ratio"] == pytest.approx(
        {"median": 0.2, "low": 0.2, "high": 0.2, "of_minima": 0.2, "rounds": 10})
    assert pair.summary()["ours"] == {"median": 0.01, "low": 0.01, "high": 0.01, "min": 0.01, "calls": 100,
                                      "blocks": [0.01] * 10}


@pytest.mark.parametrize(("seconds", "ours", "theirs", "rounds"), [
    (0.12, 2, 1, 3), (0.6, 10, 2, 3), (2.0, 10, 2, 10), (1e3, 10, 2, 25)])
def test_rounds_and_calls_fit_into_the_time(seconds: float, ours: int, theirs: int, rounds: int) -> None:
    """Three rounds at least, even if these must be short, and 25 at most."""
    pair = timing.in_turn(lambda count: [0.01] * count, lambda count: [0.05] * count, seconds)
    assert [len(block) for block in pair.ours] == [ours] * rounds
    assert [len(block) for block in pair.theirs] == [theirs] * rounds
    assert timing.quartiles([2.0]) == {"median": 2.0, "low": 2.0, "high": 2.0}
    assert timing.calls_in_block(1e-9) == 100 and timing.calls_in_block(1e9) == 1


def test_the_ratio_is_the_median_of_those_of_the_rounds() -> None:
    pair = timing.Pair(ours=[[1.0, 9.0, 1.0], [2.0], [6.0]], theirs=[[2.0], [8.0], [6.0]])
    assert pair.ratios() == [0.5, 0.25, 1.0]
    found = pair.summary()
    assert found["ratio"] == {"median": 0.5, "low": 0.375, "high": 0.75, "of_minima": 0.5, "rounds": 3}
    assert (found["ours"]["median"], found["ours"]["min"], found["ours"]["calls"]) == (2.0, 1.0, 5)
    assert found["theirs"]["blocks"] == [2.0, 8.0, 6.0]
    pair = timing.Pair(ours=[[6.0], [2.0, 1.0]], theirs=[[8.0], [9.0, 4.0]])
    assert pair.summary()["ratio"]["of_minima"] == 0.25, "of all rounds"


# --- floors ---------------------------------------------------------------------------------------------------------

def test_operations_of_the_lstm_cnn() -> None:
    counted = flops(rows._step("lstm_cnn", 128))
    forward = {"lstm": 128 * 28 * 156 * 512 * 2, "conv1d": 128 * 26 * 3 * 128 * 64 * 2, "dense": 128 * 1664 * 10 * 2}
    assert counted == {**forward, **{f"d{name}": 2 * count for name, count in forward.items()}}
    assert sum(counted.values()) == pytest.approx(2.2e9, rel=0.01)


def test_the_gradient_of_an_image_is_not_counted() -> None:
    counted = flops(rows._step("pneumonia_cnn_lstm", 1))
    first = 224 * 224 * 9 * 3 * 16 * 2
    assert counted["dconv2d"] == 2 * counted["conv2d"] - first


def test_only_work_with_a_backward_pass_has_its_operations() -> None:
    """That of one op computes the gradient of its input, too. A Dense is applied to each row of an array."""
    nn = tn.nn
    one = case("", "forward", nn.Sequential(nn.BatchNorm(4), nn.Dense(4, 3), nn.Dense(3, 2)), 2, (5, 4))
    count = 2 * 2 * 5 * (4 * 3 + 3 * 2)
    assert flops(one) == {"dense": count}
    assert flops(one.doing("step")) == flops(one.doing("backward")) == {"dense": count, "ddense": 2 * count}
    image = case("", "backward", nn.Sequential(nn.Conv2D(2, 3, 3)), 1, (4, 4, 2))
    assert flops(image) == {"conv2d": 2 * 4 * 3 * 9 * 2, "dconv2d": 2 * 2 * 4 * 3 * 9 * 2}
    assert flops(image.doing("step"))["dconv2d"] == flops(image)["conv2d"]


def test_a_profile_adds_up_and_leaves_no_trace() -> None:
    weight = tn.nn.Parameter(np.ones((3, 2), np.float32))

    def step() -> None:
        tn.ops.relu(tn.ops.dense(tn.Tensor(np.ones((4, 3), np.float32)), weight)).sum().backward()

    spent = ours.profile(step, 3)
    assert spent.keys() == {"dense", "relu", "sum", "ddense", "drelu", "dsum", "step"}
    for step_seconds, *parts in zip(spent.pop("step"), *spent.values(), strict=True):
        assert 0 < sum(parts) <= step_seconds
    assert observers.get() is UNOBSERVED


def test_all_calls_of_an_op_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(ours, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    with ours._watched() as spent:
        tn.ops.relu(tn.ops.relu(tn.ops.tanh(tn.Tensor([1.0]))))
    assert spent == {"tanh": 1, "relu": 2}


# --- cases ----------------------------------------------------------------------------------------------------------

def test_data_are_the_same_every_time_and_fit_the_case(tmp_path: Path) -> None:
    training = rows._step("lstm_cnn", 3)
    for name in "ab":
        write_data(training, tmp_path / f"{name}.npz")
    (x, target, weights, gradients), again = (read_data(tmp_path / f"{name}.npz") for name in "ab")
    np.testing.assert_array_equal(x, again[0])
    np.testing.assert_array_equal(weights["2.W"], again[2]["2.W"])
    assert x.shape == (3, 28, 28, 1)
    assert x.dtype == np.float32
    assert target.shape == (3,)
    assert not gradients
    assert (weights["0.running_mean"], weights["0.running_var"]) == (0.25, 0.5)
    assert not np.array_equal(weights["4.W"], 0 * weights["4.W"]) and not [name for name in weights if "rng" in name]
    assert weights["4.b"].tolist() == [1, -1] * 32, "of the convolution before a rectifier"
    assert {1, -1} - {*weights["2.b"].tolist()} and {array.dtype for array in weights.values()} == {np.dtype("float32")}
    assert output_shapes(training)[2:5] == [(3, 28, 128), (3, 28, 128), (3, 26, 64)]


@pytest.mark.parametrize("row", ["step", "forward", "ops", "growth", "pneumonia"])
def test_all_cases_of_a_row_fit_their_layers(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In full size. The names have the sizes, of which each case has others, and are those of the published results."""
    monkeypatch.setattr(tn.init, "orthogonal", tn.init.zeros)  # it takes seconds for 512 units
    cases: list[Any] = []
    bench = SimpleNamespace(options=replace(quick("torch"), quick=False), compare_tapes=lambda *tape: None,
                            compare=lambda row, case, peers=None: cases.append(case))
    rows.ROWS[row](bench)  # type: ignore[arg-type]
    names = [case.name for case in cases]
    assert len({*names}) == len(names)
    for path in report.RESULTS.glob("*.json"):
        records = json.loads(path.read_text())["records"]
        published = [one["case"] for one in records if one["row"] == row and "a tape of" not in one["case"]]
        assert published in ([], names)
    for one in cases:
        assert output_shapes(one)[-1][0] == one.shape[0]
        assert all(int(size) in one.shape for size in re.findall(r"(?:batch|T|N) (\d+)", one.name)), one


def test_what_no_peer_translates_is_said() -> None:
    with pytest.raises(NotImplementedError, match="Conv1D"):
        case("strided", "step", tn.nn.Sequential(tn.nn.Conv1D(2, 3, 3, stride=2)), 1, (7, 2))


# --- processes ------------------------------------------------------------------------------------------------------

def test_a_worker_that_fails_says_why() -> None:
    with Worker("nobody", CPUS) as worker, pytest.raises(PeerError, match="its process ended: KeyError: 'nobody'"):
        worker.ask("settings")
    with Worker(OURS, CPUS) as worker:
        with pytest.raises(PeerError, match="AttributeError"):
            worker.ask("dance")
        assert worker.ask("memory")["bytes"] > 2**20  # the worker still works
        worker.stop()
        with pytest.raises(PeerError, match="nothing is prepared"):
            worker.ask("calls", count=1)
        with pytest.raises(PeerError, match="nothing is prepared"):
            worker.ask_if_alive("calls", count=1)
        worker.stop()
        assert worker.ask_if_alive("calls", count=1) is None
    with Worker(OURS, CPUS, patience=0.0) as worker, pytest.raises(PeerError, match="gave up after 0 s"):
        worker.ask("settings")


# --- the command ----------------------------------------------------------------------------------------------------

def test_rows_of_ours_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "names", lambda: [OURS])
    out = tmp_path / "results" / "some.json"
    assert command_line.main(["--quick", "--threads", "1", "--rows", "forward,start,limit,epoch",
                              "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    written = json.loads(out.read_text())
    rows = [record["row"] for record in written["records"]]
    assert rows == ["forward", *["start"] * 5, *["limit"] * 3, *["epoch"] * 3]
    assert written["command"].startswith("python -m benchmarks --quick --threads 1 --rows forward,start,limit,epoch")
    assert written["threads"] == 1
    assert written["machine"]["cores"] == len(machine.cores())
    assert written["versions"]["numpy"] == np.__version__
    assert not [record for record in written["records"] for result in record["results"].values() if "error" in result]
    for part in ("Forward pass", "lstm_cnn, batch 4", "peak memory +[\\d.,]+ MiB", "first step, warm caches",
                 r"sgemm, 256 x 256 +[\d.]+ GFLOP/s", r"dlstm +[\d.]+ \w+ +\d+%", "64 images"):
        assert re.search(part, printed), part


def test_bad_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in ((["--rows", "step,dance"], "must be some of step,forward"),
                            (["--threads", "0"], "--threads must be from 1 to"),
                            (["--peers", "tinynet"], "must be some of torch")):
        with pytest.raises(SystemExit) as stopped:
            command_line.main(arguments)
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["--list"]) == 0
    printed = capsys.readouterr().out
    for name in (*rows.ROWS, *names()[1:]):
        assert re.search(rf"^  {name} ", printed, re.M)


def test_a_table() -> None:
    def beside(ours: float, theirs: float) -> dict[str, Any]:
        return {"ours": {"median": ours}, "theirs": {"median": theirs}, "ratio": {"median": ours / theirs}}

    records = [
        {"row": "step", "case": "a", "unit": "s", "results": {"torch": beside(0.012, 0.03), "jax": {"error": "died"}}},
        {"row": "start", "case": "memory", "unit": "bytes",
         "results": {OURS: {"value": 2**21}, "torch": {"value": 2**23, "ratio": 0.25}}}]
    assert table.tables(records, {OURS: "tinynet", "torch": "PyTorch", "jax": "JAX"}) == """\
A training step
   tinynet         PyTorch  JAX
a  12.0 ms  30.0 ms (0.40)    -

Fresh processes
         tinynet          PyTorch
memory  2.00 MiB  8.00 MiB (0.25)

Not timed
  JAX, a: died"""
    failed: list[dict[str, Any]] = [{"row": "step", "case": case, "unit": "s", "results": {"jax": {"error": "died"}}}
                                    for case in "bdacea"]
    assert table.tables(failed, {OURS: "tinynet", "jax": "JAX"}).endswith(
        "\n".join(["Not timed", *(f"  JAX, {case}: died" for case in "abcde")]))


def test_the_slowest_part_comes_first() -> None:
    parts = {name: {"seconds": value, "floor": floor}
             for name, value, floor in (("dense", 0.3, 0.03), ("lstm", 0.6, 0.0), ("relu", 0.1, 0.0))}
    assert table.breakdown({"case": "a step", "results": {OURS: {"value": 1.0, "parts": parts}}}) == """\
a step, op by op
         time  of the step  its products at the peak
lstm   600 ms          60%
dense  300 ms          30%                   30.0 ms
relu   100 ms          10%"""


@pytest.mark.parametrize(("value", "unit", "text"), [
    (0.0, "s", "0.00 µs"), (3.21e-6, "s", "3.21 µs"), (0.0321, "s", "32.1 ms"), (3.21, "s", "3.21 s"),
    (1234.0, "s", "1,234 s"), (2**20, "bytes", "1.00 MiB"), (1.124e11, "flop/s", "112 GFLOP/s"),
    (-0.0123, "s", "-12.3 ms"), (2048, "bytes", "2.00 KiB"), (512, "bytes", "512 B"), (5.0, "flop/s", "5.00 FLOP/s"),
])
def test_numbers_are_written_with_three_digits(value: float, unit: str, text: str) -> None:
    assert table.written(value, unit) == text


def test_the_report_is_made_of_the_files() -> None:
    assert report.PLACE.read_text() == report.text(), "python -m benchmarks --report"


def test_the_report_has_a_section_for_each_machine(tmp_path: Path) -> None:
    def write(name: str, row: str, features: list[str], **more: Any) -> None:
        machine = {"cpu": "A CPU", "family": "6", "model": "7", "features": features, "python": "3.11.7"}
        (tmp_path / f"{name}.json").write_text(json.dumps({
            "machine": machine, "threads": 2, "versions": {"numpy": "2.0"}, "commit": "c" * 40, "changed": False,
            "date": "2026-01-01", "command": f"measure {row}", "titles": {OURS: "tinynet"},
            "records": [{"row": row, "case": "a case", "unit": "s", "results": {OURS: {"value": 0.25}}}], **more}))

    write("1", "growth", ["avx2"])
    write("2", "step", ["avx2"])
    several = [{"row": row, "case": "one of two", "unit": "s", "results": {OURS: {"value": 0.5}}}
               for row in ("growth", "step")]
    write("0", "growth and step", ["avx2"], records=several)  # by its first row: before that of growth alone
    write("3", "step", ["avx2", "avx512f"])
    (tmp_path / "gpu.json").write_text('{"device": "a GPU"}')
    text = report.text(tmp_path)
    assert re.findall(r"^## (.*)$", text, re.M) == ["A CPU, AVX2, 2 threads", "A CPU, AVX-512, 2 threads"]
    assert text.index("A training step") < text.index("Growth") and text.count("a case   250 ms") == 3
    assert re.findall(r"`measure (.*?)`", text) == ["growth and step", "step", "growth", "step"]
    assert "`measure growth`, commit cccccccccccc, 2026-01-01." in text


def test_the_name_of_a_file_of_results() -> None:
    described = {"cpu": "AMD EPYC (R)", "features": ["avx2", "avx512f"]}
    assert command_line.name_of(described, 2) == "amd-epyc-r-avx-512-2-threads"


def test_layers_beside_pytorch(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The outputs agree, and each row has two lines; times of one round say nothing, and a coarse clock has 0."""
    pytest.importorskip("torch")
    monkeypatch.setattr(layers, "milliseconds", lambda call: call() or 1.0)
    count = threads()
    try:
        layers.main(["--rounds", "1", "--rows", "GRU", "LayerNorm"])
    finally:
        tn.set_threads(count)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{'tinynet':>32}{'PyTorch':>10}{'ratio':>8}"
    assert [line.split()[:2] for line in lines[1:]] == [
        [row, name] for row in ("GRU", "LayerNorm") for name in ("forward", "both")]
