"""A stand-in for `cupy.cuda.nccl`, for ranks with the CuPy of `cupy_on_cpu`: MPI adds up what lies in host memory.

Communication is queued on a stream, as NCCL's is. What NCCL refuses is an error: two ranks with one GPU, an identity
that is not the one of rank 0, the stream of another device, a size or a kind that differs between ranks.
"""

import ctypes
import sys
from collections import Counter
from typing import Any

import numpy as np

from tests.support.cupy_on_cpu import machine

available = True
NCCL_SUM = 0
NCCL_UINT8, NCCL_INT32, NCCL_INT64, NCCL_FLOAT32, NCCL_FLOAT64 = 1, 2, 4, 7, 8
_DTYPES = {1: "uint8", 2: "int32", 4: "int64", 7: "float32", 8: "float64"}
calls = Counter[str]()


def install() -> None:
    """Let `from cupy.cuda import nccl` give this module. The CuPy of `cupy_on_cpu` is installed before."""
    import cupy
    sys.modules["cupy.cuda.nccl"] = cupy.cuda.nccl = sys.modules[__name__]


def get_unique_id() -> bytes:
    calls["get_unique_id"] += 1
    return bytes(range(128, 256))


class NcclCommunicator:
    """The ranks of mpiexec, each with the device that is current now."""

    def __init__(self, ndev: int, commId: bytes, rank: int) -> None:
        from mpi4py import MPI
        self.mpi, self.ranks, self.device = MPI, MPI.COMM_WORLD.Dup(), machine.getDevice()
        assert (ndev, rank) == (self.ranks.size, self.ranks.rank)
        assert isinstance(commId, bytes) and len(commId) == 128
        given = self.ranks.allgather((commId, self.device))
        assert all(identity == bytes(range(128, 256)) for identity, _ in given)
        assert len({device for _, device in given}) == ndev, "Duplicate GPU detected"
        self.error: Exception | None = None

    def allReduce(self, sendbuf: int, recvbuf: int, count: int, datatype: int, op: int, stream: int) -> None:
        assert op == NCCL_SUM and sendbuf == recvbuf
        self._queue("allReduce", recvbuf, count, datatype, stream,
                    lambda array: self.ranks.Iallreduce(self.mpi.IN_PLACE, array))

    def bcast(self, buff: int, count: int, datatype: int, root: int, stream: int) -> None:
        self._queue("bcast", buff, count, datatype, stream, lambda array: self.ranks.Ibcast(array, root))

    def _queue(self, name: str, pointer: int, count: int, kind: int, stream: int, begin: Any) -> None:
        assert machine.getDevice() == self.device
        calls[name] += 1
        end = _End(np.array([count, -count, kind, -kind]))

        def run() -> None:
            size = count * np.dtype(_DTYPES[kind]).itemsize
            memory = (ctypes.c_uint8 * size).from_address(pointer)
            end.requests = [self.ranks.Iallreduce(self.mpi.IN_PLACE, end.sizes, self.mpi.MAX),
                            begin(np.frombuffer(memory, _DTYPES[kind]))]
        machine.on(stream, name, run)
        machine.on(stream, f"the end of {name}", end)

    def check_async_error(self) -> None:
        if self.error:
            raise self.error


class _End:
    """The end of a message: work of a stream that takes as long as the other ranks need."""

    def __init__(self, sizes: np.ndarray) -> None:
        self.sizes, self.requests = sizes, list[Any]()

    def is_ready(self) -> bool:
        return all(request.Test() for request in self.requests)

    def __call__(self) -> None:
        for request in self.requests:
            request.Wait()
        assert self.sizes[0] == -self.sizes[1] and self.sizes[2] == -self.sizes[3], "the ranks differ"
