"""The peers by name. The file of a peer imports its framework only when the peer is started."""

from importlib import import_module

from benchmarks.peers.base import Peer

OURS = "tinynet"

_FILES = {"tinynet": "tinynet", "torch": "torch", "compile": "torch", "jax": "jax", "keras": "keras",
          "tinygrad": "tinygrad"}


def names() -> list[str]:
    """All peers, ours first."""
    return list(_FILES)


def peer(name: str) -> Peer:
    """The peer of this name."""
    module = import_module(f"benchmarks.peers.{_FILES[name]}")
    return next(found() for found in module.PEERS if found.name == name)
