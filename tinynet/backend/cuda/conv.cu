// The convolutions of ops/conv.py. The layout, and the products, stand in conv.py.
#include "window.h"

// --- Equations -------------------------------------------------------------------------------------------------------
// Unfolding makes one product of each sum over k: Σₖ x[t s + k d − p] Wₖ is a row of the unfolded images times W.
// Folding undoes it for the gradient.

// x[t s + k d − p], or 0 in the padding. `out` is t with n and c.
__device__ __forceinline__ float unfolded(const float* x, Place out, int kh, int kw, Window rows, Window columns, int H,
                                          int W, int C) {
  int h = position(rows, out.h, kh), w = position(columns, out.w, kw);
  return inside(h, H) && inside(w, W) ? x[element(out.n, h, w, out.c, H, W, C)] : 0.0f;  // (1) (3)
}

// Σ over the k with u = t s + k d − p for an output t. `in` is u with n and c.
__device__ __forceinline__ float folded(const float* dwindows, Place in, Window rows, Window columns, int C) {
  float sum = 0.0f;
  for (int kh = 0; kh < rows.width; kh++) {
    int i = output_at(rows, in.h, kh);
    if (i < 0) continue;
    for (int kw = 0; kw < columns.width; kw++) {
      int j = output_at(columns, in.w, kw);
      size_t t = ((size_t)in.n * rows.outputs + i) * columns.outputs + j;
      if (j >= 0) sum += dwindows[(t * rows.width * columns.width + kh * columns.width + kw) * C + in.c];  // (2)
    }
  }
  return sum;
}

// --- Schedule --------------------------------------------------------------------------------------------------------
// A thread writes one element. In `fold` it gathers, so that no two threads add to the same number.

extern "C" __global__ void unfold(const float* __restrict__ x, float* __restrict__ windows, Window rows, Window columns,
                                  int H, int W, int C, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  int c = at % C, k = at / C % (rows.width * columns.width), t = at / C / (rows.width * columns.width);
  Place out = {t / columns.outputs / rows.outputs, t / columns.outputs % rows.outputs, t % columns.outputs, c};
  windows[at] = unfolded(x, out, k / columns.width, k % columns.width, rows, columns, H, W, C);
}

extern "C" __global__ void fold(const float* __restrict__ dwindows, float* __restrict__ dx, Window rows, Window columns,
                                int H, int W, int C, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size) dx[at] = folded(dwindows, place_of(at, H, W, C), rows, columns, C);
}
