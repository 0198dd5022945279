"""What a peer of the benchmark computes of some cases. It runs as a process, since frameworks start threads:

    python -m tests.support.peer_side PEER FOLDER        for each FOLDER/*.json, with the data beside it
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import Case, read_data
from benchmarks.peers import peer

STEPS = 2


def computed(side: Any, work: Case, data: Path) -> dict[str, np.ndarray]:
    """Outputs in evaluation, before and after some steps, gradients and weights."""
    array, labels, weights, gradients = read_data(data)
    network = side.build(list(work.layers), weights, work.shape, work.objective)
    if work.work == "update":
        for factor in (1, -2):
            network.set_gradients({name: np.float32(factor) * one for name, one in gradients.items()})
            network.update()
        return dict(network.parameters())
    x, target = side.put(array), side.put(labels)
    network.mode(training=False)
    found = {"output": side.numpy(network.forward(x))}
    network.mode(training=True)
    found |= {f"gradient {name}": one for name, one in network.gradients(x, target).items()}
    if work.work == "step":
        network = side.build(list(work.layers), weights, work.shape, work.objective)  # of no batch yet
        network.mode(training=True)
        found["losses"] = np.array([network.step(x, target) for _ in range(STEPS)])
        network.mode(training=False)
        found["output after"] = side.numpy(network.forward(x))
    return found


def facts(side: Any) -> dict[str, Any]:
    """What no result shows: settings, whose model it is, the error of an unknown layer; of JAX what it waits for."""
    found = {"settings": side.settings()}
    x, target = side.put(np.ones((2, 3), np.float32)), side.put(np.array([0, 1]))
    layers = [("Dropout", {"p": 0.5}), ("Dense", {"inputs": 3, "units": 2, "bias": True})]
    weights = {"1.W": np.ones((3, 2), np.float32), "1.b": np.zeros(2, np.float32)}
    network = side.build(layers, weights, (2, 3), "cross_entropy")
    found["model"] = type(getattr(network, "model", network)).__module__
    try:
        side.build([("Swirl", {}), *layers[1:]], weights, (2, 3), "cross_entropy").forward(x)
    except Exception as error:
        found["unknown"] = type(error).__name__
    if "jax" in sys.modules:
        import jax

        waited: list[Any] = []
        wait, jax.block_until_ready = jax.block_until_ready, lambda some: waited.append(0) or wait(some)
        keys = [jax.random.key_data(network.key).tolist()]
        network.step(x, target)
        network.backward(x, target)
        network.set_gradients(weights)
        network.update()
        (side.product(2) or (lambda: jax.block_until_ready(x)))()
        keys.append(jax.random.key_data(network.key).tolist())
        found.update(waited=len(waited), has_new_numbers=keys[0] != keys[1], platforms=jax.config.jax_platforms)
    return found


def of_folder(name: str, folder: Path) -> None:
    side = peer(name)
    side.start(1)
    for path in sorted(folder.glob("*.json")):
        work = Case.from_json(json.loads(path.read_text(encoding="utf-8")))
        np.savez(folder / f"{path.stem} {name}.npz", **computed(side, work, path.with_suffix(".npz")))
    product, chain = side.product(3), side.chain(4)
    if chain is not None:
        chain()
    if product is not None:
        np.savez(folder / f"product {name}.npz", product=side.numpy(product()))


if __name__ == "__main__":
    of_folder(sys.argv[1], Path(sys.argv[2]))
    Path(sys.argv[2], "facts").write_text(json.dumps(facts(peer(sys.argv[1]))), encoding="utf-8")
