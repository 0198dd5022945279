// A pointer that may be null; in Python, None. It is __restrict__ too: no other argument points to the same memory.
#define OR_NULL __restrict__

// An element of the array, or `otherwise` for a null pointer.
__device__ __forceinline__ float element_or(const float* array, size_t at, float otherwise) {
  return array ? array[at] : otherwise;
}
