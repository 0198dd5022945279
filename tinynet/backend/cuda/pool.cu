// The pooling of ops/pool.py. The layout stands in pool.py.
#include "window.h"

#define MINUS_INFINITY __uint_as_float(0xFF800000u)

// --- Equations -------------------------------------------------------------------------------------------------------

struct Largest { float value; int tap; };

// The larger of `best` and one more element of the window. The first maximum stays, and so does the first NaN. The tap
// is negative before the first element: -∞ in the padding never wins.
__device__ __forceinline__ Largest larger(Largest best, float value, int tap) {
  return best.tap < 0 || (!(value <= best.value) && best.value == best.value) ? Largest{value, tap} : best;  // (1)
}

__device__ __forceinline__ float dlarger(float dy, int winner, int tap) {
  return winner == tap ? dy : 0.0f;  // (2)
}

// R is the number of elements of the window that are not padding.
__device__ __forceinline__ float mean(float sum, float R) { return sum / R; }   // (1)
__device__ __forceinline__ float dmean(float dy, float R) { return dy / R; }    // (2)

// --- Schedule --------------------------------------------------------------------------------------------------------
// Forward, a thread takes one output. Backward, a thread takes one element of x and gathers its gradient from the
// windows that hold it: no two threads add to the same number, so the order of the additions is fixed.

extern "C" __global__ void max_pool(const float* __restrict__ x, float* __restrict__ y,
                                    unsigned short* __restrict__ winner, Window rows, Window columns, int H, int W,
                                    int C, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  Place out = place_of(at, rows.outputs, columns.outputs, C);
  Largest best = {MINUS_INFINITY, -1};
  for (int kh = 0; kh < rows.width; kh++)
    for (int kw = 0; kw < columns.width; kw++) {
      int h = position(rows, out.h, kh), w = position(columns, out.w, kw);
      if (inside(h, H) && inside(w, W))
        best = larger(best, x[element(out.n, h, w, out.c, H, W, C)], kh * columns.width + kw);
    }
  y[at] = best.value;
  winner[at] = (unsigned short)best.tap;
}

extern "C" __global__ void dmax_pool(const float* __restrict__ dy, const unsigned short* __restrict__ winner,
                                     float* __restrict__ dx, Window rows, Window columns, int H, int W, int C,
                                     int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  Place in = place_of(at, H, W, C);
  float sum = 0.0f;
  for (int kh = 0; kh < rows.width; kh++)
    for (int kw = 0; kw < columns.width; kw++) {
      int i = output_at(rows, in.h, kh), j = output_at(columns, in.w, kw);
      if (i < 0 || j < 0) continue;
      size_t t = element(in.n, i, j, in.c, rows.outputs, columns.outputs, C);
      sum += dlarger(dy[t], winner[t], kh * columns.width + kw);
    }
  dx[at] = sum;
}

extern "C" __global__ void avg_pool(const float* __restrict__ x, float* __restrict__ y, Window rows, Window columns,
                                    int H, int W, int C, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  Place out = place_of(at, rows.outputs, columns.outputs, C);
  float sum = 0.0f;
  for (int kh = 0; kh < rows.width; kh++)
    for (int kw = 0; kw < columns.width; kw++) {
      int h = position(rows, out.h, kh), w = position(columns, out.w, kw);
      if (inside(h, H) && inside(w, W)) sum += x[element(out.n, h, w, out.c, H, W, C)];
    }
  y[at] = mean(sum, (float)(elements_inside(rows, out.h, H) * elements_inside(columns, out.w, W)));
}

extern "C" __global__ void davg_pool(const float* __restrict__ dy, float* __restrict__ dx, Window rows, Window columns,
                                     int H, int W, int C, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  Place in = place_of(at, H, W, C);
  float sum = 0.0f;
  for (int kh = 0; kh < rows.width; kh++)
    for (int kw = 0; kw < columns.width; kw++) {
      int i = output_at(rows, in.h, kh), j = output_at(columns, in.w, kw);
      if (i < 0 || j < 0) continue;
      float R = (float)(elements_inside(rows, i, H) * elements_inside(columns, j, W));
      sum += dmean(dy[element(in.n, i, j, in.c, rows.outputs, columns.outputs, C)], R);
    }
  dx[at] = sum;
}
