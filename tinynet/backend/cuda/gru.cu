// The GRU of ops/gru.py, step by step: what lies between two products. The layout stands in gru.py.
#include "logistic.h"
#include "optional.h"

// --- Equations -------------------------------------------------------------------------------------------------------

struct GruGates { float r, z, n; };  // or a, or q, or δa, or δq

// The gates of one unit, from a and q with their biases.
__device__ __forceinline__ GruGates gru_gates_of(GruGates a, GruGates q) {
  float r = logistic(a.r + q.r);     // (1)
  float z = logistic(a.z + q.z);     // (2)
  float n = tanhf(a.n + r * q.n);    // (3)
  return {r, z, n};
}

__device__ __forceinline__ float gru_state_of(GruGates gate, float h_before) {
  return gate.n + gate.z * (h_before - gate.n);  // (4)
}

// δa. `dh` includes δyₜ; the δq of n is δa of n times r.
__device__ __forceinline__ GruGates gru_da_of(GruGates gate, float q_n, float h_before, float dh) {
  float n = dh * (1.0f - gate.z) * (1.0f - gate.n * gate.n);           // (5)
  float z = dh * (h_before - gate.n) * gate.z * (1.0f - gate.z);       // (6)
  float r = n * q_n * gate.r * (1.0f - gate.r);                        // (7)
  return {r, z, n};
}

// --- Schedule --------------------------------------------------------------------------------------------------------
// A launch takes one step t; a thread takes one unit of one sequence.

// Before: `gates` (N,T,3H) holds x W_x, and `q` (N,T,3H) h W_h at step t. After: r, z, n, and in the last block of q, q_n.
extern "C" __global__ void gru_gates(float* __restrict__ gates, float* __restrict__ q, const float* OR_NULL b,
                                     const float* OR_NULL b_h, const bool* OR_NULL real, float* __restrict__ h,
                                     float* __restrict__ y, int t, int N, int T, int H) {
  int unit = blockIdx.x * blockDim.x + threadIdx.x;
  if (unit >= N * H) return;
  int n = unit / H, j = unit % H;
  size_t at = (size_t)n * T + t, before = (at + n) * H + j;  // h has T + 1 rows for each sequence
  float *a = gates + at * 3 * H, *own = q + at * 3 * H;
  GruGates of_h = {own[j] + element_or(b_h, j, 0.0f), own[H + j] + element_or(b_h, H + j, 0.0f),
                   own[2 * H + j] + element_or(b_h, 2 * H + j, 0.0f)};
  GruGates gate = gru_gates_of({a[j] + element_or(b, j, 0.0f), a[H + j] + element_or(b, H + j, 0.0f),
                                a[2 * H + j] + element_or(b, 2 * H + j, 0.0f)}, of_h);
  bool is_real = !real || real[at];
  float state = gru_state_of(gate, h[before]);
  a[j] = gate.r, a[H + j] = gate.z, a[2 * H + j] = gate.n;
  own[2 * H + j] = of_h.n;
  h[before + H] = is_real ? state : h[before];  // (12)
  y[at * H + j] = is_real ? state : 0.0f;       // (13)
}

// `dh` (N,H) is the gradient that step t+1 passes back. It becomes its direct part in that of step t−1.
extern "C" __global__ void gru_dgates(const float* __restrict__ gates, const float* __restrict__ q,
                                      const float* __restrict__ h, const bool* OR_NULL real, const float* OR_NULL dy,
                                      float* __restrict__ dh, float* __restrict__ da, float* __restrict__ dq, int t,
                                      int N, int T, int H) {
  int unit = blockIdx.x * blockDim.x + threadIdx.x;
  if (unit >= N * H) return;
  int n = unit / H, j = unit % H;
  size_t at = (size_t)n * T + t, row = at * 3 * H;
  GruGates of_a = {};  // (14)
  float r = gates[row + j];
  if (!real || real[at]) {
    GruGates gate = {r, gates[row + H + j], gates[row + 2 * H + j]};
    float whole = dh[unit] + element_or(dy, at * H + j, 0.0f);
    of_a = gru_da_of(gate, q[row + 2 * H + j], h[(at + n) * H + j], whole);
    dh[unit] = whole * gate.z;  // (8)
  }
  da[row + j] = of_a.r, da[row + H + j] = of_a.z, da[row + 2 * H + j] = of_a.n;
  dq[row + j] = of_a.r, dq[row + H + j] = of_a.z;
  dq[row + 2 * H + j] = real && !real[at] ? 0.0f : of_a.n * r;  // (5)
}
