// CUDA C on a CPU: what a kernel file needs to be compiled by g++, and what runs its threads.
//
// The threads of a block run one after the other, in an order that can be chosen. A thread that meets a barrier is left
// where it stands (it has a stack of its own, a fiber), and the next one runs; when all have arrived, they go on. A
// thread is never interrupted elsewhere, so each order is one that a GPU might have taken as well: a kernel whose
// result depends on the order has a race. Shared memory is NaN before each block, since nobody has written to it yet;
// behind the shared memory that a launch asks for (extern __shared__) lies a margin that is NaN and has to stay so.
#pragma once
#undef _FORTIFY_SOURCE  // its longjmp takes a jump to another stack for an attack
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("shared_memory")))

struct uint3 { unsigned x, y, z; };
struct uint4 { unsigned x, y, z, w; };
struct alignas(16) float4 { float x, y, z, w; };
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

static uint3 threadIdx, blockIdx, blockDim, gridDim;
constexpr int warpSize = 32;

extern "C" {  // the linker makes these, if there is any shared memory
extern char __start_shared_memory[] __attribute__((weak));
extern char __stop_shared_memory[] __attribute__((weak));
}

namespace emulator {

enum Order { ASCENDING, DESCENDING, SHUFFLED };
enum State { READY, AT_BLOCK_BARRIER, AT_WARP_BARRIER, DONE };

constexpr size_t STACK = 256 * 1024;
constexpr unsigned MOST_THREADS = 1024;
constexpr unsigned MOST_SHARED = 227 * 1024, MARGIN = 8 * 1024;  // bytes

struct Fiber {
  ucontext_t beginning;
  jmp_buf place;  // to go on from: a jump costs no call of the system, as swapcontext does
  bool begun;
  char stack[STACK];
};

struct Thread {
  State state;
  int line;      // of the barrier at which it waits
  Fiber* fiber;  // where it was left
};

static void (*kernel)(void**);
static void** arguments;
static unsigned seed;
static char error[300];

alignas(16) static unsigned char dynamic_shared[MOST_SHARED + MARGIN];
static unsigned shared_size;  // how much of it the launch has asked for

static Thread threads[MOST_THREADS];  // of the block that runs
static unsigned count;                // how many they are
static unsigned turns[MOST_THREADS];  // their numbers, in the order in which they run
static unsigned begun, begin_until;   // how many of them have begun, and may begin now
static unsigned current;              // the one that runs
static Fiber* running;                // and its fiber
static Fiber* idle[MOST_THREADS];     // fibers without a thread
static unsigned idle_count;
static jmp_buf scheduler;
static uint64_t exchanged[MOST_THREADS];  // what the lanes of a warp show each other

inline void become(unsigned thread) {
  current = thread;
  threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / (blockDim.x * blockDim.y)};
}

// Go on with a fiber, until it leaves.
inline void enter(Fiber* fiber) {
  running = fiber;
  if (_setjmp(scheduler)) return;
  if (fiber->begun) _longjmp(fiber->place, 1);
  fiber->begun = true;
  setcontext(&fiber->beginning);
}

inline void leave() {
  if (!_setjmp(running->place)) _longjmp(scheduler, 1);
}

// What a fiber does: threads, one after the other, until one of them stops at a barrier. It belongs to that one then.
inline void work() {
  for (;;) {
    while (begun < begin_until) {
      become(turns[begun++]);
      kernel(arguments);
      threads[current].state = DONE;
    }
    idle[idle_count++] = running;
    leave();
  }
}

inline Fiber* idle_fiber() {
  if (idle_count) return idle[--idle_count];
  Fiber* fiber = (Fiber*)malloc(sizeof(Fiber));
  getcontext(&fiber->beginning);
  fiber->beginning.uc_stack.ss_sp = fiber->stack;
  fiber->beginning.uc_stack.ss_size = STACK;
  makecontext(&fiber->beginning, work, 0);
  fiber->begun = false;
  return fiber;
}

inline void wait(State state, int line) {
  Thread& thread = threads[current];
  thread.state = state;
  thread.line = line;
  thread.fiber = running;
  leave();
}

// Let the threads [first, last) go on if all of them wait at the same barrier of this kind. Whether they do.
inline bool passed(unsigned first, unsigned last, State barrier) {
  for (unsigned t = first; t < last; t++)
    if (threads[t].state != barrier || threads[t].line != threads[first].line) return false;
  for (unsigned t = first; t < last; t++) threads[t].state = READY;
  return true;
}

// Let the threads whose turns are [from, to) go on, until each of them waits for the block or has ended.
inline void advance(unsigned from, unsigned to) {
  begin_until = to;
  while (begun < to) enter(idle_fiber());
  for (bool any = true; any;) {
    for (unsigned turn = from; turn < to; turn++) {
      unsigned t = turns[turn];
      if (threads[t].state != READY) continue;
      become(t);
      enter(threads[t].fiber);
    }
    any = false;
    for (unsigned first = 0; first < count; first += warpSize)
      any |= passed(first, first + warpSize < count ? first + warpSize : count, AT_WARP_BARRIER);
  }
}

// Whether threads are left that wait for others in vain. What they have on their fibers is given up.
inline bool stuck() {
  bool any = false;
  for (unsigned t = 0; t < count; t++) {
    if (threads[t].state == DONE) continue;
    if (!any)
      snprintf(error, sizeof error, "every thread of a block (or warp) must reach each of its barriers; thread %u of "
               "block (%u,%u,%u) waits at a barrier in line %d, and others of its %s have ended or wait elsewhere; no "
               "return and no if around a barrier", t, blockIdx.x, blockIdx.y, blockIdx.z, threads[t].line,
               threads[t].state == AT_BLOCK_BARRIER ? "block" : "warp");
    free(threads[t].fiber);
    any = true;
  }
  return any;
}

// Whether the block has written behind its shared memory.
inline bool overflowed() {
  const unsigned char* margin = dynamic_shared + shared_size;
  if (margin[0] == 0xFF && !memcmp(margin, margin + 1, MARGIN - 1)) return false;
  snprintf(error, sizeof error, "a block must keep to the %u bytes of shared memory of its launch, and block "
           "(%u,%u,%u) has written behind them; a larger Grid.shared, or another index", shared_size, blockIdx.x,
           blockIdx.y, blockIdx.z);
  return true;
}

// Run the threads of a block: in ascending order one warp after the other, each as far ahead of the next as it can get;
// in the other orders side by side.
inline bool run_block(int order) {
  memset(dynamic_shared, 0xFF, shared_size + MARGIN);
  if (__start_shared_memory) memset(__start_shared_memory, 0xFF, __stop_shared_memory - __start_shared_memory);
  for (unsigned t = 0; t < count; t++) threads[t].state = READY;
  begun = 0;
  unsigned together = order == ASCENDING ? warpSize : count;
  do {
    for (unsigned from = 0; from < count; from += together)
      advance(from, from + together < count ? from + together : count);
  } while (passed(0, count, AT_BLOCK_BARRIER));
  bool fine = !stuck();
  return fine && !overflowed();
}

inline void put_in_order(unsigned* numbers, unsigned size, int order) {
  for (unsigned i = 0; i < size; i++) numbers[i] = order == DESCENDING ? size - 1 - i : i;
  for (unsigned i = size; order == SHUFFLED && i > 1; i--) {
    seed = seed * 1664525u + 1013904223u;
    unsigned other = (seed >> 8) % i, number = numbers[i - 1];
    numbers[i - 1] = numbers[other];
    numbers[other] = number;
  }
}

// Run a kernel on a grid of blocks, `shape` being both sizes and the bytes of shared memory. NULL, or what went wrong.
inline const char* launch(void (*entry)(void**), void** values, const unsigned* shape, int order) {
  kernel = entry;
  arguments = values;
  seed = 1;
  gridDim = {shape[0], shape[1], shape[2]};
  blockDim = {shape[3], shape[4], shape[5]};
  count = blockDim.x * blockDim.y * blockDim.z;
  shared_size = shape[6];
  put_in_order(turns, count, order);
  unsigned size = gridDim.x * gridDim.y * gridDim.z;
  unsigned* blocks = (unsigned*)malloc(size * sizeof(unsigned));
  put_in_order(blocks, size, order);
  bool fine = true;
  for (unsigned i = 0; i < size && fine; i++) {
    blockIdx = {blocks[i] % gridDim.x, blocks[i] / gridDim.x % gridDim.y, blocks[i] / (gridDim.x * gridDim.y)};
    fine = run_block(order);
  }
  free(blocks);
  fflush(stdout);  // what the kernel has printed
  return fine ? nullptr : error;
}

// The value that another lane of the warp shows. Both barriers: all have shown theirs; all have looked.
template <class T> T from_lane(T value, unsigned lane, int line) {
  static_assert(sizeof(T) <= sizeof(uint64_t), "lanes exchange at most 8 bytes");
  memcpy(&exchanged[current], &value, sizeof(T));
  wait(AT_WARP_BARRIER, line);
  T other;
  memcpy(&other, &exchanged[current / warpSize * warpSize + lane % warpSize], sizeof(T));
  wait(AT_WARP_BARRIER, line);
  return other;
}

inline unsigned lane() { return current % warpSize; }

}  // namespace emulator

// The mask of the lanes that take part must be all of them.
#define EMULATED_SHUFFLE(mask, value, lane) \
  ([&](auto shown) { static_assert((mask) == 0xffffffffu, "all lanes must take part"); \
                     return emulator::from_lane(shown, lane, __LINE__); }(value))
#define __syncthreads() emulator::wait(emulator::AT_BLOCK_BARRIER, __LINE__)
#define __syncwarp() emulator::wait(emulator::AT_WARP_BARRIER, __LINE__)
#define __shfl_sync(mask, value, source) EMULATED_SHUFFLE(mask, value, source)
#define __shfl_xor_sync(mask, value, bits) EMULATED_SHUFFLE(mask, value, emulator::lane() ^ (bits))
#define __shfl_down_sync(mask, value, by) \
  EMULATED_SHUFFLE(mask, value, emulator::lane() + (by) < 32 ? emulator::lane() + (by) : emulator::lane())

// Sums of floats depend on the order of the threads, which differs from run to run: for integers only.
template <class T> T atomicAdd(T* place, T value) {
  static_assert(T(0.5) == T(0), "atomicAdd of floats is not deterministic: let one thread add them up");
  T before = *place;
  *place = before + value;
  return before;
}

inline float __uint_as_float(unsigned bits) {
  float number;
  memcpy(&number, &bits, sizeof number);
  return number;
}
inline float __fdividef(float x, float y) { return y > 0x1p126f ? 0.0f : x / y; }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }

// The functions of CUDA's that our kernels use; one that is missing here can be added.
inline float expf(float x) { return __builtin_expf(x); }
inline float expm1f(float x) { return __builtin_expm1f(x); }
inline float log1pf(float x) { return __builtin_log1pf(x); }
inline float sqrtf(float x) { return __builtin_sqrtf(x); }
inline float tanhf(float x) { return __builtin_tanhf(x); }
template <class T> T min(T a, T b) { return b < a ? b : a; }
template <class T> T max(T a, T b) { return a < b ? b : a; }
