// The equations of ops/gru.py between two products, for one unit of one sequence at one step.

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

// After a step that may be masked: `made` is what its gates make of `before`.
__device__ __forceinline__ float gru_state_after(bool is_real, float before, float made) {
  return is_real ? made : before;  // (12)
}

__device__ __forceinline__ float gru_output_of(bool is_real, float state) {
  return is_real ? state : 0.0f;  // (13)
}

// δa. `dh` includes δyₜ; the δq of n is δa of n times r.
__device__ __forceinline__ GruGates gru_da_of(GruGates gate, float q_n, float h_before, float dh) {
  float n = dh * (1.0f - gate.z) * (1.0f - gate.n * gate.n);           // (5)
  float z = dh * (h_before - gate.n) * gate.z * (1.0f - gate.z);       // (6)
  float r = n * q_n * gate.r * (1.0f - gate.r);                        // (7)
  return {r, z, n};
}

// δq of a step, from its δa.
__device__ __forceinline__ GruGates gru_dq_of(GruGates gate, GruGates da) {
  return {da.r, da.z, da.n * gate.r};  // (5)
}

// A row of 3H numbers, or b: those of unit j.
__device__ __forceinline__ GruGates gru_row(const float* row, int j, int H) {
  return {row[j], row[H + j], row[2 * H + j]};
}

__device__ __forceinline__ GruGates gru_bias(const float* b, int j, int H) {
  return b ? gru_row(b, j, H) : GruGates{};
}

__device__ __forceinline__ GruGates gru_sum(GruGates a, GruGates b) { return {a.r + b.r, a.z + b.z, a.n + b.n}; }

__device__ __forceinline__ void gru_store(float* row, int j, int H, GruGates of) {
  row[j] = of.r, row[H + j] = of.z, row[2 * H + j] = of.n;
}
