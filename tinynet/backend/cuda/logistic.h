// σ(z) = 1 / (1 + e⁻ᶻ). Where e⁻ᶻ overflows, 1/∞ = 0 is what is wanted.
__device__ __forceinline__ float logistic(float z) { return 1.0f / (1.0f + expf(-z)); }
