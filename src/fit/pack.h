#pragma once
// A pack of floats that behaves like one float in the formulas of src/formulas. Uses the compiler's vector types, so
// each source file gets code for the instruction set that it is built for. Names are in a namespace of that instruction
// set, so that the linker never merges functions of different instruction sets.

#include "formulas/portable.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#ifndef VOXPOP_TARGET
#define VOXPOP_TARGET generic
#endif

namespace voxpop::VOXPOP_TARGET {

// The number of floats in one register. For longer vectors GCC generates scalar code: four times the code and compile
// time.
#if defined(__AVX512F__)
inline constexpr int kLanes = 16;
#elif defined(__AVX__)
inline constexpr int kLanes = 8;
#else
inline constexpr int kLanes = 4;
#endif

typedef float FloatLanes __attribute__((vector_size(kLanes * 4)));
typedef std::int32_t IntLanes __attribute__((vector_size(kLanes * 4)));

struct Mask {
  IntLanes v;
};

struct Pack {
  FloatLanes v;
  Pack() = default;
  VOXPOP_HD Pack(float x) : v(FloatLanes{} + x) {}
  VOXPOP_HD Pack(double x) : Pack(static_cast<float>(x)) {}
  VOXPOP_HD Pack(int x) : Pack(static_cast<float>(x)) {}
  VOXPOP_HD explicit Pack(FloatLanes x) : v(x) {}
  VOXPOP_HD static Pack load(const float* aligned) { return Pack(*reinterpret_cast<const FloatLanes*>(aligned)); }
  VOXPOP_HD void store(float* aligned) const { *reinterpret_cast<FloatLanes*>(aligned) = v; }
};

VOXPOP_HD Pack operator+(Pack a, Pack b) { return Pack(a.v + b.v); }
VOXPOP_HD Pack operator-(Pack a, Pack b) { return Pack(a.v - b.v); }
VOXPOP_HD Pack operator*(Pack a, Pack b) { return Pack(a.v * b.v); }
VOXPOP_HD Pack operator/(Pack a, Pack b) { return Pack(a.v / b.v); }
VOXPOP_HD Mask operator<(Pack a, Pack b) { return {a.v < b.v}; }
VOXPOP_HD Mask operator>(Pack a, Pack b) { return {a.v > b.v}; }
VOXPOP_HD Mask operator==(Pack a, Pack b) { return {a.v == b.v}; }

VOXPOP_HD Pack select(Mask m, Pack yes, Pack no) { return Pack(m.v ? yes.v : no.v); }
VOXPOP_HD bool any(Mask m) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)m.v, (__m512i)m.v) != 0;
#elif defined(__AVX__)
  return _mm256_movemask_ps((__m256)m.v) != 0;
#else
  std::int32_t bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= m.v[i];
  return bits != 0;
#endif
}
VOXPOP_HD Pack absolute(Pack x) { return Pack((FloatLanes)((IntLanes)x.v & 0x7fffffff)); }

VOXPOP_HD Pack square_root(Pack x) {
#if defined(__AVX512F__)
  return Pack((FloatLanes)_mm512_maskz_sqrt_ps(0xffff, (__m512)x.v));
#elif defined(__AVX__)
  return Pack((FloatLanes)_mm256_sqrt_ps((__m256)x.v));
#else
  FloatLanes out;
  for (int i = 0; i < kLanes; ++i) out[i] = sqrtf(x.v[i]);
  return Pack(out);
#endif
}

/// Cephes' expf, 2 ulp for -87 < x < 88. Smaller x give exp(-87). Larger x are not allowed.
VOXPOP_HD Pack exponential(Pack x) {
  x = select(x < Pack(-87.0f), Pack(-87.0f), x);
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding this rounds to an integer, which is then in the low bits
  FloatLanes n = x.v * 1.44269504f + kRound;
  const IntLanes exponent = (IntLanes)n << 23;
  n -= kRound;
  FloatLanes r = x.v - n * 0.693359375f;
  r += n * 2.12194440e-4f;
  FloatLanes p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  return Pack((FloatLanes)((IntLanes)p + exponent));
}

/// Cephes' logf, 2 ulp for normal x > 0.
VOXPOP_HD Pack logarithm(Pack x) {
  const IntLanes bits = (IntLanes)x.v;
  // Scale the mantissa to [sqrt(1/2), sqrt(2)), so that the polynomial's argument is small.
  const IntLanes exponent = (bits - 0x3f3504f3) >> 23;
  const FloatLanes r = (FloatLanes)(bits - (exponent << 23)) - 1.0f;
  const FloatLanes e = __builtin_convertvector(exponent, FloatLanes);
  FloatLanes p = r * 7.0376836292e-2f - 1.1514610310e-1f;
  p = p * r + 1.1676998740e-1f;
  p = p * r - 1.2420140846e-1f;
  p = p * r + 1.4249322787e-1f;
  p = p * r - 1.6668057665e-1f;
  p = p * r + 2.0000714765e-1f;
  p = p * r - 2.4999993993e-1f;
  p = p * r + 3.3333331174e-1f;
  const FloatLanes square = r * r;
  return Pack(r - square * 0.5f + square * r * p - e * 2.12194440e-4f + e * 0.693359375f);
}

}  // namespace voxpop::VOXPOP_TARGET
