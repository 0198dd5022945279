// The LSTM of ops/lstm.py, step by step: what lies between two products. The layout stands in lstm.py.
#include "logistic.h"
#include "lstm.h"
#include "optional.h"

// --- Schedule --------------------------------------------------------------------------------------------------------
// A launch takes one step t; a thread takes one unit of one sequence.

// Before: `gates` (N,T,4H) holds [h̃ₜ₋₁, xₜ] W at step t. After: the gates. `mh` is h̃, written for step t+1. With a mask,
// `states` receives h.
extern "C" __global__ void lstm_gates(float* __restrict__ gates, const float* __restrict__ b, const float* OR_NULL m,
                                      const bool* OR_NULL real, const float* OR_NULL h0, float* __restrict__ C,
                                      float* __restrict__ mh, float* OR_NULL states, float* __restrict__ y, int t,
                                      int N, int T, int H) {
  int unit = blockIdx.x * blockDim.x + threadIdx.x;
  if (unit >= N * H) return;
  int n = unit / H, j = unit % H;
  size_t at = (size_t)n * T + t, before = (at + n) * H + j;  // C has T + 1 rows for each sequence
  float* z = gates + at * 4 * H;
  Gates gate = gates_of({z[j] + b[j], z[H + j] + b[H + j], z[2 * H + j] + b[2 * H + j], z[3 * H + j] + b[3 * H + j]});
  State state = state_of(gate, C[before]);
  if (states) {
    float h_before = t > 0 ? states[(at - 1) * H + j] : element_or(h0, unit, 0.0f);
    state = state_after(is_real_step(real, at), {C[before], h_before}, state);
    states[at * H + j] = state.h;
  }
  z[j] = gate.f, z[H + j] = gate.i, z[2 * H + j] = gate.Ctilde, z[3 * H + j] = gate.o;
  C[before + H] = state.C;
  y[at * H + j] = output_of(is_real_step(real, at), state);
  if (t + 1 < T) mh[(at + 1) * H + j] = element_or(m, unit, 1.0f) * state.h;  // (15)
}

// `dh` and `dC` (N,H) are the gradients that step t+1 passes back. dC becomes that of step t−1. With a mask, δz Wᵀ is
// added to dh, which keeps its value at a masked step and is 0 before the sum at a real one.
extern "C" __global__ void lstm_dgates(const float* __restrict__ gates, const bool* OR_NULL real,
                                       const float* __restrict__ C, const float* OR_NULL dy, float* __restrict__ dh,
                                       float* __restrict__ dC, float* __restrict__ dz, int t, int N, int T, int H) {
  int unit = blockIdx.x * blockDim.x + threadIdx.x;
  if (unit >= N * H) return;
  int n = unit / H, j = unit % H;
  size_t at = (size_t)n * T + t, before = (at + n) * H + j;
  gates += at * 4 * H, dz += at * 4 * H;
  Gates z = {};  // (21)
  if (is_real_step(real, at)) {
    Gates gate = {gates[j], gates[H + j], gates[2 * H + j], gates[3 * H + j]};
    z = dz_of(gate, C[before], tanhf(C[before + H]), dh[unit] + element_or(dy, at * H + j, 0.0f), dC[unit]);
    if (real) dh[unit] = 0.0f;  // (22)
  }
  dz[j] = z.f, dz[H + j] = z.i, dz[2 * H + j] = z.Ctilde, dz[3 * H + j] = z.o;
}

// δh̃ of step t−1 becomes δh.
extern "C" __global__ void lstm_dmask(const float* __restrict__ states, const float* OR_NULL h0,
                                      const float* __restrict__ m, const bool* OR_NULL real, float* __restrict__ dh,
                                      float* __restrict__ dm, int t, int N, int T, int H) {
  int unit = blockIdx.x * blockDim.x + threadIdx.x;
  if (unit >= N * H) return;
  int n = unit / H, j = unit % H;
  if (!is_real_step(real, (size_t)n * T + t)) return;
  float h_before = t > 0 ? states[((size_t)n * T + t - 1) * H + j] : element_or(h0, unit, 0.0f);
  dm[unit] += h_before * dh[unit];  // (17)
  dh[unit] *= m[unit];              // (16)
}
