// The equations of ops/lstm.py between two products, for one unit of one sequence at one step.

// --- Equations -------------------------------------------------------------------------------------------------------

struct Gates { float f, i, Ctilde, o; };  // or z, or δz, of the four gates
struct State { float C, h; };

__device__ __forceinline__ Gates gates_of(Gates z) {
  float f = logistic(z.f);         // (1)
  float i = logistic(z.i);         // (2)
  float Ctilde = tanhf(z.Ctilde);  // (3)
  float o = logistic(z.o);         // (5)
  return {f, i, Ctilde, o};
}

__device__ __forceinline__ State state_of(Gates gate, float C_before) {
  float C = gate.f * C_before + gate.i * gate.Ctilde;  // (4)
  float h = gate.o * tanhf(C);                         // (6)
  return {C, h};
}

// After a step that may be masked: `made` is what its gates make of `before`.
__device__ __forceinline__ State state_after(bool is_real, State before, State made) {
  return is_real ? made : before;  // (19)
}

__device__ __forceinline__ float output_of(bool is_real, State state) {
  return is_real ? state.h : 0.0f;  // (20)
}

__device__ __forceinline__ bool is_real_step(const bool* real, size_t at) { return !real || real[at]; }

// δz. `dh` includes δyₜ. `dC` is δC of step t+1, and becomes that of step t−1.
__device__ __forceinline__ Gates dz_of(Gates gate, float C_before, float tanhC, float dh, float& dC) {
  dC += dh * gate.o * (1.0f - tanhC * tanhC);                       // (7)
  float f = dC * C_before * gate.f * (1.0f - gate.f);               // (8)
  float i = dC * gate.Ctilde * gate.i * (1.0f - gate.i);            // (9)
  float Ctilde = dC * gate.i * (1.0f - gate.Ctilde * gate.Ctilde);  // (10)
  float o = dh * tanhC * gate.o * (1.0f - gate.o);                  // (11)
  dC *= gate.f;                                                     // (13)
  return {f, i, Ctilde, o};
}
