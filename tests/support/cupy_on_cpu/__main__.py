"""Run a script with the real CuPy on a CPU: python -m tests.support.cupy_on_cpu SCRIPT ARGUMENTS."""

import os
import runpy
import sys

from tests.support import cupy_on_cpu

cupy_on_cpu.install()
sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
