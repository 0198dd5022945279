// The batch normalisation of ops/batchnorm.py, for channels on the last axis: x is a matrix (R,C). Sums over the R
// elements of a channel are made stretch by stretch (column_sums.h), into (P,C), and then over the stretches.
#include "column_sums.h"
#include "optional.h"

// (1) and (2), for each stretch by itself: (P,C). The elements are read twice, for μ has to be known before the squares;
// the second time they are near.
extern "C" __global__ void __launch_bounds__(THREADS) statistics(
    const float* __restrict__ x, float* __restrict__ mean, float* __restrict__ var, int R, int C, int rows) {
  __shared__ float shared[THREADS];
  float sum = 0.0f, sum_of_squares = 0.0f, count = (float)(ROWS_END(R) - int(blockIdx.y * rows));
  if (COLUMN < C)
    for (int row = FIRST_ROW; row < ROWS_END(R); row += blockDim.y) sum += x[(size_t)row * C + COLUMN];
  float mu = over_lanes(sum, shared) / count;  // (1)
  if (COLUMN < C)
    for (int row = FIRST_ROW; row < ROWS_END(R); row += blockDim.y) {
      float centred = x[(size_t)row * C + COLUMN] - mu;
      sum_of_squares += centred * centred;
    }
  float sigma2 = over_lanes(sum_of_squares, shared) / count;  // (2)
  if (threadIdx.y > 0 || COLUMN >= C) return;
  mean[blockIdx.y * C + COLUMN] = mu;
  var[blockIdx.y * C + COLUMN] = sigma2;
}

// (1) and (2) from those of the P stretches: their squares are about their own means, each of which is away from μ.
// A block has all stretches of some columns.
extern "C" __global__ void __launch_bounds__(THREADS) merged_statistics(
    const float* __restrict__ means, const float* __restrict__ vars, float* __restrict__ mean, float* __restrict__ var,
    int P, int R, int C, int rows) {
  __shared__ float shared[THREADS];
  float sum = 0.0f, sum_of_squares = 0.0f;
  if (COLUMN < C)
    for (int p = threadIdx.y; p < P; p += blockDim.y) sum += (float)min(rows, R - p * rows) * means[p * C + COLUMN];
  float mu = over_lanes(sum, shared) / (float)R;  // (1)
  if (COLUMN < C)
    for (int p = threadIdx.y; p < P; p += blockDim.y) {
      float away = means[p * C + COLUMN] - mu;
      sum_of_squares += (float)min(rows, R - p * rows) * (vars[p * C + COLUMN] + away * away);
    }
  float sigma2 = over_lanes(sum_of_squares, shared) / (float)R;  // (2)
  if (threadIdx.y > 0 || COLUMN >= C) return;
  mean[COLUMN] = mu;
  var[COLUMN] = sigma2;
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
extern "C" __global__ void __launch_bounds__(THREADS) dsums(
    const float* __restrict__ x, const float* __restrict__ mean, const float* __restrict__ dy, float* __restrict__ sums,
    int R, int C, int rows) {
  __shared__ float shared[THREADS];
  float sum = 0.0f, sum_of_products = 0.0f;
  if (COLUMN < C)
    for (int row = FIRST_ROW; row < ROWS_END(R); row += blockDim.y) {
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

// (5), (6), (8) and (9), from the sums of the P stretches. What arrives at the statistics is given in dmean0 and dvar0.
// A block has all stretches of some columns.
extern "C" __global__ void __launch_bounds__(THREADS) dchannels(
    const float* __restrict__ sums, const float* __restrict__ var, const float* __restrict__ gamma,
    const float* OR_NULL dmean0, const float* OR_NULL dvar0, float* __restrict__ dgamma, float* __restrict__ dbeta,
    float* __restrict__ dmean, float* __restrict__ dvar, float eps, int P, int C) {
  __shared__ float shared[THREADS];
  float sum = 0.0f, sum_of_products = 0.0f;
  int c = COLUMN;
  if (c < C)
    for (int p = threadIdx.y; p < P; p += blockDim.y) {
      sum += sums[p * C + c];
      sum_of_products += sums[(P + p) * C + c];
    }
  sum = over_lanes(sum, shared);
  sum_of_products = over_lanes(sum_of_products, shared);
  if (threadIdx.y > 0 || c >= C) return;
  float s = sqrtf(var[c] + eps), product = sum_of_products / s;
  dbeta[c] = sum;                                                              // (5)
  dgamma[c] = product;                                                         // (6)
  dvar[c] = element_or(dvar0, c, 0.0f) - gamma[c] * product / (2.0f * s * s);  // (7) (8)
  dmean[c] = element_or(dmean0, c, 0.0f) - gamma[c] * sum / s;                 // (7) (9)
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
