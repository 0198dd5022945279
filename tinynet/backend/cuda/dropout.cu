// Dropout of ops/dropout.py. The layout stands in dropout.py.
#include "optional.h"

// --- Equations -------------------------------------------------------------------------------------------------------

// The four words of Philox-4x32-10 (tinynet/random.py) for one counter. Integer arithmetic: the bits are those of the
// host.
__device__ __forceinline__ uint4 philox(uint4 c, unsigned k0, unsigned k1) {
  for (int round = 0; round < 10; round++) {
    unsigned high0 = __umulhi(0xD2511F53u, c.x), low0 = 0xD2511F53u * c.x;
    unsigned high1 = __umulhi(0xCD9E8D57u, c.z), low1 = 0xCD9E8D57u * c.z;
    c = make_uint4(high1 ^ c.y ^ k0, low1, high0 ^ c.w ^ k1, low0);
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return c;
}

// x m / (1 − p), where a dropped ∞ is 0 and NaN passes: `threshold` is ⌊p 2³²⌋ and `factor` is 1 / (1 − p).
__device__ __forceinline__ float masked(float x, unsigned word, unsigned threshold, float factor) {
  return word >= threshold || x != x ? x * factor : 0.0f;  // (1) (2)
}

// --- Schedule --------------------------------------------------------------------------------------------------------
// A thread draws the four words of one counter, for four neighbouring elements; x begins with the element `first`. The
// number of the draw is `step`, or is read from `counted` on the device. It is then saved in `drawn` for the backward
// pass, because the counter goes on.

extern "C" __global__ void dropout(const float* __restrict__ x, float* __restrict__ y, long long step,
                                   const long long* OR_NULL counted, long long* OR_NULL drawn, unsigned seed,
                                   unsigned stream, unsigned threshold, float factor, long long first, int size) {
  unsigned quad = blockIdx.x * blockDim.x + threadIdx.x;
  if (counted) step = counted[0];
  if (drawn && quad == 0) drawn[0] = step;
  unsigned number = (unsigned)(first / 4) + quad;
  uint4 words = philox(make_uint4(number, (unsigned)step, (unsigned)(step >> 32), 0u), seed, stream);
  unsigned word[4] = {words.x, words.y, words.z, words.w};
  for (int i = 0; i < 4; i++) {
    int at = 4 * (int)quad + i - (int)(first % 4);
    if (at >= 0 && at < size) y[at] = masked(x[at], word[i], threshold, factor);
  }
}
