#pragma once
#include "fit/fit.h"
#include "group/group.h"

namespace voxpop {

/// What each vote says of its pair's score difference d, first less second, in prior units: the gradient of log p(vote
/// | d) at d's posterior mean, and minus its second derivative, of one vote whatever its weight. The annotator is
/// averaged over, as its other votes show it; the prior of scores has no part in it.
///
/// Where annotators have views of their own, votes of one block share them, and say less together than one by one.
/// There they are the gradient at what the annotator saw, and the curvature that is left when its view is averaged
/// over: over a block they add up to the gradient of its votes in the scores, and to the trace of its information
/// (formulas/views.h).
struct VoteEvidence {
  Column<float> gradient, curvature;  ///< [V]; curvature below 0 only where an annotator's sign is in doubt
};

/// By the CPU, whichever engine has fitted.
VoteEvidence find_evidence(const Groups& groups, const Fit& fit, const Sites& sites);

}  // namespace voxpop
