// The functions of CUDA that our kernels call, for the emulator, and some that new ones may call. Add others here.
#pragma once
#include "emulator.h"

// For integers only: a sum of floats depends on the order of the threads, which differs between runs on a GPU.
template <class T> UNOBSERVED T atomicAdd(T* place, T value) {
  static_assert(T(0.5) == T(0), "atomicAdd of floats is not deterministic: let one thread add them up");
  emulator::note((const char*)place, sizeof(T), emulator::ATOMIC);
  T before = *place;
  *place = before + value;
  return before;
}

inline float __uint_as_float(unsigned bits) {
  float number;
  memcpy(&number, &bits, sizeof number);
  return number;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }

// With -DEMULATED_ERRORS=SEED, results are off by up to as many units in the last place as CUDA documents for its own.
#ifdef EMULATED_ERRORS
inline float off(float exact, float x, unsigned most) {
  unsigned bits, hash;
  memcpy(&hash, &x, sizeof hash);
  memcpy(&bits, &exact, sizeof bits);
  hash = (hash ^ EMULATED_ERRORS * 2654435761u) * 2246822519u;
  hash = (hash ^ hash >> 15) * 3266489917u;
  if (exact != exact || !(bits << 1) || (bits << 1) > 0xfe000000u) return exact;  // NaN, 0, and about the largest
  bits += (hash >> 16) % (2 * most + 1) - most;
  memcpy(&exact, &bits, sizeof exact);
  return exact;
}
#else
inline float off(float exact, float, unsigned) { return exact; }
#endif

inline float __fdividef(float x, float y) { return y > 0x1p126f ? 0.0f : off(x / y, y, 2); }
inline float expf(float x) { return off(__builtin_expf(x), x, 1); }
inline float expm1f(float x) { return __builtin_expm1f(x); }
inline float fabsf(float x) { return __builtin_fabsf(x); }
inline float fmaxf(float x, float y) { return __builtin_fmaxf(x, y); }
inline float fminf(float x, float y) { return __builtin_fminf(x, y); }
inline float log1pf(float x) { return __builtin_log1pf(x); }
inline float logf(float x) { return __builtin_logf(x); }
inline float powf(float x, float y) { return __builtin_powf(x, y); }
inline float sqrtf(float x) { return __builtin_sqrtf(x); }
inline float tanhf(float x) { return off(__builtin_tanhf(x), x, 2); }
template <class T> T min(T a, T b) { return b < a ? b : a; }
template <class T> T max(T a, T b) { return a < b ? b : a; }
