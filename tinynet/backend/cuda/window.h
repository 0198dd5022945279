// Windows that slide along the axes of images, as in tinynet/window.py: element k of the window of output t lies at
// position  t stride + k dilation − before  of the axis. A position outside of the axis is padding.
struct Window { int width, stride, dilation, before, outputs; };

__device__ __forceinline__ int position(Window w, int t, int k) {
  return t * w.stride + k * w.dilation - w.before;
}

// The output whose window has its element k at position p; -1 if there is no such output.
__device__ __forceinline__ int output_at(Window w, int p, int k) {
  int steps = p + w.before - k * w.dilation;
  return steps >= 0 && steps % w.stride == 0 && steps / w.stride < w.outputs ? steps / w.stride : -1;
}

__device__ __forceinline__ bool inside(int p, int size) { return p >= 0 && p < size; }

// The number of elements of the window of output t that are not padding.
__device__ __forceinline__ int elements_inside(Window w, int t, int size) {
  int count = 0;
  for (int k = 0; k < w.width; k++) count += inside(position(w, t, k), size);
  return count;
}

// The indices of element `at` of an array (N,H,W,C).
struct Place { int n, h, w, c; };

__device__ __forceinline__ Place place_of(int at, int H, int W, int C) {
  return {at / C / W / H, at / C / W % H, at / C % W, at % C};
}

// The element of an array (N,H,W,C) with these indices.
__device__ __forceinline__ size_t element(int n, int h, int w, int c, int H, int W, int C) {
  return (((size_t)n * H + h) * W + w) * C + c;
}
