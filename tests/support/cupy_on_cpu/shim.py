"""Replace the functions by which CuPy's compiled modules call CUDA.

CuPy's modules import each other's C functions through `__pyx_capi__`, a dictionary of capsules. An entry that is
replaced before `import cupy` is what all of CuPy calls. This module writes a C extension with one function of the same
signature for each entry of the CUDA runtime and driver; each calls a Python function of the same name. An exception of
the Python function reaches the caller by Cython's rules: a value that says "maybe an error", and the exception set.
"""

import atexit
import ctypes
import hashlib
import importlib.util
import re
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from tinynet.atomic import write_whole
from tinynet.cache import cache_folder, private_folder

_FORMATS = {"intptr_t": "n", "size_t": "n", "int": "i", "unsigned int": "I", "PyObject *": "O", "CUdevice": "i",
            "cudaMemcpyKind": "i", "uintmax_t": "n"}  # of Py_BuildValue
_ENUMS = {"CUdevice": "int", "cudaMemcpyKind": "int"}
_ERRORS = {"int": "-1", "intptr_t": "0", "size_t": "-1", "unsigned int": "0", "float": "0"}  # of failed calls
_OTHER_ERRORS = {"streamGetPriority": "0", "funcGetAttribute": "-2"}

# In the fast mode these do nothing, without a call of Python; the others compute as usual.
FAST = {**dict.fromkeys(["launchKernel", "memcpyAsync", "memsetAsync", "graphLaunch", "streamIsCapturing", "getDevice",
                         "setDevice", "_ensure_context"], 0), "getDeviceCount": 1}  # with what they return, if a number

_HEAD = """#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

static PyObject* table;
static int has_ended;  // Python has: only destructors still call, and there is nothing to free

static PyObject* call(const char* name, PyObject* arguments) {
  if (has_ended) return PyLong_FromLong(0);
  PyObject* function = arguments ? PyDict_GetItemString(table, name) : NULL;
  if (arguments && !function) PyErr_Format(PyExc_NotImplementedError, "the machine of the tests lacks %s", name);
  PyObject* result = function ? PyObject_CallObject(function, arguments) : NULL;
  Py_XDECREF(arguments);
  return result;
}
"""
_TAIL = """
static PyObject* install(PyObject* self, PyObject* arguments) {
  if (!PyArg_ParseTuple(arguments, "O", &table)) return NULL;
  Py_INCREF(table);
  Py_RETURN_NONE;
}

static PyObject* end(PyObject* self, PyObject* arguments) {
  has_ended = 1;
  Py_RETURN_NONE;
}

static PyMethodDef methods[] = {{"install", install, METH_VARARGS, ""}, {"end", end, METH_NOARGS, ""}, {NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "cupy_shim", NULL, -1, methods};
PyMODINIT_FUNC PyInit_cupy_shim(void) { return PyModule_Create(&definition); }
"""


def replace(modules: Mapping[str, ModuleType], table: dict[str, Callable[..., Any]], is_fast: bool) -> None:
    """Let `table` answer all calls of CUDA by CuPy.

    modules   `cupy_backends.cuda.api.runtime` and `.driver`, by a prefix for each
    is_fast   the functions in `FAST` return at once: what remains is the time that the host needs
    """
    entries = {f"{prefix}_{name}": (module, name, _signature(capsule)) for prefix, module in modules.items()
               for name, capsule in module.__pyx_capi__.items()}
    written = {entry: text for entry, (_, name, signature) in entries.items()
               if (text := _function(entry, name, signature, is_fast))}
    path = _built("\n".join([_HEAD, *written.values(), _TAIL]))
    spec = importlib.util.spec_from_file_location("cupy_shim", path)
    assert spec and spec.loader
    extension = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(extension)
    extension.install(table)
    atexit.register(extension.end)
    library = ctypes.CDLL(str(path))
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    for entry in written:
        module, name, signature = entries[entry]
        _names.append(signature.encode())
        address = ctypes.cast(getattr(library, entry), ctypes.c_void_p)
        module.__pyx_capi__[name] = new(address, _names[-1], None)


_names: list[bytes] = []  # a capsule refers to its name


def _signature(capsule: Any) -> str:
    """The C type of a function, which is its capsule's name."""
    found = re.search(r'"(.*)"', repr(capsule))
    assert found
    return found[1]


def _function(entry: str, name: str, signature: str, is_fast: bool) -> str | None:
    """The C function that takes an entry's place. None for data, and for types that are not in the tables above."""
    found = re.fullmatch(r"(.*?)\s*\(([^()]*)\)", signature)
    result = re.sub(r"struct __pyx_obj\w+ \*", "PyObject *", found[1]) if found else ""
    if not found or (result not in _ERRORS and result != "PyObject *") or name == "check_status":
        return None
    parameters, format_, values = [], "", ""
    for i, kind in enumerate(part.strip() for part in found[2].split(",") if part.strip() != "void"):
        if kind.endswith("__pyx_skip_dispatch"):
            parameters.append("int skip_dispatch")
        elif "opt_args" in kind:  # optional arguments: their number and the first one
            parameters.append("struct { int count; unsigned first; }* options")
            format_, values = format_ + "i", values + ", (options && options->count > 0 ? (int)options->first : -1)"
        elif kind in _FORMATS:
            parameters.append(f"{_ENUMS.get(kind, kind)} a{i}")
            cast = "Py_ssize_t" if _FORMATS[kind] == "n" else _ENUMS.get(kind, kind)
            format_, values = format_ + _FORMATS[kind], f"{values}, ({cast})a{i}"
        else:
            return None
    head = f"{result} {entry}({', '.join(parameters) or 'void'})"
    if is_fast and name in FAST:
        value = "Py_None" if result == "PyObject *" else str(FAST[name])
        return f"{head} {{ {'Py_INCREF(Py_None); ' * (value == 'Py_None')}return {value}; }}"
    made = f'call("{name}", Py_BuildValue("({format_})"{values}))'
    if result == "PyObject *":
        return f"{head} {{ return {made}; }}"
    number = "PyFloat_AsDouble" if result == "float" else "PyLong_AsLongLong"
    return (f"{head} {{ PyObject* result = {made}; if (!result) return {_OTHER_ERRORS.get(name, _ERRORS[result])}; "
            f"{result} value = ({result}){number}(result); Py_DECREF(result); return value; }}")


def _built(text: str) -> Path:
    """The extension's library, from the user's cache folder or compiled now."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    library = cache_folder() / "cupy_on_cpu" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}{suffix}"
    private_folder(library.parent)
    if not library.exists():
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder, "shim.so")
            include = f"-I{sysconfig.get_path('include')}"
            subprocess.run(["gcc", "-O1", "-w", "-shared", "-fPIC", include, "-x", "c", "-", "-o", output], input=text,
                           text=True, check=True)
            write_whole(library, output.read_bytes())
    return library
