#pragma once
// The one integral of voxpop: a vote's likelihood averaged over a Gaussian. Everything else - the EP site of a vote, an
// annotator's gradient and information, a label's probability - follows from it and its derivatives by the chain rule,
// because F(mean, variance) = E[f(mean + sqrt(variance) x)], x ~ N(0, 1), solves the heat equation dF/dvariance = F''/2.
//
// A logistic function is a scale mixture of normal distribution functions, and a hyperbolic secant one of Gaussians
// (Andrews and Mallows 1974); a few terms of the mixture make the integral closed (Monahan and Stefanski 1992). Unlike
// Gauss-Hermite quadrature this is equally exact for every discrimination, and costs no more than nine nodes.

#include "voxpop/portable.h"

namespace voxpop {

/// log F and the ratios F^(n) / F of the derivatives in the mean; all finite, however unlikely the vote.
template <class Real>
struct Smoothed {
  Real log_value;
  Real first, second, third, fourth;
};

/// Mixture terms: kFast is within 8.5e-5 of a likelihood, relatively, for |mean| < 10 (3e-5 in probability); kExact 5.2e-8.
enum : int { kFast = 5, kExact = 8 };

/// sigma(x) = sum_k weight_k Phi(scale_k x). Coefficients: minimax in relative error on [-10, 0], by Lawson's iteration.
template <int kTerms>
struct LogisticMixture;
template <>
struct LogisticMixture<kFast> {
  float scale[kFast] = {0.2765890548390538f, 0.37677137474113015f, 0.5107572260798977f, 0.7024778176516788f,
                        0.99542028760241f};
  float weight[kFast] = {0.012326134504819621f, 0.12566516038486758f, 0.3443605214972123f, 0.3942352420461228f,
                         0.1234129415669777f};
};
template <>
struct LogisticMixture<kExact> {
  double scale[kExact] = {0.2521849953194491, 0.3280352643071454, 0.41771832501722866, 0.5262357703771979,
                          0.6586897899689903, 0.8234240629983531, 1.0350925986114434,  1.3256638154555203};
  double weight[kExact] = {0.003439002442473187, 0.04444298160473577, 0.15362136813930385, 0.2647209640941784,
                           0.2838866744219496,   0.18596612911273266, 0.058945686587308234, 0.004977193597318183};
};

/// 1 / (2 cosh(x / 2)) = sum_k weight_k exp(-precision_k x^2 / 2). Within 2.6e-5 and 1.4e-8, relatively, for |x| < 10.
template <int kTerms>
struct SecantMixture;
template <>
struct SecantMixture<kFast> {
  float precision[kFast] = {0.03909751957262732f, 0.09253516956346294f, 0.20239753378199912f, 0.42319394242648267f,
                            0.8942831122554342f};
  float weight[kFast] = {0.037952729149338116f, 0.13865564779014028f, 0.17623007175849578f, 0.12042797102417524f,
                         0.026720397835905987f};
};
template <>
struct SecantMixture<kExact> {
  double precision[kExact] = {0.031709296180263066, 0.06672170962449772, 0.12782494228308353, 0.22690814004214413,
                              0.3808333856543672,   0.6204304385011088,  1.0054427306455969,  1.6748154532623434};
  double weight[kExact] = {0.01757004354778397, 0.0821547567902575,  0.1277617410899843,   0.12594787234103702,
                           0.09109270116701655, 0.04392272068472015, 0.010808804543283543, 0.0007413526941206636};
};

/// Mills' ratio (1 - Phi(z)) / phi(z) for z >= 0, given 1 / (z + 3): a polynomial within 6.5e-7, relatively.
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

/// E[sigma(mean + sqrt(variance) x)] and its derivatives in the mean. `variance` >= 0, in squared logits.
template <int kTerms, class Real>
VOXPOP_HD Smoothed<Real> smoothed_logistic(Real mean, Real variance) {
  constexpr LogisticMixture<kTerms> mixture;
  const Real distance = absolute(mean);
  Real shift = Real(0), tail = Real(0), d1 = Real(0), d2 = Real(0), d3 = Real(0), d4 = Real(0);
  VOXPOP_UNROLL
  for (int k = 0; k < kTerms; ++k) {
    const Real scale = Real(mixture.scale[k]);
    const Real spread2 = scale * scale * variance + 1.0f;
    const Real spread = square_root(spread2);
    const Real reach = distance * scale + spread * 3.0f;
    const Real inverse = Real(1) / (spread * reach);  // one division serves slope and 1 / (z + 3)
    const Real slope = inverse * reach * scale;       // scale / spread
    const Real z = distance * slope;
    if (k == 0) shift = z * z * 0.5f;  // the widest term decides the tail: keep its exponent aside, so none underflows
    const Real density = exponential(shift - z * z * 0.5f) * Real(mixture.weight[k]);
    tail = tail + density * mills_ratio(z, inverse * spread2);
    const Real density_slope = density * slope;
    d1 = d1 + density_slope;
    d2 = d2 + density_slope * slope * z;
    const Real slope2 = slope * slope, z2 = z * z;
    d3 = d3 + density_slope * slope2 * (z2 - 1.0f);
    d4 = d4 + density_slope * slope2 * slope * (z2 - 3.0f) * z;
  }
  // Here tail etc. lack the factor exp(-shift) / sqrt(2 pi). On the likely side F = 1 - tail: restore it there.
  const auto likely = mean > 0.0f;
  constexpr float kInverseRootTwoPi = 0.3989422804014327f;
  const Real factor = exponential(Real(0) - shift) * Real(0.3989422804014327);
  const Real likely_value = Real(1) - tail * factor;
  const Real scale_back = select(likely, factor / likely_value, Real(1) / tail);
  const Real sign = select(likely, Real(-1), Real(1));
  Smoothed<Real> out;
  out.log_value = select(likely, logarithm(likely_value), logarithm(tail * kInverseRootTwoPi) - shift);
  out.first = d1 * scale_back;
  out.second = d2 * scale_back * sign;
  out.third = d3 * scale_back;
  out.fourth = d4 * scale_back * sign;
  // Far out F is exp(mean + variance / 2) to the last digit, while the mixture's tail is Gaussian.
  const auto far = mean + variance < -10.0f;
  if (any(far)) {
    out.log_value = select(far, mean + variance * 0.5f, out.log_value);
    out.first = select(far, Real(1), out.first);
    out.second = select(far, Real(1), out.second);
    out.third = select(far, Real(1), out.third);
    out.fourth = select(far, Real(1), out.fourth);
  }
  return out;
}

/// E[sqrt(sigma(eta) sigma(-eta))], eta = mean + sqrt(variance) x: half a vote to each side, which is what a tie is worth.
template <int kTerms, class Real>
VOXPOP_HD Smoothed<Real> smoothed_tie(Real mean, Real variance) {
  constexpr SecantMixture<kTerms> mixture;
  Real shift = Real(0), value = Real(0), d1 = Real(0), d2 = Real(0), d3 = Real(0), d4 = Real(0);
  VOXPOP_UNROLL
  for (int k = 0; k < kTerms; ++k) {
    const Real precision0 = Real(mixture.precision[k]);
    const Real inverse = Real(1) / (precision0 * variance + 1.0f);
    const Real precision = precision0 * inverse;
    const Real square = mean * mean * precision;
    if (k == 0) shift = square * 0.5f;
    const Real term = exponential(shift - square * 0.5f) * square_root(inverse) * Real(mixture.weight[k]);
    value = value + term;
    d1 = d1 - term * precision * mean;
    d2 = d2 + term * precision * (square - 1.0f);
    d3 = d3 - term * precision * precision * mean * (square - 3.0f);
    d4 = d4 + term * precision * precision * (square * square - square * 6.0f + 3.0f);
  }
  Smoothed<Real> out;
  const Real scale_back = Real(1) / value;
  out.log_value = logarithm(value) - shift;
  out.first = d1 * scale_back;
  out.second = d2 * scale_back;
  out.third = d3 * scale_back;
  out.fourth = d4 * scale_back;
  const Real distance = absolute(mean);
  const auto far = variance * 0.5f - distance < -10.0f;
  if (any(far)) {
    const Real sign = select(mean > 0.0f, Real(-1), Real(1));
    out.log_value = select(far, variance * 0.125f - distance * 0.5f, out.log_value);
    out.first = select(far, sign * 0.5f, out.first);
    out.second = select(far, Real(0.25), out.second);
    out.third = select(far, sign * 0.125f, out.third);
    out.fourth = select(far, Real(0.0625), out.fourth);
  }
  return out;
}

}  // namespace voxpop
