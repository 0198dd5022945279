// relu, sigmoid and tanh of ops/activation.py. The layout stands in activation.py.
#include "logistic.h"

// --- Equations -------------------------------------------------------------------------------------------------------
// Each function takes one element.

__device__ __forceinline__ float rectified(float x) { return x < 0.0f ? 0.0f : x; }  // (1) NaN passes
__device__ __forceinline__ float drectified(float y, float dy) { return y > 0.0f ? dy : 0.0f; }  // (2)

__device__ __forceinline__ float sigma(float x) { return logistic(x); }                        // (1)
__device__ __forceinline__ float dsigma(float y, float dy) { return dy * y * (1.0f - y); }     // (2)

__device__ __forceinline__ float tangent(float x) { return tanhf(x); }                         // (1)
__device__ __forceinline__ float dtangent(float y, float dy) { return dy * (1.0f - y * y); }   // (2)

// --- Schedule --------------------------------------------------------------------------------------------------------
// A thread takes one element.

extern "C" __global__ void relu(const float* __restrict__ x, float* __restrict__ y, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size) y[at] = rectified(x[at]);
}

extern "C" __global__ void drelu(const float* __restrict__ y, const float* __restrict__ dy, float* __restrict__ dx,
                                 int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size) dx[at] = drectified(y[at], dy[at]);
}

extern "C" __global__ void sigmoid(const float* __restrict__ x, float* __restrict__ y, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size) y[at] = sigma(x[at]);
}

extern "C" __global__ void dsigmoid(const float* __restrict__ y, const float* __restrict__ dy, float* __restrict__ dx,
                                    int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size) dx[at] = dsigma(y[at], dy[at]);
}

extern "C" __global__ void hyperbolic_tangent(const float* __restrict__ x, float* __restrict__ y, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size) y[at] = tangent(x[at]);
}

extern "C" __global__ void dhyperbolic_tangent(const float* __restrict__ y, const float* __restrict__ dy,
                                               float* __restrict__ dx, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size) dx[at] = dtangent(y[at], dy[at]);
}
