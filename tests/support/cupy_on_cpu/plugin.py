"""A plugin of pytest: the tests run with the real CuPy on a CPU. A test fails if it leaves a fault behind.

Nothing may be skipped here: what needs a GPU has one.
"""

from collections.abc import Iterator

import pytest

from tests.support import cupy_on_cpu

if cupy_on_cpu.reason():
    raise pytest.UsageError(f"these tests need the real CuPy: {cupy_on_cpu.reason()}")
cupy_on_cpu.install()

from tests.support.cupy_on_cpu import machine  # noqa: E402


@pytest.fixture(autouse=True)
def no_faults() -> Iterator[None]:
    """Fail a test for the faults in it, also for those in destructors."""
    machine.faults.clear()
    yield
    found, machine.faults[:] = list(machine.faults), []
    assert not found, found


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and any(report.when != "collect" for report in reporter.stats.get("skipped", [])):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
