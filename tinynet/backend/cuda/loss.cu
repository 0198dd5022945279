// The cross-entropy of ops/loss.py, unweighted: a warp for each row of scores (R,K), lane l taking every 32nd class.

#define ALL_LANES 0xffffffffu
#define MINUS_INFINITY __uint_as_float(0xFF800000u)

__device__ __forceinline__ float warp_sum(float value) {
  for (int bits = 16; bits > 0; bits /= 2) value += __shfl_xor_sync(ALL_LANES, value, bits);
  return value;
}

// (2): the target's share of a class.
__device__ __forceinline__ float share(int k, long long label, int K, float smoothing) {
  return (1.0f - smoothing) * (k == label ? 1.0f : 0.0f) + smoothing / (float)K;
}

// (1) to (3): ln p (R,K) and the loss of each row.
extern "C" __global__ void cross_entropy(const float* __restrict__ logits, const long long* __restrict__ labels,
                                         float* __restrict__ logp, float* __restrict__ losses, float smoothing, int R,
                                         int K) {
  int row = (blockIdx.x * blockDim.x + threadIdx.x) / warpSize, lane = threadIdx.x % warpSize;
  if (row >= R) return;  // the whole warp
  const float* z = logits + (size_t)row * K;
  float largest = MINUS_INFINITY;
  int where = K;
  for (int k = lane; k < K; k += warpSize)
    if (z[k] > largest) largest = z[k], where = k;
  for (int bits = 16; bits > 0; bits /= 2) {  // the first of the largest, for all lanes
    float other = __shfl_xor_sync(ALL_LANES, largest, bits);
    int other_where = __shfl_xor_sync(ALL_LANES, where, bits);
    if (other > largest || (other == largest && other_where < where)) largest = other, where = other_where;
  }
  float rest = 0.0f;
  for (int k = lane; k < K; k += warpSize)
    if (k != where) rest += expf(z[k] - largest);
  float log_of_sum = log1pf(warp_sum(rest));
  float loss = 0.0f;
  for (int k = lane; k < K; k += warpSize) {
    float logp_k = z[k] - largest - log_of_sum;                 // (1)
    logp[(size_t)row * K + k] = logp_k;
    loss -= share(k, labels[row], K, smoothing) * logp_k;       // (2) (3)
  }
  loss = warp_sum(loss);
  if (lane == 0) losses[row] = loss;
}

// (5) and (6), where Σ q is 1: a thread for each score.
extern "C" __global__ void dcross_entropy(const float* __restrict__ logp, const long long* __restrict__ labels,
                                          const float* __restrict__ dloss, float* __restrict__ dlogits, float smoothing,
                                          float one_over_S, int size, int K) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= size) return;
  float dl = dloss[0] * one_over_S;                                                                     // (5)
  dlogits[at] = dl * (expf(logp[at]) - share(at % K, labels[at / K], K, smoothing));                    // (6)
}
