// The GRU of ops/gru.py, all steps in one launch, for at most 64 or 128 units. The equations stand in gru.h, the layout
// in gru.py. The kernels are at the end of this file.
//
// Units beyond H, up to 4 ROWS, have weights of 0: they stay 0 even when other units are NaN. Elements of all arrays
// are counted in an int.
#include "logistic.h"
#include "gru.h"
#include "optional.h"
#include "persistent.h"

// --- Schedule --------------------------------------------------------------------------------------------------------

// All steps forward. Before: `gates` (N,T,3H) holds x W_x. After: the gates, and in the last block of `q` (N,T,3H) q_n.
template <int ROWS, int SEQUENCES>
__device__ __forceinline__ void forward(float* __restrict__ gates, const float* __restrict__ W, const float* OR_NULL b,
                                        const float* OR_NULL b_h, const bool* OR_NULL real, const float* OR_NULL h0,
                                        float* __restrict__ q, float* __restrict__ h, float* __restrict__ y, int N,
                                        int T, int H) {
  using HTile = Tile<4, ROWS, 4, 6>;  // rows: the units of h; columns: two units, with three gates each
  extern __shared__ float4 shared[];
  Vectors<SEQUENCES * HTile::VECTOR> hs(shared);
  const HTile W_h(shared, [&](unsigned four, unsigned row, unsigned column) {
    unsigned k = 4 * four + row, gate = column % 3, unit = threadIdx.x / 4 * 2 + column / 3;
    return k < H && unit < H ? W[k * 3 * H + gate * H + unit] : 0.0f;
  });
  int j = threadIdx.x / 2, s = threadIdx.x % SEQUENCES;
  GruGates bias = {}, bias_h = {};
  if (j < H) bias = gru_bias(b, j, H), bias_h = gru_bias(b_h, j, H);
  for (int first = blockIdx.x * SEQUENCES; first < N; first += gridDim.x * SEQUENCES) {
    int n = first + s;
    bool exists = j < H && n < N, writes = exists && threadIdx.x % 2 == s;
    float h_now = exists ? element_or(h0, n * H + j, 0.0f) : 0.0f;
    if (writes) h[n * (T + 1) * H + j] = ((float*)(hs.now + s * HTile::VECTOR))[j] = h_now;
    GruGates input = {};  // at step t, x W_x
    if (exists && T > 0) input = gru_row(gates + n * T * 3 * H, j, H);
    bool is_real = exists && T > 0 && (!real || real[n * T]);
    __syncthreads();
    for (int t = 0; t < T; t++) {
      int step = n * T + t;
      float sums[SEQUENCES][HTile::COLUMNS];
      GruGates input_next = {};  // loaded during the product
      bool is_real_next = exists && t + 1 < T && (!real || real[step + 1]);
      if (exists && t + 1 < T) input_next = gru_row(gates + (step + 1) * 3 * H, j, H);
      W_h.multiply(hs.now, sums);
      GruGates of_h = gru_sum({sums[0][0], sums[0][1], sums[0][2]}, bias_h);
      GruGates gate = gru_gates_of(gru_sum(input, bias), of_h);
      h_now = gru_state_after(is_real, h_now, gru_state_of(gate, h_now));
      if (writes) {
        ((float*)(hs.next + s * HTile::VECTOR))[j] = h_now;
        gru_store(gates + step * 3 * H, j, H, gate);
        q[step * 3 * H + 2 * H + j] = of_h.n;
        h[(step + n + 1) * H + j] = h_now, y[step * H + j] = gru_output_of(is_real, h_now);
      }
      input = input_next, is_real = is_real_next;
      hs.turn();
      __syncthreads();
    }
  }
}

// All steps backward, without δx. dh is the gradient of h_T, dh0 that of the first state.
template <int ROWS, int SEQUENCES>
__device__ __forceinline__ void backward(const float* __restrict__ gates, const float* __restrict__ W,
                                         const float* __restrict__ q, const float* __restrict__ h,
                                         const bool* OR_NULL real, const float* OR_NULL dy, const float* OR_NULL dh,
                                         float* __restrict__ da, float* __restrict__ dq, float* __restrict__ dh0, int N,
                                         int T, int H) {
  using QTile = Tile<16, ROWS, 3, 8, 3>;  // rows: δq, the three gates of a unit together; columns: eight units
  extern __shared__ float4 shared[];
  Vectors<SEQUENCES * QTile::VECTOR> dqs(shared);
  const QTile W_hT(shared, [&](unsigned unit, unsigned gate, unsigned column) {
    unsigned k = threadIdx.x / 16 * 8 + column;
    return k < H && unit < H ? W[k * 3 * H + gate * H + unit] : 0.0f;
  });
  int j = threadIdx.x / 2, s = threadIdx.x % SEQUENCES;
  for (int first = blockIdx.x * SEQUENCES; first < N; first += gridDim.x * SEQUENCES) {
    int n = first + s;
    bool exists = j < H && n < N, writes = exists && threadIdx.x % 2 == s;
    float dh_now = exists ? element_or(dh, n * H + j, 0.0f) : 0.0f;
    struct Saved { GruGates gate; float q_n, h_before, dy; bool is_real; } saved = {}, saved_next = {};
    auto load = [&](int t) {
      if (!exists || t < 0) return;
      int step = n * T + t;
      saved_next = {gru_row(gates + step * 3 * H, j, H), q[step * 3 * H + 2 * H + j], h[(step + n) * H + j],
                    element_or(dy, step * H + j, 0.0f), !real || real[step]};
    };
    load(T - 1);
    for (int t = T - 1; t >= 0; t--) {
      saved = saved_next;
      GruGates of_a = {}, of_q = {};  // (14)
      if (saved.is_real) {
        dh_now += saved.dy;
        of_a = gru_da_of(saved.gate, saved.q_n, saved.h_before, dh_now);
        of_q = gru_dq_of(saved.gate, of_a);
        dh_now *= saved.gate.z;  // (8)
      }
      if (writes) {
        int row = (n * T + t) * 3 * H;
        dqs.now[s * QTile::VECTOR + j] = make_float4(of_q.r, of_q.z, of_q.n, 0.0f);
        gru_store(da + row, j, H, of_a), gru_store(dq + row, j, H, of_q);
      }
      load(t - 1);  // arrives during the product
      __syncthreads();
      float sums[SEQUENCES][QTile::COLUMNS];
      W_hT.multiply(dqs.now, sums);
      if (saved.is_real) dh_now += sums[0][0];  // (8) (15)
      dqs.turn();
    }
    if (writes) dh0[n * H + j] = dh_now;
  }
}

// A kernel for each size: for up to 4 ROWS units.
extern "C" __global__ void __launch_bounds__(128, 2) gru_forward_64(
    float* __restrict__ gates, const float* __restrict__ W, const float* OR_NULL b, const float* OR_NULL b_h,
    const bool* OR_NULL real, const float* OR_NULL h0, float* __restrict__ q, float* __restrict__ h,
    float* __restrict__ y, int N, int T, int H, int sequences) {
  if (sequences == 1) forward<16, 1>(gates, W, b, b_h, real, h0, q, h, y, N, T, H);
  else forward<16, 2>(gates, W, b, b_h, real, h0, q, h, y, N, T, H);
}

extern "C" __global__ void __launch_bounds__(256, 1) gru_forward_128(
    float* __restrict__ gates, const float* __restrict__ W, const float* OR_NULL b, const float* OR_NULL b_h,
    const bool* OR_NULL real, const float* OR_NULL h0, float* __restrict__ q, float* __restrict__ h,
    float* __restrict__ y, int N, int T, int H, int sequences) {
  if (sequences == 1) forward<32, 1>(gates, W, b, b_h, real, h0, q, h, y, N, T, H);
  else forward<32, 2>(gates, W, b, b_h, real, h0, q, h, y, N, T, H);
}

extern "C" __global__ void __launch_bounds__(128, 2) gru_backward_64(
    const float* __restrict__ gates, const float* __restrict__ W, const float* __restrict__ q,
    const float* __restrict__ h, const bool* OR_NULL real, const float* OR_NULL dy, const float* OR_NULL dh,
    float* __restrict__ da, float* __restrict__ dq, float* __restrict__ dh0, int N, int T, int H, int sequences) {
  if (sequences == 1) backward<16, 1>(gates, W, q, h, real, dy, dh, da, dq, dh0, N, T, H);
  else backward<16, 2>(gates, W, q, h, real, dy, dh, da, dq, dh0, N, T, H);
}

extern "C" __global__ void __launch_bounds__(256, 1) gru_backward_128(
    const float* __restrict__ gates, const float* __restrict__ W, const float* __restrict__ q,
    const float* __restrict__ h, const bool* OR_NULL real, const float* OR_NULL dy, const float* OR_NULL dh,
    float* __restrict__ da, float* __restrict__ dq, float* __restrict__ dh0, int N, int T, int H, int sequences) {
  if (sequences == 1) backward<32, 1>(gates, W, q, h, real, dy, dh, da, dq, dh0, N, T, H);
  else backward<32, 2>(gates, W, q, h, real, dy, dh, da, dq, dh0, N, T, H);
}
