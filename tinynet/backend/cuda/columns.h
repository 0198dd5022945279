// Sums over the rows of a matrix (R,C), for each of its columns, in an order that depends on its shape alone.
//
// A block takes 32 columns and a stretch of rows: thread (x,y) adds up every 8th row of column x, beginning with row y,
// and the 8 partial sums of a column are added pairwise in shared memory. Neighbouring threads read neighbouring numbers.
#define COLUMNS 32
#define LANES 8      // threads for one column
#define STRETCH 512  // rows for one block

// The column of this thread, its first row, and where the rows of its block end.
#define COLUMN int(blockIdx.x * COLUMNS + threadIdx.x)
#define FIRST_ROW int(blockIdx.y * STRETCH + threadIdx.y)
#define ROWS_END(R) min(int(R), int((blockIdx.y + 1) * STRETCH))

// The sum of what the threads of one column have, for the one with threadIdx.y = 0. Nobody else looks at shared[0], so
// it may be called again at once.
__device__ __forceinline__ float over_lanes(float value, float (*shared)[COLUMNS]) {
  shared[threadIdx.y][threadIdx.x] = value;
  __syncthreads();
  for (int half = LANES / 2; half > 0; half /= 2) {
    if (threadIdx.y < half) shared[threadIdx.y][threadIdx.x] += shared[threadIdx.y + half][threadIdx.x];
    __syncthreads();
  }
  return shared[0][threadIdx.x];
}
