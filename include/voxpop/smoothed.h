#pragma once
// The one integral of voxpop: a vote's likelihood averaged over a Gaussian. Everything else - the EP site of a vote, an
// annotator's gradient and information, a label's probability - follows from it and its derivatives by the chain rule,
// because F(mean, variance) = E[f(mean + sqrt(variance) x)], x ~ N(0, 1), solves the heat equation dF/dvariance =
// F''/2.
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

/// Mixture terms. kFast is within 2.5e-4 of a likelihood, relatively (9e-5 in probability); kExact within 5.2e-8.
enum : int { kFast = 4, kExact = 8 };

/// sigma(x) = sum_k weight_k Phi(scale_k x). Coefficients: minimax in relative error on [-limit, 0], by Lawson's
/// iteration.
template <int kTerms>
struct LogisticMixture;
template <>
struct LogisticMixture<kFast> {
  float limit = 8;
  float scale[kFast] = {0.3111183345774395f, 0.4466232419686856f, 0.640003580862693f, 0.9369140646206385f};
  float weight[kFast] = {0.04431429958133785f, 0.29077297630443855f, 0.47337466731127587f, 0.19153805680294758f};
};
template <>
struct LogisticMixture<kExact> {
  float limit = 10;
  double scale[kExact] = {0.2521849953194491, 0.3280352643071454, 0.41771832501722866, 0.5262357703771979,
                          0.6586897899689903, 0.8234240629983531, 1.0350925986114434,  1.3256638154555203};
  double weight[kExact] = {0.003439002442473187, 0.04444298160473577, 0.15362136813930385,  0.2647209640941784,
                           0.2838866744219496,   0.18596612911273266, 0.058945686587308234, 0.004977193597318183};
};

/// 1 / (2 cosh(x / 2)) = sum_k weight_k exp(-precision_k x^2 / 2), within 8.5e-5 and 1.4e-8, relatively.
template <int kTerms>
struct SecantMixture;
template <>
struct SecantMixture<kFast> {
  float limit = 8;
  float precision[kFast] = {0.050728636096129175f, 0.13743401329620497f, 0.3331007369789712f, 0.7716778612386276f};
  float weight[kFast] = {0.08015893652044734f, 0.2026381863827878f, 0.17079494898685288f, 0.04636544408258736f};
};
template <>
struct SecantMixture<kExact> {
  float limit = 10;
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
  const auto likely = mean > 0.0f;
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
    // On the unlikely side the widest term decides: its exponent is kept aside, so that nothing underflows.
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
  }
  const Real value = select(likely, Real(1) - tail, tail);  // lacks exp(-shift), as the derivatives do
  const Real scale_back = Real(1) / value;
  const Real even = select(likely, Real(0) - scale_back, scale_back);
  Smoothed<Real> out{logarithm(value) - shift, d1 * scale_back, d2 * even, d3 * scale_back, d4 * even};
  // Far out the mixture's tail is Gaussian, but F is exp(mean + variance / 2) (1 - ratio), to the last digit.
  const auto far = variance * 1.5f + mean < Real(-mixture.limit);
  if (any(far)) {
    const Real ratio = exponential(smaller(variance * 1.5f + mean, Real(-1)));
    const Real norm = Real(1) / (Real(1) - ratio);
    out.log_value = select(far, mean + variance * 0.5f + logarithm(Real(1) - ratio), out.log_value);
    out.first = select(far, (Real(1) - ratio * 2.0f) * norm, out.first);
    out.second = select(far, (Real(1) - ratio * 4.0f) * norm, out.second);
    out.third = select(far, (Real(1) - ratio * 8.0f) * norm, out.third);
    out.fourth = select(far, (Real(1) - ratio * 16.0f) * norm, out.fourth);
  }
  return out;
}

/// E[sqrt(sigma(eta) sigma(-eta))], eta = mean + sqrt(variance) x: half a vote to each side, which is what a tie is
/// worth.
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
  const auto far = variance * 0.5f - distance < Real(-mixture.limit);
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
