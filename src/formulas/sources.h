#pragma once
// The source of an item, such as the model that wrote it: scores are normal about their source's, and sources' scores
// are normal about 0, with a variance that they themselves show.

#include "formulas/annotators.h"

namespace voxpop {

/// Sums over the items of a source: gradient of the log evidence in its score, and information, as if no two of them
/// were compared with each other.
struct SourceSums {
  std::int64_t gradient, information;
};

/// What is known of a source's score, in prior units.
struct Source {
  double score = 0, variance = 1;
  double last = 0;                       ///< an iteration ago, before the stretch
  double prior = 0, prior_variance = 1;  ///< from an earlier fit, or of all sources
};

/// Where the variance of sources' scores starts, and how far one may go in an iteration.
inline constexpr double kFirstSourceVariance = 1, kLongestSourceStep = 0.3;

/// One source's Newton step. Sources that are compared with each other are stepped as if they were not; short steps
/// keep that from swinging.
VOXPOP_HD void step_source(Source& s, const SourceSums& sums) {
  const double precision = larger(from_fixed(sums.information), 0.0) + 1 / s.prior_variance;
  const double step = (from_fixed(sums.gradient) - (s.score - s.prior) / s.prior_variance) / precision;
  s.score += clamped(0.7 * step, -kLongestSourceStep, kLongestSourceStep);
  s.variance = 1 / precision;
}

}  // namespace voxpop
