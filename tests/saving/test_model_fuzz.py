"""For any content of a file, `tn.load` returns a usable model or raises ModelFileError.

Nothing else is raised, nothing in the file is run, and memory is bounded. A long run: python -m tests.fuzz
"""

import sys
import tracemalloc
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.model_files import changed, check, fuzz, originals
from tinynet import load
from tinynet.errors import ModelFileError

FILES = originals()
MEMORY = 20 << 20


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "model.safetensors"


def test_the_originals_are_good(path: Path) -> None:
    assert all(check(content, path) for content in FILES)


@settings(max_examples=10 * settings().max_examples)
@given(seed=st.integers(0, 2**64))
def test_damaged_and_forged_files(path: Path, seed: int) -> None:
    tracemalloc.start()
    try:
        check(changed(Random(seed), FILES), path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEMORY


@settings(max_examples=3 * settings().max_examples)
@given(content=st.binary(max_size=200), length=st.integers(0, 300))
def test_any_bytes(path: Path, content: bytes, length: int) -> None:
    assert not check(content, path)
    assert not check(length.to_bytes(8, "little") + content, path)


def test_the_fuzzer_reaches_all_kinds_of_files(path: Path) -> None:
    """Some files are loaded, most are refused, and each kind of message occurs."""
    rng, said = Random(1), list[str]()
    for _ in range(800):
        path.write_bytes(changed(rng, FILES))
        try:
            load(path)
        except ModelFileError as error:
            said.append(str(error))
    assert 400 < len(said) < 790
    for words in ("is damaged", "must be JSON", "must have the options", "cannot be made with", "must be made of",
                  "must hold only", "which its layers have", "checksum", "classes must be", "scaling must",
                  "must fit the layers", "must be of format"):
        assert any(words in message for message in said), words


def test_nothing_is_imported_or_run(path: Path) -> None:
    """No file makes `load` import a module, start a process or open a connection."""
    seen, watching = list[str](), True

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event in ("import", "exec", "os.system", "os.exec", "subprocess.Popen", "socket.connect"):
            seen.append(f"{event} {arguments[:1]}")

    fuzz(100, 7, path)  # imports what is imported late
    sys.addaudithook(audit)
    try:
        for content in FILES:
            check(content, path)
        fuzz(300, 8, path)
        assert not seen
        sys.audit("os.system", "true")
        assert seen, "the hook works"
    finally:
        watching = False


@pytest.mark.long
def test_many(path: Path) -> None:
    assert fuzz(100_000, 0, path) > 1000
