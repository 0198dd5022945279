"""The ops on an NVIDIA GPU: CUDA kernels, and the Python that launches them. See README.md in this folder.

On the device "gpu-emulated", g++ compiles the same kernels for the processor: no GPU is needed.
"""
