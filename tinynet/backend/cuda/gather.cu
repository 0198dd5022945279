// A batch of rows out of many, by their numbers: tinynet/data/gather.py. The rows are bytes, whatever they mean; where
// their length allows it, four at a time.

extern "C" __global__ void gather_bytes(const unsigned char* __restrict__ rows, const long long* __restrict__ index,
                                        unsigned char* __restrict__ batch, int length, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size) batch[at] = rows[index[at / length] * length + at % length];
}

extern "C" __global__ void gather_words(const unsigned* __restrict__ rows, const long long* __restrict__ index,
                                        unsigned* __restrict__ batch, int length, int size) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < size) batch[at] = rows[index[at / length] * length + at % length];
}
