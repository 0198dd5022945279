// The LSTM of ops/lstm.py: what lies between two products, at one step for one unit of one sequence in each thread.
// The same names and the same equations. Arrays of all steps have time first, but for y and dy (N,T,H).
#include "logistic.h"

// (1) to (6). At step t, `gates` (T,N,4H) holds [m ⊙ hₜ₋₁, xₜ] W, which becomes the gates.
extern "C" __global__ void lstm_gates(float* __restrict__ gates, const float* __restrict__ b,
                                      const float* __restrict__ m, float* __restrict__ C, float* __restrict__ mh,
                                      float* __restrict__ y, int t, int N, int T, int H) {
  int unit = blockIdx.x * blockDim.x + threadIdx.x;
  if (unit >= N * H) return;
  int n = unit / H, j = unit % H;
  float* z = gates + ((size_t)t * N + n) * 4 * H;
  float f = logistic(z[j] + b[j]);                          // (1)
  float i = logistic(z[H + j] + b[H + j]);                  // (2)
  float Ctilde = tanhf(z[2 * H + j] + b[2 * H + j]);        // (3)
  float o = logistic(z[3 * H + j] + b[3 * H + j]);          // (5)
  size_t before = (size_t)t * N * H + unit, now = before + (size_t)N * H;
  C[now] = f * C[before] + i * Ctilde;                      // (4)
  float h = o * tanhf(C[now]);                              // (6)
  z[j] = f, z[H + j] = i, z[2 * H + j] = Ctilde, z[3 * H + j] = o;
  mh[now] = m[unit] * h;
  y[((size_t)n * T + t) * H + j] = h;
}

// (7) to (11) and (13). `dh` and `dC` are what arrives from step t+1; dC becomes what goes to step t-1.
extern "C" __global__ void lstm_dgates(const float* __restrict__ gates, const float* __restrict__ C,
                                       const float* __restrict__ dy, const float* __restrict__ dh,
                                       float* __restrict__ dC, float* __restrict__ dz, int t, int N, int T, int H) {
  int unit = blockIdx.x * blockDim.x + threadIdx.x;
  if (unit >= N * H) return;
  int n = unit / H, j = unit % H;
  size_t row = ((size_t)t * N + n) * 4 * H, before = (size_t)t * N * H + unit, now = before + (size_t)N * H;
  gates += row, dz += row;
  float f = gates[j], i = gates[H + j], Ctilde = gates[2 * H + j], o = gates[3 * H + j];
  float tanhC = tanhf(C[now]);
  float dhj = dh[unit] + dy[((size_t)n * T + t) * H + j];
  float dCj = dC[unit] + dhj * o * (1.0f - tanhC * tanhC);    // (7)
  dz[j] = dCj * C[before] * f * (1.0f - f);                   // (8)
  dz[H + j] = dCj * Ctilde * i * (1.0f - i);                  // (9)
  dz[2 * H + j] = dCj * i * (1.0f - Ctilde * Ctilde);         // (10)
  dz[3 * H + j] = dhj * tanhC * o * (1.0f - o);               // (11)
  dC[unit] = dCj * f;                                         // (13)
}

// (14) and (15): the gradient of m ⊙ hₜ₋₁ becomes that of hₜ₋₁.
extern "C" __global__ void lstm_dmask(const float* __restrict__ y, const float* __restrict__ h0,
                                      const float* __restrict__ m, float* __restrict__ dh, float* __restrict__ dm,
                                      int t, int N, int T, int H) {
  int unit = blockIdx.x * blockDim.x + threadIdx.x;
  if (unit >= N * H) return;
  int n = unit / H, j = unit % H;
  float h_before = t > 0 ? y[((size_t)n * T + t - 1) * H + j] : h0[unit];
  dm[unit] += h_before * dh[unit];  // (15)
  dh[unit] *= m[unit];              // (14)
}
