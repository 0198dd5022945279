"""The three voices of one op: an override carries the equations of its specification, number for number, line for line.

A number on a line is proved by a bug planted into that very line: the comparison with the specification has to fail.
`equations_cpu.py` and `equations_cuda.py` hold the bugs.
"""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from tests.support import interpreted
from tests.support.complete import OPS, TABLES, claimed, declared, defined, overridden, place
from tests.support.overrides import (
    Folder,
    Specification,
    line_faults,
    number_faults,
    reached,
    read,
    section_faults,
    signature_faults,
)
from tests.support.planting import DEVICES, SPECIFICATIONS, Bug, agrees, escapes, planted
from tinynet import backend

OVERRIDDEN = [(folder, name) for folder in TABLES for name, each in SPECIFICATIONS.items()
              if (name in overridden(folder) if name in declared() else reached(read(folder), each))]
INCOMPLETE = {folder: {stem for name, stem in declared().items()
                       if defined(folder, name) and name not in overridden(folder)} for folder in TABLES}
BUGS = [bug for table in TABLES.values() for bug in table.BUGS
        if place(bug) is not None and bug.file.partition(".")[0] not in INCOMPLETE[bug.folder]]


def functions(folder: str, each: Specification) -> tuple[Callable[..., Any], ...]:
    found = backend.find_override(each.module, each.names, DEVICES[folder])
    assert found, f"{folder} has no override of {each.name}"
    return found


def test_the_overrides_in_the_sources_are_those_that_run() -> None:
    for folder, device in DEVICES.items():
        for name, each in SPECIFICATIONS.items():
            if (folder, name) in OVERRIDDEN or (name in OPS and not defined(folder, name)):
                found = backend.find_override(each.module, each.names, device)
                assert bool(found) == ((folder, name) in OVERRIDDEN)


# --- equations ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("folder", "name"), OVERRIDDEN)
def test_an_override_has_the_numbers_of_its_specification(folder: str, name: str) -> None:
    assert not number_faults(read(folder), SPECIFICATIONS[name])


@pytest.mark.parametrize("folder", TABLES)
def test_no_other_line_has_a_number(folder: str) -> None:
    assert not [fault for fault in line_faults(read(folder), SPECIFICATIONS)
                if fault.partition(".")[0] not in INCOMPLETE[folder]]


@pytest.mark.parametrize(("folder", "name"), OVERRIDDEN)
def test_an_override_takes_what_its_specification_takes(folder: str, name: str) -> None:
    assert not signature_faults(SPECIFICATIONS[name], functions(folder, SPECIFICATIONS[name]))


@pytest.mark.parametrize(("folder", "file"), [
    (folder, f"{stem}{suffix}") for folder in TABLES for stem in sorted({
        SPECIFICATIONS[name].stem for own, name in OVERRIDDEN if own == folder})
    for suffix in (".py", ".cu") if f"{stem}{suffix}" in read(folder)])
def test_a_file_is_layout_equations_schedule_entry(folder: str, file: str) -> None:
    assert not section_faults(file, read(folder))


# --- faults in sources are found ------------------------------------------------------------------------------------

def changed(folder: str, file: str, old: str, new: str) -> Folder:
    """The files of a folder, one of them changed."""
    files = read(folder)
    assert files[file].count(old) == 1
    return {**files, file: files[file].replace(old, new)}


@pytest.mark.parametrize(("folder", "file", "old", "new", "name", "fault"), [
    ("cpu", "lstm_rows.py", "  # (13)", "", "lstm", "lstm: (13) stands on no line"),
    ("cpu", "lstm_rows.py", "# (13)", "# the carry (13)", "lstm", "lstm: (13) stands on no line"),
    ("cpu", "lstm_rows.py", "  # (13)", "\n        # (13)", "lstm", "lstm: (13) stands on no line"),
    ("cpu", "lstm_rows.py", "# (13)", "# (23)", "lstm", "(23) is no equation of lstm"),
    ("cpu", "loss.py", "(7) (8) (9) of cross", "all others, of cross", "cross_entropy", "(7) stands on no line"),
    ("cpu", "loss.py", "(7) (8) (9) of cross", "(6) (7) (8) (9) of cross", "cross_entropy", "(6) is left to"),
    ("cpu", "loss.py", "(7) (8) (9) of cross", "(7) (8) (9) (10) of cross", "cross_entropy", "(10) cannot be left"),
    ("cpu", "batchnorm.py", "    call(_channel_gradients, ", "    call(other, ",
     "batch_norm", "(8) stands on no line"),
    ("cuda", "activation.cu", "// (1) NaN passes", "// (3)", "relu", "(3) is no equation of relu"),
    ("cuda", "lstm.h", "// (4)", "// (40)", "lstm", "lstm: (4) stands on no line"),
    ("cuda", "lstm.h", "// (4)", "// (40)", "lstm", "(40) is no equation of lstm"),
])
def test_a_wrong_number_is_found(folder: str, file: str, old: str, new: str, name: str, fault: str) -> None:
    assert fault in "\n".join(number_faults(changed(folder, file, old, new), SPECIFICATIONS[name]))


@pytest.mark.parametrize(("file", "old", "new", "fault"), [
    ("dense.py", "# --- Entry", "def _unused(x: int) -> int:\n    return x  # (1)\n\n\n# --- Entry", "no override"),
    ("lstm_rows.py", "# (13)", "# (13), (14)", "one after the other"),
    ("lstm_rows.py", "# (13)", "# (8) to (13)", "one after the other"),
])
def test_a_number_out_of_place_is_found(file: str, old: str, new: str, fault: str) -> None:
    assert fault in "\n".join(line_faults(changed("cpu", file, old, new), SPECIFICATIONS))


def test_a_wrong_signature_is_found() -> None:
    each = SPECIFICATIONS["batch_norm"]
    forward, backward = functions("cpu", each)

    def other_default(xp: Any, x: Any, gamma: Any, beta: Any, mean: Any = None, var: Any = None, *, axis: int = -1,
                      eps: float = 1e-3) -> Any: ...

    def other_name(xp: Any, dy: Any, dmean: Any, dsigma: Any, *, cache: Any, needs: Any) -> Any: ...

    assert "eps" in "\n".join(signature_faults(each, (other_default, backward)))
    assert "dsigma" in "\n".join(signature_faults(each, (forward, other_name)))


@pytest.mark.parametrize(("folder", "file", "old", "new"), [
    ("cpu", "adam.py", "# --- Entry ", "# --- Ending "), ("cpu", "adam.py", "\nLayout", "\nPlaces"),
    ("cpu", "adam.py", "# --- Schedule ", "# --- Entry "), ("cuda", "adam.cu", "// --- Schedule ", "// --- Entry "),
    ("cuda", "lstm.cu", '#include "lstm.h"', "")])
def test_a_missing_section_is_found(folder: str, file: str, old: str, new: str) -> None:
    assert section_faults(file, changed(folder, file, old, new))


# --- bugs on the lines of equations ---------------------------------------------------------------------------------

@pytest.mark.parametrize(("folder", "name"), [pair for pair in OVERRIDDEN if pair[1] not in declared()])
def test_each_number_on_each_line_of_an_update_has_a_bug(folder: str, name: str) -> None:
    """Those of ops: tests/ops/test_complete.py."""
    have = {(bug.file, bug.line, bug.number) for bug in TABLES[folder].BUGS if bug in BUGS}
    assert not claimed(folder, SPECIFICATIONS[name]) - have


def test_shards_that_change_the_same_element_are_found() -> None:
    def own(shard: int, shards: int, x: Any, sums: Any) -> None:
        sums[shard] += x[shard::shards].sum()

    def shared(shard: int, shards: int, x: Any, sums: Any) -> None:
        sums[0] += x[shard::shards].sum()

    sums = np.zeros(2)
    interpreted.launch(own, np.arange(4.0), sums)
    assert sums.tolist() == [2, 4]
    with pytest.raises(interpreted.RaceError, match="two shards change the same element"):
        interpreted.launch(shared, np.arange(4.0), sums)


def test_bugs_are_different() -> None:
    assert len({(bug.folder, bug.file, bug.line, bug.number, bug.new) for bug in BUGS}) == len(BUGS)


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kernels for the emulator, compiled quickly and kept for this file alone."""
    if not shutil.which("g++"):
        pytest.skip("kernels are emulated with g++, which is not here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("TINYNET_EMULATOR_FLAGS", "-O0 -g0")
        yield


@pytest.mark.parametrize(("folder", "name"), OVERRIDDEN)
def test_an_override_without_a_bug_agrees(folder: str, name: str, request: pytest.FixtureRequest) -> None:
    if folder == "cuda":
        request.getfixturevalue("emulated")
    each = SPECIFICATIONS[name]
    with planted(folder, each.stem) as module:
        assert agrees(folder, module, each, TABLES[folder].CASES)


@pytest.mark.parametrize("bug", BUGS, ids=str)
def test_a_bug_on_the_line_of_an_equation_is_found(bug: Bug, request: pytest.FixtureRequest) -> None:
    if bug.folder == "cuda":
        request.getfixturevalue("emulated")
    assert bug.specifications
    assert not escapes(bug, TABLES[bug.folder].CASES)
