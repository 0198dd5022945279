"""How ops run fast on an NVIDIA GPU: CUDA kernels beside the Python that launches them. See README.md in this folder.

The same kernels run where there is no GPU, compiled by g++: the device "gpu-emulated".
"""
