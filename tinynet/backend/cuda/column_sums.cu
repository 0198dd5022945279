// What dense, convolution, LSTM and loss have in common: a bias for every row, and sums over all rows.
#include "column_sums.h"

// y (R,F) += b (F)
extern "C" __global__ void add_bias(float* __restrict__ y, const float* __restrict__ b, int size, int F) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size) y[at] += b[at % F];
}

// sums (P,C) = factor Σ x over each of the P stretches of the rows of x (R,C)
extern "C" __global__ void __launch_bounds__(THREADS) column_sums(
    const float* __restrict__ x, float* __restrict__ sums, float factor, int R, int C, int rows) {
  __shared__ float shared[THREADS];
  float sum = 0.0f;
  if (COLUMN < C)
    for (int row = FIRST_ROW; row < ROWS_END(R); row += blockDim.y) sum += x[(size_t)row * C + COLUMN];
  sum = over_lanes(sum, shared);
  if (threadIdx.y == 0 && COLUMN < C) sums[blockIdx.y * C + COLUMN] = factor * sum;
}
