// Sums over the rows of a matrix (R,C) for each of its columns, in an order that depends on the shape alone.
//
// A block takes up to 8 columns and a stretch of rows. Neighbouring threads read neighbouring elements. Thread (x,y)
// adds up rows y, y + blockDim.y, ... of column x. The sums of these lanes are then added pairwise in shared memory.
// column_sums.py chooses the sizes of blocks and stretches.
#define THREADS 1024  // of a block, at most

// The column of this thread, its first row, and the end of the rows of its block: a stretch has `rows` rows.
#define COLUMN int(blockIdx.x * blockDim.x + threadIdx.x)
#define FIRST_ROW int(blockIdx.y * rows + threadIdx.y)
#define ROWS_END(R) min(int(R), int((blockIdx.y + 1) * rows))

// The sum of `value` over the lanes of a column, returned to all of them.
__device__ __forceinline__ float over_lanes(float value, float* shared) {
  int here = threadIdx.y * blockDim.x + threadIdx.x;
  shared[here] = value;
  __syncthreads();
  for (int half = blockDim.y / 2; half > 0; half /= 2) {
    if (threadIdx.y < half) shared[here] += shared[here + half * blockDim.x];
    __syncthreads();
  }
  float sum = shared[threadIdx.x];
  __syncthreads();  // without it, the next sum could overwrite shared[0] before another thread has read it
  return sum;
}
