#pragma once
// What is known of items beside their votes: an existing score, features such as length. Scores are normal about X c,
// and an annotator may have a taste of its own for a feature, which moves its logit by w (x_left - x_right).
//
// Columns of X are centred within each component, where alone they say something, and have unit variance there.

#include "formulas/annotators.h"

namespace voxpop {

inline constexpr int kMaxCovariates = 8;

/// Sums over components: gradient of the log evidence in c, and minus its second derivatives, a lower triangle.
struct CovariateSums {
  std::int64_t gradient[kMaxCovariates];
  std::int64_t information[kMaxCovariates * (kMaxCovariates + 1) / 2];
};
inline constexpr int kCovariateFields = static_cast<int>(sizeof(CovariateSums) / sizeof(std::int64_t));

/// Place of element (k, l), l <= k, of a lower triangle.
template <class Index>
VOXPOP_HD constexpr Index triangle(Index k, Index l) {
  return k * (k + 1) / 2 + l;
}

/// Sums of one annotator's votes for one feature.
struct TasteSums {
  std::int64_t gradient, information;
};

/// An annotator's taste for a feature, in logits per sd of it.
struct Taste {
  float mean = 0, variance = 0;
};

/// One annotator's Newton step on one taste, prior N(mean, spread). Tastes for features that go together are stepped as
/// if they did not; short steps keep that from swinging.
VOXPOP_HD void step_taste(Taste& taste, const TasteSums& sums, double mean, double spread) {
  const double precision = larger(from_fixed(sums.information), 0.0) + 1 / spread;
  const double step = (from_fixed(sums.gradient) - (taste.mean - mean) / spread) / precision;
  taste.mean += static_cast<float>(0.7 * clamped(step, -kLongestStep, kLongestStep));
  taste.variance = static_cast<float>(1 / precision);
}

}  // namespace voxpop
