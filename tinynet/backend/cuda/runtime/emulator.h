// CUDA C on a CPU: what a kernel file needs to be compiled by g++, and the scheduler of its threads. The functions of
// CUDA that our kernels call are in emulated_functions.h.
//
// The threads of a block run one after another, in an order that the launch chooses. Each runs on a fiber, which has a
// stack of its own. At a barrier the thread is suspended and the next one runs. When all threads of the block (or warp)
// have arrived, they continue. A thread is suspended at barriers only, so a GPU could run them in the same order, too:
// a kernel whose result depends on the order has a race.
//
// With -fsanitize=thread, g++ calls a function before each access to memory. ThreadSanitizer's own functions are not
// linked: those at the end of this file note which threads have read and written each element. Two threads that access
// an element with no barrier between them, one of them to write, are a race, whatever the order in which they ran.
//
// Shared memory is NaN at the start of each block, because a GPU does not initialise it. Behind the `extern __shared__`
// memory of a launch lies a margin of NaN, which the kernel must not touch.
#pragma once
#undef _FORTIFY_SOURCE  // its checked longjmp aborts on a jump to another stack
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

extern "C" {  // defined by the linker if a kernel has static shared memory, else null
extern char __start_shared_memory[] __attribute__((weak));
extern char __stop_shared_memory[] __attribute__((weak));
}

namespace emulator {

enum Order { ASCENDING, SHUFFLED };
enum State { READY, AT_BLOCK_BARRIER, AT_WARP_BARRIER, DONE };

constexpr size_t STACK = 256 * 1024;
constexpr unsigned MOST_THREADS = 1024;
constexpr unsigned MOST_SHARED = 227 * 1024, MARGIN = 8 * 1024;  // bytes

struct Fiber {
  ucontext_t beginning;
  jmp_buf place;  // where to continue; unlike swapcontext, a jump makes no system call
  bool begun;
  char stack[STACK];
};

struct Thread {
  State state = READY;
  int line = 0;                // of the barrier at which it waits
  Fiber* fiber = nullptr;      // on which it is suspended
  unsigned warp_barriers = 0;  // that it has passed
};

static void (*kernel)(void**);
static void** arguments;
static unsigned seed;
static char error[500];

alignas(16) static unsigned char dynamic_shared[MOST_SHARED + MARGIN];
static unsigned shared_size;  // bytes of it that the launch asks for

static Thread threads[MOST_THREADS];  // of the current block
static unsigned count;                // the number of these threads
static unsigned turns[MOST_THREADS];  // their numbers, in the order in which they run
static unsigned begun, begin_until;   // turns that have begun, and the first turn that must not begin yet
static unsigned current;              // the number of the running thread
static Fiber* running;                // its fiber
static Fiber* idle[MOST_THREADS];     // fibers without a thread
static unsigned idle_count;
static jmp_buf scheduler;
static uint64_t exchanged[MOST_THREADS];  // the values that the lanes of a warp exchange

// --- which threads access an element --------------------------------------------------------------------------------

// Memory whose accesses are noted: an array, between the margins `low` to `start` and `end` to `high`, or the shared
// memory of a block. An element has `element` = 2 ** `shift` bytes. `is_written` is false for a constant.
struct Range {
  const char *low, *start, *end, *high;
  unsigned element, shift;
  bool is_written, is_shared;
  const char* name;
};

// An access by a thread of a block. Barriers of the block separate intervals, which are counted from 1 through the
// launch; 0 stands for no access. `warp_barriers` are those that the thread has passed. `by_others`: an earlier block has
// accessed the element, too.
struct Access { unsigned interval; unsigned thread : 10, is_atomic : 1, by_others : 1, warp_barriers : 20; };

// The last accesses to an element: a write, a read, and a read by another thread than that of the read.
struct Element { Access write, read, other_read; };

constexpr unsigned MOST_RANGES = 40, SHARED_ELEMENT = 4;  // bytes
static Range ranges[MOST_RANGES];
static Element* elements[MOST_RANGES];
static unsigned range_count, last_found;
static unsigned block;           // the number of the running one
static unsigned interval;        // the current one
static unsigned first_interval;  // of the block
static bool is_running;          // whether a kernel runs

enum Kind { READ, WRITE, ATOMIC };

#define UNOBSERVED __attribute__((no_sanitize("thread")))

UNOBSERVED inline bool is_ordered(Access before) {
  if (!before.interval) return true;
  if (before.interval < first_interval) return false;  // blocks have no order
  return before.interval < interval || before.thread == current ||
         (before.thread / warpSize == current / warpSize && before.warp_barriers != threads[current].warp_barriers);
}

UNOBSERVED __attribute__((noinline)) void report_race(const Range& range, size_t at, Access before, const char* what) {
  if (*error) return;
  snprintf(error, sizeof error, "no element may be %s by two threads with no barrier between, and element %zu of %s "
           "is, by thread %u of block %u and thread %u of %s block; is a __syncthreads() missing, or do two threads "
           "have one place?", what, at, range.name, current, block, before.thread,
           before.interval < first_interval ? "an earlier" : "the same");
}

UNOBSERVED __attribute__((noinline)) void report_outside(const Range& range, const char* address, Kind kind) {
  if (*error) return;
  snprintf(error, sizeof error, "numbers were %s beside %s, which has %td elements, or it is a constant: element %td, "
           "by thread %u of block %u; check the index, and the bound that stops the last threads",
           kind == READ ? "read" : "written", range.name, (range.end - range.start) / range.element,
           (address - range.start) / range.element, current, block);
}

UNOBSERVED inline void note_element(const Range& range, size_t at, Element& element, Kind kind) {
  Access read = element.read, now = {interval, current, kind == ATOMIC, 0, threads[current].warp_barriers};
  if (range.is_shared) {  // each block has its own
    if (element.write.interval < first_interval) element.write = Access();
    if (read.interval < first_interval) element.read = element.other_read = read = Access();
  }
  if (!is_ordered(element.write) && !(kind == ATOMIC && element.write.is_atomic))
    report_race(range, at, element.write, kind == READ ? "read and written" : "written twice");
  if (kind == READ) {
    now.by_others = read.by_others || (read.interval && read.interval < first_interval);
    if (read.interval < first_interval || read.thread != current) element.other_read = read;
    element.read = now;
    return;
  }
  if (is_ordered(read) && !read.by_others) read = element.other_read;
  if (!is_ordered(read) || read.by_others) report_race(range, at, read, "read and written");
  element.write = now;
}

UNOBSERVED inline void note(const char* address, unsigned size, Kind kind) {
  if (!is_running || size_t(address - running->stack) < STACK) return;  // variables of the thread itself
  unsigned r = last_found;
  if (!range_count || address < ranges[r].low || address >= ranges[r].high)
    for (r = 0; r < range_count && (address < ranges[r].low || address >= ranges[r].high);) r++;
  if (r == range_count) return;
  last_found = r;
  const Range& range = ranges[r];
  if (address < range.start || address + size > range.end || (kind != READ && !range.is_written)) {
    report_outside(range, address, kind);
    return;
  }
  if (!range.is_written) return;
  size_t first = address - range.start, last = first + size - 1;  // bytes
  for (size_t at = first >> range.shift; at <= last >> range.shift; at++)
    note_element(range, at, elements[r][at], kind);
}

UNOBSERVED inline void watch(const Range& range) {
  if (range_count == MOST_RANGES) return;
  size_t count = (range.end - range.start + range.element - 1) / range.element;
  elements[range_count] = range.is_written ? (Element*)calloc(count, sizeof(Element)) : nullptr;
  ranges[range_count] = range;
  ranges[range_count++].shift = __builtin_ctz(range.element);
}

// Note the accesses of this launch to `given` arrays and to shared memory.
UNOBSERVED inline void watch_all(const Range* given, unsigned count) {
  const char* shared = (const char*)dynamic_shared;
  for (unsigned i = 0; i < count; i++) watch(given[i]);
  watch({shared, shared, shared + shared_size, shared + shared_size + MARGIN, SHARED_ELEMENT, 0, true, true,
         "the shared memory of the launch"});
  const char *start = __start_shared_memory, *stop = __stop_shared_memory;
  if (start) watch({start, start, stop, stop, SHARED_ELEMENT, 0, true, true, "the shared memory"});
}

UNOBSERVED inline void watch_none() {
  while (range_count) free(elements[--range_count]);
  last_found = 0;
}

// --- the scheduler --------------------------------------------------------------------------------------------------

inline void become(unsigned thread) {
  current = thread;
  threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / (blockDim.x * blockDim.y)};
}

// Run a fiber until it leaves.
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

// The body of a fiber: run threads one after another. If a thread stops at a barrier, the fiber stays with that thread.
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

inline void sync_warp(int line) {
  wait(AT_WARP_BARRIER, line);
  threads[current].warp_barriers++;
}

// Open a barrier for the threads [first, last) if all of them wait there. Returns whether they do.
inline bool passed(unsigned first, unsigned last, State barrier) {
  for (unsigned t = first; t < last; t++)
    if (threads[t].state != barrier || threads[t].line != threads[first].line) return false;
  for (unsigned t = first; t < last; t++) threads[t].state = READY;
  return true;
}

// Run the threads of the turns [from, to) until each of them waits for the block or has ended.
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

// Whether threads still wait at a barrier that will never open. Their fibers are freed.
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

// Whether the block has written to the margin behind its shared memory.
inline bool overflowed() {
  const unsigned char* margin = dynamic_shared + shared_size;
  if (*error || (margin[0] == 0xFF && !memcmp(margin, margin + 1, MARGIN - 1))) return *error;
  snprintf(error, sizeof error, "a block must keep to the %u bytes of shared memory of its launch, and block "
           "(%u,%u,%u) has written behind them; a larger Grid.shared, or another index", shared_size, blockIdx.x,
           blockIdx.y, blockIdx.z);
  return true;
}

// Run the threads of a block. In ascending order, a warp runs to its next block barrier before the next warp starts; in
// shuffled order, all warps advance together.
inline bool run_block(int order) {
  memset(dynamic_shared, 0xFF, shared_size + MARGIN);
  if (__start_shared_memory) memset(__start_shared_memory, 0xFF, __stop_shared_memory - __start_shared_memory);
  for (unsigned t = 0; t < count; t++) threads[t] = Thread();
  begun = 0;
  first_interval = interval;
  is_running = true;
  unsigned together = order == ASCENDING ? warpSize : count;
  do {
    for (unsigned from = 0; from < count; from += together)
      advance(from, from + together < count ? from + together : count);
    interval++;
  } while (passed(0, count, AT_BLOCK_BARRIER));
  is_running = false;
  bool fine = !stuck();
  return fine && !overflowed();
}

inline void put_in_order(unsigned* numbers, unsigned size, int order) {
  for (unsigned i = 0; i < size; i++) numbers[i] = i;
  for (unsigned i = size; order == SHUFFLED && i > 1; i--) {
    seed = seed * 1664525u + 1013904223u;
    unsigned other = (seed >> 8) % i, number = numbers[i - 1];
    numbers[i - 1] = numbers[other];
    numbers[other] = number;
  }
}

// Run a kernel. `shape` is blocks x, y, z, threads x, y, z, and bytes of shared memory. If there are `watched` arrays,
// the accesses to them and to shared memory are checked. Returns NULL or a message.
inline const char* launch(void (*entry)(void**), void** values, const unsigned* shape, int order, const Range* watched,
                          unsigned watched_count) {
  kernel = entry;
  arguments = values;
  seed = 1;
  gridDim = {shape[0], shape[1], shape[2]};
  blockDim = {shape[3], shape[4], shape[5]};
  count = blockDim.x * blockDim.y * blockDim.z;
  shared_size = shape[6];
  *error = 0;
  interval = 1;
  if (watched_count) watch_all(watched, watched_count);
  put_in_order(turns, count, order);
  unsigned size = gridDim.x * gridDim.y * gridDim.z;
  unsigned* blocks = (unsigned*)malloc(size * sizeof(unsigned));
  put_in_order(blocks, size, order);
  bool fine = true;
  for (unsigned i = 0; i < size && fine; i++) {
    blockIdx = {blocks[i] % gridDim.x, blocks[i] / gridDim.x % gridDim.y, blocks[i] / (gridDim.x * gridDim.y)};
    block = blocks[i];
    fine = run_block(order);
  }
  watch_none();
  free(blocks);
  fflush(stdout);  // output of printf in the kernel
  return fine ? nullptr : error;
}

// The value of another lane of the warp. After the first barrier all values are written, after the second all are read.
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

// All lanes must take part: the mask is checked.
#define EMULATED_SHUFFLE(mask, value, lane) \
  ([&](auto shown) { static_assert((mask) == 0xffffffffu, "all lanes must take part"); \
                     return emulator::from_lane(shown, lane, __LINE__); }(value))
#define __syncthreads() emulator::wait(emulator::AT_BLOCK_BARRIER, __LINE__)
#define __syncwarp(...) emulator::sync_warp(__LINE__)
#define __shfl_sync(mask, value, source) EMULATED_SHUFFLE(mask, value, source)
#define __shfl_xor_sync(mask, value, bits) EMULATED_SHUFFLE(mask, value, emulator::lane() ^ (bits))
#define __shfl_down_sync(mask, value, by) \
  EMULATED_SHUFFLE(mask, value, emulator::lane() + (by) < 32 ? emulator::lane() + (by) : emulator::lane())

// What -fsanitize=thread calls before each access.
#define OBSERVER extern "C" __attribute__((no_sanitize("thread"), visibility("hidden"), used)) void
#define NOTED(size) \
  OBSERVER __tsan_read##size(void* at) { emulator::note((const char*)at, size, emulator::READ); } \
  OBSERVER __tsan_write##size(void* at) { emulator::note((const char*)at, size, emulator::WRITE); } \
  OBSERVER __tsan_unaligned_read##size(void* at) { emulator::note((const char*)at, size, emulator::READ); } \
  OBSERVER __tsan_unaligned_write##size(void* at) { emulator::note((const char*)at, size, emulator::WRITE); }
NOTED(1) NOTED(2) NOTED(4) NOTED(8) NOTED(16)
OBSERVER __tsan_read_range(void* at, size_t size) { emulator::note((const char*)at, size, emulator::READ); }
OBSERVER __tsan_write_range(void* at, size_t size) { emulator::note((const char*)at, size, emulator::WRITE); }
OBSERVER __tsan_func_entry(void*) {}
OBSERVER __tsan_func_exit(void*) {}
OBSERVER __tsan_init() {}
