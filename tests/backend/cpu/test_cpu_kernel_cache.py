"""Compiled kernels on disk: found again, made anew when a source changes, and never written beside the sources."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.support.kernels import HELPER, KERNEL, needs_fork, run_script
from tinynet.backend.cpu.runtime import kernel_cache
from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.kernel_cache import KernelCache, Notice, kernel_folder, reachable, stamp_of

SOURCES = Path(tn.__file__).parent

# In each child: a value, and how often the function's code was found on disk and compiled.
WORK = """
def work():
    import kernel
    value, stats = kernel.plus(0.0), kernel.plus.stats
    print(value, *(sum(counts.values()) for counts in (stats.cache_hits, stats.cache_misses)), flush=True)
    os._exit(0)  # an ordinary end takes longer than all of this
"""


@needs_fork
def test_a_second_process_takes_the_code_from_the_disk(tmp_path: Path) -> None:
    lines = run_script(WORK + f"""
child(work)
child(work)
Path({str(tmp_path / "helper.py")!r}).write_text({HELPER.format(2)!r})  # the kernel's own file is as it was
child(work)
child(work)
""", tmp_path)
    assert lines == ["1.0 0 1", "1.0 1 0", "2.0 0 1", "2.0 1 0"]


@needs_fork
@pytest.mark.parametrize(("most", "line"), [(1e9, "1.0 1 0"), (0, "1.0 0 1")])
def test_a_process_waits_for_another_one_that_compiles_the_same(most: float, line: str, tmp_path: Path) -> None:
    """But not forever. The first process holds the lock until the second one waits, or has done without it."""
    lines = run_script(WORK + f"""
from tinynet.backend.cpu.runtime import kernel_cache
kernel_cache._MOST_WAITED = {most}
compiled, waits, ended = os.pipe(), os.pipe(), os.pipe()
def first():
    save = kernel_cache.KernelCache.save_overload
    def save_later(*arguments):
        os.write(compiled[1], b".")
        os.read(waits[0], 1)
        save(*arguments)
    kernel_cache.KernelCache.save_overload = save_later
    import kernel
    kernel.plus(0.0)
    os.write(ended[1], b".")
    os._exit(0)
def second():
    sleep = time.sleep
    def sleep_now(seconds):
        os.write(waits[1], b".")
        sleep(seconds)
    time.sleep = sleep_now
    work()
if not os.fork():
    first()
os.read(compiled[0], 1)
child(second)
os.write(waits[1], b".")
os.read(ended[0], 1)
""", tmp_path)
    assert lines == [line]
    assert not list(tmp_path.rglob(".kernel*"))


@needs_fork
def test_damaged_files_are_replaced(tmp_path: Path) -> None:
    lines = run_script(WORK + f"""
child(work)
for damage in (lambda content: content[:50], lambda content: content[:-1] + b"?"):
    [file] = Path({str(tmp_path / "cache")!r}).rglob("kernel.plus-*")
    file.write_bytes(damage(file.read_bytes()))
    child(work)
    child(work)
""", tmp_path)
    assert lines == ["1.0 0 1"] + ["1.0 0 1", "1.0 1 0"] * 2


@needs_fork
@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no owners of files here")
def test_code_that_another_user_may_have_written_is_not_run(tmp_path: Path) -> None:
    lines = run_script(WORK + """
def elsewhere():
    os.geteuid = lambda: 123_456
    work()
child(work)
child(elsewhere)
child(work)
""", tmp_path)
    assert lines == ["1.0 0 1", "1.0 0 1", "1.0 1 0"]


@needs_fork
def test_code_is_loaded_from_a_folder_that_can_only_be_read(tmp_path: Path) -> None:
    lines = run_script(WORK + """
def refuse(*arguments):
    raise PermissionError("read-only")
def read_only():
    os.utime = refuse
    work()
child(work)
child(read_only)
""", tmp_path)
    assert lines == ["1.0 0 1", "1.0 1 0"]


@needs_fork
def test_files_that_are_not_used_for_90_days_are_removed(tmp_path: Path) -> None:
    lines = run_script(WORK + f"""
folder = Path({str(tmp_path / "cache" / "tinynet")!r})
def age(file, days):
    os.utime(file, (time.time() - days * 86400,) * 2)
child(work)
[used] = folder.glob("kernel.plus-*")
(folder / "recent.kernel").write_bytes(b"")
(folder / "old.kernel").write_bytes(b"")
age(used, 100)
age(folder / "recent.kernel", 80)
age(folder / "old.kernel", 100)
for end in ("lock", "part"):  # of a process that was killed
    (folder / f".old.kernel.{{end}}").write_bytes(b"")
    age(folder / f".old.kernel.{{end}}", 100)
child(work)
Path({str(tmp_path / "helper.py")!r}).write_text({HELPER.format(2)!r})  # another file is written
from tinynet.backend.cpu.runtime.kernel_cache import remove_unused
remove_unused.cache_clear()  # this process has written some, and children are forked from it
child(work)
print(used.exists(), *(file.stem for file in folder.glob("*.kernel") if file.stem in ("recent", "old")),
      *folder.glob(".*"))
""", tmp_path)
    assert lines == ["1.0 0 1", "1.0 1 0", "2.0 0 1", "True recent"]


@needs_fork
def test_where_no_folder_can_be_made_kernels_are_compiled_into_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    lines = run_script(WORK + "child(work)\nchild(work)\n", tmp_path, NUMBA_CACHE_DIR="",
                       XDG_CACHE_HOME=str(tmp_path / "file"))
    assert lines == ["1.0 0 1"] * 2
    assert not list(tmp_path.rglob("*.kernel"))


@pytest.mark.parametrize(("found", "expected"), [
    (["code"], []), ([None, "code"], ["start", "end"]), ([None, None], ["start", "miss"])])
def test_code_is_looked_for_again_under_the_lock(found: list[Any], expected: list[str], tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may have written it meanwhile; else this one keeps the lock until it has compiled it."""
    said, looks = list[str](), iter(found)
    monkeypatch.setattr(kernel_cache.numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(kernel_cache, "notice", SimpleNamespace(on_start=lambda: said.append("start"),
                                                                on_end=lambda: said.append("end")))
    cache = KernelCache(inner.py_func, lambda: said.append("miss"))
    monkeypatch.setattr(cache, "_loaded", lambda *given: next(looks))
    context = SimpleNamespace(codegen=lambda: SimpleNamespace(magic_tuple=lambda: ()))
    assert cache.load_overload("signature", context) == found[-1]
    assert said == expected and not list(looks)
    assert len(list(tmp_path.rglob("*.lock"))) == ("miss" in said)
    cache._end()
    assert not list(tmp_path.rglob("*.lock")) and said[-1] == "end"


def test_a_second_try_does_not_wait_for_the_lock_of_a_failed_one(tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an interrupt, or an error of the compiler."""
    monkeypatch.setattr(kernel_cache.numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(kernel_cache.time, "sleep", lambda seconds: pytest.fail("it waits"))
    cache = KernelCache(inner.py_func)
    context = SimpleNamespace(codegen=lambda: SimpleNamespace(magic_tuple=lambda: ()))
    for _ in range(2):
        assert cache.load_overload("signature", context) is None
        assert len(list(tmp_path.rglob("*.lock"))) == 1
    cache._end()
    assert not list(tmp_path.rglob("*.lock"))


@pytest.mark.parametrize(("lifted", "has_addresses"), [((), True), (("a loop",), False)])
def test_code_with_addresses_of_this_process_is_not_kept(lifted: tuple[str, ...], has_addresses: bool, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as that of a function of ctypes; nor code of which Numba has compiled loops alone."""
    monkeypatch.setattr(kernel_cache.numba.config, "CACHE_DIR", str(tmp_path))
    library = SimpleNamespace(has_dynamic_globals=has_addresses)
    KernelCache(inner.py_func).save_overload("signature", SimpleNamespace(lifted=lifted, library=library))
    assert not list(tmp_path.rglob("*.kernel"))


@pytest.mark.parametrize("fails", [False, True])
def test_code_that_cannot_be_written_stays_in_memory_and_the_lock_is_given_back(
        fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        if fails:
            raise OSError("no space left")
        path.write_bytes(content)

    ended = list[int]()
    monkeypatch.setattr(kernel_cache.numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(kernel_cache, "write_whole", full)
    monkeypatch.setattr(kernel_cache, "_outside", lambda compiled: [])
    monkeypatch.setattr(kernel_cache, "notice", SimpleNamespace(on_start=lambda: None, on_end=lambda: ended.append(1)))
    library, codegen = SimpleNamespace(has_dynamic_globals=False), SimpleNamespace(magic_tuple=lambda: ())
    cache = KernelCache(inner.py_func)
    assert cache.load_overload("signature", SimpleNamespace(codegen=lambda: codegen)) is None
    [lock] = tmp_path.rglob("*.lock")
    assert lock.stat().st_mode & 0o777 == 0o600
    cache.save_overload("signature", SimpleNamespace(lifted=(), library=library, codegen=codegen, _reduce=lambda: ()))
    assert ended == [1] and not list(tmp_path.rglob("*.lock")) and cache._descriptor is None
    assert len(list(tmp_path.rglob("*.kernel"))) == (not fails)


FRESH = """
import sys
from tinynet.backend.cpu.runtime import kernel_cache
kernel_cache._outside = lambda compiled, outside=kernel_cache._outside: outside(compiled) + sys.argv[1:]
import kernel
print(kernel.plus(0.0), "numba.np.random.generator_core" in sys.modules)
"""


@pytest.mark.parametrize(("named", "prepares"), [([], False), (["tinynet_unknown"], True)])
def test_without_compiling_most_of_numba_is_not_prepared(named: list[str], prepares: bool, tmp_path: Path) -> None:
    """Unless the code refers to a name that is not known without it."""
    (tmp_path / "kernel.py").write_text(KERNEL)
    (tmp_path / "helper.py").write_text(HELPER.format(1))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCES.parent), str(tmp_path)]),
                   "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    lines = [subprocess.run([sys.executable, "-c", FRESH, *named], env=environment, text=True, check=True,
                            stdout=subprocess.PIPE).stdout.strip() for _ in range(2)]
    assert lines == ["1.0 True", f"1.0 {prepares}"]


TRAIN = """
import numpy as np, tinynet as tn
x = tn.Tensor(np.linspace(-1, 1, 24, dtype="float32"), requires_grad=True)
(tn.ops.relu(x) ** 2).sum().backward()
assert "tinynet.backend.cpu.activation" in __import__("sys").modules
print(float(np.linalg.norm(x.grad)))
"""


def test_an_installation_that_cannot_be_written_and_a_user_without_a_home(tmp_path: Path) -> None:
    """Nothing appears in the folder of the sources, in the current one or in the (missing) home; results are equal."""
    shutil.copytree(SOURCES, tmp_path / "site" / "tinynet", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    results = []
    for home in ("/dev/null", str(tmp_path / "home")):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PYTHONDONTWRITEBYTECODE": "1", "HOME": home}
        for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
            environment.pop(name, None)
        done = subprocess.run([sys.executable, "-c", TRAIN], cwd=tmp_path / "empty", env=environment, text=True,
                              capture_output=True)
        results.append(done.stdout)
        assert done.returncode == 0, done.stderr
    assert results[0] == results[1]
    made = set(tmp_path.rglob("*")) - set(before)
    kernels = tmp_path / "home" / ".cache" / "tinynet" / "kernels"
    written = [path for path in made if path.is_file() and path.suffix not in (".lock", ".part")]  # of the assistant
    assert len(list(kernels.glob("*.kernel"))) == len(written) >= 3
    assert all(path.stat().st_mode & 0o777 == 0o700 for path in made if path.is_dir())


@pytest.mark.parametrize(("chosen", "expected"), [("a", "a/tinynet"), ("", "cache/tinynet/kernels")])
def test_the_folder(chosen: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(kernel_cache.numba.config, "CACHE_DIR", str(tmp_path / chosen) if chosen else "")
    assert kernel_folder() == tmp_path / expected
    assert kernel_folder().stat().st_mode & 0o777 == 0o700
    if chosen:  # it stays where it is when the program goes elsewhere
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(kernel_cache.numba.config, "CACHE_DIR", chosen)
        assert kernel_folder() == tmp_path / expected


# --- sources --------------------------------------------------------------------------------------------------------

COPIED = """
import sys
from pathlib import Path
import importlib
from tinynet.backend.cpu.runtime import kernel_cache
before = {}
kernels = dict(lstm="_forward", conv="_weights", dense="_rows", pool="_max", loss="_forward")
functions = {stem: getattr(importlib.import_module(f"tinynet.backend.cpu.{stem}"), name).py_func
             for stem, name in kernels.items()}
def stamps():
    return {stem: kernel_cache.stamp_of(function) for stem, function in functions.items()}
before = stamps()
for file in sorted(Path(sys.argv[1], "tinynet", "backend", "cpu").rglob("*.py")):
    file.write_text(file.read_text() + "# changed")
    kernel_cache.note_file(str(file))  # as it is in the next process, which imports the file as it is now
    after = stamps()
    print(file.stem, *(stem for stem in kernels if after[stem] != before[stem]))
    before = after
"""


def test_a_change_in_any_file_of_the_runtime_makes_all_kernels_anew(tmp_path: Path) -> None:
    """And one in an op's file only the kernels of that op."""
    shutil.copytree(SOURCES, tmp_path / "tinynet", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run([sys.executable, "-c", COPIED, str(tmp_path)], cwd=tmp_path, text=True, capture_output=True,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    changed = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    stems = ["lstm", "conv", "dense", "pool", "loss"]
    runtime = {path.stem for path in (SOURCES / "backend" / "cpu" / "runtime").glob("*.py")} - {"__init__"}
    assert len(runtime) > 9
    assert {stem for stem, kernels in changed.items() if kernels == stems} >= runtime
    assert all(changed[stem] == [stem] for stem in stems)


LIMIT = 3


@njit
def inner(x: Any) -> Any:
    return x + LIMIT


@njit
def through_a_module(x: Any) -> Any:
    return here.inner(x)


@njit
def outer(x: Any) -> Any:
    def local(y: Any) -> Any:
        return through_a_module(y)
    return local(x)


here: Any = sys.modules[__name__]


def test_sources_are_found_through_functions_and_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    found = list(reachable(outer.py_func))
    assert {through_a_module.py_func, inner.py_func} <= set(found) and 3 in found
    before = stamp_of(outer.py_func)
    monkeypatch.setattr(here, "LIMIT", 4)
    assert before is not None and stamp_of(outer.py_func) != before
    before = stamp_of(outer.py_func)
    for module in ("numpy", "numba", "llvmlite"):
        with monkeypatch.context() as patch:
            patch.setattr(f"{module}.__version__", "0.0")
            assert stamp_of(outer.py_func) != before
    assert stamp_of(outer.py_func) == before


def test_a_function_that_is_in_no_file_is_not_kept() -> None:
    space: dict[str, Any] = {}
    exec("def typed(x):\n    return x", space)
    assert stamp_of(space["typed"]) is None


def adding(number: Any) -> Any:
    def add(x: Any) -> Any:
        return x + number
    return add


def test_each_function_signature_and_processor_has_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                     ) -> None:
    """Also two functions of one name, on two lines or with other numbers around them."""
    def path(function: Any, signature: Any = "int64", processor: Any = ("x86", "avx")) -> Path:
        return KernelCache(function)._path(signature, SimpleNamespace(magic_tuple=lambda: processor))

    monkeypatch.setattr(kernel_cache.numba.config, "CACHE_DIR", str(tmp_path))
    same_name = [adding(1), adding(2), adding("1"), inner.py_func, outer.py_func]
    for text in ("x + 1", "x + 1", "x - 1", "x + 1\n"):
        space: dict[str, Any] = {"__name__": __name__}
        line = "\n" * text.count("\n") + f"def inner(x):\n    return {text}"
        exec(compile(line, inner.py_func.__code__.co_filename, "exec"), space)
        same_name.append(space["inner"])
    paths = [*map(path, same_name), path(inner.py_func, "float64"), path(inner.py_func, processor=("x86", "sse"))]
    assert len({*paths}) == len(paths) - 1 and paths[5] == paths[6]
    assert path(adding(1)) == paths[0] and all(one.parent == tmp_path / "tinynet" for one in paths)
    assert paths[0].name.startswith(f"{__name__}.adding.locals.add-") and paths[0].suffix == ".kernel"
    monkeypatch.setattr(kernel_cache.sys.implementation, "cache_tag", "other-1")
    assert path(inner.py_func) not in paths


def test_what_stands_for_more_than_numbers_is_not_kept() -> None:
    assert all(KernelCache(adding(number))._stamp for number in (1, True, "a"))
    assert not any(KernelCache(adding(other))._stamp for other in (None, [1], inner, 1.5))


@pytest.mark.parametrize(("one", "other"), [(3, 4), (3.0, 3.5), (True, False), (np.float32(1), np.float32(2)),
                                            (np.uint32(1), np.int32(1)), (1, 1.0)])
def test_a_number_of_any_type_that_changes_changes_the_sum_of_the_sources(one: Any, other: Any,
                                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    stamps = []
    for value in (one, other, one):
        monkeypatch.setattr(here, "LIMIT", value)
        stamps.append(stamp_of(outer.py_func))
    assert stamps[0] == stamps[2] != stamps[1] and None not in stamps


# --- the notice -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("seconds", "lines"), [(0.3, 0), (0.7, 1), (30.0, 1)])
@pytest.mark.parametrize("writable", [True, False])
def test_long_compiling_is_announced_once(seconds: float, lines: int, writable: bool, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(kernel_cache.time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(kernel_cache.numba.config, "CACHE_DIR", str(tmp_path / "folder"))
    if not writable:
        (tmp_path / "folder").write_text("")
    notice = Notice()
    for _ in range(4):
        notice.on_start()
        clock.now += seconds
        notice.on_end()
        clock.now += 100  # in which nothing is compiled
    said = capsys.readouterr().err
    assert said.count("tinynet: compiling kernels for this processor, ") == lines
    assert lines == 0 or (f"kept in {tmp_path}" if writable else "NUMBA_CACHE_DIR may name another folder") in said
