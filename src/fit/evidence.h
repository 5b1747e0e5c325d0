#pragma once
#include "fit/fit.h"
#include "group/group.h"

namespace voxpop {

/// What each vote says about its pair's score difference d = score(first) - score(second), in prior units. `gradient`
/// is the derivative of log p(vote | d) at the posterior mean of d; `curvature` is minus the second derivative. Both
/// are for one vote, whatever its weight. The annotator is averaged over, as its other votes show it. The prior of the
/// scores is not included.
///
/// If annotators have own views, the votes of a block share them, and together say less than the sum of separate votes.
/// The gradient is then taken at what the annotator saw, and the curvature is what remains after averaging over the
/// annotator's view. Summed over a block, they give the gradient of the block's votes in the scores, and the trace of
/// the block's information (formulas/views.h).
struct VoteEvidence {
  Column<float> gradient, curvature;  ///< [V]; curvature is below 0 only if the annotator's sign is in doubt
};

/// Always runs on the CPU, whichever engine was used for the fit.
VoteEvidence find_evidence(const Groups& groups, const Fit& fit, const Sites& sites);

}  // namespace voxpop
