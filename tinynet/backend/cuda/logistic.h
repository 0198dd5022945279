// σ(z) = 1 / (1 + e⁻ᶻ). Unlike a division, __fdividef has no branch. Its error is at most 2 units in the last place.
// For divisors above 2¹²⁶ it returns 0, which is the limit.
__device__ __forceinline__ float logistic(float z) { return __fdividef(1.0f, 1.0f + expf(-z)); }
