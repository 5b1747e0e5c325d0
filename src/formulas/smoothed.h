#pragma once
// The central integral: a vote's likelihood averaged over a normal distribution. A vote's EP site, an annotator's
// gradient and information and a label's probability all follow from this integral and its derivatives by the chain
// rule. Reason: F(mean, variance) = E[f(mean + sqrt(variance) x)], x ~ N(0, 1), solves the heat equation dF/dvariance =
// F''/2.
//
// A logistic function is a scale mixture of normal distribution functions (Andrews and Mallows 1974). With a few terms
// of the mixture, the integral has a closed form (Monahan and Stefanski 1992). Unlike Gauss-Hermite quadrature, the
// accuracy is the same for every discrimination, and the cost is at most that of nine nodes.

#include "formulas/portable.h"

namespace voxpop {

/// log F, and the derivatives in the mean divided by F: F^(n) / F. All are finite, however unlikely the vote.
template <class Real>
struct Smoothed {
  Real log_value;
  Real first, second, third, fourth;
};

/// The same with two more derivatives, needed if the likelihood has a factor sigma', as for ties. F = value *
/// exp(log_scale), so that one logarithm serves F times a factor.
template <class Real>
struct Smoothed6 : Smoothed<Real> {
  Real fifth, sixth;
  Real value, log_scale;
};

/// Number of mixture terms. Relative error of a likelihood: kFast 2.5e-4 (9e-5 in probability), kExact 5.2e-8.
enum : int { kFast = 4, kExact = 8 };

/// sigma(x) = sum_k weight_k Phi(scale_k x). The coefficients minimise the largest relative error on [-8, 0] (kFast)
/// and [-10, 0] (kExact), by Lawson's iteration.
template <int kTerms>
struct LogisticMixture;
template <>
struct LogisticMixture<kFast> {
  float scale[kFast] = {0.3111183345774395f, 0.4466232419686856f, 0.640003580862693f, 0.9369140646206385f};
  float weight[kFast] = {0.04431429958133785f, 0.29077297630443855f, 0.47337466731127587f, 0.19153805680294758f};
};
template <>
struct LogisticMixture<kExact> {
  double scale[kExact] = {0.2521849953194491, 0.3280352643071454, 0.41771832501722866, 0.5262357703771979,
                          0.6586897899689903, 0.8234240629983531, 1.0350925986114434,  1.3256638154555203};
  double weight[kExact] = {0.003439002442473187, 0.04444298160473577, 0.15362136813930385,  0.2647209640941784,
                           0.2838866744219496,   0.18596612911273266, 0.058945686587308234, 0.004977193597318183};
};

/// Mills' ratio (1 - Phi(z)) / phi(z) for z >= 0, given 1 / (z + 3): a polynomial with relative error 6.5e-7.
template <class Real>
VOXPOP_HD Real mills_ratio(Real /*z*/, Real inverse) {
  Real sum = Real(-334.84487821978445f);
  sum = sum * inverse + 981.3887469136414f;
  sum = sum * inverse - 786.3539138279616f;
  sum = sum * inverse + 168.44425148038363f;
  sum = sum * inverse + 12.634879530287197f;
  sum = sum * inverse + 19.069860918824666f;
  sum = sum * inverse + 7.968017073111115f;
  sum = sum * inverse + 3.0003592300440927f;
  sum = sum * inverse + 0.9999993502647367f;
  return sum * inverse;
}
VOXPOP_HD double mills_ratio(double z, double /*inverse*/) {
  if (z > 25) return (1 - 1 / (z * z) * (1 - 3 / (z * z) * (1 - 5 / (z * z)))) / z;
  return 1.2533141373155003 * exp(z * z / 2) * erfc(z * 0.7071067811865476);
}

/// The ratios of exp(rate mean) G(mean), from the ratios of G, by Leibniz' rule.
template <class Real>
VOXPOP_HD Smoothed<Real> tilted(Real log_value, Real rate, const Smoothed<Real>& g) {
  const Real rate2 = rate * rate, rate3 = rate2 * rate;
  return {log_value, g.first + rate, g.second + g.first * rate * 2.0f + rate2,
          g.third + g.second * rate * 3.0f + g.first * rate2 * 3.0f + rate3,
          g.fourth + g.third * rate * 4.0f + g.second * rate2 * 6.0f + g.first * rate3 * 4.0f + rate2 * rate2};
}

namespace detail {

/// Computes six derivatives, or four (the last two are then 0).
template <int kTerms, bool kSix, class Real>
VOXPOP_HD Smoothed6<Real> smoothed(Real mean, Real variance) {
  constexpr LogisticMixture<kTerms> mixture;
  // If most of the mass is on the unlikely side, a part of the mass is outside the range of the mixture. Then use
  // sigma(x) = exp(x) sigma(-x): exp only moves the normal distribution, so F(mean) = exp(mean + variance / 2) F(-mean
  // - variance), and that point is on the other side.
  const auto far = mean + variance * 0.5f < -1.0f;
  const Real point = select(far, Real(0) - mean - variance, mean);
  const Real distance = absolute(point);
  const auto likely = point > 0.0f;
  Real shift = Real(0), tail = Real(0), d1 = Real(0), d2 = Real(0), d3 = Real(0), d4 = Real(0);
  Real d5 = Real(0), d6 = Real(0);
  VOXPOP_UNROLL
  for (int k = 0; k < kTerms; ++k) {
    const Real scale = Real(mixture.scale[k]);
    const Real spread2 = scale * scale * variance + 1.0f;
    const Real spread = square_root(spread2);
    const Real reach = distance * scale + spread * 3.0f;
    const Real inverse = Real(1) / (spread * reach);  // one division serves slope and 1 / (z + 3)
    const Real slope = inverse * reach * scale;       // scale / spread
    const Real z = distance * slope;
    // On the unlikely side, the widest term dominates. Its exponent is kept separately to avoid underflow.
    if (k == 0) shift = select(likely, Real(0), z * z * 0.5f);
    const Real density =
        exponential(shift - z * z * 0.5f) * Real(mixture.weight[k] * 0.3989422804014327);  // / sqrt(2 pi)
    tail = tail + density * mills_ratio(z, inverse * spread2);
    const Real density_slope = density * slope;
    const Real slope2 = slope * slope, z2 = z * z;
    d1 = d1 + density_slope;
    d2 = d2 + density_slope * slope * z;
    d3 = d3 + density_slope * slope2 * (z2 - 1.0f);
    d4 = d4 + density_slope * slope2 * slope * (z2 - 3.0f) * z;
    if constexpr (kSix) {
      const Real density_slope5 = density_slope * slope2 * slope2;
      d5 = d5 + density_slope5 * ((z2 - 6.0f) * z2 + 3.0f);
      d6 = d6 + density_slope5 * slope * ((z2 - 10.0f) * z2 + 15.0f) * z;
    }
  }
  const Real value = select(likely, Real(1) - tail, tail);  // without the factor exp(-shift), like the derivatives
  const Real scale_back = Real(1) / value;
  const Real even = select(likely, Real(0) - scale_back, scale_back);
  Smoothed6<Real> out{{logarithm(value) - shift, d1 * scale_back, d2 * even, d3 * scale_back, d4 * even},
                      d5 * scale_back,
                      d6 * even,
                      value,
                      Real(0) - shift};
  if (any(far)) {
    const Smoothed<Real> mirrored{out.log_value, Real(0) - out.first, out.second, Real(0) - out.third, out.fourth};
    const Smoothed<Real> reached = tilted(mean + variance * 0.5f + out.log_value, Real(1), mirrored);
    out.log_value = select(far, reached.log_value, out.log_value);
    out.first = select(far, reached.first, out.first);
    out.second = select(far, reached.second, out.second);
    out.third = select(far, reached.third, out.third);
    out.fourth = select(far, reached.fourth, out.fourth);
    out.log_scale = select(far, mean + variance * 0.5f - shift, out.log_scale);
    if constexpr (kSix) {  // Leibniz' rule at rate 1; odd derivatives of the mirrored function change sign
      const Real fifth = mirrored.fourth * 5.0f + mirrored.third * 10.0f + mirrored.second * 10.0f +
                         mirrored.first * 5.0f + 1.0f - out.fifth;
      const Real sixth = out.sixth - out.fifth * 6.0f + mirrored.fourth * 15.0f + mirrored.third * 20.0f +
                         mirrored.second * 15.0f + mirrored.first * 6.0f + 1.0f;
      out.fifth = select(far, fifth, out.fifth);
      out.sixth = select(far, sixth, out.sixth);
    }
  }
  return out;
}

}  // namespace detail

/// E[sigma(mean + sqrt(variance) x)] and its derivatives in the mean. `variance` >= 0, in squared logits. In single
/// precision, `variance` <= 1e7 and |mean| <= 2e6; beyond, rounding decides which mixture term is the widest.
template <int kTerms, class Real>
VOXPOP_HD Smoothed<Real> smoothed_logistic(Real mean, Real variance) {
  return detail::smoothed<kTerms, false>(mean, variance);
}
template <int kTerms, class Real>
VOXPOP_HD Smoothed6<Real> smoothed_logistic6(Real mean, Real variance) {
  return detail::smoothed<kTerms, true>(mean, variance);
}

}  // namespace voxpop
