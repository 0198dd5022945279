"""tinynet, used as in its README; a step is made as `tn.fit` makes it, recorded from the third one on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.base import LEARNING_RATE, Arrays, Layer, Network, Peer


class Tinynet(Peer):
    name, title, packages = "tinynet", "tinynet", ("tinynet", "numpy", "numba", "safetensors", "tqdm")

    @classmethod
    def environment(cls, cache: Path) -> dict[str, str]:
        return {"NUMBA_CACHE_DIR": str(cache)}

    def start(self, threads: int) -> None:
        import tinynet  # noqa: F401  # it uses the processors that the process is bound to

    def build(self, layers: list[Layer], weights: Arrays, shape: tuple[int, ...], objective: str) -> Network:
        return TinynetNetwork(layers, weights, objective)

    def put(self, array: np.ndarray) -> Any:
        import tinynet as tn

        return tn.Tensor(np.ascontiguousarray(array))

    def product(self, size: int) -> Callable[[], Any] | None:
        import tinynet as tn

        a = tn.Tensor(np.linspace(-1, 1, size * size, dtype=np.float32).reshape(size, size))
        return lambda: tn.ops.dense(a, a)

    def chain(self, length: int) -> Callable[[], Any] | None:
        import tinynet as tn

        x = tn.Tensor(np.ones(8, np.float32), requires_grad=True)

        def run() -> None:
            y = x
            for _ in range(length):
                y = y * 1.0001
            y.sum().backward()
        return run


class TinynetNetwork(Network):
    def __init__(self, layers: list[Layer], weights: Arrays, objective: str) -> None:
        import tinynet as tn
        from tinynet.training.recorded import RecordedStep
        from tinynet.training.run import Run
        from tinynet.training.step import train_step

        self.train_step: Any = train_step
        self.tn, self.objective = tn, objective
        self.model = tn.nn.Sequential(*(getattr(tn.nn, kind)(**options) for kind, options in layers))
        self.model.load_state_dict(weights)
        self.named = self.model.parameters()
        self.optimizer: Any = tn.optim.Adam(self.named, lr=LEARNING_RATE) if len(self.named) else None
        self.run = Run(self.model, self.optimizer, (), epochs=1)
        self.recorded = RecordedStep(self.run, self._step, "cpu")

    def mode(self, training: bool) -> None:
        self.model.train(training)

    def forward(self, x: Any) -> Any:
        with self.tn.no_grad():
            return self.model(x)

    def step(self, x: Any, target: Any) -> float:
        loss, _ = self.recorded(x, target)
        self.run.next_step()
        return float(loss)

    def _step(self, x: Any, target: Any) -> Any:
        return self.train_step(self.run, [x], target, self.model, self.tn.ops.cross_entropy, None)

    def backward(self, x: Any, target: Any) -> Any:
        self.named.zero_grad()
        if self.objective == "cross_entropy":
            loss = self.tn.ops.cross_entropy(self.model(x), target)
            loss.backward()
            return loss
        x.requires_grad, x.grad = True, None
        y = self.model(x)
        y.backward(target)
        return y

    def gradients(self, x: Any, target: Any) -> Arrays:
        result = self.backward(x, target)
        first = {"x": x.grad} if self.objective == "product" else {"loss": result.numpy()}
        return {**first, **{name: parameter.grad.copy() for name, parameter in self.named.items()}}

    def set_gradients(self, gradients: Arrays) -> None:
        self.named.zero_grad()
        for name, parameter in self.named.items():
            parameter.grad = gradients[name]

    def update(self) -> None:
        self.optimizer.step()

    def parameters(self) -> Arrays:
        return {name: parameter.numpy().copy() for name, parameter in self.named.items()}


PEERS = (Tinynet,)
