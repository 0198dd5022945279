// Where a window stands that slides along an axis: tinynet/window.py. Output t takes element k of its window from
// position  t stride + k dilation − before,  if that is one of the `size` positions and not padding.
struct Window { int width, stride, dilation, before, size, outputs; };

__device__ __forceinline__ int position(Window w, int t, int k) {
  return t * w.stride + k * w.dilation - w.before;
}

// The output whose window has its element k at position p; -1 if there is none.
__device__ __forceinline__ int output_at(Window w, int p, int k) {
  int steps = p + w.before - k * w.dilation;
  return steps >= 0 && steps % w.stride == 0 && steps / w.stride < w.outputs ? steps / w.stride : -1;
}

__device__ __forceinline__ bool inside(Window w, int p) { return p >= 0 && p < w.size; }

// How many elements of the window of output t are not padding.
__device__ __forceinline__ int elements_inside(Window w, int t) {
  int count = 0;
  for (int k = 0; k < w.width; k++) count += inside(w, position(w, t, k));
  return count;
}

// A kernel takes the windows along the height (h) and the width (w) as six numbers each.
#define WINDOW(axis) Window{width_##axis, stride_##axis, dilation_##axis, before_##axis, size_##axis, outputs_##axis}
