"""Training steps and LSTMs on a GPU beside PyTorch: the same work on both sides, timed after both agree."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import tinynet as tn
from benchmarks import agree, timing
from benchmarks.cases import Case, build, case, read_data, write_data
from benchmarks.gpu_device import Row, is_gpu, wait
from benchmarks.peers.base import LEARNING_RATE, Arrays
from benchmarks.rows import example_models
from tinynet import backend

FORMS = {True: ", PyTorch channels_last", False: ", PyTorch NCHW"}
TF32 = 0.01  # the relative error that products in TF32 may cause: they round to 10 bits
MODELS = {"lstm_cnn": 128, "deep_lstm_cnn": 128, "cnn_lstm": 128, "lstm": 128, "cnn": 128, "idc_lstm_cnn": 128,
          "idc_lstm": 128, "idc_cnn": 128, "pneumonia_cnn_lstm": 16}
IN_TF32 = {"lstm_cnn": 128, "cnn": 128}


class Ours:
    """A case in tinynet."""

    def __init__(self, work: Case, data: Path, device: str) -> None:
        x, target, weights, _ = read_data(data)
        self.device, self.objective = device, work.objective
        self.model = build(work.layers)
        self.model.load_state_dict(weights)
        self.model.to(device)
        self.parameters = self.model.parameters()
        self.optimizer = tn.optim.Adam(self.parameters, lr=LEARNING_RATE)
        self.x = tn.Tensor(x, device=device, requires_grad=self.objective == "product")
        self.target = tn.Tensor(target, device=device)

    @staticmethod
    def once(device: str) -> None:
        """Use what the cases use."""
        x, layer = tn.Tensor(tn.init.ones((2, 3, 4)), device=device), tn.nn.LSTM(4, 8).to(device)
        layer(x).sum().backward()
        wait(device)

    def backward(self) -> Any:
        self.parameters.zero_grad()
        self.x.zero_grad()
        y = self.model(self.x)
        if self.objective == "product":
            y.backward(self.target)
            return y
        loss = tn.ops.cross_entropy(y, self.target)
        loss.backward()
        return loss

    def step(self) -> None:
        self.backward()
        self.optimizer.step()

    def graphed(self, work: Callable[[], Any]) -> Callable[[], Any]:
        """The work as a CUDA graph. As in `fit`, the optimizer's step count is on the device."""
        self.optimizer.steps = backend.as_array(int(self.optimizer.steps), "int64", self.device)
        for _ in range(2):
            work()
        _, graph = backend.record(self.device, work)
        return graph.launch  # type: ignore[no-any-return]

    def gradients(self) -> Arrays:
        result = self.backward().numpy()
        first = {"x": self.x.grad} if self.objective == "product" else {}
        found = {**first, **{name: parameter.grad for name, parameter in self.parameters.items()}}
        return {"output": result, **{name: backend.to_host(array) for name, array in found.items()}}

    def wait(self) -> None:
        wait(self.device)


class Theirs:
    """A case in PyTorch."""

    def __init__(self, work: Case, data: Path, device: str, channels_last: bool = True) -> None:
        import torch

        from benchmarks.peers.torch import TorchNetwork

        x, target, weights, _ = read_data(data)
        self.torch, self.device, self.objective, self.channels_last = torch, device, work.objective, channels_last
        torch.backends.cudnn.benchmark = True  # it measures cuDNN's algorithms, and takes the fastest
        self.network = TorchNetwork(list(work.layers), weights, work.objective, False, channels_last)
        if device == "cpu":
            torch.set_num_threads(1)  # tiny work would only wait for other threads
        self.network.model.to(device)
        self.x, self.target = (torch.tensor(array, device=device) for array in (x, target))
        self.x.requires_grad_(self.objective == "product")

    @staticmethod
    def once(device: str) -> None:
        """Use what the cases use."""
        import torch

        x, layer = torch.ones(2, 3, 4, device=device), torch.nn.LSTM(4, 8).to(device)
        layer(x)[0].sum().backward()
        torch.nn.Conv2d(4, 8, 3, padding=1).to(device)(torch.ones(2, 4, 5, 5, device=device)).sum().item()

    def backward(self) -> Any:
        return self.network.backward(self.x, self.target)

    def step(self) -> None:
        self.backward()
        self.network.optimizer.step()

    def gradients(self) -> Arrays:
        result = self.backward().detach().cpu().numpy()
        first = {"x": self.x.grad.cpu().numpy()} if self.objective == "product" else {}
        return {"output": result, **first, **self.network._arrays(lambda parameter: parameter.grad.cpu())}

    def wait(self) -> None:
        if self.device != "cpu":
            self.torch.cuda.synchronize()

    def graphed(self, work: Callable[[], Any]) -> Callable[[], Any]:
        """The work as a CUDA graph."""
        torch, network = self.torch, self.network
        if network.optimizer is not None:
            network.optimizer = torch.optim.Adam(list(network.model.parameters()), lr=LEARNING_RATE, fused=True,
                                                 capturable=True)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return graph.replay  # type: ignore[no-any-return]


def torch_device(device: str) -> str | None:
    """PyTorch's name of a device; None if PyTorch is not installed or cannot use it."""
    try:
        import torch
    except (ImportError, OSError):  # not installed, or a library is missing
        return None
    if device == "cpu":
        return "cpu"
    _, _, index = device.partition(":")
    return f"cuda:{index or 0}" if is_gpu(device) and torch.cuda.is_available() else None


def timed_cases(section: str = "", quick: bool = False) -> Iterator[tuple[Case, str]]:
    """The cases that are timed beside PyTorch, with their precision: those of one section, or of both.

    The most interesting ones come first: time may run out.
    """
    if section in ("", "lstm"):  # 28 steps of 28 inputs, as in MNIST
        batches, units = ((2,), (8,)) if quick else ((256, 64, 1024), (128, 512, 256, 64))
        for precision, N, H in product(("float32", "tf32"), batches, units):
            layer = tn.nn.Sequential(tn.nn.LSTM(28, H))
            yield case(f"LSTM 28 -> {H}, batch {N}, {precision}", "backward", layer, N, (28, 28)), precision
    if section in ("", "steps"):
        for precision in ("float32", "tf32"):
            for name, batch in ({"small": 2} if quick else MODELS if precision == "float32" else IN_TF32).items():
                model = small_model() if quick else getattr(example_models(), name)()
                yield case(f"{name}, batch {batch}, {precision}", "step", model, batch), precision


def lstm(device: str, quick: bool, deadline: float) -> Iterator[Row]:
    """An LSTM, forward and backward."""
    yield from all_beside("lstm", device, quick, deadline)


def steps(device: str, quick: bool, deadline: float) -> Iterator[Row]:
    """A training step of each model of the examples."""
    yield from all_beside("steps", device, quick, deadline)


def all_beside(section: str, device: str, quick: bool, deadline: float) -> Iterator[Row]:
    cases = list(timed_cases(section, quick))
    for number, (work, precision) in enumerate(cases):
        if time.monotonic() > deadline:
            yield {"name": f"from {work.name} on", "unit": "s",
                   "error": f"no time was left for {len(cases) - number} of {len(cases)} cases"}
            return
        yield from beside(work, device, precision, remaining(deadline, len(cases) - number))


def remaining(deadline: float, shares: int) -> float:
    return max(0.2, 0.6 * (deadline - time.monotonic()) / shares)


def beside(work: Case, device: str, precision: str, seconds: float) -> Iterator[Row]:
    """Time tinynet and, if their results agree, PyTorch in turn."""
    row: Row = {"name": work.name, "unit": "s"}
    try:
        with tempfile.TemporaryDirectory() as folder, tn.precision(precision):
            yield from _beside(work, device, precision, seconds, Path(folder, "data.npz"))
    except Exception as error:  # the other rows go on
        yield {**row, "error": f"{type(error).__name__}: {str(error)[:500]}"}


def _beside(work: Case, device: str, precision: str, seconds: float, data: Path) -> Iterator[Row]:
    write_data(work.without_dropout(), data)
    ours, theirs_device = Ours(work.without_dropout(), data, device), torch_device(device)
    found = ours.gradients()
    name, kind = work.name, work.work
    if theirs_device is None:
        ours = Ours(work, data, device)
        for way, call in ways(ours, kind, device):
            yield {"name": f"{name}, {way}", "unit": "s", "ours": statistics.median(block(ours, call)(3)),
                   "note": "no PyTorch for this device"}
        return
    use_tf32(precision == "tf32")
    forms = [True, False] if any("Conv" in kind for kind, _ in work.layers) else [True]
    errors: dict[str, float] = {}
    for form in forms:
        more = agree.errors(found, Theirs(work.without_dropout(), data, theirs_device, form).gradients())
        errors = {key: max(error, errors.get(key, 0.0)) for key, error in more.items()}
    wrong = {key: error for key, error in errors.items() if error > tolerance(key, precision)}
    if wrong:
        yield {"name": name, "unit": "s", "error": f"disagrees with PyTorch: {wrong}"}
        return
    ours, theirs = Ours(work, data, device), fastest(work, data, theirs_device, forms)
    note = f"agree to {max(errors.values()):.0e}{FORMS[theirs.channels_last] if len(forms) > 1 else ''}"
    if precision == "tf32" and any(kind == "LSTM" for kind, _ in work.layers):
        note += ", our product with h in float32"
    if kind == "step" and theirs_device != "cpu":
        yield {"name": f"{name}, memory", "unit": "bytes", **peaks(ours, theirs, device)}
    call_theirs = getattr(theirs, kind)
    for way, call in ways(ours, kind, device):
        pair = timing.in_turn(block(ours, call), block(theirs, call_theirs), seconds / 3)
        yield {"name": f"{name}, {way}", "unit": "s", **medians(pair), "note": f"PyTorch eager; {note}"}
    if theirs_device != "cpu":
        pair = timing.in_turn(block(ours, call), block(theirs, theirs.graphed(call_theirs)), seconds / 3)
        yield {"name": f"{name}, graph beside graph", "unit": "s", **medians(pair), "note": note}


def fastest(work: Case, data: Path, device: str, forms: list[bool]) -> Theirs:
    """The form of PyTorch's network that is faster here: images with the channels last, or in its own order."""
    made = [Theirs(work, data, device, form) for form in forms]
    if len(made) == 1:
        return made[0]
    seconds = []
    for theirs in made:
        calls = block(theirs, getattr(theirs, work.work))
        calls(3)  # with cudnn.benchmark, the first calls choose algorithms
        seconds.append(min(calls(3)[0] for _ in range(3)))
    return made[seconds.index(min(seconds))]


def tolerance(name: str, precision: str) -> float:
    """The error that is allowed between ours and theirs: outputs have fewer sums behind them than gradients."""
    return TF32 if precision == "tf32" else agree.OUTPUTS if name == "output" else agree.GRADIENTS


def ways(ours: Ours, kind: str, device: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The ways to run tinynet: eagerly and, on a GPU, as a CUDA graph."""
    call = getattr(ours, kind)
    yield "eager", call
    if device != "cpu":
        yield "graph", ours.graphed(call)


def use_tf32(yes: bool) -> None:
    """Switch TF32 on or off in PyTorch's products and cuDNN."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = yes


def block(side: Ours | Theirs, call: Callable[[], Any]) -> timing.Block:
    """A function that times calls of one side. The wait for the device at their end is divided among them."""
    def calls(count: int) -> list[float]:
        side.wait()
        start = time.perf_counter()
        for _ in range(count):
            call()
        side.wait()
        return [(time.perf_counter() - start) / count] * count
    return calls


def medians(pair: timing.Pair) -> dict[str, float]:
    return {name: statistics.median(block[0] for block in blocks)
            for name, blocks in (("ours", pair.ours), ("theirs", pair.theirs))}


def peaks(ours: Ours, theirs: Theirs, device: str) -> dict[str, float]:
    """The GPU memory that each side takes for training steps, in bytes."""
    pool = backend.namespace(backend.device_name(device)).get_default_memory_pool()
    pool.free_all_blocks()
    theirs.torch.cuda.empty_cache()
    theirs.torch.cuda.reset_peak_memory_stats()
    for side in (ours, theirs):
        for _ in range(2):
            side.step()  # type: ignore[attr-defined]
        side.wait()  # type: ignore[attr-defined]
    return {"ours": pool.total_bytes(), "theirs": theirs.torch.cuda.max_memory_reserved()}


def small_model() -> Any:
    """A model for `quick`, since emulated kernels are slow."""
    nn = tn.nn
    return nn.Sequential(nn.Reshape((28, 28)), nn.LSTM(28, 8, return_sequences=False), nn.Dense(8, 10),
                         input_shape=(28, 28, 1))
