// Dropout of ops/dropout.py, with the Philox-4x32-10 of tinynet/random.py: a thread draws the four words of one counter
// and has the four elements that belong to them. The same integers as on the host, so the same mask, bit for bit.
#include "optional.h"

__device__ __forceinline__ uint4 philox(uint4 c, unsigned k0, unsigned k1) {
  for (int round = 0; round < 10; round++) {
    unsigned high0 = __umulhi(0xD2511F53u, c.x), low0 = 0xD2511F53u * c.x;
    unsigned high1 = __umulhi(0xCD9E8D57u, c.z), low1 = 0xCD9E8D57u * c.z;
    c = make_uint4(high1 ^ c.y ^ k0, low1, high0 ^ c.w ^ k1, low0);
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return c;
}

// (1): y = x m / (1 − p), where m = 1 if the word is at least floor(p 2³²). So is (2), of δy. The number of the draw is
// `step`, or what the device has counted; this is kept in `drawn`, if that is given, for the counter may count on.
extern "C" __global__ void dropout(const float* __restrict__ x, float* __restrict__ y, long long step,
                                   const long long* OR_NULL counted, long long* OR_NULL drawn, unsigned seed,
                                   unsigned stream, unsigned threshold, float factor, int size) {
  unsigned quad = blockIdx.x * blockDim.x + threadIdx.x;
  if (counted) step = counted[0];
  if (drawn && quad == 0) drawn[0] = step;
  uint4 words = philox(make_uint4(quad, (unsigned)step, (unsigned)(step >> 32), 0u), seed, stream);
  unsigned word[4] = {words.x, words.y, words.z, words.w};
  for (int i = 0; i < 4; i++) {
    int at = 4 * quad + i;
    if (at < size) y[at] = x[at] * (word[i] >= threshold ? factor : 0.0f);
  }
}
