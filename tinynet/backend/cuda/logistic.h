// σ(z) = 1 / (1 + e⁻ᶻ). Unlike a division, __fdividef has no branch; it errs by 2 units in the last place at most, and
// gives 0 for divisors beyond 2¹²⁶, which is what is wanted.
__device__ __forceinline__ float logistic(float z) { return __fdividef(1.0f, 1.0f + expf(-z)); }
