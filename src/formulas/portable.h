#pragma once
// Allows one formula to be compiled by g++, clang and nvcc, for a float, a double or a pack of floats.

#include <cmath>
#include <cstdint>

// NaN must compare false, or a diverged fit would look converged. In addition, the packs' exponential rounds by adding
// a large number, which -ffast-math would remove.
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "voxpop: these formulas do not survive -ffast-math; leave it out"
#endif

#if defined(__CUDACC__)
#define VOXPOP_HD __host__ __device__ __forceinline__
#define VOXPOP_UNROLL _Pragma("unroll")
#elif defined(__clang__)
#define VOXPOP_HD inline __attribute__((always_inline))
#define VOXPOP_UNROLL _Pragma("unroll")
#else
#define VOXPOP_HD inline __attribute__((always_inline))
#define VOXPOP_UNROLL _Pragma("GCC unroll 16")
#endif

namespace voxpop {

// The elementary functions used by the formulas. A pack type (src/fit/pack.h) provides its own overloads, found by
// argument-dependent lookup. Formulas are always inlined, so that AVX-512 code never gets into a function that an older
// processor calls.
VOXPOP_HD float exponential(float x) { return expf(x); }
VOXPOP_HD double exponential(double x) { return exp(x); }
VOXPOP_HD float logarithm(float x) { return logf(x); }
VOXPOP_HD double logarithm(double x) { return log(x); }
VOXPOP_HD float square_root(float x) { return sqrtf(x); }
VOXPOP_HD double square_root(double x) { return sqrt(x); }
VOXPOP_HD float absolute(float x) { return fabsf(x); }
VOXPOP_HD double absolute(double x) { return fabs(x); }
VOXPOP_HD float select(bool condition, float yes, float no) { return condition ? yes : no; }
VOXPOP_HD double select(bool condition, double yes, double no) { return condition ? yes : no; }
VOXPOP_HD bool any(bool condition) { return condition; }

template <class Real>
VOXPOP_HD Real larger(Real a, Real b) {
  return select(a > b, a, b);
}
template <class Real>
VOXPOP_HD Real smaller(Real a, Real b) {
  return select(a < b, a, b);
}

}  // namespace voxpop
