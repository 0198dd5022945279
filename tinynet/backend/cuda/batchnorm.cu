// The batch normalisation of ops/batchnorm.py. The layout stands in batchnorm.py.
#include "column_sums.h"
#include "optional.h"

// --- Equations -------------------------------------------------------------------------------------------------------

// Whether row `row` of x (R,C) is real. An element of the mask, which may be null, is for `span` rows.
__device__ __forceinline__ bool is_real(const bool* real, int row, int span) { return !real || real[row / span]; }

__device__ __forceinline__ float mean_of(float sum, float R) { return sum / R; }                      // (1)
__device__ __forceinline__ float var_of(float sum_of_squares, float R) { return sum_of_squares / R; }  // (2)

// One element of y; s = √(σ² + ε).
__device__ __forceinline__ float normalised(float x, float mean, float s, float gamma, float beta) {
  float xhat = (x - mean) / s;  // (3)
  return gamma * xhat + beta;   // (4)
}

struct Gradients { float beta, gamma, mean, var; };  // of one channel

// From `sum` = Σ δy and `products` = Σ δy (x − μ). Σ δx̂ = γ Σ δy, so (7) needs no pass of its own.
__device__ __forceinline__ Gradients gradients_of(float sum, float products, float s, float gamma, float dmean,
                                                  float dvar) {
  float dbeta = sum;                                    // (5)
  float dgamma = products / s;                          // (6)
  dvar = dvar - gamma * dgamma / (2.0f * s * s);        // (7) (8)
  dmean = dmean - gamma * sum / s;                      // (7) (9)
  return {dbeta, dgamma, dmean, dvar};
}

// One element of δx. `given` says whether μ and σ² were arguments of the op.
__device__ __forceinline__ float combined(float dy, float x, float mean, float s, float gamma, float dmean, float dvar,
                                          float R, bool given) {
  float own = dy * gamma / s;                                                    // (7) (11)
  return given ? own : own + (dvar * 2.0f * (x - mean) + dmean) / R;             // (10)
}

// k and 1 − k after n batches; `taken` is 1 − momentum.
struct Shares { float keep, take; };

__device__ __forceinline__ Shares shares(float n, float momentum, float taken) {
  float k = n / (n + 1.0f);
  return k < momentum ? Shares{k, 1.0f / (n + 1.0f)} : Shares{momentum, taken};  // (12)
}

__device__ __forceinline__ float averaged(float running, float batch, Shares k) {
  return k.keep * running + k.take * batch;  // (13)
}

// --- Schedule --------------------------------------------------------------------------------------------------------
// Sums over the R rows of x (R,C) are made for each stretch of rows (column_sums.h), into (P,C), and then over the P
// stretches: there a block has all stretches of some columns.

// μ and σ² of each stretch, and with a mask the number of its real rows. μ must be known before the squares, so the rows are read twice; the second time from a
// cache.
extern "C" __global__ void __launch_bounds__(THREADS) statistics(
    const float* __restrict__ x, const bool* OR_NULL real, float* __restrict__ mean, float* __restrict__ var,
    float* OR_NULL counts, int R, int C, int rows, int span) {
  __shared__ float shared[THREADS];
  float sum = 0.0f, sum_of_squares = 0.0f, own = 0.0f;
  if (COLUMN < C)
    for (int row = FIRST_ROW; row < ROWS_END(R); row += blockDim.y)
      if (is_real(real, row, span)) {
        sum += x[(size_t)row * C + COLUMN];  // (1)
        own += 1.0f;
      }
  float count = counts ? over_lanes(own, shared) : (float)(ROWS_END(R) - int(blockIdx.y * rows));
  float mu = mean_of(over_lanes(sum, shared), fmaxf(count, 1.0f));
  if (COLUMN < C)
    for (int row = FIRST_ROW; row < ROWS_END(R); row += blockDim.y) {
      if (!is_real(real, row, span)) continue;
      float centred = x[(size_t)row * C + COLUMN] - mu;
      sum_of_squares += centred * centred;  // (2)
    }
  float sigma2 = var_of(over_lanes(sum_of_squares, shared), fmaxf(count, 1.0f));
  if (threadIdx.y > 0 || COLUMN >= C) return;
  mean[blockIdx.y * C + COLUMN] = mu;
  var[blockIdx.y * C + COLUMN] = sigma2;
  if (counts) counts[blockIdx.y * C + COLUMN] = count;
}

// μ and σ² of all rows, and with a mask the number of real ones. The squares of a stretch are about its own mean, which differs from μ.
extern "C" __global__ void __launch_bounds__(THREADS) merged_statistics(
    const float* __restrict__ means, const float* __restrict__ vars, const float* OR_NULL counts,
    float* __restrict__ mean, float* __restrict__ var, float* OR_NULL count, int P, int R, int C, int rows) {
  __shared__ float shared[THREADS];
  float sum = 0.0f, sum_of_squares = 0.0f, real_rows = 0.0f;
  if (COLUMN < C)
    for (int p = threadIdx.y; p < P; p += blockDim.y) {
      float own = element_or(counts, (size_t)p * C + COLUMN, (float)min(rows, R - p * rows));
      sum += own * means[p * C + COLUMN];  // (1)
      real_rows += own;
    }
  float all = counts ? over_lanes(real_rows, shared) : (float)R;
  float mu = mean_of(over_lanes(sum, shared), fmaxf(all, 1.0f));
  if (COLUMN < C)
    for (int p = threadIdx.y; p < P; p += blockDim.y) {
      float own = element_or(counts, (size_t)p * C + COLUMN, (float)min(rows, R - p * rows));
      float away = means[p * C + COLUMN] - mu;
      sum_of_squares += own * (vars[p * C + COLUMN] + away * away);  // (2)
    }
  float sigma2 = var_of(over_lanes(sum_of_squares, shared), fmaxf(all, 1.0f));
  if (threadIdx.y > 0 || COLUMN >= C) return;
  mean[COLUMN] = mu;
  var[COLUMN] = sigma2;
  if (count) count[COLUMN] = all;
}

extern "C" __global__ void normalise(const float* __restrict__ x, const float* __restrict__ mean,
                                     const float* __restrict__ var, const float* __restrict__ gamma,
                                     const float* __restrict__ beta, const bool* OR_NULL real, float* __restrict__ y,
                                     float eps, int size, int C, int span) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  int c = at % C;
  y[at] = is_real(real, at / C, span) ? normalised(x[at], mean[c], sqrtf(var[c] + eps), gamma[c], beta[c]) : 0.0f;
}

// Σ δy and Σ δy (x − μ) of each stretch: the two halves of `sums` (2,P,C).
extern "C" __global__ void __launch_bounds__(THREADS) dsums(
    const float* __restrict__ x, const float* __restrict__ mean, const bool* OR_NULL real, const float* __restrict__ dy,
    float* __restrict__ sums, int R, int C, int rows, int span) {
  __shared__ float shared[THREADS];
  float sum = 0.0f, products = 0.0f;
  if (COLUMN < C)
    for (int row = FIRST_ROW; row < ROWS_END(R); row += blockDim.y) {
      if (!is_real(real, row, span)) continue;
      size_t at = (size_t)row * C + COLUMN;
      sum += dy[at];                             // (5)
      products += dy[at] * (x[at] - mean[COLUMN]);  // (6)
    }
  sum = over_lanes(sum, shared);
  products = over_lanes(products, shared);
  if (threadIdx.y > 0 || COLUMN >= C) return;
  sums[blockIdx.y * C + COLUMN] = sum;
  sums[(gridDim.y + blockIdx.y) * C + COLUMN] = products;
}

// The gradients of each channel. dmean0 and dvar0 are those of the returned statistics.
extern "C" __global__ void __launch_bounds__(THREADS) dchannels(
    const float* __restrict__ sums, const float* __restrict__ var, const float* __restrict__ gamma,
    const float* OR_NULL dmean0, const float* OR_NULL dvar0, float* __restrict__ dgamma, float* __restrict__ dbeta,
    float* __restrict__ dmean, float* __restrict__ dvar, float eps, int P, int C) {
  __shared__ float shared[THREADS];
  float sum = 0.0f, products = 0.0f;
  int c = COLUMN;
  if (c < C)
    for (int p = threadIdx.y; p < P; p += blockDim.y) {
      sum += sums[p * C + c];                // (5)
      products += sums[(P + p) * C + c];     // (6)
    }
  sum = over_lanes(sum, shared);
  products = over_lanes(products, shared);
  if (threadIdx.y > 0 || c >= C) return;
  Gradients own = gradients_of(sum, products, sqrtf(var[c] + eps), gamma[c], element_or(dmean0, c, 0.0f),
                               element_or(dvar0, c, 0.0f));
  dbeta[c] = own.beta, dgamma[c] = own.gamma, dmean[c] = own.mean, dvar[c] = own.var;
}

extern "C" __global__ void dnormalise(const float* __restrict__ x, const float* __restrict__ dy,
                                      const float* __restrict__ mean, const float* __restrict__ var,
                                      const float* __restrict__ gamma, const float* __restrict__ dmean,
                                      const float* __restrict__ dvar, const bool* OR_NULL real,
                                      const float* OR_NULL count, float* __restrict__ dx, float eps, bool given,
                                      int size, int R, int C, int span) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  int c = at % C;
  float rows = fmaxf(element_or(count, c, (float)R), 1.0f), s = sqrtf(var[c] + eps);
  dx[at] = is_real(real, at / C, span)
      ? combined(dy[at], x[at], mean[c], s, gamma[c], dmean[c], dvar[c], rows, given) : 0.0f;
}

extern "C" __global__ void running_averages(float* __restrict__ running_mean, float* __restrict__ running_var,
                                            const float* __restrict__ mean, const float* __restrict__ var,
                                            float momentum, float taken, long long seen,
                                            const long long* OR_NULL seen_there, int C) {
  int c = blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= C) return;
  Shares k = shares((float)(seen_there ? seen_there[0] : seen), momentum, taken);
  running_mean[c] = averaged(running_mean[c], mean[c], k);
  running_var[c] = averaged(running_var[c], var[c], k);
}
