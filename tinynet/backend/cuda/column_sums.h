// Sums over the rows of a matrix (R,C), for each of its columns, in an order that depends on its shape alone.
//
// A block takes some columns, 8 at most, and a stretch of rows. Neighbouring threads read neighbouring numbers: thread
// (x,y) adds up every row of column x that is `blockDim.y` further than the last, beginning with row y, and the sums of
// these lanes are added pairwise in shared memory. column_sums.py says how large blocks and stretches are.
#define THREADS 1024  // of a block, at most

// The column of this thread, its first row, and where the rows of its block end: stretches have `rows` rows.
#define COLUMN int(blockIdx.x * blockDim.x + threadIdx.x)
#define FIRST_ROW int(blockIdx.y * rows + threadIdx.y)
#define ROWS_END(R) min(int(R), int((blockIdx.y + 1) * rows))

// The sum of what the lanes of one column have, for all of them.
__device__ __forceinline__ float over_lanes(float value, float* shared) {
  int here = threadIdx.y * blockDim.x + threadIdx.x;
  shared[here] = value;
  __syncthreads();
  for (int half = blockDim.y / 2; half > 0; half /= 2) {
    if (threadIdx.y < half) shared[here] += shared[here + half * blockDim.x];
    __syncthreads();
  }
  float sum = shared[threadIdx.x];
  __syncthreads();  // now the next sum may be written there
  return sum;
}
