"""The distribution: its name, what a wheel and an sdist hold, and that it installs and uninstalls as users do it.

The tests that build and install need a package index, and two minutes: pytest -m long tests/project/test_packaging.py
"""

import configparser
import importlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

import tinynet as tn
from tests.support.project import project_files

ROOT = Path(__file__).resolve().parents[2]
AUTOMATIC = ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")  # setuptools adds them by itself

needs_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the list of files comes from git")


def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


# --- what is written down ---------------------------------------------------------------------------------------------

def missing_in_wheel(files: list[str], package_data: dict[str, str]) -> list[str]:
    """The files below tinynet/ that a wheel would lack: in a folder without __init__.py, or in no pattern."""
    lacking = []
    for path in files:
        folder, _, name = path.rpartition("/")
        package = folder.replace("/", ".")
        patterns = ["*.py", *re.split(r"[,\s]+", package_data.get(package, ""))]
        if package.partition(".")[0] == "tinynet" and (
                f"{folder}/__init__.py" not in files or not any(fnmatch(name, pattern) for pattern in patterns)):
            lacking.append(path)
    return lacking


def missing_in_sdist(files: list[str], manifest: str) -> list[str]:
    """The files outside of tinynet/ that an sdist would lack."""
    words = [line.split() for line in manifest.splitlines()]
    named = {name for command, *names in words if command == "include" for name in names} | {*AUTOMATIC}
    folders = {name for command, *names in words if command == "graft" for name in names} | {"tinynet"}
    return [path for path in files if path not in named and path.partition("/")[0] not in folders]


@needs_git
def test_wheel_and_sdist_lack_no_file() -> None:
    files = project_files()
    assert "tinynet/backend/cuda/lstm.cu" in files
    assert not missing_in_wheel(files, dict(setup_cfg()["options.package_data"]))
    assert not missing_in_sdist(files, (ROOT / "MANIFEST.in").read_text(encoding="utf-8"))


def test_a_missing_file_is_found() -> None:
    files = ["tinynet/__init__.py", "tinynet/a.cu", "tinynet/data/a.py", "docs/index.md", "NEWS"]
    assert missing_in_wheel(files, {"tinynet": "*.h"}) == ["tinynet/a.cu", "tinynet/data/a.py"]
    assert missing_in_wheel(files, {"tinynet": "*.h, *.cu"}) == ["tinynet/data/a.py"]
    assert missing_in_sdist(files, "graft tests\ninclude NEWS") == ["docs/index.md"]


def test_one_name_of_the_distribution() -> None:
    config = setup_cfg()
    name = config["metadata"]["name"]
    assert name != "tinynet"  # on the package index that is another project
    for extra, requirements in config["options.extras_require"].items():
        for own in re.findall(r"^\s*(tinynet[\w-]*)", requirements, re.M):
            assert own == name, f"the extra {extra} would install another project"
    looked_up = [match for folder in ("tinynet", "examples", "benchmarks") for path in (ROOT / folder).rglob("*.py")
                 for match in re.findall(r"(?:version|distribution|metadata)\(\"(tinynet[\w-]*)\"\)",
                                         path.read_text(encoding="utf-8"))]
    assert {*looked_up} <= {name}


def test_the_command_tinynet_exists() -> None:
    command, _, target = setup_cfg()["options.entry_points"]["console_scripts"].strip().partition(" = ")
    module, _, function = target.partition(":")
    assert command == "tinynet"
    assert callable(getattr(importlib.import_module(module), function))


# --- built and installed ----------------------------------------------------------------------------------------------

def copy(folder: Path) -> Path:
    """A clone of the project: its files in a new folder."""
    for path in project_files():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    return folder


class Environment:
    """A virtual environment of its own, which finds the requirements of tinynet where the running Python has them."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=True)
        self.folder, self.home = folder, folder / "home"
        self.home.mkdir()
        self.site = next(folder.glob("lib*/python*/site-packages"))
        found = {str(Path(str(importlib.import_module(name).__file__)).parents[1]) for name in ("numpy", "numba")}
        (self.site / "requirements.pth").write_text("\n".join(found), encoding="utf-8")

    def run(self, *command: object, cwd: Path, code: int = 0) -> str:
        """What a command of the environment prints."""
        unset = ("PYTHONPATH", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")
        environment = {name: value for name, value in os.environ.items() if name not in unset}
        environment["HOME"] = str(self.home)
        program, *rest = map(str, command)
        done = subprocess.run([self.folder / "bin" / program, *rest], cwd=cwd, env=environment, capture_output=True,
                              text=True, timeout=600, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def pip(self, *words: object, cwd: Path) -> str:
        return self.run("python", "-m", "pip", "--disable-pip-version-check", "--quiet", *words, cwd=cwd)

    def left(self) -> list[str]:
        """What of tinynet lies in site-packages."""
        return sorted(path.name for path in self.site.iterdir() if "tinynet" in path.name)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy(tmp_path_factory.mktemp("parent") / "tinynet")


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    made = Environment(tmp_path / "venv")
    yield made
    shutil.rmtree(made.folder)


STEP = """
import numpy as np, tinynet as tn
x = tn.Tensor(np.ones((4, 3), np.float32), requires_grad=True)
tn.nn.Dense(3, 2)(x).sum().backward()
print(tn.__file__)
"""


@needs_git
@pytest.mark.long
@pytest.mark.parametrize("way", ["folder", "editable", "wheel", "sdist"])
def test_it_installs_runs_anywhere_and_uninstalls(way: str, clone: Path, environment: Environment,
                                                  tmp_path: Path) -> None:
    if way == "wheel":
        environment.pip("wheel", "--no-deps", "--wheel-dir", tmp_path, "./tinynet", cwd=clone.parent)
        what: list[object] = [*tmp_path.glob("*.whl")]
    elif way == "sdist":
        what = [sdist(environment, clone, tmp_path)]
    else:
        what = ["--editable"] * (way == "editable") + ["./tinynet"]
    environment.pip("install", "--no-deps", *what, cwd=clone.parent)
    source = clone if way == "editable" else environment.site
    for folder in (clone.parent, tmp_path, Path("/")):  # beside the clone, and elsewhere
        printed = environment.run("python", "-c", STEP, cwd=folder)
        assert printed.strip() == str(source / "tinynet" / "__init__.py")
    environment.run("tinynet", "--help", cwd=tmp_path)
    environment.run("tinynet", "summary", "missing.safetensors", cwd=tmp_path, code=1)
    environment.pip("uninstall", "--yes", setup_cfg()["metadata"]["name"], cwd=tmp_path)
    assert not environment.left()
    environment.run("python", "-c", "import tinynet", cwd=tmp_path, code=1)


def sdist(environment: Environment, clone: Path, folder: Path) -> Path:
    """The archive of the sources, as setuptools makes it."""
    environment.pip("install", "setuptools>=68", cwd=clone)
    make = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    environment.run("python", "-c", make, folder, cwd=clone)
    return next(folder.glob("*.tar.gz"))


@needs_git
@pytest.mark.long
def test_the_sdist_holds_all_files_and_passes_its_tests(clone: Path, environment: Environment, tmp_path: Path) -> None:
    with tarfile.open(sdist(environment, clone, tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    name = f"{setup_cfg()['metadata']['name'].replace('-', '_')}-{tn.__version__}"
    found = {path.relative_to(tmp_path / name).as_posix() for path in (tmp_path / name).rglob("*") if path.is_file()}
    made = {path for path in found if ".egg-info/" in path} | {"PKG-INFO"}
    assert found - made == {*project_files()}
    tests = ["tests/project", "tests/saving/test_old_files.py", "tests/ops/test_golden.py",
             "tests/examples/test_results.py", "-k", "not examples_run"]
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
                          cwd=tmp_path / name, env={**os.environ, "PYTHONPATH": str(tmp_path / name)},
                          capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


@needs_git
@pytest.mark.long
def test_make_replaces_the_distribution_of_the_former_name(environment: Environment, tmp_path: Path) -> None:
    project = copy(tmp_path / "project")
    config = (project / "setup.cfg").read_text(encoding="utf-8")
    (project / "setup.cfg").write_text(config.replace("name = tinynet-lstm-cnn", "name = tinynet"), encoding="utf-8")
    environment.pip("install", "--no-deps", "--editable", ".", cwd=project)
    assert any("tinynet-0" in name for name in environment.left())
    (project / "setup.cfg").write_text(re.sub(r"install_requires =(\n    .*)+", "", config), encoding="utf-8")
    (project / ".venv").symlink_to(environment.folder)
    done = subprocess.run(["make", ".venv/none.installed"], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(environment.left()) == 2 and all("tinynet_lstm_cnn" in name for name in environment.left())
    assert not (project / "tinynet.egg-info").exists()
