// The convolutions of ops/conv.py: an image is unfolded into a matrix with the window of one output in each row, so
// that (1), (2) and (3) are products of matrices; a gradient of that matrix is folded back into one of the image.
#include "window.h"

// windows (N H' W', KH KW C) of x (N,H,W,C): row t, column k has x[t s + k d − p], or 0 in the padding.
extern "C" __global__ void unfold(const float* __restrict__ x, float* __restrict__ windows, int size, int C,
                                  int width_h, int stride_h, int dilation_h, int before_h, int size_h, int outputs_h,
                                  int width_w, int stride_w, int dilation_w, int before_w, int size_w, int outputs_w) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  Window rows = WINDOW(h), columns = WINDOW(w);
  int c = at % C, k = at / C % (rows.width * columns.width), t = at / C / (rows.width * columns.width);
  int n = t / columns.outputs / rows.outputs;
  int h = position(rows, t / columns.outputs % rows.outputs, k / columns.width);
  int w = position(columns, t % columns.outputs, k % columns.width);
  bool there = inside(rows, h) && inside(columns, w);
  windows[at] = there ? x[(((size_t)n * rows.size + h) * columns.size + w) * C + c] : 0.0f;
}

// (2): δx[t s + k d − p] = Σ δwindows[t, k]. A thread for each element of x gathers what its windows have, so that no
// two threads add to one number.
extern "C" __global__ void fold(const float* __restrict__ dwindows, float* __restrict__ dx, int size, int C,
                                int width_h, int stride_h, int dilation_h, int before_h, int size_h, int outputs_h,
                                int width_w, int stride_w, int dilation_w, int before_w, int size_w, int outputs_w) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  Window rows = WINDOW(h), columns = WINDOW(w);
  int c = at % C, w = at / C % columns.size, h = at / C / columns.size % rows.size;
  int n = at / C / columns.size / rows.size;
  float sum = 0.0f;
  for (int kh = 0; kh < rows.width; kh++) {
    int i = output_at(rows, h, kh);
    if (i < 0) continue;
    for (int kw = 0; kw < columns.width; kw++) {
      int j = output_at(columns, w, kw);
      size_t t = ((size_t)n * rows.outputs + i) * columns.outputs + j;
      if (j >= 0) sum += dwindows[(t * rows.width * columns.width + kh * columns.width + kw) * C + c];
    }
  }
  dx[at] = sum;
}
