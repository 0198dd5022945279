// The LSTM of ops/lstm.py, all steps in one launch, for at most 64 or 128 units. The equations stand in lstm.h, the
// layout in lstm.py. The kernels are at the end of this file.
//
// Units beyond H, up to 4 ROWS, have weights of 0: they stay 0 even when other units are NaN. Elements of all arrays
// are counted in an int.
#include "logistic.h"
#include "lstm.h"
#include "optional.h"
#include "persistent.h"

// --- Schedule --------------------------------------------------------------------------------------------------------

// All steps forward. Before: `gates` (N,T,4H) holds x W_x. After: the gates. `mh` receives h̃ₜ₋₁, h and c the last
// states; with a mask, `states` receives h of all steps.
template <int ROWS, int KEPT, int SEQUENCES>
__device__ __forceinline__ void forward(float* __restrict__ gates, const float* __restrict__ W,
                                        const float* __restrict__ b, const float* OR_NULL m, const bool* OR_NULL real,
                                        const float* OR_NULL h0, const float* OR_NULL c0, float* __restrict__ C,
                                        float* __restrict__ mh, float* OR_NULL states, float* __restrict__ y,
                                        float* __restrict__ h, float* __restrict__ c, int N, int T, int H) {
  using HTile = Tile<4, ROWS, KEPT>;  // rows: the units of h̃; columns: two units, with four gates each
  extern __shared__ float4 shared[];
  Vectors<SEQUENCES * HTile::VECTOR> mhs(shared);
  const HTile W_h(shared + 2 * SEQUENCES * HTile::VECTOR, [&](unsigned four, unsigned row, unsigned column) {
    unsigned k = 4 * four + row, gate = column % 4, unit = threadIdx.x / 4 * 2 + column / 4;
    return k < H && unit < H ? W[k * 4 * H + gate * H + unit] : 0.0f;
  });
  int j = threadIdx.x / 2, s = threadIdx.x % SEQUENCES;
  Gates bias = {};
  if (j < H) bias = {b[j], b[H + j], b[2 * H + j], b[3 * H + j]};
  for (int first = blockIdx.x * SEQUENCES; first < N; first += gridDim.x * SEQUENCES) {
    int n = first + s;
    bool exists = j < H && n < N, writes = exists && threadIdx.x % 2 == s;
    int unit = n * H + j;
    float mask = 0.0f, h_now = 0.0f, C_now = 0.0f;
    if (exists) mask = element_or(m, unit, 1.0f);
    if (exists) h_now = element_or(h0, unit, 0.0f), C_now = element_or(c0, unit, 0.0f);
    if (writes) C[n * (T + 1) * H + j] = C_now;
    if (writes) ((float*)(mhs.now + s * HTile::VECTOR))[j] = mask * h_now;  // (15)
    float* z = gates + n * T * 4 * H + j;
    Gates input = {};  // at step t, x W
    if (exists && T > 0) input = {z[0], z[H], z[2 * H], z[3 * H]};
    bool is_real = exists && T > 0 && is_real_step(real, n * T);
    __syncthreads();
    for (int t = 0; t < T; t++) {
      float *z_next = z + 4 * H, sums[SEQUENCES][HTile::COLUMNS];
      Gates input_next = {};  // loaded during the product
      bool is_real_next = exists && t + 1 < T && is_real_step(real, n * T + t + 1);
      if (exists && t + 1 < T) input_next = {z_next[0], z_next[H], z_next[2 * H], z_next[3 * H]};
      W_h.multiply(mhs.now, sums);
      Gates gate = gates_of({input.f + sums[0][0] + bias.f, input.i + sums[0][1] + bias.i,
                             input.Ctilde + sums[0][2] + bias.Ctilde, input.o + sums[0][3] + bias.o});
      State state = state_after(is_real, {C_now, h_now}, state_of(gate, C_now));
      if (writes) {
        int at = (n * T + t) * H + j;
        ((float*)(mhs.next + s * HTile::VECTOR))[j] = mask * state.h;  // (15)
        z[0] = gate.f, z[H] = gate.i, z[2 * H] = gate.Ctilde, z[3 * H] = gate.o;
        mh[at] = mask * h_now;  // (15)
        y[at] = output_of(is_real, state), C[(n * (T + 1) + t + 1) * H + j] = state.C;
        if (states) states[at] = state.h;
      }
      h_now = state.h, C_now = state.C;
      z = z_next, input = input_next, is_real = is_real_next;
      mhs.turn();
      __syncthreads();
    }
    if (writes) h[unit] = h_now, c[unit] = C_now;
  }
}

// All steps backward, without δx. dh and dC are the gradients of h_T and C_T, dh0 and dc0 those of the first states.
template <int ROWS, int KEPT, int SEQUENCES>
__device__ __forceinline__ void backward(const float* __restrict__ gates, const float* __restrict__ W,
                                         const float* OR_NULL m, const bool* OR_NULL real, const float* OR_NULL h0,
                                         const float* __restrict__ C, const float* __restrict__ states,
                                         const float* OR_NULL dy, const float* OR_NULL dh, const float* OR_NULL dC,
                                         float* __restrict__ dz, float* __restrict__ dh0, float* __restrict__ dc0,
                                         float* __restrict__ dm, int N, int T, int H) {
  using ZTile = Tile<16, ROWS, KEPT>;  // rows: δz, the four gates of a unit together; columns: eight units
  extern __shared__ float4 shared[];
  Vectors<SEQUENCES * ZTile::VECTOR> dzs(shared);
  const ZTile W_hT(shared + 2 * SEQUENCES * ZTile::VECTOR, [&](unsigned unit, unsigned gate, unsigned column) {
    unsigned k = threadIdx.x / 16 * 8 + column;
    return k < H && unit < H ? W[k * 4 * H + gate * H + unit] : 0.0f;
  });
  int j = threadIdx.x / 2, s = threadIdx.x % SEQUENCES;
  for (int first = blockIdx.x * SEQUENCES; first < N; first += gridDim.x * SEQUENCES) {
    int n = first + s;
    bool exists = j < H && n < N, writes = exists && threadIdx.x % 2 == s;
    int unit = n * H + j;
    float mask = 0.0f, dh_now = 0.0f, dC_now = 0.0f, dm_now = 0.0f, tanhC = 0.0f;
    if (exists) {
      mask = element_or(m, unit, 1.0f), dh_now = element_or(dh, unit, 0.0f), dC_now = element_or(dC, unit, 0.0f);
      tanhC = tanhf(C[(n * (T + 1) + T) * H + j]);
    }
    struct Saved { Gates gate; float C_before, dy, h_before; bool is_real; } saved = {}, saved_next = {};
    auto load = [&](int t) {
      if (!exists || t < 0) return;
      const float* gate = gates + (n * T + t) * 4 * H + j;
      int at = (n * T + t) * H + j;
      saved_next = {{gate[0], gate[H], gate[2 * H], gate[3 * H]}, C[(n * (T + 1) + t) * H + j],
                    element_or(dy, at, 0.0f), t > 0 ? states[at - H] : element_or(h0, unit, 0.0f),
                    is_real_step(real, n * T + t)};
    };
    load(T - 1);
    for (int t = T - 1; t >= 0; t--) {
      saved = saved_next;
      Gates z = {};  // (21)
      if (saved.is_real) z = dz_of(saved.gate, saved.C_before, tanhC, dh_now + saved.dy, dC_now);
      if (writes) {
        float* place = dz + (n * T + t) * 4 * H + j;
        dzs.now[s * ZTile::VECTOR + j] = make_float4(z.f, z.i, z.Ctilde, z.o);
        place[0] = z.f, place[H] = z.i, place[2 * H] = z.Ctilde, place[3 * H] = z.o;
      }
      load(t - 1);  // arrives during the product
      __syncthreads();
      tanhC = tanhf(saved.C_before);  // for step t−1: here no other instruction waits for it
      float sums[SEQUENCES][ZTile::COLUMNS];
      W_hT.multiply(dzs.now, sums);           // (12)
      dm_now += saved.h_before * sums[0][0];  // (17)
      if (saved.is_real) dh_now = mask * sums[0][0];  // (16) (22)
      dzs.turn();
    }
    if (writes) dh0[unit] = dh_now, dc0[unit] = dC_now, dm[unit] = dm_now;
  }
}

// A kernel for each size: for up to 4 ROWS units, with KEPT rows of every four in registers.
extern "C" __global__ void __launch_bounds__(128, 2) lstm_forward_64(
    float* __restrict__ gates, const float* __restrict__ W, const float* __restrict__ b, const float* OR_NULL m,
    const bool* OR_NULL real, const float* OR_NULL h0, const float* OR_NULL c0, float* __restrict__ C,
    float* __restrict__ mh, float* OR_NULL states, float* __restrict__ y, float* __restrict__ h, float* __restrict__ c,
    int N, int T, int H, int sequences) {
  if (sequences == 1) forward<16, 4, 1>(gates, W, b, m, real, h0, c0, C, mh, states, y, h, c, N, T, H);
  else forward<16, 4, 2>(gates, W, b, m, real, h0, c0, C, mh, states, y, h, c, N, T, H);
}

extern "C" __global__ void __launch_bounds__(256, 1) lstm_forward_128(
    float* __restrict__ gates, const float* __restrict__ W, const float* __restrict__ b, const float* OR_NULL m,
    const bool* OR_NULL real, const float* OR_NULL h0, const float* OR_NULL c0, float* __restrict__ C,
    float* __restrict__ mh, float* OR_NULL states, float* __restrict__ y, float* __restrict__ h, float* __restrict__ c,
    int N, int T, int H, int sequences) {
  if (sequences == 1) forward<32, 3, 1>(gates, W, b, m, real, h0, c0, C, mh, states, y, h, c, N, T, H);
  else forward<32, 3, 2>(gates, W, b, m, real, h0, c0, C, mh, states, y, h, c, N, T, H);
}

extern "C" __global__ void __launch_bounds__(128, 2) lstm_backward_64(
    const float* __restrict__ gates, const float* __restrict__ W, const float* OR_NULL m, const bool* OR_NULL real,
    const float* OR_NULL h0, const float* __restrict__ C, const float* __restrict__ states, const float* OR_NULL dy,
    const float* OR_NULL dh, const float* OR_NULL dC, float* __restrict__ dz, float* __restrict__ dh0,
    float* __restrict__ dc0, float* __restrict__ dm, int N, int T, int H, int sequences) {
  if (sequences == 1) backward<16, 4, 1>(gates, W, m, real, h0, C, states, dy, dh, dC, dz, dh0, dc0, dm, N, T, H);
  else backward<16, 4, 2>(gates, W, m, real, h0, C, states, dy, dh, dC, dz, dh0, dc0, dm, N, T, H);
}

extern "C" __global__ void __launch_bounds__(256, 1) lstm_backward_128(
    const float* __restrict__ gates, const float* __restrict__ W, const float* OR_NULL m, const bool* OR_NULL real,
    const float* OR_NULL h0, const float* __restrict__ C, const float* __restrict__ states, const float* OR_NULL dy,
    const float* OR_NULL dh, const float* OR_NULL dC, float* __restrict__ dz, float* __restrict__ dh0,
    float* __restrict__ dc0, float* __restrict__ dm, int N, int T, int H, int sequences) {
  if (sequences == 1) backward<32, 3, 1>(gates, W, m, real, h0, C, states, dy, dh, dC, dz, dh0, dc0, dm, N, T, H);
  else backward<32, 3, 2>(gates, W, m, real, h0, C, states, dy, dh, dC, dz, dh0, dc0, dm, N, T, H);
}
