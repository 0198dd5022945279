// The rectifier, σ and tanh of ops/activation.py: one thread for each element.
#include "logistic.h"

extern "C" __global__ void relu(const float* __restrict__ x, float* __restrict__ y, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size) y[at] = x[at] < 0.0f ? 0.0f : x[at];  // (1) NaN passes
}

extern "C" __global__ void drelu(const float* __restrict__ y, const float* __restrict__ dy, float* __restrict__ dx,
                                 int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size) dx[at] = dy[at] * (y[at] > 0.0f ? 1.0f : 0.0f);  // (2) y > 0 where x > 0
}

extern "C" __global__ void sigmoid(const float* __restrict__ x, float* __restrict__ y, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size) y[at] = logistic(x[at]);  // (1)
}

extern "C" __global__ void dsigmoid(const float* __restrict__ y, const float* __restrict__ dy, float* __restrict__ dx,
                                    int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size) dx[at] = dy[at] * y[at] * (1.0f - y[at]);  // (2)
}

extern "C" __global__ void hyperbolic_tangent(const float* __restrict__ x, float* __restrict__ y, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size) y[at] = tanhf(x[at]);  // (1)
}

extern "C" __global__ void dhyperbolic_tangent(const float* __restrict__ y, const float* __restrict__ dy,
                                               float* __restrict__ dx, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size) dx[at] = dy[at] * (1.0f - y[at] * y[at]);  // (2)
}
