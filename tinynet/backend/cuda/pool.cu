// The pooling of ops/pool.py. Forward, a thread looks at one window of one channel; backward, a thread gathers the
// gradient of one element of x from the windows that contain it, so that no two threads add to one number.
#include "window.h"

#define MINUS_INFINITY __uint_as_float(0xFF800000u)

extern "C" __global__ void max_pool(const float* __restrict__ x, float* __restrict__ y,
                                    unsigned short* __restrict__ winner, int size, int C,
                                    int width_h, int stride_h, int dilation_h, int before_h, int size_h, int outputs_h,
                                    int width_w, int stride_w, int dilation_w, int before_w, int size_w, int outputs_w) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  Window rows = WINDOW(h), columns = WINDOW(w);
  int c = at % C, j = at / C % columns.outputs, i = at / C / columns.outputs % rows.outputs;
  int n = at / C / columns.outputs / rows.outputs;
  float largest = MINUS_INFINITY;
  int first = 0;
  for (int kh = 0; kh < rows.width; kh++)
    for (int kw = 0; kw < columns.width; kw++) {
      int h = position(rows, i, kh), w = position(columns, j, kw);
      if (!inside(rows, h) || !inside(columns, w)) continue;
      float value = x[(((size_t)n * rows.size + h) * columns.size + w) * C + c];
      if (!(value <= largest) && largest == largest)  // larger, or the first NaN, which stays
        largest = value, first = kh * columns.width + kw;
    }
  y[at] = largest;     // (1)
  winner[at] = (unsigned short)first;
}

extern "C" __global__ void dmax_pool(const float* __restrict__ dy, const unsigned short* __restrict__ winner,
                                     float* __restrict__ dx, int size, int C,
                                     int width_h, int stride_h, int dilation_h, int before_h, int size_h, int outputs_h,
                                     int width_w, int stride_w, int dilation_w, int before_w, int size_w,
                                     int outputs_w) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  Window rows = WINDOW(h), columns = WINDOW(w);
  int c = at % C, w = at / C % columns.size, h = at / C / columns.size % rows.size;
  int n = at / C / columns.size / rows.size;
  float sum = 0.0f;
  for (int kh = 0; kh < rows.width; kh++)
    for (int kw = 0; kw < columns.width; kw++) {
      int i = output_at(rows, h, kh), j = output_at(columns, w, kw);
      if (i < 0 || j < 0) continue;
      size_t t = (((size_t)n * rows.outputs + i) * columns.outputs + j) * C + c;
      if (winner[t] == kh * columns.width + kw) sum += dy[t];  // (2)
    }
  dx[at] = sum;
}

extern "C" __global__ void avg_pool(const float* __restrict__ x, float* __restrict__ y, int size, int C,
                                    int width_h, int stride_h, int dilation_h, int before_h, int size_h, int outputs_h,
                                    int width_w, int stride_w, int dilation_w, int before_w, int size_w, int outputs_w) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  Window rows = WINDOW(h), columns = WINDOW(w);
  int c = at % C, j = at / C % columns.outputs, i = at / C / columns.outputs % rows.outputs;
  int n = at / C / columns.outputs / rows.outputs;
  float sum = 0.0f;
  for (int kh = 0; kh < rows.width; kh++)
    for (int kw = 0; kw < columns.width; kw++) {
      int h = position(rows, i, kh), w = position(columns, j, kw);
      if (inside(rows, h) && inside(columns, w)) sum += x[(((size_t)n * rows.size + h) * columns.size + w) * C + c];
    }
  y[at] = sum / (float)(elements_inside(rows, i) * elements_inside(columns, j));  // (1)
}

extern "C" __global__ void davg_pool(const float* __restrict__ dy, float* __restrict__ dx, int size, int C,
                                     int width_h, int stride_h, int dilation_h, int before_h, int size_h, int outputs_h,
                                     int width_w, int stride_w, int dilation_w, int before_w, int size_w,
                                     int outputs_w) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  Window rows = WINDOW(h), columns = WINDOW(w);
  int c = at % C, w = at / C % columns.size, h = at / C / columns.size % rows.size;
  int n = at / C / columns.size / rows.size;
  float sum = 0.0f;
  for (int kh = 0; kh < rows.width; kh++)
    for (int kw = 0; kw < columns.width; kw++) {
      int i = output_at(rows, h, kh), j = output_at(columns, w, kw);
      if (i < 0 || j < 0) continue;
      float R = (float)(elements_inside(rows, i) * elements_inside(columns, j));
      sum += dy[(((size_t)n * rows.outputs + i) * columns.outputs + j) * C + c] / R;  // (2)
    }
  dx[at] = sum;
}
