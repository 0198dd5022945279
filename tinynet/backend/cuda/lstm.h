// One unit of one sequence at one step: the equations of ops/lstm.py that lie between two products.
struct Gates { float f, i, Ctilde, o; };  // or what belongs to them, z or δz
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

// `dh` has δyₜ in it. `dC` is what arrives from step t+1, and becomes what goes to step t-1.
__device__ __forceinline__ Gates dz_of(Gates gate, float C_before, float tanhC, float dh, float& dC) {
  dC += dh * gate.o * (1.0f - tanhC * tanhC);                       // (7)
  float f = dC * C_before * gate.f * (1.0f - gate.f);               // (8)
  float i = dC * gate.Ctilde * gate.i * (1.0f - gate.i);            // (9)
  float Ctilde = dC * gate.i * (1.0f - gate.Ctilde * gate.Ctilde);  // (10)
  float o = dh * tanhC * gate.o * (1.0f - gate.o);                  // (11)
  dC *= gate.f;                                                     // (13)
  return {f, i, Ctilde, o};
}
