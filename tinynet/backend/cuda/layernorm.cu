// The layer normalisation of ops/layernorm.py. The layout stands in layernorm.py.
#include "column_sums.h"
#include "warp.h"

// --- Equations -------------------------------------------------------------------------------------------------------
// A warp takes one position; lane l has features l, l + 32, ...

struct Statistics { float mean, inverse; };  // of a position: μ and 1 / s

__device__ __forceinline__ Statistics statistics_of(const float* x, float eps, int D) {
  float sum = 0.0f, squares = 0.0f;
  for (int d = threadIdx.x % warpSize; d < D; d += warpSize) sum += x[d];
  float mean = warp_sum(sum) / (float)D;
  for (int d = threadIdx.x % warpSize; d < D; d += warpSize) squares += (x[d] - mean) * (x[d] - mean);
  return {mean, 1.0f / sqrtf(warp_sum(squares) / (float)D + eps)};  // (1)
}

__device__ __forceinline__ float normalised(float x, Statistics own) { return (x - own.mean) * own.inverse; }     // (2)

__device__ __forceinline__ float scaled(float xhat, float gamma, float beta) { return gamma * xhat + beta; }      // (3)

// One element of δx. `constant` is mean(δx̂), and `by_xhat` mean(δx̂ x̂).
__device__ __forceinline__ float combined(float dxhat, float xhat, float constant, float by_xhat, float inverse) {
  return (dxhat - constant - xhat * by_xhat) * inverse;  // (4)
}

// --- Schedule --------------------------------------------------------------------------------------------------------
// A position is read from memory once, and then from a cache. δγ and δβ are sums over the rows of (R,D), made for each
// stretch of rows.

extern "C" __global__ void layer_norm(const float* __restrict__ x, const float* __restrict__ gamma,
                                      const float* __restrict__ beta, float* __restrict__ y, float* __restrict__ means,
                                      float* __restrict__ inverses, float eps, int R, int D) {
  int row = (blockIdx.x * blockDim.x + threadIdx.x) / warpSize, lane = threadIdx.x % warpSize;
  if (row >= R) return;  // the whole warp
  size_t first = (size_t)row * D;
  Statistics own = statistics_of(x + first, eps, D);
  for (int d = lane; d < D; d += warpSize) y[first + d] = scaled(normalised(x[first + d], own), gamma[d], beta[d]);
  if (lane > 0) return;
  means[row] = own.mean;
  inverses[row] = own.inverse;
}

extern "C" __global__ void dlayer_norm(const float* __restrict__ x, const float* __restrict__ gamma,
                                       const float* __restrict__ means, const float* __restrict__ inverses,
                                       const float* __restrict__ dy, float* __restrict__ dx, int R, int D) {
  int row = (blockIdx.x * blockDim.x + threadIdx.x) / warpSize, lane = threadIdx.x % warpSize;
  if (row >= R) return;  // the whole warp
  size_t first = (size_t)row * D;
  Statistics own = {means[row], inverses[row]};
  float sum = 0.0f, products = 0.0f;
  for (int d = lane; d < D; d += warpSize) {
    float dxhat = dy[first + d] * gamma[d];
    sum += dxhat;
    products += dxhat * normalised(x[first + d], own);
  }
  float constant = warp_sum(sum) / (float)D, by_xhat = warp_sum(products) / (float)D;
  for (int d = lane; d < D; d += warpSize)
    dx[first + d] = combined(dy[first + d] * gamma[d], normalised(x[first + d], own), constant, by_xhat, own.inverse);
}

// Σ δy x̂ and Σ δy of each stretch: the two halves of `sums` (2,P,D).
extern "C" __global__ void __launch_bounds__(THREADS) dparameters(
    const float* __restrict__ x, const float* __restrict__ means, const float* __restrict__ inverses,
    const float* __restrict__ dy, float* __restrict__ sums, int R, int D, int rows) {
  __shared__ float shared[THREADS];
  float products = 0.0f, sum = 0.0f;
  if (COLUMN < D)
    for (int row = FIRST_ROW; row < ROWS_END(R); row += blockDim.y) {
      size_t at = (size_t)row * D + COLUMN;
      products += dy[at] * normalised(x[at], {means[row], inverses[row]});  // (5)
      sum += dy[at];                                                        // (6)
    }
  products = over_lanes(products, shared);
  sum = over_lanes(sum, shared);
  if (threadIdx.y > 0 || COLUMN >= D) return;
  sums[blockIdx.y * D + COLUMN] = products;
  sums[(gridDim.y + blockIdx.y) * D + COLUMN] = sum;
}
