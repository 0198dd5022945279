"""The cache folder: where it is, and that machine code in it can only come from this user."""

import os
from pathlib import Path

import pytest

from tinynet.cache import cache_folder, private_folder

needs_users = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no owners of files here")


@pytest.mark.parametrize(("value", "expected"), [("/elsewhere", "/elsewhere/tinynet"), ("", "/home/me/.cache/tinynet"),
                                                 ("relative", "/home/me/.cache/tinynet")])
def test_where_it_is(value: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert cache_folder() == Path(expected)


def mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o777


def test_folders_are_made_for_this_user_alone(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir(mode=0o755)
    made = private_folder(tmp_path / "old" / "new" / "kernels")
    assert [mode(folder) for folder in (tmp_path / "old", made.parent, made)] == [0o755, 0o700, 0o700]
    for bits in (0o777, 0o770, 0o740, 0o720, 0o710, 0o704, 0o702, 0o701):
        made.chmod(bits)
        assert mode(private_folder(made)) == 0o700


@needs_users
def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 123_456)
    with pytest.raises(PermissionError, match="must belong to this user, got user"):
        private_folder(tmp_path)


def test_a_user_without_a_home_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="must have an absolute path, got ~"):
        private_folder(Path("~/.cache/tinynet"))
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        private_folder(tmp_path / "file" / "kernels")
