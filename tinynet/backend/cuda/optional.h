// A pointer that may be null; from Python, None. __restrict__ as well: nothing else points there.
#define OR_NULL __restrict__

// An element, or what it counts as where there is no array.
__device__ __forceinline__ float element_or(const float* array, size_t at, float otherwise) {
  return array ? array[at] : otherwise;
}
