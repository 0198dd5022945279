// A matrix that stays on the chip through all steps of a recurrent layer, and the vectors that it multiplies.
//
// A block takes one sequence or two through all steps, with one barrier a step. Each thread has a tile of the matrix in
// registers: 8 columns, or 6, of ROWS rows. LANES neighbouring threads have the same columns and different rows. They
// read the factors of their rows from shared memory and add their sums by shuffles, in a fixed order. In the end two
// threads have unit j = threadIdx.x / 2. With two sequences in the block, each thread has one of them; with one
// sequence, both compute the same and the first one writes.

// Add two lanes whose numbers differ in `bit`: the lane without the bit gets the sum of their `lower`, the lane with
// the bit gets the sum of their `upper`.
__device__ __forceinline__ float halved(float lower, float upper, int bit) {
  bool is_upper = threadIdx.x & bit;
  return (is_upper ? upper : lower) + __shfl_xor_sync(0xffffffffu, is_upper ? lower : upper, bit);
}

// The tile of this thread. The rows of the matrix are numbered in fours: the tile has four number LANES i + lane, for
// each i. Of every four rows, KEPT are in registers and the others in shared memory, where neighbouring threads read
// neighbouring addresses. Rows from FACTORS on are left out; with fewer columns than 8, none are in shared memory.
template <int LANES, int ROWS, int KEPT, int WIDTH = 8, int FACTORS = 4>
struct Tile {
  static_assert(WIDTH == 8 || KEPT == FACTORS, "rows in shared memory have eight columns");
  static constexpr int COLUMNS = WIDTH;
  static constexpr int THREADS = 8 * ROWS;         // of a block, at most
  static constexpr int VECTOR = LANES * ROWS / 4;  // float4: the factors of all rows
  float kept[ROWS / 4][KEPT][COLUMNS];
  float4* others;

  // weight(four, row, column) is an element of the matrix.
  template <class Weight>
  __device__ __forceinline__ Tile(float4* shared, Weight weight) : others(shared + threadIdx.x) {
#pragma unroll
    for (int row = KEPT; row < FACTORS; row++)
#pragma unroll 4  // unrolled completely, the loop would need more registers than there are
      for (int i = 0; i < ROWS / 4; i++) {
        int four = LANES * i + threadIdx.x % LANES;
        other(i, row)[0] = make_float4(weight(four, row, 0), weight(four, row, 1), weight(four, row, 2),
                                       weight(four, row, 3));
        other(i, row)[THREADS] = make_float4(weight(four, row, 4), weight(four, row, 5), weight(four, row, 6),
                                             weight(four, row, 7));
      }
#pragma unroll
    for (int row = 0; row < KEPT; row++)
#pragma unroll
      for (int c = 0; c < COLUMNS; c++)
#pragma unroll
        for (int i = 0; i < ROWS / 4; i++) kept[i][row][c] = weight(LANES * i + threadIdx.x % LANES, row, c);
  }

  __device__ __forceinline__ float4* other(int i, int row) const {
    return others + (i * (FACTORS - KEPT) + row - KEPT) * (COLUMNS / 4) * THREADS;
  }

  // Multiply the vector of each sequence of the block by the matrix. sums[0][c] receives the columns c = 0, 1, ... that
  // the reduction leaves to this thread, for its sequence. The vectors lie one after the other.
  template <int SEQUENCES>
  __device__ __forceinline__ void multiply(const float4* vectors, float (&sums)[SEQUENCES][COLUMNS]) const {
#pragma unroll
    for (int s = 0; s < SEQUENCES; s++)
#pragma unroll
      for (int c = 0; c < COLUMNS; c++) sums[s][c] = 0.0f;
#pragma unroll
    for (int i = 0; i < ROWS / 4; i++) {
      float v[SEQUENCES][4];
#pragma unroll
      for (int s = 0; s < SEQUENCES; s++) {
        float4 four = vectors[s * VECTOR + LANES * i + threadIdx.x % LANES];
        v[s][0] = four.x, v[s][1] = four.y, v[s][2] = four.z, v[s][3] = four.w;
      }
#pragma unroll
      for (int row = 0; row < FACTORS; row++) {
        float w[8];
        if (row < KEPT) {
#pragma unroll
          for (int c = 0; c < COLUMNS; c++) w[c] = kept[i][row][c];
        } else {
          float4 low = other(i, row)[0], high = other(i, row)[THREADS];
          w[0] = low.x, w[1] = low.y, w[2] = low.z, w[3] = low.w;
          w[4] = high.x, w[5] = high.y, w[6] = high.z, w[7] = high.w;
        }
#pragma unroll
        for (int s = 0; s < SEQUENCES; s++)
#pragma unroll
          for (int c = 0; c < COLUMNS; c++) sums[s][c] += v[s][row] * w[c];
      }
    }
    int columns = COLUMNS;
#pragma unroll
    for (int bit = LANES / 2; bit > 1; bit /= 2) {
      columns /= 2;
#pragma unroll
      for (int s = 0; s < SEQUENCES; s++)
#pragma unroll
        for (int c = 0; c < columns; c++) sums[s][c] = halved(sums[s][c], sums[s][columns + c], bit);
    }
#pragma unroll
    for (int c = 0; c < columns; c++) sums[0][c] = halved(sums[0][c], sums[SEQUENCES - 1][c], 1);
  }
};

// The vectors of this step and of the next one, at the beginning of shared memory. `turn` swaps them.
template <int SIZE>
struct Vectors {
  float4 *now, *next;

  __device__ __forceinline__ Vectors(float4* shared) : now(shared), next(shared + SIZE) {
    for (int i = threadIdx.x; i < 2 * SIZE; i += blockDim.x) shared[i] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    __syncthreads();
  }

  __device__ __forceinline__ void turn() {
    float4* before = now;
    now = next, next = before;
  }
};
