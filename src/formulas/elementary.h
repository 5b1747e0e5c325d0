#pragma once
// Elementary functions of doubles, on the host. Passes over votes have their own versions, for packs and devices:
// vote.h, label.h.

#include <algorithm>
#include <cmath>

namespace voxpop {

/// The logistic function. Unlike logistic() in vote.h, the argument is not limited to +-60, which floats need.
inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// The inverse of sigmoid().
inline double logit(double p) { return std::log(p / (1 - p)); }

/// Logit of a prediction, after clamping the prediction to [1e-6, 1 - 1e-6].
inline double clamped_logit(double p) { return logit(std::clamp(p, 1e-6, 1 - 1e-6)); }

/// P(X < x) for a normal X.
inline double normal_cdf(double x, double mean, double sd) {
  return 0.5 * std::erfc((mean - x) / (sd * std::sqrt(2.0)));
}

/// The same from the variance of X. Rounding differs from normal_cdf().
inline double normal_cdf_of_variance(double x, double mean, double variance) {
  return 0.5 * std::erfc((mean - x) / std::sqrt(2 * variance));
}

}  // namespace voxpop
