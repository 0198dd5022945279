// The gather of rows of data/gather.py. The layout stands in gather.py.

// --- Equations -------------------------------------------------------------------------------------------------------

template <class Unit>
__device__ __forceinline__ Unit gathered(const Unit* rows, const long long* index, int length, int at) {
  return rows[index[at / length] * length + at % length];  // (1)
}

// --- Schedule --------------------------------------------------------------------------------------------------------
// A thread copies one unit, a byte or four. Rows have `length` units.

extern "C" __global__ void gather_bytes(const unsigned char* __restrict__ rows, const long long* __restrict__ index,
                                        unsigned char* __restrict__ batch, int length, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size) batch[at] = gathered(rows, index, length, at);
}

extern "C" __global__ void gather_words(const unsigned* __restrict__ rows, const long long* __restrict__ index,
                                        unsigned* __restrict__ batch, int length, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size) batch[at] = gathered(rows, index, length, at);
}
