#pragma once
// Elementary functions of doubles, on the host. Passes over votes have their own, for packs and devices: vote.h,
// label.h.

#include <algorithm>
#include <cmath>

namespace voxpop {

/// The logistic function. logistic() in vote.h keeps its argument within 60 of 0, where floats have their limits.
inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// The inverse of sigmoid().
inline double logit(double p) { return std::log(p / (1 - p)); }

/// Of a prediction, which is kept 1e-6 away from 0 and 1.
inline double clamped_logit(double p) { return logit(std::clamp(p, 1e-6, 1 - 1e-6)); }

/// P(X < x) of a normal X.
inline double normal_cdf(double x, double mean, double sd) {
  return 0.5 * std::erfc((mean - x) / (sd * std::sqrt(2.0)));
}

/// The same by X's variance: other roundings.
inline double normal_cdf_of_variance(double x, double mean, double variance) {
  return 0.5 * std::erfc((mean - x) / std::sqrt(2 * variance));
}

}  // namespace voxpop
