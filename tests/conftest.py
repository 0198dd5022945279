"""What every test starts from: seed 0, no window for pictures, Ctrl-C that ends things, and random cases that are the
same in every run."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

import tinynet as tn

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


@pytest.fixture(autouse=True)
def seeded() -> None:
    tn.seed(0)
