// The cross-entropy of ops/loss.py, and the tally of an epoch. The layout stands in loss.py.
#include "warp.h"

#define MINUS_INFINITY __uint_as_float(0xFF800000u)

// --- Equations -------------------------------------------------------------------------------------------------------
// A warp takes one row of scores (K); lane l has classes l, l + 32, ...

struct Score { float value; int where; };

// Whether `one` comes before `other`: NaN before all numbers, then the larger one, and of equal scores the first.
__device__ __forceinline__ bool is_ahead(Score one, Score other) {
  bool is_nan = one.value != one.value, other_is_nan = other.value != other.value;
  if (is_nan != other_is_nan) return is_nan;
  return one.value > other.value || ((is_nan || one.value == other.value) && one.where < other.where);
}

// The first largest score of a row, returned to all lanes.
__device__ __forceinline__ Score first_largest(const float* z, int K) {
  Score first = {MINUS_INFINITY, K};
  for (int k = threadIdx.x % warpSize; k < K; k += warpSize) {
    Score one = {z[k], k};
    if (is_ahead(one, first)) first = one;
  }
  for (int bits = 16; bits > 0; bits /= 2) {
    Score other = {__shfl_xor_sync(ALL_LANES, first.value, bits), __shfl_xor_sync(ALL_LANES, first.where, bits)};
    if (is_ahead(other, first)) first = other;
  }
  return first;
}

// q of a class.
__device__ __forceinline__ float target(int k, long long label, int K, float smoothing) {
  return (1.0f - smoothing) * (k == label ? 1.0f : 0.0f) + smoothing / (float)K;  // (2)
}

// ln p (K) of a row, and its loss l, returned to all lanes.
__device__ __forceinline__ float loss_of_row(const float* __restrict__ z, long long label, float* __restrict__ logp,
                                             float smoothing, int K) {
  int lane = threadIdx.x % warpSize;
  Score largest = first_largest(z, K);
  float rest = 0.0f;
  for (int k = lane; k < K; k += warpSize)
    if (k != largest.where) rest += expf(z[k] - largest.value);
  float log_of_sum = log1pf(warp_sum(rest));
  float loss = 0.0f;
  for (int k = lane; k < K; k += warpSize) {
    float logp_k = z[k] - largest.value - log_of_sum;  // (1)
    logp[k] = logp_k;
    float q = target(k, label, K, smoothing);
    if (q != 0.0f) loss -= q * logp_k;                 // (3)
  }
  return warp_sum(loss);
}

// δz of a score; Σ q is 1.
__device__ __forceinline__ float dscore(float dloss, float one_over_S, float logp, float q) {
  float dl = dloss * one_over_S;  // (5)
  return dl * (expf(logp) - q);   // (6)
}

// --- Schedule --------------------------------------------------------------------------------------------------------

// ln p (R,K), and for each block `factor` times the losses of its rows. Its warps take rows in turn.
extern "C" __global__ void __launch_bounds__(1024) cross_entropy(
    const float* __restrict__ logits, const long long* __restrict__ labels, float* __restrict__ logp,
    float* __restrict__ losses, float smoothing, float factor, int R, int K, int rows) {
  __shared__ float of_warps[32];
  int warp = threadIdx.x / warpSize, warps = blockDim.x / warpSize, end = min(R, int((blockIdx.x + 1) * rows));
  float loss = 0.0f;
  for (int row = blockIdx.x * rows + warp; row < end; row += warps)
    loss += loss_of_row(logits + (size_t)row * K, labels[row], logp + (size_t)row * K, smoothing, K);
  if (threadIdx.x % warpSize == 0) of_warps[warp] = loss;
  __syncthreads();
  if (threadIdx.x > 0) return;
  float sum = 0.0f;
  for (int w = 0; w < warps; w++) sum += of_warps[w];
  losses[blockIdx.x] = factor * sum;  // (4)
}

// A thread takes one score.
extern "C" __global__ void dcross_entropy(const float* __restrict__ logp, const long long* __restrict__ labels,
                                          const float* __restrict__ dloss, float* __restrict__ dlogits, float smoothing,
                                          float one_over_S, int size, int K) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size)
    dlogits[at] = dscore(dloss[0], one_over_S, logp[at], target(at % K, labels[at / K], K, smoothing));
}

// A warp takes one row.
extern "C" __global__ void tally(float* __restrict__ total, long long* __restrict__ right,
                                 const float* __restrict__ loss, const float* __restrict__ scores,
                                 const long long* __restrict__ labels, int R, int K) {
  int row = (blockIdx.x * blockDim.x + threadIdx.x) / warpSize, lane = threadIdx.x % warpSize;
  if (row >= R) return;  // the whole warp
  Score largest = first_largest(scores + (size_t)row * K, K);
  if (lane > 0) return;
  if (row == 0) total[0] += loss[0] * (float)R;                                      // (1)
  if (largest.where == labels[row]) atomicAdd((unsigned long long*)right, 1ull);     // (2)
}
