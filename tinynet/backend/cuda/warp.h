// Sums over the lanes of a warp. All 32 must take part.
#define ALL_LANES 0xffffffffu

// The sum of `value` over the lanes, returned to all of them.
__device__ __forceinline__ float warp_sum(float value) {
  for (int bits = 16; bits > 0; bits /= 2) value += __shfl_xor_sync(ALL_LANES, value, bits);
  return value;
}
