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

// (1) to (3) for a row: its ln p (K), and its loss, for all lanes.
__device__ __forceinline__ float loss_of_row(const float* __restrict__ z, long long label, float* __restrict__ logp,
                                             float smoothing, int K) {
  int lane = threadIdx.x % warpSize;
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
    float logp_k = z[k] - largest - log_of_sum;           // (1)
    logp[k] = logp_k;
    loss -= share(k, label, K, smoothing) * logp_k;       // (2) (3)
  }
  return warp_sum(loss);
}

// (1) to (4): ln p (R,K), and of each block's rows, the sum of their losses times a factor. The warps take turns.
extern "C" __global__ void __launch_bounds__(1024) cross_entropy(
    const float* __restrict__ logits, const long long* __restrict__ labels, float* __restrict__ logp,
    float* __restrict__ losses, float smoothing, float factor, int R, int K, int rows) {
  __shared__ float of_warps[32];
  int warp = threadIdx.x / warpSize, warps = blockDim.x / warpSize, end = min(R, int((blockIdx.x + 1) * rows));
  float loss = 0.0f;
  for (int row = blockIdx.x * rows + warp; row < end; row += warps)
    loss += loss_of_row(logits + (size_t)row * K, labels[row], logp + (size_t)row * K, smoothing, K);
  if (threadIdx.x % warpSize == 0) of_warps[warp] = loss;
  __syncthreads();
  if (threadIdx.x > 0) return;
  float sum = 0.0f;
  for (int w = 0; w < warps; w++) sum += of_warps[w];
  losses[blockIdx.x] = factor * sum;  // (4), or its part
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
