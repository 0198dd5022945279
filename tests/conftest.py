"""What every test starts from: seed 0, no window for pictures, Ctrl-C that ends things, and random cases that are the
same in every run."""

import os
import signal
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import tinynet as tn
from tinynet.backend.cpu.runtime import kernel_cache
from tinynet.backend.cuda.runtime import emulator
from tinynet.errors import DeviceError
from tinynet.training.recorded import RecordedStep

os.environ.setdefault("MPLBACKEND", "Agg")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells let programs do that they start in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("ordinary", deadline=None, derandomize=True, database=None)
# New cases in each run, and more of them: pytest -m long --hypothesis-profile=long
settings.register_profile("long", deadline=None, max_examples=5000, suppress_health_check=[HealthCheck.too_slow])
# Fewer of them, for an emulated processor (tests/arm64.sh).
settings.register_profile("few", deadline=None, derandomize=True, database=None, max_examples=5,
                          suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ordinary")


@pytest.fixture(autouse=True, scope="session")
def no_notice() -> None:
    """Leave out the notice that kernels are being compiled: it would come in the first test that compiles one."""
    kernel_cache.notice.said = True


@pytest.fixture(autouse=True)
def seeded() -> None:
    tn.seed(0)


@pytest.fixture(autouse=True)
def same_threads_afterwards() -> Iterator[None]:
    """Leave the number of threads as it was: results have the same bits for equal numbers of threads only."""
    count = tn.threads()
    yield
    if tn.threads() != count:
        tn.set_threads(count)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Skip a test that needs the emulated GPU where it is missing. `.ci/run` demands it."""
    try:
        yield
    except DeviceError as error:
        if "gpu-emulated" in str(error) and (reason := emulator.missing()):
            pytest.skip(f"no emulated GPU: {reason}")
        raise


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[RecordedStep]:
    """The RecordedStep of each `fit`: with several ranks, one for each."""
    made: list[RecordedStep] = []
    start = RecordedStep.__init__

    def noting(self: RecordedStep, *arguments: Any) -> None:
        made.append(self)
        start(self, *arguments)

    monkeypatch.setattr(RecordedStep, "__init__", noting)
    return made
