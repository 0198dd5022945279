"""Every test of the CPU's runtime leaves the number of threads as it was."""

from collections.abc import Iterator

import pytest

import tinynet as tn


@pytest.fixture(autouse=True)
def same_threads_afterwards() -> Iterator[None]:
    count = tn.threads()
    yield
    if tn.threads() != count:
        tn.set_threads(count)
