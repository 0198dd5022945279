"""What is said while kernels are compiled: once, and only where it takes long."""

from itertools import count

import pytest

from tinynet.backend.cpu.runtime import notice as notices


@pytest.mark.parametrize(("seconds", "lines"), [(0.01, 0), (0.7, 1), (30.0, 1)])
def test_long_compiling_is_announced_once(seconds: float, lines: int, monkeypatch: pytest.MonkeyPatch,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    times = count()
    monkeypatch.setattr(notices, "perf_counter", lambda: next(times) * seconds)
    notice = notices._Notice()
    for _ in range(4):
        notice.on_start(None)
        notice.on_start(None)  # what a kernel calls is compiled within it
        notice.on_end(None)
        notice.on_end(None)
    assert capsys.readouterr().err.count("compiling") == lines


def test_it_listens() -> None:
    from numba import njit

    before = notices.event._registered["numba:compile"]
    assert any(isinstance(listener, notices._Notice) for listener in before)
    listener = next(one for one in before if isinstance(one, notices._Notice))
    spent = listener.seconds
    njit(lambda x: x + 1)(1)
    assert listener.seconds > spent and listener.depth == 0
