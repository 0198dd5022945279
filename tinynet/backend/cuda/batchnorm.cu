// The batch normalisation of ops/batchnorm.py, for channels on the last axis: x is a matrix (R,C). Sums over the R
// elements of a channel are made stretch by stretch (columns.h), into (P,C), and added up by who needs them.
#include "columns.h"

// Σ over the P stretches, for one channel.
__device__ __forceinline__ float total(const float* sums, int P, int C, int c) {
  float sum = 0.0f;
  for (int p = 0; p < P; p++) sum += sums[p * C + c];
  return sum;
}

// Of every stretch Σ (x − μ)², for (2).
extern "C" __global__ void squares(const float* __restrict__ x, const float* __restrict__ mean,
                                   float* __restrict__ sums, int R, int C) {
  __shared__ float shared[LANES][COLUMNS];
  float sum = 0.0f;
  if (COLUMN < C)
    for (int row = FIRST_ROW; row < ROWS_END(R); row += LANES) {
      float centred = x[(size_t)row * C + COLUMN] - mean[COLUMN];
      sum += centred * centred;
    }
  sum = over_lanes(sum, shared);
  if (threadIdx.y == 0 && COLUMN < C) sums[blockIdx.y * C + COLUMN] = sum;
}

// (1) or (2): a mean from the sums of all stretches.
extern "C" __global__ void mean_of_sums(const float* __restrict__ sums, float* __restrict__ mean, int P, int R, int C) {
  int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c < C) mean[c] = total(sums, P, C, c) / (float)R;
}

// (3) and (4)
extern "C" __global__ void normalise(const float* __restrict__ x, const float* __restrict__ mean,
                                     const float* __restrict__ var, const float* __restrict__ gamma,
                                     const float* __restrict__ beta, float* __restrict__ y, float eps, int size, int C) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  int c = at % C;
  float xhat = (x[at] - mean[c]) / sqrtf(var[c] + eps);  // (3)
  y[at] = gamma[c] * xhat + beta[c];                     // (4)
}

// Of every stretch Σ δy, for (5), and Σ δy (x − μ), for (6): the two halves of `sums` (2,P,C).
extern "C" __global__ void dsums(const float* __restrict__ x, const float* __restrict__ mean,
                                 const float* __restrict__ dy, float* __restrict__ sums, int R, int C) {
  __shared__ float shared[LANES][COLUMNS];
  float sum = 0.0f, sum_of_products = 0.0f;
  if (COLUMN < C)
    for (int row = FIRST_ROW; row < ROWS_END(R); row += LANES) {
      size_t at = (size_t)row * C + COLUMN;
      sum += dy[at];
      sum_of_products += dy[at] * (x[at] - mean[COLUMN]);
    }
  sum = over_lanes(sum, shared);
  sum_of_products = over_lanes(sum_of_products, shared);
  if (threadIdx.y > 0 || COLUMN >= C) return;
  sums[blockIdx.y * C + COLUMN] = sum;
  sums[(gridDim.y + blockIdx.y) * C + COLUMN] = sum_of_products;
}

// (5), (6), (8) and (9), for one channel in each thread. What arrives at the statistics is given in dmean0 and dvar0.
extern "C" __global__ void dchannels(const float* __restrict__ sums, const float* __restrict__ var,
                                     const float* __restrict__ gamma, const float* __restrict__ dmean0,
                                     const float* __restrict__ dvar0, float* __restrict__ dgamma,
                                     float* __restrict__ dbeta, float* __restrict__ dmean, float* __restrict__ dvar,
                                     float eps, int P, int C) {
  int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= C) return;
  float s = sqrtf(var[c] + eps);
  dbeta[c] = total(sums, P, C, c);                                // (5)
  dgamma[c] = total(sums + P * C, P, C, c) / s;                   // (6)
  dvar[c] = dvar0[c] - gamma[c] * dgamma[c] / (2.0f * s * s);     // (7) (8)
  dmean[c] = dmean0[c] - gamma[c] * dbeta[c] / s;                 // (7) (9)
}

// (10), or (11) with statistics that were given.
extern "C" __global__ void dnormalise(const float* __restrict__ x, const float* __restrict__ dy,
                                      const float* __restrict__ mean, const float* __restrict__ var,
                                      const float* __restrict__ gamma, const float* __restrict__ dmean,
                                      const float* __restrict__ dvar, float* __restrict__ dx, float eps, bool given,
                                      int size, int R, int C) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  int c = at % C;
  float own = dy[at] * gamma[c] / sqrtf(var[c] + eps);                                                   // (7) (11)
  dx[at] = given ? own : own + (dvar[c] * 2.0f * (x[at] - mean[c]) + dmean[c]) / (float)R;               // (10)
}

// (12), for mean and variance; `taken` is 1 - momentum.
extern "C" __global__ void running_averages(float* __restrict__ running_mean, float* __restrict__ running_var,
                                            const float* __restrict__ mean, const float* __restrict__ var,
                                            float momentum, float taken, int C) {
  int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= C) return;
  running_mean[c] = momentum * running_mean[c] + taken * mean[c];
  running_var[c] = momentum * running_var[c] + taken * var[c];
}
