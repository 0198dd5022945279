"""Files are written whole, and what stands in their place is respected: links, devices, pipes, modes, long names."""

import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

import tinynet as tn
from tinynet.atomic import _make_like, beside, remove_parts, write_whole
from tinynet.errors import ModelFileError, TinynetError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("bits", [0o600, 0o640, 0o444, 0o777])
def test_the_mode_is_kept(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(bits)
    write_whole(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", bits)


def test_a_new_file_has_the_usual_mode(tmp_path: Path) -> None:
    (tmp_path / "usual").write_bytes(b"")
    write_whole(tmp_path / "file", b"")
    assert mode(tmp_path / "file") == mode(tmp_path / "usual")


def test_the_content_is_never_more_open_than_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "file", []
    path.write_bytes(b"old")
    path.chmod(0o600)
    flush = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (seen.append(os.fstat(descriptor)), flush(descriptor)))
    write_whole(path, b"secret")
    assert stat.S_IMODE(seen[0].st_mode) == 0o600 and len(seen) == 2, "the file, and then its folder"
    assert seen[0].st_size == len(b"secret"), "all of it is given to the system before it is flushed to the disk"


@pytest.mark.skipif(not hasattr(os, "chown"), reason="no owners of files here")
@pytest.mark.parametrize("may", [True, False])
def test_the_owner_is_kept_where_that_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, may: bool) -> None:
    path, given = tmp_path / "file", list[Any]()
    path.write_bytes(b"old")

    def chown(*names: Any) -> None:
        given.append(names)
        if not may:
            raise PermissionError

    monkeypatch.setattr(os, "chown", chown)
    _make_like(path, os.stat_result((0o640, 0, 0, 1, 123, 456, 0, 0, 0, 0)))  # type: ignore[arg-type]
    assert given == [(path, 123, 456)] and mode(path) == 0o640


def test_a_folder_that_cannot_be_flushed_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flush = os.fsync

    def of_files(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", of_files)
    write_whole(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_stays_a_link(tmp_path: Path, is_there: bool) -> None:
    """Also a link to a link, and one whose target is missing; the temporary file lies beside the target."""
    (tmp_path / "there").mkdir()
    target, link, second = tmp_path / "there" / "file", tmp_path / "link", tmp_path / "second"
    if is_there:
        target.write_bytes(b"old")
    link.symlink_to(Path("there", "file"))
    second.symlink_to("link")
    write_whole(second, b"new")
    assert link.is_symlink()
    assert second.is_symlink()
    assert target.read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["link", "second", "there"]
    assert beside(second, "x") == tmp_path / "there" / ".file.x"


def test_a_pipe_gets_the_content(tmp_path: Path) -> None:
    pipe, got, content = tmp_path / "pipe", [], os.urandom(300_000)  # more than a pipe holds at once
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, content)
    reader.join()
    assert got == [content]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_devices() -> None:
    write_whole("/dev/null", b"gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(ModelFileError, match=r"cannot be written .No space left on device"):
        tn.save("/dev/full", tn.nn.Sequential(tn.nn.Dense(3, 2)))
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    assert not [name for name in os.listdir("/dev") if name.endswith((".part", ".lock"))]


@pytest.mark.parametrize("name", ["a\0b", "n" * 300, "", "file/below"])
def test_an_impossible_name_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    path = os.path.join(tmp_path, name) if name else ""
    with pytest.raises(OSError) as caught:
        write_whole(path, b"")
    assert caught.value.filename == path and caught.value.strerror
    model, batch = tn.nn.Sequential(tn.nn.Dense(3, 2)), (tn.init.ones((2, 3)), tn.Tensor([0, 1]).numpy())

    def fit(**options: Any) -> None:
        tn.fit(model, tn.optim.SGD(model.parameters()), [batch], epochs=1, show=False, **options)

    for call, error in ((lambda: tn.save(path, model), ModelFileError), (lambda: tn.load(path), ModelFileError),
                        (lambda: fit(checkpoint=path), TinynetError),
                        (lambda: fit(callbacks=[tn.callbacks.Log(f"{path}.csv")]), TinynetError)):
        with pytest.raises(error) as caught_again:
            call()
        assert "\n" not in str(caught_again.value)
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path, b"")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("name", ["m" * 255, "é" * 127, "m" * 100, "m" * 101])
def test_a_long_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_whole(path, b"content")
    assert path.read_bytes() == b"content"
    assert (name in beside(path, "x").name) == (name == "m" * 100), "of up to 100 bytes"
    beside(path, "0123456789abcdef.part").write_bytes(b"half")
    beside(tmp_path / ("n" * 255), "0123456789abcdef.part").write_bytes(b"of another file")
    remove_parts(path)
    assert len(os.listdir(tmp_path)) == 2


def test_without_functions_that_windows_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("chown", "geteuid", "fchmod", "mkfifo", "register_at_fork", "sched_getaffinity"):
        monkeypatch.delattr(os, name, raising=False)
    write_whole(tmp_path / "file", b"old")
    write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_places_of_a_run_do_not_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths of the checkpoint, the best model and the logs hold after os.chdir in a callback."""
    (here := tmp_path / "here").mkdir()
    (there := tmp_path / "there").mkdir()
    monkeypatch.chdir(here)

    class Move(tn.callbacks.Callback):
        def on_epoch(self, run: Any) -> None:
            os.chdir(there)

    model = tn.nn.Sequential(tn.nn.Dense(2, 2))
    batch = tn.init.ones((4, 2)), tn.Tensor([0, 1, 0, 1]).numpy()
    tn.fit(model, tn.optim.SGD(model.parameters()), [batch], epochs=2, show=False, checkpoint="run/c",
           callbacks=[Move(), tn.callbacks.Log("run/log.csv"), tn.callbacks.Log("run/log.jsonl"),
                      tn.callbacks.BestModel("run/best", "train_loss")])
    assert not os.listdir(there)
    assert sorted(os.listdir(here / "run")) == ["best", "c", "log.csv", "log.jsonl"]


def test_the_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    """And not the part of it that is written first."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "there", tmp_path):
        with pytest.raises(OSError) as caught:
            write_whole(path, b"content")
        assert caught.value.filename == str(path) and caught.value.filename2 is None
