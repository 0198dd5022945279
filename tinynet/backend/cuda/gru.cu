// The GRU of ops/gru.py, step by step: what lies between two products. The equations stand in gru.h, the layout in
// gru.py.
#include "logistic.h"
#include "gru.h"
#include "optional.h"

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
  GruGates of_h = gru_sum(gru_row(own, j, H), gru_bias(b_h, j, H));
  GruGates gate = gru_gates_of(gru_sum(gru_row(a, j, H), gru_bias(b, j, H)), of_h);
  bool is_real = !real || real[at];
  float state = gru_state_after(is_real, h[before], gru_state_of(gate, h[before]));
  gru_store(a, j, H, gate);
  own[2 * H + j] = of_h.n;
  h[before + H] = state;
  y[at * H + j] = gru_output_of(is_real, state);
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
  GruGates of_a = {}, of_q = {};  // (14)
  if (!real || real[at]) {
    GruGates gate = gru_row(gates + row, j, H);
    float whole = dh[unit] + element_or(dy, at * H + j, 0.0f);
    of_a = gru_da_of(gate, q[row + 2 * H + j], h[(at + n) * H + j], whole);
    of_q = gru_dq_of(gate, of_a);
    dh[unit] = whole * gate.z;  // (8)
  }
  gru_store(da + row, j, H, of_a), gru_store(dq + row, j, H, of_q);
}
