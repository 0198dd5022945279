"""Rules for the project as a whole: imports, the size of the core, contents of files, and true documents.

Each rule is a function that returns the faults that it finds, so that planted faults can be shown to be found.
"""

import ast
import configparser
import doctest
import graphlib
import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

import tinynet as tn
from tests.support.complete import declared
from tests.support.project import project_files
from tinynet.op import Op, Update

ROOT = Path(__file__).resolve().parents[2]

# The layers: each module or package of tinynet may import itself and the rows above its own.
LAYERS = [
    ["errors", "types", "shown"],
    ["output"],
    ["elsewhere"],
    ["plain", "settings", "options", "file_lock"],
    ["contract", "random", "atomic", "scaling", "familiar", "tracing", "cache", "processors", "distributed"],
    ["window", "parts"],
    ["backend"],
    ["tape"],
    ["graph"],
    ["tensor"],
    ["op"],
    ["recording"],
    ["ops", "gradcheck"],
    ["init"],
    ["nn"],
    ["optim", "data", "models", "ensemble", "calibration"],
    ["saving", "metrics", "about", "intervals"],
    ["training"],
    ["classifier", "drawing", "explain", "sklearn"],
    ["novelty"],
    ["export", "from_folder", "learn"],
    ["commands"],
    ["__main__"],
]
# The modules that may import the backend. Its folders cpu/ and cuda/ are for the backend itself alone.
BACKEND_USERS = (r"(tape|tensor|op|nn/(module|parameter)|optim/\w+|data/loader|about|explain|"
                 r"recording|learn/lab|training/(callbacks|checkpoint|fingerprint|recorded|step|evaluate|ranks))\.py")

# The packages that may be imported besides the standard library, and where: patterns of paths in tinynet/.
PACKAGES = {
    "numpy": r"(?!ops/)",  # an op computes with any module of array functions, its argument xp
    "numba": r"backend/cpu/",
    "llvmlite": r"backend/cpu/",
    "cupy": r"backend/(__init__\.py|cuda/)|distributed\.py",  # there for NCCL
    "cupyx": r"backend/(__init__\.py|cuda/)",
    "safetensors": r"",
    "tqdm": r"",
    "matplotlib": r"",
    "sklearn": r"",
    "PIL": r"",
    "onnx": r"export/",
    "torch": r"saving/exchange/",
    "tensorboardX": r"training/callbacks\.py",
    "mpi4py": r"distributed\.py",
}
# All but NumPy are imported inside functions, to keep `import tinynet` fast. Kernels are imported on first use.
HEAVY = [name for name in PACKAGES if name != "numpy"]
MAY_BE_HEAVY = r"backend/cpu/(?!(runtime/)?__init__)|sklearn\.py"

NEVER = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
DATA_FILES = (".gz", ".zip", ".jpg", ".jpeg", ".pkl", ".pickle", ".pt", ".pth", ".h5", "-ubyte")
MEBIBYTE = 2**20


def paths(folder: str) -> list[str]:
    """The Python files in a folder of the project, relative to it."""
    return sorted(path.relative_to(ROOT / folder).as_posix() for path in (ROOT / folder).rglob("*.py"))


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


# --- layers ---------------------------------------------------------------------------------------------------------

def imports(path: str, source: str, for_types: bool = False) -> Iterator[tuple[str, bool]]:
    """What a file of tinynet imports when it runs, as full dotted names, and whether inside a function.

    With `for_types`, also what it imports for a type checker alone.
    """
    package = ["tinynet", *path.split("/")[:-1]]

    def visit(node: ast.AST, inside: bool) -> Iterator[tuple[str, bool]]:
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=children) if not for_types:
                for child in children:
                    yield from visit(child, inside)
                return
            case ast.Import(names=names):
                yield from ((alias.name, inside) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = [*package[: len(package) - level + 1] * bool(level), *([module] if module else [])]
                yield from ((".".join([*base, alias.name]), inside) for alias in names)
            case ast.Call(func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                          args=[ast.Constant(value=str(name)), *_]):
                yield name, inside
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    yield from visit(ast.parse(source), False)


def layer(room: str) -> int:
    """The row of a module or package of tinynet; -1 for other names, such as one imported from tinynet itself."""
    return next((i for i, rooms in enumerate(LAYERS) if room in rooms), -1)


def import_faults(path: str, source: str) -> list[str]:
    """The imports of one file (path relative to tinynet/) that the tables above do not allow."""
    room, faults = path.partition("/")[0].removesuffix(".py"), []
    if path != "__init__.py" and layer(room) < 0:
        faults.append(f"{path}: {room} stands in no row of LAYERS")
    for name, inside in imports(path, source):
        top, _, rest = name.partition(".")
        if top == "tinynet":
            faults += [f"{path} imports {name}: {why}" for why in inner_faults(path, room, rest)]
        elif top in PACKAGES and not re.match(PACKAGES[top], path):
            faults.append(f"{path} imports {name}: {top} belongs in {PACKAGES[top]}")
        elif top not in PACKAGES and top not in sys.stdlib_module_names:
            faults.append(f"{path} imports {name}: {top} is no dependency of tinynet")
        if top in (*HEAVY, "urllib") and not inside and not re.match(MAY_BE_HEAVY, path):
            faults.append(f"{path} imports {name} at its top: import it inside of the function that needs it")
    return faults


def inner_faults(path: str, room: str, imported: str) -> Iterator[str]:
    other, _, rest = imported.partition(".")
    if path == "__init__.py" or other == room:
        return
    if not 0 <= layer(other) < layer(room):
        yield f"{room} may import only what stands above it"
    if other == "backend" and not re.match(BACKEND_USERS, path):
        yield f"the backend is for {BACKEND_USERS}"
    if other == "backend" and rest.partition(".")[0] in ("cpu", "cuda"):
        yield "what is inside the backend is its own"


def test_modules_import_only_what_stands_above_them() -> None:
    assert not [fault for path in paths("tinynet") for fault in import_faults(path, read(f"tinynet/{path}"))]


@pytest.mark.parametrize(("path", "source", "fault"), [
    ("tape.py", "from tinynet.op import op", "tape may import only what stands above it"),
    ("tape.py", "from tinynet import ops", "tape may import only what stands above it"),
    ("ops/lstm.py", "import tinynet.nn.lstm", "ops may import only what stands above it"),
    ("ops/lstm.py", "from ..nn import LSTM", "ops may import only what stands above it"),
    ("ops/lstm.py", "def f():\n from tinynet import backend", "the backend is for"),
    ("ops/lstm.py", "import numpy as np", "numpy belongs in"),
    ("ops/lstm.py", "def f():\n from numpy import tanh", "numpy belongs in"),
    ("nn/lstm.py", "from tinynet import Tensor", "nn may import only what stands above it"),
    ("nn/lstm.py", "from tinynet.backend import namespace", "the backend is for"),
    ("op.py", "from tinynet.backend.cpu import lstm", "what is inside the backend is its own"),
    ("op.py", "import importlib\nimportlib.import_module('tinynet.backend.cpu')", "inside the backend"),
    ("gradcheck.py", "from tinynet.ops import lstm", "gradcheck may import only what stands above it"),
    ("backend/cpu/lstm.py", "from tinynet.ops import lstm", "backend may import only what stands above it"),
    ("backend/cpu/lstm.py", "def f():\n import cupy", "cupy belongs in"),
    ("backend/cpu/__init__.py", "import numba", "at its top"),
    ("backend/__init__.py", "try:\n import cupy\nexcept ImportError: pass", "at its top"),
    ("backend/__init__.py", "def f():\n import numba", "numba belongs in"),
    ("nn/lstm.py", "class A:\n from tqdm import tqdm", "at its top"),
    ("data/digits/download.py", "from urllib.request import urlopen", "at its top"),
    ("data/digits/small.py", "import pandas", "pandas is no dependency"),
    ("misc.py", "", "misc stands in no row"),
])
def test_a_forbidden_import_is_found(path: str, source: str, fault: str) -> None:
    assert fault in "\n".join(import_faults(path, source))


def test_an_allowed_import_is_no_fault() -> None:
    assert not import_faults("nn/lstm.py", "from tinynet.errors import ShapeError\nfrom .dense import Dense")
    assert not import_faults("backend/cpu/lstm.py", "import numpy as np\nfrom numba import njit\nfrom . import gemm")
    assert not import_faults("saving/models.py", "def f():\n from safetensors.numpy import load\n import tinynet.nn")
    assert not import_faults("training/step.py", "from tinynet import backend\nfrom tinynet.data.loader import Loader")


# --- no import cycles ----------------------------------------------------------------------------------------------

# The one file that imports tinynet's own modules by name: overrides of ops, and the runtime of a device.
IMPORTS_BY_NAME = "backend/devices.py"


def modules_imported(sources: dict[str, str]) -> dict[str, set[str]]:
    """The import graph: for each module, those of tinynet that it imports, inside functions and for types included."""
    names = {path: ".".join(["tinynet", *path.removesuffix(".py").removesuffix("__init__").strip("/").split("/")])
             .rstrip(".") for path in sources}
    known = {*names.values()}

    def module(name: str) -> str:
        return name if name in known or not name else module(name.rpartition(".")[0])

    return {names[path]: {module(name) for name, _ in imports(path, source, for_types=True)} - {"", names[path]}
            for path, source in sources.items()}


def cycle(sources: dict[str, str]) -> list[str]:
    """Modules that import each other in a cycle, with the first again at the end; empty if there is no cycle."""
    try:
        graphlib.TopologicalSorter(modules_imported(sources)).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def imports_by_name(path: str, source: str) -> list[str]:
    """Imports of modules whose names are computed, which the graph cannot show."""
    return [f"{path}:{node.lineno} imports by name: only {IMPORTS_BY_NAME} may" for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Name | ast.Attribute | ast.alias) and path != IMPORTS_BY_NAME
            and re.match(r"import_module$|__import__$|importlib\b", getattr(node, "id", "") or getattr(node, "attr", "")
                         or getattr(node, "name", ""))]


def test_there_are_no_import_cycles() -> None:
    sources = {path: read(f"tinynet/{path}") for path in paths("tinynet")}
    assert len(modules_imported(sources)["tinynet"]) > 10
    assert not cycle(sources)


def test_only_the_devices_import_by_name() -> None:
    sources = {path: read(f"tinynet/{path}") for path in paths("tinynet")}
    assert not [fault for path, source in sources.items() for fault in imports_by_name(path, source)]


@pytest.mark.parametrize("sources", [
    {"a.py": "from tinynet import b", "b.py": "from tinynet.a import f"},
    {"a.py": "import tinynet.b.c", "b/__init__.py": "", "b/c.py": "def f():\n from ..a import g"},
    {"a.py": "from tinynet.b import C", "b/__init__.py": "from .c import C", "b/c.py": "if x:\n from tinynet import a"},
    {"b/__init__.py": "from tinynet.b import c", "b/c.py": "class C:\n def f(self):\n  from tinynet.b import name"},
    {"__init__.py": "from tinynet.a import f", "a.py": "def f():\n import tinynet as tn"},
    {"a.py": "if TYPE_CHECKING:\n from tinynet.b import C", "b.py": "import tinynet.a"},
])
def test_an_import_cycle_is_found(sources: dict[str, str]) -> None:
    found = cycle(sources)
    assert len(found) > 2
    assert found[0] == found[-1]


def test_modules_of_a_package_that_import_each_other_make_no_cycle() -> None:
    assert not cycle({"a.py": "from tinynet.b import c, d", "b/__init__.py": "", "b/c.py": "",
                       "b/d.py": "from . import c"})


@pytest.mark.parametrize("source", [
    "import importlib", "from importlib import import_module", "def f(name):\n return __import__(name)",
    "import importlib.util as util"])
def test_an_import_by_name_is_found(source: str) -> None:
    assert imports_by_name("nn/module.py", source)
    assert not imports_by_name(IMPORTS_BY_NAME, source)


# --- the core -------------------------------------------------------------------------------------------------------

# Lines of the files that a reader of the core reads, derivations included. Raise the budget only with a reason here.
# 5,160: short reprs of optimizers and schedules, and errors that answer a missing name by ours.
# 5,150: steps counted for each parameter, limits of options, masks by `where`, and ignored labels, with their texts.
# 130 more: changes between forward and backward, copies of optimizers, and layers in containers and cycles.
# 700 more for sequences of different lengths, branches and losses: masks, GRU, LayerNorm, groups of channels, Residual,
# Parallel, binary cross-entropy, Huber, and small functions.
# 120 more for groups of channels: they are no op of their own, and multiply a size of a contract by an option.
# It covers OPS ops. Each further op brings PER_OP lines, so that adding one needs no change here.
# 15 more for the dtype of a sum of booleans or integers on shapes alone, and comparisons that an export follows.
# 95 more for parts of a Sequential, and errors where a value would have no effect or a gradient would be lost.
# 20 more for lists with masks in all layers, batches without a sample, and options of concatenate that do not exist.
# 15 more for the names and kinds of the sizes of windows, of one axis or two.
# 15 more for errors that name the optional argument of a wrong shape, for models of integers, and for gradients that
# are set.
# 10 more for masked batches that do not enter the running averages.
# 20 more for a tensor that is no list of parameters, values that are looked at by one rule, and gradient checks inside
# `no_grad`.
# 20 more for numbers beside an array, which are remembered as tensors.
BUDGET, OPS, PER_OP = 6320, 45, 80
CORE = (r"(contract|tape|tensor|op|tracing|random|window|init|gradcheck)\.py$|"
        r"(ops|nn|optim)/(?!__init__|summary|profile)")


def core_lines(sources: dict[str, str]) -> int:
    """The number of lines of the core, as `wc -l` counts them, given its files by path relative to tinynet/."""
    return sum(source.count("\n") for path, source in sources.items() if re.match(CORE, path))


def test_the_core_keeps_its_budget() -> None:
    lines = core_lines({path: read(f"tinynet/{path}") for path in paths("tinynet")})
    budget = BUDGET + PER_OP * max(0, len(declared()) - OPS)
    assert 4000 < lines <= budget, (f"the core has {lines} lines, and its budget is {budget}; shorten it, or raise "
                                    f"BUDGET in tests/project/test_project.py with a reason")


def test_lines_are_counted_where_they_belong() -> None:
    for path in ("op.py", "ops/lstm.py", "nn/module.py", "optim/adam.py"):
        assert core_lines({path: "a\nb\n"}) == 2
    for path in ("ops/__init__.py", "nn/summary.py", "nn/profile.py", "recording.py", "data/gather.py", "op.pyi"):
        assert core_lines({path: "a\nb\n"}) == 0


LONGEST = 350  # lines of a module
LONGER = {"ops/elementwise.py"}  # fourteen ops, each with its derivation


def long_modules(sources: dict[str, str]) -> list[str]:
    """The modules that are too long, given all by path relative to tinynet/."""
    return [path for path, source in sources.items() if source.count("\n") > LONGEST and path not in LONGER]


def test_modules_are_short() -> None:
    sources = {path: read(f"tinynet/{path}") for path in paths("tinynet")}
    assert not long_modules(sources)
    assert all(sources[path].count("\n") > LONGEST for path in LONGER)
    assert long_modules({"a.py": "\n" * LONGEST, "b/c.py": "\n" * (LONGEST + 1)}) == ["b/c.py"]


# --- what no code may do --------------------------------------------------------------------------------------------

# An answer to an exercise, in a process of its own; a backward pass that the user edits in the lab.
RUNS_FILES_OF_THE_USER = {"tinynet/learn/trial.py", "tinynet/learn/trusted.py"}


def habit_faults(path: str, source: str) -> list[str]:
    """Uses of pickle, eval and the like, random numbers that do not come from tinynet.random, and texts in the
    encoding of the system, which is not UTF-8 everywhere. Also a command that drops its exit code."""
    faults = []
    has_code = any(isinstance(node, ast.FunctionDef) and node.name == "main" and node.returns is not None
                   and ast.unparse(node.returns) == "int" for node in ast.parse(source).body)
    for name, _ in imports(path, source):
        if name.split(".")[0] in NEVER:
            faults.append(f"{path} imports {name}")
        if name == "random" or name.startswith(("random.", "numpy.random")):
            faults.append(f"{path} imports {name}: draw from tinynet.random")
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id="eval" | "exec" as name)) if path not in RUNS_FILES_OF_THE_USER:
                faults.append(f"{path}:{node.lineno} calls {name}")
            case ast.keyword(arg="allow_pickle", value=value) if ast.unparse(value) != "False":
                faults.append(f"{path}:{value.lineno} allows pickle")
            case ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="random") if path != "tinynet/gradcheck.py":
                faults.append(f"{path}:{node.lineno} uses np.random: draw from tinynet.random")
            case ast.Expr(value=ast.Call(func=ast.Name(id="main"))) if has_code:
                faults.append(f"{path}:{node.lineno} drops the exit code of main: sys.exit(main())")
            case ast.Call(func=ast.Attribute(attr="read_text" | "write_text" as name), args=args, keywords=keywords):
                if not ({"utf-8", "ascii"} & {one.value for one in args if isinstance(one, ast.Constant)}
                        or "encoding" in {one.arg for one in keywords}):
                    faults.append(f"{path}:{node.lineno} calls {name} without an encoding")
    return faults


def test_no_pickle_no_eval_and_one_source_of_randomness() -> None:
    files = [f"{folder}/{path}" for folder in ("tinynet", "examples", "benchmarks") for path in paths(folder)]
    assert not [fault for path in files for fault in habit_faults(path, read(path))]


@pytest.mark.parametrize("source", [
    "import pickle", "def f():\n from marshal import loads", "import shelve as s", "eval('1')", "x = exec(code)",
    "np.load(path, allow_pickle=True)", "np.load(path, allow_pickle=flag)", "np.random.seed(0)", "import random",
    "from numpy.random import default_rng", "text = (folder / name).read_text()", "path.write_text(text)",
    "def main() -> int:\n    return 2\nif __name__ == '__main__':\n    main()",
])
def test_a_bad_habit_is_found(source: str) -> None:
    assert habit_faults("tinynet/saving/models.py", source)


def test_methods_of_these_names_are_allowed() -> None:
    assert not habit_faults("tinynet/saving/models.py",
                            "model.eval()\nnp.load(path, allow_pickle=False)\ntn.random.seed(0)\n"
                            "path.read_text('utf-8')\npath.write_text(text, encoding='utf-8')\n"
                            "def main() -> int:\n    return 0\nsys.exit(main())")


# --- import tinynet -------------------------------------------------------------------------------------------------

def run_fresh(code: str, **environment: str) -> str:
    """The output of a fresh Python process that runs `code`."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **environment},
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def import_cost(statement: str, bytecode: Path) -> tuple[float, list[str]]:
    """The processor time of an import in a fresh process, in units of NumPy's import, and the heavy packages loaded."""
    code = "import sys; from time import process_time as now\nstart = now(); import numpy; middle = now()\n"
    code += f"{statement}\nprint((now() - start) / (middle - start), *sys.modules)"
    printed = run_fresh(code, PYTHONPYCACHEPREFIX=str(bytecode), PYTHONDONTWRITEBYTECODE="")
    times, *loaded = printed.split()
    return float(times), [name for name in HEAVY if name in loaded]


def test_import_is_quick_and_loads_nothing_heavy(tmp_path: Path) -> None:
    best = 99.0
    for _ in range(6):  # the first one compiles
        times, loaded = import_cost("import tinynet", tmp_path)
        assert not loaded
        best = min(best, times)
        if best < 4.5:
            return
    pytest.fail(f"import tinynet takes {best:.1f} times as long as import numpy")


def test_a_slow_import_is_found(tmp_path: Path) -> None:
    times, loaded = import_cost("import tinynet, tqdm\nwhile now() - middle < 5 * (middle - start): pass\n", tmp_path)
    assert times > 4.5
    assert loaded == ["tqdm"]


LSTM_STEP = """
import numpy as np, tinynet as tn
lstm = tn.nn.LSTM(3, 5)
x = tn.Tensor(np.linspace(-1, 1, 2 * 4 * 3, dtype="float32").reshape(2, 4, 3), requires_grad=True)
with tn.using({which!r}):
    (lstm(x) ** 2).sum().backward()
for parameter in lstm.parameters(): print(np.linalg.norm(parameter.grad))
print(np.linalg.norm(x.grad))
"""


def test_everything_runs_without_numba() -> None:
    without = "import sys; sys.modules['numba'] = sys.modules['llvmlite'] = None\n" + LSTM_STEP.format(which="fast")
    norms = [float(norm) for norm in run_fresh(without).split()]
    assert norms == [float(norm) for norm in run_fresh(LSTM_STEP.format(which="reference")).split()]
    assert min(norms) > 0


# --- files ----------------------------------------------------------------------------------------------------------

def file_faults(path: str, content: bytes) -> list[str]:
    """Content that must not be in the repository: data files, paths of one machine, hosts of registries."""
    faults = []
    if len(content) > MEBIBYTE:
        faults.append(f"{path} is larger than 1 MiB")
    if path.endswith(DATA_FILES):
        faults.append(f"{path} is a data file")
    text = content.decode(errors="replace")
    patterns = [r"/(root|work)/", r"(pypi|pythonhosted|anaconda|npmjs)\.(org|com)"]
    if not path.startswith(".ci/"):
        patterns.append(r"\.\./shared")
    return faults + [f"{path} mentions {match[0]}" for pattern in patterns for match in re.finditer(pattern, text)]


def test_files_hold_nothing_foreign() -> None:
    files = project_files()
    assert "tinynet/__init__.py" in files
    assert not [fault for path in files for fault in file_faults(path, (ROOT / path).read_bytes())]


@pytest.mark.parametrize(("path", "content"), [
    ("README.md", "data lies in .." "/shared/data"), ("a.py", "open('/wo" "rk/x')"), ("a.sh", "cd /ro" "ot/x"),
    ("README.md", "https://pypi" ".org/simple"), ("a.py", " " * (MEBIBYTE + 1)), ("tests/x-ubyte.gz", ""),
    ("examples/xray.jpeg", ""),
])
def test_a_foreign_file_is_found(path: str, content: str) -> None:
    assert file_faults(path, content.encode())


# --- documents ------------------------------------------------------------------------------------------------------

def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def command_faults(path: str, text: str) -> list[str]:
    """Commands in a document that do not exist, or that install another project: `tinynet` of the package index."""
    targets, extras = re.findall(r"^([a-z]+):", read("Makefile"), re.M), setup_cfg()["options.extras_require"]
    code = "\n".join(re.findall(r"```.*?```", text, re.S) + re.findall(r"`([^`\n]+)`", text))
    named = ",".join(re.findall(r"['\"]\.\[([\w,-]+)\]", text)).split(",")
    made = re.findall(r"^[ $]*make ([a-z]+)", code, re.M)
    scripts = re.findall(r"python3? ([\w./-]+\.py)", text)
    return [*(f"{path}: make {name}" for name in made if name not in targets),
            *(f"{path}: python {name}" for name in scripts if not (ROOT / name).is_file()),
            *(f"{path}: extra {name}" for name in named if name and name not in extras),
            *(f"{path}: {command}" for command in re.findall(r"pip install[\s\"'\w.=-]*\btinynet\b", text))]


def test_documents_name_commands_that_exist() -> None:
    files = ["README.md", "CHANGELOG.md", *(f"tinynet/{path}" for path in paths("tinynet")),
             *(f"examples/{path}" for path in paths("examples"))]
    assert not [fault for path in files for fault in command_faults(path, read(path))]


@pytest.mark.parametrize("text", [
    "`make coffee`", "```\n$ make coffee\n```", "python examples/coffee.py", "pip install '.[demo,coffee]'",
    "pip install 'tinynet[demo]'", "; pip install \"\n  \"'tinynet[demo]'",
])
def test_a_command_that_does_not_exist_is_found(text: str) -> None:
    assert command_faults("README.md", text)


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_ci_demands_compiler_and_browser(tmp_path: Path) -> None:
    for tool in ("bash", "dirname"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    for tool in ("make", "echo"):
        (tmp_path / tool).write_text("#!/bin/sh\nexit 3\n")
        (tmp_path / tool).chmod(0o755)
    done = subprocess.run([tmp_path / "bash", ROOT / ".ci" / "run"], env={"PATH": str(tmp_path)}, capture_output=True,
                          text=True)
    assert done.returncode == 1
    assert "install these, or their tests would be skipped: g++ chromium npm" in done.stderr


def test_version_is_the_same_everywhere() -> None:
    version = setup_cfg()["metadata"]["version"]
    assert version == tn.__version__
    assert re.search(rf"^## \[({re.escape(version)}|Unreleased)\]", read("CHANGELOG.md"), re.M)


def has_example(thing: Any) -> bool:
    """Whether a public object has an example in its own docstring. That of its class does not count."""
    own = thing.__doc__ if isinstance(thing, type | FunctionType) else vars(thing).get("__doc__")
    return bool(own) and ">>>" in own


def public_things(room: ModuleType) -> dict[str, Any]:
    """The callables of a module by name: those in its `__all__`, or else those that it defines."""
    names = getattr(room, "__all__", None) or [
        name for name, thing in vars(room).items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == room.__name__]
    return {f"{room.__name__}.{name}": getattr(room, name) for name in names if callable(getattr(room, name))}


@pytest.mark.parametrize("room", [tn, tn.ops, tn.nn, tn.optim, tn.init, tn.metrics, tn.callbacks],
                         ids=lambda room: room.__name__)
def test_every_public_name_has_an_example(room: ModuleType) -> None:
    things = public_things(room)
    assert len(things) > 5
    assert not [name for name, thing in things.items() if not has_example(thing)]


def test_a_missing_example_is_found() -> None:
    def bare() -> None:
        """Do something."""
    op = Op(bare, "x:(N) -> y:(N)", [], None, None, True)
    assert not has_example(bare)
    assert not has_example(op)
    assert not has_example(type("Bare", (tn.Tensor,), {}))
    assert has_example(tn.ops.lstm)


def failing_examples(module: ModuleType) -> str:
    """Run the examples in the docstrings of a module. Returns the failures as doctest reports them."""
    finder, said = doctest.DocTestFinder(), list[str]()
    found = finder.find(module)
    for name, value in vars(module).items():  # doctest finds functions and classes alone
        if isinstance(value, Op | Update) and value.module == module.__name__:
            found += finder.find(value, f"{module.__name__}.{name}", module)
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for example in found:
        runner.run(example, out=said.append)
    return "".join(said)


@pytest.mark.parametrize("path", paths("tinynet"))
def test_examples_run(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "tinynet." + path.removesuffix("__init__.py").removesuffix(".py").replace("/", ".")
    monkeypatch.chdir(tmp_path)
    failed = failing_examples(importlib.import_module(module.rstrip(".")))
    if failed:
        pytest.fail(failed, pytrace=False)


def test_an_example_that_is_wrong_is_found() -> None:
    def half(xp: Any, x: Any) -> Any:
        """
        >>> 1 / 2
        0.25
        """
    module = ModuleType("planted", ">>> 1 + 1\n3\n")
    half.__module__ = module.__name__
    module.half = Op(half, "x:(N) -> y:(N)", [], None, None, True)  # type: ignore[attr-defined]
    failed = failing_examples(module)
    assert "1 + 1" in failed
    assert "1 / 2" in failed


def test_no_test_asserts_an_absolute_time() -> None:
    """Machines differ, and an emulated one is 50 times slower. Two helpers wait, and give up at some time."""
    clock = re.compile(r"^\s*assert .*\b(perf_counter|process_time|thread_time|monotonic|time)\(\)", re.M)
    assert [path for path in paths("tests") if clock.search(read(f"tests/{path}"))] == [
        "support/browser.py", "support/kernels.py"]
