"""A library `libcublas.so.13` that multiplies in host memory: CuPy and tinynet find it as they find cuBLAS.

All functions that CuPy's module is linked with are there. Those in `_FORWARDED` reach `tests/support/fake_cublas.py`;
the others report that they are not supported.
"""

import ctypes
import hashlib
import re
import subprocess
import tempfile
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.cupy_on_cpu import machine
from tests.support.fake_cublas import FakeCublas
from tinynet.atomic import write_whole
from tinynet.backend.cuda.runtime import cublas
from tinynet.cache import cache_folder, private_folder

_INT, _POINTER = ctypes.c_int, ctypes.c_void_p
# handle, two operations, m, n, k, alpha, A, its leading dimension, B, the same, beta, C, the same
_GEMM = [_POINTER, *[_INT] * 5, _POINTER, _POINTER, _INT, _POINTER, _INT, _POINTER, _POINTER, _INT]
_NOTHING = {"cublasDestroy_v2", "cublasSetPointerMode_v2", "cublasSetMathMode"}  # these do nothing
_FORWARDED = {
    **{name: kinds for name, kinds in cublas._SIGNATURES.items() if name not in _NOTHING},
    "cublasSgemm_v2": _GEMM, "cublasDgemm_v2": _GEMM,
    "cublasSgemmBatched": [*_GEMM, _INT], "cublasDgemmBatched": [*_GEMM, _INT]}
_C_TYPES = {_INT: "int", ctypes.c_longlong: "long long", _POINTER: "void*", ctypes.c_size_t: "size_t"}
_NAME = "libcublas.so.13"  # and the version of its symbols
_kept: list[Any] = []  # callbacks that C code calls


def install(fake: FakeCublas | None) -> None:
    """Let CuPy and tinynet find the library. Without `fake`, products return at once and compute nothing."""
    from cupy_backends.cuda import libs
    module = Path(libs.__path__[0]).glob("cublas.*.so")
    undefined = subprocess.run(["nm", "-D", "--undefined-only", next(module)], capture_output=True, text=True,
                               check=True).stdout
    library = ctypes.CDLL(str(_built(sorted({*re.findall(r"\b(cublas\w+)", undefined), *_FORWARDED}))))
    libs._pathfinder = types.SimpleNamespace(load_nvidia_dynamic_lib=lambda name: None)
    if fake is None:
        return
    for name, signature in _FORWARDED.items():
        kinds = [_POINTER if kind not in _C_TYPES else kind for kind in signature]
        _kept.append(ctypes.CFUNCTYPE(_INT, *kinds)(partial(_called, fake, name)))
        ctypes.c_void_p.in_dll(library, f"{name}_forward").value = ctypes.cast(_kept[-1], _POINTER).value


def _called(fake: FakeCublas, name: str, *arguments: Any) -> int:
    """Call a function of the fake cuBLAS, which takes pointers as ctypes passes them."""
    given = list(arguments)
    if name in ("cublasSgemmBatched", "cublasDgemmBatched"):
        return _batch(0 if name == "cublasSgemmBatched" else 1, *given)
    if name in ("cublasSgemm_v2", "cublasDgemm_v2"):
        kind, compute = (0, 68) if name == "cublasSgemm_v2" else (1, 70)
        *start, alpha, a, lda, b, ldb, beta, c, ldc = given
        given = [*start, alpha, a, kind, lda, b, kind, ldb, beta, c, kind, ldc, compute, -1]
        name = "cublasGemmEx"
    if name == "cublasCreate_v2":
        return fake.cublasCreate_v2(ctypes.byref(_POINTER.from_address(given[0])))
    given[0] = _POINTER(given[0])
    if "Gemm" in name:
        is_batch = name == "cublasGemmStridedBatchedEx"
        scalar = ctypes.c_double if given[8] == 1 else ctypes.c_float
        for at in (6, 15 if is_batch else 13):
            given[at] = ctypes.byref(scalar.from_address(given[at]))
    function: Callable[..., int] = getattr(fake, name)
    try:
        return function(*given)
    except Exception as error:  # an exception cannot leave a callback
        machine.faults.append(f"{name}: {error}")
        return 14  # CUBLAS_STATUS_INTERNAL_ERROR


def _batch(kind: int, handle: int, op_a: int, op_b: int, m: int, n: int, k: int, alpha: int, a: int, lda: int, b: int,
           ldb: int, beta: int, c: int, ldc: int, count: int) -> int:
    """Products of matrices whose addresses lie in device memory: they are read when the products are made."""
    import cupy
    scalar, fake = ctypes.c_double if kind else ctypes.c_float, FakeCublas(lambda multiply, addresses: multiply())
    factors = [ctypes.byref(scalar(scalar.from_address(address).value)) for address in (alpha, beta)]

    def multiply() -> None:
        for first, second, third in zip(*((_POINTER * count).from_address(array) for array in (a, b, c)), strict=True):
            fake.cublasGemmEx(_POINTER(handle), op_a, op_b, m, n, k, factors[0], first, kind, lda, second, kind, ldb,
                              factors[1], third, kind, ldc, 70 if kind else 68, -1)

    machine.on(cupy.cuda.get_current_stream().ptr, "products", multiply)
    return 0


def _built(names: list[str]) -> Path:
    """The library, from the user's cache folder or compiled now. CuPy asks for it by this name."""
    text = "#include <stddef.h>\n#include <stdio.h>\n" + "\n".join(map(_function, names))
    library = cache_folder() / "cupy_on_cpu" / hashlib.sha256(text.encode()).hexdigest()[:32] / _NAME
    private_folder(library.parent)
    if not library.exists():
        with tempfile.TemporaryDirectory() as folder:
            output, versions = Path(folder, "library.so"), Path(folder, "versions")
            versions.write_text(f"{_NAME} {{ global: *; }};", encoding="utf-8")
            subprocess.run(["gcc", "-O1", "-shared", "-fPIC", f"-Wl,-soname,{_NAME},--version-script={versions}", "-x",
                            "c", "-", "-o", output], input=text, text=True, check=True)
            write_whole(library, output.read_bytes())
    return library


def _function(name: str) -> str:
    if name in _NOTHING:
        return f"int {name}() {{ return 0; }}"
    if name == "cublasGetMathMode":
        return f"int {name}(void* handle, int* mode) {{ *mode = 0; return 0; }}"
    if name not in _FORWARDED:
        return f'int {name}() {{ fputs("{name} is not in blas.py\\n", stderr); return 15; }}'
    kinds = [_C_TYPES.get(kind, "void*") for kind in _FORWARDED[name]]
    given = ", ".join(f"a{i}" for i in range(len(kinds)))
    parameters = ", ".join(f"{kind} a{i}" for i, kind in enumerate(kinds))
    create = "*(void**)a0 = (void*)1, " if name == "cublasCreate_v2" else ""
    return (f"int (*{name}_forward)({', '.join(kinds)});\n"
            f"int {name}({parameters}) {{ return {name}_forward ? {name}_forward({given}) : ({create}0); }}")
