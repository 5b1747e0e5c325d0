#pragma once
// Covariates of items: an existing score, or features such as length. Scores have prior means X c. An annotator may
// have its own taste w for a feature, which adds w (x_left - x_right) to its logit.
//
// Columns of X are centred within each component, because only differences within a component have an effect, and
// scaled to unit variance.

#include "formulas/annotators.h"

namespace voxpop {

inline constexpr int kMaxCovariates = 8;

/// Sums over components, in fixed point: gradient of the log evidence in c, and minus its second derivatives as a lower
/// triangle.
struct CovariateSums {
  std::int64_t gradient[kMaxCovariates];
  std::int64_t information[kMaxCovariates * (kMaxCovariates + 1) / 2];
};
inline constexpr int kCovariateFields = static_cast<int>(sizeof(CovariateSums) / sizeof(std::int64_t));

/// Index of element (k, l), l <= k, in a lower triangle.
template <class Index>
VOXPOP_HD constexpr Index triangle(Index k, Index l) {
  return k * (k + 1) / 2 + l;
}

/// Sums over one annotator's votes for one feature, in fixed point.
struct TasteSums {
  std::int64_t gradient, information;
};

/// An annotator's taste for a feature, in logits per sd of the feature.
struct Taste {
  float mean = 0, variance = 0;
};

/// One annotator's Newton step on one taste; the prior is N(mean, spread). The step ignores correlations between
/// features; shortened steps avoid oscillation.
VOXPOP_HD void step_taste(Taste& taste, const TasteSums& sums, double mean, double spread) {
  const double precision = larger(from_fixed(sums.information), 0.0) + 1 / spread;
  const double step = (from_fixed(sums.gradient) - (taste.mean - mean) / spread) / precision;
  taste.mean += static_cast<float>(0.7 * clamped(step, -kLongestStep, kLongestStep));
  taste.variance = static_cast<float>(1 / precision);
}

}  // namespace voxpop
