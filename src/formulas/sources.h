#pragma once
// The source of an item, for example the model that wrote it. Scores have a normal prior around their source's score.
// Sources' scores have a normal prior around 0, with a variance estimated from them.

#include "formulas/annotators.h"

namespace voxpop {

/// Sums over the items of a source, in fixed point: gradient of the log evidence in the source's score, and
/// information. The information ignores comparisons between items of the same source.
struct SourceSums {
  std::int64_t gradient, information;
};

/// Posterior of a source's score, in prior units.
struct Source {
  double score = 0, variance = 1;
  double last = 0;                       ///< one iteration ago, before the stretch
  double prior = 0, prior_variance = 1;  ///< from an earlier fit, or the prior of all sources
};

/// Starting variance of sources' scores; longest step of a source per iteration.
inline constexpr double kFirstSourceVariance = 1, kLongestSourceStep = 0.3;

/// One source's Newton step. It ignores that sources are compared with each other; shortened steps avoid oscillation.
VOXPOP_HD void step_source(Source& s, const SourceSums& sums) {
  const double precision = larger(from_fixed(sums.information), 0.0) + 1 / s.prior_variance;
  const double step = (from_fixed(sums.gradient) - (s.score - s.prior) / s.prior_variance) / precision;
  s.score += clamped(0.7 * step, -kLongestSourceStep, kLongestSourceStep);
  s.variance = 1 / precision;
}

}  // namespace voxpop
