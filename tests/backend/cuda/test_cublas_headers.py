"""Our prototypes and constants of cuBLAS are those of cublas_api.h, where the package nvidia-cublas is installed."""

import ctypes
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from tinynet.backend.cuda.runtime import cublas

_PLACES = getattr(importlib.util.find_spec("nvidia"), "submodule_search_locations", [])
FOLDERS = [folder for place in _PLACES for name in ("cu13", "cublas")
           if (folder := Path(place, name, "include")) and (folder / "cublas_api.h").exists()]
pytestmark = [pytest.mark.long, pytest.mark.skipif(not FOLDERS, reason="the package nvidia-cublas is not installed")]

ENUMS = {"cublasOperation_t", "cublasComputeType_t", "cublasGemmAlgo_t", "cudaDataType", "cudaDataType_t"}


@pytest.fixture(scope="module")
def header() -> str:
    text = (FOLDERS[0] / "cublas_api.h").read_text(encoding="utf-8")
    return re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.S)


def in_ctypes(parameter: str) -> Any:
    kind = " ".join(re.sub(r"\bconst\b", " ", parameter).split()[:-1]) if "*" not in parameter else "*"
    if kind in ("*", "cublasHandle_t", "cudaStream_t"):
        return ctypes.c_void_p
    return {"int": ctypes.c_int, "long long int": ctypes.c_longlong, "long long": ctypes.c_longlong,
            "size_t": ctypes.c_size_t, **dict.fromkeys(ENUMS, ctypes.c_int)}[kind]


@pytest.mark.parametrize("name", cublas._SIGNATURES)
def test_prototypes(header: str, name: str) -> None:
    found = re.search(rf"CUBLASWINAPI\s+{name}\s*\(([^)]*)\)", header)
    assert found
    ours = [ctypes.c_void_p if issubclass(kind, ctypes._Pointer) else kind for kind in cublas._SIGNATURES[name]]
    assert ours == [in_ctypes(parameter.strip()) for parameter in found[1].split(",")]


@pytest.mark.parametrize(("name", "value"), [
    ("CUBLAS_OP_N", cublas._N), ("CUBLAS_OP_T", cublas._T), ("CUBLAS_GEMM_DEFAULT", cublas._DEFAULT_ALGORITHM),
    ("CUBLAS_COMPUTE_32F", cublas._SINGLE["float32"].compute),
    ("CUBLAS_COMPUTE_32F_FAST_TF32", cublas._SINGLE["tf32"].compute),
    ("CUBLAS_COMPUTE_32F_FAST_16BF", cublas._SINGLE["bf16"].compute), ("CUBLAS_COMPUTE_64F", cublas._DOUBLE.compute)])
def test_constants(header: str, name: str, value: int) -> None:
    found = re.search(rf"\b{name}\s*=\s*(-?\d+)", header)
    assert found and int(found[1]) == value


@pytest.mark.parametrize(("word", "status"), [
    ("NOT_INITIALIZED", 1), ("ALLOC_FAILED", 3), ("INVALID_VALUE", 7), ("ARCH_MISMATCH", 8), ("EXECUTION_FAILED", 13),
    ("INTERNAL_ERROR", 14), ("NOT_SUPPORTED", 15)])
def test_statuses(header: str, word: str, status: int) -> None:
    found = re.search(rf"\bCUBLAS_STATUS_{word}\s*=\s*(\d+)", header)
    assert found and int(found[1]) == status and status in cublas._STATUS


def test_data_types() -> None:
    """cudaDataType is in a header of CUDA's runtime."""
    paths = [path for place in _PLACES for path in Path(place).glob("*/include/library_types.h")]
    if not paths:
        pytest.skip("the package nvidia-cuda-runtime is not installed")
    text = paths[0].read_text(encoding="utf-8")
    for name, value in (("CUDA_R_32F", cublas._SINGLE["float32"].data), ("CUDA_R_64F", cublas._DOUBLE.data)):
        found = re.search(rf"\b{name}\s*=\s*(\d+)", text)
        assert found and int(found[1]) == value
