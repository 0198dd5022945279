"""Prefetching: results in order, errors in place of their results, and no thread left."""

import os
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import tinynet as tn
from tinynet.data import Images, Loader, write_idc_stand_in
from tinynet.data.prefetch import prefetch
from tinynet.errors import ArgumentError, DataError


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("tinynet-prefetch")]


@pytest.mark.parametrize("threads", [0, 1, 2, 7])
def test_in_order_whatever_takes_longest(threads):
    def make(n):
        time.sleep(0.004 * (n % 3 == 0))
        return n * n

    assert list(prefetch(make, range(30), threads)) == [n * n for n in range(30)]
    assert list(prefetch(make, [], threads)) == []
    assert not loader_threads()


@pytest.mark.parametrize("threads", [1, 3])
def test_no_more_is_made_than_is_allowed(threads):
    begun, lock = [0], threading.Lock()

    def make(n):
        with lock:
            begun[0] += 1
        return n

    for taken, _ in enumerate(prefetch(make, range(50), threads), 1):
        end = time.monotonic() + 20
        while begun[0] < min(50, taken + threads + 1) and time.monotonic() < end:
            time.sleep(0.001)  # as many as are allowed are made
        assert begun[0] >= min(50, taken + threads + 1)
        assert begun[0] <= taken + threads + 1
    assert begun[0] == 50


def test_work_is_done_while_the_caller_works():
    """A caller with 8 ms a step and items of 8 ms take about 8 ms a step together, not 16, at best of five."""
    def spent(threads):
        start = time.perf_counter()
        for _ in prefetch(lambda n: time.sleep(0.008), range(20), threads):
            time.sleep(0.008)
        return time.perf_counter() - start

    assert any(spent(1) < 0.75 * spent(0) for _ in range(5))


def test_threads_are_other_threads_and_run_at_once():
    meeting = threading.Barrier(3, timeout=10)
    names = list(prefetch(lambda n: (meeting.wait(), threading.current_thread().name)[1], range(3), threads=3))
    assert len({*names}) == 3 and all(name.startswith("tinynet-prefetch") for name in names)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_an_error_comes_where_its_result_would_have_come(threads):
    def make(n):
        if n == 4:
            raise DataError(f"item {n}")
        return n

    found = []
    with pytest.raises(DataError, match="item 4"):
        for n in prefetch(make, range(10), threads):
            found.append(n)
    assert found == [0, 1, 2, 3] and not loader_threads()


def test_threads_end_with_the_loop():
    for n in prefetch(lambda n: n, range(1000), 2):
        if n == 3:
            assert loader_threads()
            break
    assert not loader_threads()
    paused = prefetch(lambda n: n, range(1000), 2)
    next(paused)
    assert loader_threads()
    paused.close()
    assert not loader_threads()
    with pytest.raises(KeyboardInterrupt):
        for _ in prefetch(lambda n: n, range(1000), 2):
            raise KeyboardInterrupt
    assert not loader_threads()


def test_what_has_not_begun_is_not_made_when_the_loop_ends(monkeypatch):
    made, released, shutdown = [], threading.Event(), ThreadPoolExecutor.shutdown

    def make(n):
        made.append(n)
        assert n == 0 or released.wait(20)
        return n

    def ended(pool, **options):
        shutdown(pool, **{**options, "wait": False})
        released.set()  # now the item that has begun may end
        shutdown(pool)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", ended)
    begun = prefetch(make, range(9), 1)
    assert next(begun) == 0
    begun.close()
    assert made in ([0], [0, 1]) and not loader_threads()


def test_threads_use_what_the_caller_uses():
    from tinynet import backend

    with tn.using("reference"):
        assert list(prefetch(lambda n: backend.overrides._reference.get(), range(3), 2)) == [True] * 3
    assert list(prefetch(lambda n: backend.overrides._reference.get(), range(3), 2)) == [False] * 3


def run(code):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)], capture_output=True, text=True,
                          timeout=60, cwd=Path(__file__).resolve().parents[2])
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_goes_on_and_begins_anew():
    assert run("""
        import os, numpy as np
        from tinynet.data import Augment, Loader
        def loader():
            return Loader(np.zeros((40, 8, 8), np.uint8) + 9, np.arange(40), batch_size=4, augment=Augment(shift=0.3),
                          threads=2)
        begun = iter(loader())
        first = next(begun)
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            rest, anew = list(begun), list(loader())
            same = all((a == c).all() and (b == d).all() for (a, b), (c, d) in zip(rest, anew[1:], strict=True))
            os.write(writing, f"{len(rest)} {len(anew)} {same}".encode())
            os._exit(0)
        os.waitpid(child, 0)
        print(os.read(reading, 100).decode(), len(list(begun)))
    """).split() == ["9", "10", "True", "9"]


def test_a_process_ends_with_a_loader_paused():
    assert run("""
        import numpy as np
        from tinynet.data import Loader
        paused = iter(Loader(np.arange(1000), batch_size=1, threads=3))
        print(next(paused)[0])
    """) == "[0]\n"


# --- in a loader ----------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def files(tmp_path_factory):
    pytest.importorskip("PIL")
    root = write_idc_stand_in(tmp_path_factory.mktemp("idc") / "x", patients=2, patches=15, seed=0)
    return tn.data.scan_folder(root)


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_files_are_read_in_the_background(files, threads):
    pictures = files.images(20).in_memory()
    for _ in range(2):
        loader = Loader(files.images(20), files.labels, batch_size=4, shuffle=True, seed=1, threads=threads)
        expected = Loader(pictures, files.labels, batch_size=4, shuffle=True, seed=1)
        for (a, b), (c, d) in zip(loader, expected, strict=True):
            np.testing.assert_array_equal(a, c, strict=True)
            np.testing.assert_array_equal(b, d, strict=True)


def test_a_file_that_became_unreadable_is_named_in_its_batch(files, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    names = [files.root / name for name in files.names[:5]]
    source = Images(tmp_path, [*map(str, names), "a.png"], size=8)
    got = 0
    with pytest.raises(DataError, match=r"Images: .*a\.png is empty"):
        for _ in Loader(source, batch_size=2, threads=2):
            got += 1
    assert got == 2 and not loader_threads()


def test_position_counts_what_was_handed_out_not_what_was_made():
    made = []
    loader = Loader(np.arange(20), batch_size=2, threads=3, transform=lambda a: made.append(a) or a)
    assert loader.state_dict() == {"epoch": 0, "batch": 0}
    for count, _ in enumerate(loader, 1):
        assert loader.state_dict() == {"epoch": 0, "batch": count}
        if count == 4:
            break
    assert len(made) >= 4 and loader.state_dict() == {"epoch": 0, "batch": 4}
    rest = Loader(np.arange(20), batch_size=2, threads=3)
    rest.load_state_dict(loader.state_dict())
    assert [int(batch[0]) for batch, in rest] == [8, 10, 12, 14, 16, 18]


@pytest.mark.parametrize("threads", [-1, 65, 1.0, True, None])
def test_number_of_threads(threads):
    with pytest.raises(ArgumentError, match="Loader: threads must be an integer from 0 to 64, got"):
        Loader(np.arange(3), batch_size=1, threads=threads)


@pytest.mark.parametrize(("processors", "threads"), [(1, 1), (3, 3), (64, 8)])
def test_the_usual_number_of_threads(processors, threads, monkeypatch):
    """One for each processor, at most eight; their results and one more are made at first."""
    made = []
    monkeypatch.setattr("tinynet.data.prefetch.processors", lambda: processors)
    pulled = iter(prefetch(lambda item: item, (made.append(item) or item for item in range(50))))
    assert next(pulled) == 0 and len(made) == threads + 2
    pulled.close()
