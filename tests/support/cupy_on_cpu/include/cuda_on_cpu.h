// What the source text that CuPy generates needs besides emulator.h: other qualifiers, the C++ library's mathematics, and
// more functions of CUDA. Our own kernels compile with it, too.
#pragma once
#define __host__
#define __noinline__ __attribute__((noinline))
#define __constant__
#define __align__(n) alignas(n)
#include <cmath>
#include <cstddef>
#include <limits>
#include <new>
#include <type_traits>
#include <xmmintrin.h>
#include "emulator.h"

using std::isfinite;
using std::isinf;
using std::isnan;
using std::signbit;

// NVRTC gets -ftz=true from CuPy: float32 numbers below 2^-126 are read and written as 0.
struct FlushDenormals {
  unsigned before = _mm_getcsr();
  FlushDenormals() { _mm_setcsr(before | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(before); }
};

template <class To, class From> To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From), "as many bits");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
inline float __uint_as_float(unsigned bits) { return bits_as<float>(bits); }
inline float __int_as_float(int bits) { return bits_as<float>(bits); }
inline int __float_as_int(float number) { return bits_as<int>(number); }
inline double __longlong_as_double(long long bits) { return bits_as<double>(bits); }
inline long long __double_as_longlong(double number) { return bits_as<long long>(number); }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __popcll(unsigned long long bits) { return __builtin_popcountll(bits); }
inline float __fdividef(float x, float y) { return y > 0x1p126f ? 0.0f : x / y; }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }

template <class A, class B> typename std::common_type<A, B>::type min(A a, B b) { return b < a ? b : a; }
template <class A, class B> typename std::common_type<A, B>::type max(A a, B b) { return a < b ? b : a; }

// The threads of a launch run one at a time: nothing comes between.
template <class T> T atomicExch(T* place, T value) {
  T before = *place;
  *place = value;
  return before;
}
template <class T> T atomicAdd(T* place, T value) { return atomicExch(place, T(*place + value)); }
template <class T> T atomicMax(T* place, T value) { return atomicExch(place, *place < value ? value : *place); }
template <class T> T atomicMin(T* place, T value) { return atomicExch(place, value < *place ? value : *place); }
template <class T> T atomicCAS(T* place, T expected, T value) {
  return atomicExch(place, *place == expected ? value : *place);
}
#define __ldg(place) (*(place))
#define __threadfence()
